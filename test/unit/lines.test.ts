import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { LineSplitter } from '../../src/mcp/lines.ts';

function collect(lineBytesMax = 1000) {
	const lines: Buffer[] = [];
	let tooLong = 0;
	const splitter = new LineSplitter(
		{
			line: (line) => void lines.push(line),
			tooLong: () => void tooLong++,
		},
		lineBytesMax,
	);
	return { splitter, lines, texts: () => lines.map(String), tooLong: () => tooLong };
}

describe('LineSplitter', () => {
	const table: [name: string, chunks: (string | Buffer)[], lines: string[], heldBytes: number][] = [
		['one line', ['a\n'], ['a'], 0],
		['lines in one chunk, and a tail', ['a\nbc\nd'], ['a', 'bc'], 1],
		['the tail is not emitted', ['abc'], [], 3],
		['a line in pieces', ['a', 'b', 'c\n'], ['abc'], 0],
		['a newline alone in its chunk', ['abc', '\n'], ['abc'], 0],
		['a line that ends in one chunk and the next that begins there', ['ab', 'c\nd', 'e\n'], ['abc', 'de'], 0],
		['CRLF', ['a\r\nb\r\n'], ['a', 'b'], 0],
		['CRLF cut in two', ['a\r', '\nb\r', '\n'], ['a', 'b'], 0],
		['one CR only is taken away', ['a\r\r\n'], ['a\r'], 0],
		['a CR within a line stays', ['a\rb\n'], ['a\rb'], 0],
		['empty lines are not emitted', ['\n\n\r\n', '\r', '\n', '\na\n\n'], ['a'], 0],
		['two CRs are a line', ['\r\r\n'], ['\r'], 0],
		['empty chunks', ['', 'a', '', '\n', ''], ['a'], 0],
		['NUL and other controls', ['a\0b\x0b\x0c\x1b\n'], ['a\0b\x0b\x0c\x1b'], 0],
		['line breaks of Unicode are none', ['a\u2028b\u0085c\n'], ['a\u2028b\u0085c'], 0],
		['a byte order mark stays', ['\uFEFFa\n'], ['\uFEFFa'], 0],
	];
	for (const [name, chunks, expected, heldBytes] of table) {
		test(name, () => {
			const { splitter, texts, tooLong } = collect();
			for (const chunk of chunks) splitter.push(Buffer.from(chunk));
			assert.deepEqual(texts(), expected);
			assert.equal(splitter.heldBytes, heldBytes);
			assert.equal(tooLong(), 0);
		});
	}

	test('UTF-8 that is cut within a character arrives whole', () => {
		const text = 'é€😀\u{10FFFF} "\\ud800"';
		const bytes = Buffer.from(`${text}\n`);
		for (let at = 0; at <= bytes.length; at++) {
			const { splitter, texts } = collect();
			splitter.push(bytes.subarray(0, at));
			splitter.push(bytes.subarray(at));
			assert.deepEqual(texts(), [text]);
		}
	});

	test('a line within one chunk is not copied', () => {
		const { splitter, lines } = collect();
		const chunk = Buffer.from('abc\ndef\n');
		splitter.push(chunk);
		assert.equal(lines[1]?.buffer, chunk.buffer);
		assert.equal(lines[1]?.byteOffset, chunk.byteOffset + 4);
	});

	test('lines are valid to keep', () => {
		const { splitter, texts } = collect();
		for (const chunk of ['on', 'e\nt', 'wo\nth', 're', 'e\n']) splitter.push(Buffer.from(chunk));
		assert.deepEqual(texts(), ['one', 'two', 'three']);
	});

	test('what is held does not depend on the chunk it came in', () => {
		const { splitter, texts } = collect();
		const reused = Buffer.from('abc');
		splitter.push(reused);
		reused.fill('x');
		splitter.push(Buffer.from('d\n'));
		assert.deepEqual(texts(), ['abcd']);
	});

	const bounds: [name: string, chunks: string[], lines: string[]][] = [
		['in one chunk', ['12345678\n123456789\nx\n'], ['12345678']],
		['as a tail', ['12345678\n123456789'], ['12345678']],
		['in pieces', ['12345678\n1234', '5678', '9'], ['12345678']],
		['ended by a piece', ['12345678\n1234', '56789\nx\n'], ['12345678']],
		['by its CR', ['12345678\n12345678\r\nx\n'], ['12345678']],
		['by its CR, in pieces', ['12345678\n', '12345678', '\r', '\n', 'x\n'], ['12345678']],
	];
	for (const [name, chunks, expected] of bounds) {
		test(`a line that is too long, ${name}: told once, nothing follows, nothing is held`, () => {
			const { splitter, texts, tooLong } = collect(8);
			for (const chunk of chunks) {
				splitter.push(Buffer.from(chunk));
				assert.ok(splitter.heldBytes <= 8);
			}
			assert.equal(tooLong(), 1);
			splitter.push(Buffer.from('late\n1234567890\n'));
			assert.deepEqual(texts(), expected);
			assert.equal(tooLong(), 1);
			assert.equal(splitter.heldBytes, 0);
		});
	}

	test('as many bytes as a line may have are held, and no line is lost by it', () => {
		const { splitter, texts, tooLong } = collect(8);
		splitter.push(Buffer.from('1234567'));
		splitter.push(Buffer.from('8'));
		assert.equal(splitter.heldBytes, 8);
		splitter.push(Buffer.from('\n'));
		assert.deepEqual(texts(), ['12345678']);
		assert.equal(tooLong(), 0);
	});

	test('close() within the sink ends it in the middle of a chunk', () => {
		const lines: string[] = [];
		const splitter: LineSplitter = new LineSplitter(
			{
				line(line) {
					lines.push(String(line));
					if (lines.length === 2) splitter.close();
				},
				tooLong: () => assert.fail(),
			},
			8,
		);
		splitter.push(Buffer.from('a'));
		splitter.push(Buffer.from('\nb\nc\nd'));
		assert.deepEqual(lines, ['a', 'b']);
		assert.equal(splitter.heldBytes, 0);
		splitter.push(Buffer.from('\ne\n123456789'));
		assert.deepEqual(lines, ['a', 'b']);
		assert.equal(splitter.heldBytes, 0);
	});

	test('close() releases what is held and may be called again', () => {
		const { splitter, texts } = collect();
		splitter.push(Buffer.from('abc'));
		splitter.close();
		splitter.close();
		assert.equal(splitter.heldBytes, 0);
		splitter.push(Buffer.from('\nd\n'));
		assert.deepEqual(texts(), []);
	});

	/** A server that writes one byte at a time must not cost a Buffer object for every one of them. */
	test('a line of single bytes is held in one buffer no larger than a line may be', () => {
		const lineBytes = 400_000;
		const { splitter, lines } = collect(lineBytes);
		const chunk = Buffer.alloc(lineBytes, 'x');
		for (let at = 0; at < lineBytes; at++) splitter.push(chunk.subarray(at, at + 1));
		assert.equal(splitter.heldBytes, lineBytes);
		splitter.push(Buffer.from('\n'));
		assert.equal(lines[0]?.compare(chunk), 0);
		assert.ok((lines[0]?.buffer.byteLength ?? 0) <= lineBytes, 'a buffer larger than a line may be');
	});

	test('time grows with the bytes, not with their square', () => {
		const elapsedMs = (pieces: number) => {
			const piece = Buffer.alloc(16, 'x');
			let best = Number.POSITIVE_INFINITY;
			for (let run = 0; run < 5; run++) {
				const { splitter, lines } = collect(64 * pieces);
				const before = performance.now();
				for (let index = 0; index < pieces; index++) splitter.push(piece);
				splitter.push(Buffer.from('\n'));
				best = Math.min(best, performance.now() - before);
				assert.equal(lines[0]?.length, 16 * pieces);
			}
			return best;
		};
		elapsedMs(25_000);
		// The square would be 256 times as long.
		const ratio = elapsedMs(400_000) / elapsedMs(25_000);
		assert.ok(ratio < 80, `16 times the pieces took ${ratio.toFixed(1)} times as long`);
	});
});
