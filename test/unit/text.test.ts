import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { runInNewContext } from 'node:vm';
import type { RpcId } from '../../src/mcp/jsonrpc.ts';
import {
	type Edit,
	editMembers,
	elementTexts,
	memberText,
	replaceId,
	stringEnd,
	toOneLine,
} from '../../src/mcp/text.ts';

/** What work returns, or an error when it takes too long: a loop must not keep the tests from ending. */
function inTime<T>(work: () => T): T {
	return runInNewContext('work()', { work }, { timeout: 1_000 });
}

describe('replaceId', () => {
	/** `«` and `»` mark the value that must be replaced. */
	const table: [name: string, marked: string, id: RpcId][] = [
		['at the head, as most servers write it', '{"jsonrpc":"2.0","id":«5»,"result":{"a":[1,2]}}', 5],
		['at the head, alone', '{"id":«5»}', 5],
		['at the tail, as the TypeScript SDK writes it', '{"result":{"a":[1]},"jsonrpc":"2.0","id":«5»}', 5],
		['in the middle', '{"jsonrpc":"2.0","method":"a","id":«5»,"params":{}}', 5],
		['a string at the head', '{"jsonrpc":"2.0","id":«"a-1"»,"result":{}}', 'a-1'],
		['a string at the tail', '{"result":{},"jsonrpc":"2.0","id":«"a-1"»}', 'a-1'],
		['an empty string', '{"id":«""»,"result":{}}', ''],
		['zero', '{"result":{},"id":«0»}', 0],
		['a negative number', '{"result":{},"id":«-12»}', -12],
		['Python spacing', '{"jsonrpc": "2.0", "id": «5», "result": {"a": [1, 2]}}', 5],
		['Python spacing at the tail', '{"result": {"a": 1}, "jsonrpc": "2.0", "id": «5»}', 5],
		['pretty-printed', '{\n\t"jsonrpc": "2.0",\r\n\t"id" :\n «5»\n,\t"result": {\n}\n}\n', 5],
		['pretty-printed at the tail', ' \n{\n  "result": {},\n  "id": «5»\n}\r\n', 5],
		['whitespace after the text', '{"result":{},"id":«5»} \r\n\t', 5],
		['nested ids before', '{"params":{"id":5,"a":[{"id":5}]},"id":«5»}', 5],
		['nested ids after', '{"id":«5»,"params":{"id":5,"a":[{"id":5}]}}', 5],
		['nested ids on both sides', '{"a":{"id":5},"id":«5»,"b":[{"id":5},{"b":{"id":5}}]}', 5],
		['a nested id at the very end', '{"id":«5»,"a":{"x":1,"id":5}}', 5],
		['a nested id at the very end, in an array', '{"id":«5»,"a":[{"x":1,"id":5}]}', 5],
		['a string that ends like the tail', '{"id":«5»,"a":",\\"id\\":5}"}', 5],
		['a string that is the tail and more', '{"id":«5»,"a":",\\"id\\":5}}"}', 5],
		['a string id that ends like the tail', '{"a":1,"id":«",\\"id\\":5}"»}', ',"id":5}'],
		['a string id after which only a comma could stand', '{"a":"x","id":«","»}', ','],
		['a key that ends like the tail', '{"id":«5»,",\\"id\\":5}":5}', 5],
		['a key that ends with "id"', '{"id":«5»,"x,\\"id":5}', 5],
		['a key that ends with id', '{"id":«5»,"xid":5,"uuid":5,"_id":5}', 5],
		['keys that begin with id', '{"id":«5»,"id2":5,"idx":5,"id ":5,"ID":5,"Id":5}', 5],
		['values that are "id"', '{"a":"id","b":["id"],"id":«"id"»,"c":"id"}', 'id'],
		['the value "id" before a colon in a string', '{"a":"id","id":«5»,"b":":5"}', 5],
		['escaped quotes before', '{"a":"\\"id\\":1","id":«5»,"b":1}', 5],
		['backslashes at the end of a string', '{"a":"\\\\","id":«5»,"b":"\\\\\\\\"}', 5],
		['a backslash and a quote at the end of a string', '{"a":"\\\\\\"","id":«5»,"b":"\\\\\\""}', 5],
		['brackets in strings', '{"a":"}]}{[","id":«5»,"b":["}","]"]}', 5],
		['brackets in nested strings', '{"a":{"x":"}"},"b":["]"],"id":«5»,"c":0}', 5],
		['the first letter escaped', '{"a":1,"\\u0069d":«5»,"b":1}', 5],
		['the second letter escaped', '{"a":1,"i\\u0064":«5»,"b":1}', 5],
		['both letters escaped', '{"a":1,"\\u0069\\u0064":«5»,"b":1}', 5],
		['other escaped keys of the same length', '{"\\u0069e":1,"j\\u0064":1,"\\u0069\\u0065":1,"id":«5»,"b":1}', 5],
		['a key with an escaped backslash', '{"\\\\u0069d":1,"id":«5»,"b":1}', 5],
		['a number spelled with an exponent', '{"result":{},"id":«5e0»}', 5],
		['a number spelled with a fraction', '{"id":«5.0»,"result":{}}', 5],
		['a number spelled minus zero', '{"id":«-0»,"result":{}}', -0],
		['a string spelled with escapes', '{"result":{},"id":«"\\u0061\\/\\n"»}', 'a/\n'],
		['a string with quotes and backslashes', '{"result":{},"id":«"\\"\\\\"»}', '"\\'],
		['a string beyond ASCII', '{"id":«"é€😀"»,"result":{}}', 'é€😀'],
		['a lone surrogate', '{"id":«"\\ud800"»,"result":{}}', '\ud800'],
		['twice: the last', '{"id":1,"result":{},"id":«5»}', 5],
		['twice: the last, though not at the tail', '{"id":5,"id":«5»,"result":{}}', 5],
		['twice: the last, escaped', '{"id":1,"result":{},"\\u0069d":«5»,"b":0}', 5],
		['twice: the last, wholly escaped', '{"id":1,"result":{},"\\u0069\\u0064":«5»,"b":0}', 5],
		['twice: the last, half escaped', '{"id":1,"result":{},"i\\u0064":«5»,"b":0}', 5],
		['many: the last', '{"\\u0069d":1,"id":{"id":2},"i\\u0064":[3],"id":«5» , "b":0}', 5],
		['numbers as they are spelled', '{"a":1.0,"b":123456789012345678901234567890,"id":«5»,"c":-1E+2,"d":0.10}', 5],
		['literals', '{"a":true,"b":null,"id":«5»,"c":false}', 5],
		['__proto__ and constructor', '{"__proto__":{"id":1},"id":«5»,"constructor":{"id":1}}', 5],
		['an empty key', '{"":{"":1},"id":«5»,"":0}', 5],
	];
	for (const [name, marked, id] of table) {
		for (const next of [7, 'g-"\\\n', '']) {
			test(`${name}, to ${JSON.stringify(next)}`, () => {
				const text = marked.replace(/[«»]/g, '');
				assert.deepEqual(JSON.parse(text).id, id, 'the table is right');
				assert.equal(
					replaceId(text, id, next),
					marked.replace(/«.*»/su, () => JSON.stringify(next)),
				);
			});
		}
	}

	test('a text without an id is an error of the caller, not a loop', () => {
		for (const text of ['{}', '[]', '', '{"a":{"id":1}}', '{"a', '1', '{"a":"', '{,,,', '{"a":1,']) {
			assert.throws(() => replaceId(text, 1, 2), /no top-level id/);
		}
	});

	test('any depth', () => {
		const deep = `${'[{"id":'.repeat(100_000)}1${'}]'.repeat(100_000)}`;
		assert.equal(replaceId(`{"a":${deep},"id":5,"b":1}`, 5, 6), `{"a":${deep},"id":6,"b":1}`);
	});

	/** Asking at every id whether another follows would be quadratic: minutes for a body that a client may send. */
	test('time grows with the text, not with its square, however many ids it has', () => {
		const elapsedMs = (unit: string, count: number) => {
			const text = `{${unit.repeat(count)}"\\u0069d":5,"z":0}`;
			let best = Number.POSITIVE_INFINITY;
			for (let run = 0; run < 5; run++) {
				const before = performance.now();
				const replaced = replaceId(text, 5, 6);
				best = Math.min(best, performance.now() - before);
				assert.ok(replaced.endsWith(':6,"z":0}'));
			}
			return best;
		};
		for (const unit of ['"\\u0069d":1,', '"id":1,', '"a":{"id":[]},', '"a":"\\"\\\\",', '"a":"\\\\\\\\\\\\\\\\",']) {
			elapsedMs(unit, 10_000);
			// The square would be 256 times as long.
			const ratio = elapsedMs(unit, 160_000) / elapsedMs(unit, 10_000);
			assert.ok(ratio < 80, `16 times ${unit} took ${ratio.toFixed(1)} times as long`);
		}
	});

	test('one string of backslashes and quotes is read in linear time', () => {
		const elapsedMs = (part: string, count: number) => {
			const text = `"${part.repeat(count)}"`;
			let best = Number.POSITIVE_INFINITY;
			for (let run = 0; run < 5; run++) {
				const before = performance.now();
				assert.equal(stringEnd(text, 0), text.length);
				best = Math.min(best, performance.now() - before);
			}
			return best;
		};
		for (const part of ['\\\\', '\\"', '\\\\\\"']) {
			elapsedMs(part, 100_000);
			// The square would be 256 times as long.
			const ratio = elapsedMs(part, 1_600_000) / elapsedMs(part, 100_000);
			assert.ok(ratio < 80, `16 times ${part} took ${ratio.toFixed(1)} times as long`);
		}
	});
});

describe('editMembers', () => {
	const table: [name: string, text: string, edits: Record<string, Edit>, expected: string][] = [
		['nothing to do', '{"a":1,"b":[2]}', {}, '{"a":1,"b":[2]}'],
		['an empty object', '{}', { a: '1' }, '{"a":1}'],
		['an empty object with whitespace', ' \n{ \t} ', { a: '1' }, '{"a":1}'],
		['set in its place', '{"a":1,"b":2,"c":3}', { b: '[]' }, '{"a":1,"b":[],"c":3}'],
		['new ones last, in the order of the edits', '{"a":1}', { z: '1', b: '2' }, '{"a":1,"z":1,"b":2}'],
		['removed at the head', '{"a":1,"b":2}', { a: undefined }, '{"b":2}'],
		['removed at the tail', '{"a":1,"b":2}', { b: undefined }, '{"a":1}'],
		['removed alone', '{"a":1}', { a: undefined }, '{}'],
		['removed though not there', '{"a":1}', { b: undefined }, '{"a":1}'],
		['made of what it was', '{"a":[1.0]}', { a: (old) => `{"was":${old}}` }, '{"a":{"was":[1.0]}}'],
		['made of nothing', '{}', { a: (old) => JSON.stringify(String(old)) }, '{"a":"undefined"}'],
		['made into nothing', '{"a":1,"b":2}', { a: () => undefined }, '{"b":2}'],
		[
			'twice: the last counts and keeps its place',
			'{"a":1,"b":2,"a":3,"c":4}',
			{ a: (old) => `[${old}]` },
			'{"b":2,"a":[3],"c":4}',
		],
		['twice: all go', '{"a":1,"b":2,"a":3}', { a: undefined }, '{"b":2}'],
		['twice, and untouched: both stay', '{"a":1,"b":2,"a":3}', { b: undefined }, '{"a":1,"a":3}'],
		['an escaped key', '{"\\u0061":1,"b":2}', { a: '3' }, '{"a":3,"b":2}'],
		['a key twice, once escaped', '{"a":1,"\\u0061":2}', { a: (old) => `${old}` }, '{"a":2}'],
		['a key with a quote and a backslash', '{"\\"\\\\":1,"x":2}', { '"\\': '3' }, '{"\\"\\\\":3,"x":2}'],
		['an untouched escaped key as it is spelled', '{"\\u0061":1,"b":2}', { b: '3' }, '{"\\u0061":1,"b":3}'],
		['a key beyond ASCII', '{"é😀":1}', { 'é😀': '2' }, '{"é😀":2}'],
		['a lone surrogate', '{"\\ud800":1}', { '\ud800': '2' }, '{"\\ud800":2}'],
		[
			'nested keys of the same name',
			'{"x":{"a":1,"b":[{"a":2}]},"a":3}',
			{ a: '4' },
			'{"x":{"a":1,"b":[{"a":2}]},"a":4}',
		],
		[
			'whitespace in a member stays, between members goes',
			'{ "a" : [ 1 ] ,\n"b":\t2 }',
			{ c: '3' },
			'{"a" : [ 1 ],"b":\t2,"c":3}',
		],
		[
			'numbers as they are spelled',
			'{"a":1.0,"b":12345678901234567890,"c":-1E+2}',
			{ d: '0' },
			'{"a":1.0,"b":12345678901234567890,"c":-1E+2,"d":0}',
		],
		['what looks like structure in strings', '{"a":"}],\\"b\\":1","b":2}', { b: '3' }, '{"a":"}],\\"b\\":1","b":3}'],
		['__proto__ is a key like any other', '{"__proto__":{"x":1},"a":1}', { a: undefined }, '{"__proto__":{"x":1}}'],
		[
			'keys of the prototype are not edits',
			'{"toString":1,"constructor":2}',
			{ a: '3' },
			'{"toString":1,"constructor":2,"a":3}',
		],
		['keys that are numbers', '{"2":1,"1":2}', { '2': '3', '0': '4' }, '{"2":3,"1":2,"0":4}'],
	];
	for (const [name, text, edits, expected] of table) test(name, () => assert.equal(editMembers(text, edits), expected));

	test('__proto__ as an edit', () => {
		const edits: Record<string, Edit> = JSON.parse('{"__proto__":"[1]"}');
		assert.equal(editMembers('{"a":1,"__proto__":{}}', edits), '{"a":1,"__proto__":[1]}');
		assert.equal(editMembers('{"a":1}', edits), '{"a":1,"__proto__":[1]}');
	});

	test('of what is no object nothing is kept', () => {
		for (const text of ['["a",5]', '["a"]', '[]', '5', 'null', '"a"', '"\\"a"', '""', '']) {
			assert.equal(editMembers(text, { x: '1' }), '{"x":1}', text);
			assert.equal(editMembers(text, {}), '{}', text);
		}
	});
});

describe('memberText', () => {
	const table: [text: string, key: string, expected: string | undefined][] = [
		['{"a":1}', 'a', '1'],
		['{"a":1}', 'b', undefined],
		['{}', 'a', undefined],
		[' { "a" : [ 1.0 , {"a":2} ] , "b" : 3 } ', 'a', '[ 1.0 , {"a":2} ]'],
		['{"a":1,"b":2,"a":3}', 'a', '3'],
		['{"a":1,"\\u0061":2}', 'a', '2'],
		['{"x":{"a":1}}', 'a', undefined],
		['{"":"\\u00e9\\"}","a":1}', '', '"\\u00e9\\"}"'],
		['{"__proto__":1}', '__proto__', '1'],
		['{"a":1}', 'toString', undefined],
		['["a",5]', 'a', undefined],
		['null', 'a', undefined],
		['"a"', 'a', undefined],
	];
	for (const [text, key, expected] of table)
		test(`${JSON.stringify(key)} of ${text}`, () => assert.equal(memberText(text, key), expected));
});

describe('elementTexts', () => {
	const table: [text: string, expected: string[]][] = [
		['[]', []],
		[' [ \n] ', []],
		['[1]', ['1']],
		['[1.0,"a,]",null,[2,[3]],{"a":[4]}]', ['1.0', '"a,]"', 'null', '[2,[3]]', '{"a":[4]}']],
		['\t[ 1 ,\r\n[ 2 ] , { } ]', ['1', '[ 2 ]', '{ }']],
		['[12345678901234567890,"\\u00e9\\\\"]', ['12345678901234567890', '"\\u00e9\\\\"']],
	];
	for (const [text, expected] of table)
		test(JSON.stringify(text), () => assert.deepEqual(elementTexts(text), expected));

	test('of what is no array there are none', () => {
		for (const text of ['{}', '{"a":1}', '5', 'null', 'true', '"a"', '""', ''])
			assert.deepEqual(
				inTime(() => elementTexts(text)),
				[],
				text,
			);
	});

	test('any depth, and any number', () => {
		const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
		assert.deepEqual(elementTexts(`[1,${deep}]`), ['1', deep]);
		assert.equal(elementTexts(`[${'{"a":[]},'.repeat(100_000)}0]`).length, 100_001);
	});
});

describe('stringEnd', () => {
	const table: [text: string, end: number][] = [
		['""', 2],
		['"a",', 3],
		['"\\"",', 4],
		['"\\\\",', 4],
		['"\\\\\\"",', 6],
		['"', 1],
		['"\\"', 3],
	];
	for (const [text, end] of table) test(text, () => assert.equal(stringEnd(text, 0), end));
});

describe('toOneLine', () => {
	const table: [text: string, expected: string][] = [
		['{"a":1}', '{"a":1}'],
		['{\n\t"a": 1\r\n}\n', '{ \t"a": 1  } '],
		['\r[]\n', ' [] '],
		['{"a":"\\n\\r"}', '{"a":"\\n\\r"}'],
		['{"a":"\u2028\u2029\u0085"}', '{"a":"\u2028\u2029\u0085"}'],
	];
	for (const [text, expected] of table) {
		test(JSON.stringify(text), () => {
			assert.equal(toOneLine(text), expected);
			assert.deepEqual(JSON.parse(toOneLine(text)), JSON.parse(text));
		});
	}
});
