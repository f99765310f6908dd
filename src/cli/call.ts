/** `slipway call`: a call of a tool, made as clients of MCP make it. */
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
	type CallToolResult,
	CallToolResultSchema,
	ElicitRequestSchema,
	LoggingMessageNotificationSchema,
	McpError,
	type Progress,
	type Tool,
} from '@modelcontextprotocol/sdk/types.js';
import { ERRORS, type ErrorCode, fromErrorRecord, SlipwayError } from '../errors.ts';
import { SERVER_NAME_PATTERN } from '../ids.ts';
import { GATEWAY_CLIENT_LIMITS, SESSION_LIMITS } from '../limits.ts';
import { type Arguments, argumentsOf } from './call-arguments.ts';
import { askPerson } from './elicitation.ts';
import { withoutControls } from './failure.ts';
import { GATEWAY_HELP, GATEWAY_OPTIONS, type GatewayClient, withGateway } from './gateway.ts';
import type { Invocation, Surface } from './invocation.ts';
import { formatTable, paintOf } from './terminal.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway call <server> [tool] [key=value | key:=json]… [options]

Calls a tool and prints what it answers; without a tool, the tools that there are and their arguments. What it logs, and how far
it is, goes to standard error. A question of the server is asked where standard input is a terminal, and declined elsewhere.

  key=value            an argument: text, or what the tool's schema says it is
  key:=json            an argument as JSON: 'ids:=[1, 2]'
  --args <json>        all arguments as one JSON object; others are added to it
${GATEWAY_HELP}
  --json               for programs: the result as the server gave it

Exit code 1: the tool says that it failed, or the call did.`;

const OPTIONS = { ...GATEWAY_OPTIONS, args: { type: 'string' } } as const;

export const call = defineVerb({ help: HELP, options: OPTIONS, run });

async function run({ values, positionals }: Asked<typeof OPTIONS>, invocation: Invocation): Promise<0 | 1 | 'misused'> {
	const [server, name, ...words] = positionals;
	if (server === undefined || !SERVER_NAME_PATTERN.test(server) || (name === undefined && values.args !== undefined))
		return 'misused';
	return withGateway(invocation, values, {
		scopes: ['admin', `server:${server}`],
		use: async (gateway) => {
			const { print, out } = invocation;
			const client = await connect(gateway, server, invocation);
			try {
				const tools = await listTools(client);
				if (name === undefined) {
					print(values.json ? JSON.stringify({ tools }) : describeTools(server, tools));
					return 0;
				}
				const tool = tools.find((one) => one.name === name);
				const input = argumentsOf(words, { all: values.args, schema: tool?.inputSchema });
				const result = await callTool(client, name, input, invocation);
				print(values.json ? JSON.stringify(result) : describeResult(result, out));
				return result.isError === true ? 1 : 0;
			} catch (error) {
				throw explain(error);
			} finally {
				// Its container need not wait for the end of its time.
				await (client.transport as StreamableHTTPClientTransport).terminateSession().catch(() => undefined);
				await client.close();
			}
		},
	});
}

async function connect(gateway: GatewayClient, server: string, invocation: Invocation): Promise<Client> {
	const { version, err, input, environment } = invocation;
	const paint = paintOf(err, environment);
	const client = new Client({ name: 'slipway', version }, { capabilities: { elicitation: {} } });
	client.setRequestHandler(ElicitRequestSchema, ({ params }) => askPerson(params, { input, err }));
	client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params: { level, data } }) => {
		const text = typeof data === 'string' ? data : JSON.stringify(data);
		err.write(`${paint('dim', `${level}: ${withoutControls(text)}`)}\n`);
	});
	const url = new URL(`${gateway.url}/servers/${server}/mcp`);
	const transport = new StreamableHTTPClientTransport(url, { fetch: gateway.fetch });
	try {
		// Its types have no exact optional members.
		await client.connect(transport as Parameters<Client['connect']>[0], timesOf(invocation));
	} catch (error) {
		await client.close();
		throw explain(error);
	}
	return client;
}

function timesOf({ stopping }: Invocation) {
	return {
		signal: stopping,
		timeout: SESSION_LIMITS.callTimeoutMsMax,
		resetTimeoutOnProgress: true,
		maxTotalTimeout: SESSION_LIMITS.callTimeoutMsMax,
	};
}

async function listTools(client: Client): Promise<Tool[]> {
	if (client.getServerCapabilities()?.tools === undefined) return [];
	const found: Tool[] = [];
	let cursor: string | undefined;
	for (let page = 0; page < GATEWAY_CLIENT_LIMITS.pagesMax; page += 1) {
		const { tools, nextCursor } = await client.listTools(cursor === undefined ? {} : { cursor });
		found.push(...tools);
		cursor = nextCursor;
		if (cursor === undefined) break;
	}
	return found;
}

async function callTool(
	client: Client,
	name: string,
	input: Arguments,
	invocation: Invocation,
): Promise<CallToolResult> {
	const { err, environment } = invocation;
	const paint = paintOf(err, environment);
	const onprogress = ({ progress, total, message = '' }: Progress): void => {
		const far = total === undefined ? `${progress}` : `${progress}/${total}`;
		err.write(`${paint('dim', `${far} ${withoutControls(message)}`.trimEnd())}\n`);
	};
	// Not the client's own callTool, which refuses what does not fit the tool's output schema: people want to see that.
	const params = { name, arguments: input };
	const options = { ...timesOf(invocation), onprogress };
	return client.request({ method: 'tools/call', params }, CallToolResultSchema, options);
}

/** An error of the protocol in the words of the table, where it has ours. */
function explain(error: unknown): unknown {
	if (!(error instanceof McpError)) return error;
	const { code, ...details } = (error.data ?? {}) as Readonly<Record<string, unknown>>;
	if (typeof code !== 'string' || !Object.hasOwn(ERRORS, code))
		return new SlipwayError('SLIPWAY_CALL_REFUSED', { reason: error.message }, { cause: error });
	return fromErrorRecord({ code: code as ErrorCode, details });
}

function describeTools(server: string, tools: readonly Tool[]): string {
	if (tools.length === 0) return `${server} has no tools.`;
	return tools
		.map(({ name, description = '', inputSchema }) => {
			const required = new Set(inputSchema.required ?? []);
			const rows = Object.entries(inputSchema.properties ?? {}).map(([key, schema]) => {
				const { type, description: says } = schema as { readonly type?: unknown; readonly description?: unknown };
				const kind = typeof type === 'string' ? type : 'any';
				return [
					`    ${withoutControls(key)}`,
					required.has(key) ? kind : `${kind}, optional`,
					withoutControls(firstLine(says)),
				];
			});
			const head = `${withoutControls(name)}  ${withoutControls(firstLine(description))}`.trimEnd();
			return rows.length === 0 ? head : `${head}\n${formatTable(rows)}`;
		})
		.join('\n\n');
}

function firstLine(text: unknown): string {
	return typeof text === 'string' ? (text.trim().split('\n')[0] ?? '') : '';
}

/** What it says as it is, but for what would steer a terminal; what is no text by its kind. */
function describeResult({ content, structuredContent, isError }: CallToolResult, { isTerminal }: Surface): string {
	const shown = (text: string): string => (isTerminal ? withoutControls(text) : text);
	const parts = content.map((item) => {
		if (item.type === 'text') return shown(item.text);
		if (item.type === 'resource_link') return shown(`[${item.name}: ${item.uri}]`);
		if (item.type === 'resource')
			return 'text' in item.resource ? shown(item.resource.text) : shown(`[${item.resource.uri}: binary]`);
		return shown(`[${item.type} of ${item.mimeType}, ${item.data.length} characters of base64; --json has it]`);
	});
	if (parts.length === 0 && structuredContent !== undefined)
		parts.push(shown(JSON.stringify(structuredContent, null, 2)));
	if (parts.length === 0) parts.push(isError === true ? 'The tool failed, and says nothing more.' : 'Done.');
	return parts.join('\n');
}
