/** Servers that take all they can get, or die: it is their own that they take, and their neighbour notices nothing. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { answerOf, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const MIB = 1024 ** 2;
const NANO_CPUS = 5e8;
const PIDS_MAX = 64;
const TMP_BYTES = 8 * MIB;
/** How much longer a neighbour's calls may take than when nothing happens. Generous: the machine is others' too. */
const FACTOR_MAX = 30;
/** Calls that a median is taken of. */
const CALLS = 40;
/** Gateway, launcher and the test's own clients together. Far below what the servers send, or are sent. */
const GROWTH_MAX = 250 * MIB;

let stack: Stack;
let neighbour: Awaited<ReturnType<typeof connectSdk>>;
const docker = new Docker();

before(async () => {
	const image = await fixtureImage();
	const resources = {
		memoryBytes: 256 * MIB,
		nanoCpus: NANO_CPUS,
		pidsMax: PIDS_MAX,
		tmpBytes: TMP_BYTES,
		shmBytes: 0,
	};
	const small = { ...resources, memoryBytes: 128 * MIB };
	stack = await startStack({
		catalog: catalogOf(
			fixture('neighbour', image, ['conversation.ts']),
			...['forks', 'spins', 'fills'].map((name) => fixture(name, image, ['hungry.ts'], { resources })),
			...['oom', 'oom-child'].map((name) => fixture(name, image, ['conversation.ts'], { resources: small })),
			fixture('killed', image, ['conversation.ts']),
			fixture('endless-line', image, ['misbehaving.ts', 'endless-line']),
			fixture('long-line', image, ['misbehaving.ts', 'long-line']),
			fixture('deaf', image, ['misbehaving.ts', 'deaf']),
		),
	});
	neighbour = await connectSdk(stack.endpoint('neighbour'), { name: 'neighbour' });
	// What is slow the first time is no measure.
	await median();
});
after(async () => {
	await neighbour.close();
	await stack.stop();
});

/** How long a call of the neighbour takes now. */
async function callMs(): Promise<number> {
	const startedAtMs = performance.now();
	assert.equal(await neighbour.call('echo', { text: 'well' }), 'well');
	return performance.now() - startedAtMs;
}

function middleOf(numbers: readonly number[]): number {
	return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? assert.fail('nothing');
}

async function median(): Promise<number> {
	const took: number[] = [];
	for (let call = 0; call < CALLS; call++) took.push(await callMs());
	return middleOf(took);
}

/** That the neighbour's calls take about as long while this lasts as before and after. */
async function unnoticed<T>(t: { diagnostic(text: string): void }, fault: () => Promise<T>): Promise<T> {
	const before = await median();
	let over = false;
	const outcome = fault().finally(() => {
		over = true;
	});
	const took: number[] = [];
	do took.push(await callMs());
	while (!over);
	const result = await outcome;
	const [during, calm] = [middleOf(took), Math.max(before, await median())];
	t.diagnostic(`${calm.toFixed(1)} ms without, ${during.toFixed(1)} ms with it (${took.length} calls)`);
	assert.ok(during < FACTOR_MAX * calm, `a call takes ${during.toFixed(1)} ms in place of ${calm.toFixed(1)}`);
	return result;
}

async function open(server: string): Promise<RawClient> {
	const raw = new RawClient(stack.endpoint(server));
	await raw.open();
	return raw;
}

async function containerOf(server: string): Promise<Docker.Container> {
	const found = (await stack.containers()).filter(({ Labels }) => Labels[LABELS.server] === server);
	assert.equal(found.length, 1, `${found.length} containers of ${server}`);
	return docker.getContainer(found[0]?.Id ?? '');
}

function codeOf({ error }: RpcMessage): unknown {
	return error?.data?.['code'];
}

describe('a neighbour', { concurrency: false }, () => {
	test('of a fork bomb: it has the processes that it may have, and no more', async (t) => {
		const raw = await open('forks');
		const container = await containerOf('forks');
		const seen: number[] = [];
		const refused = await unnoticed(t, async () => {
			const answer = await raw.call('fork');
			for (let look = 0; look < 20; look++) seen.push(Number(textOf(await raw.call('processes'))));
			return JSON.parse(textOf(answer));
		});
		assert.equal(refused.code, 'EAGAIN');
		assert.ok(Math.max(...seen) > PIDS_MAX / 2 && Math.max(...seen) <= PIDS_MAX, `${seen} processes`);
		assert.equal(textOf(await raw.call('echo', { text: 'alive' })), 'alive');
		assert.equal(await raw.end(), 200);
		await assert.rejects(container.inspect(), { statusCode: 404 });
	});

	test('of a server that spins on more threads than there are cores: it has the time that it may have', async (t) => {
		const raw = await open('spins');
		await raw.call('spin', { threads: 4 });
		const look = async () => JSON.parse(textOf(await raw.call('cpu')));
		const [first, last] = await unnoticed(t, async () => {
			const from = await look();
			await sleep(3_000);
			return [from, await look()];
		});
		const cores = (last.usedMs - first.usedMs) / (last.atMs - first.atMs);
		t.diagnostic(`${cores.toFixed(2)} of a core`);
		// What it has of a period may be spent at its beginning or its end.
		assert.ok(cores > 0 && cores < (NANO_CPUS / 1e9) * 1.2, `${cores.toFixed(2)} of a core`);
		assert.equal(await raw.end(), 200);
	});

	test('of a server that fills what it can write to, bytes and inodes: it is in memory, and the disk has none of it', async (t) => {
		const raw = await open('fills');
		const container = await containerOf('fills');
		const { bytes, inodes } = await unnoticed(t, async () => JSON.parse(textOf(await raw.call('fill'))));
		const written = bytes.filter((tried: { bytes: number }) => tried.bytes > 0);
		assert.deepEqual(
			written.map(({ folder, code }: { folder: string; code: string }) => [folder, code]),
			[['/tmp', 'ENOSPC']],
		);
		assert.ok(written[0].bytes <= TMP_BYTES, `${written[0].bytes} bytes`);
		const made = inodes.filter((tried: { files: number }) => tried.files > 0);
		assert.deepEqual(
			made.map(({ folder, code }: { folder: string; code: string }) => [folder, code]),
			[['/tmp', 'ENOSPC']],
		);
		// What the engine keeps of it on the disk.
		const [onDisk] = await docker.listContainers({ size: true, filters: { id: [container.id] } });
		assert.equal(Reflect.get(onDisk ?? {}, 'SizeRw') ?? 0, 0);
		assert.deepEqual((await container.inspect()).Mounts, []);
		assert.equal(textOf(await raw.call('echo', { text: 'alive' })), 'alive');
		assert.equal(await raw.end(), 200);
	});

	test('of servers that run out of memory, themselves or a child of theirs, or are killed', async (t) => {
		const [oom, child, killed] = await Promise.all([open('oom'), open('oom-child'), open('killed')]);
		const call = await killed.send('tools/call', {
			name: 'progress',
			arguments: { steps: 1000, delayMs: 100 },
			_meta: { progressToken: 'p' },
		});
		await call.messages.count(1);
		const [ofOom, ofChild, ofKilled] = await unnoticed(t, async () => {
			await (await containerOf('killed')).kill();
			return Promise.all([oom.call('oom'), child.call('oom', { inChild: true }), answerOf(call)]);
		});
		for (const answer of [ofOom, ofKilled]) {
			assert.match(String(codeOf(answer)), /^SLIPWAY_INSTANCE_(?:EXITED|OOM)$/);
			assert.equal(answer.error?.data?.['exitCode'], 137);
		}
		assert.equal(codeOf(ofKilled), 'SLIPWAY_INSTANCE_EXITED');
		assert.deepEqual(JSON.parse(textOf(ofChild)), { code: null, signal: 'SIGKILL' });
		// The child's end is the child's: its session has the Instance that it had. No call was repeated on another.
		assert.equal(textOf(await child.call('echo', { text: 'alive' })), 'alive');
		const reports = await stack.launcher.report();
		const endedOf = (name: string) =>
			reports.filter(({ server }) => server === name).map(({ ended }) => ended?.exitCode);
		assert.deepEqual(['oom', 'killed', 'oom-child'].map(endedOf), [[137], [137], [undefined]]);
		await Promise.all([oom.end(), child.end(), killed.end()]);
	});

	test('of floods without a newline and lines of 100 MB: they end at their bound', async (t) => {
		const memory = process.memoryUsage.rss();
		let largest = 0;
		// Two at a time: what is to be seen is what they do to others, and not how fast this machine reads.
		for (let round = 0; round < 2; round++) {
			const [endless, long] = [await open('endless-line'), await open('long-line')];
			const answers = await unnoticed(t, () =>
				Promise.all([endless.call('endless'), long.call('long', { bytes: 100e6 })]),
			);
			assert.deepEqual(answers.map(codeOf), ['SLIPWAY_LINE_TOO_LONG', 'SLIPWAY_LINE_TOO_LONG']);
			largest = Math.max(largest, process.memoryUsage.rss() - memory);
			await Promise.all([endless.end(), long.end()]);
		}
		assert.ok(largest < GROWTH_MAX, `it grew by ${Math.round(largest / MIB)} MiB`);
		const ended = (await stack.launcher.report()).filter(({ server }) => server.endsWith('-line'));
		assert.equal(ended.length, 4);
	});

	test('of a server that never reads, and is sent 1,000 messages of 64 KiB', async (t) => {
		const raw = await open('deaf');
		const memory = process.memoryUsage.rss();
		const filler = { padding: 'x'.repeat(64 * 1024) };
		let largest = 0;
		const statuses = await unnoticed(t, async () => {
			const seen = new Map<number, number>();
			for (let sent = 0; sent < 1000; sent++) {
				const reply = await raw.notify('notifications/filler', filler);
				await reply.text;
				if (reply.status !== 202) assert.equal(codeOf(await answerOf(reply)), 'SLIPWAY_STDIN_STALL');
				seen.set(reply.status, (seen.get(reply.status) ?? 0) + 1);
				largest = Math.max(largest, process.memoryUsage.rss() - memory);
			}
			return seen;
		});
		t.diagnostic(`${[...statuses].map(([status, count]) => `${count} x ${status}`)}`);
		// What its queue takes, and the pipes on the way.
		const taken = statuses.get(202) ?? 0;
		assert.ok(taken >= 32 && taken < 320, `${taken} were taken`);
		assert.equal(statuses.get(503), 1000 - taken);
		assert.ok(largest < GROWTH_MAX, `it grew by ${Math.round(largest / MIB)} MiB`);
		assert.equal(await raw.end(), 200);
	});
});
