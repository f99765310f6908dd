/**
 * The queue for starts: as many at a time as there are cores, the rest in turn, a bounded number of them.
 *
 * INVARIANT: at most `concurrentMax` turns are out; a turn is given back exactly once.
 */
import { SlipwayError } from '../errors.ts';

interface Waiter {
	readonly take: () => void;
}

export class StartQueue {
	readonly #concurrentMax: number;
	readonly #queuedMax: number;
	readonly #waiting: Waiter[] = [];
	#running = 0;

	constructor({ concurrentMax, queuedMax }: { concurrentMax: number; queuedMax: number }) {
		this.#concurrentMax = concurrentMax;
		this.#queuedMax = queuedMax;
	}

	/** Waits. */
	get length(): number {
		return this.#waiting.length;
	}

	/**
	 * Runs `start` when its turn comes.
	 *
	 * @throws SlipwayError SLIPWAY_START_QUEUE_FULL at once; the reason of `signal`; whatever `start` throws
	 */
	async run<T>(start: () => Promise<T>, signal: AbortSignal): Promise<T> {
		await this.#turn(signal);
		try {
			return await start();
		} finally {
			this.#running -= 1;
			this.#next();
		}
	}

	async #turn(signal: AbortSignal): Promise<void> {
		signal.throwIfAborted();
		if (this.#running < this.#concurrentMax) {
			this.#running += 1;
			return;
		}
		if (this.#waiting.length >= this.#queuedMax)
			throw new SlipwayError('SLIPWAY_START_QUEUE_FULL', { retryAfterSeconds: 2 });
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiter: Waiter = { take: resolve };
		const abort = (): void => {
			const index = this.#waiting.indexOf(waiter);
			if (index < 0) return;
			this.#waiting.splice(index, 1);
			reject(signal.reason);
		};
		this.#waiting.push(waiter);
		signal.addEventListener('abort', abort, { once: true });
		try {
			await promise;
		} finally {
			signal.removeEventListener('abort', abort);
		}
	}

	#next(): void {
		const waiter = this.#waiting.shift();
		if (waiter === undefined) return;
		this.#running += 1;
		waiter.take();
	}
}
