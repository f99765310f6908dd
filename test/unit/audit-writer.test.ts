/** The writer of the audit's chain on a real disk, and where a disk cannot be made to fail, on one that says that it did. */
import assert from 'node:assert/strict';
import { appendFile, mkdtemp, open, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { draftAct } from '../../src/audit/act.ts';
import { readFiles } from '../../src/audit/files.ts';
import { lockFolder } from '../../src/audit/lock.ts';
import { recordText } from '../../src/audit/record.ts';
import { AuditWriter, type AuditWriterOptions } from '../../src/audit/writer.ts';
import { AUDIT_LIMITS } from '../../src/limits.ts';
import { assertWhole, recordsIn, verify } from '../support/audit-files.ts';
import { Inbox } from '../support/inbox.ts';

const KEEP_ALL = { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 };

async function makeFolder(t: TestContext): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
	t.after(() => rm(folder, { recursive: true }));
	return folder;
}

function start(t: TestContext, folder: string, options: Partial<AuditWriterOptions> = {}) {
	const heads: string[] = [];
	const failures = new Inbox<unknown>('a failure');
	const recoveries = new Inbox<true>('a recovery');
	const counts = { written: 0, lost: 0 };
	const writer = new AuditWriter({
		folder,
		retention: KEEP_ALL,
		onFailure: (cause) => failures.push(cause),
		onRecovery: () => recoveries.push(true),
		onHead: ({ hash }) => heads.push(hash),
		onCount: (outcome, count) => {
			counts[outcome] += count;
		},
		...options,
	});
	t.after(() => writer.close());
	const say = (tool: string, event: 'call' | 'stop' = 'call'): void =>
		writer.record(recordText(event, { tool }, Date.now()));
	return { writer, heads, failures, recoveries, counts, say };
}

/** What FileHandle has in common, where a test stands in for the disk. */
async function handlePrototype(
	folder: string,
): Promise<{ write: (bytes: Buffer) => Promise<{ bytesWritten: number }> }> {
	const handle = await open(folder);
	await handle.close();
	return Object.getPrototypeOf(handle);
}

const toolsIn = (folder: string): (string | undefined)[] =>
	recordsIn(folder)
		.filter(({ event }) => event === 'call')
		.map(({ tool }) => tool);

const names = (count: number): string[] => Array.from({ length: count }, (_, nth) => `t${nth}`);

test('what is recorded in one turn is one write, in order, and the head that is told at the end is that of the file', async (t) => {
	const folder = await makeFolder(t);
	const write = t.mock.method(await handlePrototype(folder), 'write');
	const { writer, heads, counts, say } = start(t, folder);
	for (const name of names(50)) say(name);
	await writer.flush();
	for (const name of names(100).slice(50)) say(name);
	assert.equal(write.mock.callCount(), 1, 'nothing is written while it is recorded');
	await writer.close();
	assert.equal(write.mock.callCount(), 2);
	assert.deepEqual(toolsIn(folder), names(100));
	assert.deepEqual([assertWhole(folder).head], heads);
	assert.deepEqual(counts, { written: 100, lost: 0 });
});

test('files are changed under load, nothing is lost, and the chain goes on from one to the next', async (t) => {
	const folder = await makeFolder(t);
	const { writer, heads, say } = start(t, folder, { fileBytesMax: 4_000 });
	for (let turn = 0; turn < 100; turn++) {
		for (let nth = 0; nth < 20; nth++) say(`t${turn * 20 + nth}`);
		await new Promise((resolve) => setImmediate(resolve));
	}
	await writer.close();
	const verdict = assertWhole(folder);
	assert.ok(verdict.files > 20, `${verdict.files} files`);
	assert.equal(heads.length, verdict.files, 'each file tells its head');
	assert.deepEqual(verify(folder, 'gateway', heads).found.toSorted(), heads.toSorted());
	assert.deepEqual(toolsIn(folder), names(2000));
});

test('a file that is a day old is left for another', async (t) => {
	const folder = await makeFolder(t);
	const { writer, say } = start(t, folder);
	say('one');
	await writer.flush();
	const now = performance.now();
	t.mock.method(performance, 'now', () => now + AUDIT_LIMITS.fileAgeMsMax);
	say('two');
	await writer.close();
	assert.equal(assertWhole(folder).files, 2);
});

test('the oldest files go beyond the bound, the chain says so, and to take away one more is found', async (t) => {
	const folder = await makeFolder(t);
	const { writer, say } = start(t, folder, {
		fileBytesMax: 2_000,
		retention: { ...KEEP_ALL, bytesMax: 12_000 },
	});
	for (const name of names(300)) {
		say(name);
		if (name.endsWith('0')) await writer.flush();
	}
	await writer.close();
	const verdict = assertWhole(folder);
	assert.ok(verdict.first > 1);
	const files = (await readdir(folder)).filter((name) => name.endsWith('.jsonl')).sort();
	assert.ok(files.length >= 3 && files.length <= 9, String(files.length));
	assert.equal(toolsIn(folder).at(-1), 't299');
	await rm(join(folder, files[0] ?? ''));
	const { broken } = verify(folder);
	assert.deepEqual([broken?.kind, broken?.file, broken?.line], ['missing', files[1], 1]);
});

test('files that were last written too long ago go when the next process starts', async (t) => {
	const folder = await makeFolder(t);
	for (const name of ['one', 'two', 'three']) {
		const { writer, say } = start(t, folder);
		say(name, 'stop');
		await writer.close();
	}
	await utimes(join(folder, 'gateway-00000001.jsonl'), 1, 1);
	const { writer, say } = start(t, folder, { retention: { ...KEEP_ALL, ageMsMax: 60_000 } });
	say('four');
	await writer.close();
	assert.deepEqual(
		recordsIn(folder).map(({ event }) => event),
		['stop', 'stop', 'retired', 'call'],
	);
	assert.equal(assertWhole(folder).first, 2);
});

test('an unfinished line is told of by the next process, and to change or remove it later is found', async (t) => {
	const folder = await makeFolder(t);
	const first = start(t, folder);
	first.say('one');
	await first.writer.close();
	const path = join(folder, 'gateway-00000001.jsonl');
	await appendFile(path, '{"seq":2,"pre');
	assert.equal(verify(folder).torn?.bytes, 13);
	const second = start(t, folder);
	second.say('two');
	await second.writer.close();
	assertWhole(folder);
	const [, recovered] = recordsIn(folder);
	assert.deepEqual([recovered?.event, recovered?.torn?.[0]?.bytes], ['recovered', 13]);
	const bytes = await readFile(path);
	for (const damage of [
		() => writeFile(path, Buffer.concat([bytes.subarray(0, -1), Buffer.from('f')])),
		() => truncate(path, bytes.length - 13),
		() => truncate(path, bytes.length - 1),
	]) {
		await damage();
		assert.equal(verify(folder).ok, false);
	}
	await writeFile(path, bytes);
	assertWhole(folder);
});

test('a process that was killed between two lines is told of too, and one that stopped is not', async (t) => {
	const folder = await makeFolder(t);
	for (const event of ['call', 'stop', 'stop'] as const) {
		const { writer, say } = start(t, folder);
		say('one', event);
		await writer.close();
	}
	assert.deepEqual(
		recordsIn(folder).map(({ event }) => event),
		['call', 'recovered', 'stop', 'stop'],
	);
});

test('a disk that is full in the middle of a line gets the rest when there is room, and what did not fit is counted', async (t) => {
	t.mock.timers.enable({ apis: ['setTimeout'] });
	const folder = await makeFolder(t);
	const { writer, failures, recoveries, counts, say } = start(t, folder);
	const prototype = await handlePrototype(folder);
	const real = prototype.write;
	let room = 100;
	t.mock.method(prototype, 'write', function (this: unknown, bytes: Buffer) {
		if (room === 0) return Promise.reject(Object.assign(new Error('no space'), { code: 'ENOSPC' }));
		const fits = bytes.subarray(0, room);
		room -= fits.length;
		return Reflect.apply(real, this, [fits]);
	});
	say('t0');
	say('t1');
	await failures.next();
	assert.ok(writer.failing);
	assert.equal((await readFile(join(folder, 'gateway-00000001.jsonl'))).length, 100);
	const bulk = 'x'.repeat(AUDIT_LIMITS.pendingBytesMax / 4);
	for (let nth = 0; nth < 6; nth++) say(bulk);
	assert.equal(counts.lost, 3);
	room = Number.POSITIVE_INFINITY;
	t.mock.timers.tick(AUDIT_LIMITS.retryIntervalMs);
	await recoveries.next();
	assert.ok(!writer.failing);
	say('after');
	await writer.close();
	assertWhole(folder);
	const told = recordsIn(folder).map(({ event, tool, count }) => count ?? (tool === bulk ? 'bulk' : (tool ?? event)));
	assert.deepEqual(told, ['t0', 't1', 'bulk', 'bulk', 'bulk', 3, 'after']);
	assert.equal(failures.items.length, 1, 'one failure is told once');
});

test('where the disk does not take the end, no head is told, and the records are counted as lost', async (t) => {
	const folder = await makeFolder(t);
	const { writer, heads, counts, say } = start(t, folder);
	t.mock.method(await handlePrototype(folder), 'write', () => Promise.reject(new Error('no space')));
	say('one');
	say('two');
	await writer.close();
	assert.deepEqual([heads, counts], [[], { written: 0, lost: 2 }]);
});

test('one process at a time writes the chain: another fails until the first has gone', async (t) => {
	t.mock.timers.enable({ apis: ['setTimeout'] });
	const folder = await makeFolder(t);
	const first = start(t, folder);
	first.say('one', 'stop');
	await first.writer.flush();
	assert.throws(() => lockFolder(folder));
	const second = start(t, folder);
	second.say('two', 'stop');
	await second.failures.next();
	await first.writer.close();
	t.mock.timers.tick(AUDIT_LIMITS.retryIntervalMs);
	await second.recoveries.next();
	await second.writer.close();
	assert.equal(assertWhole(folder).records, 2);
});

test('acts of the command line that come at once are one chain, a file each, and nothing else stays', async (t) => {
	const folder = await makeFolder(t);
	await Promise.all(
		names(20).map(async (key) =>
			(await draftAct({ folder, retention: KEEP_ALL })).finish('key', { act: 'create', key }),
		),
	);
	const verdict = assertWhole(folder, 'cli');
	assert.deepEqual([verdict.files, verdict.records], [20, 20]);
	assert.deepEqual(
		recordsIn(folder, 'cli')
			.map(({ key }) => key)
			.toSorted(),
		names(20).toSorted(),
	);
	assert.equal((await readdir(folder)).length, 20);
});

test('a file that is retired while the others are read is not among them', async (t) => {
	const folder = await makeFolder(t);
	for (const key of names(3))
		await (await draftAct({ folder, retention: KEEP_ALL })).finish('key', { act: 'create', key });
	const reading = readFiles(folder, 'cli');
	const read = [reading.next().value?.name];
	await rm(join(folder, 'cli-00000002.jsonl'));
	for (const { name } of reading) read.push(name);
	assert.deepEqual(read, ['cli-00000001.jsonl', 'cli-00000003.jsonl']);
});

test('files of the command line go beyond the bound too, and its chain says so', async (t) => {
	const folder = await makeFolder(t);
	for (const key of names(6))
		await (await draftAct({ folder, retention: { ...KEEP_ALL, bytesMax: 400 } })).finish('key', { act: 'create', key });
	const verdict = assertWhole(folder, 'cli');
	assert.ok(verdict.first > 1 && verdict.files < 6, JSON.stringify(verdict));
	assert.equal(recordsIn(folder, 'cli').at(-1)?.key, 't5');
});
