/** What callers may have at once and in a minute: one that has all of its own takes nothing of another, and gives all back. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Config } from '../../src/config.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, call, type HttpStack, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast, failure, type Heard, notification, type PlayedServer, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

async function start(t: Test, config: Partial<Config>, view: Partial<ServerView> = {}, script: Script = {}) {
	const stack = await startHttpStack(t, { config });
	const { launcher } = stack;
	launcher.state = { ...launcher.state, servers: ['alpha', 'beta'].map((name) => serverView(name, view)) };
	const played = { answers: { 'tools/list': () => ({ tools: [] }) }, ...script };
	const cast = new Cast(launcher, { alpha: played, beta: played });
	const keyFor = async (name: string, body: object = {}): Promise<string> => {
		const { status, text } = await stack.send({
			method: 'POST',
			path: '/api/keys',
			headers: { ...POST_HEADERS, authorization: `Bearer ${API_KEY}` },
			body: JSON.stringify({ name, scopes: ['*'], ...body }),
		});
		assert.equal(status, 201, text);
		return JSON.parse(text).key;
	};
	return { stack, cast, keyFor };
}

const codeOf = ({ status, rpc }: Reply): unknown[] => [status, rpc.error?.data?.['code']];
const LIST: Rpc = { jsonrpc: '2.0', id: 'list', method: 'tools/list' };

/** A call that waits for its answer. */
interface Waiting {
	readonly reply: Promise<Reply>;
	readonly heard: Heard;
}

describe('calls in flight', () => {
	let lastId = 0;

	/** Has a call be heard by the server. */
	async function wait(server: PlayedServer, send: (message: Rpc) => Promise<Reply>, name = 'slow'): Promise<Waiting> {
		const reply = send(call(++lastId, name));
		reply.catch(() => undefined);
		return { reply, heard: await server.hear('tools/call') };
	}

	/** A session whose server is there. */
	async function openAt(stack: HttpStack, cast: Cast, key = API_KEY, nth = 0) {
		const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		return { session, server: await cast.of('alpha', nth), post: (message: Rpc) => session.post(message) };
	}

	const ENDS: Readonly<
		Record<
			string,
			(setting: {
				stack: HttpStack;
				session: SessionHttp;
				server: PlayedServer;
				waiting: Waiting;
				id: number;
			}) => Promise<void>
		>
	> = {
		'the answer': async ({ server, waiting }) => {
			server.say({ jsonrpc: '2.0', id: waiting.heard.id, result: { content: [] } });
			await waiting.reply;
		},
		'an error of the server': async ({ server, waiting }) => {
			server.say(failure(waiting.heard.id, { code: -32000, message: 'no' }));
			await waiting.reply;
		},
		'a cancellation': async ({ session, server, id }) => {
			assert.equal((await session.post(notification('notifications/cancelled', { requestId: id }))).status, 202);
			await server.hear('notifications/cancelled');
		},
		'the time that it may take': async ({ stack, server, waiting }) => {
			stack.later(61_000);
			await waiting.reply;
			await server.hear('notifications/cancelled');
		},
		'the end of the server': async ({ server, waiting }) => {
			server.exit();
			await waiting.reply;
		},
	};
	for (const [what, end] of Object.entries(ENDS))
		test(`of a caller are bounded, and one is given back with ${what}`, async (t) => {
			const { stack, cast } = await start(t, { callsInFlightMax: 1 });
			const { session, server, post } = await openAt(stack, cast);
			const sending = wait(server, post);
			const id = lastId;
			const waiting = await sending;
			const refused = await post(call('more'));
			assert.deepEqual(codeOf(refused), [429, 'SLIPWAY_CALLS_FULL']);
			assert.equal(refused.headers['retry-after'], '1');
			assert.equal((await post(LIST)).status, 200, 'what is no call is free');
			await end({ stack, session, server, waiting, id });
			const next = post(call('next'));
			const answering = what === 'the end of the server' ? await cast.of('alpha', 1) : server;
			answering.say({ jsonrpc: '2.0', id: (await answering.hear('tools/call')).id, result: { content: [] } });
			assert.equal((await next).status, 200);
		});

	test('of a caller are those of all its sessions, servers and eras, and none of another’s', async (t) => {
		const { stack, cast, keyFor } = await start(t, { callsInFlightMax: 2 });
		const mine = await openAt(stack, cast);
		stack.launcher.state = { ...stack.launcher.state, groups: { only: [serverView('beta').name] } };
		const all = await new SessionHttp(stack, '/groups/only/mcp').open();
		const one = await wait(mine.server, mine.post);
		const sending = all.post(call('b', 'beta__slow'));
		const beta = await cast.of('beta');
		const { id } = await beta.hear('tools/call');
		const modern = new ModernHttp(stack, { path: '/servers/alpha/mcp', capabilities: {} });
		const { launches } = stack.launcher;
		assert.deepEqual(codeOf(await modern.call('slow').reply()), [429, 'SLIPWAY_CALLS_FULL']);
		assert.equal(stack.launcher.launches, launches, 'nothing is started for it');
		assert.deepEqual(codeOf(await mine.post(call('c'))), [429, 'SLIPWAY_CALLS_FULL']);
		const theirs = await openAt(stack, cast, await keyFor('ci'), 1);
		const other = await wait(theirs.server, theirs.post);
		for (const [server, heard] of [
			[mine.server, one.heard.id],
			[beta, id],
			[theirs.server, other.heard.id],
		] as const)
			server.say({ jsonrpc: '2.0', id: heard, result: { content: [] } });
		for (const reply of [one.reply, sending, other.reply]) assert.equal((await reply).status, 200);
	});

	test('are given back when a client of the modern era hangs up', async (t) => {
		const { stack, cast } = await start(t, { callsInFlightMax: 1 }, {}, { era: 'modern' });
		const client = new ModernHttp(stack, { path: '/servers/alpha/mcp', capabilities: {} });
		const going = client.call('slow');
		const server = await cast.of('alpha');
		await server.hear('tools/call');
		assert.deepEqual(codeOf(await client.call('slow').reply()), [429, 'SLIPWAY_CALLS_FULL']);
		going.disconnect();
		await server.hear('notifications/cancelled');
		const next = client.call('slow');
		server.say({
			jsonrpc: '2.0',
			id: (await server.hear('tools/call')).id,
			result: { content: [], resultType: 'complete' },
		});
		assert.equal((await next.reply()).status, 200);
	});

	test('are not taken by calls that are refused', async (t) => {
		const rules = { arguments: { secret: '{"required":["path"]}' } };
		const script: Script = { answers: { 'tools/call': () => ({ content: [] }) } };
		const { stack } = await start(t, { callsInFlightMax: 1, sessionsPerPrincipalMax: 1 }, { tools: rules }, script);
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const modern = new ModernHttp(stack, { path: '/servers/alpha/mcp', capabilities: {} });
		for (let n = 0; n < 2; n++) {
			assert.deepEqual(codeOf(await session.post(call(++lastId, 'secret'))), [403, 'SLIPWAY_ARGUMENTS_FORBIDDEN']);
			assert.deepEqual(codeOf(await modern.call('slow').reply()), [429, 'SLIPWAY_SESSIONS_FULL']);
		}
		assert.equal((await session.post(call(++lastId))).status, 200);
	});

	test('are given back when the session is ended', async (t) => {
		const { stack, cast } = await start(t, { callsInFlightMax: 1 });
		const first = await openAt(stack, cast);
		const { reply } = await wait(first.server, first.post);
		await first.session.end();
		await reply;
		const second = await openAt(stack, cast, API_KEY, 1);
		const { heard, reply: answer } = await wait(second.server, second.post);
		second.server.say({ jsonrpc: '2.0', id: heard.id, result: { content: [] } });
		assert.equal((await answer).status, 200);
	});

	test('are as many as the key says in place of the settings', async (t) => {
		const { stack, cast, keyFor } = await start(t, { callsInFlightMax: 0 });
		const key = await keyFor('ci', { limits: { callsInFlight: 1 } });
		const theirs = await openAt(stack, cast, key);
		await wait(theirs.server, theirs.post);
		assert.deepEqual(codeOf(await theirs.post(call('more'))), [429, 'SLIPWAY_CALLS_FULL']);
	});

	test('of a server are bounded for all together, and one caller leaves room for others', async (t) => {
		const { stack, cast, keyFor } = await start(t, {}, { callsInFlight: 4 });
		const mine = await openAt(stack, cast);
		for (let n = 0; n < 2; n++) await wait(mine.server, mine.post);
		const refused = await mine.post(call('more'));
		assert.deepEqual(codeOf(refused), [503, 'SLIPWAY_SERVER_FULL']);
		assert.equal(refused.headers['retry-after'], '1');
		assert.match(refused.text, /callsInFlight/);
		const theirs = await openAt(stack, cast, await keyFor('ci'), 1);
		await wait(theirs.server, theirs.post);
		assert.deepEqual(codeOf(await theirs.post(call('more'))), [503, 'SLIPWAY_SERVER_FULL'], 'one is left for a third');
		const thirds = await openAt(stack, cast, await keyFor('third'), 2);
		await wait(thirds.server, thirds.post);
	});
});

describe('containers', () => {
	const initialize = (stack: HttpStack, key = API_KEY, server = 'alpha'): Promise<Reply> =>
		new SessionHttp(stack, `/servers/${server}/mcp`, undefined, key).initialize();

	test('of a caller are bounded over all servers, and are another’s no less for that', async (t) => {
		const { stack, keyFor } = await start(t, { containersPerPrincipalMax: 2 });
		assert.equal((await initialize(stack)).status, 200);
		const second = await new SessionHttp(stack, '/servers/beta/mcp').open();
		const refused = await initialize(stack);
		assert.deepEqual(codeOf(refused), [429, 'SLIPWAY_CONTAINERS_FULL']);
		assert.equal(refused.headers['retry-after'], '60');
		const key = await keyFor('ci');
		for (let n = 0; n < 2; n++) assert.equal((await initialize(stack, key)).status, 200);
		assert.deepEqual(codeOf(await initialize(stack, key)), [429, 'SLIPWAY_CONTAINERS_FULL']);
		await second.end();
		assert.equal((await initialize(stack)).status, 200);
		assert.deepEqual(codeOf(await initialize(stack)), [429, 'SLIPWAY_CONTAINERS_FULL']);
	});

	test('that are abandoned make room for the next of the same caller', async (t) => {
		const { stack } = await start(t, { containersPerPrincipalMax: 1 });
		assert.equal((await initialize(stack)).status, 200);
		stack.later(61_000);
		assert.equal((await initialize(stack, API_KEY, 'beta')).status, 200);
		assert.equal(stack.launcher.live.size, 1);
	});

	test('are given back when a server exits, and when one does not start', async (t) => {
		const { stack, cast } = await start(t, { containersPerPrincipalMax: 1 });
		assert.equal((await initialize(stack)).status, 200);
		const server = await cast.of('alpha');
		server.exit();
		await server.instance.ended;
		stack.launcher.beforeLaunch = () => Promise.reject(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE'));
		for (let n = 0; n < 3; n++) assert.deepEqual(codeOf(await initialize(stack)), [503, 'SLIPWAY_ENGINE_UNREACHABLE']);
		stack.launcher.beforeLaunch = () => undefined;
		assert.equal((await initialize(stack)).status, 200);
	});

	test('are given back when who waits for one goes away', async (t) => {
		const { stack } = await start(t, { containersPerPrincipalMax: 1 });
		const launching = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => {
			launching.resolve();
			return new Promise<void>(() => undefined);
		};
		const client = new ModernHttp(stack, { path: '/servers/alpha/mcp', capabilities: {} });
		const going = client.call('slow');
		await launching.promise;
		going.disconnect();
		await stack.launcher.aborted.next();
		stack.launcher.beforeLaunch = () => undefined;
		assert.equal((await initialize(stack)).status, 200);
	});

	test('are as many as the key says in place of the settings', async (t) => {
		const { stack, keyFor } = await start(t, { containersPerPrincipalMax: 1 });
		const key = await keyFor('ci', { limits: { containers: 2 } });
		for (let n = 0; n < 2; n++) assert.equal((await initialize(stack, key)).status, 200);
		assert.deepEqual(codeOf(await initialize(stack, key)), [429, 'SLIPWAY_CONTAINERS_FULL']);
	});

	test('of a server are bounded for all callers together, and one leaves room for others', async (t) => {
		const { stack, keyFor } = await start(t, {}, { containers: 2 });
		assert.equal((await initialize(stack)).status, 200);
		const refused = await initialize(stack);
		assert.deepEqual(codeOf(refused), [503, 'SLIPWAY_SERVER_FULL']);
		assert.match(refused.text, /containers/);
		assert.equal((await initialize(stack, await keyFor('ci'))).status, 200);
		assert.deepEqual(codeOf(await initialize(stack, await keyFor('third'))), [503, 'SLIPWAY_SERVER_FULL']);
		assert.equal((await initialize(stack, API_KEY, 'beta')).status, 200, 'another server');
	});

	test('that everybody has together are nobody’s', async (t) => {
		const { stack } = await start(
			t,
			{ containersPerPrincipalMax: 1 },
			{ isolation: 'shared', replicas: { min: 0, max: 1 } },
		);
		for (const server of ['alpha', 'beta', 'alpha'])
			assert.equal((await initialize(stack, API_KEY, server)).status, 200);
		assert.equal(stack.launcher.live.size, 2);
	});
});

describe('sessions', () => {
	test('are as many as the key says in place of the settings', async (t) => {
		const { stack, keyFor } = await start(t, {});
		const key = await keyFor('ci', { limits: { sessions: 1 } });
		await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		const second = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).initialize();
		assert.deepEqual(codeOf(second), [429, 'SLIPWAY_SESSIONS_FULL']);
		await new SessionHttp(stack, '/servers/alpha/mcp').open();
	});
});

describe('bytes', () => {
	const script: Script = { answers: { 'tools/list': () => ({ tools: [] }) } };
	const padded = (chars: number): Rpc => ({ ...LIST, params: { _meta: { pad: 'x'.repeat(chars) } } });

	test('of a caller in a minute are bounded, also those of what is no request, and are no other caller’s', async (t) => {
		const { stack, keyFor } = await start(t, { bytesPerMinute: 30_000 }, {}, script);
		const key = await keyFor('ci');
		const mine = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const theirs = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		assert.equal((await mine.post(padded(20_000))).status, 200);
		assert.equal((await mine.post(`{${' '.repeat(20_000)}`)).status, 400);
		const refused = await mine.post(LIST);
		assert.deepEqual(codeOf(refused), [429, 'SLIPWAY_RATE_LIMITED']);
		assert.equal(refused.headers['ratelimit-policy'], '"bytes";q=30000;w=60');
		assert.match(String(refused.headers['ratelimit']), /^"bytes";r=0;t=\d+$/);
		assert.equal(refused.headers['retry-after'], /t=(\d+)/.exec(String(refused.headers['ratelimit']))?.[1]);
		assert.equal((await theirs.post(padded(20_000))).status, 200);
		stack.later(60_000);
		assert.equal((await mine.post(LIST)).status, 200);
	});

	test('that are too many are not read', async (t) => {
		const { stack } = await start(t, { bytesPerMinute: 1_000 }, {}, script);
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		await session.post(padded(5_000));
		const refused = await session.post(padded(1_000_000));
		assert.deepEqual([refused.status, refused.headers['connection']], [429, 'close']);
	});

	test('are as many as the key says in place of the settings', async (t) => {
		const { stack, keyFor } = await start(t, { bytesPerMinute: 0 }, {}, script);
		const key = await keyFor('ci', { limits: { bytesPerMinute: 1_000 } });
		const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open();
		await session.post(padded(5_000));
		assert.deepEqual(codeOf(await session.post(LIST)), [429, 'SLIPWAY_RATE_LIMITED']);
	});
});

describe('calls of a tool in a minute', () => {
	test('are bounded by the catalog for each caller, by whatever way they come', async (t) => {
		const view = { tools: { callsPerMinute: { 'w*': 2 } } };
		const script: Script = { answers: { 'tools/call': () => ({ content: [] }) } };
		const { stack, keyFor } = await start(t, { callsPerMinute: 100 }, view, script);
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const first = await session.post(call(1, 'write'));
		assert.equal(first.headers['ratelimit-policy'], '"calls";q=100;w=60, "tool";q=2;w=60');
		assert.equal(first.headers['ratelimit'], '"calls";r=99;t=1, "tool";r=1;t=30');
		const all = await new SessionHttp(stack, '/mcp').open();
		assert.equal((await all.post(call(2, 'alpha__wipe'))).status, 200, 'names of one pattern are counted together');
		const refused = await session.post(call(3, 'write'));
		assert.deepEqual(codeOf(refused), [429, 'SLIPWAY_RATE_LIMITED']);
		assert.equal(refused.headers['retry-after'], '30');
		assert.equal((await session.post(call(4, 'read'))).status, 200);
		assert.equal((await all.post(call(5, 'beta__write'))).status, 200, 'another server');
		const theirs = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, await keyFor('ci')).open();
		assert.equal((await theirs.post(call(6, 'write'))).status, 200);
		stack.later(30_000);
		assert.equal((await session.post(call(7, 'write'))).status, 200);
	});
});
