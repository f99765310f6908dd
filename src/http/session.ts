/**
 * The Session: a client's conversation with one Server, revisions 2024-11-05 to 2025-11-25, on one Instance.
 *
 * INVARIANTS:
 * - Every message of the server goes to exactly one stream: that of the request it belongs to, or the GET stream.
 * - At most one GET stream; a new one takes the place of the old, which may be dead without our knowing.
 * - After `end` the Instance is on its way out, every exchange was answered, and every stream is closed.
 */
import type { ServerResponse } from 'node:http';
import type { Patience } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName, SessionId } from '../ids.ts';
import { SESSION_LIMITS, SSE_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Message, RequestMessage, ResponseMessage } from '../mcp/jsonrpc.ts';
import { type Exchange, INITIALIZE_TIMEOUT_MS, type Standing } from '../mcp/upstream.ts';
import type { Metrics } from '../metrics.ts';
import type { Lease, Pool } from '../pool/pool.ts';
import { EventStream } from './event-stream.ts';
import type { Principal } from './keys.ts';
import { type Carrier, eventId, type ReplayBudget, ReplayStore, type StreamRecord } from './replay.ts';

export interface SessionDependencies {
	readonly pool: Pool;
	readonly metrics: Metrics;
	readonly log: Log;
}

/** An exchange that its session keeps until it is settled. */
export interface PendingExchange extends Exchange {
	/** To be called every second or so. */
	tick(nowMs: number): void;
}

export interface SessionOptions {
	readonly id: SessionId;
	readonly principal: Principal;
	readonly server: ServerName;
	readonly callTimeoutMs: number;
	readonly replayBudget: ReplayBudget;
	/** Ends an abandoned session, if there is one, and resolves with whether there was. */
	readonly makeRoom: () => Promise<boolean>;
	/** Called once, when the session is over. */
	readonly onEnd: (session: Session) => void;
}

/** The first revision whose streams may begin with an event that has an id and no message. */
const PRIMING_REVISION = '2025-11-25';

export class Session implements Standing, Carrier {
	readonly id: SessionId;
	readonly principal: Principal;
	readonly server: ServerName;
	readonly createdAtMs = performance.now();
	readonly #dependencies: SessionDependencies;
	readonly #options: SessionOptions;
	readonly #exchanges = new Set<PendingExchange>();
	readonly #ending = new AbortController();
	/** What was sent on its streams, for a client that comes back. */
	readonly replay: ReplayStore;
	/** Streams of POSTs that were taken up again. */
	readonly #resumed = new Set<EventStream>();
	/** The GET stream, over all its connections. */
	#standing: StreamRecord | undefined;
	readonly #queued: string[] = [];
	#queuedBytes = 0;
	#lease: Lease | undefined;
	#stream: EventStream | undefined;
	#revision: string | undefined;
	#activeAtMs = performance.now();
	#started = false;
	#over = false;

	constructor(dependencies: SessionDependencies, options: SessionOptions) {
		this.#dependencies = dependencies;
		this.#options = options;
		this.id = options.id;
		this.principal = options.principal;
		this.server = options.server;
		this.replay = new ReplayStore(options.replayBudget);
	}

	/** The revision that client and server agreed on; undefined until they did. */
	get revision(): string | undefined {
		return this.#revision;
	}

	/** Whether there was an `initialize`. */
	get started(): boolean {
		return this.#started;
	}

	/** Requests without an answer, or whose answer the client has not taken yet. */
	get inFlight(): number {
		return Math.max(this.#lease?.upstream.inFlight ?? 0, this.#exchanges.size);
	}

	/** Event streams that the client holds open. */
	get streams(): number {
		return Number(this.#stream?.open ?? false) + this.#resumed.size;
	}

	/** How long nothing happened: 0 while a call is in flight or a stream is open. */
	idleMs(nowMs: number): number {
		return this.inFlight > 0 || this.streams > 0 ? 0 : nowMs - this.#activeAtMs;
	}

	/** Starts an Instance and passes the client's own `initialize` to it. Its answer goes to the exchange. */
	async start(text: string, message: RequestMessage, exchange: PendingExchange): Promise<void> {
		const { metrics } = this.#dependencies;
		this.#started = true;
		this.enter(exchange);
		try {
			this.#lease = await this.#acquire();
			void this.#lease.upstream.ended.then((reason) => this.#finish(reason));
			this.#lease.upstream.request(text, message, {
				exchange,
				timeoutMs: INITIALIZE_TIMEOUT_MS,
				onAnswer: (answer) => this.#agree(answer),
			});
		} catch (cause) {
			const error = toSlipwayError(cause);
			metrics.start(this.server, error.code, performance.now() - this.createdAtMs);
			exchange.fail(message.id, error);
			this.#finish(error);
		}
	}

	/** Takes a message of the client. Throws a SlipwayError when it cannot be passed on. */
	receive(text: string, message: Message, exchange: PendingExchange | undefined): void {
		const upstream = this.#lease?.upstream;
		if (upstream === undefined || this.#revision === undefined)
			throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: 'The session is not initialized yet.' });
		this.#activeAtMs = performance.now();
		switch (message.kind) {
			case 'request':
				if (exchange === undefined) throw new SlipwayError('SLIPWAY_BAD_REQUEST');
				return upstream.request(text, message, { exchange, timeoutMs: this.#options.callTimeoutMs });
			case 'notification':
				return upstream.notify(text, message);
			case 'response':
				return upstream.respond(text, message);
		}
	}

	/** Keeps an exchange until it settles, so that it is kept alive and answered if the session ends first. */
	enter(exchange: PendingExchange): void {
		this.#exchanges.add(exchange);
	}

	leave(exchange: PendingExchange): void {
		this.#exchanges.delete(exchange);
		this.#activeAtMs = performance.now();
		// Nobody waits for the session that was to be made.
		if (this.#revision === undefined && this.#exchanges.size === 0) void this.end('prompt');
	}

	/** Whether streams of this session begin with an event without a message, as of revision 2025-11-25. */
	get primes(): boolean {
		return this.#revision !== undefined && this.#revision >= PRIMING_REVISION;
	}

	/**
	 * Opens the GET stream, or takes up again the stream that the client's last event came on.
	 *
	 * @throws SlipwayError SLIPWAY_STREAM_OVER when that stream has ended and there is nothing more of it
	 */
	openStream(response: ServerResponse, headers: Readonly<Record<string, string>>, lastEventId?: string): void {
		const found = lastEventId === undefined ? undefined : this.replay.find(lastEventId);
		if (found === undefined && lastEventId !== undefined) throw new SlipwayError('SLIPWAY_STREAM_OVER');
		if (found !== undefined && found.record !== this.#standing) return this.#takeUp(response, headers, found);
		const stream = this.openUnkept(response, headers);
		this.#standing ??= this.replay.open(this);
		if (lastEventId === undefined && this.primes) stream.prime(eventId(this.#standing));
		for (const [id, text] of found?.later ?? []) stream.send(text, id);
		for (const text of this.#queued.splice(0)) stream.send(text, this.replay.append(this.#standing, text));
		this.#queuedBytes = 0;
	}

	/** Opens the one stream of a transport that has no other, and no way back to it. */
	openUnkept(response: ServerResponse, headers: Readonly<Record<string, string>>): EventStream {
		const stream = new EventStream({ response, headers, hold: () => this.hold() });
		this.resume(stream);
		response.once('close', () => {
			this.#activeAtMs = performance.now();
		});
		return stream;
	}

	/** Makes a connection the GET stream. The one before may be dead without our knowing. */
	resume(stream: EventStream): void {
		this.#stream?.cut();
		this.#stream = stream;
		this.#activeAtMs = performance.now();
	}

	/** The stream of a POST goes on with what its client missed, and then with what is still to come. */
	#takeUp(
		response: ServerResponse,
		headers: Readonly<Record<string, string>>,
		{ record, later }: NonNullable<ReturnType<ReplayStore['find']>>,
	): void {
		const { carrier } = record;
		if (carrier === undefined && later.length === 0) throw new SlipwayError('SLIPWAY_STREAM_OVER');
		const stream = new EventStream({ response, headers, hold: () => this.hold() });
		for (const [id, text] of later) stream.send(text, id);
		if (carrier === undefined) return stream.end();
		carrier.resume(stream);
		this.#resumed.add(stream);
		response.once('close', () => this.#resumed.delete(stream));
	}

	send(text: string): boolean {
		if (this.#stream?.open) {
			this.#stream.send(text, this.#standing === undefined ? undefined : this.replay.append(this.#standing, text));
			return true;
		}
		if (
			this.#queued.length >= SSE_LIMITS.queuedMessagesMax ||
			this.#queuedBytes + text.length > SSE_LIMITS.queuedBytesMax
		)
			return false;
		this.#queued.push(text);
		this.#queuedBytes += text.length;
		return true;
	}

	/** Stops the server's output until the way back is called. */
	hold(): () => void {
		return this.#lease?.upstream.hold() ?? (() => undefined);
	}

	tick(nowMs: number): void {
		this.#stream?.tick(nowMs);
		this.replay.tick(nowMs);
		for (const stream of this.#resumed) stream.tick(nowMs);
		for (const exchange of this.#exchanges) exchange.tick(nowMs);
	}

	/** Whether the session is past one of its limits. */
	isExpired(nowMs: number, idleMsMax: number): boolean {
		return this.idleMs(nowMs) > idleMsMax || nowMs - this.createdAtMs > SESSION_LIMITS.absoluteMs;
	}

	/** Ends the session. Resolves when its container is gone. */
	async end(patience: Patience): Promise<void> {
		this.#finish(new SlipwayError('SLIPWAY_SESSION_ENDED'), patience);
		await this.#lease?.release(patience);
	}

	/** Many clients never say that they are done: at the bound, an abandoned session makes room for a new one. */
	async #acquire(): Promise<Lease> {
		const request = { server: this.server, standing: this, observer: this.#observer(), signal: this.#ending.signal };
		try {
			return await this.#dependencies.pool.acquire(request);
		} catch (error) {
			if (
				!(error instanceof SlipwayError) ||
				error.code !== 'SLIPWAY_INSTANCES_FULL' ||
				!(await this.#options.makeRoom())
			)
				throw error;
			return this.#dependencies.pool.acquire(request);
		}
	}

	#agree(answer: ResponseMessage): void {
		const revision: unknown =
			answer.ok && typeof answer.result === 'object' && answer.result !== null
				? Reflect.get(answer.result, 'protocolVersion')
				: undefined;
		this.#dependencies.metrics.start(this.server, answer.ok ? 'ok' : 'error', performance.now() - this.createdAtMs);
		if (typeof revision === 'string') {
			this.#revision = revision;
			return;
		}
		// The server refused, in its own words, which the client gets. There is no session then.
		setImmediate(() => void this.end('prompt'));
	}

	#observer() {
		const { metrics, log } = this.#dependencies;
		const { server } = this;
		return {
			onCall: (report: { method: string; tool: string | undefined; durationMs: number; outcome: string }): void => {
				metrics.call(server, report);
				const { method, tool, outcome } = report;
				log.debug('call', {
					server,
					method,
					...(tool === undefined ? {} : { tool }),
					code: outcome,
					durationMs: Math.round(report.durationMs),
				});
			},
			onNoise: (bytes: number, told: boolean): void => {
				metrics.noise(server);
				if (told) log.warn('noise on stdout', { server, bytes });
			},
			onTools: (names: readonly string[]): void => metrics.tools(server, names),
		};
	}

	#finish(reason: SlipwayError, patience: Patience = 'prompt'): void {
		if (this.#over) return;
		this.#over = true;
		if (this.#revision === undefined && this.#lease !== undefined)
			this.#dependencies.metrics.start(this.server, reason.code, performance.now() - this.createdAtMs);
		if (reason.code !== 'SLIPWAY_SESSION_ENDED') this.#log(reason);
		this.#ending.abort(reason);
		this.#stream?.cut();
		this.#queued.length = 0;
		this.replay.close();
		this.#options.onEnd(this);
		void this.#lease?.release(patience);
	}

	#log(error: SlipwayError): void {
		const { code, details, row } = error;
		const { exitCode, reason } = details;
		this.#dependencies.log[row.logLevel]('session failed', {
			server: this.server,
			code,
			principal: this.principal.id,
			...(exitCode === undefined ? {} : { exitCode }),
			...(reason === undefined ? {} : { reason }),
			...(code === 'SLIPWAY_INTERNAL' && error.cause instanceof Error ? { stack: error.cause.stack ?? '' } : {}),
		});
	}
}
