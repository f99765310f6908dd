/**
 * What the guard before starts has to do, by what can be seen from outside of it: attempts, what came of them, and how
 * long their Instances lived. Written anew from the words of crash-guard.ts and limits.ts, so that the two are compared.
 */
import assert from 'node:assert/strict';
import type { ErrorCode, SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { CRASH_LIMITS } from '../../src/limits.ts';
import type { Attempt, Launch } from './simulated-gateway.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What counts against a server. */
const FAILURES: ReadonlySet<ErrorCode> = new Set([
	'SLIPWAY_START_FAILED',
	'SLIPWAY_START_TIMEOUT',
	'SLIPWAY_INSTANCE_EXITED',
	'SLIPWAY_INSTANCE_OOM',
	'SLIPWAY_PROTOCOL_NOISE',
	'SLIPWAY_LINE_TOO_LONG',
	'SLIPWAY_FRAME_INVALID',
	'SLIPWAY_INSTANCE_STALLED',
]);

/** What counts against nobody, and is the same for whoever waits. */
const PERMANENT_FAULTS: ReadonlySet<ErrorCode> = new Set([
	'SLIPWAY_COMMAND_INVALID',
	'SLIPWAY_IMAGE_MISSING',
	'SLIPWAY_IMAGE_REFUSED',
	'SLIPWAY_PACKAGE_MISSING',
	'SLIPWAY_PREPARATION_FAILED',
	'SLIPWAY_MOUNT_REFUSED',
]);

/** What is known of a server as it was made of one spec. */
interface Known {
	spec: string;
	/** When it failed lately, oldest first. */
	failuresMs: number[];
	/** Failures since it was well. */
	count: number;
	lastMs: number;
	openUntilMs: number;
	probe: Attempt | undefined;
	/** How often whoever was on the way was told that it is in vain. */
	told: number;
}

/** How an attempt began. */
interface Begun {
	readonly known: Known;
	readonly isReady: boolean;
	/** As far as it had failed then: what came since is no reason to wait. */
	readonly lastMs: number;
	readonly count: number;
	readonly told: number;
}

export class SimulatedBreaker {
	readonly #time: SimulatedTime;
	readonly #known = new Map<ServerName, Known>();
	readonly #begun = new WeakMap<Attempt, Begun>();
	/** Instances that have not lived long enough to be called well. */
	readonly #young = new Map<Attempt, { readonly known: Known; readonly sinceMs: number }>();

	constructor(time: SimulatedTime) {
		this.#time = time;
	}

	/** @param isReady whether its spec is known in full */
	begin(attempt: Attempt, isReady: boolean): void {
		const { server, spec } = attempt;
		let known = this.#known.get(server);
		if (known?.spec !== spec) {
			const never = { count: 0, lastMs: Number.NEGATIVE_INFINITY, openUntilMs: 0, told: 0 };
			known = { spec, failuresMs: [], probe: undefined, ...never };
			this.#known.set(server, known);
		}
		const { lastMs, count, told } = known;
		this.#begun.set(attempt, { known, isReady, lastMs, count, told });
		const isOver = known.openUntilMs > 0 && this.#time.nowMs >= known.openUntilMs;
		if (isOver && known.probe === undefined) known.probe = attempt;
	}

	/** Asserts that a start may be made now. */
	check({ attempt, signal }: Launch): void {
		const begun = this.#begun.get(attempt);
		// A launcher does nothing for who has given up.
		if (begun === undefined || signal.aborted) return;
		const { known, lastMs, count } = begun;
		const { nowMs } = this.#time;
		const what = `a start of ${attempt.server}`;
		if (known.openUntilMs > 0 && known.probe !== attempt)
			assert.fail(`${what} while its circuit is open, or another start probes it`);
		if (attempt.launches.length > 1 || count === 0 || known.probe === attempt) return;
		const { backoffMsMin, backoffMsMax } = CRASH_LIMITS;
		const waitMs = (attempt.random ?? 1) * Math.min(backoffMsMin * 2 ** (count - 1), backoffMsMax);
		assert.ok(nowMs >= lastMs + waitMs - 1, `${what} after ${nowMs - lastMs} ms, and not after ${waitMs}`);
	}

	/** What came of an attempt. */
	end(attempt: Attempt, error: SlipwayError | undefined, specNow: string): void {
		const begun = this.#begun.get(attempt);
		if (begun === undefined) return;
		const { known, isReady, told } = begun;
		const isProbe = known.probe === attempt;
		if (isProbe) known.probe = undefined;
		if (!isReady && known.spec === attempt.spec) known.spec = specNow;
		if (error === undefined) {
			if (isProbe) known.openUntilMs = 0;
			this.#watch(attempt, known);
			return;
		}
		// Who was told that it is in vain, gave up or was not let through has seen nothing of the server.
		const hasSeen = !attempt.signal.aborted && told === known.told && attempt.launches.length > 0;
		if (hasSeen && PERMANENT_FAULTS.has(error.code)) known.told += 1;
		if (hasSeen && FAILURES.has(error.code)) this.#fail(known, isProbe);
		else if (isProbe) known.openUntilMs = this.#time.nowMs;
	}

	/** To be called when the guard looks at its clock. */
	tick(): void {
		for (const [attempt, { known, sinceMs }] of this.#young)
			if (this.#time.nowMs - sinceMs >= CRASH_LIMITS.healthyMs) {
				this.#young.delete(attempt);
				this.#forget(known);
			}
		for (const known of this.#known.values()) {
			const quietMs = this.#time.nowMs - known.lastMs;
			const isClosed = known.openUntilMs === 0;
			if (isClosed && quietMs > CRASH_LIMITS.failuresWindowMs + CRASH_LIMITS.backoffMsMax) this.#forget(known);
		}
	}

	#watch(attempt: Attempt, known: Known): void {
		const { opened } = attempt;
		if (opened?.answer.message.ok !== true) return;
		this.#young.set(attempt, { known, sinceMs: this.#time.nowMs });
		const { upstream } = opened.lease;
		void upstream.ended.then(({ code }) => {
			const young = this.#young.get(attempt);
			if (!this.#young.delete(attempt) || young === undefined) return;
			if (this.#time.nowMs - young.sinceMs >= CRASH_LIMITS.healthyMs) this.#forget(known);
			else if (!upstream.served && FAILURES.has(code)) this.#fail(known, false);
		});
	}

	#fail(known: Known, isProbe: boolean): void {
		const { nowMs } = this.#time;
		known.lastMs = nowMs;
		known.count += 1;
		known.failuresMs = [...known.failuresMs, nowMs].slice(-CRASH_LIMITS.failuresMax);
		const isLoop =
			known.failuresMs.length === CRASH_LIMITS.failuresMax &&
			nowMs - (known.failuresMs[0] ?? nowMs) <= CRASH_LIMITS.failuresWindowMs;
		if (!isProbe && (known.openUntilMs > 0 || !isLoop)) return;
		known.openUntilMs = nowMs + CRASH_LIMITS.openMs;
		known.told += 1;
	}

	#forget(known: Known): void {
		known.failuresMs = [];
		known.count = 0;
	}
}
