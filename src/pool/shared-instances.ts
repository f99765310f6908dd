/**
 * Instances that several sessions use, as the catalog says of their server: all sessions of one caller (`principal`), or
 * everybody's (`shared`).
 *
 * They are begun by us, as a client that can do nothing, in the words of the second era where the server has them:
 * its requests stand for themselves. A server of the first era is shared through a Multiplexer.
 */
import type { ServerName } from '../ids.ts';
import type { ServerView } from '../launcher/contract.ts';
import { SHARING_LIMITS } from '../limits.ts';
import type { LegacyServer, Standing } from '../mcp/exchange.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { LegacyEmulation } from '../mcp/legacy-emulation.ts';
import { ModernBridge } from '../mcp/modern-bridge.ts';
import { DirectServer, type ModernServer } from '../mcp/modern-server.ts';
import type { Company } from '../mcp/multiplexer.ts';
import type { Answer } from '../mcp/own-request.ts';
import { envelopeOfInitialize, metaOfEnvelope, NOBODY_IN_PARTICULAR } from '../mcp/revisions.ts';
import type { UpstreamObserver } from '../mcp/upstream.ts';
import { type Build, buildOfAll } from './build.ts';
import { LateStanding } from './late-standing.ts';
import type { LeaseRequest } from './lease.ts';
import type { Opened, Opener } from './opening.ts';
import { Replica } from './replica.ts';
import { ReplicaSet, type Replicas, type Wanted } from './replica-set.ts';

export interface SharedInstancesOptions {
	/** Begins a conversation with a new Instance. Rejects with a SlipwayError, and nothing is left then. */
	readonly open: (request: LeaseRequest, opener: Opener) => Promise<Opened>;
	/** The server as it stands in the catalog, if it is in it. */
	readonly find: (server: ServerName) => ServerView | undefined;
}

/** A server whose Instances are shared, and who wants a seat at one. */
export interface SeatRequest extends Wanted {
	/** With isolation `principal` or `shared`. */
	readonly server: ServerView;
	readonly observer: UpstreamObserver;
}

/** A seat for a conversation of the first era, with the answer to its `initialize`. */
export interface LegacySeat {
	readonly server: LegacyServer;
	readonly answer: Answer;
	/** What its Instances are made of. */
	readonly build: Build;
	/** Whether nobody, at no seat, has called anything of them: what the server has may change with that. */
	isPristine(): boolean;
	/** Gives the seat up: its calls in flight fail. Idempotent. */
	leave(): void;
}

/** A seat for requests of the second era. */
export interface ModernSeat {
	readonly server: ModernServer;
	/** What the server says of itself. */
	readonly answer: Answer;
	/** What its Instances are made of. */
	readonly build: Build;
	/** Whether nobody, at no seat, has called anything of them: what the server has may change with that. */
	isPristine(): boolean;
	/** Gives the seat up: its calls in flight fail. Idempotent. */
	leave(): void;
}

/** Those of one server that the same sessions use. */
interface Shared {
	readonly server: ServerName;
	readonly set: ReplicaSet;
	/** What the Instances are made of. */
	readonly build: Build;
}

const ONE: Replicas = Object.freeze({ min: 0, max: 1 });

/** INVARIANT: of each server and scope at most one set is joined; the others are made of something else, and retire. */
export class SharedInstances {
	readonly #options: SharedInstancesOptions;
	readonly #shared = new Map<string, Shared>();
	readonly #retired = new Set<ReplicaSet>();

	constructor(options: SharedInstancesOptions) {
		this.#options = options;
	}

	/** A seat for a client's `initialize`. Rejects with a SlipwayError. */
	async seatLegacy(request: SeatRequest, message: RequestMessage, standing: Standing): Promise<LegacySeat> {
		const { set, build } = this.#of(request);
		const seat = await set.join(request, standing);
		const introduction = seat.home.introduce(message);
		const common = { build, isPristine: () => set.pristine, leave: () => seat.leave() };
		if (seat.home.era === 'legacy') return { ...common, server: seat, answer: introduction };
		const meta = metaOfEnvelope(envelopeOfInitialize(message));
		const emulation = new LegacyEmulation({ upstream: seat, introduction, meta, standing });
		return { ...common, server: emulation, answer: emulation.introduce(message) };
	}

	/** A seat for requests of any clients of one caller. Rejects with a SlipwayError. */
	async seatModern(request: SeatRequest): Promise<ModernSeat> {
		const standing = new LateStanding();
		const { set, build } = this.#of(request);
		const seat = await set.join(request, standing);
		const answer = seat.home.introduce();
		const { callTimeoutMs } = request.server;
		const server =
			seat.home.era === 'modern'
				? new DirectServer(seat, callTimeoutMs)
				: new ModernBridge({ server: seat, introduction: answer, capabilities: {}, callTimeoutMs });
		standing.become(server);
		return { server, answer, build, isPristine: () => set.pristine, leave: () => seat.leave() };
	}

	/** Ends what nobody has used for long, or what is not what it should be any more. To be called every second or so. */
	tick(nowMs: number): void {
		for (const [key, shared] of this.#shared) {
			if (shared.build.stale || !this.#options.find(shared.server)?.enabled) this.#retire(key, shared);
			shared.set.tick(nowMs);
			if (shared.set.empty) this.#shared.delete(key);
		}
		for (const set of this.#retired) {
			set.tick(nowMs);
			if (set.empty) this.#retired.delete(set);
		}
	}

	/** Ends an Instance that nobody uses now, if there is one, and resolves with whether there was. */
	async endUnused(): Promise<boolean> {
		for (const { set } of this.#shared.values()) if (await set.endUnused()) return true;
		return false;
	}

	/** From here on seats of a server are at Instances that are started from now on. */
	restart(server: ServerName): void {
		for (const [key, shared] of this.#shared) if (shared.server === server) this.#retire(key, shared);
	}

	/** From here on nothing is started. */
	stop(): void {
		for (const [key, shared] of this.#shared) this.#retire(key, shared);
	}

	/** The Instances that a caller has of a server as it is now. */
	#of({ server, caller, observer }: SeatRequest): Shared {
		const { name, isolation, replicas = ONE, idleStopMs } = server;
		const key = isolation === 'shared' ? name : `${name}\n${caller}`;
		const known = this.#shared.get(key);
		if (known?.build.stale === false) return known;
		if (known !== undefined) this.#retire(key, known);
		const company: Company = isolation === 'shared' ? 'shared' : 'principal';
		const start = (wanted: Wanted): Promise<Replica> => this.#start(name, company, { ...wanted, observer });
		const set = new ReplicaSet({ replicas, idleStopMs, start });
		const specNow = (): string | undefined => {
			const view = this.#options.find(name);
			return view?.preparation.kind === 'ready' ? view.spec : undefined;
		};
		const isMeant = (): boolean => {
			if (set.retired) return false;
			const view = this.#options.find(name);
			return view === undefined || (view.isolation === isolation && isAlike(view.replicas ?? ONE, replicas));
		};
		const shared: Shared = { server: name, set, build: buildOfAll(() => set.specs, specNow, isMeant) };
		this.#shared.set(key, shared);
		return shared;
	}

	#retire(key: string, { set }: Shared): void {
		this.#shared.delete(key);
		this.#retired.add(set);
		set.retire();
	}

	async #start(
		server: ServerName,
		company: Company,
		wanted: Wanted & { readonly observer: UpstreamObserver },
	): Promise<Replica> {
		const standing = new LateStanding();
		const opened = await this.#options.open(
			{ ...wanted, server, standing, bounds: SHARING_LIMITS },
			{ era: 'modern', envelope: NOBODY_IN_PARTICULAR },
		);
		const replica = new Replica(opened, company);
		if (replica.standing !== undefined) standing.become(replica.standing);
		return replica;
	}
}

function isAlike(one: Replicas, other: Replicas): boolean {
	return one.min === other.min && one.max === other.max;
}
