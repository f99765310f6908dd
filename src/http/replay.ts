/**
 * What was sent on a session's streams, kept for a client whose connection broke: it comes back with the id of the last
 * event that it got, and gets what followed on that stream, and on no other.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
 */
import { REPLAY_LIMITS } from '../limits.ts';
import type { EventStream } from './event-stream.ts';

/** Bytes that all sessions keep together. */
export class ReplayBudget {
	#bytes = 0;

	get bytes(): number {
		return this.#bytes;
	}

	take(bytes: number): boolean {
		if (this.#bytes + bytes > REPLAY_LIMITS.totalBytesMax) return false;
		this.#bytes += bytes;
		return true;
	}

	giveBack(bytes: number): void {
		this.#bytes -= bytes;
	}
}

interface KeptEvent {
	readonly record: StreamRecord;
	readonly sequence: number;
	readonly text: string;
	readonly bytes: number;
	readonly atMs: number;
}

/** Who writes to a stream, and can go on with it on a new connection. */
export interface Carrier {
	resume(stream: EventStream): void;
}

/** One stream of a session, over all the connections that carried it. */
export interface StreamRecord {
	readonly number: number;
	/** The sequence number of the latest event. */
	sequence: number;
	/** Absent when nothing more will come. */
	carrier: Carrier | undefined;
}

/**
 * INVARIANTS:
 * - What is kept is bounded in number, bytes and age, for the session and for all of them together; the oldest goes first.
 * - An event that is too large to keep is counted all the same: its number is not given twice.
 */
export class ReplayStore {
	readonly #budget: ReplayBudget;
	/** Oldest first, of all streams. */
	readonly #events: KeptEvent[] = [];
	readonly #records = new Map<number, StreamRecord>();
	#bytes = 0;
	#lastNumber = 0;
	#closed = false;

	constructor(budget: ReplayBudget) {
		this.#budget = budget;
	}

	/** A new stream. */
	open(carrier: Carrier): StreamRecord {
		const record: StreamRecord = { number: ++this.#lastNumber, sequence: 0, carrier };
		this.#records.set(record.number, record);
		for (const [number, { carrier: active }] of this.#records) {
			if (this.#records.size <= REPLAY_LIMITS.streamsMax) break;
			if (active === undefined) this.#records.delete(number);
		}
		return record;
	}

	/** Keeps an event and returns its id, which is unique in the session and names its stream. */
	append(record: StreamRecord, text: string): string {
		record.sequence += 1;
		const bytes = Buffer.byteLength(text);
		const event: KeptEvent = { record, sequence: record.sequence, text, bytes, atMs: performance.now() };
		this.#makeRoom(bytes);
		if (!this.#closed && bytes <= REPLAY_LIMITS.sessionBytesMax && this.#budget.take(bytes)) {
			this.#events.push(event);
			this.#bytes += bytes;
		}
		return eventId(record);
	}

	/** The stream that an event id of this session names, and its later events; undefined if none is known of that id. */
	find(id: string): { record: StreamRecord; later: readonly (readonly [id: string, text: string])[] } | undefined {
		const [, number, sequence] = /^(\d{1,9})-(\d{1,9})$/.exec(id) ?? [];
		const record = this.#records.get(Number(number));
		if (record === undefined || Number(sequence) > record.sequence) return undefined;
		const later = this.#events
			.filter((event) => event.record === record && event.sequence > Number(sequence))
			.map((event) => [`${record.number}-${event.sequence}`, event.text] as const);
		return { record, later };
	}

	/** Lets go of what is too old. To be called every second or so. */
	tick(nowMs: number): void {
		while (nowMs - (this.#events[0]?.atMs ?? nowMs) > REPLAY_LIMITS.ageMsMax) this.#dropOldest();
	}

	/** Lets go of everything, and keeps nothing more. */
	close(): void {
		this.#closed = true;
		while (this.#events.length > 0) this.#dropOldest();
		this.#records.clear();
	}

	#makeRoom(bytes: number): void {
		const isFull = (): boolean =>
			this.#events.length >= REPLAY_LIMITS.sessionEventsMax || this.#bytes + bytes > REPLAY_LIMITS.sessionBytesMax;
		while (this.#events.length > 0 && isFull()) this.#dropOldest();
	}

	#dropOldest(): void {
		const bytes = this.#events.shift()?.bytes ?? 0;
		this.#bytes -= bytes;
		this.#budget.giveBack(bytes);
	}
}

/** The id of a stream's latest event; of one without events, that of its beginning. */
export function eventId({ number, sequence }: StreamRecord): string {
	return `${number}-${sequence}`;
}
