/** Clients are told what a server has without an Instance, where it has said so before, and told when it has changed. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { serverView } from '../support/fake-launcher.ts';
import type { Reply, Stream } from '../support/http-client.ts';
import { call, type HttpStack, initializeRequest, startHttpStack } from '../support/http-stack.ts';
import { allowKeys, ModernHttp } from '../support/modern-http.ts';
import { Cast, methodsTo, notification, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const PATH = '/servers/snap/mcp';
const CAPABILITIES = { tools: { listChanged: true }, prompts: {}, resources: {} };

/** What the server has now; a test may change it. */
interface Has {
	tools: string[];
	prompts: string[];
	templates: string[];
}

interface Setting {
	readonly stack: HttpStack;
	readonly cast: Cast;
	readonly has: Has;
	/** Opens a session, and lists all that a client looks at first. */
	meet(revision?: string, capabilities?: object): Promise<SessionHttp>;
}

function scriptOf(has: Has, capabilities: Record<string, unknown> = CAPABILITIES): Script {
	const named = (names: readonly string[]) => names.map((name) => ({ name, inputSchema: { type: 'object' } }));
	return {
		capabilities,
		answers: {
			'tools/list': () => ({ tools: named(has.tools) }),
			'prompts/list': () => ({ prompts: named(has.prompts) }),
			'resources/templates/list': () => ({
				resourceTemplates: has.templates.map((uriTemplate) => ({ uriTemplate, name: uriTemplate })),
			}),
			'resources/list': () => ({ resources: [] }),
			'tools/call': (params) => ({ content: [], echo: params['name'] }),
		},
	};
}

async function start(t: Test, options: { folder?: string; snapshot?: boolean; spec?: string } = {}): Promise<Setting> {
	const { folder, snapshot = true, spec = 'build-1' } = options;
	const stack = await startHttpStack(t, folder === undefined ? {} : { folder });
	stack.launcher.state = { ...stack.launcher.state, servers: [serverView('snap', { snapshot, spec })] };
	const has: Has = { tools: ['a', 'b'], prompts: ['p'], templates: ['t:{x}'] };
	const cast = new Cast(stack.launcher, { snap: scriptOf(has) });
	return {
		stack,
		cast,
		has,
		meet: async (revision, capabilities) => {
			const session = await new SessionHttp(stack, PATH).open(revision, capabilities);
			for (const method of ['tools/list', 'prompts/list', 'resources/templates/list'])
				assert.equal((await list(session, method)).status, 200);
			return session;
		},
	};
}

function list(session: SessionHttp, method = 'tools/list', params?: object): Promise<Reply> {
	return session.post({ jsonrpc: '2.0', id: 'l', method, ...(params === undefined ? {} : { params }) });
}

async function toolsOf(session: SessionHttp): Promise<unknown[]> {
	return namesOf(await list(session));
}

describe('a server that has said what it has', () => {
	test('is not started for initialize and lists, and is told all of the client at its first call', async (t) => {
		const { stack, cast, meet } = await start(t);
		const first = await meet();
		assert.equal(stack.launcher.launches, 1);
		const session = new SessionHttp(stack, PATH);
		const { rpc, headers } = await session.initialize();
		assert.equal(typeof headers['mcp-session-id'], 'string');
		assert.deepEqual(rpc.result?.['capabilities'], CAPABILITIES);
		assert.equal(rpc.result?.['protocolVersion'], '2025-11-25');
		await session.post(notification('notifications/initialized'));
		assert.deepEqual(await toolsOf(session), ['a', 'b']);
		const prompts = await list(session, 'prompts/list');
		assert.deepEqual(prompts.rpc, (await list(first, 'prompts/list')).rpc, 'to the last member');
		assert.equal(stack.launcher.launches, 1);
		const answer = await session.post(call(7, 'a'));
		assert.equal(answer.rpc.result?.['echo'], 'a');
		assert.equal(stack.launcher.launches, 2);
		const { instance } = await cast.of('snap', 1);
		const heard = methodsTo(instance);
		assert.deepEqual(heard.slice(0, 2), ['initialize', 'notifications/initialized']);
		assert.deepEqual(heard.slice(2).sort(), ['prompts/list', 'tools/call', 'tools/list']);
		const told = JSON.parse(instance.received[0] ?? '').params;
		assert.deepEqual(told.clientInfo, { name: 'test', version: '1' });
	});

	test('is started for what is not in a Snapshot: resources are data', async (t) => {
		const { stack, meet } = await start(t);
		await meet();
		const session = await new SessionHttp(stack, PATH).open();
		assert.deepEqual((await list(session, 'resources/list')).rpc.result, { resources: [] });
		assert.equal(stack.launcher.launches, 2);
	});

	test('has a session that ends without ever having had an Instance', async (t) => {
		const { stack, meet } = await start(t);
		await (await meet()).end();
		const session = await meet();
		assert.equal((await session.end()).status, 200);
		assert.equal(stack.launcher.launches, 1);
		assert.equal((await list(session)).status, 404);
	});

	test('is started for another caller with a session, at its endpoint and at that of all', async (t) => {
		allowKeys(t, 'other');
		const { stack, meet } = await start(t);
		await meet();
		const authorization = { authorization: 'Bearer other' };
		const { headers } = await stack.post('snap', initializeRequest(), authorization);
		assert.equal(stack.launcher.launches, 2);
		await stack.post(
			'snap',
			{ jsonrpc: '2.0', id: 1, method: 'tools/list' },
			{ ...authorization, 'mcp-session-id': String(headers['mcp-session-id']) },
		);
		const many = await new SessionHttp(stack, '/mcp').open();
		await list(many);
		assert.equal(stack.launcher.launches, 2, 'the first one is known');
	});

	for (const [title, revision, capabilities] of [
		['of another revision', '2025-06-18', {}],
		['that can do something else', '2025-11-25', { sampling: {} }],
	] as const)
		test(`is started for a client ${title}: it may have other things for it`, async (t) => {
			const { stack, meet } = await start(t);
			await meet();
			await meet(revision, capabilities);
			assert.equal(stack.launcher.launches, 2);
			await meet(revision, capabilities);
			assert.equal(stack.launcher.launches, 2);
		});

	test('is started again when it is made of something else', async (t) => {
		const { stack, meet, has } = await start(t);
		await meet();
		stack.launcher.state = {
			...stack.launcher.state,
			servers: [serverView('snap', { snapshot: true, spec: 'build-2' })],
		};
		has.tools = ['c'];
		const session = await meet();
		assert.equal(stack.launcher.launches, 2);
		assert.deepEqual(await toolsOf(session), ['c']);
	});

	test('is asked each time where the catalog says so', async (t) => {
		const { stack, meet } = await start(t, { snapshot: false });
		await meet();
		await meet();
		assert.equal(stack.launcher.launches, 2);
	});

	test('refuses what is no initialize itself', async (t) => {
		const { stack, cast, meet } = await start(t);
		await meet();
		cast.recast({ snap: { era: 'none' } });
		for (const [nth, params] of [
			{},
			{ protocolVersion: '2025-11-25', capabilities: [], clientInfo: { name: 'test', version: '1' } },
			{ protocolVersion: '2025-11-25', capabilities: {} },
		].entries()) {
			const { rpc } = await stack.post('snap', { jsonrpc: '2.0', id: 0, method: 'initialize', params });
			assert.equal(rpc.error?.message, 'No licence');
			assert.equal(stack.launcher.launches, nth + 2);
		}
	});

	test('has not to say it again to the next process', async (t) => {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-snapshots-'));
		t.after(() => rm(folder, { recursive: true }));
		const first = await start(t, { folder });
		await first.meet();
		await first.stack.stop();
		const second = await start(t, { folder });
		await second.meet();
		assert.equal(second.stack.launcher.launches, 0);
	});
});

describe('what has changed', () => {
	test('is told as a change of that list when the Instance is there, once, and to the next client at once', async (t) => {
		const { stack, meet, has } = await start(t);
		await meet();
		const session = await meet();
		const events = await session.listen();
		has.tools = ['a', 'new'];
		await session.post(call(1, 'a'));
		assert.deepEqual(await events.next(), notification('notifications/tools/list_changed'));
		assert.deepEqual(await toolsOf(session), ['a', 'new']);
		const next = await meet();
		assert.deepEqual(await toolsOf(next), ['a', 'new']);
		assert.equal(stack.launcher.launches, 2);
		await session.end();
		assert.deepEqual(await events.rest(), []);
	});

	test('in the catalog is told at once, also where there is no Instance, by one server and by all as one', async (t) => {
		const { stack, meet } = await start(t);
		await meet();
		const session = await meet();
		const many = await new SessionHttp(stack, '/mcp').open();
		await list(many);
		assert.equal(stack.launcher.launches, 1);
		const streams = [await session.listen(), await many.listen()];
		const servers = [serverView('snap', { snapshot: true, spec: 'build-2' })];
		stack.launcher.state = { ...stack.launcher.state, servers };
		stack.later(0);
		for (const stream of streams)
			assert.deepEqual(await stream.next(), notification('notifications/tools/list_changed'));
	});

	test('is told to nobody who was not told otherwise', async (t) => {
		const { stack, cast, meet, has } = await start(t);
		await meet();
		const session = await new SessionHttp(stack, PATH).open();
		has.tools = ['other'];
		await session.post(call(1, 'a'));
		const { instance } = await cast.of('snap', 1);
		assert.ok(!methodsTo(instance).includes('tools/list'));
	});

	test('by a call of one client is not what another one is told', async (t) => {
		const { stack, meet, has } = await start(t);
		const session = await meet();
		await session.post(call(1, 'a'));
		has.tools = ['a', 'b', 'mine'];
		assert.deepEqual(await toolsOf(session), ['a', 'b', 'mine']);
		assert.deepEqual(await toolsOf(await meet()), ['a', 'b']);
		assert.equal(stack.launcher.launches, 1);
	});

	test('of the revision that the server speaks ends the session, so that its client begins anew', async (t) => {
		const { stack, cast, meet } = await start(t);
		await meet();
		const session = await meet();
		cast.recast({ snap: { ...scriptOf({ tools: [], prompts: [], templates: [] }), protocolVersion: '2025-06-18' } });
		assert.equal((await session.post(call(1, 'a'))).status, 404);
		assert.equal((await list(session)).status, 404);
		assert.equal(stack.launcher.live.size, 1, 'that of the first session');
	});
});

describe('a list with pages', () => {
	const pages: Record<string, object> = {
		first: { tools: [{ name: 'a' }], nextCursor: 'two' },
		two: { tools: [{ name: 'b' }] },
	};
	const script: Script = {
		capabilities: { tools: {} },
		answers: { 'tools/list': ({ cursor }) => pages[typeof cursor === 'string' ? cursor : 'first'] },
	};

	async function startPaged(t: Test): Promise<{ stack: HttpStack; open: () => Promise<SessionHttp> }> {
		const { stack, cast } = await start(t);
		cast.recast({ snap: script });
		return { stack, open: () => new SessionHttp(stack, PATH).open() };
	}

	test('is known when all of them are', async (t) => {
		const { stack, open } = await startPaged(t);
		const first = await open();
		await list(first);
		// The last page was not asked for, so nobody is told the first.
		await list(await open());
		assert.equal(stack.launcher.launches, 2);
		await list(first, 'tools/list', { cursor: 'two' });
		const session = await open();
		assert.deepEqual((await list(session)).rpc.result, pages['first']);
		assert.deepEqual((await list(session, 'tools/list', { cursor: 'two' })).rpc.result, pages['two']);
		assert.equal(stack.launcher.launches, 2);
	});

	test('is not known with a cursor that nobody gave', async (t) => {
		const { stack, open } = await startPaged(t);
		const first = await open();
		await list(first);
		await list(first, 'tools/list', { cursor: 'two' });
		const session = await open();
		const asking = list(session, 'tools/list', { cursor: 'three' });
		while (stack.launcher.launches < 2) await new Promise(setImmediate);
		await session.end();
		await asking;
	});
});

for (const era of ['legacy', 'modern'] as const)
	describe(`for clients of the second era, a server of the ${era} one`, () => {
		async function startIn(t: Test) {
			const { stack, cast, has } = await start(t);
			cast.recast({ snap: { ...scriptOf(has), era } });
			const client = new ModernHttp(stack, { path: PATH, capabilities: {} });
			const [discovered, listed] = [await client.send('server/discover'), await client.send('tools/list')];
			assert.equal(stack.launcher.launches, 1);
			return { stack, cast, has, client, discovered, listed };
		}

		/** Nobody asks for anything until its Instance is stopped. */
		async function idle({ stack, cast }: { stack: HttpStack; cast: Cast }): Promise<void> {
			const { instance } = await cast.of('snap');
			stack.later(INSTANCE_LIMITS.idleStopMs + 1);
			await instance.ended;
			while (stack.launcher.live.size > 0) await new Promise(setImmediate);
		}

		test('is not started for discovery and lists, and is for a call', async (t) => {
			const setting = await startIn(t);
			const { stack, client, discovered, listed } = setting;
			await idle(setting);
			assert.deepEqual((await client.send('server/discover')).rpc.result, discovered.rpc.result);
			assert.deepEqual((await client.send('tools/list')).rpc.result, listed.rpc.result);
			assert.equal(stack.launcher.launches, 1);
			const { rpc } = await client.call('a').reply();
			assert.equal(rpc.result?.['echo'], 'a');
			assert.equal(stack.launcher.launches, 2);
		});

		test('is started for a client that can do something else', async (t) => {
			const setting = await startIn(t);
			const { stack } = setting;
			await idle(setting);
			const other = new ModernHttp(stack, { path: PATH, capabilities: { sampling: {} } });
			assert.equal((await other.send('tools/list')).status, 200);
			assert.equal(stack.launcher.launches, 2);
		});

		test('is started for another caller: what it says may be of what the first one told it', async (t) => {
			allowKeys(t, 'other');
			const setting = await startIn(t);
			const { stack } = setting;
			await idle(setting);
			const other = new ModernHttp(stack, { path: PATH, capabilities: {}, key: 'other' });
			for (const method of ['server/discover', 'tools/list']) assert.equal((await other.send(method)).status, 200);
			assert.equal(stack.launcher.launches, 2);
			// And nobody is started for either again.
			stack.later(INSTANCE_LIMITS.idleStopMs + 1);
			while (stack.launcher.live.size > 0) await new Promise(setImmediate);
			for (const client of [other, setting.client]) await client.send('tools/list');
			assert.equal(stack.launcher.launches, 2);
		});

		test('is asked again when there is an Instance, for who comes next', async (t) => {
			const setting = await startIn(t);
			const { stack, has, client } = setting;
			await idle(setting);
			has.tools = ['changed'];
			await client.call('a').reply();
			const now = await client.send('tools/list');
			assert.deepEqual(namesOf(now), ['changed']);
			stack.later(INSTANCE_LIMITS.idleStopMs + 1);
			while (stack.launcher.live.size > 0) await new Promise(setImmediate);
			assert.deepEqual(namesOf(await client.send('tools/list')), ['changed']);
			assert.equal(stack.launcher.launches, 2);
		});
	});

function namesOf({ rpc }: Reply): unknown[] {
	const tools: unknown = rpc.result?.['tools'];
	assert.ok(Array.isArray(tools));
	return tools.map(({ name }) => name);
}

describe('many servers as one', () => {
	for (const era of ['legacy', 'modern'] as const)
		test(`are not started for the lists of a ${era} client where what they have is known, and told when it was otherwise`, async (t) => {
			const { stack, cast, has } = await start(t);
			const view = (name: string) => serverView(name, { snapshot: true });
			stack.launcher.state = { ...stack.launcher.state, servers: [view('snap'), view('data'), view('bare')] };
			cast.recast({
				snap: scriptOf(has, { tools: {} }),
				data: { ...scriptOf(has), era: 'modern' },
				bare: scriptOf(has, { prompts: {} }),
			});
			const client = () => clientOf(stack, era);
			const first = await client();
			const known = await first.names('tools/list');
			assert.deepEqual(known, ['snap__a', 'snap__b', 'data__a', 'data__b']);
			await first.names('prompts/list');
			assert.equal(stack.launcher.launches, 3);
			stack.later(INSTANCE_LIMITS.idleStopMs + 1);
			while (stack.launcher.live.size > 0) await new Promise(setImmediate);
			const second = await client();
			assert.deepEqual(await second.names('tools/list'), known);
			assert.deepEqual(await second.names('prompts/list'), ['data__p', 'bare__p']);
			assert.equal(stack.launcher.launches, 3);
			const changes = await second.changes();
			assert.equal(stack.launcher.launches, 3);
			// Resources are data: they are asked for where there are any.
			await second.names('resources/list');
			assert.deepEqual(
				stack.launcher.launched.items.slice(3).map(({ server }) => server),
				['data'],
			);
			has.tools = ['a', 'new'];
			await second.call('snap__a');
			assert.equal((await changes.next()).method, 'notifications/tools/list_changed');
			assert.deepEqual(await second.names('tools/list'), ['snap__a', 'snap__new', 'data__a', 'data__new']);
		});
});

interface AnyClient {
	names(method: string): Promise<unknown[]>;
	call(name: string): Promise<unknown>;
	/** What it is told of changes. */
	changes(): Promise<Stream>;
}

async function clientOf(stack: HttpStack, era: 'legacy' | 'modern'): Promise<AnyClient> {
	if (era === 'modern') {
		const client = new ModernHttp(stack, { path: '/mcp', capabilities: {} });
		return {
			names: async (method) => entriesOf(await client.send(method)),
			call: (name) => client.call(name).reply(),
			changes: async () => {
				const stream = await client
					.begin('subscriptions/listen', { notifications: { toolsListChanged: true } })
					.stream();
				await stream.next();
				return stream;
			},
		};
	}
	const session = await new SessionHttp(stack, '/mcp').open();
	return {
		names: async (method) => entriesOf(await list(session, method)),
		call: (name) => session.post(call(1, name)),
		changes: () => session.listen(),
	};
}

function entriesOf({ rpc }: Reply): unknown[] {
	const entries = Object.values(rpc.result ?? {}).find((member) => Array.isArray(member));
	assert.ok(Array.isArray(entries), JSON.stringify(rpc));
	return entries.map(({ name }) => name);
}
