/** `slipway import` and `slipway doctor`, as a person runs them, on the real engine. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type CliPlace, makeCliPlace } from '../support/cli-place.ts';
import { runSlipway } from '../support/client-process.ts';
import { NODE_IMAGE } from '../support/engine-bench.ts';

const TOKEN = 'ghp_0123456789abcdefghijklmnopqrstuvwxyz';

const CONFIGURATION = {
	mcpServers: {
		thinking: { command: 'npx', args: ['-y', '@modelcontextprotocol/server-sequential-thinking'] },
		own: {
			command: 'docker',
			args: ['run', '-i', '--rm', '-e', 'OWN_API_TOKEN', NODE_IMAGE, 'node', '-e', 'process.exit(7)'],
			env: { OWN_API_TOKEN: TOKEN },
		},
		elsewhere: { url: 'https://example.com/mcp' },
		taken: { command: 'npx', args: ['some-package@1.0.0'] },
	},
};

interface Told {
	readonly name: string;
	readonly outcome: string;
	readonly reason?: string;
	readonly nextStep?: string;
	readonly entry?: Readonly<Record<string, unknown>>;
}

async function imported(place: CliPlace, ...args: readonly string[]) {
	const done = await place.run('import', join(place.folder, 'mcp.json'), '--json', ...args);
	const { servers }: { servers: Told[] } = JSON.parse(done.stdout);
	return { ...done, servers, outcomes: servers.map(({ name, outcome }) => [name, outcome]) };
}

test('a configuration becomes entries at once; what cannot be carried over is refused, and the rest is written', async (t) => {
	const taken = { image: 'acme/mcp:1' };
	const place = await makeCliPlace(t, { taken });
	const before = await place.catalog();
	await writeFile(join(place.folder, 'mcp.json'), JSON.stringify(CONFIGURATION));

	const dry = await place.run('import', join(place.folder, 'mcp.json'), '--dry-run');
	assert.equal(dry.code, 1);
	assert.match(
		dry.stdout,
		/^thinking +added +npm @modelcontextprotocol\/server-sequential-thinking@\d+\.\d+\.\d+ +none/m,
	);
	assert.match(dry.stdout, /^elsewhere: .*Connect the client to it directly\.$/m);
	assert.match(dry.stdout, /^taken: the catalog has a server of that name\. --replace/m);
	assert.match(dry.stdout, /^\+ +"npm": "@modelcontextprotocol\/server-sequential-thinking@/m);
	assert.doesNotMatch(dry.stdout, new RegExp(TOKEN));
	assert.equal(await place.catalog(), before);
	await assert.rejects(stat(join(place.folder, 'secrets')), 'a dry run keeps no secret');

	const tried = await imported(place, '--try', '--only', 'own');
	assert.deepEqual(tried.outcomes, [['own', 'refused']], 'one that does not start');
	assert.equal(await place.catalog(), before);

	const done = await imported(place);
	assert.equal(done.code, 1);
	assert.deepEqual(done.outcomes, [
		['thinking', 'added'],
		['own', 'added'],
		['elsewhere', 'refused'],
		['taken', 'refused'],
	]);
	const catalog = await place.catalog();
	const { servers } = JSON.parse(catalog);
	assert.deepEqual(Object.keys(servers), ['taken', 'thinking', 'own']);
	assert.deepEqual(servers.taken, taken);
	const file = join(place.folder, 'secrets', servers.own.secrets.OWN_API_TOKEN);
	assert.equal(await readFile(file, 'utf8'), TOKEN);
	assert.equal((await stat(file)).mode & 0o777, 0o600);
	assert.ok(!(catalog + done.stdout + done.stderr).includes(TOKEN));
	const audited = await place.run('audit', 'show', '--event', 'secret', '--json');
	assert.deepEqual(JSON.parse(audited.stdout).secret, servers.own.secrets.OWN_API_TOKEN);

	const all = await imported(place, '--replace', '--only', 'thinking,taken');
	assert.equal(all.code, 0, 'exit code 0: none was refused');
	assert.equal(JSON.parse(await place.catalog()).servers.taken.npm, 'some-package@1.0.0');
	assert.deepEqual(await place.remains(), []);
});

test('with a key, values go to the encrypted store; another value of that name is not written over', async (t) => {
	const place = await makeCliPlace(t);
	const keyFile = join(place.folder, 'key');
	await writeFile(keyFile, randomBytes(32).toString('hex'), { mode: 0o600 });
	const settings = { ...place.settings, SLIPWAY_SECRETS_KEY_FILE: keyFile };
	const write = (token: string, name = 'own') =>
		writeFile(
			join(place.folder, 'mcp.json'),
			JSON.stringify({ mcpServers: { [name]: { ...CONFIGURATION.mcpServers.own, env: { OWN_API_TOKEN: token } } } }),
		);
	const run = () => runSlipway(['import', join(place.folder, 'mcp.json'), '--json'], settings);
	await write(TOKEN);
	assert.equal((await run()).code, 0);
	const listed = await runSlipway(['secrets', 'list', '--json'], settings);
	assert.deepEqual(JSON.parse(listed.stdout).secrets, ['own_api_token']);
	assert.equal((await place.run('remove', 'own')).code, 0);
	await write(`${TOKEN.slice(0, -1)}9`);
	const clash = await run();
	assert.equal(clash.code, 1);
	assert.match(clash.stdout, /another value.*slipway secrets remove own_api_token/);
	await write(TOKEN);
	assert.equal((await run()).code, 0, 'the same value is no other');
});

test('what is no configuration is refused with its place, or with how to give one', async (t) => {
	const place = await makeCliPlace(t);
	const path = join(place.folder, 'mcp.json');
	for (const [text, pattern] of [
		['{"mcpServers": {', /1:17/],
		['{"servers": []}', /no servers in a form that is known/],
		[Buffer.from([0x7b, 0xff, 0x7d]), /not UTF-8/],
		['x'.repeat(8 * 1024 ** 2 + 1), /longer than/],
	] as const) {
		await writeFile(path, text);
		const done = await place.run('import', path);
		assert.equal(done.code, 1, String(pattern));
		assert.match(done.stderr, pattern);
	}
	await writeFile(path, JSON.stringify(CONFIGURATION));
	const none = await place.run('import', path, '--only', 'nobody');
	assert.match(none.stderr, /It has no nobody, but thinking, own, elsewhere, taken\./);
	const absent = await place.run('import', `${path}.absent`);
	assert.match(absent.stderr, /There is no file[\s\S]*docker compose run --rm -T cli import - <file/);
	for (const args of [[], [path, path], [path, '--format', 'none'], [path, '--dry']])
		assert.equal((await place.run('import', ...args)).code, 2, args.join(' '));
	assert.deepEqual(JSON.parse(await place.catalog()), { servers: {} });
});

interface Checkup {
	readonly ok: boolean;
	readonly findings: readonly { readonly check: string; readonly state: string; readonly fix?: string }[];
}

test('doctor finds what is well, starts a container, and says what to do about what is broken', async (t) => {
	const needy = { image: NODE_IMAGE, secrets: { TOKEN: 'needy_token' } };
	const place = await makeCliPlace(t, { plain: { image: NODE_IMAGE } });
	await place.serve();
	const well = await place.run('doctor', '--json');
	const { ok, findings }: Checkup = JSON.parse(well.stdout);
	assert.equal(well.code, 0, well.stdout);
	assert.equal(ok, true);
	const stateOf = (check: string) => findings.find((finding) => finding.check === check)?.state;
	for (const check of ['engine', 'clock', 'launch', 'disk', 'catalog', 'images', 'secrets', 'gateway'])
		assert.equal(stateOf(check), 'ok', check);

	await writeFile(join(place.folder, 'catalog.json'), JSON.stringify({ servers: { needy } }));
	const needs = await place.run('doctor');
	assert.equal(needs.code, 1);
	assert.match(needs.stdout, /^broken +secrets +"needy_token" is missing\n.*\n.*slipway secrets set needy_token/m);
	await writeFile(join(place.folder, 'catalog.json'), '{');
	assert.match((await place.run('doctor')).stdout, /^broken +catalog .*catalog\.json:1:2/m);

	const blind = await runSlipway(['doctor', '--json'], { ...place.settings, SLIPWAY_DOCKER_SOCKET: '/nowhere.sock' });
	assert.equal(blind.code, 1);
	const [engine]: Checkup['findings'] = JSON.parse(blind.stdout).findings;
	assert.equal(engine?.state, 'broken');
	assert.match(engine?.fix ?? '', /Start Docker/);
});
