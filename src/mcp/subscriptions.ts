/**
 * Subscriptions to resources at a server of the first era, wanted by any number of listeners.
 *
 * A server may answer requests in any order, so there is never more than one of a resource at a time: what is wanted by
 * then is looked at when it is answered.
 */

export interface SubscriptionsOptions {
	/** Resolves with whether the server took it. */
	readonly subscribe: (uri: string) => Promise<boolean>;
	readonly unsubscribe: (uri: string) => Promise<void>;
}

interface Subscription {
	/** How many want it. */
	wanted: number;
	subscribed: boolean;
	/** Whether the server is being asked, until it has what is wanted. */
	settling: boolean;
	/** Resolves with whether it is subscribed, when it is settled. */
	settled: Promise<boolean>;
}

/** INVARIANT: when nothing is under way, the server is subscribed to no resource that nobody wants. */
export class Subscriptions {
	readonly #options: SubscriptionsOptions;
	readonly #subscriptions = new Map<string, Subscription>();

	constructor(options: SubscriptionsOptions) {
		this.#options = options;
	}

	/** How many resources are subscribed, or are about to be. */
	get size(): number {
		return this.#subscriptions.size;
	}

	has(uri: string): boolean {
		return this.#subscriptions.has(uri);
	}

	/** One more wants it. Resolves with whether the server took it; to be let go of in either case. */
	want(uri: string): Promise<boolean> {
		const subscription = this.#subscriptions.get(uri) ?? {
			wanted: 0,
			subscribed: false,
			settling: false,
			settled: Promise.resolve(false),
		};
		this.#subscriptions.set(uri, subscription);
		subscription.wanted += 1;
		return this.#settle(uri, subscription);
	}

	/** One fewer wants it. */
	letGo(uri: string): void {
		const subscription = this.#subscriptions.get(uri);
		if (subscription === undefined) return;
		subscription.wanted -= 1;
		void this.#settle(uri, subscription);
	}

	/** Forgets all, since the server is gone. */
	clear(): void {
		this.#subscriptions.clear();
	}

	#settle(uri: string, subscription: Subscription): Promise<boolean> {
		if (!subscription.settling) subscription.settled = this.#reconcile(uri, subscription);
		return subscription.settled;
	}

	async #reconcile(uri: string, subscription: Subscription): Promise<boolean> {
		subscription.settling = true;
		let refused = false;
		while (!refused && subscription.wanted > 0 !== subscription.subscribed) {
			if (subscription.wanted > 0) {
				subscription.subscribed = await this.#options.subscribe(uri);
				refused = !subscription.subscribed;
			} else {
				await this.#options.unsubscribe(uri);
				subscription.subscribed = false;
			}
		}
		// In the same turn as the last look: who wants something from now on, begins anew.
		subscription.settling = false;
		if (subscription.wanted === 0 && this.#subscriptions.get(uri) === subscription) this.#subscriptions.delete(uri);
		return subscription.subscribed;
	}
}
