/** Chance that is the same for the same seed. */

export class SimulatedChance {
	#state: number;

	constructor(seed: number) {
		this.#state = seed | 0;
	}

	/** A whole number of 0 to `bound`, without it. */
	below(bound: number): number {
		return Math.floor(this.unit() * bound);
	}

	/** At least 0, less than 1. */
	unit(): number {
		// Mulberry32.
		this.#state = (this.#state + 0x6d2b79f5) | 0;
		let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	}

	/** True so often. */
	often(probability: number): boolean {
		return this.unit() < probability;
	}

	between(min: number, max: number): number {
		return min + this.below(max - min + 1);
	}

	/** One of them; undefined when there is none. */
	pick<T>(items: Iterable<T>): T | undefined {
		const all = [...items];
		return all[this.below(all.length)];
	}

	/** One of the names, each as often as its weight says. */
	weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
		const choices = Object.entries(weights) as [Name, number][];
		let left = this.unit() * choices.reduce((sum, [, weight]) => sum + weight, 0);
		for (const [name, weight] of choices) {
			left -= weight;
			if (left < 0) return name;
		}
		throw new Error('there is nothing to choose from');
	}
}
