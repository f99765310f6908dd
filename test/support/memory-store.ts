/** What a Store keeps, kept in memory: for tests in which a second process would not find it anyway. */
import type { PinState, SessionStore, SnapshotStore, StoredSession, StoredSnapshot } from '../../src/store/contract.ts';

export class MemoryStore implements SessionStore, SnapshotStore {
	readonly snapshots = new Map<string, Map<string, StoredSnapshot>>();
	readonly sessions = new Map<string, StoredSession>();

	findSession(idHash: string): StoredSession | undefined {
		return this.sessions.get(idHash);
	}

	saveSession(idHash: string, session: StoredSession): void {
		this.sessions.set(idHash, session);
	}

	touchSession(idHash: string, activeAtMs: number): void {
		const session = this.sessions.get(idHash);
		if (session !== undefined) this.sessions.set(idHash, { ...session, activeAtMs });
	}

	deleteSession(idHash: string): void {
		this.sessions.delete(idHash);
	}

	findSnapshots(spec: string): (readonly [string, StoredSnapshot])[] {
		return [...(this.snapshots.get(spec) ?? [])];
	}

	saveSnapshot(spec: string, kind: string, record: StoredSnapshot): void {
		const kinds = this.snapshots.get(spec) ?? new Map<string, StoredSnapshot>();
		this.snapshots.set(spec, kinds.set(kind, record));
	}

	deleteSnapshots(spec: string, except: readonly string[]): void {
		const kinds = this.snapshots.get(spec);
		for (const kind of kinds?.keys() ?? []) if (!except.includes(kind)) kinds?.delete(kind);
	}

	deleteSnapshotsBefore(): number {
		return 0;
	}

	listPinStates(): readonly PinState[] {
		return [];
	}

	/** Who has learned them has them, and nobody else reads them. */
	savePins(): void {}

	keysVersion(): number {
		return 0;
	}

	deleteSessionsBefore(activeAtMs: number, createdAtMs: number): number {
		let count = 0;
		for (const [idHash, session] of this.sessions) {
			if (session.activeAtMs >= activeAtMs && session.createdAtMs >= createdAtMs) continue;
			this.sessions.delete(idHash);
			count += 1;
		}
		return count;
	}
}
