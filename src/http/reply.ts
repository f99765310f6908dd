/**
 * The answer to one POST: JSON when the server says nothing before its result, a stream of events when it does.
 *
 * A batch (revision 2025-03-26) is one reply with several requests in it, and always a stream.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SlipwayError } from '../errors.ts';
import { SSE_LIMITS } from '../limits.ts';
import type { Reply } from '../mcp/exchange.ts';
import type { ResponseMessage, RpcId } from '../mcp/jsonrpc.ts';
import { EventStream } from './event-stream.ts';
import { type Carrier, eventId, type ReplayStore, type StreamRecord } from './replay.ts';
import { sendError, sendMessage, toRpcText } from './respond.ts';

export interface HttpReplyOptions {
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	readonly requestId: string;
	/** How many requests wait for an answer. */
	readonly expected: number;
	/** Headers of a successful answer, and of a stream, which begins before it is known whether there will be one. */
	readonly headers: Readonly<Record<string, string>>;
	/** Stops the server that writes to us; returns the way to let it go on. */
	readonly hold: () => () => void;
	/** Where the events of its stream are kept, if they are; undefined for clients that cannot come back for them. */
	readonly replay: ReplayStore | undefined;
	/** Whether a stream begins with an event without a message (revision 2025-11-25). */
	readonly primed: boolean;
	/** The WWW-Authenticate header of an error that is the whole answer. */
	readonly challenge?: (error: SlipwayError) => string | undefined;
	/** The HTTP status of an answer that is not streamed, where it is not always 200. */
	readonly statusOf?: (answer: ResponseMessage) => number;
	/** Called once, when nothing more will be written; with whether all was said that there was to say. */
	readonly onSettled: (reply: HttpReply, complete: boolean) => void;
}

export class HttpReply implements Reply, Carrier {
	readonly #options: HttpReplyOptions;
	readonly #openedAtMs = performance.now();
	#stream: EventStream | undefined;
	#record: StreamRecord | undefined;
	#expected: number;
	#settled = false;

	constructor(options: HttpReplyOptions) {
		this.#options = options;
		this.#expected = options.expected;
		options.response.once('close', () => this.#settle());
		// A client that hung up while its body was read: the response will not say so again.
		if (options.response.destroyed) setImmediate(() => this.#settle());
		if (options.expected > 1) this.#open();
	}

	get attached(): boolean {
		if (this.#stream !== undefined) return this.#stream.open;
		const { response } = this.#options;
		return !response.writableEnded && !response.destroyed;
	}

	/** Goes on with its stream on a new connection. The session keeps it alive again until that one closes. */
	resume(stream: EventStream): void {
		this.#stream?.cut();
		this.#stream = stream;
	}

	related(text: string): void {
		if (this.attached || this.#record !== undefined) this.#send(this.#open(), text);
	}

	answer(text: string, message: ResponseMessage): void {
		const { response, headers, requestId, statusOf } = this.#options;
		if (!this.attached && this.#record === undefined) return;
		if (this.#stream === undefined) {
			const status = statusOf?.(message) ?? 200;
			sendMessage(response, text, { requestId, headers: message.ok ? headers : {}, status });
		} else this.#send(this.#stream, text);
		this.#done();
	}

	fail(id: RpcId, error: SlipwayError): void {
		const { request, response, requestId } = this.#options;
		if (!this.attached && this.#record === undefined) return;
		const challenge = this.#options.challenge?.(error);
		if (this.#stream === undefined) sendError(request, response, { error, id, requestId, challenge });
		else this.#send(this.#stream, toRpcText(id, error, requestId));
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
		if (this.#stream !== undefined) return this.#stream;
		const { response, headers, requestId, hold, replay, primed } = this.#options;
		const stream = new EventStream({ response, headers: { ...headers, 'x-request-id': requestId }, hold });
		this.#stream = stream;
		this.#record = replay?.open(this);
		if (this.#record !== undefined && primed) stream.prime(eventId(this.#record));
		return stream;
	}

	#send(stream: EventStream, text: string): void {
		const { replay } = this.#options;
		if (replay === undefined || this.#record === undefined) stream.send(text);
		else stream.send(text, replay.append(this.#record, text));
	}

	#done(): void {
		this.#expected -= 1;
		if (this.#expected > 0) return;
		if (this.#record !== undefined) this.#record.carrier = undefined;
		this.#stream?.end();
	}

	#settle(): void {
		if (this.#settled) return;
		this.#settled = true;
		this.#options.onSettled(this, this.#expected <= 0);
	}
}
