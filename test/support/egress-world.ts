/**
 * A launcher with an egress role in a container of its own, and an internet to reach: networks of this engine, one of them
 * with addresses that are public to whoever looks at them and this machine's own to whoever sends there.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import type { ContainerCreateOptions } from 'dockerode';
import type { Server } from '../../src/catalog/catalog.ts';
import type { Channel } from '../../src/channel.ts';
import { type ContainerChannel, startContainer } from '../../src/docker/container.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { OomWatch } from '../../src/docker/oom-watch.ts';
import { type ContainerSpec, stdio } from '../../src/docker/spec.ts';
import { LinkedGate } from '../../src/egress/link.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import { type Bench, docker, neverAborted, newGatewayId, openBench, until, within } from './engine-bench.ts';
import { talk } from './engine-talk.ts';
import { fixtureImage } from './fixtures.ts';

export interface Outcome {
	readonly outcome: string;
	readonly detail: string;
}

export interface EgressWorld extends AsyncDisposable {
	readonly bench: Bench;
	readonly gate: LinkedGate;
	/** The addresses of the one host that there is: on the internet, and in a network of a private range. */
	readonly publicAddress: string;
	readonly privateAddress: string;
	/** Replaces the container of the role, as compose does. */
	replaceRole(): Promise<void>;
	/** One attempt of a server of test/fixtures/reach.ts or reach.py. */
	attempt(channel: Channel, question: object): Promise<Outcome>;
}

/** The networks of a gateway, by name. */
export async function networksOf(gatewayId: string): Promise<string[]> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] });
	return (await docker.listNetworks({ filters })).map(({ Name }) => Name).sort();
}

/** Names of the internet, all of one host: `allowed`, `other` and `late`; and `inside`, which leads to a private address. */
const NAMES = ['allowed.example.com', 'other.example.com', 'late.example.com', 'deep.below.example.org'];

export async function openEgressWorld(servers: readonly Server[]): Promise<EgressWorld> {
	const image = await fixtureImage();
	const gatewayId = newGatewayId();
	const gate = new LinkedGate();
	const stack = new AsyncDisposableStack();
	try {
		const outside = stack.adopt(await createPublicNetwork(gatewayId), (name) => removeNetwork(name));
		const inside = stack.adopt(`${gatewayId}-inside`, (name) => removeNetwork(name));
		await docker.createNetwork({ Name: inside, Driver: 'bridge' });
		const host = await docker.createContainer({
			Image: image,
			Cmd: ['node', '/app/test/fixtures/internet.ts'],
			HostConfig: { NetworkMode: outside, Init: true },
			NetworkingConfig: { EndpointsConfig: { [outside]: { Aliases: NAMES } } },
		});
		stack.defer(async () => void (await host.remove({ force: true })));
		await docker
			.getNetwork(inside)
			.connect({ Container: host.id, EndpointConfig: { Aliases: ['inside.example.com', 'other.example.org'] } });
		await host.start();
		const { NetworkSettings } = await host.inspect();
		const bench = stack.use(await openBench(servers, { gatewayId, launcher: { egress: { gate, within: false } } }));
		const oomWatch = new OomWatch(bench.engine, gatewayId);
		stack.defer(() => oomWatch.stop());
		let role: ContainerChannel | undefined;
		stack.defer(async () => void (await role?.stop('prompt')));
		const replaceRole = async (): Promise<void> => {
			await role?.stop('prompt');
			const spec = roleSpec(gatewayId, image, outside);
			role = await startContainer({ engine: bench.engine, oomWatch }, spec, neverAborted());
			await docker.getNetwork(inside).connect({ Container: role.id });
			gate.attach(role.stream);
			await until('the role is there', () => gate.open);
		};
		await replaceRole();
		const owned = stack.move();
		return {
			bench,
			gate,
			publicAddress: NetworkSettings.Networks[outside]?.IPAddress ?? '',
			privateAddress: NetworkSettings.Networks[inside]?.IPAddress ?? '',
			replaceRole,
			attempt: async (channel, question) => {
				const conversation = talks.get(channel) ?? talk(channel);
				talks.set(channel, conversation);
				return (await conversation.request('attempt', question)) as unknown as Outcome;
			},
			[Symbol.asyncDispose]: async () => {
				await owned.disposeAsync();
				assert.deepEqual(await networksOf(gatewayId), [], 'networks are left');
			},
		};
	} catch (error) {
		await stack.disposeAsync();
		throw error;
	}
}

const talks = new WeakMap<Channel, ReturnType<typeof talk>>();

/** Of 11.0.0.0/8, which is public; a range of it is this machine's for as long as the network is there. */
async function createPublicNetwork(gatewayId: string): Promise<string> {
	const name = `${gatewayId}-outside`;
	const Subnet = `11.${randomInt(256)}.${randomInt(256)}.0/24`;
	await docker.createNetwork({ Name: name, Driver: 'bridge', IPAM: { Driver: 'default', Config: [{ Subnet }] } });
	return name;
}

async function removeNetwork(name: string): Promise<void> {
	await within(docker.getNetwork(name).remove(), `the removal of ${name}`);
}

function roleSpec(gatewayId: string, image: string, network: string): ContainerSpec {
	const body: ContainerCreateOptions = {
		Image: image,
		Cmd: ['node', '/app/test/fixtures/egress-role.ts'],
		User: '10002:10002',
		Labels: { [LABELS.egress]: gatewayId },
		...stdio(),
	};
	return {
		server: 'egress' as ServerName,
		instance: randomUUID() as InstanceId,
		containerName: `${gatewayId}-egress-${randomBytes(3).toString('hex')}`,
		entryHash: '',
		hostFolders: {},
		secrets: [],
		body: {
			...body,
			HostConfig: { AutoRemove: true, Init: true, ReadonlyRootfs: true, CapDrop: ['ALL'], NetworkMode: network },
		},
	};
}
