/** A real engine ends by a real SIGKILL: with and without live-restore, once, and again and again. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
	assertWithin,
	ChaosBench,
	DEATH_MS_MAX,
	dataOf,
	SWEPT_MS_MAX,
	UNREADY_MS_MAX,
} from '../support/chaos-bench.ts';
import { textOf } from '../support/client-raw.ts';
import { DisposableEngine } from '../support/disposable-engine.ts';
import { neverAborted, openBench, until, within } from '../support/engine-bench.ts';
import { fixture } from '../support/fixtures.ts';

const RESTARTS = 20;

let engine: DisposableEngine;
before(async () => {
	engine = await DisposableEngine.start();
});
after(() => engine[Symbol.asyncDispose]());

test('killed without live-restore: nobody is kept waiting, and what was is over when it is back', async (t) => {
	await using bench = await ChaosBench.open(engine);
	const session = await bench.session('crlf');
	const waiting = (await bench.session('deaf')).call('echo', { text: 'never answered' });
	const before = await bench.ids();
	assert.equal(before.length, 2);
	const killedAtMs = performance.now();
	await engine.kill();
	await bench.readyBecomes(false);
	const lostAfterMs = performance.now() - killedAtMs;
	t.diagnostic(`/ready says so after ${Math.round(lostAfterMs)} ms`);
	assertWithin(lostAfterMs, UNREADY_MS_MAX, '/ready');
	assert.deepEqual((await bench.ready()).checks, { gateway: 'ok', launcher: 'ok', engine: 'does not answer' });
	await bench.assertRefusesFast();
	assert.equal(dataOf(await waiting)['code'], 'SLIPWAY_INSTANCE_LOST');
	// Its Instance is known to be lost, so a session that there was is refused as a new one is.
	const askedAtMs = performance.now();
	assert.equal(dataOf(await session.call('echo', { text: 'now' }))['code'], 'SLIPWAY_ENGINE_UNREACHABLE');
	assertWithin(performance.now() - askedAtMs, UNREADY_MS_MAX, 'the refusal');

	await engine.up();
	await bench.readyBecomes(true);
	assertWithin(await bench.onlyLeft(0), SWEPT_MS_MAX, 'the removal of what was there before');
	assert.equal(textOf(await session.call('echo', { text: 'again' })), 'again');
	const [now, ...more] = await bench.ids();
	assert.ok(now !== undefined && !before.includes(now));
	assert.deepEqual(more, []);
	await bench.assertNoServerBlamed();
});

test('killed in the middle of a call: the caller hears of it within a second', async (t) => {
	await using bench = await ChaosBench.open(engine);
	const waiting = (await bench.session('deaf')).call('echo', { text: 'never answered' });
	const killedAtMs = performance.now();
	await engine.kill();
	const answer = await waiting;
	const heardAfterMs = performance.now() - killedAtMs;
	t.diagnostic(`heard after ${Math.round(heardAfterMs)} ms`);
	await engine.up();
	assert.equal(dataOf(answer)['code'], 'SLIPWAY_INSTANCE_LOST');
	assertWithin(heardAfterMs, DEATH_MS_MAX, 'the end of the call');
});

for (const noticed of [true, false]) {
	const when = noticed ? 'after a while' : 'before anybody noticed';
	test(`killed with live-restore, and back ${when}: who survived is removed, and nobody speaks with it again`, async (t) => {
		await using bench = await ChaosBench.open(engine);
		const session = await bench.session('crlf');
		await bench.session('ignore-eof-and-term');
		const survivors = await bench.ids();
		assert.equal(survivors.length, 2);
		await engine.kill();
		if (noticed) await bench.readyBecomes(false);
		await engine.up({ liveRestore: true });
		assert.ok(
			(await bench.ids()).some((id) => survivors.includes(id)),
			'the engine has restored nobody',
		);
		const tookMs = await bench.onlyLeft(0);
		t.diagnostic(`gone after ${Math.round(tookMs)} ms`);
		assertWithin(tookMs, SWEPT_MS_MAX, 'the removal of the survivors');
		await bench.readyBecomes(true);
		assert.equal(textOf(await session.call('echo', { text: 'again' })), 'again');
		const [now, ...more] = await bench.ids();
		assert.ok(now !== undefined && !survivors.includes(now));
		assert.deepEqual(more, []);
	});
}

test(`killed and started ${RESTARTS} times: one session goes on, no server is blamed, nothing piles up`, async (t) => {
	await using bench = await ChaosBench.open(engine);
	const session = await bench.session('crlf');
	const codes = new Set<unknown>();
	const goOn = (): Promise<void> =>
		until('the session goes on', async () => {
			const answer = await session.call('echo', { text: 'still here' });
			if (answer.error === undefined) return true;
			codes.add(dataOf(answer)['code']);
			return false;
		});
	let [held, asked] = [0, 0];
	const startedAtMs = performance.now();
	for (let restart = 0; restart < RESTARTS; restart++) {
		await engine.kill();
		await engine.up();
		await goOn();
		await bench.onlyLeft(1);
		await bench.assertNoServerBlamed();
		// After the first: what is made once, such as a connection that is kept, is there by then.
		if (restart === 0) [held, asked] = [resources(), engine.socket.count];
	}
	const seconds = (performance.now() - startedAtMs) / 1000;
	const requests = engine.socket.count - asked;
	t.diagnostic(`${RESTARTS} restarts in ${Math.round(seconds)} s, ${requests} requests, told: ${[...codes].join(' ')}`);
	for (const code of codes) assert.match(String(code), /^SLIPWAY_(INSTANCE_LOST|ENGINE_UNREACHABLE)$/);
	assert.equal(bench.instances, 1);
	await until('no more is open than before', () => resources() <= held);
});

test('what the engine took with it is not remembered for good', async () => {
	setFlagsFromString('--expose-gc');
	const collect: () => void = runInNewContext('gc');
	await using bench = await openBench([fixture('good', engine.image, ['misbehaving.ts', 'crlf'])], {
		socketPath: engine.socket.path,
	});
	const launched = async (): Promise<WeakRef<object>> => {
		const channel = await bench.launcher.launch(
			bench.launcher.state.servers[0]?.name ?? assert.fail(),
			neverAborted(),
			'test',
		);
		await engine.kill();
		await within(channel.ended, 'the end');
		return new WeakRef(channel);
	};
	const lost = await launched();
	await engine.up();
	await until('the launcher lets go of the Instance', async () => {
		if ((await engine.containersOf(bench.gatewayId)).length > 0) return false;
		collect();
		return lost.deref() === undefined;
	});
});

/** What is open in this process: connections, timers, requests. */
function resources(): number {
	return process.getActiveResourcesInfo().filter((name) => name !== 'FSReqCallback' && name !== 'Immediate').length;
}
