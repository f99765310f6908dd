/**
 * Warm starts: Instances that were started before anybody asked, so that a first call does not pay for the boot.
 *
 * They have been told nothing: whoever comes first has the whole conversation. A server that is given a volume or a
 * folder is not started ahead unless the catalog says so: it may read its state when it boots, and would meet its first
 * caller with what was there then.
 */

import type { Channel } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import type { Launcher, ServerView } from '../launcher/contract.ts';
import { WARM_LIMITS } from '../limits.ts';
import { WaitingInstance } from './waiting-instance.ts';
import { type Claim, Demand, shareOut } from './warm-demand.ts';

export interface WarmStartsOptions {
	readonly launcher: Launcher;
	/** What all that wait may take together; 0 turns warm starts off. */
	readonly bytesMax: number;
	/** Whether somebody waits for a start, who goes first. */
	readonly busy: () => boolean;
	/** Whether a server has failed lately: its next start is its next caller's. */
	readonly ailing: (server: ServerName) => boolean;
}

/** What is known of one server. */
interface Known {
	readonly demand: Demand;
	readonly waiting: Set<WaitingInstance>;
	/** Where starting it ahead has failed: of which spec, and until when it is not tried again. */
	failure: { readonly spec: string; readonly untilMs: number } | undefined;
}

/** How warm a server is, for people. */
export interface WarmView {
	/** Instances that wait. */
	readonly waiting: number;
	/** How many should, of which not all may fit. */
	readonly wanted: number;
}

/** What says nothing of the server whose start failed so. */
export const NO_FAULT_OF_A_SERVER: ReadonlySet<string> = new Set([
	'SLIPWAY_INSTANCES_FULL',
	'SLIPWAY_SERVER_INSTANCES_FULL',
	'SLIPWAY_START_RATE',
	'SLIPWAY_CONTAINERS_FULL',
	'SLIPWAY_SERVER_FULL',
	'SLIPWAY_START_QUEUE_FULL',
	'SLIPWAY_ENGINE_UNREACHABLE',
	'SLIPWAY_LAUNCHER_UNREACHABLE',
	'SLIPWAY_DRAINING',
	'SLIPWAY_SESSION_ENDED',
]);

/** Who wants these starts, at the launcher. */
const CALLER = 'warm';

/**
 * INVARIANTS:
 * - What waits is in `#known`, or is ending; after `stop` nothing waits.
 * - One start at a time, and none while somebody waits for one.
 * - What waits takes no more than `bytesMax`, by the limits of its containers.
 */
export class WarmStarts {
	readonly #options: WarmStartsOptions;
	readonly #known = new Map<ServerName, Known>();
	readonly #ending = new Set<Promise<void>>();
	readonly #stopping = new AbortController();
	#starting: Promise<void> | undefined;
	#pausedUntilMs = 0;

	constructor(options: WarmStartsOptions) {
		this.#options = options;
	}

	/** Instances that wait. */
	get size(): number {
		let size = 0;
		for (const { waiting } of this.#known.values()) size += waiting.size;
		return size;
	}

	/** Somebody wants an Instance of a server: the stdio of one that waits, if there is one of that spec. */
	take(server: ServerName, spec: string): Channel | undefined {
		if (this.#options.bytesMax === 0) return undefined;
		const known = this.#of(server);
		known.demand.started(performance.now());
		for (const instance of known.waiting) {
			if (instance.unruly || instance.spec !== spec) continue;
			known.waiting.delete(instance);
			return instance.take();
		}
		return undefined;
	}

	/** An Instance of a server was called at that time. */
	used(server: ServerName, atMs: number): void {
		this.#known.get(server)?.demand.used(atMs);
	}

	/** Ends one that waits, so that another server has its place, and resolves with whether there was one. */
	async endOne(): Promise<boolean> {
		const idlest = [...this.#known.values()]
			.filter(({ waiting }) => waiting.size > 0)
			.sort((one, other) => one.demand.usedAtMs - other.demand.usedAtMs)[0];
		const [instance] = idlest?.waiting ?? [];
		if (idlest === undefined || instance === undefined) return false;
		this.#pause();
		await this.#end(idlest, instance);
		return true;
	}

	/** Ends those of a server that wait; others take their place. */
	restart(server: ServerName): void {
		const known = this.#known.get(server);
		if (known === undefined) return;
		for (const instance of known.waiting) void this.#end(known, instance);
	}

	/** Ends what waits in vain, and starts what should wait. To be called every second or so. */
	tick(nowMs: number): void {
		if (this.#options.bytesMax === 0 || this.#stopping.signal.aborted) return;
		const { engine, servers, startsQueued } = this.#options.launcher.state;
		const claims = servers.flatMap((view) => this.#claim(view, nowMs) ?? []);
		const shares = shareOut(claims, this.#options.bytesMax);
		this.#forget(shares, servers, nowMs);
		if (this.#starting !== undefined || !engine.reachable || startsQueued > 0 || nowMs < this.#pausedUntilMs) return;
		if (this.#options.busy()) return;
		for (const [server, share] of shares) {
			const view = servers.find(({ name }) => name === server);
			if (view === undefined || this.#of(server).waiting.size >= share) continue;
			this.#starting = this.#start(view).finally(() => {
				this.#starting = undefined;
			});
			return;
		}
	}

	view(server: ServerView): WarmView {
		const claim = this.#claim(server, performance.now());
		return { waiting: this.#known.get(server.name)?.waiting.size ?? 0, wanted: claim?.wanted ?? 0 };
	}

	/** Ends all that wait, or are on their way. Nothing is started after. */
	async stop(): Promise<void> {
		this.#stopping.abort(new SlipwayError('SLIPWAY_DRAINING'));
		await this.#starting;
		for (const known of this.#known.values()) for (const instance of known.waiting) void this.#end(known, instance);
		await Promise.all(this.#ending);
	}

	/** What a server would have; undefined when it should not be started ahead. */
	#claim(
		{ name, enabled, preparation, spec, warm, keeps, memoryBytes, idleStopMs }: ServerView,
		nowMs: number,
	): Claim | undefined {
		if (!enabled || preparation.kind !== 'ready' || this.#options.ailing(name)) return undefined;
		const known = this.#known.get(name);
		const failure = known?.failure;
		if (failure?.spec === spec && nowMs < failure.untilMs) return undefined;
		const wanted = warm ?? (keeps ? 0 : (known?.demand.wanted(nowMs, idleStopMs) ?? 0));
		const usedAtMs = known?.demand.usedAtMs ?? Number.NEGATIVE_INFINITY;
		return wanted === 0 ? undefined : { server: name, wanted, pinned: warm !== undefined, usedAtMs, memoryBytes };
	}

	/** Ends what is not to wait any more, and forgets servers of which there is nothing to know. */
	#forget(shares: ReadonlyMap<ServerName, number>, servers: readonly ServerView[], nowMs: number): void {
		for (const [server, known] of this.#known) {
			const view = servers.find(({ name }) => name === server);
			let places = shares.get(server) ?? 0;
			for (const instance of known.waiting) {
				if (instance.spec === view?.spec && places > 0) places -= 1;
				else void this.#end(known, instance);
			}
			const isUsed = view !== undefined && known.demand.wanted(nowMs, view.idleStopMs) > 0;
			const hasFailed = known.failure !== undefined && nowMs < known.failure.untilMs;
			if (known.waiting.size === 0 && !isUsed && !hasFailed) this.#known.delete(server);
		}
	}

	async #start({ name, spec }: ServerView): Promise<void> {
		const { signal } = this.#stopping;
		try {
			const instance = new WaitingInstance(await this.#options.launcher.launch(name, signal, CALLER));
			const known = this.#of(name);
			known.waiting.add(instance);
			void instance.failed.then((itsOwn) => {
				if (!known.waiting.delete(instance)) return;
				if (itsOwn) this.#failed(name, spec);
			});
			if (signal.aborted) await this.#end(known, instance);
		} catch (error) {
			if (NO_FAULT_OF_A_SERVER.has(toSlipwayError(error).code)) this.#pause();
			else this.#failed(name, spec);
		}
	}

	/** One that ends while it waits, or does not start, is not tried again for long: some servers do not wait. */
	#failed(server: ServerName, spec: string): void {
		this.#of(server).failure = { spec, untilMs: performance.now() + WARM_LIMITS.retryAfterMs };
	}

	/** There is no room now. */
	#pause(): void {
		this.#pausedUntilMs = performance.now() + WARM_LIMITS.pauseMs;
	}

	#end(known: Known, instance: WaitingInstance): Promise<void> {
		known.waiting.delete(instance);
		const ending = instance.end().finally(() => this.#ending.delete(ending));
		this.#ending.add(ending);
		return ending;
	}

	#of(server: ServerName): Known {
		let known = this.#known.get(server);
		if (known === undefined) {
			known = { demand: new Demand(), waiting: new Set(), failure: undefined };
			this.#known.set(server, known);
		}
		return known;
	}
}
