import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { InstanceEnd } from '../../src/channel.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { SESSION_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import type { Call, Exchange, Question } from '../../src/mcp/exchange.ts';
import {
	classify,
	type NotificationMessage,
	type RequestMessage,
	type ResponseMessage,
	type RpcId,
} from '../../src/mcp/jsonrpc.ts';
import { ENVELOPE_KEYS, SUBSCRIPTION_KEY } from '../../src/mcp/revisions.ts';
import { type CallReport, Upstream } from '../../src/mcp/upstream.ts';
import { FakeInstance, type Rpc } from '../support/fake-launcher.ts';
import { Inbox } from '../support/inbox.ts';

/** What a request's client gets, and what it takes. */
class Recorder implements Exchange {
	takesKinds: readonly string[] = ['request', 'notification'];
	readonly ends = new Inbox<string | SlipwayError>('the end of a call');
	readonly told: string[] = [];
	readonly questions: Question[] = [];
	/** Is set by who made the request. */
	call: Call | undefined;
	/** How often the end was told of before the exchange heard of it. */
	announced = 0;
	/** How often it was announced when it came. */
	readonly announcedAtEnd: number[] = [];

	takes({ kind }: RequestMessage | NotificationMessage): boolean {
		return this.takesKinds.includes(kind);
	}

	tell(text: string): void {
		this.told.push(text);
	}

	ask(question: Question): void {
		this.questions.push(question);
	}

	answer(text: string): void {
		this.#end(text);
	}

	fail(_: RpcId, error: SlipwayError): void {
		this.#end(error);
	}

	drop(): void {
		this.#end('dropped');
	}

	#end(how: string | SlipwayError): void {
		this.announcedAtEnd.push(this.announced);
		this.ends.push(how);
	}
}

function setUp() {
	const instance = new FakeInstance('alpha' as ServerName);
	const reports: CallReport[] = [];
	const noise: { readonly bytes: number; readonly told: boolean }[] = [];
	const tools: unknown[] = [];
	const standing = { texts: [] as string[], questions: [] as Question[], asks: true };
	const upstream = new Upstream(instance, {
		standing: {
			send: (text) => standing.texts.push(text) > 0,
			ask: (question) => standing.asks && standing.questions.push(question) > 0,
		},
		observer: {
			onCall: (report) => reports.push(report),
			onNoise: (bytes, told) => noise.push({ bytes, told }),
			onTools: (listed) => tools.push(listed),
		},
	});
	const send = (message: Rpc, timeoutMs = 1_000, exchange = new Recorder()): Recorder => {
		const parsed = classify(message);
		assert.ok(parsed?.kind === 'request');
		exchange.call = upstream.request(JSON.stringify(message), parsed, {
			exchange,
			timeoutMs,
			onEnd: () => {
				exchange.announced += 1;
			},
		});
		return exchange;
	};
	const initialize = async (envelope?: object): Promise<void> => {
		const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
		instance.say({ jsonrpc: '2.0', id: (await instance.hearRequest('initialize')).id, result: {} });
		await exchange.ends.next();
		upstream.opened(envelope);
	};
	/** Resolves when the gateway has read what the server wrote. */
	const settled = async (): Promise<void> => {
		const ping = send({ jsonrpc: '2.0', id: 'settle', method: 'ping' });
		ping.takesKinds = [];
		instance.say({ jsonrpc: '2.0', id: (await instance.hearRequest('ping')).id, result: {} });
		await ping.ends.next();
	};
	return { instance, upstream, reports, noise, tools, standing, send, initialize, settled };
}

const call = (id: RpcId, name = 'x'): Rpc => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } });
const withToken = (id: RpcId, progressToken: RpcId): Rpc => ({
	...call(id),
	params: { name: 'x', _meta: { progressToken } },
});
const progress = (progressToken: RpcId, value = 1): Rpc => ({
	jsonrpc: '2.0',
	method: 'notifications/progress',
	params: { progressToken, progress: value },
});
const question = (id: RpcId, method = 'roots/list'): Rpc => ({ jsonrpc: '2.0', id, method });
const LOG_LINE: Rpc = { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } };

/** A client's answer as it comes, with the id that it has for its client. */
function answerTo(id: RpcId, result: object): [text: string, message: ResponseMessage] {
	const text = JSON.stringify({ jsonrpc: '2.0', id, result });
	const message = classify(JSON.parse(text));
	assert.ok(message?.kind === 'response');
	return [text, message];
}

describe('the end of the Channel', () => {
	const table: [InstanceEnd, opened: boolean, ErrorCode][] = [
		[{ cause: 'exited', exitCode: 1, stderr: 'e' }, true, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'exited', exitCode: 127, stderr: 'e' }, true, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'exited', exitCode: 1, stderr: 'e' }, false, 'SLIPWAY_START_FAILED'],
		[{ cause: 'exited', exitCode: 126, stderr: 'e' }, false, 'SLIPWAY_COMMAND_INVALID'],
		[{ cause: 'exited', exitCode: 127, stderr: 'e' }, false, 'SLIPWAY_COMMAND_INVALID'],
		[{ cause: 'oom', exitCode: 137, stderr: 'e' }, false, 'SLIPWAY_INSTANCE_OOM'],
		[{ cause: 'lost', stderr: 'e' }, true, 'SLIPWAY_INSTANCE_LOST'],
		[{ cause: 'frame', stderr: 'e' }, true, 'SLIPWAY_FRAME_INVALID'],
		[{ cause: 'stopped', stderr: 'e' }, true, 'SLIPWAY_SESSION_ENDED'],
	];
	for (const [end, opened, code] of table) {
		test(`${end.cause} ${end.exitCode ?? ''} ${opened ? 'after' : 'before'} the handshake: ${code}`, async () => {
			const { instance, upstream, send, initialize, reports } = setUp();
			if (opened) await initialize();
			const exchanges = [send(call(1)), send(call(2)), send(call(3), Number.POSITIVE_INFINITY)];
			instance.end(end);
			for (const exchange of exchanges) {
				const told = await exchange.ends.next();
				assert.ok(told instanceof SlipwayError);
				assert.equal(told.code, code);
				if (code !== 'SLIPWAY_SESSION_ENDED') assert.equal(told.details.stderr, 'e');
				assert.equal(told.details.exitCode, end.exitCode);
				assert.deepEqual(exchange.announcedAtEnd, [1]);
			}
			assert.equal((await upstream.ended).code, code);
			assert.equal(upstream.inFlight, 0);
			assert.throws(() => send(call(4)), { code });
			assert.throws(() => upstream.notify('{"jsonrpc":"2.0","method":"notifications/x"}'), { code });
			assert.equal(reports.at(-1)?.outcome, code);
		});
	}

	test('is before the handshake until that is said to be over, whatever was answered', async () => {
		const { instance, upstream, send } = setUp();
		const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
		instance.say({ jsonrpc: '2.0', id: (await instance.hearRequest('initialize')).id, result: {} });
		await exchange.ends.next();
		instance.end({ cause: 'exited', exitCode: 0, stderr: '' });
		assert.equal((await upstream.ended).code, 'SLIPWAY_START_FAILED');
	});

	test('withdraws what was asked and not answered, and takes no answer to it', async () => {
		const { instance, upstream, send, initialize, standing } = setUp();
		await initialize();
		instance.say(question('standing'));
		while (standing.questions.length === 0) await new Promise(setImmediate);
		const exchange = send(call(1));
		await instance.hear();
		instance.say(question('call'));
		instance.say(question('answered'));
		while (exchange.questions.length < 2) await new Promise(setImmediate);
		const withdrawn: unknown[] = [];
		for (const asked of [...standing.questions, ...exchange.questions])
			asked.onWithdrawn = (params) => withdrawn.push([asked.message.id, params]);
		exchange.questions[1]?.answer(...answerTo(7, {}));
		instance.end({ cause: 'exited', exitCode: 0, stderr: '' });
		await upstream.ended;
		assert.deepEqual(withdrawn, [
			['standing', undefined],
			['call', undefined],
		]);
		standing.questions[0]?.answer(...answerTo(7, {}));
		exchange.questions[0]?.refuse({ code: 1, message: 'no' });
		assert.equal(withdrawn.length, 2);
	});
});

test('an answer in several chunks, or with others in one, is the same', async () => {
	const { instance, send } = setUp();
	const exchanges = [send(call('a')), send(call('b'))];
	const ids = [(await instance.hear()).id, (await instance.hear()).id];
	const text = `{"jsonrpc":"2.0","id":${ids[0]},"result":{"é":1}}\n{"jsonrpc":"2.0","id":${ids[1]},"result":2}\n`;
	for (const byte of Buffer.from(text)) instance.raw(Buffer.from([byte]));
	assert.equal(await exchanges[0]?.ends.next(), '{"jsonrpc":"2.0","id":"a","result":{"é":1}}');
	assert.equal(await exchanges[1]?.ends.next(), '{"jsonrpc":"2.0","id":"b","result":2}');
});

test('ids on the wire are never used twice, whatever the ids of clients', async () => {
	const { instance, send, upstream } = setUp();
	const seen = new Set<unknown>();
	for (let i = 0; i < 100; i++) {
		const exchange = send(call(i % 2));
		const { id } = await instance.hear();
		assert.ok(!seen.has(id));
		seen.add(id);
		instance.say({ jsonrpc: '2.0', id: id ?? null, result: {} });
		await exchange.ends.next();
	}
	assert.equal(upstream.inFlight, 0);
});

test('two calls with one id are two: each gets its own answer', async () => {
	const { instance, send } = setUp();
	const exchanges = [send(call(1)), send(call(1)), send(call('1'))];
	const ids: unknown[] = [];
	for (const _ of exchanges) ids.push((await instance.hear()).id);
	assert.equal(new Set(ids).size, 3);
	for (const at of [2, 0, 1]) instance.raw(`{"jsonrpc":"2.0","id":${ids[at]},"result":{"of":${at}}}\n`);
	for (const [at, exchange] of exchanges.entries()) {
		const id = at === 2 ? '"1"' : '1';
		assert.equal(await exchange.ends.next(), `{"jsonrpc":"2.0","id":${id},"result":{"of":${at}}}`);
	}
});

test(`call ${SESSION_LIMITS.inFlightMax + 1} is refused, and room comes back with an answer`, async () => {
	const { instance, upstream, send } = setUp();
	const exchanges = Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, i) => send(call(i)));
	assert.equal(upstream.inFlight, SESSION_LIMITS.inFlightMax);
	assert.throws(() => send(call('more')), { code: 'SLIPWAY_CALLS_FULL' });
	instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: {} });
	await exchanges[0]?.ends.next();
	send(call('more'));
	assert.throws(() => send(call('one too many')), { code: 'SLIPWAY_CALLS_FULL' });
});

describe('calls that last as long as their client wants', () => {
	const listen = (id: RpcId): Rpc => ({ jsonrpc: '2.0', id, method: 'subscriptions/listen' });

	test('are counted apart from the others, on both sides', async () => {
		const { instance, upstream, send, initialize } = setUp();
		await initialize();
		const lasting = Array.from({ length: SESSION_LIMITS.lastingMax }, (_, i) =>
			send(listen(i), Number.POSITIVE_INFINITY),
		);
		assert.equal(upstream.inFlight, 0);
		assert.throws(() => send(listen('more'), Number.POSITIVE_INFINITY), { code: 'SLIPWAY_CALLS_FULL' });
		for (let i = 0; i < SESSION_LIMITS.inFlightMax; i++) send(call(i));
		assert.equal(upstream.inFlight, SESSION_LIMITS.inFlightMax);
		assert.throws(() => send(call('more')), { code: 'SLIPWAY_CALLS_FULL' });
		lasting[0]?.call?.cancel();
		assert.equal(await lasting[0]?.ends.next(), 'dropped');
		assert.equal(upstream.inFlight, SESSION_LIMITS.inFlightMax);
		send(listen('again'), Number.POSITIVE_INFINITY);
		instance.say({ jsonrpc: '2.0', id: (await instance.hearRequest('subscriptions/listen')).id + 1, result: {} });
		await lasting[1]?.ends.next();
		send(listen('and again'), Number.POSITIVE_INFINITY);
		assert.throws(() => send(listen('more'), Number.POSITIVE_INFINITY), { code: 'SLIPWAY_CALLS_FULL' });
	});

	test('have neither a deadline nor a ceiling', async () => {
		const { instance, upstream, send, initialize } = setUp();
		await initialize();
		const lasting = send(listen(1), Number.POSITIVE_INFINITY);
		await instance.hearRequest('subscriptions/listen');
		const short = send(call(2));
		await instance.hear();
		upstream.tick(performance.now() + SESSION_LIMITS.absoluteMs);
		await short.ends.next();
		assert.equal(lasting.ends.size, 0);
	});

	test('are ended by a server that cancels them, and nothing is told back', async () => {
		const { instance, upstream, send, initialize, reports } = setUp();
		await initialize();
		const lasting = send(listen('mine'), Number.POSITIVE_INFINITY);
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'mine' } });
		instance.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id } });
		assert.equal(await lasting.ends.next(), 'dropped');
		assert.deepEqual(lasting.announcedAtEnd, [1]);
		assert.equal(reports.at(-1)?.outcome, 'cancelled');
		assert.equal(upstream.inFlight, 0);
		upstream.notify('{"jsonrpc":"2.0","method":"notifications/x"}');
		assert.equal((await instance.hear()).method, 'notifications/x');
	});
});

describe('progress', () => {
	test('has the token of the wire at the server, and at the client the client’s own, with its type', async () => {
		const { instance, send, settled } = setUp();
		const tokens = ['t', '', '0', 0, -7, Number.MAX_SAFE_INTEGER];
		const exchanges = tokens.map((token, i) => send(withToken(i, token)));
		for (const exchange of exchanges) {
			const { id, params } = await instance.hearRequest('tools/call');
			assert.deepEqual(params, { name: 'x', _meta: { progressToken: id } });
			instance.say(progress(id, exchanges.indexOf(exchange)));
		}
		await settled();
		assert.deepEqual(
			exchanges.map(({ told }) => told),
			tokens.map((token, i) => [JSON.stringify(progress(token, i))]),
		);
	});

	test('of two calls with one token goes to each its own, also when one of them is over', async () => {
		const { instance, send, settled } = setUp();
		const [first, second] = [send(withToken(1, 't')), send(withToken(1, 't'))];
		const [one, two] = [await instance.hearRequest('tools/call'), await instance.hearRequest('tools/call')];
		assert.notEqual(one.id, two.id);
		instance.say(progress(one.id, 1));
		instance.say(progress(two.id, 2));
		instance.say({ jsonrpc: '2.0', id: two.id, result: {} });
		instance.say(progress(one.id, 3));
		await settled();
		assert.deepEqual(
			first.told.map((text) => JSON.parse(text)),
			[progress('t', 1), progress('t', 3)],
		);
		assert.deepEqual(
			second.told.map((text) => JSON.parse(text)),
			[progress('t', 2)],
		);
	});

	test('that is late, made up, of a call without a token or with the client’s token reaches nobody', async () => {
		const { instance, send, settled, standing } = setUp();
		const first = send(withToken(1, 't'));
		const second = send(withToken(2, 't'));
		const silent = send(call(3));
		const exchanges = [first, second, silent];
		const ids: number[] = [];
		for (const _ of exchanges) ids.push((await instance.hearRequest('tools/call')).id);
		const [one = -1, two = -1, three = -1] = ids;
		instance.say({ jsonrpc: '2.0', id: one, result: {} });
		for (const token of [one, 't', String(two), three, two + 100, -1, '__proto__']) instance.say(progress(token));
		instance.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progress: 1 } });
		instance.say({ jsonrpc: '2.0', method: 'notifications/progress' });
		await settled();
		assert.deepEqual([...exchanges.flatMap(({ told }) => told), ...standing.texts], []);
		instance.say(progress(two));
		await settled();
		assert.equal(second.told.length, 1, 'it still gets what is its own');
	});

	test('changes nothing of both texts but id and token', async () => {
		const { instance, upstream, settled } = setUp();
		const text =
			'{"jsonrpc":"2.0","x":1.50,"params":{"_meta":{"a":12345678901234567890,"progressToken":"t","b":"\\u00e9"},"name":"x"},"id":"i","method":"tools/call"}';
		const exchange = new Recorder();
		const message = classify(JSON.parse(text));
		assert.ok(message?.kind === 'request');
		upstream.request(text, message, { exchange, timeoutMs: 1_000 });
		const line = await instance.lines.next();
		const { id }: { id: number } = JSON.parse(line);
		assert.equal(line, text.replace('"i"', String(id)).replace('"t"', String(id)));
		const said = `{"params":{"total":12345678901234567890,"progressToken":${id},"progress":1.0},"method":"notifications/progress","jsonrpc":"2.0","y":"\\/"}`;
		instance.say(said);
		await settled();
		assert.deepEqual(exchange.told, [said.replace(`:${id},`, ':"t",')]);
	});
});

describe('a call that is cancelled', () => {
	test('is dropped at once, the server told in its own id, and a late answer goes nowhere', async () => {
		const { instance, upstream, send, initialize, settled, reports } = setUp();
		await initialize();
		const exchange = send(call('mine'));
		const { id } = await instance.hearRequest('tools/call');
		exchange.call?.cancel({ requestId: 'mine', reason: 'user', more: 1 });
		assert.equal(await exchange.ends.next(), 'dropped');
		assert.deepEqual(exchange.announcedAtEnd, [1]);
		assert.equal(upstream.inFlight, 0);
		assert.deepEqual(await instance.hear(), {
			jsonrpc: '2.0',
			method: 'notifications/cancelled',
			params: { requestId: id, reason: 'user', more: 1 },
		});
		assert.equal(reports.at(-1)?.outcome, 'cancelled');
		instance.say({ jsonrpc: '2.0', id, result: {} });
		exchange.call?.cancel();
		await settled();
		assert.equal(exchange.ends.items.length, 1);
		assert.equal(exchange.announced, 1);
	});

	test('after its answer is left alone', async () => {
		const { instance, send, initialize, settled } = setUp();
		await initialize();
		const exchange = send(call(1));
		instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: {} });
		await exchange.ends.next();
		exchange.call?.cancel();
		await settled();
		assert.deepEqual([exchange.ends.items.length, exchange.announced, instance.lines.size], [1, 1, 0]);
	});

	test('before the handshake is over is dropped, and the server told nothing', async () => {
		const { instance, send, initialize, settled } = setUp();
		const exchange = send({ jsonrpc: '2.0', id: 'd', method: 'server/discover' });
		const { id } = await instance.hearRequest('server/discover');
		exchange.call?.cancel();
		assert.equal(await exchange.ends.next(), 'dropped');
		await initialize();
		instance.say({ jsonrpc: '2.0', id, result: { late: true } });
		await settled();
		assert.equal(exchange.ends.items.length, 1);
		assert.equal(instance.lines.size, 0);
	});

	test('at a server of the second era is told with what `_meta` must hold, as is one whose time is over', async () => {
		const { instance, upstream, send, initialize } = setUp();
		const envelope = { [ENVELOPE_KEYS.revision]: '2026-07-28' };
		await initialize(envelope);
		const cancelled = send(call(1));
		const slow = send(call(2));
		const ids = [(await instance.hear()).id, (await instance.hear()).id];
		cancelled.call?.cancel({ reason: 'user', _meta: { forged: true } });
		assert.deepEqual((await instance.hear()).params, { requestId: ids[0], reason: 'user', _meta: envelope });
		upstream.tick(performance.now() + 1_001);
		await slow.ends.next();
		assert.deepEqual((await instance.hear()).params, { requestId: ids[1], reason: 'timeout', _meta: envelope });
	});
});

test('deadlines: each call has its own, told once, and the report says so', async () => {
	const { instance, upstream, send, initialize, reports } = setUp();
	await initialize();
	const short = send(call(1), 1_000);
	const long = send(call(2), 100_000);
	const { id } = await instance.hear();
	await instance.hear();
	const nowMs = performance.now();
	upstream.tick(nowMs + 500);
	assert.equal(upstream.inFlight, 2);
	upstream.tick(nowMs + 1_001);
	upstream.tick(nowMs + 1_002);
	const told = await short.ends.next();
	assert.ok(told instanceof SlipwayError && told.code === 'SLIPWAY_CALL_TIMEOUT');
	const cancelled = await instance.hear();
	assert.deepEqual(cancelled.params, { requestId: id, reason: 'timeout' });
	assert.equal(short.ends.size + long.ends.size, 0);
	assert.equal(reports.at(-1)?.outcome, 'SLIPWAY_CALL_TIMEOUT');
	upstream.tick(nowMs + SESSION_LIMITS.callTimeoutMsMax + 1_000);
	assert.ok((await long.ends.next()) instanceof SlipwayError);
});

describe('a server that says nothing any more', () => {
	/** Has one more call run out of time. Resolves with what it was told, if it was. */
	const timeOut = async ({ instance, upstream, send }: ReturnType<typeof setUp>): Promise<Recorder> => {
		const exchange = send(call(1), 1_000);
		await instance.hearRequest('tools/call');
		upstream.tick(performance.now() + 1_001);
		return exchange;
	};
	const codeOf = async ({ ends }: Recorder): Promise<unknown> => Reflect.get(Object(await ends.next()), 'code');

	test(`is ended when ${STDIO_LIMITS.silentTimeoutsMax} calls in a row ran out of time, and its calls are told so`, async () => {
		const world = setUp();
		await world.initialize();
		const lasting = world.send(call(2), Number.POSITIVE_INFINITY);
		await world.instance.hear();
		for (let n = 1; n < STDIO_LIMITS.silentTimeoutsMax; n++) {
			assert.equal(await codeOf(await timeOut(world)), 'SLIPWAY_CALL_TIMEOUT');
			assert.equal((await world.instance.hear()).method, 'notifications/cancelled');
		}
		const last = await timeOut(world);
		assert.equal(world.instance.stopped, 'prompt');
		assert.throws(() => world.send(call(3)), { code: 'SLIPWAY_INSTANCE_STALLED' });
		for (const exchange of [last, lasting]) assert.equal(await codeOf(exchange), 'SLIPWAY_INSTANCE_STALLED');
		assert.equal((await world.upstream.ended).code, 'SLIPWAY_INSTANCE_STALLED');
	});

	test('is none yet when several calls run out of time that were sent at a time: they may all be slow', async () => {
		const world = setUp();
		await world.initialize();
		const slow = [1, 2, 3].map((id) => world.send(call(id), 1_000));
		for (const _ of slow) await world.instance.hearRequest('tools/call');
		world.upstream.tick(performance.now() + 1_001);
		for (const exchange of slow) {
			assert.equal(await codeOf(exchange), 'SLIPWAY_CALL_TIMEOUT');
			await world.instance.hear();
		}
		assert.equal(world.instance.stopped, undefined);
		assert.equal(await codeOf(await timeOut(world)), 'SLIPWAY_INSTANCE_STALLED');
	});

	const signs: [what: string, sign: (instance: FakeInstance) => void][] = [
		['the answer to another call', (instance) => instance.say({ jsonrpc: '2.0', id: 77, result: {} })],
		['progress', (instance) => instance.say(progress(77))],
		['a line of its log', (instance) => instance.say(LOG_LINE)],
		['what is no message', (instance) => instance.say('still here')],
	];
	for (const [what, sign] of signs)
		test(`is another one than one that says at least ${what}, before or between`, async () => {
			const world = setUp();
			await world.initialize();
			for (let n = 0; n < STDIO_LIMITS.silentTimeoutsMax + 1; n++) {
				const exchange = world.send(call(1), 1_000);
				await world.instance.hearRequest('tools/call');
				sign(world.instance);
				await new Promise((resolve) => setImmediate(resolve));
				world.upstream.tick(performance.now() + 1_001);
				assert.equal(await codeOf(exchange), 'SLIPWAY_CALL_TIMEOUT');
				await world.instance.hear();
				if (n > 0) continue;
				assert.equal(await codeOf(await timeOut(world)), 'SLIPWAY_CALL_TIMEOUT');
				await world.instance.hear();
			}
			assert.equal(world.instance.stopped, undefined);
		});

	test('is another one than one that we do not read, or that waits for an answer', async () => {
		const world = setUp();
		await world.initialize();
		const release = world.upstream.hold();
		for (let n = 0; n < 3; n++) {
			assert.equal(await codeOf(await timeOut(world)), 'SLIPWAY_CALL_TIMEOUT');
			await world.instance.hear();
		}
		release();
		world.instance.say(question('q'));
		await world.settled();
		for (let n = 0; n < 3; n++) {
			assert.equal(await codeOf(await timeOut(world)), 'SLIPWAY_CALL_TIMEOUT');
			await world.instance.hear();
		}
		assert.equal(world.instance.stopped, undefined);
	});
});

test('a late answer to initialize finds a server that was stopped', async () => {
	const { instance, upstream, send } = setUp();
	const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
	await instance.hear();
	upstream.tick(performance.now() + 1_001);
	assert.equal(instance.stopped, 'prompt');
	assert.throws(() => send(call(1)), { code: 'SLIPWAY_START_TIMEOUT' });
	const told = await exchange.ends.next();
	assert.ok(told instanceof SlipwayError && told.code === 'SLIPWAY_START_TIMEOUT');
	assert.equal(instance.lines.size, 0, 'the server was told nothing');
});

describe('questions and log lines', () => {
	test('go to the newest tools/call that takes them, else to the newest such request, else to the conversation', async () => {
		const { instance, send, settled, standing } = setUp();
		const list = send({ jsonrpc: '2.0', id: 0, method: 'prompts/list' });
		const older = send(call(1));
		const newer = send(call(2));
		const last = send({ jsonrpc: '2.0', id: 3, method: 'resources/list' });
		const exchanges = [list, older, newer, last];
		for (const _ of exchanges) await instance.hear();
		const expected: [kinds: readonly string[][], question: number, log: number][] = [
			[[['request', 'notification'], ['request', 'notification'], ['request', 'notification'], ['request']], 2, 2],
			[[['request', 'notification'], ['request', 'notification'], ['notification'], ['request']], 1, 2],
			[[['request', 'notification'], ['notification'], [], ['request']], 3, 1],
			[[['notification'], [], [], ['request']], 3, 0],
			[[['request', 'notification'], [], [], []], 0, 0],
			[[[], [], [], []], 4, 4],
		];
		for (const [round, [kinds, asked, logged]] of expected.entries()) {
			for (const [at, exchange] of exchanges.entries()) exchange.takesKinds = kinds[at] ?? [];
			instance.say(question(`q-${round}`));
			instance.say(LOG_LINE);
			await settled();
			const questions = [...exchanges, standing].map(({ questions: all }) => all.splice(0).length);
			const lines = [...exchanges.map(({ told }) => told), standing.texts].map((all) => all.splice(0).length);
			assert.deepEqual([questions.indexOf(1), lines.indexOf(1)], [asked, logged], `round ${round}`);
			assert.deepEqual(
				[questions, lines].map((all) => all.reduce((sum, count) => sum + count)),
				[1, 1],
			);
		}
	});

	test('go to whoever has the fewest to answer, so that calls that ask at once have one each', async () => {
		const { instance, send, settled } = setUp();
		const exchanges = [send({ jsonrpc: '2.0', id: 0, method: 'prompts/get' }), send(call(1)), send(call(2))];
		for (const _ of exchanges) await instance.hear();
		const expected = [
			[0, 0, 1],
			[0, 1, 1],
			[1, 1, 1],
			[1, 1, 2],
		];
		for (const [id, counts] of expected.entries()) {
			instance.say(question(id));
			await settled();
			assert.deepEqual(
				exchanges.map(({ questions }) => questions.length),
				counts,
			);
		}
	});

	test('go to the call whose question was answered last, which the server most likely goes on with', async () => {
		const { instance, send, settled } = setUp();
		const older = send(call(1));
		await instance.hear();
		instance.say(question('first'));
		await settled();
		const newer = send(call(2));
		await instance.hear();
		older.questions[0]?.answer(...answerTo(1, {}));
		await instance.hear();
		instance.say(question('second'));
		instance.say(LOG_LINE);
		await settled();
		assert.deepEqual(
			[older, newer].map(({ questions, told }) => [questions.length, told.length]),
			[
				[2, 1],
				[0, 0],
			],
		);
	});

	test('that are handed on go to another call that takes them, to the conversation, or are refused', async () => {
		const { instance, send, settled, standing } = setUp();
		const older = send(call(1));
		const newer = send(call(2));
		for (const _ of [older, newer]) await instance.hear();
		instance.say(question('q'));
		await settled();
		newer.takesKinds = [];
		newer.questions[0]?.handOn();
		assert.equal(older.questions[0], newer.questions[0]);
		older.takesKinds = [];
		older.questions[0]?.handOn();
		assert.equal(standing.questions[0], newer.questions[0]);
		standing.asks = false;
		standing.questions[0]?.handOn();
		assert.equal((await instance.hear()).error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
		standing.questions[0]?.handOn();
		assert.deepEqual(
			[newer, older, standing].map(({ questions }) => questions.length),
			[1, 1, 1],
		);
	});

	test('are given as the server wrote them, a ping too; an answer goes back in the server’s id, once', async () => {
		const { instance, send, settled } = setUp();
		const exchange = send(call(1));
		await instance.hear();
		const text = '{ "method":"ping", "id" : "q\\u0041","jsonrpc":"2.0","x":1.0 }';
		instance.say(text);
		await settled();
		const [asked] = exchange.questions;
		assert.equal(asked?.text, text);
		assert.deepEqual(asked?.message, { kind: 'request', id: 'qA', method: 'ping', params: undefined });
		asked?.answer('{"jsonrpc":"2.0","id":99,"result":{"n":1.0}}', { kind: 'response', id: 99, ok: true, result: {} });
		assert.equal(await instance.lines.next(), '{"jsonrpc":"2.0","id":"qA","result":{"n":1.0}}');
		asked?.answer(...answerTo(99, { second: true }));
		asked?.refuse({ code: 1, message: 'second' });
		await settled();
		assert.equal(instance.lines.size, 0);
	});

	test('that are refused are answered with the error, once', async () => {
		const { instance, send, settled } = setUp();
		const exchange = send(call(1));
		await instance.hear();
		instance.say(question(5));
		await settled();
		const [asked] = exchange.questions;
		asked?.refuse({ code: -32601, message: 'no', data: [1] });
		assert.deepEqual(await instance.hear(), {
			jsonrpc: '2.0',
			id: 5,
			error: { code: -32601, message: 'no', data: [1] },
		});
		asked?.refuse({ code: 1, message: 'again' });
		asked?.answer(...answerTo(5, {}));
		await settled();
		assert.equal(instance.lines.size, 0);
	});

	test('that nobody takes are refused', async () => {
		const { instance, standing } = setUp();
		standing.asks = false;
		instance.say(question('q'));
		const refused = await instance.hear();
		assert.equal(refused.id, 'q');
		assert.equal(refused.error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
	});

	test(`beyond ${SESSION_LIMITS.questionsMax} unanswered are refused, wherever they would have gone`, async () => {
		const { instance, send, standing, settled } = setUp();
		for (let i = 0; i < SESSION_LIMITS.questionsMax; i++) instance.say(question(i));
		await settled();
		const exchange = send(call(1));
		await instance.hear();
		instance.say(question('more'));
		const refused = await instance.hear();
		assert.equal(refused.id, 'more');
		assert.equal(refused.error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
		assert.deepEqual([standing.questions.length, exchange.questions.length], [SESSION_LIMITS.questionsMax, 0]);
		standing.questions[0]?.answer(...answerTo(1, {}));
		assert.equal((await instance.hear()).id, 0);
		instance.say(question('room'));
		await settled();
		assert.equal(exchange.questions.length, 1);
	});

	test('that the server withdraws are withdrawn with its words, once, and answered no more', async () => {
		const { instance, send, settled } = setUp();
		const exchange = send(call(1));
		await instance.hear();
		for (const id of ['a', 'b']) instance.say(question(id));
		await settled();
		const withdrawn: unknown[] = [];
		for (const asked of exchange.questions) asked.onWithdrawn = (params) => withdrawn.push([asked.message.id, params]);
		const params = { requestId: 'b', reason: 'late' };
		for (let i = 0; i < 2; i++) instance.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
		await settled();
		assert.deepEqual(withdrawn, [['b', params]]);
		exchange.questions[1]?.answer(...answerTo(1, {}));
		exchange.questions[0]?.answer(...answerTo(1, {}));
		assert.equal((await instance.hear()).id, 'a');
		await settled();
		assert.equal(instance.lines.size, 0);
	});

	test('whose withdrawal crossed the answer end no call that has their id on the wire', async () => {
		const { instance, send, settled } = setUp();
		const exchange = send(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question(id));
		await settled();
		exchange.questions[0]?.answer(...answerTo(1, {}));
		assert.equal((await instance.hear()).id, id);
		instance.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id, reason: 'late' } });
		await settled();
		assert.equal(exchange.ends.size, 0);
		instance.say({ jsonrpc: '2.0', id, result: {} });
		assert.equal(await exchange.ends.next(), '{"jsonrpc":"2.0","id":1,"result":{}}');
	});

	test('stop the time of every call while a client is asked, since they may be of any', async (t) => {
		const { instance, upstream, send, initialize, settled, standing } = setUp();
		await initialize();
		const asks = send(call(1), 1_000);
		const holds = send(call(2), 1_000);
		for (const _ of [asks, holds]) await instance.hear();
		instance.say(question('q'));
		await settled();
		const later = send(call(3), 1_000);
		await instance.hear();
		const nowMs = performance.now();
		upstream.tick(nowMs + 100_000);
		assert.equal(asks.ends.size + holds.ends.size + later.ends.size, 0);
		// In the conversation it is a question of those alone that were there when it came.
		t.mock.method(performance, 'now', () => nowMs + 100_000);
		for (const exchange of [asks, holds, later]) exchange.takesKinds = [];
		holds.questions[0]?.handOn();
		assert.equal(standing.questions.length, 1);
		upstream.tick(nowMs + 101_001);
		assert.deepEqual(
			[asks, holds, later].map(({ ends }) => ends.size),
			[0, 0, 1],
		);
		t.mock.method(performance, 'now', () => nowMs + 200_000);
		standing.questions[0]?.answer(...answerTo(1, {}));
		upstream.tick(nowMs + 200_999);
		assert.equal(asks.ends.size, 0);
		upstream.tick(nowMs + 201_001);
		assert.deepEqual(
			[asks, holds].map(({ ends }) => ends.size),
			[1, 1],
		);
	});

	test('stop the time of their call until the last is answered, and it begins anew then', async (t) => {
		const { instance, upstream, send, initialize, settled } = setUp();
		await initialize();
		const exchange = send(call(1), 1_000);
		await instance.hear();
		for (const id of ['a', 'b']) instance.say(question(id));
		await settled();
		const nowMs = performance.now();
		upstream.tick(nowMs + 100_000);
		exchange.questions[0]?.answer(...answerTo(1, {}));
		upstream.tick(nowMs + 200_000);
		assert.equal(exchange.ends.size, 0);
		t.mock.method(performance, 'now', () => nowMs + 200_000);
		exchange.questions[1]?.refuse({ code: 1, message: 'no' });
		upstream.tick(nowMs + 200_999);
		assert.equal(exchange.ends.size, 0);
		upstream.tick(nowMs + 201_001);
		const told = await exchange.ends.next();
		assert.ok(told instanceof SlipwayError && told.code === 'SLIPWAY_CALL_TIMEOUT');
	});
});

describe('a subscription', () => {
	const changed = (id: RpcId | undefined, more: object = {}): Rpc => ({
		jsonrpc: '2.0',
		method: 'notifications/tools/list_changed',
		params: { _meta: { a: 1, ...(id === undefined ? {} : { [SUBSCRIPTION_KEY]: id }) }, ...more },
	});

	test('gets what is its own, in the id of its client, and what is of none goes to the conversation', async () => {
		const { instance, send, settled, standing } = setUp();
		const listen = { jsonrpc: '2.0', method: 'subscriptions/listen' };
		const exchanges = [
			send({ ...listen, id: 's' }, Number.POSITIVE_INFINITY),
			send({ ...listen, id: 's' }, Number.POSITIVE_INFINITY),
			send({ ...listen, id: 0 }, Number.POSITIVE_INFINITY),
		];
		const ids: number[] = [];
		for (const _ of exchanges) ids.push((await instance.hearRequest('subscriptions/listen')).id);
		for (const [at, id] of ids.entries()) instance.say(changed(id, { at }));
		instance.say(changed(undefined));
		for (const stranger of ['s', 0, ids.length + 100, String(ids[0])]) instance.say(changed(stranger));
		await settled();
		assert.deepEqual(
			exchanges.map(({ told }) => told.map((text) => JSON.parse(text))),
			[[changed('s', { at: 0 })], [changed('s', { at: 1 })], [changed(0, { at: 2 })]],
		);
		assert.deepEqual(
			standing.texts.map((text) => JSON.parse(text)),
			[changed(undefined)],
		);
		instance.say({
			jsonrpc: '2.0',
			id: ids[1] ?? null,
			result: { _meta: { [SUBSCRIPTION_KEY]: ids[1] ?? null, b: 2 } },
		});
		instance.say(changed(ids[1] ?? -1, { late: true }));
		await settled();
		assert.deepEqual(JSON.parse(String(await exchanges[1]?.ends.next())), {
			jsonrpc: '2.0',
			id: 's',
			result: { _meta: { [SUBSCRIPTION_KEY]: 's', b: 2 } },
		});
		assert.deepEqual([exchanges[1]?.told.length, standing.texts.length], [1, 1]);
	});

	test('has every other byte of what the server wrote', async () => {
		const { instance, send, settled } = setUp();
		const exchange = send({ jsonrpc: '2.0', id: 's', method: 'subscriptions/listen' }, Number.POSITIVE_INFINITY);
		const { id } = await instance.hearRequest('subscriptions/listen');
		const text = `{"params":{"n":1.0,"_meta":{"${SUBSCRIPTION_KEY}":${id},"m":12345678901234567890}},"method":"notifications/x","jsonrpc":"2.0"}`;
		instance.say(text);
		await settled();
		assert.deepEqual(exchange.told, [text.replace(`:${id},`, ':"s",')]);
	});
});

test('holds count: the server goes on when the last is let go, each once', () => {
	const { instance, upstream } = setUp();
	const [one, two] = [upstream.hold(), upstream.hold()];
	one();
	one();
	assert.ok(instance.stream.isPaused());
	two();
	assert.ok(!instance.stream.isPaused());
});

test('tools are told of as the server lists them, whoever asked, and what is no list is none', async () => {
	const { instance, send, tools } = setUp();
	const listed = [{ name: 'a', inputSchema: { x: 1 } }, { name: 1 }, null, 'x', { name: 'b' }];
	for (const result of [{ tools: listed }, { tools: 5 }, {}, JSON.parse('{"__proto__":{"tools":[1]}}')]) {
		const exchange = send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
		instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result });
		await exchange.ends.next();
	}
	const refused = send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
	instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, error: { code: 1, message: 'no' } });
	await refused.ends.next();
	const other = send(call(1));
	instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: { tools: listed } });
	await other.ends.next();
	assert.deepEqual(tools, [listed, [], [], []]);
});

describe('noise', () => {
	test('is counted, and told of a few times, by its length and never by its text', async () => {
		const { instance, noise, send } = setUp();
		instance.raw(`\u001b[31mred\n${'x'.repeat(10_000)}\n`);
		for (let i = 0; i < 5; i++) instance.raw('more\n');
		const exchange = send(call(1));
		instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: {} });
		await exchange.ends.next();
		assert.deepEqual(
			noise.map(({ bytes }) => bytes),
			[8, 10_000, 4, 4, 4, 4, 4],
		);
		assert.equal(noise.filter(({ told }) => told).length, STDIO_LIMITS.noiseToldMax);
	});

	test('in a batch of the server is the member alone', async () => {
		const { instance, noise, send } = setUp();
		const exchange = send(call(1));
		const { id } = await instance.hear();
		instance.raw(`[{"no":1},{"jsonrpc":"2.0","id":${id},"result":{}},[]]\n`);
		await exchange.ends.next();
		await new Promise((resolve) => setImmediate(resolve));
		assert.equal(noise.length, 2);
	});
});

test('JSON that is deep, huge, or full of strange keys is passed on or noise, and harms nothing', async () => {
	const { instance, send, noise, standing } = setUp();
	const exchange = send(call(1));
	const { id } = await instance.hear();
	const depth = 10_000;
	instance.raw(`${'['.repeat(depth)}${']'.repeat(depth)}\n`);
	instance.raw(`${'['.repeat(depth)}\n`);
	const deep = `{"jsonrpc":"2.0","method":"notifications/x","params":{"a":${'['.repeat(depth)}${']'.repeat(depth)},"__proto__":{"polluted":1}}}`;
	instance.raw(`${deep}\n`);
	instance.raw(
		`{"jsonrpc":"2.0","method":"notifications/y","params":{"s":"${'s'.repeat(STDIO_LIMITS.lineBytesMax - 100)}"}}\n`,
	);
	instance.raw(`{"jsonrpc":"2.0","id":${id},"id":${id},"result":{"n":1e999}}\n`);
	assert.equal(await exchange.ends.next(), `{"jsonrpc":"2.0","id":${id},"id":1,"result":{"n":1e999}}`);
	assert.equal(standing.texts[0], deep);
	assert.equal(standing.texts.length, 2);
	assert.equal(noise.length, 2);
	assert.equal(Reflect.get({}, 'polluted'), undefined);
});
