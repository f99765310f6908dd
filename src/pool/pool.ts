/**
 * The pool: Instances over time. Who wants one gets a Lease, and gives it back.
 *
 * One Instance for each Lease: a stdio process that two clients share is the root of most defects of its kind.
 */
import type { Patience } from '../channel.ts';
import type { ServerName } from '../ids.ts';
import type { Launcher } from '../launcher/contract.ts';
import { type Standing, Upstream, type UpstreamObserver } from '../mcp/upstream.ts';

/** A hold on an Instance. */
export interface Lease {
	readonly upstream: Upstream;
	/** Gives the Instance back. Idempotent. Resolves when it is gone. */
	release(patience: Patience): Promise<void>;
}

export interface LeaseRequest {
	readonly server: ServerName;
	readonly standing: Standing;
	readonly observer: UpstreamObserver;
	/** Aborting gives the request up, and the Instance if it was on its way. */
	readonly signal: AbortSignal;
}

/** INVARIANT: `#leases` holds what was given and is not over; after `stop` it is empty. */
export class Pool {
	readonly #launcher: Launcher;
	readonly #leases = new Set<Lease>();

	constructor(launcher: Launcher) {
		this.#launcher = launcher;
	}

	/** Instances that are held. */
	get size(): number {
		return this.#leases.size;
	}

	/** A Lease on an Instance that has started, waiting for its image and its turn. Rejects with a SlipwayError. */
	async acquire({ server, standing, observer, signal }: LeaseRequest): Promise<Lease> {
		const channel = await this.#launcher.launch(server, signal);
		const upstream = new Upstream(channel, { standing, observer });
		const lease: Lease = {
			upstream,
			release: async (patience) => {
				await channel.stop(patience);
				await upstream.ended;
			},
		};
		this.#leases.add(lease);
		void upstream.ended.then(() => this.#leases.delete(lease));
		if (signal.aborted) {
			await lease.release('prompt');
			signal.throwIfAborted();
		}
		return lease;
	}

	/** Looks at the deadlines of everything that is held. */
	tick(nowMs: number): void {
		for (const { upstream } of this.#leases) upstream.tick(nowMs);
	}

	/** Ends every Instance that is held. */
	async stop(): Promise<void> {
		await Promise.all([...this.#leases].map((lease) => lease.release('prompt')));
	}
}
