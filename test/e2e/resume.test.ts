/** The SDK's own client through a network that breaks: it comes back by itself, and loses nothing. */
import assert from 'node:assert/strict';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { API_KEY, startStack } from '../support/stack.ts';

test('a call whose connection is cut twice in the middle ends with its answer, and all its progress in order', async (t) => {
	const sockets = new Set<Socket>();
	let target = 0;
	const proxy = createServer((client) => {
		const server = connect(target, '127.0.0.1');
		for (const socket of [client, server]) {
			sockets.add(socket);
			socket.on('error', () => undefined);
			socket.on('close', () => sockets.delete(socket));
		}
		client.pipe(server).pipe(client);
		client.on('close', () => server.destroy());
		server.on('close', () => client.destroy());
	});
	await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
	const address = proxy.address();
	const port = typeof address === 'object' && address !== null ? address.port : 0;
	const cut = (): void => {
		for (const socket of sockets) socket.destroy();
	};
	const stack = await startStack({
		catalog: catalogOf(fixture('conversation', await fixtureImage(), ['conversation.ts'])),
		config: { allowedHosts: [`127.0.0.1:${port}`] },
	});
	t.after(async () => {
		cut();
		proxy.close();
		await stack.stop();
	});
	target = Number(new URL(stack.url).port);
	const transport = new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/servers/conversation/mcp`), {
		requestInit: { headers: { authorization: `Bearer ${API_KEY}` } },
		reconnectionOptions: {
			initialReconnectionDelay: 50,
			maxReconnectionDelay: 500,
			reconnectionDelayGrowFactor: 1.5,
			maxRetries: 10,
		},
	});
	const client = new Client({ name: 'resume', version: '1' });
	await client.connect(transport as Transport);
	const steps: number[] = [];
	const { content } = await client.callTool({ name: 'progress', arguments: { steps: 12, delayMs: 150 } }, undefined, {
		onprogress: ({ progress }) => {
			steps.push(progress);
			if (progress === 3 || progress === 7) cut();
		},
	});
	assert.ok(Array.isArray(content) && content.length > 0);
	// The SDK's client drops progress that it reads together with the answer.
	assert.ok(steps.length >= 11, JSON.stringify(steps));
	assert.deepEqual(
		steps,
		Array.from({ length: steps.length }, (_, index) => index + 1),
	);
	await client.close();
});
