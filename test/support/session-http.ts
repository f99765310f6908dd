/** A client with a session at any endpoint of a stack of http-stack.ts, whose servers the test plays meanwhile. */
import assert from 'node:assert/strict';
import { ask, type Reply, reply, Stream } from './http-client.ts';
import { API_KEY, type HttpStack, initializeRequest, POST_HEADERS, toBody } from './http-stack.ts';
import { notification } from './played-server.ts';

export class SessionHttp {
	readonly #stack: HttpStack;
	readonly #path: string;
	readonly #authorization: { readonly authorization: string };
	#id: string | undefined;

	/** @param id of a session that there is already */
	constructor(stack: HttpStack, path: string, id?: string, key = API_KEY) {
		this.#stack = stack;
		this.#path = path;
		this.#id = id;
		this.#authorization = { authorization: `Bearer ${key}` };
	}

	get id(): string {
		assert.ok(this.#id !== undefined, 'there is no session');
		return this.#id;
	}

	/** Sends `initialize`, and is in the session that it got from then on. */
	async initialize(revision?: string, capabilities: object = {}): Promise<Reply> {
		const answer = await this.post(initializeRequest(revision, capabilities));
		const id = answer.headers['mcp-session-id'];
		if (typeof id === 'string') this.#id = id;
		return answer;
	}

	/** The whole handshake. */
	async open(revision?: string, capabilities: object = {}): Promise<this> {
		const answer = await this.initialize(revision, capabilities);
		assert.equal(answer.status, 200, answer.text);
		assert.equal((await this.post(notification('notifications/initialized'))).status, 202);
		return this;
	}

	/** Sends a message and resolves with the whole answer. */
	post(message: unknown): Promise<Reply> {
		return reply(this.#stack.port, this.#postOf(message));
	}

	/** Sends a message and resolves with the head of its stream. */
	async stream(message: unknown): Promise<Stream> {
		return this.#track(new Stream(await ask(this.#stack.port, this.#postOf(message))));
	}

	/** Opens the GET stream. */
	async listen(options?: { paused?: boolean }): Promise<Stream> {
		const headers = { ...this.#authorization, accept: 'text/event-stream', ...this.inSession };
		return this.#track(new Stream(await ask(this.#stack.port, { path: this.#path, headers }), options));
	}

	/** Ends it with DELETE. */
	end(): Promise<Reply> {
		return this.#stack.send({
			method: 'DELETE',
			path: this.#path,
			headers: { ...this.#authorization, ...this.inSession },
		});
	}

	#postOf(message: unknown) {
		return {
			method: 'POST',
			path: this.#path,
			headers: { ...POST_HEADERS, ...this.#authorization, ...this.inSession },
			body: toBody(message),
		};
	}

	/** What its requests name their session with. */
	get inSession(): Record<string, string> {
		return this.#id === undefined ? {} : { 'mcp-session-id': this.#id };
	}

	#track(stream: Stream): Stream {
		this.#stack.streams.push(stream);
		return stream;
	}
}
