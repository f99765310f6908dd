/**
 * The Instances of one server that the same sessions use.
 *
 * The oldest is the home of every seat; the others take calls and nothing that lasts, so that they may end as soon as
 * there is nothing for them to do.
 */
import { SlipwayError } from '../errors.ts';
import type { ServerView } from '../launcher/contract.ts';
import { SHARING_LIMITS } from '../limits.ts';
import type { Standing } from '../mcp/exchange.ts';
import type { LeaseRequest } from './lease.ts';
import type { Replica } from './replica.ts';
import { RoamingSeat } from './roaming-seat.ts';

/** How many Instances there may be, and how many stay. */
export type Replicas = NonNullable<ServerView['replicas']>;

/** Who wants an Instance, and how it gives up. */
export type Wanted = Pick<LeaseRequest, 'caller' | 'signal' | 'makeRoom'>;

export interface ReplicaSetOptions {
	readonly replicas: Replicas;
	/** An Instance that nobody has a seat at, and nobody calls for so long, is stopped. */
	readonly idleStopMs: number;
	/** Starts an Instance. Rejects with a SlipwayError, and nothing is left then. */
	readonly start: (wanted: Wanted) => Promise<Replica>;
}

/** A start that callers wait for. */
interface Start {
	readonly replica: Promise<Replica>;
	readonly giveUp: AbortController;
	waiting: number;
}

/**
 * INVARIANTS:
 * - Every seat has its home at the oldest Instance, and is over when that has ended.
 * - At most one start that somebody waits for, and one that nobody waits for, at a time.
 * - A start that nobody waits for any more is given up, unless it is of one more than there are.
 */
export class ReplicaSet {
	readonly #options: ReplicaSetOptions;
	/** Oldest first. */
	readonly #replicas: Replica[] = [];
	readonly #seats = new Set<RoamingSeat>();
	readonly #retiring = new AbortController();
	#first: Start | undefined;
	/** Whether one more is on its way, which nobody waits for. */
	#growing = false;
	#growAgainAtMs = 0;
	#pristine = true;

	constructor(options: ReplicaSetOptions) {
		this.#options = options;
	}

	/** Whether it has no Instance, and none is on its way. */
	get empty(): boolean {
		return this.#replicas.length === 0 && this.#first === undefined && !this.#growing;
	}

	/** Instances that run. */
	get size(): number {
		return this.#replicas.length;
	}

	/** What its Instances are made of, oldest first. */
	get specs(): string[] {
		return this.#replicas.map(({ spec }) => spec);
	}

	/** Whether nobody, at no seat, has called anything. */
	get pristine(): boolean {
		return this.#pristine;
	}

	/** A seat, when there is an Instance to have it at. Rejects with a SlipwayError. */
	async join(wanted: Wanted, standing: Standing): Promise<RoamingSeat> {
		const home = this.#replicas[0] ?? (await this.#wait(wanted));
		const { caller } = wanted;
		const onCall = (): void => {
			this.#pristine = false;
		};
		const seat = new RoamingSeat({ home, standing, route: () => this.#route(home, caller), onCall });
		this.#seats.add(seat);
		home.activeAtMs = performance.now();
		void seat.ended.then(() => this.#seats.delete(seat));
		this.#grow(caller);
		return seat;
	}

	/** Whether it is not to be joined any more. */
	get retired(): boolean {
		return this.#retiring.signal.aborted;
	}

	/** From here on nothing is started, and Instances end as soon as nobody uses them. To be joined no more. */
	retire(): void {
		this.#retiring.abort(new SlipwayError('SLIPWAY_SESSION_ENDED'));
	}

	/** Ends what nobody has a seat at, and nobody has called for long. To be called every second or so. */
	tick(nowMs: number): void {
		const retired = this.#retiring.signal.aborted;
		for (const replica of this.#replicas) if (replica.inFlight > 0) replica.activeAtMs = nowMs;
		for (const replica of this.#dispensable())
			if (retired || nowMs - replica.activeAtMs > this.#options.idleStopMs) void this.#dismiss(replica, 'patient');
	}

	/** Ends an Instance that nobody uses now, if there is one, and resolves with whether there was. */
	async endUnused(): Promise<boolean> {
		const [replica] = this.#dispensable();
		if (replica === undefined) return false;
		await this.#dismiss(replica, 'prompt');
		return true;
	}

	/** The Instances that nobody uses now, newest first, but for as many as stay. */
	#dispensable(): Replica[] {
		const stay = this.#retiring.signal.aborted ? 0 : this.#options.replicas.min;
		const [home] = this.#replicas;
		const idle = this.#replicas.filter(
			(replica) => replica.inFlight === 0 && (replica !== home || this.#seats.size === 0),
		);
		return idle.toReversed().slice(0, Math.max(this.#replicas.length - stay, 0));
	}

	/** The Instance with the fewest calls in flight. Those of the other era cannot stand in for each other. */
	#route({ era }: Replica, caller: Wanted['caller']): Replica | undefined {
		this.#grow(caller);
		let chosen: Replica | undefined;
		for (const replica of this.#replicas)
			if (replica.era === era && replica.inFlight < (chosen?.inFlight ?? Number.POSITIVE_INFINITY)) chosen = replica;
		return chosen;
	}

	/** Waits for the first Instance, together with all who want it. Who gives up leaves the others what they wait for. */
	async #wait(wanted: Wanted): Promise<Replica> {
		const { signal } = wanted;
		signal.throwIfAborted();
		this.#first ??= this.#begin(wanted);
		const start = this.#first;
		const { promise: aborted, reject } = Promise.withResolvers<never>();
		const onAbort = (): void => reject(signal.reason);
		signal.addEventListener('abort', onAbort);
		start.waiting += 1;
		try {
			return await Promise.race([start.replica, aborted]);
		} finally {
			signal.removeEventListener('abort', onAbort);
			start.waiting -= 1;
			if (start.waiting === 0 && this.#first === start) {
				this.#first = undefined;
				start.giveUp.abort(new SlipwayError('SLIPWAY_SESSION_ENDED'));
			}
		}
	}

	#begin({ caller, makeRoom }: Wanted): Start {
		const giveUp = new AbortController();
		const start: Start = {
			giveUp,
			waiting: 0,
			replica: this.#options.start({ caller, makeRoom, signal: giveUp.signal }).then(
				(replica) => {
					if (this.#first === start) this.#first = undefined;
					this.#add(replica);
					return replica;
				},
				(error: unknown) => {
					if (this.#first === start) this.#first = undefined;
					throw error;
				},
			),
		};
		// Everybody may have given up.
		start.replica.catch(() => undefined);
		return start;
	}

	/** Starts one more where there are too few, or all have much to do. Nobody waits for it. */
	#grow(caller: Wanted['caller']): void {
		const { min, max } = this.#options.replicas;
		const { signal } = this.#retiring;
		// The first may be on its way again while one more was.
		const count = this.#replicas.length + Number(this.#first !== undefined);
		const wanted = count < min || this.#replicas.every(({ inFlight }) => inFlight > SHARING_LIMITS.busyCallsMax);
		if (!wanted || count >= max || this.#growing || signal.aborted || performance.now() < this.#growAgainAtMs) return;
		this.#growing = true;
		// It is no reason to end what somebody has.
		const makeRoom = async (): Promise<boolean> => false;
		this.#options.start({ caller, signal, makeRoom }).then(
			(replica) => {
				this.#growing = false;
				this.#add(replica);
				this.#grow(caller);
			},
			() => {
				// The calls go on with what there is.
				this.#growing = false;
				this.#growAgainAtMs = performance.now() + SHARING_LIMITS.retryAfterMs;
			},
		);
	}

	#add(replica: Replica): void {
		this.#replicas.push(replica);
		void replica.ended.then(() => this.#forget(replica));
	}

	#dismiss(replica: Replica, patience: 'patient' | 'prompt'): Promise<void> {
		this.#forget(replica);
		return replica.release(patience);
	}

	#forget(replica: Replica): void {
		const at = this.#replicas.indexOf(replica);
		if (at !== -1) this.#replicas.splice(at, 1);
	}
}
