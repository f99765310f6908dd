/** `setTimeout` in the hands of a test: time passes when it says so, and what is still due can be counted. */

interface Due {
	readonly atMs: number;
	readonly callback: () => void;
}

/** INVARIANT: between `install` and `restore` no callback runs but in `advance`. */
export class VirtualTimers {
	readonly #due = new Map<object, Due>();
	readonly #real = { set: globalThis.setTimeout, clear: globalThis.clearTimeout };
	#nowMs = 0;

	/** How many have neither run nor been cleared. */
	get pending(): number {
		return this.#due.size;
	}

	install(): void {
		const set = (callback: (...args: unknown[]) => void, ms = 0, ...args: unknown[]): object => {
			const timer = { ref: () => timer, unref: () => timer, hasRef: () => true };
			this.#due.set(timer, { atMs: this.#nowMs + ms, callback: () => callback(...args) });
			return timer;
		};
		const clear = (timer: object | undefined): void => void (timer !== undefined && this.#due.delete(timer));
		Object.assign(globalThis, { setTimeout: set, clearTimeout: clear });
	}

	restore(): void {
		Object.assign(globalThis, { setTimeout: this.#real.set, clearTimeout: this.#real.clear });
	}

	/** Lets so much time pass, and runs what falls due in it, in order. */
	advance(ms: number): void {
		this.#nowMs += ms;
		const due = [...this.#due].filter(([, { atMs }]) => atMs <= this.#nowMs);
		for (const [timer, { callback }] of due.sort(([, one], [, other]) => one.atMs - other.atMs))
			if (this.#due.delete(timer)) callback();
	}
}
