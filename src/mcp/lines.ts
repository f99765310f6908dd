/** Bytes to lines: the framing of MCP over stdio. */

const LF = 10;
const CR = 13;

/** Room for the beginning of a line, at first. It doubles up to the bound. */
const HELD_ROOM_BYTES = 1024;

/** What receives the lines. */
export interface LineSink {
	/** A line without its newline, never empty, valid to keep. It is not copied: it may be part of a pushed chunk. */
	line(line: Buffer): void;
	/** A line is longer than it may be. Told once; nothing follows it. */
	tooLong(): void;
}

/**
 * Splits a byte stream into lines.
 *
 * INVARIANTS:
 * - A line is emitted only when its newline arrived, without it and without one CR before it. Lines that are
 *   empty then are not emitted, and neither is the tail of the stream.
 * - What is emitted does not depend on how the stream was cut into chunks.
 * - Held bytes never exceed lineBytesMax, and neither does the memory that holds them: the beginnings of lines are
 *   gathered in one buffer, since a list of what arrived would cost a Buffer object for every byte of a server that
 *   writes one byte at a time, and would keep the chunks that they are part of.
 * - Every byte is looked at once and copied a bounded number of times; a line within one chunk is not copied.
 * - After tooLong() or close() nothing is emitted and nothing is held.
 */
export class LineSplitter {
	readonly #sink: LineSink;
	readonly #lineBytesMax: number;
	#held: Buffer | undefined;
	#heldBytes = 0;
	#closed = false;

	constructor(sink: LineSink, lineBytesMax: number) {
		this.#sink = sink;
		this.#lineBytesMax = lineBytesMax;
	}

	/** The bytes of the line whose newline has not arrived. */
	get heldBytes(): number {
		return this.#heldBytes;
	}

	push(chunk: Buffer): void {
		let start = 0;
		while (start < chunk.length && !this.#closed) {
			const newline = chunk.indexOf(LF, start);
			const end = newline === -1 ? chunk.length : newline;
			// The CR counts: whether it belongs to the line is known only when the newline arrives.
			if (this.#heldBytes + end - start > this.#lineBytesMax) {
				this.close();
				this.#sink.tooLong();
				return;
			}
			if (newline === -1) {
				this.#hold(chunk.subarray(start));
				return;
			}
			this.#emit(chunk.subarray(start, end));
			start = newline + 1;
		}
	}

	/** Ends it, also from within the sink: nothing more is emitted, and what is held is released. */
	close(): void {
		this.#closed = true;
		this.#release();
	}

	#emit(piece: Buffer): void {
		let line = piece;
		if (this.#held !== undefined) {
			this.#hold(piece);
			line = this.#held.subarray(0, this.#heldBytes);
			this.#release();
		}
		if (line[line.length - 1] === CR) line = line.subarray(0, -1);
		if (line.length > 0) this.#sink.line(line);
	}

	#hold(piece: Buffer): void {
		const neededBytes = this.#heldBytes + piece.length;
		if (this.#held === undefined || this.#held.length < neededBytes) {
			const room = Math.max(neededBytes, Math.min(Math.max(2 * neededBytes, HELD_ROOM_BYTES), this.#lineBytesMax));
			// Not from Node's pool: a line that is kept must not keep a slab that strangers share.
			const roomier = Buffer.allocUnsafeSlow(room);
			this.#held?.copy(roomier, 0, 0, this.#heldBytes);
			this.#held = roomier;
		}
		piece.copy(this.#held, this.#heldBytes);
		this.#heldBytes = neededBytes;
	}

	/** A line that was emitted is valid to keep, so its buffer is let go of and not used again. */
	#release(): void {
		this.#held = undefined;
		this.#heldBytes = 0;
	}
}
