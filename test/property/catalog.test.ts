import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { parseCatalog } from '../../src/catalog/load.ts';
import { resolveMount } from '../../src/catalog/mounts.ts';
import { writePypi } from '../../src/catalog/pypi.ts';
import { catalogJsonSchema } from '../../src/catalog/schema.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';

const TIME = { interruptAfterTimeLimit: 5_000, markInterruptAsFailure: false };

/** Runs what may refuse with an error of the table, and with no other. Undefined when it did. */
function orRefused<Value>(run: () => Value): Value | undefined {
	try {
		return run();
	} catch (error) {
		assert.ok(error instanceof SlipwayError, String(error));
		assert.ok(error.message.length < 20_000);
		return undefined;
	}
}

const FIELDS =
	'$schema servers groups npm image title description args command env volumes mounts resources user callTimeout idleStop snapshot warm enabled isolation replicas name source target readOnly memory __proto__ constructor toString'.split(
		' ',
	);

/** JSON that has the look of a catalog often enough to get past the first checks. */
const likeCatalog = fc.letrec((tie) => ({
	value: fc.oneof(
		{ maxDepth: 6 },
		fc.jsonValue(),
		fc.constantFrom('a@1.0.0', 'a:1', './a', '/a'),
		tie('object'),
		tie('list'),
	),
	list: fc.array(tie('value'), { maxLength: 4 }),
	object: fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), tie('value'), { maxKeys: 6 }),
	catalog: fc.record({ servers: fc.dictionary(fc.constantFrom('a', 'b-c', 'D', '__proto__'), tie('object')) }),
	grouped: fc.record({
		servers: fc.constant({ a: { npm: 'a@1.0.0' }, 'b-c': { image: 'a:1' } }),
		groups: fc.dictionary(
			fc.constantFrom('a', 'b__c', 'constructor'),
			fc.oneof(
				{ arbitrary: fc.array(fc.constantFrom('a', 'b-c', 'D'), { minLength: 1, maxLength: 2 }), weight: 4 },
				{ arbitrary: tie('value'), weight: 1 },
			),
			{ maxKeys: 2 },
		),
	}),
}));

test('any JSON value is a catalog or is refused', () => {
	const values = fc.oneof(fc.jsonValue(), likeCatalog.value, likeCatalog.catalog, likeCatalog.grouped);
	fc.assert(
		fc.property(values, (value) => {
			orRefused(() => parseCatalog(JSON.stringify(value), 'c'));
		}),
		{ ...TIME, numRuns: 300 },
	);
});

test('any text is a catalog or is refused', () => {
	const tokens = fc.constantFrom(
		'{',
		'}',
		'[',
		']',
		',',
		':',
		'"',
		'"servers"',
		'"a"',
		'1',
		'\\',
		'\n',
		'//',
		'/*',
		'\0',
		'é',
		'\ufeff',
	);
	const texts = fc.oneof(
		fc.string({ unit: 'binary' }),
		fc.array(tokens).map((parts) => parts.join('')),
	);
	fc.assert(
		fc.property(texts, (text) => {
			orRefused(() => parseCatalog(text, 'c'));
		}),
		{ ...TIME, numRuns: 300 },
	);
});

test('a text is taken only if JSON.parse takes it', () => {
	const cut = fc
		.tuple(fc.nat(80), fc.nat(3), fc.constantFrom('', ',', '"', '}', '/*x*/', '\t', '+1', '.'))
		.map(([at, length, put]) => {
			const text = '{"servers": {"a": {"npm": "a@1.0.0", "callTimeout": 10, "args": ["x", "y"]}}}';
			return text.slice(0, at) + put + text.slice(at + length);
		});
	fc.assert(
		fc.property(cut, (text) => {
			if (orRefused(() => parseCatalog(text, 'c')) !== undefined) JSON.parse(text);
		}),
		{ ...TIME, numRuns: 300 },
	);
});

const serverName = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$/);
const printable = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 30 });
const word = fc.string({ maxLength: 20 });
const id = fc.integer({ min: 10_000, max: 2_147_483_647 });
const version = fc.stringMatching(/^[1-9]\d?\.[1-9]\d?\.[1-9]\d?(-[a-z]{1,4}\.[1-9])?$/);
const hex = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 64, maxLength: 64 });

const options = {
	title: printable,
	description: printable,
	args: fc.array(word, { maxLength: 4 }),
	env: fc.dictionary(fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,10}$/), word, { maxKeys: 4, noNullPrototype: true }),
	volumes: fc.uniqueArray(
		fc.record({
			name: fc.stringMatching(/^[a-z0-9][a-z0-9_.-]{0,9}$/),
			target: fc.stringMatching(/^\/vol-[a-z]{1,9}$/),
		}),
		{
			selector: ({ target }) => target,
			maxLength: 3,
		},
	),
	mounts: fc.uniqueArray(
		fc.record({
			source: fc.stringMatching(/^\.?\/[a-z]{1,9}(\/[a-z]{1,9})?$/),
			target: fc.stringMatching(/^\/mount-[a-z]{1,9}$/),
			readOnly: fc.boolean(),
		}),
		{ selector: ({ target }) => target, maxLength: 3 },
	),
	resources: fc.record(
		{
			memory: fc.constantFrom('64m', '4g'),
			cpus: fc.constantFrom(0.5, 1, 2, 4),
			pids: fc.constantFrom(64, 512),
			tmp: fc.constantFrom('16m', '256m'),
			shm: fc.constantFrom('none', '1g'),
		},
		{ requiredKeys: [] },
	),
	user: fc.oneof(
		id.map(String),
		fc.tuple(id, id).map(([uid, gid]) => `${uid}:${gid}`),
	),
	callTimeout: fc.integer({ min: 1, max: 600 }),
	idleStop: fc.integer({ min: 1, max: 86_400 }),
	snapshot: fc.boolean(),
	warm: fc.nat({ max: 16 }),
	enabled: fc.boolean(),
	isolation: fc.constantFrom('session', 'principal', 'shared'),
};

/** Servers that everybody shares may say how many containers that takes. */
function withReplicas<Entry extends { readonly isolation?: string }>(entry: fc.Arbitrary<Entry>): fc.Arbitrary<object> {
	const replicas = fc.record({ min: fc.nat({ max: 3 }), max: fc.integer({ min: 3, max: 16 }) });
	return fc
		.tuple(entry, fc.option(replicas, { nil: undefined }))
		.map(([one, some]) => (one.isolation === 'shared' && some !== undefined ? { ...one, replicas: some } : one));
}

const packageEntry = fc.record(
	{
		npm: fc
			.tuple(fc.stringMatching(/^(@[a-z0-9]{1,9}\/)?[a-z0-9][a-z0-9._-]{0,9}$/), version)
			.map((parts) => parts.join('@')),
		...options,
	},
	{ requiredKeys: ['npm'] },
);
const pythonName = fc.stringMatching(/^[a-z0-9]{1,9}(-[a-z0-9]{1,9})?$/);
const pythonVersion = fc.stringMatching(/^[1-9][0-9]{0,3}(\.[1-9][0-9]{0,3}){0,3}((a|b|rc)[1-9])?(\.post[1-9])?$/);
const pythonPackage = fc.tuple(pythonName, pythonVersion).map((parts) => parts.join('=='));
const pythonEntry = fc.record(
	{
		pypi: fc.oneof(
			pythonPackage,
			fc.tuple(pythonName, pythonName, pythonVersion).map(([name, extra, said]) => `${name}[${extra}]==${said}`),
			fc.stringMatching(/^\.\/[a-z]{1,9}(\/[a-z]{1,9}){0,2}(\.py|\.whl)?$/),
		),
		with: fc.array(pythonPackage, { minLength: 1, maxLength: 3 }),
		bin: fc.stringMatching(/^[a-z][a-z_-]{0,9}$/),
		installScripts: fc.constant(true),
		...options,
	},
	{ requiredKeys: ['pypi'] },
);
const imageEntry = fc.record(
	{
		image: fc
			.tuple(
				fc.stringMatching(/^([a-z]{1,5}\.io\/)?[a-z]{1,9}(\/[a-z]{1,9}){0,2}$/),
				fc.oneof(
					version.map((tag) => `:${tag}`),
					hex.map((digest) => `@sha256:${digest}`),
				),
			)
			.map((parts) => parts.join('')),
		command: fc.array(word, { minLength: 1, maxLength: 3 }),
		...options,
	},
	{ requiredKeys: ['image'] },
);
const catalogFile = fc
	.dictionary(serverName, withReplicas(fc.oneof(packageEntry, pythonEntry, imageEntry)), { maxKeys: 5 })
	.chain((servers) => {
		const names = Object.keys(servers);
		const members = fc.shuffledSubarray(names, { minLength: Math.min(1, names.length) });
		const groups = fc.dictionary(serverName, members, { maxKeys: names.length === 0 ? 0 : 4 });
		return fc.record({ servers: fc.constant(servers), groups }, { requiredKeys: ['servers'] });
	});

function assertFrozen(value: unknown): void {
	if (typeof value !== 'object' || value === null) return;
	assert.ok(Object.isFrozen(value));
	for (const member of Object.values(value)) assertFrozen(member);
}

/** The entry that a server would be written as, with the fields of the entry it came from. */
function written(
	server: NonNullable<ReturnType<ReturnType<typeof parseCatalog>['servers']['get']>>,
	entry: object,
): object {
	const { source, user, callTimeoutMs, idleStopMs, resources, ...same } = server;
	const sizes = new Map([
		[64 * 2 ** 20, '64m'],
		[16 * 2 ** 20, '16m'],
		[256 * 2 ** 20, '256m'],
		[32 * 2 ** 20, '32m'],
		[2 ** 30, '1g'],
		[2 ** 32, '4g'],
		[0, 'none'],
	]);
	const file: Record<string, unknown> = {
		...same,
		npm: source.kind === 'npm' ? `${source.name}@${source.version}` : undefined,
		pypi: source.kind === 'pypi' ? writePypi(source) : 'path' in source ? source.path : undefined,
		with: 'with' in source ? source.with?.map(writePypi) : undefined,
		bin: 'bin' in source ? source.bin : undefined,
		installScripts: 'installScripts' in source ? source.installScripts : undefined,
		image: source.kind === 'image' ? source.reference : undefined,
		user: 'user' in entry && String(entry.user).includes(':') ? `${user.uid}:${user.gid}` : `${user.uid}`,
		callTimeout: callTimeoutMs / 1000,
		idleStop: idleStopMs / 1000,
		resources: 'resources' in entry ? entry.resources : undefined,
	};
	const said: Record<string, unknown> = 'resources' in entry ? { ...Object(entry.resources) } : {};
	assert.equal(sizes.get(resources.memoryBytes), said['memory'] ?? '256m');
	assert.equal(resources.nanoCpus / 1e9, said['cpus'] ?? 1);
	assert.equal(resources.pidsMax, said['pids'] ?? 128);
	assert.equal(sizes.get(resources.tmpBytes), said['tmp'] ?? '32m');
	assert.equal(sizes.get(resources.shmBytes), said['shm'] ?? 'none');
	return Object.fromEntries(Object.keys(entry).map((field) => [field, file[field]]));
}

test('a valid catalog is taken whole, by us and by the JSON Schema, and is frozen', () => {
	const validate = new Ajv2020().compile(catalogJsonSchema());
	fc.assert(
		fc.property(catalogFile, (file) => {
			const plain: typeof file = JSON.parse(JSON.stringify(file));
			assert.ok(validate(plain), JSON.stringify(validate.errors));
			const catalog = parseCatalog(JSON.stringify(file), 'c');
			assert.deepEqual([...catalog.servers.keys()].sort(), Object.keys(file.servers).sort());
			assert.deepEqual(Object.fromEntries(catalog.groups), plain.groups ?? {});
			for (const members of catalog.groups.values()) assertFrozen(members);
			for (const [name, entry] of Object.entries(plain.servers)) {
				const server = catalog.servers.get(name as ServerName);
				assert.ok(server);
				assert.equal(server.name, name);
				assert.deepEqual(written(server, entry), entry);
				assertFrozen(server);
			}
		}),
		{ ...TIME, numRuns: 300 },
	);
});

test('what the JSON Schema refuses, we refuse', () => {
	const validate = new Ajv2020().compile(catalogJsonSchema());
	fc.assert(
		fc.property(fc.oneof(likeCatalog.value, likeCatalog.catalog, likeCatalog.grouped), (value) => {
			const text = JSON.stringify(value);
			if (orRefused(() => parseCatalog(text, 'c')) !== undefined) assert.ok(validate(JSON.parse(text)), text);
		}),
		{ ...TIME, numRuns: 200 },
	);
});

test('no source becomes a path outside the roots', () => {
	const part = fc.oneof(fc.constantFrom('..', '.', '', 'data', 'data-evil', 'srv', '\0', '\\..'), fc.string());
	const path = fc.array(part, { maxLength: 6 }).map((parts) => parts.join('/'));
	const absolute = path.map((rest) => `/${rest}`);
	const source = fc.oneof(
		path,
		absolute,
		path.map((rest) => `./${rest}`),
		fc.constantFrom('/data', './data', './data/../..'),
	);
	const roots = fc.array(fc.constantFrom('/data', '/srv/data/', '/home/me/data', '/'), { maxLength: 3 });
	fc.assert(
		fc.property(source, fc.oneof(absolute, fc.constant('/home/me')), roots, (from, hostDir, allowed) => {
			const place = orRefused(() => resolveMount(from, { hostDir, roots: allowed }));
			if (place === undefined) return;
			assert.ok(!place.subpath.startsWith('/') && !place.subpath.endsWith('/'));
			const resolved = `${place.root}/${place.subpath}`.replace(/\/+/g, '/').replace(/(?<=.)\/$/, '');
			const parts = resolved.split('/').slice(1);
			// Independently of how it was made: a plain absolute path whose leading parts are those of a root.
			assert.ok(resolved.startsWith('/') && !parts.includes('..') && !parts.includes('.') && !resolved.includes('\0'));
			const inside = allowed.some((root) =>
				root
					.split('/')
					.filter(Boolean)
					.every((name, index) => parts[index] === name),
			);
			assert.ok(inside, resolved);
		}),
		{ ...TIME, numRuns: 1000 },
	);
});
