/** What an entry says of its package: which binary, whether scripts run, Debian packages, a folder beside the catalog. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Source } from '../../src/catalog/catalog.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import { catalogJsonSchema } from '../../src/catalog/schema.ts';
import { SlipwayError } from '../../src/errors.ts';

const validate = new Ajv2020().compile(catalogJsonSchema());

function fileOf(entry: object): string {
	return JSON.stringify({ servers: { one: entry } });
}

function sourceOf(entry: object): Source | undefined {
	assert.ok(validate(JSON.parse(fileOf(entry))), JSON.stringify(validate.errors));
	return [...parseCatalog(fileOf(entry), 'c').servers.values()][0]?.source;
}

function problemOf(entry: object): string {
	try {
		parseCatalog(fileOf(entry), 'c');
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		return (error.details.reason ?? '').replace(/^c:1:\d+ servers\.one\.?/, '');
	}
	return 'no problem';
}

test('what is said of a package is of its source, and its order is none of it', () => {
	assert.deepEqual(sourceOf({ npm: 'one@1.0.0', bin: 'two', installScripts: true, systemPackages: ['libz1', 'g++'] }), {
		kind: 'npm',
		name: 'one',
		version: '1.0.0',
		bin: 'two',
		installScripts: true,
		systemPackages: ['g++', 'libz1'],
	});
	assert.deepEqual(sourceOf({ npm: 'one@1.0.0', systemPackages: [] }), { kind: 'npm', name: 'one', version: '1.0.0' });
	for (const path of ['./own', './servers/own-1.0.0.tgz', './@scope/own'])
		assert.deepEqual(sourceOf({ npm: path }), { kind: 'npm-local', path });
});

test('a path that leads elsewhere, or could be written in two ways, is refused with the fix', () => {
	for (const [path, problem] of [
		['./../own', /leaves the folder of the catalog\. Move the package there/],
		['./own/../../x', /leaves the folder of the catalog/],
		['.//own', /leaves the folder of the catalog/],
		['./', /is the catalog's own folder\. Name one in it/],
		['./.', /is the catalog's own folder/],
		['./own/', /not in its shortest form\. Write "\.\/own"/],
		['./a/../own', /not in its shortest form\. Write "\.\/own"/],
		['./own\u0000', /has a control character in it/],
		[`./${'a'.repeat(1100)}`, /is too long/],
		['/own', /is not the name of an npm package/],
		['../own', /is not the name of an npm package/],
		['file:./own', /is not the name of an npm package/],
	] as const)
		assert.match(problemOf({ npm: path }), problem, path);
});

test('names that a command line would take for something else are refused, and so is what means nothing of an image', () => {
	for (const name of [
		'-o=evil',
		'chromium-',
		'a',
		'Chromium',
		'chromium=1.0',
		'chromium/sid',
		'a b',
		'$(id)',
		'*',
		'a\nb',
	])
		assert.match(problemOf({ npm: 'one@1.0.0', systemPackages: [name] }), /is not the name of a Debian package/, name);
	assert.match(
		problemOf({ npm: 'one@1.0.0', systemPackages: ['sl', 'sl'] }),
		/systemPackages\[1\]: "sl" stands here twice/,
	);
	for (const bin of ['../x', 'a/b', '-x', '', 'a b', '.x'])
		assert.match(problemOf({ npm: 'one@1.0.0', bin }), /bin: is not the name of a binary/, bin);
	assert.match(problemOf({ npm: 'one@1.0.0', installScripts: false }), /installScripts: must be one of true/);
	for (const field of [{ bin: 'two' }, { installScripts: true }, { systemPackages: ['sl'] }]) {
		const entry = { image: 'one:1', ...field };
		assert.match(problemOf(entry), /goes with a package only: an image has what it has\. Remove it/);
		assert.equal(validate(JSON.parse(fileOf(entry))), false);
	}
});
