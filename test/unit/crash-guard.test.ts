/** The guard before servers that crash: when it lets a start through, to the millisecond. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import fc from 'fast-check';
import { type ErrorCode, type ErrorDetails, SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { CRASH_LIMITS } from '../../src/limits.ts';
import { type Chance, CrashGuard, type Subject } from '../../src/pool/crash-guard.ts';

/** Time that passes when the test says so, and chance that is what the test says. */
class PlayedChance implements Chance {
	/** What is drawn. */
	draw = 1;
	/** How long was waited for, in order. */
	readonly waits: number[] = [];
	readonly #sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();
	#nowMs = 1_000_000;

	nowMs(): number {
		return this.#nowMs;
	}

	random(): number {
		return this.draw;
	}

	sleep(ms: number, signal: AbortSignal): Promise<void> {
		this.waits.push(ms);
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const sleeper = { atMs: this.#nowMs + ms, wake: resolve };
		this.#sleepers.add(sleeper);
		signal.addEventListener('abort', () => {
			this.#sleepers.delete(sleeper);
			reject(signal.reason);
		});
		return promise;
	}

	get sleepers(): number {
		return this.#sleepers.size;
	}

	async pass(ms: number): Promise<void> {
		this.#nowMs += ms;
		for (const sleeper of this.#sleepers) {
			if (sleeper.atMs > this.#nowMs) continue;
			this.#sleepers.delete(sleeper);
			sleeper.wake();
		}
		await nextTurn();
	}
}

interface Conversation {
	readonly lease: { readonly upstream: { readonly ended: Promise<SlipwayError>; served: boolean } };
	readonly answer: { readonly message: { readonly ok: boolean } };
	readonly end: (code: ErrorCode) => Promise<void>;
}

function conversation(ok = true): Conversation {
	const { promise, resolve } = Promise.withResolvers<SlipwayError>();
	return {
		lease: { upstream: { ended: promise, served: false } },
		answer: { message: { ok } },
		end: async (code) => {
			resolve(new SlipwayError(code, { exitCode: 9 }));
			await nextTurn();
		},
	};
}

const NEVER = new AbortController().signal;
const SUBJECT: Subject = { server: 'fragile' as ServerName, spec: 'sha256:1' };
const EXIT: ErrorDetails = { server: 'fragile', exitCode: 3, stderr: 'no configuration' };

class Guarded {
	readonly chance = new PlayedChance();
	readonly guard = new CrashGuard(this.chance);
	/** How often a start was let through. */
	opens = 0;

	/** One attempt that comes to that: an error, or a conversation. */
	attempt(outcome: SlipwayError | Conversation, { subject = SUBJECT, signal = NEVER } = {}): Promise<Conversation> {
		return this.guard.run(subject, signal, async () => {
			this.opens += 1;
			if (outcome instanceof SlipwayError) throw outcome;
			return outcome;
		});
	}

	/** An attempt whose outcome the test gives later. */
	held({ subject = SUBJECT, signal = NEVER } = {}) {
		const { promise, resolve, reject } = Promise.withResolvers<Conversation>();
		promise.catch(() => undefined);
		let launchSignal: AbortSignal | undefined;
		const done = this.guard.run(subject, signal, (given) => {
			this.opens += 1;
			launchSignal = given;
			given.addEventListener('abort', () => reject(given.reason));
			return promise;
		});
		done.catch(() => undefined);
		return { done, resolve, reject, signal: () => launchSignal };
	}

	/** An attempt that fails, and is not waited for when it is let through at once. */
	async fail(code: ErrorCode = 'SLIPWAY_START_FAILED', options: { subject?: Subject } = {}): Promise<void> {
		const failure = new SlipwayError(code, EXIT);
		await assert.rejects(this.attempt(failure, options), (error) => error === failure);
	}

	/** Fails as often as it takes, with no wait in between. */
	async loop(times: number = CRASH_LIMITS.failuresMax): Promise<void> {
		const { draw } = this.chance;
		this.chance.draw = 0;
		for (let failure = 0; failure < times; failure++) await this.fail();
		this.chance.draw = draw;
	}

	async refusal(options: { subject?: Subject } = {}): Promise<SlipwayError> {
		const opens = this.opens;
		const error: unknown = await this.attempt(conversation(), options).then(
			() => assert.fail('it was let through'),
			(thrown: unknown) => thrown,
		);
		assert.ok(error instanceof SlipwayError);
		assert.equal(this.opens, opens);
		return error;
	}

	get state(): string | undefined {
		return this.guard.view(SUBJECT)?.state;
	}
}

function isCrashLoop(error: unknown): boolean {
	return error instanceof SlipwayError && error.code === 'SLIPWAY_CRASH_LOOP';
}

describe('after a failure', () => {
	test('the next start waits: 250 ms at most, and twice as long with each', async () => {
		const guarded = new Guarded();
		const { chance } = guarded;
		await guarded.fail();
		for (const [failures, longestMs] of [
			[1, 250],
			[2, 500],
			[3, 1000],
			[4, 2000],
		] as const) {
			const failing = guarded.fail();
			await chance.pass(longestMs - 1);
			assert.equal(guarded.opens, failures, `${longestMs - 1} ms after failure ${failures}`);
			await chance.pass(1);
			await failing;
			assert.equal(guarded.opens, failures + 1);
		}
		assert.deepEqual(chance.waits, [250, 500, 1000, 2000]);
	});

	test('it waits 30 s at most, where failures are too far apart for a loop', async () => {
		const guarded = new Guarded();
		for (let failure = 0; failure < 12; failure++) {
			const failing = guarded.fail();
			await guarded.chance.pass(30_000);
			await failing;
			assert.equal(guarded.state, 'closed');
		}
		assert.deepEqual(guarded.chance.waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000, 30_000]);
	});

	test('what is waited is the drawn part of it, less what has passed since', async () => {
		const guarded = new Guarded();
		const { chance } = guarded;
		await guarded.loop(3);
		await chance.pass(100);
		for (const [draw, waitMs] of [
			[0.999, 899],
			[0.5, 400],
			[0.101, 1],
		] as const) {
			chance.draw = draw;
			const waiting = guarded.held();
			assert.equal(chance.waits.at(-1), waitMs);
			await chance.pass(0);
			waiting.reject(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		}
		chance.draw = 0.1;
		await guarded.attempt(conversation());
		assert.equal(chance.waits.length, 3, 'its time had passed');
	});

	test('who gives up while it waits is told why, and nothing was started', async () => {
		const guarded = new Guarded();
		await guarded.fail();
		const aborter = new AbortController();
		const waiting = guarded.attempt(conversation(), { signal: aborter.signal });
		const reason = new Error('gone');
		aborter.abort(reason);
		await assert.rejects(waiting, (error) => error === reason);
		assert.equal(guarded.opens, 1);
		assert.equal(guarded.chance.sleepers, 0);
	});

	test('another server, and another build of this one, are not delayed', async () => {
		const guarded = new Guarded();
		await guarded.loop();
		assert.ok(isCrashLoop(await guarded.refusal()));
		await guarded.attempt(conversation(), { subject: { server: 'other' as ServerName, spec: SUBJECT.spec } });
		const next = { ...SUBJECT, spec: 'sha256:2' };
		await guarded.attempt(conversation(), { subject: next });
		assert.deepEqual(guarded.chance.waits, []);
		assert.equal(guarded.guard.view(next), undefined);
		assert.equal(guarded.guard.view(SUBJECT), undefined);
	});

	test('what was seen while the spec came to be known is of the spec that it became', async () => {
		const guarded = new Guarded();
		await guarded.loop();
		guarded.guard.rename(SUBJECT, 'sha256:2');
		assert.ok(isCrashLoop(await guarded.refusal({ subject: { ...SUBJECT, spec: 'sha256:2' } })));
		await guarded.attempt(conversation());
	});
});

describe('what counts', () => {
	for (const code of [
		'SLIPWAY_START_FAILED',
		'SLIPWAY_START_TIMEOUT',
		'SLIPWAY_INSTANCE_OOM',
		'SLIPWAY_PROTOCOL_NOISE',
		'SLIPWAY_LINE_TOO_LONG',
		'SLIPWAY_FRAME_INVALID',
	] as const) {
		test(`${code} instead of a handshake`, async () => {
			const guarded = new Guarded();
			await guarded.fail(code);
			assert.equal(guarded.guard.view(SUBJECT)?.lastFailure.code, code);
			void guarded.held();
			assert.deepEqual(guarded.chance.waits, [250]);
		});
	}

	for (const code of [
		'SLIPWAY_ENGINE_UNREACHABLE',
		'SLIPWAY_ENGINE_FAILED',
		'SLIPWAY_LAUNCHER_UNREACHABLE',
		'SLIPWAY_START_QUEUE_FULL',
		'SLIPWAY_INSTANCES_FULL',
		'SLIPWAY_CONTAINERS_FULL',
		'SLIPWAY_SERVER_FULL',
		'SLIPWAY_DRAINING',
		'SLIPWAY_SESSION_ENDED',
		'SLIPWAY_PREPARATION_TIMEOUT',
		'SLIPWAY_HANDSHAKE_REFUSED',
		'SLIPWAY_INSTANCE_LOST',
		'SLIPWAY_SPEC_DRIFT',
		'SLIPWAY_INTERNAL',
	] as const) {
		test(`not ${code}, however often`, async () => {
			const guarded = new Guarded();
			for (let time = 0; time < 20; time++) await guarded.fail(code);
			await guarded.attempt(conversation());
			assert.deepEqual(guarded.chance.waits, []);
			assert.equal(guarded.guard.view(SUBJECT), undefined);
		});
	}

	test('no end of an Instance that had served somebody: the next may serve as well', async () => {
		const guarded = new Guarded();
		for (let round = 0; round < 2 * CRASH_LIMITS.failuresMax; round++) {
			const opened = conversation();
			await guarded.attempt(opened);
			opened.lease.upstream.served = true;
			await opened.end('SLIPWAY_INSTANCE_EXITED');
			assert.equal(guarded.state, undefined);
		}
	});

	test('an end within 60 s of the handshake, and not one later, nor ours', async () => {
		const guarded = new Guarded();
		guarded.chance.draw = 0;
		const [early, late, ours, lost] = [conversation(), conversation(), conversation(), conversation()];
		for (const opened of [early, late, ours, lost]) await guarded.attempt(opened);
		await ours.end('SLIPWAY_SESSION_ENDED');
		await lost.end('SLIPWAY_INSTANCE_LOST');
		assert.equal(guarded.guard.view(SUBJECT), undefined);
		await guarded.chance.pass(59_999);
		await early.end('SLIPWAY_INSTANCE_EXITED');
		assert.equal(guarded.guard.view(SUBJECT)?.lastFailure.code, 'SLIPWAY_INSTANCE_EXITED');
		await guarded.chance.pass(1);
		await late.end('SLIPWAY_INSTANCE_EXITED');
		assert.equal(guarded.guard.view(SUBJECT), undefined, 'who lived for a minute is well, and the server with it');
	});

	test('not what comes of a start that was given up, however it goes wrong in the end', async () => {
		const guarded = new Guarded();
		const aborter = new AbortController();
		const slow = Promise.withResolvers<Conversation>();
		const attempt = guarded.guard.run(SUBJECT, aborter.signal, () => slow.promise);
		aborter.abort(new Error('gone'));
		slow.reject(new SlipwayError('SLIPWAY_START_FAILED', EXIT));
		await assert.rejects(attempt);
		assert.equal(guarded.guard.view(SUBJECT), undefined);
	});

	test('not a refusal of one client, nor the end of that Instance', async () => {
		const guarded = new Guarded();
		for (let time = 0; time < 20; time++) {
			const refused = conversation(false);
			await guarded.attempt(refused);
			await refused.end('SLIPWAY_INSTANCE_EXITED');
		}
		assert.equal(guarded.guard.view(SUBJECT), undefined);
	});
});

describe('what is forgotten', () => {
	test('everything, when an Instance has been well for 60 s', async () => {
		const guarded = new Guarded();
		const { chance, guard } = guarded;
		await guarded.loop(4);
		chance.draw = 0;
		await guarded.attempt(conversation());
		await chance.pass(59_999);
		guard.tick();
		assert.equal(guarded.state, 'closed');
		await chance.pass(1);
		guard.tick();
		assert.equal(guarded.state, undefined);
		chance.draw = 1;
		await guarded.fail();
		void guarded.held();
		assert.deepEqual(chance.waits, [250], 'the wait begins anew');
	});

	test('a failure, when none was seen for longer than anybody waits for it', async () => {
		const guarded = new Guarded();
		await guarded.loop(3);
		await guarded.chance.pass(90_000);
		guarded.guard.tick();
		assert.equal(guarded.state, 'closed');
		await guarded.chance.pass(1);
		guarded.guard.tick();
		assert.equal(guarded.state, undefined);
		await guarded.fail();
		void guarded.held();
		assert.deepEqual(guarded.chance.waits, [250]);
	});
});

describe('five failures within a minute', () => {
	test('open the circuit for 30 s: what failed last is told at once, and when to come again', async () => {
		const guarded = new Guarded();
		await guarded.loop(4);
		assert.equal(guarded.state, 'closed');
		await guarded.loop(1);
		assert.equal(guarded.state, 'open');
		const { code, details, row } = await guarded.refusal();
		assert.equal(code, 'SLIPWAY_CRASH_LOOP');
		assert.equal(row.httpStatus, 503);
		assert.deepEqual(details, {
			server: 'fragile',
			exitCode: 3,
			stderr: 'no configuration',
			reason: 'Its last failure: The server ended before it was ready.',
			retryAfterSeconds: 30,
		});
		await guarded.chance.pass(12_001);
		assert.equal((await guarded.refusal()).details.retryAfterSeconds, 18);
		await guarded.chance.pass(17_998);
		assert.equal((await guarded.refusal()).details.retryAfterSeconds, 1);
		await guarded.chance.pass(1);
		assert.equal(guarded.state, 'half-open');
		await guarded.attempt(conversation());
		assert.equal(guarded.state, 'closed');
	});

	test('and no fewer: a minute and a millisecond are too long', async () => {
		for (const [ms, state] of [
			[60_000, 'open'],
			[60_001, 'closed'],
		] as const) {
			const guarded = new Guarded();
			await guarded.loop(1);
			await guarded.chance.pass(ms);
			await guarded.loop(4);
			assert.equal(guarded.state, state);
		}
	});

	test('who waits, or is in a queue of the launcher, is told when the circuit opens', async () => {
		const guarded = new Guarded();
		const queued = guarded.held();
		const failing = guarded.held();
		await guarded.loop(4);
		const waiting = guarded.held();
		assert.equal(guarded.chance.sleepers, 1);
		failing.reject(new SlipwayError('SLIPWAY_START_FAILED', EXIT));
		await assert.rejects(waiting.done, isCrashLoop);
		await assert.rejects(queued.done, isCrashLoop);
		assert.ok(isCrashLoop(queued.signal()?.reason));
		assert.equal(guarded.chance.sleepers, 0);
		assert.equal(guarded.guard.view(SUBJECT)?.lastFailure.code, 'SLIPWAY_START_FAILED');
	});

	test('exactly one start finds out: it fails, and the circuit is open again for as long', async () => {
		const guarded = new Guarded();
		await guarded.loop();
		await guarded.chance.pass(30_000);
		const probe = guarded.held();
		assert.deepEqual(guarded.chance.waits, [], 'it does not wait for the backoff too');
		for (let other = 0; other < 3; other++) assert.equal((await guarded.refusal()).details.retryAfterSeconds, 1);
		probe.reject(new SlipwayError('SLIPWAY_START_TIMEOUT'));
		await assert.rejects(probe.done);
		assert.equal((await guarded.refusal()).details.retryAfterSeconds, 30);
		assert.equal(
			(await guarded.refusal()).details.reason,
			'Its last failure: The server did not answer `initialize` in time.',
		);
		await guarded.chance.pass(29_999);
		assert.ok(isCrashLoop(await guarded.refusal()));
	});

	for (const [what, outcome] of [
		['gives up', new SlipwayError('SLIPWAY_SESSION_ENDED')],
		['finds no engine', new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE')],
	] as const) {
		test(`a probe that ${what} has found out nothing: the next is the probe`, async () => {
			const guarded = new Guarded();
			await guarded.loop();
			await guarded.chance.pass(30_000);
			await assert.rejects(guarded.attempt(outcome));
			const probe = guarded.held();
			assert.ok(isCrashLoop(await guarded.refusal()));
			probe.resolve(conversation());
			await probe.done;
			assert.equal(guarded.state, 'closed');
		});
	}

	test('a probe that is aborted by its caller leaves the place to the next', async () => {
		const guarded = new Guarded();
		await guarded.loop();
		await guarded.chance.pass(30_000);
		const aborter = new AbortController();
		const probe = guarded.held({ signal: aborter.signal });
		aborter.abort(new Error('gone'));
		await assert.rejects(probe.done, /gone/);
		await guarded.attempt(conversation());
		assert.equal(guarded.state, 'closed');
	});

	test('a server that came up and soon dies again is shut out at once, as long as the minute has not passed', async () => {
		const guarded = new Guarded();
		await guarded.loop();
		await guarded.chance.pass(30_000);
		const opened = conversation();
		await guarded.attempt(opened);
		assert.equal(guarded.state, 'closed');
		await opened.end('SLIPWAY_INSTANCE_EXITED');
		assert.equal(guarded.state, 'open');
		assert.equal((await guarded.refusal()).details.exitCode, 9);
	});

	test('an Instance from before that dies while it is open or probed changes nothing', async () => {
		const guarded = new Guarded();
		const before = [conversation(), conversation()];
		for (const opened of before) await guarded.attempt(opened);
		await guarded.loop();
		await guarded.chance.pass(10_000);
		await before[0]?.end('SLIPWAY_INSTANCE_EXITED');
		assert.equal((await guarded.refusal()).details.retryAfterSeconds, 20);
		await guarded.chance.pass(20_000);
		const probe = guarded.held();
		await before[1]?.end('SLIPWAY_INSTANCE_EXITED');
		assert.equal(guarded.state, 'half-open');
		probe.resolve(conversation());
		await probe.done;
		assert.equal(guarded.state, 'closed');
	});
});

describe('what only a change helps', () => {
	for (const code of [
		'SLIPWAY_COMMAND_INVALID',
		'SLIPWAY_IMAGE_MISSING',
		'SLIPWAY_IMAGE_REFUSED',
		'SLIPWAY_PACKAGE_MISSING',
		'SLIPWAY_PACKAGE_REFUSED',
		'SLIPWAY_PREPARATION_FAILED',
		'SLIPWAY_MOUNT_REFUSED',
		'SLIPWAY_SECRET_MISSING',
		'SLIPWAY_SECRET_INVALID',
	] as const) {
		test(`${code} is told again for a moment without a start, and never makes a loop`, async () => {
			const guarded = new Guarded();
			const waiting = guarded.held();
			for (let round = 1; round <= 10; round++) {
				await guarded.fail(code);
				const { code: told, details } = await guarded.refusal();
				assert.deepEqual([told, details], [code, EXIT]);
				await guarded.chance.pass(CRASH_LIMITS.permanentFaultMs - 1);
				assert.equal((await guarded.refusal()).code, code);
				await guarded.chance.pass(1);
				assert.equal(guarded.opens, round + 1);
			}
			// Who was on the way when it was seen first was told too.
			await assert.rejects(waiting.done, (error) => error instanceof SlipwayError && error.code === code);
			assert.equal(guarded.guard.view(SUBJECT), undefined);
			await guarded.attempt(conversation());
			assert.deepEqual(guarded.chance.waits, []);
		});
	}

	test('another build is tried at once', async () => {
		const guarded = new Guarded();
		await guarded.fail('SLIPWAY_COMMAND_INVALID');
		await guarded.attempt(conversation(), { subject: { ...SUBJECT, spec: 'sha256:2' } });
	});
});

test('whatever happens in whatever order: never more than one probe, and a well server is let through in the end', async () => {
	const step = fc.oneof(
		{ weight: 4, arbitrary: fc.constant({ kind: 'start' as const }) },
		{
			weight: 6,
			arbitrary: fc.record({ kind: fc.constant('settle' as const), which: fc.nat(), how: fc.nat({ max: 4 }) }),
		},
		{
			weight: 3,
			arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 40_000 }) }),
		},
	);
	await fc.assert(
		fc.asyncProperty(
			fc.array(step, { maxLength: 80 }),
			fc.double({ min: 0, max: 1, noNaN: true }),
			async (steps, draw) => {
				const guarded = new Guarded();
				const { chance, guard } = guarded;
				chance.draw = draw;
				let held: ReturnType<Guarded['held']>[] = [];
				for (const made of steps) {
					const before = guarded.opens;
					const state = guarded.state;
					if (made.kind === 'start') {
						held.push(guarded.held());
						await nextTurn();
						if (state === 'open') assert.equal(guarded.opens, before, 'an open circuit lets nobody through');
						if (state === 'half-open') {
							held.push(guarded.held());
							await nextTurn();
							assert.ok(guarded.opens - before <= 1, 'one probe');
						}
					} else if (made.kind === 'pass') {
						await chance.pass(made.ms);
						guard.tick();
					} else {
						const one = held[made.which % Math.max(1, held.length)];
						if (one === undefined) continue;
						held = held.filter((other) => other !== one);
						if (made.how < 3) one.reject(new SlipwayError('SLIPWAY_START_FAILED', EXIT));
						else if (made.how === 3) one.reject(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE'));
						else one.resolve(conversation());
						await nextTurn();
					}
				}
				for (const { resolve } of held) resolve(conversation());
				await chance.pass(CRASH_LIMITS.openMs);
				await chance.pass(CRASH_LIMITS.backoffMsMax);
				await guarded.attempt(conversation());
				assert.equal(chance.sleepers, 0, 'nobody waits for ever');
			},
		),
		{ numRuns: 150 },
	);
});
