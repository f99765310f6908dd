/** Secrets in real containers: what arrives, who may look at it, and what keeps a server from starting. */
import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Secret, Server } from '../../src/catalog/catalog.ts';
import type { Channel } from '../../src/channel.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { SECRET_LIMITS } from '../../src/limits.ts';
import {
	type Bench,
	containersOf,
	docker,
	NODE_IMAGE,
	openBench,
	refusedWith,
	until,
	within,
} from '../support/engine-bench.ts';
import { buildImage, removeImage } from '../support/engine-images.ts';
import { NO_SECRETS, server } from '../support/fixtures.ts';

const MINUTES_MS = 90_000;
/** What a shell, a read, a printf or an env file would take for something else, and UTF-8 that dash has bytes of its own in. */
const AWKWARD = ' \t"quoted" \'single\' $HOME `id` $(id) \\n \\c %s\n\n-n\n.\nA 2\nÁ🚢\u0081\r\nlast \n';
const TOKEN: Secret = { variable: 'TOKEN', name: 'token' };
const KEY: Secret = { variable: 'KEY_FILE', name: 'key', file: '/run/secrets/key.pem' };

interface SecretsBench extends AsyncDisposable {
	readonly bench: Bench;
	put(name: string, value: string | Buffer): Promise<void>;
}

/** A launcher with a folder of secrets. Files come into it as an agent would put them: whole. */
async function open(
	servers: readonly Server[],
	values: Readonly<Record<string, string | Buffer>> = {},
): Promise<SecretsBench> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-secrets-'));
	const put = async (name: string, value: string | Buffer): Promise<void> => {
		await writeFile(join(folder, `.${name}`), value);
		await rename(join(folder, `.${name}`), join(folder, name));
	};
	for (const [name, value] of Object.entries(values)) await put(name, value);
	const bench = await openBench(servers, { launcher: { secrets: { ...NO_SECRETS, folders: [folder] } } });
	return {
		bench,
		put,
		[Symbol.asyncDispose]: async () => {
			await bench[Symbol.asyncDispose]();
			await rm(folder, { recursive: true });
		},
	};
}

function script(name: string, source: string, secrets: readonly Secret[], overrides: Partial<Server> = {}): Server {
	return server(
		name,
		{ kind: 'image', reference: NODE_IMAGE },
		{ command: ['sh', '-c', source], secrets, ...overrides },
	);
}

/** All that a server writes, given that on its stdin. */
async function said(channel: Channel, input: string | Buffer = ''): Promise<string> {
	const output = readText(channel.stream);
	channel.stream.end(input);
	await within(channel.ended, 'the end');
	return output;
}

const base64 = (value: string | Buffer): string => Buffer.from(value).toString('base64');

test('values arrive to the byte, as a variable and as a file of the server’s own, and stdin begins after them', async () => {
	const show = `printf %s "$TOKEN" | base64 -w0; echo; base64 -w0 <"$KEY_FILE"; echo; echo "$KEY_FILE"
		stat -c '%a %u:%g' "$KEY_FILE" /run/secrets; stat -f -c %T /run/secrets; umask; id -u; exec cat`;
	const one = script('one', show, [TOKEN, KEY], { user: { uid: 20_001, gid: 20_002 } });
	// The newline that ends a file is none of the value's.
	await using opened = await open([one], { token: `${AWKWARD}\n`, key: `-----BEGIN-----\n${AWKWARD}\n` });
	const input = 'the first line\n\0and bytes\n';
	const lines = (await said(await opened.bench.launch('one'), input)).split('\n');
	assert.deepEqual(lines.slice(0, 8), [
		base64(AWKWARD),
		base64(`-----BEGIN-----\n${AWKWARD}`),
		'/run/secrets/key.pem',
		'400 20001:20002',
		'700 20001:20002',
		'tmpfs',
		'0022',
		'20001',
	]);
	assert.equal(lines.slice(8).join('\n'), input);
});

test('64 KiB arrive, and as many as a server may have', async () => {
	const names = Array.from({ length: 16 }, (_, index) => `s${index}`);
	const value = Buffer.alloc(SECRET_LIMITS.valueBytesMax, 'sixty-four KiB of text, \\ and "quotes"; ');
	const one = script(
		'one',
		'for name in S0 S15; do eval "printf %s \\"\\$$name\\"" | sha256sum; done; sha256sum <$S14',
		names.map((name) => ({
			variable: name.toUpperCase(),
			name,
			// A variable for most, since the kernel takes 2 MiB of those in all.
			...(name === 's14' ? { file: '/run/secrets/s14' } : {}),
		})),
	);
	await using opened = await open([one], Object.fromEntries(names.map((name) => [name, value])));
	const { createHash } = await import('node:crypto');
	const line = `${createHash('sha256').update(value).digest('hex')}  -`;
	assert.deepEqual((await said(await opened.bench.launch('one'))).trim().split('\n'), [line, line, line]);
});

test('an image runs what it would have run, with its own entry point and command', async () => {
	await using image = await buildImage(
		`FROM ${NODE_IMAGE}\nWORKDIR /tmp\nENTRYPOINT ["node", "-p", "JSON.stringify([process.argv.slice(1), process.cwd(), process.env.TOKEN])"]\nCMD ["its own", "$HOME"]`,
	);
	const source = { kind: 'image', reference: image.reference } as const;
	await using opened = await open(
		[
			server('own', source, { secrets: [TOKEN] }),
			server('other', source, { secrets: [TOKEN], command: ['other'], args: ["it's", ''] }),
		],
		{ token: 'a value' },
	);
	assert.deepEqual(JSON.parse(await said(await opened.bench.launch('own'))), [['its own', '$HOME'], '/tmp', 'a value']);
	assert.deepEqual(JSON.parse(await said(await opened.bench.launch('other'))), [
		['other', "it's", ''],
		'/tmp',
		'a value',
	]);
});

test('an npm package gets them too, and nothing of its image is other than without', async () => {
	const print = 'data:text/javascript,process.stderr.write(process.env.TOKEN.length+process.env.TOKEN.slice(0,1))';
	const source = { kind: 'npm', name: 'semver', version: '7.5.3' } as const;
	await using opened = await open(
		[server('one', source, { args: ['1.2.3'], env: { NODE_OPTIONS: `--import=${print}` }, secrets: [TOKEN] })],
		{ token: 'value of token' },
	);
	const { bench } = opened;
	try {
		const channel = await within(
			bench.launcher.launch(
				bench.launcher.state.servers[0]?.name ?? assert.fail(),
				new AbortController().signal,
				'test',
			),
			'the launch',
			MINUTES_MS,
		);
		assert.equal((await said(channel)).trim(), '1.2.3');
		assert.equal((await channel.ended).stderr, '14v');
	} finally {
		const filters = JSON.stringify({ label: [`${LABELS.package}=semver@7.5.3`] });
		for (const { Id } of await docker.listImages({ filters })) await removeImage(Id);
	}
});

test('a command that is not there is told by its exit code, as it is without secrets', async () => {
	await using image = await buildImage(`FROM ${NODE_IMAGE}\nENTRYPOINT []`);
	const source = { kind: 'image', reference: image.reference } as const;
	const command = ['/nowhere/at-all'];
	await using opened = await open(
		[server('one', source, { command, secrets: [TOKEN] }), server('plain', source, { command })],
		{ token: 'a value' },
	);
	for (const name of ['one', 'plain']) {
		const channel = await opened.bench.launch(name);
		await said(channel);
		assert.equal((await channel.ended).exitCode, 127, name);
	}
});

test('an image without a shell is refused, in words, and leaves nothing', async () => {
	await using image = await buildImage('FROM scratch\nCOPY file /file\nCMD ["/file"]', { file: 'no program' });
	await using opened = await open(
		[server('one', { kind: 'image', reference: image.reference }, { secrets: [TOKEN] })],
		{ token: 'a value' },
	);
	const error = await refusedWith('SLIPWAY_IMAGE_REFUSED', opened.bench.launch('one'));
	assert.equal(error.details.reason, 'It has no /bin/sh, which a server is handed its secrets by.');
	assert.deepEqual(await containersOf(opened.bench.gatewayId), []);
});

test('a missing secret keeps a server from starting and says which; it starts as soon as it is there', async () => {
	await using opened = await open([script('one', 'printf %s "$TOKEN"', [TOKEN, KEY])], { key: 'a key' });
	const { bench } = opened;
	const error = await refusedWith('SLIPWAY_SECRET_MISSING', bench.launch('one'));
	assert.equal(error.message, 'A secret is not there. It needs "token".');
	assert.equal(error.details.server, 'one');
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	await opened.put('token', 'here now');
	assert.equal(await said(await bench.launch('one')), 'here now');
	await opened.put('token', '');
	const invalid = await refusedWith('SLIPWAY_SECRET_INVALID', bench.launch('one'));
	assert.equal(invalid.details.reason, 'The secret "token" is empty.');
});

test('a changed value: the next start has it, and what was started with the old one is known to be old', async () => {
	await using opened = await open([script('one', 'printf %s "$TOKEN"; exec cat', [TOKEN])], { token: 'the old value' });
	const { bench } = opened;
	const specNow = (): string | undefined => bench.launcher.state.servers[0]?.spec;
	const old = await bench.launch('one');
	assert.equal(old.spec, specNow());
	await opened.put('token', 'the new value');
	// Nobody starts anything: it is found out.
	await until('the spec of the server is another', () => specNow() !== old.spec);
	const next = await bench.launch('one');
	assert.equal(next.spec, specNow());
	assert.equal(await said(old), 'the old value', 'and it goes on until it is drained');
	assert.equal(await said(next), 'the new value');
	// At once, and before anybody looked.
	await opened.put('token', 'the newest');
	const newest = await bench.launch('one');
	assert.notEqual(newest.spec, next.spec);
	assert.equal(newest.spec, specNow());
	assert.equal(await said(newest), 'the newest');
});

test('what a server says of its secrets on stderr is not shown: neither while it runs, nor after', async () => {
	const value = 'canary 0123456789\nsecond line of it';
	const say = `printf '%s' "$TOKEN" >&2; printf ' then %.11s' "$TOKEN" >&2; echo said; cat >/dev/null; printf ' and %s.' "$TOKEN" >&2; exit 3`;
	await using opened = await open([script('one', say, [TOKEN])], { token: value });
	const { bench } = opened;
	const channel = await bench.launch('one');
	const output = readText(channel.stream);
	const live = async (): Promise<string> => (await bench.launcher.report())[0]?.stderr ?? '';
	await until('it has said it', async () => (await live()).includes('then'));
	// What looks like the beginning of one may be it: the rest may be on its way.
	await until('all of it', async () => (await live()) === '[redacted] then [redacted]');
	channel.stream.end();
	const end = await within(channel.ended, 'the end');
	assert.equal(end.stderr, '[redacted] then canary 0123 and [redacted].');
	assert.equal((await bench.launcher.report())[0]?.stderr, end.stderr);
	assert.equal(end.exitCode, 3);
	await output;
});

test('a server that never reads its stdin has its own secrets and no other’s', async () => {
	const other: Secret = { variable: 'OTHER', name: 'key' };
	await using opened = await open(
		[script('one', 'env | sort; sleep 1000', [TOKEN]), script('two', 'env | sort; exec cat', [other])],
		{ token: 'value of token', key: 'value of key' },
	);
	const { bench } = opened;
	const [one, two] = await Promise.all([bench.launch('one'), bench.launch('two')]);
	let heard = '';
	one.stream.on('data', (chunk) => (heard += String(chunk)));
	await until('it has said what it has', () => heard.includes('TOKEN='));
	assert.ok(heard.includes('TOKEN=value of token') && !heard.includes('value of key'));
	const twos = await said(two, 'rest');
	assert.ok(twos.includes('OTHER=value of key') && !twos.includes('value of token'));
	assert.deepEqual(
		heard.split('\n').filter((line) => line.startsWith('slipway_')),
		[],
	);
});
