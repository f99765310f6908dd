/** The first call of a server whose image is not there yet: it waits, its client sees life, and it is answered. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import { readConfig } from '../../src/config.ts';
import { answerOf, RawClient } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage, server } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const docker = new Docker();
const base = `slipway-e2e-base:${randomBytes(6).toString('hex')}`;
const name = '@modelcontextprotocol/server-sequential-thinking';
const version = '2026.7.4';

let stack: Stack;
before(async () => {
	await makeBase();
	stack = await startStack({
		catalog: catalogOf(
			server('thinking', { kind: 'npm', name, version }),
			server('nowhere', { kind: 'npm', name, version: '1999.1.1' }),
			fixture('conversation', await fixtureImage(), ['conversation.ts']),
		),
		config: { nodeImage: base },
	});
});

after(async () => {
	await stack.stop();
	const filters = JSON.stringify({ label: [`dev.slipway.gateway=${stack.gatewayId}`] });
	for (const { Id } of await docker.listImages({ filters })) await docker.getImage(Id).remove({ force: true });
	await docker.getImage(base).remove({ force: true });
});

/** A Node image of our own: no image of a package has been made on it, so none is found. */
async function makeBase(): Promise<void> {
	const tar = pack();
	tar.entry({ name: 'Dockerfile' }, `FROM ${readConfig({}).nodeImage}\nLABEL slipway-e2e=${base}\n`);
	tar.finalize();
	const stream: NodeJS.ReadableStream = await docker.buildImage(Readable.from([await buffer(tar)]), { t: base });
	// It is there when its log has ended.
	stream.resume();
	await once(stream, 'end');
	await docker.getImage(base).inspect();
}

test('calls for a package that is not prepared wait for one preparation, and all are answered', async () => {
	const steps = new Set<string>();
	const unsubscribe = stack.remote.subscribe(({ servers }) => {
		const preparation = servers.find((view) => view.name === 'thinking')?.preparation;
		if (preparation !== undefined) steps.add(preparation.kind);
	});
	const clients = await Promise.all(
		Array.from({ length: 3 }, (_, index) => connectSdk(stack.endpoint('thinking'), { name: `early-${index}` })),
	);
	for (const { client, close } of clients) {
		const { tools } = await client.listTools();
		assert.deepEqual(
			tools.map((tool) => tool.name),
			['sequentialthinking'],
		);
		await close();
	}
	unsubscribe();
	assert.ok(steps.has('preparing'), 'it was prepared before anybody asked');
	assert.ok(steps.has('ready'));
	const filters = JSON.stringify({ label: [`dev.slipway.gateway=${stack.gatewayId}`] });
	const made = (await docker.listImages({ filters })).flatMap(({ RepoTags }) => RepoTags ?? []);
	assert.equal(made.length, 1, `made: ${made}`);
});

test('a version that the registry does not have is said to be missing', async () => {
	const reply = await new RawClient(stack.endpoint('nowhere')).sendInitialize();
	const { error } = await answerOf(reply);
	assert.equal(error?.data?.['code'], 'SLIPWAY_PACKAGE_MISSING');
	assert.match(error?.message ?? '', /1999\.1\.1/);
});

test('who waits for long gets a stream, and the answer on it', async () => {
	// However fast the engine is: the launch begins when the test says so.
	const { launcher } = stack;
	const launch = launcher.launch.bind(launcher);
	const go = Promise.withResolvers<void>();
	launcher.launch = async (...request) => {
		await go.promise;
		return launch(...request);
	};
	try {
		const raw = new RawClient(stack.endpoint('conversation'));
		const reply = await raw.sendInitialize();
		assert.equal(reply.status, 200);
		assert.equal(reply.isStream, true);
		assert.equal(reply.headers.get('x-accel-buffering'), 'no');
		assert.notEqual(reply.headers.get('mcp-session-id'), null);
		assert.deepEqual(reply.messages.items, []);
		go.resolve();
		assert.equal((await answerOf(reply)).result?.['protocolVersion'], '2025-11-25');
		await reply.text;
		raw.sessionId = reply.headers.get('mcp-session-id') ?? '';
		assert.equal(await raw.end(), 200);
	} finally {
		go.resolve();
		launcher.launch = launch;
	}
});

test('who gives up while waiting leaves nothing behind', async () => {
	const { launcher } = stack;
	const launch = launcher.launch.bind(launcher);
	const asked = Promise.withResolvers<AbortSignal>();
	launcher.launch = async (...request) => {
		const [, signal] = request;
		asked.resolve(signal);
		await new Promise((resolve) => signal.addEventListener('abort', resolve));
		return launch(...request);
	};
	try {
		const abort = new AbortController();
		const initialize = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
		const raw = new RawClient(stack.endpoint('conversation'));
		const waiting = raw.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: initialize }, abort);
		const signal = await asked.promise;
		const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve));
		abort.abort();
		await assert.rejects(waiting, { name: 'AbortError' });
		await aborted;
		assert.deepEqual(await stack.containers(), []);
	} finally {
		launcher.launch = launch;
	}
});
