/** Whoever does not read stops who writes, within bounds, and is cut in the end. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { INSTANCE_LIMITS, SSE_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import type { FakeInstance, Rpc } from '../support/fake-launcher.ts';
import type { Stream } from '../support/http-client.ts';
import { call, callAgain, type OpenSession, result, startHttpStack } from '../support/http-stack.ts';

const MIB = 1024 ** 2;
/** More than all buffers between server and client hold together. */
const FLOOD_BYTES = 48 * MIB;
/** The bound of one stream, and what the kernel holds for a connection of this machine to itself. */
const ACCEPTED_BYTES_MAX = 24 * MIB;
const PADDING = 'x'.repeat(64 * 1024);

/** As many notifications as make up the flood. Returns how many. */
function flood(instance: FakeInstance, line: (i: number) => string): number {
	const count = Math.ceil(FLOOD_BYTES / PADDING.length);
	for (let i = 0; i < count; i++) instance.say(line(i));
	return count;
}

const logLine = (i: number): string =>
	`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":${i},"padding":"${PADDING}"}}`;
const numberOf = (message: Rpc): unknown => message.params?.['data'];

/** Resolves when the gateway takes nothing more from the server. */
async function settled(instance: FakeInstance): Promise<void> {
	let before = -1;
	while (instance.acceptedBytes !== before || !instance.stream.isPaused()) {
		assert.ok(instance.acceptedBytes <= ACCEPTED_BYTES_MAX, 'the gateway takes all that it gets');
		before = instance.acceptedBytes;
		await sleep(100);
	}
}

/** A session whose call is streamed to a client that does not read. */
async function stalledCall(session: OpenSession): Promise<{ stream: Stream; wireId: number; count: number }> {
	const streaming = session.stream(call('flood'), { paused: true });
	const { id } = await session.instance.hearRequest('tools/call');
	const count = flood(session.instance, logLine);
	await settled(session.instance);
	return { stream: await streaming, wireId: id, count };
}

async function ping({ instance, post }: OpenSession): Promise<void> {
	const pinging = post({ jsonrpc: '2.0', id: 'ping', method: 'ping' });
	instance.say(result((await instance.hearRequest('ping')).id));
	assert.equal((await pinging).status, 200);
}

describe('a client that does not read its stream', () => {
	test('pauses the server within bounds, and gets everything in order when it reads', async (t) => {
		const session = await (await startHttpStack(t)).open();
		const { stream, wireId, count } = await stalledCall(session);
		session.instance.say(result(wireId));
		stream.read();
		for (let i = 0; i < count; i++) assert.equal(numberOf(await stream.next()), i);
		assert.deepEqual(await stream.next(), result('flood'));
		assert.equal(await stream.closed, true);
		assert.ok(session.instance.acceptedBytes >= FLOOD_BYTES);
	});

	test('does not touch another session', async (t) => {
		const stack = await startHttpStack(t);
		const [slow, healthy] = [await stack.open(), await stack.open()];
		const { stream } = await stalledCall(slow);
		for (let i = 0; i < 20; i++) await ping(healthy);
		stream.destroy();
	});

	test('is cut after the stall limit, and the session goes on', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		const { stream } = await stalledCall(session);
		stack.later(SSE_LIMITS.stallMs - 2_000);
		assert.ok(session.instance.stream.isPaused(), 'not cut yet');
		stack.later(2_001);
		stream.read();
		assert.equal(await stream.closed, false);
		await ping(session);
	});

	test('is cut also when the answer was written already', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		// An answer that alone is more than the connection takes, so that nothing is left to pause but the answer is given.
		const streaming = session.stream(call('big', 'big', { progressToken: 'p' }), { paused: true });
		const { id } = await session.instance.hearRequest('tools/call');
		for (let i = 0; i < 9; i++)
			session.instance.say({
				jsonrpc: '2.0',
				method: 'notifications/progress',
				params: { progressToken: id, progress: i, padding: PADDING },
			});
		const stream = await streaming;
		assert.equal(stream.headers['content-type'], 'text/event-stream');
		session.instance.say(`{"jsonrpc":"2.0","id":${id},"result":{"text":"${'y'.repeat(9.9 * MIB)}"}}`);
		const other = session.post({ jsonrpc: '2.0', id: 'ping', method: 'ping' });
		const pinged = await session.instance.hearRequest('ping');
		await settled(session.instance);
		stack.later(SSE_LIMITS.stallMs + 1);
		session.instance.say(result(pinged.id));
		assert.equal((await other).status, 200);
		stream.read();
		assert.equal(await stream.closed, false);
	});

	test('and opens another GET stream instead has its session go on there', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		const dead = await session.listen({ paused: true });
		const count = flood(session.instance, logLine);
		await settled(session.instance);
		const standing = await session.listen();
		// What was written for the dead stream is lost with it; what comes later arrives.
		let last: unknown;
		while (last !== count - 1) last = numberOf(await standing.next());
		await ping(session);
		dead.read();
		await dead.closed;
	});

	test('goes away: the server is let go on', async (t) => {
		const session = await (await startHttpStack(t)).open();
		const { stream } = await stalledCall(session);
		stream.destroy();
		await ping(session);
	});

	test('and whose Instance ends hears of it when it reads', async (t) => {
		const session = await (await startHttpStack(t)).open();
		const { stream, count } = await stalledCall(session);
		session.instance.end({ cause: 'exited', exitCode: 9, stderr: '' });
		stream.read();
		for (let i = 0; i < count; i++) await stream.next();
		assert.equal((await stream.next()).error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
	});

	test('among many of its kind is cut like each of them', async (t) => {
		const stack = await startHttpStack(t);
		const sessions = await Promise.all(Array.from({ length: 6 }, () => stack.open()));
		const stalled: Stream[] = [];
		for (const session of sessions) stalled.push((await stalledCall(session)).stream);
		stack.later(SSE_LIMITS.stallMs + 1);
		for (const stream of stalled) {
			stream.read();
			assert.equal(await stream.closed, false);
		}
		for (const session of sessions) await ping(session);
	});
});

describe('a server that does not read its stdin', () => {
	const BIG = { blob: 'z'.repeat(1024 * 1024) };

	test('is sent no more than the bound; beyond it the client is told', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open();
		instance.stopReading();
		const statuses: string[] = [];
		for (let i = 0; i < 8; i++) {
			const answer = await post({ jsonrpc: '2.0', method: 'notifications/x', params: BIG });
			statuses.push(answer.status === 202 ? 'taken' : String(answer.rpc.error?.data?.['code']));
		}
		assert.ok(statuses.filter((status) => status === 'taken').length <= 5, statuses.join());
		assert.equal(statuses.at(-1), 'SLIPWAY_STDIN_STALL');
		assert.ok(instance.stream.writableLength <= STDIO_LIMITS.stdinQueuedBytesMax + 2 * MIB);
	});

	test('is ended after the stall limit, and its calls are answered', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post, stream } = await stack.open();
		const streaming = stream(call(1, 'x', { progressToken: 'p' }));
		await instance.hearRequest('tools/call');
		instance.say({ jsonrpc: '2.0', method: 'notifications/message', params: {} });
		const events = await streaming;
		await events.next();
		instance.stopReading();
		for (let i = 0; i < 4; i++) await post({ jsonrpc: '2.0', method: 'notifications/x', params: BIG });
		stack.later(0);
		stack.later(STDIO_LIMITS.stdinStallMs - 1000);
		assert.equal(instance.stopped, undefined);
		stack.later(1_001);
		assert.equal((await events.next()).error?.data?.['code'], 'SLIPWAY_STDIN_STALL');
		assert.equal(instance.stopped, 'prompt');
	});

	test('and reads again in time is let live', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		session.instance.stopReading();
		for (let i = 0; i < 4; i++) await session.post({ jsonrpc: '2.0', method: 'notifications/x', params: BIG });
		stack.later(0);
		session.instance.resumeReading();
		for (let i = 0; i < 4; i++) assert.equal((await session.instance.hear()).method, 'notifications/x');
		stack.later(1_000);
		stack.later(STDIO_LIMITS.stdinStallMs + 1);
		await ping(session);
	});

	test('and asks without end is not answered without end', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		session.instance.stopReading();
		// Each of them is refused with some 200 bytes on a stdin that nobody reads.
		const ask = '{"jsonrpc":"2.0","id":"q","method":"roots/list"}\n'.repeat(1000);
		for (let i = 0; i < 40; i++) session.instance.raw(ask);
		session.instance.raw('the last line is noise\n');
		while (session.instance.acceptedBytes < 40 * ask.length) await new Promise(setImmediate);
		assert.ok(session.instance.stream.writableLength <= STDIO_LIMITS.stdinQueuedBytesMax + MIB);
		stack.later(0);
		stack.later(Math.max(STDIO_LIMITS.stdinStallMs, INSTANCE_LIMITS.startTimeoutMs) + 1);
		await session.instance.ended;
		await callAgain(stack, session);
	});
});
