/** HTTP without a network: requests and responses of which the gateway's side is Node's as far as it uses them. */
import { EventEmitter } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Rpc } from './fake-launcher.ts';

/** A response as its client sees it, while it is written. Its client takes everything at once. */
export class FakeResponse extends EventEmitter {
	status = 0;
	headers: OutgoingHttpHeaders = {};
	headersSent = false;
	writableEnded = false;
	destroyed = false;
	readonly writableLength = 0;
	readonly writableHighWaterMark = 16_384;
	/** The messages that came, of a stream or as the one answer. */
	readonly messages: Rpc[] = [];
	/** Called with each message, and once when no more will come. */
	onMessage: (message: Rpc) => void = () => undefined;
	onEnd: () => void = () => undefined;
	#partial = '';

	/** The same for the gateway. */
	get response(): ServerResponse {
		return this as unknown as ServerResponse;
	}

	get isStream(): boolean {
		return this.headers['content-type'] === 'text/event-stream';
	}

	writeHead(status: number, headers: OutgoingHttpHeaders): this {
		if (this.headersSent) throw new Error('the head was written twice');
		this.status = status;
		this.headers = headers;
		this.headersSent = true;
		return this;
	}

	flushHeaders(): void {}

	setTimeout(): void {}

	write(text: string): boolean {
		if (this.writableEnded) throw new Error('written after the end');
		if (!this.destroyed) this.#take(text);
		return true;
	}

	end(text?: string): this {
		if (this.writableEnded) throw new Error('ended twice');
		if (text !== undefined && text !== '') this.#take(text);
		this.writableEnded = true;
		this.#close();
		return this;
	}

	/** The client hangs up, or the gateway does. */
	destroy(): this {
		if (this.destroyed) return this;
		this.destroyed = true;
		if (!this.writableEnded) this.#close();
		return this;
	}

	#close(): void {
		this.onEnd();
		setImmediate(() => {
			this.destroyed = true;
			this.emit('close');
		});
	}

	#take(text: string): void {
		if (!this.isStream) return this.#tell(text);
		const events = (this.#partial + text).split('\n\n');
		this.#partial = events.pop() ?? '';
		for (const event of events) {
			const data = /^data: (.+)$/m.exec(event)?.[1];
			if (data !== undefined) this.#tell(data);
		}
	}

	#tell(text: string): void {
		const message: Rpc = JSON.parse(text);
		this.messages.push(message);
		this.onMessage(message);
	}
}

export interface FakeRequestOptions {
	readonly method: string;
	readonly headers?: Readonly<Record<string, string>>;
	readonly body?: unknown;
}

const HEADERS = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };

/** A request whose body is there. */
export function fakeRequest({ method, headers = {}, body }: FakeRequestOptions): IncomingMessage {
	const bytes = body === undefined ? [] : [Buffer.from(JSON.stringify(body))];
	const request = Object.assign(Readable.from(bytes), {
		method,
		url: '/',
		headers: { ...HEADERS, ...headers },
		complete: true,
		socket: new EventEmitter(),
	});
	return request as unknown as IncomingMessage;
}
