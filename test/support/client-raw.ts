/** A client that is nothing but HTTP, for what the SDK's client hides: status codes, streams, the bytes of an answer. */
import assert from 'node:assert/strict';
import { Inbox } from './inbox.ts';
import { API_KEY } from './stack.ts';

export interface RpcMessage {
	readonly jsonrpc: '2.0';
	readonly id?: string | number | null;
	readonly method?: string;
	readonly params?: Record<string, unknown>;
	readonly result?: Record<string, unknown>;
	readonly error?: { readonly code: number; readonly message: string; readonly data?: Record<string, unknown> };
}

/** An answer whose head has come, and whose events come in as they are read. */
export interface Reply {
	readonly status: number;
	readonly headers: Headers;
	readonly isStream: boolean;
	/** The messages of a stream as they come; the one of a JSON answer. */
	readonly messages: Inbox<RpcMessage>;
	/** The text of everything, once it has ended. */
	readonly text: Promise<string>;
}

/** Revisions that are negotiated with `initialize`. */
export const REVISIONS = ['2024-11-05', '2025-03-26', '2025-06-18', '2025-11-25'] as const;
export type Revision = (typeof REVISIONS)[number];

export interface RawOptions {
	readonly revision?: Revision;
	readonly capabilities?: Record<string, unknown>;
	readonly key?: string;
}

export class RawClient {
	readonly url: string;
	readonly revision: Revision;
	readonly #capabilities: Record<string, unknown>;
	readonly #key: string;
	sessionId: string | undefined;
	#lastId = 0;

	constructor(url: string, { revision = '2025-11-25', capabilities = {}, key = API_KEY }: RawOptions = {}) {
		this.url = url;
		this.revision = revision;
		this.#capabilities = capabilities;
		this.#key = key;
	}

	headers(more: Record<string, string> = {}): Record<string, string> {
		return {
			authorization: `Bearer ${this.#key}`,
			accept: 'application/json, text/event-stream',
			'content-type': 'application/json',
			...(this.sessionId === undefined ? {} : { 'mcp-session-id': this.sessionId }),
			// The header came with 2025-06-18.
			...(this.sessionId === undefined || this.revision < '2025-06-18'
				? {}
				: { 'mcp-protocol-version': this.revision }),
			...more,
		};
	}

	/** Sends a body as it is. Resolves when the head of the answer is there. */
	async post(body: unknown, { signal, headers }: { signal?: AbortSignal; headers?: Record<string, string> } = {}) {
		const response = await fetch(this.url, {
			method: 'POST',
			headers: this.headers(headers),
			body: typeof body === 'string' ? body : JSON.stringify(body),
			...(signal === undefined ? {} : { signal }),
		});
		return toReply(response);
	}

	/** Sends a request, and resolves when the head of its answer is there. */
	send(method: string, params: object = {}, id: string | number = this.#nextId()): Promise<Reply> {
		return this.post({ jsonrpc: '2.0', id, method, params });
	}

	/** Sends a request and waits for its answer, as JSON or as the last event. */
	async request(method: string, params: object = {}, id: string | number = this.#nextId()): Promise<RpcMessage> {
		return answerOf(await this.send(method, params, id), id);
	}

	call(name: string, args: object = {}, id?: string | number): Promise<RpcMessage> {
		return this.request('tools/call', { name, arguments: args }, id);
	}

	async notify(method: string, params?: object): Promise<Reply> {
		return this.post({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) });
	}

	/** Sends `initialize` alone. */
	sendInitialize(): Promise<Reply> {
		return this.send('initialize', {
			protocolVersion: this.revision,
			capabilities: this.#capabilities,
			clientInfo: { name: 'raw', version: '1.0.0' },
		});
	}

	/** The whole handshake. */
	async open(): Promise<RpcMessage> {
		const reply = await this.sendInitialize();
		const answer = await answerOf(reply);
		assert.equal(answer.error, undefined, JSON.stringify(answer));
		this.sessionId = reply.headers.get('mcp-session-id') ?? undefined;
		assert.notEqual(this.sessionId, undefined, 'no session id');
		const { status } = await this.notify('notifications/initialized');
		assert.equal(status, 202);
		return answer;
	}

	/** The GET stream. */
	async stream(signal?: AbortSignal): Promise<Reply> {
		const response = await fetch(this.url, {
			headers: this.headers({ accept: 'text/event-stream' }),
			...(signal === undefined ? {} : { signal }),
		});
		return toReply(response);
	}

	async end(): Promise<number> {
		const response = await fetch(this.url, { method: 'DELETE', headers: this.headers() });
		await response.text();
		return response.status;
	}

	#nextId(): number {
		this.#lastId += 1;
		return this.#lastId;
	}
}

/** The answer in a reply: its only message, or the one with that id. Server's questions have a method as well. */
export async function answerOf({ messages, isStream, text }: Reply, id?: string | number): Promise<RpcMessage> {
	if (!isStream) {
		await text;
		const [message] = messages.items;
		assert.ok(message, 'an answer without a message');
		return message;
	}
	const answered = messages.first((message) => message.method === undefined && (id === undefined || message.id === id));
	const ended = text.then(() => {
		throw new Error(`The stream ended without an answer: ${JSON.stringify(messages.items).slice(0, 1000)}`);
	});
	ended.catch(() => undefined);
	return Promise.race([answered, ended]);
}

/** The status of an answer, where it has one of its own: a start of more than a moment is answered on a stream (200). */
export function assertStatus({ status, isStream }: Reply, expected: number): void {
	assert.equal(status, isStream ? 200 : expected);
}

/** The text of a tool's result. */
export function textOf(answer: { readonly result?: Record<string, unknown> }): string {
	const content = answer.result?.['content'];
	assert.ok(Array.isArray(content), `no content: ${JSON.stringify(answer).slice(0, 1000)}`);
	return content.map((part: { text?: string }) => part.text ?? '').join('');
}

function toReply(response: Response): Reply {
	const { status, headers } = response;
	const isStream = headers.get('content-type') === 'text/event-stream';
	const messages = new Inbox<RpcMessage>();
	const text = readAll(response, messages, isStream);
	text.catch(() => undefined);
	return { status, headers, isStream, messages, text };
}

async function readAll(response: Response, messages: Inbox<RpcMessage>, isStream: boolean): Promise<string> {
	if (!isStream || response.body === null) {
		const text = await response.text();
		if (text !== '') for (const message of [JSON.parse(text)].flat()) messages.push(message);
		return text;
	}
	const decoder = new TextDecoder();
	let text = '';
	let pending = '';
	for await (const chunk of response.body) {
		const piece = decoder.decode(chunk, { stream: true });
		text += piece;
		const events = (pending + piece).split('\n\n');
		pending = events.pop() ?? '';
		for (const event of events) {
			const data = event
				.split('\n')
				.filter((line) => line.startsWith('data: '))
				.map((line) => line.slice('data: '.length));
			// A stream begins with an event that has an id and no message.
			if (data.join('') !== '') messages.push(JSON.parse(data.join('\n')));
		}
	}
	return text;
}
