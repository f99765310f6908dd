import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SlipwayError } from '../../src/errors.ts';
import { StartQueue } from '../../src/launcher/start-queue.ts';

const NEVER = new AbortController().signal;

test('never more at a time than may be, all in their turn', async () => {
	const queue = new StartQueue({ concurrentMax: 3, queuedMax: 100 });
	let running = 0;
	let most = 0;
	const order: number[] = [];
	await Promise.all(
		Array.from({ length: 50 }, (_, number) =>
			queue.run(async () => {
				running += 1;
				most = Math.max(most, running);
				order.push(number);
				for (let turn = 0; turn < number % 4; turn++) await nextTurn();
				running -= 1;
			}, NEVER),
		),
	);
	assert.equal(most, 3);
	assert.deepEqual(
		order,
		[...order].sort((a, b) => a - b),
	);
	assert.equal(queue.length, 0);
});

test('a start that fails gives its turn back, and its error to its caller', async () => {
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 1 });
	const failure = new Error('no');
	await assert.rejects(
		queue.run(() => Promise.reject(failure), NEVER),
		(error) => error === failure,
	);
	await assert.rejects(
		queue.run(() => {
			throw failure;
		}, NEVER),
		(error) => error === failure,
	);
	assert.equal(await queue.run(async () => 'next', NEVER), 'next');
});

test('a full queue refuses at once, and takes again when there is room', async () => {
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 2 });
	const gate = Promise.withResolvers<void>();
	const held = [0, 1, 2].map(() => queue.run(() => gate.promise, NEVER));
	assert.equal(queue.length, 2);
	await assert.rejects(
		queue.run(async () => undefined, NEVER),
		(error) =>
			error instanceof SlipwayError &&
			error.code === 'SLIPWAY_START_QUEUE_FULL' &&
			error.details.retryAfterSeconds === 2,
	);
	gate.resolve();
	await Promise.all(held);
	await queue.run(async () => undefined, NEVER);
});

test('who aborts while it waits leaves its place, and never starts', async () => {
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 10 });
	const gate = Promise.withResolvers<void>();
	const first = queue.run(() => gate.promise, NEVER);
	const aborter = new AbortController();
	const reason = new Error('gone');
	let started = false;
	const waiting = queue.run(async () => {
		started = true;
	}, aborter.signal);
	const third = queue.run(async () => 'third', NEVER);
	aborter.abort(reason);
	await assert.rejects(waiting, (error) => error === reason);
	assert.equal(queue.length, 1);
	gate.resolve();
	await first;
	assert.equal(await third, 'third');
	assert.equal(started, false);
	await assert.rejects(
		queue.run(async () => undefined, aborter.signal),
		(error) => error === reason,
	);
	// Its turn was not used up by any of this.
	assert.equal(await queue.run(async () => 'after', NEVER), 'after');
});
