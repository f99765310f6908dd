import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { HTTP_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import {
	classify,
	errorText,
	isObject,
	type Message,
	metaOf,
	notificationText,
	own,
	ownId,
	progressTokenOf,
	progressTokenOfNotification,
	requestIdOfCancel,
	requestText,
	resultText,
	textDepthExceeds,
} from '../../src/mcp/jsonrpc.ts';

afterEach(() => {
	assert.deepEqual(Object.keys(Object.prototype), [], 'a prototype was polluted');
});

describe('classify', () => {
	const error = { code: -32601, message: 'no' };
	const messages: [text: string, expected: Message][] = [
		['{"jsonrpc":"2.0","id":1,"method":"a"}', { kind: 'request', id: 1, method: 'a', params: undefined }],
		['{"jsonrpc":"2.0","id":"","method":"","params":{}}', { kind: 'request', id: '', method: '', params: {} }],
		['{"jsonrpc":"2.0","id":-7,"method":"a"}', { kind: 'request', id: -7, method: 'a', params: undefined }],
		['{"jsonrpc":"2.0","id":5.0,"method":"a"}', { kind: 'request', id: 5, method: 'a', params: undefined }],
		['{"method":"a","params":{"x":[1]},"jsonrpc":"2.0"}', { kind: 'notification', method: 'a', params: { x: [1] } }],
		['{"jsonrpc":"2.0","id":0,"result":{}}', { kind: 'response', id: 0, ok: true, result: {} }],
		['{"jsonrpc":"2.0","id":"a","result":null}', { kind: 'response', id: 'a', ok: true, result: null }],
		['{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}', { kind: 'response', id: 1, ok: false, error }],
		[
			'{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"","data":[],"more":1}}',
			{ kind: 'response', id: 1, ok: false, error: { code: 1, message: '', data: [], more: 1 } as never },
		],
		['{"jsonrpc":"2.0","id":1,"method":"a","more":1}', { kind: 'request', id: 1, method: 'a', params: undefined }],
		['{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}', { kind: 'request', id: 2, method: 'a', params: undefined }],
	];
	for (const [text, expected] of messages) {
		test(text, () => assert.deepEqual(classify(JSON.parse(text)), expected));
	}

	const others: [why: string, text: string][] = [
		['a scalar', '1'],
		['null', 'null'],
		['a string', '"{}"'],
		['an empty object', '{}'],
		['an empty batch', '[]'],
		['a batch', '[{"jsonrpc":"2.0","id":1,"method":"a"}]'],
		['no version', '{"id":1,"method":"a"}'],
		['version 1.0', '{"jsonrpc":"1.0","id":1,"method":"a"}'],
		['the version as a number', '{"jsonrpc":2.0,"id":1,"method":"a"}'],
		['a request with the id null', '{"jsonrpc":"2.0","id":null,"method":"a"}'],
		['a float as the id', '{"jsonrpc":"2.0","id":1.5,"method":"a"}'],
		['an id that is rounded', '{"jsonrpc":"2.0","id":9007199254740993,"method":"a"}'],
		['an id that is infinite', '{"jsonrpc":"2.0","id":1e400,"method":"a"}'],
		['an object as the id', '{"jsonrpc":"2.0","id":{},"method":"a"}'],
		['true as the id', '{"jsonrpc":"2.0","id":true,"result":{}}'],
		['a method that is a number', '{"jsonrpc":"2.0","id":1,"method":1}'],
		['a method that is null', '{"jsonrpc":"2.0","id":1,"method":null,"result":{}}'],
		['params in an array', '{"jsonrpc":"2.0","id":1,"method":"a","params":[]}'],
		['params that are null', '{"jsonrpc":"2.0","id":1,"method":"a","params":null}'],
		['params that are a string', '{"jsonrpc":"2.0","method":"a","params":"x"}'],
		['method and result', '{"jsonrpc":"2.0","id":1,"method":"a","result":{}}'],
		['method and error', '{"jsonrpc":"2.0","id":1,"method":"a","error":{"code":1,"message":"x"}}'],
		['result and error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}'],
		['result and error null', '{"jsonrpc":"2.0","id":1,"result":{},"error":null}'],
		['neither', '{"jsonrpc":"2.0","id":1}'],
		['a response without an id', '{"jsonrpc":"2.0","result":{}}'],
		['an error for a message that could not be read', '{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}'],
		['an error without an id', '{"jsonrpc":"2.0","error":{"code":1,"message":"x"}}'],
		['an error that is a string', '{"jsonrpc":"2.0","id":1,"error":"x"}'],
		['an error without a code', '{"jsonrpc":"2.0","id":1,"error":{"message":"x"}}'],
		['an error with a code in a string', '{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":"x"}}'],
		['an error without a message', '{"jsonrpc":"2.0","id":1,"error":{"code":1}}'],
		['a key that JSON.parse may have misread', '{"jsonrpc":"2.0","i\\\\":1,"method":"a"}'],
		['a key of params that it may have misread', '{"jsonrpc":"2.0","id":1,"method":"a","params":{"n\\\\u0":1}}'],
		['a key of _meta that it may have misread', '{"jsonrpc":"2.0","id":1,"method":"a","params":{"_meta":{"\\\\":1}}}'],
		['all of it in __proto__', '{"__proto__":{"jsonrpc":"2.0","id":1,"method":"a"}}'],
		['the version in __proto__', '{"__proto__":{"jsonrpc":"2.0"},"id":1,"method":"a"}'],
		['the result in __proto__', '{"jsonrpc":"2.0","id":1,"__proto__":{"result":{}}}'],
		['the id in __proto__', '{"jsonrpc":"2.0","__proto__":{"id":1},"result":{}}'],
		['the error code in __proto__', '{"jsonrpc":"2.0","id":1,"error":{"__proto__":{"code":1},"message":"x"}}'],
	];
	for (const [why, text] of others) {
		test(`no message: ${why}`, () => assert.equal(classify(JSON.parse(text)), undefined));
	}

	/** nodejs/node#63785. Where V8 is right the message is what it says; where it is wrong there is none. */
	test('a client cannot make JSON.parse take a message for another one', () => {
		const attacks: [poison: string, text: string][] = [
			['{"jsonrpc":"2.0","KEY":1,"i\\\\":1}', '{"jsonrpc":"2.0","KEY":1,"i\\u0064":7,"method":"a"}'],
			['{"jsonrpc":"2.0","KEY":1,"metho\\\\":1}', '{"jsonrpc":"2.0","KEY":1,"metho\\u0064":"a","id":7}'],
			['{"KEY":1,"n\\\\u0":1}', '{"jsonrpc":"2.0","id":7,"method":"a","params":{"KEY":1,"n\\u0061me":"denied"}}'],
			[
				'{"KEY":1,"progressToke\\\\":1}',
				'{"jsonrpc":"2.0","id":7,"method":"a","params":{"_meta":{"KEY":1,"progressToke\\u006e":9}}}',
			],
		];
		for (const [index, [poison, text]] of attacks.entries()) {
			for (let run = 0; run < 10; run++) JSON.parse(poison.replace('KEY', `key${index}`));
			const message = classify(JSON.parse(text.replace('KEY', `key${index}`)));
			if (message === undefined) continue;
			assert.ok(message.kind === 'request' && message.id === 7 && message.method === 'a');
			assert.equal(JSON.stringify(message).includes('\\'), false);
		}
	});

	test('what is inherited does not count', () => {
		assert.equal(classify(Object.create({ jsonrpc: '2.0', id: 1, method: 'a' })), undefined);
		const own = Object.assign(Object.create({ id: 1, result: {}, params: [] }), { jsonrpc: '2.0', method: 'a' });
		assert.deepEqual(classify(own), { kind: 'notification', method: 'a', params: undefined });
	});

	test('keys that look like a prototype are data', () => {
		const text =
			'{"jsonrpc":"2.0","id":1,"method":"a","params":{"__proto__":{"x":1},"constructor":{"prototype":{"y":1}}}}';
		const message = classify(JSON.parse(text));
		assert.ok(message?.kind === 'request');
		assert.equal(JSON.stringify(message.params), '{"__proto__":{"x":1},"constructor":{"prototype":{"y":1}}}');
		assert.equal(Object.getPrototypeOf(message.params), Object.prototype);
	});

	test('params and result are those of the value, not copies', () => {
		const value = { jsonrpc: '2.0', id: 1, result: { deep: {} } };
		const message = classify(value);
		assert.ok(message?.kind === 'response' && message.ok);
		assert.equal(message.result, value.result);
	});
});

describe('textDepthExceeds', () => {
	const table: [text: string, depth: number][] = [
		['1', 0],
		['"[[[["', 0],
		['[]', 1],
		['{"a":1}', 1],
		['[[],[],{}]', 2],
		['{"a":[{"b":[]}]}', 4],
		['[{"[{":"[{"},"\\"[[",["\\\\"],"[["]', 2],
		['[[]][[]][[]]', 2],
		[' \n[ \t[ ] , [ ] ]\r', 2],
	];
	for (const [text, depth] of table) {
		test(`${JSON.stringify(text)} has depth ${depth}`, () => {
			assert.equal(textDepthExceeds(text, depth), false);
			assert.equal(textDepthExceeds(text, depth + 1), false);
			if (depth > 0) assert.equal(textDepthExceeds(text, depth - 1), true);
		});
	}

	test('the bound is the deepest that passes', () => {
		const nested = (depth: number) => '{"a":['.repeat(depth / 2) + ']}'.repeat(depth / 2);
		assert.equal(textDepthExceeds(nested(HTTP_LIMITS.jsonDepthMax), HTTP_LIMITS.jsonDepthMax), false);
		assert.equal(textDepthExceeds(nested(HTTP_LIMITS.jsonDepthMax + 2), HTTP_LIMITS.jsonDepthMax), true);
	});

	test('a depth of 10,000 is seen, and is not a RangeError for those who parse it anyway', () => {
		for (const depth of [10_000, 1_000_000]) {
			const text = `{"jsonrpc":"2.0","id":1,"result":${'['.repeat(depth)}${']'.repeat(depth)}}`;
			assert.equal(textDepthExceeds(text, HTTP_LIMITS.jsonDepthMax), true);
			assert.equal(textDepthExceeds(text, depth + 1), false);
			const message = classify(JSON.parse(text));
			assert.ok(message?.kind === 'response' && message.ok);
			assert.equal(resultText(1, message.result as object), text);
		}
	});

	test('what is no JSON ends too', () => {
		for (const text of ['', '"', '"\\', '[[[', ']]]', '"\\"', '\\"[', '{"a', '\0', '\uFEFF[]'])
			textDepthExceeds(text, 2);
		assert.equal(textDepthExceeds('[[[', 2), true);
	});

	test('a string of 10 MiB, plain or of escapes', () => {
		for (const part of ['[', '\\"', '\\\\', '\\\\\\"']) {
			const text = `["${part.repeat(STDIO_LIMITS.lineBytesMax / part.length)}"]`;
			assert.equal(textDepthExceeds(text, 1), false);
			assert.equal(textDepthExceeds(text, 0), true);
		}
	});
});

describe('texts of our own', () => {
	test('request', () => {
		assert.equal(requestText(1, 'a'), '{"jsonrpc":"2.0","id":1,"method":"a"}');
		assert.equal(requestText('x"', 'a', { b: 1 }), '{"jsonrpc":"2.0","id":"x\\"","method":"a","params":{"b":1}}');
	});

	test('notification', () => {
		assert.equal(notificationText('a'), '{"jsonrpc":"2.0","method":"a"}');
		assert.equal(notificationText('a', {}), '{"jsonrpc":"2.0","method":"a","params":{}}');
	});

	test('result', () => {
		assert.equal(resultText(0, {}), '{"jsonrpc":"2.0","id":0,"result":{}}');
	});

	test('error', () => {
		const error = { code: -32700, message: 'bad' };
		assert.equal(errorText(null, error), '{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"bad"}}');
		assert.equal(
			errorText('a', { ...error, data: { b: null } }),
			'{"jsonrpc":"2.0","id":"a","error":{"code":-32700,"message":"bad","data":{"b":null}}}',
		);
	});

	test('of an error only what JSON-RPC names is told', () => {
		const error = Object.assign(new Error('bad'), { code: 1, path: '/secret' });
		assert.equal(errorText(1, error), '{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"bad"}}');
	});

	test('each is one line of valid Unicode', () => {
		const text = resultText(1, { text: 'a\nb\rc\u2028\ud800' });
		assert.equal(text, '{"jsonrpc":"2.0","id":1,"result":{"text":"a\\nb\\rc\u2028\\ud800"}}');
		assert.ok(text.isWellFormed());
	});
});

describe('accessors', () => {
	test('progress token of a request', () => {
		assert.equal(progressTokenOf({ _meta: { progressToken: 'a' } }), 'a');
		assert.equal(progressTokenOf({ _meta: { progressToken: 0 } }), 0);
		for (const params of [
			undefined,
			{},
			{ _meta: null },
			{ _meta: [] },
			{ _meta: 'x' },
			{ _meta: {} },
			{ progressToken: 1 },
		]) {
			assert.equal(progressTokenOf(params), undefined);
		}
		for (const progressToken of [null, 1.5, {}, [], true, 2 ** 53]) {
			assert.equal(progressTokenOf({ _meta: { progressToken } }), undefined);
		}
	});

	test('progress token of a notification', () => {
		assert.equal(progressTokenOfNotification({ progressToken: 7, progress: 1 }), 7);
		assert.equal(progressTokenOfNotification({ _meta: { progressToken: 7 } }), undefined);
		assert.equal(progressTokenOfNotification(undefined), undefined);
	});

	test('id of a cancelled request', () => {
		assert.equal(requestIdOfCancel({ requestId: 'a', reason: 'x' }), 'a');
		assert.equal(requestIdOfCancel({ requestId: null }), undefined);
		assert.equal(requestIdOfCancel(undefined), undefined);
	});

	test('what is an object', () => {
		for (const value of [{}, Object.create(null), JSON.parse('{"__proto__":1}')]) assert.equal(isObject(value), true);
		for (const value of [null, undefined, [], 'x', 1, true, () => undefined]) assert.equal(isObject(value), false);
	});

	test('own properties, and those that are ids', () => {
		const value = { a: 0, b: '', c: 1.5, d: null, e: undefined, f: 2 ** 53 };
		assert.deepEqual(
			['a', 'b', 'c', 'd', 'e', 'f', 'toString', '__proto__'].map((key) => [own(value, key), ownId(value, key)]),
			[
				[0, 0],
				['', ''],
				[1.5, undefined],
				[null, undefined],
				[undefined, undefined],
				[2 ** 53, undefined],
				[undefined, undefined],
				[undefined, undefined],
			],
		);
	});

	test('_meta of params or of a result', () => {
		const meta = { a: 1 };
		assert.equal(metaOf({ _meta: meta }), meta);
		for (const value of [{}, { _meta: null }, { _meta: [] }, { _meta: 'x' }, Object.create({ _meta: meta })])
			assert.equal(metaOf(value), undefined);
	});

	test('what is in __proto__ does not count', () => {
		assert.equal(progressTokenOf(JSON.parse('{"__proto__":{"_meta":{"progressToken":1}}}')), undefined);
		assert.equal(progressTokenOf(JSON.parse('{"_meta":{"__proto__":{"progressToken":1}}}')), undefined);
		assert.equal(progressTokenOfNotification(Object.create({ progressToken: 1 })), undefined);
		assert.equal(requestIdOfCancel(JSON.parse('{"__proto__":{"requestId":1}}')), undefined);
	});
});
