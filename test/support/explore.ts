/** Properties that are tried for a while, and not a fixed number of times. */
import assert from 'node:assert/strict';
import fc from 'fast-check';

/** More than there is time for. */
const RUNS_MAX = 100_000;

export interface ExploreOptions {
	readonly forMs: number;
	/** Fewer would prove nothing. */
	readonly runsMin: number;
	/** To try the same again. */
	readonly seed?: number;
}

/** Tries a property with one value after another until the time is over, and lets the last one come to its end. */
export async function explore<Value>(
	values: fc.Arbitrary<Value>,
	property: (value: Value) => Promise<void>,
	{ forMs, runsMin, seed }: ExploreOptions,
): Promise<void> {
	let runs = 0;
	let running = Promise.resolve();
	const tried = fc.asyncProperty(values, (value) => {
		runs += 1;
		running = property(value);
		return running;
	});
	try {
		await fc.assert(tried, {
			numRuns: RUNS_MAX,
			interruptAfterTimeLimit: forMs,
			...(seed === undefined ? {} : { seed }),
		});
	} finally {
		// The time may be over in the middle of one, which must not go on beside the next test.
		await running;
	}
	assert.ok(runs >= runsMin, `${runs} runs`);
}
