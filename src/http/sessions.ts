/** The table of sessions: found by id, caller and endpoint; those that another process began are taken up again. */
import { hash, randomBytes } from 'node:crypto';
import type { Audit } from '../audit/audit.ts';
import type { RecordFields } from '../audit/record.ts';
import { SlipwayError } from '../errors.ts';
import type { SessionId } from '../ids.ts';
import { HTTP_LIMITS, SESSION_LIMITS } from '../limits.ts';
import type { Target } from '../pool/target.ts';
import type { SessionStore } from '../store/contract.ts';
import type { Principal } from './principal.ts';
import { ReplayBudget } from './replay.ts';
import { Session, type SessionDependencies, type SessionOptions } from './session.ts';
import type { Tenants } from './tenants.ts';

export interface SessionsDependencies extends SessionDependencies {
	readonly store: SessionStore;
	readonly audit: Audit;
}

/** Who has a session, and with what. */
interface SessionOf {
	readonly principal: Principal;
	readonly target: Target;
}

/** A session as it is told: never its id, which is a secret. */
export interface SessionView {
	/** The beginning of the hash of its id, as the audit has it. */
	readonly session: string;
	readonly principal: string;
	/** A server's name, or the path of many as one. */
	readonly endpoint: string;
	readonly revision?: string;
	readonly createdAt: string;
	/** How long nothing happened; 0 while a call is in flight or a stream is open. */
	readonly idleMs: number;
	readonly inFlight: number;
	readonly streams: number;
	/** Whether it has an Instance, or one is on its way. */
	readonly awake: boolean;
}

/**
 * INVARIANTS:
 * - A session is in the table from its creation until it is over, and never after.
 * - What is kept of a session is forgotten when it is over, unless it is over because the process ends.
 */
export class Sessions {
	readonly #dependencies: SessionsDependencies;
	readonly #tenants: Tenants;
	readonly #idleMsMax: number;
	readonly #sessions = new Map<SessionId, Session>();
	/** Those that outlive the process. */
	readonly #kept = new Set<Session>();
	readonly #replayBudget = new ReplayBudget();
	#notedAtMs = 0;

	constructor(dependencies: SessionsDependencies, tenants: Tenants, idleMsMax: number) {
		this.#dependencies = dependencies;
		this.#tenants = tenants;
		this.#idleMsMax = idleMsMax;
	}

	get size(): number {
		return this.#sessions.size;
	}

	/** How many there are of each endpoint. */
	counts(): Map<string, number> {
		const counts = new Map<string, number>();
		for (const { target } of this.#sessions.values()) counts.set(target.name, (counts.get(target.name) ?? 0) + 1);
		return counts;
	}

	/** Those that live in this process, the oldest first. */
	views(): SessionView[] {
		const nowMs = performance.now();
		return [...this.#sessions.values()].map((session) => ({
			session: session.mark,
			principal: session.principal.id,
			endpoint: session.target.name,
			...(session.revision === undefined ? {} : { revision: session.revision }),
			createdAt: new Date(toEpochMs(session.createdAtMs)).toISOString(),
			idleMs: Math.round(session.idleMs(nowMs)),
			inFlight: session.inFlight,
			streams: session.streams,
			awake: session.awake,
		}));
	}

	/** The session that is known by that mark. Throws SLIPWAY_SESSION_UNKNOWN. */
	findMarked(mark: string): Session {
		const session = this.#sessions.values().find((one) => one.mark === mark);
		if (session === undefined) throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		return session;
	}

	/**
	 * A new session.
	 *
	 * @param options.outlives whether it is kept, so that another process can go on with it
	 * @throws SlipwayError SLIPWAY_SESSIONS_FULL when no idle one of the same caller can make room, or SLIPWAY_DRAINING
	 */
	create(of: SessionOf, { outlives }: { readonly outlives: boolean }): Session {
		// 192 random bits: the id cannot be guessed. It names a session, and is no proof of who is asking.
		return this.#make(randomBytes(24).toString('base64url') as SessionId, of, { outlives });
	}

	/**
	 * The session of that id, if it is this caller's and of this endpoint.
	 *
	 * @throws SlipwayError SLIPWAY_SESSION_UNKNOWN; what `create` throws, when it was another process's
	 */
	find(id: string, of: SessionOf): Session {
		if (id.length > HTTP_LIMITS.sessionIdCharsMax) throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		const session = this.#sessions.get(id as SessionId) ?? this.#takeUp(id as SessionId, of);
		if (session === undefined || session.principal.id !== of.principal.id || session.target.name !== of.target.name)
			throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		session.target.become(of.target);
		return session;
	}

	/** Notes which sessions are in use, and forgets what is too old. To be called every second or so. */
	tick(nowMs: number): void {
		// A process that is killed must not make sessions look idle that were in use.
		const intervalMs = Math.min(SESSION_LIMITS.noteIntervalMs, this.#idleMsMax / 10);
		if (nowMs - this.#notedAtMs < intervalMs && this.#notedAtMs !== 0) return;
		this.#notedAtMs = nowMs;
		const { store } = this.#dependencies;
		for (const session of this.#kept) store.touchSession(hashOf(session.id), toEpochMs(session.activeAtMs));
		store.deleteSessionsBefore(Date.now() - this.#idleMsMax, Date.now() - SESSION_LIMITS.absoluteMs);
	}

	/** A session that another process began. */
	#takeUp(id: SessionId, of: SessionOf): Session | undefined {
		const stored = this.#dependencies.store.findSession(hashOf(id));
		if (stored === undefined || stored.principal !== of.principal.id || stored.target !== of.target.name)
			return undefined;
		const nowMs = Date.now();
		if (nowMs - stored.activeAtMs > this.#idleMsMax || nowMs - stored.createdAtMs > SESSION_LIMITS.absoluteMs)
			return undefined;
		const resumed = { memory: stored, createdAtMs: performance.now() - (nowMs - stored.createdAtMs) };
		return this.#make(id, of, { outlives: true, resumed });
	}

	#make(
		id: SessionId,
		{ principal, target }: SessionOf,
		{ outlives, resumed }: { readonly outlives: boolean } & Pick<SessionOptions, 'resumed'>,
	): Session {
		this.#tenants.makePlace(principal);
		const session = new Session(this.#dependencies, {
			id,
			principal,
			target,
			replayBudget: this.#replayBudget,
			...(resumed === undefined ? {} : { resumed }),
			makeRoom: () => this.#tenants.makeRoom(principal),
			onMemory: (changed) => {
				if (outlives) this.#keep(changed);
			},
			onEnd: (ended, { code }) => {
				this.#sessions.delete(ended.id);
				this.#tenants.remove(ended);
				this.#letGo(ended);
				const act = ended.suspended ? 'suspended' : 'ended';
				this.#record(act, ended, { outcome: code, durationMs: Math.round(performance.now() - ended.createdAtMs) });
			},
		});
		this.#sessions.set(id, session);
		this.#tenants.add(session);
		if (resumed !== undefined) this.#kept.add(session);
		this.#record(resumed === undefined ? 'made' : 'resumed', session, {});
		return session;
	}

	#record(act: string, { mark, principal, target }: Session, how: Pick<RecordFields, 'outcome' | 'durationMs'>): void {
		this.#dependencies.audit.record('session', {
			act,
			principal: principal.id,
			server: target.name,
			session: mark,
			...how,
		});
	}

	#keep(session: Session): void {
		const { memory, principal, target } = session;
		if (memory === undefined || memory.initialize.length > SESSION_LIMITS.keptInitializeCharsMax) return;
		this.#kept.add(session);
		this.#dependencies.store.saveSession(hashOf(session.id), {
			...memory,
			principal: principal.id,
			target: target.name,
			createdAtMs: toEpochMs(session.createdAtMs),
			activeAtMs: Date.now(),
		});
	}

	#letGo(session: Session): void {
		if (!this.#kept.delete(session)) return;
		const { store } = this.#dependencies;
		if (session.suspended) store.touchSession(hashOf(session.id), toEpochMs(session.activeAtMs));
		else store.deleteSession(hashOf(session.id));
	}
}

/** Whoever reads the store must not be able to use what is in it. */
function hashOf(id: SessionId): string {
	return hash('sha256', id);
}

/** Of a time of `performance.now()`. */
function toEpochMs(ms: number): number {
	return Date.now() - (performance.now() - ms);
}
