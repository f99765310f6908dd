/**
 * An HTTP proxy in front of an endpoint that is many servers as one: to its clients it is one of them alone, whose tools
 * and prompts have their own names. For clients that know the names of one server and no others, as the conformance
 * suite does.
 *
 * Host and Origin go through as they came, so that what is behind it judges them: it must know this address as its own.
 */
import { once } from 'node:events';
import {
	createServer,
	type IncomingMessage,
	type OutgoingHttpHeaders,
	request,
	type Server,
	type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer, text as readText } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';

/** Tools and prompts by these names; everything else in a message is nobody's name. */
const CALLS = ['tools/call', 'prompts/get'];
const LISTS = ['tools', 'prompts'] as const;

/** What concerns one connection only, and what a rewritten body makes wrong. */
const NOT_PASSED_ON = new Set(['connection', 'keep-alive', 'transfer-encoding', 'content-length']);

type Json = Record<string, unknown>;

export class NameProxy {
	readonly #prefix: string;
	readonly #http: Server;
	#upstream: URL | undefined;

	private constructor(server: string) {
		this.#prefix = `${server}__`;
		this.#http = createServer((incoming, outgoing) => {
			// Who goes away takes the request behind it along; there is nobody left to tell.
			this.#relay(incoming, outgoing).catch(() => outgoing.destroy());
		});
	}

	/** Listens, for somebody that is yet to be told with `forwardTo`. `server` is the one that clients see. */
	static async start(server: string): Promise<NameProxy> {
		const proxy = new NameProxy(server);
		proxy.#http.listen(0, '127.0.0.1');
		await once(proxy.#http, 'listening');
		return proxy;
	}

	/** `http://127.0.0.1:<port>`. */
	get origin(): string {
		return `http://127.0.0.1:${(this.#http.address() as AddressInfo).port}`;
	}

	/** The origin that requests go on to, with the path that they came with. */
	forwardTo(origin: string): void {
		this.#upstream = new URL(origin);
	}

	async stop(): Promise<void> {
		this.#http.closeAllConnections();
		this.#http.close();
		await once(this.#http, 'close');
	}

	async #relay(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
		const body = await buffer(incoming);
		const message = parse(body);
		const renamed = message === undefined ? undefined : this.#renameCall(message);
		const headers = headersOf(incoming);
		const name = headers['mcp-name'];
		if (isCall(message) && typeof name === 'string') headers['mcp-name'] = this.#renameHeader(name);
		const onward = request({
			hostname: this.#upstream?.hostname,
			port: this.#upstream?.port,
			method: incoming.method,
			path: incoming.url,
			headers,
			agent: false,
			setHost: false,
		});
		outgoing.once('close', () => onward.destroy());
		// Also after the response began, when nothing else listens for it.
		onward.on('error', () => outgoing.destroy());
		onward.end(renamed === undefined ? body : JSON.stringify(renamed));
		const [response] = (await once(onward, 'response')) as [IncomingMessage];
		outgoing.writeHead(response.statusCode ?? 502, headersOf(response));
		if (isList(message)) {
			outgoing.end(this.#renameLists(await readText(response)));
		} else {
			outgoing.flushHeaders();
			await pipeline(response, outgoing);
		}
	}

	/** The message with the names that it has behind the proxy; nothing where it has none. */
	#renameCall(message: Json): Json | undefined {
		const params = message['params'] as Json | undefined;
		const ref = params?.['ref'] as Json | undefined;
		if (isCall(message) && typeof params?.['name'] === 'string')
			return { ...message, params: { ...params, name: this.#prefix + params['name'] } };
		if (message['method'] === 'completion/complete' && typeof ref?.['name'] === 'string')
			return { ...message, params: { ...params, ref: { ...ref, name: this.#prefix + ref['name'] } } };
		return undefined;
	}

	/** Mcp-Name may be in base64 (SEP-2243). */
	#renameHeader(name: string): string {
		const encoded = /^=\?base64\?([A-Za-z0-9+/]+=*)\?=$/.exec(name)?.[1];
		if (encoded === undefined) return this.#prefix + name;
		return `=?base64?${Buffer.from(this.#prefix + Buffer.from(encoded, 'base64')).toString('base64')}?=`;
	}

	/** An answer to a list, as JSON or as events, without what is not of this server. */
	#renameLists(text: string): string {
		const whole = parse(text);
		if (whole !== undefined) return JSON.stringify(this.#renameList(whole));
		return text.replace(/^data: (.*)$/gm, (line, data: string) => {
			const message = parse(data);
			return message === undefined ? line : `data: ${JSON.stringify(this.#renameList(message))}`;
		});
	}

	#renameList(message: Json): Json {
		const result = message['result'] as Json | undefined;
		if (result === undefined) return message;
		const own = LISTS.filter((key) => Array.isArray(result[key])).map((key) => {
			const entries = (result[key] as { readonly name: string }[]).filter(({ name }) => name.startsWith(this.#prefix));
			return [key, entries.map((entry) => ({ ...entry, name: entry.name.slice(this.#prefix.length) }))];
		});
		return { ...message, result: { ...result, ...Object.fromEntries(own) } };
	}
}

const isCall = (message: Json | undefined) => CALLS.includes(String(message?.['method']));
const isList = (message: Json | undefined) => LISTS.some((key) => message?.['method'] === `${key}/list`);

/** A message; nothing where there is none, as in what is no JSON, and in a batch. */
function parse(text: string | Buffer): Json | undefined {
	try {
		const value: unknown = JSON.parse(text.toString());
		return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : undefined;
	} catch {
		return undefined;
	}
}

function headersOf({ headers }: IncomingMessage): OutgoingHttpHeaders {
	return Object.fromEntries(Object.entries(headers).filter(([name]) => !NOT_PASSED_ON.has(name)));
}
