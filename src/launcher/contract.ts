/**
 * The seam of Slipway: what the side that faces the network may ask of the side that holds the Docker socket.
 *
 * It asks for a server by NAME. Nothing that crosses this seam can shape a container.
 * Two implementations: local.ts (in one process, role `all`) and client.ts with server.ts (a unix socket).
 */
import type { Isolation, Replicas, Server } from '../catalog/catalog.ts';
import type { Channel, InstanceEnd } from '../channel.ts';
import type { EngineState } from '../docker/engine.ts';
import type { EgressDenial } from '../egress/contract.ts';
import type { ErrorRecord } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';

/** How far the image of a server is. */
export type Preparation =
	| { readonly kind: 'waiting' }
	| { readonly kind: 'preparing'; readonly step: string; readonly startedAt: string }
	| { readonly kind: 'ready'; readonly image: string; readonly imageId: string; readonly integrity?: string }
	| { readonly kind: 'failed'; readonly error: ErrorRecord; readonly failedAt: string };

/** What a server may reach, and what came of it since the egress role started. */
export interface EgressView {
	/** The lines of the catalog. */
	readonly allowed: readonly string[];
	/** The latest that it was refused, the latest first. Names in it are the server's own choice. */
	readonly denied: readonly EgressDenial[];
	/** Connections that were made, and those that were refused. */
	readonly allowedCount: number;
	readonly deniedCount: number;
}

/** What the gateway may know of a server. */
export interface ServerView {
	readonly name: ServerName;
	readonly title?: string;
	readonly description?: string;
	readonly enabled: boolean;
	/** What the server runs, for people: `npm name@version` or `image reference`. */
	readonly source: string;
	readonly callTimeoutMs: number;
	/** An Instance that nobody calls for so long is stopped. */
	readonly idleStopMs: number;
	/** Whether clients may be told what it has without an Instance. */
	readonly snapshot: boolean;
	/** How often one caller may call it in a minute; absent: as the settings say. */
	readonly callsPerMinute?: number;
	/** How many of its calls may be in flight, of all callers together. */
	readonly callsInFlight?: number;
	/** How many of its Instances callers may have, all together. */
	readonly containers?: number;
	/** What holds for its tools, whoever calls them. */
	readonly tools?: NonNullable<Server['tools']>;
	/** Tools, as such patterns, whose arguments the audit records as they are. */
	readonly audit?: NonNullable<Server['audit']>;
	/** When the definition of a tool counts as approved. */
	readonly pin: Server['pin'];
	/** How many Instances wait for their first caller, and with 0 none is started before one asks; absent: by use. */
	readonly warm?: number;
	/** Whether it is given something that outlives an Instance, and may read it when it boots. */
	readonly keeps: boolean;
	/** What one Instance may take. */
	readonly memoryBytes: number;
	/** Who has an Instance together. */
	readonly isolation: Isolation;
	/** How many Instances it has when everybody has them together. There with `shared`, and only there. */
	readonly replicas?: Replicas;
	readonly preparation: Preparation;
	/**
	 * What an Instance would be made of now, as `sha256:…`: the same while image and catalog entry are, but for what has
	 * nothing to do with containers, across restarts too, and another at any other change of either. With secrets it is
	 * another with other values too, and in each run of the launcher. Until the preparation is `ready` it is a hash of the entry alone, so that
	 * two of them say something about the image only where both were.
	 */
	readonly spec: string;
	/** There where the catalog names hosts. */
	readonly egress?: EgressView;
	/** Instances that run. */
	readonly instances: number;
}

/** All that the gateway may know, pushed whole at every change. */
export interface LauncherState {
	readonly launcher: { readonly reachable: boolean; readonly version: string };
	readonly engine: EngineState;
	readonly catalog: { readonly revision: number; readonly problem?: string };
	readonly servers: readonly ServerView[];
	/** Starts that wait for their turn. */
	readonly startsQueued: number;
	/** Containers and other things of ours without an owner that were found and removed since the launcher started. */
	readonly orphansSwept: number;
	/**
	 * The groups of the catalog: their servers by the group's name, the earlier taking precedence. Every member is in
	 * `servers`, but may not be enabled. Names are anyone's to choose, `constructor` too: look them up with Object.hasOwn.
	 */
	readonly groups: Readonly<Record<string, readonly ServerName[]>>;
}

/** What /status shows of Instances, live and lately ended, newest first. */
export interface InstanceReport {
	readonly instance: InstanceId;
	readonly server: ServerName;
	readonly startedAt: string;
	/** Absent while it runs. */
	readonly ended?: { readonly at: string; readonly cause: InstanceEnd['cause']; readonly exitCode?: number };
	readonly stderr: string;
}

/** A line that an Instance wrote on stderr, without the values of secrets that it was given. */
export interface StderrLine {
	/** When, within a moment; of an Instance that is over, when it ended. */
	readonly at: string;
	readonly server: ServerName;
	readonly instance: InstanceId;
	/** Control characters are replaced in it. */
	readonly text: string;
}

export type StderrListener = (lines: readonly StderrLine[]) => void;

/** Which lines somebody wants. */
export interface StderrWish {
	/** Absent: of all servers. */
	readonly server?: ServerName;
	/** How many of those that are still known, the last ones; at most LAUNCHER_LIMITS.stderrTailLinesMax. */
	readonly tail: number;
	/** Whether those that come are wanted too, until `signal` is aborted. */
	readonly follow: boolean;
	readonly signal: AbortSignal;
}

export interface Launcher {
	/** The last known state. */
	readonly state: LauncherState;
	/** Calls back at every change of the state. Returns the way to stop that. */
	subscribe(listener: (state: LauncherState) => void): () => void;
	/**
	 * Starts one Instance of a server, waiting for its image where that is not ready.
	 * Rejects with a SlipwayError. Aborting ends the wait, and the Instance if it was on its way.
	 *
	 * @param caller stands for who wants it: callers have their starts in turn. At most LAUNCHER_LIMITS.callerCharsMax
	 *   characters that a header may have
	 */
	launch(server: ServerName, signal: AbortSignal, caller: string): Promise<Channel>;
	/** The Instances, live and lately ended. Rejects with SLIPWAY_LAUNCHER_UNREACHABLE. */
	report(): Promise<readonly InstanceReport[]>;
	/**
	 * What Instances write on stderr. Resolves when all that was wanted is told, or `signal` is aborted. Rejects with
	 * SLIPWAY_LAUNCHER_UNREACHABLE, also when that comes to be so.
	 */
	stderr(wish: StderrWish, onLines: StderrListener): Promise<void>;
	/** Ends every Instance and lets go of everything. */
	stop(): Promise<void>;
}
