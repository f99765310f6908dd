/** A Store that fails costs what it keeps, and not the process: conversations need no disk. */
import { SESSION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Store } from './contract.ts';

/** The same Store, but for sessions and snapshots: what cannot be read is not there, and what cannot be written is not kept. */
export function tolerant(store: Store, log: Log): Store {
	let toldAtMs = Number.NEGATIVE_INFINITY;
	const tried = <Result>(use: () => Result, otherwise: Result): Result => {
		try {
			return use();
		} catch (error) {
			// A full disk fails at every session.
			if (performance.now() - toldAtMs > SESSION_LIMITS.noteIntervalMs) {
				toldAtMs = performance.now();
				log.error('the store fails', { reason: error instanceof Error ? error.message : String(error) });
			}
			return otherwise;
		}
	};
	return {
		listKeys: () => store.listKeys(),
		saveKey: (key) => store.saveKey(key),
		deleteKey: (name) => store.deleteKey(name),
		keysVersion: () => tried(() => store.keysVersion(), Number.NaN),
		findSession: (idHash) => tried(() => store.findSession(idHash), undefined),
		saveSession: (idHash, session) => tried(() => store.saveSession(idHash, session), undefined),
		touchSession: (idHash, activeAtMs) => tried(() => store.touchSession(idHash, activeAtMs), undefined),
		deleteSession: (idHash) => tried(() => store.deleteSession(idHash), undefined),
		deleteSessionsBefore: (activeAtMs, createdAtMs) =>
			tried(() => store.deleteSessionsBefore(activeAtMs, createdAtMs), 0),
		findSnapshots: (spec) => tried(() => store.findSnapshots(spec), []),
		saveSnapshot: (spec, kind, record) => tried(() => store.saveSnapshot(spec, kind, record), undefined),
		deleteSnapshots: (spec, except) => tried(() => store.deleteSnapshots(spec, except), undefined),
		deleteSnapshotsBefore: (learnedAtMs) => tried(() => store.deleteSnapshotsBefore(learnedAtMs), 0),
		// What is pinned is not guessed: without it a changed tool would be a new one.
		listPins: () => store.listPins(),
		listPinStates: () => store.listPinStates(),
		savePins: (pins) => tried(() => store.savePins(pins), undefined),
		approvePin: (server, tool, shownHash, atMs) => store.approvePin(server, tool, shownHash, atMs),
		deletePins: (server) => store.deletePins(server),
		close: () => store.close(),
	};
}
