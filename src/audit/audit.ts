/** The audit: who did what, when, how long it took and how it ended. */
import { SlipwayError } from '../errors.ts';
import { AUDIT_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Retention } from './files.ts';
import { type EventName, type RecordFields, recordText } from './record.ts';
import { AuditWriter } from './writer.ts';

/** So many records were written, or lost. */
export type CountRecords = (outcome: 'written' | 'lost', count: number) => void;

export interface Audit {
	/** Whether records cannot be written now. */
	readonly failing: boolean;
	/** Has records counted. */
	countTo(count: CountRecords): void;
	/** Records something that has happened just now. Never waits, and never throws. */
	record(event: EventName, fields: RecordFields): void;
	/** The same of what a stranger can have us record again and again: beyond a number in a minute it is counted. */
	recordRefusal(event: EventName, fields: RecordFields): void;
	/**
	 * To be asked before a call is made.
	 *
	 * @throws SlipwayError SLIPWAY_AUDIT_FAILED where calls must be recorded and cannot be
	 */
	assertReady(): void;
	/** To be called every second or so. */
	tick(nowMs: number): void;
	/** Resolves when all is written that the disk takes. */
	close(): Promise<void>;
}

/** Records nothing. */
export const NO_AUDIT: Audit = Object.freeze({
	failing: false,
	countTo: () => undefined,
	record: () => undefined,
	recordRefusal: () => undefined,
	assertReady: () => undefined,
	tick: () => undefined,
	close: async () => undefined,
});

export interface AuditOptions {
	/** `required`: no call where it cannot be recorded. `best-effort`: calls go on, and the log and a metric tell. */
	readonly mode: 'required' | 'best-effort';
	readonly folder: string;
	readonly retention: Retention;
	readonly log: Log;
}

const MINUTE_MS = 60_000;

/** An audit that is written to a folder. */
export class FileAudit implements Audit {
	readonly #required: boolean;
	readonly #writer: AuditWriter;
	/** Refusals of this minute, by event, code and caller: the callers are known ones. */
	readonly #refusals = new Map<string, { count: number; last: readonly [EventName, RecordFields] }>();
	#minuteFromMs = performance.now();
	#count: CountRecords = () => undefined;

	constructor({ mode, folder, retention, log }: AuditOptions) {
		this.#required = mode === 'required';
		this.#writer = new AuditWriter({
			folder,
			retention,
			onFailure: (cause) =>
				log.error(this.#required ? 'the audit fails: calls are refused' : 'the audit fails: records may be lost', {
					code: 'SLIPWAY_AUDIT_FAILED',
					reason: cause instanceof Error ? cause.message : String(cause),
				}),
			onRecovery: () => log.warn('the audit is written again'),
			onHead: ({ hash, seq }, file) => log.info('audit head', { head: hash, count: seq, file }),
			onCount: (outcome, count) => this.#count(outcome, count),
		});
	}

	get failing(): boolean {
		return this.#writer.failing;
	}

	countTo(count: CountRecords): void {
		this.#count = count;
	}

	record(event: EventName, fields: RecordFields): void {
		this.#writer.record(recordText(event, fields, Date.now()));
	}

	recordRefusal(event: EventName, fields: RecordFields): void {
		const kind = `${event}\n${fields.outcome}\n${fields.principal}`;
		const known = this.#refusals.get(kind);
		const count = (known?.count ?? 0) + 1;
		this.#refusals.set(kind, { count, last: [event, fields] });
		if (count <= AUDIT_LIMITS.refusalsPerMinuteMax) this.record(event, fields);
	}

	assertReady(): void {
		if (this.#required && this.#writer.failing)
			throw new SlipwayError('SLIPWAY_AUDIT_FAILED', { retryAfterSeconds: AUDIT_LIMITS.retryIntervalMs / 1000 });
	}

	tick(nowMs: number): void {
		if (nowMs - this.#minuteFromMs < MINUTE_MS) return;
		this.#minuteFromMs = nowMs;
		this.#countRefusals();
	}

	async close(): Promise<void> {
		this.#countRefusals();
		await this.#writer.close();
	}

	/** One record for all that were only counted, with the last of them. */
	#countRefusals(): void {
		for (const { count, last } of this.#refusals.values()) {
			const more = count - AUDIT_LIMITS.refusalsPerMinuteMax;
			if (more > 0) this.record(last[0], { ...last[1], count: more });
		}
		this.#refusals.clear();
	}
}
