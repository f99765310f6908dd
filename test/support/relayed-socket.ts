/** A socket in this process that leads to one which only a container can reach: what a mounted socket is to a launcher. */
import { once } from 'node:events';
import { type ClientHttp2Session, connect, constants } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type Docker from 'dockerode';
import { attach } from '../../src/docker/attach.ts';
import { FrameDemultiplexer } from '../../src/docker/frames.ts';
import type { ContainerId } from '../../src/ids.ts';
import { STDIO_LIMITS } from '../../src/limits.ts';
import { ENGINE_SOCKET, neverAborted } from './engine-bench.ts';

interface Relayed {
	/** The first line of its first request. */
	readonly request: string;
	readonly socket: Socket;
}

export class RelayedSocket {
	readonly path: string;
	readonly #session: ClientHttp2Session;
	readonly #relayed = new Set<Relayed>();
	readonly #awaited = new Set<{ readonly requests: RegExp; readonly came: () => void }>();
	#server: Server | undefined;
	#count = 0;

	private constructor(path: string, session: ClientHttp2Session) {
		this.path = path;
		this.#session = session;
	}

	/** Starts a container that was created to run engine-relay.ts, and listens at `path`. */
	static async open(container: Docker.Container, path: string): Promise<RelayedSocket> {
		const stdio = await attach(ENGINE_SOCKET, container.id as ContainerId, neverAborted());
		await container.start();
		const session = connect('http://engine', {
			createConnection: () => unframed(stdio),
			settings: { initialWindowSize: 1024 ** 2 },
			peerMaxConcurrentStreams: 10_000,
		});
		session.on('error', () => undefined);
		await once(session, 'remoteSettings');
		const relayed = new RelayedSocket(path, session);
		await relayed.appear();
		return relayed;
	}

	/** How many requests came so far. */
	get count(): number {
		return this.#count;
	}

	/** The socket's file is there, and new connections are taken. */
	async appear(): Promise<void> {
		if (this.#server !== undefined) return;
		this.#server = createServer({ allowHalfOpen: true }, (client) => this.#join(client)).listen(this.path);
		await once(this.#server, 'listening');
	}

	/** The socket's file goes. Connections that there are stay, as they do when somebody removes it. */
	vanish(): void {
		this.#server?.close();
		this.#server = undefined;
	}

	/** Breaks the connections whose first request is like this. Returns how many there were. */
	cut(requests: RegExp): number {
		const found = [...this.#relayed].filter(({ request }) => requests.test(request));
		for (const { socket } of found) socket.destroy();
		return found.length;
	}

	/** The next connection whose first request is like this. */
	next(requests: RegExp): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		const awaited = {
			requests,
			came: () => {
				this.#awaited.delete(awaited);
				resolve();
			},
		};
		this.#awaited.add(awaited);
		return promise;
	}

	/** Ends everything; the container ends with it. */
	async close(): Promise<void> {
		this.vanish();
		const closed = once(this.#session, 'close');
		this.#session.destroy();
		await closed;
		for (const { socket } of this.#relayed) socket.destroy();
	}

	#join(client: Socket): void {
		client.on('error', () => undefined);
		const stream = this.#session.request({ ':method': 'POST' }, { endStream: false });
		stream.on('error', () => undefined);
		client.once('data', (head: Buffer) => {
			const request = head.subarray(0, Math.max(0, head.indexOf('\r\n'))).toString('latin1');
			const relayed = { request, socket: client };
			this.#relayed.add(relayed);
			this.#count += 1;
			client.once('close', () => this.#relayed.delete(relayed));
			for (const { requests, came } of this.#awaited) if (requests.test(request)) came();
			stream.write(head);
			client.pipe(stream);
		});
		client.once('end', () => stream.end());
		stream.pipe(client);
		stream.once('close', () => client.destroySoon());
		client.once('close', () => stream.close(constants.NGHTTP2_CANCEL));
	}
}

/** What a container writes to stdout, and its stdin, as one stream. */
function unframed(socket: Socket): Duplex {
	const stream = new Duplex({
		read: () => void socket.resume(),
		write: (chunk: Buffer, _, done) => void socket.write(chunk, () => done()),
		final: (done) => void socket.end(done),
		destroy: (error, done) => {
			socket.destroy();
			done(error);
		},
	});
	const stderr: Buffer[] = [];
	const frames = new FrameDemultiplexer(
		{
			stdout: (chunk) => {
				if (!stream.push(chunk)) socket.pause();
			},
			stderr: (chunk) => stderr.push(chunk),
			invalid: (reason) => stream.destroy(new Error(reason)),
		},
		STDIO_LIMITS.frameBytesMax,
	);
	socket.on('data', (chunk: Buffer) => frames.push(chunk));
	socket.once('close', () => {
		const said = Buffer.concat(stderr).toString();
		stream.destroy(said === '' ? undefined : new Error(said));
	});
	return stream;
}
