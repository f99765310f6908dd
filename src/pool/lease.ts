/** The Lease: a hold on an Instance, and what it takes to get one. */
import type { Patience } from '../channel.ts';
import type { PrincipalId, ServerName } from '../ids.ts';
import type { Standing } from '../mcp/exchange.ts';
import type { CallBounds, Upstream, UpstreamObserver } from '../mcp/upstream.ts';

/** A hold on an Instance. */
export interface Lease {
	readonly upstream: Upstream;
	/** Whether the Instance had waited for its first caller: it may have ended unseen. */
	readonly waited: boolean;
	/** Gives the Instance back. Idempotent. Resolves when it is gone. */
	release(patience: Patience): Promise<void>;
}

/** Whether an Instance that waits will do, or only one that is started now. */
export type StartKind = 'any' | 'new';

export interface LeaseRequest {
	readonly server: ServerName;
	/** Who wants it: starts are given in turn to those who want one. */
	readonly caller: PrincipalId;
	readonly standing: Standing;
	readonly observer: UpstreamObserver;
	/** Those of a session, unless several have the Instance together. */
	readonly bounds?: CallBounds;
	/** Aborting gives the request up, and the Instance if it was on its way. */
	readonly signal: AbortSignal;
	/** Asked when no more Instances may run: ends one that is not used, if there is one, and resolves with whether. */
	readonly makeRoom: () => Promise<boolean>;
}
