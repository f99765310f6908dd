/** One Instance that several use. */
import type { Patience } from '../channel.ts';
import type { SlipwayError } from '../errors.ts';
import type { Standing } from '../mcp/exchange.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { type Company, Multiplexer } from '../mcp/multiplexer.ts';
import type { Answer } from '../mcp/own-request.ts';
import { Seat, type SeatedServer } from '../mcp/seat.ts';
import type { Opened } from './opening.ts';

/** An `initialize` that asks for no revision: the answer has the server's own. */
const ANY_REVISION: RequestMessage = { kind: 'request', id: 'slipway', method: 'initialize', params: undefined };

export class Replica {
	readonly era: Opened['era'];
	/** When somebody last took a seat, or had a call in it. */
	activeAtMs = performance.now();
	readonly #opened: Opened;
	readonly #company: Company;
	/** What the sessions of the first era share. In the second every request stands for itself. */
	readonly #multiplexer: Multiplexer | undefined;

	/** @param opened a conversation that we began ourselves, as a client without capabilities */
	constructor(opened: Opened, company: Company) {
		this.era = opened.era;
		this.#opened = opened;
		this.#company = company;
		const { answer: introduction, lease } = opened;
		if (opened.era === 'legacy') this.#multiplexer = new Multiplexer({ server: lease.upstream, introduction, company });
	}

	/** Where goes what the server says that belongs to no call, if to anybody. */
	get standing(): Standing | undefined {
		return this.#multiplexer;
	}

	/** What its Instance is made of. */
	get spec(): string {
		return this.#opened.lease.upstream.channel.spec;
	}

	/** Calls in flight, of all who use it. */
	get inFlight(): number {
		return this.#opened.lease.upstream.inFlight;
	}

	/** Resolves with the reason when the Instance has ended. */
	get ended(): Promise<SlipwayError> {
		return this.#opened.lease.upstream.ended;
	}

	/** What the server says of itself: its answer to a client's `initialize`, or to `server/discover`. */
	introduce(message: RequestMessage = ANY_REVISION): Answer {
		return this.#multiplexer?.introduce(message) ?? this.#opened.answer;
	}

	/** A seat. What belongs to none of its calls goes to `standing`. */
	join(standing: Standing): SeatedServer {
		if (this.#multiplexer !== undefined) return this.#multiplexer.join(standing);
		// Nothing on the wire says whose call a line of the log tells of.
		const takesLogLine = (): boolean => this.#company === 'principal';
		return new Seat({ server: this.#opened.lease.upstream, takesLogLine });
	}

	/** Ends the Instance. Resolves when it is gone. */
	release(patience: Patience): Promise<void> {
		return this.#opened.lease.release(patience);
	}
}
