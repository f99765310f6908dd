import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { replaceId, stringEnd, toOneLine } from '../../src/mcp/text.ts';

const FUZZ_MS = 2_000;

// JSON is made as text here, not by JSON.stringify: spacing, escapes and the spelling of numbers must vary. Texts are
// compared, not what JSON.parse makes of them: V8 misreads keys with escapes now and then (nodejs/node#63785).

const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 2 });

/** What a string may be made of; what looks like structure or like an id is frequent. */
const stringPart = fc.oneof(
	fc.constantFrom('\\"', '\\\\', '\\n', '\\/', '\\u0022', '\\u005c', '\\u0069', '\\u0064', '\\ud83d', 'i', 'd', 'id'),
	fc.constantFrom(',\\"id\\":5}', '\\"id\\":', '{', '}', '[', ']', ':', ',', '5', 'é', '€', '😀', '\u2028', '\ud800'),
);
const string = fc.array(stringPart, { maxLength: 6 }).map((parts) => `"${parts.join('')}"`);
const idKey = fc.constantFrom('"id"', '"id"', '"id"', '"\\u0069d"', '"i\\u0064"', '"\\u0069\\u0064"');
const key = fc.oneof({ weight: 3, arbitrary: string }, { weight: 1, arbitrary: idKey }, fc.constant('"__proto__"'));
const scalar = fc.oneof(
	string,
	fc.constantFrom('0', '-0', '5', '5.0', '1e0', '-1.5E+10', '123456789012345678901', '1e400', 'true', 'false', 'null'),
);
const value = fc.letrec<{ value: string; array: string; object: string }>((tie) => ({
	value: fc.oneof({ maxDepth: 4, withCrossShrink: true }, scalar, tie('array'), tie('object')),
	array: fc
		.tuple(space, fc.array(fc.tuple(space, tie('value'), space), { maxLength: 3 }))
		.map(([empty, items]) => `[${items.length === 0 ? empty : items.map((item) => item.join('')).join(',')}]`),
	object: fc
		.tuple(space, fc.array(fc.tuple(space, key, space, fc.constant(':'), space, tie('value'), space), { maxLength: 3 }))
		.map(
			([empty, members]) => `{${members.length === 0 ? empty : members.map((member) => member.join('')).join(',')}}`,
		),
})).value;

const noSpace = fc.constant('');
const colon = fc.constant(':');
const member = fc.oneof(
	fc.tuple(space, key, space, colon, space, value, space),
	fc.tuple(noSpace, key, noSpace, colon, noSpace, value, noSpace),
);
const idValue = fc.oneof(string, fc.constantFrom('0', '-0', '5', '5', '5', '5.0', '5e0', '-7', '9007199254740991'));
const idMember = fc.oneof(
	fc.tuple(space, idKey, space, colon, space, idValue, space),
	fc.tuple(noSpace, fc.constant('"id"'), noSpace, colon, noSpace, idValue, noSpace),
);
const next = fc.oneof(fc.string({ unit: 'binary' }), fc.maxSafeInteger());

describe('texts, for any input', () => {
	test('replaceId changes the last top-level id, and not one other character', () => {
		const message = fc.record({
			before: fc.array(member, { maxLength: 3 }),
			id: idMember,
			// A later id would be the one that counts.
			after: fc.array(
				member.filter(([, name]) => JSON.parse(name) !== 'id'),
				{ maxLength: 3 },
			),
			around: fc.tuple(fc.oneof(noSpace, space), fc.oneof(noSpace, space)),
		});
		let runs = 0;
		fc.assert(
			fc.property(message, next, ({ before, id, after, around }, replacement) => {
				runs++;
				const [s1, name, s2, c, s3, spelled, end] = id;
				const head = [around[0], '{', ...before.flatMap((parts) => [...parts, ',']), s1, name, s2, c, s3].join('');
				const tail = [end, ...after.flatMap((parts) => [',', ...parts]), '}', around[1]].join('');
				JSON.parse(head + spelled + tail);
				const replaced = replaceId(head + spelled + tail, JSON.parse(spelled), replacement);
				assert.equal(replaced, head + JSON.stringify(replacement) + tail);
				JSON.parse(replaced);
			}),
			{ numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS },
		);
		assert.ok(runs > 100);
	});

	test('there and back again', () => {
		fc.assert(
			fc.property(fc.dictionary(fc.string(), fc.jsonValue()), next, fc.boolean(), (object, id, first) => {
				const text = JSON.stringify(first ? { id: 5, ...object } : { ...object, id: 5 });
				fc.pre(JSON.parse(text).id === 5);
				assert.equal(replaceId(replaceId(text, 5, id), id, 5), text);
			}),
		);
	});

	test('toOneLine leaves one line and changes nothing but line breaks', () => {
		fc.assert(
			fc.property(value, (text) => {
				const line = toOneLine(text);
				assert.ok(!/[\r\n]/.test(line));
				assert.equal(line.length, text.length);
				for (let at = 0; at < text.length; at++) {
					if (line[at] !== text[at]) assert.ok(line[at] === ' ' && (text[at] === '\r' || text[at] === '\n'));
				}
				JSON.parse(line);
			}),
		);
	});

	test('stringEnd finds the end of a string, whatever follows', () => {
		fc.assert(
			fc.property(string, string, (text, after) => {
				assert.equal(stringEnd(text + after, 0), text.length);
			}),
		);
	});

	test('what is no JSON ends in an error or an answer, never in a loop', () => {
		const text = fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', ':', ',', ' ', 'id', '"id":', '5') });
		fc.assert(
			fc.property(text, (any) => {
				try {
					replaceId(any, 5, 6);
				} catch (error) {
					assert.match(String(error), /no top-level id/);
				}
			}),
			{ numRuns: 1000 },
		);
	});
});
