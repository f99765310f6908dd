/** Timers of one duration, held back until the test lets them fire: real waits have no place in a test. */
import { syncBuiltinESMExports } from 'node:module';
import type { TestContext } from 'node:test';
import timersPromises from 'node:timers/promises';
import { Inbox } from './inbox.ts';

export class HeldTimers {
	/** Those that were set, each to be taken once. */
	readonly set = new Inbox<() => void>('a timer');
	readonly #open = new Map<unknown, () => void>();

	/** Holds every timer of that duration until the test is over. */
	constructor(t: TestContext, ms: number) {
		const { setTimeout: realSet, clearTimeout: realClear } = globalThis;
		const realSleep = timersPromises.setTimeout;
		const holdBack = (callback: () => void): NodeJS.Timeout => {
			const handle = realSet(() => undefined, 2 ** 31 - 1);
			handle.unref();
			this.#open.set(handle, callback);
			this.set.push(callback);
			return handle;
		};
		const set = (callback: () => void, duration?: number): NodeJS.Timeout =>
			duration === ms ? holdBack(callback) : realSet(callback, duration);
		globalThis.setTimeout = Object.assign(set, realSet) as typeof setTimeout;
		globalThis.clearTimeout = (handle) => {
			this.#open.delete(handle);
			realClear(handle);
		};
		timersPromises.setTimeout = ((duration?: number, value?: unknown, options?: { signal?: AbortSignal }) => {
			if (duration !== ms) return realSleep(duration, value, options);
			const { promise, resolve, reject } = Promise.withResolvers<unknown>();
			const handle = holdBack(() => resolve(value));
			options?.signal?.addEventListener('abort', () => {
				this.#open.delete(handle);
				reject(options.signal?.reason);
			});
			return promise;
		}) as typeof realSleep;
		syncBuiltinESMExports();
		t.after(() => {
			globalThis.setTimeout = realSet;
			globalThis.clearTimeout = realClear;
			timersPromises.setTimeout = realSleep;
			syncBuiltinESMExports();
		});
	}

	/** Fires all that were set and not cleared. */
	fire(): void {
		for (const [handle, callback] of [...this.#open]) {
			this.#open.delete(handle);
			clearTimeout(handle as NodeJS.Timeout);
			callback();
		}
	}

	/** Waits until one more was set than were waited for, and fires all. */
	async fireNext(): Promise<void> {
		await this.set.next();
		this.fire();
	}
}
