/**
 * Time of a whole process in the hands of a simulation: the clocks that src reads, and the timers that it sets.
 *
 * `setImmediate` stays what it is: it is how what was written arrives, and takes no time.
 */
import { syncBuiltinESMExports } from 'node:module';
import timersPromises from 'node:timers/promises';

interface Due {
	readonly order: number;
	readonly callback: () => void;
	/** Whether it is of src, and not of the world around it. */
	readonly isOwn: boolean;
	readonly everyMs: number | undefined;
	atMs: number;
}

/** Some day; what is kept with the time of the day has to be later than it was made. */
const EPOCH_MS = 1_800_000_000_000;
/** A process has run for a while before anything happens. */
const START_MS = 10_000;

/** INVARIANT: between `install` and `restore` no timer runs but in `runNext`, and no clock goes on by itself. */
export class SimulatedTime {
	readonly #due = new Map<object, Due>();
	readonly #real = {
		setTimeout: globalThis.setTimeout,
		clearTimeout: globalThis.clearTimeout,
		setInterval: globalThis.setInterval,
		clearInterval: globalThis.clearInterval,
		dateNow: Date.now,
		sleep: timersPromises.setTimeout,
	};
	#nowMs = START_MS;
	#order = 0;

	/** As `performance.now` tells it. */
	get nowMs(): number {
		return this.#nowMs;
	}

	/** How many timers of src have neither run nor been cleared. */
	get pending(): number {
		return [...this.#due.values()].filter(({ isOwn }) => isOwn).length;
	}

	install(): void {
		const set = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): object =>
			this.#set(() => callback(...args), ms, { isOwn: true });
		const every = (callback: () => void, ms = 0): object => this.#set(callback, ms, { isOwn: true, everyMs: ms });
		const clear = (timer: object | undefined): void => void (timer !== undefined && this.#due.delete(timer));
		Object.assign(globalThis, { setTimeout: set, clearTimeout: clear, setInterval: every, clearInterval: clear });
		Date.now = () => EPOCH_MS + this.#nowMs;
		Object.defineProperty(performance, 'now', { configurable: true, value: () => this.#nowMs });
		timersPromises.setTimeout = ((ms?: number, value?: unknown, options?: { signal?: AbortSignal }) =>
			this.sleep(ms ?? 0, options?.signal).then(() => value)) as typeof timersPromises.setTimeout;
		syncBuiltinESMExports();
	}

	restore(): void {
		const { dateNow, sleep, ...timers } = this.#real;
		Object.assign(globalThis, timers);
		Date.now = dateNow;
		Reflect.deleteProperty(performance, 'now');
		timersPromises.setTimeout = sleep;
		syncBuiltinESMExports();
	}

	/** As `setTimeout` of timers/promises: resolves when so much time has passed, rejects when the signal is aborted. */
	sleep(ms: number, signal?: AbortSignal): Promise<void> {
		return this.#wait(ms, signal, true);
	}

	/** The same for the world around src, whose timers do not count. */
	pass(ms: number, signal: AbortSignal): Promise<void> {
		return this.#wait(ms, signal, false);
	}

	/** Has something happen in the world around src. */
	after(ms: number, callback: () => void): void {
		this.#set(callback, ms, { isOwn: false });
	}

	async #wait(ms: number, signal: AbortSignal | undefined, isOwn: boolean): Promise<void> {
		signal?.throwIfAborted();
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const timer = this.#set(resolve, ms, { isOwn });
		const onAbort = (): void => reject(signal?.reason);
		signal?.addEventListener('abort', onAbort);
		try {
			await promise;
		} finally {
			this.#due.delete(timer);
			signal?.removeEventListener('abort', onAbort);
		}
	}

	/**
	 * Goes on to when the next timer is due, and runs it and what is due with it. Returns false, and goes on to
	 * `untilMs`, when nothing is due by then.
	 */
	runNext(untilMs: number): boolean {
		let nextMs = Number.POSITIVE_INFINITY;
		for (const { atMs } of this.#due.values()) nextMs = Math.min(nextMs, atMs);
		if (nextMs > untilMs) {
			this.#nowMs = Math.max(this.#nowMs, untilMs);
			return false;
		}
		this.#nowMs = Math.max(this.#nowMs, nextMs);
		const due = [...this.#due].filter(([, { atMs }]) => atMs <= this.#nowMs);
		for (const [timer, each] of due.sort(([, one], [, other]) => one.order - other.order)) this.#run(timer, each);
		return true;
	}

	#run(timer: object, due: Due): void {
		// One that ran before may have cleared it.
		if (!this.#due.has(timer)) return;
		if (due.everyMs === undefined) this.#due.delete(timer);
		else due.atMs += Math.max(due.everyMs, 1);
		due.callback();
	}

	#set(callback: () => void, ms: number, { isOwn, everyMs }: { isOwn: boolean; everyMs?: number }): object {
		const timer = { ref: () => timer, unref: () => timer, hasRef: () => true };
		// As Node has it: no timer runs in the turn that set it.
		const atMs = this.#nowMs + Math.max(ms, 1);
		this.#due.set(timer, { order: ++this.#order, callback, isOwn, everyMs, atMs });
		return timer;
	}
}
