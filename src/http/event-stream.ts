/**
 * Server-sent events to one client, bounded: a client that does not read stops its source, and is cut if it goes on.
 *
 * INVARIANT: what is buffered for the client is at most bufferedBytesMax and the events of one chunk of its source,
 * since the source is held from the moment the bound is passed.
 */
import type { ServerResponse } from 'node:http';
import { SSE_LIMITS } from '../limits.ts';
import { toOneLine } from '../mcp/text.ts';
import { BACKLOG } from './backlog.ts';
import { COMMON_HEADERS, endWithin } from './respond.ts';

export interface EventStreamOptions {
	readonly response: ServerResponse;
	readonly headers: Readonly<Record<string, string>>;
	/** Stops the source; returns the way to let it go on. */
	readonly hold: () => () => void;
}

export class EventStream {
	readonly #response: ServerResponse;
	readonly #hold: () => () => void;
	#release: (() => void) | undefined;
	/** Since when the client has taken nothing, and what it had to take then. */
	#heldSinceMs = 0;
	#heldBytes = 0;
	#lastWriteMs = performance.now();

	constructor({ response, headers, hold }: EventStreamOptions) {
		this.#response = response;
		this.#hold = hold;
		response.writeHead(200, {
			...COMMON_HEADERS,
			...headers,
			'content-type': 'text/event-stream',
			'cache-control': 'no-cache, no-transform',
			// Nginx would gather what must arrive at once.
			'x-accel-buffering': 'no',
		});
		response.flushHeaders();
		response.on('drain', () => this.#letGo());
		response.once('close', () => this.#letGo());
	}

	get open(): boolean {
		return !this.#response.writableEnded && !this.#response.destroyed;
	}

	/** One JSON-RPC message, with the id under which it can be asked for again. */
	send(text: string, id?: string): void {
		this.event('message', toOneLine(text), id);
	}

	/** One event; `data` has no line break. */
	event(name: string, data: string, id?: string): void {
		if (!this.open) return;
		this.#response.write(`event: ${name}\n${id === undefined ? '' : `id: ${id}\n`}data: ${data}\n\n`);
		this.#lastWriteMs = performance.now();
		BACKLOG.note(this.#response);
		if (this.#response.writableLength <= BACKLOG.streamBytesMax || this.#release !== undefined) return;
		this.#release = this.#hold();
		this.#heldSinceMs = performance.now();
		this.#heldBytes = this.#response.writableLength;
	}

	end(): void {
		if (this.open) endWithin(this.#response);
	}

	/** An event without a message, so that a client that gets no other can come back to this stream. */
	prime(id: string): void {
		if (this.open) this.#response.write(`id: ${id}\ndata: \n\n`);
	}

	/** Ends it for good: a client that is behind gets no more, so that it holds up nothing that comes after. */
	cut(): void {
		if (this.#release === undefined) this.end();
		else this.#response.destroy();
	}

	/** Keeps a quiet stream alive, and cuts one whose client takes nothing. To be called every second or so. */
	tick(nowMs: number): void {
		// Also when all was written: until the client has taken it, the source is held.
		if (this.#release !== undefined) {
			// A slow reader is no dead one: what counts is whether it takes anything.
			if (this.#response.writableLength < this.#heldBytes) {
				this.#heldBytes = this.#response.writableLength;
				this.#heldSinceMs = nowMs;
			}
			if (nowMs - this.#heldSinceMs > SSE_LIMITS.stallMs) this.#response.destroy();
		} else if (this.open && nowMs - this.#lastWriteMs > SSE_LIMITS.keepAliveMs) {
			this.#response.write(': keep-alive\n\n');
			this.#lastWriteMs = nowMs;
		}
	}

	#letGo(): void {
		this.#release?.();
		this.#release = undefined;
	}
}
