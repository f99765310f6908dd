/** Instances that were started before anybody asked. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import type { PrincipalId, ServerName } from '../../src/ids.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { INSTANCE_LIMITS, WARM_LIMITS } from '../../src/limits.ts';
import { classify } from '../../src/mcp/jsonrpc.ts';
import type { Opened } from '../../src/pool/opening.ts';
import { Pool } from '../../src/pool/pool.ts';
import { type Claim, Demand, shareOut } from '../../src/pool/warm-demand.ts';
import { type FakeInstance, FakeLauncher, type Rpc, serverView } from '../support/fake-launcher.ts';
import { initializeRequest, result } from '../support/http-stack.ts';
import { Cast, initialized, logLine } from '../support/played-server.ts';
import { send, settle } from '../support/seat-bench.ts';

const IDLE_MS = INSTANCE_LIMITS.idleStopMs;
const MEMORY_BYTES = serverView('any').memoryBytes;
const SILENT = { onCall: () => undefined, onNoise: () => undefined, onTools: () => undefined };
const DIED = { cause: 'exited', exitCode: 1, stderr: '' } as const;

/** A pool of servers that are played, in which `any` conversation is opened as a client of the first era does. */
class Bench {
	readonly launcher = new FakeLauncher();
	readonly pool: Pool;
	readonly told: Rpc[] = [];
	#nowMs = performance.now();

	constructor(t: TestContext, views: readonly ServerView[], warmBytesMax = 4 * MEMORY_BYTES) {
		this.launcher.state = { ...this.launcher.state, servers: views };
		this.pool = new Pool(this.launcher, { warmBytesMax });
		t.after(async () => {
			await this.pool.stop();
			assert.equal(this.launcher.live.size, 0, 'an Instance is left');
		});
	}

	change(name: string, change: Partial<ServerView>): void {
		const { state } = this.launcher;
		const servers = state.servers.map((view) => (view.name === name ? { ...view, ...change } : view));
		this.launcher.state = { ...state, servers };
	}

	/** Time goes by, and the pool looks at it. */
	async tick(ms = 1000): Promise<void> {
		this.#nowMs += ms;
		this.pool.tick(this.#nowMs);
		await settle();
	}

	open(server: string, makeRoom = async (): Promise<boolean> => false): Promise<Opened> {
		const text = JSON.stringify(initializeRequest());
		const message = classify(JSON.parse(text));
		assert.equal(message?.kind, 'request');
		return this.pool.open(
			{
				server: server as ServerName,
				caller: 'ada' as PrincipalId,
				standing: { send: (line) => this.told.push(JSON.parse(line)) > 0, ask: () => assert.fail('asked') },
				observer: SILENT,
				signal: new AbortController().signal,
				makeRoom,
			},
			{ era: 'legacy', text, message },
		);
	}

	/** Instances of a server that are there. */
	of(server: string): FakeInstance[] {
		return [...this.launcher.live].filter((instance) => instance.server === server);
	}
}

/** A bench whose servers speak for themselves. */
function played(t: TestContext, views: readonly ServerView[], warmBytesMax?: number): Bench {
	const bench = new Bench(t, views, warmBytesMax);
	new Cast(bench.launcher, {});
	return bench;
}

test('a server that was used has one waiting, which the next caller gets at once; one that was not has none', async (t) => {
	const bench = played(t, [serverView('alpha'), serverView('beta')]);
	await bench.tick();
	assert.equal(bench.launcher.launches, 0, 'nobody has used anything');
	const first = await bench.open('alpha');
	await bench.tick();
	assert.equal(bench.pool.warm, 1);
	const [, waiting] = bench.of('alpha');
	assert.deepEqual(waiting?.received, [], 'it was told nothing');
	const second = await bench.open('alpha');
	assert.equal(second.lease.waited, true);
	assert.equal(second.lease.upstream.channel, waiting);
	assert.notEqual(first.lease.upstream.channel, waiting);
	assert.equal(bench.launcher.launches, 2);
	await bench.tick();
	assert.equal(bench.pool.warm, 1, 'and the one after that');
	assert.equal(bench.of('beta').length, 0);
	assert.deepEqual(bench.launcher.callers.slice(1), ['warm', 'warm']);
});

test('it waits for as long as an Instance that nobody calls may idle, from the last call on', async (t) => {
	// Shorter than a call may take.
	const idleStopMs = 20_000;
	const bench = played(t, [serverView('alpha', { idleStopMs })]);
	const { lease } = await bench.open('alpha');
	await bench.tick();
	await bench.tick(idleStopMs - 2000);
	assert.equal(bench.pool.warm, 1);
	send(lease.upstream, { id: 1, method: 'tools/call', params: { name: 'x' } });
	await bench.tick(4000);
	assert.equal(bench.pool.warm, 1, 'somebody waits for an answer of that server');
	await lease.release('prompt');
	await bench.tick(idleStopMs - 1000);
	assert.equal(bench.pool.warm, 1);
	await bench.tick(2000);
	assert.equal(bench.pool.warm, 0);
	assert.equal(bench.launcher.live.size, 0);
});

test('a burst has as many waiting as came in it, up to the bound of one server', async (t) => {
	const bench = played(t, [serverView('alpha')], 16 * MEMORY_BYTES);
	await Promise.all(Array.from({ length: 3 }, () => bench.open('alpha')));
	for (let i = 0; i < 6; i += 1) await bench.tick();
	assert.equal(bench.pool.warm, 3);
	await Promise.all(Array.from({ length: 9 }, () => bench.open('alpha')));
	for (let i = 0; i < 9; i += 1) await bench.tick();
	assert.equal(bench.pool.warm, WARM_LIMITS.perServerMax);
});

test('the catalog has the last word: so many, used or not, and none where it says none', async (t) => {
	const bench = played(t, [serverView('alpha', { warm: 2 }), serverView('beta', { warm: 0 })]);
	for (let i = 0; i < 4; i += 1) await bench.tick();
	assert.equal(bench.of('alpha').length, 2);
	await bench.open('beta');
	await bench.tick();
	assert.equal(bench.of('beta').length, 1, 'the one that was opened');
	await bench.tick(10 * IDLE_MS);
	assert.equal(bench.of('alpha').length, 2);
	bench.change('alpha', { warm: 1 });
	await bench.tick();
	assert.equal(bench.of('alpha').length, 1);
});

test('all that wait fit into the memory there is, who was used last first', async (t) => {
	const names = ['alpha', 'beta', 'gamma'];
	const bench = played(
		t,
		names.map((name) => serverView(name)),
		2 * MEMORY_BYTES,
	);
	for (const name of names) {
		await (await bench.open(name)).lease.release('prompt');
		await bench.tick();
		await bench.tick();
	}
	assert.deepEqual(
		names.map((name) => bench.of(name).length),
		[0, 1, 1],
	);
	const none = played(t, [serverView('alpha', { warm: 2 })], 0);
	await none.open('alpha');
	await none.tick();
	assert.equal(none.launcher.launches, 1, 'with no memory to wait in, nothing is started ahead');
});

test('what waits ends when its server is another, is off, or is gone, and is given to nobody then', async (t) => {
	const bench = played(t, [serverView('alpha', { warm: 1 })]);
	await bench.tick();
	const [old] = bench.of('alpha');
	bench.change('alpha', { spec: 'another' });
	const { lease } = await bench.open('alpha');
	assert.equal(lease.waited, false);
	await bench.tick();
	await bench.tick();
	assert.equal(old?.stopped, 'prompt');
	assert.equal(bench.pool.warm, 1);
	bench.change('alpha', { preparation: { kind: 'waiting' } });
	await bench.tick();
	assert.equal(bench.pool.warm, 0, 'nobody knows what its image will be');
	bench.change('alpha', { preparation: { kind: 'ready', image: 'test', imageId: 'sha256:test' } });
	await bench.tick();
	assert.equal(bench.pool.warm, 1);
	bench.launcher.state = { ...bench.launcher.state, servers: [] };
	await bench.tick();
	assert.equal(bench.pool.warm, 0);
});

test('one that ends while it waits is not given to anybody, nor started ahead again for long', async (t) => {
	const bench = played(t, [serverView('alpha', { warm: 1 })]);
	await bench.tick();
	bench.of('alpha')[0]?.end(DIED);
	await settle();
	assert.equal(bench.pool.warm, 0);
	assert.equal((await bench.open('alpha')).lease.waited, false);
	await bench.tick(WARM_LIMITS.retryAfterMs / 2);
	assert.equal(bench.launcher.launches, 2);
	await bench.tick(WARM_LIMITS.retryAfterMs);
	assert.equal(bench.launcher.launches, 3);
});

test('one that was lost with the engine is started again when the engine is there', async (t) => {
	const bench = played(t, [serverView('alpha', { warm: 1 })]);
	await bench.tick();
	const { engine } = bench.launcher.state;
	bench.launcher.state = { ...bench.launcher.state, engine: { reachable: false, reason: '' } };
	bench.of('alpha')[0]?.end({ cause: 'lost', stderr: '' });
	await bench.tick();
	assert.equal(bench.launcher.launches, 1);
	bench.launcher.state = { ...bench.launcher.state, engine };
	await bench.tick();
	assert.equal(bench.launcher.launches, 2);
});

test('a server that has failed lately is not started ahead, and what waits of it goes', async (t) => {
	const bench = new Bench(t, [serverView('alpha', { warm: 1 })]);
	await bench.tick();
	const waiting = await bench.launcher.launched.next();
	bench.change('alpha', { warm: 2 });
	const opening = bench.open('alpha');
	waiting.end(DIED);
	(await bench.launcher.launched.next()).end(DIED);
	(await bench.launcher.launched.next()).end(DIED);
	await assert.rejects(opening);
	const { launches } = bench.launcher;
	await bench.tick();
	assert.equal(bench.launcher.launches, launches);
	assert.equal(bench.pool.warm, 0);
});

test('nothing is started ahead while somebody waits for a start, here or in the queue', async (t) => {
	const bench = new Bench(t, [serverView('alpha'), serverView('beta', { warm: 1 })]);
	const opening = bench.open('alpha');
	const instance = await bench.launcher.launched.next();
	await bench.tick();
	assert.equal(bench.launcher.launches, 1);
	instance.say(result((await instance.hearRequest('initialize')).id, initialized()));
	await opening;
	bench.launcher.state = { ...bench.launcher.state, startsQueued: 1 };
	await bench.tick();
	assert.equal(bench.launcher.launches, 1);
	bench.launcher.state = { ...bench.launcher.state, startsQueued: 0 };
	await bench.tick();
	assert.equal(bench.launcher.launches, 2);
});

test('where there is no room what waits makes it, before anybody who has something, and stays away for a while', async (t) => {
	const bench = played(t, [serverView('alpha', { warm: 1 }), serverView('beta')]);
	await bench.tick();
	bench.launcher.beforeLaunch = () => {
		if (bench.launcher.live.size >= 1) throw new SlipwayError('SLIPWAY_INSTANCES_FULL');
	};
	const { lease } = await bench.open('beta', () => assert.fail('somebody was to make room'));
	assert.equal(lease.waited, false);
	assert.equal(bench.of('alpha').length, 0);
	await lease.release('prompt');
	await bench.tick();
	assert.equal(bench.pool.warm, 0);
	await bench.tick(WARM_LIMITS.pauseMs);
	assert.equal(bench.pool.warm, 1);
});

test('a start ahead that fails is not tried again for long; one for which there is no room is', async (t) => {
	for (const [code, again] of [
		['SLIPWAY_COMMAND_INVALID', 1],
		['SLIPWAY_INSTANCES_FULL', 2],
	] as const) {
		const bench = played(t, [serverView('alpha', { warm: 1 })]);
		bench.launcher.beforeLaunch = () => Promise.reject(new SlipwayError(code));
		await bench.tick();
		assert.equal(bench.launcher.launches, 1);
		await bench.tick(1000);
		assert.equal(bench.launcher.launches, 1);
		await bench.tick(WARM_LIMITS.pauseMs);
		assert.equal(bench.launcher.launches, again, code);
	}
});

describe('what waits', () => {
	test('has what it said before it was spoken to heard by its first caller, in order', async (t) => {
		const bench = new Bench(t, [serverView('alpha', { warm: 1 })]);
		await bench.tick();
		const instance = await bench.launcher.launched.next();
		instance.say(logLine('booting'));
		await settle();
		instance.raw(JSON.stringify(logLine('booted')).slice(0, 20));
		await settle();
		const opening = bench.open('alpha');
		const { id } = await instance.hearRequest('initialize');
		instance.raw(`${JSON.stringify(logLine('booted')).slice(20)}\n`);
		instance.say(result(id, initialized()));
		assert.equal((await opening).lease.waited, true);
		assert.deepEqual(bench.told, [logLine('booting'), logLine('booted')]);
	});

	test('and says more than anybody who was not spoken to is ended', async (t) => {
		const bench = new Bench(t, [serverView('alpha', { warm: 1 })]);
		await bench.tick();
		const instance = await bench.launcher.launched.next();
		instance.onStop = () => undefined;
		for (let i = 0; i < 8; i += 1) {
			instance.raw(Buffer.alloc(WARM_LIMITS.earlyBytesMax / 6, 'x'));
			await settle();
		}
		assert.equal(instance.stopped, 'prompt');
		const opening = bench.open('alpha');
		const other = await bench.launcher.launched.next();
		other.say(result((await other.hearRequest('initialize')).id, initialized()));
		assert.equal((await opening).lease.waited, false, 'nobody is given one that ends');
		instance.finishStop();
		await instance.ended;
		await bench.tick();
		assert.equal(bench.pool.warm, 0);
		assert.equal(bench.launcher.launches, 2);
	});

	test('and ended unseen is replaced by a new one for its caller, who sees nothing of it', async (t) => {
		const bench = new Bench(t, [serverView('alpha', { warm: 2 })]);
		await bench.tick();
		await bench.tick();
		const [dead, other] = [await bench.launcher.launched.next(), await bench.launcher.launched.next()];
		const opening = bench.open('alpha');
		dead.end(DIED);
		const instance = await bench.launcher.launched.next();
		instance.say(result((await instance.hearRequest('initialize')).id, initialized()));
		const { lease, answer } = await opening;
		assert.equal(answer.message.ok, true);
		assert.equal(lease.waited, false, 'another that waits may be as dead');
		assert.deepEqual(other.received, []);
		assert.equal(bench.pool.crashes('alpha' as ServerName), undefined, 'it is no failure of the server');
	});
});

test('when the pool cools down what waits ends, what is on its way too, and nothing is started', async (t) => {
	const bench = new Bench(t, [serverView('alpha', { warm: 2 })]);
	await bench.tick();
	const held = Promise.withResolvers<void>();
	bench.launcher.abortComesTooLate = true;
	bench.launcher.beforeLaunch = () => held.promise;
	await bench.tick();
	assert.equal(bench.launcher.launches, 2);
	const cooled = bench.pool.cool();
	held.resolve();
	await cooled;
	assert.equal(bench.launcher.live.size, 0);
	await bench.tick();
	assert.equal(bench.launcher.launches, 2);
});

describe('how many should wait', () => {
	test('goes by the largest burst of late, and by nothing else', () => {
		const demand = new Demand();
		assert.equal(demand.wanted(0, 1000), 0);
		demand.started(0);
		assert.equal(demand.wanted(1000, 1000), 1);
		assert.equal(demand.wanted(1001, 1000), 0);
		const lately = 10 * WARM_LIMITS.burstMs;
		for (const part of [0, 1, 1.5, 2.5, 4]) demand.started(part * WARM_LIMITS.burstMs);
		assert.equal(
			demand.wanted(4 * WARM_LIMITS.burstMs, lately),
			3,
			'at 0 there were two, and a third within the window',
		);
		assert.equal(demand.wanted(10.5 * WARM_LIMITS.burstMs, lately), 2, 'what is long ago does not count');
		demand.used(20 * WARM_LIMITS.burstMs);
		assert.equal(demand.wanted(25 * WARM_LIMITS.burstMs, lately), 1, 'it is used, but not in bursts');
	});

	const claim = (server: string, wanted: number, usedAtMs: number, more: Partial<Claim> = {}): Claim => ({
		server: server as ServerName,
		wanted,
		usedAtMs,
		pinned: false,
		memoryBytes: 10,
		...more,
	});
	const share = (claims: readonly Claim[], bytesMax: number): object => Object.fromEntries(shareOut(claims, bytesMax));

	test('is bounded by memory: what the catalog says, one for each by use, and then bursts', () => {
		const claims = [claim('a', 3, 1), claim('b', 2, 3), claim('c', 2, 0, { pinned: true }), claim('d', 1, 2)];
		assert.deepEqual(share(claims, 1000), { a: 3, b: 2, c: 2, d: 1 });
		assert.deepEqual(share(claims, 60), { a: 1, b: 2, c: 2, d: 1 });
		assert.deepEqual(share(claims, 45), { b: 1, c: 2, d: 1 });
		assert.deepEqual(share(claims, 15), { c: 1 });
		assert.deepEqual(share(claims, 0), {});
	});

	test('passes over who does not fit', () => {
		assert.deepEqual(share([claim('a', 1, 2, { memoryBytes: 100 }), claim('b', 1, 1)], 50), { b: 1 });
	});
});
