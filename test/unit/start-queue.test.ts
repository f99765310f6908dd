import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { SlipwayError } from '../../src/errors.ts';
import { StartQueue } from '../../src/launcher/start-queue.ts';

const NEVER = { caller: 'somebody', signal: new AbortController().signal };

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

test('a queue that one caller has filled has a place for another, and none that would be more than its share', async () => {
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 4 });
	const running = Promise.withResolvers<void>();
	const signal = new AbortController().signal;
	const outcomes: string[] = [];
	const start = (caller: string, name: string): Promise<void> =>
		queue
			.run(async () => void outcomes.push(name), { caller, signal })
			.catch((error: unknown) => {
				assert.ok(error instanceof SlipwayError);
				outcomes.push(`${name} ${error.code}`);
			});
	const first = queue.run(() => running.promise, { caller: 'greedy', signal });
	const starts = ['g1', 'g2', 'g3', 'g4'].map((name) => start('greedy', name));
	// The two newest of who has most go, one for each; a third would leave it with fewer than the other has.
	for (const name of ['o1', 'o2', 'o3']) starts.push(start('other', name));
	assert.equal(queue.length, 4);
	await new Promise(setImmediate);
	assert.deepEqual(outcomes.sort(), [
		'g3 SLIPWAY_START_QUEUE_FULL',
		'g4 SLIPWAY_START_QUEUE_FULL',
		'o3 SLIPWAY_START_QUEUE_FULL',
	]);
	outcomes.length = 0;
	running.resolve();
	await Promise.all([first, ...starts]);
	assert.deepEqual(outcomes, ['g1', 'o1', 'g2', 'o2']);
});

test('who aborts while it waits leaves its place, and never starts', async () => {
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 10 });
	const gate = Promise.withResolvers<void>();
	const first = queue.run(() => gate.promise, NEVER);
	const aborter = new AbortController();
	const options = { ...NEVER, signal: aborter.signal };
	const reason = new Error('gone');
	let started = false;
	const waiting = queue.run(async () => {
		started = true;
	}, options);
	const third = queue.run(async () => 'third', NEVER);
	aborter.abort(reason);
	await assert.rejects(waiting, (error) => error === reason);
	assert.equal(queue.length, 1);
	gate.resolve();
	await first;
	assert.equal(await third, 'third');
	assert.equal(started, false);
	await assert.rejects(
		queue.run(async () => undefined, options),
		(error) => error === reason,
	);
	// Its turn was not used up by any of this.
	assert.equal(await queue.run(async () => 'after', NEVER), 'after');
});

/** Starts in the hands of the test, by their names, in the order in which they had their turn. */
class HeldStarts {
	readonly queue: StartQueue;
	readonly began: string[] = [];
	readonly #ends: (() => void)[] = [];

	constructor(options: { concurrentMax: number; queuedMax: number }) {
		this.queue = new StartQueue(options);
	}

	want(name: string, caller: string, signal = NEVER.signal): Promise<void> {
		const start = async (): Promise<void> => {
			this.began.push(name);
			const { promise, resolve } = Promise.withResolvers<void>();
			this.#ends.push(resolve);
			await promise;
		};
		return this.queue.run(start, { caller, signal });
	}

	/** The start that has been under way for longest is over. Returns false when there is none. */
	async end(): Promise<boolean> {
		const end = this.#ends.shift();
		end?.();
		await nextTurn();
		return end !== undefined;
	}
}

test('who wants many starts does not delay the first of another, nor its second by more than one', async () => {
	const starts = new HeldStarts({ concurrentMax: 1, queuedMax: 100 });
	const all = Array.from({ length: 51 }, (_, number) => starts.want(`many ${number}`, 'many'));
	for (const name of ['few 0', 'few 1']) all.push(starts.want(name, 'few'));
	all.push(starts.want('one 0', 'one'));
	await nextTurn();
	while (await starts.end());
	await Promise.all(all);
	assert.deepEqual(starts.began.slice(0, 7), ['many 0', 'many 1', 'few 0', 'one 0', 'many 2', 'few 1', 'many 3']);
	assert.equal(starts.began.length, 54);
});

test('whoever comes, goes and gives up: in turn by caller, each in its order, never too many, no turn lost', async () => {
	const step = fc.oneof(
		{ weight: 5, arbitrary: fc.record({ kind: fc.constant('want' as const), caller: fc.integer({ min: 0, max: 3 }) }) },
		{ weight: 3, arbitrary: fc.record({ kind: fc.constant('end' as const) }) },
		{ weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), which: fc.nat({ max: 30 }) }) },
	);
	await fc.assert(
		fc.asyncProperty(
			fc.array(step, { maxLength: 60 }),
			fc.integer({ min: 1, max: 3 }),
			async (steps, concurrentMax) => {
				const queuedMax = 12;
				const starts = new HeldStarts({ concurrentMax, queuedMax });
				/** What should be: who waits, by caller, the callers in the order of their turns; and what began. */
				const waiting: { caller: string; names: string[] }[] = [];
				const began: string[] = [];
				const aborters = new Map<string, AbortController>();
				const refused = new Set<string>();
				let running = 0;
				const waits = (): number => waiting.reduce((sum, { names }) => sum + names.length, 0);
				const give = (): void => {
					const next = waiting.shift();
					if (next === undefined) return;
					began.push(next.names.shift() ?? assert.fail());
					running += 1;
					if (next.names.length > 0) waiting.push(next);
				};
				const end = async (): Promise<void> => {
					if (!(await starts.end())) return;
					running -= 1;
					give();
				};
				const all: Promise<unknown>[] = [];
				for (const [index, made] of steps.entries()) {
					if (made.kind === 'want') {
						const name = `${index}`;
						const caller = `caller ${made.caller}`;
						const aborter = new AbortController();
						aborters.set(name, aborter);
						all.push(starts.want(name, caller, aborter.signal).catch(() => refused.add(name)));
						if (running < concurrentMax) {
							running += 1;
							began.push(name);
						} else if (waits() < queuedMax) {
							const own = waiting.find((entry) => entry.caller === caller);
							if (own === undefined) waiting.push({ caller, names: [name] });
							else own.names.push(name);
						}
					} else if (made.kind === 'abort') {
						const own = waiting[made.which % Math.max(1, waiting.length)];
						const name = own?.names[made.which % own.names.length];
						if (own === undefined || name === undefined) continue;
						aborters.get(name)?.abort();
						own.names.splice(own.names.indexOf(name), 1);
						if (own.names.length === 0) waiting.splice(waiting.indexOf(own), 1);
					} else await end();
					await nextTurn();
					assert.deepEqual(starts.began, began);
					assert.equal(starts.queue.length, waits());
					assert.ok(running <= concurrentMax);
				}
				while (running > 0) await end();
				await Promise.all(all);
				assert.deepEqual(starts.began, began);
				assert.equal(began.length + refused.size, all.length, 'each has begun or was refused');
				assert.equal(starts.queue.length, 0);
			},
		),
		{ numRuns: 200 },
	);
});

test('whoever looks at its length is told of every change', async () => {
	const lengths: number[] = [];
	const gate = Promise.withResolvers<void>();
	const queue = new StartQueue({ concurrentMax: 1, queuedMax: 2, onLength: () => lengths.push(queue.length) });
	const aborter = new AbortController();
	const all = [queue.run(() => gate.promise, NEVER), queue.run(() => gate.promise, NEVER)];
	const given = queue.run(() => gate.promise, { caller: 'another', signal: aborter.signal }).catch(() => undefined);
	aborter.abort();
	gate.resolve();
	await Promise.all([...all, given]);
	assert.deepEqual(lengths, [1, 2, 1, 0]);
});
