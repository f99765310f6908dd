/** What a server said of its own accord while its client had no stream open, until it opens one: the first of it, bounded. */
import { SSE_LIMITS } from '../limits.ts';
import type { KeptBytes } from './replay.ts';

export class Unread {
	readonly #kept: KeptBytes;
	#texts: string[] = [];
	#bytes = 0;

	constructor(kept: KeptBytes) {
		this.#kept = kept;
	}

	/** Keeps a message. Returns whether there was room. */
	push(text: string): boolean {
		const isFull =
			this.#texts.length >= SSE_LIMITS.queuedMessagesMax || this.#bytes + text.length > SSE_LIMITS.queuedBytesMax;
		if (isFull || !this.#kept.take(text.length)) return false;
		this.#texts.push(text);
		this.#bytes += text.length;
		return true;
	}

	/** All that there is, in order; none of it is kept any more. */
	take(): readonly string[] {
		const texts = this.#texts;
		this.#texts = [];
		this.#kept.giveBack(this.#bytes);
		this.#bytes = 0;
		return texts;
	}
}
