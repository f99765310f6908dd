/**
 * One process of the gateway in a simulation: its tables and its pool as gateway.ts puts them together, without the
 * listener. What its pool tries to open, and why, is written down.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { NO_AUDIT } from '../../src/audit/audit.ts';
import { type SlipwayError, toSlipwayError } from '../../src/errors.ts';
import { AuditedCalls } from '../../src/http/audited-calls.ts';
import { CallBudgets } from '../../src/http/call-budgets.ts';
import { Conversations } from '../../src/http/conversations.ts';
import { sendError } from '../../src/http/respond.ts';
import { Sessions } from '../../src/http/sessions.ts';
import { serveStreamable } from '../../src/http/streamable.ts';
import { type Tenant, Tenants } from '../../src/http/tenants.ts';
import type { Visit } from '../../src/http/visit.ts';
import type { PrincipalId, ServerName } from '../../src/ids.ts';
import type { Launcher } from '../../src/launcher/contract.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { Metrics } from '../../src/metrics.ts';
import { UNBOUNDED } from '../../src/policy/access.ts';
import { Absences } from '../../src/pool/absences.ts';
import type { LeaseRequest } from '../../src/pool/lease.ts';
import type { Opened, Opener } from '../../src/pool/opening.ts';
import { Pins } from '../../src/pool/pins.ts';
import { Pool } from '../../src/pool/pool.ts';
import { Snapshots } from '../../src/pool/snapshots.ts';
import { ServerTarget, type TargetDependencies } from '../../src/pool/target.ts';
import { ToolBook } from '../../src/pool/tool-book.ts';
import { type FakeRequestOptions, FakeResponse, fakeRequest } from './fake-http.ts';
import type { MemoryStore } from './memory-store.ts';
import type { SimulatedChance } from './simulated-chance.ts';
import type { SimulatedInstance, SimulatedLauncher } from './simulated-launcher.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** One of the Instances of an attempt. */
export interface Launch {
	readonly attempt: Attempt;
	readonly signal: AbortSignal;
	instance: SimulatedInstance | undefined;
	/** Whether the launcher has nothing to do for it any more. */
	settled: boolean;
}

/** A conversation that the pool begins, or has begun. */
export interface Attempt {
	readonly server: ServerName;
	/** What its Instances are to be made of. */
	readonly spec: string;
	readonly caller: PrincipalId;
	readonly signal: AbortSignal;
	readonly era: Opener['era'];
	/** What stands for the Instances that the same sessions have together; undefined for one of its own. */
	readonly sharing: Sharing | undefined;
	readonly launches: Launch[];
	state: 'opening' | 'open' | 'failed';
	opened: Opened | undefined;
	/** What it drew for its wait. */
	random: number | undefined;
}

/** Instances that the same sessions have together, as they were when the first was wanted. */
export interface Sharing {
	readonly isolation: string;
	readonly caller: PrincipalId;
	readonly min: number;
	readonly max: number;
	readonly spec: string;
}

export interface SimulatedGatewayOptions {
	readonly time: SimulatedTime;
	readonly chance: SimulatedChance;
	readonly launcher: SimulatedLauncher;
	readonly store: MemoryStore;
	readonly perPrincipalMax: number;
	readonly idleMsMax: number;
	readonly warmBytesMax: number;
	/** Called before an attempt does anything. */
	readonly onBegin: (attempt: Attempt) => void;
	/** Called before the launcher hears of it. */
	readonly onLaunch: (launch: Launch) => void;
	/** Called before a start that nobody asked for. */
	readonly onWarmLaunch: (server: ServerName) => void;
	/** Called when an Instance that waited is given to somebody. */
	readonly onTaken: (instance: SimulatedInstance) => void;
	/** Called when it is known what came of an attempt. */
	readonly onAttempt: (attempt: Attempt, outcome: { readonly error?: SlipwayError }) => void;
}

const metrics = new Metrics({
	sessions: () => [],
	instances: () => [],
	streams: () => 0,
	startsQueued: () => 0,
	orphansSwept: () => 0,
	egress: () => [],
	breakers: () => [],
	engineReachable: () => true,
	launcherReachable: () => true,
	auditFailing: () => false,
	warm: () => [],
});

/** Whoever holds Instances for a caller, to be looked at. */
class SeenTenants extends Tenants {
	readonly all = new Set<Tenant>();

	override add(tenant: Tenant): void {
		super.add(tenant);
		this.all.add(tenant);
	}

	override remove(tenant: Tenant): void {
		super.remove(tenant);
		this.all.delete(tenant);
	}
}

export class SimulatedGateway {
	readonly pool: Pool;
	readonly tenants: SeenTenants;
	readonly sessions: Sessions;
	readonly conversations: Conversations;
	readonly #budgets = new CallBudgets({
		perMinuteDefault: 0,
		inFlightDefault: 0,
		bytesDefault: 0,
		find: () => undefined,
	});
	/** Those that are under way, and those of whose Instances some have not ended. */
	readonly attempts = new Set<Attempt>();
	/** The Instances that the launcher gave it for somebody, and that have not ended. */
	readonly held = new Set<SimulatedInstance>();
	/** Those that it was given for nobody yet: they wait warm, or are ending. */
	readonly waiting = new Set<SimulatedInstance>();
	/** While it drains, what runs may end, and nothing new begins. */
	draining = false;
	readonly #options: SimulatedGatewayOptions;
	readonly #targets: TargetDependencies;
	readonly #current = new AsyncLocalStorage<Attempt>();
	/** By the observer that the attempts of the same Instances have in common. */
	readonly #sharings = new WeakMap<object, Sharing>();

	constructor(options: SimulatedGatewayOptions) {
		const { time, chance, launcher, perPrincipalMax, idleMsMax, warmBytesMax } = options;
		const store = options.store;
		this.#options = options;
		this.pool = new Pool(this.#watch(launcher), {
			warmBytesMax,
			chance: {
				nowMs: () => time.nowMs,
				sleep: (ms, signal) => time.sleep(ms, signal),
				random: () => {
					const random = chance.unit();
					const attempt = this.#current.getStore();
					if (attempt !== undefined) attempt.random = random;
					return random;
				},
			},
		});
		const open = this.pool.open.bind(this.pool);
		this.pool.open = (request, opener) => this.#open(open, request, opener);
		this.tenants = new SeenTenants({ perPrincipalMax, idleMsMax });
		this.sessions = new Sessions(
			{ metrics, log: SILENT_LOG, store, audit: NO_AUDIT, budgets: this.#budgets },
			this.tenants,
			idleMsMax,
		);
		this.conversations = new Conversations({ metrics, log: SILENT_LOG }, this.tenants);
		this.#targets = {
			pool: this.pool,
			metrics,
			log: SILENT_LOG,
			toolBook: new ToolBook(),
			pins: new Pins(store, SILENT_LOG),
			absences: new Absences(),
			snapshots: new Snapshots(store),
			find: (name) => launcher.state.servers.find((server) => server.name === name && server.enabled),
			membersOf: () => undefined,
		};
	}

	/** Makes a request. What goes wrong is answered as the listener does; undefined when there is no such server. */
	visit(path: string, principal: string, options: FakeRequestOptions): FakeResponse | undefined {
		const server = this.#targets.find(path);
		if (server === undefined) return undefined;
		const fake = new FakeResponse();
		const request = fakeRequest(options);
		const of = {
			request,
			requestId: 'simulated',
			principal: { id: principal as PrincipalId, access: UNBOUNDED },
			target: new ServerTarget(server, this.#targets, () => UNBOUNDED),
		};
		const visit: Visit = {
			...of,
			response: fake.response,
			calls: new AuditedCalls({ ...of, audit: NO_AUDIT, recordsValues: () => false, addressOf: () => '' }),
			draining: this.draining,
			budgets: this.#budgets,
			challenge: () => undefined,
			rpcId: null,
		};
		const { tenants, sessions, conversations } = this;
		serveStreamable({ tenants, sessions, conversations, budgets: this.#budgets }, visit).catch((error: unknown) =>
			sendError(request, fake.response, { error: toSlipwayError(error), id: visit.rpcId, requestId: 'simulated' }),
		);
		return fake;
	}

	/** As the gateway does every second. */
	tick(): void {
		const { nowMs } = this.#options.time;
		this.pool.tick(nowMs);
		this.tenants.tick(nowMs);
		this.sessions.tick(nowMs);
	}

	/** Ends all sessions, and then every Instance. */
	async stop(): Promise<void> {
		await this.tenants.stop();
		await this.pool.stop();
	}

	async #open(open: Pool['open'], request: LeaseRequest, opener: Opener): Promise<Opened> {
		const { server, caller, signal } = request;
		const attempt: Attempt = {
			server,
			spec: this.#options.launcher.state.servers.find(({ name }) => name === server)?.spec ?? '',
			caller,
			signal,
			era: opener.era,
			sharing: this.#sharingOf(request),
			launches: [],
			state: 'opening',
			opened: undefined,
			random: undefined,
		};
		this.attempts.add(attempt);
		this.#options.onBegin(attempt);
		try {
			attempt.opened = await this.#current.run(attempt, () => open(request, opener));
			attempt.state = 'open';
			this.#options.onAttempt(attempt, {});
			return attempt.opened;
		} catch (error) {
			attempt.state = 'failed';
			this.#options.onAttempt(attempt, { error: toSlipwayError(error) });
			throw error;
		} finally {
			this.#forget(attempt);
		}
	}

	#sharingOf({ bounds, observer, server, caller }: LeaseRequest): Sharing | undefined {
		if (bounds === undefined) return undefined;
		const known = this.#sharings.get(observer);
		if (known !== undefined) return known;
		const view = this.#options.launcher.state.servers.find(({ name }) => name === server);
		const { isolation = '', replicas = { min: 0, max: 1 }, spec = '' } = view ?? {};
		const sharing = { isolation, caller, spec, ...replicas };
		this.#sharings.set(observer, sharing);
		return sharing;
	}

	/** The launcher, as the pool has it. */
	#watch(launcher: SimulatedLauncher): Launcher {
		return {
			get state() {
				return launcher.state;
			},
			subscribe: () => launcher.subscribe(),
			report: () => launcher.report(),
			stderr: () => launcher.stderr(),
			stop: () => launcher.stop(),
			launch: async (server, signal, caller) => {
				const attempt = this.#current.getStore();
				// One that nobody waits for has none.
				if (attempt === undefined) return this.#launchWarm(server, signal, caller);
				const launch: Launch = { attempt, signal, instance: undefined, settled: false };
				attempt.launches.push(launch);
				this.#options.onLaunch(launch);
				try {
					return this.#hold(launch, await launcher.launch(server, signal, caller));
				} finally {
					launch.settled = true;
				}
			},
		};
	}

	#hold(launch: Launch, instance: SimulatedInstance): SimulatedInstance {
		launch.instance = instance;
		this.held.add(instance);
		void instance.ended.then(() => {
			this.held.delete(instance);
			this.#forget(launch.attempt);
		});
		return instance;
	}

	/** An Instance that waits until somebody takes it, which is when it is not read any more. */
	async #launchWarm(server: ServerName, signal: AbortSignal, caller: string): Promise<SimulatedInstance> {
		this.#options.onWarmLaunch(server);
		const instance = await this.#options.launcher.launch(server, signal, caller);
		this.waiting.add(instance);
		void instance.ended.then(() => this.waiting.delete(instance));
		instance.stream.once('pause', () => {
			const attempt = this.#current.getStore();
			if (attempt === undefined) return;
			this.waiting.delete(instance);
			this.#options.onTaken(instance);
			const launch: Launch = { attempt, signal: attempt.signal, instance: undefined, settled: true };
			attempt.launches.push(launch);
			this.#hold(launch, instance);
		});
		return instance;
	}

	#forget(attempt: Attempt): void {
		if (attempt.state !== 'opening' && attempt.launches.every(({ instance }) => instance?.over ?? true))
			this.attempts.delete(attempt);
	}
}
