/** How much somebody may have: in a minute, which is a bucket that fills again evenly, and at once, which is places. */

const MS_PER_MINUTE = 60_000;

interface Bucket {
	perMinute: number;
	left: number;
	atMs: number;
}

/** What came of asking for one call. */
export interface Charge {
	readonly allowed: boolean;
	/** Whole calls that are left. */
	readonly remaining: number;
	/** Until there is one more. */
	readonly waitMs: number;
}

/** INVARIANT: a bucket that is full is as good as none, and is forgotten at the next tick. */
export class Budgets {
	readonly #buckets = new Map<string, Bucket>();

	/** Buckets that are not full. */
	get size(): number {
		return this.#buckets.size;
	}

	/** Takes one of the bucket of that name, which holds those of a minute, if there is one left. */
	take(name: string, perMinute: number, nowMs: number): Charge {
		const bucket = this.#bucketOf(name, perMinute, nowMs);
		const allowed = bucket.left >= 1;
		if (allowed) bucket.left -= 1;
		return chargeOf(bucket, allowed);
	}

	/** Takes so many, also where fewer are left: who comes next waits for them. With none it is said whether one is left. */
	pay(name: string, perMinute: number, nowMs: number, amount: number): Charge {
		const bucket = this.#bucketOf(name, perMinute, nowMs);
		const allowed = bucket.left >= 1;
		bucket.left -= amount;
		return chargeOf(bucket, allowed);
	}

	#bucketOf(name: string, perMinute: number, nowMs: number): Bucket {
		const bucket = this.#buckets.get(name) ?? { perMinute, left: perMinute, atMs: nowMs };
		this.#buckets.set(name, bucket);
		refill(bucket, nowMs);
		// What may be used was changed meanwhile: what is left is the same part of it.
		if (bucket.perMinute !== perMinute) {
			bucket.left *= perMinute / bucket.perMinute;
			bucket.perMinute = perMinute;
		}
		return bucket;
	}

	/** Whether anything of that bucket is gone. */
	has(name: string): boolean {
		return this.#buckets.has(name);
	}

	/** Until there is one in that bucket; 0 where there is. Takes none. */
	waitMs(name: string, nowMs: number): number {
		const bucket = this.#buckets.get(name);
		if (bucket === undefined) return 0;
		refill(bucket, nowMs);
		return (Math.max(0, 1 - bucket.left) * MS_PER_MINUTE) / bucket.perMinute;
	}

	/** To be called every second or so. */
	tick(nowMs: number): void {
		for (const [name, bucket] of this.#buckets) {
			refill(bucket, nowMs);
			if (bucket.left >= bucket.perMinute) this.#buckets.delete(name);
		}
	}
}

function chargeOf({ left, perMinute }: Bucket, allowed: boolean): Charge {
	const remaining = Math.max(0, Math.floor(left));
	return { allowed, remaining, waitMs: ((remaining + 1 - left) * MS_PER_MINUTE) / perMinute };
}

const NOTHING = (): void => undefined;

/** INVARIANT: what is held is in the table, and nothing else is. */
export class Places {
	readonly #taken = new Map<string, number>();

	/** Names of which places are held. */
	get size(): number {
		return this.#taken.size;
	}

	/**
	 * Takes one of so many places, and returns the way to give it back, once; undefined when there is none.
	 *
	 * @param max undefined or 0: any number
	 */
	take(name: string, max: number | undefined): (() => void) | undefined {
		if (!max) return NOTHING;
		const taken = this.#taken.get(name) ?? 0;
		if (taken >= max) return undefined;
		this.#taken.set(name, taken + 1);
		let isHeld = true;
		return () => {
			if (!isHeld) return;
			isHeld = false;
			const left = (this.#taken.get(name) ?? 0) - 1;
			if (left > 0) this.#taken.set(name, left);
			else this.#taken.delete(name);
		};
	}

	/**
	 * The same of places that several have together: nobody has more of them than are free for the others, so that who
	 * comes new finds one. Whoever is alone there gets half of them.
	 */
	takeShare(name: string, who: string, max: number | undefined): (() => void) | undefined {
		if (!max) return NOTHING;
		const free = max - (this.#taken.get(name) ?? 0);
		const own = free > 0 ? this.take(`${name}\n${who}`, free) : undefined;
		const common = own && this.take(name, max);
		if (own === undefined || common === undefined) return undefined;
		return () => {
			own();
			common();
		};
	}
}

function refill(bucket: Bucket, nowMs: number): void {
	const gained = (Math.max(0, nowMs - bucket.atMs) * bucket.perMinute) / MS_PER_MINUTE;
	bucket.left = Math.min(bucket.perMinute, bucket.left + gained);
	bucket.atMs = nowMs;
}
