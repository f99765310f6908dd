/**
 * The pool: Instances over time. Who wants one gets a Lease, and gives it back.
 *
 * One Instance for each Lease: a stdio process that two clients share is the root of most defects of its kind. Where the
 * catalog says that sessions have an Instance together, the Lease is that of SharedInstances, and they have seats.
 */
import { hash } from 'node:crypto';
import type { Channel } from '../channel.ts';
import { type ErrorCode, SlipwayError } from '../errors.ts';
import { NOBODY, type PrincipalId, type ServerName } from '../ids.ts';
import type { Launcher, ServerView } from '../launcher/contract.ts';
import { BUDGET_LIMITS } from '../limits.ts';
import { Upstream } from '../mcp/upstream.ts';
import { Places } from '../policy/budget.ts';
import { type Chance, CrashGuard, type Subject } from './crash-guard.ts';
import type { CrashView } from './crash-record.ts';
import { Eras } from './eras.ts';
import type { Lease, LeaseRequest, StartKind } from './lease.ts';
import { type Opened, type Opener, open } from './opening.ts';
import { SharedInstances } from './shared-instances.ts';
import { WarmStarts, type WarmView } from './warm-starts.ts';

export interface PoolOptions {
	/** Told of every Instance that we did not end. */
	readonly onDeath?: ((server: ServerName, cause: ErrorCode) => void) | undefined;
	/** Told of every Instance that somebody was given. */
	readonly onStart?: ((server: ServerName, kind: 'warm' | 'cold') => void) | undefined;
	readonly chance?: Chance | undefined;
	/** What Instances that wait for their first caller may take together, by their limits; 0: none wait. */
	readonly warmBytesMax?: number;
	/** How many Instances a caller may have, of all servers together; 0: any number. */
	readonly heldMaxOf?: (caller: PrincipalId) => number;
}

/** INVARIANT: `#leases` holds what was given and is not over; after `stop` it is empty. */
export class Pool {
	/** The Instances that several sessions use. */
	readonly shared: SharedInstances;
	readonly #launcher: Launcher;
	readonly #leases = new Map<Lease, ServerName>();
	readonly #warm: WarmStarts;
	readonly #eras = new Eras();
	readonly #guard: CrashGuard;
	readonly #onDeath: PoolOptions['onDeath'];
	readonly #onStart: PoolOptions['onStart'];
	readonly #heldMaxOf: NonNullable<PoolOptions['heldMaxOf']>;
	/** What callers hold, by caller and by server. */
	readonly #places = new Places();
	/** The Instances that others are to take the place of. */
	readonly #retired = new WeakSet<Upstream>();
	/** Conversations that are being opened. What is given up may come all the same, and ends then. */
	readonly #opening = new Set<Promise<Opened>>();

	constructor(
		launcher: Launcher,
		{ onDeath, onStart, chance, warmBytesMax = 0, heldMaxOf = () => 0 }: PoolOptions = {},
	) {
		this.#heldMaxOf = heldMaxOf;
		this.#launcher = launcher;
		this.#warm = new WarmStarts({
			launcher,
			bytesMax: warmBytesMax,
			busy: () => this.busy,
			ailing: (server) => this.crashes(server) !== undefined,
		});
		this.#onDeath = onDeath;
		this.#onStart = onStart;
		this.#guard = new CrashGuard(chance);
		this.shared = new SharedInstances({
			open: (request, opener) => this.open(request, opener),
			find: (server) => this.#viewOf(server),
		});
	}

	/** Callers and servers whose Instances are counted, where that is bounded. */
	get counted(): number {
		return this.#places.size;
	}

	/** Instances that are held. */
	get size(): number {
		return this.#leases.size;
	}

	/** A conversation with an Instance of its own that has begun. Rejects with a SlipwayError, and nothing is left then. */
	async open(request: LeaseRequest, opener: Opener): Promise<Opened> {
		const opening = this.#open(request, opener);
		this.#opening.add(opening);
		try {
			return await opening;
		} finally {
			this.#opening.delete(opening);
		}
	}

	async #open(request: LeaseRequest, opener: Opener): Promise<Opened> {
		const { server, signal } = request;
		let lease: Lease | undefined;
		const onAbort = (): void => void lease?.release('prompt');
		signal.addEventListener('abort', onAbort);
		const subject: Subject = { server, spec: this.#specOf(server) };
		const facts = this.#eras.of(server, subject.spec);
		// Before its image is ready a server's spec is not the last word; afterwards another spec is another build.
		const ready = this.#viewOf(server)?.preparation.kind === 'ready';
		const attempt = async (launchSignal: AbortSignal): Promise<Opened> => {
			const launch = async (kind: StartKind): Promise<Lease> => {
				lease = await this.#acquireOwn({ ...request, signal: launchSignal }, kind);
				if (launchSignal.aborted) await lease.release('prompt');
				launchSignal.throwIfAborted();
				return lease;
			};
			try {
				return await open(launch, opener, facts);
			} finally {
				if (!ready) {
					this.#eras.keep(server, this.#specOf(server), facts);
					this.#guard.rename(subject, this.#specOf(server));
				}
			}
		};
		try {
			return await this.#guard.run(subject, signal, attempt);
		} finally {
			signal.removeEventListener('abort', onAbort);
		}
	}

	/**
	 * Has other Instances take the place of those that a server has: what is called now may finish, and the next request gets
	 * another one. Returns how many are to go.
	 */
	restart(server: ServerName): number {
		let count = 0;
		for (const [{ upstream }, of] of this.#leases) {
			if (of !== server || this.#retired.has(upstream)) continue;
			this.#retired.add(upstream);
			count += 1;
		}
		this.shared.restart(server);
		this.#warm.restart(server);
		return count;
	}

	/** Whether another Instance is to take the place of that one. */
	isRetired(upstream: Upstream): boolean {
		return this.#retired.has(upstream);
	}

	/** What keeps a server from being started at once; undefined when nothing does. */
	crashes(server: ServerName): CrashView | undefined {
		return this.#guard.view({ server, spec: this.#specOf(server) });
	}

	/** Whether somebody waits for a conversation to begin. */
	get busy(): boolean {
		return this.#opening.size > 0;
	}

	/** Instances that wait for their first caller. */
	get warm(): number {
		return this.#warm.size;
	}

	/** How many Instances of a server wait for their first caller; undefined when none should. */
	warmth(server: ServerView): WarmView | undefined {
		const view = this.#warm.view(server);
		return view.waiting === 0 && view.wanted === 0 ? undefined : view;
	}

	/** Whether a server is known to speak revision 2026-07-28 by itself; undefined when it was not tried. */
	speaksModern(server: ServerName): boolean | undefined {
		return this.#eras.of(server, this.#specOf(server)).modern;
	}

	#specOf(server: ServerName): string {
		return this.#viewOf(server)?.spec ?? '';
	}

	#viewOf(server: ServerName): ServerView | undefined {
		return this.#launcher.state.servers.find(({ name }) => name === server);
	}

	/** A Lease within what its caller, and all callers of the server together, may have. */
	async #acquireOwn(request: LeaseRequest, kind: StartKind): Promise<Lease> {
		const leave = await this.#place(request);
		try {
			const lease = await this.#acquire(request, kind);
			void lease.upstream.ended.then(leave);
			return lease;
		} catch (error) {
			leave();
			throw error;
		}
	}

	/** Who is abandoned makes room. */
	async #place(request: LeaseRequest): Promise<() => void> {
		for (;;) {
			try {
				return this.#takePlace(request);
			} catch (error) {
				if (!(await request.makeRoom())) throw error;
			}
		}
	}

	/** What is nobody's is no use of a server, and what everybody has together is nobody's. Returns the way to give it back. */
	#takePlace({ server, caller }: LeaseRequest): () => void {
		if (caller === NOBODY) return () => undefined;
		const { isolation, containers } = this.#viewOf(server) ?? {};
		const isShared = isolation === 'shared';
		const retryAfterSeconds = BUDGET_LIMITS.containersRetryAfterMs / 1000;
		const own = this.#places.take(caller, isShared ? 0 : this.#heldMaxOf(caller));
		if (own === undefined) throw new SlipwayError('SLIPWAY_CONTAINERS_FULL', { retryAfterSeconds });
		const name = `server ${server}`;
		const common = isShared ? this.#places.take(name, containers) : this.#places.takeShare(name, caller, containers);
		if (common !== undefined)
			return () => {
				own();
				common();
			};
		own();
		const reason = '`containers`: there are as many as it allows, or the caller has as many as are left for others.';
		throw new SlipwayError('SLIPWAY_SERVER_FULL', { server, reason, retryAfterSeconds });
	}

	/** Many clients never say that they are done: at the bound, who is abandoned makes room, and before that who waits. */
	async #acquire(request: LeaseRequest, kind: StartKind): Promise<Lease> {
		const { server, caller } = request;
		// Nobody's starts are no use of a server, and what waits is for those who ask.
		const waited = kind === 'any' && caller !== NOBODY ? this.#warm.take(server, this.#specOf(server)) : undefined;
		if (waited !== undefined) return this.#hold(waited, request, true);
		try {
			return await this.#launch(request);
		} catch (error) {
			const full = error instanceof SlipwayError && error.code === 'SLIPWAY_INSTANCES_FULL';
			if (!full || !((await this.#warm.endOne()) || (await request.makeRoom()))) throw error;
			return this.#launch(request);
		}
	}

	async #launch(request: LeaseRequest): Promise<Lease> {
		const { server, caller, signal } = request;
		return this.#hold(await this.#launcher.launch(server, signal, standIn(caller)), request, false);
	}

	async #hold(channel: Channel, { server, signal, ...talk }: LeaseRequest, waited: boolean): Promise<Lease> {
		const upstream = new Upstream(channel, talk);
		const lease: Lease = {
			upstream,
			waited,
			release: async (patience) => {
				await channel.stop(patience);
				await upstream.ended;
			},
		};
		this.#leases.set(lease, server);
		this.#onStart?.(server, waited ? 'warm' : 'cold');
		void upstream.ended.then(({ code }) => {
			this.#leases.delete(lease);
			if (code !== 'SLIPWAY_SESSION_ENDED') this.#onDeath?.(server, code);
		});
		return lease;
	}

	/** Looks at the deadlines of everything that is held. */
	tick(nowMs: number): void {
		for (const [{ upstream }, server] of this.#leases) {
			upstream.tick(nowMs);
			this.#warm.used(server, upstream.inFlight > 0 ? nowMs : upstream.calledAtMs);
		}
		this.#guard.tick();
		this.shared.tick(nowMs);
		this.#warm.tick(nowMs);
	}

	/** From here on no Instance waits for its first caller. Resolves when those that did are gone. */
	cool(): Promise<void> {
		return this.#warm.stop();
	}

	/** Ends every Instance that is there or on its way. To be called when nobody waits for one any more. */
	async stop(): Promise<void> {
		this.shared.stop();
		const ending = [...this.#leases.keys()].map((lease) => lease.release('prompt'));
		await Promise.all([this.cool(), Promise.allSettled(this.#opening), ...ending]);
	}
}

/** What stands for a caller at the launcher, which has to tell callers apart and not to know them. */
function standIn(caller: PrincipalId): string {
	return hash('sha256', caller).slice(0, 16);
}
