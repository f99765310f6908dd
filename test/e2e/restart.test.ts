/** The gateway's process is restarted, in order or not, under clients that are told nothing of it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { freePort, onceSaid, type SlipwayProcess, startSlipway } from '../support/client-process.ts';
import { answerOf, RawClient, textOf } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { containersOfGateway, leaveNothing } from '../support/leave-nothing.ts';
import { API_KEY } from '../support/stack.ts';

/** How soon a call that fails says so. */
const FAILURE_MS_MAX = 1_000;
const EVERY_MS = 100;
/** Fewer than a session may have: none is refused for that. */
const IN_FLIGHT_MAX = 16;
const ABANDONED = 30;
const IDLE_SECONDS = 10;
const GONE_WITHIN_MS = 10_000;

let image: string;

before(async () => {
	image = await fixtureImage();
});

interface Place {
	readonly url: string;
	/** Starts `all` and waits until it listens. */
	start(more?: Readonly<Record<string, string>>): Promise<SlipwayProcess>;
	containers(): Promise<Docker.ContainerInfo[]>;
	raw(path?: string): RawClient;
	/** How many sessions are kept. */
	kept(): number;
}

/** A port, a data folder and an id of its own. When the test ends, nothing of it may be left. */
async function makePlace(t: TestContext): Promise<Place> {
	const id = `e2e-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-restart-'));
	const data = join(folder, 'data');
	const port = await freePort();
	const processes: SlipwayProcess[] = [];
	const server = { image, command: ['node', '/app/test/fixtures/conversation.ts'] };
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers: { conversation: server } }));
	const containers = () => containersOfGateway(id);
	t.after(() => leaveNothing({ id, folder, processes, signal: 'SIGTERM' }));
	const url = `http://127.0.0.1:${port}`;
	return {
		url,
		containers,
		start: async (more = {}) => {
			const started = startSlipway(['all'], {
				// Containers are counted here.
				SLIPWAY_WARM: '0',
				SLIPWAY_CALLS_PER_MINUTE: '0',
				SLIPWAY_CONTAINERS_PER_CALLER: '0',
				SLIPWAY_PORT: String(port),
				SLIPWAY_DATA: data,
				SLIPWAY_CATALOG: folder,
				SLIPWAY_GATEWAY_ID: id,
				SLIPWAY_API_KEY: API_KEY,
				...more,
			});
			processes.push(started);
			return onceSaid(started, 'gateway listening');
		},
		raw: (path = '/servers/conversation/mcp') => new RawClient(`${url}${path}`),
		kept: () => {
			const database = new DatabaseSync(join(data, 'slipway.db'));
			const { count } = database.prepare('SELECT count(*) AS count FROM sessions').get() ?? {};
			database.close();
			return Number(count);
		},
	};
}

interface Outcome {
	readonly index: number;
	readonly durationMs: number;
	/** What failed; undefined when it was answered as it should be. */
	readonly failure: string | undefined;
}

/** Calls again and again, each call with a text of its own, until it is told to stop. */
class Caller {
	readonly outcomes: Outcome[] = [];
	readonly #raw: RawClient;
	readonly #tool: string;
	readonly #open = new Set<Promise<void>>();
	#last = 0;
	#over = false;
	readonly #running: Promise<void>;

	constructor(raw: RawClient, tool: string) {
		this.#raw = raw;
		this.#tool = tool;
		this.#running = this.#run();
	}

	/** Resolves when that many more calls were answered. */
	async answered(count: number): Promise<void> {
		const wanted = this.#answered() + count;
		const startedAtMs = performance.now();
		while (this.#answered() < wanted) {
			assert.ok(performance.now() - startedAtMs < 60_000, JSON.stringify(this.outcomes.slice(-5)));
			await sleep(EVERY_MS);
		}
	}

	async stop(): Promise<readonly Outcome[]> {
		this.#over = true;
		await this.#running;
		await Promise.all(this.#open);
		return this.outcomes.toSorted((one, other) => one.index - other.index);
	}

	#answered(): number {
		return this.outcomes.filter(({ failure }) => failure === undefined).length;
	}

	async #run(): Promise<void> {
		while (!this.#over) {
			if (this.#open.size < IN_FLIGHT_MAX) {
				const calling = this.#call(++this.#last);
				this.#open.add(calling);
				void calling.then(() => this.#open.delete(calling));
			}
			await sleep(EVERY_MS);
		}
	}

	async #call(index: number): Promise<void> {
		const startedAtMs = performance.now();
		const failure = await this.#try(index).catch((error: Error) => error.message);
		this.outcomes.push({ index, durationMs: performance.now() - startedAtMs, failure });
	}

	async #try(index: number): Promise<string | undefined> {
		const text = `call ${index}`;
		const reply = await this.#raw.send('tools/call', { name: this.#tool, arguments: { text } }, index);
		const answer = await answerOf(reply, index);
		await reply.text;
		assert.equal(reply.messages.items.filter((message) => 'result' in message || 'error' in message).length, 1);
		if (answer.error !== undefined) return JSON.stringify(answer.error);
		assert.equal(textOf(answer), text);
		return undefined;
	}
}

describe('a client that calls every 100 ms', { concurrency: 2 }, () => {
	for (const signal of ['SIGTERM', 'SIGKILL'] as const)
		for (const [path, tool] of [
			['/servers/conversation/mcp', 'echo'],
			['/mcp', 'conversation__echo'],
		] as const)
			test(`goes on with its session at ${path} after ${signal} and a new start`, { timeout: 180_000 }, async (t) => {
				const place = await makePlace(t);
				const first = await place.start();
				const raw = place.raw(path);
				await raw.open();
				const caller = new Caller(raw, tool);
				await caller.answered(10);
				first.child.kill(signal);
				await first.exited;
				// It is away for long enough that calls fail.
				await sleep(5 * EVERY_MS);
				await place.start();
				await caller.answered(10);
				const outcomes = await caller.stop();
				const failed = outcomes.filter(({ failure }) => failure !== undefined);
				assert.ok(failed.length > 0, 'nothing failed: it was not away');
				for (const { durationMs, failure } of failed)
					assert.ok(durationMs < FAILURE_MS_MAX, `${durationMs} ms: ${failure}`);
				// Once it is answered again, it is answered.
				const [begin = 0, end = 0] = [failed[0]?.index, failed.at(-1)?.index];
				for (const { index, failure } of outcomes)
					if (index > begin && index < end)
						assert.notEqual(failure, undefined, `call ${index} was answered in between`);
				assert.equal((await place.containers()).length, 1);
				assert.equal(await raw.end(), 200);
				assert.equal(place.kept(), 0);
			});
});

test(`${ABANDONED} sessions that nobody comes back to, nor ends: of a killed process nothing stays after their time`, {
	timeout: 300_000,
}, async (t) => {
	const place = await makePlace(t);
	const first = await place.start();
	const clients = Array.from({ length: ABANDONED }, () => place.raw());
	await Promise.all(
		clients.map(async (client, index) => {
			await client.open();
			assert.equal(textOf(await client.call('echo', { text: `${index}` })), `${index}`);
		}),
	);
	assert.equal((await place.containers()).length, ABANDONED);
	assert.equal(place.kept(), ABANDONED);
	first.child.kill('SIGKILL');
	await first.exited;
	await place.start({ SLIPWAY_SESSION_IDLE_SECONDS: String(IDLE_SECONDS) });
	// A few come back once more.
	for (const client of clients.slice(0, 3)) {
		const answer = await client.call('echo', { text: 'again' });
		assert.ok(answer.error === undefined || answer.error.code === -32001, JSON.stringify(answer));
	}
	const usedAtMs = performance.now();
	while ((await place.containers()).length > 0 || place.kept() > 0) {
		const waitedMs = performance.now() - usedAtMs;
		const states = (await place.containers()).map(({ State }) => State);
		assert.ok(waitedMs < IDLE_SECONDS * 1_000 + GONE_WITHIN_MS, `${states} and ${place.kept()} sessions are left`);
		await sleep(200);
	}
});

test("the SDK's client is told nothing of a restart, and goes on", { timeout: 120_000 }, async (t) => {
	const place = await makePlace(t);
	const first = await place.start();
	const client = await connectSdk(`${place.url}/servers/conversation/mcp`);
	await client.client.setLoggingLevel('error');
	assert.equal(await client.call('echo', { text: 'before' }), 'before');
	const { sessionId } = client.transport;
	first.child.kill('SIGTERM');
	assert.equal(await first.exited, 0);
	const second = await place.start();
	assert.equal(await client.call('echo', { text: 'after' }), 'after');
	// Questions of the server find their way too.
	assert.match(await client.call('ask_sampling', { prompt: 'Hello' }), /sdk says Hello/);
	second.child.kill('SIGKILL');
	await second.exited;
	await place.start();
	assert.equal(await client.call('echo', { text: 'after all' }), 'after all');
	assert.equal(client.transport.sessionId, sessionId);
	await client.close();
	assert.equal(place.kept(), 0);
});
