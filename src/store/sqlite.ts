/** The embedded Store: SQLite, part of Node, one file in the data folder. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { SlipwayError } from '../errors.ts';
import type { Store } from './contract.ts';

/** Each entry brings the schema from the version of its index to the next. Never changed, only added to. */
const MIGRATIONS = [
	'CREATE TABLE keys (principal TEXT PRIMARY KEY, hash TEXT NOT NULL, created_at TEXT NOT NULL) STRICT',
] as const;

/**
 * Opens the store in a folder, and makes both where they are missing.
 *
 * @throws SlipwayError SLIPWAY_CONFIG_INVALID when the folder cannot be written, or a newer Slipway wrote the file
 */
export function openSqliteStore(folder: string): Store {
	const database = openDatabase(folder);
	const find = database.prepare('SELECT hash FROM keys WHERE principal = ?');
	const save = database.prepare(
		'INSERT INTO keys (principal, hash, created_at) VALUES (?, ?, ?) ON CONFLICT (principal) DO UPDATE SET hash = excluded.hash',
	);
	return {
		findKeyHash: (principal) => {
			const hash = find.get(principal)?.['hash'];
			return typeof hash === 'string' ? hash : undefined;
		},
		saveKeyHash: (principal, hash) => {
			save.run(principal, hash, new Date().toISOString());
		},
		close: () => database.close(),
	};
}

function openDatabase(folder: string): DatabaseSync {
	try {
		mkdirSync(folder, { recursive: true, mode: 0o700 });
		const database = new DatabaseSync(join(folder, 'slipway.db'));
		database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000');
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
	const found = Number(database.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
	if (found > MIGRATIONS.length)
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'The data folder was written by a newer Slipway: use that one, or another folder (SLIPWAY_DATA).',
		});
	for (const [version, statement] of MIGRATIONS.entries()) {
		if (version >= found) database.exec(`BEGIN; ${statement}; PRAGMA user_version = ${version + 1}; COMMIT`);
	}
}
