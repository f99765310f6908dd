/** The table of sessions: found by id, caller and endpoint. */
import { randomBytes } from 'node:crypto';
import { SlipwayError } from '../errors.ts';
import type { SessionId } from '../ids.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Target } from '../pool/target.ts';
import type { Principal } from './keys.ts';
import { ReplayBudget } from './replay.ts';
import { Session, type SessionDependencies } from './session.ts';
import type { Tenants } from './tenants.ts';

/** INVARIANT: a session is in the table from its creation until it is over, and never after. */
export class Sessions {
	readonly #dependencies: SessionDependencies;
	readonly #tenants: Tenants;
	readonly #sessions = new Map<SessionId, Session>();
	readonly #replayBudget = new ReplayBudget();

	constructor(dependencies: SessionDependencies, tenants: Tenants) {
		this.#dependencies = dependencies;
		this.#tenants = tenants;
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

	/** A new session. Throws SLIPWAY_SESSIONS_FULL when no idle one of the same caller can make room, or SLIPWAY_DRAINING. */
	create({ principal, target }: { principal: Principal; target: Target }): Session {
		this.#tenants.makePlace(principal);
		const session = new Session(this.#dependencies, {
			// 192 random bits: the id cannot be guessed. It names a session, and is no proof of who is asking.
			id: randomBytes(24).toString('base64url') as SessionId,
			principal,
			target,
			replayBudget: this.#replayBudget,
			makeRoom: () => this.#tenants.makeRoom(principal),
			onEnd: (ended) => {
				this.#sessions.delete(ended.id);
				this.#tenants.remove(ended);
			},
		});
		this.#sessions.set(session.id, session);
		this.#tenants.add(session);
		return session;
	}

	/** The session of that id, if it is this caller's and of this endpoint. Throws SLIPWAY_SESSION_UNKNOWN otherwise. */
	find(id: string, { principal, target }: { principal: Principal; target: Target }): Session {
		const session = id.length > HTTP_LIMITS.sessionIdCharsMax ? undefined : this.#sessions.get(id as SessionId);
		if (session === undefined || session.principal.id !== principal.id || session.target.name !== target.name)
			throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
		return session;
	}
}
