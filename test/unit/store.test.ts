import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import type { StoredKey, StoredPin, StoredSession } from '../../src/store/contract.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';

async function folder(t: TestContext): Promise<string> {
	const path = await mkdtemp(join(tmpdir(), 'slipway-store-'));
	t.after(() => rm(path, { recursive: true }));
	return path;
}

const key = (name: string, hash: string): StoredKey => ({ name, hash, scopes: ['*', 'admin'], createdAtMs: 5 });

describe('the SQLite store', () => {
	test('makes its folder for its user alone, and keeps what was saved', async (t) => {
		const path = join(await folder(t), 'a', 'b');
		const first = openSqliteStore(path);
		assert.equal((await stat(path)).mode & 0o777, 0o700);
		assert.deepEqual(first.listKeys(), []);
		first.saveKey(key('operator', 'one'));
		const limits = { callsInFlight: 1, sessions: 2, containers: 3, bytesPerMinute: 4 };
		first.saveKey({ ...key('other', 'two'), scopes: ['server:a'], expiresAtMs: 7, limits });
		first.saveKey(key('operator', 'three'));
		first.close();
		const second = openSqliteStore(path);
		assert.deepEqual(second.listKeys(), [
			key('operator', 'three'),
			{ ...key('other', 'two'), scopes: ['server:a'], expiresAtMs: 7, limits },
		]);
		assert.equal(second.deleteKey("x' OR '1'='1"), false);
		assert.equal(second.deleteKey('other'), true);
		assert.deepEqual(second.listKeys(), [key('operator', 'three')]);
		second.close();
	});

	test('takes a key whose limits are damaged for one that allows nothing', async (t) => {
		const path = await folder(t);
		const store = openSqliteStore(path);
		store.saveKey({ ...key('a', '1'), limits: { containers: 1 } });
		const database = new DatabaseSync(join(path, 'slipway.db'));
		for (const damaged of ['', '1', '{"containers":"1"}', 'null']) {
			database.prepare('UPDATE keys SET limits = ?').run(damaged);
			assert.deepEqual(store.listKeys(), [{ ...key('a', '1'), scopes: [] }], damaged);
		}
		database.close();
		store.close();
	});

	test('takes damaged scopes of a key for none', async (t) => {
		const path = await folder(t);
		const store = openSqliteStore(path);
		store.saveKey(key('a', '1'));
		const database = new DatabaseSync(join(path, 'slipway.db'));
		for (const damaged of ['', '"*"', '[1]', 'null']) {
			database.prepare('UPDATE keys SET scopes = ?').run(damaged);
			assert.deepEqual(store.listKeys()[0]?.scopes, [], damaged);
		}
		database.close();
		store.close();
	});

	test('can be opened by two at once', async (t) => {
		const path = await folder(t);
		const [one, two] = [openSqliteStore(path), openSqliteStore(path)];
		const before = two.keysVersion();
		one.saveKey(key('a', '1'));
		assert.notEqual(two.keysVersion(), before, 'it is seen that another has changed something');
		assert.deepEqual(two.listKeys(), [key('a', '1')]);
		const after = one.keysVersion();
		two.saveKey(key('b', '2'));
		assert.notEqual(one.keysVersion(), after);
		assert.equal(one.listKeys().length, 2);
		one.close();
		two.close();
	});

	test('that a newer Slipway wrote is refused and left as it is', async (t) => {
		const path = await folder(t);
		openSqliteStore(path).close();
		const database = new DatabaseSync(join(path, 'slipway.db'));
		database.exec('PRAGMA user_version = 99');
		assert.throws(
			() => openSqliteStore(path),
			(error) =>
				error instanceof SlipwayError && error.code === 'SLIPWAY_CONFIG_INVALID' && /newer Slipway/.test(error.message),
		);
		assert.equal(database.prepare('PRAGMA user_version').get()?.['user_version'], 99);
		database.close();
	});

	test('that is no database, or whose folder is a file, is a wrong setting that names SLIPWAY_DATA', async (t) => {
		const path = await folder(t);
		await writeFile(
			join(path, 'slipway.db'),
			'this is text, and a good deal of it, so that it cannot be taken for empty',
		);
		await writeFile(join(path, 'file'), '');
		for (const bad of [path, join(path, 'file')])
			assert.throws(
				() => openSqliteStore(bad),
				(error) =>
					error instanceof SlipwayError &&
					error.code === 'SLIPWAY_CONFIG_INVALID' &&
					/SLIPWAY_DATA/.test(error.message),
			);
	});
});

const SESSION: StoredSession = {
	principal: 'operator',
	target: 'alpha',
	initialize: '{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"clientInfo":{"name":"\\u0000 \u2028 😀 \'"}}}',
	revision: '2025-11-25',
	spec: 'sha256:one',
	logLevel: 'error',
	subscriptions: [
		['test://a', 'alpha'],
		["test://'; DROP TABLE sessions; --", 'beta'],
	],
	createdAtMs: 1_000,
	activeAtMs: 2_000,
};

describe('sessions in the SQLite store', () => {
	test('are there with all that they were saved with, for the next process too, and are changed as a whole', async (t) => {
		const path = await folder(t);
		const first = openSqliteStore(path);
		const bare = { ...SESSION, logLevel: undefined, subscriptions: [], spec: '' };
		first.saveSession('one', SESSION);
		first.saveSession('two', bare);
		assert.deepEqual(first.findSession('one'), SESSION);
		assert.equal(first.findSession('three'), undefined);
		first.close();
		const second = openSqliteStore(path);
		assert.deepEqual(second.findSession('one'), SESSION);
		assert.deepEqual(second.findSession('two'), bare);
		second.saveSession('one', { ...bare, activeAtMs: 3_000 });
		assert.deepEqual(second.findSession('one'), { ...bare, activeAtMs: 3_000 });
		second.close();
	});

	test('are used when that is noted, and gone when they are deleted; of others nothing changes', async (t) => {
		const store = openSqliteStore(await folder(t));
		store.saveSession('one', SESSION);
		store.saveSession('two', SESSION);
		store.touchSession('one', 5_000.6);
		store.touchSession('three', 5_000);
		assert.deepEqual(store.findSession('one'), { ...SESSION, activeAtMs: 5_001 });
		assert.deepEqual(store.findSession('two'), SESSION);
		assert.equal(store.findSession('three'), undefined, 'a use makes no session');
		store.deleteSession('one');
		store.deleteSession('one');
		assert.equal(store.findSession('one'), undefined);
		assert.deepEqual(store.findSession('two'), SESSION);
		store.close();
	});

	test('are saved with times that have fractions', async (t) => {
		const store = openSqliteStore(await folder(t));
		store.saveSession('one', { ...SESSION, createdAtMs: 1_000.25, activeAtMs: 2_000.75 });
		assert.deepEqual(store.findSession('one'), { ...SESSION, createdAtMs: 1_000, activeAtMs: 2_001 });
		store.close();
	});

	test('are forgotten when they were used, or made, before a time, and not at it', async (t) => {
		const store = openSqliteStore(await folder(t));
		const save = (id: string, createdAtMs: number, activeAtMs: number): void =>
			store.saveSession(id, { ...SESSION, createdAtMs, activeAtMs });
		save('idle', 100, 199);
		save('old', 99, 300);
		save('just', 100, 200);
		save('new', 300, 300);
		assert.equal(store.deleteSessionsBefore(200, 100), 2);
		assert.equal(store.deleteSessionsBefore(200, 100), 0);
		const left = ['idle', 'old', 'just', 'new'].filter((id) => store.findSession(id) !== undefined);
		assert.deepEqual(left, ['just', 'new']);
		store.close();
	});

	test('with damaged subscriptions are not found, and harm no other', async (t) => {
		const path = await folder(t);
		const store = openSqliteStore(path);
		store.saveSession('good', SESSION);
		const database = new DatabaseSync(join(path, 'slipway.db'));
		for (const damaged of ['', 'nonsense', 'null', '{}', '[1]', '[["a"]]', '[["a","b","c"]]', '[["a",1]]']) {
			store.saveSession('bad', SESSION);
			database.prepare("UPDATE sessions SET subscriptions = ? WHERE id_hash = 'bad'").run(damaged);
			assert.equal(store.findSession('bad'), undefined, damaged);
		}
		assert.deepEqual(store.findSession('good'), SESSION);
		store.saveSession('bad', SESSION);
		assert.deepEqual(store.findSession('bad'), SESSION);
		database.close();
		store.close();
	});

	test('come to a store of the version before with its keys kept', async (t) => {
		const path = await folder(t);
		const database = new DatabaseSync(join(path, 'slipway.db'));
		database.exec(
			'CREATE TABLE keys (principal TEXT PRIMARY KEY, hash TEXT NOT NULL, created_at TEXT NOT NULL) STRICT; PRAGMA user_version = 1',
		);
		database.exec("INSERT INTO keys VALUES ('operator', 'of the version before', '2026-01-01')");
		database.close();
		for (const _ of [1, 2]) {
			const store = openSqliteStore(path);
			assert.deepEqual(store.listKeys(), [
				{ ...key('operator', 'of the version before'), createdAtMs: Date.UTC(2026, 0) },
			]);
			store.saveSession('one', SESSION);
			assert.deepEqual(store.findSession('one'), SESSION);
			store.close();
		}
	});
});

describe('snapshots in the SQLite store', () => {
	test('that are damaged are not found, and harm no other', async (t) => {
		const path = await folder(t);
		const store = openSqliteStore(path);
		const snapshot = { initialize: '{}', lists: { 'tools/list': '{"tools":[]}' } };
		store.saveSnapshot('spec', 'good', snapshot);
		const database = new DatabaseSync(join(path, 'slipway.db'));
		for (const damaged of ['', 'nonsense', 'null', '[]', '{"initialize":1,"lists":{}}', '{"initialize":"{}"}']) {
			store.saveSnapshot('spec', 'bad', snapshot);
			database.prepare("UPDATE snapshots SET record = ? WHERE kind = 'bad'").run(damaged);
			assert.deepEqual(store.findSnapshots('spec'), [['good', snapshot]], damaged);
		}
		database.close();
		store.close();
	});
});

describe('pins in the SQLite store', () => {
	const definition = (hash: string, atMs = 1) => ({ hash, text: `{"name":"${hash} \u2028 '"}`, atMs });
	const pin = (shown: string, approved: string | undefined, more: Partial<StoredPin> = {}): StoredPin => ({
		server: 'files',
		tool: 'read',
		approved: approved === undefined ? undefined : definition(approved),
		shown: definition(shown),
		spec: 'one',
		flaw: undefined,
		...more,
	});

	test('keep what was approved whatever is shown later, for the next process too', async (t) => {
		const path = await folder(t);
		const first = openSqliteStore(path);
		first.savePins([pin('a', 'a'), pin('b', 'b', { server: 'other', tool: "x'; DROP TABLE pins; --" })]);
		first.savePins([pin('c', 'c', { spec: 'two', flaw: 'bad' })]);
		first.close();
		const second = openSqliteStore(path);
		const [changed, other] = second.listPins();
		assert.deepEqual(changed, pin('c', 'a', { spec: 'two', flaw: 'bad' }));
		assert.deepEqual(other, pin('b', 'b', { server: 'other', tool: "x'; DROP TABLE pins; --" }));
		assert.deepEqual(
			second.listPinStates().find(({ server }) => server === 'files'),
			{ server: 'files', tool: 'read', approvedHash: 'a', shownHash: 'c', spec: 'two', flaw: 'bad' },
		);
		second.close();
	});

	test('take the first that is approved, and remember since when something is shown', async (t) => {
		const store = openSqliteStore(await folder(t));
		store.savePins([pin('a', undefined)]);
		assert.equal(store.listPins()[0]?.approved, undefined);
		store.savePins([pin('a', 'a', { shown: definition('a', 9) })]);
		assert.deepEqual([store.listPins()[0]?.approved?.hash, store.listPins()[0]?.shown.atMs], ['a', 1]);
		store.close();
	});

	test('are approved as they were looked at, and not what was refused; another process sees that', async (t) => {
		const path = await folder(t);
		const [store, gateway] = [openSqliteStore(path), openSqliteStore(path)];
		gateway.savePins([pin('a', 'a')]);
		gateway.savePins([pin('b', undefined)]);
		assert.equal(store.approvePin('files', 'read', 'a', 5), false, 'it says something else by now');
		const version = gateway.keysVersion();
		assert.equal(store.approvePin('files', 'read', 'b', 5), true);
		assert.notEqual(gateway.keysVersion(), version);
		assert.deepEqual(gateway.listPins()[0]?.approved, { ...definition('b'), atMs: 5 });
		gateway.savePins([pin('c', undefined, { flaw: 'bad' })]);
		assert.equal(store.approvePin('files', 'read', 'c', 6), false);
		assert.equal(store.deletePins('files'), 1);
		assert.deepEqual([gateway.listPins(), store.deletePins('files')], [[], 0]);
		store.close();
		gateway.close();
	});

	test('are saved all or not at all', async (t) => {
		const store = openSqliteStore(await folder(t));
		const broken = { ...pin('b', 'b', { tool: 'two' }), shown: { ...definition('b'), atMs: 0.5 } };
		assert.throws(() => store.savePins([pin('a', 'a'), broken]));
		assert.deepEqual(store.listPins(), []);
		store.savePins([pin('a', 'a')]);
		assert.equal(store.listPins().length, 1, 'and it goes on');
		store.close();
	});
});
