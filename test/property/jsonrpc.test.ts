import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
	classify,
	errorText,
	notificationText,
	progressTokenOf,
	requestIdOfCancel,
	requestText,
	resultText,
	textDepthExceeds,
} from '../../src/mcp/jsonrpc.ts';

const FUZZ_MS = 2_000;

const id = fc.oneof(fc.string({ unit: 'binary' }), fc.maxSafeInteger());
/** Keys that JSON writes without an escape: V8 misreads others now and then (nodejs/node#63785). */
const plainKey = fc.string({ unit: 'binary' }).filter((key) => JSON.stringify(key) === `"${key}"`);
const params = fc.object({ key: plainKey, values: [fc.string({ unit: 'binary' }), fc.double(), fc.boolean()] });

/** A value after a round trip, which turns -0 into 0 and "__proto__" into an own key. */
function roundTrip(value: unknown): unknown {
	return JSON.parse(JSON.stringify(value));
}

function depthOf(value: unknown): number {
	if (typeof value !== 'object' || value === null) return 0;
	return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe('JSON-RPC, for any input', () => {
	test('what we write is what it is read as', () => {
		fc.assert(
			fc.property(id, fc.string({ unit: 'binary' }), params, (rpcId, text, object) => {
				const read = (line: string) => {
					assert.ok(!/[\r\n]/.test(line));
					return classify(JSON.parse(line));
				};
				const expected = { id: roundTrip(rpcId), params: roundTrip(object) };
				assert.deepEqual(read(requestText(rpcId, text, object)), { kind: 'request', method: text, ...expected });
				assert.deepEqual(read(notificationText(text, object)), {
					kind: 'notification',
					method: text,
					params: expected.params,
				});
				assert.deepEqual(read(resultText(rpcId, object)), {
					kind: 'response',
					id: expected.id,
					ok: true,
					result: expected.params,
				});
				assert.deepEqual(read(errorText(rpcId, { code: 1, message: text, data: object })), {
					kind: 'response',
					id: expected.id,
					ok: false,
					error: { code: 1, message: text, data: expected.params },
				});
			}),
		);
	});

	test('classify never throws, and what it calls a message has its parts', () => {
		const part = fc.oneof(fc.jsonValue(), fc.constantFrom('2.0', 'a', 1, { code: 1, message: 'x' }, {}));
		const key = fc.constantFrom('jsonrpc', 'id', 'method', 'params', 'result', 'error', '__proto__', 'constructor');
		const near = fc
			.array(fc.tuple(key, part), { maxLength: 8 })
			.map(
				(members) =>
					`{"jsonrpc":"2.0"${members.map(([k, v]) => `,${JSON.stringify(k)}:${JSON.stringify(v)}`).join('')}}`,
			);
		fc.assert(
			fc.property(fc.oneof({ weight: 4, arbitrary: near }, fc.json()), (text) => {
				const value = JSON.parse(text);
				const message = classify(value);
				assert.deepEqual(Object.keys(Object.prototype), []);
				if (message === undefined) return;
				assert.equal(value.jsonrpc, '2.0');
				assert.equal('method' in message, Object.hasOwn(value, 'method'));
				assert.equal('id' in message, Object.hasOwn(value, 'id'));
				if (message.kind === 'response') assert.notEqual(Object.hasOwn(value, 'result'), Object.hasOwn(value, 'error'));
				else if (message.params !== undefined) assert.ok(!Array.isArray(message.params));
			}),
			{ numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS },
		);
	});

	test('the accessors never throw', () => {
		fc.assert(
			fc.property(fc.object({ key: fc.constantFrom('_meta', 'progressToken', 'requestId', '__proto__') }), (object) => {
				for (const found of [progressTokenOf(object), requestIdOfCancel(object)]) {
					assert.ok(found === undefined || typeof found === 'string' || Number.isSafeInteger(found));
				}
			}),
		);
	});

	test('the depth of a text is the depth of its value', () => {
		const string = fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', 'a') });
		const nested = fc.letrec((tie) => ({
			value: fc.oneof({ maxDepth: 5 }, string, tie('array'), tie('object')),
			array: fc.array(tie('value'), { maxLength: 3 }),
			object: fc.dictionary(string, tie('value'), { maxKeys: 3, noNullPrototype: true }),
		})).value;
		fc.assert(
			fc.property(nested, fc.constantFrom(undefined, 1, '\r\n\t'), (value, space) => {
				const text = JSON.stringify(value, undefined, space);
				const depth = depthOf(value);
				assert.equal(textDepthExceeds(text, depth), false);
				if (depth > 0) assert.equal(textDepthExceeds(text, depth - 1), true);
			}),
			{ numRuns: 1000 },
		);
	});

	test('the depth of what is no JSON is asked without harm', () => {
		const text = fc.string({ unit: fc.constantFrom('"', '\\', '[', ']', '{', '}', ':', ',', 'a', '\ud800') });
		fc.assert(fc.property(text, (any) => void textDepthExceeds(any, 2)));
	});
});
