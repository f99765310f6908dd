/**
 * A seat at a server that may have several Instances: what lasts is at its home, and every call goes to the Instance
 * that has the fewest.
 */
import { SlipwayError } from '../errors.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { Call, CallOptions, LegacyServer, Standing } from '../mcp/exchange.ts';
import type { NotificationMessage, RequestMessage } from '../mcp/jsonrpc.ts';
import type { SeatedServer } from '../mcp/seat.ts';
import { pageOf } from '../mcp/snapshot.ts';
import type { Replica } from './replica.ts';

export interface RoamingSeatOptions {
	/** Where it is told of changes, and what it ends with. */
	readonly home: Replica;
	/** Where goes what belongs to none of its calls. */
	readonly standing: Standing;
	/** The Instance that is to have the next call; undefined when there is none. */
	readonly route: () => Replica | undefined;
	/** Called for every request that may change what the server has. */
	readonly onCall: () => void;
}

/** What a session has once, wherever its calls go. */
const AT_HOME: ReadonlySet<string> = new Set([
	'ping',
	'logging/setLevel',
	'resources/subscribe',
	'resources/unsubscribe',
]);

/** The changes that one Instance tells of are those of all. */
const NOBODY: Standing = { send: () => false, ask: () => false };

/** INVARIANT: it has a seat at each Instance that had a call of it and has not ended, and at none when it is over. */
export class RoamingSeat implements LegacyServer {
	/** Resolves with the reason when its home has ended, or it was given up. */
	readonly ended: Promise<SlipwayError>;
	readonly home: Replica;
	readonly #options: RoamingSeatOptions;
	readonly #atHome: SeatedServer;
	readonly #seats = new Map<Replica, SeatedServer>();

	constructor(options: RoamingSeatOptions) {
		const { home, standing } = options;
		this.home = home;
		this.#options = options;
		this.#atHome = home.join(standing);
		this.#seats.set(home, this.#atHome);
		this.ended = this.#atHome.ended;
		// What it has elsewhere goes with it: nobody would know whose it is.
		void this.ended.then((reason) => this.leave(reason));
	}

	get inFlight(): number {
		let count = 0;
		for (const seat of this.#seats.values()) count += seat.inFlight;
		return count;
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		const lasting = options.timeoutMs === Number.POSITIVE_INFINITY;
		// Each Instance has this bound for a seat; so has the seat for all of them.
		if (!lasting && this.inFlight >= SESSION_LIMITS.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		const isAsked = pageOf(message) !== undefined || message.method === 'server/discover';
		if (!lasting && !isAsked && !AT_HOME.has(message.method)) this.#options.onCall();
		const seat = lasting || AT_HOME.has(message.method) ? this.#atHome : this.#next();
		return seat.request(text, message, options);
	}

	notify(text: string, message: NotificationMessage): void {
		this.#atHome.notify(text, message);
	}

	hold(): () => void {
		const releases = [...this.#seats.values()].map((seat) => seat.hold());
		return () => {
			for (const release of releases.splice(0)) release();
		};
	}

	/** Gives it up everywhere. Idempotent. */
	leave(reason?: SlipwayError): void {
		const seats = [...this.#seats.values()];
		this.#seats.clear();
		for (const seat of seats) seat.leave(reason);
	}

	#next(): SeatedServer {
		// When it is over, its home says why.
		const replica = this.#seats.has(this.home) ? this.#options.route() : undefined;
		if (replica === undefined) return this.#atHome;
		replica.activeAtMs = performance.now();
		const known = this.#seats.get(replica);
		if (known !== undefined) return known;
		const seat = replica.join(NOBODY);
		this.#seats.set(replica, seat);
		void seat.ended.then(() => this.#seats.delete(replica));
		return seat;
	}
}
