/** What arrives, in order: to be taken one by one, or looked through, waiting for what has not arrived yet. */

/** Far beyond what anything takes; a test that waits so long tells what it waited for. */
const PATIENCE_MS = 60_000;

interface Waiter {
	readonly isDone: () => boolean;
	readonly resolve: () => void;
}

export class Inbox<T> {
	/** All that came. */
	readonly items: T[] = [];
	readonly #what: string;
	readonly #waiters = new Set<Waiter>();
	#taken = 0;

	constructor(what = 'an item') {
		this.#what = what;
	}

	/** How many were not taken by `next`. */
	get size(): number {
		return Math.max(0, this.items.length - this.#taken);
	}

	push(item: T): void {
		this.items.push(item);
		for (const waiter of this.#waiters) if (waiter.isDone()) waiter.resolve();
	}

	/** Takes the next one, which may be there or is still to come. */
	async next(): Promise<T> {
		const index = this.#taken++;
		await this.#until(() => this.items.length > index);
		return this.items[index] as T;
	}

	/** The first that matches, come or yet to come, taken or not. */
	async first(matches: (item: T) => boolean): Promise<T> {
		await this.#until(() => this.items.some(matches));
		return this.items.find(matches) as T;
	}

	/** Waits until that many have come. */
	async count(count: number): Promise<readonly T[]> {
		await this.#until(() => this.items.length >= count);
		return this.items;
	}

	async #until(isDone: () => boolean): Promise<void> {
		if (isDone()) return;
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiter: Waiter = { isDone, resolve };
		const timer = setTimeout(() => {
			reject(new Error(`${this.#what} did not come. What came: ${JSON.stringify(this.items).slice(0, 2000)}`));
		}, PATIENCE_MS);
		timer.unref();
		this.#waiters.add(waiter);
		await promise.finally(() => {
			clearTimeout(timer);
			this.#waiters.delete(waiter);
		});
	}
}
