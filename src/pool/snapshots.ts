/** The Snapshots of all servers: by what their Instances are made of, and by the kind of client that they were told to. */
import { hash } from 'node:crypto';
import { NOBODY, type PrincipalId } from '../ids.ts';
import { SNAPSHOT_LIMITS } from '../limits.ts';
import { canonical } from '../mcp/canonical.ts';
import type { Envelope } from '../mcp/revisions.ts';
import { Snapshot, type SnapshotRecord } from '../mcp/snapshot.ts';

/** Where they outlive the process. */
export interface SnapshotKeeper {
	/** Those of a build. */
	findSnapshots(spec: string): readonly (readonly [kind: string, record: SnapshotRecord])[];
	saveSnapshot(spec: string, kind: string, record: SnapshotRecord): void;
	/** Forgets those of a build but for some kinds. */
	deleteSnapshots(spec: string, except: readonly string[]): void;
	/** Forgets those that were learned before a time, in milliseconds since 1970. Returns how many. */
	deleteSnapshotsBefore(learnedAtMs: number): number;
}

/** Ends the name of the kind that was learned of nobody: what a server says to whoever can do nothing. It stays. */
const INTRODUCTION = 'introduction';

/** INVARIANT: of a build there are `kindsMax` kinds at most, here and where they are kept. */
export class Snapshots {
	readonly #keeper: SnapshotKeeper;
	readonly #builds = new Map<string, Map<string, Snapshot>>();

	constructor(keeper: SnapshotKeeper) {
		this.#keeper = keeper;
		keeper.deleteSnapshotsBefore(Date.now() - SNAPSHOT_LIMITS.ageMsMax);
	}

	find(spec: string, kind: string): Snapshot | undefined {
		return this.#kindsOf(spec).get(kind);
	}

	/** The Snapshot of a build for a kind of client, which was answered so to its first words, if it had any. */
	learn(spec: string, kind: string, initialize = ''): Snapshot {
		const kinds = this.#kindsOf(spec);
		const known = kinds.get(kind);
		if (known !== undefined) {
			if (initialize !== '') known.learnInitialize(initialize);
			return known;
		}
		const snapshot = this.#make(spec, kind, { initialize, lists: {} });
		kinds.set(kind, snapshot);
		const oldest = kinds.keys().find((other) => !other.endsWith(INTRODUCTION));
		if (kinds.size > SNAPSHOT_LIMITS.kindsMax && oldest !== undefined) {
			kinds.delete(oldest);
			this.#keeper.deleteSnapshots(spec, [...kinds.keys()]);
		}
		this.#keeper.saveSnapshot(spec, kind, { initialize, lists: {} });
		return snapshot;
	}

	#kindsOf(spec: string): Map<string, Snapshot> {
		const known = this.#builds.get(spec);
		if (known !== undefined) return known;
		const kinds = new Map<string, Snapshot>();
		for (const [kind, record] of this.#keeper.findSnapshots(spec)) kinds.set(kind, this.#make(spec, kind, record));
		this.#builds.set(spec, kinds);
		const [oldest] = this.#builds.keys();
		if (this.#builds.size > SNAPSHOT_LIMITS.buildsMax && oldest !== undefined) this.#builds.delete(oldest);
		return kinds;
	}

	#make(spec: string, kind: string, record: SnapshotRecord): Snapshot {
		return new Snapshot(record, (changed) => this.#keeper.saveSnapshot(spec, kind, changed));
	}
}

/**
 * Clients of a kind are told the same: those of one caller that can do the same. A server may build what it says of what
 * a client told it, its name or its answers at the start too, so nobody is told what it said to another caller.
 */
export function kindOf(revision: string, caller: PrincipalId, { capabilities }: Envelope): string {
	if (caller === NOBODY) return `${revision} ${INTRODUCTION}`;
	return `${revision} ${hash('sha256', canonical({ caller, capabilities }))}`;
}
