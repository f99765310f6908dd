/** Python packages beside the catalog: a folder, a wheel, and a script by itself. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { LABELS } from '../../src/docker/labels.ts';
import { refusedWith } from '../support/engine-bench.ts';
import {
	imageOf,
	imagesWith,
	MINUTES_MS,
	makeFolder,
	openPythonBench,
	prepared,
	said,
	serversOf,
	stagesLeft,
} from '../support/python-bench.ts';
import { backend, makeWheel } from '../support/wheels.ts';

const BASE = makeWheel({ name: 'slipway-base', version: '1.5', files: { 'slipway_base.py': 'WORD = "based"\n' } });
const OWN = {
	name: 'slipway-own',
	version: '0.1',
	files: { 'own.py': 'import slipway_base\ndef main(): print("own", slipway_base.WORD)\n' },
	scripts: { 'slipway-own': 'own:main' },
	requires: ['slipway-base'],
};
const PROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n';
const SCRIPT = `# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "slipway-base>=1",
# ]
# ///
import slipway_base, sys
print("script", slipway_base.WORD, *sys.argv[1:])
`;

test('a folder, a wheel and a script beside the catalog run, and another content is another image', async () => {
	await using wheels = await makeFolder([BASE]);
	await using catalog = await makeFolder([makeWheel(OWN)]);
	await catalog.write({
		'servers/own/pyproject.toml': PROJECT,
		'servers/own/backend.py': backend(OWN),
		'servers/own/.venv/left-out': 'what a build leaves is no part of it',
		'script.py': SCRIPT,
		'plain.py': 'print("plain")\n',
	});
	const options = { python: { wheelsDir: wheels.path }, catalogFolder: catalog.path };
	// An index may have one of the same name and version, and that is not what is meant.
	const namesake = makeWheel({ ...OWN, files: { 'own.py': 'def main(): print("of somebody else")\n' } });
	await wheels.write({ [namesake.file]: namesake.content });
	const entries = {
		folder: { pypi: './servers/own' },
		wheel: { pypi: './slipway_own-0.1-py3-none-any.whl' },
		script: { pypi: './script.py', args: ['one', 'two'] },
		plain: { pypi: './plain.py' },
	};
	let before = '';
	{
		await using bench = await openPythonBench(serversOf(entries), options);
		const outputs = await Promise.all(Object.keys(entries).map((name) => said(bench, name)));
		assert.deepEqual(outputs, ['own based', 'own based', 'script based one two', 'plain']);
		assert.match(imageOf(bench, 'folder').image, /^slipway\/pypi-own:[0-9a-f]{16}$/);
		assert.match(imageOf(bench, 'script').integrity ?? '', /^sha256-[A-Za-z0-9+/]{43}=$/);
		assert.deepEqual(await stagesLeft(bench), []);
		before = imageOf(bench, 'plain').image;
		// What is left out is in no hash either: the image is found again.
		await catalog.write({ 'servers/own/__pycache__/own.pyc': 'x' });
		await using again = await openPythonBench(serversOf({ folder: entries.folder }), options);
		assert.equal(await said(again, 'folder'), 'own based');
		assert.equal(imageOf(again, 'folder').imageId, imageOf(bench, 'folder').imageId);
	}
	await catalog.write({ 'plain.py': 'print("changed")\n' });
	await using bench = await openPythonBench(serversOf({ plain: entries.plain }), options);
	assert.equal(await said(bench, 'plain'), 'changed');
	assert.notEqual(imageOf(bench, 'plain').image, before);
});

test('a build of a folder that tells what it should not is told of without the password', async () => {
	const password = `canary-${randomBytes(12).toString('hex')}`;
	await using catalog = await makeFolder();
	await catalog.write({
		'own/pyproject.toml': PROJECT,
		'own/backend.py': 'raise RuntimeError("the file says: " + open("/tmp/in/netrc").read())\n',
		netrc: `machine example.org login ada password ${password}\n`,
	});
	await using bench = await openPythonBench(serversOf({ own: { pypi: './own' } }), {
		python: { netrcFile: join(catalog.path, 'netrc') },
		catalogFolder: catalog.path,
	});
	const { details } = await refusedWith('SLIPWAY_PREPARATION_FAILED', prepared(bench, 'own'), MINUTES_MS);
	assert.match(details.log ?? '', /the file says: machine example\.org login ada password \[redacted\]/);
	assert.ok(!JSON.stringify(details).includes(password));
});

test('a build of a folder that answers in the place of the program brings no file into the image', async () => {
	const forge = (name: string): string => `
import io, tarfile
with open("/proc/1/fd/1", "wb") as out, tarfile.open(fileobj=out, mode="w|") as tar:
    for name in ("lock.txt", ${JSON.stringify(name)}):
        tar.addfile(tarfile.TarInfo(name), io.BytesIO())
raise RuntimeError("it has answered")
`;
	const names = ['Dockerfile', 'wheels/../Dockerfile', 'find-entry.py', '/wheels/a.whl', 'wheels/a.whl/b'];
	await using wheels = await makeFolder();
	await using catalog = await makeFolder();
	for (const [index, name] of names.entries())
		await catalog.write({ [`s${index}/pyproject.toml`]: PROJECT, [`s${index}/backend.py`]: forge(name) });
	const entries = Object.fromEntries(names.map((_, index) => [`s${index}`, { pypi: `./s${index}` }]));
	await using bench = await openPythonBench(serversOf(entries), {
		python: { wheelsDir: wheels.path },
		catalogFolder: catalog.path,
	});
	for (const name of Object.keys(entries)) {
		const { details } = await refusedWith('SLIPWAY_PREPARATION_FAILED', prepared(bench, name), MINUTES_MS);
		assert.equal(details.reason, 'What was fetched is not what a package is made of.');
	}
	assert.deepEqual(await imagesWith(LABELS.gateway, bench.gatewayId), []);
});

test('what lies beside the catalog and cannot be used is refused with the reason', async () => {
	await using wheels = await makeFolder();
	await using outside = await makeFolder();
	await outside.write({ 'secret.py': 'print("outside")\n' });
	await using catalog = await makeFolder();
	await catalog.write({
		'empty/readme.txt': '',
		'linked/pyproject.toml': PROJECT,
		'old.py': '# /// script\n# requires-python = "<3"\n# ///\n',
		'torn.py': '# /// script\n# dependencies = [\n# ///\n',
		'url.py': '# /// script\n# dependencies = ["a @ https://example.org/a.whl"]\n# ///\n',
		'option.py': '# /// script\n# dependencies = ["--index-url=https://example.org"]\n# ///\n',
		'own.txt': '',
		'wrong.whl': 'PK',
	});
	await symlink(join(outside.path, 'secret.py'), join(catalog.path, 'out.py'));
	await symlink(join(outside.path, 'secret.py'), join(catalog.path, 'linked/in.py'));
	const bad: Readonly<Record<string, RegExp>> = {
		'./empty': /^\.\/empty has no pyproject\.toml/,
		'./linked': /^in\.py in it is a link or no file/,
		'./out.py': /^A link in \.\/out\.py leads out of the folder of the catalog\.$/,
		'./own.txt': /is no folder, no wheel \(\.whl\) and no script \(\.py\)\.$/,
		'./old.py': /^the script needs Python <3, and the image has 3\./,
		'./torn.py': /^the metadata of the script cannot be read: /,
		'./url.py': /which is not a package of an index$/,
		'./option.py': /which is not a package of an index$/,
		'./wrong.whl': /^wrong\.whl is not named as a wheel is: /,
	};
	const names = Object.keys(bad).map((_, index) => `s${index}`);
	const entries = Object.fromEntries(Object.keys(bad).map((pypi, index) => [`s${index}`, { pypi }]));
	await using bench = await openPythonBench(serversOf({ ...entries, gone: { pypi: './gone.py' } }), {
		python: { wheelsDir: wheels.path },
		catalogFolder: catalog.path,
	});
	await Promise.all(
		names.map(async (name, index) => {
			const { details } = await refusedWith('SLIPWAY_PACKAGE_REFUSED', prepared(bench, name), MINUTES_MS);
			assert.match(details.reason ?? '', Object.values(bad)[index] ?? /^$/);
		}),
	);
	const gone = await refusedWith('SLIPWAY_PACKAGE_MISSING', prepared(bench, 'gone'), MINUTES_MS);
	assert.match(gone.details.reason ?? '', /^There is no \.\/gone\.py beside the catalog\.$/);
});
