/** So many connections of one kind, and no more, whoever opens them. */
import type { Duplex } from 'node:stream';

/**
 * INVARIANT: at most `max` of what was added are open. One more, and the oldest is cut: whoever comes last is served, so
 * that nobody keeps others out by staying.
 */
export class Latest {
	readonly #max: number;
	readonly #streams = new Set<Duplex>();

	constructor(max: number) {
		this.#max = max;
	}

	add(stream: Duplex): void {
		this.#streams.add(stream);
		stream.once('close', () => this.#streams.delete(stream));
		const [oldest] = this.#streams;
		if (this.#streams.size <= this.#max || oldest === undefined) return;
		this.#streams.delete(oldest);
		oldest.destroy();
	}

	/** It is of another kind from here on. */
	delete(stream: Duplex): void {
		this.#streams.delete(stream);
	}
}
