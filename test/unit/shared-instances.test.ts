import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import type { PrincipalId } from '../../src/ids.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { INSTANCE_LIMITS, SESSION_LIMITS, SHARING_LIMITS } from '../../src/limits.ts';
import { classify, type RequestMessage } from '../../src/mcp/jsonrpc.ts';
import { ENVELOPE_KEYS } from '../../src/mcp/revisions.ts';
import { Pool } from '../../src/pool/pool.ts';
import type { LegacySeat, ModernSeat, SeatRequest } from '../../src/pool/shared-instances.ts';
import { modernRequest } from '../support/client-modern.ts';
import { FakeLauncher, type Rpc, serverView } from '../support/fake-launcher.ts';
import { Cast, failure, metaIn, type PlayedServer, type Script } from '../support/played-server.ts';
import { send, settle, Ticket } from '../support/seat-bench.ts';

const SILENT = { onCall: () => undefined, onNoise: () => undefined, onTools: () => undefined };
const INITIALIZE: RequestMessage = {
	kind: 'request',
	id: 1,
	method: 'initialize',
	params: { protocolVersion: '2025-06-18', capabilities: { roots: {} }, clientInfo: { name: 'c', version: '1' } },
};
const ADA = 'ada' as PrincipalId;
const BOB = 'bob' as PrincipalId;

const toolCall = (id: string | number = 1): Rpc => ({ id, method: 'tools/call', params: { name: 'x' } });

/** A server with a pool, and whoever wants a seat at it. */
class Bench {
	readonly launcher = new FakeLauncher();
	readonly pool = new Pool(this.launcher);
	readonly cast: Cast;

	constructor(view: Partial<ServerView>, script: Script = {}) {
		this.launcher.state = { ...this.launcher.state, servers: [serverView('alpha', view)] };
		this.cast = new Cast(this.launcher, { alpha: script });
	}

	get view(): ServerView {
		return this.launcher.state.servers[0] ?? assert.fail();
	}

	change(view: Partial<ServerView>): void {
		this.launcher.state = { ...this.launcher.state, servers: [{ ...this.view, ...view }] };
	}

	legacy(caller = ADA, options: Partial<SeatRequest> = {}): Promise<LegacySeat & { readonly standing: Rpc[] }> {
		const standing: Rpc[] = [];
		const taking = { send: (text: string) => standing.push(JSON.parse(text)) > 0, ask: () => assert.fail('asked') };
		return this.pool.shared
			.seatLegacy(this.#request(caller, options), INITIALIZE, taking)
			.then((seat) => ({ ...seat, standing }));
	}

	modern(caller = ADA): Promise<ModernSeat> {
		return this.pool.shared.seatModern(this.#request(caller, {}));
	}

	instance(nth: number): Promise<PlayedServer> {
		return this.cast.of('alpha', nth);
	}

	/** As if so long had gone by with nothing in it. */
	tick(laterMs = 0): void {
		this.pool.tick(performance.now() + laterMs);
	}

	/** Gives everything back, and sees that it is gone. */
	async close(...seats: { leave(): void }[]): Promise<void> {
		for (const seat of seats) seat.leave();
		await settle();
		this.tick(INSTANCE_LIMITS.idleStopMs + 1000);
		await settle();
		assert.equal(this.launcher.live.size, 0, 'an Instance is left');
		assert.equal(this.pool.size, 0);
	}

	#request(caller: PrincipalId, options: Partial<SeatRequest>): SeatRequest {
		const makeRoom = async (): Promise<boolean> => false;
		const common = { server: this.view, observer: SILENT, signal: new AbortController().signal, makeRoom };
		return { ...common, caller, ...options };
	}
}

/** Has so many calls at once, which all go to the servers. */
function callMany({ server }: LegacySeat, count: number): Ticket[] {
	return Array.from({ length: count }, (_, id) => send(server, toolCall(id)));
}

describe('principal', () => {
	test('the sessions of one caller have one Instance, and another caller has another', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const [one, two, other] = [await bench.legacy(), await bench.legacy(), await bench.legacy(BOB)];
		assert.equal(bench.launcher.launches, 2);
		for (const [seat, nth] of [
			[one, 0],
			[two, 0],
			[other, 1],
		] as const) {
			const ticket = send(seat.server, toolCall());
			await (await bench.instance(nth)).answer('tools/call', { nth });
			await settle();
			assert.deepEqual(ticket.answers[0]?.result, { nth });
		}
		(await bench.instance(1)).say({ jsonrpc: '2.0', method: 'acme/news' });
		await settle();
		assert.deepEqual(
			[one, two, other].map(({ standing }) => standing.length),
			[0, 0, 1],
		);
		await bench.close(one, two, other);
	});

	test('has no second Instance, however much there is to do', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const seats = await Promise.all([bench.legacy(), bench.legacy(), bench.legacy()]);
		for (const seat of seats) callMany(seat, SESSION_LIMITS.inFlightMax);
		await settle();
		assert.equal(bench.launcher.launches, 1);
		await bench.close(...seats);
	});
});

describe('a start', () => {
	test('is one, however many want it', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 0, max: 2 } });
		const callers = Array.from({ length: 50 }, (_, i) => bench.legacy(`caller-${i}` as PrincipalId));
		const seats = await Promise.all(callers);
		assert.equal(bench.launcher.launches, 1);
		await bench.close(...seats);
	});

	test('goes on when one of those who wait for it gives up, and is given up with the last', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const held = Promise.withResolvers<void>();
		bench.launcher.beforeLaunch = () => held.promise;
		const giveUps = [new AbortController(), new AbortController()];
		const waiting = giveUps.map(({ signal }) => bench.legacy(ADA, { signal }));
		giveUps[0]?.abort(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		await assert.rejects(waiting[0] ?? assert.fail(), { code: 'SLIPWAY_SESSION_ENDED' });
		assert.equal(bench.launcher.aborted.items.length, 0);
		giveUps[1]?.abort(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		await assert.rejects(waiting[1] ?? assert.fail(), { code: 'SLIPWAY_SESSION_ENDED' });
		await bench.launcher.aborted.next();
		// Who comes now does not wait for what was given up.
		held.resolve();
		const seat = await bench.legacy();
		assert.equal(bench.launcher.launches, 2);
		await bench.close(seat);
	});

	test('that fails fails for all who wait, and is not remembered', async () => {
		const bench = new Bench({ isolation: 'shared' });
		bench.launcher.beforeLaunch = () => {
			throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		};
		const waiting = [bench.legacy(), bench.legacy(BOB)];
		for (const one of waiting) await assert.rejects(one, { code: 'SLIPWAY_ENGINE_UNREACHABLE' });
		assert.equal(bench.launcher.launches, 1);
		bench.launcher.beforeLaunch = () => undefined;
		await bench.close(await bench.legacy());
	});

	test('tells the server of a client that can do nothing, whoever it was for', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const seat = await bench.legacy();
		const { instance } = await bench.instance(0);
		const initialize = instance.received.map((line) => JSON.parse(line)).find(({ method }) => method === 'initialize');
		assert.deepEqual(initialize.params.capabilities, {});
		assert.deepEqual(seat.answer.message.id, INITIALIZE.id);
		assert.equal(JSON.parse(seat.answer.text).result.protocolVersion, '2025-06-18');
		await bench.close(seat);
	});
});

describe('shared', () => {
	test('one more is started when all have much to do; no call waits for it; it ends when there is less', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 0, max: 2 } });
		const [one, two] = [await bench.legacy(), await bench.legacy(BOB)];
		const first = await bench.instance(0);
		callMany(one, SHARING_LIMITS.busyCallsMax + 1);
		await settle();
		assert.equal(bench.launcher.launches, 1);
		const held = Promise.withResolvers<void>();
		bench.launcher.beforeLaunch = () => held.promise;
		callMany(two, 2);
		await first.heard.count(SHARING_LIMITS.busyCallsMax + 3);
		assert.equal(bench.launcher.launches, 2);
		held.resolve();
		const second = await bench.instance(1);
		await settle();
		// The new one has the fewest, until it has as many.
		const tickets = callMany(one, 3);
		const heard = await second.heard.count(3);
		for (const { id } of heard) second.say({ jsonrpc: '2.0', id, result: { from: 1 } });
		await settle();
		for (const { answers } of tickets) assert.deepEqual(answers[0]?.result, { from: 1 });
		for (const { id } of first.heard.items) first.say({ jsonrpc: '2.0', id, result: {} });
		await settle();
		bench.tick(INSTANCE_LIMITS.idleStopMs - 1000);
		assert.equal(bench.launcher.live.size, 2);
		bench.tick(INSTANCE_LIMITS.idleStopMs + 1000);
		await settle();
		assert.deepEqual([...bench.launcher.live], [first.instance], 'the home of the seats stays');
		await bench.close(one, two);
	});

	test('there are never more than may be, and a start that fails is not tried again at once', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 0, max: 2 } });
		const seats = await Promise.all([bench.legacy(), bench.legacy(BOB)]);
		bench.launcher.beforeLaunch = () => {
			throw new SlipwayError('SLIPWAY_INSTANCES_FULL');
		};
		callMany(seats[0], SHARING_LIMITS.busyCallsMax + 2);
		await settle();
		callMany(seats[0], 5);
		await settle();
		assert.equal(bench.launcher.launches, 2);
		await bench.close(...seats);
		const full = new Bench({ isolation: 'shared', replicas: { min: 0, max: 2 } });
		const others = await Promise.all([full.legacy(), full.legacy(BOB)]);
		for (const seat of others)
			for (let i = 0; i < SESSION_LIMITS.inFlightMax; i++) {
				send(seat.server, toolCall(i));
				await settle();
			}
		assert.equal(full.launcher.launches, 2);
		await full.close(...others);
	});

	test('as many as should stay are there once it is used, and stay when nobody uses them', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 3, max: 4 } });
		const seat = await bench.legacy();
		await bench.instance(2);
		await settle();
		assert.equal(bench.launcher.launches, 3);
		seat.leave();
		await settle();
		bench.tick(INSTANCE_LIMITS.idleStopMs * 2);
		await settle();
		assert.equal(bench.launcher.live.size, 3);
		// Until the catalog says otherwise.
		bench.change({ enabled: false });
		bench.tick();
		await settle();
		assert.equal(bench.launcher.live.size, 0);
	});

	test('a seat ends with its home, and its calls with it; the next is at what is left', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 2, max: 2 } });
		const seats = [await bench.legacy(), await bench.legacy(BOB)];
		const [first, second] = [await bench.instance(0), await bench.instance(1)];
		await settle();
		const tickets = seats.flatMap((seat) => callMany(seat, 2));
		await first.heard.count(2);
		await second.heard.count(2);
		first.exit();
		for (const { server } of seats) assert.equal((await server.ended).code, 'SLIPWAY_INSTANCE_EXITED');
		await settle();
		for (const { failures, ends } of tickets)
			assert.deepEqual([failures[0]?.code, ends], ['SLIPWAY_INSTANCE_EXITED', 1]);
		assert.throws(() => send(seats[0]?.server ?? assert.fail(), toolCall()), { code: 'SLIPWAY_INSTANCE_EXITED' });
		const next = await bench.legacy();
		send(next.server, { id: 'p', method: 'prompts/get' });
		await second.heard.first(({ method }) => method === 'prompts/get');
		next.leave();
		await bench.pool.stop();
		assert.equal(bench.launcher.live.size, 0);
	});

	test('one that is no home takes with it the calls that it had, and nothing more', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 2, max: 2 } });
		const seat = await bench.legacy();
		const [first, second] = [await bench.instance(0), await bench.instance(1)];
		await settle();
		const tickets = callMany(seat, 2);
		await second.hear('tools/call');
		second.exit();
		await settle();
		assert.deepEqual(
			tickets.map(({ failures }) => failures.length),
			[0, 1],
		);
		await first.answer('tools/call', {});
		await settle();
		assert.equal(tickets[0]?.answers.length, 1);
		send(seat.server, { id: 'p', method: 'prompts/get' });
		await first.hear('prompts/get');
		seat.leave();
		await bench.pool.stop();
	});

	test('subscriptions are at home, and changes come once', async () => {
		const capabilities = { resources: { subscribe: true, listChanged: true } };
		const bench = new Bench(
			{ isolation: 'shared', replicas: { min: 2, max: 2 } },
			{ capabilities, answers: { 'resources/subscribe': () => ({}) } },
		);
		const seat = await bench.legacy();
		const [first, second] = [await bench.instance(0), await bench.instance(1)];
		await settle();
		callMany(seat, 3);
		await first.heard.count(2);
		await second.heard.count(1);
		send(seat.server, { id: 's', method: 'resources/subscribe', params: { uri: 'a:b' } });
		await settle();
		for (const one of [first, second]) {
			one.say({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'a:b' } });
			one.say({ jsonrpc: '2.0', method: 'notifications/resources/list_changed' });
		}
		await settle();
		assert.deepEqual(
			seat.standing.map(({ method }) => method),
			['notifications/resources/updated', 'notifications/resources/list_changed'],
		);
		const isSubscribe = (line: string): boolean => line.includes('resources/subscribe');
		assert.deepEqual(
			[first, second].map(({ instance }) => instance.received.filter(isSubscribe).length),
			[1, 0],
		);
		await bench.pool.stop();
	});

	test('a seat has the bound of a session in all of them together', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 2, max: 2 } });
		const seat = await bench.legacy();
		await bench.instance(1);
		await settle();
		callMany(seat, SESSION_LIMITS.inFlightMax);
		assert.throws(() => send(seat.server, toolCall('more')), { code: 'SLIPWAY_CALLS_FULL' });
		seat.leave();
		await settle();
		assert.equal(seat.server.inFlight, 0);
		await bench.pool.stop();
	});
});

test('what a server says of itself counts for others only until somebody has called something', async () => {
	const bench = new Bench({ isolation: 'principal' }, { answers: { 'tools/list': () => ({ tools: [] }) } });
	const [one, two] = [await bench.legacy(), await bench.modern()];
	send(one.server, { id: 1, method: 'tools/list' });
	send(one.server, { id: 2, method: 'resources/unsubscribe', params: { uri: 'a:b' } });
	assert.deepEqual([one.isPristine(), two.isPristine()], [true, true]);
	send(one.server, toolCall());
	const three = await bench.legacy();
	assert.deepEqual([one.isPristine(), two.isPristine(), three.isPristine()], [false, false, false]);
	await bench.close(one, two, three);
});

describe('the end of what nobody uses', () => {
	test('comes when nobody has called it for the idle time, and not while somebody has a seat', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const seat = await bench.legacy();
		bench.tick(INSTANCE_LIMITS.idleStopMs * 3);
		await settle();
		assert.equal(bench.launcher.live.size, 1);
		const call = send(seat.server, toolCall());
		bench.tick(30_000);
		call.call?.cancel();
		seat.leave();
		await settle();
		bench.tick(INSTANCE_LIMITS.idleStopMs + 29_000);
		await settle();
		assert.equal(bench.launcher.live.size, 1);
		bench.tick(INSTANCE_LIMITS.idleStopMs + 31_000);
		await settle();
		assert.equal(bench.launcher.live.size, 0);
	});

	test('comes at once where another server needs the room', async () => {
		const bench = new Bench({ isolation: 'principal' });
		const seat = await bench.legacy();
		assert.equal(await bench.pool.shared.endUnused(), false);
		seat.leave();
		await settle();
		assert.equal(await bench.pool.shared.endUnused(), true);
		assert.equal(bench.launcher.live.size, 0);
	});

	test('comes with the last seat where the server is another now; who comes has the new one', async () => {
		const bench = new Bench({ isolation: 'shared', replicas: { min: 1, max: 2 } });
		const old = await bench.legacy();
		bench.change({ spec: 'another' });
		const fresh = await bench.legacy();
		assert.equal(bench.launcher.live.size, 2);
		send(old.server, toolCall());
		await (await bench.instance(0)).answer('tools/call');
		await settle();
		old.leave();
		await settle();
		bench.tick();
		await settle();
		assert.deepEqual([...bench.launcher.live], [(await bench.instance(1)).instance]);
		fresh.leave();
		await bench.pool.stop();
	});

	test('comes too where the catalog said who shares it while it was on its way', async () => {
		for (const change of [{ isolation: 'session' }, { isolation: 'shared', replicas: { min: 0, max: 2 } }] as const) {
			const bench = new Bench({ isolation: 'shared', replicas: { min: 1, max: 2 } });
			bench.launcher.beforeLaunch = async () => {
				if (bench.launcher.launches === 1) throw new SlipwayError('SLIPWAY_INSTANCES_FULL');
			};
			const makeRoom = async (): Promise<boolean> => {
				bench.change({ ...change, spec: 'another' });
				return true;
			};
			const seat = await bench.legacy(ADA, { makeRoom });
			assert.equal((await bench.instance(0)).instance.spec, 'another');
			assert.equal(seat.build.stale, true);
			bench.tick();
			await settle();
			assert.equal(bench.launcher.live.size, 1);
			seat.leave();
			await settle();
			bench.tick();
			await settle();
			assert.equal(bench.launcher.live.size, 0);
			await bench.pool.stop();
		}
	});

	test('does not come because an image came to be known', async () => {
		const bench = new Bench({ isolation: 'principal', preparation: { kind: 'waiting' }, spec: 'of the entry' });
		bench.launcher.beforeLaunch = () =>
			bench.change({ preparation: { kind: 'ready', image: 'a', imageId: 'b' }, spec: 'of both' });
		const seat = await bench.legacy();
		bench.tick();
		const other = await bench.legacy();
		assert.equal(bench.launcher.launches, 1);
		await bench.close(seat, other);
	});
});

describe('a server that speaks 2026-07-28', () => {
	test('is one for sessions of the first era, each with its own words for the client, and its own subscriptions', async () => {
		const bench = new Bench(
			{ isolation: 'principal' },
			{ era: 'modern', capabilities: { tools: { listChanged: true }, logging: {} } },
		);
		const seats = [await bench.legacy(), await bench.legacy()];
		const played = await bench.instance(0);
		for (const { server } of seats)
			server.notify('', { kind: 'notification', method: 'notifications/initialized', params: undefined });
		const listens = [await played.hear('subscriptions/listen'), await played.hear('subscriptions/listen')];
		assert.notEqual(listens[0]?.id, listens[1]?.id);
		const [one, two] = seats.map(({ server }) => send(server, toolCall()));
		const call = await played.hear('tools/call');
		assert.deepEqual(metaIn(call)[ENVELOPE_KEYS.capabilities], { roots: {} });
		seats[0]?.leave();
		assert.equal(one?.failures[0]?.code, 'SLIPWAY_SESSION_ENDED');
		const withdrawn = [await played.heard.count(6), listens[0]?.id, call.id];
		const cancelled = played.heard.items.filter(({ method }) => method === 'notifications/cancelled');
		assert.deepEqual(cancelled.map(({ params }) => params['requestId']).sort(), withdrawn.slice(1).sort());
		await played.hear('tools/call').then(({ id }) => played.say({ jsonrpc: '2.0', id, result: {} }));
		await settle();
		assert.equal(two?.answers.length, 1);
		await bench.close(...seats);
	});

	test('is one for requests of that era, with their own envelopes, and no log between strangers', async () => {
		for (const [isolation, lines] of [
			['principal', 1],
			['shared', 0],
		] as const) {
			const bench = new Bench({ isolation }, { era: 'modern' });
			const seats = [await bench.modern(), await bench.modern(isolation === 'shared' ? BOB : ADA)];
			assert.equal(bench.launcher.launches, 1);
			const ticket = new Ticket(1);
			const body = { ...modernRequest('tools/call', { name: 'x' }, { logLevel: 'info' }) };
			const text = JSON.stringify(body);
			const message = classify(body);
			assert.ok(message?.kind === 'request');
			const envelope = { capabilities: {}, clientInfo: undefined, logLevel: 'info' };
			const reply = {
				attached: true,
				related: (told: string) => ticket.tell(told),
				answer: (said: string) => ticket.answer(said),
			};
			const rest = { fail: () => assert.fail(), drop: () => assert.fail() };
			seats[0]?.server.request({ text, message, envelope }, { ...reply, ...rest });
			const played = await bench.instance(0);
			const { id } = await played.hear('tools/call');
			played.say({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'x' } });
			played.say({ jsonrpc: '2.0', id, result: {} });
			await settle();
			assert.deepEqual([ticket.told.length, ticket.answers.length], [lines, 1]);
			await bench.close(...seats);
		}
	});
});

test('a server of the first era is bridged for requests of the second, and asks nobody', async () => {
	const bench = new Bench({ isolation: 'principal' });
	const [bridged, session] = [await bench.modern(), await bench.legacy()];
	assert.equal(bench.launcher.launches, 1);
	const played = await bench.instance(0);
	send(session.server, toolCall());
	await played.hear('tools/call');
	played.say({ jsonrpc: '2.0', id: 'q', method: 'elicitation/create', params: {} });
	const { id, error } = await played.answers.next();
	assert.deepEqual([id, error?.code], ['q', failure(0, { code: -32601, message: '' }).error?.code]);
	await bench.close(bridged, session);
	assert.equal((await bridged.server.ended).code, 'SLIPWAY_SESSION_ENDED');
});

test('nothing is left when the pool stops, whatever is on its way', async () => {
	const bench = new Bench({ isolation: 'shared', replicas: { min: 2, max: 2 } });
	const seat = await bench.legacy();
	callMany(seat, 20);
	await bench.pool.stop();
	await settle();
	await bench.pool.stop();
	assert.equal(bench.launcher.live.size, 0);
	assert.equal(seat.server.inFlight, 0);
	assert.equal(bench.pool.size, 0);
});
