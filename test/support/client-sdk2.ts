/** The client of the SDK's second line over Streamable HTTP, in whichever era it is told or finds out. */
import {
	Client,
	type ClientCapabilities,
	type ElicitResult,
	StreamableHTTPClientTransport,
} from '@modelcontextprotocol/client';
import { textOfResult } from './client-sdk.ts';
import { Inbox } from './inbox.ts';
import { API_KEY } from './stack.ts';

/** Speaks `initialize`, asks first which era it is, or speaks 2026-07-28 and nothing else. */
export type Negotiation = 'legacy' | 'auto' | 'modern';

export interface Sdk2Options {
	/** What it answers with, so that answers of different clients can be told apart. */
	readonly name?: string;
	readonly negotiation?: Negotiation;
	/** What it says that it can; all there is unless said. */
	readonly capabilities?: ClientCapabilities;
	readonly elicit?: (message: string) => ElicitResult;
	readonly key?: string;
	/** Looks at each answer when its head is there. */
	readonly onResponse?: (response: Response, body: string) => void;
}

export interface Sdk2Client {
	readonly client: Client;
	readonly transport: StreamableHTTPClientTransport;
	/** The era that it ended up in. */
	readonly era: string | undefined;
	readonly logs: Inbox<{ readonly level: string; readonly data: unknown }>;
	readonly toolsChanged: Inbox<true>;
	readonly updated: Inbox<string>;
	/** The questions that came, by method, whether as requests or in results. */
	readonly asked: Inbox<string>;
	/** The text of a tool's answer. */
	call(name: string, args?: Record<string, unknown>): Promise<string>;
	/** Ends the client, and the session where there is one. */
	close(): Promise<void>;
}

const EVERYTHING = { sampling: {}, elicitation: { form: {} }, roots: { listChanged: true } };

export async function connectSdk2(url: string, options: Sdk2Options = {}): Promise<Sdk2Client> {
	const { name = 'sdk2', negotiation = 'auto', capabilities = EVERYTHING, key = API_KEY, onResponse } = options;
	const mode = negotiation === 'modern' ? { pin: '2026-07-28' } : negotiation;
	const client = new Client({ name, version: '1.0.0' }, { capabilities, versionNegotiation: { mode } });
	const asked = answerQuestions(client, name, capabilities, options.elicit);
	const logs: Sdk2Client['logs'] = new Inbox('a log line');
	const toolsChanged: Sdk2Client['toolsChanged'] = new Inbox('a change of tools');
	const updated: Sdk2Client['updated'] = new Inbox('a resource that changed');
	client.setNotificationHandler('notifications/message', ({ params }) => logs.push(params));
	client.setNotificationHandler('notifications/tools/list_changed', () => toolsChanged.push(true));
	client.setNotificationHandler('notifications/resources/updated', ({ params }) => updated.push(params.uri));
	const transport = new StreamableHTTPClientTransport(new URL(url), {
		requestInit: { headers: { authorization: `Bearer ${key}` } },
		fetch: async (target, init) => {
			const response = await fetch(target, init);
			onResponse?.(response, typeof init?.body === 'string' ? init.body : '');
			return response;
		},
	});
	await client.connect(transport);
	return {
		client,
		transport,
		era: client.getProtocolEra(),
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

/** Answers what the client said that it can be asked. A handler for anything else is an error to the SDK. */
function answerQuestions(
	client: Client,
	name: string,
	capabilities: ClientCapabilities,
	elicit: (message: string) => ElicitResult = () => ({ action: 'accept', content: { name } }),
): Inbox<string> {
	const asked = new Inbox<string>('a question');
	if (capabilities.sampling !== undefined)
		client.setRequestHandler('sampling/createMessage', ({ method, params }) => {
			asked.push(method);
			const prompt = params.messages.map(({ content }) => ('text' in content ? content.text : '')).join('');
			return { model: 'test', role: 'assistant', content: { type: 'text', text: `${name} says ${prompt}` } };
		});
	if (capabilities.elicitation !== undefined)
		client.setRequestHandler('elicitation/create', ({ method, params }) => {
			asked.push(method);
			return elicit(params.message);
		});
	if (capabilities.roots !== undefined)
		client.setRequestHandler('roots/list', ({ method }) => {
			asked.push(method);
			return { roots: [{ uri: `file:///${name}/one` }, { uri: `file:///${name}/two` }] };
		});
	return asked;
}
