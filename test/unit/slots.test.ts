import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { Slots, takeOut } from '../../src/slots.ts';

describe('Slots', () => {
	test('are what a Map is, whatever comes and goes', () => {
		const step = fc.tuple(fc.constantFrom('set', 'delete'), fc.integer({ min: 0, max: 9 }), fc.integer());
		fc.assert(
			fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
				const slots = new Slots<number, { readonly n: number }>();
				const map = new Map<number, { readonly n: number }>();
				for (const [what, key, n] of steps) {
					if (what === 'set') for (const one of [slots, map]) one.set(key, { n });
					else for (const one of [slots, map]) one.delete(key);
					assert.equal(slots.size, map.size);
					assert.equal(slots.has(key), map.has(key));
					assert.deepEqual(slots.get(key), map.get(key));
					assert.deepEqual([...slots.values()], [...map.values()]);
				}
			}),
		);
	});

	test('are walked through while some go', () => {
		const slots = new Slots<string, string>();
		for (const key of ['a', 'b', 'c']) slots.set(key, key);
		const seen: string[] = [];
		for (const value of slots.values()) {
			seen.push(value);
			slots.delete('b');
			slots.delete(value);
		}
		assert.deepEqual(seen, ['a', 'c']);
		assert.equal(slots.size, 0);
	});
});

test('what is taken out of an array is gone, once, and the rest is there', () => {
	const values = ['a', 'b', 'c', 'a'];
	takeOut(values, 'x');
	assert.deepEqual(values.toSorted(), ['a', 'a', 'b', 'c']);
	takeOut(values, 'a');
	assert.deepEqual(values.toSorted(), ['a', 'b', 'c']);
	takeOut(values, 'c');
	takeOut(values, 'b');
	takeOut(values, 'a');
	takeOut(values, 'a');
	assert.deepEqual(values, []);
});
