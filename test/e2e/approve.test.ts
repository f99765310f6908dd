/** `slipway approve`, as a person runs it beside a gateway that serves. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { runSlipway } from '../support/client-process.ts';
import { serverView } from '../support/fake-launcher.ts';
import { startHttpStack } from '../support/http-stack.ts';
import { Cast } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

/** A gateway with a server whose tools a test changes, and the command line on its data. */
async function start(t: TestContext) {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-approve-'));
	t.after(() => rm(folder, { recursive: true }));
	const stack = await startHttpStack(t, { folder });
	stack.launcher.state = { ...stack.launcher.state, servers: [serverView('files')] };
	const descriptions: Record<string, string> = { read: 'Reads.', write: 'Writes.' };
	const tools = () => Object.entries(descriptions).map(([name, description]) => ({ name, description }));
	new Cast(stack.launcher, {
		files: { answers: { 'tools/list': () => ({ tools: tools() }), 'tools/call': () => ({ content: [] }) } },
	});
	const session = await new SessionHttp(stack, '/servers/files/mcp').open();
	const post = async (method: string, params = {}) =>
		(await session.post({ jsonrpc: '2.0', id: 1, method, params })).rpc;
	await post('tools/list');
	return {
		descriptions,
		approve: (...args: readonly string[]) => runSlipway(['approve', ...args], { SLIPWAY_DATA: folder }),
		list: () => post('tools/list'),
		codeOf: async (name: string) =>
			(await post('tools/call', { name, arguments: {} })).error?.data?.['code'] ?? 'called',
	};
}

test('what waits is shown with its difference, is approved, and is called within a second without a restart', async (t) => {
	const { descriptions, approve, list, codeOf } = await start(t);
	assert.equal((await approve()).stdout, 'Nothing waits.');
	descriptions['read'] = 'Reads\u2028and sends.';
	descriptions['Write'] = 'Writes?';
	await list();
	const { stdout } = await approve();
	assert.match(
		stdout,
		/^files read: changed since 20\S+Z \([0-9a-f]{12}\)\n {2}- description: "Reads\."\n {2}\+ description: "Reads<U\+2028>and sends\."$/,
	);
	assert.equal((await approve('other')).stdout, 'Nothing waits.');
	assert.equal(await codeOf('read'), 'SLIPWAY_TOOL_CHANGED');

	const { pins } = JSON.parse((await approve('--json')).stdout);
	const [{ shownHash, state }] = pins;
	assert.deepEqual([pins.length, state], [1, 'changed']);
	const stale = await approve('files', 'read', '--hash', '0'.repeat(64));
	assert.equal(stale.code, 1);
	assert.match(stale.stderr, /no such definition/);
	assert.equal(await codeOf('read'), 'SLIPWAY_TOOL_CHANGED');
	assert.equal((await approve('files', 'read', '--hash', shownHash)).stdout, 'Approved of files: read');
	const doneAtMs = performance.now();
	while ((await codeOf('read')) !== 'called') assert.ok(performance.now() - doneAtMs < 1000, 'within a second');

	const all = (await approve('--pins')).stdout;
	assert.match(all, /^files Write: approved \([0-9a-f]{12}\)\n {2}may be taken for files\/write$/m);
	assert.match(all, /^files read: approved/m);
});

test('all of a server is approved at once but for what is refused; a server is forgotten', async (t) => {
	const { descriptions, approve, list, codeOf } = await start(t);
	Object.assign(descriptions, { read: 'Reads all.', write: 'Writes all.', hide: 'Hides\u200b.' });
	await list();
	assert.match((await approve('files')).stdout, /files hide: refused [\s\S]*refused: U\+200B in `description`/);
	const refused = await approve('files', 'hide');
	assert.equal(refused.code, 1);
	assert.match(refused.stderr, /cannot be approved\. U\+200B/);
	const { approved } = JSON.parse((await approve('files', '--all', '--json')).stdout);
	assert.deepEqual(approved, ['read', 'write']);
	assert.equal((await approve('files', '--forget')).code, 0);
	assert.match((await approve('--pins')).stdout, /No server has listed a tool/);
	const doneAtMs = performance.now();
	while ((await codeOf('hide')) !== 'called') assert.ok(performance.now() - doneAtMs < 1000, 'within a second');
});

test('what is wrong is said, and changes nothing', async (t) => {
	const { approve } = await start(t);
	for (const [args, code, message] of [
		[['files', 'none'], 1, /no such definition[\s\S]*slipway approve/],
		[['files', '--all'], 1, /no such definition/],
		[['none', '--forget'], 1, /no such definition/],
		[['--all'], 2, /slipway approve \[server\]/],
		[['--forget'], 2, /slipway approve \[server\]/],
		[['files', 'read', 'more'], 2, /slipway approve \[server\]/],
		[['files', 'read', '--all'], 2, /slipway approve \[server\]/],
		[['files', '--hash', 'x'], 2, /slipway approve \[server\]/],
		[['--everything'], 2, /everything/],
		[['--help'], 0, /slipway approve \[server\]/],
	] as const) {
		const done = await approve(...args);
		assert.equal(done.code, code, args.join(' '));
		assert.match(done.stdout + done.stderr, message, args.join(' '));
	}
});
