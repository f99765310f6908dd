/**
 * The answer to one POST: JSON when the server says nothing before its result, a stream of events when it does.
 *
 * A batch (revision 2025-03-26) is one exchange with several requests in it, and always a stream.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SlipwayError } from '../errors.ts';
import { SSE_LIMITS } from '../limits.ts';
import type { RpcId } from '../mcp/jsonrpc.ts';
import type { Exchange } from '../mcp/upstream.ts';
import { EventStream } from './event-stream.ts';
import { COMMON_HEADERS, endWithin, sendError, toRpcText } from './respond.ts';

export interface HttpExchangeOptions {
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	readonly requestId: string;
	/** How many requests wait for an answer. */
	readonly expected: number;
	/** Headers of a successful answer. */
	readonly headers: Readonly<Record<string, string>>;
	/** Stops the server that writes to us; returns the way to let it go on. */
	readonly hold: () => () => void;
	/** Called once, when nothing more will be written. */
	readonly onSettled: (exchange: HttpExchange) => void;
}

export class HttpExchange implements Exchange {
	readonly #options: HttpExchangeOptions;
	readonly #openedAtMs = performance.now();
	#stream: EventStream | undefined;
	#expected: number;
	#settled = false;

	constructor(options: HttpExchangeOptions) {
		this.#options = options;
		this.#expected = options.expected;
		options.response.once('close', () => this.#settle());
		if (options.expected > 1) this.#open();
	}

	get attached(): boolean {
		const { response } = this.#options;
		return !response.writableEnded && !response.destroyed;
	}

	related(text: string): void {
		if (this.attached) this.#open().send(text);
	}

	answer(text: string): void {
		const { response, headers, requestId } = this.#options;
		if (!this.attached) return;
		if (this.#stream === undefined) {
			response.writeHead(200, {
				...COMMON_HEADERS,
				...headers,
				'content-type': 'application/json',
				'x-request-id': requestId,
			});
			endWithin(response, text);
		} else this.#stream.send(text);
		this.#done();
	}

	fail(id: RpcId, error: SlipwayError): void {
		const { request, response, requestId } = this.#options;
		if (!this.attached) return;
		if (this.#stream === undefined) sendError(request, response, { error, id, requestId });
		else this.#stream.send(toRpcText(id, error, requestId));
		this.#done();
	}

	drop(): void {
		// The client wants no answer; what is left is to end what it reads, as a stream without an event.
		if (this.attached) this.#open();
		this.#done();
	}

	/** Shows a client that waits for long that we live, and keeps its stream alive. */
	tick(nowMs: number): void {
		if (this.#stream !== undefined) this.#stream.tick(nowMs);
		else if (this.attached && nowMs - this.#openedAtMs > SSE_LIMITS.openAfterMs) this.#open();
	}

	#open(): EventStream {
		const { response, headers, requestId, hold } = this.#options;
		this.#stream ??= new EventStream({ response, headers: { ...headers, 'x-request-id': requestId }, hold });
		return this.#stream;
	}

	#done(): void {
		this.#expected -= 1;
		if (this.#expected <= 0) this.#stream?.end();
	}

	#settle(): void {
		if (this.#settled) return;
		this.#settled = true;
		this.#options.onSettled(this);
	}
}
