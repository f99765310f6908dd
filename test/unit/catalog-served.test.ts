/** A file of the form that clients keep, in the place of the catalog. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { putServer } from '../../src/catalog/edit.ts';
import { loadCatalog, parseCatalog } from '../../src/catalog/load.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { CATALOG_LIMITS } from '../../src/limits.ts';

function serve(mcpServers: object, environment: Readonly<Record<string, string>> = {}) {
	const { servers, groups, secretValues } = parseCatalog(JSON.stringify({ mcpServers }), 'c', { environment });
	assert.equal(groups.size, 0);
	return { server: (name: string) => servers.get(name as ServerName), servers, secretValues };
}

function refusalOf(text: string): string {
	try {
		parseCatalog(text, 'c');
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		assert.equal(error.code, 'SLIPWAY_CATALOG_INVALID');
		return error.details.reason ?? '';
	}
	return assert.fail('nothing was thrown');
}

test('sources are those that the file says, with or without a version', () => {
	const { server } = serve({
		exact: { command: 'npx', args: ['-y', '@a/b@1.2.3', '--x'] },
		none: { command: 'npx', args: ['@a/b'] },
		tag: { command: 'npx', args: ['b@next'] },
		range: { command: 'npx', args: ['b@^1.2'] },
		image: { command: 'docker', args: ['run', 'acme/mcp', 'serve'] },
		latest: { command: 'docker', args: ['run', 'acme/mcp:latest'] },
		tagged: { command: 'docker', args: ['run', 'acme/mcp:1.4'] },
	});
	const npm = (name: string, version: string) => ({ kind: 'npm', name, version });
	assert.deepEqual(server('exact')?.source, npm('@a/b', '1.2.3'));
	assert.deepEqual(server('exact')?.args, ['--x']);
	assert.deepEqual(server('none')?.source, npm('@a/b', 'latest'));
	assert.deepEqual(server('tag')?.source, npm('b', 'next'));
	assert.deepEqual(server('range')?.source, npm('b', '^1.2'));
	assert.deepEqual(server('image')?.source, { kind: 'image', reference: 'acme/mcp:latest' });
	assert.deepEqual(server('image')?.command, ['serve']);
	assert.deepEqual(server('latest')?.source, { kind: 'image', reference: 'acme/mcp:latest' });
	assert.deepEqual(server('tagged')?.source, { kind: 'image', reference: 'acme/mcp:1.4' });
});

test('the strict catalog takes no version that is not exact, and no values of secrets', () => {
	for (const entry of [{ npm: '@a/b' }, { npm: 'b@^1.2' }, { image: 'acme/mcp' }])
		assert.match(refusalOf(JSON.stringify({ servers: { a: entry } })), /Pin one|tag/);
	assert.equal(parseCatalog('{"servers": {}}', 'c').secretValues.size, 0);
	assert.match(refusalOf('{"servers": {}, "mcpServers": {}}'), /mcpServers: unknown field/);
});

test('variables come from the environment, secrets from the file, and what neither has is a secret by its name', () => {
	const env = {
		REGION: '$\u007bREGION}',
		ZONE: '$\u007bZONE:-b}',
		A_TOKEN: '$\u007bGIVEN}',
		B_TOKEN: 'hunter22',
		C_TOKEN: '$\u007bABSENT}',
		D: '$\u007bSLIPWAY_API_KEY}',
	};
	const { server, secretValues } = serve(
		{ a: { command: 'npx', args: ['a', '--zone=$\u007bZONE:-b}', '$\u007bREGION}'], env } },
		{ REGION: 'eu', GIVEN: 'hunter33', SLIPWAY_API_KEY: 'hunter44' },
	);
	assert.deepEqual(server('a')?.args, ['--zone=b', 'eu']);
	assert.deepEqual(server('a')?.env, { REGION: 'eu', ZONE: 'b' });
	assert.deepEqual(server('a')?.secrets, [
		{ variable: 'A_TOKEN', name: 'a_token' },
		{ variable: 'B_TOKEN', name: 'a_b_token' },
		{ variable: 'C_TOKEN', name: 'a_c_token' },
		// What is said to Slipway itself is not handed on.
		{ variable: 'D', name: 'a_d' },
	]);
	assert.deepEqual(
		[...secretValues],
		[
			['a_token', 'hunter33'],
			['a_b_token', 'hunter22'],
		],
	);
});

test('what cannot be carried over is listed with its place, and nothing is served', () => {
	const text = `{
  // As some clients have it.
  "mcpServers": {
    "good": { "command": "npx", "args": ["good"] },
    "far": { "url": "https://x.example/s/hunter22" },
    "home": { "command": "npx", "args": ["a", "~/notes"] },
    "told": { "command": "npx", "args": ["a", "--api-key=hunter22"] },
    "odd": { "command": "npx", "args": ["a"], "wrapper": "x" }
  }
}`;
	const strict = text.replace(/ *\/\/.*\n/, '');
	assert.match(refusalOf(text), /^c:2:3: JSON has no comments/);
	const reason = refusalOf(strict);
	assert.match(reason, /^4 problems:\nc:4:5 mcpServers\.far: it is a server elsewhere \("x\.example"\)/);
	assert.match(reason, /\nc:5:\d+ mcpServers\.home\.args: "~\/notes" names a folder of somebody's machine/);
	assert.match(reason, /\nc:6:\d+ mcpServers\.told\.args: the value of "--api-key" looks like a secret/);
	assert.match(
		reason,
		/\nc:7:\d+ mcpServers\.odd\.wrapper: its field "wrapper" cannot be carried over\. Remove it, or /,
	);
	assert.doesNotMatch(reason, /hunter22|\.\.$/m);
	const many = Object.fromEntries(Array.from({ length: CATALOG_LIMITS.serversMax + 1 }, (_, at) => [`s${at}`, {}]));
	assert.match(refusalOf(JSON.stringify({ mcpServers: many })), /mcpServers: has 257 entries\. Keep at most 256\.$/);
	assert.throws(() => putServer(JSON.stringify({ mcpServers: {} }), 'a', { npm: 'a@1.0.0' }), /slipway import/);
});

test('the file is loaded by its path', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-served-'));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, 'claude_desktop_config.json');
	await writeFile(
		file,
		JSON.stringify({ mcpServers: { 'My Notes': { command: 'npx', args: ['notes', '$\u007bMODE}'] } } }),
	);
	const server = (await loadCatalog(file, { MODE: 'fast' })).servers.get('my-notes' as ServerName);
	assert.deepEqual(server?.args, ['fast']);
	await assert.rejects(loadCatalog(file), SlipwayError);
});
