/** Servers that say what they have before anybody asks, and whom that is told. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import { NOBODY, type PrincipalId } from '../../src/ids.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { SNAPSHOT_LIMITS, WARM_LIMITS } from '../../src/limits.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { MODERN_REVISION } from '../../src/mcp/revisions.ts';
import { kindOf, Snapshots } from '../../src/pool/snapshots.ts';
import { type FakeInstance, serverView } from '../support/fake-launcher.ts';
import { HeldTimers } from '../support/held-timers.ts';
import { call, type HttpStack, startHttpStack } from '../support/http-stack.ts';
import { Inbox } from '../support/inbox.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { allowKeys, ModernHttp } from '../support/modern-http.ts';
import { Cast, methodsTo, notification, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const PATH = '/servers/snap/mcp';
const LIST = { jsonrpc: '2.0', id: 'l', method: 'tools/list' };
const tools = (...names: readonly string[]) => names.map((name) => ({ name, inputSchema: { type: 'object' } }));

interface Setting {
	readonly stack: HttpStack;
	readonly cast: Cast;
	/** The names of its tools now; a test may change them. */
	readonly has: string[];
	/** What was logged of servers that did not introduce themselves. */
	readonly complaints: Inbox<unknown>;
	change(view: Partial<ServerView>): void;
	/** Lets a second go by, and what comes of that come. */
	tick(ms?: number): Promise<void>;
}

async function start(t: Test, view: Partial<ServerView> = {}, folder?: string): Promise<Setting> {
	const complaints = new Inbox<unknown>('a complaint');
	const log: Log = {
		...SILENT_LOG,
		with: () => log,
		warn: (message, fields) => {
			if (message === 'server did not introduce itself') complaints.push(fields?.code);
		},
	};
	const stack = await startHttpStack(t, { config: { warmBytesMax: 1 }, log, ...(folder && { folder }) });
	const change = (changed: Partial<ServerView>): void => {
		const [known = serverView('snap', { snapshot: true })] = stack.launcher.state.servers;
		stack.launcher.state = { ...stack.launcher.state, servers: [{ ...known, ...changed }] };
	};
	stack.launcher.state = { ...stack.launcher.state, servers: [] };
	change(view);
	const has = ['a', 'b'];
	const script: Script = {
		answers: { 'tools/list': () => ({ tools: tools(...has) }), 'tools/call': () => ({ content: [] }) },
	};
	const cast = new Cast(stack.launcher, { snap: script });
	const tick = async (ms = 1000): Promise<void> => {
		stack.later(ms);
		for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate);
	};
	return { stack, cast, has, complaints, change, tick };
}

/** The names that a client of the first era is told. */
async function namesFor(session: SessionHttp): Promise<unknown> {
	return (await session.post(LIST)).rpc.result?.['tools'];
}

describe('a server whose image is ready', () => {
	test('says once what it has, in the words of both eras, and nothing of it is left', async (t) => {
		const { stack, cast, tick } = await start(t);
		await tick();
		await tick();
		assert.equal(stack.launcher.launches, 2);
		assert.equal(stack.launcher.live.size, 0);
		const [legacy, modern] = [await cast.of('snap', 0), await cast.of('snap', 1)];
		assert.deepEqual(methodsTo(legacy.instance), ['initialize', 'notifications/initialized', 'tools/list']);
		assert.deepEqual(JSON.parse(legacy.instance.received[0] ?? '').params.capabilities, {});
		assert.ok(methodsTo(modern.instance).includes('tools/list'));
		await tick();
		assert.equal(stack.launcher.launches, 2);
	});

	test('is known to whoever can do nothing, of either era and with any key, and starts at the first call', async (t) => {
		const { stack, tick } = await start(t);
		allowKeys(t, 'another-key-0123456789');
		await tick();
		await tick();
		const before = stack.launcher.launches;
		const session = await new SessionHttp(stack, PATH).open();
		assert.deepEqual(await namesFor(session), tools('a', 'b'));
		for (const key of [undefined, 'another-key-0123456789']) {
			const client = new ModernHttp(stack, { path: PATH, capabilities: {}, ...(key && { key }) });
			assert.equal((await client.send('server/discover')).status, 200);
			assert.deepEqual((await client.send('tools/list')).rpc.result?.['tools'], tools('a', 'b'));
		}
		assert.equal(stack.launcher.launches, before);
		assert.equal((await session.post(call(1, 'a'))).status, 200);
		assert.equal(stack.launcher.launches, before + 1);
	});

	test('is asked itself by a client that can do something, and by one of another revision', async (t) => {
		const { stack, tick } = await start(t);
		await tick();
		await tick();
		await new SessionHttp(stack, PATH).open('2025-11-25', { sampling: {} });
		assert.equal(stack.launcher.launches, 3);
		await new SessionHttp(stack, PATH).open('2025-06-18');
		assert.equal(stack.launcher.launches, 4);
	});

	test('has its clients told when it has something else by the first call', async (t) => {
		const { stack, has, tick } = await start(t);
		await tick();
		await tick();
		const session = await new SessionHttp(stack, PATH).open();
		const stream = await session.listen();
		assert.deepEqual(await namesFor(session), tools('a', 'b'));
		has.push('c');
		await session.post(call(1, 'a'));
		assert.deepEqual(await stream.next(), notification('notifications/tools/list_changed'));
		assert.deepEqual(await namesFor(session), tools('a', 'b', 'c'));
	});

	test('is not introduced again by the next process, and is when it is another', async (t) => {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-introductions-'));
		t.after(() => rm(folder, { recursive: true }));
		const first = await start(t, {}, folder);
		await first.tick();
		await first.tick();
		assert.equal(first.stack.launcher.launches, 2);
		await first.stack.stop();
		const second = await start(t, {}, folder);
		await second.tick();
		await second.tick();
		assert.equal(second.stack.launcher.launches, 0);
		second.change({ spec: 'another' });
		await second.tick();
		assert.equal(second.stack.launcher.launches, 2);
	});
});

for (const [why, view] of [
	['its image is not ready', { preparation: { kind: 'waiting' } }],
	['it is not enabled', { enabled: false }],
	['what it says is not to be kept', { snapshot: false }],
	['none is to be started ahead', { warm: 0 }],
] as const)
	test(`a server is not started when ${why}`, async (t) => {
		const { stack, tick } = await start(t, view);
		await tick();
		await tick();
		assert.equal(stack.launcher.launches, 0);
	});

test('whoever waits for a start goes first', async (t) => {
	const { stack, tick } = await start(t);
	stack.launcher.state = { ...stack.launcher.state, startsQueued: 1 };
	await tick();
	assert.equal(stack.launcher.launches, 0);
	stack.launcher.state = { ...stack.launcher.state, startsQueued: 0 };
	await tick();
	assert.equal(stack.launcher.launches, 2);
});

test('a server that does not start is complained of once, and tried again when it is another', async (t) => {
	const { stack, complaints, change, tick } = await start(t);
	stack.launcher.beforeLaunch = () => Promise.reject(new SlipwayError('SLIPWAY_COMMAND_INVALID'));
	await tick();
	assert.deepEqual(complaints.items, ['SLIPWAY_COMMAND_INVALID']);
	await tick(WARM_LIMITS.retryAfterMs);
	assert.equal(stack.launcher.launches, 1);
	change({ spec: 'another' });
	await tick();
	assert.equal(complaints.items.length, 2);
});

test('a server for which there is no room now is introduced later', async (t) => {
	const { stack, complaints, tick } = await start(t);
	stack.launcher.beforeLaunch = () => Promise.reject(new SlipwayError('SLIPWAY_INSTANCES_FULL'));
	await tick();
	await tick();
	assert.equal(stack.launcher.launches, 1);
	assert.deepEqual(complaints.items, []);
	stack.launcher.beforeLaunch = () => undefined;
	await tick(WARM_LIMITS.pauseMs);
	assert.equal(stack.launcher.launches, 3);
});

test('an introduction that is under way ends with the process', async (t) => {
	const { stack, tick } = await start(t);
	const held = Promise.withResolvers<void>();
	stack.launcher.beforeLaunch = () => held.promise;
	await tick();
	assert.equal(stack.launcher.launches, 1);
	// Sees that no Instance is left.
	await stack.stop();
});

test('an introduction stays, however many kinds of clients come', () => {
	const store = new MemoryStore();
	const snapshots = new Snapshots(store);
	const bare = { capabilities: {}, clientInfo: undefined, logLevel: undefined };
	const introduction = kindOf(MODERN_REVISION, NOBODY, bare);
	snapshots.learn('spec', introduction, '{}');
	const kinds = Array.from({ length: SNAPSHOT_LIMITS.kindsMax + 3 }, (_, n) =>
		kindOf(MODERN_REVISION, `caller ${n}` as PrincipalId, bare),
	);
	for (const kind of kinds) snapshots.learn('spec', kind, '{}');
	assert.ok(snapshots.find('spec', introduction));
	assert.equal(snapshots.find('spec', kinds[0] ?? ''), undefined);
	assert.ok(new Snapshots(store).find('spec', introduction));
	assert.equal(store.findSnapshots('spec').length, SNAPSHOT_LIMITS.kindsMax);
});

describe('a server that begins and then says nothing', () => {
	/** Answers `initialize`, and is asked for its tools. */
	async function begin(setting: Setting): Promise<FakeInstance> {
		setting.cast.recast({ snap: { answers: {} } });
		await setting.tick();
		const { instance } = await setting.cast.of('snap');
		assert.equal(methodsTo(instance).at(-1), 'tools/list');
		return instance;
	}

	test('does not hold the process back', async (t) => {
		const setting = await start(t);
		const instance = await begin(setting);
		// Sees that no Instance is left.
		await setting.stack.stop();
		assert.equal(instance.stopped, 'prompt');
	});

	test('does not hold back those after it: it is given up, and complained of', async (t) => {
		const held = new HeldTimers(t, WARM_LIMITS.introductionTimeoutMs);
		const setting = await start(t);
		const instance = await begin(setting);
		held.fire();
		await instance.ended;
		assert.deepEqual(await setting.complaints.next(), 'SLIPWAY_START_TIMEOUT');
		assert.equal(setting.stack.launcher.live.size, 0);
	});
});
