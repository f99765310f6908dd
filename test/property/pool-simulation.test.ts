/**
 * The pool over time, under a clock and a chance of the test: see simulated-world.ts. Messages are the business of
 * conversations.test.ts; here it is Instances, leases, seats, starts and sessions, and who has them how long.
 *
 * POOL_SEED repeats one run, POOL_RUNS makes more of them and POOL_STEPS longer ones.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, test } from 'node:test';
import { SimulatedTime } from '../support/simulated-time.ts';
import { Simulation } from '../support/simulated-world.ts';

const SEED = process.env['POOL_SEED'];
const RUNS = Number(process.env['POOL_RUNS'] ?? 200);
/** Without POOL_RUNS there are no more after so long; fewer than so many would say nothing. */
const FOR_MS = process.env['POOL_RUNS'] === undefined ? 14_000 : Number.POSITIVE_INFINITY;
const RUNS_MIN = 20;
const STEPS = Number(process.env['POOL_STEPS'] ?? 150);
const TRACE_LINES_MAX = 60;

/** One run. Resolves with its trace. */
async function simulate(seed: number): Promise<readonly string[]> {
	const time = new SimulatedTime();
	time.install();
	const simulation = new Simulation({ seed, steps: STEPS, time });
	const onFault = (fault: unknown): void => simulation.fault(fault);
	process.on('unhandledRejection', onFault);
	try {
		await simulation.run();
		return simulation.trace;
	} catch (error) {
		const trace = simulation.trace.slice(-TRACE_LINES_MAX).join('\n');
		throw new Error(`POOL_SEED=${seed} POOL_STEPS=${STEPS}: ${String(error)}\n${trace}`, { cause: error });
	} finally {
		process.off('unhandledRejection', onFault);
		time.restore();
	}
}

describe('the pool, over time', () => {
	test('nothing is left, lost, shared or started that should not be, whatever fails', async () => {
		const first = SEED === undefined ? randomInt(2 ** 31) : Number(SEED);
		const runs = SEED === undefined ? RUNS : 1;
		const untilMs = performance.now() + FOR_MS;
		for (let run = 0; run < runs && (run < RUNS_MIN || performance.now() < untilMs); run++) await simulate(first + run);
	});

	test('the same seed is the same run', async () => {
		const seed = SEED === undefined ? randomInt(2 ** 31) : Number(SEED);
		const [one, other] = [await simulate(seed), await simulate(seed)];
		assert.deepEqual(one, other);
		assert.ok(one.length >= STEPS);
	});
});
