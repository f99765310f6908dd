import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadCatalog } from '../../src/catalog/load.ts';
import { formatLock, type Lock, lockFileOf, lockKey, parseLock, printNpmLock } from '../../src/catalog/lock.ts';
import { replaceFile } from '../../src/catalog/replace-file.ts';
import { watchCatalog } from '../../src/catalog/watch.ts';
import { referenceOf } from '../../src/docker/npm-image.ts';
import { SlipwayError } from '../../src/errors.ts';

const INTEGRITY = `sha512-${'A'.repeat(86)}==`;
const DIGEST = `node@sha256:${'0'.repeat(64)}`;

/** npm's lock file of a package that needs another. */
function npmLock(overrides: object = {}): string {
	const packages = {
		'': { name: 'slipway-server', dependencies: { one: '1.0.0' } },
		'node_modules/one': { version: '1.0.0', integrity: INTEGRITY, dependencies: { two: '^2.0.0' } },
		'node_modules/two': { version: '2.0.1', integrity: INTEGRITY, ...overrides },
	};
	return printNpmLock({ name: 'slipway-server', lockfileVersion: 3, requires: true, packages });
}

function lockOf(...keys: readonly string[]): Lock {
	return {
		bases: new Map([['node:26', DIGEST]]),
		sources: new Map(keys.map((key) => [key, { integrity: INTEGRITY, lock: npmLock() }])),
	};
}

/** Has a text in the place of what there is, or of nothing. */
function put(file: string, text: string): void {
	const before = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
	assert.equal(replaceFile(file, { before, after: text }), true);
}

function problemOf(text: string): string {
	try {
		parseLock(text, 'catalog.lock.json');
	} catch (error) {
		assert.ok(error instanceof SlipwayError && error.code === 'SLIPWAY_LOCK_INVALID', String(error));
		return error.details.reason ?? '';
	}
	return 'no problem';
}

test('what is written is read again to the byte, whatever its order; other managers keep their lines', () => {
	const requirements = 'one==1.0.0 \\\n    --hash=sha256:abc\n\ntwo==2.0.0\n';
	const pypi = ['pypi:one@1.0.0', { integrity: INTEGRITY, lock: requirements }] as const;
	const lock: Lock = {
		...lockOf('npm:two@1.0.0', 'npm:./own'),
		sources: new Map([...lockOf('npm:b@1.0.0', 'npm:a@1.0.0').sources, pypi]),
	};
	const text = formatLock(lock);
	const again = parseLock(text, 'catalog.lock.json');
	assert.deepEqual([...again.sources.keys()], ['npm:a@1.0.0', 'npm:b@1.0.0', 'pypi:one@1.0.0']);
	assert.equal(again.sources.get('npm:a@1.0.0')?.lock, npmLock());
	assert.equal(again.sources.get('pypi:one@1.0.0')?.lock, requirements);
	assert.equal(again.bases.get('node:26'), DIGEST);
	assert.equal(formatLock(again), text);
	assert.equal(formatLock({ ...lock, sources: new Map([...lock.sources].reverse()) }), text);
	// One line a package's version and one its integrity: a difference can be read.
	assert.ok(text.split('\n').every((line) => line.length < 200));
});

test('what could be something else tomorrow is refused, and so is what is no lock', () => {
	const withNpm = (lock: string): string =>
		formatLock({ bases: new Map(), sources: new Map([['npm:one@1.0.0', { integrity: INTEGRITY, lock }]]) });
	assert.equal(problemOf(withNpm(npmLock())), 'no problem');
	assert.equal(problemOf(withNpm(npmLock({ integrity: undefined, inBundle: true }))), 'no problem');
	for (const two of [
		{ integrity: undefined, resolved: `git+ssh://git@example.com/two.git#${'0'.repeat(40)}` },
		{ integrity: 'sha1-AAAAAAAAAAAAAAAAAAAAAAAAAAA=' },
		{ integrity: undefined, resolved: 'file:../two' },
	])
		assert.match(problemOf(withNpm(npmLock(two))), /sources\["npm:one@1\.0\.0"\]: "two" has no hash to know it by/);
	assert.match(problemOf(withNpm('{"lockfileVersion":2}')), /this is no lock file of npm/);
	const good = JSON.parse(formatLock(lockOf('npm:one@1.0.0')));
	const place = (change: object): string => problemOf(JSON.stringify({ ...good, ...change }));
	assert.match(place({ version: 2 }), /catalog\.lock\.json: version is not what/);
	assert.match(place({ more: 1 }), /is not what `slipway lock` writes/);
	assert.match(place({ bases: { node: 'node:26' } }), /bases\.node is not what/);
	assert.match(place({ sources: { 'gem:one': good.sources['npm:one@1.0.0'] } }), /is not what/);
	assert.match(place({ sources: { 'npm:one@1.0.0': { integrity: 'sha1-AAA=', lock: {} } } }), /integrity is not what/);
	assert.match(problemOf(''), /is empty/);
	assert.match(problemOf('{"version": 1,\n "version": 1}'), /catalog\.lock\.json:2:2: stands here twice/);
});

test('a source has one name in the lock, and the lock one beside its catalog', () => {
	assert.equal(lockKey({ kind: 'npm', name: '@scope/one', version: '1.0.0', bin: 'two' }), 'npm:@scope/one@1.0.0');
	assert.equal(lockKey({ kind: 'npm-local', path: './own' }), 'npm:./own');
	assert.equal(lockKey({ kind: 'image', reference: 'one:1' }), undefined);
	assert.equal(lockFileOf('/etc/slipway/catalog/catalog.json'), '/etc/slipway/catalog/catalog.lock.json');
	assert.equal(lockFileOf('/etc/mcp'), '/etc/mcp.lock.json');
});

test('the tag of an image is a function of what goes in', () => {
	const one = referenceOf('@scope/One_2', 'source', npmLock());
	assert.match(one, /^slipway\/npm-scope-one-2:[0-9a-f]{16}$/);
	assert.equal(referenceOf('@scope/One_2', 'source', npmLock()), one);
	assert.notEqual(referenceOf('@scope/One_2', 'other', npmLock()), one);
	assert.notEqual(referenceOf('@scope/One_2', 'source', npmLock({ version: '2.0.2' })), one);
});

test('a lock that changes is a catalog that changes; a flawed one leaves the last good one', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-lock-'));
	t.after(() => rm(folder, { recursive: true }));
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers: { one: { npm: 'one@1.0.0' } } }));
	const current = await loadCatalog(folder);
	assert.equal(current.lock.sources.size, 0);
	let report = Promise.withResolvers<string>();
	const next = async (): Promise<string> => {
		const keepAlive = setTimeout(() => report.reject(new Error('nothing was reported')), 10_000);
		const said = await report.promise.finally(() => clearTimeout(keepAlive));
		report = Promise.withResolvers();
		return said;
	};
	const watch = watchCatalog(folder, {
		current,
		onCatalog: ({ lock }) => report.resolve([...lock.sources.keys()].join(' ')),
		onProblem: ({ code }) => report.resolve(code),
	});
	t.after(() => watch.stop());
	const file = join(folder, 'catalog.lock.json');
	put(file, formatLock(lockOf('npm:one@1.0.0')));
	assert.equal(await next(), 'npm:one@1.0.0');
	put(file, 'no lock');
	assert.equal(await next(), 'SLIPWAY_LOCK_INVALID');
	put(file, formatLock(lockOf('npm:one@1.0.0', 'npm:two@1.0.0')));
	assert.equal(await next(), 'npm:one@1.0.0 npm:two@1.0.0');
	await rm(file);
	assert.equal(await next(), '');
	put(file, formatLock(lockOf('npm:one@1.0.0')));
	assert.equal(await next(), 'npm:one@1.0.0');
	assert.equal((await loadCatalog(folder)).lock.sources.size, 1);
});

test('the file is replaced at once, and keeps its mode; where it cannot be, it says so and leaves nothing', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-lock-'));
	t.after(() => rm(folder, { recursive: true }));
	const file = join(folder, 'catalog.lock.json');
	put(file, 'one');
	assert.equal((await stat(file)).mode & 0o777, 0o644);
	const { ino } = await stat(file);
	await chmod(file, 0o664);
	put(file, 'two');
	const after = await stat(file);
	assert.deepEqual([await readFile(file, 'utf8'), after.mode & 0o777], ['two', 0o664]);
	assert.notEqual(after.ino, ino, 'a reader of the old one sees none of the new');
	// What came meanwhile is not written over.
	assert.equal(replaceFile(file, { before: undefined, after: 'three' }), false);
	assert.equal(replaceFile(file, { before: 'one', after: 'three' }), false);
	const nowhere = join(folder, 'no', 'such');
	assert.throws(() => put(nowhere, 'x'), { code: 'SLIPWAY_CATALOG_UNWRITABLE' });
	assert.deepEqual((await readdir(folder)).sort(), ['catalog.lock.json']);
});
