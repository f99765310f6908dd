/** A socket in front of the engine's, which can go, come back, stop passing things on, or break an answer in two. */
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { ENGINE_SOCKET } from './engine-bench.ts';

export class EngineProxy {
	readonly socketPath: string;
	readonly #sockets = new Set<Socket>();
	#server: Server | undefined;
	#hangs = false;
	#answerBytesMax = Number.POSITIVE_INFINITY;
	#refused: RegExp | undefined;
	#held: { readonly requests: RegExp; readonly came: () => void; readonly released: Promise<void> } | undefined;

	constructor(socketPath: string) {
		this.socketPath = socketPath;
	}

	async open(): Promise<void> {
		this.#server = createServer({ allowHalfOpen: true }, (client) => this.#join(client)).listen(this.socketPath);
		await once(this.#server, 'listening');
	}

	/** Every connection breaks, and no new one is taken. The socket's file goes too, as when an engine stops. */
	async close(): Promise<void> {
		const server = this.#server;
		this.#server = undefined;
		if (server === undefined) return;
		const closed = once(server, 'close');
		server.close();
		this.cut();
		await closed;
		await rm(this.socketPath, { force: true });
	}

	/** Every connection breaks; new ones are taken. */
	cut(): void {
		for (const socket of this.#sockets) socket.destroy();
	}

	/** From now on new connections are taken and nothing on them is passed on, or all is again. */
	hang(hangs: boolean): void {
		this.#hangs = hangs;
	}

	/** From now on new connections break after so many bytes of the answer. */
	breakAnswersAfter(bytes: number): void {
		this.#answerBytesMax = bytes;
	}

	/** From now on requests whose first line is like this are answered with 500 and not passed on. */
	refuse(requests: RegExp): void {
		this.#refused = requests;
	}

	/** From now on requests whose first line is like this wait. `came` resolves with the first of them. */
	hold(requests: RegExp): { readonly came: Promise<void>; release(): void } {
		const came = Promise.withResolvers<void>();
		const released = Promise.withResolvers<void>();
		this.#held = { requests, came: came.resolve, released: released.promise };
		return { came: came.promise, release: released.resolve };
	}

	#join(client: Socket): void {
		this.#keep(client);
		if (this.#hangs) return;
		client.once('data', (chunk: Buffer) => {
			if (this.#refused?.test(chunk.toString('latin1')) === true) {
				client.end('HTTP/1.1 500 Refused\r\nContent-Length: 18\r\nConnection: close\r\n\r\n{"message":"test"}');
				client.resume();
				return;
			}
			if (this.#held?.requests.test(chunk.toString('latin1')) === true) {
				client.pause();
				this.#held.came();
				void this.#held.released.then(() => this.#pass(client, chunk));
				return;
			}
			this.#pass(client, chunk);
		});
	}

	#pass(client: Socket, first: Buffer): void {
		const engine = createConnection({ path: ENGINE_SOCKET, allowHalfOpen: true });
		this.#keep(engine);
		engine.write(first);
		client.pipe(engine);
		const answerBytesMax = this.#answerBytesMax;
		let bytes = 0;
		engine.on('data', (chunk: Buffer) => {
			const part = chunk.subarray(0, Math.max(0, answerBytesMax - bytes));
			bytes += chunk.length;
			if (bytes > answerBytesMax) {
				client.end(part);
				client.destroySoon();
				engine.destroy();
				return;
			}
			if (!client.write(part)) {
				engine.pause();
				client.once('drain', () => engine.resume());
			}
		});
		engine.once('end', () => client.end());
		// A connection that went, however it went, takes its other half with it.
		client.once('close', () => engine.destroy());
		engine.once('close', () => client.destroySoon());
	}

	#keep(socket: Socket): void {
		this.#sockets.add(socket);
		socket.on('error', () => undefined);
		socket.once('close', () => this.#sockets.delete(socket));
	}
}
