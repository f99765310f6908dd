import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, open, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { type Catalog, createCatalog } from '../../src/catalog/catalog.ts';
import { loadCatalog } from '../../src/catalog/load.ts';
import { watchCatalog } from '../../src/catalog/watch.ts';
import type { SlipwayError } from '../../src/errors.ts';

const DEADLINE_MS = 10_000;

/** What a watch reports, one at a time. The deadline also keeps the test's process alive, as a watch does not. */
class Reports {
	readonly #queue: (Catalog | SlipwayError)[] = [];
	#wake: (() => void) | undefined;

	readonly onCatalog = (catalog: Catalog): void => this.#push(catalog);
	readonly onProblem = (error: SlipwayError): void => this.#push(error);

	get length(): number {
		return this.#queue.length;
	}

	/** The names of the servers of the next report, or the reason of the next problem. */
	async next(): Promise<string> {
		if (this.#queue.length === 0) {
			const { promise, resolve, reject } = Promise.withResolvers<void>();
			const deadline = setTimeout(() => reject(new Error('nothing was reported')), DEADLINE_MS);
			this.#wake = resolve;
			await promise.finally(() => clearTimeout(deadline));
		}
		const report = this.#queue.shift();
		assert.ok(report);
		return 'servers' in report ? [...report.servers.keys()].join(' ') : (report.details.reason ?? '');
	}

	#push(report: Catalog | SlipwayError): void {
		this.#queue.push(report);
		this.#wake?.();
	}
}

function catalogText(...names: readonly string[]): string {
	return JSON.stringify({ servers: Object.fromEntries(names.map((name) => [name, { npm: 'one@1.0.0' }])) });
}

/** As editors do it: at every moment the file is either the old one or the new one. */
async function replace(file: string, text: string): Promise<void> {
	await writeFile(`${file}.swp`, text);
	await rename(`${file}.swp`, file);
}

async function tempFolder(t: TestContext): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-watch-'));
	t.after(() => rm(folder, { recursive: true }));
	return folder;
}

async function startWatch(t: TestContext, { by = 'file', text = catalogText('one') } = {}) {
	const folder = await tempFolder(t);
	const file = join(folder, 'catalog.json');
	await writeFile(file, text);
	const reports = new Reports();
	const watch = watchCatalog(by === 'file' ? file : folder, reports);
	t.after(() => watch.stop());
	return { folder, file, reports, watch };
}

for (const by of ['file', 'folder']) {
	test(`a file written in place is loaded again, watched by its ${by}`, async (t) => {
		const { file, reports } = await startWatch(t, { by });
		// One write and no truncation before it, so that no look can fall between the two.
		const handle = await open(file, 'r+');
		await handle.write(catalogText('one', 'two'));
		await handle.close();
		assert.equal(await reports.next(), 'one two');
	});
}

test('a file replaced by rename is loaded again, every time', async (t) => {
	const { file, reports } = await startWatch(t);
	for (const name of ['two', 'three', 'four']) {
		await replace(file, catalogText(name));
		assert.equal(await reports.next(), name);
	}
});

test('a bad file is told once, and the good one after it', async (t) => {
	const { file, reports } = await startWatch(t);
	await replace(file, '{"servers": {');
	assert.match(await reports.next(), /catalog\.json:1:14: a closing } was expected/);
	await replace(file, '{"servers": {');
	await writeFile(join(file, '..', 'unrelated'), '');
	await replace(file, catalogText('one'));
	assert.equal(await reports.next(), 'one');
	assert.equal(reports.length, 0);
});

test('a file that goes away is told, and its return too', async (t) => {
	const { file, reports } = await startWatch(t);
	await rm(file);
	assert.match(await reports.next(), /catalog\.json: no such file\./);
	await replace(file, catalogText('one'));
	assert.equal(await reports.next(), 'one');
});

test('a file that is touched or written with what it holds is not loaded again', async (t) => {
	const { file, reports } = await startWatch(t);
	await replace(file, catalogText('one'));
	await replace(file, catalogText('one'));
	await replace(file, catalogText('two'));
	assert.equal(await reports.next(), 'two');
	assert.equal(reports.length, 0);
});

test('a burst of writes is one reload', async (t) => {
	const { file, reports } = await startWatch(t);
	// In one turn of the event loop, so that no slow machine makes two bursts of it.
	for (const name of ['a', 'b', 'c', 'd', 'e']) writeFileSync(file, catalogText(name));
	assert.equal(await reports.next(), 'e');
	assert.equal(reports.length, 0);
});

test('what changed between the first load and the watch is told', async (t) => {
	const folder = await tempFolder(t);
	await writeFile(join(folder, 'catalog.json'), catalogText('one'));
	const current = await loadCatalog(folder);
	await writeFile(join(folder, 'catalog.json'), catalogText('two'));
	const reports = new Reports();
	const watch = watchCatalog(folder, Object.assign(reports, { current }));
	t.after(() => watch.stop());
	assert.equal(await reports.next(), 'two');
});

test('what did not change between the first load and the watch is not told', async (t) => {
	const folder = await tempFolder(t);
	await writeFile(join(folder, 'catalog.json'), catalogText('one'));
	const reports = new Reports();
	const watch = watchCatalog(folder, Object.assign(reports, { current: await loadCatalog(folder) }));
	t.after(() => watch.stop());
	await writeFile(join(folder, 'catalog.json'), catalogText('two'));
	assert.equal(await reports.next(), 'two');
});

test('the poll sees what no event tells', async (t) => {
	// The folder that is watched holds a link; what it leads to changes elsewhere, as behind a network or bind mount.
	const { folder, file } = await startWatch(t);
	const linked = join(folder, 'linked');
	await mkdir(linked);
	await symlink(file, join(linked, 'catalog.json'));
	const reports = new Reports();
	const watch = watchCatalog(linked, reports);
	t.after(() => watch.stop());
	await replace(file, catalogText('two'));
	assert.equal(await reports.next(), 'two');
});

test('a folder that is not there yet is found by the poll', async (t) => {
	const folder = join(await tempFolder(t), 'later');
	const reports = new Reports();
	const watch = watchCatalog(join(folder, 'catalog.json'), Object.assign(reports, { current: createCatalog([]) }));
	t.after(() => watch.stop());
	assert.match(await reports.next(), /no such file/);
	await mkdir(folder);
	await writeFile(join(folder, 'catalog.json'), catalogText('one'));
	assert.equal(await reports.next(), 'one');
});

test('after stop nothing is told', async (t) => {
	const { file, reports, watch } = await startWatch(t);
	const others = new Reports();
	const other = watchCatalog(file, others);
	t.after(() => other.stop());
	watch.stop();
	watch.stop();
	await replace(file, catalogText('two'));
	assert.equal(await others.next(), 'two');
	assert.equal(reports.length, 0);
});

test('a watch keeps no process alive', async () => {
	const source = `
		import { watchCatalog } from ${JSON.stringify(new URL('../../src/catalog/watch.ts', import.meta.url).href)};
		watchCatalog(${JSON.stringify(new URL('../../catalog', import.meta.url).pathname)}, {});`;
	const child = spawn(process.execPath, ['--input-type=module', '-e', source], {
		stdio: 'inherit',
		timeout: DEADLINE_MS,
	});
	assert.deepEqual(await once(child, 'exit'), [0, null]);
});
