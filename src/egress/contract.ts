/**
 * What the launcher and the egress role tell each other: who may reach what, and what came of it.
 *
 * The launcher owns the truth. The role holds it in memory only, and without the launcher it lets nobody through.
 */
import type { ServerName } from '../ids.ts';

/** The port of the proxy, in every network that it is in. */
export const EGRESS_PORT = 3128;

/** A server's network: where its Instances are, and nobody else but the proxy. */
export interface EgressNetwork {
	readonly server: ServerName;
	/** As in `198.18.4.0/23`. */
	readonly subnet: string;
	/** The proxy's own address there. */
	readonly address: string;
	/** Lines of the catalog. */
	readonly allowed: readonly string[];
}

/** All that may be reached, told whole at every change. */
export interface EgressPolicy {
	readonly revision: number;
	readonly networks: readonly EgressNetwork[];
}

/**
 * Why a server was refused. `rule`: no line allows it. `address`: the name leads to an address that is not public.
 * `request`: no request that a proxy takes. `connections`: too many at once.
 */
export type DenialReason = 'rule' | 'address' | 'request' | 'connections';

export interface EgressDenial {
	/** `host:port`; empty where there is none to tell. */
	readonly target: string;
	readonly reason: DenialReason;
	readonly count: number;
	/** When it was last. */
	readonly at: string;
	/** The line of `egress` that would allow it, where one would. */
	readonly allow?: string;
}

export interface EgressTally {
	/** Connections that were made. */
	readonly allowed: number;
	readonly denied: number;
	/** The latest targets, the latest first; at most EGRESS_LIMITS.denialsKeptMax. */
	readonly latest: readonly EgressDenial[];
}

export interface EgressReport {
	/** Of the policy that is in force. */
	readonly revision: number;
	/** By server, since the role started. */
	readonly tallies: readonly (readonly [server: string, tally: EgressTally])[];
}

/** The egress role as the launcher sees it. */
export interface EgressGate {
	/** Whether there is a role to tell. */
	readonly open: boolean;
	readonly report: EgressReport;
	/** Tells the role; what was told before no longer holds. */
	apply(policy: EgressPolicy): void;
	/** Calls back when the role comes, goes, or reports. Returns the way to stop that. */
	subscribe(listener: () => void): () => void;
	stop(): Promise<void>;
}

export const NO_REPORT: EgressReport = Object.freeze({ revision: 0, tallies: [] });
