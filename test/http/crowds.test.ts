/**
 * Many clients at once that hardly do anything: those who only listen, and those who hardly read. The gateway is a process of
 * its own (crowd-gateway.ts), so that its memory can be told from theirs.
 *
 * CROWD_MINUTES is for how long the quiet ones listen, by the clock on the wall; without it, five minutes by a clock that is
 * turned forward.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text as readText } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { REPLAY_LIMITS, SSE_LIMITS } from '../../src/limits.ts';
import type { Ask, Told } from '../support/crowd-gateway.ts';
import { ask } from '../support/http-client.ts';
import { AUTHORIZATION, call, initializeRequest, POST_HEADERS } from '../support/http-stack.ts';

const MIB = 1024 ** 2;
const GATEWAY = fileURLToPath(new URL('../support/crowd-gateway.ts', import.meta.url));
/** What V8 takes in the container of compose.yaml, which has 512 MiB. */
const HEAP_MIB = 256;
const PATH = '/servers/alpha/mcp';
const MINUTES = process.env['CROWD_MINUTES'];

const LISTENERS = 1000;
const QUIET_SECONDS = Number(MINUTES ?? 5) * 60;
const CALLS_PER_SECOND = 50;
/** All of the gateway's process, with all of them: 200 MiB, and what the servers take that are in it here. */
const LISTENED_TO_BYTES_MAX = 220 * MIB;

const SLOW_READERS = 200;
/** What waits for all of them, what is kept for those who come back, and as much again for what V8 makes of it. */
const SLOW_READERS_BYTES_MAX = 2 * (SSE_LIMITS.allBufferedBytesMax + REPLAY_LIMITS.totalBytesMax);
/** What is on its way moves now and then, and is then let move again for as long. */
const CUT_WITHIN_SECONDS = (4 * SSE_LIMITS.stallMs) / 1000;

class Crowd {
	readonly #process: ChildProcess;
	readonly #agent = new Agent({ keepAlive: true, maxSockets: CALLS_PER_SECOND });
	readonly #exited = new AbortController();
	told: Told = { port: 0, rssBytes: 0, floodedBytes: 0 };

	private constructor(gateway: ChildProcess) {
		this.#process = gateway;
		gateway.once('exit', () => this.#exited.abort(new Error('the gateway has ended')));
	}

	static async start(t: TestContext): Promise<Crowd> {
		const gateway = fork(GATEWAY, { stdio: 'inherit', execArgv: [`--max-heap-size=${HEAP_MIB}`] });
		const crowd = new Crowd(gateway);
		t.after(() => crowd.#stop());
		await crowd.#hear();
		return crowd;
	}

	/** Has time go by for the gateway. Resolves when it has looked at everything. */
	async later(laterMs: number): Promise<void> {
		this.#process.send({ laterMs } satisfies Ask);
		await this.#hear();
	}

	/** A new session. */
	async open(): Promise<string> {
		const { headers } = await this.#post(initializeRequest());
		return String(headers['mcp-session-id']);
	}

	/** Calls a tool of a session's server. Resolves with how long that took, in ms. */
	async call(session: string, name = 'echo'): Promise<number> {
		const startedMs = performance.now();
		const { text } = await this.#post(call(1, name), { 'mcp-session-id': session });
		assert.equal(text, '{"jsonrpc":"2.0","id":1,"result":{"content":[]}}');
		return performance.now() - startedMs;
	}

	/** The GET stream of a session, of which nothing is read. */
	listen(session: string): Promise<IncomingMessage> {
		const headers = { ...AUTHORIZATION, accept: 'text/event-stream', 'mcp-session-id': session };
		return ask(this.told.port, { path: PATH, headers });
	}

	async #post(message: object, more: Readonly<Record<string, string>> = {}) {
		const headers = { ...POST_HEADERS, ...more };
		const { port } = this.told;
		const outgoing = request({ host: '127.0.0.1', port, method: 'POST', path: PATH, headers, agent: this.#agent });
		outgoing.end(JSON.stringify(message));
		const [response]: IncomingMessage[] = await once(outgoing, 'response');
		assert.ok(response);
		const text = await readText(response);
		assert.equal(response.statusCode, 200, text);
		return { headers: response.headers, text };
	}

	async #hear(): Promise<void> {
		[this.told] = await once(this.#process, 'message', { signal: this.#exited.signal });
	}

	async #stop(): Promise<void> {
		this.#agent.destroy();
		if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
		this.#process.send({ stop: true } satisfies Ask);
		const [code] = await once(this.#process, 'exit');
		assert.equal(code, 0);
	}
}

async function times<Made>(count: number, make: () => Promise<Made>): Promise<Made[]> {
	const made: Made[] = [];
	while (made.length < count) made.push(await make());
	return made;
}

test('a thousand who only listen for five minutes, and fifty calls a second beside them', {
	timeout: QUIET_SECONDS * 1000 + 60_000,
}, async (t) => {
	const crowd = await Crowd.start(t);
	const callers = await times(CALLS_PER_SECOND, () => crowd.open());
	const streams = await times(LISTENERS, async () => crowd.listen(await crowd.open()));
	const lives: number[] = streams.map(() => 0);
	let over = 0;
	for (const [index, stream] of streams.entries()) {
		stream.setEncoding('utf8').on('data', (chunk: string) => {
			if (chunk.includes(': keep-alive')) lives[index] = (lives[index] ?? 0) + 1;
		});
		stream.once('end', () => {
			over += 1;
		});
	}
	const callsMs: number[] = [];
	let rssBytes = 0;
	for (let second = 0; second < QUIET_SECONDS; second++) {
		if (MINUTES !== undefined) await sleep(1000);
		await crowd.later(MINUTES === undefined ? 1000 : 0);
		for (const session of callers) callsMs.push(await crowd.call(session));
		rssBytes = Math.max(rssBytes, crowd.told.rssBytes);
	}
	callsMs.sort((a, b) => a - b);
	const at = (share: number): string => (callsMs[Math.floor(callsMs.length * share)] ?? 0).toFixed(2);
	t.diagnostic(`${Math.round(rssBytes / MIB)} MiB; ${callsMs.length} calls, p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`);
	assert.equal(over, 0, 'streams have ended');
	const least = Math.floor((QUIET_SECONDS * 1000) / (SSE_LIMITS.keepAliveMs + 2000));
	assert.ok(Math.min(...lives) >= least, `one saw ${Math.min(...lives)} signs of life and not ${least}`);
	assert.ok(rssBytes < LISTENED_TO_BYTES_MAX, `${Math.round(rssBytes / MIB)} MiB`);
	for (const stream of streams) stream.destroy();
});

test('two hundred who read a byte a second are cut, within bounds, and nobody else is touched', async (t) => {
	const crowd = await Crowd.start(t);
	const other = await crowd.open();
	const sessions = await times(SLOW_READERS, () => crowd.open());
	const streams: IncomingMessage[] = [];
	for (const session of sessions) streams.push(await crowd.listen(session));
	await crowd.later(0);
	const before = crowd.told.rssBytes;
	for (const session of sessions) await crowd.call(session, 'flood');
	let rssBytes = 0;
	for (let second = 0; second < CUT_WITHIN_SECONDS; second++) {
		await crowd.later(1000);
		for (const stream of streams) stream.read(1);
		await crowd.call(other);
		rssBytes = Math.max(rssBytes, crowd.told.rssBytes - before);
	}
	const { floodedBytes } = crowd.told;
	t.diagnostic(`${Math.round(rssBytes / MIB)} MiB more; servers got rid of ${Math.round(floodedBytes / MIB)} MiB`);
	assert.ok(rssBytes < SLOW_READERS_BYTES_MAX, `${Math.round(rssBytes / MIB)} MiB more`);
	// What is in the kernel comes, and then the end that is none.
	const ends = streams.map((stream) => {
		const { promise, resolve } = Promise.withResolvers<boolean>();
		stream.on('error', () => undefined);
		stream.once('close', () => resolve(stream.complete));
		stream.resume();
		return promise;
	});
	assert.deepEqual(new Set(await Promise.all(ends)), new Set([false]));
	await crowd.call(other);
});
