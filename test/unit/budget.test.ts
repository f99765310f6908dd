import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Budgets } from '../../src/policy/budget.ts';

describe('a budget of calls', () => {
	test('is that of a minute at once, and fills again evenly', () => {
		const budgets = new Budgets();
		const take = (nowMs: number) => budgets.take('a', 3, nowMs);
		assert.deepEqual(take(0), { allowed: true, remaining: 2, waitMs: 20_000 });
		assert.equal(take(0).remaining, 1);
		assert.equal(take(0).remaining, 0);
		assert.deepEqual(take(0), { allowed: false, remaining: 0, waitMs: 20_000 });
		assert.deepEqual(take(5_000), { allowed: false, remaining: 0, waitMs: 15_000 });
		assert.equal(take(20_000).allowed, true);
		assert.equal(take(20_000).allowed, false);
	});

	test('is nobody else’s', () => {
		const budgets = new Budgets();
		budgets.take('a', 1, 0);
		assert.equal(budgets.take('a', 1, 0).allowed, false);
		assert.equal(budgets.take('b', 1, 0).allowed, true);
	});

	test('that is changed keeps the part of it that is left', () => {
		const budgets = new Budgets();
		for (let n = 0; n < 5; n += 1) budgets.take('a', 10, 0);
		assert.equal(budgets.take('a', 100, 0).remaining, 49);
		assert.equal(budgets.take('a', 2, 0).allowed, false);
	});

	test('is forgotten when it is full again', () => {
		const budgets = new Budgets();
		budgets.take('a', 60, 0);
		budgets.tick(999);
		assert.equal(budgets.size, 1);
		budgets.tick(1000);
		assert.equal(budgets.size, 0);
	});

	test('lets through no more than its rate and one minute of it, whenever it is asked', () => {
		const gaps = fc.array(fc.nat({ max: 3_000 }), { minLength: 1, maxLength: 300 });
		fc.assert(
			fc.property(gaps, fc.integer({ min: 1, max: 200 }), (waits, perMinute) => {
				const budgets = new Budgets();
				let [nowMs, allowed] = [0, 0];
				for (const waitMs of waits) {
					nowMs += waitMs;
					if (waitMs % 7 === 0) budgets.tick(nowMs);
					const charge = budgets.take('a', perMinute, nowMs);
					allowed += Number(charge.allowed);
					assert.ok(charge.waitMs > 0 && charge.waitMs <= 60_000 / perMinute + 1e-6);
				}
				assert.ok(allowed <= perMinute + (nowMs * perMinute) / 60_000 + 1e-6);
			}),
		);
	});
});
