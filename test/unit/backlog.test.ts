import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { test } from 'node:test';
import { Backlog } from '../../src/http/backlog.ts';
import { SSE_LIMITS } from '../../src/limits.ts';

const HIGH_WATER_MARK = 16;

/** As much of a response as a Backlog looks at. */
class Waiting extends EventEmitter {
	readonly writableHighWaterMark = HIGH_WATER_MARK;
	writableLength = 0;
	destroyed = false;

	destroy(): void {
		this.destroyed = true;
		this.emit('close');
	}
}

class Bench {
	readonly backlog = new Backlog(1000);

	/** Leaves so much for a client to take. */
	write(waiting: Waiting, bytes: number): Waiting {
		waiting.writableLength += bytes;
		this.backlog.note(waiting as unknown as ServerResponse);
		return waiting;
	}

	get isCrowded(): boolean {
		return this.backlog.streamBytesMax === SSE_LIMITS.crowdedBytesMax;
	}
}

test('streams may have little as soon as it is half full, and much again when somebody has read', () => {
	const bench = new Bench();
	const one = bench.write(new Waiting(), 400);
	assert.equal(bench.isCrowded, false);
	const other = bench.write(new Waiting(), 101);
	assert.equal(bench.isCrowded, true);
	other.writableLength = 0;
	other.emit('drain');
	assert.equal(bench.isCrowded, false);
	bench.write(one, 200);
	assert.equal(bench.isCrowded, true);
	one.destroy();
	assert.equal(bench.isCrowded, false);
});

test('who has the most to take is cut when it is full, and as many as it takes', () => {
	const bench = new Bench();
	const waiting = [300, 500, 100].map((bytes) => bench.write(new Waiting(), bytes));
	const late = bench.write(new Waiting(), 150);
	assert.deepEqual(
		[...waiting, late].map(({ destroyed }) => destroyed),
		[false, true, false, false],
	);
	bench.write(late, 900);
	assert.deepEqual(
		[...waiting, late].map(({ destroyed }) => destroyed),
		[false, true, false, true],
	);
});

test('what was read meanwhile counts for nobody', () => {
	const bench = new Bench();
	const reader = bench.write(new Waiting(), 900);
	reader.writableLength = 300;
	const other = bench.write(new Waiting(), 600);
	assert.deepEqual([reader.destroyed, other.destroyed], [false, false]);
});

test('a response is listened to once, however often it is written to', () => {
	const bench = new Bench();
	const waiting = new Waiting();
	for (let round = 0; round < 20; round++) {
		bench.write(waiting, 100);
		waiting.writableLength = 0;
		waiting.emit('drain');
	}
	assert.deepEqual([waiting.listenerCount('drain'), waiting.listenerCount('close')], [1, 1]);
	bench.write(waiting, HIGH_WATER_MARK);
	assert.equal(bench.isCrowded, false);
});
