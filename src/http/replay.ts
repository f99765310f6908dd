/**
 * What was sent on a session's streams, kept for a client whose connection broke: it comes back with the id of the last
 * event that it got, and gets what followed on that stream, and on no other.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#resumability-and-redelivery
 */
import { randomBytes } from 'node:crypto';
import { REPLAY_LIMITS } from '../limits.ts';
import type { EventStream } from './event-stream.ts';

/** Bytes that all sessions keep together, of what was sent and of what could not be. */
export class KeptBytes {
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

/** The number of a session's GET stream. */
const STANDING = 0;

/** One stream of a session, over all the connections that carried it. */
export interface StreamRecord {
	/** Tells the event ids of one process from those of the next, which goes on with the session. */
	readonly epoch: string;
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
	readonly #kept: KeptBytes;
	/** Oldest first, of all streams. */
	readonly #events: KeptEvent[] = [];
	readonly #records = new Map<number, StreamRecord>();
	readonly #epoch = randomBytes(4).toString('hex');
	#bytes = 0;
	#lastNumber = 0;
	#closed = false;

	constructor(budget: KeptBytes) {
		this.#kept = budget;
	}

	/** The GET stream. To be called once. */
	openStanding(carrier: Carrier): StreamRecord {
		return this.#open(STANDING, carrier);
	}

	/** The stream of another request. */
	open(carrier: Carrier): StreamRecord {
		return this.#open(++this.#lastNumber, carrier);
	}

	#open(number: number, carrier: Carrier): StreamRecord {
		const record: StreamRecord = { epoch: this.#epoch, number, sequence: 0, carrier };
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
		if (!this.#closed && bytes <= REPLAY_LIMITS.sessionBytesMax && this.#kept.take(bytes)) {
			this.#events.push(event);
			this.#bytes += bytes;
		}
		return eventId(record);
	}

	/** The stream that an event id of this session names, and its later events; undefined if none is known of that id. */
	find(id: string): { record: StreamRecord; later: readonly (readonly [id: string, text: string])[] } | undefined {
		const { epoch, number, sequence } = parseEventId(id) ?? {};
		const record = number === undefined || epoch !== this.#epoch ? undefined : this.#records.get(number);
		if (record === undefined || sequence === undefined || sequence > record.sequence) return undefined;
		const later = this.#events
			.filter((event) => event.record === record && event.sequence > sequence)
			.map((event) => [eventId({ ...record, sequence: event.sequence }), event.text] as const);
		return { record, later };
	}

	/** Whether an event id is of the GET stream as another process had it. */
	isEarlierStanding(id: string): boolean {
		const { epoch, number } = parseEventId(id) ?? {};
		return number === STANDING && epoch !== this.#epoch;
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
		this.#kept.giveBack(bytes);
	}
}

/** The id of a stream's latest event; of one without events, that of its beginning. */
export function eventId({ epoch, number, sequence }: StreamRecord): string {
	return `${epoch}-${number}-${sequence}`;
}

function parseEventId(id: string): Pick<StreamRecord, 'epoch' | 'number' | 'sequence'> | undefined {
	const [, epoch, number, sequence] = /^([0-9a-f]{8})-(\d{1,9})-(\d{1,9})$/.exec(id) ?? [];
	if (epoch === undefined) return undefined;
	return { epoch, number: Number(number), sequence: Number(sequence) };
}
