/** Sessions begin and end, again and again: nothing of them stays. CYCLES says how often; 10000 is a night's work. */
import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { RawClient, textOf } from '../support/client-raw.ts';
import { until } from '../support/engine-bench.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const MIB = 1024 ** 2;
const CYCLES = Number(process.env['CYCLES'] ?? 100);
/** What a process allocates once is no leak. */
const WARM_UP = 20;
const AT_ONCE = 2;
/** What comes and goes by itself: connections of a moment. */
const DESCRIPTORS_MAX = 4;
const HEAP_GROWTH_MAX = 4 * MIB;
/** Far more than a cycle takes on a machine that others load too. */
const CYCLE_MS = 1_000;

let stack: Stack;
const docker = new Docker();

before(async () => {
	const volumes = [{ name: 'kept', target: '/data' }];
	stack = await startStack({
		catalog: catalogOf(fixture('cycle', await fixtureImage(), ['conversation.ts'], { volumes })),
	});
});
after(() => stack.stop());

interface Measure {
	readonly descriptors: number;
	readonly heapBytes: number;
	readonly volumes: readonly string[];
	readonly networks: readonly string[];
}

/** The garbage is out of the way then, but for what was written a moment ago. */
function collectGarbage(): void {
	setFlagsFromString('--expose-gc');
	runInNewContext('gc')();
}

/** What there is when nobody has a session. */
async function measure(): Promise<Measure> {
	await until('no container is left', async () => (await stack.containers()).length === 0);
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${stack.gatewayId}`] });
	const { Volumes } = await docker.listVolumes({ filters });
	const networks = await docker.listNetworks({ filters });
	collectGarbage();
	return {
		descriptors: (await readdir('/proc/self/fd')).length,
		heapBytes: process.memoryUsage().heapUsed,
		volumes: Volumes.map(({ Name }) => Name),
		networks: networks.map(({ Name }) => Name),
	};
}

/** A session with a container of its own, from its beginning to its end. */
async function cycle(index: number): Promise<void> {
	const raw = new RawClient(stack.endpoint('cycle'));
	await raw.open();
	assert.equal(textOf(await raw.call('echo', { text: `${index}` })), `${index}`);
	assert.equal(await raw.end(), 200);
}

async function cycles(count: number): Promise<void> {
	let begun = 0;
	const work = async (): Promise<void> => {
		while (begun < count) await cycle(begun++);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, work));
}

test(`${CYCLES} starts and stops: descriptors, heap, containers, volumes and networks are as before`, {
	timeout: 60_000 + (WARM_UP + CYCLES) * CYCLE_MS,
}, async (t) => {
	await cycles(WARM_UP);
	const first = await measure();
	// All that a container has is what its entry names.
	const raw = new RawClient(stack.endpoint('cycle'));
	await raw.open();
	const [running] = await stack.containers();
	const { Mounts, NetworkSettings } = await docker.getContainer(running?.Id ?? '').inspect();
	assert.deepEqual(
		Mounts.map(({ Type, Destination, Name }) => [Type, Destination, Name]),
		[['volume', '/data', first.volumes[0]]],
	);
	assert.deepEqual(Object.keys(NetworkSettings.Networks), ['none']);
	assert.equal(await raw.end(), 200);

	await cycles(CYCLES);
	const last = await measure();
	const grown = last.heapBytes - first.heapBytes;
	t.diagnostic(`${last.descriptors} descriptors, ${(grown / MIB).toFixed(2)} MiB more of heap`);
	assert.ok(last.descriptors <= first.descriptors + DESCRIPTORS_MAX, `${first.descriptors} to ${last.descriptors}`);
	assert.ok(grown < HEAP_GROWTH_MAX, `${(grown / MIB).toFixed(2)} MiB more of heap`);
	assert.equal(first.volumes.length, 1);
	assert.deepEqual([last.volumes, last.networks], [first.volumes, []]);
	assert.equal(stack.remote.state.orphansSwept, 0);
});
