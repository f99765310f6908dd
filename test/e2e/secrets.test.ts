/**
 * The canary: a random value in every source that a secret can come from, given to servers that print it, fail with it and
 * crash with it; then looked for in everything that anybody but the server may see.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { createCatalog, type Secret } from '../../src/catalog/catalog.ts';
import { readConfig } from '../../src/config.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { createLog } from '../../src/log.ts';
import { writeSealed } from '../../src/secrets/sealed-store.ts';
import { runSlipway } from '../support/client-process.ts';
import { answerOf, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { docker, NODE_IMAGE, until, within } from '../support/engine-bench.ts';
import { fixture, fixtureImage, server } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

function canary(label: string): string {
	return `${label}-${randomBytes(18).toString('base64url')}`;
}

const KEY = randomBytes(32).toString('hex');
const CANARIES = {
	said: canary('said'),
	pointed: canary('pointed'),
	filed: `${canary('filed')} "quoted" \\ ${canary('filed')}`,
	stored: `${canary('stored')}\n${canary('stored')}`,
	rotated: canary('rotated'),
	/** Longer than may be: it is refused. */
	refused: canary('refused').repeat(3000),
} as const;
const SECRETS: readonly Secret[] = [
	{ variable: 'SAID', name: 'said' },
	{ variable: 'POINTED', name: 'pointed' },
	{ variable: 'FILED_FILE', name: 'filed', file: '/run/secrets/filed' },
	{ variable: 'STORED', name: 'stored' },
];

/** Parts of values that must not be seen: whole lines, as they are and as they are often written. */
const FORBIDDEN: readonly string[] = [KEY, ...Object.values(CANARIES).flatMap((value) => value.split('\n'))]
	.map((value) => value.slice(0, 60))
	.flatMap((value) => {
		const bytes = Buffer.from(value);
		return [
			value,
			bytes.toString('base64').slice(0, -4),
			bytes.toString('hex'),
			JSON.stringify(value).slice(1, -1),
			encodeURIComponent(value),
		];
	});

function assertClean(what: string, seen: string | Buffer): void {
	const bytes = Buffer.from(seen);
	const found = FORBIDDEN.filter((value) => bytes.includes(value));
	assert.deepEqual(found, [], `${what} has a secret in it`);
}

let folder: string;
let image: string;
let stack: Stack;
let settings: Record<string, string>;
const logged: Buffer[] = [];
/** What clients were answered with where a server failed, or was to be told of. */
const heard: string[] = [];

before(async () => {
	folder = mkdtempSync(join(tmpdir(), 'slipway-canary-'));
	const file = (name: string, content: string): string => {
		writeFileSync(join(folder, name), content);
		return join(folder, name);
	};
	const store = { folder: join(folder, 'store'), keyFile: file('key', KEY) };
	writeSealed(store, 'stored', Buffer.from(CANARIES.stored));
	file('filed', `${CANARIES.filed}\n`);
	file('rotated', CANARIES.rotated);
	file('refused', CANARIES.refused);
	settings = {
		SLIPWAY_SECRET_SAID: CANARIES.said,
		SLIPWAY_SECRET_POINTED_FILE: file('elsewhere', CANARIES.pointed),
		SLIPWAY_SECRETS_DIR: folder,
		SLIPWAY_SECRETS_STORE: store.folder,
		SLIPWAY_SECRETS_KEY_FILE: store.keyFile,
	};
	const stream = new PassThrough();
	stream.on('data', (chunk: Buffer) => logged.push(chunk));
	image = await fixtureImage();
	const source = { kind: 'image', reference: image } as const;
	// By its pieces as well, and not at once.
	const tell = `const {SAID, POINTED, STORED, FILED_FILE} = process.env; const text = [SAID, POINTED, STORED, require('node:fs').readFileSync(FILED_FILE, 'utf8')].join(' '); for (const char of text) require('node:fs').writeSync(2, char);`;
	stack = await startStack({
		catalog: createCatalog([
			fixture('conversation', image, ['conversation.ts'], { secrets: SECRETS }),
			fixture('rotating', image, ['conversation.ts'], { secrets: [{ variable: 'TOKEN', name: 'rotated' }] }),
			server('fails', source, { command: ['node', '-e', `${tell} process.exit(3)`], secrets: SECRETS }),
			server('throws', source, { command: ['node', '-e', `${tell} throw new Error(text)`], secrets: SECRETS }),
			server('no-secret', source, { secrets: [...SECRETS, { variable: 'NONE', name: 'not_there' }] }),
			server('bad-secret', source, { secrets: [...SECRETS, { variable: 'LONG', name: 'refused' }] }),
		]),
		launcher: { secrets: readConfig(settings).secrets },
		log: createLog('debug', stream),
	});
});
after(async () => {
	await stack.stop();
	rmSync(folder, { recursive: true });
});

async function told(answer: Promise<RpcMessage>): Promise<RpcMessage> {
	const message = await answer;
	heard.push(JSON.stringify(message));
	return message;
}

async function refused(name: string): Promise<Record<string, unknown>> {
	const reply = await new RawClient(stack.endpoint(name)).sendInitialize();
	const { error } = await told(answerOf(reply));
	return error?.data ?? {};
}

async function get(path: string): Promise<string> {
	const response = await fetch(`${stack.url}${path}`, { headers: { authorization: `Bearer ${API_KEY}` } });
	return `${JSON.stringify([...response.headers])}\n${await response.text()}`;
}

/**
 * Which of the engine's own files have one of the texts in them, by grep in a container that sees them. What is looked for
 * comes on its stdin: as an argument it would be on the engine's disk by that alone.
 */
async function searchEngine(paths: readonly string[], texts: readonly string[]): Promise<string> {
	const { DockerRootDir } = await docker.info();
	const container = await docker.createContainer({
		Image: NODE_IMAGE,
		Cmd: ['grep', '-rlaF', '-f', '-', ...paths.map((path) => path.replace(DockerRootDir, '/engine'))],
		OpenStdin: true,
		StdinOnce: true,
		Tty: false,
		AttachStdin: true,
		AttachStdout: true,
		AttachStderr: true,
		HostConfig: {
			Binds: [`${DockerRootDir}:/engine:ro`],
			NetworkMode: 'none',
			LogConfig: { Type: 'none', Config: {} },
		},
	});
	try {
		const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
		await container.start();
		stream.end(`${texts.join('\n')}\n`);
		return (await within(buffer(stream), 'the search', 60_000)).toString('latin1');
	} finally {
		await container.remove({ force: true, v: true });
	}
}

test('every source reaches the server, and what it says of that on stderr is not shown', async () => {
	const raw = new RawClient(stack.endpoint('conversation'));
	await raw.open();
	const env: Record<string, string> = JSON.parse(textOf(await raw.call('env')));
	assert.equal(env['SAID'], CANARIES.said);
	assert.equal(env['POINTED'], CANARIES.pointed);
	assert.equal(env['STORED'], CANARIES.stored);
	assert.equal(env['FILED_FILE'], '/run/secrets/filed');
	await raw.call('stderr', {
		text: `it has ${CANARIES.said} and ${JSON.stringify(CANARIES.filed)} and ${CANARIES.stored}`,
	});
	await until('it was said', async () => (await get('/status')).includes('it has [redacted] and '));
	const { error } = await told(raw.call('exit', { code: 7 }));
	assert.equal(error?.data?.['exitCode'], 7);
	assert.match(String(error?.data?.['stderr']), /it has \[redacted\] and "\[redacted\]" and \[redacted\]/);
	await raw.end();
});

test('servers that fail with their secrets on stderr are told of without them', async () => {
	for (const name of ['fails', 'throws']) {
		const { code, stderr } = await refused(name);
		assert.equal(code, 'SLIPWAY_START_FAILED', name);
		assert.match(String(stderr), /^\[redacted\] \[redacted\] \[redacted\] \[redacted\]/, name);
	}
});

test('a value that changes is another to the session that goes on, with a container that has it', async () => {
	const raw = new RawClient(stack.endpoint('rotating'));
	await raw.open();
	const now = async (): Promise<unknown> => JSON.parse(textOf(await raw.call('env')))['TOKEN'];
	assert.equal(await now(), CANARIES.rotated);
	const next = canary('rotated');
	// As an agent renders it.
	writeFileSync(join(folder, '.rotated'), next);
	renameSync(join(folder, '.rotated'), join(folder, 'rotated'));
	await until('the session has the new value', async () => (await now()) === next);
	await raw.end();
});

test('what keeps a server from starting names the secret, and nothing of it', async () => {
	const missing = await refused('no-secret');
	assert.equal(missing['code'], 'SLIPWAY_SECRET_MISSING');
	assert.equal(missing['reason'], 'It needs "not_there".');
	const invalid = await refused('bad-secret');
	assert.equal(invalid['code'], 'SLIPWAY_SECRET_INVALID');
	assert.equal(invalid['reason'], 'The secret "refused" is longer than 65536 bytes.');
});

test('nothing that the engine shows or keeps has a secret in it, while servers with secrets run', async () => {
	const raw = new RawClient(stack.endpoint('conversation'));
	await raw.open();
	// A file, too: it is read once, so that it is there.
	assert.ok(textOf(await raw.call('env')).includes(CANARIES.said));
	const running = await stack.containers();
	assert.ok(running.length > 0);
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${stack.gatewayId}`] });
	const paths: string[] = [];
	for (const { Id } of running) {
		const inspected = await docker.getContainer(Id).inspect();
		assertClean('docker inspect', JSON.stringify(inspected));
		assertClean('docker diff', JSON.stringify(await docker.getContainer(Id).changes()));
		assertClean('docker top', JSON.stringify(await docker.getContainer(Id).top()));
		paths.push(String(Reflect.get(inspected.GraphDriver.Data, 'UpperDir')));
	}
	assertClean('docker ps', JSON.stringify(running));
	assertClean('volumes', JSON.stringify(await docker.listVolumes({ filters })));
	assertClean('networks', JSON.stringify(await docker.listNetworks({ filters })));
	assertClean(
		'the image',
		JSON.stringify([await docker.getImage(image).inspect(), await docker.getImage(image).history()]),
	);
	const since = Math.floor(Date.now() / 1000) - 600;
	const events = await docker.getEvents({ since, until: Math.floor(Date.now() / 1000), filters });
	assertClean('docker events', await buffer(events));

	const { DockerRootDir } = await docker.info();
	const places = [
		...paths,
		...['containers', 'network', 'volumes/metadata.db', 'buildkit'].map((place) => `${DockerRootDir}/${place}`),
	];
	// That it would be found: the label of ours is on that disk.
	assert.match(await searchEngine(places, [stack.gatewayId]), /\/engine\/containers\/[0-9a-f]{64}\/config\.v2\.json/);
	assert.doesNotMatch(await searchEngine(places, FORBIDDEN), /\/engine\//);
	await raw.end();
});

test('nothing that Slipway shows or keeps has a secret in it', async () => {
	for (const path of ['/status', '/metrics', '/health', '/ready', '/api/keys', '/servers/conversation/mcp'])
		assertClean(path, await get(path));
	assert.match(await get('/status'), /\[redacted\]/);
	assertClean('what clients were told', heard.join('\n'));
	assert.ok(heard.length >= 5);
	assertClean('what crosses the seam', JSON.stringify([stack.remote.state, await stack.remote.report()]));
	assertClean('the log', Buffer.concat(logged));
	assert.match(Buffer.concat(logged).toString(), /"message":"instance ended"/);
	// Whoever reads the log is told which are missing.
	assert.match(Buffer.concat(logged).toString(), /"server without its secrets".*"reason":"It needs \\"not_there\\"\."/);
	const data = join(stack.folder, 'data');
	const kept = readdirSync(data);
	assert.ok(kept.length > 0);
	for (const file of kept) assertClean(file, readFileSync(join(data, file)));
	for (const file of readdirSync(join(folder, 'store'))) assertClean(file, readFileSync(join(folder, 'store', file)));
});

test('the command line prints no secret, whatever it is asked', async () => {
	for (const args of [
		['check', 'catalog'],
		['check', 'catalog', '--json'],
		['secrets', 'list'],
		['secrets', 'list', '--json'],
		['secrets', 'set', 'refused!'],
		['secrets', 'remove', 'nothing'],
		['version'],
	]) {
		const { stdout, stderr } = await runSlipway(args, settings);
		assertClean(args.join(' '), stdout + stderr);
	}
	const wrong = { ...settings, SLIPWAY_SECRET_SAID_FILE: CANARIES.said, SLIPWAY_PORT: CANARIES.pointed };
	const { code, stderr } = await runSlipway(['check'], wrong);
	assert.equal(code, 1);
	assert.match(stderr, /SLIPWAY_SECRET_SAID and SLIPWAY_SECRET_SAID_FILE are both set/);
	assertClean('a wrong setting', stderr);
});
