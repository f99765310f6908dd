/** How many calls somebody may make: a bucket for each caller and server, which fills again evenly. */

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

	/** Takes one call of the bucket of that name, which holds those of a minute, if there is one left. */
	take(name: string, perMinute: number, nowMs: number): Charge {
		const bucket = this.#buckets.get(name) ?? { perMinute, left: perMinute, atMs: nowMs };
		this.#buckets.set(name, bucket);
		refill(bucket, nowMs);
		// What may be used was changed meanwhile: what is left is the same part of it.
		if (bucket.perMinute !== perMinute) {
			bucket.left *= perMinute / bucket.perMinute;
			bucket.perMinute = perMinute;
		}
		const allowed = bucket.left >= 1;
		if (allowed) bucket.left -= 1;
		const missing = Math.max(0, 1 - (bucket.left - Math.floor(bucket.left)));
		return { allowed, remaining: Math.floor(bucket.left), waitMs: (missing * MS_PER_MINUTE) / perMinute };
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

function refill(bucket: Bucket, nowMs: number): void {
	const gained = (Math.max(0, nowMs - bucket.atMs) * bucket.perMinute) / MS_PER_MINUTE;
	bucket.left = Math.min(bucket.perMinute, bucket.left + gained);
	bucket.atMs = nowMs;
}
