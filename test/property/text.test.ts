import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
	type Edit,
	editMembers,
	elementTexts,
	memberText,
	replaceId,
	stringEnd,
	toOneLine,
} from '../../src/mcp/text.ts';

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
/** Few keys, in several spellings, so that they meet. */
const meetingKey = fc.constantFrom('"a"', '"\\u0061"', '"b"', '"é"', '"\\u00e9"', '"\\"\\\\"', '""', '"__proto__"');
const meetingMember = fc.tuple(space, meetingKey, space, colon, space, value, space);
const edit: fc.Arbitrary<Edit> = fc.oneof(
	fc.constant(undefined),
	value,
	fc.constant((old: string | undefined) => (old === undefined ? '"new"' : `[${old}]`)),
	fc.constant((old: string | undefined) => (old === undefined ? undefined : `{"was":${old}}`)),
	fc.constant((old: string | undefined) => (old === undefined ? '0' : undefined)),
);
const edits = fc
	.array(fc.tuple(fc.constantFrom('a', 'b', 'é', '"\\', '', '__proto__', 'toString', '1', 'c'), edit), { maxLength: 5 })
	.map((entries): Record<string, Edit> => Object.fromEntries(entries));
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

	test('editMembers sets and removes what it is told to, and every other member is there byte for byte, in order', () => {
		const object = fc.record({
			members: fc.array(fc.oneof(member, meetingMember), { maxLength: 6 }),
			around: fc.tuple(space, space, space),
		});
		let runs = 0;
		fc.assert(
			fc.property(object, edits, ({ members, around: [before, inside, after] }, changes) => {
				runs++;
				const inner = members.length === 0 ? inside : members.map((parts) => parts.join('')).join(',');
				const text = `${before}{${inner}}${after}`;
				// What is to come of it, from what the text was made of: the last of a key counts, in its place.
				const last = new Map(members.map(([, name], at) => [String(JSON.parse(name)), at]));
				const expected: string[] = [];
				for (const [at, [, name, ...rest]] of members.entries()) {
					const key = String(JSON.parse(name));
					const [s1, c, s2, old] = rest;
					if (!Object.hasOwn(changes, key)) expected.push([name, s1, c, s2, old].join(''));
					else if (last.get(key) === at) {
						const set = applied(changes[key], old);
						if (set !== undefined) expected.push(`${JSON.stringify(key)}:${set}`);
					}
				}
				for (const [key, change] of Object.entries(changes)) {
					const set = last.has(key) ? undefined : applied(change, undefined);
					if (set !== undefined) expected.push(`${JSON.stringify(key)}:${set}`);
				}
				const edited = editMembers(text, changes);
				assert.equal(edited, `{${expected.join(',')}}`);
				JSON.parse(edited);
				for (const key of [...last.keys(), ...Object.keys(changes), 'none of them'])
					assert.equal(memberText(text, key), members[last.get(key) ?? -1]?.[5]);
				for (const key of Object.keys(changes))
					assert.equal(memberText(edited, key), applied(changes[key], memberText(text, key)));
				assert.equal(editMembers(edited, {}), edited);
			}),
			{ numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS },
		);
		assert.ok(runs > 100);
	});

	test('editMembers does what JSON.parse, the same edits and JSON.stringify do', () => {
		// No key with an escape here, so JSON.parse can be trusted.
		const plain = fc.string({ unit: 'grapheme', maxLength: 3 }).filter((name) => JSON.stringify(name) === `"${name}"`);
		const object = fc.dictionary(plain, fc.jsonValue(), { noNullPrototype: true });
		const changes = fc.array(fc.tuple(fc.oneof(plain, fc.nat()), fc.option(fc.jsonValue(), { nil: undefined })));
		fc.assert(
			fc.property(object, changes, fc.constantFrom('', ' ', '\t', '\r\n '), (old, entries, indent) => {
				// A number picks a key that is there.
				const named = entries.map(([name, set]): [string, unknown] => {
					const names = Object.keys(old);
					return [typeof name === 'string' ? name : (names[name % names.length] ?? 'a'), set];
				});
				const asTexts = named.map(([name, set]) => [name, set === undefined ? undefined : JSON.stringify(set)]);
				const edited = editMembers(JSON.stringify(old, null, indent), Object.fromEntries(asTexts));
				const expected = Object.entries({ ...old, ...Object.fromEntries(named) }).filter(
					([, set]) => set !== undefined,
				);
				assert.deepEqual(JSON.parse(edited), JSON.parse(JSON.stringify(Object.fromEntries(expected))));
			}),
		);
	});

	test('elementTexts are the elements byte for byte, without what stands between them', () => {
		const items = fc.array(fc.tuple(space, value, space), { maxLength: 6 });
		fc.assert(
			fc.property(items, fc.tuple(space, space, space), (parts, [before, inside, after]) => {
				const inner = parts.length === 0 ? inside : parts.map((part) => part.join('')).join(',');
				assert.deepEqual(
					elementTexts(`${before}[${inner}]${after}`),
					parts.map(([, element]) => element),
				);
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

	test('of any JSON there are members or elements or neither, and no end is missed', () => {
		const work = (): void =>
			fc.assert(
				fc.property(value, (text) => {
					const edited = editMembers(text, { a: '[1]' });
					assert.equal(memberText(edited, 'a'), '[1]');
					JSON.parse(edited);
					const elements = elementTexts(text);
					JSON.parse(`[${elements}]`);
					if (!text.startsWith('[')) assert.deepEqual(elements, []);
					if (!text.startsWith('{')) assert.equal(edited, '{"a":[1]}');
				}),
				{ numRuns: 1000 },
			);
		runInNewContext('work()', { work }, { timeout: 5_000 });
	});

	test('of what is no JSON members end in an error of JSON.parse or an answer, never in a loop', () => {
		const text = fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', ':', ',', ' ', 'a', '5') });
		const work = (): void =>
			fc.assert(
				fc.property(text, (any) => {
					try {
						memberText(any, 'a');
						editMembers(any, { a: '1' });
					} catch (error) {
						assert.ok(error instanceof SyntaxError);
					}
				}),
				{ numRuns: 1000 },
			);
		runInNewContext('work()', { work }, { timeout: 5_000 });
	});
});

function applied(change: Edit, old: string | undefined): string | undefined {
	return typeof change === 'function' ? change(old) : change;
}
