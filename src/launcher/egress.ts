/**
 * The networks of the servers that may reach something, and what the egress role is told of them.
 *
 * A network is made before the first Instance that is in it, and goes when nobody is.
 */
import type { Catalog, Server } from '../catalog/catalog.ts';
import type { Engine } from '../docker/engine.ts';
import {
	connectProxy,
	createNetwork,
	findEgressContainer,
	inspectNetwork,
	type NetworkContext,
	networkName,
	removeNetwork,
	type ServerNetwork,
	sweepNetworks,
} from '../docker/networks.ts';
import { inspectSelf } from '../docker/self.ts';
import type { Egress } from '../docker/spec.ts';
import { EGRESS_PORT, type EgressGate, type EgressPolicy } from '../egress/contract.ts';
import { SlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { EGRESS_LIMITS } from '../limits.ts';
import type { EgressView } from './contract.ts';

export interface EgressOptions {
	readonly gate: EgressGate;
	/** Whether the role runs in this very process, and so in this container. */
	readonly within: boolean;
}

export interface EgressNetworksOptions {
	readonly engine: Engine;
	/** Undefined where there is no way to an egress role. */
	readonly egress: EgressOptions | undefined;
	readonly catalog: Catalog;
	/** Something that `view` tells has changed. */
	readonly onChange: () => void;
}

/** What is waited for of the role, and what to say when it does not come. */
interface Expectation {
	readonly isSo: () => boolean;
	readonly otherwise: string;
	readonly signal: AbortSignal;
}

interface Place {
	readonly users: Set<InstanceId>;
	network: ServerNetwork | undefined;
	/** What is done with a network is done one after the other. */
	tail: Promise<void>;
}

/**
 * INVARIANTS:
 * - An Instance is among the users of its server's network from before that is looked for until it has left.
 * - A network with users is not removed. The role's policy has every network that there is, with what the catalog allows
 *   now, which is nothing for a server that has lost its egress.
 */
export class EgressNetworks {
	readonly #options: EgressNetworksOptions;
	readonly #places = new Map<ServerName, Place>();
	readonly #unsubscribe: () => void;
	#catalog: Catalog;
	#revision = 0;
	#context: NetworkContext | undefined;
	#wasOpen = false;

	constructor(options: EgressNetworksOptions) {
		this.#options = options;
		this.#catalog = options.catalog;
		this.#unsubscribe = options.egress?.gate.subscribe(() => this.#gateChanged()) ?? (() => undefined);
	}

	/** What is allowed changes at once, for Instances too that run. */
	setCatalog(catalog: Catalog): void {
		this.#catalog = catalog;
		this.#tell();
		for (const name of this.#places.keys())
			if (!this.#isWanted(name)) void this.#removeUnused(name).catch(() => undefined);
	}

	/**
	 * Resolves when there is a role that can let this server out, if it needs one.
	 *
	 * @throws SlipwayError SLIPWAY_EGRESS_UNAVAILABLE when it does not come
	 */
	async ready(server: Server, signal: AbortSignal): Promise<void> {
		if (server.egress.length === 0) return;
		const gate = this.#options.egress?.gate;
		if (gate === undefined) throw unavailable('This launcher was started without a way to it.');
		await this.#until(gate, { isSo: () => gate.open, otherwise: 'It has not come.', signal });
	}

	/**
	 * The way out of an Instance of this server, ready to be used: undefined for one that has none.
	 *
	 * @throws SlipwayError SLIPWAY_EGRESS_UNAVAILABLE when there is no role that could let it out
	 */
	async join(
		server: Server,
		instance: InstanceId,
		{ signal, ...context }: NetworkContext & { readonly signal: AbortSignal },
	): Promise<Egress | undefined> {
		if (server.egress.length === 0) return undefined;
		this.#context = context;
		const gate = this.#options.egress?.gate;
		if (gate?.open !== true) throw unavailable('It has gone.');
		const place = this.#placeOf(server.name);
		place.users.add(instance);
		try {
			const network = await this.#inTurn(place, () => this.#ensure(server.name, place, context));
			const revision = this.#revision;
			const isSo = (): boolean => gate.report.revision >= revision;
			await this.#until(gate, { isSo, otherwise: 'It does not take the rules.', signal });
			return { network: network.name, proxyUrl: `http://${network.proxyAddress}:${EGRESS_PORT}` };
		} catch (error) {
			place.users.delete(instance);
			throw error;
		}
	}

	/** The Instance is gone, or was never made. */
	leave(server: ServerName, instance: InstanceId): void {
		const place = this.#places.get(server);
		if (place?.users.delete(instance) && !this.#isWanted(server))
			void this.#removeUnused(server).catch(() => undefined);
	}

	/** What a server may reach and what it was refused; undefined when it has no egress. */
	view(server: Server): EgressView | undefined {
		if (server.egress.length === 0) return undefined;
		const tally = this.#options.egress?.gate.report.tallies.find(([name]) => name === server.name)?.[1];
		return {
			allowed: server.egress,
			denied: tally?.latest ?? [],
			allowedCount: tally?.allowed ?? 0,
			deniedCount: tally?.denied ?? 0,
		};
	}

	/** Removes networks that nobody is in, and those that an earlier run left. Returns how many the latter were. */
	async sweep(context: NetworkContext): Promise<number> {
		for (const name of this.#places.keys()) await this.#removeUnused(name);
		const kept = new Set([...this.#places.keys()].map((name) => networkName(context.gateway, name)));
		return sweepNetworks(this.#options.engine, context, kept);
	}

	/** Removes every network; whoever is still in one is cut off. */
	async stop(): Promise<void> {
		this.#unsubscribe();
		for (const [name, place] of this.#places) {
			place.users.clear();
			// What is left when the engine is gone or refuses is for the next start to sweep.
			await this.#removeUnused(name).catch(() => undefined);
		}
	}

	#isWanted(name: ServerName): boolean {
		const server = this.#catalog.servers.get(name);
		return server?.enabled === true && server.egress.length > 0;
	}

	#placeOf(name: ServerName): Place {
		const place = this.#places.get(name) ?? { users: new Set(), network: undefined, tail: Promise.resolve() };
		this.#places.set(name, place);
		return place;
	}

	#inTurn<T>(place: Place, work: () => Promise<T>): Promise<T> {
		const done = place.tail.then(work);
		place.tail = done.then(
			() => undefined,
			() => undefined,
		);
		return done;
	}

	/** Looked at anew each time: somebody may have removed the network, or replaced the proxy's container. */
	async #ensure(name: ServerName, place: Place, context: NetworkContext): Promise<ServerNetwork> {
		const { engine } = this.#options;
		const known = place.network;
		if (known !== undefined && (await inspectNetwork(engine, known.id)) !== undefined) {
			await this.#connect(known, context);
			return known;
		}
		place.network = undefined;
		const network = await createNetwork(engine, name, context);
		place.network = network;
		await this.#connect(network, context);
		this.#tell();
		return network;
	}

	async #connect(network: ServerNetwork, { gateway }: NetworkContext): Promise<void> {
		const { engine, egress } = this.#options;
		const container = egress?.within
			? (await inspectSelf(engine))?.containerName
			: await findEgressContainer(engine, gateway);
		if (container === undefined)
			throw unavailable(
				egress?.within
					? 'This process runs in no container, and only a container can be in the network of a server.'
					: `No container with the label of the egress role of "${gateway}" runs.`,
			);
		await connectProxy(engine, network, container);
	}

	/** INVARIANT: a network is in the policy for as long as it is, and in no other. */
	#tell(): void {
		const networks: EgressPolicy['networks'] = [...this.#places].flatMap(([server, { network }]) => {
			if (network === undefined) return [];
			const allowed = this.#isWanted(server) ? (this.#catalog.servers.get(server)?.egress ?? []) : [];
			return [{ server, subnet: network.subnet, address: network.proxyAddress, allowed }];
		});
		this.#revision += 1;
		this.#options.egress?.gate.apply({ revision: this.#revision, networks });
	}

	#removeUnused(name: ServerName): Promise<void> {
		const place = this.#placeOf(name);
		return this.#inTurn(place, async () => {
			const { network, users } = place;
			if (users.size > 0) return;
			if (network !== undefined && this.#context !== undefined) {
				place.network = undefined;
				this.#tell();
				await removeNetwork(this.#options.engine, network.id, this.#context.gateway);
			}
			if (users.size === 0) this.#places.delete(name);
		});
	}

	#gateChanged(): void {
		const open = this.#options.egress?.gate.open ?? false;
		const came = open && !this.#wasOpen;
		this.#wasOpen = open;
		this.#options.onChange();
		const context = this.#context;
		if (!came || context === undefined) return;
		// It may have come in another container than the one that was here before.
		for (const place of this.#places.values()) {
			this.#inTurn(place, async () => {
				if (place.network !== undefined) await this.#connect(place.network, context);
			}).catch(() => undefined);
		}
	}

	async #until(gate: EgressGate, { isSo, otherwise, signal }: Expectation): Promise<void> {
		if (isSo()) return;
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const unsubscribe = gate.subscribe(() => isSo() && resolve());
		const timer = setTimeout(() => reject(unavailable(otherwise)), EGRESS_LIMITS.readyTimeoutMs);
		const abort = (): void => reject(signal.reason);
		signal.addEventListener('abort', abort, { once: true });
		if (signal.aborted) abort();
		try {
			await promise;
		} finally {
			clearTimeout(timer);
			signal.removeEventListener('abort', abort);
			unsubscribe();
		}
	}
}

function unavailable(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_EGRESS_UNAVAILABLE', { reason });
}
