/** Sessions, Instances and calls over time: how they begin, how they end, and who is told. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { InstanceEnd } from '../../src/channel.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import { INSTANCE_LIMITS, SESSION_LIMITS, SSE_LIMITS } from '../../src/limits.ts';
import { type FakeInstance, type Rpc, serverView } from '../support/fake-launcher.ts';
import { ask, RawConnection, type Reply, Stream } from '../support/http-client.ts';
import {
	call,
	callAgain,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
	toBody,
} from '../support/http-stack.ts';
import { methodsTo, notification } from '../support/played-server.ts';

const MINUTE = 60_000;

async function endOf(instance: FakeInstance): Promise<void> {
	await instance.ended;
}

/** Begins an initialize and resolves with the head of its answer. */
function initializeStream({ port }: HttpStack, server = 'alpha'): Promise<Stream> {
	return ask(port, {
		method: 'POST',
		path: `/servers/${server}/mcp`,
		headers: POST_HEADERS,
		body: toBody(initializeRequest()),
	}).then((response) => new Stream(response));
}

const question = (id: string): Rpc => ({ jsonrpc: '2.0', id, method: 'elicitation/create', params: {} });
const progress = (progressToken: string | number): Rpc => ({
	jsonrpc: '2.0',
	method: 'notifications/progress',
	params: { progressToken, progress: 1 },
});

describe('the launcher refuses', () => {
	const table: [ErrorCode, httpStatus: number, rpcCode: number][] = [
		['SLIPWAY_START_FAILED', 502, -32000],
		['SLIPWAY_START_TIMEOUT', 504, -32000],
		['SLIPWAY_COMMAND_INVALID', 502, -32000],
		['SLIPWAY_IMAGE_MISSING', 502, -32000],
		['SLIPWAY_IMAGE_REFUSED', 502, -32000],
		['SLIPWAY_PACKAGE_MISSING', 502, -32000],
		['SLIPWAY_PACKAGE_REFUSED', 502, -32000],
		['SLIPWAY_PREPARATION_FAILED', 502, -32000],
		['SLIPWAY_PREPARATION_TIMEOUT', 504, -32000],
		['SLIPWAY_MOUNT_REFUSED', 502, -32000],
		['SLIPWAY_SPEC_DRIFT', 502, -32000],
		['SLIPWAY_ENGINE_UNREACHABLE', 503, -32007],
		['SLIPWAY_ENGINE_FAILED', 503, -32007],
		['SLIPWAY_LAUNCHER_UNREACHABLE', 503, -32007],
		['SLIPWAY_INSTANCES_FULL', 503, -32007],
		['SLIPWAY_START_QUEUE_FULL', 503, -32007],
		['SLIPWAY_SERVER_UNKNOWN', 404, -32004],
		['SLIPWAY_SERVER_DISABLED', 404, -32004],
		['SLIPWAY_DRAINING', 503, -32007],
	];

	test('with each code that it has: the status and code of the table, and no session', async (t) => {
		const stack = await startHttpStack(t);
		for (const [code, httpStatus, rpcCode] of table) {
			// Each of a build of its own: what is wrong with one is not told of another.
			stack.launcher.state = { ...stack.launcher.state, servers: [serverView('alpha', { spec: code })] };
			stack.launcher.beforeLaunch = () => {
				throw new SlipwayError(
					code,
					{ server: 'alpha', reason: 'Because.', retryAfterSeconds: 7, exitCode: 3, stderr: 'tail' },
					{ cause: new Error('/var/secret') },
				);
			};
			const answer = await stack.post('alpha', initializeRequest());
			assert.equal(answer.status, httpStatus, code);
			assert.equal(answer.headers['content-type'], 'application/json');
			assert.equal(answer.headers['retry-after'], '7');
			assert.equal(answer.headers['mcp-session-id'], undefined);
			const { id, error } = answer.rpc;
			assert.equal(id, 0);
			assert.equal(error?.code, rpcCode, code);
			assert.equal(error?.data?.['code'], code);
			assert.equal(error?.data?.['stderr'], 'tail');
			assert.equal(error?.data?.['exitCode'], 3);
			assert.equal(typeof error?.data?.['nextStep'], 'string');
			assert.equal(error?.data?.['requestId'], answer.headers['x-request-id']);
			assert.ok(!answer.text.includes('/var/secret'), 'the cause stays here');
		}
		assert.equal(stack.launcher.live.size, 0);
	});

	test('with what nobody expected: 500, and none of its words', async (t) => {
		const stack = await startHttpStack(t);
		stack.launcher.beforeLaunch = () => {
			throw new TypeError('connect ENOENT /run/docker.sock');
		};
		const answer = await stack.post('alpha', initializeRequest());
		assert.equal(answer.status, 500);
		assert.equal(answer.rpc.error?.code, -32603);
		assert.ok(!answer.text.includes('docker.sock'));
		// The next one is fine.
		stack.launcher.beforeLaunch = () => undefined;
		await stack.open();
	});
});

describe('an Instance that ends', () => {
	const STDERR = 'Error: boom\n    at main';
	const mid: [InstanceEnd, ErrorCode][] = [
		[{ cause: 'exited', exitCode: 3, stderr: STDERR }, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'exited', exitCode: 0, stderr: '' }, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'oom', exitCode: 137, stderr: STDERR }, 'SLIPWAY_INSTANCE_OOM'],
		[{ cause: 'lost', stderr: '' }, 'SLIPWAY_INSTANCE_LOST'],
		[{ cause: 'frame', stderr: STDERR }, 'SLIPWAY_FRAME_INVALID'],
	];
	for (const [end, code] of mid) {
		test(`mid-call (${end.cause} ${end.exitCode ?? ''}): every client gets ${code} at once, and the session goes on`, async (t) => {
			const stack = await startHttpStack(t);
			const { instance, post, stream, listen } = await stack.open();
			const standing = await listen();
			const plain = post(call(1));
			await instance.hearRequest('tools/call');
			const streaming = stream(call(2, 'echo', { progressToken: 'p' }));
			const { id } = await instance.hearRequest('tools/call');
			instance.say(progress(id));
			const events = await streaming;
			assert.deepEqual(await events.next(), progress('p'));
			instance.end(end);
			const answer = await plain;
			assert.equal(answer.status, 200);
			for (const rpc of [answer.rpc, await events.next()]) {
				assert.equal(rpc.error?.code, -32000);
				assert.equal(rpc.error?.data?.['code'], code);
				assert.equal(rpc.error?.data?.['server'], 'alpha');
				assert.equal(rpc.error?.data?.['exitCode'], end.exitCode);
				assert.equal(rpc.error?.data?.['stderr'], end.stderr === '' ? undefined : end.stderr);
			}
			assert.equal(answer.rpc.id, 1);
			assert.equal(await events.closed, true);
			const again = await callAgain(stack, { post });
			// What was in flight is not repeated, and the stream of the session is still there.
			assert.deepEqual(methodsTo(again), ['initialize', 'notifications/initialized', 'tools/call']);
			again.say(notification('notifications/x'));
			assert.deepEqual(await standing.next(), notification('notifications/x'));
		});
	}

	const early: [InstanceEnd, ErrorCode, httpStatus: number][] = [
		[{ cause: 'exited', exitCode: 0, stderr: '' }, 'SLIPWAY_START_FAILED', 502],
		[{ cause: 'exited', exitCode: 1, stderr: STDERR }, 'SLIPWAY_START_FAILED', 502],
		[{ cause: 'exited', exitCode: 126, stderr: '' }, 'SLIPWAY_COMMAND_INVALID', 502],
		[{ cause: 'exited', exitCode: 127, stderr: '' }, 'SLIPWAY_COMMAND_INVALID', 502],
		[{ cause: 'oom', exitCode: 137, stderr: '' }, 'SLIPWAY_INSTANCE_OOM', 200],
		[{ cause: 'lost', stderr: '' }, 'SLIPWAY_INSTANCE_LOST', 200],
	];
	for (const [end, code, httpStatus] of early) {
		test(`before it answered initialize (${end.cause} ${end.exitCode ?? ''}): ${code}, and no session`, async (t) => {
			const stack = await startHttpStack(t);
			const answering = stack.post('alpha', initializeRequest());
			const instance = await stack.launcher.launched.next();
			await instance.hearRequest('initialize');
			instance.end(end);
			const exits = code === 'SLIPWAY_START_FAILED';
			if (exits) {
				// To exit is what some servers of the second era do with the first word of the other.
				const other = await stack.launcher.launched.next();
				await other.hearRequest('server/discover');
				other.end({ cause: 'exited', exitCode: 99, stderr: '' });
			}
			const answer = await answering;
			assert.equal(answer.status, httpStatus);
			assert.equal(answer.rpc.error?.data?.['code'], code);
			assert.equal(answer.rpc.error?.data?.['exitCode'], end.exitCode);
			assert.equal(stack.launcher.live.size, 0);
			assert.equal(stack.launcher.launches, exits ? 2 : 1, 'nothing else is tried again');
		});
	}

	test('before it answered initialize, and has answered it to others: SLIPWAY_START_FAILED, and nothing is tried again', async (t) => {
		const stack = await startHttpStack(t);
		await stack.open();
		const answering = stack.post('alpha', initializeRequest());
		const instance = await stack.launcher.launched.next();
		await instance.hearRequest('initialize');
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		assert.equal(stack.launcher.launches, 2);
		assert.equal(stack.launcher.live.size, 1);
	});

	test('after its answer: the answer arrives', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(result(id, { last: 'words' }));
		instance.end({ cause: 'exited', exitCode: 0, stderr: '' });
		assert.deepEqual((await answering).rpc, result(1, { last: 'words' }));
	});

	test('of one session does not touch another', async (t) => {
		const stack = await startHttpStack(t);
		const [one, two] = [await stack.open(), await stack.open()];
		const answering = two.post(call(1));
		const { id } = await two.instance.hearRequest('tools/call');
		one.instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		await endOf(one.instance);
		two.instance.say(result(id));
		assert.equal((await answering).status, 200);
		await callAgain(stack, one);
	});

	test('by a line longer than may be: it is stopped and its client told', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open();
		const answering = post(call(1));
		await instance.hearRequest('tools/call');
		for (let i = 0; i < 11; i++) instance.raw(Buffer.alloc(1024 ** 2, 'x'));
		const answer = await answering;
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_LINE_TOO_LONG');
		assert.equal(instance.stopped, 'prompt');
		await callAgain(stack, { post });
	});

	test('by a flood of noise: it is stopped and its client told', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open();
		const answering = post(call(1));
		await instance.hearRequest('tools/call');
		for (let i = 0; i < 101; i++) instance.raw(`noise ${i}\n`);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_PROTOCOL_NOISE');
		assert.equal(instance.stopped, 'prompt');
	});
});

describe('DELETE', () => {
	test('ends the Instance before it is answered, and the session is unknown then', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, end, post, listen } = await stack.open();
		const standing = await listen();
		instance.onStop = () => undefined;
		let answered = false;
		const ending = end().then((answer) => {
			answered = true;
			return answer;
		});
		assert.equal(await standing.closed, true);
		assert.equal(instance.stopped, 'prompt');
		assert.equal((await post(call(1))).status, 404);
		assert.equal(answered, false, 'the container is not gone yet');
		instance.finishStop();
		const answer = await ending;
		assert.equal(answer.status, 200);
		assert.equal(answer.text, '');
		assert.equal((await end()).status, 404);
	});

	test('with calls in flight answers them', async (t) => {
		const { instance, end, post } = await (await startHttpStack(t)).open();
		const answering = post(call('c'));
		await instance.hearRequest('tools/call');
		await end();
		const answer = await answering;
		assert.equal(answer.rpc.id, 'c');
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
	});
});

describe('the start', () => {
	test('is given up when its client goes away: the launch is aborted and nothing is leaked', async (t) => {
		const stack = await startHttpStack(t);
		stack.launcher.beforeLaunch = () => new Promise(() => undefined);
		const connection = await beginInitialize(stack);
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		connection.socket.destroy();
		const reason = await stack.launcher.aborted.next();
		assert.ok(reason instanceof SlipwayError);
		assert.equal(stack.launcher.live.size, 0);
		const status = await stack.send({ path: '/status', headers: POST_HEADERS });
		assert.equal(JSON.parse(status.text).sessions, 0);
	});

	test('that is given up between launch and answer ends the Instance', async (t) => {
		const stack = await startHttpStack(t);
		const connection = await beginInitialize(stack);
		const instance = await stack.launcher.launched.next();
		await instance.hearRequest('initialize');
		connection.socket.destroy();
		await endOf(instance);
		assert.equal(instance.stopped, 'prompt');
	});

	test('that is given up when its Instance cannot be held back any more ends the Instance', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		stack.launcher.abortComesTooLate = true;
		const connection = await beginInitialize(stack);
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		connection.socket.destroy();
		await stack.launcher.aborted.next();
		launch.resolve();
		const instance = await stack.launcher.launched.next();
		await endOf(instance);
		assert.equal(instance.stopped, 'prompt');
		assert.deepEqual(instance.received, []);
	});

	test(`that takes longer than ${SSE_LIMITS.openAfterMs} ms gets a stream, kept alive with comments, then its answer`, async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const streaming = initializeStream(stack);
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const events = await streaming;
		assert.equal(events.status, 200);
		assert.equal(events.headers['content-type'], 'text/event-stream');
		const session = events.headers['mcp-session-id'];
		assert.ok(typeof session === 'string');
		stack.later(SSE_LIMITS.keepAliveMs + 1);
		assert.equal(await events.comments.next(), 'keep-alive');
		stack.later(SSE_LIMITS.keepAliveMs + 1);
		assert.equal(await events.comments.next(), 'keep-alive');
		launch.resolve();
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		instance.say(result(id, { protocolVersion: '2025-11-25' }));
		assert.deepEqual(await events.next(), result(0, { protocolVersion: '2025-11-25' }));
		assert.equal(await events.closed, true);
		const pinging = stack.post('alpha', { jsonrpc: '2.0', id: 1, method: 'ping' }, { 'mcp-session-id': session });
		instance.say(result((await instance.hearRequest('ping')).id));
		assert.equal((await pinging).status, 200);
	});

	test('that is slow and fails tells so in its stream', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const streaming = initializeStream(stack);
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const events = await streaming;
		launch.reject(new SlipwayError('SLIPWAY_PREPARATION_FAILED', { log: 'npm ERR!' }));
		const told = await events.next();
		assert.equal(told.id, 0);
		assert.equal(told.error?.data?.['code'], 'SLIPWAY_PREPARATION_FAILED');
		assert.equal(await events.closed, true);
	});

	test('of a server that is silent ends after its time: SLIPWAY_START_TIMEOUT, the Instance stopped', async (t) => {
		const stack = await startHttpStack(t);
		const streaming = initializeStream(stack);
		const instance = await stack.launcher.launched.next();
		await instance.hearRequest('initialize');
		stack.later(INSTANCE_LIMITS.startTimeoutMs + 1);
		const events = await streaming;
		const told = await events.next();
		assert.equal(told.error?.data?.['code'], 'SLIPWAY_START_TIMEOUT');
		await endOf(instance);
		assert.equal(instance.stopped, 'prompt');
	});

	test('of a session takes no message before its answer', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const streaming = initializeStream(stack);
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const events = await streaming;
		const session = { 'mcp-session-id': String(events.headers['mcp-session-id']) };
		// `initialize` cannot be cancelled either.
		const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 0 } };
		for (const message of [call(1), cancel]) assert.equal((await stack.post('alpha', message, session)).status, 400);
		launch.resolve();
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		assert.equal((await stack.post('alpha', cancel, session)).status, 400);
		instance.say(result(id, { protocolVersion: '2025-11-25' }));
		assert.deepEqual(await events.rest(), [result(0, { protocolVersion: '2025-11-25' })]);
		assert.equal(instance.lines.size, 0);
	});

	async function beginInitialize({ port }: HttpStack): Promise<RawConnection> {
		const connection = await new RawConnection(port).connected();
		const body = toBody(initializeRequest());
		const headers = Object.entries({ host: 'localhost', ...POST_HEADERS, 'content-length': body.length });
		connection.write(
			`POST /servers/alpha/mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`,
		);
		return connection;
	}
});

describe('the time of a call', () => {
	/** Sends a call that is streamed from its first tick on. */
	async function begin(stack: HttpStack, server = 'quick') {
		const session = await stack.open(server);
		const streaming = session.stream(call('slow', 'slow', { progressToken: 'p' }));
		const { id } = await session.instance.hearRequest('tools/call');
		return { ...session, streaming, wireId: id };
	}

	test('is over: 200 with SLIPWAY_CALL_TIMEOUT, the server is told, the session goes on', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open('quick');
		const answering = post(call('slow'));
		const { id } = await instance.hearRequest('tools/call');
		stack.later(5_001);
		const answer: Reply = await answering;
		assert.equal(answer.status, 200);
		assert.equal(answer.headers['content-type'], 'application/json');
		assert.equal(answer.rpc.id, 'slow');
		assert.equal(answer.rpc.error?.code, -32000);
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
		const told = await instance.hear();
		assert.equal(told.method, 'notifications/cancelled');
		assert.equal(told.params?.['requestId'], id);
		instance.say(result(id, { late: true }));
		const next = post(call('slow'));
		instance.say(result((await instance.hearRequest('tools/call')).id, { right: true }));
		assert.deepEqual((await next).rpc, result('slow', { right: true }));
	});

	test('begins anew with every progress', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, streaming, wireId } = await begin(stack);
		for (let i = 0; i < 5; i++) {
			stack.later(4_000);
			instance.say(progress(wireId));
			assert.deepEqual(await (await streaming).next(), progress('p'));
		}
		const events = await streaming;
		instance.say(result(wireId));
		assert.deepEqual(await events.rest(), [result('slow')]);
	});

	test('does not run while the client is asked, and begins anew when it answered', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, streaming, post } = await begin(stack);
		instance.say(question('q'));
		const events = await streaming;
		const asked = await events.next();
		stack.later(2 * MINUTE);
		await post(result(asked.id ?? ''));
		assert.deepEqual(await instance.hear(), result('q'));
		stack.later(4_000);
		assert.equal(events.texts.length, 1, 'not over yet');
		stack.later(1_001);
		assert.equal((await events.next()).error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
	});

	test('has a ceiling that neither progress nor a question lifts', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, streaming, wireId } = await begin(stack);
		instance.say(question('q'));
		const events = await streaming;
		await events.next();
		stack.later(SESSION_LIMITS.callTimeoutMsMax - 2_000);
		instance.say(progress(wireId));
		assert.deepEqual(await events.next(), progress('p'));
		stack.later(2_001);
		assert.equal((await events.next()).error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
		assert.equal((await instance.hear()).method, 'notifications/cancelled');
	});

	test('of a batch is that of each of its calls', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, stream } = await stack.open('quick', { revision: '2025-03-26' });
		const streaming = stream([call(1), call(2, 'b', { progressToken: 'b' })]);
		await instance.hearRequest('tools/call');
		const second = await instance.hearRequest('tools/call');
		const events = await streaming;
		stack.later(4_000);
		instance.say(progress(second.id));
		assert.deepEqual(await events.next(), progress('b'));
		stack.later(1_001);
		const told = await events.next();
		assert.equal(told.id, 1);
		assert.equal(told.error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
		instance.say(result(second.id));
		assert.deepEqual(await events.rest(), [result(2)]);
	});
});

describe('limits', () => {
	test(`call ${SESSION_LIMITS.inFlightMax + 1} in flight is refused: 429 with Retry-After, and room comes back`, async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answers = Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, i) => post(call(i)));
		const ids: number[] = [];
		for (const _ of answers) ids.push((await instance.hearRequest('tools/call')).id);
		const refused = await post(call('more'));
		assert.equal(refused.status, 429);
		assert.equal(refused.headers['retry-after'], '1');
		assert.equal(refused.rpc.error?.code, -32006);
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_CALLS_FULL');
		instance.say(result(ids[0] ?? -1));
		await Promise.race(answers);
		const accepted = post(call('more'));
		ids.push((await instance.hearRequest('tools/call')).id);
		for (const id of ids.slice(1)) instance.say(result(id));
		for (const answer of [...answers, accepted]) assert.equal((await answer).status, 200);
	});

	test('sessions of a caller: 429 with Retry-After while all are in use; an abandoned one makes room', async (t) => {
		const stack = await startHttpStack(t, { config: { sessionsPerPrincipalMax: 3 } });
		const listening = await stack.open();
		const calling = await stack.open();
		const idle = await stack.open();
		await listening.listen();
		const answering = calling.post(call(1));
		const { id } = await calling.instance.hearRequest('tools/call');
		const refused = await stack.post('alpha', initializeRequest());
		assert.equal(refused.status, 429);
		assert.ok(Number(refused.headers['retry-after']) > 0);
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_SESSIONS_FULL');
		assert.equal(stack.launcher.launches, 3);
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		const fourth = await stack.open();
		await endOf(idle.instance);
		assert.equal((await idle.post(call(1))).status, 404);
		calling.instance.say(result(id));
		assert.equal((await answering).status, 200);
		const pinging = fourth.post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		fourth.instance.say(result((await fourth.instance.hearRequest('ping')).id));
		assert.equal((await pinging).status, 200);
	});

	test(`a flood of initialize is refused at ${SESSION_LIMITS.sessionsPerPrincipalMax} and leaks nothing`, async (t) => {
		const stack = await startHttpStack(t);
		const held = await stack.open();
		const flood = Array.from({ length: 300 }, () => stack.post('alpha', initializeRequest()));
		for (let i = 1; i < SESSION_LIMITS.sessionsPerPrincipalMax; i++) {
			const instance = await stack.launcher.launched.next();
			void instance
				.hearRequest('initialize')
				.then(({ id }) => instance.say(result(id, { protocolVersion: '2025-11-25' })));
		}
		const statuses = (await Promise.all(flood)).map(({ status }) => status);
		assert.equal(statuses.filter((status) => status === 200).length, SESSION_LIMITS.sessionsPerPrincipalMax - 1);
		assert.equal(statuses.filter((status) => status === 429).length, 301 - SESSION_LIMITS.sessionsPerPrincipalMax);
		assert.equal(stack.launcher.live.size, SESSION_LIMITS.sessionsPerPrincipalMax);
		const pinging = held.post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		held.instance.say(result((await held.instance.hearRequest('ping')).id));
		assert.equal((await pinging).status, 200);
	});

	test('with no room for an Instance an abandoned session gives its own back, and the start is tried once more', async (t) => {
		const stack = await startHttpStack(t);
		const abandoned = await stack.open();
		stack.launcher.beforeLaunch = () => {
			if (stack.launcher.live.size > 0) throw new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 5 });
		};
		const refused = await stack.post('alpha', initializeRequest());
		assert.equal(refused.status, 503);
		assert.equal(refused.headers['retry-after'], '5');
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		await stack.open();
		await endOf(abandoned.instance);
		stack.launcher.beforeLaunch = () => undefined;
		await callAgain(stack, abandoned);
	});

	test('a session without a call or a stream is ended after its time, and the server may take its own', async (t) => {
		// Less than the time after which an Instance is stopped and its session is not.
		const MINUTE = INSTANCE_LIMITS.idleStopMs / 48;
		const stack = await startHttpStack(t, { config: { sessionIdleMs: 10 * MINUTE } });
		const idle = await stack.open();
		const listening = await stack.open();
		const calling = await stack.open();
		const standing = await listening.listen();
		const streaming = calling.stream(call(1, 'slow', { progressToken: 'p' }));
		const { id } = await calling.instance.hearRequest('tools/call');
		calling.instance.say(question('q'));
		const events = await streaming;
		await events.next();
		stack.later(9 * MINUTE);
		assert.equal(idle.instance.stopped, undefined);
		stack.later(0.9 * MINUTE);
		const pinging = idle.post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		idle.instance.say(result((await idle.instance.hearRequest('ping')).id));
		await pinging;
		calling.instance.say(result(id));
		await events.closed;
		stack.later(9.5 * MINUTE);
		assert.equal(idle.instance.stopped, undefined, 'it was used');
		stack.later(MINUTE);
		await endOf(idle.instance);
		assert.equal(idle.instance.stopped, 'patient');
		assert.equal((await idle.post(call(1))).status, 404);
		assert.equal(listening.instance.stopped, undefined);
		// A stream that closes begins the time anew.
		standing.destroy();
		await standing.closed;
		while ((await streams(stack)) > 0) await new Promise(setImmediate);
		stack.later(9 * MINUTE);
		assert.equal(listening.instance.stopped, undefined);
		stack.later(MINUTE + 1);
		await endOf(listening.instance);
	});

	test('no session lives longer than a day, not even one in use', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, listen } = await stack.open();
		const standing = await listen();
		stack.later(SESSION_LIMITS.absoluteMs + 1);
		assert.equal(await standing.closed, true);
		await endOf(instance);
	});

	async function streams(stack: HttpStack): Promise<number> {
		const { text } = await stack.send({ path: '/metrics', headers: POST_HEADERS });
		return Number(/^slipway_streams (\d+)$/m.exec(text)?.[1]);
	}
});
