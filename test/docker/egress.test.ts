/** What a server with egress reaches, seen from inside its container, and what becomes of its network. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { createCatalog, type Server } from '../../src/catalog/catalog.ts';
import { ensureImage } from '../../src/docker/images.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { networkName } from '../../src/docker/networks.ts';
import type { ServerName } from '../../src/ids.ts';
import { networksOf, openEgressWorld } from '../support/egress-world.ts';
import { docker, neverAborted, newGatewayId, openBench, refusedWith, until, within } from '../support/engine-bench.ts';
import { fixture, fixtureImage, server } from '../support/fixtures.ts';

const image = await fixtureImage();
const PYTHON_IMAGE = 'python:3.13-slim-trixie';
const script = await readFile(new URL('../fixtures/reach.py', import.meta.url), 'utf8');

/** A Node server that may reach these. */
function reach(name: string, egress: readonly string[]): Server {
	return fixture(name, image, ['reach.ts'], {
		egress,
		env: { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' },
	});
}

/** A Python server that may reach these. */
function reachInPython(name: string, egress: readonly string[]): Server {
	return server(name, { kind: 'image', reference: PYTHON_IMAGE }, { egress, command: ['python', '-c', script] });
}

test('a server with egress to one host reaches that host and nothing else', async () => {
	await using world = await openEgressWorld([
		reach('node', ['allowed.example.com:80', 'allowed.example.com:443', '*.below.example.org:80']),
		reach('neighbour', ['other.example.com:80']),
	]);
	const { bench, attempt, publicAddress, privateAddress } = world;
	const [node, neighbour] = [await bench.launch('node'), await bench.launch('neighbour')];

	const fetched = await attempt(node, { way: 'fetch', to: 'http://allowed.example.com/a?b=1', body: 'the body' });
	assert.equal(fetched.outcome, '200', fetched.detail);
	const { from: _, ...seen }: Record<string, unknown> = JSON.parse(fetched.detail);
	assert.deepEqual(seen, { method: 'POST', url: '/a?b=1', host: 'allowed.example.com', body: 'the body' });
	for (const [way, to] of [
		['fetch', 'https://allowed.example.com/'],
		['http', 'http://allowed.example.com/'],
		['http', 'http://deep.below.example.org/'],
	]) {
		const { outcome, detail } = await attempt(node, { way, to });
		assert.equal(outcome, '200', `${way} ${to}: ${detail}`);
	}

	// Through the proxy, to what is not allowed.
	for (const to of [
		'http://other.example.com/',
		'http://allowed.example.com:8080/',
		`http://${publicAddress}/`,
		`http://${privateAddress}/`,
		'http://169.254.169.254/latest/meta-data/',
	]) {
		const { outcome, detail } = await attempt(node, { way: 'fetch', to });
		assert.equal(outcome, '403', `${to}: ${detail}`);
		assert.match(detail, /^Slipway egress: /);
	}
	assert.equal((await attempt(node, { way: 'fetch', to: 'https://other.example.com/' })).outcome, 'failed');
	// Its neighbour may, so that it is the rule that keeps it out.
	assert.equal((await attempt(neighbour, { way: 'http', to: 'http://other.example.com/' })).outcome, '200');

	// Past the proxy.
	const hosts = await addressesOfHost(networkName(bench.gatewayId, 'node' as ServerName));
	const neighbours = Object.values((await bench.inspect(neighbour)).NetworkSettings.Networks);
	const past: [host: string, port: number][] = [
		[publicAddress, 80],
		[privateAddress, 80],
		['1.1.1.1', 443],
		['169.254.169.254', 80],
		...hosts.flatMap((address) => [22, 80, 2375].map((port): [string, number] => [address, port])),
		...neighbours.flatMap(({ IPAddress }): [string, number][] => [
			[IPAddress, 3128],
			[proxyBeside(IPAddress), 3128],
		]),
	];
	await Promise.all(
		past.map(async ([to, port]) => {
			const { outcome, detail } = await attempt(node, { way: 'socket', to, port });
			assert.equal(outcome, 'unreachable', `${to}:${port}: ${detail}`);
		}),
	);
	for (const question of [
		{ to: 'allowed.example.com' },
		{ to: 'example.com' },
		{ to: 'host.docker.internal' },
		{ to: 'example.com', server: '1.1.1.1' },
	]) {
		const { outcome, detail } = await attempt(node, { way: 'dns', ...question });
		assert.equal(outcome, 'failed', `${JSON.stringify(question)}: ${detail}`);
	}
});

/** The proxy's address in the network of an Instance, which has its own in the other half. */
function proxyBeside(address: string): string {
	const [a, b, c] = address.split('.').map(Number);
	return `${a}.${b}.${(c ?? 0) & ~1}.2`;
}

/** Where the host might be met: the gateways of every network of this engine, and the first address of this one. */
async function addressesOfHost(network: string): Promise<string[]> {
	const found = await docker.listNetworks();
	const gateways = found.flatMap(({ IPAM }) => (IPAM?.Config ?? []).map(({ Gateway }) => String(Gateway ?? '')));
	const own = found.find(({ Name }) => Name === network)?.IPAM?.Config?.[0]?.['Subnet'] ?? '';
	// With the other half for Instances, the engine would give the host the first address of that.
	const firsts = [own.replace(/0\/23$/, '1'), proxyBeside(own).replace(/(\d+)\.2$/, (_, c) => `${Number(c) + 1}.0`)];
	return [...new Set([...gateways, ...firsts])].filter((address) => /^\d+\.\d+\.\d+\.\d+$/.test(address));
}

test('a public name that leads to a private address is refused, and told with its reason', async () => {
	await using world = await openEgressWorld([reach('node', ['inside.example.com:80', 'allowed.example.com:80'])]);
	const { bench, attempt } = world;
	const node = await bench.launch('node');
	assert.equal((await attempt(node, { way: 'http', to: 'http://allowed.example.com/' })).outcome, '200');
	const { outcome, detail } = await attempt(node, { way: 'http', to: 'http://inside.example.com/' });
	assert.equal(outcome, '403');
	assert.match(detail, /inside\.example\.com:80 is refused: it leads to an address that is not public \(private\)/);
	await attempt(node, { way: 'http', to: 'http://other.example.com:8080/' });
	await attempt(node, { way: 'http', to: 'http://other.example.com:8080/' });
	const view = () => bench.launcher.state.servers[0]?.egress;
	await until('the launcher knows', () => view()?.deniedCount === 3);
	assert.equal(view()?.allowedCount, 1);
	assert.deepEqual(view()?.allowed, ['inside.example.com:80', 'allowed.example.com:80']);
	assert.deepEqual(
		view()?.denied.map(({ at: _, ...denial }) => denial),
		[
			{ target: 'other.example.com:8080', reason: 'rule', count: 2, allow: 'other.example.com:8080' },
			{ target: 'inside.example.com:80', reason: 'address', count: 1 },
		],
	);
});

test('Python goes the same way, and a socket of its own interface leads it nowhere', async () => {
	await using world = await openEgressWorld([
		reachInPython('python', ['allowed.example.com:80', 'allowed.example.com:443']),
		reachInPython('other', ['other.example.com:80']),
	]);
	const { bench, attempt, publicAddress } = world;
	await ensureImage(bench.engine, PYTHON_IMAGE, { onStep: () => undefined, signal: neverAborted() });
	const [python, other] = [await bench.launch('python'), await bench.launch('other')];
	for (const to of ['http://allowed.example.com/', 'https://allowed.example.com/'])
		assert.equal((await attempt(python, { way: 'urllib', to })).outcome, '200', to);
	const { outcome, detail } = await attempt(python, { way: 'urllib', to: 'http://other.example.com/' });
	assert.equal(outcome, '403');
	assert.match(detail, /add "other\.example\.com:80" to its "egress"/);
	assert.equal((await attempt(python, { way: 'lookup', to: 'allowed.example.com' })).outcome, 'unreachable');

	// Bound to its interface, a socket takes every address for one of a neighbour, and asks the link for it.
	const [ownNetwork, otherNetwork] = await Promise.all([networkOf(python), networkOf(other)]);
	const say = 'CONNECT other.example.com:80 HTTP/1.1\r\nHost: other.example.com:80\r\n\r\n';
	const own = await attempt(python, { way: 'device', to: ownNetwork.proxy, port: 3128, say });
	assert.equal(own.outcome, 'heard');
	assert.match(own.detail, /^HTTP\/1\.1 403 /);
	// The proxy's address in the other server's network answers on this link too, and must not speak for that server.
	const others = await attempt(python, { way: 'device', to: otherNetwork.proxy, port: 3128, say });
	assert.notEqual(others.outcome, 'heard', others.detail);
	const theirs = await attempt(other, { way: 'device', to: otherNetwork.proxy, port: 3128, say });
	assert.match(theirs.detail, /^HTTP\/1\.1 200 /);
	const past = [...(await addressesOfHost(ownNetwork.name)), publicAddress, otherNetwork.instance].flatMap((to) => [
		...[22, 80, 2375].map((port) => ({ way: 'device', to, port })),
		// As far as an answer goes: where the host does not filter by source (rp_filter), a datagram may get one way.
		{ way: 'datagram', to, port: 53 },
	]);
	await Promise.all(
		past.map(async (question) => {
			const met = await attempt(python, question);
			assert.equal(met.outcome, 'unreachable', `${JSON.stringify(question)}: ${met.detail}`);
		}),
	);

	async function networkOf(channel: typeof python): Promise<{ name: string; instance: string; proxy: string }> {
		const { NetworkSettings } = await bench.inspect(channel);
		const networks = Object.entries(NetworkSettings.Networks);
		assert.equal(networks.length, 1);
		const [name = '', endpoint] = networks[0] ?? [];
		const instance = endpoint?.IPAddress ?? '';
		return { name, instance, proxy: proxyBeside(instance) };
	}
});

test('a change of the catalog holds at once, for Instances too that run, and the network goes with the last of them', async () => {
	const entry = reach('node', ['allowed.example.com:80']);
	await using world = await openEgressWorld([entry]);
	const { bench, attempt } = world;
	const node = await bench.launch('node');
	const name = networkName(bench.gatewayId, 'node' as ServerName);
	const get = async (host: string) => (await attempt(node, { way: 'http', to: `http://${host}/` })).outcome;
	assert.deepEqual([await get('allowed.example.com'), await get('late.example.com')], ['200', '403']);
	assert.deepEqual(await networksOf(bench.gatewayId), [name]);
	const revision = world.gate.report.revision;
	bench.launcher.setCatalog(createCatalog([{ ...entry, egress: ['late.example.com:80'] }]));
	await within(
		until('the role knows', () => world.gate.report.revision > revision),
		'the new rules',
		1000,
	);
	assert.deepEqual([await get('allowed.example.com'), await get('late.example.com')], ['403', '200']);
	bench.launcher.setCatalog(createCatalog([{ ...entry, egress: [] }]));
	await until('the role knows', async () => (await get('late.example.com')) === '403');
	assert.deepEqual(await networksOf(bench.gatewayId), [name]);
	await node.stop('prompt');
	await until('the network is gone', async () => (await networksOf(bench.gatewayId)).length === 0);
	// Without egress the next one has no network at all.
	const alone = await bench.launch('node');
	assert.equal((await bench.inspect(alone)).HostConfig.NetworkMode, 'none');
});

test('an egress role that is replaced by another container has the networks and the rules again', async () => {
	await using world = await openEgressWorld([reach('node', ['allowed.example.com:80'])]);
	const { bench, attempt } = world;
	const node = await bench.launch('node');
	const get = async () => (await attempt(node, { way: 'http', to: 'http://allowed.example.com/' })).outcome;
	assert.equal(await get(), '200');
	await world.replaceRole();
	await until('it is served again', async () => (await get()) === '200');
});

test('a server with egress is not started without an egress role, and others are', async () => {
	await using bench = await openBench([
		reach('node', ['allowed.example.com:80']),
		fixture('plain', image, ['conversation.ts']),
	]);
	const error = await refusedWith('SLIPWAY_EGRESS_UNAVAILABLE', bench.launch('node'));
	assert.equal(error.details.server, 'node');
	await bench.launch('plain');
	assert.deepEqual(await networksOf(bench.gatewayId), []);
});

test('networks that an earlier run left go at the start, whoever is in them, and nobody else’s do', async () => {
	const gatewayId = newGatewayId();
	const label = (id: string, boot: object) => ({ [LABELS.gateway]: id, ...boot });
	const make = (Name: string, Labels: Record<string, string>) =>
		docker.createNetwork({ Name, Driver: 'bridge', Internal: true, Labels });
	const boot = { [LABELS.boot]: 'earlier' };
	await make(`${gatewayId}-left`, label(gatewayId, boot));
	await make(`${gatewayId}-foreign`, label(`${gatewayId}x`, boot));
	// A role that does not run: told to start in a network that is gone, it could not.
	const stopped = await docker.createContainer({
		Image: image,
		Cmd: ['true'],
		Labels: { [LABELS.egress]: gatewayId },
		HostConfig: { NetworkMode: 'bridge' },
	});
	try {
		await docker.getNetwork(`${gatewayId}-left`).connect({ Container: stopped.id });
		await using bench = await openBench([], { gatewayId });
		await until('it is gone', async () => (await networksOf(gatewayId)).length === 0);
		assert.deepEqual(await networksOf(`${gatewayId}x`), [`${gatewayId}-foreign`]);
		await stopped.start();
		assert.equal((await within(stopped.wait(), 'its end')).StatusCode, 0);
		assert.equal(bench.launcher.state.orphansSwept, 1);
	} finally {
		await stopped.remove({ force: true });
		await docker.getNetwork(`${gatewayId}-foreign`).remove();
	}
});
