/** What a launcher starts at most: its own bounds, which hold whatever the gateway that asks has become. */
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';

const MS_PER_MINUTE = 60_000;

export interface QuotasOptions {
	/** Instances at a time, of all servers and of one. */
	readonly instancesMax: number;
	readonly instancesPerServerMax: number;
	readonly startsPerMinuteMax: number;
}

/**
 * INVARIANTS:
 * - A place is taken before a container is made, and given back once, when it has ended or was never made.
 * - `#startedAtMs` has the starts of the last minute, in their order, and never more than may be.
 */
export class Quotas {
	readonly #options: QuotasOptions;
	readonly #places = new Map<ServerName, number>();
	#taken = 0;
	#startedAtMs: number[] = [];

	constructor(options: QuotasOptions) {
		this.#options = options;
	}

	/**
	 * Takes a place for one Instance.
	 *
	 * @param nowMs of a clock that only goes forward
	 * @throws SlipwayError SLIPWAY_INSTANCES_FULL, SLIPWAY_SERVER_INSTANCES_FULL, SLIPWAY_START_RATE
	 */
	take(server: ServerName, nowMs: number): void {
		const { instancesMax, instancesPerServerMax, startsPerMinuteMax } = this.#options;
		const ofServer = this.#places.get(server) ?? 0;
		if (this.#taken >= instancesMax) throw new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 5 });
		if (ofServer >= instancesPerServerMax)
			throw new SlipwayError('SLIPWAY_SERVER_INSTANCES_FULL', { retryAfterSeconds: 5 });
		this.#startedAtMs = this.#startedAtMs.filter((atMs) => nowMs - atMs < MS_PER_MINUTE);
		const [firstAtMs = nowMs] = this.#startedAtMs;
		if (this.#startedAtMs.length >= startsPerMinuteMax) {
			const retryAfterSeconds = Math.ceil((firstAtMs + MS_PER_MINUTE - nowMs) / 1000);
			throw new SlipwayError('SLIPWAY_START_RATE', { retryAfterSeconds });
		}
		this.#startedAtMs.push(nowMs);
		this.#places.set(server, ofServer + 1);
		this.#taken += 1;
	}

	/** Gives back a place that was taken. The start still counts for its minute. */
	give(server: ServerName): void {
		const left = (this.#places.get(server) ?? 0) - 1;
		if (left > 0) this.#places.set(server, left);
		else this.#places.delete(server);
		this.#taken -= 1;
	}
}
