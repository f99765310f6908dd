import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Budgets, Places } from '../../src/policy/budget.ts';

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

describe('a budget that is paid from afterwards', () => {
	test('lets through as long as something is left, and waits for what was too much', () => {
		const budgets = new Budgets();
		assert.equal(budgets.pay('a', 60, 0, 0).allowed, true);
		budgets.pay('a', 60, 0, 90);
		assert.deepEqual(budgets.pay('a', 60, 0, 0), { allowed: false, remaining: 0, waitMs: 31_000 });
		assert.equal(budgets.pay('a', 60, 30_999, 0).allowed, false);
		assert.equal(budgets.pay('a', 60, 31_001, 0).allowed, true);
		budgets.tick(91_000);
		assert.equal(budgets.size, 0);
	});
});

describe('places', () => {
	test('are as many as there are, one name’s are no other’s, and what is given back is free, once', () => {
		const places = new Places();
		const [one, two] = [places.take('a', 2), places.take('a', 2)];
		assert.equal(places.take('a', 2), undefined);
		assert.ok(places.take('b', 1));
		one?.();
		one?.();
		assert.ok(places.take('a', 2));
		assert.equal(places.take('a', 2), undefined);
		two?.();
	});

	test('without a bound are not counted', () => {
		const places = new Places();
		for (const max of [0, undefined]) for (let n = 0; n < 9; n++) assert.ok(places.take('a', max));
		assert.equal(places.size, 0);
	});

	test('that are shared always leave one for who comes new, and are all back when all are given back', () => {
		const takes = fc.array(fc.record({ who: fc.integer({ min: 0, max: 3 }), back: fc.boolean() }), { maxLength: 80 });
		fc.assert(
			fc.property(takes, fc.integer({ min: 1, max: 40 }), (steps, max) => {
				const places = new Places();
				const held = new Map<number, (() => void)[]>();
				const count = () => [...held.values()].reduce((sum, { length }) => sum + length, 0);
				for (const { who, back } of steps) {
					const own = held.get(who) ?? [];
					held.set(who, own);
					if (back) {
						own.pop()?.();
						continue;
					}
					const free = max - count();
					const leave = places.takeShare('server', String(who), max);
					assert.equal(leave !== undefined, own.length < free, 'as many as are left for the others');
					if (leave !== undefined) own.push(leave);
					assert.ok(count() <= max);
				}
				for (const own of held.values()) for (const leave of own) leave();
				assert.equal(places.size, 0);
			}),
		);
	});
});
