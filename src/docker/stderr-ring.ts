/** The last bytes of a server's stderr, and when they came. */
import { STDIO_LIMITS } from '../limits.ts';
import { Redaction } from '../secrets/redaction.ts';

/** A line, as it is shown. */
export interface RingLine {
	/** When it began to come, within STDIO_LIMITS.stderrMarkMs. Milliseconds since 1970. */
	readonly atMs: number;
	/** Where it begins. */
	readonly place: number;
	readonly text: string;
}

/** From there on everything came at that time or later. */
interface Mark {
	readonly place: number;
	readonly atMs: number;
}

/**
 * A place in it is the count of bytes that came before.
 *
 * INVARIANT: holds bytesMax at most and costs no more than its bytes, however small the pieces that they come in.
 */
export class StderrRing {
	readonly #bytesMax: number;
	readonly #redaction: Redaction;
	/** Made with the first byte: many servers never write one. */
	#ring: Buffer | undefined;
	/** Where the next byte goes; the oldest one lies there when the ring is full. */
	#next = 0;
	#full = false;
	#place = 0;
	/** Oldest first. */
	readonly #marks: Mark[] = [];

	/** @param secrets values that are not shown */
	constructor(bytesMax: number = STDIO_LIMITS.stderrRingBytesMax, secrets: readonly Buffer[] = []) {
		this.#bytesMax = bytesMax;
		this.#redaction = new Redaction(secrets);
	}

	push(chunk: Buffer): void {
		this.#ring ??= Buffer.alloc(this.#bytesMax);
		this.#mark();
		this.#place += chunk.length;
		const last = chunk.subarray(-this.#bytesMax);
		const fits = last.subarray(0, this.#bytesMax - this.#next);
		this.#ring.set(fits, this.#next);
		this.#ring.set(last.subarray(fits.length), 0);
		this.#full ||= this.#next + last.length >= this.#bytesMax;
		this.#next = (this.#next + last.length) % this.#bytesMax;
	}

	/** The last characters, without the values of secrets, and with control characters (but for newline and tab) made visible. */
	tail(charsMax: number = STDIO_LIMITS.stderrTailCharsMax): string {
		const bytes = this.#bytes();
		const text = this.#redaction.apply(bytes, this.#full).toString('utf8');
		return visible(text.slice(-charsMax).toWellFormed()).trim();
	}

	/**
	 * The lines from a place on, shown as the tail is, and the place where the next will begin. Of what is not there any more
	 * the rest is a line. One that has not ended yet waits, unless it is long already.
	 *
	 * @param isOver whether nothing more comes: then what was not ended is a line too
	 */
	lines(from: number, isOver: boolean): { readonly lines: RingLine[]; readonly next: number } {
		if (from >= this.#place) return { lines: [], next: from };
		const bytes = this.#bytes();
		const start = this.#place - bytes.length;
		const begin = Math.max(from, start);
		const unread = bytes.subarray(begin - start);
		const ended = unread.lastIndexOf(NEWLINE) + 1;
		const isLong = unread.length - ended > STDIO_LIMITS.stderrLineBytesMax;
		const next = isOver || isLong ? this.#place : begin + ended;
		const lines: RingLine[] = [];
		let parts: Buffer[] = [];
		let lineAt = begin;
		const end = (): void => {
			const text = visible(Buffer.concat(parts).toString('utf8').toWellFormed()).trimEnd();
			if (text !== '') lines.push({ atMs: this.#timeOf(lineAt), place: lineAt, text });
			parts = [];
		};
		// The whole is looked through, so that no value is missed of which a part was told before.
		for (const { from: at, to, bytes: piece, hidden } of this.#redaction.pieces(bytes, this.#full)) {
			const place = start + at;
			if (start + to <= begin || place >= next) continue;
			if (parts.length === 0) lineAt = Math.max(place, begin);
			if (hidden) {
				parts.push(piece);
				continue;
			}
			const shown = piece.subarray(Math.max(begin - place, 0), next - place);
			for (let here = 0; here < shown.length; ) {
				const newline = shown.indexOf(NEWLINE, here);
				const stop = newline < 0 ? shown.length : newline;
				if (parts.length === 0) lineAt = Math.max(place, begin) + here;
				parts.push(shown.subarray(here, stop));
				if (newline >= 0) end();
				here = stop + 1;
			}
		}
		end();
		return { lines, next };
	}

	#bytes(): Buffer {
		const ring = this.#ring ?? Buffer.alloc(0);
		const newest = ring.subarray(0, this.#next);
		return this.#full ? Buffer.concat([ring.subarray(this.#next), newest]) : newest;
	}

	#mark(): void {
		const atMs = Date.now();
		const last = this.#marks.at(-1);
		if (last !== undefined && atMs - last.atMs < STDIO_LIMITS.stderrMarkMs) return;
		this.#marks.push({ place: this.#place, atMs });
		if (this.#marks.length > STDIO_LIMITS.stderrMarksMax) this.#marks.shift();
	}

	#timeOf(place: number): number {
		const mark = this.#marks.findLast((one) => one.place <= place) ?? this.#marks[0];
		return mark?.atMs ?? 0;
	}
}

const NEWLINE = 0x0a;

function visible(text: string): string {
	return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd');
}
