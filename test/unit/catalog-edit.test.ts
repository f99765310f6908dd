/** The catalog as programs write it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import {
	chmodSync,
	chownSync,
	copyFileSync,
	lstatSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { putServer, removeServer, writeCatalogFile } from '../../src/catalog/edit.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import { SlipwayError } from '../../src/errors.ts';
import { CATALOG_LIMITS } from '../../src/limits.ts';

const SHIPPED = new URL('../../catalog/catalog.json', import.meta.url).pathname;
const EDIT = new URL('../../src/catalog/edit.ts', import.meta.url).href;
const ENTRY = { npm: 'one@1.0.0', env: { A: 'b' } };

function codeOf(error: unknown): string {
	assert.ok(error instanceof SlipwayError, String(error));
	return error.code;
}

/** A folder with a catalog, which everybody may go into. */
function folderOf(t: TestContext, text = '{"servers": {}}\n'): { folder: string; file: string } {
	const folder = mkdtempSync(join(tmpdir(), 'slipway-edit-'));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	chmodSync(folder, 0o755);
	const file = join(folder, 'catalog.json');
	writeFileSync(file, text);
	return { folder, file };
}

/** Runs a line of JavaScript that has `edit` in another process, through a shell that sets bounds first. */
async function inProcess(
	script: string,
	{ before = ':', ...as }: { before?: string; uid?: number; gid?: number } = {},
): Promise<string> {
	const program = `const edit = await import(${JSON.stringify(EDIT)});\n${script}`;
	const child = spawn(
		'/bin/sh',
		['-c', `${before}; exec "$0" --input-type=module -e "$1"`, process.execPath, program],
		as,
	);
	let output = '';
	child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
	child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
	await new Promise((resolve) => child.on('close', resolve));
	return output.trim();
}

/** Whoever runs the tests may be root, to whom no folder is closed. */
const SOMEBODY = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};

test('an entry is put at the end, as the file is written, and nothing else is another byte', () => {
	const text = readFileSync(SHIPPED, 'utf8');
	const edited = putServer(text, 'one', ENTRY);
	const added = `,\n    "one": {\n      "npm": "one@1.0.0",\n      "env": { "A": "b" }\n    }`;
	assert.equal(edited.replace(added, ''), text);
	assert.equal(edited.length, text.length + added.length);
	assert.equal(removeServer(edited, 'one'), text);
});

test('it looks like what it is put into', async (t) => {
	const cases: readonly (readonly [what: string, before: string, after: string])[] = [
		[
			'one line',
			'{"servers": {}}',
			'{"servers": {"one":{"npm":"one@1.0.0","env":{"A":"b"}}}}'.replace('"one":', '"one": '),
		],
		[
			'one line with another',
			'{"servers": {"a":{"npm":"a@1.0.0"}}}',
			'{"servers": {"a":{"npm":"a@1.0.0"}, "one": {"npm":"one@1.0.0","env":{"A":"b"}}}}',
		],
		[
			'tabs, and none yet',
			'{\n\t"servers": {}\n}\n',
			'{\n\t"servers": {\n\t\t"one": {\n\t\t\t"npm": "one@1.0.0",\n\t\t\t"env": { "A": "b" }\n\t\t}\n\t}\n}\n',
		],
		[
			'the line ends of Windows',
			'{\r\n  "servers": {\r\n    "a": { "npm": "a@1.0.0" }\r\n  }\r\n}',
			'{\r\n  "servers": {\r\n    "a": { "npm": "a@1.0.0" },\r\n    "one": {\r\n      "npm": "one@1.0.0",\r\n      "env": { "A": "b" }\r\n    }\r\n  }\r\n}',
		],
		[
			'in the place of the old one',
			'{ "servers": {\n  "b": { "npm": "b@1.0.0" }, "one": { "npm": "one@0.9.0" },   "c": {"image": "c:1"}\n} }',
			'{ "servers": {\n  "b": { "npm": "b@1.0.0" }, "one": {\n    "npm": "one@1.0.0",\n    "env": { "A": "b" }\n  },   "c": {"image": "c:1"}\n} }',
		],
	];
	for (const [what, before, after] of cases)
		await t.test(what, () => assert.equal(putServer(before, 'one', ENTRY), after));
});

test('a server that is removed leaves its groups, and a group that had no other', () => {
	const text = `{
  "servers": { "a": { "npm": "a@1.0.0" }, "b": { "npm": "b@1.0.0" }, "c": { "npm": "c@1.0.0" } },
  "groups": { "one": ["b"], "two": ["a", "b", "c"], "three": [ "c" , "b" ] }
}`;
	assert.equal(
		removeServer(text, 'b'),
		`{
  "servers": { "a": { "npm": "a@1.0.0" }, "c": { "npm": "c@1.0.0" } },
  "groups": { "two": ["a", "c"], "three": [ "c" ] }
}`,
	);
	assert.throws(
		() => removeServer(text, 'd'),
		(error) => codeOf(error) === 'SLIPWAY_SERVER_UNKNOWN',
	);
});

test('what would be no catalog is not written', () => {
	for (const run of [
		() => putServer('{"servers": {}}', 'Not A Name', ENTRY),
		() => putServer('{"servers": {}}', '__proto__', ENTRY),
		() => putServer('{"servers": {}}', 'one', { npm: 'one' }),
		() => putServer('{"servers": {}}', 'one', { ...ENTRY, image: 'a:1' }),
		() => putServer('{"servers": {,}}', 'one', ENTRY),
		() => putServer('', 'one', ENTRY),
		() => removeServer('{}', 'one'),
	])
		assert.throws(run, (error) => codeOf(error) === 'SLIPWAY_CATALOG_INVALID');
});

test('whatever is put can be taken out again, and the text is what it was', () => {
	const names = fc.constantFrom('a', 'b', 'c-1', 'constructor', '9');
	const spaces = fc.constantFrom('', ' ', '\n', '\n  ', '\t', '\r\n');
	const servers = fc.dictionary(names, fc.constantFrom({ npm: 'a@1.0.0' }, { image: 'a:1', args: ['}', '"'] }), {
		noNullPrototype: true,
	});
	fc.assert(
		fc.property(servers, spaces, fc.constantFrom(undefined, 1, 2, '\t'), (entries, space, indent) => {
			const text = `${space}${JSON.stringify({ servers: entries }, null, indent)}${space}`;
			const put = putServer(text, 'new', ENTRY);
			assert.deepEqual([...parseCatalog(put, 'c').servers.keys()].sort(), [...Object.keys(entries), 'new'].sort());
			assert.equal(removeServer(put, 'new'), text);
		}),
		{ numRuns: 200 },
	);
});

test('a file is replaced whole; owner, mode and the link to it stay, and nothing lies beside it', async (t) => {
	const { folder, file } = folderOf(t, '\uFEFF{"servers": {}}\n');
	chmodSync(file, 0o640);
	if (process.getuid?.() === 0) chownSync(file, 12_345, 23_456);
	const before = statSync(file);
	const linked = join(folder, 'linked.json');
	symlinkSync('catalog.json', linked);
	await writeCatalogFile(linked, (text) => putServer(text, 'one', ENTRY));
	// Only now: the next file may get the number of the first, which is free by then.
	assert.notEqual(statSync(file).ino, before.ino);
	await writeCatalogFile(folder, (text) => putServer(text, 'two', ENTRY));
	await writeCatalogFile(file, (text) => text);
	const after = statSync(file);
	assert.deepEqual([after.uid, after.gid, after.mode], [before.uid, before.gid, before.mode]);
	assert.ok(lstatSync(linked).isSymbolicLink());
	const text = readFileSync(file, 'utf8');
	assert.ok(text.startsWith('\uFEFF{'));
	assert.deepEqual([...parseCatalog(text.slice(1), 'c').servers.keys()], ['one', 'two']);
	assert.deepEqual(readdirSync(folder).sort(), ['.catalog.json.lock', 'catalog.json', 'linked.json']);
});

test('many writers at once, in several processes, lose nothing', async (t) => {
	const { folder, file } = folderOf(t);
	const write = (name: string): string =>
		`await edit.writeCatalogFile(${JSON.stringify(folder)}, (text) => edit.putServer(text, ${name}, { npm: 'a@1.0.0' }));`;
	const others = [0, 1, 2].map((process) =>
		inProcess(`for (let at = 0; at < 10; at++) ${write(`'p${process}-' + at`)}`),
	);
	const own = Array.from({ length: 10 }, (_, at) =>
		writeCatalogFile(folder, (text) => putServer(text, `own-${at}`, ENTRY)),
	);
	await Promise.all(own);
	assert.deepEqual(await Promise.all(others), ['', '', '']);
	assert.equal(parseCatalog(readFileSync(file, 'utf8'), 'c').servers.size, 40);
});

test('what somebody writes who takes no lock is kept too', async (t) => {
	const { folder, file } = folderOf(t);
	let looks = 0;
	await writeCatalogFile(folder, (text) => {
		looks += 1;
		if (looks === 1) writeFileSync(file, putServer(text, 'theirs', ENTRY));
		return putServer(text, 'ours', ENTRY);
	});
	assert.deepEqual([...parseCatalog(readFileSync(file, 'utf8'), 'c').servers.keys()], ['theirs', 'ours']);
	const again = writeCatalogFile(folder, (text) => {
		looks += 1;
		writeFileSync(file, `${text} `);
		return putServer(text, 'more', ENTRY);
	});
	await assert.rejects(again, (error) => codeOf(error) === 'SLIPWAY_CATALOG_UNWRITABLE');
});

test('a writer that is killed leaves no lock that anybody waits for', async (t) => {
	const { folder, file } = folderOf(t);
	const output = await inProcess(
		`edit.writeCatalogFile(${JSON.stringify(folder)}, () => process.kill(process.pid, 'SIGKILL'));`,
	);
	assert.equal(output, '');
	await writeCatalogFile(folder, (text) => putServer(text, 'one', ENTRY));
	assert.equal(parseCatalog(readFileSync(file, 'utf8'), 'c').servers.size, 1);
});

const TELL = `.then(() => console.log('written'), (error) => console.log(error.code + ' ' + error.message))`;

test('without room on the disk the catalog is what it was, and says so', async (t) => {
	const { folder, file } = folderOf(t);
	const before = readFileSync(file);
	const long = JSON.stringify({ npm: 'a@1.0.0', description: 'x'.repeat(900) });
	const put = `edit.writeCatalogFile(${JSON.stringify(folder)}, (text) => {
		for (let at = 0; at < 20; at++) text = edit.putServer(text, 's' + at, ${long});
		return text;
	})${TELL}`;
	// A bound on the size of files fails as a full disk does: in the middle of a write. In units of 512 bytes.
	const output = await inProcess(put, { before: 'ulimit -f 16' });
	assert.match(output, /^SLIPWAY_CATALOG_UNWRITABLE .*no room.*EFBIG/);
	assert.deepEqual(readFileSync(file), before);
	// The same where the file can only be written in place.
	writeFileSync(file, before);
	if (process.getuid?.() === 0) chmodSync(file, 0o666);
	else chmodSync(folder, 0o555);
	const inPlace = await inProcess(put, { before: 'ulimit -f 16', ...SOMEBODY });
	chmodSync(folder, 0o755);
	assert.match(inPlace, /^SLIPWAY_CATALOG_UNWRITABLE .*no room.*EFBIG/);
	assert.deepEqual(readFileSync(file), before);
	assert.deepEqual(
		readdirSync(folder).filter((name) => !name.endsWith('.lock')),
		['catalog.json'],
	);
});

test('a file in a folder that is closed is written where it is, and one that is closed itself is not', async (t) => {
	const { folder, file } = folderOf(t);
	// Longer than what follows: nothing of the end may stay.
	writeFileSync(file, `{"servers": {"long": {"npm": "a@1.0.0", "description": "${'x'.repeat(900)}"}}}\n`);
	chmodSync(file, 0o666);
	chmodSync(folder, 0o555);
	const { ino } = statSync(file);
	const script = `edit.writeCatalogFile(${JSON.stringify(folder)}, () => '{"servers": {"one": {"npm": "one@1.0.0"}}}')${TELL}`;
	const output = await inProcess(script, SOMEBODY);
	chmodSync(folder, 0o755);
	assert.equal(output, 'written');
	assert.equal(readFileSync(file, 'utf8'), '{"servers": {"one": {"npm": "one@1.0.0"}}}');
	assert.equal(statSync(file).ino, ino);
	chmodSync(file, 0o444);
	chmodSync(folder, 0o555);
	const refused = await inProcess(script.replaceAll('one@1', 'one@2'), SOMEBODY);
	chmodSync(folder, 0o755);
	assert.match(refused, /^SLIPWAY_CATALOG_UNWRITABLE .*may not write it \(EACCES\)/);
	assert.equal(readFileSync(file, 'utf8'), '{"servers": {"one": {"npm": "one@1.0.0"}}}');
});

test('what an edit throws is thrown, and a catalog that would be too large or none is not written', async (t) => {
	const { folder, file } = folderOf(t);
	copyFileSync(SHIPPED, file);
	const before = readFileSync(file);
	await assert.rejects(
		writeCatalogFile(folder, () => {
			throw new RangeError('no');
		}),
		RangeError,
	);
	for (const text of ['{}', `{"servers": {}}${' '.repeat(CATALOG_LIMITS.fileBytesMax)}`])
		await assert.rejects(
			writeCatalogFile(folder, () => text),
			(error) => codeOf(error) === 'SLIPWAY_CATALOG_INVALID',
		);
	await assert.rejects(
		writeCatalogFile(join(folder, 'none.json'), String),
		(error) => codeOf(error) === 'SLIPWAY_CATALOG_INVALID',
	);
	assert.deepEqual(readFileSync(file), before);
	// It could still be written: no lock was left by any of these.
	await writeCatalogFile(folder, (text) => putServer(text, 'one', ENTRY));
});
