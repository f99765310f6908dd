/** Things that arrive, to be taken one by one. */

/** Far beyond what anything takes; a test that waits so long tells what it waited for. */
const PATIENCE_MS = 15_000;

export class Inbox<T> {
	readonly #what: string;
	readonly #items: T[] = [];
	readonly #waiting: ((item: T) => void)[] = [];

	constructor(what: string) {
		this.#what = what;
	}

	/** How many were not taken. */
	get size(): number {
		return this.#items.length;
	}

	push(item: T): void {
		const waiting = this.#waiting.shift();
		if (waiting === undefined) this.#items.push(item);
		else waiting(item);
	}

	/** The next one, which may be there or is still to come. */
	next(): Promise<T> {
		if (this.#items.length > 0) return Promise.resolve(this.#items.shift() as T);
		const { promise, resolve, reject } = Promise.withResolvers<T>();
		const error = new Error(`${this.#what} did not come`);
		const timer = setTimeout(() => reject(error), PATIENCE_MS).unref();
		this.#waiting.push((item) => {
			clearTimeout(timer);
			resolve(item);
		});
		return promise;
	}
}
