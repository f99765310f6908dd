/** Sessions whose Instances go: they die, are stopped because nobody calls them, or are not what they should be any more. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { SlipwayError } from '../../src/errors.ts';
import type { LauncherState, ServerView } from '../../src/launcher/contract.ts';
import { BRIDGE_LIMITS, INSTANCE_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { askedIn } from '../support/client-modern.ts';
import type { RpcMessage } from '../support/client-raw.ts';
import { type FakeInstance, type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Stream } from '../support/http-client.ts';
import { call, callAgain, type HttpStack, initializeRequest, result, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import {
	Cast,
	failure,
	META,
	METHOD_NOT_FOUND,
	methodsTo,
	notification,
	type PlayedServer,
	progress,
	type Script,
} from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const IDLE_MS = INSTANCE_LIMITS.idleStopMs + 1;
const ALPHA = '/servers/alpha/mcp';
const ALL = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const FULL = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
const CHANGED = {
	tools: notification('notifications/tools/list_changed'),
	prompts: notification('notifications/prompts/list_changed'),
	resources: notification('notifications/resources/list_changed'),
};

type Test = Parameters<typeof startHttpStack>[0];

const ask = (method: string, params: Record<string, unknown> = {}, id: string | number = method): Rpc => ({
	jsonrpc: '2.0',
	id,
	method,
	params,
});
const setLevel = (level: string): Rpc => ask('logging/setLevel', { level });
const subscribe = (uri: string): Rpc => ask('resources/subscribe', { uri });
const unsubscribe = (uri: string): Rpc => ask('resources/unsubscribe', { uri });

const TOOLS = { 'tools/list': () => ({ tools: [{ name: 'x', inputSchema: { type: 'object' } }] }) };

/** What a server answers that has everything, and waits for the test with its calls. */
const WILLING: Script = {
	capabilities: FULL,
	answers: {
		'logging/setLevel': () => ({}),
		'resources/subscribe': () => ({}),
		'resources/unsubscribe': () => ({}),
		...TOOLS,
		'resources/list': () => ({ resources: [{ uri: 'test://a', name: 'a' }] }),
		'resources/templates/list': () => ({ resourceTemplates: [] }),
	},
};

/** A stack whose servers are played, `alpha` and `beta` unless said. Calls there may last as long as a call may. */
async function start(
	t: Test,
	scripts: Readonly<Record<string, Script>> = { alpha: WILLING, beta: WILLING },
	groups: LauncherState['groups'] = {},
) {
	const stack = await startHttpStack(t);
	const { launcher } = stack;
	const callTimeoutMs = SESSION_LIMITS.callTimeoutMsMax;
	const servers = Object.keys(scripts).map((name) => serverView(name, { callTimeoutMs }));
	launcher.state = { ...launcher.state, servers, groups };
	return { stack, cast: new Cast(launcher, scripts) };
}

const open = (stack: HttpStack, path = ALPHA): Promise<SessionHttp> =>
	new SessionHttp(stack, path).open('2025-11-25', ALL);

/** The entry of a server is another now, and the gateway has looked at it. */
function change({ launcher, later }: HttpStack, name: string, to: Partial<ServerView>): void {
	const servers = launcher.state.servers.map((server) => (server.name === name ? { ...server, ...to } : server));
	launcher.state = { ...launcher.state, servers };
	later(0);
}

const rebuild = (stack: HttpStack, name = 'alpha', spec = 'another'): void => change(stack, name, { spec });

/** Dies while nobody waits for it. */
async function die({ instance }: { readonly instance: FakeInstance }): Promise<void> {
	instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
	await instance.ended;
}

/** All that an Instance was sent, without the ids that we gave. */
function told({ instance }: PlayedServer): Rpc[] {
	return instance.received.map((line) => {
		const { id: _, jsonrpc: __, ...rest } = JSON.parse(line) as Rpc;
		return rest;
	});
}

/** Makes a call and answers it on that Instance of the server. Returns the Instance. */
async function callOn(cast: Cast, session: SessionHttp, nth: number, { server = 'alpha', name = 'x' } = {}) {
	const answering = session.post(call('on', name));
	const played = await cast.of(server, nth);
	await played.answer('tools/call', { by: nth });
	assert.deepEqual((await answering).rpc, result('on', { by: nth }));
	return played;
}

/** Holds launches back until the way on is called. */
function gate({ launcher }: HttpStack): { open: () => void; fail: (error: SlipwayError) => void } {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	promise.catch(() => undefined);
	launcher.beforeLaunch = () => promise;
	const away = (): void => {
		launcher.beforeLaunch = () => undefined;
	};
	return {
		open: () => {
			away();
			resolve();
		},
		fail: (error) => {
			away();
			reject(error);
		},
	};
}

async function launches({ launcher }: HttpStack, count: number): Promise<void> {
	while (launcher.launches < count) await new Promise(setImmediate);
}

/** A notification as `told` has it. */
function notified(what: string): Rpc {
	const { jsonrpc: _, ...rest } = notification(`notifications/${what}`);
	return rest;
}

describe('an Instance that died while nobody called it', () => {
	test('is followed by one that is told what the client told it: initialize, the last level, what it is still subscribed to', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		for (const message of [
			setLevel('info'),
			setLevel('error'),
			subscribe('test://a'),
			subscribe('test://b'),
			subscribe('test://a'),
			unsubscribe('test://b'),
			unsubscribe('test://never'),
		])
			assert.equal((await session.post(message)).status, 200);
		await die(await cast.of('alpha'));
		const second = await callOn(cast, session, 1);
		assert.deepEqual(told(second), [
			{ method: 'initialize', params: initializeRequest('2025-11-25', ALL).params },
			notified('initialized'),
			{ method: 'logging/setLevel', params: { level: 'error' } },
			{ method: 'resources/subscribe', params: { uri: 'test://a' } },
			{ method: 'tools/call', params: call(0, 'x').params },
		]);
		// And that one by another.
		await session.post(subscribe('test://c'));
		await die(second);
		const third = await callOn(cast, session, 2);
		assert.deepEqual(
			told(third).flatMap(({ method, params }) => (method === 'resources/subscribe' ? [params?.['uri']] : [])),
			['test://a', 'test://c'],
		);
	});

	test('is followed by one that is not told what the server refused', async (t) => {
		const { stack, cast } = await start(t, { alpha: { capabilities: FULL } });
		const session = await open(stack);
		const first = await cast.of('alpha');
		for (const [message, method] of [
			[setLevel('loud'), 'logging/setLevel'],
			[subscribe('test://a'), 'resources/subscribe'],
		] as const) {
			const answering = session.post(message);
			first.say(failure((await first.hear(method)).id, { code: -32602, message: 'No' }));
			assert.equal((await answering).rpc.error?.code, -32602);
		}
		await die(first);
		const second = await callOn(cast, session, 1);
		assert.deepEqual(methodsTo(second.instance), ['initialize', 'notifications/initialized', 'tools/call']);
	});

	test('is followed by one that hears once that the client is ready, also when the client says so later', async (t) => {
		const { stack, cast } = await start(t);
		const session = new SessionHttp(stack, ALPHA);
		await session.initialize('2025-11-25', ALL);
		await die(await cast.of('alpha'));
		// Nobody is there to hear it.
		assert.equal((await session.post(notification('notifications/initialized'))).status, 202);
		const second = await callOn(cast, session, 1);
		assert.equal((await session.post(notification('notifications/initialized'))).status, 202);
		await callOn(cast, session, 1);
		assert.equal(methodsTo(second.instance).filter((method) => method === 'notifications/initialized').length, 1);
	});

	test('and of which 20 calls come at once is followed by one, which has them all', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		await die(await cast.of('alpha'));
		const launch = gate(stack);
		const answers = Array.from({ length: 20 }, (_, id) => session.post(call(id)));
		await launches(stack, 2);
		assert.equal((await stack.send({ path: '/health' })).status, 200);
		launch.open();
		const second = await cast.of('alpha', 1);
		for (const _ of answers) await second.answer('tools/call');
		for (const [id, answer] of answers.entries()) assert.deepEqual((await answer).rpc, result(id));
		assert.equal(stack.launcher.launches, 2);
	});

	test('and whose successor cannot start: all that wait are told, the session stays, and the next call tries again', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		await die(await cast.of('alpha'));
		const launch = gate(stack);
		const answers = Array.from({ length: 5 }, (_, id) => session.post(call(id)));
		await launches(stack, 2);
		assert.equal((await stack.send({ path: '/health' })).status, 200);
		launch.fail(new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 5 }));
		for (const [id, answer] of answers.entries()) {
			const { status, rpc } = await answer;
			assert.equal(status, 503);
			assert.equal(rpc.id, id);
			assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_INSTANCES_FULL');
		}
		assert.equal(stack.launcher.launches, 2);
		const again = await callOn(cast, session, 1);
		again.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
	});

	test('and whose successor dies before it has begun: the call is told, and the next one tries again', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		await die(session);
		const failing = session.post(call(1));
		const second = await stack.launcher.launched.next();
		await second.hearRequest('initialize');
		await die({ instance: second });
		const { status, rpc } = await failing;
		assert.equal(status, 502);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		await callAgain(stack, session);
	});

	test('and whose successor agrees on another revision: 404, so that the client begins anew', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		const standing = await session.listen();
		await die(session);
		const answering = session.post(call(1));
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		instance.say(result(id, { protocolVersion: '2025-06-18', capabilities: {}, serverInfo: {} }));
		const { status, rpc } = await answering;
		assert.equal(status, 404);
		assert.equal(rpc.id, 1);
		assert.equal(rpc.error?.code, -32001);
		await instance.ended;
		assert.equal(await standing.closed, true);
		assert.equal((await session.post(call(2))).status, 404);
		assert.deepEqual(methodsTo(instance), ['initialize']);
	});

	test('and whose successor will not begin: an error with its words, and the session stays', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		await die(session);
		const answering = session.post(call(1));
		const instance = await stack.launcher.launched.next();
		instance.say(failure((await instance.hearRequest('initialize')).id, { code: -32000, message: 'No licence' }));
		instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
		const { error } = (await answering).rpc;
		assert.equal(error?.data?.['code'], 'SLIPWAY_HANDSHAKE_REFUSED');
		assert.match(JSON.stringify(error), /No licence/);
		await instance.ended;
		await callAgain(stack, session);
	});
});

describe('a call that waits for an Instance', () => {
	async function asleep(t: Test) {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		await die(await cast.of('alpha'));
		return { stack, cast, session, launch: gate(stack) };
	}

	test('and is cancelled is never sent, and its id may be used again', async (t) => {
		const { stack, cast, session, launch } = await asleep(t);
		const withdrawn = session.post(call(1, 'withdrawn'));
		await launches(stack, 2);
		await session.post(notification('notifications/cancelled', { requestId: 1 }));
		assert.doesNotMatch((await withdrawn).text, /jsonrpc/);
		const answering = session.post(call(1, 'wanted'));
		launch.open();
		const second = await cast.of('alpha', 1);
		assert.equal((await second.answer('tools/call')).params['name'], 'wanted');
		assert.deepEqual((await answering).rpc, result(1));
		assert.equal(second.heard.size, 0);
	});

	test('and whose id is in use refuses another of that id', async (t) => {
		const { stack, cast, session, launch } = await asleep(t);
		const answering = session.post(call(1));
		await launches(stack, 2);
		assert.equal((await session.post(call(1))).rpc.error?.data?.['code'], 'SLIPWAY_DUPLICATE_ID');
		launch.open();
		await (await cast.of('alpha', 1)).answer('tools/call');
		assert.deepEqual((await answering).rpc, result(1));
	});

	test('is one of those in flight: one too many is refused at once, and room comes back', async (t) => {
		const { stack, cast, session, launch } = await asleep(t);
		const answers = Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, id) => session.post(call(id)));
		await launches(stack, 2);
		// Which of them is the one too many, the network says.
		const refused = await Promise.race([...answers, session.post(call('more'))]);
		assert.equal(refused.status, 429);
		assert.equal(refused.headers['retry-after'], '1');
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_CALLS_FULL');
		await session.post(notification('notifications/cancelled', { requestId: refused.rpc.id === 0 ? 1 : 0 }));
		answers.push(session.post(call('another')));
		launch.open();
		const second = await cast.of('alpha', 1);
		for (let i = 0; i < SESSION_LIMITS.inFlightMax; i++) await second.answer('tools/call');
		assert.deepEqual((await answers.at(-1))?.rpc, result('another'));
	});

	test('and whose client goes away is made all the same: it may come back for the answer', async (t) => {
		const { stack, cast, launch, session } = await asleep(t);
		const pending = new ModernHttp(stack, { path: ALPHA }).post(call('left'), session.inSession);
		await launches(stack, 2);
		pending.disconnect();
		launch.open();
		const second = await cast.of('alpha', 1);
		assert.equal((await second.answer('tools/call')).params['name'], 'echo');
		await callOn(cast, session, 1);
	});

	test('is answered when its session is ended, and nothing is left of the start', async (t) => {
		const { stack, session } = await asleep(t);
		const answering = session.post(call(1));
		await launches(stack, 2);
		assert.equal((await session.end()).status, 200);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.ok((await stack.launcher.aborted.next()) instanceof SlipwayError);
		assert.equal(stack.launcher.live.size, 0);
		assert.equal((await session.post(call(2))).status, 404);
	});

	test('is answered when its session is ended although the Instance cannot be held back any more', async (t) => {
		const { stack, session, launch } = await asleep(t);
		stack.launcher.abortComesTooLate = true;
		const answering = session.post(call(1));
		await launches(stack, 2);
		const ending = session.end();
		await stack.launcher.aborted.next();
		launch.open();
		assert.equal((await ending).status, 200);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(stack.launcher.live.size, 0);
	});

	test('is answered when its session is ended between the start and the first word', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		await die(session);
		const answering = session.post(call(1));
		const instance = await stack.launcher.launched.next();
		await instance.hearRequest('initialize');
		assert.equal((await session.end()).status, 200);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(stack.launcher.live.size, 0);
		assert.equal(instance.stopped, 'prompt');
	});
});

describe('an Instance that nobody calls', () => {
	test('is stopped after its time; the session and its GET stream go on', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		const first = await cast.of('alpha');
		stack.later(INSTANCE_LIMITS.idleStopMs - 2_000);
		await callOn(cast, session, 0);
		stack.later(INSTANCE_LIMITS.idleStopMs - 2_000);
		assert.equal(first.instance.stopped, undefined, 'it was called');
		stack.later(2_001);
		await first.instance.ended;
		assert.equal(first.instance.stopped, 'patient');
		const second = await callOn(cast, session, 1);
		second.say(CHANGED.tools);
		assert.deepEqual(await standing.next(), CHANGED.tools);
		stack.later(IDLE_MS);
		await second.instance.ended;
		const third = await callOn(cast, session, 2);
		third.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
		assert.equal(stack.launcher.live.size, 1);
	});

	test('is not stopped while a call is in flight', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const { instance } = await cast.of('alpha');
		const answering = session.post(call(1));
		const { id } = await (await cast.of('alpha')).hear('tools/call');
		stack.later(IDLE_MS);
		assert.equal(instance.stopped, undefined);
		instance.say(result(id));
		assert.equal((await answering).status, 200);
		// The time begins with the answer.
		stack.later(INSTANCE_LIMITS.idleStopMs - 2_000);
		assert.equal(instance.stopped, undefined);
		stack.later(2_001);
		await instance.ended;
	});

	test('is not stopped while its client is subscribed to a resource', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		const { instance } = await cast.of('alpha');
		await session.post(subscribe('test://a'));
		stack.later(IDLE_MS);
		stack.later(IDLE_MS);
		assert.equal(instance.stopped, undefined);
		const updated = notification('notifications/resources/updated', { uri: 'test://a' });
		instance.say(updated);
		assert.deepEqual(await standing.next(), updated);
		await session.post(unsubscribe('test://a'));
		stack.later(IDLE_MS);
		await instance.ended;
	});

	test('is not stopped while a task that it has begun may go on', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const played = await cast.of('alpha');
		const calling = session.post({
			jsonrpc: '2.0',
			id: 1,
			method: 'tools/call',
			params: { name: 'long', task: { ttl: 3 * IDLE_MS } },
		});
		await played.answer('tools/call', { task: { taskId: 't', status: 'working', ttl: 3 * IDLE_MS } });
		await calling;
		stack.later(IDLE_MS);
		stack.later(IDLE_MS);
		assert.equal(played.instance.stopped, undefined);
		stack.later(IDLE_MS + 1000);
		stack.later(IDLE_MS);
		await played.instance.ended;
	});

	test('and died is followed by one without a request when its client is subscribed to a resource', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		await session.post(subscribe('test://a'));
		let refused = 0;
		stack.launcher.beforeLaunch = () => {
			refused += 1;
			throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		};
		await die(await cast.of('alpha'));
		stack.later(0);
		stack.later(1_000);
		while (refused === 0) await new Promise(setImmediate);
		stack.launcher.beforeLaunch = () => undefined;
		// Not at every look, though.
		stack.later(1_000);
		assert.equal(refused, 1);
		stack.later(INSTANCE_LIMITS.subscribedRetryMs);
		const { instance } = await cast.of('alpha', 1);
		await instance.lines.count(3);
		const updated = notification('notifications/resources/updated', { uri: 'test://a' });
		instance.say(updated);
		assert.deepEqual(await standing.next(), updated);
		assert.deepEqual(methodsTo(instance), ['initialize', 'notifications/initialized', 'resources/subscribe']);
	});

	test('does not end its session, which has a time of its own', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		stack.later(IDLE_MS);
		await (await cast.of('alpha')).instance.ended;
		stack.later(SESSION_LIMITS.idleMs - 2 * IDLE_MS);
		await callOn(cast, session, 1);
		stack.later(SESSION_LIMITS.idleMs + 1);
		assert.equal((await session.post(call(1))).status, 404);
	});

	test('makes room for another session; one that has none is not asked for it', async (t) => {
		const { stack, cast } = await start(t);
		const [older, younger] = [await open(stack), await open(stack, '/servers/beta/mcp')];
		await die(await cast.of('alpha'));
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		stack.launcher.beforeLaunch = () => {
			if (stack.launcher.live.size > 0) throw new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 5 });
		};
		const third = open(stack);
		await callOn(cast, await third, 1);
		assert.equal((await cast.of('beta')).instance.stopped, 'prompt');
		// The one that took the room is in use.
		for (const session of [older, younger]) {
			const refused = await session.post(call(1));
			assert.equal(refused.status, 503);
			assert.equal(refused.headers['retry-after'], '5');
		}
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		await callOn(cast, younger, 1, { server: 'beta' });
	});
});

describe('a catalog entry that changes', () => {
	test('has calls in flight finish on the old Instance and new ones begin on a new one; lists are told of once', async (t) => {
		const { stack, cast } = await start(t);
		const [session, other] = [await open(stack), await open(stack, '/servers/beta/mcp')];
		const standing = await session.listen();
		const elsewhere = await other.listen();
		stack.later(0);
		const first = await cast.of('alpha');
		const before = session.stream(call('before', 'slow', { progressToken: 'p' }));
		const { id } = await first.hear('tools/call');
		rebuild(stack);
		assert.deepEqual(await standing.next(), CHANGED.tools);
		assert.deepEqual(await standing.next(), CHANGED.resources);
		assert.equal(first.instance.stopped, undefined);
		const second = await callOn(cast, session, 1);
		first.say(progress(id));
		const events = await before;
		assert.deepEqual(await events.next(), progress('p'));
		stack.later(0);
		assert.equal(first.instance.stopped, undefined);
		first.say(result(id, { by: 'the old one' }));
		assert.deepEqual(await events.rest(), [result('before', { by: 'the old one' })]);
		stack.later(0);
		await first.instance.ended;
		assert.equal(first.instance.stopped, 'patient');
		stack.later(0);
		second.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'), 'and nothing is told twice');
		assert.equal((await callOn(cast, other, 0, { server: 'beta' })).instance.stopped, undefined);
		assert.equal(elsewhere.texts.length, 0);
		assert.equal(stack.launcher.launches, 3);
		// And once more.
		rebuild(stack, 'alpha', 'a third');
		assert.deepEqual(await standing.next(), CHANGED.tools);
		assert.deepEqual(await standing.next(), CHANGED.resources);
		await second.instance.ended;
		await callOn(cast, session, 2);
	});

	test('ends the old Instance at once when it has nothing to do', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		rebuild(stack);
		const { instance } = await cast.of('alpha');
		await instance.ended;
		assert.equal(instance.stopped, 'patient');
		assert.equal(stack.launcher.launches, 1, 'nobody asked for another');
		await callOn(cast, session, 1);
	});

	test('while there is no Instance is told at once, and not again when there is one', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		await callOn(cast, session, 0);
		stack.later(IDLE_MS);
		await (await cast.of('alpha')).instance.ended;
		rebuild(stack);
		assert.deepEqual(await standing.next(), CHANGED.tools);
		assert.deepEqual(await standing.next(), CHANGED.resources);
		const second = await callOn(cast, session, 1);
		await die(second);
		const third = await callOn(cast, session, 2);
		stack.later(0);
		third.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
	});

	test('right after the session began, whose Instance dies, is told too', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		await die(await cast.of('alpha'));
		rebuild(stack);
		await callOn(cast, session, 1);
		assert.deepEqual(await standing.next(), CHANGED.tools);
	});

	test('and is as before when it is looked at has changed nothing', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		stack.later(0);
		const { launcher } = stack;
		const { state } = launcher;
		launcher.state = { ...state, servers: state.servers.map((server) => ({ ...server, spec: 'other' })) };
		launcher.state = state;
		stack.later(0);
		const first = await callOn(cast, session, 0);
		first.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
	});

	test('is no change before the image of what it is now is ready', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		change(stack, 'alpha', { spec: 'of the entry alone', preparation: { kind: 'waiting' } });
		stack.later(0);
		const first = await callOn(cast, session, 0);
		assert.equal(first.instance.stopped, undefined);
		first.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
		const ready = serverView('alpha').preparation;
		change(stack, 'alpha', { spec: 'spec-alpha', preparation: ready });
		await callOn(cast, session, 0);
		change(stack, 'alpha', { spec: 'another', preparation: ready });
		assert.deepEqual(await standing.next(), CHANGED.tools);
		await callOn(cast, session, 1);
	});

	test('while an Instance is on its way is seen when that is there', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		stack.later(0);
		await die(await cast.of('alpha'));
		const launch = gate(stack);
		const answering = session.post(call(1));
		await launches(stack, 2);
		rebuild(stack);
		launch.open();
		const second = await cast.of('alpha', 1);
		const { id } = await second.hear('tools/call');
		// It was made of what there was when it was asked for.
		stack.later(0);
		assert.deepEqual(await standing.next(), CHANGED.tools);
		second.instance.say(result(id));
		assert.equal((await answering).status, 200);
		stack.later(0);
		await second.instance.ended;
		await callOn(cast, session, 2);
	});

	test('does not lose a subscription or a level whose answer comes from the old Instance', async (t) => {
		const { stack, cast } = await start(t, { alpha: { capabilities: FULL } });
		const session = await open(stack);
		const first = await cast.of('alpha');
		const subscribing = session.post(subscribe('test://a'));
		const { id } = await first.hear('resources/subscribe');
		const levelling = session.post(setLevel('error'));
		const levelled = await first.hear('logging/setLevel');
		rebuild(stack);
		const second = await callOn(cast, session, 1);
		first.say(result(id));
		assert.equal((await subscribing).status, 200);
		assert.deepEqual((await second.hear('resources/subscribe')).params, { uri: 'test://a' });
		first.say(result(levelled.id));
		assert.equal((await levelling).status, 200);
		assert.deepEqual((await second.hear('logging/setLevel')).params, { level: 'error' });
	});

	test('leaves nothing of either Instance when the session is ended', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const first = await cast.of('alpha');
		const before = session.post(call('before'));
		await first.hear('tools/call');
		rebuild(stack);
		const second = await callOn(cast, session, 1);
		assert.equal((await session.end()).status, 200);
		assert.equal((await before).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		for (const { instance } of [first, second]) assert.equal(instance.stopped, 'prompt');
		assert.equal(stack.launcher.live.size, 0);
	});
});

describe('a client that does not read its GET stream', () => {
	const MIB = 1024 ** 2;
	const PADDING = 'x'.repeat(64 * 1024);
	const FLOOD = 48 * (MIB / PADDING.length);

	/** Resolves when the gateway takes nothing more of what an Instance says. */
	async function held(instance: FakeInstance): Promise<void> {
		let before = -1;
		while (instance.acceptedBytes !== before || !instance.stream.isPaused()) {
			before = instance.acceptedBytes;
			await sleep(100);
		}
	}

	for (const path of [ALPHA, '/mcp'])
		test(`holds the Instance that takes the place of the one that it held, at ${path}`, {
			timeout: 60_000,
		}, async (t) => {
			const { stack, cast } = await start(t);
			const session = await open(stack, path);
			const name = path === '/mcp' ? 'alpha__x' : 'x';
			const standing = await session.listen({ paused: true });
			const before = session.post(call('before', name));
			const first = await cast.of('alpha');
			const { id } = await first.hear('tools/call');
			for (let i = 0; i < FLOOD; i++) first.say(notification('notifications/x', { PADDING }));
			await held(first.instance);
			rebuild(stack);
			const after = session.post(call('after', name));
			const second = await cast.of('alpha', 1);
			const heard = await second.hear('tools/call');
			assert.ok(second.instance.stream.isPaused());
			first.say(result(id));
			second.say(result(heard.id));
			// It reads: all goes on.
			standing.read();
			assert.deepEqual((await before).rpc, result('before'));
			assert.deepEqual((await after).rpc, result('after'));
			assert.equal(second.instance.stream.isPaused(), false);
		});
});

describe('questions', () => {
	const question = (id: string, prompt: string): Rpc => ({
		jsonrpc: '2.0',
		id,
		method: 'sampling/createMessage',
		params: { prompt },
	});

	test('of the old and of the new Instance come on the streams of their calls, and the answers go back', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		const first = await cast.of('alpha');
		const before = session.stream(call('before'));
		const early = await first.hear('tools/call');
		rebuild(stack);
		await standing.next();
		await standing.next();
		const after = session.stream(call('after'));
		const second = await cast.of('alpha', 1);
		const late = await second.hear('tools/call');
		// The same id, which both may use.
		second.say(question('q', 'new'));
		first.say(question('q', 'old'));
		const streams: Stream[] = [await before, await after];
		const asked: Rpc[] = [];
		for (const [index, prompt] of ['old', 'new'].entries()) {
			const heard = (await streams[index]?.next()) ?? {};
			assert.deepEqual(heard.params, { prompt });
			asked.push(heard);
		}
		for (const [index, { id }] of asked.entries()) await session.post(result(id ?? '', { of: index }));
		assert.deepEqual(await first.answers.next(), result('q', { of: 0 }));
		assert.deepEqual(await second.answers.next(), result('q', { of: 1 }));
		first.say(result(early.id));
		second.say(result(late.id));
		assert.deepEqual(await streams[0]?.rest(), [result('before')]);
		assert.deepEqual(await streams[1]?.rest(), [result('after')]);
		// What belongs to no call goes to the GET stream.
		second.say(question('r', 'standing'));
		const { id, params } = await standing.next();
		assert.deepEqual(params, { prompt: 'standing' });
		await session.post(result(id ?? '', { of: 2 }));
		assert.deepEqual(await second.answers.next(), result('r', { of: 2 }));
	});

	test('of an Instance that died are withdrawn, and their answers reach nobody', async (t) => {
		const { stack, cast } = await start(t);
		const session = await open(stack);
		const standing = await session.listen();
		const first = await cast.of('alpha');
		first.say(question('q', 'dying'));
		const { id } = await standing.next();
		await die(first);
		const second = await callOn(cast, session, 1);
		second.say(question('q', 'living'));
		assert.equal((await standing.next()).params?.['requestId'], id);
		const asked = await standing.next();
		assert.notEqual(asked.id, id);
		await session.post(result(id ?? '', { late: true }));
		await session.post(result(asked.id ?? '', { right: true }));
		assert.deepEqual(await second.answers.next(), result('q', { right: true }));
	});
});

const SUBSCRIPTION = `${META}subscriptionId`;
const LISTEN = 'subscriptions/listen';
const ENDED = result('l', { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'l' } });
const ACCEPT = { action: 'accept', content: { answer: 42 } };
const WHO = { method: 'elicitation/create', params: { message: 'Who?' } };
const ERAS = ['legacy', 'modern'] as const;

/** Begins to listen, and resolves with the stream when that is acknowledged. */
async function listen(client: ModernHttp, notifications: object): Promise<Stream> {
	const stream = await client.begin(LISTEN, { notifications }, { id: 'l' }).stream();
	assert.equal((await stream.next()).method, 'notifications/subscriptions/acknowledged');
	return stream;
}

/** Has a server of the second era acknowledge what it is asked to tell of. */
async function acknowledge(played: PlayedServer): Promise<void> {
	const { id, params } = await played.hear(LISTEN);
	const { notifications } = params;
	played.say(
		notification('notifications/subscriptions/acknowledged', { notifications, _meta: { [SUBSCRIPTION]: id } }),
	);
}

/** A call whose client was asked something. Returns what it comes back with. */
async function park(client: ModernHttp, played: Promise<PlayedServer>, name: string) {
	const asking = client.call(name).reply();
	const server = await played;
	const { id } = await server.hear('tools/call');
	server.say({ jsonrpc: '2.0', id: 'q', ...WHO });
	const { inputRequests, requestState } = askedIn((await asking).rpc as RpcMessage);
	const [key = ''] = Object.keys(inputRequests);
	return { id, answers: { name, arguments: {}, inputResponses: { [key]: ACCEPT }, requestState } };
}

describe('for a client of the second era a catalog entry that changes', () => {
	for (const era of ERAS)
		test(`has calls in flight finish on the old Instance and new ones begin on a new one (a server of the ${era} era)`, async (t) => {
			const { stack, cast } = await start(t, { alpha: { ...WILLING, era }, beta: WILLING });
			const client = new ModernHttp(stack, { capabilities: ALL });
			const before = client.call('x').reply();
			const first = await cast.of('alpha');
			const { id } = await first.hear('tools/call');
			rebuild(stack);
			stack.later(0);
			const after = client.call('x').reply();
			const second = await cast.of('alpha', 1);
			await second.answer('tools/call', { by: 'new' });
			assert.equal((await after).rpc.result?.['by'], 'new');
			stack.later(0);
			assert.equal(first.instance.stopped, undefined);
			first.say(result(id, { by: 'old' }));
			assert.equal((await before).rpc.result?.['by'], 'old');
			stack.later(0);
			await first.instance.ended;
			assert.equal(first.instance.stopped, 'patient');
			assert.equal(second.instance.stopped, undefined);
			assert.equal(stack.launcher.launches, 2);
		});

	for (const path of [ALPHA, '/mcp']) {
		const name = path === ALPHA ? 'x' : 'alpha__x';

		test(`has a call whose client is asked come back to the old Instance, at ${path}`, async (t) => {
			const { stack, cast } = await start(t);
			const client = new ModernHttp(stack, { path, capabilities: ALL });
			const { id, answers } = await park(client, cast.of('alpha'), name);
			const first = await cast.of('alpha');
			rebuild(stack);
			stack.later(0);
			const after = client.call(name).reply();
			const second = await cast.of('alpha', 1);
			await second.answer('tools/call', { by: 'new' });
			assert.equal((await after).rpc.result?.['by'], 'new');
			stack.later(0);
			assert.equal(first.instance.stopped, undefined);
			const answering = client.send('tools/call', answers);
			const heard = await Promise.race([first.answers.next(), answering.then(({ text }) => assert.fail(text))]);
			assert.deepEqual(heard, result('q', ACCEPT));
			first.say(result(id, { by: 'old' }));
			assert.equal((await answering).rpc.result?.['by'], 'old');
			stack.later(0);
			await first.instance.ended;
			assert.equal(second.heard.size, 0);
			assert.equal(second.instance.stopped, undefined);
		});

		test(`does not wait for a client that was asked and does not come back, at ${path}`, async (t) => {
			const { stack, cast } = await start(t);
			const client = new ModernHttp(stack, { path, capabilities: ALL });
			await park(client, cast.of('alpha'), name);
			rebuild(stack);
			stack.later(0);
			const first = await cast.of('alpha');
			assert.equal(first.instance.stopped, undefined);
			stack.later(BRIDGE_LIMITS.parkedMs + 1);
			stack.later(0);
			await first.instance.ended;
		});
	}

	for (const era of ERAS)
		test(`ends who listens with a result, who listens anew to the new Instance (a server of the ${era} era)`, async (t) => {
			const { stack, cast } = await start(t, { alpha: { ...WILLING, era }, beta: WILLING });
			const client = new ModernHttp(stack, { capabilities: ALL });
			const notifications = { toolsListChanged: true };
			const open = async (nth: number): Promise<Stream> => {
				const opening = listen(client, notifications);
				if (era === 'modern') await acknowledge(await cast.of('alpha', nth));
				return opening;
			};
			const events = await open(0);
			const calling = client.call('x').reply();
			const first = await cast.of('alpha');
			const { id } = await first.hear('tools/call');
			rebuild(stack);
			stack.later(0);
			assert.equal(first.instance.stopped, undefined, 'a call is in flight');
			first.say(result(id));
			assert.equal((await calling).status, 200);
			stack.later(0);
			assert.deepEqual(await events.rest(), [ENDED]);
			assert.equal(await events.closed, true);
			await first.instance.ended;
			const anew = await open(1);
			const second = await cast.of('alpha', 1);
			second.say(
				era === 'legacy'
					? CHANGED.tools
					: notification('notifications/tools/list_changed', { _meta: { [SUBSCRIPTION]: lastIdTo(second) } }),
			);
			assert.equal((await anew.next()).method, 'notifications/tools/list_changed');
		});

	/** The id of the last request that an Instance was sent. */
	function lastIdTo({ instance }: PlayedServer): unknown {
		return JSON.parse(instance.received.at(-1) ?? '{}').id;
	}

	test('whose image is not ready yet changes nothing', async (t) => {
		const { stack, cast } = await start(t);
		const client = new ModernHttp(stack, { capabilities: ALL });
		for (const spec of ['spec-alpha', 'other']) {
			change(stack, 'alpha', spec === 'other' ? { spec, preparation: { kind: 'waiting' } } : {});
			stack.later(0);
			const calling = client.call('x').reply();
			await (await cast.of('alpha')).answer('tools/call');
			assert.equal((await calling).status, 200);
		}
		assert.equal(stack.launcher.launches, 1);
	});
});

describe('many servers as one:', () => {
	const ALL_LISTS = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

	/** Who hears of changes, of either era. */
	async function changesTo(stack: HttpStack, era: 'legacy' | 'modern', path: string): Promise<Stream> {
		if (era === 'legacy') return (await open(stack, path)).listen();
		return listen(new ModernHttp(stack, { path, capabilities: ALL }), ALL_LISTS);
	}

	/** The next three things told, which must be a change of each list. */
	async function assertTold(stream: Stream, what: string): Promise<void> {
		const methods = [await stream.next(), await stream.next(), await stream.next()].map(({ method }) => method);
		assert.deepEqual(
			methods.sort(),
			Object.values(CHANGED)
				.map(({ method }) => method)
				.sort(),
			what,
		);
	}

	const groupsOf = (...names: readonly string[]): LauncherState['groups'] =>
		({ some: names.map((name) => serverView(name).name) }) as LauncherState['groups'];
	function regroup(stack: HttpStack, groups: LauncherState['groups']): void {
		stack.launcher.state = { ...stack.launcher.state, groups };
		stack.later(0);
	}

	for (const era of ERAS) {
		test(`a group that changes is told to clients of the ${era} era, and no change of another is`, async (t) => {
			const { stack } = await start(t, { alpha: WILLING, beta: WILLING }, groupsOf('alpha'));
			const [some, all] = [await changesTo(stack, era, '/groups/some/mcp'), await changesTo(stack, era, '/mcp')];
			stack.later(0);
			regroup(stack, groupsOf('alpha', 'beta'));
			await assertTold(some, 'one more');
			regroup(stack, groupsOf('beta'));
			await assertTold(some, 'one less');
			regroup(stack, { ...groupsOf('beta'), other: [] });
			change(stack, 'alpha', { enabled: false });
			await assertTold(all, 'one is disabled');
			change(stack, 'alpha', { enabled: true });
			await assertTold(all, 'one is enabled');
			assert.equal(some.events.size, 0);
			assert.equal(all.events.size, 0);
		});

		test(`one that changes is followed by another, and the others are left alone (${era} era)`, async (t) => {
			const { stack, cast } = await start(t);
			const { call: client, changes: hear } = await caller(stack, era);
			const changes = await hear();
			const [before, elsewhere] = [client('alpha__x'), client('beta__x')];
			const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
			const [old, other] = [await alpha.hear('tools/call'), await beta.hear('tools/call')];
			rebuild(stack);
			await assertTold(changes, 'alpha is another');
			const after = client('alpha__x');
			const second = await cast.of('alpha', 1);
			await second.answer('tools/call', { by: 'new' });
			assert.equal((await after).rpc.result?.['by'], 'new');
			stack.later(0);
			assert.equal(alpha.instance.stopped, undefined);
			alpha.say(result(old.id, { by: 'old' }));
			assert.equal((await before).rpc.result?.['by'], 'old');
			stack.later(0);
			await alpha.instance.ended;
			beta.say(result(other.id, { by: 'beta' }));
			assert.equal((await elsewhere).rpc.result?.['by'], 'beta');
			assert.equal(beta.instance.stopped, undefined);
			assert.equal(second.instance.stopped, undefined);
			assert.equal(changes.events.size, 0);
		});

		test(`one that nobody calls is stopped until somebody does, and the others are left alone (${era} era)`, async (t) => {
			const { stack, cast } = await start(t);
			const { call: client } = await caller(stack, era);
			for (const name of ['alpha', 'beta']) {
				const calling = client(`${name}__x`);
				await (await cast.of(name)).answer('tools/call');
				assert.equal((await calling).status, 200);
			}
			const long = client('beta__x');
			const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
			const { id } = await beta.hear('tools/call');
			stack.later(IDLE_MS);
			await alpha.instance.ended;
			assert.equal(alpha.instance.stopped, 'patient');
			assert.equal(beta.instance.stopped, undefined);
			beta.say(result(id));
			assert.equal((await long).status, 200);
			const calling = client('alpha__x');
			const again = await cast.of('alpha', 1);
			await again.answer('tools/call');
			assert.equal((await calling).status, 200);
			stack.later(IDLE_MS);
			await Promise.all([again.instance.ended, beta.instance.ended]);
			assert.equal(stack.launcher.live.size, 0);
		});
	}

	test('a subscription whose answer comes from the old Instance of one is not lost', async (t) => {
		const { 'resources/subscribe': _, 'resources/unsubscribe': __, ...answers } = WILLING.answers ?? {};
		const { stack, cast } = await start(t, { alpha: { capabilities: FULL, answers } });
		const session = await open(stack, '/mcp');
		const subscribing = session.post(subscribe('test://a'));
		const first = await cast.of('alpha');
		const { id } = await first.hear('resources/subscribe');
		rebuild(stack);
		const second = await callOn(cast, session, 1, { name: 'alpha__x' });
		first.say(result(id));
		assert.equal((await subscribing).status, 200);
		await second.answer('resources/subscribe');
		const unsubscribing = session.post(unsubscribe('test://a'));
		assert.deepEqual((await second.answer('resources/unsubscribe')).params, { uri: 'test://a' });
		assert.equal((await unsubscribing).status, 200);
		assert.equal(second.heard.size, 0);
	});

	test('one whose resource a client is subscribed to is not stopped, whatever becomes of the others', async (t) => {
		const { stack, cast } = await start(t, { alpha: WILLING, beta: { capabilities: { tools: {} }, answers: TOOLS } });
		const session = await open(stack, '/mcp');
		const standing = await session.listen();
		await session.post(subscribe('test://a'));
		const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
		stack.later(IDLE_MS);
		await beta.instance.ended;
		assert.equal(alpha.instance.stopped, undefined);
		const updated = notification('notifications/resources/updated', { uri: 'test://a' });
		alpha.say(updated);
		assert.deepEqual(await standing.next(), updated);
		await session.post(unsubscribe('test://a'));
		stack.later(IDLE_MS);
		await alpha.instance.ended;
	});

	test('one whose resource a listener is subscribed to is not stopped either', async (t) => {
		const { stack, cast } = await start(t, { alpha: WILLING, beta: { capabilities: { tools: {} }, answers: TOOLS } });
		const client = new ModernHttp(stack, { path: '/mcp', capabilities: ALL });
		const events = await listen(client, { resourceSubscriptions: ['test://a'] });
		const [alpha] = [await cast.of('alpha')];
		stack.later(IDLE_MS);
		stack.later(IDLE_MS);
		assert.equal(alpha.instance.stopped, undefined);
		alpha.say(notification('notifications/resources/updated', { uri: 'test://a' }));
		assert.equal((await events.next()).params?.['uri'], 'test://a');
		events.destroy();
		await events.closed;
		while (!methodsTo(alpha.instance).includes('resources/unsubscribe')) await new Promise(setImmediate);
		stack.later(IDLE_MS);
		await alpha.instance.ended;
	});

	/** Calls tools at /mcp, and hears of changes. */
	async function caller(stack: HttpStack, era: 'legacy' | 'modern') {
		let id = 0;
		if (era === 'modern') {
			const client = new ModernHttp(stack, { path: '/mcp', capabilities: ALL });
			return { call: (name: string) => client.call(name).reply(), changes: () => listen(client, ALL_LISTS) };
		}
		const session = await open(stack, '/mcp');
		return { call: (name: string) => session.post(call(++id, name)), changes: () => session.listen() };
	}
});
