/** A Python server from wheels, through all of it: listed and called by a client, in its hardened container. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { PYTHON } from '../support/engine-bench.ts';
import { makeFolder, removeImages, serversOf } from '../support/python-bench.ts';
import { startStack } from '../support/stack.ts';
import { makeWheel, SERVER_PY } from '../support/wheels.ts';

const WHEELS = [
	makeWheel({
		name: 'snake-server',
		version: '1.0.0',
		files: { 'snake_server.py': SERVER_PY },
		scripts: { 'serve-snakes': 'snake_server:main' },
		requires: ['snake-tail>=1'],
	}),
	makeWheel({ name: 'snake-tail', version: '1.2', files: { 'snake_tail.py': 'shout = str.upper\n' } }),
];
/** A server by itself, which says what it needs. */
const SCRIPT = `# /// script\n# dependencies = ["snake-tail"]\n# ///\n${SERVER_PY}\nmain()\n`;

test('a Python server is listed and called, with nothing held back, nothing to write and no network', async () => {
	await using wheels = await makeFolder(WHEELS);
	await using catalog = await makeFolder();
	await catalog.write({ 'servers/snakes.py': SCRIPT });
	const entries = {
		snakes: { pypi: 'snake-server==1.0.0', args: ['--loud'] },
		script: { pypi: './servers/snakes.py' },
	};
	const stack = await startStack({
		catalog: createCatalog(serversOf(entries)),
		launcher: { python: { ...PYTHON, wheelsDir: wheels.path }, catalogFolder: catalog.path },
	});
	try {
		for (const [name, words] of [
			['snakes', ['--loud']],
			['script', []],
		] as const) {
			const { client, call, close } = await connectSdk(stack.endpoint(name));
			assert.deepEqual(
				(await client.listTools()).tools.map((tool) => tool.name),
				['hiss'],
			);
			assert.deepEqual(JSON.parse(await call('hiss', { text: 'sss' })), {
				text: 'SSS',
				uid: 65_532,
				arguments: words,
				writes: [],
				interfaces: ['lo'],
			});
			await close();
		}
	} finally {
		await stack.stop();
		await removeImages(stack.gatewayId);
	}
});
