/** An HTTP client that hides nothing: raw requests, and event streams read event by event. */
import { type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import type { Rpc } from './fake-launcher.ts';
import { Inbox } from './inbox.ts';

export interface Asked {
	readonly method?: string;
	readonly path: string;
	/** By name, or names and values in turn, with which nothing is added. */
	readonly headers?: OutgoingHttpHeaders | readonly string[];
	readonly body?: string | Buffer;
}

export interface Reply {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	readonly text: string;
	/** The body as JSON-RPC. */
	readonly rpc: Rpc;
}

/** A response whose body is read as it comes. */
export class Stream {
	readonly status: number;
	readonly headers: IncomingHttpHeaders;
	/** The events, whose data is JSON-RPC. */
	readonly events = new Inbox<Rpc>('an event');
	/** The same as text, as it was on the wire. */
	readonly texts: string[] = [];
	readonly comments = new Inbox<string>('a comment');
	/** Resolves with whether the body was complete. */
	readonly closed: Promise<boolean>;
	readonly #response: IncomingMessage;
	#partial = '';

	constructor(response: IncomingMessage, { paused = false } = {}) {
		this.#response = response;
		this.status = response.statusCode ?? 0;
		this.headers = response.headers;
		const { promise, resolve } = Promise.withResolvers<boolean>();
		this.closed = promise;
		response.on('error', () => undefined);
		response.once('close', () => resolve(response.complete));
		if (!paused) this.read();
	}

	/** Begins to read. */
	read(): void {
		this.#response.setEncoding('utf8');
		this.#response.on('data', (chunk: string) => this.#take(chunk));
	}

	next(): Promise<Rpc> {
		return this.events.next();
	}

	/** Reads to the end: all the events that were not taken. */
	async rest(): Promise<Rpc[]> {
		await this.closed;
		const rest: Rpc[] = [];
		while (this.events.size > 0) rest.push(await this.events.next());
		return rest;
	}

	/** Goes away. */
	destroy(): void {
		this.#response.socket.destroy();
	}

	#take(chunk: string): void {
		const blocks = (this.#partial + chunk).split('\n\n');
		this.#partial = blocks.pop() ?? '';
		for (const block of blocks) {
			if (block.startsWith(':')) this.comments.push(block.slice(1).trim());
			else if (!/^id: [0-9a-f]{8}-\d+-\d+\ndata: $/.test(block)) {
				const data = /^event: message\n(?:id: [0-9a-f]{8}-\d+-\d+\n)?data: (.*)$/.exec(block)?.[1];
				if (data === undefined) throw new Error(`not an event: ${block}`);
				this.texts.push(data);
				this.events.push(JSON.parse(data));
			}
		}
	}
}

/** Sends a request on a connection of its own and resolves with the head of the response. */
export function ask(port: number, { method = 'GET', path, headers = {}, body }: Asked): Promise<IncomingMessage> {
	const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
	const outgoing = request({
		host: '127.0.0.1',
		port,
		method,
		path,
		headers,
		agent: false,
		setHost: !('host' in headers) || headers['host'] === undefined,
	});
	outgoing.once('response', resolve);
	outgoing.once('error', reject);
	outgoing.end(body);
	return promise;
}

export async function reply(port: number, asked: Asked): Promise<Reply> {
	const response = await ask(port, asked);
	const text = await readText(response);
	return {
		status: response.statusCode ?? 0,
		headers: response.headers,
		text,
		get rpc(): Rpc {
			return JSON.parse(text);
		},
	};
}

/** A connection on which a test writes what it likes. */
export class RawConnection {
	readonly socket: Socket;
	/** Resolves with all that came when the other side has closed. */
	readonly closed: Promise<string>;
	#received = '';
	readonly #watchers = new Set<() => void>();

	constructor(port: number) {
		this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
		const { promise, resolve } = Promise.withResolvers<string>();
		this.closed = promise;
		this.socket.on('error', () => undefined);
		this.socket.setEncoding('latin1');
		this.socket.on('data', (chunk: string) => {
			this.#received += chunk;
			for (const watcher of this.#watchers) watcher();
		});
		this.socket.once('end', () => this.socket.end());
		this.socket.once('close', () => resolve(this.#received));
	}

	get received(): string {
		return this.#received;
	}

	/** Resolves when it is connected. */
	async connected(): Promise<this> {
		if (this.socket.connecting) await new Promise((resolve) => this.socket.once('connect', resolve));
		return this;
	}

	write(text: string | Buffer): void {
		this.socket.write(text);
	}

	/** Resolves when what was received matches. */
	async until(pattern: RegExp): Promise<string> {
		const seen = new Inbox<string>(`${pattern} on a connection`);
		const watcher = (): void => {
			if (pattern.test(this.#received)) seen.push(this.#received);
		};
		this.#watchers.add(watcher);
		watcher();
		try {
			return await seen.next();
		} finally {
			this.#watchers.delete(watcher);
		}
	}
}

/** One raw exchange: what is written, and all that came until the other side closed. */
export function rawExchange(port: number, text: string | Buffer): Promise<string> {
	const connection = new RawConnection(port);
	connection.write(text);
	return connection.closed;
}
