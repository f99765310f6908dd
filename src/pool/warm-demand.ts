/** How many Instances should wait for whoever comes next: by use, by the catalog, and by the memory there is for them. */
import type { ServerName } from '../ids.ts';
import { WARM_LIMITS } from '../limits.ts';

/** How a server was used lately. */
export class Demand {
	/** When Instances were wanted, oldest first; as many as matter. */
	readonly #startsMs: number[] = [];
	#usedAtMs = Number.NEGATIVE_INFINITY;

	/** When it was used last. */
	get usedAtMs(): number {
		return this.#usedAtMs;
	}

	/** Somebody wanted an Instance. */
	started(nowMs: number): void {
		this.used(nowMs);
		this.#startsMs.push(nowMs);
		if (this.#startsMs.length > WARM_LIMITS.startsRememberedMax) this.#startsMs.shift();
	}

	/** Somebody has called one. */
	used(atMs: number): void {
		this.#usedAtMs = Math.max(this.#usedAtMs, atMs);
	}

	/**
	 * None where it was not used lately, one where it was, and as many as were wanted in a burst.
	 *
	 * @param latelyMs how long ago is lately
	 */
	wanted(nowMs: number, latelyMs: number): number {
		if (nowMs - this.#usedAtMs > latelyMs) return 0;
		while (nowMs - (this.#startsMs[0] ?? nowMs) > latelyMs) this.#startsMs.shift();
		let most = 1;
		let from = 0;
		for (const [to, atMs] of this.#startsMs.entries()) {
			while (atMs - (this.#startsMs[from] ?? atMs) > WARM_LIMITS.burstMs) from += 1;
			most = Math.max(most, to - from + 1);
		}
		return Math.min(most, WARM_LIMITS.perServerMax);
	}
}

/** What one server would have. */
export interface Claim {
	readonly server: ServerName;
	/** How many of its Instances should wait. */
	readonly wanted: number;
	/** Whether the catalog says so. */
	readonly pinned: boolean;
	readonly usedAtMs: number;
	/** What one of its Instances may take. */
	readonly memoryBytes: number;
}

/**
 * How many Instances of each server may wait within so much memory: first what the catalog says, then one for each
 * server, who was used last first, then what is left for bursts.
 */
export function shareOut(claims: readonly Claim[], bytesMax: number): ReadonlyMap<ServerName, number> {
	const shares = new Map<ServerName, number>();
	let bytesLeft = bytesMax;
	const grant = ({ server, wanted, memoryBytes }: Claim, countMax: number): void => {
		const has = shares.get(server) ?? 0;
		const count = Math.min(wanted - has, countMax, Math.floor(bytesLeft / memoryBytes));
		if (count <= 0) return;
		shares.set(server, has + count);
		bytesLeft -= count * memoryBytes;
	};
	for (const claim of claims) if (claim.pinned) grant(claim, claim.wanted);
	const byUse = claims.filter(({ pinned }) => !pinned).toSorted((one, other) => other.usedAtMs - one.usedAtMs);
	for (let round = 0; round < WARM_LIMITS.perServerMax; round += 1) for (const claim of byUse) grant(claim, 1);
	return shares;
}
