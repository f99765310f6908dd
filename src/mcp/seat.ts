/**
 * The place of one session, or of one caller's requests, at a server that several use.
 *
 * A seat has the bounds of a session, so that one that calls much leaves room for the others, and what it began ends
 * with it.
 */
import { SlipwayError } from '../errors.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Question } from './exchange.ts';
import type { NotificationMessage, RequestMessage, ResponseMessage, RpcId } from './jsonrpc.ts';

/** A server as who has a seat at it sees it. */
export interface SeatedServer extends LegacyServer {
	/**
	 * Gives the seat up: its calls in flight fail with the reason, SLIPWAY_SESSION_ENDED unless given, and the server is
	 * told that nobody waits for them. Idempotent.
	 */
	leave(reason?: SlipwayError): void;
}

export interface SeatOptions {
	readonly server: LegacyServer;
	/** Whether a line of the log that may belong to a call of this seat is given to it. */
	readonly takesLogLine: (message: NotificationMessage) => boolean;
}

/**
 * INVARIANTS:
 * - `#calls` holds the calls that the server took from this seat and that have not ended.
 * - After it is over, `#calls` and `#holds` are empty, and `request` throws.
 */
export class Seat implements SeatedServer {
	/** Resolves with the reason when the server ended, or the seat was given up. */
	readonly ended: Promise<SlipwayError>;
	readonly #options: SeatOptions;
	readonly #end = Promise.withResolvers<SlipwayError>();
	readonly #calls = new Set<SeatedCall>();
	readonly #holds = new Set<() => void>();
	#lasting = 0;
	#over: SlipwayError | undefined;

	constructor(options: SeatOptions) {
		this.#options = options;
		this.ended = this.#end.promise;
		void options.server.ended.then((reason) => this.#finish(reason));
	}

	get inFlight(): number {
		return this.#calls.size - this.#lasting;
	}

	/** @throws SlipwayError SLIPWAY_CALLS_FULL, why the seat is over, or that of the server */
	request(text: string, message: RequestMessage, options: CallOptions): Call {
		this.assertOpen();
		const lasting = options.timeoutMs === Number.POSITIVE_INFINITY;
		if (lasting ? this.#lasting >= SESSION_LIMITS.lastingMax : this.inFlight >= SESSION_LIMITS.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		const call = new SeatedCall(message, options.exchange, this.#options.takesLogLine);
		call.made = this.#options.server.request(text, message, {
			exchange: call,
			timeoutMs: options.timeoutMs,
			onEnd: () => {
				this.#calls.delete(call);
				if (lasting) this.#lasting -= 1;
				options.onEnd?.();
			},
		});
		this.#calls.add(call);
		if (lasting) this.#lasting += 1;
		return call.made;
	}

	notify(text: string, message: NotificationMessage): void {
		this.assertOpen();
		this.#options.server.notify(text, message);
	}

	/**
	 * Stops the whole server, since its messages come through one pipe. The other seats wait that long, but not for ever:
	 * a client that takes nothing for SSE_LIMITS.stallMs is cut by its stream, which lets go of its hold.
	 */
	hold(): () => void {
		if (this.#over !== undefined) return () => undefined;
		const release = this.#options.server.hold();
		this.#holds.add(release);
		return () => {
			this.#holds.delete(release);
			release();
		};
	}

	leave(reason = new SlipwayError('SLIPWAY_SESSION_ENDED')): void {
		const calls = [...this.#calls];
		this.#finish(reason);
		for (const call of calls) call.abandon(reason);
	}

	/** Throws why it is over, if it is. */
	assertOpen(): void {
		if (this.#over !== undefined) throw this.#over;
	}

	#finish(reason: SlipwayError): void {
		this.#over ??= reason;
		this.#end.resolve(this.#over);
		// Nobody else would start the server again for whoever is gone.
		for (const release of this.#holds) release();
		this.#holds.clear();
	}
}

/** The exchange of a call. It is asked nothing: the server was told of no client that could answer. */
class SeatedCall implements Exchange {
	/** Is set as soon as the server has taken it. */
	made: Call | undefined;
	readonly #id: RpcId;
	readonly #exchange: Exchange;
	readonly #takesLogLine: SeatOptions['takesLogLine'];
	#abandoned: SlipwayError | undefined;

	constructor({ id }: RequestMessage, exchange: Exchange, takesLogLine: SeatOptions['takesLogLine']) {
		this.#id = id;
		this.#exchange = exchange;
		this.#takesLogLine = takesLogLine;
	}

	/** Withdraws it from the server, and tells its client why. */
	abandon(reason: SlipwayError): void {
		this.#abandoned = reason;
		this.made?.cancel();
	}

	takes(message: RequestMessage | NotificationMessage): boolean {
		return message.kind === 'notification' && this.#takesLogLine(message) && this.#exchange.takes(message);
	}

	tell(text: string, message: NotificationMessage): void {
		this.#exchange.tell(text, message);
	}

	ask(_: Question): void {}

	answer(text: string, message: ResponseMessage): void {
		this.#exchange.answer(text, message);
	}

	fail(id: RpcId, error: SlipwayError): void {
		this.#exchange.fail(id, error);
	}

	drop(): void {
		if (this.#abandoned === undefined) this.#exchange.drop();
		else this.#exchange.fail(this.#id, this.#abandoned);
	}
}
