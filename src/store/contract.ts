/** A session as it is kept: with it, another process can go on with the session. */
export interface StoredSession {
	readonly principal: string;
	/** The name of the endpoint. */
	readonly target: string;
	/** What its client told its server: see mcp/session-memory.ts. */
	readonly initialize: string;
	readonly revision: string;
	readonly spec: string;
	readonly logLevel: string | undefined;
	readonly subscriptions: readonly (readonly [uri: string, server: string])[];
	/** Milliseconds since 1970. */
	readonly createdAtMs: number;
	/** When it was used last, to the minute. Milliseconds since 1970. */
	readonly activeAtMs: number;
}

/** A key as it is kept. */
export interface StoredKey {
	/** Whose it is. */
	readonly name: string;
	/** Its SHA-256, in hexadecimal. */
	readonly hash: string;
	/** What it allows: see policy/access.ts. */
	readonly scopes: readonly string[];
	/** Milliseconds since 1970. */
	readonly createdAtMs: number;
	/** Calls of one server in a minute. */
	readonly callsPerMinute?: number;
	/** From then on it is worth nothing. Milliseconds since 1970. */
	readonly expiresAtMs?: number;
	/** What else its caller may have, where that is not what the settings say. */
	readonly limits?: KeyLimits;
}

/** What a caller may have. What is not there is as the settings say. */
export interface KeyLimits {
	/** At all servers together. */
	readonly callsInFlight?: number | undefined;
	readonly sessions?: number | undefined;
	/** Of all servers together. */
	readonly containers?: number | undefined;
	/** Of requests. */
	readonly bytesPerMinute?: number | undefined;
}

export interface KeyStore {
	/** By name. */
	listKeys(): readonly StoredKey[];
	/** Keeps a key, new or changed. */
	saveKey(key: StoredKey): void;
	/** Returns whether there was one of that name. */
	deleteKey(name: string): boolean;
	/** Another number whenever another process has changed what is kept; NaN where that cannot be told now. */
	keysVersion(): number;
}

/** Sessions are known by the hash of their id alone. */
export interface SessionStore {
	/** What is damaged is not found. */
	findSession(idHash: string): StoredSession | undefined;
	/** Keeps a session, new or changed. */
	saveSession(idHash: string, session: StoredSession): void;
	/** Notes that a session is in use. */
	touchSession(idHash: string, activeAtMs: number): void;
	deleteSession(idHash: string): void;
	/** Forgets the sessions that were used last, or made, before these times. Returns how many. */
	deleteSessionsBefore(activeAtMs: number, createdAtMs: number): number;
}

/** What servers said of themselves, by what their Instances are made of and the kind of client. See mcp/snapshot.ts. */
export interface SnapshotStore {
	/** Those of a build. */
	findSnapshots(spec: string): readonly (readonly [kind: string, record: StoredSnapshot])[];
	saveSnapshot(spec: string, kind: string, record: StoredSnapshot): void;
	/** Forgets those of a build but for some kinds. */
	deleteSnapshots(spec: string, except: readonly string[]): void;
	/** Forgets those that were learned before a time, in milliseconds since 1970. Returns how many. */
	deleteSnapshotsBefore(learnedAtMs: number): number;
}

export interface StoredSnapshot {
	readonly initialize: string;
	readonly lists: Readonly<Record<string, string>>;
}

/** A definition of a tool as it is kept. */
export interface StoredDefinition {
	/** SHA-256 of the text, in hexadecimal. */
	readonly hash: string;
	/** Canonical JSON; empty where it is too much to be kept. */
	readonly text: string;
	/** Since when it is the one. Milliseconds since 1970. */
	readonly atMs: number;
}

/** A tool of a server, as it was approved and as the server showed it last. See pool/pins.ts. */
export interface StoredPin {
	readonly server: string;
	readonly tool: string;
	readonly approved: StoredDefinition | undefined;
	readonly shown: StoredDefinition;
	/** What the Instance was made of that showed it. */
	readonly spec: string;
	/** Why it cannot be approved as it was shown. */
	readonly flaw: string | undefined;
}

/** The same without the definitions themselves. */
export interface PinState {
	readonly server: string;
	readonly tool: string;
	readonly approvedHash: string | undefined;
	readonly shownHash: string;
	readonly spec: string;
	readonly flaw: string | undefined;
}

export interface PinStore {
	/** By server and tool. */
	listPins(): readonly StoredPin[];
	listPinStates(): readonly PinState[];
	/** Keeps what was shown, all or nothing. What was approved is kept where nothing was approved before, and else left as it is. */
	savePins(pins: readonly StoredPin[]): void;
	/** Approves what was shown, if it is that and has no flaw. Returns whether it was so. */
	approvePin(server: string, tool: string, shownHash: string, atMs: number): boolean;
	/** Forgets those of a server. Returns how many. */
	deletePins(server: string): number;
}

/** What outlives the gateway process. */
export interface Store extends KeyStore, SessionStore, SnapshotStore, PinStore {
	close(): void;
}
