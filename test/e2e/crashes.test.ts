/** Servers that crash, in containers and in real time: what is told of it, and when they are started again. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { InstanceReport } from '../../src/launcher/contract.ts';
import { CRASH_LIMITS } from '../../src/limits.ts';
import { answerOf, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
const realNow = performance.now.bind(performance);
let offsetMs = 0;

before(async () => {
	performance.now = () => realNow() + offsetMs;
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('exits-with-0', image, ['misbehaving.ts', 'exit-at-once', '0']),
			fixture('exits-later', image, ['misbehaving.ts', 'exit-after-initialize', '3']),
			fixture('segfaults', image, ['hungry.ts']),
			fixture('garbage', image, ['misbehaving.ts', 'garbage']),
			fixture('wrong-version', image, ['misbehaving.ts', 'wrong-version']),
			fixture('loops', image, ['misbehaving.ts', 'exit-at-once', '5']),
		),
	});
});
after(async () => {
	await stack.stop();
	performance.now = realNow;
});

function client(server: string): RawClient {
	return new RawClient(stack.endpoint(server));
}

async function initialize(server: string): Promise<RpcMessage> {
	return answerOf(await client(server).sendInitialize());
}

function dataOf({ error }: RpcMessage): Record<string, unknown> {
	return error?.data ?? {};
}

/** The Instances of a server that there were, oldest first. */
async function instancesOf(server: string): Promise<readonly InstanceReport[]> {
	const reports = await stack.launcher.report();
	return reports
		.filter((report) => report.server === server)
		.toSorted((one, other) => one.startedAt.localeCompare(other.startedAt));
}

test('one that exits with 0 at once has failed like any other', async () => {
	const data = dataOf(await initialize('exits-with-0'));
	assert.equal(data['code'], 'SLIPWAY_START_FAILED');
	assert.equal(data['exitCode'], 0);
});

test('one that exits after its first answer: the call is told its exit code', async () => {
	const raw = client('exits-later');
	const reply = await raw.sendInitialize();
	assert.equal((await answerOf(reply)).error, undefined);
	raw.sessionId = reply.headers.get('mcp-session-id') ?? undefined;
	const data = dataOf(await raw.request('tools/list'));
	assert.equal(data['code'], 'SLIPWAY_INSTANCE_EXITED');
	assert.equal(data['exitCode'], 3);
	assert.equal(await raw.end(), 200);
});

test('one that crashes in a call: the signal shows in the exit code, the call is not repeated, the session goes on', async () => {
	const raw = client('segfaults');
	await raw.open();
	const data = dataOf(await raw.call('crash'));
	assert.equal(data['code'], 'SLIPWAY_INSTANCE_EXITED');
	assert.equal(data['exitCode'], 128 + 11);
	assert.equal((await instancesOf('segfaults')).length, 1);
	assert.equal(textOf(await raw.call('echo', { text: 'again' })), 'again');
	assert.equal((await instancesOf('segfaults')).length, 2);
	assert.equal(await raw.end(), 200);
});

for (const [mode, code] of [
	['garbage', 'SLIPWAY_PROTOCOL_NOISE'],
	['wrong-version', undefined],
] as const) {
	test(`${mode}: one that fails the handshake is started once for each client, whatever else was tried with it`, async () => {
		for (let clients = 1; clients <= 3; clients++) {
			const { error } = await initialize(mode);
			assert.ok(error !== undefined);
			assert.equal(error.data?.['code'], code);
			assert.equal((await instancesOf(mode)).length, clients);
		}
	});
}

test('one that never comes up is started later and later, then not at all, then once for all who want it', async (t) => {
	// The whole of each wait, which is a random part of it otherwise.
	t.mock.method(Math, 'random', () => 1 - Number.EPSILON);
	const waitedMs: number[] = [];
	for (let failure = 0; failure < CRASH_LIMITS.failuresMax; failure++) {
		const before = await instancesOf('loops');
		assert.equal(dataOf(await initialize('loops'))['code'], 'SLIPWAY_START_FAILED');
		const next = (await instancesOf('loops'))[before.length];
		const endedAt = before.at(-1)?.ended?.at;
		if (endedAt !== undefined) waitedMs.push(Date.parse(next?.startedAt ?? '') - Date.parse(endedAt));
	}
	t.diagnostic(`${waitedMs} ms between the end of one and the start of the next`);
	assert.equal(waitedMs.length, CRASH_LIMITS.failuresMax - 1);
	for (const [index, ms] of waitedMs.entries()) {
		// The end is noted on either side of a socket, a moment apart.
		const leastMs = CRASH_LIMITS.backoffMsMin * 2 ** index * 0.9;
		assert.ok(ms >= leastMs, `${ms} ms before start ${index + 2}, in place of ${leastMs}`);
	}
	const started = (await instancesOf('loops')).length;
	assert.equal(dataOf(await initialize('loops'))['code'], 'SLIPWAY_CRASH_LOOP');
	assert.equal((await instancesOf('loops')).length, started);

	offsetMs += CRASH_LIMITS.openMs;
	const answers = await Promise.all(Array.from({ length: 10 }, () => initialize('loops')));
	const codes = answers.map((answer) => dataOf(answer)['code']).sort();
	assert.deepEqual(codes, [...new Array<string>(9).fill('SLIPWAY_CRASH_LOOP'), 'SLIPWAY_START_FAILED']);
	assert.equal((await instancesOf('loops')).length, started + 1);
	assert.equal(dataOf(await initialize('loops'))['code'], 'SLIPWAY_CRASH_LOOP');
});
