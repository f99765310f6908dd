/** `slipway keys`, as a person runs it beside a gateway that serves. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runSlipway } from '../support/client-process.ts';
import { until } from '../support/engine-bench.ts';
import { serverView } from '../support/fake-launcher.ts';
import { startHttpStack } from '../support/http-stack.ts';
import { Cast } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const LIST = { jsonrpc: '2.0', id: 1, method: 'tools/list' };

/** A gateway, and the command line on its data. */
async function start(t: TestContext) {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-keys-'));
	t.after(() => rm(folder, { recursive: true }));
	const stack = await startHttpStack(t, { folder });
	stack.launcher.state = { ...stack.launcher.state, servers: [serverView('alpha'), serverView('beta')] };
	const script = { answers: { 'tools/list': () => ({ tools: [] }) } };
	new Cast(stack.launcher, { alpha: script, beta: script });
	const keys = (...args: readonly string[]) => runSlipway(['keys', ...args], { SLIPWAY_DATA: folder });
	return {
		stack,
		keys,
		statusOf: async (key: string, server = 'alpha'): Promise<number> =>
			(await new SessionHttp(stack, `/servers/${server}/mcp`, undefined, key).initialize()).status,
	};
}

test('a key is made, works at once, is listed, rotated and revoked, and its stream ends within a second', async (t) => {
	const { stack, keys, statusOf } = await start(t);
	const made = await keys('create', 'ci', '--servers', 'alpha', '--json');
	assert.equal(made.code, 0, made.stderr);
	const { key, name, scopes } = JSON.parse(made.stdout);
	assert.deepEqual([name, scopes], ['ci', ['server:alpha']]);
	await until('the key works', async () => (await statusOf(key)) === 200);
	assert.equal(await statusOf(key, 'beta'), 403);

	const listed = await keys('list');
	assert.match(listed.stdout, /^NAME +SCOPES +MADE +EXPIRES\nci +server:alpha +20\S+ +never$/);
	assert.doesNotMatch(listed.stdout, new RegExp(key));

	const rotated = await keys('rotate', 'ci');
	const [next = ''] = /slipway_[\w-]{43}/.exec(rotated.stdout) ?? [];
	await until('the new key works', async () => (await statusOf(next)) === 200);
	assert.equal(await statusOf(key), 401);

	const session = await new SessionHttp(stack, '/servers/alpha/mcp', undefined, next).open();
	assert.equal((await session.post(LIST)).status, 200);
	const stream = await session.listen();
	const revoked = await keys('revoke', 'ci', '--json');
	const revokedAtMs = performance.now();
	assert.deepEqual(JSON.parse(revoked.stdout), { revoked: 'ci' });
	await stream.closed;
	const afterMs = performance.now() - revokedAtMs;
	assert.ok(afterMs < 1000, `the stream ended ${afterMs} ms after the command did`);
	assert.equal((await session.post(LIST)).status, 401);
	assert.match((await keys('list')).stdout, /no keys yet|operator/);
});

test('a key may have an end, groups, tools, everything', async (t) => {
	const { keys } = await start(t);
	const { stdout } = await keys(
		'create',
		'a',
		'--groups',
		'g',
		'--tools',
		'x/read_*, y/z',
		'--admin',
		'--expires',
		'2h',
		'--json',
	);
	const { scopes, createdAt, expiresAt } = JSON.parse(stdout);
	assert.deepEqual(scopes, ['group:g', 'tool:x/read_*', 'tool:y/z', 'admin']);
	assert.ok(Math.abs(Date.parse(expiresAt) - Date.parse(createdAt) - 7_200_000) < 1000);
	assert.deepEqual(JSON.parse((await keys('create', 'b', '--all', '--json')).stdout).scopes, ['*']);
});

test('what is wrong is said with the next step, and changes nothing', async (t) => {
	const { keys } = await start(t);
	for (const [args, code, message] of [
		[['create', 'ci'], 1, /say what it may use: --servers/],
		[['create', 'ci', '--servers', 'Not A Name'], 1, /scopes/],
		[['create', 'ci', '--all', '--expires', 'soon'], 1, /expiresAt/],
		[['revoke', 'nobody'], 1, /no key of that name[\s\S]*slipway keys list/],
		[['rotate', 'nobody'], 1, /no key of that name/],
		[['create'], 2, /slipway keys <create/],
		[['forget', 'ci'], 2, /slipway keys <create/],
		[['list', 'ci'], 2, /slipway keys <create/],
		[['create', 'ci', '--everything'], 2, /everything/],
		[['--help'], 0, /slipway keys <create/],
	] as const) {
		const done = await keys(...args);
		assert.equal(done.code, code, args.join(' '));
		assert.match(done.stdout + done.stderr, message, args.join(' '));
	}
	assert.match((await keys('list')).stdout, /no keys yet/);
});

test('a key has the limits that it was made with, and a wrong one is refused', async (t) => {
	const { keys, statusOf } = await start(t);
	const bounds = ['--calls-in-flight', '8', '--sessions', '1', '--containers', '4', '--bytes', '64m', '--rate', '600'];
	const made = await keys('create', 'ci', '--all', ...bounds, '--json');
	const { key, limits, callsPerMinute } = JSON.parse(made.stdout);
	assert.deepEqual(limits, { callsInFlight: 8, sessions: 1, containers: 4, bytesPerMinute: 64 * 1024 ** 2 });
	assert.equal(callsPerMinute, 600);
	await until('the key works', async () => (await statusOf(key)) === 200);
	assert.equal(await statusOf(key), 429, 'one session is all that it may have');
	const rotated = await keys('rotate', 'ci', '--json');
	assert.deepEqual(JSON.parse(rotated.stdout).limits, limits);
	for (const wrong of [
		['--containers', '0'],
		['--calls-in-flight', 'many'],
		['--bytes', '64'],
		['--sessions', '1.5'],
	])
		assert.equal((await keys('create', 'other', '--all', ...wrong)).code, 1, wrong.join(' '));
});
