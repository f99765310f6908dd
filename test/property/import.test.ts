/** Whatever another program, or a person, has written. */
import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { fromCommand } from '../../src/catalog/import/command.ts';
import type { EntryFile, Imported } from '../../src/catalog/import/contract.ts';
import { FORMATS, importText } from '../../src/catalog/import/formats.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import { knownFields, serverSchema } from '../../src/catalog/schema.ts';
import { SlipwayError } from '../../src/errors.ts';
import { SECRET_NAME_PATTERN, SERVER_NAME_PATTERN } from '../../src/ids.ts';

const TIME = { interruptAfterTimeLimit: 8_000, markInterruptAsFailure: false };
const FIXTURES = globSync(new URL('../fixtures/imports/*.*', import.meta.url).pathname).map((file) =>
	readFileSync(file, 'utf8'),
);

/** What holds of each server, whatever it was made of. */
function assertSound(imported: Imported): void {
	if (imported.kind === 'refused') {
		assert.ok(imported.reason !== '' && imported.reason.length < 1_000, imported.reason);
		assert.match(imported.nextStep, /\.$/);
		return;
	}
	const { name, entry, secrets, notes } = imported;
	assert.match(name, SERVER_NAME_PATTERN);
	assert.ok(notes.every((note) => note.length < 4_000));
	const named = new Set(Object.values(entry.secrets ?? {}));
	for (const secret of secrets) {
		assert.match(secret.name, SECRET_NAME_PATTERN);
		assert.ok(named.has(secret.name));
	}
	assertTaken(entry);
}

/** The catalog takes the entry; only its version may have to be made exact first. */
function assertTaken({ npm, pypi, image, ...rest }: EntryFile): void {
	assert.equal([npm, pypi, image].filter((source) => source !== undefined).length, 1);
	const fields = new Set(knownFields(['servers', 'one']));
	const known = Object.fromEntries(Object.entries(rest).filter(([field]) => fields.has(field)));
	const source = image === undefined ? { npm: 'a@1.0.0' } : { image: 'a:1' };
	assert.match(rest.bin ?? 'none', /^\w[\w.-]*$/);
	const { bin: _, with: __, ...judged } = known;
	const result = serverSchema.safeParse({ ...judged, ...source });
	assert.ok(result.success, JSON.stringify([rest, result.error?.issues]));
}

/** Runs what may refuse a whole text with the error for that, and with no other. */
function orRefused<Value>(code: string, run: () => Value): Value | undefined {
	try {
		return run();
	} catch (error) {
		assert.ok(error instanceof SlipwayError, String(error));
		assert.equal(error.code, code);
		assert.ok(error.message.length < 20_000);
		return undefined;
	}
}

const WORDS =
	'npx npm exec uvx uv run tool pipx docker podman python python3 -m node deno env cmd /c bash -c sh sudo -y --yes -p --package --from --with -e --env -v --volume --mount --name --network none -u --user -m --memory --entrypoint -- - = : @ ./a ../b /home/me/x ~/x C:\\x $\u007bA} $\u007bA:-b} $\u007binput:x} $\u007bworkspaceFolder} %APPDATA% $HOME A=b TOKEN=ghp_0123456789012345 a:1 a@sha256:1 pkg pkg@1.0.0 @a/b @a/b@^1 mcp/time a==1 a[b] --token=x https://a.example/x postgres://a:b@c/d type=bind,src=/srv/a,dst=/a run'.split(
		' ',
	);
const word = fc.oneof({ arbitrary: fc.constantFrom(...WORDS), weight: 6 }, fc.string(), fc.string({ unit: 'binary' }));
/** A command line that gets past its first words often enough. */
const words = fc
	.tuple(
		fc.constantFrom(['npx', '-y', 'pkg'], ['uvx', 'pkg'], ['docker', 'run', '-i'], ['env', 'A=b', 'npx'], []),
		fc.array(word, { maxLength: 8 }),
	)
	.map(([first, rest]) => [...first, ...rest]);
const FIELDS =
	'command args env cwd type url disabled enabled timeout disabledTools includeTools options description title image secrets volumes allowHosts packages name identifier version registryType transport environmentVariables packageArguments runtimeArguments value variables isRequired isSecret __proto__ constructor'.split(
		' ',
	);

test('any words are a server that the catalog takes, or refused', () => {
	fc.assert(
		fc.property(
			words,
			fc.dictionary(fc.oneof(fc.constantFrom('A', 'TOKEN', 'PATH', 'BASH_KEY', 'HOME'), fc.string()), word, {
				maxKeys: 4,
			}),
			fc.option(word, { nil: undefined }),
			(words, env, name) => {
				assertSound(fromCommand(words, { env, ...(name === undefined ? {} : { name, cwd: name }) }));
			},
		),
		{ ...TIME, numRuns: 3_000 },
	);
});

const likeServers = fc.letrec((tie) => ({
	value: fc.oneof({ maxDepth: 5 }, word, fc.jsonValue(), fc.array(word, { maxLength: 8 }), tie('object')),
	object: fc.dictionary(fc.oneof({ arbitrary: fc.constantFrom(...FIELDS), weight: 8 }, fc.string()), tie('value'), {
		maxKeys: 6,
	}),
	server: fc.record(
		{
			command: fc.oneof({ arbitrary: fc.constantFrom('npx', 'uvx', 'npx -y pkg'), weight: 6 }, word, tie('value')),
			args: fc.oneof({ arbitrary: words.map((all) => all.slice(1)), weight: 6 }, tie('value')),
			env: fc.oneof(fc.dictionary(fc.constantFrom('A', 'B_TOKEN', 'C_KEY'), word), tie('value')),
			image: word,
			packages: fc.array(tie('object'), { maxLength: 2 }),
			name: word,
			disabled: fc.boolean(),
			timeout: fc.oneof(fc.double(), fc.integer()),
			disabledTools: fc.array(fc.string()),
		},
		{ requiredKeys: [] },
	),
	servers: fc.dictionary(
		fc.oneof(fc.constantFrom('a', 'a b', 'A'), fc.string()),
		fc.oneof(tie('server'), tie('object')),
		{
			maxKeys: 4,
		},
	),
	text: fc
		.record(
			{
				mcpServers: tie('servers'),
				servers: fc.oneof(tie('servers'), fc.array(tie('server'))),
				mcp_servers: tie('servers'),
				registry: tie('servers'),
				projects: fc.dictionary(fc.string(), fc.record({ mcpServers: tie('servers') })),
				inputs: fc.array(fc.record({ id: fc.string(), default: fc.string() })),
			},
			{ requiredKeys: [] },
		)
		.map((value) => JSON.stringify(value)),
}));

test('any configuration gives servers that the catalog takes, or refusals', () => {
	fc.assert(
		// JSON is YAML too.
		fc.property(likeServers.text, fc.constantFrom(undefined, ...FORMATS), (text, format) => {
			const options = format === undefined ? {} : { format };
			const found = orRefused('SLIPWAY_IMPORT_INVALID', () => importText(text, options));
			for (const one of found?.servers ?? []) assertSound(one);
			const names = found?.servers.flatMap((one) => (one.kind === 'server' ? [one.name] : [])) ?? [];
			assert.equal(new Set(names).size, names.length);
		}),
		{ ...TIME, numRuns: 400 },
	);
});

test('any text, and any real one that was damaged, gives servers or is refused', () => {
	const damaged = fc
		.tuple(fc.constantFrom(...FIXTURES), fc.nat(), fc.nat({ max: 40 }), fc.string({ maxLength: 8 }))
		.map(([text, at, length, other]) => {
			const start = at % text.length;
			return text.slice(0, start) + other + text.slice(start + length);
		});
	fc.assert(
		fc.property(fc.oneof(damaged, fc.string({ unit: 'binary', maxLength: 200 })), (text) => {
			const found = orRefused('SLIPWAY_IMPORT_INVALID', () => importText(text, {}));
			for (const one of found?.servers ?? []) assertSound(one);
		}),
		{ ...TIME, numRuns: 600 },
	);
});

test('any file of the form mcpServers is served or refused, and no entry of it has the value of a secret', () => {
	fc.assert(
		fc.property(
			likeServers.servers,
			fc.dictionary(fc.constantFrom('A', 'SLIPWAY_API_KEY'), fc.string()),
			(servers, environment) => {
				const text = JSON.stringify({ mcpServers: servers });
				const catalog = orRefused('SLIPWAY_CATALOG_INVALID', () => parseCatalog(text, 'c', { environment }));
				if (catalog === undefined) return;
				const said = JSON.stringify(
					[...catalog.servers.values()].map(({ env, args, command }) => [env, args, command]),
				);
				for (const value of catalog.secretValues.values())
					if (value.length > 20) assert.ok(!said.includes(JSON.stringify(value).slice(1, -1)));
			},
		),
		{ ...TIME, numRuns: 1_000 },
	);
});
