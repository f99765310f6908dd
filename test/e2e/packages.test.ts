/** The servers of the catalog that Slipway comes with: prepared, listed and called as their users do. */
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { createCatalog, type Server } from '../../src/catalog/catalog.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { inspect, inspectTools } from '../support/client-inspector.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { type Stack, startStack } from '../support/stack.ts';

const CATALOG = new URL('../../catalog/catalog.json', import.meta.url).pathname;

/** Those that people copy: a folder and a script beside the catalog. */
const EXAMPLES: readonly string[] = ['hello-node', 'hello-python'];

/** Preparing an image takes its time where there is none yet. */
const PREPARED_MS = 110_000;

let stack: Stack;
before(async () => {
	const servers = [...(await loadCatalog(CATALOG)).servers.values()];
	const enabled = servers.filter((server) => server.enabled);
	assert.deepEqual(enabled.map(({ name }) => name).sort(), [
		'everything',
		'filesystem',
		'memory',
		'sequential-thinking',
	]);
	const examples = servers.filter(({ name }) => EXAMPLES.includes(name)).map((one) => ({ ...one, enabled: true }));
	assert.equal(examples.length, EXAMPLES.length);
	stack = await startStack({
		catalog: createCatalog([...enabled, ...examples].map(onThisEngine)),
		launcher: { catalogFolder: dirname(CATALOG) },
	});
});
after(() => stack.stop());

/** The engine does not see the folders of the container that tests may run in: a volume takes the folder's place. */
function onThisEngine(server: Server): Server {
	if (server.mounts.length === 0) return server;
	const volumes = server.mounts.map(({ target }, index) => ({ name: `files-${index}`, target, readOnly: false }));
	return { ...server, mounts: [], volumes };
}

function callInInspector(server: string, tool: string, args: object): Promise<Record<string, unknown>> {
	const call = ['--method', 'tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(args)];
	return inspect(stack.endpoint(server), ...call);
}

function contentText(answer: Record<string, unknown>): string {
	return JSON.stringify(answer['content'] ?? Reflect.get(Object(answer['result']), 'content') ?? answer);
}

describe('the shipped catalog', { concurrency: 2, timeout: PREPARED_MS }, () => {
	test('everything', async () => {
		const { client, call, close } = await connectSdk(stack.endpoint('everything'), { name: 'ada' });
		const { tools } = await client.listTools();
		assert.ok(tools.length >= 10);
		assert.match(await call('echo', { message: 'hello' }), /hello/);
		assert.ok((await client.listResources()).resources.length > 0);
		assert.ok((await client.listPrompts()).prompts.length > 0);
		await close();
		const names = await inspectTools(stack.endpoint('everything'));
		assert.ok(names.includes('echo'));
		assert.match(
			contentText(await callInInspector('everything', 'echo', { message: 'from the Inspector' })),
			/from the Inspector/,
		);
	});

	test('memory: what one session keeps, the next one finds', async () => {
		const first = await connectSdk(stack.endpoint('memory'));
		const entity = { name: 'Ada', entityType: 'person', observations: ['wrote the first program'] };
		await first.call('create_entities', { entities: [entity] });
		await first.close();
		const second = await connectSdk(stack.endpoint('memory'));
		const { entities } = JSON.parse(await second.call('read_graph'));
		assert.deepEqual(entities, [entity]);
		await second.close();
		assert.ok((await inspectTools(stack.endpoint('memory'))).includes('read_graph'));
		assert.match(contentText(await callInInspector('memory', 'read_graph', {})), /wrote the first program/);
	});

	test('the examples that people copy', async () => {
		for (const name of EXAMPLES) {
			const { call, close, client } = await connectSdk(stack.endpoint(name));
			assert.deepEqual(
				(await client.listTools()).tools.map((tool) => tool.name),
				['greet'],
				name,
			);
			assert.match(await call('greet', { name: 'Ada' }), /Hello, Ada!/);
			await close();
		}
	});

	test('filesystem: its folder, and nothing outside', async () => {
		const { call, close, client } = await connectSdk(stack.endpoint('filesystem'));
		assert.match(await call('list_allowed_directories'), /\/files/);
		await call('write_file', { path: '/files/hello.txt', content: 'hello from a volume' });
		assert.match(await call('read_text_file', { path: '/files/hello.txt' }), /hello from a volume/);
		const outside = await client.callTool({ name: 'read_text_file', arguments: { path: '/etc/passwd' } });
		assert.equal(outside['isError'], true);
		await close();
		assert.ok((await inspectTools(stack.endpoint('filesystem'))).includes('read_text_file'));
		const read = await callInInspector('filesystem', 'read_text_file', { path: '/files/hello.txt' });
		assert.match(contentText(read), /hello from a volume/);
	});

	test('sequential-thinking', async () => {
		const thought = { thought: 'first', nextThoughtNeeded: true, thoughtNumber: 1, totalThoughts: 2 };
		const { call, close } = await connectSdk(stack.endpoint('sequential-thinking'));
		assert.equal(JSON.parse(await call('sequentialthinking', thought)).thoughtNumber, 1);
		const second = { ...thought, thoughtNumber: 2, nextThoughtNeeded: false };
		assert.equal(JSON.parse(await call('sequentialthinking', second)).thoughtHistoryLength, 2);
		await close();
		assert.deepEqual(await inspectTools(stack.endpoint('sequential-thinking')), ['sequentialthinking']);
		assert.match(
			contentText(await callInInspector('sequential-thinking', 'sequentialthinking', thought)),
			/thoughtNumber/,
		);
	});

	test('each is an image with the integrity that the registry gave', async () => {
		// Whoever has been called is ready; the calls above may still be under way.
		for (const name of ['everything', 'memory', 'filesystem', 'sequential-thinking']) {
			await (await connectSdk(stack.endpoint(name))).close();
			const preparation = stack.remote.state.servers.find((server) => server.name === name)?.preparation;
			assert.equal(preparation?.kind, 'ready');
			assert.match(preparation.kind === 'ready' ? (preparation.integrity ?? '') : '', /^sha512-/);
		}
	});
});
