/** `slipway lock`, as a person runs it, on packages of a registry of the test's own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text as readText } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { pack } from 'tar-stream';
import { loadCatalog } from '../../src/catalog/load.ts';
import { docker, NODE_IMAGE, within } from '../support/engine-bench.ts';
import { startRegistry, type TestPackage } from '../support/npm-registry.ts';

const LIBRARY: TestPackage = { name: 'slipway-bench-below', version: '1.0.0', files: {} };
const OWN: TestPackage = {
	name: '@slipway-bench/locked',
	version: '1.0.0',
	manifest: { bin: 'main.js', dependencies: { [LIBRARY.name]: '^1.0.0' } },
	files: { 'main.js': '' },
};

async function catalogFolder(
	t: TestContext,
	servers: object,
): Promise<{ folder: string; file: string; lockFile: string }> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-lock-'));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, 'catalog.json');
	await writeFile(file, JSON.stringify({ servers }));
	return { folder, file, lockFile: join(folder, 'catalog.lock.json') };
}

/** Runs the verb, and gives its exit code and what it printed. */
async function lock(catalog: string, registry: string, ...args: readonly string[]) {
	const child = spawn(process.execPath, ['src/main.ts', 'lock', ...args], {
		env: { PATH: process.env['PATH'], SLIPWAY_CATALOG: catalog, SLIPWAY_NPM_REGISTRY: registry },
	});
	const [code, output, problem] = await within(
		Promise.all([
			new Promise<number | null>((resolve) => child.once('exit', resolve)),
			readText(child.stdout),
			readText(child.stderr),
		]),
		'the end of slipway lock',
		60_000,
	);
	return { code, output, problem };
}

test('what is missing is resolved, what is there stays, what is gone goes, and --update asks again', async (t) => {
	const { folder, file, lockFile } = await catalogFolder(t, {
		one: { npm: '@slipway-bench/locked@1.0.0' },
		two: { npm: '@slipway-bench/locked@1.0.0', bin: 'locked' },
		image: { image: 'acme/mcp:1.0' },
	});
	const versionOf = async (): Promise<string | undefined> => {
		const { lock: found } = await loadCatalog(folder);
		const text = found.sources.get('npm:@slipway-bench/locked@1.0.0')?.lock ?? '{}';
		return JSON.parse(text).packages?.[`node_modules/${LIBRARY.name}`]?.version;
	};
	{
		await using registry = await startRegistry([LIBRARY, OWN]);
		const first = await lock(folder, registry.url);
		assert.equal(first.code, 0, first.problem);
		assert.equal(
			first.output,
			'resolving @slipway-bench/locked@1.0.0 and its dependencies\nlocked    npm:@slipway-bench/locked@1.0.0 (one, two)\n',
		);
		assert.equal(await versionOf(), '1.0.0');
	}
	const text = await readFile(lockFile, 'utf8');
	await using registry = await startRegistry([LIBRARY, { ...LIBRARY, version: '1.1.0' }, OWN]);
	// The same for a file as for its folder.
	const again = await lock(file, registry.url, '--json');
	assert.deepEqual(JSON.parse(again.output), {
		ok: true,
		file: lockFile,
		packages: [{ source: 'npm:@slipway-bench/locked@1.0.0', servers: ['one', 'two'], outcome: 'unchanged' }],
	});
	assert.equal(await readFile(lockFile, 'utf8'), text);
	assert.doesNotMatch(await registry.requests(), /GET/);

	const updated = await lock(folder, registry.url, 'two', '--update');
	assert.match(updated.output, /^updated {3}npm:@slipway-bench\/locked@1\.0\.0 \(one, two\)$/m);
	assert.equal(await versionOf(), '1.1.0');

	// One that cannot be resolved keeps nothing of the others from being kept.
	await writeFile(
		file,
		JSON.stringify({
			servers: { gone: { npm: 'slipway-bench-gone@1.0.0' }, below: { npm: 'slipway-bench-below@1.1.0' } },
		}),
	);
	const partly = await lock(folder, registry.url, '--json');
	assert.equal(partly.code, 1);
	const { ok, packages }: { ok: boolean; packages: { source: string; outcome: string; problem?: string }[] } =
		JSON.parse(partly.output);
	assert.equal(ok, false);
	assert.deepEqual(
		packages.map(({ source, outcome }) => `${outcome} ${source}`),
		[
			'removed npm:@slipway-bench/locked@1.0.0',
			'failed npm:slipway-bench-gone@1.0.0',
			'locked npm:slipway-bench-below@1.1.0',
		],
	);
	assert.match(packages[1]?.problem ?? '', /npm knows no slipway-bench-gone@1\.0\.0/);
	assert.deepEqual([...(await loadCatalog(folder)).lock.sources.keys()], ['npm:slipway-bench-below@1.1.0']);

	const unknown = await lock(folder, registry.url, 'nobody');
	assert.deepEqual([unknown.code, /There is no "nobody" in it/.test(unknown.problem)], [1, true]);
	await writeFile(lockFile, '{');
	const flawed = await lock(folder, registry.url);
	assert.equal(flawed.code, 1);
	assert.match(
		flawed.problem,
		/The lock of the catalog is wrong\. .*catalog\.lock\.json:1:2: .*\n.*have `slipway lock` write another/,
	);
});

test('a lock that is a mount of its own is written where it is', async () => {
	// The engine mounts this file into every container, so it cannot be replaced there.
	const mounted = '/etc/hosts';
	const program = `
		const { readFileSync, readdirSync } = require('node:fs');
		import('/src/catalog/replace-file.ts').then(({ replaceFile }) => {
			replaceFile('${mounted}', { before: readFileSync('${mounted}', 'utf8'), after: 'written' });
			const names = readdirSync('/etc').filter((name) => name.includes('hosts'));
			console.log(readFileSync('${mounted}', 'utf8'), names.join(' '));
		});`;
	const container = await docker.createContainer({ Image: NODE_IMAGE, Cmd: ['node', '-e', program], Tty: true });
	try {
		const tar = pack();
		for (const path of globSync(['src/catalog/replace-file.ts', 'src/errors.ts', 'src/limits.ts']))
			tar.entry({ name: path }, readFileSync(path));
		tar.finalize();
		await container.putArchive(await buffer(tar), { path: '/' });
		const output = await container.attach({ stream: true, stdout: true });
		await container.start();
		assert.equal((await within(readText(output), 'the write')).trim(), 'written hosts');
	} finally {
		await container.remove({ force: true, v: true });
	}
});
