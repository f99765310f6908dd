import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { FrameDemultiplexer } from '../../src/docker/frames.ts';
import { classify, textDepthExceeds } from '../../src/mcp/jsonrpc.ts';
import { LineSplitter } from '../../src/mcp/lines.ts';

const FUZZ_MS = 2_000;

interface Frame {
	readonly type: number;
	readonly payload: Uint8Array;
}

function encode(frames: readonly Frame[]): Buffer {
	return Buffer.concat(
		frames.map(({ type, payload }) => {
			const bytes = Buffer.alloc(8 + payload.length);
			bytes.writeUInt8(type, 0);
			bytes.writeUInt32BE(payload.length, 4);
			bytes.set(payload, 8);
			return bytes;
		}),
	);
}

/** Cuts at the given places, whatever their order and number. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
	const ends = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
	return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

/** What arrives, neighbours of one stream joined: how a stream was cut must not show. */
function demultiplex(chunks: readonly Buffer[], frameBytesMax: number) {
	const events: { stream: string; bytes: Buffer }[] = [];
	const invalid: string[] = [];
	const take = (stream: string) => (bytes: Buffer) => {
		assert.ok(bytes.length > 0, 'an empty chunk');
		assert.deepEqual(invalid, [], 'bytes after the end');
		const last = events.at(-1);
		if (last?.stream === stream) last.bytes = Buffer.concat([last.bytes, bytes]);
		else events.push({ stream, bytes });
	};
	const demultiplexer = new FrameDemultiplexer(
		{ stdout: take('stdout'), stderr: take('stderr'), invalid: (reason) => void invalid.push(reason) },
		frameBytesMax,
	);
	for (const chunk of chunks) demultiplexer.push(chunk);
	return { events, invalid };
}

const places = fc.array(fc.nat({ max: 4096 }), { maxLength: 40 });
const validFrame = fc.record({ type: fc.constantFrom(1, 2), payload: fc.uint8Array({ maxLength: 40 }) });
const anyFrame = fc.record({
	type: fc.oneof({ weight: 8, arbitrary: fc.constantFrom(1, 2) }, { weight: 1, arbitrary: fc.nat({ max: 255 }) }),
	payload: fc.uint8Array({ maxLength: 40 }),
});

describe('frames, for any input', () => {
	test('any split of valid frames gives the same bytes in the same order', () => {
		fc.assert(
			fc.property(fc.array(validFrame, { maxLength: 30 }), places, (frames, at) => {
				const expected: { stream: string; bytes: Buffer }[] = [];
				for (const { type, payload } of frames) {
					const stream = type === 1 ? 'stdout' : 'stderr';
					const last = expected.at(-1);
					if (payload.length === 0) continue;
					if (last?.stream === stream) last.bytes = Buffer.concat([last.bytes, payload]);
					else expected.push({ stream, bytes: Buffer.from(payload) });
				}
				const { events, invalid } = demultiplex(cut(encode(frames), at), 40);
				assert.deepEqual(events, expected);
				assert.deepEqual(invalid, []);
			}),
			{ numRuns: 500 },
		);
	});

	test('a stream fails at the same byte, however it is split', () => {
		fc.assert(
			fc.property(fc.array(anyFrame, { maxLength: 30 }), places, (frames, at) => {
				const bytes = encode(frames);
				const whole = demultiplex([bytes], 30);
				assert.deepEqual(demultiplex(cut(bytes, at), 30), whole);
				const firstBad = frames.findIndex(({ type, payload }) => (type !== 1 && type !== 2) || payload.length > 30);
				assert.equal(whole.invalid.length, firstBad === -1 ? 0 : 1);
				const good = firstBad === -1 ? frames : frames.slice(0, firstBad);
				assert.deepEqual(whole.events, demultiplex([encode(good)], 30).events);
			}),
			{ numRuns: 500 },
		);
	});

	test('random bytes through frames, lines and parser: nothing throws, held bytes stay within the bound', () => {
		const lineBytesMax = 64;
		const message = fc.constantFrom(
			'{"jsonrpc":"2.0","id":1,"result":{}}\n',
			'{"jsonrpc":"2.0","method":"x","params":{"a":[[[1]]]}}\r\n',
			'\uFEFF{"jsonrpc":"2.0","id":1,"result":{}}\n',
			'\u0000\n\n\r\n"\\ud800"\n[[[[[[{"é€😀":',
		);
		const piece = fc.oneof(
			fc.uint8Array({ maxLength: 80 }),
			anyFrame.map((one) => encode([one])),
			message.map((text) => encode([{ type: 1, payload: Buffer.from(text) }])),
		);
		fc.assert(
			fc.property(fc.array(piece, { maxLength: 40 }), places, (pieces, at) => {
				let over = 0;
				const splitter: LineSplitter = new LineSplitter(
					{
						line(line) {
							assert.ok(line.length > 0 && line.length <= lineBytesMax && !line.includes(10));
							const text = line.toString('utf8');
							textDepthExceeds(text, 3);
							let value: unknown;
							try {
								value = JSON.parse(text);
							} catch (error) {
								assert.ok(error instanceof SyntaxError);
								return;
							}
							classify(value);
						},
						tooLong: () => void over++,
					},
					lineBytesMax,
				);
				const invalid: string[] = [];
				const demultiplexer = new FrameDemultiplexer(
					{
						stdout: (chunk) => splitter.push(chunk),
						stderr: () => undefined,
						invalid: (reason) => void invalid.push(reason),
					},
					100,
				);
				for (const chunk of cut(Buffer.concat(pieces), at)) {
					demultiplexer.push(chunk);
					assert.ok(splitter.heldBytes <= lineBytesMax);
				}
				assert.ok(over <= 1 && invalid.length <= 1);
			}),
			{ numRuns: 1_000_000, interruptAfterTimeLimit: FUZZ_MS },
		);
	});
});
