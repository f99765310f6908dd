import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { Quotas } from '../../src/launcher/quotas.ts';

const A = 'a' as ServerName;
const B = 'b' as ServerName;

/** The code that a start is refused with, and in how many seconds there may be room. */
function refusal(start: () => void): [code: string, retryAfterSeconds: number | undefined] | undefined {
	try {
		start();
		return undefined;
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		return [error.code, error.details.retryAfterSeconds];
	}
}

test('one server has its own bound, and all together another', () => {
	const quotas = new Quotas({ instancesMax: 3, instancesPerServerMax: 2, startsPerMinuteMax: 100 });
	quotas.take(A, 0);
	quotas.take(A, 0);
	assert.deepEqual(
		refusal(() => quotas.take(A, 0)),
		['SLIPWAY_SERVER_INSTANCES_FULL', 5],
	);
	quotas.take(B, 0);
	assert.deepEqual(
		refusal(() => quotas.take(B, 0)),
		['SLIPWAY_INSTANCES_FULL', 5],
	);
	quotas.give(A);
	quotas.take(A, 0);
});

test('a minute has so many starts, those that failed or have ended too, and is told when there is one more', () => {
	const quotas = new Quotas({ instancesMax: 10, instancesPerServerMax: 10, startsPerMinuteMax: 2 });
	for (const atMs of [1_000, 31_000]) {
		quotas.take(A, atMs);
		quotas.give(A);
	}
	assert.deepEqual(
		refusal(() => quotas.take(B, 32_500)),
		['SLIPWAY_START_RATE', 29],
	);
	assert.deepEqual(
		refusal(() => quotas.take(B, 60_999)),
		['SLIPWAY_START_RATE', 1],
	);
	quotas.take(B, 61_000);
	assert.deepEqual(
		refusal(() => quotas.take(B, 61_000)),
		['SLIPWAY_START_RATE', 30],
	);
});

test('whatever is asked for and however it ends, no bound is passed, and nothing is refused that has room', () => {
	const bounds = fc.record({
		instancesMax: fc.integer({ min: 1, max: 6 }),
		instancesPerServerMax: fc.integer({ min: 1, max: 6 }),
		startsPerMinuteMax: fc.integer({ min: 1, max: 8 }),
	});
	const step = fc.record({ server: fc.constantFrom(A, B), ends: fc.boolean(), afterMs: fc.nat({ max: 20_000 }) });
	fc.assert(
		fc.property(bounds, fc.array(step, { maxLength: 60 }), (options, steps) => {
			const quotas = new Quotas(options);
			const live: ServerName[] = [];
			const startedAtMs: number[] = [];
			let nowMs = 0;
			for (const { server, ends, afterMs } of steps) {
				nowMs += afterMs;
				const index = live.indexOf(server);
				if (ends && index >= 0) {
					live.splice(index, 1);
					quotas.give(server);
					continue;
				}
				const mine = live.filter((name) => name === server).length;
				const recent = startedAtMs.filter((atMs) => nowMs - atMs < 60_000).length;
				const { instancesMax, instancesPerServerMax, startsPerMinuteMax } = options;
				const hasRoom = live.length < instancesMax && mine < instancesPerServerMax && recent < startsPerMinuteMax;
				assert.equal(refusal(() => quotas.take(server, nowMs)) === undefined, hasRoom);
				if (!hasRoom) continue;
				live.push(server);
				startedAtMs.push(nowMs);
			}
		}),
	);
});
