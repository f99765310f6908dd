/**
 * The listener: one node:http server, one chain of guards for every route, and the two ways on from there.
 *
 *   address, Host, Origin, path → key → /servers/<name>/mcp            → streamable.ts, on node:http alone
 *                                     → /mcp, /groups/<name>/mcp       → the same, with many servers as one
 *                                     → /servers/<name>/sse, /messages → http-sse.ts, likewise
 *                                     → everything else                → admin.ts, on Express
 *                               open  → /health, /ready and the like   → likewise
 */
import { randomUUID } from 'node:crypto';
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, Server as TlsServer } from 'node:https';
import { Server as NetServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Express } from 'express';
import { isInstanceAddress } from '../addresses.ts';
import type { Audit } from '../audit/audit.ts';
import { type ErrorCode, SlipwayError, toSlipwayError } from '../errors.ts';
import type { Launcher, ServerView } from '../launcher/contract.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { filterOf } from '../policy/access.ts';
import { AggregateTarget } from '../pool/aggregate-target.ts';
import { ServerTarget, type Target, type TargetDependencies } from '../pool/target.ts';
import type { Door } from './admin.ts';
import { type Headers, securityHeaders } from './answer-headers.ts';
import { AuditedCalls } from './audited-calls.ts';
import { auditRefusal } from './audited-refusals.ts';
import type { Callers } from './callers.ts';
import type { Certificates } from './certificates.ts';
import { corsHeaders, isPreflight, preflightHeaders } from './cors.ts';
import { type Doors, guard, pathOf } from './guards.ts';
import { serveSse, serveSseMessage } from './http-sse.ts';
import { KnownRequest, known } from './known-request.ts';
import type { Peers } from './peers.ts';
import type { Authenticator, Principal } from './principal.ts';
import { COMMON_HEADERS, type Refusal, sendError, toRpcText } from './respond.ts';
import { serveStreamable } from './streamable.ts';
import type { Visit } from './visit.ts';

export interface ListenerOptions {
	readonly doors: Doors;
	readonly authenticator: Authenticator;
	readonly launcher: Launcher;
	readonly callers: Callers;
	readonly version: string;
	readonly targets: TargetDependencies;
	readonly metrics: Metrics;
	readonly audit: Audit;
	readonly log: Log;
	readonly peers: Peers;
	/** Where the port speaks TLS. */
	readonly certificates: Certificates | undefined;
	/** What is answered without a key. */
	readonly isOpen: (request: IncomingMessage) => boolean;
	/** Gets every request that is for no server. */
	readonly admin: (door: Door) => Express;
	readonly isDraining: () => boolean;
}

/** `/servers/<name>/mcp`, and for people who leave the end off: `/servers/<name>` and `/servers/<name>/`. */
const SERVER_PATH = /^\/servers\/([^/]+)(?:\/(mcp|sse|messages)?)?$/;

/** `/mcp` and `/groups/<name>/mcp`. */
const AGGREGATE_PATH = /^(?:\/groups\/([^/]+))?\/mcp$/;

/** What is there for operators and monitors; for any other path the method is not what is wrong with a request. */
const ADMIN_PATH = /^\/(?:(?:health|ready|status|metrics|openapi\.json)$|api\/)/;

/** What is served below a server's path. */
export const ENDPOINTS: Readonly<Record<string, (callers: Callers, visit: Visit) => void | Promise<void>>> =
	Object.freeze({
		mcp: serveStreamable,
		sse: serveSse,
		messages: serveSseMessage,
	});

const REQUEST_ID = new RegExp(`^[A-Za-z0-9._-]{1,${HTTP_LIMITS.requestIdCharsMax}}$`);

export class Listener {
	readonly #options: ListenerOptions;
	readonly #http: HttpServer | TlsServer;
	readonly #tls: Certificates | undefined;
	readonly #admin: Express;
	#doors: Doors;

	constructor(options: ListenerOptions) {
		this.#options = options;
		this.#doors = options.doors;
		this.#admin = options.admin({
			requestIdOf,
			principalOf: (request) => known(request).principal,
			addressOf: this.#addressOf,
		});
		this.#tls = options.certificates;
		const serve = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
		const limits = {
			IncomingMessage: KnownRequest,
			maxHeaderSize: HTTP_LIMITS.headerBytesMax,
			headersTimeout: HTTP_LIMITS.headersTimeoutMs,
			requestTimeout: HTTP_LIMITS.requestTimeoutMs,
			keepAliveTimeout: HTTP_LIMITS.keepAliveTimeoutMs,
			connectionsCheckingInterval: HTTP_LIMITS.connectionsCheckingIntervalMs,
			noDelay: true,
			// Node would refuse a request without a Host in its own words; guards.ts does in ours.
			requireHostHeader: false,
		};
		this.#http =
			this.#tls === undefined
				? createServer(limits, serve)
				: createTlsServer({ ...limits, ...this.#tls.read() }, serve);
		// Before Node reads from it.
		this.#http.prependListener('connection', refuseInstances);
		// An expectation may be ignored; Node would refuse it in its own words.
		this.#http.on('checkExpectation', serve);
		// Node would drop the headers beyond its count without a word; guards.ts counts them and says so.
		this.#http.maxHeadersCount = 0;
		this.#http.maxConnections = HTTP_LIMITS.connectionsMax;
		this.#http.maxRequestsPerSocket = HTTP_LIMITS.requestsPerSocketMax;
		this.#http.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => answerBrokenRequest(error, socket));
	}

	/** Listens. Resolves with the port, which the system chooses when `port` is 0. Rejects with SLIPWAY_CONFIG_INVALID. */
	start(port: number, address: string): Promise<number> {
		const { promise, resolve, reject } = Promise.withResolvers<number>();
		this.#http.once('error', (cause: NodeJS.ErrnoException) => {
			const reason =
				cause.code === 'EADDRINUSE'
					? `Port ${port} is in use: set SLIPWAY_PORT to another.`
					: `Cannot listen on ${address}:${port} (${cause.code}).`;
			reject(new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason }, { cause }));
		});
		this.#http.listen(port, address, () => {
			const bound = this.#http.address();
			const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
			this.#doors = { ...this.#doors, port: boundPort };
			this.#tls?.follow((tls) => this.#http instanceof TlsServer && this.#http.setSecureContext(tls));
			resolve(boundPort);
		});
		return promise;
	}

	/** Takes no new connections; those that there are go on. */
	close(): void {
		// Not http's own close: it cuts connections whose answer was written but not all sent yet, for idle ones.
		NetServer.prototype.close.call(this.#http);
	}

	/** Cuts what is left. */
	async stop(): Promise<void> {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#tls?.stop();
		this.#http.close(() => resolve());
		this.#http.closeAllConnections();
		await promise;
	}

	async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const { authenticator, callers, isOpen, peers } = this.#options;
		let visit: Visit | undefined;
		let principal: Principal | undefined;
		try {
			set(response, securityHeaders(peers.isSecure(request)));
			set(response, corsHeaders(request, this.#doors));
			guard(request, this.#doors);
			if (isPreflight(request)) return this.#answerPreflight(request, response);
			if (isOpen(request)) return void this.#admin(request, response);
			principal = await authenticator.authenticate(request);
			known(request).principal = principal;
			callers.tenants.seen(principal);
			const path = pathOf(request);
			const [, name, endpoint = 'mcp'] = SERVER_PATH.exec(path) ?? [];
			const aggregate = AGGREGATE_PATH.exec(path);
			const isElsewhere = name === undefined && aggregate === null;
			const reads = request.method === 'GET' || request.method === 'HEAD';
			if (isElsewhere && (reads || ADMIN_PATH.test(path))) return void this.#admin(request, response);
			if (isElsewhere) throw new SlipwayError('SLIPWAY_PATH_UNKNOWN');
			const target =
				name === undefined ? this.#findAggregate(principal, path, aggregate?.[1]) : this.#findServer(principal, name);
			const draining = this.#options.isDraining();
			const requestId = requestIdOf(request);
			const { budgets } = callers;
			const challenge = (error: SlipwayError): string | undefined => authenticator.challenge(request, error, principal);
			const { audit } = this.#options;
			const calls = new AuditedCalls({
				audit,
				recordsValues: this.#recordsValues,
				addressOf: this.#addressOf,
				request,
				requestId,
				principal,
				target,
			});
			visit = { request, response, requestId, principal, target, draining, budgets, calls, challenge, rpcId: null };
			await ENDPOINTS[endpoint]?.(callers, visit);
		} catch (error) {
			const refusal = toSlipwayError(error);
			const challenge = authenticator.challenge(request, refusal, principal);
			if (visit !== undefined) visit.calls.end(refusal.code);
			else {
				const requestId = requestIdOf(request);
				auditRefusal(this.#options.audit, request, refusal, { principal, requestId, client: this.#addressOf(request) });
			}
			this.#refuse(request, response, { error: refusal, id: visit?.rpcId ?? null, challenge });
		}
	}

	/** Whether a page may send a request, whatever is at its path: a browser sends no key with the question. */
	#answerPreflight(request: IncomingMessage, response: ServerResponse): void {
		// Pages of our own address need not ask.
		if (corsHeaders(request, this.#doors) === undefined) throw new SlipwayError('SLIPWAY_ORIGIN_REFUSED');
		const headers = { ...COMMON_HEADERS, ...preflightHeaders(request), 'x-request-id': requestIdOf(request) };
		response.writeHead(204, headers).end();
	}
	readonly #addressOf = (request: IncomingMessage): string => this.#options.peers.addressOf(request);

	readonly #recordsValues = (server: string, tool: string): boolean => {
		const { audit } = this.#options.targets.find(server) ?? {};
		return audit !== undefined && (filterOf({ allow: audit.values })?.allows(tool) ?? false);
	};

	/** Who may not use a server is not told whether there is one. */
	#findServer({ access }: Principal, name: string): Target {
		const { state } = this.#options.launcher;
		if (!access.mayUse(name, this.#options.targets.membersOf)) throw forbidden(`server:${name}`);
		const server = state.servers.find((candidate) => candidate.name === name);
		if (server?.enabled) return new ServerTarget(server, this.#options.targets, () => access);
		if (server !== undefined) throw new SlipwayError('SLIPWAY_SERVER_DISABLED', { server: server.name });
		// With no catalog seen yet, nothing can be said about a name.
		throw new SlipwayError(state.catalog.revision === 0 ? 'SLIPWAY_LAUNCHER_UNREACHABLE' : 'SLIPWAY_SERVER_UNKNOWN');
	}

	#findAggregate({ access }: Principal, path: string, group: string | undefined): Target {
		const { launcher, targets, version } = this.#options;
		if (group !== undefined && !access.mayUseGroup(group)) throw forbidden(`group:${group}`);
		const names = (): readonly string[] | undefined => {
			const { groups, servers } = launcher.state;
			const isUsable = ({ name, enabled }: ServerView): boolean => enabled && access.mayUse(name, targets.membersOf);
			const served = new Set(servers.filter(isUsable).map(({ name }) => name));
			if (group === undefined) return [...served];
			return Object.hasOwn(groups, group) ? groups[group]?.filter((name) => served.has(name)) : undefined;
		};
		if (launcher.state.catalog.revision === 0) throw new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE');
		if (names() === undefined) throw new SlipwayError('SLIPWAY_GROUP_UNKNOWN');
		return new AggregateTarget({ name: path, names, access, version }, targets);
	}

	#refuse(
		request: IncomingMessage,
		response: ServerResponse,
		{ error, id, challenge }: Omit<Refusal, 'requestId'>,
	): void {
		const requestId = requestIdOf(request);
		this.#options.metrics.refusal(error.code);
		const { cause, code, row } = error;
		this.#options.log[row.logLevel]('request refused', {
			code,
			requestId,
			method: request.method ?? '',
			httpStatus: row.httpStatus,
			...(code === 'SLIPWAY_INTERNAL' && cause instanceof Error ? { stack: cause.stack ?? '' } : {}),
		});
		sendError(request, response, { error, requestId, challenge, ...(id === undefined ? {} : { id }) });
	}
}

/** The client's own id of the request where it is a plain one, so that its logs and ours can be joined. */
function requestIdOf(request: IncomingMessage): string {
	const { requestId, headers } = known(request);
	if (requestId !== undefined) return requestId;
	const given = headers['x-request-id'];
	const id = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
	known(request).requestId = id;
	return id;
}

function set(response: ServerResponse, headers: Headers | undefined): void {
	for (const name in headers) response.setHeader(name, headers[name] ?? '');
}

/**
 * In the role `all`, and where the gateway is no container, its port is open on the addresses that it has in networks of
 * Instances too: what comes to one, or from there, is an Instance that should reach nothing.
 */
function refuseInstances(socket: Socket): void {
	if (isInstanceAddress(socket.localAddress) || isInstanceAddress(socket.remoteAddress)) socket.destroy();
}

function forbidden(scope: string): SlipwayError {
	return new SlipwayError('SLIPWAY_FORBIDDEN', { scopes: [scope] });
}

/** Of an answer to what is no request. */
const HEAD = Object.entries({ ...securityHeaders(false), ...COMMON_HEADERS, 'content-type': 'application/json' })
	.map(([name, value]) => `${name}: ${value}\r\n`)
	.join('');

/** What Node could not read as HTTP, in the words of the table. */
function answerBrokenRequest({ code }: NodeJS.ErrnoException, socket: Socket): void {
	// Nobody could read an answer before the handshake is over.
	const isShakingHands = socket instanceof TLSSocket && socket.getProtocol() === null;
	if (!socket.writable || code === 'ECONNRESET' || isShakingHands) {
		socket.destroy();
		return;
	}
	const error = new SlipwayError(brokenRequestCode(code));
	const body = toRpcText(null, error, undefined);
	socket.end(
		`HTTP/1.1 ${error.row.httpStatus} Refused\r\n${HEAD}Content-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
	);
	// A peer that neither reads nor closes would keep the connection half open for ever.
	const timer = setTimeout(() => socket.destroy(), HTTP_LIMITS.lingerMs);
	timer.unref();
	socket.once('close', () => clearTimeout(timer));
}

function brokenRequestCode(code: string | undefined): ErrorCode {
	switch (code) {
		case 'HPE_HEADER_OVERFLOW':
			return 'SLIPWAY_HEADERS_TOO_LARGE';
		case 'ERR_HTTP_REQUEST_TIMEOUT':
			return 'SLIPWAY_REQUEST_TIMEOUT';
		default:
			return 'SLIPWAY_BAD_REQUEST';
	}
}
