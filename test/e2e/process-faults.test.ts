/** The process is killed, told to end or starved at the moments that hurt most: nothing is lost that could be kept, or stays. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import type Docker from 'dockerode';
import { freePort, onceSaid, type SlipwayProcess, startSlipway } from '../support/client-process.ts';
import { answerOf, assertStatus, RawClient, type Reply, textOf } from '../support/client-raw.ts';
import { until, within } from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { containersOfGateway, leaveNothing } from '../support/leave-nothing.ts';
import { API_KEY } from '../support/stack.ts';

/** All that a call may have in which a process ends on its own accord, and far less than the call would take. */
const SOON_MS = 15_000;
const FEW_DESCRIPTORS = 64;
/** Connections of a moment. */
const DESCRIPTORS_MORE_MAX = 6;

let image: string;
before(async () => {
	image = await fixtureImage();
});

interface Place {
	/** The engine, by a way that can be held up. */
	readonly proxy: EngineProxy;
	/** Starts `all` and waits until it listens. */
	start(settings?: Readonly<Record<string, string>>): Promise<SlipwayProcess>;
	containers(): Promise<Docker.ContainerInfo[]>;
	raw(server?: string): RawClient;
	get(path: string): Promise<Response>;
}

/** A port, folders, an id and a way to the engine of its own. When the test ends, nothing of it may be left. */
async function makePlace(t: TestContext): Promise<Place> {
	const id = `e2e-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-faults-'));
	const port = await freePort();
	const processes: SlipwayProcess[] = [];
	const command = (...args: readonly string[]) => ({ image, command: ['node', ...args] });
	const servers = {
		// Each session has a container from its beginning.
		conversation: { ...command('/app/test/fixtures/conversation.ts'), snapshot: false },
		stubborn: command('/app/test/fixtures/misbehaving.ts', 'ignore-eof-and-term'),
	};
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
	const proxy = new EngineProxy(join(folder, 'engine.sock'));
	await proxy.open();
	t.after(async () => {
		try {
			await leaveNothing({ id, folder, processes, signal: 'SIGKILL' });
		} finally {
			await proxy.close();
		}
	});
	const url = `http://127.0.0.1:${port}`;
	return {
		proxy,
		start: async (settings = {}) => {
			const started = startSlipway(['all'], {
				SLIPWAY_PORT: String(port),
				SLIPWAY_DATA: join(folder, 'data'),
				SLIPWAY_CATALOG: folder,
				SLIPWAY_GATEWAY_ID: id,
				// Known, so that no look at the process's own container is taken for one at a server's.
				SLIPWAY_HOST_DIR: folder,
				SLIPWAY_DOCKER_SOCKET: proxy.socketPath,
				SLIPWAY_API_KEY: API_KEY,
				// What is started is what is asked for.
				SLIPWAY_WARM: '0',
				SLIPWAY_CALLS_PER_MINUTE: '0',
				SLIPWAY_CONTAINERS_PER_CALLER: '0',
				...settings,
			});
			processes.push(started);
			return onceSaid(started, 'gateway listening');
		},
		containers: () => containersOfGateway(id),
		raw: (server = 'conversation') => new RawClient(`${url}/servers/${server}/mcp`),
		get: (path) => fetch(`${url}${path}`, { headers: { authorization: `Bearer ${API_KEY}` } }),
	};
}

async function open(place: Place, server?: string): Promise<RawClient> {
	const raw = place.raw(server);
	await raw.open();
	return raw;
}

/** A call that goes on for `steps * delayMs`, and has begun: the first of its progress is there. */
async function beginCall(raw: RawClient, steps: number, delayMs: number, id: string | number = 'call'): Promise<Reply> {
	const params = { name: 'progress', arguments: { steps, delayMs }, _meta: { progressToken: id } };
	const reply = await raw.send('tools/call', params, id);
	await reply.messages.count(1);
	return reply;
}

function isWaiting(line: string): boolean {
	return line.includes('waiting for calls in flight');
}

describe('kill -9 in the middle of a start', { concurrency: 2 }, () => {
	// The request of the engine that is under way when it happens.
	const moments: readonly (readonly [moment: string, request: RegExp])[] = [
		['between create and attach', /^GET [^ ]*\/containers\/[0-9a-f]+\/json/],
		['in the attach', /^POST [^ ]*\/containers\/[0-9a-f]+\/attach/],
		['between attach and start', /^POST [^ ]*\/containers\/[0-9a-f]+\/start/],
	];
	for (const [moment, request] of moments) {
		test(`${moment}: the container is there, and the next process removes it`, async (t) => {
			const place = await makePlace(t);
			const killed = await place.start();
			const held = place.proxy.hold(request);
			const answer = place
				.raw('stubborn')
				.sendInitialize()
				.catch(() => 'broken off');
			await within(held.came, 'the request');
			killed.child.kill('SIGKILL');
			assert.equal(await killed.exited, 'SIGKILL');
			assert.equal(await answer, 'broken off');
			const left = await place.containers();
			assert.deepEqual(
				left.map(({ State }) => State),
				['created'],
			);

			const next = await place.start();
			await until('it is removed', async () => {
				const ids = (await place.containers()).map(({ Id }) => Id);
				return !ids.includes(left[0]?.Id ?? '');
			});
			held.release();
			const raw = await open(place, 'stubborn');
			assert.equal(textOf(await raw.call('echo', { text: 'well' })), 'well');
			next.child.kill('SIGTERM');
			assert.equal(await next.exited, 0);
			assert.deepEqual(await place.containers(), []);
		});
	}
});

describe('signals', { concurrency: 2 }, () => {
	test('SIGTERM with 20 calls in flight: each is answered, in full, and nothing stays', async (t) => {
		const place = await makePlace(t);
		const slipway = await place.start();
		const sessions = await Promise.all(Array.from({ length: 4 }, () => open(place)));
		const calls = await Promise.all(
			Array.from({ length: 20 }, (_, index) => {
				const raw = sessions[index % sessions.length] ?? assert.fail();
				// They end one after another, over a while.
				return beginCall(raw, 15 + index, 100, `call ${index}`);
			}),
		);
		slipway.child.kill('SIGTERM');
		const waiting = await slipway.lines.first(isWaiting);
		assert.equal(JSON.parse(waiting).count, 20);
		const answers = await Promise.all(calls.map((reply, index) => answerOf(reply, `call ${index}`)));
		assert.deepEqual(
			answers.map((answer) => textOf(answer)),
			answers.map((_, index) => `${15 + index} steps`),
		);
		// No step of any was lost.
		for (const [index, { text, messages }] of calls.entries()) {
			await text;
			assert.equal(messages.items.length, 15 + index + 1);
		}
		assert.equal(await slipway.exited, 0);
		assert.deepEqual(await place.containers(), []);
	});

	for (const [first, second] of [
		['SIGINT', 'SIGINT'],
		['SIGTERM', 'SIGINT'],
		['SIGINT', 'SIGTERM'],
	] as const) {
		test(`${first} waits for a call in flight, and ${second} after it does not`, async (t) => {
			const place = await makePlace(t);
			const slipway = await place.start();
			const call = await beginCall(await open(place), 1000, 100);
			slipway.child.kill(first);
			await slipway.lines.first(isWaiting);
			const startedAtMs = performance.now();
			slipway.child.kill(second);
			const { error } = await answerOf(call, 'call');
			assert.equal(error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
			assert.equal(await slipway.exited, 0);
			assert.ok(performance.now() - startedAtMs < SOON_MS);
			assert.deepEqual(await place.containers(), []);
		});
	}

	test('SIGHUP is ignored in the middle of a call, and while calls are waited for', async (t) => {
		const place = await makePlace(t);
		const slipway = await place.start();
		const call = await beginCall(await open(place), 20, 100);
		slipway.child.kill('SIGHUP');
		await call.messages.count(5);
		slipway.child.kill('SIGTERM');
		await slipway.lines.first(isWaiting);
		slipway.child.kill('SIGHUP');
		assert.equal(textOf(await answerOf(call, 'call')), '20 steps');
		assert.equal(await slipway.exited, 0);
	});
});

/** Lets a process have no more than so many descriptors from now on. */
async function limitDescriptors({ child }: SlipwayProcess, count: number): Promise<void> {
	const prlimit = spawn('prlimit', [`--pid=${child.pid}`, `--nofile=${count}:${count}`], { stdio: 'inherit' });
	assert.deepEqual(await once(prlimit, 'exit'), [0, null]);
}

describe('a process with few file descriptors', () => {
	test(`${FEW_DESCRIPTORS} of them: who does not fit is told 503, who is there goes on, and room comes back`, async (t) => {
		const place = await makePlace(t);
		const slipway = await place.start({ SLIPWAY_INSTANCES_MAX: String(FEW_DESCRIPTORS) });
		const descriptors = async (): Promise<number> => (await readdir(`/proc/${slipway.child.pid}/fd`)).length;
		const echo = async (raw: RawClient, text: string): Promise<void> =>
			assert.equal(textOf(await raw.call('echo', { text })), text);
		// Whatever it opens once is open then.
		const kept = await open(place);
		await echo(kept, 'first');
		const before = await descriptors();
		await limitDescriptors(slipway, FEW_DESCRIPTORS);
		const sessions: RawClient[] = [];
		let refused: Reply | undefined;
		// Each has a container, which takes one descriptor at least.
		while (refused === undefined && sessions.length < FEW_DESCRIPTORS) {
			const raw = place.raw();
			const reply = await raw.sendInitialize();
			const { error } = await answerOf(reply);
			await reply.text;
			if (error !== undefined) refused = reply;
			else {
				raw.sessionId = reply.headers.get('mcp-session-id') ?? undefined;
				sessions.push(raw);
			}
		}
		t.diagnostic(`${sessions.length} sessions`);
		assert.ok(sessions.length > 1 && refused !== undefined, `${sessions.length} sessions`);
		assertStatus(refused, 503);
		assert.equal((await answerOf(refused)).error?.data?.['retryable'], true);
		for (const [index, raw] of sessions.entries()) await echo(raw, `${index}`);

		// More connections than there is room for: some are cut, and that is all.
		const knocks = await Promise.allSettled(Array.from({ length: 2 * FEW_DESCRIPTORS }, () => place.get('/health')));
		for (const knock of knocks) if (knock.status === 'fulfilled') await knock.value.text();
		t.diagnostic(`${knocks.filter(({ status }) => status === 'rejected').length} of ${knocks.length} connections cut`);
		assert.equal(slipway.child.exitCode, null);
		for (const [index, raw] of sessions.entries()) await echo(raw, `${index} still`);

		for (const raw of sessions) assert.equal(await raw.end(), 200);
		await until('it is ready again', async () => (await place.get('/ready')).status === 200);
		await until('its descriptors are free', async () => (await descriptors()) <= before + DESCRIPTORS_MORE_MAX);
		await echo(await open(place), 'next');
		await echo(kept, 'kept');
		slipway.child.kill('SIGTERM');
		assert.equal(await slipway.exited, 0);
		assert.deepEqual(await place.containers(), []);
	});
});
