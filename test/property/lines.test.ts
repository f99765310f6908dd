import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { LineSplitter } from '../../src/mcp/lines.ts';

const FUZZ_MS = 2_000;
const LINE_BYTES_MAX = 12;

function split(chunks: readonly Uint8Array[]) {
	const lines: string[] = [];
	let tooLong = 0;
	const splitter = new LineSplitter(
		{
			line(line) {
				assert.equal(tooLong, 0, 'a line after the end');
				lines.push(line.toString('latin1'));
			},
			tooLong: () => void tooLong++,
		},
		LINE_BYTES_MAX,
	);
	for (const chunk of chunks) {
		splitter.push(Buffer.from(chunk));
		assert.ok(splitter.heldBytes <= LINE_BYTES_MAX);
	}
	return { lines, tooLong, heldBytes: splitter.heldBytes };
}

/** The same by the plainest means. */
function expectedOf(text: string) {
	const pieces = text.split('\n');
	const over = pieces.findIndex((piece) => piece.length > LINE_BYTES_MAX);
	const complete = over === -1 ? pieces.slice(0, -1) : pieces.slice(0, over);
	return {
		lines: complete.map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line)).filter((line) => line !== ''),
		tooLong: over === -1 ? 0 : 1,
		heldBytes: over === -1 ? (pieces.at(-1)?.length ?? 0) : 0,
	};
}

const byte = fc.oneof(fc.constantFrom(10, 10, 13, 0, 0xef, 0xbb, 0xbf, 0x80), fc.nat({ max: 255 }));

describe('lines, for any input', () => {
	test('the lines are those of the text, whatever the chunks; held bytes stay within the bound', () => {
		const chunk = fc.array(byte, { maxLength: 20 }).map((bytes) => Uint8Array.from(bytes));
		fc.assert(
			fc.property(fc.array(chunk, { maxLength: 30 }), (chunks) => {
				assert.deepEqual(split(chunks), expectedOf(Buffer.concat(chunks).toString('latin1')));
			}),
			{ numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS },
		);
	});

	test('one byte at a time gives what one chunk gives', () => {
		fc.assert(
			fc.property(fc.array(byte, { maxLength: 200 }), (bytes) => {
				assert.deepEqual(split(bytes.map((one) => Uint8Array.of(one))), split([Uint8Array.from(bytes)]));
			}),
			{ numRuns: 300 },
		);
	});

	test('texts of any characters arrive as they are, cut anywhere', () => {
		const text = fc.string({ unit: 'binary', maxLength: 3 }).filter((line) => !/[\r\n]/.test(line) && line !== '');
		fc.assert(
			fc.property(fc.array(text), fc.nat(), (lines, place) => {
				const bytes = Buffer.from(lines.map((line) => `${line}\r\n`).join(''));
				const at = place % (bytes.length + 1);
				const seen: string[] = [];
				const splitter = new LineSplitter(
					{ line: (line) => void seen.push(line.toString()), tooLong: assert.fail },
					20,
				);
				splitter.push(bytes.subarray(0, at));
				splitter.push(bytes.subarray(at));
				assert.deepEqual(seen, lines);
			}),
			{ numRuns: 500 },
		);
	});
});
