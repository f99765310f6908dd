/** An engine that is there and does nothing (SIGSTOP), and one that says less, or more, than we can hear. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ENGINE_LIMITS } from '../../src/limits.ts';
import { assertWithin, ChaosBench, codeOf, UNREADY_MS_MAX } from '../support/chaos-bench.ts';
import { assertStatus, textOf } from '../support/client-raw.ts';
import { DisposableEngine } from '../support/disposable-engine.ts';
import { within } from '../support/engine-bench.ts';

/** Longer than the deadline of a request to the engine. */
const STOPPED_MS = ENGINE_LIMITS.requestTimeoutMs + 5_000;
const CALLS = 20;
const EVENTS = 2_000;
/** About as long as that many events take, and longer than a ping may. */
const STALL_MS = 4_000;

let engine: DisposableEngine;
before(async () => {
	engine = await DisposableEngine.start();
});
after(() => engine[Symbol.asyncDispose]());

test('stopped beyond the deadline: starts fail in time, and what was said to running servers is answered after', async (t) => {
	await using bench = await ChaosBench.open(engine);
	const session = await bench.session('crlf');
	const [container] = await bench.ids();
	const asked = engine.socket.count;
	const pausedAtMs = performance.now();
	await engine.pause();
	// Before anybody knows that the engine hangs.
	const late = bench.client('crlf').sendInitialize();
	const answers: string[] = [];
	const calls = Array.from({ length: CALLS }, async (_, index) => {
		answers.push(textOf(await session.call('echo', { text: `said ${index}` })));
	});
	await bench.readyBecomes(false);
	await bench.assertRefusesFast();
	const reply = await within(late, 'a sign of life', ENGINE_LIMITS.requestTimeoutMs);
	await within(reply.text, 'the refusal of the start', STOPPED_MS);
	const refusedAfterMs = performance.now() - pausedAtMs;
	t.diagnostic(`the start was refused after ${Math.round(refusedAfterMs)} ms`);
	assertStatus(reply, 503);
	assert.equal(codeOf(reply), 'SLIPWAY_ENGINE_UNREACHABLE');
	assertWithin(refusedAfterMs, ENGINE_LIMITS.requestTimeoutMs + 2_000, 'the refusal of a start');
	await sleep(STOPPED_MS - (performance.now() - pausedAtMs));
	assert.deepEqual(answers, []);
	// Pings, one at a time, and the start: nobody storms an engine that hangs.
	const requests = engine.socket.count - asked;
	assert.ok(requests <= STOPPED_MS / 1000, `${requests} requests`);

	await engine.resume();
	await within(Promise.all(calls), 'the answers');
	assert.deepEqual(answers.toSorted(), Array.from({ length: CALLS }, (_, index) => `said ${index}`).toSorted());
	await bench.readyBecomes(true);
	// The start that was given up has left nothing, the next is the only one, and who was there is there still.
	const next = await bench.session('crlf');
	assert.equal(textOf(await next.call('echo', { text: 'new' })), 'new');
	await bench.onlyLeft(2);
	assert.ok((await bench.ids()).includes(container ?? ''));
	assert.equal(bench.instances, 2);
	await bench.assertNoServerBlamed();
});

test('stopped right after a ping: /ready says so in time', async (t) => {
	await using bench = await ChaosBench.open(engine);
	await within(engine.socket.next(/^GET \/_ping/), 'a ping');
	await engine.pause();
	const tookMs = await bench.readyBecomes(false);
	await engine.resume();
	t.diagnostic(`/ready says so after ${Math.round(tookMs)} ms`);
	await bench.readyBecomes(true);
	assertWithin(tookMs, UNREADY_MS_MAX, '/ready');
});

test('the stream of events is cut while containers die: the books are right, and it is taken up again', async () => {
	await using bench = await ChaosBench.open(engine);
	const sessions = [await bench.session('crlf'), await bench.session('crlf'), await bench.session('crlf')];
	const [one = '', two = '', three] = await bench.ids();
	const events = /^GET \S+\/events\?/;
	const again = engine.socket.next(events);
	assert.equal(engine.socket.cut(events), 1);
	for (const id of [one, two]) await engine.docker.getContainer(id).kill();
	await bench.onlyLeft(1);
	await bench.instancesBecome(1);
	assert.deepEqual(await bench.ids(), [three]);
	await within(again, 'the next stream of events');
	for (const session of sessions) assert.equal(textOf(await session.call('echo', { text: 'on' })), 'on');
	assert.equal(bench.instances, 3);
});

test(`${EVENTS} events and two deaths while we stall: afterwards the books are right`, async () => {
	await using bench = await ChaosBench.open(engine);
	const sessions = [await bench.session('crlf'), await bench.session('crlf'), await bench.session('crlf')];
	const [one = '', two = '', three = ''] = await bench.ids();
	const over = await engine.burst(EVENTS, three, [one, two]);
	// This is the stall: nothing of ours runs, and nothing is read.
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STALL_MS);
	await over();
	await bench.instancesBecome(1);
	assert.deepEqual(await bench.ids(), [three]);
	for (const session of sessions) assert.equal(textOf(await session.call('echo', { text: 'on' })), 'on');
	assert.equal(bench.instances, 3);
	await bench.onlyLeft(3);
	await bench.readyBecomes(true);
});
