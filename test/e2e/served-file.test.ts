/** A configuration of another program in the place of the catalog, with a secret in it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { loadCatalog } from '../../src/catalog/load.ts';
import { watchCatalog } from '../../src/catalog/watch.ts';
import { RawClient, textOf } from '../support/client-raw.ts';
import { docker, until } from '../support/engine-bench.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

const environment = { MODE: 'fast' };
let folder: string;
let file: string;
let stack: Stack;
let watch: ReturnType<typeof watchCatalog>;

/** As editors save: a new file in the place of the old. */
async function save(token: string): Promise<void> {
	const run = ['run', '-i', '--rm', '-e', 'TOKEN', '-e', 'MODE', await fixtureImage()];
	const conversation = {
		command: 'docker',
		args: [...run, 'node', '/app/test/fixtures/conversation.ts'],
		env: { TOKEN: token, MODE: '$\u007bMODE}' },
	};
	writeFileSync(join(folder, 'next'), JSON.stringify({ mcpServers: { conversation }, theme: 'dark' }));
	renameSync(join(folder, 'next'), file);
}

before(async () => {
	folder = mkdtempSync(join(tmpdir(), 'slipway-served-'));
	file = join(folder, 'claude_desktop_config.json');
	await save('first-value');
	const catalog = await loadCatalog(file, environment);
	stack = await startStack({ catalog });
	watch = watchCatalog(file, {
		current: catalog,
		environment,
		onCatalog: (changed) => stack.launcher.setCatalog(changed),
		onProblem: (error) => assert.fail(error),
	});
});
after(async () => {
	watch.stop();
	await stack.stop();
	rmSync(folder, { recursive: true });
});

test('its servers are served, and its secret reaches the server and nobody who looks at the engine', async () => {
	const token = `ghp_${randomBytes(18).toString('hex')}`;
	const client = new RawClient(stack.endpoint('conversation'));
	await client.open();
	const env = async (): Promise<Record<string, string>> => JSON.parse(textOf(await client.call('env')));
	assert.equal((await env())['TOKEN'], 'first-value');
	assert.equal((await env())['MODE'], 'fast');

	await save(token);
	await until('the session has the new value', async () => (await env())['TOKEN'] === token);
	const containers = await stack.containers();
	assert.ok(containers.length > 0);
	for (const { Id } of containers) {
		const inspected = JSON.stringify(await docker.getContainer(Id).inspect());
		// That it would be found: what is no secret is.
		assert.ok(inspected.includes('MODE=fast'));
		assert.ok(!inspected.includes(token));
	}
	const status = await fetch(`${stack.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
	assert.ok(!(await status.text()).includes(token));
	assert.ok(!JSON.stringify(stack.launcher.state).includes(token));
	await client.end();
});
