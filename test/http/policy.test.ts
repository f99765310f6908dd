/** Who may use what: keys with scopes at every endpoint, in both eras, and keys that are revoked. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ServerView } from '../../src/launcher/contract.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, call, type HttpStack, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast, methodsTo, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const SCRIPT: Script = {
	capabilities: { tools: {}, prompts: {}, resources: { subscribe: true } },
	answers: {
		'tools/list': () => ({
			tools: ['read', 'read_file', 'write'].map((name) => ({ name, inputSchema: { type: 'object' } })),
			kept: 'as it is',
		}),
		'prompts/list': () => ({ prompts: [{ name: 'p' }] }),
		'resources/list': () => ({ resources: [{ uri: 'test://a', name: 'a' }] }),
		'resources/templates/list': () => ({ resourceTemplates: [{ uriTemplate: 't:{x}', name: 't' }] }),
		'tools/call': (params) => ({ content: [], called: params['name'] }),
		'resources/read': () => ({ contents: [] }),
	},
};

interface Setting {
	readonly stack: HttpStack;
	readonly cast: Cast;
	/** A request to the API. */
	api(method: string, path: string, body?: unknown, key?: string): Promise<Reply>;
	/** A key with these scopes. */
	keyFor(name: string, ...scopes: readonly string[]): Promise<string>;
	change(name: string, view: Partial<ServerView>): void;
}

async function start(t: Test, view: Partial<ServerView> = {}): Promise<Setting> {
	const stack = await startHttpStack(t, { apiKey: API_KEY });
	const { launcher } = stack;
	const views = ['alpha', 'beta'].map((name) => serverView(name, view));
	launcher.state = { ...launcher.state, servers: views };
	const api: Setting['api'] = (method, path, body, key = API_KEY) =>
		stack.send({
			method,
			path,
			headers: { ...(body === undefined ? {} : POST_HEADERS), authorization: `Bearer ${key}` },
			...(body === undefined ? {} : { body: JSON.stringify(body) }),
		});
	return {
		stack,
		cast: new Cast(launcher, { alpha: SCRIPT, beta: SCRIPT }),
		api,
		keyFor: async (name, ...scopes) => {
			const { status, text } = await api('POST', '/api/keys', { name, scopes });
			assert.equal(status, 201, text);
			return JSON.parse(text).key;
		},
		change: (name, changed) => {
			const servers = launcher.state.servers.map((one) => (one.name === name ? { ...one, ...changed } : one));
			launcher.state = { ...launcher.state, servers };
		},
	};
}

const ask = (method: string, params: object = {}): Rpc => ({
	jsonrpc: '2.0',
	id: method,
	method,
	params: { ...params },
});

/** One way to be a client: an era, and what it says. */
interface Client {
	send(message: Rpc): Promise<Reply>;
}

const ERAS: Readonly<Record<string, (stack: HttpStack, path: string, key: string) => Promise<Client>>> = {
	legacy: async (stack, path, key) => {
		const session = await new SessionHttp(stack, path, undefined, key).open();
		return { send: (message) => session.post(message) };
	},
	modern: async (stack, path, key) => {
		const client = new ModernHttp(stack, { path, key, capabilities: {} });
		return { send: ({ method = '', params = {} }) => client.send(method, params) };
	},
};

async function toolsOf(client: Client): Promise<unknown> {
	const { rpc } = await client.send(ask('tools/list'));
	return (rpc.result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
}

const codeOf = ({ rpc }: Reply): unknown => rpc.error?.data?.['code'];

for (const [era, connect] of Object.entries(ERAS))
	describe(`a client of the ${era} era`, () => {
		test('with the scope of one server has that server, at each endpoint, and is told nothing of others', async (t) => {
			const { stack, keyFor } = await start(t);
			const key = await keyFor('ci', 'server:alpha');
			const client = await connect(stack, '/servers/alpha/mcp', key);
			assert.deepEqual(await toolsOf(client), ['read', 'read_file', 'write']);
			const all = await connect(stack, '/mcp', key);
			assert.deepEqual(await toolsOf(all), ['alpha__read', 'alpha__read_file', 'alpha__write']);
			assert.ok((await all.send(ask('tools/call', { name: 'beta__read' }))).rpc.error);
			const launches = stack.launcher.launches;
			for (const path of ['/servers/beta/mcp', '/servers/none/mcp', '/groups/pair/mcp', '/groups/none/mcp']) {
				const response = await stack.send({
					method: 'POST',
					path,
					headers: { ...POST_HEADERS, authorization: `Bearer ${key}` },
					body: JSON.stringify(ask('initialize')),
				});
				assert.deepEqual([response.status, codeOf(response)], [403, 'SLIPWAY_FORBIDDEN'], path);
			}
			assert.equal(stack.launcher.launches, launches);
		});

		test('with the scope of a group has its endpoint and its servers', async (t) => {
			const { stack, keyFor } = await start(t);
			stack.launcher.state = { ...stack.launcher.state, groups: { pair: [serverView('beta').name] } };
			const key = await keyFor('ci', 'group:pair');
			const group = await connect(stack, '/groups/pair/mcp', key);
			assert.deepEqual(await toolsOf(group), ['beta__read', 'beta__read_file', 'beta__write']);
			assert.deepEqual(await toolsOf(await connect(stack, '/servers/beta/mcp', key)), ['read', 'read_file', 'write']);
			assert.deepEqual(await toolsOf(await connect(stack, '/mcp', key)), [
				'beta__read',
				'beta__read_file',
				'beta__write',
			]);
		});

		test('with the scope of tools sees and calls these, and nothing else of the server', async (t) => {
			const { stack, cast, keyFor } = await start(t);
			const key = await keyFor('ci', 'tool:alpha/read*');
			const client = await connect(stack, '/servers/alpha/mcp', key);
			const { rpc } = await client.send(ask('tools/list'));
			assert.equal(rpc.result?.['kept'], 'as it is');
			assert.deepEqual(await toolsOf(client), ['read', 'read_file']);
			assert.equal((await client.send(ask('tools/call', { name: 'read' }))).rpc.result?.['called'], 'read');
			const { instance } = await cast.of('alpha');
			const heard = instance.received.length;
			for (const message of [
				ask('tools/call', { name: 'write' }),
				ask('resources/read', { uri: 'test://a' }),
				ask('prompts/get', { name: 'p' }),
				ask('completion/complete', { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'a', value: '' } }),
			])
				assert.equal(codeOf(await client.send(message)), 'SLIPWAY_FORBIDDEN', `${message.method}`);
			assert.equal(instance.received.length, heard, 'the server heard of none of it');
			for (const [method, member] of [
				['prompts/list', 'prompts'],
				['resources/list', 'resources'],
				['resources/templates/list', 'resourceTemplates'],
			] as const)
				assert.deepEqual((await client.send(ask(method))).rpc.result?.[member], []);
			const all = await connect(stack, '/mcp', key);
			assert.deepEqual(await toolsOf(all), ['alpha__read', 'alpha__read_file']);
			assert.equal((await all.send(ask('tools/call', { name: 'alpha__read' }))).rpc.result?.['called'], 'read');
			assert.ok((await all.send(ask('tools/call', { name: 'alpha__write' }))).rpc.error);
			assert.deepEqual((await all.send(ask('resources/list'))).rpc.result?.['resources'], []);
		});

		test('is told from a Snapshot no more than from the server', async (t) => {
			const { stack, keyFor } = await start(t, { snapshot: true, idleStopMs: 1 });
			const key = await keyFor('ci', 'tool:alpha/read');
			assert.deepEqual(await toolsOf(await connect(stack, '/servers/alpha/mcp', key)), ['read']);
			assert.deepEqual(await toolsOf(await connect(stack, '/mcp', key)), ['alpha__read']);
			stack.later(1000);
			while (stack.launcher.live.size > 0) await new Promise(setImmediate);
			const before = stack.launcher.launches;
			assert.deepEqual(await toolsOf(await connect(stack, '/servers/alpha/mcp', key)), ['read']);
			assert.deepEqual(await toolsOf(await connect(stack, '/mcp', key)), ['alpha__read']);
			assert.equal(stack.launcher.launches, before, 'it was a Snapshot');
		});

		test('has what the catalog denies no more, from the moment on', async (t) => {
			const { stack, change } = await start(t);
			const client = await connect(stack, '/servers/alpha/mcp', API_KEY);
			assert.deepEqual(await toolsOf(client), ['read', 'read_file', 'write']);
			change('alpha', { tools: { deny: ['write'] } });
			assert.deepEqual(await toolsOf(client), ['read', 'read_file']);
			assert.equal(codeOf(await client.send(ask('tools/call', { name: 'write' }))), 'SLIPWAY_FORBIDDEN');
			assert.deepEqual((await client.send(ask('resources/list'))).rpc.result?.['resources'], [
				{ uri: 'test://a', name: 'a' },
			]);
		});
	});

test('a name that stands twice is judged and sent as one', async (t) => {
	const { stack, cast, keyFor } = await start(t);
	const key = await keyFor('ci', 'tool:alpha/read');
	const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
	const sneaky = [
		'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write","arguments":{},"name":"read"}}',
		'{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"write"},"params":{"name":"read"}}',
		'{"jsonrpc":"2.0","id":3,"method":"tools/call","method":"tools/list","params":{"name":"write"}}',
	];
	for (const text of sneaky) assert.equal((await session.post(text)).status, 200);
	const { instance } = await cast.of('alpha');
	for (const line of instance.received.slice(-3)) {
		assert.equal(line.match(/"method"/g)?.length, 1, line);
		assert.equal(line.match(/"params"/g)?.length, 1, line);
		assert.doesNotMatch(line, /"name":"write".*"name"|tools\/call.*"write"/, line);
	}
	assert.deepEqual(methodsTo(instance).slice(-3), ['tools/call', 'tools/call', 'tools/list']);
});

describe('administration', () => {
	test('is for those with the scope, and for nobody else', async (t) => {
		const { stack, api, keyFor } = await start(t);
		const plain = await keyFor('plain', '*');
		const admin = await keyFor('admin', 'admin');
		for (const path of ['/status', '/metrics', '/api/keys']) {
			assert.equal((await api('GET', path, undefined, plain)).status, 403, path);
			assert.equal((await api('GET', path, undefined, admin)).status, 200, path);
			assert.equal((await stack.send({ path })).status, 401, path);
		}
		assert.equal((await api('POST', '/api/keys', { name: 'x', scopes: ['*', 'admin'] }, plain)).status, 403);
		assert.equal((await api('DELETE', '/api/keys/admin', undefined, plain)).status, 403);
		const session = await stack.send({
			method: 'POST',
			path: '/servers/alpha/mcp',
			headers: { ...POST_HEADERS, authorization: `Bearer ${admin}` },
			body: JSON.stringify(ask('initialize')),
		});
		assert.equal(session.status, 403, 'who administers need not use anything');
	});

	test('of keys makes, lists, rotates and revokes them, and says what is wrong', async (t) => {
		const { api, keyFor } = await start(t);
		const key = await keyFor('ci', 'server:alpha');
		const { keys } = JSON.parse((await api('GET', '/api/keys')).text);
		assert.deepEqual(
			keys.map(({ name, scopes }: { name: string; scopes: string[] }) => [name, scopes]),
			[['ci', ['server:alpha']]],
		);
		assert.doesNotMatch(JSON.stringify(keys), new RegExp(`${key}|hash`));
		assert.equal((await api('POST', '/api/keys', { name: 'ci', scopes: ['*'] })).status, 409);
		const bad = await api('POST', '/api/keys', { name: 'other', scopes: ['everything'] });
		assert.deepEqual([bad.status, codeOf(bad)], [400, 'SLIPWAY_KEY_INVALID']);
		assert.equal((await api('POST', '/api/keys/none/rotate', {})).status, 404);
		assert.equal((await api('DELETE', '/api/keys/none')).status, 404);
		assert.equal((await api('PUT', '/api/keys/ci', {})).status, 405);
		assert.equal((await api('POST', '/api/keys/ci/other', {})).status, 404);
		assert.equal((await api('GET', '/api/none')).status, 404);
		assert.equal((await api('DELETE', '/api/keys/ci')).status, 204);
		assert.deepEqual(JSON.parse((await api('GET', '/api/keys')).text), { keys: [] });
	});
});

describe('a key', () => {
	test('that is revoked ends its sessions, streams and calls at once, and those of nobody else', async (t) => {
		const { stack, cast, api, keyFor } = await start(t);
		const { 'tools/call': _, ...answers } = SCRIPT.answers ?? {};
		cast.recast({ alpha: { ...SCRIPT, answers } });
		const key = await keyFor('ci', 'server:alpha');
		const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		const other = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const [stream, others] = [await session.listen(), await other.listen()];
		const calling = session.post(call(1, 'read'));
		const modern = new ModernHttp(stack, { path: '/servers/alpha/mcp', key, capabilities: {} }).call('read');
		await (await cast.of('alpha')).hear('tools/call');
		await (await cast.of('alpha', 2)).hear('tools/call');
		assert.equal((await api('DELETE', '/api/keys/ci')).status, 204);
		await stream.closed;
		assert.ok((await calling).rpc.error);
		assert.ok((await modern.reply()).rpc.error);
		assert.equal((await session.post(ask('tools/list'))).status, 401);
		assert.equal((await other.post(ask('tools/list'))).status, 200);
		const left = await Promise.race([others.closed, new Promise((resolve) => setImmediate(resolve, 'open'))]);
		assert.equal(left, 'open');
		assert.equal(stack.launcher.live.size, 1);
	});

	test('that is rotated goes on with its session, and the old one is worth nothing', async (t) => {
		const { stack, api, keyFor } = await start(t);
		const key = await keyFor('ci', 'server:alpha');
		const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		const stream = await session.listen();
		const { key: next } = JSON.parse((await api('POST', '/api/keys/ci/rotate', {})).text);
		await stream.closed;
		assert.equal((await session.post(ask('tools/list'))).status, 401);
		const again = new SessionHttp(stack, '/servers/alpha/mcp', session.id, next);
		assert.equal((await again.post(ask('tools/list'))).status, 200);
	});

	test('has no part in a session of another, whatever it may use', async (t) => {
		const { stack, keyFor } = await start(t);
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const key = await keyFor('ci', '*');
		const thief = new SessionHttp(stack, '/servers/alpha/mcp', session.id, key);
		assert.equal((await thief.post(ask('tools/list'))).status, 404);
		assert.equal((await thief.end()).status, 404);
		assert.equal((await session.post(ask('tools/list'))).status, 200);
	});
});
