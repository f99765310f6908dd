/** Configurations of other programs as they are found, and what becomes of each server in them. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import type { EntryFile, Imported } from '../../src/catalog/import/contract.ts';
import { FORMATS, importText } from '../../src/catalog/import/formats.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import { knownFields } from '../../src/catalog/schema.ts';
import { SlipwayError } from '../../src/errors.ts';
import { SECRET_NAME_PATTERN } from '../../src/ids.ts';
import { IMPORT_LIMITS } from '../../src/limits.ts';

const FOLDER = new URL('../fixtures/imports/', import.meta.url).pathname;
const files = globSync(`${FOLDER}*.*`).sort();

/** The entry with versions made exact, as whoever writes it does. */
function exact({ npm, pypi, image, ...rest }: EntryFile): EntryFile {
	if (npm !== undefined)
		return { ...rest, npm: /@\d[\d.]*$/.test(npm) ? npm : `${npm.replace(/(.)@.*$/, '$1')}@1.0.0` };
	if (pypi !== undefined) return { ...rest, pypi: pypi.includes('==') ? pypi : `${pypi}==1.0.0` };
	return { ...rest, image: /[^/]:[^/]*$/.test(image ?? '') ? (image ?? '') : `${image}:1` };
}

function refusalOf(text: string): string {
	try {
		importText(text, {});
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		assert.equal(error.code, 'SLIPWAY_IMPORT_INVALID');
		return error.details.reason ?? '';
	}
	return assert.fail('nothing was thrown');
}

for (const file of files) {
	const name = basename(file).replace(/\.[a-z]+$/, '');
	test(`${basename(file)} becomes what is expected`, () => {
		const imported = importText(readFileSync(file, 'utf8'), {});
		assert.deepEqual(imported, JSON.parse(readFileSync(`${FOLDER}expected/${name}.json`, 'utf8')));
		// Saying what was found changes nothing.
		assert.deepEqual(importText(readFileSync(file, 'utf8'), { format: imported.format }), imported);
	});
}

test('every format is among them, and every entry is one of the catalog once its version is exact', () => {
	const all = files.map((file) => importText(readFileSync(file, 'utf8'), {}));
	assert.deepEqual(new Set(all.map(({ format }) => format)), new Set(FORMATS));
	const fields = new Set(knownFields(['servers', 'one']));
	for (const { servers } of all) {
		const entries = servers.flatMap((one) => (one.kind === 'server' ? [[one.name, exact(one.entry)] as const] : []));
		const taken = entries.filter(([, entry]) => Object.keys(entry).every((field) => fields.has(field)));
		const catalog = parseCatalog(JSON.stringify({ servers: Object.fromEntries(taken) }), 'c');
		assert.equal(catalog.servers.size, taken.length);
	}
});

test('what looked like a secret is in no entry and in no sentence', () => {
	for (const file of files) {
		for (const one of importText(readFileSync(file, 'utf8'), {}).servers) {
			if (one.kind === 'refused') continue;
			const { secrets, ...rest } = one;
			for (const { name, value } of secrets) {
				assert.match(name, SECRET_NAME_PATTERN);
				assert.ok(Object.values(one.entry.secrets ?? {}).includes(name));
				assert.ok(!JSON.stringify(rest).includes(value), `${file} ${one.name} ${name}`);
			}
		}
	}
});

test('names that are taken get a number, and so does the second of two that become one', () => {
	const servers = { 'My Notes': { command: 'npx', args: ['a'] }, 'my-notes': { command: 'npx', args: ['b'] } };
	const names = (taken: string[]): string[] =>
		importText(JSON.stringify({ mcpServers: servers }), { taken: new Set(taken) }).servers.map(({ name }) => name);
	assert.deepEqual(names([]), ['my-notes', 'my-notes-2']);
	assert.deepEqual(names(['my-notes', 'my-notes-2']), ['my-notes-3', 'my-notes-4']);
});

test('two servers that call a secret alike have one each, unless it is the same', () => {
	const entry = (token: string): object => ({ command: 'npx', args: ['a'], env: { B_TOKEN: token } });
	const secretsOf = (one: Imported): unknown => one.kind === 'server' && one.secrets;
	const { servers } = importText(
		JSON.stringify({
			mcpServers: { a: entry('one-0123456'), 'a-b': { ...entry('x'), env: { TOKEN: 'two-0123456' } } },
		}),
		{},
	);
	assert.deepEqual(servers.map(secretsOf), [
		[{ name: 'a_b_token', value: 'one-0123456' }],
		[{ name: 'a_b_token_2', value: 'two-0123456' }],
	]);
});

test('a server that is not as its format has it is refused by itself', () => {
	const mcpServers = {
		list: [],
		number: 1,
		bare: {},
		args: { command: 'npx', args: 'foo' },
		env: { command: 'npx', args: ['foo'], env: { A: {} } },
		long: { command: 'npx', args: Array.from({ length: IMPORT_LIMITS.wordsMax + 1 }, () => 'a') },
		many: { command: 'npx', args: ['foo', ...Array.from({ length: 200 }, () => 'a')] },
		nul: { command: 'npx', args: ['foo', '\0'] },
		deep: { command: 'env', args: Array.from({ length: 20 }, () => 'env') },
		good: { command: 'npx', args: ['good', 3, true], env: { A: 1, B: null } },
	};
	const { servers } = importText(JSON.stringify({ mcpServers }), {});
	assert.deepEqual(
		servers.map(({ kind }) => kind),
		[...Array.from({ length: 9 }, () => 'refused'), 'server'],
	);
	const good = servers.at(-1);
	assert.ok(good?.kind === 'server');
	assert.deepEqual(good.entry, { npm: 'good', args: ['3', 'true'], env: { A: '1' } });
	for (const one of servers) {
		if (one.kind !== 'refused') continue;
		assert.ok(!one.reason.endsWith('.'), one.reason);
		assert.match(one.nextStep, /^[A-Z].*\.$/s);
	}
});

test('a text that is none of these is refused with the place', async (t) => {
	const deep = (text: string): string => text.repeat(IMPORT_LIMITS.jsonDepthMax + 2);
	const cases: readonly (readonly [what: string, text: string, ...parts: string[]])[] = [
		['nothing', ' \n', 'It is empty.'],
		['lines without end', `${'\n'.repeat(1_000_000)}x`, 'no servers in a form that is known'],
		['words', 'hello there', 'no servers in a form that is known'],
		['a catalog of Slipway', '{"servers": {"a": {"npm": "a@1.0.0"}}}', 'no servers in a form that is known'],
		['no server', '{"mcpServers": {}}', 'It has no server (an object "mcpServers").'],
		['broken JSON', '{\n  "mcpServers": {,}\n}', '2:18: '],
		['a name twice', '{"mcpServers": {"a": {}, "a": {}}}', '1:26: stands here twice'],
		['a name that is none', '{"mcpServers": {"__proto__": {}}}', '1:17: '],
		['deep JSON', `{"mcpServers":${deep('[')}`, 'objects and lists in each other'],
		['broken TOML', '[mcp_servers.a]\ncommand = \n', '2:'],
		['deep TOML', `[mcp_servers]\na = ${deep('[')}${deep(']')}`, ''],
		['broken YAML', 'registry:\n  a: [b\n', '3:1: '],
		['deep YAML', `registry: ${'['.repeat(100_000)}`, 'in each other'],
		[
			'YAML that is much of little',
			`a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
				.split('')
				.map((key, at) => `${key}: &${key} [${Array.from({ length: 9 }, () => `*${'abcdefgh'[at]}`).join(',')}]`)
				.join('\n')}\nregistry: *i\n`,
			'aliases',
		],
		['too long', `${' '.repeat(IMPORT_LIMITS.textCharsMax)}x`, 'longer than'],
		[
			'too many',
			JSON.stringify({
				mcpServers: Object.fromEntries(Array.from({ length: IMPORT_LIMITS.serversMax + 1 }, (_, at) => [`s${at}`, {}])),
			}),
			'1025 servers',
		],
	];
	for (const [what, text, ...parts] of cases) {
		await t.test(what, () => {
			const reason = refusalOf(text);
			for (const part of parts) assert.ok(reason.includes(part), `${part}\n is not in\n${reason}`);
		});
	}
});
