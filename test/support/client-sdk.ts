/** The SDK's own client over Streamable HTTP, with everything that a server may ask of it or tell it. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import type { Transport } from '@modelcontextprotocol/sdk/shared/transport.js';
import {
	CreateMessageRequestSchema,
	ElicitRequestSchema,
	type ElicitResult,
	ListRootsRequestSchema,
	LoggingMessageNotificationSchema,
	ResourceUpdatedNotificationSchema,
	ToolListChangedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';
import { Inbox } from './inbox.ts';
import { API_KEY } from './stack.ts';

export interface SdkOptions {
	/** What it answers with, so that answers of different clients can be told apart. */
	readonly name?: string;
	readonly elicit?: (message: string) => ElicitResult;
	readonly key?: string;
	/** Looks at each answer when its head is there. */
	readonly onResponse?: (response: Response, body: string) => void;
}

export interface SdkClient {
	readonly client: Client;
	readonly transport: StreamableHTTPClientTransport;
	readonly logs: Inbox<{ readonly level: string; readonly data: unknown }>;
	readonly toolsChanged: Inbox<true>;
	readonly updated: Inbox<string>;
	/** The questions that came, by method. */
	readonly asked: Inbox<string>;
	/** The text of a tool's answer. */
	call(name: string, args?: Record<string, unknown>): Promise<string>;
	/** Ends the session and the client. */
	close(): Promise<void>;
}

/** Has a client answer all that a server may ask, with its own name in the answers, and note what it was asked. */
export function answerQuestions(
	client: Client,
	{ name, elicit, asked }: Required<Pick<SdkOptions, 'name' | 'elicit'>> & Pick<SdkClient, 'asked'>,
): void {
	client.setRequestHandler(CreateMessageRequestSchema, ({ method, params }) => {
		asked.push(method);
		const prompt = params.messages.map(({ content }) => ('text' in content ? content.text : '')).join('');
		return { model: 'test', role: 'assistant', content: { type: 'text', text: `${name} says ${prompt}` } };
	});
	client.setRequestHandler(ElicitRequestSchema, ({ method, params }) => {
		asked.push(method);
		return elicit(params.message);
	});
	client.setRequestHandler(ListRootsRequestSchema, ({ method }) => {
		asked.push(method);
		return { roots: [{ uri: `file:///${name}/one` }, { uri: `file:///${name}/two` }] };
	});
}

export async function connectSdk(url: string, options: SdkOptions = {}): Promise<SdkClient> {
	const { name = 'sdk', key = API_KEY, onResponse } = options;
	const client = new Client(
		{ name, version: '1.0.0' },
		{ capabilities: { sampling: {}, elicitation: {}, roots: { listChanged: true } } },
	);
	const logs: SdkClient['logs'] = new Inbox();
	const toolsChanged: SdkClient['toolsChanged'] = new Inbox();
	const updated: SdkClient['updated'] = new Inbox();
	const asked: SdkClient['asked'] = new Inbox();
	const elicit = options.elicit ?? (() => ({ action: 'accept' as const, content: { name } }));
	answerQuestions(client, { name, elicit, asked });
	client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => logs.push(params));
	client.setNotificationHandler(ToolListChangedNotificationSchema, () => toolsChanged.push(true));
	client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => updated.push(params.uri));
	const transport = new StreamableHTTPClientTransport(new URL(url), {
		requestInit: { headers: { authorization: `Bearer ${key}` } },
		fetch: async (target, init) => {
			const response = await fetch(target, init);
			onResponse?.(response, typeof init?.body === 'string' ? init.body : '');
			return response;
		},
	});
	// The SDK's own types do not hold under exactOptionalPropertyTypes.
	await client.connect(transport as Transport);
	return {
		client,
		transport,
		logs,
		toolsChanged,
		updated,
		asked,
		call: async (tool, args = {}) => textOfResult(await client.callTool({ name: tool, arguments: args })),
		close: async () => {
			await transport.terminateSession();
			await client.close();
		},
	};
}

/** The text of a tool's result. */
export function textOfResult({ content }: Record<string, unknown>): string {
	if (!Array.isArray(content)) throw new Error('the result has no content');
	return content.map((part: { text?: string }) => part.text ?? '').join('');
}
