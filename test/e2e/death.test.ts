/** The end of a server in the middle of a call: said at once and by its name, and nothing of it stays. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { answerOf, RawClient, type Reply, type RpcMessage, textOf } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

/** Far beyond what it takes, and far below the time of a call. */
const SOON_MS = 20_000;

let stack: Stack;
const docker = new Docker();

before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			...['exits', 'exits-again', 'killed', 'oom', 'oom-child', 'sdk'].map((name) =>
				fixture(name, image, ['conversation.ts']),
			),
			fixture('paused', image, ['conversation.ts'], { callTimeoutMs: 3000 }),
		),
	});
});
after(() => stack.stop());

async function open(server: string): Promise<RawClient> {
	const raw = new RawClient(stack.endpoint(server));
	await raw.open();
	return raw;
}

/** A call that goes on for long, and has begun: the first of its progress is there. */
async function beginLongCall(raw: RawClient): Promise<Reply> {
	const reply = await raw.send('tools/call', {
		name: 'progress',
		arguments: { steps: 500, delayMs: 100 },
		_meta: { progressToken: 'p' },
	});
	await reply.messages.count(1);
	return reply;
}

async function containerOf(server: string): Promise<Docker.Container> {
	const found = (await stack.containers()).filter(({ Labels }) => Labels['dev.slipway.server'] === server);
	assert.equal(found.length, 1);
	return docker.getContainer(found[0]?.Id ?? '');
}

/** The session goes on, on another container. */
async function assertGoesOn(raw: RawClient): Promise<void> {
	assert.equal(textOf(await raw.call('echo', { text: 'again' })), 'again');
	assert.equal(await raw.end(), 200);
}

function dataOf({ error }: RpcMessage): Record<string, unknown> {
	return error?.data ?? {};
}

describe('death in the middle of a call', { concurrency: 3 }, () => {
	test('the server exits: every call in flight hears of it, with the exit code and the last words', async () => {
		const raw = await open('exits');
		const other = await beginLongCall(raw);
		await raw.call('stderr', { text: 'my last words' });
		const startedAtMs = performance.now();
		const answer = await raw.call('exit', { code: 7 });
		assert.ok(performance.now() - startedAtMs < SOON_MS);
		for (const data of [dataOf(answer), dataOf(await answerOf(other))]) {
			assert.equal(data['code'], 'SLIPWAY_INSTANCE_EXITED');
			assert.equal(data['exitCode'], 7);
			assert.match(String(data['stderr']), /my last words/);
			assert.equal(data['retryable'], true);
		}
		await other.text;
		await assertGoesOn(raw);
	});

	test('somebody kills the container', async () => {
		const raw = await open('killed');
		const call = await beginLongCall(raw);
		const stream = await raw.stream();
		const startedAtMs = performance.now();
		await (await containerOf('killed')).kill({ signal: 'SIGKILL' });
		const data = dataOf(await answerOf(call));
		assert.ok(performance.now() - startedAtMs < SOON_MS);
		assert.equal(data['code'], 'SLIPWAY_INSTANCE_EXITED');
		assert.equal(data['exitCode'], 137);
		await assertGoesOn(raw);
		// The stream of the session was open until its end.
		await stream.text;
	});

	test('somebody removes the container', async () => {
		const raw = await open('sdk');
		const call = await beginLongCall(raw);
		await (await containerOf('sdk')).remove({ force: true });
		const data = dataOf(await answerOf(call));
		assert.match(String(data['code']), /^SLIPWAY_INSTANCE_(?:EXITED|LOST)$/);
		await assertGoesOn(raw);
	});

	test('the server runs out of memory', async () => {
		const raw = await open('oom');
		const data = dataOf(await raw.call('oom'));
		// An engine on cgroups of version 1 tells of no such event.
		const { CgroupVersion } = await docker.info();
		assert.equal(data['code'], CgroupVersion === '2' ? 'SLIPWAY_INSTANCE_OOM' : 'SLIPWAY_INSTANCE_EXITED');
		assert.equal(data['exitCode'], 137);
		await assertGoesOn(raw);
	});

	test('a child of the server runs out of memory, and the session goes on', async () => {
		const raw = await open('oom-child');
		const answer = await raw.call('oom', { inChild: true });
		assert.deepEqual(JSON.parse(textOf(answer)), { code: null, signal: 'SIGKILL' });
		assert.equal(textOf(await raw.call('echo', { text: 'alive' })), 'alive');
		await raw.end();
	});

	test('a container that is paused: the call times out, and the session can still be ended', async () => {
		const raw = await open('paused');
		const container = await containerOf('paused');
		await container.pause();
		assert.equal(dataOf(await raw.call('echo', { text: 'hello?' }))['code'], 'SLIPWAY_CALL_TIMEOUT');
		assert.equal(await raw.end(), 200);
		await assert.rejects(container.inspect(), { statusCode: 404 });
	});

	test('the SDK’s client gets the error, and goes on', async () => {
		const { call, close } = await connectSdk(stack.endpoint('exits-again'), { name: 'first' });
		await assert.rejects(call('exit', { code: 3 }), /The server ended before it answered/);
		assert.equal(await call('echo', { text: 'new' }), 'new');
		await close();
	});
});
