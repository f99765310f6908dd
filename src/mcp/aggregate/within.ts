/** Waiting, but not for ever: one server behind an aggregated endpoint must not delay the others. */
import { setTimeout as sleep } from 'node:timers/promises';

/** What a promise resolves with, or undefined when it does not within the time. Rejects as the promise does. */
export async function within<T>(promise: Promise<T>, waitMs: number): Promise<T | undefined> {
	const patience = new AbortController();
	const waited = sleep(waitMs, undefined, { signal: patience.signal, ref: false });
	// The promise came first.
	waited.catch(() => undefined);
	try {
		return await Promise.race([promise, waited]);
	} finally {
		patience.abort();
	}
}
