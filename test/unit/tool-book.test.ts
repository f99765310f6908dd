/** What is kept of servers' tools, and for how long a server's schemas may keep us. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SCHEMA_LIMITS } from '../../src/limits.ts';
import { type Tool, ToolBook, type Tools } from '../../src/pool/tool-book.ts';

const listOf = (...schemas: unknown[]) => schemas.map((inputSchema, index) => ({ name: `t${index}`, inputSchema }));
const toolIn = (tools: Tools, name = 't0'): Tool => tools.get(name) ?? assert.fail(name);
const NUMBER = { properties: { a: { type: 'number' } } };
const STRING = { properties: { a: { type: 'string' } } };
const EVIL = { properties: { a: { pattern: '^(a+)+$' } } };
const EVIL_ARGS = { a: `${'a'.repeat(60)}!` };

describe('a book of tools', () => {
	test('knows what a server described to everybody alike, and nothing where it did not', () => {
		const book = new ToolBook();
		const first = book.learn('s', 'spec', listOf(NUMBER));
		assert.equal(book.learn('s', 'spec', listOf(NUMBER)), first, 'one list is kept once');
		assert.equal(book.find('s', 't0'), toolIn(first));
		assert.equal(book.find('other', 't0'), undefined);
		const second = book.learn('s', 'spec', listOf(STRING));
		assert.equal(book.find('s', 't0'), undefined);
		assert.match(book.objection('s', 't0', toolIn(first), { a: 'x' }, 9) ?? '', /must be number/);
		assert.match(book.objection('s', 't0', toolIn(second), { a: 1 }, 9) ?? '', /must be string/);
		book.learn('s', 'another build', listOf(STRING));
		assert.ok(book.find('s', 't0'), 'of another build nothing was said otherwise');
	});

	test('is bounded: in tools, characters, servers, and schemas that were used', () => {
		const book = new ToolBook();
		const many = Array.from({ length: 10_000 }, () => NUMBER);
		assert.equal(book.learn('s', 'spec', listOf(...many)).size, SCHEMA_LIMITS.toolsMax);
		const long = (chars: number) => ({ description: 'x'.repeat(chars) });
		const half = Math.floor(SCHEMA_LIMITS.schemaCharsMax * 0.9);
		const kept = book.learn(
			'big',
			'spec',
			listOf(...Array.from({ length: 100 }, () => long(half)), long(SCHEMA_LIMITS.schemaCharsMax)),
		);
		const chars = [...kept.values()].reduce((sum, { schema }) => sum + (schema?.length ?? 0), 0);
		assert.ok(chars > SCHEMA_LIMITS.serverCharsMax / 2 && chars <= SCHEMA_LIMITS.serverCharsMax, String(chars));
		assert.equal(toolIn(kept, 't100').schema, undefined);
		const changed = book.learn('big', 'spec', listOf(...Array.from({ length: 100 }, () => long(half - 1))));
		const changedChars = [...changed.values()].reduce((sum, { schema }) => sum + (schema?.length ?? 0), 0);
		assert.ok(changedChars <= SCHEMA_LIMITS.changedCharsMax, String(changedChars));
		for (let n = 0; n <= SCHEMA_LIMITS.serversMax; n++) book.learn(`server ${n}`, 'spec', listOf(NUMBER));
		assert.equal(book.find('server 0', 't0'), undefined);
		for (let n = 0; n < SCHEMA_LIMITS.compiledMax + 20; n++)
			book.objection(`server ${n % 50}`, 't', { headers: [], schema: JSON.stringify({ maximum: n }) }, 1, 1);
		assert.equal(book.size, SCHEMA_LIMITS.compiledMax);
	});

	test('passes over what is no list of tools', () => {
		const book = new ToolBook();
		const odd = [null, 1, 'a', {}, { name: 1 }, { name: '__proto__', inputSchema: NUMBER }, { name: 'none' }];
		const tools = book.learn('s', 'spec', odd);
		assert.deepEqual([...tools.keys()], ['__proto__', 'none']);
		assert.equal(book.objection('s', 'none', toolIn(tools, 'none'), { a: 'x' }, 9), undefined);
		assert.match(book.objection('s', '__proto__', toolIn(tools, '__proto__'), { a: 'x' }, 9) ?? '', /must be number/);
	});

	test('gives up a schema that cannot be used, and says so once', () => {
		const told: string[] = [];
		const book = new ToolBook((...what) => told.push(what.join(' ')));
		const tools = book.learn('s', 'spec', listOf({ $ref: 'https://example.com/x' }, EVIL));
		for (let n = 0; n < 5; n++) assert.equal(book.objection('s', 't0', toolIn(tools), {}, 2), undefined);
		assert.equal(told.length, 1);
		assert.match(told[0] ?? '', /^s t0 can't resolve reference/);
		for (let n = 0; n < SCHEMA_LIMITS.lateMax + 2; n++)
			assert.equal(book.objection('s', 't1', toolIn(tools, 't1'), EVIL_ARGS, 90), undefined);
		assert.deepEqual(told.slice(1), ['s t1 it takes too long']);
		const startedAtMs = performance.now();
		assert.equal(book.objection('s', 't1', toolIn(tools, 't1'), EVIL_ARGS, 90), undefined);
		assert.ok(performance.now() - startedAtMs < SCHEMA_LIMITS.lookMs / 2, 'it is not looked at any more');
	});

	test('spends a bounded time of each minute on one server, and that is not another’s', () => {
		const book = new ToolBook();
		const startedAtMs = performance.now();
		const late = (n: number) => ({ headers: [], schema: JSON.stringify({ ...EVIL, title: String(n) }) });
		for (let n = 0; n < 100; n++) book.objection('evil', 't', late(n), EVIL_ARGS, 90);
		const spentMs = performance.now() - startedAtMs;
		assert.ok(spentMs > SCHEMA_LIMITS.msPerMinuteMax / 2, `${spentMs} ms`);
		assert.ok(spentMs < SCHEMA_LIMITS.msPerMinuteMax * 2, `${spentMs} ms`);
		assert.equal(
			book.objection('evil', 't', { headers: [], schema: JSON.stringify(NUMBER) }, { a: 'x' }, 9),
			undefined,
		);
		assert.match(
			book.objection('good', 't', { headers: [], schema: JSON.stringify(NUMBER) }, { a: 'x' }, 9) ?? '',
			/must be number/,
		);
	});
});
