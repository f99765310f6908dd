/**
 * What a server gets out of its sandbox: a probe that tries, with everything that the catalog can give it and in the place
 * of every server that Slipway ships. What came of each attempt is printed as a table.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { text as readText } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { type Catalog, createCatalog, type Server } from '../../src/catalog/catalog.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import type { Channel } from '../../src/channel.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { networkName } from '../../src/docker/networks.ts';
import { openEgressWorld } from '../support/egress-world.ts';
import {
	type Bench,
	docker,
	NODE_IMAGE,
	neverAborted,
	newGatewayId,
	openBench,
	within,
} from '../support/engine-bench.ts';
import { buildImage, type TestImage } from '../support/engine-images.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';

const image = await fixtureImage();
const CATALOG = new URL('../../catalog/catalog.json', import.meta.url).pathname;
const PREPARED_MS = 110_000;
const PROBE_FILES = [
	'probe',
	'probe-attempt',
	'probe-files',
	'probe-kernel',
	'probe-limits',
	'probe-network',
	'probe-status',
].map((name) => `${name}.ts`);

/** Process 1 is the container's own init and of the same user: no way out, and none to forbid it by on this kernel. */
const NO_WAY_OUT = 'ptrace(pid 1)';
/** File systems of the kernel's own; what else can be written to lies on the host's disk. */
const IN_MEMORY = new Set(['tmpfs', 'proc', 'devpts', 'mqueue', 'sysfs', 'cgroup', 'cgroup2']);
/** There on any host, and nothing that anybody could write to. */
const HOST_FOLDER = '/usr/lib';

interface Report {
	readonly attempts: readonly { readonly attempt: string; readonly outcome: string; readonly detail: string }[];
	readonly writableMounts: readonly { readonly target: string; readonly type: string }[];
	readonly limits: Record<string, { readonly soft: string; readonly hard: string }>;
}

interface Probing {
	/** Where the probe is in its image. */
	readonly path?: string;
	/** Targets that nobody may reach from there. */
	readonly connect: readonly string[];
	/** What the catalog gives it and others have not: attempts that must succeed. */
	readonly given?: readonly string[];
	/** Folders on the host's disk that it may write to. */
	readonly onDisk?: readonly string[];
	/** Further folders that it tries to write to. */
	readonly folders?: readonly string[];
}

async function probe(channel: Channel, { connect, given = [], onDisk = [], folders = [] }: Probing): Promise<Report> {
	const report = (await talk(channel).request('probe', { connect, folders })) as unknown as Report;
	const { attempts, writableMounts, limits } = report;
	assert.ok(attempts.length > 80, `${attempts.length} attempts`);
	const outcomes = new Map(attempts.map(({ attempt, outcome }) => [attempt, outcome]));
	for (const target of connect) assert.equal(outcomes.get(`connect to ${target}`), 'denied', target);
	for (const attempt of given) assert.equal(outcomes.get(attempt), 'ALLOWED', attempt);
	assert.deepEqual(
		attempts.filter(
			({ attempt, outcome }) =>
				outcome !== 'denied' && !(outcome === 'ALLOWED' && [NO_WAY_OUT, ...given].includes(attempt)),
		),
		[],
	);
	assert.deepEqual(
		writableMounts.filter(({ type }) => !IN_MEMORY.has(type)).map(({ target }) => target),
		onDisk,
	);
	assert.equal(limits['Max open files']?.hard, '1024');
	assert.equal(limits['Max core file size']?.hard, '0');
	return report;
}

function printTable(t: TestContext, reports: ReadonlyMap<string, Report>): void {
	const names = [...reports.keys()];
	const widths = names.map((name) => Math.max(name.length, 8) + 2);
	const row = (cells: readonly string[], last: string): void =>
		t.diagnostic(`${cells.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('')}${last}`);
	row(names, 'attempt');
	const attempts = new Set([...reports.values()].flatMap((report) => report.attempts.map(({ attempt }) => attempt)));
	for (const wanted of attempts) {
		const found = names.map((name) => reports.get(name)?.attempts.find(({ attempt }) => attempt === wanted));
		const details = new Set(found.flatMap((attempt) => (attempt === undefined ? [] : [attempt.detail])));
		row(
			found.map((attempt) => attempt?.outcome ?? '-'),
			`${wanted}: ${[...details].join(', ')}`,
		);
	}
}

/** A neighbour on the engine's bridge that listens, and where the host would be met there. */
async function openNeighbour(): Promise<AsyncDisposable & { readonly targets: readonly string[] }> {
	const neighbour = await docker.createContainer({
		Image: NODE_IMAGE,
		Cmd: ['node', '-e', "require('node:net').createServer().listen(8080)"],
		Labels: { [LABELS.gateway]: newGatewayId() },
		HostConfig: { AutoRemove: true, Init: true },
	});
	await neighbour.start();
	const { NetworkSettings } = await neighbour.inspect();
	const { IPAddress, Gateway } = NetworkSettings.Networks['bridge'] ?? { IPAddress: '', Gateway: '' };
	assert.match(IPAddress, /^\d/);
	return {
		targets: [`${IPAddress}:8080`, `${Gateway}:22`, `${Gateway}:2375`, `${Gateway}:8080`],
		[Symbol.asyncDispose]: () => within(neighbour.remove({ force: true }), 'the removal of the neighbour'),
	};
}

/** The image of a server, with the probe in the place of what it runs. */
async function withProbe(reference: string): Promise<TestImage> {
	const files = await Promise.all(
		PROBE_FILES.map(
			async (name) => [name, await readFile(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')] as const,
		),
	);
	const dockerfile = [`FROM ${reference}`, `COPY ${PROBE_FILES.join(' ')} /probe/`, 'ENTRYPOINT []'].join('\n');
	return buildImage(dockerfile, Object.fromEntries(files));
}

test('whatever the catalog gives a server, the probe gets that and nothing else', async (t) => {
	await using neighbour = await openNeighbour();
	const connect = neighbour.targets;
	const reports = new Map<string, Report>();
	const entry = (name: string, given: Partial<Server> = {}): Server => fixture(name, image, ['probe.ts'], given);
	{
		await using bench = await openBench(
			[
				entry('plain'),
				entry('shm', { resources: { ...entry('shm').resources, shmBytes: 8 * 1024 ** 2 } }),
				entry('volume', { volumes: [{ name: 'kept', target: '/kept' }] }),
				entry('mount', { mounts: [{ source: HOST_FOLDER, target: '/files', readOnly: true }] }),
			],
			{ launcher: { mountRoots: [HOST_FOLDER] } },
		);
		const given: Readonly<Record<string, Omit<Probing, 'connect'>>> = {
			plain: {},
			shm: { given: ['create a file in /dev/shm'] },
			volume: { folders: ['/kept'], given: ['create a file in /kept'], onDisk: ['/kept'] },
			mount: { folders: ['/files'] },
		};
		for (const [name, probing] of Object.entries(given)) {
			const channel = await bench.launch(name);
			reports.set(name, await probe(channel, { connect, ...probing }));
			await channel.stop('prompt');
		}
	}
	{
		await using world = await openEgressWorld([
			entry('egress', { egress: ['allowed.example.com:80'] }),
			entry('peer', { egress: ['other.example.com:80'] }),
		]);
		const { bench, publicAddress, privateAddress } = world;
		const peer = (await bench.inspect(await bench.launch('peer'))).NetworkSettings.Networks;
		const peers = Object.values(peer).map(({ IPAddress }) => `${IPAddress}:3128`);
		assert.equal(peers.length, 1);
		const targets = [...connect, ...peers, `${publicAddress}:80`, `${privateAddress}:80`];
		const given = ['have a network interface beside lo'];
		reports.set('egress', await probe(await bench.launch('egress'), { connect: targets, given }));
	}
	printTable(t, reports);
});

/** The shipped catalog on this engine, which may not see the folders of the container that tests run in. */
async function shipped(): Promise<Server[]> {
	const { servers } = await loadCatalog(CATALOG);
	const enabled = [...servers.values()].filter((server) => server.enabled);
	assert.ok(enabled.length >= 4);
	return enabled.map((server) => ({
		...server,
		mounts: server.mounts.map((mount) => ({ ...mount, source: HOST_FOLDER })),
	}));
}

function openShipped(servers: readonly Server[] | Catalog): Promise<Bench> {
	return openBench(servers, { launcher: { mountRoots: [HOST_FOLDER] } });
}

/** What the kernel says of every process of a container. */
async function processesOf(bench: Bench, channel: Channel): Promise<Map<string, string>[]> {
	const container = await bench.containerOf(channel);
	const command = await container.exec({ Cmd: ['sh', '-c', 'cat /proc/[0-9]*/status'], AttachStdout: true, Tty: true });
	const said = await within(readText(await command.start({ Tty: true })), 'the processes');
	const processes = said.split(/^(?=Name:)/m).filter((part) => part.startsWith('Name:'));
	return processes.map((part) => new Map(part.split('\r\n').map((line) => line.split(':\t') as [string, string])));
}

test('every shipped server runs as it was asked for: by the account of the engine, and of the kernel for each process', async () => {
	const entries = await shipped();
	await using bench = await openShipped(entries);
	for (const { name, resources, user, mounts, volumes, egress } of entries) {
		const launch = bench.launcher.launch(name, neverAborted(), 'test');
		const channel = await within(launch, `the launch of ${name}`, PREPARED_MS);
		const { Config, HostConfig: host, Mounts, NetworkSettings } = await bench.inspect(channel);
		assert.equal(Config.User, `${user.uid}:${user.gid}`, name);
		assert.ok(user.uid >= 10_000 && user.gid >= 10_000, name);
		assert.deepEqual(egress, [], name);
		const asked = {
			ReadonlyRootfs: true,
			Privileged: false,
			CapDrop: ['ALL'],
			SecurityOpt: ['no-new-privileges:true'],
			Memory: resources.memoryBytes,
			MemorySwap: resources.memoryBytes,
			NanoCpus: resources.nanoCpus,
			PidsLimit: resources.pidsMax,
			NetworkMode: 'none',
			IpcMode: 'none',
			CgroupnsMode: 'private',
			AutoRemove: true,
			LogConfig: { Type: 'none', Config: {} },
		};
		assert.deepEqual(Object.fromEntries(Object.keys(asked).map((field) => [field, Reflect.get(host, field)])), asked);
		assert.deepEqual(Object.keys(NetworkSettings.Networks), ['none'], name);
		assert.deepEqual(host.CapAdd ?? [], [], name);
		assert.deepEqual(host.Binds ?? [], [], name);
		assert.deepEqual(
			Mounts.filter(({ Type }) => Type !== 'tmpfs').map(({ Type, Destination, RW }) => ({ Type, Destination, RW })),
			[
				...mounts.map(({ target, readOnly }) => ({ Type: 'volume', Destination: target, RW: !readOnly })),
				...volumes.map(({ target }) => ({ Type: 'volume', Destination: target, RW: true })),
			],
			name,
		);
		// The launcher's own, the init, the server, and the command that looks.
		const processes = await processesOf(bench, channel);
		assert.ok(processes.length >= 3, `${name}: ${processes.length} processes`);
		assert.ok(
			processes.some((fields) => /node|MainThread/.test(fields.get('Name') ?? '')),
			name,
		);
		for (const fields of processes) {
			const what = `${name}: ${fields.get('Name')}`;
			assert.deepEqual(new Set(fields.get('Uid')?.split('\t')), new Set([String(user.uid)]), what);
			assert.deepEqual(new Set(fields.get('Gid')?.split('\t')), new Set([String(user.gid)]), what);
			for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
				assert.match(fields.get(set) ?? '', /^0+$/, `${what}: ${set}`);
			assert.equal(fields.get('NoNewPrivs'), '1', what);
			assert.equal(fields.get('Seccomp'), '2', what);
		}
		await channel.stop('prompt');
	}
});

test('in the place of every shipped server, in its image and with what its entry gives, the probe gets nowhere', async (t) => {
	const entries = await shipped();
	await using neighbour = await openNeighbour();
	await using images = new AsyncDisposableStack();
	await using bench = await openShipped(entries);
	const isReady = (): boolean => bench.launcher.state.servers.every(({ preparation }) => preparation.kind === 'ready');
	const ready = Promise.withResolvers<void>();
	const unsubscribe = bench.launcher.subscribe(() => isReady() && ready.resolve());
	if (isReady()) ready.resolve();
	await within(ready.promise, 'the images', PREPARED_MS).finally(unsubscribe);
	const probes: Server[] = [];
	for (const { preparation, name } of bench.launcher.state.servers) {
		const entry = entries.find((server) => server.name === name);
		assert.ok(entry !== undefined && preparation.kind === 'ready');
		const { reference } = images.use(await withProbe(preparation.image));
		const source = { kind: 'image', reference } as const;
		probes.push({ ...entry, source, command: ['node', '/probe/probe.ts'], args: [] });
	}
	bench.launcher.setCatalog(createCatalog(probes));
	const reports = new Map<string, Report>();
	for (const { name, mounts, volumes } of probes) {
		const channel = await bench.launch(name);
		const targets = volumes.map(({ target }) => target);
		const report = await probe(channel, {
			connect: neighbour.targets,
			folders: [...targets, ...mounts.map(({ target }) => target)],
			given: targets.map((target) => `create a file in ${target}`),
			onDisk: targets,
		});
		reports.set(name, report);
		await channel.stop('prompt');
	}
	printTable(t, reports);
});

test('an image that calls itself the egress role is not put into the networks of other servers', async () => {
	const node = fixture('node', image, ['reach.ts'], { egress: ['allowed.example.com:80'] });
	await using world = await openEgressWorld([node]);
	const { bench, attempt } = world;
	await using hostile = await buildImage(`FROM ${image}\nLABEL ${LABELS.egress}=${bench.gatewayId}`);
	const impostor = fixture('impostor', hostile.reference, ['reach.ts'], { egress: ['other.example.com:80'] });
	bench.launcher.setCatalog(createCatalog([node, impostor]));
	const there = await bench.launch('impostor');
	const { outcome, detail } = await attempt(await bench.launch('node'), {
		way: 'http',
		to: 'http://allowed.example.com/',
	});
	assert.equal(outcome, '200', detail);
	const { NetworkSettings } = await bench.inspect(there);
	assert.deepEqual(Object.keys(NetworkSettings.Networks), [networkName(bench.gatewayId, impostor.name)]);
});
