/** The embedded Store: SQLite, part of Node, one file in the data folder. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';
import { SlipwayError } from '../errors.ts';
import { STORE_LIMITS } from '../limits.ts';
import type { KeyStore, PinStore, SessionStore, SnapshotStore, Store, StoredKey } from './contract.ts';

/** In the data folder. */
export const DATABASE_FILE = 'slipway.db';

/** Each entry brings the schema from the version of its index to the next. Never changed, only added to. */
const MIGRATIONS = [
	'CREATE TABLE keys (principal TEXT PRIMARY KEY, hash TEXT NOT NULL, created_at TEXT NOT NULL) STRICT',
	`CREATE TABLE sessions (
		id_hash TEXT PRIMARY KEY, principal TEXT NOT NULL, target TEXT NOT NULL, initialize TEXT NOT NULL,
		revision TEXT NOT NULL, spec TEXT NOT NULL, log_level TEXT, subscriptions TEXT NOT NULL,
		created_at_ms INTEGER NOT NULL, active_at_ms INTEGER NOT NULL
	) STRICT, WITHOUT ROWID`,
	`CREATE TABLE snapshots (
		spec TEXT NOT NULL, kind TEXT NOT NULL, record TEXT NOT NULL, learned_at_ms INTEGER NOT NULL, PRIMARY KEY (spec, kind)
	) STRICT`,
	`CREATE TABLE keys_2 (
		name TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, created_at_ms INTEGER NOT NULL, expires_at_ms INTEGER,
		calls_per_minute INTEGER
	) STRICT;
	INSERT INTO keys_2 SELECT principal, hash, '["*","admin"]', CAST(1000 * unixepoch(created_at) AS INTEGER), NULL, NULL FROM keys;
	DROP TABLE keys; ALTER TABLE keys_2 RENAME TO keys`,
	`CREATE TABLE pins (
		server TEXT NOT NULL, tool TEXT NOT NULL, approved_hash TEXT, approved_text TEXT, approved_at_ms INTEGER,
		shown_hash TEXT NOT NULL, shown_text TEXT NOT NULL, shown_at_ms INTEGER NOT NULL, spec TEXT NOT NULL, flaw TEXT,
		PRIMARY KEY (server, tool)
	) STRICT`,
	'ALTER TABLE keys ADD COLUMN limits TEXT',
] as const;

/**
 * Opens the store in a folder, and makes both where they are missing.
 *
 * @throws SlipwayError SLIPWAY_CONFIG_INVALID when the folder cannot be written, or a newer Slipway wrote the file
 */
export function openSqliteStore(folder: string): Store {
	const database = openDatabase(folder);
	return {
		...keysIn(database),
		...sessionsIn(database),
		...snapshotsIn(database),
		...pinsIn(database),
		close: () => database.close(),
	};
}

const keySchema = z.object({
	name: z.string(),
	hash: z.string(),
	scopes: z.string(),
	created_at_ms: z.number(),
	expires_at_ms: z.number().nullable(),
	calls_per_minute: z.number().nullable(),
	limits: z.string().nullable(),
});

function keysIn(database: DatabaseSync): KeyStore {
	const list = database.prepare('SELECT * FROM keys ORDER BY name');
	const save = database.prepare('INSERT OR REPLACE INTO keys VALUES (?, ?, ?, ?, ?, ?, ?)');
	const remove = database.prepare('DELETE FROM keys WHERE name = ?');
	const version = database.prepare('PRAGMA data_version');
	return {
		listKeys: () =>
			keySchema
				.array()
				.parse(list.all())
				.map(({ name, hash, scopes, limits, ...row }) => ({
					name,
					hash,
					// What is damaged allows nothing.
					scopes: (limitsSchema.safeParse(limits).success && scopesSchema.safeParse(scopes).data) || [],
					createdAtMs: row.created_at_ms,
					...(row.expires_at_ms === null ? {} : { expiresAtMs: row.expires_at_ms }),
					...(row.calls_per_minute === null ? {} : { callsPerMinute: row.calls_per_minute }),
					...limitsIn(limits),
				})),
		saveKey: ({ name, hash, scopes, createdAtMs, expiresAtMs = null, callsPerMinute = null, limits }) => {
			const rest = limits === undefined ? null : JSON.stringify(limits);
			save.run(name, hash, JSON.stringify(scopes), createdAtMs, expiresAtMs, callsPerMinute, rest);
		},
		deleteKey: (name) => remove.run(name).changes > 0,
		keysVersion: () => Number(version.get()?.['data_version'] ?? 0),
	};
}

/** A text that is JSON, as what it says. */
const jsonText = z.string().transform((text, context): unknown => {
	try {
		return JSON.parse(text);
	} catch {
		context.addIssue({ code: 'custom', message: 'no JSON' });
		return z.NEVER;
	}
});
const scopesSchema = jsonText.pipe(z.array(z.string()));
const limitsSchema = jsonText
	.pipe(
		z.object({
			callsInFlight: z.number().optional(),
			sessions: z.number().optional(),
			containers: z.number().optional(),
			bytesPerMinute: z.number().optional(),
		}),
	)
	.nullable();

function limitsIn(text: string | null): Pick<StoredKey, 'limits'> {
	const { data } = limitsSchema.safeParse(text);
	return data === undefined || data === null ? {} : { limits: data };
}

const subscriptionsSchema = jsonText.pipe(z.array(z.tuple([z.string(), z.string()])));
const rowSchema = z.object({
	principal: z.string(),
	target: z.string(),
	initialize: z.string(),
	revision: z.string(),
	spec: z.string(),
	log_level: z.string().nullable(),
	subscriptions: z.string(),
	created_at_ms: z.number(),
	active_at_ms: z.number(),
});

function sessionsIn(database: DatabaseSync): SessionStore {
	const find = database.prepare('SELECT * FROM sessions WHERE id_hash = ?');
	const save = database.prepare('INSERT OR REPLACE INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
	const touch = database.prepare('UPDATE sessions SET active_at_ms = ? WHERE id_hash = ?');
	const remove = database.prepare('DELETE FROM sessions WHERE id_hash = ?');
	const purge = database.prepare('DELETE FROM sessions WHERE active_at_ms < ? OR created_at_ms < ?');
	return {
		findSession: (idHash) => {
			const row = rowSchema.optional().parse(find.get(idHash));
			const subscriptions = row === undefined ? undefined : subscriptionsSchema.safeParse(row.subscriptions).data;
			return row === undefined || subscriptions === undefined
				? undefined
				: {
						principal: row.principal,
						target: row.target,
						initialize: row.initialize,
						revision: row.revision,
						spec: row.spec,
						logLevel: row.log_level ?? undefined,
						subscriptions,
						createdAtMs: row.created_at_ms,
						activeAtMs: row.active_at_ms,
					};
		},
		saveSession: (idHash, session) => {
			const { principal, target, initialize, revision, spec, logLevel = null, subscriptions } = session;
			const [createdAtMs, activeAtMs] = [Math.round(session.createdAtMs), Math.round(session.activeAtMs)];
			save.run(
				idHash,
				principal,
				target,
				initialize,
				revision,
				spec,
				logLevel,
				JSON.stringify(subscriptions),
				createdAtMs,
				activeAtMs,
			);
		},
		touchSession: (idHash, activeAtMs) => {
			touch.run(Math.round(activeAtMs), idHash);
		},
		deleteSession: (idHash) => {
			remove.run(idHash);
		},
		deleteSessionsBefore: (activeAtMs, createdAtMs) =>
			Number(purge.run(Math.round(activeAtMs), Math.round(createdAtMs)).changes),
	};
}

const recordSchema = jsonText.pipe(z.object({ initialize: z.string(), lists: z.record(z.string(), z.string()) }));
const snapshotSchema = z.object({ kind: z.string(), record: z.string() });

function snapshotsIn(database: DatabaseSync): SnapshotStore {
	const find = database.prepare('SELECT kind, record FROM snapshots WHERE spec = ? ORDER BY learned_at_ms');
	const save = database.prepare('INSERT OR REPLACE INTO snapshots VALUES (?, ?, ?, ?)');
	const remove = database.prepare(
		'DELETE FROM snapshots WHERE spec = ? AND kind NOT IN (SELECT value FROM json_each(?))',
	);
	const purge = database.prepare('DELETE FROM snapshots WHERE learned_at_ms < ?');
	return {
		findSnapshots: (spec) =>
			snapshotSchema
				.array()
				.parse(find.all(spec))
				.flatMap(({ kind, record }) => {
					const { data } = recordSchema.safeParse(record);
					return data === undefined ? [] : [[kind, data] as const];
				}),
		saveSnapshot: (spec, kind, record) => {
			save.run(spec, kind, JSON.stringify(record), Date.now());
		},
		deleteSnapshots: (spec, except) => {
			remove.run(spec, JSON.stringify(except));
		},
		deleteSnapshotsBefore: (learnedAtMs) => Number(purge.run(Math.round(learnedAtMs)).changes),
	};
}

const pinStateSchema = z.object({
	server: z.string(),
	tool: z.string(),
	approved_hash: z.string().nullable(),
	shown_hash: z.string(),
	spec: z.string(),
	flaw: z.string().nullable(),
});
const pinSchema = pinStateSchema.extend({
	approved_text: z.string().nullable(),
	approved_at_ms: z.number().nullable(),
	shown_text: z.string(),
	shown_at_ms: z.number(),
});

function pinsIn(database: DatabaseSync): PinStore {
	const list = database.prepare('SELECT * FROM pins ORDER BY server, tool');
	const listStates = database.prepare('SELECT server, tool, approved_hash, shown_hash, spec, flaw FROM pins');
	// What somebody approves meanwhile, here or in another process, is not undone by what a server says.
	const save = database.prepare(
		`INSERT INTO pins VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (server, tool) DO UPDATE SET
			approved_text = iif(approved_hash IS NULL, excluded.approved_text, approved_text),
			approved_at_ms = iif(approved_hash IS NULL, excluded.approved_at_ms, approved_at_ms),
			approved_hash = coalesce(approved_hash, excluded.approved_hash),
			shown_at_ms = iif(shown_hash = excluded.shown_hash, shown_at_ms, excluded.shown_at_ms),
			shown_hash = excluded.shown_hash, shown_text = excluded.shown_text, spec = excluded.spec, flaw = excluded.flaw`,
	);
	const approve = database.prepare(
		`UPDATE pins SET approved_hash = shown_hash, approved_text = shown_text, approved_at_ms = ?
		WHERE server = ? AND tool = ? AND shown_hash = ? AND flaw IS NULL`,
	);
	const remove = database.prepare('DELETE FROM pins WHERE server = ?');
	return {
		listPins: () =>
			pinSchema
				.array()
				.parse(list.all())
				.map(({ server, tool, spec, flaw, ...row }) => ({
					server,
					tool,
					approved:
						row.approved_hash === null
							? undefined
							: { hash: row.approved_hash, text: row.approved_text ?? '', atMs: row.approved_at_ms ?? 0 },
					shown: { hash: row.shown_hash, text: row.shown_text, atMs: row.shown_at_ms },
					spec,
					flaw: flaw ?? undefined,
				})),
		listPinStates: () =>
			pinStateSchema
				.array()
				.parse(listStates.all())
				.map(({ server, tool, spec, flaw, ...row }) => ({
					server,
					tool,
					approvedHash: row.approved_hash ?? undefined,
					shownHash: row.shown_hash,
					spec,
					flaw: flaw ?? undefined,
				})),
		savePins: (pins) => {
			database.exec('BEGIN IMMEDIATE');
			try {
				for (const { server, tool, approved, shown, spec, flaw = null } of pins) {
					const first = approved === undefined ? [null, null, null] : [approved.hash, approved.text, approved.atMs];
					save.run(server, tool, ...first, shown.hash, shown.text, shown.atMs, spec, flaw);
				}
				database.exec('COMMIT');
			} catch (error) {
				if (database.isTransaction) database.exec('ROLLBACK');
				throw error;
			}
		},
		approvePin: (server, tool, shownHash, atMs) => approve.run(atMs, server, tool, shownHash).changes > 0,
		deletePins: (server) => Number(remove.run(server).changes),
	};
}

function openDatabase(folder: string): DatabaseSync {
	try {
		mkdirSync(folder, { recursive: true, mode: 0o700 });
		const database = new DatabaseSync(join(folder, DATABASE_FILE), { timeout: STORE_LIMITS.lockTimeoutMs });
		database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL');
		migrate(database);
		return database;
	} catch (cause) {
		if (cause instanceof SlipwayError) throw cause;
		throw new SlipwayError(
			'SLIPWAY_CONFIG_INVALID',
			{ reason: `The data folder ${folder} cannot be used: it must be writable for this user (SLIPWAY_DATA).` },
			{ cause },
		);
	}
}

function migrate(database: DatabaseSync): void {
	if (versionOf(database) === MIGRATIONS.length) return;
	// The gateway and the command line may come to a new folder at once: one of them brings it here, and the others wait.
	database.exec('BEGIN IMMEDIATE');
	try {
		const found = versionOf(database);
		if (found > MIGRATIONS.length)
			throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
				reason: 'The data folder was written by a newer Slipway: use that one, or another folder (SLIPWAY_DATA).',
			});
		for (const statement of MIGRATIONS.slice(found)) database.exec(statement);
		database.exec(`PRAGMA user_version = ${MIGRATIONS.length}; COMMIT`);
	} catch (error) {
		database.exec('ROLLBACK');
		throw error;
	}
}

function versionOf(database: DatabaseSync): number {
	return Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
}
