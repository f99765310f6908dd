import assert from 'node:assert/strict';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';

async function folder(t: TestContext): Promise<string> {
	const path = await mkdtemp(join(tmpdir(), 'slipway-store-'));
	t.after(() => rm(path, { recursive: true }));
	return path;
}

describe('the SQLite store', () => {
	test('makes its folder for its user alone, and keeps what was saved', async (t) => {
		const path = join(await folder(t), 'a', 'b');
		const first = openSqliteStore(path);
		assert.equal((await stat(path)).mode & 0o777, 0o700);
		assert.equal(first.findKeyHash('operator'), undefined);
		first.saveKeyHash('operator', 'one');
		first.saveKeyHash('other', 'two');
		first.saveKeyHash('operator', 'three');
		first.close();
		const second = openSqliteStore(path);
		assert.equal(second.findKeyHash('operator'), 'three');
		assert.equal(second.findKeyHash('other'), 'two');
		assert.equal(second.findKeyHash("x' OR '1'='1"), undefined);
		second.close();
	});

	test('can be opened by two at once', async (t) => {
		const path = await folder(t);
		const [one, two] = [openSqliteStore(path), openSqliteStore(path)];
		one.saveKeyHash('a', '1');
		assert.equal(two.findKeyHash('a'), '1');
		two.saveKeyHash('b', '2');
		assert.equal(one.findKeyHash('b'), '2');
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
