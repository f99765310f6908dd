/**
 * What comes and goes with every call, in tables that keep nothing of what has gone.
 *
 * V8's Map and Set move to a new table every few insertions, and the one that they leave has its last entries and points to
 * the next. When a table has become old before it is left, as one does at each full collection under load, it keeps every
 * later one, and so every call there was, until the next full collection: each minor one then moves all of them. That was a
 * tenth of all that a call costs. Here tables hold numbers, and what they number is in an array.
 */

/** A Map whose keys are plain values. */
export class Slots<Key extends string | number | null, Value> {
	readonly #indices = new Map<Key, number>();
	readonly #values: (Value | undefined)[] = [];
	readonly #free: number[] = [];

	get size(): number {
		return this.#indices.size;
	}

	get(key: Key): Value | undefined {
		const index = this.#indices.get(key);
		return index === undefined ? undefined : this.#values[index];
	}

	has(key: Key): boolean {
		return this.#indices.has(key);
	}

	set(key: Key, value: Value): void {
		const index = this.#indices.get(key) ?? this.#free.pop() ?? this.#values.length;
		this.#values[index] = value;
		this.#indices.set(key, index);
	}

	delete(key: Key): void {
		const index = this.#indices.get(key);
		if (index === undefined) return;
		this.#indices.delete(key);
		this.#values[index] = undefined;
		this.#free.push(index);
	}

	/** In the order of their keys' insertion. What is deleted or set on the way is left out or comes. */
	*values(): Generator<Value, undefined, undefined> {
		for (const index of this.#indices.values()) {
			const value = this.#values[index];
			if (value !== undefined) yield value;
		}
	}
}

/** Takes a value out of an array in which the order does not matter. */
export function takeOut<Value>(values: Value[], value: Value): void {
	const index = values.indexOf(value);
	const last = values.pop();
	if (index >= 0 && index < values.length && last !== undefined) values[index] = last;
	else if (index < 0 && last !== undefined) values.push(last);
}
