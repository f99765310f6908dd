/** mcp-remote, as desktop hosts run it: to its host a server on stdio, to us a client over HTTP. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import {
	type ElicitResult,
	ProgressNotificationSchema,
	ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { answerQuestions, textOfResult } from './client-sdk.ts';
import { Inbox } from './inbox.ts';
import { API_KEY } from './stack.ts';

const PROGRAM = new URL('../../node_modules/mcp-remote/dist/proxy.js', import.meta.url).pathname;

export interface RemoteOptions {
	readonly name: string;
	readonly transport: 'http-only' | 'sse-only';
	/** `auto`: it speaks 2026-07-28 to a server that does, whatever its host speaks. */
	readonly protocol?: 'legacy' | 'auto';
	readonly elicit: (message: string) => ElicitResult;
}

interface Progress {
	readonly progress: number;
	readonly total?: number | undefined;
}

export interface RemoteClient {
	readonly client: Client;
	readonly toolsChanged: Inbox<true>;
	/** The questions that came, by method. */
	readonly asked: Inbox<string>;
	/** The text of a tool's answer. */
	call(name: string, args?: Record<string, unknown>): Promise<string>;
	/** The same, with the progress that came before it. */
	follow(name: string, onProgress: (progress: Progress) => void): Promise<string>;
	/** Ends the host's side, and with it the process. */
	close(): Promise<void>;
}

/** Starts it in front of an endpoint, with the SDK's client as its host. */
export async function connectRemote(url: string, options: RemoteOptions): Promise<RemoteClient> {
	const { name, transport: strategy, protocol = 'legacy', elicit } = options;
	const home = await mkdtemp(join(tmpdir(), 'slipway-remote-'));
	const client = new Client(
		{ name, version: '1.0.0' },
		{ capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } },
	);
	const asked: RemoteClient['asked'] = new Inbox('a question');
	const toolsChanged: RemoteClient['toolsChanged'] = new Inbox('a change of tools');
	answerQuestions(client, { name, elicit, asked });
	client.setNotificationHandler(ToolListChangedNotificationSchema, () => toolsChanged.push(true));
	const args = [
		PROGRAM,
		url,
		'--allow-http',
		'--header',
		`Authorization:Bearer ${API_KEY}`,
		'--transport',
		strategy,
		'--protocol',
		protocol,
	];
	const env = { HOME: home, PATH: process.env['PATH'] ?? '' };
	// What it says on stderr would be taken for what the test says.
	const transport = new StdioClientTransport({ command: process.execPath, args, env, stderr: 'ignore' });
	await client.connect(transport);
	const progressed = tapProgress(transport);
	return {
		client,
		toolsChanged,
		asked,
		call: async (tool, input = {}) => textOfResult(await client.callTool({ name: tool, arguments: input })),
		follow: async (tool, onProgress) => {
			progressed.items.length = 0;
			// With a handler it sends a token.
			const onprogress = (): void => undefined;
			const text = textOfResult(await client.callTool({ name: tool, arguments: {} }, undefined, { onprogress }));
			for (const progress of progressed.items) onProgress(progress);
			return text;
		},
		close: async () => {
			await client.close();
			await rm(home, { recursive: true });
		},
	};
}

/**
 * The progress that comes over the wire. The SDK's client itself drops what it reads together with the answer: it hands
 * notifications on a moment later, and then nobody waits for them any more.
 */
function tapProgress(transport: StdioClientTransport): Inbox<Progress> {
	const progressed = new Inbox<Progress>('progress');
	const hand = transport.onmessage;
	transport.onmessage = (message) => {
		const notification = ProgressNotificationSchema.safeParse(message);
		if (notification.success) progressed.push(notification.data.params);
		hand?.(message);
	};
	return progressed;
}
