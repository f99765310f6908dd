/**
 * The queue for starts: as many at a time as there are cores, a bounded number of them waiting, and in turn by caller:
 * who wants many starts does not delay the first of somebody else.
 *
 * INVARIANTS:
 * - At most `concurrentMax` turns are out; a turn is given back exactly once.
 * - A caller is in `#waiting` while a start of it waits, and never with none. Who comes first there has the next turn,
 *   and then goes to the end.
 */
import { SlipwayError } from '../errors.ts';

interface Waiter {
	readonly take: () => void;
	readonly refuse: (error: SlipwayError) => void;
}

export interface StartQueueOptions {
	readonly concurrentMax: number;
	readonly queuedMax: number;
	/** Called whenever more or fewer wait. */
	readonly onLength?: () => void;
}

export interface StartOptions {
	/** Who wants it. What it says does not matter, only whether two are the same. */
	readonly caller: string;
	readonly signal: AbortSignal;
}

export class StartQueue {
	readonly #options: StartQueueOptions;
	/** The starts that wait, by caller. A Map keeps the order in which its keys came. */
	readonly #waiting = new Map<string, Waiter[]>();
	#length = 0;
	#running = 0;

	constructor(options: StartQueueOptions) {
		this.#options = options;
	}

	/** Starts that wait. */
	get length(): number {
		return this.#length;
	}

	/**
	 * Runs `start` when its turn comes.
	 *
	 * @throws SlipwayError SLIPWAY_START_QUEUE_FULL, at once or when the place is somebody's who has fewer; the reason of
	 * `signal`; whatever `start` throws
	 */
	async run<T>(start: () => Promise<T>, options: StartOptions): Promise<T> {
		await this.#turn(options);
		try {
			return await start();
		} finally {
			this.#running -= 1;
			this.#next();
		}
	}

	async #turn({ caller, signal }: StartOptions): Promise<void> {
		signal.throwIfAborted();
		if (this.#running < this.#options.concurrentMax) {
			this.#running += 1;
			return;
		}
		if (this.#length >= this.#options.queuedMax) this.#makePlace(caller);
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiter: Waiter = { take: resolve, refuse: reject };
		const abort = (): void => {
			if (this.#leave(caller, waiter)) reject(signal.reason);
		};
		this.#enter(caller, waiter);
		signal.addEventListener('abort', abort, { once: true });
		try {
			await promise;
		} finally {
			signal.removeEventListener('abort', abort);
		}
	}

	/** Whoever has most of a full queue gives the newest of it to who would have fewer then. */
	#makePlace(caller: string): void {
		const full = new SlipwayError('SLIPWAY_START_QUEUE_FULL', { retryAfterSeconds: 2 });
		let greediest = '';
		let most = (this.#waiting.get(caller)?.length ?? 0) + 1;
		for (const [other, { length }] of this.#waiting)
			if (length > most) {
				greediest = other;
				most = length;
			}
		const newest = this.#waiting.get(greediest)?.at(-1);
		if (newest === undefined) throw full;
		this.#leave(greediest, newest);
		newest.refuse(full);
	}

	#enter(caller: string, waiter: Waiter): void {
		const own = this.#waiting.get(caller);
		if (own === undefined) this.#waiting.set(caller, [waiter]);
		else own.push(waiter);
		this.#count(1);
	}

	/** Returns false for one that does not wait any more. */
	#leave(caller: string, waiter: Waiter): boolean {
		const own = this.#waiting.get(caller) ?? [];
		const index = own.indexOf(waiter);
		if (index < 0) return false;
		own.splice(index, 1);
		if (own.length === 0) this.#waiting.delete(caller);
		this.#count(-1);
		return true;
	}

	#next(): void {
		const [first] = this.#waiting;
		if (first === undefined) return;
		const [caller, own] = first;
		const waiter = own.shift();
		this.#waiting.delete(caller);
		if (own.length > 0) this.#waiting.set(caller, own);
		this.#running += 1;
		this.#count(-1);
		waiter?.take();
	}

	#count(change: 1 | -1): void {
		this.#length += change;
		this.#options.onLength?.();
	}
}
