/** Requests of 2026-07-28 against a stack of http-stack.ts, on connections that a test can give up at any moment. */
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { text as readText } from 'node:stream/consumers';
import type { TestContext } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import { KeyRing } from '../../src/http/keys.ts';
import type { PrincipalId } from '../../src/ids.ts';
import { UNBOUNDED } from '../../src/policy/access.ts';
import { type Claims, type ModernOptions, modernHeaders, modernRequest } from './client-modern.ts';
import type { Rpc } from './fake-launcher.ts';
import { type Reply, Stream } from './http-client.ts';
import { API_KEY, type HttpStack, POST_HEADERS, toBody } from './http-stack.ts';

export interface ModernHttpOptions extends Claims {
	/** `/servers/alpha/mcp` unless said. */
	readonly path?: string;
	readonly key?: string;
}

/** A request on its way. */
export class Pending {
	/** Resolves with the head of the answer. */
	readonly response: Promise<IncomingMessage>;
	readonly #request: ClientRequest;

	constructor(outgoing: ClientRequest) {
		this.#request = outgoing;
		const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
		outgoing.once('response', resolve);
		outgoing.on('error', reject);
		promise.catch(() => undefined);
		this.response = promise;
	}

	/** Hangs up. */
	disconnect(): void {
		this.#request.destroy();
	}

	/** The whole of the answer; of a stream `rpc` is the last event. */
	async reply(): Promise<Reply> {
		const response = await this.response;
		const text = await readText(response);
		const { headers, statusCode = 0 } = response;
		return {
			status: statusCode,
			headers,
			text,
			get rpc(): Rpc {
				const data = headers['content-type'] === 'text/event-stream' ? text.split('data: ').at(-1) : text;
				return JSON.parse(data ?? '');
			},
		};
	}

	/** The answer as a stream of events, from its head on. */
	async stream(): Promise<Stream> {
		return new Stream(await this.response);
	}
}

/** One client of 2026-07-28 at one endpoint. */
export class ModernHttp {
	readonly #port: number;
	readonly #path: string;
	readonly #key: string;
	readonly #claims: Claims;
	#lastId = 0;

	constructor({ port }: HttpStack, { path = '/servers/alpha/mcp', key = API_KEY, ...claims }: ModernHttpOptions = {}) {
		this.#port = port;
		this.#path = path;
		this.#key = key;
		this.#claims = claims;
	}

	/** Begins a POST of any body. A header that is undefined is left out. */
	post(body: unknown, headers: Readonly<Record<string, string | undefined>> = {}): Pending {
		const all = { ...POST_HEADERS, authorization: `Bearer ${this.#key}`, ...headers };
		const outgoing = request({
			host: '127.0.0.1',
			port: this.#port,
			method: 'POST',
			path: this.#path,
			headers: Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)),
			agent: false,
		});
		outgoing.end(toBody(body));
		return new Pending(outgoing);
	}

	/** Begins a request that has all it must have, but for what the options change. */
	begin(method: string, params: object = {}, options: ModernOptions = {}): Pending {
		const body = modernRequest(method, params, { ...this.#claims, id: ++this.#lastId, ...options });
		return this.post(body, { ...modernHeaders(method, params), ...options.headers });
	}

	/** Begins a call of a tool. */
	call(name: string, args: object = {}, options: ModernOptions = {}): Pending {
		return this.begin('tools/call', { name, arguments: args }, options);
	}

	/** Sends a request and resolves with the whole answer. */
	send(method: string, params: object = {}, options: ModernOptions = {}): Promise<Reply> {
		return this.begin(method, params, options).reply();
	}
}

/** Lets further keys in, each of a caller of its own that has its name; the gateway itself has one key as yet. */
export function allowKeys(t: TestContext, ...keys: readonly string[]): void {
	t.mock.method(KeyRing.prototype, 'authenticate', ({ headers }: IncomingMessage) => {
		const key = headers.authorization?.replace('Bearer ', '') ?? '';
		if (key !== API_KEY && !keys.includes(key)) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');
		return { id: key as PrincipalId, access: UNBOUNDED };
	});
}
