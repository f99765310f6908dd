/**
 * The launcher's end of the seam: a Launcher served on a unix socket.
 *
 * Who may connect is the file system's business: the socket lies in a folder that only the gateway's group can enter.
 */
import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Channel, InstanceEnd } from '../channel.ts';
import { SlipwayError, toErrorRecord, toSlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { INSTANCE_LIMITS, LAUNCHER_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Launcher, LauncherState, StderrWish } from './contract.ts';
import { Latest } from './latest.ts';
import { CALLER_HEADER, INSTANCE_HEADER, PATHS, ROUTES, SPEC_HEADER, UPGRADE_PROTOCOL } from './wire.ts';

export interface LauncherServerOptions {
	readonly launcher: Launcher;
	readonly socketPath: string;
	readonly log: Log;
}

/**
 * Whoever speaks here may have taken the gateway over. Nothing that it sends is parsed but the head of a request, and what
 * it may hold here, open or unread, is bounded whatever it asks for and however it goes about it.
 *
 * INVARIANTS:
 * - A channel lives no longer than the connection that asked for it. When the gateway dies, its connections close, and
 *   with them every Instance that it held.
 * - A connection has one request. It is among the asks until that is read whole; then an upgrade is a launch until it is
 *   refused, and closed, or joined to a channel, and is among the ended when that has ended.
 */
export class LauncherServer {
	readonly #options: LauncherServerOptions;
	readonly #http: HttpServer;
	readonly #channels = new Map<InstanceId, Channel>();
	/** The connections of channels and of launches, which `http` no longer counts as its own. */
	readonly #upgraded = new Set<Duplex>();
	readonly #asks = new Latest(LAUNCHER_LIMITS.asksMax);
	readonly #followers = new Latest(LAUNCHER_LIMITS.followersMax);
	readonly #reports = new Latest(LAUNCHER_LIMITS.reportsMax);
	readonly #stderrFollowers = new Latest(LAUNCHER_LIMITS.stderrFollowersMax);
	readonly #endedConnections = new Latest(LAUNCHER_LIMITS.endedConnectionsMax);
	#launches = 0;
	/** How the latest ended, for a gateway that asks after the stream closed. Oldest first. */
	readonly #ends = new Map<InstanceId, InstanceEnd>();

	constructor(options: LauncherServerOptions) {
		this.#options = options;
		const { requestTimeoutMs, connectionsCheckingIntervalMs } = LAUNCHER_LIMITS;
		const bounds = {
			headersTimeout: requestTimeoutMs,
			requestTimeout: requestTimeoutMs,
			connectionsCheckingInterval: connectionsCheckingIntervalMs,
		};
		this.#http = createServer(bounds, (request, response) => void this.#answer(request, response));
		// More of them would wait behind one that lasts, and what waits is kept.
		this.#http.maxRequestsPerSocket = 1;
		this.#http.on('dropRequest', (_: IncomingMessage, socket: Duplex) => socket.destroy());
		this.#http.on('connection', (socket: Socket) => this.#asks.add(socket));
		this.#http.on('upgrade', (request: IncomingMessage, socket: Duplex) => void this.#upgrade(request, socket));
	}

	/** Listens. A socket file that an earlier run left behind is replaced. */
	async start(): Promise<void> {
		const { socketPath } = this.#options;
		await unlink(socketPath).catch((error: NodeJS.ErrnoException) => {
			if (error.code !== 'ENOENT') throw error;
		});
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		this.#http.once('error', reject);
		this.#http.listen(socketPath, resolve);
		await promise;
		// Connecting needs the right to write. The folder decides who gets as far as this file.
		await chmod(socketPath, 0o666);
	}

	/** Ends every channel, and resolves when they are gone. */
	async stop(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#http.close(() => resolve());
		this.#http.closeAllConnections();
		for (const socket of this.#upgraded) socket.destroy();
		await Promise.all([...this.#channels.values()].map((channel) => channel.stop('prompt')));
		await promise;
	}

	async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
		request.resume();
		try {
			const url = request.url ?? '';
			if (url === PATHS.state && request.method === 'GET') {
				this.#count(request.socket, this.#followers);
				return this.#pushState(response);
			}
			if (url === PATHS.report && request.method === 'GET') {
				this.#count(request.socket, this.#reports);
				return sendJson(response, 200, await this.#options.launcher.report());
			}
			const [, tail, follow, of] = ROUTES.stderr.exec(url) ?? [];
			if (tail !== undefined && request.method === 'GET') {
				this.#count(request.socket, this.#stderrFollowers);
				return await this.#pushStderr({ tail: Number(tail), follow: follow === 'true' }, of as ServerName, response);
			}
			const end = ROUTES.end.exec(url)?.[1];
			if (end !== undefined && request.method === 'GET')
				return sendJson(response, 200, await this.#end(end as InstanceId));
			const [, stop, patience] = ROUTES.stop.exec(url) ?? [];
			if (stop !== undefined && request.method === 'POST') {
				await this.#channels.get(stop as InstanceId)?.stop(patience === 'patient' ? 'patient' : 'prompt');
				return sendJson(response, 200, {});
			}
			sendError(response, new SlipwayError('SLIPWAY_PATH_UNKNOWN'));
		} catch (error) {
			sendError(response, toSlipwayError(error));
		}
	}

	/** What is long in coming to its end is of a kind of its own: a flood of others does not cut it. */
	#count(socket: Socket, kind: Latest): void {
		this.#asks.delete(socket);
		kind.add(socket);
	}

	#end(instance: InstanceId): Promise<InstanceEnd> | InstanceEnd {
		return this.#channels.get(instance)?.ended ?? this.#ends.get(instance) ?? { cause: 'lost', stderr: '' };
	}

	#pushState(response: ServerResponse): void {
		response.writeHead(200, { 'content-type': 'application/x-ndjson' });
		let latest: LauncherState | undefined = this.#options.launcher.state;
		const push = (): void => {
			// A peer that does not read gets the newest state when it does, and not all that it missed.
			if (response.writableNeedDrain) return;
			response.write(latest === undefined ? '\n' : `${JSON.stringify(latest)}\n`);
			latest = undefined;
		};
		push();
		const unsubscribe = this.#options.launcher.subscribe((state) => {
			latest = state;
		});
		const pushing = setInterval(() => latest !== undefined && push(), LAUNCHER_LIMITS.statePushIntervalMs);
		const beating = setInterval(push, LAUNCHER_LIMITS.heartbeatMs);
		response.once('close', () => {
			unsubscribe();
			clearInterval(pushing);
			clearInterval(beating);
		});
	}

	async #pushStderr(
		{ tail, follow }: Pick<StderrWish, 'tail' | 'follow'>,
		server: ServerName | undefined,
		response: ServerResponse,
	): Promise<void> {
		const gone = new AbortController();
		response.once('close', () => gone.abort());
		response.writeHead(200, { 'content-type': 'application/x-ndjson' });
		response.flushHeaders();
		const { stderrTailLinesMax, stderrWaitingBytesMax } = LAUNCHER_LIMITS;
		const wish = { tail: Math.min(tail, stderrTailLinesMax), follow, signal: gone.signal };
		await this.#options.launcher.stderr(server === undefined ? wish : { ...wish, server }, (lines) => {
			response.write(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
			// Who does not read is not waited for.
			if (response.writableLength > stderrWaitingBytesMax) response.destroy();
		});
		response.end();
	}

	async #upgrade(request: IncomingMessage, socket: Duplex): Promise<void> {
		const hungUp = new AbortController();
		const hangUp = (): void => hungUp.abort(new SlipwayError('SLIPWAY_CLIENT_GONE'));
		this.#asks.delete(socket);
		this.#upgraded.add(socket);
		socket.once('close', () => this.#upgraded.delete(socket));
		socket.on('error', () => undefined);
		socket.once('close', hangUp);
		// A peer that goes is told as the end of what it sends, and that is seen only by one who reads.
		socket.once('end', hangUp);
		socket.resume();
		this.#launches += 1;
		try {
			if (this.#launches > LAUNCHER_LIMITS.launchesMax)
				throw new SlipwayError('SLIPWAY_START_QUEUE_FULL', { retryAfterSeconds: 2 });
			const name = ROUTES.launch.exec(request.url ?? '')?.[1];
			if (name === undefined || request.method !== 'POST') throw new SlipwayError('SLIPWAY_PATH_UNKNOWN');
			const channel = await this.#options.launcher.launch(name as ServerName, hungUp.signal, callerOf(request));
			if (hungUp.signal.aborted) {
				void channel.stop('prompt');
				throw hungUp.signal.reason;
			}
			socket.off('end', hangUp);
			this.#join(channel, socket);
		} catch (error) {
			// Who has said its last may still keep its half open.
			if (hungUp.signal.aborted) socket.destroy();
			else refuseUpgrade(socket, toSlipwayError(error));
		} finally {
			this.#launches -= 1;
		}
	}

	#join(channel: Channel, socket: Duplex): void {
		const { instance, spec } = channel;
		this.#channels.set(instance, channel);
		socket.write(
			`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${UPGRADE_PROTOCOL}\r\n${INSTANCE_HEADER}: ${instance}\r\n${SPEC_HEADER}: ${spec}\r\n\r\n`,
		);
		socket.pipe(channel.stream);
		channel.stream.pipe(socket);
		socket.once('close', () => void channel.stop('prompt'));
		// The end of stdin, or of the gateway: the kernel tells both alike. A server that ignores it is ended.
		let grace: NodeJS.Timeout | undefined;
		socket.once('end', () => {
			if (this.#channels.has(instance))
				grace = setTimeout(() => void channel.stop('prompt'), INSTANCE_LIMITS.stopEofMs);
		});
		const endStallWatch = this.#watchStall(channel, socket);
		void channel.ended.then((end) => {
			clearTimeout(grace);
			endStallWatch();
			this.#channels.delete(instance);
			// Read on, so that the end of the connection is seen.
			socket.unpipe(channel.stream).resume();
			if (!socket.destroyed) this.#endedConnections.add(socket);
			this.#ends.set(instance, end);
			for (const oldest of this.#ends.keys()) {
				if (this.#ends.size <= INSTANCE_LIMITS.endedKeptMax) break;
				this.#ends.delete(oldest);
			}
		});
	}

	/** Behind what a server does not read, neither the end of its stdin nor that of the gateway is told. */
	#watchStall(channel: Channel, socket: Duplex): () => void {
		let timer: NodeJS.Timeout | undefined;
		const watch = (): void => {
			const waitingBytes = channel.stream.writableLength;
			const look = (): void => {
				if (channel.stream.writableLength < waitingBytes) watch();
				else void channel.stop('prompt');
			};
			clearTimeout(timer);
			timer = setTimeout(look, LAUNCHER_LIMITS.stdinStallMs);
		};
		const unwatch = (): void => clearTimeout(timer);
		socket.on('pause', watch);
		socket.on('resume', unwatch);
		return () => {
			socket.off('pause', watch);
			unwatch();
		};
	}
}

/** Who says nothing of itself is one caller more. */
function callerOf({ headers }: IncomingMessage): string {
	const caller = String(headers[CALLER_HEADER] ?? '');
	if (caller.length > LAUNCHER_LIMITS.callerCharsMax) throw new SlipwayError('SLIPWAY_BAD_REQUEST');
	return caller;
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
	response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function sendError(response: ServerResponse, error: SlipwayError): void {
	if (!response.headersSent) sendJson(response, errorStatus(error), toErrorRecord(error));
	else response.destroy();
}

function refuseUpgrade(socket: Duplex, error: SlipwayError): void {
	const body = JSON.stringify(toErrorRecord(error));
	socket.end(
		`HTTP/1.1 ${errorStatus(error)} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
		// The other side may never close its half.
		() => socket.destroy(),
	);
}

/** Never 2xx: on this wire that is success. */
function errorStatus({ row }: SlipwayError): number {
	return row.httpStatus < 400 ? 502 : row.httpStatus;
}
