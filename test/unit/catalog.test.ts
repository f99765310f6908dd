import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Catalog, Server } from '../../src/catalog/catalog.ts';
import { hashEntry } from '../../src/catalog/entry-hash.ts';
import { loadCatalog, parseCatalog } from '../../src/catalog/load.ts';
import { parsePypiLoosely, toRequirement } from '../../src/catalog/pypi.ts';
import { catalogJsonSchema } from '../../src/catalog/schema.ts';
import { watchCatalog } from '../../src/catalog/watch.ts';
import { check } from '../../src/cli/check.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { CATALOG_LIMITS } from '../../src/limits.ts';
import { invocationOf } from '../support/invocation.ts';

const SHIPPED = new URL('../../catalog/', import.meta.url).pathname;

/** Whether an error is the catalog's, with every one of the parts in its message. */
function names(...parts: readonly string[]): (error: unknown) => true {
	return (error) => {
		assert.ok(error instanceof SlipwayError, String(error));
		assert.equal(error.code, 'SLIPWAY_CATALOG_INVALID');
		for (const part of parts) assert.ok(error.message.includes(part), `${part}\n is not in\n${error.message}`);
		return true;
	};
}

function parseServer(entry: object): Server {
	const server = parseCatalog(JSON.stringify({ servers: { one: entry } }), 'catalog.json').servers.get(
		'one' as ServerName,
	);
	assert.ok(server);
	return server;
}

function messageOf(parse: () => unknown): string {
	try {
		parse();
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		return error.message;
	}
	return assert.fail('nothing was thrown');
}

const PACKAGE = { npm: 'one@1.0.0' };
const DIGEST = `sha256:${'0a'.repeat(32)}`;

test('an entry with nothing but a source has every default', () => {
	assert.deepEqual(parseServer({ npm: '@scope/one@1.2.3-rc.1' }), {
		name: 'one',
		enabled: true,
		source: { kind: 'npm', name: '@scope/one', version: '1.2.3-rc.1' },
		command: [],
		args: [],
		env: {},
		secrets: [],
		volumes: [],
		mounts: [],
		egress: [],
		resources: { memoryBytes: 268_435_456, nanoCpus: 1_000_000_000, pidsMax: 128, tmpBytes: 33_554_432, shmBytes: 0 },
		user: { uid: 65532, gid: 65532 },
		callTimeoutMs: 60_000,
		idleStopMs: 300_000,
		snapshot: true,
		pin: 'first-use',
		isolation: 'session',
	});
});

test('an entry with every field keeps every field', () => {
	const server = parseServer({
		image: `registry.example:5000/acme/mcp:1.4@${DIGEST}`,
		title: 'One',
		description: 'Two\nlines.',
		command: ['serve'],
		args: ['--fast', ''],
		env: { A: '1', constructor: 'inert' },
		secrets: { TOKEN: 'github_token', KEY_FILE: { secret: 'key', file: '/run/secrets/key.pem' } },
		volumes: [{ name: 'one', target: '/var/lib/one' }],
		mounts: [
			{ source: './data', target: '/files' },
			{ source: '/srv/x', target: '/x', readOnly: false },
		],
		egress: ['api.example.com:443', '*.example.org:80'],
		resources: { memory: '1g', cpus: 0.5, pids: 512, tmp: '16m', shm: '64m' },
		user: '10001:20002',
		callTimeout: 1.5,
		idleStop: 86_400,
		snapshot: false,
		callsPerMinute: 30,
		callsInFlight: 8,
		containers: 4,
		tools: {
			allow: ['read*'],
			deny: ['*secret*'],
			callsPerMinute: { 'w*': 5 },
			arguments: { read: { properties: { path: { type: 'string', pattern: '^/data/' } } } },
			validate: false,
		},
		audit: { values: ['read*'] },
		pin: 'approve',
		warm: 2,
		isolation: 'shared',
		replicas: { min: 1, max: 3 },
		enabled: false,
	});
	assert.deepEqual(server, {
		name: 'one',
		title: 'One',
		description: 'Two\nlines.',
		enabled: false,
		source: { kind: 'image', reference: `registry.example:5000/acme/mcp:1.4@${DIGEST}` },
		command: ['serve'],
		args: ['--fast', ''],
		env: { A: '1', constructor: 'inert' },
		secrets: [
			{ variable: 'TOKEN', name: 'github_token' },
			{ variable: 'KEY_FILE', name: 'key', file: '/run/secrets/key.pem' },
		],
		volumes: [{ name: 'one', target: '/var/lib/one' }],
		mounts: [
			{ source: './data', target: '/files', readOnly: true },
			{ source: '/srv/x', target: '/x', readOnly: false },
		],
		egress: ['api.example.com:443', '*.example.org:80'],
		resources: {
			memoryBytes: 1_073_741_824,
			nanoCpus: 500_000_000,
			pidsMax: 512,
			tmpBytes: 16_777_216,
			shmBytes: 67_108_864,
		},
		user: { uid: 10001, gid: 20002 },
		callTimeoutMs: 1500,
		idleStopMs: 86_400_000,
		snapshot: false,
		callsPerMinute: 30,
		callsInFlight: 8,
		containers: 4,
		tools: {
			allow: ['read*'],
			deny: ['*secret*'],
			callsPerMinute: { 'w*': 5 },
			arguments: { read: '{"properties":{"path":{"type":"string","pattern":"^/data/"}}}' },
			validate: false,
		},
		audit: { values: ['read*'] },
		pin: 'approve',
		warm: 2,
		isolation: 'shared',
		replicas: { min: 1, max: 3 },
	});
});

test('a shared server has two replicas at most unless it says otherwise, and any other has none to speak of', () => {
	const shared = { ...PACKAGE, isolation: 'shared' };
	assert.deepEqual(parseServer(shared).replicas, { min: 0, max: 2 });
	assert.deepEqual(parseServer({ ...shared, replicas: { min: 2 } }).replicas, { min: 2, max: 2 });
	assert.deepEqual(parseServer({ ...PACKAGE, isolation: 'principal' }).replicas, undefined);
	for (const isolation of [undefined, 'session', 'principal']) {
		const message = messageOf(() => parseServer({ ...PACKAGE, isolation, replicas: { max: 2 } }));
		assert.match(message, / servers\.one\.replicas: goes with "isolation": "shared" only\./);
	}
	const message = messageOf(() => parseServer({ ...shared, replicas: { min: 3 } }));
	assert.match(message, / servers\.one\.replicas\.min: is more than "max", 2\./);
});

const WRONG_SECRETS: readonly (readonly [secrets: unknown, message: RegExp])[] = [
	[{ TOKEN: 'GitHub' }, / servers\.one\.secrets\.TOKEN: is not the name of a secret\. /],
	[{ TOKEN: 'token_file' }, / servers\.one\.secrets\.TOKEN: is not the name of a secret\. /],
	[{ TOKEN: '../token' }, / servers\.one\.secrets\.TOKEN: is not the name of a secret\. /],
	[{ TOKEN: 7 }, / servers\.one\.secrets\.TOKEN: must be the name of a secret, or /],
	[
		{ TOKEN: { secret: 'token' } },
		/ servers\.one\.secrets\.TOKEN(?:\.file)?: (?:is missing|must be the name of a secret, or) /,
	],
	[
		{ TOKEN: { secret: 'token', file: '/etc/passwd' } },
		/\.file: is not a place for a secret\. Write "\/run\/secrets\//,
	],
	[{ TOKEN: { secret: 'token', file: '/run/secrets/..' } }, /\.file: is not a place for a secret\. /],
	[{ TOKEN: { secret: 'token', file: '/run/secrets/a b' } }, /\.file: is not a place for a secret\. /],
	[{ 'A-B': 'token' }, /is not the name of a variable\. /],
	[{ IFS: 'token' }, / servers\.one\.secrets\.IFS: "IFS" is a variable of the shell /],
	[{ slipway_value: 'token' }, / servers\.one\.secrets\.slipway_value: "slipway_value" is a variable of the shell /],
	[{ A: 'token', PLAIN: 'token' }, / servers\.one\.secrets\.PLAIN: stands in "env" too\. /],
	[
		{ A: { secret: 'a', file: '/run/secrets/x' }, B: { secret: 'b', file: '/run/secrets/x' } },
		/ servers\.one\.secrets\.B\.file: "\/run\/secrets\/x" stands here twice\. /,
	],
	[
		Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`A${index}`, 'token'])),
		/ has 33 entries\. Keep at most 32\./,
	],
];

for (const [secrets, message] of WRONG_SECRETS) {
	test(`secrets that cannot be handed over are refused: ${JSON.stringify(secrets).slice(0, 60)}`, () => {
		assert.match(
			messageOf(() => parseServer({ ...PACKAGE, env: { PLAIN: '1' }, secrets })),
			message,
		);
	});
}

test('a user without a group has the group of its own number', () => {
	assert.deepEqual(parseServer({ ...PACKAGE, user: '10001' }).user, { uid: 10001, gid: 10001 });
});

test('names that objects have of their own are names like others', () => {
	const catalog = parseCatalog('{"servers": {"constructor": {"npm": "one@1.0.0"}}}', 'c');
	assert.deepEqual([...catalog.servers.keys()], ['constructor']);
});

test('a catalog without servers is a catalog', () => {
	assert.equal(parseCatalog('{"servers": {}}', 'c').servers.size, 0);
});

test('a message names the file, the line and column, the place, the fix and the nearest field', () => {
	const text = '{\n  "servers": {\n    "memory": {\n      "npmm": "one@1.0.0"\n    }\n  }\n}\n';
	assert.equal(
		messageOf(() => parseCatalog(text, 'catalog.json')),
		'The catalog is wrong. catalog.json:4:7 servers.memory.npmm: unknown field. Known fields are npm, pypi, with, bin, installScripts, systemPackages, image, title, description, command, args, env, secrets, volumes, mounts, egress, resources, user, callTimeout, idleStop, snapshot, callsPerMinute, callsInFlight, containers, tools, audit, pin, warm, isolation, replicas, enabled; did you mean "npm"?',
	);
});

test('every problem is told, in the order of the file, up to a bound', () => {
	const servers = Object.fromEntries(Array.from({ length: 12 }, (_, index) => [`s${index}`, { npm: `one-${index}` }]));
	const lines = messageOf(() => parseCatalog(JSON.stringify({ servers }, null, 1), 'c')).split('\n');
	assert.equal(lines.length, 1 + CATALOG_LIMITS.problemsMax + 1);
	assert.equal(lines[0], 'The catalog is wrong. 12 problems:');
	assert.match(lines[1] ?? '', /^c:4:11 servers\.s0\.npm: "one-0" names no version\. /);
	assert.equal(lines.at(-1), '… and 2 more.');
});

test('a flood of unknown fields is told in bounded time and length', () => {
	const fields = Object.fromEntries(Array.from({ length: 50_000 }, (_, index) => [`field${index}`, 0]));
	const message = messageOf(() => parseCatalog(JSON.stringify({ servers: {}, ...fields }), 'c'));
	assert.match(message, /^The catalog is wrong\. 50000 problems:/);
	assert.ok(message.length < 2000);
});

const BAD_TEXTS: readonly (readonly [text: string, ...parts: string[]])[] = [
	['', 'c:1:1: the file is empty. Write at least {"servers": {}}.'],
	[' \n', 'c:1:1: the file is empty.'],
	['{', 'c:1:2: a closing } was expected.'],
	['[1', 'c:1:3: a closing ] was expected.'],
	['{"servers": {},}', 'c:1:15: a trailing comma. Remove it.'],
	['{"servers": {}, "x": [1,]}', 'c:1:24: a trailing comma. Remove it.'],
	['// hello\n{"servers": {}}', 'c:1:1: JSON has no comments. Remove it.'],
	['{"servers": /* none */ {}}', 'c:1:13: JSON has no comments. Remove it.'],
	['{"servers": {}} {}', 'c:1:17: the end of the file was expected.'],
	['{"servers" {}}', 'c:1:12: a colon was expected.'],
	['{"servers": {} "x": 1}', 'c:1:16: a comma was expected.'],
	['{"servers": }', 'c:1:13: a value was expected.'],
	["{'servers': {}}", `c:1:2: JSON has no "'servers'". Remove it, or put it in double quotes`],
	['{servers: {}}', 'c:1:2: JSON has no "servers". '],
	['{"servers": {"a\nb": 1}}', 'c:1:14: '],
	['{"servers": {}, "a": "\t"}', 'c:1:22: a text has a line break or another control character in it.'],
	['{"a": "\\x"}', 'c:1:7: one of " \\ / b f n r t u was expected after \\.'],
	['{"a": 01}', 'c:1:'],
	[`${'['.repeat(200_000)}`, `c:1:33: more than ${CATALOG_LIMITS.jsonDepthMax} objects and lists in each other.`],
	['{"servers": {}, "servers": {}}', 'c:1:17 servers: stands here twice. Remove one of them.'],
	['{"servers": {"a": {"npm": "a@1.0.0", "npm": "b@1.0.0"}}}', 'c:1:38 servers.a.npm: stands here twice.'],
	['{"servers": {"a": 1, "\\u0061": 2}}', 'c:1:22 servers.a: stands here twice.'],
	['{"servers": {"__proto__": {}}}', 'c:1:14 servers.__proto__: is not a name to use. Choose another.'],
	['{"__proto__": {"servers": {}}}', 'c:1:2 __proto__: is not a name to use.'],
	['[]', 'c:1:1: must be an object in {}, not a list in [].'],
	['null', 'c:1:1: must be an object in {}, not null.'],
	['{}', 'c:1:1 servers: is missing. Add it.'],
	['{"servers": []}', 'c:1:13 servers: must be an object in {}, not a list in [].'],
	['{"servers": {"a": true}}', 'c:1:19 servers.a: must be an object in {}, not true.'],
	[
		'{"servers": {}, "server": {}}',
		'c:1:17 server: unknown field. Known fields are $schema, servers, groups; did you mean "servers"?',
	],
	[
		'{"servers": {"A b": {"npm": "a@1.0.0"}}}',
		'c:1:14 servers["A b"]: is not the name of a server. Write 1 to 64 of a-z',
	],
	['{"servers": {"a__b": {"npm": "a@1.0.0"}}}', 'c:1:14 servers.a__b: is not the name of a server.'],
	...['a_b', '_a', 'a_', '__', 'a__'].map(
		(name) =>
			[
				JSON.stringify({ servers: { [name]: { npm: 'a@1.0.0' } } }),
				`servers.${name}: is not the name of a server. Write 1 to 64 of a-z, 0-9 and "-", a letter or digit first and last.`,
			] as const,
	),
	['{"servers": {"-a": {"npm": "a@1.0.0"}}}', 'c:1:14 servers["-a"]: is not the name of a server.'],
	['{"servers": {"": {"npm": "a@1.0.0"}}}', 'c:1:14 servers[""]: is not the name of a server.'],
];

for (const [text, ...parts] of BAD_TEXTS) {
	test(`refused: ${JSON.stringify(text.slice(0, 60))}`, () => {
		assert.throws(() => parseCatalog(text, 'c'), names(...parts));
	});
}

const BAD_ENTRIES: readonly (readonly [entry: object, ...parts: string[]])[] = [
	[{}, 'servers.one: names nothing to run. Add "npm": "name@version", "pypi": "name==version" or "image": "name:tag".'],
	[{ ...PACKAGE, image: 'one:1' }, 'servers.one.image: has both "npm" and "image". Keep one of them.'],
	[{ ...PACKAGE, pypi: 'one==1' }, 'servers.one.pypi: has both "npm" and "pypi". Keep one of them.'],
	[{ pypi: 'one==1', image: 'one:1' }, 'servers.one.image: has both "pypi" and "image". Keep one of them.'],
	[{ pypi: 'one==1', command: ['serve'] }, 'servers.one.command: goes with "image" only.'],
	[{ image: 'one:1', bin: 'one' }, 'servers.one.bin: goes with a package only: an image has what it has. Remove it.'],
	[
		{ image: 'one:1', installScripts: true },
		'servers.one.installScripts: goes with a package only: an image has what it has. Remove it.',
	],
	[{ ...PACKAGE, with: ['two==1'] }, 'servers.one.with: goes with "pypi" only. Remove it.'],
	[{ image: 'one:1', with: ['two==1'] }, 'servers.one.with: goes with "pypi" only. Remove it.'],
	[
		{ pypi: 'one' },
		'"one" names no version. Pin one, as in "one==1.2.3"; `pip index versions one` tells which there are.',
	],
	[{ pypi: 'one[a]' }, '"one[a]" names no version. Pin one, as in "one[a]==1.2.3"; `pip index versions one` tells'],
	[{ pypi: 'one@1.2.3' }, '"one@1.2.3" is written as uvx has it. Write "one==1.2.3".'],
	[{ pypi: 'one[a,b]@1.2.3' }, 'is written as uvx has it. Write "one[a,b]==1.2.3".'],
	[{ pypi: 'one@latest' }, '"@latest" is not an exact version. Pin one, as in "one==1.2.3"'],
	...['>=1.0', '~=1.0', '==1.*', '==1.0,<2', '===1.0', '=1.0', '==1.0; python_version > "3"', '== 1.0', '==1.0.'].map(
		(version) => [{ pypi: `one${version}` }, 'servers.one.pypi: ', 'is not an exact version. Pin one'] as const,
	),
	[{ pypi: 'one==1.0-beta.2' }, 'is not an exact version.'],
	[{ pypi: 'one==v1.0RC1' }, '"v1.0RC1" is not a version as it is written in full. Write "one==1.0rc1".'],
	[{ pypi: 'one @ https://example.org/one.whl' }, 'is a package by its URL, and not of an index.'],
	[{ pypi: 'one @ git+ssh://example.org/one' }, 'is a package by its URL, and not of an index.'],
	[{ pypi: 'one[a b]==1.0' }, 'the extras of "one[a b]==1.0" are not names. Write them as in "one[one,two]==1.2.3".'],
	[{ pypi: 'one[a==1.0' }, 'the extras of "one[a==1.0" are not names.'],
	...[
		'',
		'-r==1.0',
		'--index-url=https://example.org',
		'_one==1.0',
		'one two==1.0',
		'ö==1.0',
		'one/two==1.0',
		'@one==1.0',
	].map((pypi) => [{ pypi }, 'is not the name of a Python package. Write "name==1.2.3"'] as const),
	[{ pypi: `${'a'.repeat(215)}==1.0.0` }, 'is not the name of a Python package.'],
	[{ pypi: `one==${'1.'.repeat(300)}1` }, 'is not an exact version.'],
	...['../one', '/one', '~/one', '.', './../one', './a/../../one'].map(
		(pypi) => [{ pypi }, 'servers.one.pypi: ', '"./servers/own"'] as const,
	),
	[{ pypi: './a/../one' }, 'the path is not in its shortest form. Write "./one".'],
	[{ pypi: './one/' }, 'the path is not in its shortest form. Write "./one".'],
	[{ pypi: './one\0' }, 'the path has a control character in it'],
	[{ pypi: 'one==1', with: ['two'] }, 'servers.one.with[0]: "two" names no version.'],
	[{ pypi: 'one==1', with: ['./two'] }, 'servers.one.with[0]: "./two" is not the name of a Python package.'],
	[{ pypi: 'one==1', with: Array(33).fill('two==1') }, 'servers.one.with: has too many entries. Keep at most 32.'],
	...['', '../one', 'a b', '-c', 'a/b', '.one'].map(
		(bin) => [{ pypi: 'one==1', bin }, 'servers.one.bin: is not the name of a binary.'] as const,
	),
	[{ npm: 1 }, 'servers.one.npm: must be a text, not a number. Put it in double quotes.'],
	[{ npm: 'one' }, '"one" names no version. Pin one, as in "one@1.2.3"; `npm view one version` tells the newest.'],
	[{ npm: '@a/one' }, '"@a/one" names no version. Pin one, as in "@a/one@1.2.3"; `npm view @a/one version` tells'],
	[{ npm: 'one@' }, '"one@" names no version.'],
	...['latest', '^1.0.0', '1', '1.2', '1.x', '>=1.0.0', '01.0.0', 'v1.0.0', '1.0.0+build', '1.0.0 ', '*'].map(
		(version) => [{ npm: `one@${version}` }, `"${version}" is not an exact version. Pin one`] as const,
	),
	...['', 'One@1.0.0', '-g@1.0.0', '.one@1.0.0', '../one@1.0.0', '@/one@1.0.0', '@a/../b@1.0.0', '@../b@1.0.0'].map(
		(npm) => [{ npm }, 'is not the name of an npm package. Write "name@version"'] as const,
	),
	[{ npm: 'git+https://example.org/one.git@1.0.0' }, 'is not the name of an npm package.'],
	[{ npm: 'npm:one@1.0.0' }, 'is not the name of an npm package.'],
	[{ npm: `${'a'.repeat(215)}@1.0.0` }, 'is not the name of an npm package.'],
	[
		{ image: 'acme/mcp' },
		'"acme/mcp" names no tag or digest.',
		'as in "acme/mcp:1.2.3" or "…@sha256:<64 hex digits>".',
	],
	[{ image: 'localhost:5000/mcp' }, '"localhost:5000/mcp" names no tag or digest.'],
	[{ image: 'mcp:latest' }, 'the tag "latest" moves. Name a tag other than latest'],
	...['', 'Acme/mcp:1', 'acme//mcp:1', 'mcp:1@sha256:abc', '-v:1', 'mcp:1 --privileged', 'http://x/y:1', 'a/:1'].map(
		(image) => [{ image }, 'servers.one.image: ', 'is not an image reference. Write "name:tag"'] as const,
	),
	[
		{ image: `${'a'.repeat(CATALOG_LIMITS.imageReferenceCharsMax)}:1` },
		'servers.one.image: is too long. Keep it to 512 characters.',
	],
	[
		{ ...PACKAGE, command: ['serve'] },
		'servers.one.command: goes with "image" only. Put what the package is to be told in "args".',
	],
	[{ image: 'one:1', command: [] }, 'servers.one.command: is empty. Fill it in, or leave the field out.'],
	[{ image: 'one:1', command: 'serve' }, 'servers.one.command: must be a list in [], not a text.'],
	[{ ...PACKAGE, args: ['\0'] }, 'servers.one.args[0]: has a NUL character in it. Remove it.'],
	[{ ...PACKAGE, args: [1] }, 'servers.one.args[0]: must be a text, not a number. Put it in double quotes.'],
	[
		{ ...PACKAGE, args: Array(CATALOG_LIMITS.wordsMax + 1).fill('') },
		'servers.one.args: has too many entries. Keep at most 128.',
	],
	[{ ...PACKAGE, title: '' }, 'servers.one.title: is empty.'],
	[{ ...PACKAGE, title: 'a\nb' }, 'servers.one.title: has a line break or another control character in it. Remove it.'],
	[{ ...PACKAGE, description: '\u001b[31m' }, 'servers.one.description: has a control character in it. Remove it.'],
	[
		{ ...PACKAGE, env: { 'A-B': '' } },
		'servers.one.env.A-B: is not the name of a variable. Write letters, digits and "_"',
	],
	[{ ...PACKAGE, env: { PORT: 8080 } }, 'servers.one.env.PORT: must be a text, not a number. Put it in double quotes.'],
	[{ ...PACKAGE, env: { A: '\0' } }, 'servers.one.env.A: has a NUL character in it.'],
	[
		{ ...PACKAGE, env: Object.fromEntries(Array.from({ length: 129 }, (_, index) => [`A${index}`, ''])) },
		'servers.one.env: has 129 entries. Keep at most 128.',
	],
	[
		{ ...PACKAGE, volumes: [{ name: 'Data', target: '/data' }] },
		'servers.one.volumes[0].name: is not the name of a volume.',
	],
	[{ ...PACKAGE, volumes: [{ name: 'data' }] }, 'servers.one.volumes[0].target: is missing. Add it.'],
	[
		{ ...PACKAGE, volumes: [{ name: 'a', target: '/a', readonly: true }] },
		'volumes[0].readonly: unknown field. Known fields are name, target.',
	],
	[
		{ ...PACKAGE, mounts: [{ source: './a', target: '/a', readonly: true }] },
		'mounts[0].readonly: unknown field. Known fields are source, target, readOnly; did you mean "readOnly"?',
	],
	...['data', '', './data', '../data'].map(
		(target) =>
			[{ ...PACKAGE, volumes: [{ name: 'a', target }] }, 'volumes[0].target: ', 'is not an absolute path.'] as const,
	),
	...['/a/', '//a', '/a/./b', '/a/../b'].map(
		(target) => [{ ...PACKAGE, volumes: [{ name: 'a', target }] }, 'is not in its shortest form. Write "/'] as const,
	),
	[{ ...PACKAGE, volumes: [{ name: 'a', target: '/' }] }, 'the whole file system cannot be covered.'],
	...[
		'/proc',
		'/proc/1',
		'/sys/fs',
		'/dev/shm',
		'/tmp/x',
		'/run/secrets',
		'/var/run',
		'/etc/passwd',
		'/usr',
		'/var',
		'/usr/local',
		'/bin',
	].map((target) => [{ ...PACKAGE, volumes: [{ name: 'a', target }] }, `"${target}" is in the way of /`] as const),
	[
		{ ...PACKAGE, volumes: [{ name: 'a', target: '/a' }], mounts: [{ source: './a', target: '/a/b' }] },
		'servers.one.mounts[0].target: "/a/b" overlaps with volumes[0].target ("/a"). Choose places apart.',
	],
	[
		{
			...PACKAGE,
			mounts: [
				{ source: './a', target: '/a/b' },
				{ source: './b', target: '/a' },
			],
		},
		'servers.one.mounts[1].target: "/a" overlaps with mounts[0].target ("/a/b").',
	],
	...['data', '~/data', 'C:\\data', '../data', ''].map(
		(source) =>
			[
				{ ...PACKAGE, mounts: [{ source, target: '/a' }] },
				'mounts[0].source: ',
				'starts with neither "./" nor "/".',
			] as const,
	),
	[
		{ ...PACKAGE, mounts: [{ source: './../data', target: '/a' }] },
		'leaves the folder it starts from. Write the absolute path.',
	],
	[{ ...PACKAGE, mounts: [{ source: './a/../../b', target: '/a' }] }, 'leaves the folder it starts from.'],
	[{ ...PACKAGE, mounts: [{ source: './data/', target: '/a' }] }, 'is not in its shortest form. Write "./data".'],
	[{ ...PACKAGE, mounts: [{ source: './/data', target: '/a' }] }, 'is not in its shortest form. Write "./data".'],
	[{ ...PACKAGE, mounts: [{ source: '/a/../b', target: '/a' }] }, 'is not in its shortest form. Write "/b".'],
	...['/', './', './.', '/..'].map(
		(source) =>
			[{ ...PACKAGE, mounts: [{ source, target: '/a' }] }, 'is too much to mount. Name a folder in it'] as const,
	),
	[{ ...PACKAGE, mounts: [{ source: './a\nb', target: '/a' }] }, 'the path has a control character in it. Remove it.'],
	[
		{ ...PACKAGE, resources: { memory: '300m' } },
		'resources.memory: must be one of "64m", "128m", "256m", "512m", "1g", "2g", "4g".',
	],
	[{ ...PACKAGE, resources: { cpus: 3 } }, 'servers.one.resources.cpus: must be one of 0.5, 1, 2, 4.'],
	[
		{ ...PACKAGE, resources: { gpus: 1 } },
		'resources.gpus: unknown field. Known fields are memory, cpus, pids, tmp, shm; did you mean "cpus"?',
	],
	...['root', '0', '0:0', '1000', '10000:999', '010000', '10000:', '1e5', '-10000', '99999999999'].map(
		(user) =>
			[
				{ ...PACKAGE, user },
				'servers.one.user: is not a user. Write "uid" or "uid:gid", numbers of 10000 or more',
			] as const,
	),
	[{ ...PACKAGE, user: '4294967296' }, 'servers.one.user: has an id above 2147483647.'],
	[{ ...PACKAGE, callTimeout: 0 }, 'servers.one.callTimeout: is less than 1. Write 1 or more.'],
	[{ ...PACKAGE, callTimeout: 601 }, 'servers.one.callTimeout: is more than 600. Write 600 or less.'],
	[{ ...PACKAGE, idleStop: 0.5 }, 'servers.one.idleStop: is less than 1. Write 1 or more.'],
	[{ ...PACKAGE, idleStop: 86_401 }, 'servers.one.idleStop: is more than 86400. Write 86400 or less.'],
	[{ ...PACKAGE, tools: { denied: [] } }, 'servers.one.tools.denied: unknown field. Known fields are allow, deny'],
	[
		{ ...PACKAGE, tools: { arguments: { read: { typ: 'string' } } } },
		'servers.one.tools.arguments.read: is no JSON Schema that Slipway can use: strict mode: unknown keyword: "typ"',
	],
	[
		{ ...PACKAGE, tools: { arguments: { read: { type: 'string', format: 'email' } } } },
		'servers.one.tools.arguments.read: is no JSON Schema that Slipway can use: unknown format "email"',
	],
	[
		{ ...PACKAGE, tools: { arguments: { read: { $ref: 'https://example.com/x' } } } },
		"servers.one.tools.arguments.read: is no JSON Schema that Slipway can use: can't resolve reference",
	],
	[{ ...PACKAGE, tools: { callsPerMinute: { read: 0 } } }, 'servers.one.tools.callsPerMinute.read'],
	[{ ...PACKAGE, callsInFlight: 0 }, 'servers.one.callsInFlight'],
	[{ ...PACKAGE, containers: 1.5 }, 'servers.one.containers'],
	[{ ...PACKAGE, tools: { allow: [''] } }, 'servers.one.tools.allow[0]'],
	[{ ...PACKAGE, warm: 17 }, 'servers.one.warm: is more than 16. Write 16 or less.'],
	[{ ...PACKAGE, snapshot: 1 }, 'servers.one.snapshot: must be true or false, not a number.'],
	[{ ...PACKAGE, pin: 'never' }, 'servers.one.pin'],
	[{ ...PACKAGE, callTimeout: '60' }, 'servers.one.callTimeout: must be a number, not a text.'],
	[{ ...PACKAGE, enabled: 'no' }, 'servers.one.enabled: must be true or false, not a text.'],
];

for (const [entry, ...parts] of BAD_ENTRIES) {
	test(`refused: ${JSON.stringify(entry).slice(0, 100)}`, () => {
		assert.throws(() => parseServer(entry), names('catalog.json:1:', ...parts));
	});
}

function parseGroups(groups: unknown): Catalog {
	const entries = ['files', 'github', 'memory'].map((name) => [name, { npm: `${name}@1.0.0` }] as const);
	return parseCatalog(JSON.stringify({ servers: Object.fromEntries(entries), groups }), 'c');
}

test('groups keep the order of their members', () => {
	const groups = { coding: ['memory', 'files', 'github'], 'a-1': ['github'], constructor: ['github', 'files'] };
	assert.deepEqual([...parseGroups(groups).groups], Object.entries(groups));
});

test('a catalog that says nothing of groups has none', () => {
	assert.deepEqual([...parseCatalog('{"servers": {"one": {"npm": "one@1.0.0"}}}', 'c').groups], []);
	assert.deepEqual([...parseGroups({}).groups], []);
});

const BAD_GROUPS: readonly (readonly [groups: unknown, ...parts: string[]])[] = [
	[[], 'groups: must be an object in {}, not a list in [].'],
	[null, 'groups: must be an object in {}, not null.'],
	[{ all: 'files' }, 'groups.all: must be a list in [], not a text.'],
	[{ all: { files: true } }, 'groups.all: must be a list in [], not an object in {}.'],
	[{ all: [1] }, 'groups.all[0]: must be a text, not a number. Put it in double quotes.'],
	[{ all: [] }, 'groups.all: is empty. Fill it in, or leave the field out.'],
	[
		{ all: ['github', 'nobody'] },
		'groups.all[1]: "nobody" is not a server of this catalog. Add it to "servers", or remove it here.',
	],
	[
		{ all: ['githbu'] },
		'groups.all[0]: "githbu" is not a server of this catalog. Add it to "servers", or remove it here; did you mean "github"?',
	],
	...['constructor', 'toString', '__proto__', 'FILES', '', 'all', '../files'].map(
		(member) =>
			[{ all: [member] }, `groups.all[0]: ${JSON.stringify(member)} is not a server of this catalog.`] as const,
	),
	[{ all: ['files', 'github', 'files'] }, 'groups.all[2]: "files" stands in this group twice. Remove one of them.'],
	[{ one: ['nobody'], two: ['files', 'files'] }, '2 problems:', 'groups.one[0]: ', 'groups.two[1]: '],
	...['A', 'a b', 'a__b', '_a', 'a_', '-a', '', 'a/b', 'a'.repeat(65)].map(
		(name) =>
			[
				{ [name]: ['files'] },
				'is not the name of a group. Write 1 to 64 of a-z, 0-9 and "-", a letter or digit first and last.',
			] as const,
	),
	[
		Object.fromEntries(Array.from({ length: 65 }, (_, index) => [`g${index}`, ['files']])),
		'groups: has 65 entries. Keep at most 64.',
	],
	[{ all: Array(257).fill('files') }, 'groups.all: has too many entries. Keep at most 256.'],
];

for (const [groups, ...parts] of BAD_GROUPS) {
	test(`refused, as groups: ${JSON.stringify(groups).slice(0, 100)}`, () => {
		assert.throws(() => parseGroups(groups), names('c:1:', ...parts));
	});
}

test('a group is told of at its line and column', () => {
	const text = '{\n  "servers": {\n    "a": {"npm": "a@1.0.0"}\n  },\n  "groups": {\n    "all": ["a", "b"]\n  }\n}\n';
	assert.throws(() => parseCatalog(text, 'c'), names('c:6:18 groups.all[1]: "b" is not a server'));
});

test('a group may have every server, and there may be as many groups as may be', () => {
	const servers = Object.fromEntries(
		Array.from({ length: CATALOG_LIMITS.serversMax }, (_, index) => [`s-${index}`, PACKAGE]),
	);
	const members = Object.keys(servers);
	const groups = Object.fromEntries(
		Array.from({ length: CATALOG_LIMITS.groupsMax }, (_, index) => [`g-${index}`, members]),
	);
	const catalog = parseCatalog(JSON.stringify({ servers, groups }), 'c');
	assert.deepEqual([...catalog.groups], Object.entries(groups));
	assert.equal(catalog.groups.size, 64);
	assert.equal(catalog.groups.get('g-63')?.length, 256);
});

test('a flood of members that no server has is told in bounded time and length', () => {
	const servers = Object.fromEntries(Array.from({ length: 256 }, (_, index) => [`server-${index + 1000}-x`, PACKAGE]));
	const members = Array.from({ length: 256 }, (_, index) => `server-${index + 1000}-y`);
	const groups = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [`g${index}`, members]));
	const startedAt = performance.now();
	const message = messageOf(() => parseCatalog(JSON.stringify({ servers, groups }), 'c'));
	assert.match(message, /^The catalog is wrong\. 16384 problems:/);
	assert.ok(message.length < 4000);
	// To look for what was meant in every one of them takes a hundred times as long.
	assert.ok(performance.now() - startedAt < 3_000);
});

test('an entry’s hash is the same for the same entry and image, and another for any other', () => {
	const entry = {
		image: 'one:1',
		title: 'One',
		env: { A: '1', B: '2' },
		volumes: [{ name: 'one', target: '/one' }],
		mounts: [{ source: './one', target: '/two' }],
	};
	const id = `sha256:${'a'.repeat(64)}`;
	const hash = hashEntry(parseServer(entry), id);
	assert.match(hash, /^sha256:[0-9a-f]{64}$/);
	const { env, volumes, mounts, ...rest } = entry;
	const sameAgain = { mounts: [{ target: '/two', source: './one' }], volumes, enabled: true, env, ...rest };
	assert.equal(hashEntry(parseServer(sameAgain), id), hash);
	const changes: object[] = [
		{ image: 'one:2' },
		{ command: ['one'] },
		{ args: ['one'] },
		{ env: { A: '1', B: '3' } },
		{ volumes: [{ name: 'two', target: '/one' }] },
		{ volumes: [] },
		{ mounts: [{ source: './one', target: '/two', readOnly: false }] },
		{ egress: ['api.example.com:443'] },
		{ resources: { memory: '64m' } },
		{ user: '10001' },
	];
	for (const said of [
		{ title: 'Two' },
		{ description: 'One.' },
		{ enabled: false },
		{ callTimeout: 61 },
		{ idleStop: 61 },
		{ snapshot: false },
		{ warm: 1 },
		{ callsPerMinute: 5 },
		{ tools: { deny: ['x'] } },
		{ audit: { values: ['x'] } },
		{ pin: 'off' },
		{ callsInFlight: 5 },
		{ containers: 5 },
	])
		assert.equal(hashEntry(parseServer({ ...entry, ...said }), id), hash, 'its containers are the same');
	const hashes = changes.map((change) => hashEntry(parseServer({ ...entry, ...change }), id));
	hashes.push(hash, hashEntry(parseServer(entry), undefined), hashEntry(parseServer(entry), 'sha256:other'));
	const other = parseCatalog(JSON.stringify({ servers: { two: entry } }), 'c').servers.get('two' as ServerName);
	assert.ok(other);
	hashes.push(hashEntry(other, id));
	assert.equal(new Set(hashes).size, changes.length + 4);
});

test('what would loosen a container, and what comes later, are unknown fields', () => {
	const absent = 'privileged capAdd devices network pid ipc userns groups icon gpus';
	for (const field of absent.split(' ')) {
		assert.throws(() => parseServer({ ...PACKAGE, [field]: true }), names(`servers.one.${field}: unknown field.`));
	}
});

test('a wrong value of a variable is not repeated', () => {
	const message = messageOf(() => parseServer({ ...PACKAGE, env: { TOKEN: 'canary\0' } }));
	assert.ok(!message.includes('canary'));
});

test('references to images that Docker understands are taken', () => {
	const references = [
		'mcp:1',
		'acme/mcp:1.4',
		`acme/mcp@${DIGEST}`,
		`mcp:latest@${DIGEST}`,
		'localhost:5000/a/b-c/d__e:v1',
		'ghcr.io/acme/mcp:latest-1',
		'Registry.Example/mcp:1',
		'[::1]:5000/mcp:1',
	];
	for (const image of references) assert.deepEqual(parseServer({ image }).source, { kind: 'image', reference: image });
});

test('names of packages that npm takes are taken', () => {
	for (const name of ['a', 'a.b', 'a_b', '~a', '@a/b', '@a-b/_c', '@jsr/std__path', '0x']) {
		assert.deepEqual(parseServer({ npm: `${name}@1.0.0` }).source, { kind: 'npm', name, version: '1.0.0' });
	}
});

test('names and versions of Python packages are taken as they are normalised', () => {
	const sources = [
		['One.Two==1.0', 'one-two', [], '1.0'],
		['one__two[B,a.a,b]==1!2.3.4a1.post2.dev3', 'one-two', ['a-a', 'b'], '1!2.3.4a1.post2.dev3'],
		['a==0', 'a', [], '0'],
		['torch==2.9.0+cpu', 'torch', [], '2.9.0+cpu'],
		['0x==2026.8.31', '0x', [], '2026.8.31'],
	] as const;
	for (const [pypi, name, extras, version] of sources)
		assert.deepEqual(parseServer({ pypi }).source, { kind: 'pypi', name, extras, version });
	const said = { pypi: './servers/own', with: ['Two[x]==2.0'], bin: 'run', installScripts: true };
	assert.deepEqual(parseServer(said).source, {
		kind: 'pypi-local',
		path: './servers/own',
		with: [{ name: 'two', extras: ['x'], version: '2.0' }],
		bin: 'run',
		installScripts: true,
	});
	assert.deepEqual(parseServer({ pypi: 'a==1', with: [] }).source, {
		kind: 'pypi',
		name: 'a',
		extras: [],
		version: '1',
	});
});

test('what a person tells uvx or pip of a Python package is understood, and nothing else', () => {
	const one = { name: 'one', extras: [], version: 'latest' };
	for (const [text, said] of [
		['One', {}],
		['one[A, b]', { extras: ['a', 'b'] }],
		['one@latest', {}],
		['one@1.2.3', { version: '1.2.3' }],
		['one==1.2.3', { version: '1.2.3' }],
		['one >= 1.2, < 2', { version: '>=1.2,<2' }],
		['one==1.*', { version: '==1.*' }],
		['one~=1.2', { version: '~=1.2' }],
	] as const)
		assert.deepEqual(parsePypiLoosely(text), { ...one, ...said }, text);
	for (const text of [
		'',
		'-r',
		'./one',
		'one @ https://example.org/one.whl',
		'git+https://example.org/one',
		'one; x',
		'one[',
		'one two',
		'one 1.0',
	])
		assert.equal(parsePypiLoosely(text), undefined, text);
});

test('what is made of a Python package for pip is a name and versions, or nothing', () => {
	const one = { name: 'one', extras: [], version: '1.0' };
	assert.equal(toRequirement(one), 'one==1.0');
	assert.equal(toRequirement({ ...one, extras: ['a', 'b'], version: 'latest' }), 'one[a,b]');
	assert.equal(toRequirement({ ...one, version: '>=1.2,<2' }), 'one>=1.2,<2');
	for (const flaw of [
		{ name: '-r' },
		{ name: 'one @ https://example.org' },
		{ name: '' },
		{ extras: ['a]==1 --pre'] },
		{ version: '1.0 --index-url=https://example.org' },
		{ version: '>=1\n-r' },
		{ version: ' @ https://example.org/one.whl' },
		{ version: '' },
		{ version: '1.0; os_name == "nt"' },
	])
		assert.equal(toRequirement({ ...one, ...flaw }), undefined, JSON.stringify(flaw));
});

test('nothing of a catalog can be changed', () => {
	const catalog = parseCatalog('{"servers": {"one": {"npm": "one@1.0.0"}}}', 'c');
	assert.ok(Object.isFrozen(catalog));
	const servers = catalog.servers as Map<ServerName, Server>;
	assert.throws(() => servers.clear(), TypeError);
	assert.throws(() => servers.delete('one' as ServerName), TypeError);
	assert.throws(() => servers.set('two' as ServerName, parseServer(PACKAGE)), TypeError);
	assert.equal(servers.size, 1);
	const groups = parseGroups({ all: ['files'] }).groups as Map<string, ServerName[]>;
	assert.throws(() => groups.clear(), TypeError);
	assert.throws(() => groups.delete('all'), TypeError);
	assert.throws(() => groups.set('two', []), TypeError);
	assert.throws(() => groups.get('all')?.push('github' as ServerName), TypeError);
	assert.deepEqual([...groups], [['all', ['files']]]);
});

test('the shipped catalog loads, as a file and by its folder', async () => {
	const catalog = await loadCatalog(SHIPPED);
	const servers = [...catalog.servers.values()];
	const enabled = servers.filter((server) => server.enabled);
	assert.deepEqual(
		enabled.map(({ name }) => name),
		['everything', 'memory', 'filesystem', 'sequential-thinking'],
	);
	// What is enabled needs nothing of anybody.
	for (const { secrets, egress } of enabled) assert.deepEqual([secrets, egress], [[], []]);
	for (const { title, description } of servers) assert.ok(title && description);
	assert.deepEqual(await loadCatalog(join(SHIPPED, 'catalog.json')), catalog);
});

test('catalog.schema.json is what the schema generates', async () => {
	const written: unknown = JSON.parse(await readFile(join(SHIPPED, 'catalog.schema.json'), 'utf8'));
	assert.deepEqual(written, catalogJsonSchema());
});

test('an editor with the JSON Schema takes the shipped catalog, and refuses what we refuse', async () => {
	const validate = new Ajv2020().compile(catalogJsonSchema());
	assert.ok(
		validate(JSON.parse(await readFile(join(SHIPPED, 'catalog.json'), 'utf8'))),
		JSON.stringify(validate.errors),
	);
	for (const entry of [
		{},
		{ ...PACKAGE, image: 'one:1' },
		{ ...PACKAGE, command: ['serve'] },
		{ ...PACKAGE, privileged: true },
		{ npm: 'one@latest' },
		{ image: 'one:latest' },
		{ pypi: 'one' },
		{ pypi: 'one@1.0' },
		{ pypi: '../one' },
		{ ...PACKAGE, pypi: 'one==1.0' },
		{ ...PACKAGE, with: ['two==1.0'] },
		{ pypi: 'one==1.0', with: ['two'] },
		{ ...PACKAGE, user: 'root' },
		{ ...PACKAGE, resources: { cpus: 3 } },
	]) {
		assert.ok(!validate({ servers: { one: entry } }), JSON.stringify(entry));
	}
	const servers = { one: PACKAGE };
	assert.ok(validate({ servers, groups: { all: ['one'] } }), JSON.stringify(validate.errors));
	for (const groups of [{ all: [] }, { all: ['one', 'one'] }, { all: ['o_e'] }, { a__b: ['one'] }, { all: 'one' }]) {
		assert.ok(!validate({ servers, groups }), JSON.stringify(groups));
	}
});

test('every field of the JSON Schema says what it is for', () => {
	const undescribed: string[] = [];
	const visit = (schema: unknown, place: string): void => {
		if (typeof schema !== 'object' || schema === null) return;
		for (const [key, value] of Object.entries(schema)) {
			if (key === 'properties') {
				for (const [name, field] of Object.entries(value)) {
					if (!Object.hasOwn(Object(field), 'description')) undescribed.push(`${place}.${name}`);
				}
			}
			visit(value, `${place}.${key}`);
		}
	};
	visit(catalogJsonSchema(), '');
	assert.deepEqual(undescribed, []);
});

test('files that cannot be a catalog are refused with the fix', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-catalog-'));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, 'catalog.json');
	await t.test('an empty folder', async () => {
		const parts = [`${file}: no such file. Copy catalog/catalog.json of Slipway to there, or set SLIPWAY_CATALOG`];
		await assert.rejects(loadCatalog(folder), names(...parts));
	});
	await t.test('a missing file', () => assert.rejects(loadCatalog(file), names(`${file}: no such file.`)));
	await t.test('a device', () => assert.rejects(loadCatalog('/dev/zero'), names('/dev/zero: not a file.')));
	await t.test('an empty file', async () => {
		await writeFile(file, '');
		await assert.rejects(loadCatalog(file), names(`${file}:1:1: the file is empty.`));
	});
	await t.test('a file that is too large', async () => {
		await writeFile(file, ' '.repeat(CATALOG_LIMITS.fileBytesMax + 1));
		await assert.rejects(loadCatalog(file), names(`${file}: larger than 1048576 bytes`));
	});
	await t.test('a file that is not UTF-8', async () => {
		await writeFile(file, Buffer.from([0x22, 0xff, 0x22]));
		await assert.rejects(loadCatalog(file), names(`${file}: not UTF-8. Save it as UTF-8.`));
	});
	await t.test('but not one with a byte order mark', async () => {
		await writeFile(file, '\ufeff{"servers": {}}');
		assert.equal((await loadCatalog(file)).servers.size, 0);
	});
});

test('groups that changed between the first load and the watch are told', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-catalog-'));
	t.after(() => rm(folder, { recursive: true }));
	const write = (all: readonly string[]): Promise<void> =>
		writeFile(
			join(folder, 'catalog.json'),
			JSON.stringify({ servers: { one: PACKAGE, two: PACKAGE }, groups: { all } }),
		);
	await write(['one', 'two']);
	const current = await loadCatalog(folder);
	await write(['two', 'one']);
	const told = Promise.withResolvers<Catalog>();
	const watch = watchCatalog(folder, { current, onCatalog: told.resolve, onProblem: told.reject });
	// A watch keeps no process alive, and neither does a test that waits for one.
	const deadline = setTimeout(() => told.reject(new Error('nothing was told')), 10_000);
	t.after(() => {
		watch.stop();
		clearTimeout(deadline);
	});
	assert.deepEqual([...(await told.promise).groups], [['all', ['two', 'one']]]);
});

test('check tells of the servers, and of the groups where there are some', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-catalog-'));
	t.after(() => rm(folder, { recursive: true }));
	const tell = async (catalog: object, ...options: readonly string[]): Promise<string> => {
		await writeFile(join(folder, 'catalog.json'), JSON.stringify(catalog));
		const printed: string[] = [];
		const code = await check(invocationOf([folder, ...options], { print: (text) => void printed.push(text) }));
		assert.equal(code, 0);
		return printed.join('\n');
	};
	const servers = { one: PACKAGE, two: PACKAGE };
	const groups = { both: ['two', 'one'], 'one-only': ['one'] };
	assert.equal(await tell({ servers }), 'The catalog is good: 2 servers (one, two).');
	assert.equal(
		await tell({ servers, groups }),
		'The catalog is good: 2 servers (one, two), 2 groups (both, one-only).',
	);
	assert.deepEqual(JSON.parse(await tell({ servers }, '--json')), { ok: true, servers: ['one', 'two'] });
	assert.deepEqual(JSON.parse(await tell({ servers, groups }, '--json')), {
		ok: true,
		servers: ['one', 'two'],
		groups: ['both', 'one-only'],
	});
});
