/**
 * A whole deployment in one process and without a moment of real time: a gateway with its pool, a launcher, servers that
 * fail and clients that leave, and a catalog that changes, all by one seed. What has to be so is looked at after every
 * step, and every step is one line of the trace.
 */
import assert from 'node:assert/strict';
import type { Isolation } from '../../src/catalog/catalog.ts';
import type { ErrorCode } from '../../src/errors.ts';
import { SlipwayError, toErrorRecord } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { CRASH_LIMITS, DRAIN_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import type { FakeResponse } from './fake-http.ts';
import { serverView } from './fake-launcher.ts';
import { MemoryStore } from './memory-store.ts';
import { SimulatedBreaker } from './simulated-breaker.ts';
import { SimulatedChance } from './simulated-chance.ts';
import { LegacyClient, ModernClient, type SimulatedClient, type Visit } from './simulated-client.ts';
import { SimulatedGateway } from './simulated-gateway.ts';
import {
	checkAhead,
	checkAnswers,
	checkCaller,
	checkRoom,
	checkStep,
	checkStop,
	checkTaken,
	type Seen,
} from './simulated-invariants.ts';
import {
	ACCIDENTS,
	type Entry,
	type LaunchPlan,
	type SimulatedInstance,
	SimulatedLauncher,
} from './simulated-launcher.ts';
import { type Manners, type Reaction, SimulatedServer } from './simulated-server.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What the launcher comes to when a start fails. */
const START_FAILURES: readonly ErrorCode[] = [
	'SLIPWAY_COMMAND_INVALID',
	'SLIPWAY_ENGINE_FAILED',
	'SLIPWAY_ENGINE_UNREACHABLE',
	'SLIPWAY_IMAGE_MISSING',
	'SLIPWAY_INSTANCES_FULL',
	'SLIPWAY_INTERNAL',
	'SLIPWAY_MOUNT_REFUSED',
	'SLIPWAY_SPEC_DRIFT',
	'SLIPWAY_START_FAILED',
];

const PREPARATION_FAILURES: readonly ErrorCode[] = [
	'SLIPWAY_IMAGE_REFUSED',
	'SLIPWAY_PACKAGE_MISSING',
	'SLIPWAY_PREPARATION_FAILED',
];

const NAMES = ['alpha', 'beta', 'gamma', 'delta'] as ServerName[];
/** Of each Instance. */
const MEMORY_BYTES = serverView('any').memoryBytes;
/** With the end of what comes too late it is less than a process has for its own end. */
const START_MS_MAX = 5_000;
const PRINCIPALS = ['one', 'two', 'three'];
/** Turns of the event loop until all that was written has arrived, and what it brought about. */
const QUIET_TURNS = 5;
/** In the end everybody has so long to recover: a circuit that is open, a call that hangs, a server that is said nothing to. */
const RECOVERY_MS = 4 * 60_000;
/** How often somebody new has to come by then until a server that is well again serves. */
const TRIES_MAX = 3;

/** What a run is like: in some everything fails, and in most some things. */
interface Weather {
	readonly instancesMax: number;
	readonly concurrentMax: number;
	readonly queuedMax: number;
	readonly perPrincipalMax: number;
	readonly warmBytesMax: number;
	readonly sessionIdleMs: number;
	readonly startMs: number;
	readonly startFails: number;
	readonly ignoresAbort: number;
	readonly stopMs: number;
	/** Of each server in turn. */
	readonly firstFails: readonly number[];
	readonly firstMs: number;
	readonly diesSoon: number;
	readonly callFails: number;
	readonly callMs: number;
	readonly snapshots: boolean;
	/** Where clients go. */
	readonly paths: readonly string[];
	readonly isolations: readonly Isolation[];
	/** How often each is taken, beside the others. */
	readonly steps: Readonly<Record<StepName, number>>;
}

type StepName =
	| 'open'
	| 'call'
	| 'calls'
	| 'list'
	| 'subscribe'
	| 'listen'
	| 'hangUp'
	| 'end'
	| 'vanish'
	| 'modern'
	| 'wait'
	| 'waitLong'
	| 'die'
	| 'hang'
	| 'engine'
	| 'launcher'
	| 'rebuild'
	| 'remove'
	| 'disable'
	| 'isolate'
	| 'replace'
	| 'kill';

export interface SimulationOptions {
	readonly seed: number;
	readonly steps: number;
	readonly time: SimulatedTime;
}

export class Simulation {
	/** One line for each step. */
	readonly trace: string[] = [];
	readonly #chance: SimulatedChance;
	readonly #time: SimulatedTime;
	readonly #steps: number;
	readonly #weather: Weather;
	readonly #launcher: SimulatedLauncher;
	readonly #servers = new Map<SimulatedInstance, SimulatedServer>();
	readonly #manners = new Map<ServerName, Pick<Manners, 'era' | 'exitsOnOtherEra'>>();
	/** What is of a server however often it comes back: a session has these from its beginning. */
	readonly #times = new Map<ServerName, Pick<Entry, 'idleStopMs' | 'callTimeoutMs'>>();
	readonly #clients = new Map<string, SimulatedClient>();
	/** Those who still do something. */
	readonly #active = new Set<SimulatedClient>();
	readonly #visit: Visit;
	readonly #askedAtMs = new Map<string, number>();
	readonly #specs = new Map<string, NonNullable<ReturnType<Seen['specSince']>>>();
	readonly #seen: Seen;
	/** What has gone wrong where nobody could be told. */
	readonly #faults: unknown[] = [];
	#responses = new Set<FakeResponse>();
	#store = new MemoryStore();
	#gateway: SimulatedGateway;
	#ticking: NodeJS.Timeout | undefined;
	#calm = false;
	#sources = 0;
	#events: string[] = [];

	constructor({ seed, steps, time }: SimulationOptions) {
		this.#chance = new SimulatedChance(seed);
		this.#time = time;
		this.#steps = steps;
		this.#weather = weatherOf(this.#chance);
		const { instancesMax, concurrentMax, queuedMax } = this.#weather;
		this.#launcher = new SimulatedLauncher({
			time,
			instancesMax,
			concurrentMax,
			queuedMax,
			plan: () => this.#planLaunch(),
			onInstance: (instance) => this.#play(instance),
			onStop: (instance) => this.#guarded(() => checkStop(this.#seen, instance)),
			tell: (event) => void this.#events.push(event),
		});
		for (const name of NAMES) {
			const era = this.#chance.pick(['legacy', 'legacy', 'modern', 'dual'] as const) ?? 'legacy';
			this.#manners.set(name, { era, exitsOnOtherEra: this.#chance.often(0.3) });
			this.#times.set(name, {
				idleStopMs: this.#chance.pick([5_000, 20_000, 60_000, 300_000]) ?? 0,
				callTimeoutMs: this.#chance.pick([5_000, 20_000]) ?? 0,
			});
			this.#launcher.setEntry(this.#makeEntry(name));
		}
		this.#gateway = this.#begin();
		this.#visit = (path, principal, options) => {
			this.#askedAtMs.set(path, time.nowMs);
			const response = this.#gateway.visit(path, principal, options);
			if (response !== undefined) {
				this.#responses.add(response);
				response.once('close', () => this.#responses.delete(response));
			}
			return response;
		};
		const simulation = this;
		this.#seen = {
			time,
			launcher: this.#launcher,
			get gateway() {
				return simulation.#gateway;
			},
			get store() {
				return simulation.#store;
			},
			servers: this.#servers,
			clients: this.#clients,
			instancesMax,
			concurrentMax,
			warmBytesMax: this.#weather.warmBytesMax,
			busyAtMs: new WeakMap(),
			askedAtMs: (server) => this.#askedAtMs.get(server) ?? 0,
			specSince: (server) => this.#specs.get(server),
		};
	}

	/** Something has gone wrong of which nobody else is told. */
	fault(fault: unknown): void {
		this.#faults.push(fault);
	}

	/** From the first step until nothing is left. Rejects as soon as something is not as it should be. */
	async run(): Promise<void> {
		const { instancesMax, concurrentMax, queuedMax } = this.#weather;
		this.trace.push(`at most ${instancesMax} Instances, ${concurrentMax} starts at a time, ${queuedMax} waiting`);
		for (const entry of this.#launcher.entries)
			this.trace.push(`${entry.name}: ${describe(entry)} ${JSON.stringify(this.#manners.get(entry.name))}`);
		for (let step = 0; step < this.#steps; step++) {
			const taken = this.#chance.weighted(this.#weather.steps);
			await this.#line(taken, () => this.#take(taken));
		}
		await this.#line('recover', () => this.#recover());
		await this.#line('finish', () => this.#finish());
	}

	/** Runs a step, and writes its line. */
	async #line(name: string, step: () => Promise<void> | void): Promise<void> {
		this.#events = [name];
		const number = this.trace.length;
		try {
			await step();
			await this.#settle();
		} finally {
			this.trace.push(`${number} ${(this.#time.nowMs / 1000).toFixed(3)} s ${this.#events.join(', ')}`);
		}
	}

	async #take(step: StepName): Promise<void> {
		switch (step) {
			case 'open':
				return this.#open();
			case 'modern':
				return this.#callModern();
			case 'wait':
				return this.#wait(this.#chance.pick([1, 50, 300, 1_000, 1_000, 3_000, 8_000]) ?? 1);
			case 'waitLong':
				return this.#wait(this.#chance.pick([15_000, 31_000, 65_000, 130_000]) ?? 1);
			case 'die':
			case 'hang':
				return this.#hurt(step);
			case 'engine':
			case 'launcher':
				return this.#lose(step);
			case 'rebuild':
			case 'remove':
			case 'disable':
			case 'isolate':
				return this.#changeCatalog(step);
			case 'replace':
				return this.#replace();
			case 'kill':
				return this.#kill();
			default:
				return this.#act(step);
		}
	}

	#open(): void {
		const name = `c${this.#clients.size + 1}`;
		const client = new LegacyClient(this.#clientOptions(name));
		this.#enter(client);
		client.open();
	}

	#callModern(): void {
		const known = this.#chance.often(0.5)
			? this.#chance.pick([...this.#active].filter((each) => each instanceof ModernClient))
			: undefined;
		const client = known ?? new ModernClient(this.#clientOptions(`m${this.#clients.size + 1}`));
		if (known === undefined) this.#enter(client);
		client.call();
		this.#events.push(client.name);
	}

	#clientOptions(name: string) {
		const principal = this.#chance.pick(PRINCIPALS) ?? '';
		const path = this.#chance.pick(this.#weather.paths) ?? '';
		return { name, principal, path, visit: this.#visit, step: this.trace.length };
	}

	#enter(client: SimulatedClient): void {
		this.#clients.set(client.name, client);
		this.#active.add(client);
		this.#events.push(`${client.name} of ${client.principal} at ${client.path}`);
	}

	#act(step: Exclude<StepName, 'open' | 'modern'>): void {
		const client = this.#chance.pick([...this.#active].filter((each) => each.isOpen || step === 'hangUp'));
		if (client === undefined) return;
		this.#events.push(client.name);
		switch (step) {
			case 'call':
				return void client.call();
			case 'calls':
				for (let count = this.#chance.between(2, 12); count > 0; count--) client.call();
				return;
			case 'list':
				return void client.list();
			case 'hangUp':
				return client.hangUp();
		}
		if (!(client instanceof LegacyClient)) return;
		switch (step) {
			case 'subscribe':
				return void client.request('resources/subscribe', { uri: 'file:///a' });
			case 'listen':
				return client.listen();
			case 'end':
				this.#active.delete(client);
				return client.end();
			case 'vanish':
				this.#active.delete(client);
				return client.vanish();
		}
	}

	#hurt(step: 'die' | 'hang'): void {
		const instance = this.#chance.pick(this.#launcher.live);
		if (instance === undefined) return;
		this.#events.push(instance.label);
		if (step === 'hang') this.#servers.get(instance)?.hang();
		else instance.die(this.#chance.pick(ACCIDENTS) ?? ACCIDENTS[0]);
	}

	/** It is found again in a while. */
	#lose(which: 'engine' | 'launcher'): void {
		if (!this.#launcher.reachable) return;
		const set = (reachable: boolean): void =>
			which === 'engine' ? this.#launcher.setEngine(reachable) : this.#launcher.setLauncher(reachable);
		set(false);
		this.#time.after(this.#chance.between(500, 20_000), () => set(true));
	}

	#changeCatalog(step: 'rebuild' | 'remove' | 'disable' | 'isolate'): void {
		const name = this.#chance.pick(NAMES) ?? assert.fail();
		const known = this.#launcher.entries.find((entry) => entry.name === name);
		this.#events.push(name);
		if (known === undefined) return this.#launcher.setEntry(this.#makeEntry(name));
		if (step === 'remove') return this.#launcher.removeEntry(name);
		if (step === 'disable') return this.#launcher.setEntry({ ...known, enabled: !known.enabled });
		if (step === 'isolate') {
			const { isolation, replicas } = this.#isolation();
			return this.#launcher.setEntry({ ...known, isolation, replicas, source: ++this.#sources });
		}
		// Now and then somebody takes a change back.
		const entry = { ...known, source: this.#chance.often(0.3) ? 0 : ++this.#sources };
		if (this.#chance.often(0.4)) this.#prepare(entry);
		this.#launcher.setEntry(entry);
	}

	/** Its image takes a while, and may come to nothing at first. */
	#prepare(entry: Entry): void {
		const at = new Date(0).toISOString();
		this.#launcher.setPreparation(entry, { kind: 'preparing', step: 'simulated', startedAt: at });
		const imageId = `sha256:${entry.name} ${entry.source}`;
		const ready = (): void => this.#launcher.setPreparation(entry, { kind: 'ready', image: 'test', imageId });
		const readyMs = this.#chance.between(100, 20_000);
		this.#time.after(readyMs, () => {
			const code = this.#chance.often(0.3) ? this.#chance.pick(PREPARATION_FAILURES) : undefined;
			if (code === undefined) return ready();
			const error = toErrorRecord(new SlipwayError(code));
			this.#launcher.setPreparation(entry, { kind: 'failed', error, failedAt: at });
			this.#time.after(readyMs, ready);
		});
	}

	#makeEntry(name: ServerName): Entry {
		return {
			name,
			// Never what it was before: an Instance of what was in between would not be told from it.
			source: ++this.#sources,
			enabled: true,
			...this.#isolation(),
			...(this.#times.get(name) ?? assert.fail()),
			snapshot: this.#weather.snapshots,
			warm: this.#chance.pick([undefined, undefined, 0, 2]),
		};
	}

	#isolation(): Pick<Entry, 'isolation' | 'replicas'> {
		const isolation = this.#chance.pick(this.#weather.isolations) ?? 'session';
		if (isolation !== 'shared' || this.#chance.often(0.3)) return { isolation, replicas: undefined };
		const min = this.#chance.below(3);
		return { isolation, replicas: { min, max: Math.max(1, min + this.#chance.below(3)) } };
	}

	/** The process is asked to end, and another one comes after it. */
	async #replace(): Promise<void> {
		const gateway = this.#gateway;
		gateway.draining = true;
		void gateway.pool.cool();
		const startedAtMs = this.#time.nowMs;
		while (gateway.tenants.inFlight > 0 && this.#time.nowMs - startedAtMs < DRAIN_LIMITS.inFlightMs) {
			await this.#wait(DRAIN_LIMITS.pollMs * 10);
			if (this.#chance.often(0.1)) this.#act('hangUp');
			if (this.#chance.often(0.1)) this.#act('call');
		}
		await this.#stop();
		this.#gateway = this.#begin();
	}

	/** Ends the process as it should, in time and with nothing left. */
	async #stop(): Promise<void> {
		let isOver = false;
		const stopping = this.#gateway.stop().then(() => {
			isOver = true;
		});
		const startedAtMs = this.#time.nowMs;
		while (!isOver && this.#time.nowMs - startedAtMs < DRAIN_LIMITS.stopMs) await this.#wait(DRAIN_LIMITS.pollMs * 10);
		assert.ok(isOver, 'the process does not end');
		await stopping;
		clearInterval(this.#ticking);
		await this.#settle();
		assert.equal(this.#gateway.pool.size, 0, 'leases are left');
		assert.equal(this.#gateway.tenants.all.size, 0, 'tenants are left');
		assert.equal(this.#launcher.live.size + this.#launcher.starting, 0, 'Instances are left');
		assert.equal(this.#time.pending, 0, 'timers are left');
		// Whoever still listens is cut off, as a process that exits does.
		this.#cut();
		await this.#settle();
	}

	/** The process is gone from one moment to the next, and another one comes after it. */
	async #kill(): Promise<void> {
		const gateway = this.#gateway;
		// What it would still keep, it cannot.
		const store = this.#store;
		this.#store = new MemoryStore();
		for (const [id, session] of store.sessions) this.#store.sessions.set(id, session);
		for (const [spec, kinds] of store.snapshots) this.#store.snapshots.set(spec, new Map(kinds));
		this.#cut();
		clearInterval(this.#ticking);
		this.#launcher.disown();
		gateway.draining = true;
		let isOver = false;
		void gateway.stop().then(() => {
			isOver = true;
		});
		while (!isOver) await this.#turnUntil(this.#time.nowMs + DRAIN_LIMITS.pollMs);
		await this.#turns();
		this.#gateway = this.#begin();
	}

	/** Every connection breaks. */
	#cut(): void {
		for (const { tickets } of this.#clients.values()) for (const ticket of tickets) ticket.hangUp();
		for (const response of this.#responses) response.destroy();
	}

	#begin(): SimulatedGateway {
		const { perPrincipalMax, warmBytesMax, sessionIdleMs: idleMsMax } = this.#weather;
		const breaker = new SimulatedBreaker(this.#time);
		const gateway: SimulatedGateway = new SimulatedGateway({
			time: this.#time,
			chance: this.#chance,
			launcher: this.#launcher,
			store: this.#store,
			perPrincipalMax,
			idleMsMax,
			warmBytesMax,
			onBegin: (attempt) => {
				const view = this.#launcher.state.servers.find(({ name }) => name === attempt.server);
				breaker.begin(attempt, view?.preparation.kind === 'ready');
			},
			onLaunch: (launch) => {
				this.#events.push(`launch ${launch.attempt.server}`);
				this.#guarded(() => breaker.check(launch));
			},
			onWarmLaunch: (server) => {
				this.#events.push(`launch ${server} ahead`);
				this.#guarded(() => checkAhead(gateway));
			},
			onTaken: (instance) => {
				this.#events.push(`${instance.label} is taken`);
				this.#guarded(() => checkTaken(this.#seen, instance));
			},
			onAttempt: (attempt, { error }) => {
				const view = this.#launcher.state.servers.find(({ name }) => name === attempt.server);
				breaker.end(attempt, error, view?.spec ?? '');
				if (error !== undefined) this.#guarded(() => checkRoom(this.#seen, attempt, error));
				this.#events.push(`${attempt.server} ${error?.code ?? 'is open'}`);
			},
		});
		this.#ticking = setInterval(() => {
			gateway.tick();
			breaker.tick();
		}, SESSION_LIMITS.tickMs);
		return gateway;
	}

	#planLaunch(): LaunchPlan {
		const { startMs, startFails, ignoresAbort, stopMs } = this.#weather;
		const fails = !this.#calm && this.#chance.often(startFails);
		return {
			startMs: this.#chance.below(startMs),
			failure: fails ? this.#chance.pick(START_FAILURES) : undefined,
			ignoresAbort: this.#chance.often(ignoresAbort),
			stopMs: this.#chance.below(stopMs),
		};
	}

	/** Has a server in an Instance do what it does. */
	#play(instance: SimulatedInstance): void {
		const { firstFails, firstMs, diesSoon } = this.#weather;
		const fails = !this.#calm && this.#chance.often(firstFails[NAMES.indexOf(instance.server)] ?? 0);
		const dies = !this.#calm && this.#chance.often(diesSoon);
		const server: SimulatedServer = new SimulatedServer({
			instance,
			time: this.#time,
			manners: {
				...(this.#manners.get(instance.server) ?? assert.fail()),
				first: (fails ? this.#chance.pick(['silence', 'exit', 'exit', 'refuse'] as const) : undefined) ?? 'answer',
				firstMs: this.#chance.below(firstMs),
				livesMs: dies ? this.#chance.below(this.#chance.often(0.5) ? 500 : 90_000) : undefined,
			},
			react: () => this.#react(),
			onCall: (name) => {
				const client = this.#clients.get(name);
				this.#guarded(() => checkCaller(this.#seen, server, client ?? assert.fail(`nobody is ${name}`)));
			},
		});
		this.#servers.set(instance, server);
		void instance.ended.then(() => this.#servers.delete(instance));
	}

	#react(): Reaction {
		const { callFails, callMs } = this.#weather;
		const fails = !this.#calm && this.#chance.often(callFails);
		const kind = (fails ? this.#chance.pick(['error', 'silence', 'exit'] as const) : undefined) ?? 'answer';
		// Less than any call has.
		return { kind, afterMs: this.#chance.below(this.#calm ? 1_000 : callMs) };
	}

	/** Lets time pass, and looks at everything whenever something fell due. */
	async #wait(ms: number): Promise<void> {
		const untilMs = this.#time.nowMs + ms;
		while (this.#time.runNext(untilMs)) await this.#settle();
		await this.#settle();
	}

	async #turnUntil(untilMs: number): Promise<void> {
		while (this.#time.runNext(untilMs)) await this.#turns();
	}

	/** Lets everything that was written arrive, and looks whether all is as it should be. */
	async #settle(): Promise<void> {
		await this.#turns();
		this.#noteSpecs();
		const [fault] = this.#faults;
		if (fault !== undefined) throw fault;
		checkStep(this.#seen);
	}

	async #turns(): Promise<void> {
		for (let quiet = 0; quiet < QUIET_TURNS; quiet++) {
			await new Promise<void>((resolve) => setImmediate(resolve));
			for (const server of this.#servers.values()) if (server.hear()) quiet = 0;
		}
	}

	#noteSpecs(): void {
		for (const name of NAMES) {
			const view = this.#launcher.state.servers.find((server) => server.name === name && server.enabled);
			if (view?.preparation.kind !== 'ready') this.#specs.delete(name);
			else if (this.#specs.get(name)?.spec !== view.spec)
				this.#specs.set(name, { spec: view.spec, sinceMs: this.#time.nowMs, sinceStep: this.trace.length });
		}
	}

	/** Looks at something in the middle of a step: what is thrown there would end up in src. */
	#guarded(check: () => void): void {
		try {
			check();
		} catch (fault) {
			this.fault(fault);
		}
	}

	/** Without faults whoever asks is served, whatever was before. */
	async #recover(): Promise<void> {
		this.#calm = true;
		let leftMax = this.#weather.instancesMax - 1;
		for (const instance of this.#launcher.live) if (this.#servers.get(instance)?.hasHung) instance.die(ACCIDENTS[0]);
		for (const name of NAMES) {
			const { replicas, ...known } =
				this.#launcher.entries.find((entry) => entry.name === name) ?? this.#makeEntry(name);
			// Those that stay must leave room.
			const some = replicas === undefined ? undefined : { ...replicas, min: Math.min(replicas.min, leftMax) };
			leftMax -= some?.min ?? 0;
			this.#launcher.setEntry({ ...known, replicas: some, enabled: true });
		}
		await this.#wait(RECOVERY_MS);
		for (const { tickets } of this.#clients.values())
			for (const ticket of tickets) assert.ok(ticket.over, `${ticket} was not answered`);
		for (const path of NAMES) {
			// What was found out of its era may have been an accident, and another one for its circuit.
			const codes: string[] = [];
			while (codes.at(-1) !== 'ok' && codes.length < TRIES_MAX) codes.push(await this.#tryOut(path));
			// Those who still listen may have all the room there is: then it has to be there when they have gone.
			if (codes.at(-1) === 'SLIPWAY_INSTANCES_FULL') {
				this.#cut();
				await this.#wait(this.#idleMsMax);
				codes.push(await this.#tryOut(path));
			}
			assert.equal(codes.at(-1), 'ok', `${path} is not served any more: ${codes}`);
		}
	}

	/** So long after they were used last, nobody has anything any more. */
	get #idleMsMax(): number {
		return this.#weather.sessionIdleMs + 60_000 + SESSION_LIMITS.noteIntervalMs;
	}

	/** Somebody opens a session, calls, and ends it. Resolves with what came of that. */
	async #tryOut(path: string): Promise<string> {
		const name = `c${this.#clients.size + 1}`;
		const client = new LegacyClient({ name, principal: 'late', path, visit: this.#visit, step: this.trace.length });
		this.#enter(client);
		for (const ask of [() => client.open(), () => client.call()]) {
			const ticket = ask();
			while (ticket?.over === false) await this.#wait(SESSION_LIMITS.tickMs);
		}
		client.end();
		const { code } = client.tickets.find((ticket) => ticket.code !== 'ok') ?? { code: 'ok' };
		this.#events.push(code);
		// Its Instance is to leave room for the next, and its circuit to be probed.
		await this.#wait(code === 'ok' ? 10_000 : CRASH_LIMITS.openMs + SESSION_LIMITS.tickMs);
		return code;
	}

	/** When everybody has gone, nothing is left. */
	async #finish(): Promise<void> {
		for (const client of this.#clients.values()) if (client instanceof LegacyClient) client.vanish();
		await this.#wait(this.#idleMsMax);
		assert.equal(this.#gateway.tenants.all.size, 0, 'tenants are left');
		assert.equal(this.#store.sessions.size, 0, 'sessions are kept that nobody comes back to');
		for (const name of NAMES) this.#launcher.removeEntry(name);
		await this.#wait(30_000);
		assert.equal(this.#launcher.live.size + this.#launcher.starting, 0, 'Instances are left');
		this.#gateway.draining = true;
		await this.#stop();
		checkAnswers(this.#clients.values());
	}
}

function describe({ isolation, replicas, idleStopMs, callTimeoutMs }: Entry): string {
	const many = replicas === undefined ? '' : ` ${replicas.min}-${replicas.max}`;
	return `${isolation}${many}, idle for ${idleStopMs} ms, calls of ${callTimeoutMs} ms`;
}

function weatherOf(chance: SimulatedChance): Weather {
	/** Nothing of it, some of it, or much. */
	const some = (most: number): number => (chance.often(0.4) ? 0 : chance.unit() * most);
	const weight = (usual: number): number => (chance.often(0.3) ? 0 : usual * (0.5 + chance.unit()));
	const weather: Weather = {
		instancesMax: chance.pick([2, 4, 8, 32]) ?? 2,
		concurrentMax: chance.between(1, 3),
		queuedMax: chance.pick([1, 3, 64]) ?? 1,
		perPrincipalMax: chance.pick([2, 5, 64]) ?? 2,
		warmBytesMax: MEMORY_BYTES * (chance.pick([0, 0, 1, 4]) ?? 0),
		sessionIdleMs: chance.pick([90_000, 180_000]) ?? 0,
		startMs: chance.pick([10, 1_000, START_MS_MAX]) ?? 0,
		startFails: some(0.5),
		ignoresAbort: some(1),
		stopMs: chance.pick([1, 2_000, 8_000]) ?? 0,
		firstFails: NAMES.map(() => (chance.often(0.2) ? 0.95 : some(0.4))),
		firstMs: chance.pick([10, 500, 5_000]) ?? 0,
		diesSoon: some(0.5),
		callFails: some(0.5),
		callMs: chance.pick([10, 1_000, 6_000]) ?? 0,
		snapshots: chance.often(0.3),
		isolations: ['session', 'session', 'principal', 'shared'],
		paths: NAMES.slice(0, chance.pick([1, 2, 4])),
		steps: {
			open: 8,
			call: 12,
			wait: 20,
			modern: weight(8),
			calls: weight(3),
			list: weight(2),
			subscribe: weight(1),
			listen: weight(2),
			hangUp: weight(4),
			end: weight(3),
			vanish: weight(3),
			waitLong: weight(4),
			die: weight(5),
			hang: weight(2),
			engine: weight(1),
			launcher: weight(1),
			rebuild: weight(2),
			remove: weight(1),
			disable: weight(1),
			isolate: weight(1),
			replace: weight(1),
			kill: weight(1),
		},
	};
	const { steps } = weather;
	const few = { waitLong: 0, remove: 0, replace: 0, kill: 0, engine: 0, launcher: 0 };
	const paths = NAMES.slice(0, 1);
	switch (chance.below(6)) {
		case 0: {
			// One server that hardly ever comes up, and many who want it.
			const sick = { firstFails: NAMES.map(() => 0.9), firstMs: 2_000, startFails: 0, startMs: 10, queuedMax: 64 };
			return { ...weather, ...sick, paths, steps: { ...steps, ...few, rebuild: 0, isolate: 0, disable: 0, open: 20 } };
		}
		case 1: {
			// Instances that many have together, that take long to come and do not live long.
			const shared = {
				isolations: ['shared'],
				firstFails: [],
				startFails: 0,
				startMs: START_MS_MAX,
				instancesMax: 8,
			} as const;
			return { ...weather, ...shared, paths, steps: { ...steps, ...few, die: 10, rebuild: 5 } };
		}
		default:
			return weather;
	}
}
