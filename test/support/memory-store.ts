/** What a Store keeps, kept in memory: for tests in which a second process would not find it anyway. */
import type { SessionStore, StoredSession } from '../../src/store/contract.ts';

export class MemoryStore implements SessionStore {
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
