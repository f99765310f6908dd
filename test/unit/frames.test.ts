import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FrameDemultiplexer } from '../../src/docker/frames.ts';
import { STDIO_LIMITS } from '../../src/limits.ts';

const FRAME_BYTES_MAX = STDIO_LIMITS.frameBytesMax;

function header(type: number, lengthBytes: number, padding: [number, number, number] = [0, 0, 0]): Buffer {
	const bytes = Buffer.from([type, ...padding, 0, 0, 0, 0]);
	bytes.writeUInt32BE(lengthBytes, 4);
	return bytes;
}

function frame(type: number, payload: string | Buffer): Buffer {
	const bytes = Buffer.from(payload);
	return Buffer.concat([header(type, bytes.length), bytes]);
}

interface Seen {
	readonly stdout: Buffer[];
	readonly stderr: Buffer[];
	readonly invalid: string[];
}

function collect(frameBytesMax = FRAME_BYTES_MAX): { demultiplexer: FrameDemultiplexer; seen: Seen } {
	const seen: Seen = { stdout: [], stderr: [], invalid: [] };
	const sinks = {
		stdout: (chunk: Buffer) => void seen.stdout.push(chunk),
		stderr: (chunk: Buffer) => void seen.stderr.push(chunk),
		invalid: (reason: string) => void seen.invalid.push(reason),
	};
	return { demultiplexer: new FrameDemultiplexer(sinks, frameBytesMax), seen };
}

function texts(chunks: readonly Buffer[]): string[] {
	return chunks.map((chunk) => chunk.toString('latin1'));
}

describe('FrameDemultiplexer', () => {
	test('tells stdout from stderr, in order', () => {
		const { demultiplexer, seen } = collect();
		demultiplexer.push(Buffer.concat([frame(1, 'a'), frame(2, 'E'), frame(1, 'bc'), frame(2, 'F')]));
		assert.deepEqual(texts(seen.stdout), ['a', 'bc']);
		assert.deepEqual(texts(seen.stderr), ['E', 'F']);
		assert.deepEqual(seen.invalid, []);
	});

	test('passes the parts of a payload on as they arrive', () => {
		const { demultiplexer, seen } = collect();
		const bytes = frame(1, 'hello');
		demultiplexer.push(bytes.subarray(0, 3));
		demultiplexer.push(bytes.subarray(3, 10));
		assert.deepEqual(texts(seen.stdout), ['he']);
		demultiplexer.push(bytes.subarray(10));
		assert.deepEqual(texts(seen.stdout), ['he', 'llo']);
	});

	test('copies no payload', () => {
		const { demultiplexer, seen } = collect();
		const bytes = frame(1, 'hello');
		demultiplexer.push(bytes);
		bytes.write('J', 8);
		assert.deepEqual(texts(seen.stdout), ['Jello']);
	});

	test('a header that is cut is its own copy, so the chunk it came in may be used again', () => {
		const { demultiplexer, seen } = collect();
		const reused = Buffer.from(header(1, 2).subarray(0, 7));
		demultiplexer.push(reused);
		reused.fill(0xff);
		demultiplexer.push(Buffer.from([2]));
		demultiplexer.push(Buffer.from('ok'));
		assert.deepEqual(texts(seen.stdout), ['ok']);
		assert.deepEqual(seen.invalid, []);
	});

	test('empty frames and empty chunks are nothing', () => {
		const { demultiplexer, seen } = collect();
		demultiplexer.push(Buffer.alloc(0));
		demultiplexer.push(Buffer.concat([frame(1, ''), frame(2, ''), frame(1, 'x'), frame(1, '')]));
		demultiplexer.push(frame(1, 'y'));
		assert.deepEqual(texts(seen.stdout), ['x', 'y']);
		assert.deepEqual(texts(seen.stderr), []);
	});

	test('takes a frame as long as one may be', () => {
		const { demultiplexer, seen } = collect();
		demultiplexer.push(frame(1, Buffer.alloc(FRAME_BYTES_MAX, 7)));
		assert.equal(seen.stdout[0]?.length, FRAME_BYTES_MAX);
		assert.deepEqual(seen.invalid, []);
	});

	const invalidHeaders: [name: string, header: Buffer, reason: string][] = [
		['type 0, an echo of stdin', header(0, 1), 'a frame has the unknown type 0'],
		['type 3, an error of the engine', header(3, 1), 'the engine reported an error in the stream'],
		['type 7', header(7, 1), 'a frame has the unknown type 7'],
		['type 255', header(255, 1), 'a frame has the unknown type 255'],
		['non-zero padding, first byte', header(1, 1, [1, 0, 0]), 'the padding of a frame is not zero'],
		['non-zero padding, second byte', header(1, 1, [0, 1, 0]), 'the padding of a frame is not zero'],
		['non-zero padding, third byte', header(2, 1, [0, 0, 255]), 'the padding of a frame is not zero'],
		['4 GiB', header(1, 0xffffffff), 'a frame of 4294967295 bytes is longer than 1048576'],
		['one byte too long', header(2, FRAME_BYTES_MAX + 1), 'a frame of 1048577 bytes is longer than 1048576'],
		['the text of a container with a TTY', Buffer.from('Hello, w'), 'a frame has the unknown type 72'],
	];
	for (const [name, bytes, reason] of invalidHeaders) {
		for (const step of [1, 5, 1000]) {
			test(`fails closed: ${name}, in chunks of ${step}`, () => {
				const { demultiplexer, seen } = collect();
				const stream = Buffer.concat([frame(1, 'good'), bytes, Buffer.from('x'), frame(1, 'late'), frame(3, '')]);
				for (let at = 0; at < stream.length; at += step) demultiplexer.push(stream.subarray(at, at + step));
				assert.equal(texts(seen.stdout).join(''), 'good');
				assert.deepEqual(seen.stderr, []);
				assert.deepEqual(seen.invalid, [reason]);
			});
		}
	}

	test('200,000 frames of one byte in one chunk: the stack does not grow', () => {
		const depths: number[] = [];
		let frames = 0;
		const limit = Error.stackTraceLimit;
		Error.stackTraceLimit = Number.POSITIVE_INFINITY;
		try {
			const demultiplexer = new FrameDemultiplexer(
				{
					stdout: () => {
						frames++;
						if (frames % 100_000 === 1 || frames === 200_000) depths.push(String(new Error().stack).split('\n').length);
					},
					stderr: () => assert.fail(),
					invalid: (reason) => assert.fail(reason),
				},
				FRAME_BYTES_MAX,
			);
			demultiplexer.push(Buffer.concat(new Array<Buffer>(200_000).fill(frame(1, 'x'))));
		} finally {
			Error.stackTraceLimit = limit;
		}
		assert.equal(frames, 200_000);
		assert.equal(depths.length, 3);
		assert.equal(new Set(depths).size, 1);
	});

	test('time grows with the frames, not with their square', () => {
		const one = frame(1, 'x');
		const elapsedMs = (frames: number) => {
			const chunk = Buffer.concat(new Array<Buffer>(frames).fill(one));
			let best = Number.POSITIVE_INFINITY;
			for (let run = 0; run < 5; run++) {
				let bytes = 0;
				const sinks = {
					stdout: (payload: Buffer) => {
						bytes += payload.length;
					},
					stderr: () => assert.fail(),
					invalid: (reason: string) => assert.fail(reason),
				};
				const before = performance.now();
				new FrameDemultiplexer(sinks, FRAME_BYTES_MAX).push(chunk);
				best = Math.min(best, performance.now() - before);
				assert.equal(bytes, frames);
			}
			return best;
		};
		elapsedMs(50_000);
		// The square would be 256 times as long.
		const ratio = elapsedMs(400_000) / elapsedMs(25_000);
		assert.ok(ratio < 80, `16 times the frames took ${ratio.toFixed(1)} times as long`);
	});
});
