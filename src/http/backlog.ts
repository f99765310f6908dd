/**
 * What waits for clients that do not read what they asked for, all of them together: each has a bound of its own, but it is one
 * heap that all of it waits in. When that is half full, a stream may have little before its source is held; when it is full,
 * who has the most to take is cut.
 */
import type { ServerResponse } from 'node:http';
import { SSE_LIMITS } from '../limits.ts';

export class Backlog {
	readonly #bytesMax: number;
	/** What each had to take when it was last looked at. Less in the meantime, perhaps. */
	readonly #waiting = new Map<ServerResponse, number>();
	/** Those whose end is heard of. */
	readonly #known = new WeakSet<ServerResponse>();
	#bytes = 0;

	constructor(bytesMax: number) {
		this.#bytesMax = bytesMax;
	}

	/** What a stream may have waiting before its source is held. */
	get streamBytesMax(): number {
		return this.#bytes > this.#bytesMax / 2 ? SSE_LIMITS.crowdedBytesMax : SSE_LIMITS.bufferedBytesMax;
	}

	/** Something was written to a client. */
	note(response: ServerResponse): void {
		// Nearly everything is in the socket's own buffer at once, and waits nowhere.
		if (response.writableLength <= response.writableHighWaterMark) return;
		if (!this.#known.has(response)) {
			this.#known.add(response);
			const forget = (): void => this.#set(response, 0);
			response.on('drain', forget);
			response.once('close', forget);
		}
		this.#set(response, response.writableLength);
		if (this.#bytes > this.#bytesMax) this.#shed();
	}

	#set(response: ServerResponse, bytes: number): void {
		this.#bytes += bytes - (this.#waiting.get(response) ?? 0);
		if (bytes === 0) this.#waiting.delete(response);
		else this.#waiting.set(response, bytes);
	}

	#shed(): void {
		for (const response of [...this.#waiting.keys()]) this.#set(response, response.writableLength);
		const byBytes = [...this.#waiting].toSorted(([, one], [, other]) => other - one);
		for (const [response] of byBytes) {
			if (this.#bytes <= this.#bytesMax) return;
			this.#set(response, 0);
			response.destroy();
		}
	}
}

/** Of this process. */
export const BACKLOG = new Backlog(SSE_LIMITS.allBufferedBytesMax);
