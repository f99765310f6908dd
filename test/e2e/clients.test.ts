/** Real clients, each in front of a server of the first era, of both, and of the second alone, and of the three as one. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as data from '../fixtures/conformance-data.ts';
import { inspect } from '../support/client-inspector.ts';
import { connectRemote, type RemoteOptions } from '../support/client-remote.ts';
import { connectSdk, textOfResult } from '../support/client-sdk.ts';
import { connectSdk2, type Negotiation } from '../support/client-sdk2.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import type { Inbox } from '../support/inbox.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SERVERS = ['conformance-v1', 'conformance-v2', 'conformance-modern'] as const;

interface Progress {
	readonly progress: number;
	readonly total?: number | undefined;
}

/** A client as far as the tests need one. */
interface RealClient {
	readonly name: string;
	tools(): Promise<string[]>;
	/** The text of a tool's answer. */
	call(tool: string, args?: Record<string, unknown>): Promise<string>;
	/** The same, with the progress that came before it. */
	follow(tool: string, onProgress: (progress: Progress) => void): Promise<string>;
	/** The questions that it was asked, by method. */
	readonly asked: Inbox<string>;
	readonly toolsChanged: Inbox<true>;
	/** Has it told of changes, where that takes a request. */
	listen(): Promise<void>;
	close(): Promise<void>;
}

/** Answers to every form that the servers ask to be filled in. */
const CONTENT = { username: 'Ada', email: 'ada@example.com', name: 'Ada', color: 'green', ok: true, context: 'a test' };
const elicit = () => ({ action: 'accept' as const, content: CONTENT });

async function sdk(url: string): Promise<RealClient> {
	const { client, ...rest } = await connectSdk(url, { name: 'sdk-1', elicit });
	return {
		...rest,
		name: 'sdk-1',
		tools: async () => (await client.listTools()).tools.map(({ name }) => name),
		follow: async (name, onprogress) =>
			textOfResult(await client.callTool({ name, arguments: {} }, undefined, { onprogress })),
		listen: async () => undefined,
	};
}

const sdk2 =
	(negotiation: Negotiation) =>
	async (url: string): Promise<RealClient> => {
		const name = `sdk-2-${negotiation}`;
		const { client, era, ...rest } = await connectSdk2(url, { name, negotiation, elicit });
		assert.equal(era, negotiation === 'legacy' ? 'legacy' : 'modern');
		return {
			...rest,
			name,
			tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
			follow: async (tool, onprogress) =>
				textOfResult(await client.callTool({ name: tool, arguments: {} }, { onprogress })),
			listen: async () => {
				if (era === 'modern') await client.listen({ toolsListChanged: true });
			},
		};
	};

const remote =
	(options: Pick<RemoteOptions, 'transport' | 'protocol'>) =>
	async (url: string): Promise<RealClient> => {
		const name = `remote-${options.transport}-${options.protocol ?? ''}`;
		const target = options.transport === 'sse-only' ? url.replace(/mcp$/, 'sse') : url;
		const { client, ...rest } = await connectRemote(target, { ...options, name, elicit });
		return {
			...rest,
			name,
			tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
			listen: async () => undefined,
		};
	};

const CLIENTS: Readonly<Record<string, (url: string) => Promise<RealClient>>> = {
	'the SDK’s first line': sdk,
	'the SDK’s second line, as of before 2026-07-28': sdk2('legacy'),
	'the SDK’s second line, which finds out': sdk2('auto'),
	'the SDK’s second line, of 2026-07-28 alone': sdk2('modern'),
	'mcp-remote': remote({ transport: 'http-only' }),
	'mcp-remote, which finds out': remote({ transport: 'http-only', protocol: 'auto' }),
	'mcp-remote over HTTP+SSE': remote({ transport: 'sse-only' }),
};

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(...SERVERS.map((name) => fixture(name, image, [`${name}.ts`]))),
		launcher: { instancesMax: 96 },
		config: { instancesMax: 96 },
	});
});
after(() => stack.stop());

/** Everything that the client and one server do with each other. */
async function converse(client: RealClient, prefix: string): Promise<void> {
	const { name } = client;
	const call = (tool: string, args?: Record<string, unknown>): Promise<string> => client.call(`${prefix}${tool}`, args);
	assert.equal(await call('test_simple_text'), data.SIMPLE_TEXT);
	const steps: Progress[] = [];
	const told = await client.follow(`${prefix}test_tool_with_progress`, (step) => steps.push(step));
	assert.equal(told, 'Progress was reported.');
	assert.deepEqual(
		steps.map(({ progress, total }) => [progress, total]),
		data.PROGRESS_STEPS.map((progress) => [progress, 100]),
	);
	const before = client.asked.items.length;
	assert.equal(await call('test_elicitation', { message: 'who?' }), data.ANSWERS.elicitation(elicit()));
	assert.equal(await call('test_sampling', { prompt: 'a prompt' }), data.ANSWERS.sampling(`${name} says a prompt`));
	const roots = `file:///${name}/one, file:///${name}/two`;
	assert.equal(await call('test_input_required_result_list_roots'), roots);
	const [elicitation, sampling, list] = ['elicitation/create', 'sampling/createMessage', 'roots/list'];
	assert.deepEqual(client.asked.items.slice(before), [elicitation, sampling, list]);
	assert.equal(
		await call('test_input_required_result_multiple_inputs'),
		`Ada ${name} says Generate a greeting ${roots}`,
	);
	assert.deepEqual(client.asked.items.slice(before + 3).sort(), [elicitation, list, sampling]);
	assert.equal(await call('test_input_required_result_multi_round'), data.ANSWERS.likes('Ada', 'green'));
	assert.equal(await call('test_input_required_result_request_state'), data.ANSWERS.requestState('true'));
}

for (const [title, connect] of Object.entries(CLIENTS))
	describe(title, { concurrency: 2 }, () => {
		for (const server of SERVERS)
			test(`lists, calls, follows and is asked by ${server}`, async (t) => {
				const client = await connect(stack.endpoint(server));
				t.after(() => client.close());
				const tools = await client.tools();
				assert.equal(tools.length, 28);
				await converse(client, '');
				await client.listen();
				await client.call('test_trigger_tool_change');
				await client.toolsChanged.count(1);
			});

		// There is no HTTP+SSE at the endpoint of all.
		if (!title.includes('SSE'))
			test('lists, calls, follows and is asked by all three as one', async (t) => {
				const client = await connect(`${stack.url}/mcp`);
				t.after(() => client.close());
				const tools = await client.tools();
				for (const server of SERVERS) {
					assert.equal(tools.filter((tool) => tool.startsWith(`${server}__`)).length, 28);
					await converse(client, `${server}__`);
				}
				assert.equal(tools.length, 3 * 28);
			});
	});

describe('the Inspector’s command line', { concurrency: 2 }, () => {
	for (const era of ['legacy', 'auto', 'modern'] as const)
		for (const server of [...SERVERS, '/mcp'] as const)
			test(`lists and calls ${server}, ${era}`, async () => {
				const url = server === '/mcp' ? `${stack.url}/mcp` : stack.endpoint(server);
				const prefix = server === '/mcp' ? `${SERVERS[2]}__` : '';
				const listed = await inspect(url, '--protocol-era', era, '--method', 'tools/list');
				const tools = listed['tools'] ?? Reflect.get(Object(listed['result']), 'tools');
				assert.ok(Array.isArray(tools), JSON.stringify(listed).slice(0, 300));
				assert.equal(tools.length, server === '/mcp' ? 3 * 28 : 28);
				assert.ok(tools.some(({ name }) => name === `${prefix}test_simple_text`));
				const called = await inspect(
					url,
					'--protocol-era',
					era,
					'--method',
					'tools/call',
					'--tool-name',
					`${prefix}test_x_mcp_header`,
					'--tool-arg',
					'region=north',
				);
				assert.match(JSON.stringify(called), /region=north/);
			});
});
