/** Arguments of tools, held against the schemas that servers list and what the catalog says, at every endpoint. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { ServerView } from '../../src/launcher/contract.ts';
import { SCHEMA_LIMITS } from '../../src/limits.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import { ask, type Reply } from '../support/http-client.ts';
import {
	AUTHORIZATION,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	startHttpStack,
} from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast, notification, type PlayedServer, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const READ = {
	type: 'object',
	properties: { path: { type: 'string' }, head: { type: 'integer' } },
	required: ['path'],
	additionalProperties: false,
};
const EVIL = { type: 'object', properties: { text: { type: 'string', pattern: '^(a+)+$' } } };

interface Setting {
	readonly stack: HttpStack;
	readonly cast: Cast;
	/** The schema of the tool `read`, for whoever asks for the list from here on. */
	schema: object;
	change(view: Partial<ServerView>): void;
}

async function start(
	t: Test,
	{ view = {}, script = {}, folder }: { view?: Partial<ServerView>; script?: Script; folder?: string } = {},
): Promise<Setting> {
	const stack = await startHttpStack(t, folder === undefined ? {} : { folder });
	const { launcher } = stack;
	// Definitions change here; what is held of that has tests of its own.
	const change = (changed: Partial<ServerView>): void => {
		launcher.state = {
			...launcher.state,
			servers: [serverView('alpha', { pin: 'off', ...changed }), serverView('beta', { pin: 'off', ...changed })],
		};
	};
	change(view);
	const played: Script = {
		...script,
		answers: {
			'tools/list': () => ({
				tools: [{ name: 'read', inputSchema: setting.schema }, { name: 'evil', inputSchema: EVIL }, { name: 'bare' }],
			}),
			'tools/call': (params) => ({ content: [], called: params['name'], with: params['arguments'] ?? null }),
		},
	};
	const setting: Setting = { stack, cast: new Cast(launcher, { alpha: played, beta: played }), schema: READ, change };
	return setting;
}

const LIST: Rpc = { jsonrpc: '2.0', id: 'list', method: 'tools/list', params: {} };
const callOf = (name: string, args?: unknown, id = 'call'): Rpc => ({
	jsonrpc: '2.0',
	id,
	method: 'tools/call',
	params: { name, ...(args === undefined ? {} : { arguments: args }) },
});

interface Client {
	send(message: Rpc): Promise<Reply>;
}

const legacy = async (stack: HttpStack, path: string, revision = '2025-11-25'): Promise<SessionHttp & Client> => {
	const session = await new SessionHttp(stack, path).open(revision);
	return Object.assign(session, { send: (message: Rpc) => session.post(message) });
};
const modern = async (stack: HttpStack, path: string): Promise<Client> => {
	const client = new ModernHttp(stack, { path, capabilities: {} });
	return { send: ({ method = '', params = {} }) => client.send(method, params) };
};

const textOf = ({ rpc }: Reply): unknown => {
	const content = rpc.result?.['content'];
	return Array.isArray(content) ? content[0]?.['text'] : undefined;
};
const codeOf = ({ rpc }: Reply): unknown => rpc.error?.data?.['code'];
const callsTo = ({ instance }: PlayedServer): number =>
	instance.received.filter((line) => JSON.parse(line).method === 'tools/call').length;

const WAYS: readonly [
	era: string,
	connect: (stack: HttpStack, path: string) => Promise<Client>,
	path: string,
	prefix: string,
][] = [
	['legacy', legacy, '/servers/alpha/mcp', ''],
	['legacy', legacy, '/mcp', 'alpha__'],
	['legacy', legacy, '/groups/pair/mcp', 'alpha__'],
	['modern', modern, '/servers/alpha/mcp', ''],
	['modern', modern, '/mcp', 'alpha__'],
];

for (const [clientEra, connect, path, prefix] of WAYS)
	for (const era of ['legacy', 'modern'] as const)
		describe(`a client of the ${clientEra} era at ${path} of a server of the ${era} era`, () => {
			test('is told in a result what is wrong with its arguments, and the server hears nothing of them', async (t) => {
				const { stack, cast } = await start(t, { script: { era } });
				const client = await connect(stack, path);
				await client.send(LIST);
				assert.deepEqual((await client.send(callOf(`${prefix}read`, { path: '/a' }))).rpc.result?.['with'], {
					path: '/a',
				});
				const server = await cast.of('alpha');
				const before = callsTo(server);
				for (const [args, wrong] of [
					[{ path: 5 }, /`arguments\/path` must be string/],
					[{}, /must have required property 'path'/],
					[undefined, /must have required property 'path'/],
					[{ path: '/a', more: 1 }, /must NOT have additional properties: "more"/],
					[['/a'], /must be object/],
				] as const) {
					const reply = await client.send(callOf(`${prefix}read`, args));
					assert.equal(reply.status, 200, reply.text);
					assert.equal(reply.rpc.result?.['isError'], true, reply.text);
					assert.match(String(textOf(reply)), wrong);
					assert.equal(reply.rpc.result?.['resultType'], clientEra === 'modern' ? 'complete' : undefined);
				}
				assert.equal(callsTo(server), before);
			});

			test('calls as it likes what has no schema, what was never listed, and what cannot be looked at', async (t) => {
				const { stack } = await start(t, { script: { era } });
				const client = await connect(stack, path);
				const early = await client.send(callOf(`${prefix}read`, { path: 5 }));
				assert.deepEqual(early.rpc.result?.['with'], { path: 5 }, 'before there was a list');
				await client.send(LIST);
				assert.deepEqual((await client.send(callOf(`${prefix}bare`, { a: 1 }))).rpc.result?.['with'], { a: 1 });
				assert.deepEqual((await client.send(callOf(`${prefix}other`, { a: 1 }))).rpc.result?.['with'], { a: 1 });
			});

			test('is held against the list that it was given last', async (t) => {
				const setting = await start(t, { script: { era } });
				const client = await connect(setting.stack, path);
				await client.send(LIST);
				assert.equal((await client.send(callOf(`${prefix}read`, { url: 'x' }))).rpc.result?.['isError'], true);
				setting.schema = { type: 'object', properties: { url: { type: 'string' } }, required: ['url'] };
				(await setting.cast.of('alpha')).say(notification('notifications/tools/list_changed'));
				await client.send(LIST);
				assert.deepEqual((await client.send(callOf(`${prefix}read`, { url: 'x' }))).rpc.result?.['with'], { url: 'x' });
				assert.equal((await client.send(callOf(`${prefix}read`, { path: '/a' }))).rpc.result?.['isError'], true);
			});

			test('may not use arguments that the catalog does not allow, and is told no value', async (t) => {
				const rules = { 'r*': JSON.stringify({ properties: { path: { type: 'string', pattern: '^/data/' } } }) };
				const { stack, cast, change } = await start(t, { script: { era }, view: { tools: { arguments: rules } } });
				const client = await connect(stack, path);
				assert.ok((await client.send(callOf(`${prefix}read`, { path: '/data/a' }))).rpc.result);
				const server = await cast.of('alpha');
				const before = callsTo(server);
				const reply = await client.send(callOf(`${prefix}read`, { path: '/etc/secret' }));
				assert.deepEqual([reply.status, codeOf(reply)], [403, 'SLIPWAY_ARGUMENTS_FORBIDDEN'], reply.text);
				assert.match(reply.text, /arguments\/path/);
				assert.ok(!reply.text.includes('secret'));
				assert.equal(callsTo(server), before);
				assert.ok((await client.send(callOf(`${prefix}bare`, { path: '/etc' }))).rpc.result, 'another tool');
				change({});
				assert.ok((await client.send(callOf(`${prefix}read`, { path: '/etc' }))).rpc.result, 'at once');
			});
		});

describe('a session of a revision before 2025-11-25', () => {
	test('is answered with -32602, in a batch and on the stream of HTTP+SSE too', async (t) => {
		const { stack } = await start(t, { script: { protocolVersion: '2025-03-26' } });
		const client = await legacy(stack, '/servers/alpha/mcp', '2025-03-26');
		await client.send(LIST);
		const reply = await client.send(callOf('read', {}));
		assert.deepEqual([reply.status, reply.rpc.error?.code, codeOf(reply)], [200, -32602, 'SLIPWAY_ARGUMENTS_INVALID']);
		assert.match(String(reply.rpc.error?.message), /must have required property 'path'/);
		const batch = await client.post([callOf('read', {}, 'bad'), callOf('read', { path: '/a' }, 'good')]);
		const answers = batch.text
			.split('\n')
			.flatMap((line) => (line.startsWith('data: ') ? [JSON.parse(line.slice(6))] : []));
		const bad = answers.find(({ id }) => id === 'bad');
		assert.equal(bad?.error?.code, -32602, batch.text);
		assert.deepEqual(answers.find(({ id }) => id === 'good')?.result.with, { path: '/a' });
	});

	test('at an aggregated endpoint likewise, whatever the server speaks', async (t) => {
		const { stack } = await start(t);
		const client = await legacy(stack, '/mcp', '2025-06-18');
		await client.send(LIST);
		assert.equal((await client.send(callOf('alpha__read', {}))).rpc.error?.code, -32602);
	});
});

test('on HTTP+SSE the refusal comes on the stream, where its client waits for it', async (t) => {
	const { stack } = await start(t, { script: { protocolVersion: '2024-11-05' } });
	const headers = { ...AUTHORIZATION, accept: 'text/event-stream' };
	const response = await ask(stack.port, { path: '/servers/alpha/sse', headers });
	t.after(() => response.destroy());
	const chunks = response[Symbol.asyncIterator]();
	let text = '';
	const seen = async (pattern: RegExp): Promise<string> => {
		for (let found = pattern.exec(text); ; found = pattern.exec(text)) {
			if (found !== null) return found[1] ?? '';
			text += String((await chunks.next()).value);
		}
	};
	const path = await seen(/^data: (\S+)$/m);
	const post = async (body: Rpc): Promise<void> => {
		const { status } = await stack.send({ method: 'POST', path, headers: POST_HEADERS, body: JSON.stringify(body) });
		assert.equal(status, 202);
	};
	await post(initializeRequest('2024-11-05'));
	await seen(/("protocolVersion")/);
	await post(LIST);
	await seen(/("tools":\[)/);
	await post(callOf('read', {}));
	const { id, error } = JSON.parse(await seen(/^data: (.*SLIPWAY_ARGUMENTS_INVALID.*)$/m));
	assert.deepEqual([id, error.code], ['call', -32602]);
});

test('who asks for a task is refused with an error: a result would be taken for the task', async (t) => {
	const { stack } = await start(t);
	const client = await legacy(stack, '/servers/alpha/mcp');
	await client.send(LIST);
	const message = callOf('read', {});
	const reply = await client.send({ ...message, params: { ...message.params, task: { ttl: 1000 } } });
	assert.equal(reply.rpc.error?.code, -32602, reply.text);
});

test('an id can be used again after a refusal, and a refused call is not in flight', async (t) => {
	const { stack } = await start(t);
	const client = await legacy(stack, '/servers/alpha/mcp');
	await client.send(LIST);
	for (let time = 0; time < 40; time++)
		assert.equal((await client.send(callOf('read', {}))).rpc.result?.['isError'], true);
});

test('bytes pass as they came: the order of members, big numbers and escapes', async (t) => {
	const { stack, cast } = await start(t);
	const client = await legacy(stack, '/servers/alpha/mcp');
	await client.send(LIST);
	const args = '{"head":1.0e0,"path":"\\u0041/\\/ 😀"}';
	await client.post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read","arguments":${args}}}`);
	const { instance } = await cast.of('alpha');
	assert.ok(instance.received.some((line) => line.includes(args)));
});

test('one conversation is not held against what another was shown', async (t) => {
	const setting = await start(t);
	const one = await legacy(setting.stack, '/servers/alpha/mcp');
	await one.send(LIST);
	setting.schema = { type: 'object', required: ['url'] };
	const other = await legacy(setting.stack, '/servers/alpha/mcp');
	await other.send(LIST);
	assert.ok((await one.send(callOf('read', { path: '/a' }))).rpc.result?.['with'], 'its own list');
	assert.equal((await other.send(callOf('read', { path: '/a' }))).rpc.result?.['isError'], true);
	const third = await legacy(setting.stack, '/servers/alpha/mcp');
	assert.deepEqual((await third.send(callOf('read', { a: 1 }))).rpc.result?.['with'], { a: 1 }, 'nobody knows which');
});

test('a server that has described a tool to everybody alike is held to it before a list is asked for', async (t) => {
	const { stack } = await start(t);
	await (await legacy(stack, '/servers/alpha/mcp')).send(LIST);
	const late = await legacy(stack, '/servers/alpha/mcp');
	assert.equal((await late.send(callOf('read', {}))).rpc.result?.['isError'], true);
});

test('what a Snapshot says holds in the next process, and no container is started for a call that is refused', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-arguments-'));
	t.after(() => rm(folder, { recursive: true }));
	const view = { snapshot: true };
	const first = await start(t, { view, folder });
	const client = await legacy(first.stack, '/servers/alpha/mcp');
	await client.send(LIST);
	await first.stack.stop();
	const { stack } = await start(t, { view, folder });
	const again = await legacy(stack, '/servers/alpha/mcp');
	assert.equal((await again.send(callOf('read', {}))).rpc.result?.['isError'], true);
	assert.equal(stack.launcher.launches, 0);
});

test('`validate: false` leaves it to the server, from the next call on', async (t) => {
	const { stack, change } = await start(t);
	const client = await legacy(stack, '/servers/alpha/mcp');
	await client.send(LIST);
	assert.equal((await client.send(callOf('read', {}))).rpc.result?.['isError'], true);
	change({ tools: { validate: false } });
	assert.deepEqual((await client.send(callOf('read', {}))).rpc.result?.['with'], {});
});

test('a pattern that backtracks keeps nobody for long, and its calls go through', async (t) => {
	const { stack } = await start(t);
	const client = await legacy(stack, '/servers/alpha/mcp');
	await client.send(LIST);
	const text = `${'a'.repeat(64)}!`;
	for (let time = 0; time < SCHEMA_LIMITS.lateMax + 2; time++) {
		const startedAtMs = process.hrtime.bigint();
		assert.deepEqual((await client.send(callOf('evil', { text }))).rpc.result?.['with'], { text });
		assert.ok(
			Number(process.hrtime.bigint() - startedAtMs) / 1e6 < SCHEMA_LIMITS.lookMs + SCHEMA_LIMITS.compileMs + 1_000,
		);
	}
});

describe('what the catalog says of arguments', () => {
	const rules = { read: JSON.stringify({ properties: { path: { pattern: '^/data/' } }, required: ['path'] }) };
	const post = async (t: Test, params: string): Promise<Reply> => {
		const { stack } = await start(t, { view: { tools: { arguments: rules, validate: false } } });
		const client = await legacy(stack, '/servers/alpha/mcp');
		return client.post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
	};
	for (const [what, params] of [
		['a member that stands twice', '{"name":"read","arguments":{"path":"/etc","path":"/data/a"}}'],
		[
			'a member that stands twice, once with an escape',
			'{"name":"read","arguments":{"p\\u0061th":"/etc","path":"/data/a"}}',
		],
		['arguments that stand twice', '{"name":"read","arguments":{"path":"/etc"},"arguments":{"path":"/data/a"}}'],
		['a member that stands twice further in', '{"name":"read","arguments":{"path":"/data/a","more":[{"a":1,"a":2}]}}'],
		['a name with a backslash', '{"name":"read","arguments":{"path":"/data/a","pa\\\\":1}}'],
		['no arguments', '{"name":"read"}'],
		['arguments that are none', '{"name":"read","arguments":"/etc"}'],
	] as const)
		test(`lets nothing through that can be read in two ways, or does not fit: ${what}`, async (t) => {
			const reply = await post(t, params);
			if (what === 'arguments that are none')
				assert.ok(reply.rpc.result, 'a schema without a type says nothing of these');
			else assert.deepEqual([reply.status, codeOf(reply)], [403, 'SLIPWAY_ARGUMENTS_FORBIDDEN'], reply.text);
		});

	test('holds for the tool that the server reads: of two names the one that counts here is passed on', async (t) => {
		const { stack, cast } = await start(t, { view: { tools: { arguments: rules, validate: false } } });
		const client = await legacy(stack, '/servers/alpha/mcp');
		const params = '{"name":"read","name":"bare","arguments":{"path":"/etc"}}';
		await client.post(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":${params}}`);
		const line =
			(await cast.of('alpha')).instance.received.find((text) => text.includes('tools/call')) ?? assert.fail();
		assert.ok(!line.includes('"read"'), line);
	});

	test('lets nothing through that takes too long to look at', async (t) => {
		const slow = { read: JSON.stringify({ properties: { path: { pattern: '^(a+)+$' } } }) };
		const { stack } = await start(t, { view: { tools: { arguments: slow } } });
		const client = await legacy(stack, '/servers/alpha/mcp');
		const reply = await client.send(callOf('read', { path: `${'a'.repeat(64)}!` }));
		assert.deepEqual([reply.status, codeOf(reply)], [403, 'SLIPWAY_ARGUMENTS_FORBIDDEN']);
	});
});
