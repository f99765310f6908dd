/**
 * The Session: a client's conversation with one endpoint, revisions 2024-11-05 to 2025-11-25. It outlives its Instances,
 * and the process where it is kept.
 *
 * INVARIANTS:
 * - Every message of the server goes to exactly one stream: that of the request it belongs to, or the GET stream.
 * - At most one GET stream; a new one takes the place of the old, which may be dead without our knowing.
 * - After `end` the Instances are on their way out, every exchange was answered, and every stream is closed.
 */
import { hash } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { Patience } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { SessionId } from '../ids.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Call, Question, Reply, Standing } from '../mcp/exchange.ts';
import {
	isObject,
	type Message,
	type NotificationMessage,
	own,
	type RequestMessage,
	type ResponseMessage,
	type RpcId,
	requestIdOfCancel,
} from '../mcp/jsonrpc.ts';
import { LegacyExchange, Questions } from '../mcp/questions.ts';
import type { SessionMemory } from '../mcp/session-memory.ts';
import { replaceId } from '../mcp/text.ts';
import type { Metrics } from '../metrics.ts';
import type { LegacyConversation, LegacyOptions, Target } from '../pool/target.ts';
import { Slots, takeOut } from '../slots.ts';
import type { CallBudgets } from './call-budgets.ts';
import { EventStream } from './event-stream.ts';
import type { Principal } from './principal.ts';
import { type Carrier, eventId, type KeptBytes, ReplayStore, type StreamRecord } from './replay.ts';
import { logFailure, type Tenant } from './tenants.ts';
import { Unread } from './unread.ts';

export interface SessionDependencies {
	readonly metrics: Metrics;
	readonly log: Log;
	readonly budgets: CallBudgets;
}

/** A reply that its session keeps until it is settled. */
export interface PendingReply extends Reply {
	/** To be called every second or so. */
	tick(nowMs: number): void;
}

export interface SessionOptions {
	readonly id: SessionId;
	readonly principal: Principal;
	readonly target: Target;
	readonly keptBytes: KeptBytes;
	/** Set where the session was begun by another process. */
	readonly resumed?: { readonly memory: SessionMemory; readonly createdAtMs: number };
	/** Has an abandoned tenant give its Instances back, if there is one, and resolves with whether there was. */
	readonly makeRoom: () => Promise<boolean>;
	/** What another process needs to go on with the session has changed. */
	readonly onMemory: (session: Session) => void;
	/** Called once, when the session is over, and why. */
	readonly onEnd: (session: Session, reason: SlipwayError) => void;
}

/** The first revision whose streams may begin with an event that has an id and no message. */
const PRIMING_REVISION = '2025-11-25';

export class Session implements Standing, Carrier, Tenant {
	readonly id: SessionId;
	/** What it is known by where its id must not be: the beginning of the id's hash. */
	readonly mark: string;
	readonly principal: Principal;
	readonly target: Target;
	readonly createdAtMs: number;
	readonly #dependencies: SessionDependencies;
	readonly #options: SessionOptions;
	readonly #replies: PendingReply[] = [];
	/** Requests in flight, by the client's ids. */
	readonly #calls = new Slots<RpcId, Call>();
	readonly #questions = new Questions();
	readonly #ending = new AbortController();
	/** What was sent on its streams, for a client that comes back. */
	readonly replay: ReplayStore;
	/** Streams of POSTs that were taken up again. */
	readonly #resumed = new Set<EventStream>();
	/** The GET stream, over all its connections. */
	#standing: StreamRecord | undefined;
	readonly #unread: Unread;
	#conversation: LegacyConversation | undefined;
	#stream: EventStream | undefined;
	#revision: string | undefined;
	#activeAtMs = performance.now();
	#starting: Promise<void> | undefined;
	#suspended = false;
	#over = false;

	constructor(dependencies: SessionDependencies, options: SessionOptions) {
		this.#dependencies = dependencies;
		this.#options = options;
		this.id = options.id;
		this.mark = hash('sha256', options.id).slice(0, SESSION_LIMITS.markCharsMax);
		this.principal = options.principal;
		this.target = options.target;
		this.replay = new ReplayStore(options.keptBytes);
		this.#unread = new Unread(options.keptBytes);
		this.createdAtMs = options.resumed?.createdAtMs ?? performance.now();
		if (options.resumed !== undefined) this.#resume(options.resumed.memory);
	}

	/** The revision that client and server agreed on; undefined until they did. */
	get revision(): string | undefined {
		return this.#revision;
	}

	/** What another process needs to go on with it; undefined before it began. */
	get memory(): SessionMemory | undefined {
		return this.#revision === undefined ? undefined : this.#conversation?.memory;
	}

	/** Whether it ended because the process did, and another one may go on with it. */
	get suspended(): boolean {
		return this.#suspended;
	}

	get awake(): boolean {
		return this.#conversation?.awake ?? this.started;
	}

	/** When something happened last. */
	get activeAtMs(): number {
		return this.inFlight > 0 || this.streams > 0 ? performance.now() : this.#activeAtMs;
	}

	/** Whether there was an `initialize`. */
	get started(): boolean {
		return this.#starting !== undefined || this.#options.resumed !== undefined;
	}

	/** Requests without an answer, or whose answer the client has not taken yet. */
	get inFlight(): number {
		return Math.max(this.#conversation?.server.inFlight ?? 0, this.#replies.length);
	}

	/** Event streams that the client holds open. */
	get streams(): number {
		return Number(this.#stream?.open ?? false) + this.#resumed.size;
	}

	/** How long nothing happened: 0 while a call is in flight or a stream is open. */
	idleMs(nowMs: number): number {
		return this.inFlight > 0 || this.streams > 0 ? 0 : nowMs - this.#activeAtMs;
	}

	/** Begins the conversation with the client's own `initialize`. Its answer goes to the reply. */
	start(text: string, message: RequestMessage, reply: PendingReply): Promise<void> {
		this.enter(reply);
		this.#starting = this.#start(text, message, reply);
		return this.#starting;
	}

	async #start(text: string, message: RequestMessage, reply: PendingReply): Promise<void> {
		const { metrics } = this.#dependencies;
		const { target } = this;
		try {
			const conversation = await target.openLegacy(text, message, this.#legacyOptions());
			this.#enter(conversation);
			if (this.#over) throw new SlipwayError('SLIPWAY_SESSION_ENDED');
			const { text: answer, message: response } = conversation.answer;
			this.#revision = revisionOf(response);
			metrics.start(target.name, response.ok ? 'ok' : 'error', performance.now() - this.createdAtMs);
			// Before its client knows of it.
			if (this.#revision !== undefined) this.#options.onMemory(this);
			reply.answer(replaceId(answer, response.id, message.id), response);
			// The server refused, in its own words, which the client gets. There is no session then.
			if (this.#revision !== undefined) return;
			this.#finish(new SlipwayError('SLIPWAY_SESSION_ENDED'));
			await conversation.end('prompt');
		} catch (cause) {
			const error = toSlipwayError(cause);
			metrics.start(target.name, error.code, performance.now() - this.createdAtMs);
			reply.fail(message.id, error);
			this.#finish(error);
			await this.#conversation?.end('prompt');
		}
	}

	/** Goes on with what another process began. Nothing starts before there is a request. */
	#resume(memory: SessionMemory): void {
		this.#revision = memory.revision;
		this.#enter(this.target.resumeLegacy(memory, this.#legacyOptions()));
	}

	#legacyOptions(): LegacyOptions {
		const { makeRoom } = this.#options;
		const onMemory = (): void => {
			if (this.#revision !== undefined && !this.#over) this.#options.onMemory(this);
		};
		return { caller: this.principal.id, signal: this.#ending.signal, makeRoom, standing: this, onMemory };
	}

	#enter(conversation: LegacyConversation): void {
		this.#conversation = conversation;
		void conversation.server.ended.then((reason) => this.#finish(reason));
	}

	/** Takes a message of the client. Throws a SlipwayError when it cannot be passed on. */
	receive(text: string, message: Message, reply: Reply | undefined): void {
		const server = this.#conversation?.server;
		if (server === undefined || this.#revision === undefined)
			throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: 'The session is not initialized yet.' });
		this.#activeAtMs = performance.now();
		switch (message.kind) {
			case 'request': {
				if (reply === undefined) throw new SlipwayError('SLIPWAY_BAD_REQUEST');
				const { id } = message;
				if (this.#calls.has(id)) throw new SlipwayError('SLIPWAY_DUPLICATE_ID');
				const leave = this.#dependencies.budgets.enter(this.principal, this.target, message);
				const onEnd = (): void => {
					leave();
					this.#calls.delete(id);
				};
				try {
					const exchange = new LegacyExchange(reply, this.#questions);
					const { callTimeoutMs: timeoutMs } = this.target;
					this.#calls.set(id, server.request(text, message, { exchange, timeoutMs, onEnd }));
				} catch (error) {
					leave();
					throw error;
				}
				return;
			}
			case 'notification':
				if (message.method !== 'notifications/cancelled') return server.notify(text, message);
				// A cancellation may cross the answer. `initialize` cannot be cancelled.
				return this.#cancel(message);
			case 'response':
				return this.#questions.respond(text, message);
		}
	}

	#cancel({ params }: NotificationMessage): void {
		const id = requestIdOfCancel(params);
		if (id !== undefined) this.#calls.get(id)?.cancel(params);
	}

	/** Keeps a reply until it settles, so that it is kept alive and answered if the session ends first. */
	enter(reply: PendingReply): void {
		if (!this.#replies.includes(reply)) this.#replies.push(reply);
	}

	leave(reply: PendingReply): void {
		takeOut(this.#replies, reply);
		this.#activeAtMs = performance.now();
		// Nobody waits for the session that was to be made.
		if (this.#revision === undefined && this.#replies.length === 0) void this.end('prompt');
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
	openStream(response: ServerResponse, headers: Readonly<Record<string, string>>, lastId?: string): void {
		// What came on it in another process is gone; the stream goes on.
		const lastEventId = lastId !== undefined && this.replay.isEarlierStanding(lastId) ? undefined : lastId;
		const found = lastEventId === undefined ? undefined : this.replay.find(lastEventId);
		if (found === undefined && lastEventId !== undefined) throw new SlipwayError('SLIPWAY_STREAM_OVER');
		if (found !== undefined && found.record !== this.#standing) return this.#takeUp(response, headers, found);
		const stream = this.openUnkept(response, headers);
		this.#standing ??= this.replay.openStanding(this);
		if (lastEventId === undefined && this.primes) stream.prime(eventId(this.#standing));
		for (const [id, text] of found?.later ?? []) stream.send(text, id);
		for (const text of this.#unread.take()) stream.send(text, this.replay.append(this.#standing, text));
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
		return this.#unread.push(text);
	}

	ask(question: Question): boolean {
		return this.#questions.put(question, (text) => this.send(text));
	}

	/** Stops the server's output until the way back is called. */
	hold(): () => void {
		return this.#conversation?.server.hold() ?? (() => undefined);
	}

	tick(nowMs: number): void {
		this.#stream?.tick(nowMs);
		this.replay.tick(nowMs);
		this.#conversation?.tick(nowMs);
		for (const stream of this.#resumed) stream.tick(nowMs);
		for (const reply of [...this.#replies]) reply.tick(nowMs);
	}

	/** Gives its Instances back; its client's next request gets others. */
	async rest(patience: Patience): Promise<void> {
		await this.#conversation?.rest(patience);
	}

	/** Ends it as the process ends: another one may go on with it. */
	suspend(): Promise<void> {
		this.#suspended = true;
		return this.end('prompt');
	}

	/** Ends the session. Resolves when its containers are gone. */
	async end(patience: Patience): Promise<void> {
		this.#finish(new SlipwayError('SLIPWAY_SESSION_ENDED'), patience);
		await this.#starting;
		await this.#conversation?.end(patience);
	}

	#finish(reason: SlipwayError, patience: Patience = 'prompt'): void {
		if (this.#over) return;
		this.#over = true;
		if (reason.code !== 'SLIPWAY_SESSION_ENDED') logFailure(this.#dependencies.log, 'session failed', this, reason);
		this.#ending.abort(reason);
		this.#stream?.cut();
		this.#unread.take();
		this.replay.close();
		this.#options.onEnd(this, reason);
		void this.#conversation?.end(patience);
	}
}

function revisionOf(answer: ResponseMessage): string | undefined {
	const revision = answer.ok && isObject(answer.result) ? own(answer.result, 'protocolVersion') : undefined;
	return typeof revision === 'string' ? revision : undefined;
}
