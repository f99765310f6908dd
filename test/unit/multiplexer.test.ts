import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RPC_CODES, SlipwayError } from '../../src/errors.ts';
import { BRIDGE_LIMITS, SESSION_LIMITS, SHARING_LIMITS } from '../../src/limits.ts';
import type { RequestMessage, RpcId } from '../../src/mcp/jsonrpc.ts';
import type { Rpc } from '../support/fake-launcher.ts';
import { SeatBench, settle, type Ticket } from '../support/seat-bench.ts';

const toolCall = (id: RpcId, more: Record<string, unknown> = {}): Rpc => ({
	id,
	method: 'tools/call',
	params: { name: 'x', ...more },
});
const subscribe = (uri: string, id: RpcId = 's'): Rpc => ({ id, method: 'resources/subscribe', params: { uri } });
const unsubscribe = (uri: string): Rpc => ({ id: 'u', method: 'resources/unsubscribe', params: { uri } });
const setLevel = (level: string): Rpc => ({ id: 'l', method: 'logging/setLevel', params: { level } });
const updated = (uri: string): Rpc => ({ method: 'notifications/resources/updated', params: { uri } });
const logLine = (level: string): Rpc => ({ method: 'notifications/message', params: { level, data: 'x' } });
const methods = (messages: readonly Rpc[]): unknown[] => messages.map(({ method }) => method);
const codeOf = ({ answers: [answer] }: Ticket): unknown => answer?.error?.code;
const initialize = (protocolVersion: string): RequestMessage => ({
	kind: 'request',
	id: 7,
	method: 'initialize',
	params: { protocolVersion, capabilities: { roots: {} }, clientInfo: { name: 'c', version: '1' } },
});

describe('the introduction', () => {
	const table: [asked: string, answered: string][] = [
		['2024-11-05', '2024-11-05'],
		['2025-06-18', '2025-06-18'],
		['2025-11-25', '2025-06-18'],
		['1999-01-01', '2025-06-18'],
	];
	for (const [asked, answered] of table) {
		test(`who asks for ${asked} is answered ${answered} by a server of 2025-06-18`, () => {
			const { text, message } = new SeatBench('principal').multiplexer.introduce(initialize(asked));
			assert.ok(message.ok);
			assert.deepEqual(JSON.parse(text), { jsonrpc: '2.0', id: 7, result: message.result });
			assert.equal(Reflect.get(Object(message.result), 'protocolVersion'), answered);
		});
	}

	test('tells of everything but tasks, and of no log where callers do not know each other', () => {
		const capabilities = { tools: {}, logging: {}, tasks: {}, experimental: { x: { big: 1 } } };
		const extra = { capabilities, instructions: 'Be kind.', _meta: { y: 1 } };
		const answerOf = (company: 'principal' | 'shared'): unknown => {
			const { text } = new SeatBench(company, extra).multiplexer.introduce(initialize('2025-06-18'));
			return JSON.parse(text).result;
		};
		const serverInfo = { name: 'played', version: '1' };
		const common = { ...extra, serverInfo, protocolVersion: '2025-06-18' };
		const { tools, logging, experimental } = capabilities;
		assert.deepEqual(answerOf('principal'), { ...common, capabilities: { tools, logging, experimental } });
		assert.deepEqual(answerOf('shared'), { ...common, capabilities: { tools, experimental } });
	});
});

describe('calls', () => {
	test('of equal ids and progress tokens stay apart', async () => {
		const bench = new SeatBench('shared');
		const sitters = [bench.sit(), bench.sit(), bench.sit()];
		const tickets = sitters.map((sitter, mark) => sitter.send(toolCall(1, { mark, _meta: { progressToken: 't' } })));
		const heard = await bench.heard();
		for (const { id, params } of heard.toReversed()) {
			const mark = params?.['mark'];
			await bench.say({ method: 'notifications/progress', params: { progressToken: Number(id), progress: 1, mark } });
			await bench.say({ id: Number(id), result: { mark } });
		}
		for (const [mark, { answers, told }] of tickets.entries()) {
			assert.deepEqual(answers, [{ jsonrpc: '2.0', id: 1, result: { mark } }]);
			assert.deepEqual(
				told.map(({ params }) => params),
				[{ progressToken: 't', progress: 1, mark }],
			);
		}
		for (const { standing, seat } of sitters) assert.deepEqual([standing, seat.inFlight], [[], 0]);
	});

	test('one that is withdrawn is withdrawn at the server, and no other', async () => {
		const bench = new SeatBench('principal');
		const [one, other] = [bench.sit().send(toolCall(1)), bench.sit().send(toolCall(1))];
		const [first, second] = await bench.heard();
		one.call?.cancel({ reason: 'enough' });
		const { params } = await bench.heardOne('notifications/cancelled');
		assert.deepEqual(params, { reason: 'enough', requestId: first?.id });
		assert.equal(one.drops, 1);
		await bench.say({ id: Number(second?.id), result: {} });
		assert.equal(other.answers.length, 1);
	});

	test('those of a seat that is given up fail, the server hears of it, and the others go on', async () => {
		const bench = new SeatBench('principal');
		const leaver = bench.sit();
		const [gone, stays] = [leaver.send(toolCall(1)), bench.sit().send(toolCall(1))];
		const pending = leaver.send(subscribe('a:b'));
		const [first, second] = await bench.heard();
		leaver.seat.leave();
		leaver.seat.leave();
		assert.deepEqual(
			[...gone.failures, ...pending.failures].map(({ code }) => code),
			['SLIPWAY_SESSION_ENDED', 'SLIPWAY_SESSION_ENDED'],
		);
		assert.equal((await leaver.seat.ended).code, 'SLIPWAY_SESSION_ENDED');
		const [cancelled] = await bench.heard();
		assert.deepEqual(cancelled?.params, { requestId: first?.id });
		assert.throws(() => leaver.send(toolCall(2)), { code: 'SLIPWAY_SESSION_ENDED' });
		assert.throws(() => leaver.send({ id: 2, method: 'ping' }), { code: 'SLIPWAY_SESSION_ENDED' });
		assert.equal(leaver.seat.inFlight, 0);
		await bench.say({ id: Number(second?.id), result: {} });
		assert.equal(stays.answers.length, 1);
		assert.equal(bench.multiplexer.size, 1);
	});

	test('the end of the server ends each once, and every seat with the reason', async () => {
		const bench = new SeatBench('shared');
		const sitters = [bench.sit(), bench.sit()];
		const tickets = sitters.flatMap((sitter) => [sitter.send(toolCall(1)), sitter.send(subscribe('a:b'))]);
		await bench.heard();
		bench.instance.end({ cause: 'oom', exitCode: 137, stderr: '' });
		for (const { seat } of sitters) assert.equal((await seat.ended).code, 'SLIPWAY_INSTANCE_OOM');
		await settle();
		for (const ticket of tickets) {
			assert.deepEqual([ticket.ends, ticket.announced], [1, 1]);
			assert.equal(ticket.failures[0]?.code, 'SLIPWAY_INSTANCE_OOM');
		}
		assert.equal(bench.multiplexer.size, 0);
		assert.throws(() => sitters[0]?.send(toolCall(2)), { code: 'SLIPWAY_INSTANCE_OOM' });
	});

	test('one seat may have as many as a session, and all together as many as an Instance', async () => {
		const bench = new SeatBench('shared');
		const fill = (count: number): number => {
			const sitter = bench.sit();
			let taken = 0;
			try {
				for (; taken < count; taken++) sitter.send(toolCall(taken));
			} catch (error) {
				assert.ok(error instanceof SlipwayError && error.code === 'SLIPWAY_CALLS_FULL');
			}
			return taken;
		};
		const seats = SHARING_LIMITS.inFlightMax / SESSION_LIMITS.inFlightMax;
		for (let seat = 0; seat < seats; seat++)
			assert.equal(fill(SESSION_LIMITS.inFlightMax + 1), SESSION_LIMITS.inFlightMax);
		assert.equal(fill(1), 0);
		await bench.stop();
	});

	test('a ping is answered without the server, and not before its caller has the call', async () => {
		const bench = new SeatBench('shared');
		const ping = bench.sit().send({ id: 'p', method: 'ping' });
		assert.equal(ping.ends, 0);
		assert.deepEqual(await bench.heard(), []);
		assert.deepEqual(ping.answers, [{ jsonrpc: '2.0', id: 'p', result: {} }]);
		assert.equal(ping.announced, 1);
	});

	test('nothing of tasks reaches the server, nor a second initialize', async () => {
		const bench = new SeatBench('principal');
		const sitter = bench.sit();
		const refused = ['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel', 'initialize'].map((method, id) =>
			sitter.send({ id, method, params: { taskId: 't' } }),
		);
		sitter.send(toolCall(9, { task: { ttl: 1 }, big: 1 }));
		assert.deepEqual((await bench.heardOne('tools/call')).params, { name: 'x', big: 1 });
		for (const ticket of refused) assert.equal(codeOf(ticket), RPC_CODES.methodNotFound);
	});

	test('what clients say of themselves stays here; what a server may know is passed on', async () => {
		const bench = new SeatBench('principal');
		const sitter = bench.sit();
		for (const name of ['initialized', 'roots/list_changed', 'progress', 'cancelled'])
			sitter.notify(`notifications/${name}`);
		sitter.notify('acme/hello');
		await bench.heardOne('acme/hello');
	});
});

test('a question of the server is refused, and a ping of it answered, whoever is there', async () => {
	const bench = new SeatBench('principal');
	bench.sit().send(toolCall(1));
	await bench.heard();
	await bench.say({ id: 'q', method: 'sampling/createMessage', params: {} });
	await bench.say({ id: 'p', method: 'ping' });
	const [refusal, pong] = await bench.heard();
	assert.deepEqual([refusal?.id, refusal?.error?.code], ['q', RPC_CODES.methodNotFound]);
	assert.deepEqual(pong, { jsonrpc: '2.0', id: 'p', result: {} });
});

describe('subscriptions', () => {
	test('the server is subscribed once, for as long as somebody is, and tells those who are', async () => {
		const bench = new SeatBench('shared');
		const [one, two, three] = [bench.sit(), bench.sit(), bench.sit()];
		const tickets = [one.send(subscribe('a:b')), two.send(subscribe('a:b'))];
		await bench.say({ id: (await bench.heardOne('resources/subscribe')).id, result: {} });
		tickets.push(one.send(subscribe('a:b')));
		assert.deepEqual(await bench.heard(), []);
		for (const { answers } of tickets) assert.deepEqual(answers, [{ jsonrpc: '2.0', id: 's', result: {} }]);
		await bench.say(updated('a:b'));
		await bench.say(updated('a:b/c'));
		await bench.say(updated('a:bc'));
		for (const { standing } of [one, two])
			assert.deepEqual(
				standing.map(({ params }) => params?.['uri']),
				['a:b', 'a:b/c'],
			);
		assert.deepEqual(three.standing, []);
		one.send(unsubscribe('a:b'));
		three.send(unsubscribe('a:b'));
		assert.deepEqual(await bench.heard(), []);
		await bench.say(updated('a:b'));
		assert.deepEqual([one.standing.length, two.standing.length], [2, 3]);
		two.seat.leave();
		assert.deepEqual((await bench.heardOne('resources/unsubscribe')).params, { uri: 'a:b' });
	});

	test('everybody hears why one was refused, in the words of the server, and none is left', async () => {
		const bench = new SeatBench('shared');
		const sitters = [bench.sit(), bench.sit()];
		const tickets = sitters.map((sitter) => sitter.send(subscribe('a:b')));
		const error = { code: -32002, message: 'No such resource' };
		await bench.say({ id: (await bench.heardOne('resources/subscribe')).id, error });
		for (const { answers } of tickets) assert.deepEqual(answers, [{ jsonrpc: '2.0', id: 's', error }]);
		await bench.say(updated('a:b'));
		for (const { standing } of sitters) assert.deepEqual(standing, []);
		sitters[0]?.send(subscribe('a:b'));
		await bench.heardOne('resources/subscribe');
	});

	test('one that is withdrawn before it is answered is undone', async () => {
		const bench = new SeatBench('principal');
		const ticket = bench.sit().send(subscribe('a:b'));
		const { id } = await bench.heardOne('resources/subscribe');
		ticket.call?.cancel();
		await bench.say({ id, result: {} });
		await bench.heardOne('resources/unsubscribe');
		assert.deepEqual([ticket.ends, ticket.drops, ticket.announced], [1, 1, 1]);
	});

	test('one of two for the same resource that is withdrawn leaves the other', async () => {
		const bench = new SeatBench('principal');
		const sitter = bench.sit();
		const [withdrawn, waits] = [sitter.send(subscribe('a:b', 1)), sitter.send(subscribe('a:b', 2))];
		const { id } = await bench.heardOne('resources/subscribe');
		assert.equal(waits.ends, 0, 'it is not taken yet');
		withdrawn.call?.cancel();
		await bench.say({ id, result: {} });
		assert.deepEqual(waits.answers, [{ jsonrpc: '2.0', id: 2, result: {} }]);
		await bench.say(updated('a:b'));
		assert.equal(sitter.standing.length, 1);
		assert.deepEqual(await bench.heard(), []);
	});

	test('of too many, or without a resource, is refused', async () => {
		const nameless = new SeatBench('principal').sit().send({ id: 1, method: 'resources/subscribe' });
		await settle();
		assert.equal(codeOf(nameless), RPC_CODES.invalidParams);
		const sitter = new SeatBench('principal').sit();
		for (let i = 0; i < BRIDGE_LIMITS.subscriptionsMax; i++) sitter.send(subscribe(`a:${i}`));
		assert.throws(() => sitter.send(subscribe('a:more')), { code: 'SLIPWAY_CALLS_FULL' });
	});
});

describe('the log', () => {
	test('the server is told the lowest level that a seat wants; a seat hears what it wants', async () => {
		const bench = new SeatBench('principal');
		const [quiet, silent] = [bench.sit(), bench.sit()];
		assert.deepEqual(await bench.heard(), []);
		await bench.say(logLine('debug'));
		assert.equal(silent.standing.length, 1, 'the server decides as long as nobody does');
		const told = async (level: string): Promise<void> => {
			const { id, params } = await bench.heardOne('logging/setLevel');
			assert.deepEqual(params, { level });
			await bench.say({ id, result: {} });
		};
		quiet.send(setLevel('error'));
		await told('info');
		silent.send(setLevel('critical'));
		await told('error');
		const loud = bench.sit();
		await told('info');
		loud.send(setLevel('debug'));
		await told('debug');
		const sitters = [quiet, silent, loud];
		for (const { standing } of sitters) standing.length = 0;
		for (const level of ['debug', 'error', 'alert', 'nonsense']) await bench.say(logLine(level));
		assert.deepEqual(
			sitters.map(({ standing }) => standing.map(({ params }) => params?.['level'])),
			[
				['error', 'alert', 'nonsense'],
				['alert', 'nonsense'],
				['debug', 'error', 'alert', 'nonsense'],
			],
		);
		loud.seat.leave();
		await told('error');
		quiet.seat.leave();
		await told('critical');
		silent.seat.leave();
		await told('info');
	});

	test('a line goes to the call in flight where one session has the server, if it wants it', async () => {
		const bench = new SeatBench('principal');
		const caller = bench.sit();
		const ticket = caller.send(toolCall(1));
		caller.send(setLevel('error'));
		await bench.heard();
		await bench.say(logLine('error'));
		await bench.say(logLine('info'));
		assert.deepEqual(methods(ticket.told), ['notifications/message']);
		assert.equal(caller.standing.length, 0);
	});

	test('a line goes to all that want it where there are several: whose call it tells of nothing says', async () => {
		const bench = new SeatBench('principal');
		const [caller, other] = [bench.sit(), bench.sit()];
		const ticket = caller.send(toolCall(1));
		caller.send(setLevel('error'));
		await bench.heard();
		await bench.say(logLine('error'));
		await bench.say(logLine('info'));
		assert.deepEqual(methods(ticket.told), []);
		assert.deepEqual([caller.standing.length, other.standing.length], [1, 2]);
	});

	test('what is no level is refused, and any where the server has no log', async () => {
		const bench = new SeatBench('principal');
		const wrong = bench.sit().send(setLevel('loud'));
		const without = new SeatBench('principal', { capabilities: {} });
		const absent = without.sit().send(setLevel('info'));
		const shared = new SeatBench('shared');
		const stranger = shared.sit().send(setLevel('info'));
		assert.deepEqual(await Promise.all([bench.heard(), without.heard(), shared.heard()]), [[], [], []]);
		assert.deepEqual([wrong, absent, stranger].map(codeOf), [
			RPC_CODES.invalidParams,
			RPC_CODES.methodNotFound,
			RPC_CODES.methodNotFound,
		]);
	});

	test('one level that did not reach the server is told it with the next occasion', async () => {
		const bench = new SeatBench('principal');
		const fillers = [bench.sit(), bench.sit(), bench.sit(), bench.sit()];
		const calls = fillers.flatMap((filler) =>
			Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, id) => filler.send(toolCall(id))),
		);
		await bench.heard();
		bench.sit().send(setLevel('debug'));
		assert.deepEqual(await bench.heard(), []);
		for (const { call } of calls) call?.cancel();
		await bench.heard();
		bench.sit();
		assert.deepEqual((await bench.heardOne('logging/setLevel')).params, { level: 'debug' });
	});
});

describe('what belongs to no call', () => {
	const said = [
		{ method: 'notifications/tools/list_changed' },
		{ method: 'notifications/prompts/list_changed' },
		{ method: 'notifications/resources/list_changed' },
		logLine('alert'),
		{ method: 'acme/news' },
	];
	test('goes to all sessions of one caller', async () => {
		const bench = new SeatBench('principal');
		const sitters = [bench.sit(), bench.sit()];
		for (const message of said) await bench.say(message);
		for (const { standing } of sitters) assert.deepEqual(methods(standing), methods(said));
	});

	test('and of callers who do not know each other only what is for all, also while a call is in flight', async () => {
		const bench = new SeatBench('shared');
		const sitters = [bench.sit(), bench.sit()];
		const ticket = sitters[0]?.send(toolCall(1));
		for (const message of said) await bench.say(message);
		for (const { standing } of sitters) assert.deepEqual(methods(standing), methods(said.slice(0, 3)));
		assert.deepEqual(ticket?.told, []);
	});
});

test('a seat that is given up lets go of what it holds', async () => {
	const bench = new SeatBench('shared');
	const [slow, other] = [bench.sit(), bench.sit()];
	slow.seat.hold();
	const release = other.seat.hold();
	assert.equal(bench.instance.stream.isPaused(), true);
	release();
	assert.equal(bench.instance.stream.isPaused(), true);
	slow.seat.leave();
	assert.equal(bench.instance.stream.isPaused(), false);
});
