/** The last bytes of a server's stderr. */
import { STDIO_LIMITS } from '../limits.ts';
import { Redaction } from '../secrets/redaction.ts';

/** INVARIANT: holds bytesMax at most and costs no more than its bytes, however small the pieces that they come in. */
export class StderrRing {
	readonly #bytesMax: number;
	readonly #redaction: Redaction;
	/** Made with the first byte: many servers never write one. */
	#ring: Buffer | undefined;
	/** Where the next byte goes; the oldest one lies there when the ring is full. */
	#next = 0;
	#full = false;

	/** @param secrets values that are not shown */
	constructor(bytesMax: number = STDIO_LIMITS.stderrRingBytesMax, secrets: readonly Buffer[] = []) {
		this.#bytesMax = bytesMax;
		this.#redaction = new Redaction(secrets);
	}

	push(chunk: Buffer): void {
		this.#ring ??= Buffer.alloc(this.#bytesMax);
		const last = chunk.subarray(-this.#bytesMax);
		const fits = last.subarray(0, this.#bytesMax - this.#next);
		this.#ring.set(fits, this.#next);
		this.#ring.set(last.subarray(fits.length), 0);
		this.#full ||= this.#next + last.length >= this.#bytesMax;
		this.#next = (this.#next + last.length) % this.#bytesMax;
	}

	/** The last characters, without the values of secrets, and with control characters (but for newline and tab) made visible. */
	tail(charsMax: number = STDIO_LIMITS.stderrTailCharsMax): string {
		const ring = this.#ring ?? Buffer.alloc(0);
		const newest = ring.subarray(0, this.#next);
		const bytes = this.#full ? Buffer.concat([ring.subarray(this.#next), newest]) : newest;
		const text = this.#redaction.apply(bytes, this.#full).toString('utf8').slice(-charsMax).toWellFormed();
		return text
			.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
			.trim();
	}
}
