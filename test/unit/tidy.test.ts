/** What a reader of the tree relies on, held by a test. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path/posix';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { SETTINGS } from '../../src/config.ts';
import { ERRORS } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { SECURITY } from '../security/promises.ts';

const read = (path: string): string => readFileSync(path, 'utf8');
const sources = globSync('src/**/*.ts').sort();

/** The files of the tree that a file imports. */
function importsOf(file: string): string[] {
	return [...read(file).matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g)].map(([, path]) =>
		join(dirname(file), path ?? ''),
	);
}

test('generated pages and the catalog schema are what the code says', () => {
	execFileSync(process.execPath, ['scripts/generate.ts', '--check'], { stdio: 'pipe' });
});

test('every file of src is reached from main.ts', () => {
	const reached = new Set<string>();
	const visit = (file: string): void => {
		if (reached.has(file)) return;
		reached.add(file);
		for (const imported of importsOf(file)) visit(imported);
	};
	visit('src/main.ts');
	assert.deepEqual(
		sources.filter((file) => !reached.has(file)),
		[],
	);
});

test('SECURITY.md has the lines of its table and no other, and each is still made false by its change', () => {
	const listed = read('SECURITY.md')
		.split(/^## /m)
		.flatMap((section) => {
			const [title = '', ...lines] = section.split('\n');
			return lines.filter((line) => line.startsWith('- ')).map((line) => `${title}: ${line.slice(2)}`);
		});
	const promised = SECURITY.flatMap(({ title, promises }) => promises.map(({ line }) => `${title}: ${line}`));
	assert.deepEqual(listed, promised);
	for (const { line, file, test: name, broken } of SECURITY.flatMap(({ promises }) => promises)) {
		assert.ok(read(file).replaceAll("\\'", "'").includes(name), `the test of: ${line}`);
		assert.equal(read(broken.file).split(broken.text).length, 2, `the place in ${broken.file} of: ${line}`);
	}
});

test('src has source and nothing else', () => {
	const others = globSync('src/**/*.*').filter((file) => !file.endsWith('.ts'));
	assert.deepEqual(others, []);
});

test('only main.ts touches the process', () => {
	const offenders = sources.filter(
		(file) => file !== 'src/main.ts' && /\bprocess\.[a-z]/.test(read(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')),
	);
	assert.deepEqual(offenders, []);
});

test('every code of the error table is raised somewhere, and no other', () => {
	const text = sources
		.filter((file) => file !== 'src/errors.ts')
		.map(read)
		.join('\n');
	const used = new Set([...text.matchAll(/SLIPWAY_[A-Z_]+/g)].map(([code]) => code));
	assert.deepEqual(
		Object.keys(ERRORS).filter((code) => !used.has(code)),
		[],
	);
	const unknown = [...used].filter((name) => !Object.hasOwn(ERRORS, name) && !Object.hasOwn(SETTINGS, name));
	assert.deepEqual(
		// What names of settings begin with.
		unknown.filter((name) => name !== 'SLIPWAY_' && name !== 'SLIPWAY_SECRET_'),
		[],
	);
});

test('every setting reaches a container through compose.yaml, and compose.yaml names no other', () => {
	const compose = read('compose.yaml');
	const passed = new Set([...compose.matchAll(/\$\{(SLIPWAY_[A-Z_]+)/g)].map(([, name]) => name ?? ''));
	passed.delete('SLIPWAY_TAG');
	assert.deepEqual([...passed].sort(), Object.keys(SETTINGS).sort());
	const set = new Set([...compose.matchAll(/^ {6}(SLIPWAY_[A-Z_]+):/gm)].map(([, name]) => name ?? ''));
	assert.deepEqual([...set].sort(), Object.keys(SETTINGS).sort());
});

test('nothing is left open: no marks, no tests that do not run, no types switched off', () => {
	const files = globSync([
		'src/**/*.ts',
		'test/**/*.ts',
		'scripts/*',
		'bench/*',
		'images/**/*.*',
		'compose.yaml',
		'Dockerfile',
	]).filter((file) => file !== 'test/unit/tidy.test.ts');
	const marks =
		/\b(?:TODO|FIXME|XXX|HACK)\b|\b(?:it|test|describe)\.(?:only|skip|todo)\b|\b(?:skip|todo|only): true|@ts-(?:ignore|expect-error)|\bas any\b|biome-ignore/;
	assert.deepEqual(
		files.filter((file) => marks.test(read(file))),
		[],
	);
});

test('every limit has its unit in its name', () => {
	const names = [...read('src/limits.ts').matchAll(/^\t(\w+):/gm)].map(([, name]) => name ?? '');
	const unit = /(?:Ms|MsMin|MsMax|BytesMax|CharsMax|CountMax|DepthMax|Max|Min|PerMinuteMax)$/;
	assert.deepEqual(
		names.filter((name) => !unit.test(name)),
		[],
	);
});

test('the log writes the fields of its allowlist and nothing else', () => {
	const stream = new PassThrough();
	const log = createLog('info', stream);
	const fields = { server: 'memory', authorization: 'Bearer secret', arguments: { password: 'secret' } };
	log.with(fields).info('a line', fields);
	const line: unknown = JSON.parse(String(stream.read()));
	assert.ok(typeof line === 'object' && line !== null);
	assert.deepEqual(Object.keys(line), ['time', 'level', 'message', 'server']);
});
