/**
 * The tasks of 2025-11-25, in both directions: the official showcase server, and the SDK's client, which both have them.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { InMemoryTaskStore } from '@modelcontextprotocol/sdk/experimental/tasks/stores/in-memory.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { CallToolResultSchema, ElicitRequestSchema, type ElicitResult } from '@modelcontextprotocol/sdk/types.js';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { textOfResult } from '../support/client-sdk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

const CATALOG = new URL('../../catalog/catalog.json', import.meta.url).pathname;
const PREPARED_MS = 110_000;
const RESEARCH = 'simulate-research-query';
const TTL_MS = 60_000;

let stack: Stack;
before(async () => {
	const { servers } = await loadCatalog(CATALOG);
	const everything = [...servers.values()].find(({ name }) => name === 'everything');
	assert.ok(everything !== undefined);
	const other = fixture('conversation', await fixtureImage(), ['conversation.ts']);
	stack = await startStack({ catalog: createCatalog([everything, other]) });
});
after(() => stack.stop());

interface TaskClient {
	readonly client: Client;
	/** What the server knows a tool of `everything` by. */
	readonly tool: (name: string) => string;
	/** The messages of the questions that came. */
	readonly asked: string[];
}

/** Accepts what it is asked; a question that is a task is answered later, through its own tasks. */
async function connect(url: string, prefix: string): Promise<TaskClient> {
	const asked: string[] = [];
	const tasks = { list: {}, cancel: {}, requests: { elicitation: { create: {} } } };
	const taskStore = new InMemoryTaskStore();
	const client = new Client(
		{ name: 'tasks', version: '1' },
		{ capabilities: { elicitation: {}, tasks }, taskStore, defaultTaskPollInterval: 100 },
	);
	const content: ElicitResult['content'] = { interpretation: 'technical', name: 'Ada', favoriteColor: 'Green' };
	// It keeps a timer a task.
	client.onclose = () => taskStore.cleanup();
	client.setRequestHandler(ElicitRequestSchema, async ({ params }, { taskStore: store }) => {
		asked.push(params.message);
		if (params.task === undefined) return { action: 'accept', content };
		assert.ok(store);
		// As it is now; the store's own goes on.
		const task = { ...(await store.createTask({ ttl: TTL_MS, pollInterval: 100 })) };
		await store.storeTaskResult(task.taskId, 'completed', { action: 'accept', content });
		return { task };
	});
	const requestInit = { headers: { authorization: `Bearer ${API_KEY}` } };
	const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
	await client.connect(transport as Transport);
	return { client, asked, tool: (name) => `${prefix}${name}` };
}

for (const [title, path, prefix] of [
	['at the server’s own endpoint', '/servers/everything/mcp', ''],
	['at the endpoint of all', '/mcp', 'everything__'],
] as const)
	describe(`tasks ${title}`, { timeout: PREPARED_MS }, () => {
		test('a call becomes a task, which asks, is followed, and has a result', async (t) => {
			const { client, tool, asked } = await connect(`${stack.url}${path}`, prefix);
			t.after(() => client.close());
			const { tools } = await client.listTools();
			const research = tools.find(({ name }) => name === tool(RESEARCH));
			assert.equal(research?.execution?.taskSupport, 'required');
			const call = { name: tool(RESEARCH), arguments: { topic: 'python', ambiguous: true } };
			const seen: string[] = [];
			let taskId: string | undefined;
			for await (const message of client.experimental.tasks.callToolStream(call, CallToolResultSchema, {
				task: { ttl: TTL_MS },
			})) {
				if (message.type === 'taskCreated') taskId = message.task.taskId;
				if (message.type === 'taskStatus') seen.push(message.task.status);
				if (message.type === 'error') throw message.error;
				if (message.type === 'result')
					assert.match(textOfResult(message.result), /Research Report: python \(technical\)/);
			}
			assert.ok(taskId !== undefined);
			assert.ok(seen.includes('input_required'), `${seen}`);
			assert.equal(asked.length, 1);
			// It is there for all that can be done with a task.
			const task = await client.experimental.tasks.getTask(taskId);
			assert.equal(task.status, 'completed');
			const again = await client.experimental.tasks.getTaskResult(taskId, CallToolResultSchema);
			assert.match(textOfResult(again), /Research Report/);
			const list = await client.experimental.tasks.listTasks();
			assert.deepEqual(
				list.tasks.map((each) => each.taskId),
				[taskId],
			);
		});

		test('a task is cancelled, and one that nobody has is refused', async (t) => {
			const { client, tool } = await connect(`${stack.url}${path}`, prefix);
			t.after(() => client.close());
			const call = { name: tool(RESEARCH), arguments: { topic: 'python', ambiguous: false } };
			const stream = client.experimental.tasks.callToolStream(call, CallToolResultSchema, { task: { ttl: TTL_MS } });
			const { value: created } = await stream.next();
			assert.ok(created?.type === 'taskCreated');
			const { taskId } = created.task;
			assert.equal((await client.experimental.tasks.cancelTask(taskId)).status, 'cancelled');
			assert.equal((await client.experimental.tasks.getTask(taskId)).status, 'cancelled');
			await assert.rejects(client.experimental.tasks.getTask('nobody-s'), /-32602|not found/i);
		});

		test('a task of one client is none of another’s', async (t) => {
			const [ada, bob] = [await connect(`${stack.url}${path}`, prefix), await connect(`${stack.url}${path}`, prefix)];
			t.after(() => Promise.all([ada.client.close(), bob.client.close()]));
			const call = { name: ada.tool(RESEARCH), arguments: { topic: 'python', ambiguous: false } };
			const stream = ada.client.experimental.tasks.callToolStream(call, CallToolResultSchema, {
				task: { ttl: TTL_MS },
			});
			const { value: created } = await stream.next();
			assert.ok(created?.type === 'taskCreated');
			await assert.rejects(bob.client.experimental.tasks.getTask(created.task.taskId));
			assert.deepEqual((await bob.client.experimental.tasks.listTasks()).tasks, []);
		});

		test('a question of the server becomes a task of the client', async (t) => {
			const { client, tool, asked } = await connect(`${stack.url}${path}`, prefix);
			t.after(() => client.close());
			const answer = await client.callTool({ name: tool('trigger-elicitation-request-async'), arguments: {} });
			assert.match(textOfResult(answer), /Ada/);
			assert.match(textOfResult(answer), /Poll 1: completed/);
			assert.equal(asked.length, 1);
		});
	});
