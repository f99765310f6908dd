/** Schemas of both drafts against values, and schemas that were written to do harm. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Author, compileSchema, SchemaRefused } from '../../src/json-schema.ts';
import { SCHEMA_LIMITS } from '../../src/limits.ts';

const DRAFT_7 = 'http://json-schema.org/draft-07/schema#';
const DRAFT_2020 = 'https://json-schema.org/draft/2020-12/schema';

const lookWith = (schema: object, author: Author = 'server') => {
	const look = compileSchema(JSON.stringify(schema), author);
	return (value: unknown) => look(value, JSON.stringify(value)?.length ?? 0);
};

/** What both drafts say alike: a schema, values that fit, and values that do not. */
const ALIKE: readonly [schema: object, good: readonly unknown[], bad: readonly unknown[]][] = [
	[{}, [1, 'a', null, [], {}], []],
	[{ type: 'object' }, [{}], [[], null, 'a']],
	[{ type: 'integer' }, [1, 1.0, -3], [1.5, '1', true]],
	[{ type: ['string', 'null'] }, ['a', null], [1]],
	[{ enum: ['a', 1, null, { b: [1] }] }, ['a', 1, null, { b: [1] }], ['b', 2, { b: [2] }]],
	[{ const: { a: 1 } }, [{ a: 1 }], [{ a: 2 }, {}]],
	[{ minimum: 1, exclusiveMaximum: 3 }, [1, 2.5], [0, 3]],
	[{ multipleOf: 2 }, [4], [3]],
	[{ minLength: 2, maxLength: 3 }, ['ab', '😀😀😀'], ['a', 'abcd', '😀']],
	[{ pattern: '^a+$' }, ['aaa', 1], ['b']],
	[{ required: ['a'] }, [{ a: null }], [{}]],
	[{ properties: { a: { type: 'string' } }, additionalProperties: false }, [{ a: 'x' }, {}], [{ a: 1 }, { b: 1 }]],
	[{ patternProperties: { '^x-': { type: 'number' } } }, [{ 'x-a': 1, b: 'c' }], [{ 'x-a': 'b' }]],
	[{ propertyNames: { maxLength: 1 } }, [{ a: 1 }], [{ ab: 1 }]],
	[{ minProperties: 1, maxProperties: 1 }, [{ a: 1 }], [{}, { a: 1, b: 1 }]],
	[{ items: { type: 'number' }, minItems: 1 }, [[1]], [[], ['a']]],
	[
		{ uniqueItems: true },
		[[1, 2, { a: 1 }]],
		[
			[1, 1],
			[{ a: 1 }, { a: 1 }],
		],
	],
	[{ contains: { const: 1 } }, [[0, 1]], [[0]]],
	[{ anyOf: [{ type: 'string' }, { minimum: 5 }] }, ['a', 6], [4]],
	[{ oneOf: [{ type: 'number' }, { minimum: 5 }] }, [4, 'a'], [6]],
	[{ allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1], [3]],
	[{ not: { type: 'string' } }, [1], ['a']],
	[
		JSON.parse('{"if":{"required":["a"]},"then":{"required":["b"]},"else":{"required":["c"]}}'),
		[{ a: 1, b: 1 }, { c: 1 }],
		[{ a: 1 }, {}],
	],
	[
		{ definitions: { n: { type: 'number' } }, properties: { a: { $ref: '#/definitions/n' } } },
		[{ a: 1 }],
		[{ a: 'b' }],
	],
	[
		{ properties: { child: { $ref: '#' } }, additionalProperties: false },
		[{ child: { child: {} } }],
		[{ child: { other: 1 } }],
	],
	[{ format: 'email' }, ['not one'], []],
	[{ type: 'string', default: 'x', unknown: { pattern: '(' } }, ['a'], [1]],
];

/** What the drafts say otherwise. */
const OTHERWISE: readonly [schema: object, good2020: unknown, bad2020: unknown, good7: unknown, bad7: unknown][] = [
	[{ prefixItems: [{ type: 'number' }], items: { type: 'string' } }, [1, 'a'], [1, 2], ['a'], [1, 'a']],
	[{ dependentRequired: { a: ['b'] } }, { a: 1, b: 1 }, { a: 1 }, { a: 1 }, undefined],
	[{ properties: { a: {} }, unevaluatedProperties: false }, { a: 1 }, { b: 1 }, { b: 1 }, undefined],
	[{ $defs: { n: { type: 'number' } }, allOf: [{ $ref: '#/$defs/n' }] }, 1, 'a', 1, 'a'],
];

describe('a schema', () => {
	for (const $schema of [undefined, DRAFT_2020, DRAFT_7])
		for (const [schema, good, bad] of ALIKE)
			test(`of ${$schema ?? 'no draft'}: ${JSON.stringify(schema)}`, () => {
				const look = lookWith({ ...($schema === undefined ? {} : { $schema }), ...schema });
				for (const value of good) assert.equal(look(value), undefined, JSON.stringify(value));
				for (const value of bad) assert.equal(typeof look(value), 'string', JSON.stringify(value));
			});

	for (const [schema, good2020, bad2020, good7, bad7] of OTHERWISE)
		test(`is of the draft that it names, and of 2020-12 when it names none: ${JSON.stringify(schema)}`, () => {
			const pairs: [object, unknown, unknown][] = [
				[schema, good2020, bad2020],
				[{ $schema: DRAFT_2020, ...schema }, good2020, bad2020],
				[{ $schema: DRAFT_7, ...schema }, good7, bad7],
			];
			for (const [of, good, bad] of pairs) {
				assert.equal(lookWith(of)(good), undefined, JSON.stringify(of));
				if (bad !== undefined) assert.equal(typeof lookWith(of)(bad), 'string', JSON.stringify(of));
			}
		});

	test('names the argument and what is wrong with it, and no value', () => {
		const look = lookWith({
			type: 'object',
			properties: { path: { type: 'string', pattern: '^/data/' }, list: { items: { type: 'number' } } },
			required: ['path'],
			additionalProperties: false,
		});
		assert.equal(look({}), "`arguments` must have required property 'path'.");
		assert.equal(look({ path: '/etc/secret' }), '`arguments/path` must match pattern "^/data/".');
		assert.equal(look({ path: '/data/a', list: [1, 'secret'] }), '`arguments/list/1` must be number.');
		assert.equal(
			look({ path: '/data/a', other: 'secret' }),
			'`arguments` must NOT have additional properties: "other".',
		);
	});

	test('says no more than a bounded text', () => {
		const look = lookWith({ additionalProperties: false });
		assert.ok((look({ ['x'.repeat(1_000_000)]: 1 })?.length ?? 0) <= SCHEMA_LIMITS.objectionCharsMax + 1);
	});

	test('changes no value: nothing is filled in, converted or removed', () => {
		const schema = {
			properties: { a: { type: 'number', default: 1 }, b: { default: {} } },
			additionalProperties: false,
		};
		const look = lookWith(schema);
		fc.assert(
			fc.property(fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__'), fc.jsonValue()), (value) => {
				const before = JSON.stringify(value);
				look(value);
				assert.equal(JSON.stringify(value), before);
			}),
		);
	});
});

describe('names of prototypes', () => {
	for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty'])
		test(`are members only where they are the value's own: ${name}`, () => {
			const required = lookWith({ required: [name] });
			assert.equal(typeof required({}), 'string');
			assert.equal(required(JSON.parse(`{"${name}":1}`)), undefined);
			const closed = lookWith({ properties: { a: {} }, additionalProperties: false });
			assert.equal(typeof closed(JSON.parse(`{"${name}":1}`)), 'string');
			assert.equal(lookWith({ properties: { constructor: { type: 'number' } } })({}), undefined);
			assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
		});
});

describe('a schema that was written to do harm', () => {
	/** Where it is refused, and how long that kept us. */
	const keptMs = (run: () => unknown): { ms: number; refused: boolean } => {
		const startedAtMs = performance.now();
		let refused = false;
		try {
			run();
		} catch (error) {
			assert.ok(error instanceof SchemaRefused, String(error));
			refused = true;
		}
		return { ms: performance.now() - startedAtMs, refused };
	};
	/** What a shared machine may add. */
	const SLACK_MS = 400;
	const twice = (to: string) => ({ allOf: [{ $ref: to }, { $ref: to }] });
	const doubling = (levels: number): object => ({
		$ref: '#/$defs/d0',
		$defs: Object.fromEntries(
			Array.from({ length: levels }, (_, n) => [
				`d${n}`,
				n + 1 < levels ? twice(`#/$defs/d${n + 1}`) : { type: 'object' },
			]),
		),
	});
	const nested = (depth: number): string => `${'{"not":'.repeat(depth)}{}${'}'.repeat(depth)}`;

	const looks: [what: string, schema: object, value: unknown][] = [
		['a pattern that backtracks', { properties: { a: { pattern: '^(a+)+$' } } }, { a: `${'a'.repeat(60)}!` }],
		['a name pattern that backtracks', { patternProperties: { '^(a+)+$': {} } }, { [`${'a'.repeat(60)}!`]: 1 }],
		['references that double', doubling(40), {}],
		[
			'a tree of itself',
			{ anyOf: Array.from({ length: 2 }, () => ({ properties: { c: { $ref: '#' } }, minProperties: 1 })) },
			JSON.parse(`${'{"c":'.repeat(60)}{}${'}'.repeat(60)}`),
		],
		[
			'items that are compared with each other',
			{ uniqueItems: true },
			Array.from({ length: 60_000 }, (_, n) => ({ n })),
		],
	];
	for (const [what, schema, value] of looks)
		test(`is ended in the middle of a look: ${what}`, () => {
			const look = lookWith(schema);
			const { ms, refused } = keptMs(() => look(value));
			assert.ok(refused);
			assert.ok(ms < SCHEMA_LIMITS.lookMs + SLACK_MS, `${ms} ms`);
		});

	const texts: [what: string, text: string][] = [
		['longer than is read', JSON.stringify({ description: 'x'.repeat(SCHEMA_LIMITS.schemaCharsMax) })],
		['deep', nested(8_000)],
		['that refers to itself alone', '{"$ref":"#"}'],
		['that refers to itself by another', '{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"$ref":"#"}}}'],
		['of somewhere else', '{"$ref":"https://example.com/schema"}'],
		['of a file', '{"$ref":"file:///etc/passwd"}'],
		['of a draft that is not spoken', '{"$schema":"http://json-schema.org/draft-04/schema#"}'],
		['of a type that there is none of', '{"type":"strin"}'],
		['with words of the wrong kind', '{"required":true}'],
		['with a pattern that is none', '{"pattern":"("}'],
		['that is no object', '[1]'],
	];
	for (const [what, text] of texts)
		test(`is refused: one ${what}`, () => {
			const { ms, refused } = keptMs(() => compileSchema(text, 'server')({}, 2));
			assert.ok(refused);
			assert.ok(ms < SCHEMA_LIMITS.compileMs + SLACK_MS, `${ms} ms`);
		});

	test('is compiled for no longer than it may', () => {
		const properties = Object.fromEntries(Array.from({ length: 2_500 }, (_, n) => [`p${n}`, { type: 'string' }]));
		const { ms } = keptMs(() => compileSchema(JSON.stringify({ properties }), 'server'));
		assert.ok(ms < SCHEMA_LIMITS.compileMs + SLACK_MS, `${ms} ms`);
	});

	test('cannot make code of its words', () => {
		const words = [
			'"];globalThis.harmed=1;["',
			'$'.concat('{globalThis.harmed=1}'),
			"'+(globalThis.harmed=1)+'",
			'*/globalThis.harmed=1/*',
		];
		for (const word of words)
			for (const schema of [
				{ properties: { [word]: { enum: [word], type: 'string' } }, required: [word], $comment: word },
				{ $id: word },
				{ $dynamicAnchor: word, $dynamicRef: `#${word}` },
				{ $defs: { [word]: {} }, $ref: `#/$defs/${word}` },
				{ pattern: word, const: word, dependentRequired: { [word]: [word] } },
			])
				keptMs(() => compileSchema(JSON.stringify(schema), 'server')({ [word]: 1 }, 50));
		assert.equal(Reflect.get(globalThis, 'harmed'), undefined);
	});

	test('is ended or done with in time whatever it is', () => {
		const schema = fc.letrec((tie) => ({
			schema: fc.oneof(
				{ maxDepth: 3, depthIdentifier: 'schema' },
				fc.jsonValue({ maxDepth: 2 }),
				fc.record(
					{
						type: fc.constantFrom('object', 'string', 'number', 'array', 'strin'),
						pattern: fc.constantFrom('(a*)*$', '^(a|aa)+$', '('),
						$ref: fc.constantFrom('#', '#/properties/a', '#/allOf/0', 'x'),
						properties: fc.dictionary(fc.constantFrom('a', 'b', '__proto__', 'constructor'), tie('schema'), {
							noNullPrototype: true,
						}),
						allOf: fc.array(tie('schema'), { minLength: 1, maxLength: 3 }),
						not: tie('schema'),
						uniqueItems: fc.boolean(),
						items: tie('schema'),
					},
					{ requiredKeys: [], noNullPrototype: true },
				),
			),
		})).schema;
		fc.assert(
			fc.property(schema, fc.jsonValue({ maxDepth: 4 }), (of, value) => {
				const { ms } = keptMs(() => compileSchema(JSON.stringify(of), 'server')(value, 200));
				assert.ok(ms < SCHEMA_LIMITS.compileMs + SCHEMA_LIMITS.lookMs + SLACK_MS, `${ms} ms`);
			}),
			{ numRuns: 150 },
		);
	});
});

describe('a schema of an operator', () => {
	for (const schema of [{ typ: 'string' }, { format: 'email' }, { properties: { a: { maximun: 1 } } }])
		test(`is refused for what would bound nothing: ${JSON.stringify(schema)}`, () => {
			assert.throws(() => lookWith(schema, 'operator'), SchemaRefused);
			assert.equal(lookWith(schema)({ a: 5 }), undefined, 'of a server it is passed over');
		});
});
