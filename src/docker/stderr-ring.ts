/** The last bytes of a server's stderr. */
import { STDIO_LIMITS } from '../limits.ts';

/** INVARIANT: never holds more than bytesMax + one chunk of the engine. */
export class StderrRing {
	readonly #bytesMax: number;
	#chunks: Buffer[] = [];
	#bytes = 0;

	constructor(bytesMax: number = STDIO_LIMITS.stderrRingBytesMax) {
		this.#bytesMax = bytesMax;
	}

	push(chunk: Buffer): void {
		// A copy: a slice would keep the whole buffer of the socket alive.
		this.#chunks.push(Buffer.from(chunk));
		this.#bytes += chunk.length;
		while (this.#bytes > this.#bytesMax && this.#chunks.length > 1) {
			this.#bytes -= this.#chunks.shift()?.length ?? 0;
		}
	}

	/** The last characters, with control characters (but for newline and tab) made visible. */
	tail(charsMax: number = STDIO_LIMITS.stderrTailCharsMax): string {
		const text = Buffer.concat(this.#chunks).toString('utf8').slice(-charsMax);
		return text
			.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/gu, '\ufffd')
			.trim();
	}
}
