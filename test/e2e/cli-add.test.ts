/** `slipway add` and `slipway remove`, as a person runs them, on the real engine. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, test } from 'node:test';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { makeCliPlace } from '../support/cli-place.ts';
import { runSlipway } from '../support/client-process.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { NODE_IMAGE, until } from '../support/engine-bench.ts';
import { findOwnContainer, fixtureImage } from '../support/fixtures.ts';
import { makeFolder } from '../support/python-bench.ts';
import { API_KEY } from '../support/stack.ts';
import { makeWheel, SERVER_PY } from '../support/wheels.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const MEMORY = '@modelcontextprotocol/server-memory';

let image: string;
before(async () => {
	image = await fixtureImage();
});

/** A server of a few lines in the Node image, which does that before it answers. */
function tiny(first = ''): string[] {
	const program = `${first}
		const answers = {
			initialize: { protocolVersion: '2025-06-18', capabilities: { tools: {} }, serverInfo: { name: 'tiny', version: '1' } },
			'tools/list': { tools: [{ name: 'run', description: 'Runs.\\u001b[2J\\nAnd more.', inputSchema: { type: 'object' } }] },
		};
		require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
			const { id, method } = JSON.parse(line);
			if (id !== undefined) console.log(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] ?? {} }));
		});`;
	return ['docker', 'run', '-i', '--rm', NODE_IMAGE, 'node', '-e', program];
}

test('a package is added while a gateway runs, is called without a restart by the image that was tried, and removed', async (t) => {
	const place = await makeCliPlace(t);
	await place.serve();
	const options = ['--name', 'notes', '--volume', 'notes:/data', '--env', 'MEMORY_FILE_PATH=/data/notes.json'];
	const added = await place.run('add', ...options, '--json', '--', 'npx', '-y', MEMORY);
	assert.equal(added.code, 0, added.stderr);
	assert.deepEqual(await place.trialRemains(), [], 'nothing of the trial is left, its volume neither');
	const { name, entry, trial, served } = JSON.parse(added.stdout);
	assert.deepEqual([name, served], ['notes', true]);
	assert.match(entry.npm, new RegExp(`^${MEMORY}@\\d+\\.\\d+\\.\\d+$`), 'the version is exact');
	assert.ok(trial.tools.some((tool: { name: string }) => tool.name === 'create_entities'));
	assert.deepEqual(JSON.parse(await place.catalog()).servers.notes, entry);

	const status = async () => {
		const response = await fetch(`${place.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
		const body: { servers: { name: string; preparation: { kind: string; imageId?: string } }[] } = JSON.parse(
			await response.text(),
		);
		return body.servers.find((server) => server.name === 'notes');
	};
	const client = await connectSdk(`${place.url}/servers/notes/mcp`, { key: API_KEY });
	const ada = { name: 'Ada', entityType: 'person', observations: ['wrote the first program'] };
	await client.call('create_entities', { entities: [ada] });
	assert.match(await client.call('read_graph'), /wrote the first program/);
	await client.close();
	assert.equal((await status())?.preparation.imageId, trial.imageId, 'nothing was built twice');

	const kept = await place.run('remove', 'notes');
	assert.equal(kept.code, 0, kept.stderr);
	assert.match(kept.stdout, /is in the volume notes still/);
	await until('it is served no more', async () => (await status()) === undefined);
	assert.deepEqual(JSON.parse(await place.catalog()), { servers: {} });

	const untried = await place.run('add', ...options, '--no-try', '--', 'npx', entry.npm);
	assert.equal(untried.code, 0, untried.stderr);
	const again = await connectSdk(`${place.url}/servers/notes/mcp`, { key: API_KEY });
	assert.match(await again.call('read_graph'), /wrote the first program/, 'the volume was the same');
	await again.close();
	const gone = await place.run('remove', 'notes', '--volumes', '--json');
	assert.equal(gone.code, 0, gone.stdout + gone.stderr);
	assert.deepEqual(JSON.parse(gone.stdout).volumes, { kept: [], removed: ['notes'], used: [] });
	assert.deepEqual(await place.remains(), []);
});

test('an image is added, of either era; what it says of itself steers no terminal', async (t) => {
	const place = await makeCliPlace(t, { taken: { image: 'acme/mcp:1' } });
	const said = await place.run('add', '--name', 'tiny', '--', ...tiny());
	assert.equal(said.code, 0, said.stderr);
	assert.match(said.stdout, /network +none/);
	assert.match(said.stdout, /says +tiny 1, revision 2025-06-18/);
	assert.match(said.stdout, /^ +run +Runs\.<U\+001B>\[2J$/m);
	assert.match(said.stdout, new RegExp(`http://localhost:${new URL(place.url).port}/servers/tiny/mcp`));
	assert.match(said.stderr, /^\[ +\d+\.\d s\] starting tiny/m);
	assert.ok(!(said.stdout + said.stderr).includes('\u001b'), 'no colours where there is no terminal');

	const modern = ['docker', 'run', '-i', image, 'node', '/app/test/fixtures/era.ts', 'modern-exits-on-initialize'];
	const second = await place.run('add', '--name', 'modern', '--json', ...modern);
	assert.equal(second.code, 0, second.stderr);
	const { trial } = JSON.parse(second.stdout);
	assert.equal(trial.revision, '2026-07-28');
	assert.deepEqual(
		trial.tools.map((tool: { name: string }) => tool.name),
		['era', 'echo', 'ask', 'roots'],
	);
	assert.deepEqual(Object.keys(JSON.parse(await place.catalog()).servers), ['taken', 'tiny', 'modern']);

	const taken = await place.run('add', '--name', 'taken', '--json', '--', ...tiny());
	assert.equal(taken.code, 1);
	assert.equal(JSON.parse(taken.stdout).error.code, 'SLIPWAY_SERVER_EXISTS');
	assert.match(taken.stderr, /--replace/);
	assert.equal((await place.run('add', '--name', 'taken', '--replace', '--', ...tiny())).code, 0);
	assert.equal(JSON.parse(await place.catalog()).servers.taken.image, NODE_IMAGE);
});

test('a Python package is added from wheels, with what runs beside it, and both versions are made exact', async (t) => {
	const place = await makeCliPlace(t);
	const tail = 'def shout(text):\n    return text.upper()\n';
	await using wheels = await makeFolder([
		makeWheel({ name: 'cli-snake', version: '1.0', files: { 'cli_snake.py': 'def main(): raise SystemExit(9)\n' } }),
		makeWheel({
			name: 'cli-snake',
			version: '1.2',
			files: { 'cli_snake.py': SERVER_PY },
			scripts: { hisser: 'cli_snake:main' },
		}),
		makeWheel({ name: 'snake-tail', version: '3.1', files: { 'snake_tail.py': tail } }),
	]);
	const settings = { ...place.settings, SLIPWAY_PYPI_WHEELS: wheels.path };
	const command = ['uvx', '--from', 'cli-snake>=1.1', '--with', 'snake-tail', 'hisser'];
	const added = await runSlipway(['add', '--name', 'snake', '--json', '--', ...command], settings);
	assert.equal(added.code, 0, added.stderr);
	const { entry, trial } = JSON.parse(added.stdout);
	assert.equal(entry.pypi, 'cli-snake==1.2');
	assert.deepEqual([entry.with, entry.bin], [['snake-tail==3.1'], 'hisser']);
	assert.equal(trial.tools[0].name, 'hiss');
	const absent = await runSlipway(['add', '--', 'uvx', 'slipway-has-no-package-of-this-name'], settings);
	assert.equal(absent.code, 1);
	assert.match(absent.stderr, /no such package or version/);
	assert.deepEqual(await place.remains(), []);
	const made = new Docker().getImage(trial.image);
	const { Labels } = (await made.inspect()).Config;
	assert.equal(Labels?.[LABELS.gateway], place.id, 'the image is of the deployment that serves it');
	await made.remove({ force: true });
});

test('what does not work is not written, and the way on is said', async (t) => {
	const place = await makeCliPlace(t);
	const before = await place.catalog();
	const dies = (words: string) => tiny(`console.error(${JSON.stringify(words)}); process.exit(3);`);
	for (const [args, ...expected] of [
		[
			dies('getaddrinfo ENOTFOUND api.example.com'),
			/ended before it was ready/,
			/exit code was 3/,
			/--egress api\.example\.com:443/,
		],
		[dies('nothing to say'), /\| nothing to say/],
		[['npx', '-y', 'slipway-has-no-package-of-this-name'], /npm knows no slipway-has-no-package-of-this-name@latest/],
		[['--egress', 'https://api.example.com', '--', ...tiny()], /is a URL\. Write "host:port"/],
		[['npx', 'mcp-remote', 'https://example.com/mcp'], /Connect the client to it directly/],
		[['docker', 'run', 'slipway-has-no-image-of-this-name:1'], /cannot be pulled/],
	] as const) {
		const done = await place.run('add', '--name', 'broken', ...args);
		assert.equal(done.code, 1, args.join(' '));
		for (const pattern of expected) assert.match(done.stderr, pattern, args.join(' '));
	}
	assert.equal((await place.run('add')).code, 2);
	assert.equal((await place.run('add', '--nothing', 'npx', 'x')).code, 2);
	assert.equal((await place.run('remove', 'broken')).code, 1);
	assert.equal(await place.catalog(), before);
	assert.deepEqual(await place.remains(), []);
});

test('a server with egress is tried where this process can be its proxy, and nowhere else', async (t) => {
	const place = await makeCliPlace(t);
	const before = await place.catalog();
	const { code, stderr } = await place.run('add', '--name', 'out', '--egress', 'api.example.com:443', '--', ...tiny());
	// Only a container can be in the network of a server, and tests run in one or not.
	if ((await findOwnContainer()) !== undefined) {
		assert.equal(code, 0, stderr);
		assert.equal((await place.run('remove', 'out')).code, 0);
	} else {
		assert.equal(code, 1);
		assert.match(stderr, /docker compose run --rm cli/);
	}
	assert.equal(await place.catalog(), before);
	assert.deepEqual(await place.remains(), []);
});

test('a server that starts without its secret is tried without; one that does not is told how it gets it', async (t) => {
	const place = await makeCliPlace(t);
	const wants = tiny("if (!process.env.TOKEN) { console.error('TOKEN is not set'); process.exit(1); }");
	const options = ['add', '--name', 'wants', '--secret', 'TOKEN=wants_token', '--'];
	const refused = await place.run(...options, ...wants);
	assert.equal(refused.code, 1);
	assert.match(refused.stderr, /TOKEN is not set/);
	assert.match(refused.stderr, /slipway secrets set wants_token <file/);
	const lax = await place.run('add', '--name', 'lax', '--secret', 'TOKEN=lax_token', '--', ...tiny());
	assert.equal(lax.code, 0, lax.stderr);
	assert.match(lax.stdout, /slipway secrets set lax_token <file/);

	await mkdir(join(place.folder, 'secrets'));
	await writeFile(join(place.folder, 'secrets', 'wants_token'), 'canary-value');
	const done = await place.run(...options, ...wants);
	assert.equal(done.code, 0, done.stderr);
	assert.deepEqual(JSON.parse(await place.catalog()).servers.wants.secrets, { TOKEN: 'wants_token' });

	// One that stands in the command line is moved out of it.
	const [docker = '', run = '', ...rest] = tiny('if (process.env.API_TOKEN?.length !== 17) process.exit(1);');
	const moved = await place.run('add', '--name', 'moved', docker, run, '-e', 'API_TOKEN=canary-0123456789', ...rest);
	assert.equal(moved.code, 0, moved.stderr);
	const { secrets } = JSON.parse(await place.catalog()).servers.moved;
	const path = join(place.folder, 'secrets', secrets.API_TOKEN);
	assert.equal((await stat(path)).mode & 0o777, 0o600);
	for (const shown of [await place.catalog(), moved.stdout, moved.stderr])
		assert.ok(!shown.includes('canary'), 'the value is shown nowhere');
});

test('who breaks it off leaves nothing and writes nothing', async (t) => {
	const place = await makeCliPlace(t);
	const before = await place.catalog();
	const silent = place.start(
		'add',
		'--name',
		'silent',
		'--volume',
		'kept:/data',
		'--',
		...tiny('for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);'),
	);
	await silent.stderr.first((line) => line.includes('starting silent'));
	await until('its container runs', async () => (await place.remains()).some((one) => /container .*running/.test(one)));
	silent.child.kill('SIGINT');
	assert.equal(await silent.exited, 1);
	assert.match(silent.stderr.items.join('\n'), /broken off/);
	assert.deepEqual(await place.remains(), []);

	const early = place.start('add', '--name', 'early', '--', 'npx', '-y', MEMORY);
	await early.stderr.first((line) => line.includes('looking up'));
	early.child.kill('SIGINT');
	assert.equal(await early.exited, 1);
	assert.deepEqual(await place.remains(), []);
	assert.equal(await place.catalog(), before);
});

test('on a terminal it is coloured, its progress stays in a line, and it asks before it writes', async (t) => {
	const place = await makeCliPlace(t);
	const command = ['add', '--name', 'tiny', '--', ...tiny()]
		.map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
		.join(' ');
	const answer = async (input: string, more: object = {}): Promise<string> => {
		const child = spawn('script', ['-qec', `stty cols 100; ${process.execPath} src/main.ts ${command}`, '/dev/null'], {
			cwd: ROOT,
			env: { PATH: process.env['PATH'], TERM: 'xterm', ...place.settings, ...more },
		});
		const asked = Promise.withResolvers<void>();
		let said = '';
		child.stdout.on('data', (chunk) => {
			said += String(chunk);
			if (said.includes('[Y/n]')) asked.resolve();
		});
		const ended = once(child, 'close');
		await Promise.race([asked.promise, ended]);
		child.stdin.write(input);
		await ended;
		return said;
	};
	const no = await answer('n\n');
	assert.match(no, /\r\u001b\[2K.*starting tiny/, 'a line that is written over');
	assert.match(no, /\u001b\[32m✓\u001b\[39m/);
	assert.match(no, /Nothing was written\./);
	assert.deepEqual(JSON.parse(await place.catalog()), { servers: {} });
	const yes = await answer('\n', { NO_COLOR: '1' });
	assert.doesNotMatch(yes, /\u001b\[\d+m/);
	assert.deepEqual(Object.keys(JSON.parse(await place.catalog()).servers), ['tiny']);
});
