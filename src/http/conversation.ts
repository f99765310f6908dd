/**
 * What one caller's requests of the second era have in common: the Instance that serves them. The era has no sessions,
 * so nothing of it is shown to the client; it begins with a request, and ends when none came for a while.
 *
 * INVARIANTS:
 * - Every reply that was entered is answered, or its client has gone and its server was told.
 * - After `end` the Instance is on its way out.
 */
import type { Patience } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Call } from '../mcp/exchange.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { LISTEN, type ModernRequest } from '../mcp/modern-server.ts';
import type { Envelope } from '../mcp/revisions.ts';
import type { Metrics } from '../metrics.ts';
import type { ModernConversation, Target } from '../pool/target.ts';
import { takeOut } from '../slots.ts';
import type { Principal } from './principal.ts';
import type { PendingReply } from './session.ts';
import { logFailure, type Tenant } from './tenants.ts';

export interface ConversationDependencies {
	readonly metrics: Metrics;
	readonly log: Log;
}

export interface ConversationOptions {
	readonly principal: Principal;
	readonly target: Target;
	/** Of the request that it begins with. */
	readonly envelope: Envelope;
	/** Ends an abandoned tenant, if there is one, and resolves with whether there was. */
	readonly makeRoom: () => Promise<boolean>;
	/** Called when the server is there and takes requests of any client; returns who serves them instead, if someone does. */
	readonly onShared: (conversation: Conversation) => Conversation | undefined;
	/** Called once, when its server is not what it should be any more: what comes new is for another conversation. */
	readonly onStale: (conversation: Conversation) => void;
	/** Called once, when the conversation is over. */
	readonly onEnd: (conversation: Conversation) => void;
}

/** A reply that has not settled. */
interface Waiting {
	readonly reply: PendingReply;
	/** Whether it is one that goes on for as long as its client listens. */
	readonly lasts: boolean;
	call: Call | undefined;
}

export class Conversation implements Tenant {
	readonly principal: Principal;
	readonly target: Target;
	readonly createdAtMs = performance.now();
	readonly #dependencies: ConversationDependencies;
	readonly #options: ConversationOptions;
	readonly #replies: Waiting[] = [];
	readonly #ending = new AbortController();
	/** Resolves with whoever serves its requests: itself, or another that was there first and serves any client. */
	readonly #opening: Promise<Conversation>;
	#other: Conversation | undefined;
	#conversation: ModernConversation | undefined;
	#activeAtMs = performance.now();
	#retired = false;
	#over = false;

	constructor(dependencies: ConversationDependencies, options: ConversationOptions) {
		this.#dependencies = dependencies;
		this.#options = options;
		this.principal = options.principal;
		this.target = options.target;
		this.#opening = this.#open();
		this.#opening.catch(() => undefined);
	}

	/** Not the calls whose client is asked: it is away, and only a request that we would refuse brings it back. */
	get inFlight(): number {
		let waiting = 0;
		for (const { lasts } of this.#replies) if (!lasts) waiting += 1;
		return waiting;
	}

	get streams(): number {
		return this.#replies.length;
	}

	idleMs(nowMs: number): number {
		const busy = this.streams > 0 || (this.#conversation?.server.inFlight ?? 0) > 0;
		return busy ? 0 : nowMs - this.#activeAtMs;
	}

	/** Whether a requestState was given out here for that request. */
	holds(requestState: string, request: RequestMessage): boolean {
		return this.#conversation?.server.holds(requestState, request) ?? false;
	}

	/** Serves a request when the server is there. What comes of it, and what goes wrong, goes to the reply. */
	async serve(request: ModernRequest, reply: PendingReply): Promise<void> {
		const { message } = request;
		const waiting: Waiting = { reply, lasts: message.method === LISTEN, call: undefined };
		// The Instance would take no more of them.
		const isFull = this.#conversation === undefined && this.#replies.length >= SESSION_LIMITS.inFlightMax;
		this.#replies.push(waiting);
		try {
			if (isFull) throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
			const host = await this.#opening;
			if (host !== this) {
				takeOut(this.#replies, waiting);
				return reply.attached ? await host.serve(request, reply) : undefined;
			}
			if (reply.attached) waiting.call = this.#conversation?.server.request(request, reply);
		} catch (error) {
			reply.fail(message.id, toSlipwayError(error));
		}
	}

	/** The response of a reply has closed. If not all was said, the client has withdrawn the request. */
	leave(reply: PendingReply, complete: boolean): void {
		if (this.#other !== undefined) return this.#other.leave(reply, complete);
		const waiting = this.#replies.find((one) => one.reply === reply);
		if (waiting !== undefined) takeOut(this.#replies, waiting);
		this.#activeAtMs = performance.now();
		if (!complete) waiting?.call?.cancel();
		// Nobody waits for the server that was on its way.
		if (this.#conversation === undefined && this.#replies.length === 0) void this.end('prompt');
	}

	hold(): () => void {
		return this.#other?.hold() ?? this.#conversation?.server.hold() ?? (() => undefined);
	}

	tick(nowMs: number): void {
		this.#conversation?.server.tick(nowMs);
		for (const { reply } of [...this.#replies]) reply.tick(nowMs);
		const idleStopMs = this.#conversation?.idleStopMs ?? Number.POSITIVE_INFINITY;
		if (this.idleMs(nowMs) > idleStopMs) void this.end('patient');
		if (this.#conversation?.stale) this.#retire();
		// Who only listens is told that this is over, and listens anew to the server as it is now.
		if (this.#retired && this.inFlight === 0 && this.#conversation?.server.inFlight === 0) void this.end('patient');
	}

	#retire(): void {
		if (this.#retired) return;
		this.#retired = true;
		this.#options.onStale(this);
	}

	/** Nothing of it is worth keeping: its client's next request makes another one. */
	readonly awake = true;

	rest(patience: Patience): Promise<void> {
		return this.end(patience);
	}

	suspend(): Promise<void> {
		return this.end('prompt');
	}

	async end(patience: Patience): Promise<void> {
		this.#finish(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		await this.#opening.catch(() => undefined);
		await this.#conversation?.end(patience);
	}

	async #open(): Promise<Conversation> {
		const { envelope, makeRoom, onShared } = this.#options;
		const { metrics } = this.#dependencies;
		try {
			const options = { caller: this.principal.id, signal: this.#ending.signal, makeRoom };
			const conversation = await this.target.openModern(envelope, options);
			this.#conversation = conversation;
			void conversation.server.ended.then((reason) => this.#finish(reason));
			if (this.#over) throw new SlipwayError('SLIPWAY_SESSION_ENDED');
			metrics.start(this.target.name, 'ok', performance.now() - this.createdAtMs);
			this.#other = conversation.personal ? undefined : onShared(this);
			if (this.#other === undefined) return this;
			void conversation.end('prompt');
			return this.#other;
		} catch (cause) {
			const error = toSlipwayError(cause);
			metrics.start(this.target.name, error.code, performance.now() - this.createdAtMs);
			this.#finish(error);
			void this.#conversation?.end('prompt');
			throw error;
		}
	}

	#finish(reason: SlipwayError): void {
		if (this.#over) return;
		this.#over = true;
		if (reason.code !== 'SLIPWAY_SESSION_ENDED')
			logFailure(this.#dependencies.log, 'conversation failed', this, reason);
		this.#ending.abort(reason);
		this.#options.onEnd(this);
	}
}
