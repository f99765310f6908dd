import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { recordText } from '../../src/audit/record.ts';
import { shapeOf } from '../../src/audit/shape.ts';
import { AUDIT_LIMITS } from '../../src/limits.ts';

test('a record has the fields of its allowlist and nothing else', () => {
	const fields = { server: 'alpha', authorization: 'Bearer secret', result: { text: 'secret' } };
	assert.deepEqual(JSON.parse(recordText('call', fields, 0)), {
		time: '1970-01-01T00:00:00.000Z',
		event: 'call',
		server: 'alpha',
	});
});

test('a record is one line of ASCII that says what was said, whatever a name holds', () => {
	fc.assert(
		fc.property(fc.array(fc.integer({ min: 0, max: 0xffff })), (units) => {
			const tool = String.fromCharCode(...units);
			const text = recordText('call', { tool }, 0);
			assert.match(text, /^[\x20-\x7e]+$/);
			assert.equal(JSON.parse(text).tool, tool);
		}),
	);
	assert.equal(JSON.parse(recordText('call', { tool: '\u202e\u001b[2J\ud800' }, 0)).tool, '\u202e\u001b[2J\ud800');
});

test('a shape holds no value, and no more than its bound, whatever comes', () => {
	const names = AUDIT_LIMITS.shapeMembersMax * (AUDIT_LIMITS.nameCharsMax + 20);
	fc.assert(
		fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
			// Members are told by name; so names are what no value is.
			const marked = JSON.parse(JSON.stringify(value), (_, item) => (typeof item === 'string' ? 'CANARY' : item));
			const text = JSON.stringify(shapeOf({ marked }));
			assert.ok(!text.includes('CANARY'));
			assert.ok(text.length <= names);
		}),
	);
	const wide = Object.fromEntries(Array.from({ length: 10_000 }, (_, nth) => [`n${nth}`.padEnd(1000, 'x'), nth]));
	const shape = shapeOf(wide);
	assert.equal(Object.keys(shape).length, AUDIT_LIMITS.shapeMembersMax + 1);
	assert.equal(Reflect.get(Object(shape), '...'), `${10_000 - AUDIT_LIMITS.shapeMembersMax} more`);
	assert.ok(JSON.stringify(shape).length < 2 * names);
	let deep: unknown = 'CANARY';
	for (let depth = 0; depth < 5000; depth++) deep = { a: deep };
	assert.deepEqual(JSON.parse(JSON.stringify(shapeOf(deep))), { a: { a: { a: { a: 'object(1)' } } } });
	assert.deepEqual(JSON.parse(JSON.stringify(shapeOf({ a: [1, 'b', null], b: [], c: true, d: 1.5 }))), {
		a: 'array(3) of null|number|string',
		b: 'array(0)',
		c: 'boolean',
		d: 'number',
	});
});
