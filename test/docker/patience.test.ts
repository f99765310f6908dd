/** A patient stop gives a server all of its time, and takes no more of it than that. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { containersOf, openBench, within } from '../support/engine-bench.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';

const image = await fixtureImage();
const { stopEofMs, stopTermMs } = INSTANCE_LIMITS;

describe('a patient stop', { concurrency: 2 }, () => {
	for (const [mode, leastMs, exitCode] of [
		['ignore-eof', stopEofMs, 143],
		['ignore-eof-and-term', stopEofMs + stopTermMs, 137],
	] as const) {
		test(`${mode}: exit code ${exitCode}, after ${leastMs} ms and not before`, async () => {
			await using bench = await openBench([fixture('slow', image, ['misbehaving.ts', mode])]);
			const channel = await bench.launch('slow');
			await talk(channel).request('ping');
			const startedAtMs = performance.now();
			await within(channel.stop('patient'), 'the stop');
			// How soon after is the machine's business.
			assert.ok(performance.now() - startedAtMs >= leastMs - 10);
			assert.deepEqual(await containersOf(bench.gatewayId), []);
			const { cause, exitCode: code } = await channel.ended;
			assert.deepEqual({ cause, code }, { cause: 'stopped', code: exitCode });
		});
	}
});
