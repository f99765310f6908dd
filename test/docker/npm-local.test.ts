/** Packages beside the catalog: folders and archives. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import type { NpmLocalSource } from '../../src/catalog/catalog.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { docker, openBench, refusedWith, said, until } from '../support/engine-bench.ts';
import { removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';
import { packPackage } from '../support/npm-registry.ts';

const NAME = 'slipway-bench-local';

function local(path: string, options: Partial<NpmLocalSource> = {}): NpmLocalSource {
	return { kind: 'npm-local', path, ...options };
}

/** A folder with a package in it. */
async function writePackage(folder: string, manifest: object, files: Readonly<Record<string, string>>): Promise<void> {
	await mkdir(folder, { recursive: true });
	const all = { 'package.json': JSON.stringify({ name: NAME, version: '1.0.0', ...manifest }), ...files };
	for (const [name, content] of Object.entries(all)) await writeFile(join(folder, name), content);
}

async function ourImages() {
	const images = await docker.listImages({ filters: JSON.stringify({ label: [LABELS.package] }) });
	return images.filter(({ Labels }) => Labels[LABELS.package]?.startsWith(`${NAME}@`));
}

async function tempCatalog(): Promise<string> {
	return mkdtemp(join(tmpdir(), 'slipway-local-'));
}

after(async () => {
	for (const { Id } of await ourImages()) await removeImage(Id);
	assert.deepEqual(await ourImages(), []);
});

test('a folder beside the catalog: what npm would pack of it, with its dependencies, a prebuilt native module among them', async (t) => {
	const catalogFolder = await tempCatalog();
	t.after(() => rm(catalogFolder, { recursive: true }));
	const folder = join(catalogFolder, 'servers', 'own');
	const program = `import { crc32 } from '@node-rs/crc32';
import { readdirSync } from 'node:fs';
import zlib from 'node:zlib';
console.log(crc32('slipway') === zlib.crc32('slipway'), readdirSync(import.meta.dirname).join(' '), Error.stackTraceLimit);`;
	const manifest = { type: 'module', bin: 'main.js', dependencies: { '@node-rs/crc32': '1.10.6' } };
	await writePackage(folder, manifest, {
		'main.js': `#!/usr/bin/env -S node --stack-trace-limit=3\n${program}`,
		'.npmignore': '.env\n',
		'.env': 'TOKEN=canary-local',
		'.npmrc': '//registry.example/:_authToken=canary-local',
	});
	const options = { launcher: { catalogFolder } };
	const source = local('./servers/own');
	let imageId = '';
	{
		await using bench = await openBench([server('own', source)], options);
		assert.equal(await said(bench, 'own'), 'true main.js package.json 3');
		const [image] = await ourImages();
		imageId = image?.Id ?? '';
		const layers = await buffer(await docker.getImage(imageId).get());
		assert.ok(layers.includes('main.js') && !layers.includes('canary-local'));
	}
	// The same files make the same image, and others another one.
	await using again = await openBench([server('own', source)], options);
	await said(again, 'own');
	assert.deepEqual(
		(await ourImages()).map(({ Id }) => Id),
		[imageId],
	);
	// A launcher that runs sees a file that is saved.
	await writeFile(join(folder, 'main.js'), "console.log('changed')");
	await until('another image is ready', async () => (await ourImages()).length === 2);
	await until('it is the one that is used', async () => (await said(again, 'own')) === 'changed');
});

test('an archive beside the catalog; and what is no package, or leads elsewhere', async (t) => {
	const catalogFolder = await tempCatalog();
	t.after(() => rm(catalogFolder, { recursive: true }));
	const place = (name: string) => join(catalogFolder, name);
	const files = { 'main.js': "console.log('from an archive')" };
	const archive = await packPackage({ name: NAME, version: '3.0.0', manifest: { bin: 'main.js' }, files });
	await writeFile(place('own.tgz'), archive);
	await writeFile(place('text.tgz'), 'no archive');
	await mkdir(place('empty'));
	await writePackage(place('nameless'), { name: undefined }, files);
	await writePackage(place('leaking'), { bin: 'main.js' }, files);
	await symlink('/etc/passwd', join(place('leaking'), 'passwd'));
	await symlink('/etc', place('elsewhere'));
	const names = ['text.tgz', 'empty', 'nameless', 'leaking', 'elsewhere', 'gone'] as const;
	await using bench = await openBench(
		[server('own', local('./own.tgz')), ...names.map((name) => server(name.replace('.', '-'), local(`./${name}`)))],
		{ launcher: { catalogFolder } },
	);
	assert.equal(await said(bench, 'own'), 'from an archive');
	const reasons: string[] = [];
	for (const name of names) {
		const code = name === 'gone' ? 'SLIPWAY_PACKAGE_MISSING' : 'SLIPWAY_PACKAGE_REFUSED';
		reasons.push((await refusedWith(code, bench.launch(name.replace('.', '-')))).details.reason ?? '');
	}
	assert.deepEqual(reasons, [
		'"./text.tgz" has no package.json, or one that is no JSON: it is not an npm package.',
		'"./empty" has no package.json, or one that is no JSON: it is not an npm package.',
		'The package.json of "./nameless" needs a "name" and a "version".',
		'The link "passwd" leads out of its package.',
		'"./elsewhere" leads out of the folder of the catalog.',
		'There is no "./gone" in the folder of the catalog.',
	]);
});
