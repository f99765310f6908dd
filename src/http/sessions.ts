/** The table of sessions: found by id and caller, bounded in number and in time. */
import { randomBytes } from 'node:crypto';
import { SlipwayError } from '../errors.ts';
import type { ServerName, SessionId } from '../ids.ts';
import { HTTP_LIMITS, SESSION_LIMITS } from '../limits.ts';
import type { Principal } from './keys.ts';
import { ReplayBudget } from './replay.ts';
import { Session, type SessionDependencies } from './session.ts';

export interface SessionsOptions {
	readonly perPrincipalMax: number;
	readonly idleMsMax: number;
	/** Whether a server is in the catalog, and enabled. */
	readonly isServed: (server: ServerName) => boolean;
}

/** INVARIANT: a session is in the table from its creation until it is over, and never after. */
export class Sessions {
	readonly #dependencies: SessionDependencies;
	readonly #options: SessionsOptions;
	readonly #sessions = new Map<SessionId, Session>();
	readonly #replayBudget = new ReplayBudget();
	#stopped = false;

	constructor(dependencies: SessionDependencies, options: SessionsOptions) {
		this.#dependencies = dependencies;
		this.#options = options;
	}

	get size(): number {
		return this.#sessions.size;
	}

	get streams(): number {
		let count = 0;
		for (const session of this.#sessions.values()) count += session.streams;
		return count;
	}

	/** Requests of clients without an answer. */
	get inFlight(): number {
		let count = 0;
		for (const session of this.#sessions.values()) count += session.inFlight;
		return count;
	}

	/** How many there are of each server. */
	counts(): Map<ServerName, number> {
		const counts = new Map<ServerName, number>();
		for (const { server } of this.#sessions.values()) counts.set(server, (counts.get(server) ?? 0) + 1);
		return counts;
	}

	/** A new session. Throws SLIPWAY_SESSIONS_FULL when no idle one of the same caller can make room, or SLIPWAY_DRAINING. */
	create({
		principal,
		server,
		callTimeoutMs,
	}: {
		principal: Principal;
		server: ServerName;
		callTimeoutMs: number;
	}): Session {
		// A request that was half here when all were ended.
		if (this.#stopped) throw new SlipwayError('SLIPWAY_DRAINING', { retryAfterSeconds: 1 });
		const own = this.#of(principal);
		if (own.length >= this.#options.perPrincipalMax || this.#sessions.size >= SESSION_LIMITS.sessionsMax) {
			const abandoned = oldestAbandoned(own);
			if (abandoned === undefined) throw new SlipwayError('SLIPWAY_SESSIONS_FULL', { retryAfterSeconds: 60 });
			void abandoned.end('prompt');
		}
		const session = new Session(this.#dependencies, {
			// 192 random bits: the id cannot be guessed. It names a session, and is no proof of who is asking.
			id: randomBytes(24).toString('base64url') as SessionId,
			principal,
			server,
			callTimeoutMs,
			replayBudget: this.#replayBudget,
			makeRoom: async () => {
				const abandoned = oldestAbandoned(this.#of(principal));
				await abandoned?.end('prompt');
				return abandoned !== undefined;
			},
			onEnd: ({ id }) => this.#sessions.delete(id),
		});
		this.#sessions.set(session.id, session);
		return session;
	}

	/** The session of that id, if it is this caller's and of this server. Throws SLIPWAY_SESSION_UNKNOWN otherwise. */
	find(id: string, { principal, server }: { principal: Principal; server: ServerName }): Session {
		const session = id.length > HTTP_LIMITS.sessionIdCharsMax ? undefined : this.#sessions.get(id as SessionId);
		if (session === undefined || session.principal.id !== principal.id || session.server !== server)
			throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		return session;
	}

	/** Keeps streams alive and ends what is past its time. To be called every second or so. */
	tick(nowMs: number): void {
		for (const session of this.#sessions.values()) {
			session.tick(nowMs);
			if (session.isExpired(nowMs, this.#options.idleMsMax)) void session.end('patient');
			// What is no longer in the catalog may finish what it does, and nothing more.
			else if (session.inFlight === 0 && !this.#options.isServed(session.server)) void session.end('patient');
		}
	}

	#of({ id }: Principal): Session[] {
		return [...this.#sessions.values()].filter((session) => session.principal.id === id);
	}

	/** Ends all, and makes no more. */
	async stop(): Promise<void> {
		this.#stopped = true;
		await Promise.all([...this.#sessions.values()].map((session) => session.end('prompt')));
	}
}

/** The session that was idle longest, if that is long enough to take it for abandoned. */
function oldestAbandoned(sessions: readonly Session[]): Session | undefined {
	const nowMs = performance.now();
	let oldest: Session | undefined;
	let oldestIdleMs: number = SESSION_LIMITS.evictableAfterMs;
	for (const session of sessions) {
		const idleMs = session.idleMs(nowMs);
		if (idleMs < oldestIdleMs) continue;
		oldest = session;
		oldestIdleMs = idleMs;
	}
	return oldest;
}
