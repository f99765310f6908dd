/**
 * The proxy: CONNECT, and plain HTTP in absolute form, for servers that the policy names, to hosts that it names.
 *
 * It takes one request a connection. Whoever it does not know is cut without a word.
 */
import { createServer, type Server as HttpServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ServerName } from '../ids.ts';
import { EGRESS_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import { findAddresses, type Resolve, resolveByDns } from './addresses.ts';
import { EGRESS_PORT, type EgressPolicy, type EgressReport } from './contract.ts';
import { answerHeaders, readConnect, readForwarded } from './messages.ts';
import { formatTarget, isAllowed, Rules, type Target } from './rules.ts';
import { type Denied, Tallies } from './tallies.ts';

export interface EgressProxyOptions {
	readonly log: Log;
	/** Every address of a name; by default what DNS says. */
	readonly resolve?: Resolve;
	/** A connection to an address, never to a name. It may be half-open. */
	readonly connect?: (address: string, port: number) => Socket;
	/** Whether a health check is told that all is well. */
	readonly isWell?: () => boolean;
}

/** Why a connection was not made. `denied` is there where the server was refused, and not when the way was barred. */
interface Refusal {
	readonly status: 400 | 403 | 502 | 503 | 504;
	readonly text: string;
	readonly denied?: Denied;
}

/** A connection that was made, and how to end it. */
interface Flow {
	readonly server: ServerName;
	readonly target: Target;
	readonly cut: () => void;
}

type Opened = { readonly socket: Socket } | Refusal;

const REASONS = Object.freeze({
	400: 'Bad Request',
	403: 'Forbidden',
	502: 'Bad Gateway',
	503: 'Service Unavailable',
	504: 'Gateway Timeout',
});

/**
 * INVARIANTS:
 * - No connection is made to an address that was not looked at, nor for a name that no rule allows: not even DNS hears it.
 * - A flow that the policy no longer allows does not outlive the policy that allowed it.
 * - After `stop` no socket is left.
 */
export class EgressProxy {
	readonly #log: Log;
	readonly #resolve: Resolve;
	readonly #connect: (address: string, port: number) => Socket;
	readonly #isWell: () => boolean;
	readonly #http: HttpServer;
	/** Every connection of a server, from the first byte to the last. */
	readonly #clients = new Map<ServerName, Set<Socket>>();
	readonly #servers = new WeakMap<Duplex, ServerName>();
	/** Those of this very machine, for health checks. */
	readonly #local = new WeakSet<Duplex>();
	readonly #flows = new Set<Flow>();
	readonly #upstreams = new Set<Socket>();
	readonly #tallies = new Tallies();
	/** For whoever has no name. */
	readonly #strangers = new Tallies();
	readonly #listeners = new Set<() => void>();
	#rules = new Rules({ revision: 0, networks: [] });
	#listening: Promise<number> | undefined;

	constructor({ log, resolve = resolveByDns, connect = connectTo, isWell = () => true }: EgressProxyOptions) {
		this.#log = log;
		this.#resolve = resolve;
		this.#connect = connect;
		this.#isWell = isWell;
		this.#http = createServer({
			maxHeaderSize: EGRESS_LIMITS.headerBytesMax,
			headersTimeout: EGRESS_LIMITS.headersTimeoutMs,
			// A body may take its time as long as it moves.
			requestTimeout: 0,
			connectionsCheckingInterval: EGRESS_LIMITS.lingerMs,
			insecureHTTPParser: false,
			// Looked at here, and counted; some clients leave it out with CONNECT, where it says nothing.
			requireHostHeader: false,
		});
		this.#http.maxConnections = EGRESS_LIMITS.connectionsMax;
		this.#http.maxRequestsPerSocket = 1;
		// Headers beyond a count would be dropped without a word; their bytes are what is bounded.
		this.#http.maxHeadersCount = 0;
		this.#http.timeout = EGRESS_LIMITS.idleTimeoutMs;
		this.#http.on('connection', (socket: Socket) => this.#admit(socket));
		this.#http.on('connect', (incoming: IncomingMessage, socket: Duplex, head: Buffer) => {
			void this.#tunnel(incoming, { socket, head });
		});
		this.#http.on('request', (incoming, response) => void this.#relay(incoming, response));
		this.#http.on('clientError', (_, socket) => this.#refuseMalformed(socket));
	}

	/** Listens in every network that there is and will be, and resolves with the port. Who asks twice has the same. */
	listen(port: number = EGRESS_PORT, address = '0.0.0.0'): Promise<number> {
		this.#listening ??= this.#listen(port, address);
		return this.#listening;
	}

	async #listen(port: number, address: string): Promise<number> {
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		this.#http.once('error', reject);
		this.#http.listen({ port, host: address }, resolve);
		await promise;
		const bound = this.#http.address();
		return typeof bound === 'object' && bound !== null ? bound.port : port;
	}

	get report(): EgressReport {
		return { revision: this.#rules.revision, tallies: this.#tallies.list() };
	}

	/** Calls back whenever the report changed. Returns the way to stop that. */
	subscribe(listener: () => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** From now on this holds and nothing else, for connections too that were made before. */
	apply(policy: EgressPolicy): void {
		this.#rules = new Rules(policy);
		for (const { server, target, cut } of this.#flows) {
			if (!isAllowed(this.#rules.rulesOf(server), target)) cut();
		}
		this.#changed();
	}

	async stop(): Promise<void> {
		this.#listeners.clear();
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#http.close(() => resolve());
		for (const { cut } of this.#flows) cut();
		for (const socket of this.#upstreams) socket.destroy();
		for (const sockets of this.#clients.values()) for (const socket of sockets) socket.destroy();
		this.#http.closeAllConnections();
		if (this.#listening !== undefined) await promise;
	}

	#changed(): void {
		for (const listener of this.#listeners) listener();
	}

	/** Whose connection it is, or its end. Before anything of it was read. */
	#admit(socket: Socket): void {
		socket.on('error', () => undefined);
		const { localAddress: local = '', remoteAddress: remote = '' } = socket;
		if (isLoopback(local) && isLoopback(remote)) return void this.#local.add(socket);
		const source = this.#rules.sourceOf({ local, remote });
		if (source === undefined) {
			socket.destroy();
			if (this.#strangers.mayLog('', performance.now()))
				this.#log.warn('egress from an unknown address was cut', { address: remote });
			return;
		}
		const { server } = source;
		const sockets = this.#clients.get(server) ?? new Set();
		this.#clients.set(server, sockets);
		if (sockets.size >= EGRESS_LIMITS.connectionsPerServerMax) {
			this.#deny(server, { target: '', reason: 'connections' });
			socket.destroy();
			return;
		}
		sockets.add(socket);
		this.#servers.set(socket, server);
		socket.once('close', () => {
			sockets.delete(socket);
			if (sockets.size === 0 && this.#clients.get(server) === sockets) this.#clients.delete(server);
		});
	}

	async #tunnel(incoming: IncomingMessage, { socket, head }: { socket: Duplex; head: Buffer }): Promise<void> {
		const client = incoming.socket;
		socket.on('error', () => undefined);
		const server = this.#servers.get(client);
		if (server === undefined) return void client.destroy();
		const target = readConnect(incoming);
		const opened = typeof target === 'string' ? malformed(target) : await this.#open(server, { target, client });
		if (!('socket' in opened)) return this.#refuse(server, client, opened);
		const upstream = opened.socket;
		client.write('HTTP/1.1 200 Connection Established\r\n\r\n');
		if (head.length > 0) upstream.write(head);
		join(client, upstream);
	}

	async #relay(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
		const client = incoming.socket;
		if (this.#local.has(client)) return this.#answerHealth(incoming, response);
		const server = this.#servers.get(client);
		if (server === undefined) return void client.destroy();
		const forwarded = readForwarded(incoming);
		if (typeof forwarded === 'string') return this.#refuse(server, response, malformed(forwarded));
		const opened = await this.#open(server, { target: forwarded.target, client });
		if (!('socket' in opened)) return this.#refuse(server, response, opened);
		const upstream = opened.socket;
		const outgoing = request({
			createConnection: () => upstream,
			method: incoming.method,
			path: forwarded.path,
			headers: forwarded.headers,
			setHost: false,
			maxHeaderSize: EGRESS_LIMITS.headerBytesMax,
			insecureHTTPParser: false,
		});
		outgoing.maxHeadersCount = 0;
		const answered = Promise.withResolvers<IncomingMessage>();
		outgoing.once('response', answered.resolve);
		outgoing.on('error', answered.reject);
		// A server that changes the protocol unasked has not answered.
		outgoing.once('upgrade', (_, changed: Socket) => changed.destroy(new Error('upgraded')));
		upstream.once('close', () => answered.reject(new Error('closed')));
		client.once('close', () => upstream.destroy());
		// What becomes of the body is told by the answer.
		if (forwarded.hasBody) pipeline(incoming, outgoing).catch(() => undefined);
		else outgoing.end();
		try {
			const answer = await answered.promise;
			response.writeHead(answer.statusCode ?? 502, answerHeaders(answer.rawHeaders));
			await pipeline(answer, response);
		} catch {
			upstream.destroy();
			if (response.headersSent) client.destroy();
			else this.#refuse(server, response, barred(`${formatTarget(forwarded.target)} did not answer`));
		}
	}

	/** A connection to the target, if the server may have it: checked by name, then by address, then pinned to that. */
	async #open(server: ServerName, { target, client }: { target: Target; client: Socket }): Promise<Opened> {
		if (!isAllowed(this.#rules.rulesOf(server), target)) return forbidden(server, target);
		const gone = new AbortController();
		const leave = (): void => gone.abort();
		client.once('close', leave);
		try {
			const found = await findAddresses(target.host, this.#resolve, gone.signal);
			const name = formatTarget(target);
			if (found.kind === 'refused') {
				const text = `${name} is refused: ${found.why}.`;
				return { status: 403, text, denied: { target: name, reason: 'address' } };
			}
			if (found.kind === 'failed') return barred(`${name} cannot be reached: ${found.why}`, found.late);
			const made = await this.#connectOne(found.addresses, target.port, gone.signal);
			if (!(typeof made === 'object'))
				return barred(
					`${name} cannot be reached: ${made === 'late' ? 'it does not answer in time' : 'it takes no connection'}`,
					made === 'late',
				);
			if (gone.signal.aborted) {
				made.destroy();
				return barred(`${name} is not wanted any more`);
			}
			// While we waited the catalog may have changed.
			if (!isAllowed(this.#rules.rulesOf(server), target)) {
				made.destroy();
				return forbidden(server, target);
			}
			this.#enter({ server, target, cut: () => void [client, made].map((socket) => socket.destroy()) }, made);
			return { socket: made };
		} finally {
			client.off('close', leave);
		}
	}

	#enter(flow: Flow, upstream: Socket): void {
		this.#flows.add(flow);
		upstream.once('close', () => this.#flows.delete(flow));
		this.#tallies.allow(flow.server);
		this.#changed();
	}

	/** The first address that takes the connection, all within one bound of time. */
	async #connectOne(addresses: readonly string[], port: number, gone: AbortSignal): Promise<Socket | 'late' | 'none'> {
		const late = AbortSignal.timeout(EGRESS_LIMITS.connectTimeoutMs);
		const signal = AbortSignal.any([gone, late]);
		for (const address of addresses.slice(0, EGRESS_LIMITS.connectTriesMax)) {
			const socket = await this.#tryConnect(address, port, signal);
			if (socket !== undefined) return socket;
			if (signal.aborted) break;
		}
		return late.aborted ? 'late' : 'none';
	}

	async #tryConnect(address: string, port: number, signal: AbortSignal): Promise<Socket | undefined> {
		if (signal.aborted) return undefined;
		const socket = this.#connect(address, port);
		this.#upstreams.add(socket);
		socket.once('close', () => this.#upstreams.delete(socket));
		const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
		const abort = (): void => void socket.destroy();
		signal.addEventListener('abort', abort, { once: true });
		socket.on('error', () => undefined);
		socket.once('connect', () => resolve(socket));
		socket.once('close', () => resolve(undefined));
		try {
			return await promise;
		} finally {
			signal.removeEventListener('abort', abort);
		}
	}

	#deny(server: ServerName, denied: Denied): void {
		this.#tallies.deny(server, denied);
		if (this.#tallies.mayLog(server, performance.now()))
			this.#log.warn('egress denied', {
				server,
				...(denied.target === '' ? {} : { target: denied.target }),
				reason:
					denied.allow === undefined
						? DENIALS[denied.reason]
						: `No line of its "egress" allows it: "${denied.allow}" would.`,
			});
		this.#changed();
	}

	/** Says why, to whoever reads the server's stderr, and hangs up. */
	#refuse(server: ServerName, where: Socket | ServerResponse, { status, text, denied }: Refusal): void {
		if (denied !== undefined) this.#deny(server, denied);
		else if (this.#tallies.mayLog(server, performance.now())) this.#log.info('egress failed', { server, reason: text });
		const body = `Slipway egress: ${text}\n`;
		if ('writeHead' in where) {
			where.writeHead(status, {
				'content-type': 'text/plain',
				'content-length': Buffer.byteLength(body),
				connection: 'close',
			});
			where.end(body);
			where.once('close', () => where.socket?.destroy());
		} else {
			sayAndHangUp(where, { status, body });
		}
	}

	#refuseMalformed(socket: Duplex): void {
		const server = this.#servers.get(socket);
		if (server === undefined || !socket.writable) return void socket.destroy();
		this.#deny(server, { target: '', reason: 'request' });
		sayAndHangUp(socket, { status: 400, body: 'Slipway egress: It is no HTTP request that a proxy takes.\n' });
	}

	#answerHealth({ method, url }: IncomingMessage, response: ServerResponse): void {
		const status = method !== 'GET' || url !== '/health' ? 404 : this.#isWell() ? 200 : 503;
		response.writeHead(status, { 'content-length': 0, connection: 'close' }).end();
	}
}

const DENIALS = Object.freeze({
	rule: 'No line of its "egress" allows it.',
	address: 'The name leads to an address that is not public.',
	request: 'It is no request that a proxy takes.',
	connections: `It has ${EGRESS_LIMITS.connectionsPerServerMax} connections already.`,
});

function malformed(text: string): Refusal {
	return { status: 400, text, denied: { target: '', reason: 'request' } };
}

function barred(text: string, late = false): Refusal {
	return { status: late ? 504 : 502, text: `${text}.` };
}

function forbidden(server: ServerName, target: Target): Refusal {
	const name = formatTarget(target);
	return {
		status: 403,
		text: `${name} is not for the server "${server}". To allow it, add "${name}" to its "egress" in the catalog.`,
		denied: { target: name, reason: 'rule', allow: name },
	};
}

function isLoopback(address: string): boolean {
	return address === '127.0.0.1';
}

/** An address and nothing else is connected to: no name is resolved again. */
function connectTo(address: string, port: number): Socket {
	return connect({ host: address, port, allowHalfOpen: true, autoSelectFamily: false });
}

function sayAndHangUp(socket: Duplex, { status, body }: { status: Refusal['status']; body: string }): void {
	socket.end(
		`HTTP/1.1 ${status} ${REASONS[status]}\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
	);
	// What it still sends is thrown away for a moment, so that it reads why; then it is cut.
	socket.resume();
	const linger = setTimeout(() => socket.destroy(), EGRESS_LIMITS.lingerMs);
	socket.once('close', () => clearTimeout(linger));
}

/** Bytes both ways, each no faster than the other side takes them. The end of one direction is not that of the other. */
function join(one: Socket, other: Socket): void {
	for (const [from, to] of [
		[one, other],
		[other, one],
	] as const) {
		from.setTimeout(EGRESS_LIMITS.idleTimeoutMs, () => from.destroy());
		from.once('close', () => {
			if (from.readableEnded && !from.errored) {
				to.end();
				to.resume();
			} else to.destroy();
		});
		from.pipe(to);
	}
}
