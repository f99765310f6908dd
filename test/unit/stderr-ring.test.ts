import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StderrRing } from '../../src/docker/stderr-ring.ts';
import { SECRET_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';

test('the last bytes are kept, the first are not', () => {
	const ring = new StderrRing(1000);
	for (let line = 0; line < 500; line++) ring.push(Buffer.from(`line ${line}\n`));
	const tail = ring.tail(10_000);
	assert.ok(tail.endsWith('line 499'));
	assert.ok(!tail.includes('line 300'));
	assert.ok(tail.length <= 1000, `${tail.length}`);
});

test('of a chunk that is larger than the ring the end is kept', () => {
	const ring = new StderrRing(10);
	ring.push(Buffer.from(`${'x'.repeat(5000)}0123456789`));
	assert.equal(ring.tail(), '0123456789');
	ring.push(Buffer.from('abc'));
	assert.equal(ring.tail(), '3456789abc');
});

test('any split of any text leaves the same tail', () => {
	const text = Array.from({ length: 300 }, (_, i) => String.fromCharCode(33 + (i % 90))).join('');
	for (let size = 1; size < 64; size++) {
		const ring = new StderrRing(50);
		for (let at = 0; at < text.length; at += size) ring.push(Buffer.from(text.slice(at, at + size)));
		assert.equal(ring.tail(), text.slice(-50));
	}
});

test('the tail is bounded in characters too', () => {
	const ring = new StderrRing();
	ring.push(Buffer.from('x'.repeat(50_000)));
	assert.equal(ring.tail().length, 2048);
});

test('nothing is an empty tail', () => {
	assert.equal(new StderrRing().tail(), '');
});

test('control, zero-width and bidirectional characters are made visible; lines and tabs stay', () => {
	const ring = new StderrRing();
	ring.push(Buffer.from('\u001b[2J a\rb\u0000c\u0085d\u200be\u202ef\u2066g\nline\ttab'));
	assert.equal(ring.tail(), '\ufffd[2J a\ufffdb\ufffdc\ufffdd\ufffde\ufffdf\ufffdg\nline\ttab');
});

test('a character in two chunks is one; bytes that are no UTF-8 are told as such', () => {
	const ring = new StderrRing();
	const ship = Buffer.from('🚢');
	ring.push(ship.subarray(0, 2));
	ring.push(ship.subarray(2));
	ring.push(Buffer.from([0x20, 0xff, 0xfe]));
	assert.equal(ring.tail(), '🚢 \ufffd\ufffd');
});

test('a tail is well-formed text wherever it begins', () => {
	const ring = new StderrRing();
	ring.push(Buffer.from('🚢'.repeat(100)));
	for (const chars of [1, 2, 3, 4, 5]) assert.ok(ring.tail(chars).isWellFormed(), `${chars}`);
});

test('what is pushed is copied: the socket’s buffer may be used again', () => {
	const ring = new StderrRing();
	const buffer = Buffer.from('before');
	ring.push(buffer);
	buffer.write('after!');
	assert.equal(ring.tail(), 'before');
});

test('a million tiny chunks cost no more than their number', () => {
	const ring = new StderrRing();
	const byte = Buffer.from('x');
	for (let i = 0; i < 1_000_000; i++) ring.push(byte);
	assert.equal(ring.tail().length, 2048);
});

test('of a server with secrets the end is shown, and a value that the beginning of that cuts is not', () => {
	const value = Buffer.from('canary-0123456789');
	const ring = new StderrRing(STDIO_LIMITS.stderrRingBytesMax, [value]);
	const after = SECRET_LIMITS.redactedWindowBytesMax - 9;
	ring.push(Buffer.from(`before ${value}${'x'.repeat(after)}`));
	// Nine bytes of it are in the window.
	assert.equal(ring.tail(STDIO_LIMITS.stderrRingBytesMax), `[redacted]${'x'.repeat(after)}`);
});

test('what is known of a value: each of its lines, as JSON writes it, its beginning at the end, its middle alone', () => {
	const shown = (value: string, said: string, ringBytes?: number): string => {
		const ring = new StderrRing(ringBytes, [Buffer.from(value)]);
		ring.push(Buffer.from(said));
		return ring.tail();
	};
	const lines = 'first line of it\r\n\tsecond line of it\n\nend';
	assert.equal(shown(lines, `a ${lines} b`), 'a [redacted] b');
	assert.equal(
		shown(lines, '1: first line of it\n2: second line of it\n3: end'),
		'1: [redacted]\n2: [redacted]\n3: end',
	);
	assert.equal(shown('a "quoted" value', JSON.stringify({ is: 'a "quoted" value' })), '{"is":"[redacted]"}');
	assert.equal(shown('0123456789abcdef', 'it is 01234567'), 'it is [redacted]');
	assert.equal(shown('0123456789abcdef', 'it is 0123456'), 'it is 0123456', 'seven bytes are no secret');
	assert.equal(shown('0123456789abcdef', '0123456789abcdef', 12), '[redacted]');
	assert.equal(shown(`0123456789abcdef`.repeat(2), '3456789abcdef0'), '3456789abcdef0', 'nothing stood before it');
	assert.equal(shown(`0123456789abcdef`.repeat(2), '23456789abcdef0123', 14), '[redacted]', 'only its middle is left');
	assert.equal(shown('short', 'short'), 'short');
});

test('lines are told once, when they have ended, each with its time', (t) => {
	t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
	const ring = new StderrRing();
	ring.push(Buffer.from('one\ntw'));
	const first = ring.lines(0, false);
	assert.deepEqual(first, { lines: [{ atMs: 1_000_000, place: 0, text: 'one' }], next: 4 });
	t.mock.timers.tick(STDIO_LIMITS.stderrMarkMs);
	ring.push(Buffer.from('o\n\n\u001b[2Jthree\r\nfour'));
	const second = ring.lines(first.next, false);
	assert.deepEqual(
		second.lines.map(({ atMs, text }) => [atMs, text]),
		[
			[1_000_000, 'two'],
			[1_000_000 + STDIO_LIMITS.stderrMarkMs, '\ufffd[2Jthree\ufffd'],
		],
	);
	assert.deepEqual(ring.lines(second.next, false).lines, []);
	assert.deepEqual(
		ring.lines(second.next, true).lines.map(({ text }) => text),
		['four'],
	);
});

test('a line that does not end is told in parts, and of what the ring has lost there is the rest', () => {
	const ring = new StderrRing(STDIO_LIMITS.stderrLineBytesMax * 2);
	ring.push(Buffer.alloc(STDIO_LIMITS.stderrLineBytesMax, 'x'));
	assert.deepEqual(ring.lines(0, false), { lines: [], next: 0 });
	ring.push(Buffer.from('y'));
	const { lines, next } = ring.lines(0, false);
	assert.deepEqual([lines.length, lines[0]?.text.length, next], [1, next, STDIO_LIMITS.stderrLineBytesMax + 1]);
	ring.push(Buffer.from(`${'z'.repeat(STDIO_LIMITS.stderrLineBytesMax * 3)}\nlast\n`));
	const rest = ring.lines(next, false).lines.map(({ text }) => text);
	assert.equal(rest.length, 2);
	assert.match(rest[0] ?? '', /^z+$/);
	assert.equal(rest[1], 'last');
});

test('no line has a part of a value, in whatever pieces it comes and whenever it is read', () => {
	const value = 'canary-of-one-line\nand-of-another';
	const said = `before ${value} after\n`;
	for (let at = 1; at < said.length; at++) {
		const ring = new StderrRing(1000, [Buffer.from(value)]);
		ring.push(Buffer.from(said.slice(0, at)));
		const first = ring.lines(0, false);
		ring.push(Buffer.from(said.slice(at)));
		const told = [...first.lines, ...ring.lines(first.next, true).lines].map(({ text }) => text).join('|');
		assert.match(told, /^before \[redacted\].* after$/, `${at}`);
		assert.doesNotMatch(told, /canary|another|of-one/, `${at}`);
	}
});
