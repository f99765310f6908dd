/** What arrives, in order, and a way to wait for what has not arrived yet. */

const WAIT_MS = 60_000;

interface Waiter<T> {
	readonly matches: (items: readonly T[]) => boolean;
	readonly resolve: () => void;
}

export class Inbox<T> {
	readonly items: T[] = [];
	readonly #waiters = new Set<Waiter<T>>();

	push(item: T): void {
		this.items.push(item);
		for (const waiter of this.#waiters) if (waiter.matches(this.items)) waiter.resolve();
	}

	/** The first item that matches, come or yet to come. Rejects, with what came instead, when none comes. */
	async first(matches: (item: T) => boolean): Promise<T> {
		await this.#until((items) => items.some(matches));
		const found = this.items.find(matches);
		if (found === undefined) throw new Error('unreachable: it was there');
		return found;
	}

	/** Waits for that many items. */
	async count(count: number): Promise<readonly T[]> {
		await this.#until((items) => items.length >= count);
		return this.items;
	}

	async #until(matches: (items: readonly T[]) => boolean): Promise<void> {
		if (matches(this.items)) return;
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const waiter: Waiter<T> = { matches, resolve };
		const timer = setTimeout(
			() => reject(new Error(`It did not come. What came: ${JSON.stringify(this.items).slice(0, 2000)}`)),
			WAIT_MS,
		);
		this.#waiters.add(waiter);
		await promise.finally(() => {
			clearTimeout(timer);
			this.#waiters.delete(waiter);
		});
	}
}
