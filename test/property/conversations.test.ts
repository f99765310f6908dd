/**
 * The gateway as a whole under random orders of everything: sessions of the first era and requests of the second, of
 * several callers, at single servers and at all as one, while servers start, exit, become others and go, and sessions
 * go on.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, test } from 'node:test';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { SlipwayError } from '../../src/errors.ts';
import { BRIDGE_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import { explore } from '../support/explore.ts';
import { serverView } from '../support/fake-launcher.ts';
import { type Habits, MemoryGateway, SessionPort } from '../support/memory-gateway.ts';
import { CAPABILITIES, LegacyCaller, ModernCaller } from '../support/model-client.ts';
import { pick } from '../support/model-server.ts';
import { act, at, move, type Step, settle, step } from '../support/model-steps.ts';
import { VirtualTimers } from '../support/virtual-timers.ts';

const PROPERTY_MS = 9_000;
/** As many as one Instance has in flight at most, but for a few. */
const CALLS_EACH = 30;
const FLOODS = 2;
const FLOOD_STEPS = 10_000;

/** Of each era one that answers a first word of the other with an error, and one that exits. */
const SERVERS: Readonly<Record<string, Habits>> = {
	alpha: { era: 'legacy' },
	beta: { era: 'modern', answersWhole: false },
	gamma: { era: 'legacy', exitsOnOtherEra: true },
	delta: { era: 'modern', exitsOnOtherEra: true },
};
const NAMES = Object.keys(SERVERS);

interface Client {
	readonly era: 'legacy' | 'modern';
	readonly path: string;
	readonly principal: string;
}

type GatewayStep =
	| Step
	| { readonly kind: 'session'; readonly who: number; readonly verb: SessionVerb }
	| { readonly kind: 'world'; readonly at: number; readonly verb: WorldVerb };
type SessionVerb = 'end' | 'open' | 'reconnect' | 'idle';
type WorldVerb = 'die' | 'tick' | 'launch' | 'rebuild';

const client: fc.Arbitrary<Client> = fc.record({
	era: fc.constantFrom('legacy' as const, 'modern' as const),
	path: fc.constantFrom(...NAMES, '/mcp', '/mcp'),
	principal: fc.constantFrom('one', 'other'),
});

const gatewayStep: fc.Arbitrary<GatewayStep> = fc.oneof(
	{ weight: 8, arbitrary: step },
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant('session' as const),
			who: fc.nat({ max: 5 }),
			verb: fc.constantFrom<SessionVerb[]>('end', 'open', 'reconnect', 'idle', 'idle'),
		}),
	},
	{
		weight: 1,
		arbitrary: fc.record({
			kind: fc.constant('world' as const),
			at,
			verb: fc.constantFrom<WorldVerb[]>('die', 'tick', 'launch', 'launch', 'rebuild'),
		}),
	},
);

interface Plan {
	readonly clients: readonly Client[];
	readonly steps: readonly (readonly [step: GatewayStep, pause: boolean])[];
	/** Whether servers come only when a step says so. */
	readonly startsSlowly: boolean;
	/** Which of the launches fail. */
	readonly failing: readonly number[];
}

const plan: fc.Arbitrary<Plan> = fc.record({
	clients: fc.array(client, { minLength: 2, maxLength: 5, size: 'max' }),
	steps: fc.array(fc.tuple(gatewayStep, fc.boolean()), { minLength: 5, maxLength: 80, size: 'max' }),
	startsSlowly: fc.boolean(),
	failing: fc.uniqueArray(fc.nat({ max: 12 }), { maxLength: 2 }),
});

/** A client, and how it reaches the gateway where that has a state. */
interface Actor {
	readonly client: Client;
	readonly caller: ModernCaller | LegacyCaller;
	readonly session: SessionPort | undefined;
}

class World {
	readonly gateway = new MemoryGateway(SERVERS);
	/** Those who act, and those who did before. */
	readonly actors: Actor[];
	readonly retired: Actor[] = [];
	readonly #gates: (() => void)[] = [];
	#made = 0;
	#builds = 0;

	constructor({ clients, startsSlowly, failing }: Plan) {
		let launches = 0;
		this.gateway.launcher.beforeLaunch = async () => {
			const fails = failing.includes(launches++);
			if (startsSlowly) await new Promise<void>((resolve) => this.#gates.push(resolve));
			if (fails) throw new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 1 });
		};
		this.actors = clients.map((each) => this.#make(each));
	}

	get all(): Actor[] {
		return [...this.actors, ...this.retired];
	}

	do(taken: GatewayStep): void {
		if (taken.kind === 'world') return this.#turn(taken.verb, taken.at);
		if (!('who' in taken)) {
			const server = 'at' in taken ? pick(this.#live(), taken.at) : undefined;
			return server === undefined ? undefined : move(server, taken);
		}
		const index = taken.who % this.actors.length;
		const { caller, session } = this.actors[index] ?? assert.fail();
		if (taken.kind === 'session') return this.#changeSession(index, taken.verb);
		// Its requests would name no session.
		if (session?.isOpen !== false) act(caller, taken);
	}

	#turn(verb: WorldVerb, which: number): void {
		if (verb === 'launch') this.#gates.shift()?.();
		else if (verb === 'rebuild') this.#rebuild(pick(NAMES, which) ?? assert.fail());
		else if (verb === 'die') pick(this.#live(), which)?.die();
		else this.tick(performance.now());
	}

	/** The catalog says something else of a server. */
	#rebuild(name: string): void {
		this.gateway.change(name, { spec: `build ${++this.#builds}` });
		this.tick(performance.now());
	}

	#changeSession(index: number, verb: SessionVerb): void {
		const { client: each, session } = this.actors[index] ?? assert.fail();
		if (verb === 'open' && session?.isOpen === false) {
			this.retired.push(this.actors[index] ?? assert.fail());
			this.actors[index] = this.#make(each);
		}
		if (session?.isOpen !== true) return;
		if (verb === 'end') session.end();
		else if (verb === 'reconnect') session.reconnect();
		else if (verb === 'idle') session.idle();
	}

	tick(nowMs: number): void {
		this.gateway.tenants.tick(nowMs);
		this.gateway.pool.tick(nowMs);
	}

	/** Everybody looks at what came. Returns whether a server heard something. */
	hear(): boolean {
		const heard = this.gateway.servers.map((server) => server.hear());
		for (const { caller } of this.all) {
			if (caller instanceof ModernCaller) caller.hear();
			caller.check();
		}
		return heard.includes(true);
	}

	/** Everybody does what is left to be done. */
	async finish(timers: VirtualTimers): Promise<void> {
		for (let turns = 0; this.hear() || turns < 4; turns++) await settle();
		for (const { caller } of this.all) if (caller instanceof LegacyCaller) caller.checkCancelled();
		for (let quiet = 0; quiet < 4; ) {
			while (this.#gates.length > 0) this.#gates.shift()?.();
			await settle();
			timers.advance(BRIDGE_LIMITS.gatherMs);
			await settle();
			let busy = this.hear();
			for (const { caller } of this.all) {
				if (caller instanceof LegacyCaller) while (caller.reply(0)) busy = true;
				else for (; caller.isAsked; busy = true) caller.comeBack(0, { id: 'last', token: undefined, portion: 'all' });
			}
			const givenUp = new Set(this.all.flatMap(({ caller }) => caller.givenUp));
			for (const server of this.#live()) server.answerAll(givenUp);
			quiet = busy ? 0 : quiet + 1;
		}
		// Of what was withdrawn servers are told at once, and of those who never come back in time.
		const withdrawn = new Set(this.all.flatMap(({ caller }) => caller.withdrawn));
		for (const { pending } of this.#live())
			for (const { mark } of pending.values())
				assert.ok(!withdrawn.has(mark), `nobody told that ${mark} was withdrawn`);
		this.tick(performance.now() + BRIDGE_LIMITS.parkedMs + 1);
		await settle();
		this.hear();
	}

	/** No answer is lost, doubled or crossed, and no server serves who should not have it. */
	check(): void {
		for (const { caller } of this.all) caller.checkEnded();
		assert.equal(this.gateway.tenants.inFlight, 0, 'calls are left in flight');
		const byName = new Map(this.all.map(({ caller, client: each }) => [caller.name, each]));
		for (const { clients, dead, waiting, era, pending } of this.gateway.servers) {
			const served = [...clients].map((name) => byName.get(name) ?? assert.fail(name));
			assert.ok(new Set(served.map(({ principal }) => principal)).size <= 1, 'two callers share a server');
			const isShared = era === 'modern' && served.every((each) => each.era === 'modern');
			assert.ok(isShared || clients.size <= 1, `${[...clients]} share a server`);
			if (dead) continue;
			assert.deepEqual(waiting, [], 'questions without an answer');
			assert.deepEqual([...pending.values()], [], 'nobody told the server that a call was given up');
		}
		for (const { caller, session } of this.all) if (session !== undefined) this.#checkTurns(caller.name);
	}

	/** Of the Instances of a server that a session had, one took calls after the other, and none again. */
	#checkTurns(client: string): void {
		const lastOf = new Map<string, number>();
		for (const { instance, taken } of this.gateway.servers) {
			const orders = taken.filter((each) => each.client === client).map(({ order }) => order);
			if (orders.length === 0) continue;
			assert.ok(Math.min(...orders) > (lastOf.get(instance.server) ?? 0), `two Instances take calls of ${client}`);
			lastOf.set(instance.server, Math.max(...orders));
		}
	}

	#live() {
		return this.gateway.servers.filter(({ dead }) => !dead);
	}

	#make(each: Client): Actor {
		const { era, path, principal } = each;
		const name = `client-${++this.#made}`;
		const tool = (which: number): string => (path === '/mcp' ? `${pick(NAMES, which)}__x` : 'x');
		if (era === 'modern') {
			const port = this.gateway.modernPort(path, principal);
			const statesAreUsedUp = SERVERS[path]?.era === 'legacy';
			return { client: each, caller: new ModernCaller({ name, port, tool, statesAreUsedUp }), session: undefined };
		}
		const session = new SessionPort(this.gateway, path, principal);
		session.open(name, CAPABILITIES);
		return { client: each, caller: new LegacyCaller({ name, port: session, tool }), session };
	}
}

describe('the gateway, in any order of events', () => {
	test('clients of both eras at servers of both: no answer lost, doubled or crossed, and nothing left', () =>
		explore(plan, (planned) => withTimers((timers) => live(timers, planned)), { forMs: PROPERTY_MS, runsMin: 50 }));

	test('thousands of calls at once, all with the same ids and tokens', () =>
		fc.assert(
			fc.asyncProperty(fc.integer(), (seed) => withTimers((timers) => flood(timers, numbersFrom(seed)))),
			{ numRuns: FLOODS },
		));
});

async function withTimers(use: (timers: VirtualTimers) => Promise<void>): Promise<void> {
	const timers = new VirtualTimers();
	timers.install();
	await use(timers).finally(() => timers.restore());
}

/** One random run. */
async function live(timers: VirtualTimers, planned: Plan): Promise<void> {
	const world = new World(planned);
	for (const [taken, pause] of planned.steps) {
		if (taken.kind === 'wait') timers.advance(BRIDGE_LIMITS.gatherMs);
		else world.do(taken);
		if (pause) await settle();
		world.hear();
	}
	await end(world, timers);
}

/** Whatever is in flight ends, and then everything does. */
async function end(world: World, timers: VirtualTimers): Promise<void> {
	await world.finish(timers);
	world.check();
	await world.gateway.stop();
	await settle();
	assert.ok(world.gateway.empty, 'something is left');
	const { made, recorded } = world.gateway.calls;
	assert.equal(recorded, made, 'each call has one record');
	assert.equal(timers.pending, 0, 'timers are left');
}

/** A gateway, and all that comes at it until nothing more does. */
async function serve(gateway: MemoryGateway): Promise<void> {
	for (let quiet = 0; quiet < 4; ) {
		await settle();
		const heard = gateway.servers.map((server) => server.hear());
		quiet = heard.includes(true) ? 0 : quiet + 1;
	}
}

describe('what once went wrong', () => {
	test('what is found out of a server before its image was ready is remembered', async (t) => {
		const gateway = new MemoryGateway({ gamma: { era: 'legacy', exitsOnOtherEra: true } });
		t.after(() => gateway.stop());
		const { preparation } = serverView('gamma');
		gateway.change('gamma', { spec: 'the entry alone', preparation: { kind: 'waiting' } });
		gateway.launcher.beforeLaunch = () => gateway.change('gamma', { spec: 'with the image', preparation });
		for (const [name, launches] of [
			['ada', 2],
			['bob', 3],
		] as const) {
			const caller = new ModernCaller({ name, port: gateway.modernPort('gamma', 'one') });
			caller.call(1, undefined);
			await serve(gateway);
			assert.equal(gateway.launcher.launches, launches, `Instances for ${name}`);
		}
	});

	test('what is found out of one build of a server is not taken for the next', async (t) => {
		const habits: Record<string, Habits> = { delta: { era: 'legacy', exitsOnOtherEra: true } };
		const gateway = new MemoryGateway(habits);
		t.after(() => gateway.stop());
		// The catalog names another build while the first conversation begins.
		gateway.launcher.beforeLaunch = () => {
			gateway.change('delta', { spec: 'the next build' });
			gateway.launcher.beforeLaunch = () => undefined;
		};
		new SessionPort(gateway, 'delta', 'one').open('ada', CAPABILITIES);
		await serve(gateway);
		habits['delta'] = { era: 'modern', exitsOnOtherEra: true };
		const session = new SessionPort(gateway, 'delta', 'one');
		session.open('bob', CAPABILITIES);
		await serve(gateway);
		assert.ok(session.isOpen, 'a server of the second era was taken for one of the first');
	});

	test('a server that exits while it is asked for its era is asked again for the next client', async (t) => {
		const gateway = new MemoryGateway({ delta: { era: 'modern', exitsOnOtherEra: true } });
		t.after(() => gateway.stop());
		const open = async (name: string): Promise<LegacyCaller> => {
			const session = new SessionPort(gateway, 'delta', 'one');
			session.open(name, CAPABILITIES);
			await settle();
			await settle();
			return new LegacyCaller({ name, port: session });
		};
		// It exits at `initialize`, and by accident before it answers what comes next.
		await open('ada');
		gateway.servers[0]?.hear();
		await settle();
		gateway.servers[1]?.die();
		await serve(gateway);
		const bob = await open('bob');
		await serve(gateway);
		bob.call(1, undefined);
		await serve(gateway);
		for (const server of gateway.servers) server.answer(0);
		await serve(gateway);
		bob.checkEnded();
		assert.equal(bob.tickets.length, 1);
		assert.equal(bob.tickets[0]?.ends.length, 1);
	});

	test('a client that hangs up while its request is handed on leaves nothing behind', async (t) => {
		const gateway = new MemoryGateway({ beta: { era: 'modern' } });
		t.after(() => gateway.stop());
		const gates: (() => void)[] = [];
		gateway.launcher.beforeLaunch = () => new Promise((resolve) => gates.push(resolve));
		// Two clients come before it is known that the server serves any; the second hangs up.
		const callers = ['ada', 'bob'].map((name) => new ModernCaller({ name, port: gateway.modernPort('beta', 'one') }));
		for (const caller of callers) caller.call(1, undefined);
		await settle();
		callers[1]?.call(2, undefined);
		await settle();
		callers[1]?.leave(0);
		gates.shift()?.();
		await serve(gateway);
		gates.shift()?.();
		await serve(gateway);
		for (const server of gateway.servers) while (server.pending.size > 0) server.answer(0);
		await serve(gateway);
		assert.equal(gateway.tenants.inFlight, 0);
	});

	test('a server that is ended right after its first words does not take the gateway with it', async (t) => {
		const noisy: Habits = { era: 'legacy', noiseLines: STDIO_LIMITS.noiseLinesMax + 1 };
		const gateway = new MemoryGateway({ noisy, good: { era: 'legacy' } });
		t.after(() => gateway.stop());
		const session = new SessionPort(gateway, '/mcp', 'one');
		session.open('ada', CAPABILITIES);
		await serve(gateway);
		const caller = new LegacyCaller({ name: 'ada', port: session, tool: () => 'good__x' });
		caller.request('list', 'tools/list', {});
		await serve(gateway);
		caller.checkEnded();
		const [end] = caller.tickets[0]?.ends ?? [];
		assert.ok(end !== undefined && end !== 'dropped');
		assert.deepEqual(end.result?.['tools'], [{ name: 'good__x', inputSchema: { type: 'object' } }]);
	});

	test('a server that refuses the handshake is absent from all as one, and is not spoken to any further', async (t) => {
		// Whatever it is asked first, it answers with an error.
		const gateway = new MemoryGateway({ mute: { era: 'mute' }, good: { era: 'legacy' } });
		t.after(() => gateway.stop());
		const session = new SessionPort(gateway, '/mcp', 'one');
		session.open('ada', CAPABILITIES);
		await serve(gateway);
		const mute = gateway.servers.find(({ era }) => era === 'mute');
		assert.ok(mute?.dead, 'the server that refused runs on');
		const methods = mute.instance.received.map((line) => JSON.parse(line).method);
		assert.deepEqual(methods, ['initialize', 'server/discover']);
	});

	for (const era of ['legacy', 'modern'] as const)
		test(`a list that is no array does not stop the gateway, asked for by a ${era} client`, async () => {
			const worker = new Worker(new URL('../support/list-worker.ts', import.meta.url), {
				workerData: { era },
				resourceLimits: { maxOldGenerationSizeMb: 256 },
			});
			const [outcome] = await Promise.race([once(worker, 'message'), once(worker, 'exit')]);
			await worker.terminate();
			assert.deepEqual(outcome, ['good__x']);
		});
});

/** Numbers below a bound, the same for the same seed (mulberry32). */
function numbersFrom(seed: number): (bound: number) => number {
	let state = seed;
	return (bound) => {
		state = (state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) % bound;
	};
}

/** Clients of every kind, each with as many calls as one server takes; then servers and clients act at random. */
async function flood(timers: VirtualTimers, below: (bound: number) => number): Promise<void> {
	const kinds: readonly Omit<Client, 'principal'>[] = [
		...['alpha', 'beta', '/mcp'].flatMap((path) => Array.from({ length: 8 }, () => ({ era: 'legacy' as const, path }))),
		...['alpha', '/mcp'].flatMap((path) => Array.from({ length: 8 }, () => ({ era: 'modern' as const, path }))),
		{ era: 'modern', path: 'beta' },
	];
	const clients = ['one', 'two', 'three'].flatMap((principal) => kinds.map((kind) => ({ ...kind, principal })));
	const world = new World({ clients, steps: [], startsSlowly: false, failing: [] });
	await settle();
	for (let round = 0; world.hear() || round < 4; round++) await settle();
	for (const { caller } of world.actors) for (let id = 0; id < CALLS_EACH; id++) caller.call(id, id, id % 4);
	for (let round = 0; world.hear() || round < 4; round++) await settle();
	const inFlight = world.gateway.servers.reduce((count, { pending }) => count + pending.size, 0);
	assert.equal(inFlight, clients.length * CALLS_EACH);
	for (let turn = 0; turn < FLOOD_STEPS; turn++) {
		const which = below(1000);
		const server = world.gateway.servers[below(world.gateway.servers.length)] ?? assert.fail();
		const { caller } = world.actors[below(world.actors.length)] ?? assert.fail();
		const step = below(20);
		if (step < 6) server.answer(which);
		else if (step < 10) server.progress(which);
		else if (step < 13) server.ask(which, 1 + below(3));
		else if (step < 14) server.withdraw(which);
		else if (step < 15) server.log();
		else if (caller instanceof LegacyCaller) caller.reply(which, pick(['ok', 'ok', 'twice'] as const, which));
		else
			caller.comeBack(which, {
				id: below(CALLS_EACH),
				token: below(CALLS_EACH),
				portion: pick(['all', 'some'], which) ?? 'all',
			});
		if (turn % 50 !== 0) continue;
		timers.advance(BRIDGE_LIMITS.gatherMs);
		await settle();
		world.hear();
	}
	await end(world, timers);
	// Nobody died or gave up, so every call has its answer.
	for (const { caller } of world.actors) {
		const answers = caller instanceof ModernCaller ? caller.answers : caller.tickets.map(({ ends }) => ends[0]);
		for (const answer of answers)
			assert.ok(answer !== undefined && answer !== 'dropped' && answer.result !== undefined);
		assert.equal(answers.length, CALLS_EACH);
	}
}
