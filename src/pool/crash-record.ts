/**
 * What is known of how a server starts and lives, as far as it decides about the next start: a value and its changes,
 * without a clock of its own.
 *
 * ```
 *            failuresMax in failuresWindowMs              openMs over, one start is let through
 *   closed ───────────────────────────────────▶ open ──────────────────────────────────────────▶ probing
 *     ▲                                          ▲ it fails, or nothing comes of it │               │
 *     │                                          └──────────────────────────────────────────────────┤
 *     └─────────────────────────────────────────────────────────────── the server speaks ───────────┘
 * ```
 *
 * Not the breaker of cockatiel: that goes by the wall's clock, has callers wait for a probe where they are to be told,
 * and takes a probe that was given up for one that succeeded.
 */
import { ExponentialBackoff, type IBackoff, noJitterGenerator } from 'cockatiel';
import { type ErrorCode, SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { CRASH_LIMITS } from '../limits.ts';

/** What a server does by itself, and is likely to do again. */
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

/** What stays as it is until somebody changes something: waiting does not help. */
const PERMANENT_FAULTS: ReadonlySet<ErrorCode> = new Set([
	'SLIPWAY_COMMAND_INVALID',
	'SLIPWAY_IMAGE_MISSING',
	'SLIPWAY_IMAGE_REFUSED',
	'SLIPWAY_PACKAGE_MISSING',
	'SLIPWAY_PACKAGE_REFUSED',
	'SLIPWAY_PREPARATION_FAILED',
	'SLIPWAY_MOUNT_REFUSED',
	'SLIPWAY_SECRET_MISSING',
	'SLIPWAY_SECRET_INVALID',
]);

const BACKOFF = new ExponentialBackoff({
	generator: noJitterGenerator,
	initialDelay: CRASH_LIMITS.backoffMsMin,
	maxDelay: CRASH_LIMITS.backoffMsMax,
});

/** What /status shows of it. */
export interface CrashView {
	/** `closed`: it is started, but later. `open`: it is not. `half-open`: one start finds out whether it comes up again. */
	readonly state: 'closed' | 'open' | 'half-open';
	readonly lastFailure: { readonly code: ErrorCode; readonly sentence: string; readonly at: string };
}

type State =
	| { readonly kind: 'closed' }
	| { readonly kind: 'open'; readonly untilMs: number }
	| { readonly kind: 'probing' };

interface Failure {
	readonly error: SlipwayError;
	readonly atMs: number;
	readonly at: string;
}

/**
 * One server as it was made of one spec.
 *
 * INVARIANTS:
 * - While `probing` exactly one start is under way that was let through for it.
 * - Whoever was let through, or waits, when it is known to be in vain is told by `inVain`.
 */
export class CrashRecord {
	readonly #server: ServerName;
	/** When the latest failures were, oldest first; never more than open the circuit. */
	readonly #failuresAtMs: number[] = [];
	#state: State = { kind: 'closed' };
	#last: Failure | undefined;
	#backoff: IBackoff<unknown> | undefined;
	#permanent: { readonly error: SlipwayError; readonly untilMs: number } | undefined;
	#inVain = new AbortController();

	constructor(server: ServerName) {
		this.#server = server;
	}

	/** Aborted, with the error to tell, when starts that are not there yet are not to be waited for. */
	get inVain(): AbortSignal {
		return this.#inVain.signal;
	}

	/**
	 * Lets a start through. Returns whether it is the probe of an open circuit.
	 *
	 * @throws SlipwayError SLIPWAY_CRASH_LOOP; a permanent fault that was seen a moment ago
	 */
	admit(nowMs: number): boolean {
		if (this.#permanent !== undefined && nowMs < this.#permanent.untilMs) throw this.#permanent.error;
		switch (this.#state.kind) {
			case 'closed':
				return false;
			case 'open':
				if (nowMs < this.#state.untilMs) throw this.#crashLoop(this.#state.untilMs - nowMs);
				this.#state = { kind: 'probing' };
				return true;
			case 'probing':
				throw this.#crashLoop(0);
		}
	}

	/** How long a start that is no probe has to wait: a random part of what grows with every failure. */
	delayMs(nowMs: number, random: number): number {
		if (this.#last === undefined || this.#backoff === undefined) return 0;
		return Math.max(0, this.#last.atMs + random * this.#backoff.duration - nowMs);
	}

	/** A start that was let through came to nothing, or an Instance ended soon after its handshake. */
	failed(error: SlipwayError, { nowMs, probe }: { nowMs: number; probe: boolean }): void {
		if (FAILURES.has(error.code)) this.#count(error, nowMs, probe);
		else {
			if (PERMANENT_FAULTS.has(error.code)) this.#remember(error, nowMs);
			// Nothing came of it: the next may be the probe.
			if (probe) this.#state = { kind: 'open', untilMs: nowMs };
		}
	}

	/** The server spoke, if only to refuse. Its failures are not forgotten: with one more soon it is open again. */
	spoke(probe: boolean): void {
		if (probe) this.#state = { kind: 'closed' };
	}

	/** An Instance has been well for so long that what was before does not matter. */
	forget(): void {
		this.#failuresAtMs.length = 0;
		this.#backoff = undefined;
		if (this.#state.kind === 'closed') this.#last = undefined;
	}

	/**
	 * Whether it was not seen to fail for longer than failures count and anybody has to wait for them. Without this the
	 * rare accidents of a server whose Instances are all short-lived would add up.
	 */
	isQuiet(nowMs: number): boolean {
		if (this.#state.kind !== 'closed' || this.#last === undefined) return false;
		return nowMs - this.#last.atMs > CRASH_LIMITS.failuresWindowMs + CRASH_LIMITS.backoffMsMax;
	}

	/** Undefined when nothing is wrong. */
	view(nowMs: number): CrashView | undefined {
		if (this.#last === undefined) return undefined;
		const { error, at } = this.#last;
		return { state: this.#stateName(nowMs), lastFailure: { code: error.code, sentence: error.row.sentence, at } };
	}

	#stateName(nowMs: number): CrashView['state'] {
		switch (this.#state.kind) {
			case 'closed':
				return 'closed';
			case 'open':
				return nowMs < this.#state.untilMs ? 'open' : 'half-open';
			case 'probing':
				return 'half-open';
		}
	}

	#count(error: SlipwayError, nowMs: number, probe: boolean): void {
		this.#last = { error, atMs: nowMs, at: new Date().toISOString() };
		this.#backoff = this.#backoff === undefined ? BACKOFF.next() : this.#backoff.next(undefined);
		this.#failuresAtMs.push(nowMs);
		if (this.#failuresAtMs.length > CRASH_LIMITS.failuresMax) this.#failuresAtMs.shift();
		// An Instance from before may end while the circuit is open or probed: that says nothing new.
		if (probe || (this.#state.kind === 'closed' && this.#isLoop(nowMs))) this.#open(nowMs);
	}

	#isLoop(nowMs: number): boolean {
		const [oldestMs = Number.NEGATIVE_INFINITY] = this.#failuresAtMs;
		return this.#failuresAtMs.length === CRASH_LIMITS.failuresMax && nowMs - oldestMs <= CRASH_LIMITS.failuresWindowMs;
	}

	#open(nowMs: number): void {
		this.#state = { kind: 'open', untilMs: nowMs + CRASH_LIMITS.openMs };
		this.#tellInVain(this.#crashLoop(CRASH_LIMITS.openMs));
	}

	#remember(error: SlipwayError, nowMs: number): void {
		this.#permanent = { error, untilMs: nowMs + CRASH_LIMITS.permanentFaultMs };
		this.#tellInVain(error);
	}

	#tellInVain(error: SlipwayError): void {
		this.#inVain.abort(error);
		this.#inVain = new AbortController();
	}

	#crashLoop(leftMs: number): SlipwayError {
		const { exitCode, stderr } = this.#last?.error.details ?? {};
		return new SlipwayError('SLIPWAY_CRASH_LOOP', {
			server: this.#server,
			...(exitCode === undefined ? {} : { exitCode }),
			...(stderr === undefined ? {} : { stderr }),
			...(this.#last === undefined ? {} : { reason: `Its last failure: ${this.#last.error.row.sentence}` }),
			retryAfterSeconds: Math.max(1, Math.ceil(leftMs / 1000)),
		});
	}
}
