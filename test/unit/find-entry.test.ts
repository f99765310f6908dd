/** What `npx` would run of a package, as the script in images/npm finds it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const SCRIPT = new URL('../../images/npm/find-entry.mjs', import.meta.url).pathname;

interface Found {
	/** From the folder that everything is installed in. */
	readonly entry?: string;
	readonly flags?: readonly string[];
	readonly refused?: string;
}

interface Installed {
	readonly name?: string;
	readonly manifest: object;
	readonly files?: Readonly<Record<string, string>>;
	readonly links?: Readonly<Record<string, string>>;
	readonly bin?: string;
}

function find({ name = '@scope/own', manifest, files = {}, links = {}, bin }: Installed): Found {
	const folder = mkdtempSync(join(tmpdir(), 'slipway-entry-'));
	try {
		const write = (path: string, content: string): void => {
			mkdirSync(dirname(join(folder, path)), { recursive: true });
			writeFileSync(join(folder, path), content);
		};
		write('package.json', JSON.stringify({ dependencies: { [name]: '1.0.0' } }));
		write('options.json', JSON.stringify({ bin }));
		write(`node_modules/${name}/package.json`, JSON.stringify({ name, version: '1.0.0', ...manifest }));
		for (const [path, content] of Object.entries(files)) write(`node_modules/${name}/${path}`, content);
		for (const [path, target] of Object.entries(links)) symlinkSync(target, join(folder, 'node_modules', name, path));
		const { status, stderr } = spawnSync(process.execPath, [SCRIPT], { cwd: folder, encoding: 'utf8' });
		if (status !== 0) return { refused: /^slipway: (.*)$/m.exec(stderr)?.[1] ?? stderr };
		const { flags } = JSON.parse(readFileSync(join(folder, 'entry.json'), 'utf8'));
		return { entry: readlinkSync(join(folder, 'server')).replace(`node_modules/${name}/`, ''), flags };
	} finally {
		rmSync(folder, { recursive: true });
	}
}

test('a string, the one binary, the one that is named as the package, the one that is asked for, a folder of them', () => {
	const files = { 'a.js': '', 'b.mjs': '#!/usr/bin/env node\n', 'bins/c.cjs': '#!/usr/bin/node\r\n' };
	const entries = [
		find({ manifest: { bin: 'a.js' }, files }),
		find({ manifest: { bin: { any: './b.mjs' } }, files }),
		find({ manifest: { bin: { any: 'b.mjs', own: 'a.js' } }, files }),
		find({ manifest: { bin: { any: 'b.mjs', own: 'a.js' } }, files, bin: 'any' }),
		find({ manifest: { bin: 'a.js' }, files, bin: 'own' }),
		find({ manifest: { directories: { bin: 'bins' } }, files }),
	];
	assert.deepEqual(
		entries.map(({ entry, refused }) => entry ?? refused),
		['a.js', 'b.mjs', 'a.js', 'b.mjs', 'a.js', 'bins/c.cjs'],
	);
});

test('what a first line has Node told is told', () => {
	const flagsOf = (line: string) => find({ manifest: { bin: 'a.js' }, files: { 'a.js': `${line}\nmore` } });
	assert.deepEqual(flagsOf('#!/usr/bin/env node'), { entry: 'a.js', flags: [] });
	assert.deepEqual(flagsOf('#!/usr/bin/env -S node --no-warnings --max-old-space-size=64').flags, [
		'--no-warnings',
		'--max-old-space-size=64',
	]);
	assert.deepEqual(flagsOf('#!/usr/local/bin/node --enable-source-maps').flags, ['--enable-source-maps']);
	assert.match(
		flagsOf('#!/usr/bin/env -S node -e "evil"').refused ?? '',
		/wants Node to be given -e, which is no option/,
	);
	for (const line of ['#!/bin/sh', '#!/usr/bin/env bun', '#!/usr/bin/env nodemon', '#!/usr/bin/env -S deno run node'])
		assert.match(flagsOf(line).refused ?? '', /is no Node script/, line);
});

test('what cannot be run is refused with the reason', () => {
	const files = { 'a.js': '', 'node_modules/other/b.js': '' };
	const refusals = [
		find({ manifest: {} }),
		find({ manifest: { bin: { one: 'a.js', two: 'a.js' } }, files }),
		find({ manifest: { bin: { one: 'a.js' } }, files, bin: 'constructor' }),
		find({ manifest: { bin: 'gone.js' }, files }),
		find({ manifest: { bin: '../../../package.json' }, files }),
		find({ manifest: { bin: 'node_modules/other/b.js' }, files }),
		find({ manifest: { bin: 'link.js' }, links: { 'link.js': '/etc/hostname' } }),
	];
	assert.deepEqual(
		refusals.map(({ refused }) => refused),
		[
			'@scope/own has no "bin": it is a library, not a server',
			'@scope/own has several binaries (one, two) and none is named as the package: name one in "bin"',
			'@scope/own has no binary "constructor": it has one',
			'@scope/own names gone.js as its binary, and there is no such file in it',
			'the binary of @scope/own is not a file of the package',
			'the binary of @scope/own is not a file of the package',
			'the binary of @scope/own is not a file of the package',
		],
	);
});
