/**
 * The network of one server: its Instances and the proxy, and nobody else.
 *
 * Internal, so that nothing is routed out of it. Without an address of the host on it (`isolated` from Engine 28 on,
 * `inhibit_ipv4` before), so that the host is not on it either: an internal network alone reaches every port of the host.
 */
import { createHash } from 'node:crypto';
import type { NetworkInspectInfo } from 'dockerode';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { EGRESS_LIMITS } from '../limits.ts';
import { type Engine, EngineRefusal } from './engine.ts';
import { LABELS } from './labels.ts';

export interface NetworkContext {
	readonly gateway: string;
	readonly boot: string;
}

export interface ServerNetwork {
	readonly name: string;
	readonly id: string;
	readonly subnet: string;
	/** The proxy's address in it. Instances get theirs from the other half. */
	readonly proxyAddress: string;
}

const OPTIONS = Object.freeze({
	'com.docker.network.bridge.gateway_mode_ipv4': 'isolated',
	'com.docker.network.bridge.inhibit_ipv4': 'true',
});

export function networkName(gateway: string, server: ServerName): string {
	return `slipway-${gateway}-${server}`;
}

/**
 * One of the ranges that networks of ours are given. They are of 198.18.0.0/15, which is set aside for measurements, so
 * that no network of anybody's is hidden by one; and chosen here, since the engine's own pool has room for thirty.
 */
export function rangeAt(
	index: number,
): Pick<ServerNetwork, 'subnet' | 'proxyAddress'> & { readonly instances: string } {
	const [high, low] = [18 + (index >> 7), (index & 0x7f) * 2];
	return {
		subnet: `198.${high}.${low}.0/23`,
		instances: `198.${high}.${low + 1}.0/24`,
		proxyAddress: `198.${high}.${low}.2`,
	};
}

/** Makes the network of a server, in place of one of that name that an earlier run left. */
export async function createNetwork(
	engine: Engine,
	server: ServerName,
	context: NetworkContext,
): Promise<ServerNetwork> {
	const name = networkName(context.gateway, server);
	const first = createHash('sha256').update(name).digest().readUInt16BE() % EGRESS_LIMITS.subnetsMax;
	for (let tried = 0; tried < EGRESS_LIMITS.subnetsMax; tried++) {
		const range = rangeAt((first + tried) % EGRESS_LIMITS.subnetsMax);
		try {
			const id = await create(engine, { name, server, range, context });
			return { name, id, subnet: range.subnet, proxyAddress: range.proxyAddress };
		} catch (error) {
			if (!(error instanceof EngineRefusal)) throw error;
			if (error.statusCode === 409) await removeStale(engine, name, context);
			else if (!/overlaps/i.test(error.message)) throw error;
		}
	}
	throw new SlipwayError('SLIPWAY_ENGINE_FAILED', { server, reason: 'No range of addresses is free for its network.' });
}

interface Plan {
	readonly name: string;
	readonly server: ServerName;
	readonly range: ReturnType<typeof rangeAt>;
	readonly context: NetworkContext;
}

async function create(engine: Engine, { name, server, range, context }: Plan): Promise<string> {
	const { id } = await engine.call((docker) =>
		docker.createNetwork({
			Name: name,
			Driver: 'bridge',
			Internal: true,
			Attachable: false,
			EnableIPv6: false,
			IPAM: { Driver: 'default', Config: [{ Subnet: range.subnet, IPRange: range.instances }] },
			Options: { ...OPTIONS },
			Labels: {
				[LABELS.gateway]: context.gateway,
				[LABELS.boot]: context.boot,
				[LABELS.server]: server,
			},
		}),
	);
	const made = await inspectNetwork(engine, id);
	const drift = made === undefined ? 'It is gone.' : findNetworkDrift(made, range.subnet);
	if (drift === undefined) return id;
	await removeNetwork(engine, id, context.gateway);
	throw new SlipwayError('SLIPWAY_SPEC_DRIFT', { server, reason: drift });
}

/** Whether the engine made the network that it was asked for: a sentence that says what differs, or undefined. */
export function findNetworkDrift(made: NetworkInspectInfo, subnet: string): string | undefined {
	if (made.Driver !== 'bridge') return `The network's driver reads back as ${made.Driver}.`;
	if (!made.Internal) return 'The network reads back as one that is not internal.';
	if (made.EnableIPv6) return 'The network reads back with IPv6.';
	if (made.IPAM?.Config?.length !== 1 || made.IPAM.Config[0]?.['Subnet'] !== subnet)
		return 'The network reads back with other addresses.';
	const option = Object.entries(OPTIONS).find(([name, value]) => made.Options?.[name] !== value)?.[0];
	return option === undefined ? undefined : `The network reads back without ${option}.`;
}

/** Undefined when it is gone. */
export function inspectNetwork(engine: Engine, id: string): Promise<NetworkInspectInfo | undefined> {
	return engine.callIfThere((docker) => docker.getNetwork(id).inspect());
}

/** The name is taken. By an earlier run of ours, or a try that nobody heard the end of: it goes. By anybody else: that is for a person to sort out. */
async function removeStale(engine: Engine, name: string, { gateway }: NetworkContext): Promise<void> {
	const found = await inspectNetwork(engine, name);
	if (found === undefined) return;
	const labels = found.Labels ?? {};
	if (labels[LABELS.gateway] !== gateway)
		throw new SlipwayError('SLIPWAY_ENGINE_FAILED', {
			reason: `There is a network ${name} that is not this launcher's.`,
		});
	await removeNetwork(engine, found.Id, gateway);
}

/**
 * The container that the egress role of a gateway runs in, by the label that compose.yaml gives it; undefined when none
 * runs. Of several the newest, as when compose replaces one.
 */
export async function findEgressContainer(engine: Engine, gateway: string): Promise<string | undefined> {
	return (await egressContainers(engine, gateway, { status: ['running'] }))[0];
}

async function egressContainers(engine: Engine, gateway: string, further: object = {}): Promise<string[]> {
	const filters = JSON.stringify({ label: [`${LABELS.egress}=${gateway}`], ...further });
	const found = await engine.call((docker) => docker.listContainers({ all: true, filters }));
	// Labels of an image become those of its containers, and what an image says of itself is no word of the operator's: what
	// has been made by us, which no image can hide, is no role.
	const roles = found.filter(({ Labels }) => Labels[LABELS.instance] === undefined);
	return roles.toSorted((a, b) => b.Created - a.Created).map(({ Id }) => Id);
}

/** Puts the proxy into a network at its address. It may be there already. */
export async function connectProxy(
	engine: Engine,
	{ id, proxyAddress }: ServerNetwork,
	container: string,
): Promise<void> {
	const inspected = await engine.call((docker) => docker.getContainer(container).inspect());
	const there = Object.values(inspected.NetworkSettings.Networks).find(({ NetworkID }) => NetworkID === id);
	if (there?.IPAddress === proxyAddress) return;
	if (there !== undefined) await disconnect(engine, id, container);
	const EndpointConfig = { IPAMConfig: { IPv4Address: proxyAddress } };
	await engine.call((docker) => docker.getNetwork(id).connect({ Container: container, EndpointConfig }));
}

/**
 * Removes a network, whoever is in it. Proxies that do not run are taken out too: one that is told to start in a network
 * that is gone does not.
 */
export async function removeNetwork(engine: Engine, id: string, gateway: string): Promise<void> {
	const members = Object.keys((await inspectNetwork(engine, id))?.Containers ?? {});
	const proxies = await egressContainers(engine, gateway);
	for (const container of new Set([...members, ...proxies])) await disconnect(engine, id, container);
	await engine.callIfThere((docker) => docker.getNetwork(id).remove());
}

/** Resolves also when it was not in it. */
async function disconnect(engine: Engine, id: string, container: string): Promise<void> {
	try {
		await engine.callIfThere((docker) => docker.getNetwork(id).disconnect({ Container: container, Force: true }));
	} catch (error) {
		if (!(error instanceof EngineRefusal)) throw error;
	}
}

/** Removes the networks that carry the gateway's label and are not among those kept, by name. Returns how many there were. */
export async function sweepNetworks(
	engine: Engine,
	{ gateway, boot }: NetworkContext,
	kept: ReadonlySet<string>,
): Promise<number> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gateway}`, LABELS.boot] });
	const found = await engine.call((docker) => docker.listNetworks({ filters }));
	const orphans = found.filter(({ Name, Labels }) => Labels?.[LABELS.boot] !== boot || !kept.has(Name));
	for (const { Id } of orphans) await removeNetwork(engine, Id, gateway);
	return orphans.length;
}
