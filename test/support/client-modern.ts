/**
 * A client of 2026-07-28 that is nothing but HTTP: every request says for itself what the revisions before said once,
 * and what it leaves out or gets wrong is the test's to choose.
 */
import assert from 'node:assert/strict';
import { answerOf, RawClient, type Reply, type RpcMessage } from './client-raw.ts';
import { API_KEY } from './stack.ts';

export const MODERN = '2026-07-28';

const META = 'io.modelcontextprotocol/';

export interface Claims {
	/** `{}` unless said: a client that cannot be asked anything. */
	readonly capabilities?: Record<string, unknown>;
	readonly clientInfo?: { readonly name: string; readonly version: string };
	readonly logLevel?: string;
	/** Further members of `_meta`. */
	readonly meta?: Record<string, unknown>;
}

export interface ModernOptions extends Claims {
	readonly id?: string | number;
	/** Further ones, by their lower-case names, or in place of those of `modernHeaders`; `undefined` leaves one out. */
	readonly headers?: Readonly<Record<string, string | undefined>>;
}

/** An answer whose head has come, on a connection that can be given up, which is what cancels the request. */
export interface ModernReply extends Reply {
	disconnect(): void;
}

/** What the server asked for in place of a result. */
export interface InputRequired {
	readonly inputRequests: Readonly<
		Record<string, { readonly method: string; readonly params?: Record<string, unknown> }>
	>;
	readonly requestState: string | undefined;
}

/** The `_meta` of a message. */
export function modernMeta({ capabilities = {}, clientInfo, logLevel, meta }: Claims = {}): Record<string, unknown> {
	return {
		[`${META}protocolVersion`]: MODERN,
		[`${META}clientInfo`]: clientInfo ?? { name: 'modern', version: '1.0.0' },
		[`${META}clientCapabilities`]: capabilities,
		...(logLevel === undefined ? {} : { [`${META}logLevel`]: logLevel }),
		...meta,
	};
}

/** A request with everything in it that it must have. */
export function modernRequest(method: string, params: object = {}, options: ModernOptions = {}) {
	return { jsonrpc: '2.0' as const, id: options.id ?? 1, method, params: { ...params, _meta: modernMeta(options) } };
}

/** The headers that repeat what a request says (SEP-2243), as they must be. */
export function modernHeaders(method: string, params: object = {}): Record<string, string> {
	const name = nameOf(method, params);
	return {
		'mcp-protocol-version': MODERN,
		'mcp-method': method,
		...(name === undefined ? {} : { 'mcp-name': toHeader(name) }),
	};
}

function nameOf(method: string, params: object): string | undefined {
	const key = { 'tools/call': 'name', 'prompts/get': 'name', 'resources/read': 'uri' }[method];
	const value: unknown = key === undefined ? undefined : Reflect.get(params, key);
	return typeof value === 'string' ? value : undefined;
}

/** What cannot stand in a header as it is goes there in base64. */
function toHeader(value: string): string {
	const isPlain = /^(?:[!-~](?:[ -~]*[!-~])?)?$/.test(value) && !value.startsWith('=?base64?');
	return isPlain ? value : `=?base64?${Buffer.from(value).toString('base64')}?=`;
}

export class ModernClient {
	readonly url: string;
	readonly #claims: Claims;
	readonly #http: RawClient;
	#lastId = 0;

	constructor(url: string, { key = API_KEY, ...claims }: Claims & { readonly key?: string } = {}) {
		this.url = url;
		this.#claims = claims;
		this.#http = new RawClient(url, { key });
	}

	/** Sends a body as it is. Resolves when the head of the answer is there. */
	async post(body: unknown, headers: Readonly<Record<string, string | undefined>> = {}): Promise<ModernReply> {
		const connection = new AbortController();
		const given = Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined);
		const reply = await this.#http.post(body, { signal: connection.signal, headers: Object.fromEntries(given) });
		return { ...reply, disconnect: () => connection.abort() };
	}

	/** Sends a request, and resolves when the head of its answer is there. */
	send(method: string, params: object = {}, options: ModernOptions = {}): Promise<ModernReply> {
		const body = modernRequest(method, params, { ...this.#claims, id: ++this.#lastId, ...options });
		return this.post(body, { ...modernHeaders(method, params), ...options.headers });
	}

	/** Sends a request and waits for its answer, as JSON or as the last event. */
	async request(method: string, params: object = {}, options: ModernOptions = {}): Promise<RpcMessage> {
		return answerOf(await this.send(method, params, options));
	}

	call(name: string, args: object = {}, options: ModernOptions = {}): Promise<RpcMessage> {
		return this.request('tools/call', { name, arguments: args }, options);
	}

	/** Sends a request again with the answers to what it asked for. */
	retry(
		method: string,
		params: object,
		{ requestState }: InputRequired,
		inputResponses: object,
		options: ModernOptions = {},
	): Promise<RpcMessage> {
		const state = requestState === undefined ? {} : { requestState };
		return this.request(method, { ...params, inputResponses, ...state }, options);
	}

	/** Opens a stream of what changes, and resolves once its first message has come: the filter that holds. */
	async listen(notifications: object, options: ModernOptions = {}): Promise<ModernReply> {
		const reply = await this.send('subscriptions/listen', { notifications }, options);
		assert.ok(reply.isStream, `no stream: ${reply.status}`);
		const acknowledged = await reply.messages.next();
		assert.equal(acknowledged.method, 'notifications/subscriptions/acknowledged', JSON.stringify(acknowledged));
		return reply;
	}
}

/** What an answer asks for; fails when it is a result or an error. */
export function askedIn({ result, error }: RpcMessage): InputRequired {
	assert.equal(result?.['resultType'], 'input_required', JSON.stringify(error ?? result).slice(0, 1000));
	const { inputRequests = {}, requestState } = result as Partial<InputRequired>;
	return { inputRequests, requestState };
}
