/** The egress role in the launcher's own process: `all`. It listens as soon as somebody may reach something, and not before. */
import type { Log } from '../log.ts';
import type { EgressGate, EgressPolicy, EgressReport } from './contract.ts';
import { EgressProxy } from './proxy.ts';

export class LocalGate implements EgressGate {
	readonly open = true;
	readonly #proxy: EgressProxy;
	readonly #log: Log;
	/** Another one may have come while the first waited for the port. */
	#latest: EgressPolicy = { revision: 0, networks: [] };

	constructor(log: Log) {
		this.#log = log;
		this.#proxy = new EgressProxy({ log });
	}

	get report(): EgressReport {
		return this.#proxy.report;
	}

	apply(policy: EgressPolicy): void {
		this.#latest = policy;
		if (policy.networks.length === 0) return this.#proxy.apply(policy);
		this.#proxy.listen().then(
			() => this.#proxy.apply(this.#latest),
			() => this.#log.error('the egress proxy cannot listen', { code: 'SLIPWAY_EGRESS_UNAVAILABLE' }),
		);
	}

	subscribe(listener: () => void): () => void {
		return this.#proxy.subscribe(listener);
	}

	stop(): Promise<void> {
		return this.#proxy.stop();
	}
}
