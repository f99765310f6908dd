/** An engine without room on its disk, and a socket that goes, comes back, or is not ours to open. */
import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { assertWithin, ChaosBench, codeOf, REFUSAL_MS_MAX, UNREADY_MS_MAX } from '../support/chaos-bench.ts';
import { textOf } from '../support/client-raw.ts';
import { DisposableEngine } from '../support/disposable-engine.ts';
import { openBench, refusedWith, until } from '../support/engine-bench.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture } from '../support/fixtures.ts';

/** The image, and as much again. */
const DISK_BYTES = 320 * 1024 ** 2;
/** Whom the kernel knows as nobody. */
const NOBODY = 65_534;

let engine: DisposableEngine;
before(async () => {
	engine = await DisposableEngine.start({ diskBytes: DISK_BYTES });
});
after(() => engine[Symbol.asyncDispose]());

test('the disk is full: a start is refused by a name of ours, who runs goes on, and with room all is well', async () => {
	await using bench = await ChaosBench.open(engine);
	const session = await bench.session('crlf');
	await engine.fillDisk();
	try {
		for (let attempt = 0; attempt < 6; attempt++) {
			const reply = await bench.client('crlf').sendInitialize();
			const text = await reply.text;
			assert.equal(reply.status, 503);
			assert.equal(codeOf(reply), 'SLIPWAY_ENGINE_FAILED');
			assert.doesNotMatch(text, /\/var\/lib|no space/);
		}
		assert.equal(textOf(await session.call('echo', { text: 'on' })), 'on');
		assert.equal((await bench.ready()).status, 200);
		assert.equal((await bench.ids()).length, 1);
		assert.equal(bench.instances, 1);
		// The server has done nothing: it is not to be kept waiting for the engine's sake.
		await bench.assertNoServerBlamed();
	} finally {
		await engine.emptyDisk();
	}
	const next = await bench.session('crlf');
	assert.equal(textOf(await next.call('echo', { text: 'room' })), 'room');
	assert.equal((await bench.ids()).length, 2);
});

test('the file of the socket is removed and made again: who has a container keeps it', async (t) => {
	await using bench = await ChaosBench.open(engine);
	const session = await bench.session('crlf');
	const before = await bench.ids();
	engine.socket.vanish();
	const tookMs = await bench.readyBecomes(false);
	t.diagnostic(`/ready says so after ${Math.round(tookMs)} ms`);
	assertWithin(tookMs, UNREADY_MS_MAX, '/ready');
	assert.match(bench.reason(), /^There is no socket at .+: is the engine running/);
	await bench.assertRefusesFast();
	assert.equal(textOf(await session.call('echo', { text: 'on' })), 'on');
	await engine.socket.appear();
	await bench.readyBecomes(true);
	assert.equal(textOf(await session.call('echo', { text: 'on' })), 'on');
	assert.deepEqual(await bench.ids(), before);
	await bench.session('crlf');
	assert.equal((await bench.ids()).length, 2);
});

test('the socket is not ours to open: it is said so, and when it is, all goes on', async () => {
	// The launcher alone: a gateway in this process could not open the launcher's socket either.
	const servers = [fixture('good', engine.image, ['misbehaving.ts', 'crlf'])];
	await using bench = await openBench(servers, { socketPath: engine.socket.path });
	const session = talk(await bench.launch('good'));
	await session.request('ping');
	await chmod(engine.socket.path, 0o000);
	// Root may open everything, so for a while this process is somebody else.
	const isRoot = process.geteuid?.() === 0;
	if (isRoot) process.seteuid?.(NOBODY);
	try {
		const startedAtMs = performance.now();
		await until('the engine is out of reach', () => !bench.engine.state.reachable);
		assertWithin(performance.now() - startedAtMs, UNREADY_MS_MAX, 'the loss of the engine');
		const askedAtMs = performance.now();
		const { details } = await refusedWith('SLIPWAY_ENGINE_UNREACHABLE', bench.launch('good'));
		assertWithin(performance.now() - askedAtMs, REFUSAL_MS_MAX, 'the refusal');
		assert.match(details.reason ?? '', /^No permission to open .+: the launcher needs to own it or be in its group\.$/);
		await session.request('ping');
	} finally {
		if (isRoot) process.seteuid?.(0);
		await chmod(engine.socket.path, 0o600);
	}
	await until('the engine is back', () => bench.engine.state.reachable);
	await session.request('ping');
	await talk(await bench.launch('good')).request('ping');
	assert.equal((await engine.containersOf(bench.gatewayId)).length, 2);
});
