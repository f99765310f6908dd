/** HTTP+SSE of revision 2024-11-05, with the SDK's own client of that transport. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { ElicitRequestSchema, LoggingMessageNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import Docker from 'dockerode';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { Inbox } from '../support/inbox.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

const headers = { authorization: `Bearer ${API_KEY}` };
let stack: Stack;

before(async () => {
	stack = await startStack({ catalog: catalogOf(fixture('conversation', await fixtureImage(), ['conversation.ts'])) });
});
after(() => stack.stop());

async function connect(): Promise<{ client: Client; logs: Inbox<unknown> }> {
	const client = new Client({ name: 'sse', version: '1' }, { capabilities: { elicitation: {} } });
	const logs = new Inbox<unknown>();
	client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => logs.push(params.data));
	client.setRequestHandler(ElicitRequestSchema, () => ({ action: 'accept', content: { name: 'Ada' } }));
	const transport = new SSEClientTransport(new URL(`${stack.url}/servers/conversation/sse`), {
		requestInit: { headers },
	});
	await client.connect(transport as Transport);
	return { client, logs };
}

function post(sessionId: string, body: unknown): Promise<Response> {
	const url = `${stack.url}/servers/conversation/messages${sessionId === '' ? '' : `?sessionId=${sessionId}`}`;
	return fetch(url, {
		method: 'POST',
		headers: { ...headers, 'content-type': 'application/json' },
		body: JSON.stringify(body),
	});
}

test('everything of a conversation comes on the one stream, and its end ends the container', async () => {
	const { client, logs } = await connect();
	const text = async (name: string, args: Record<string, unknown> = {}): Promise<string> =>
		JSON.stringify((await client.callTool({ name, arguments: args })).content);
	assert.match(await text('echo', { text: 'hello' }), /hello/);
	assert.match(await text('ask_elicitation', { message: 'who?' }), /Ada/);
	await text('log', { level: 'info', message: 'a line', times: 1 });
	await logs.first((data) => data === 'a line');
	const steps: number[] = [];
	await client.callTool({ name: 'progress', arguments: { steps: 3, delayMs: 50 } }, undefined, {
		onprogress: ({ progress }) => steps.push(progress),
	});
	// The SDK's client drops progress that it reads together with the answer.
	assert.ok(steps.length > 0);
	assert.deepEqual(steps, [1, 2, 3].slice(0, steps.length));
	const [container] = await stack.containers();
	assert.ok(container);
	const gone = new Docker().getContainer(container.Id).wait({ condition: 'removed' });
	await client.close();
	await gone;
	assert.deepEqual(await stack.containers(), []);
});

test('the stream says first where to POST; what is posted wrongly is refused, and the session goes on', async () => {
	const aborter = new AbortController();
	const stream = await fetch(`${stack.url}/servers/conversation/sse`, {
		headers: { ...headers, accept: 'text/event-stream' },
		signal: aborter.signal,
	});
	assert.equal(stream.headers.get('content-type'), 'text/event-stream');
	const reader = stream.body?.pipeThrough(new TextDecoderStream()).getReader();
	assert.ok(reader);
	let read = '';
	const until = async (pattern: RegExp): Promise<string> => {
		for (;;) {
			const found = pattern.exec(read);
			if (found !== null) return found[1] ?? '';
			read += (await reader.read()).value ?? '';
		}
	};
	const id = await until(/^event: endpoint\ndata: \/servers\/conversation\/messages\?sessionId=(\S+)\n\n/);
	const initialize = {
		jsonrpc: '2.0',
		id: 1,
		method: 'initialize',
		params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'raw', version: '1' } },
	};
	assert.equal((await post('', initialize)).status, 400);
	assert.equal((await post('nobodys', initialize)).status, 404);
	assert.equal((await post(id, { jsonrpc: '2.0', id: 1, method: 'tools/list' })).status, 400, 'before initialize');
	assert.equal((await post(id, initialize)).status, 202);
	await until(/event: message\ndata: (\{"result".*"id":1\})\n\n/);
	assert.equal((await post(id, initialize)).status, 400, 'initialized already');
	assert.equal((await post(id, 'no message')).status, 400);
	assert.equal((await post(id, { jsonrpc: '2.0', id: 2, method: 'ping' })).status, 202);
	await until(/event: message\ndata: (\{"result":\{\},"jsonrpc":"2.0","id":2\})\n\n/);
	const [container] = await stack.containers();
	const gone = new Docker().getContainer(container?.Id ?? '').wait({ condition: 'removed' });
	aborter.abort();
	await gone;
	assert.equal((await post(id, { jsonrpc: '2.0', id: 3, method: 'ping' })).status, 404);
});
