/** What holds of every definition: its hash, its difference from another, and what stands twice in a text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonical } from '../../src/mcp/canonical.ts';
import { difference, readDefinition } from '../../src/mcp/definition.ts';
import { isAmbiguous } from '../../src/mcp/text.ts';

const FUZZ_MS = 2_000;
const bounds = { interruptAfterTimeLimit: FUZZ_MS, numRuns: 20_000 };

/** Keys that are alike, look like paths or like the places of a list, so that they meet. */
const key = fc.constantFrom('a', 'b', 'a.b', '0', '1', '[0]', '"a"', '', '__proto__', 'constructor', 'é');
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
	value: fc.oneof(
		{ maxDepth: 4 },
		fc.constantFrom(null, true, false, 0, 1, 1.5, '', 'a', '1', 'null', '[]', '{}'),
		fc.string({ maxLength: 3 }),
		fc.array(tie('value'), { maxLength: 3 }),
		fc.array(fc.tuple(key, tie('value')), { maxLength: 3 }).map((members) => Object.fromEntries(members)),
	),
}));

/** The same value with the members of all its objects in the other order. */
function turned(part: unknown): unknown {
	if (Array.isArray(part)) return part.map(turned);
	if (typeof part !== 'object' || part === null) return part;
	return Object.fromEntries(
		Object.entries(part)
			.map(([name, member]) => [name, turned(member)])
			.reverse(),
	);
}

test('canonical JSON is what was said, and the same in whatever order', () => {
	fc.assert(
		fc.property(value, (said) => {
			assert.equal(canonical(turned(said)), canonical(said));
			assert.deepEqual(JSON.parse(canonical(said)), JSON.parse(JSON.stringify(said)));
		}),
		bounds,
	);
});

test('two definitions differ in a line exactly where their hashes do', () => {
	fc.assert(
		fc.property(value, value, (one, other) => {
			const [before, now] = [
				{ name: 'a', x: one },
				{ name: 'a', x: other },
			].map(readDefinition);
			assert.ok(before && now);
			assert.equal(difference(before.text, now.text).length > 0, before.hash !== now.hash);
		}),
		bounds,
	);
});

test('nothing is ambiguous in what JSON.stringify writes but escapes, and a member that is added again is', () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(key, value), { minLength: 1, maxLength: 4 }), (members) => {
			const text = JSON.stringify(Object.fromEntries(members), null, 1);
			assert.equal(isAmbiguous(text), text.includes('"\\"a\\"":'), text);
			const again = `${text.slice(0, -1)},${JSON.stringify(members[0]?.[0])}:1}`;
			assert.ok(isAmbiguous(`[${again}]`), again);
		}),
		bounds,
	);
});
