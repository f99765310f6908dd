/** The audit of Slipway as people run it: killed in the middle of calls, on a disk without room, and what the command line says of it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import Docker from 'dockerode';
import { recordText } from '../../src/audit/record.ts';
import { AuditWriter } from '../../src/audit/writer.ts';
import { assertWhole, recordsIn } from '../support/audit-files.ts';
import { freePort, runSlipway, type SlipwayProcess, startSlipway } from '../support/client-process.ts';
import { assertStatus, RawClient } from '../support/client-raw.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { leaveNothing } from '../support/leave-nothing.ts';
import { API_KEY } from '../support/stack.ts';

const CLIENTS = 4;
const CALLS_BEFORE = 60;
const KILLS = 3;

let image: string;
before(async () => {
	image = await fixtureImage();
});

async function makeFolder(t: TestContext): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
	t.after(() => rm(folder, { recursive: true, force: true }));
	return folder;
}

test('kill -9 in the middle of a storm of calls leaves an unfinished line at most, every call that was answered before, and a chain that goes on', async (t) => {
	const id = `e2e-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
	const processes: SlipwayProcess[] = [];
	t.after(() => leaveNothing({ id, folder, processes, signal: 'SIGKILL' }));
	const port = await freePort();
	const servers = { conversation: { image, command: ['node', '/app/test/fixtures/conversation.ts'] } };
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
	const audit = join(folder, 'data', 'audit');
	const start = async (): Promise<SlipwayProcess> => {
		const started = startSlipway(['all'], {
			SLIPWAY_PORT: String(port),
			SLIPWAY_DATA: join(folder, 'data'),
			SLIPWAY_CATALOG: folder,
			SLIPWAY_GATEWAY_ID: id,
			SLIPWAY_API_KEY: API_KEY,
			SLIPWAY_WARM: '0',
			SLIPWAY_CALLS_PER_MINUTE: '0',
		});
		processes.push(started);
		await started.lines.first((line) => line.includes('gateway listening'));
		return started;
	};
	let answered = 0;
	for (let kill = 0; kill < KILLS; kill++) {
		const started = await start();
		const url = `http://127.0.0.1:${port}/servers/conversation/mcp`;
		const enough = Promise.withResolvers<void>();
		let here = 0;
		const clients = await Promise.all(
			Array.from({ length: CLIENTS }, async () => {
				const client = new RawClient(url);
				await client.open();
				return client;
			}),
		);
		const storm = clients.map(async (client) => {
			for (;;) {
				const reply = await client.send('tools/call', { name: 'echo', arguments: { text: 'CANARY' } });
				assertStatus(reply, 200);
				await reply.text;
				here += 1;
				if (here === CALLS_BEFORE) enough.resolve();
			}
		});
		// All of them end by the kill.
		for (const one of storm) one.catch(() => undefined);
		await enough.promise;
		started.child.kill('SIGKILL');
		await started.exited;
		await Promise.allSettled(storm);
		answered += here;
		const { torn } = assertWhole(audit);
		t.diagnostic(`unfinished: ${torn?.bytes ?? 0} bytes`);
	}
	const last = await start();
	last.child.kill('SIGTERM');
	assert.equal(await last.exited, 0);
	const verdict = assertWhole(audit);
	const records = recordsIn(audit);
	const calls = records.filter(({ event }) => event === 'call');
	// Of each storm, what was answered in the very last moment may not be there: at most one a client.
	assert.ok(calls.length >= answered - KILLS * CLIENTS, `${calls.length} records of ${answered} calls`);
	assert.deepEqual([...new Set(calls.map(({ outcome, tool }) => `${tool} ${outcome}`))], ['echo ok']);
	assert.deepEqual(
		records.map(({ event }) => event).filter((event) => event === 'recovered' || event === 'stop'),
		[...Array.from({ length: KILLS }, () => 'recovered'), 'stop'],
	);
	const told = last.lines.items.find((line) => line.includes('"audit head"'));
	assert.equal(JSON.parse(told ?? '{}').head, verdict.head);
	assert.equal((await runSlipway(['audit', 'verify', '--head', verdict.head], { SLIPWAY_AUDIT_DIR: audit })).code, 0);
});

describe('the command line', () => {
	test('records what it does to keys in a chain of its own, ten at once', async (t) => {
		const folder = await makeFolder(t);
		const settings = { SLIPWAY_DATA: folder };
		const names = Array.from({ length: 10 }, (_, nth) => `k${nth}`);
		await runSlipway(['keys', 'list'], settings);
		await Promise.all(names.map((name) => runSlipway(['keys', 'create', name, '--servers', 'a'], settings)));
		const rotated = await runSlipway(['keys', 'rotate', 'k1'], settings);
		await runSlipway(['keys', 'revoke', 'k2'], settings);
		assert.equal((await runSlipway(['keys', 'revoke', 'k2'], settings)).code, 1);
		const audit = join(folder, 'audit');
		assertWhole(audit, 'cli');
		const told = recordsIn(audit, 'cli').map(({ act, key, outcome, principal }) =>
			[principal, act, key, outcome].join(' '),
		);
		assert.deepEqual(
			told.slice(0, 10).toSorted(),
			names.map((name) => `cli create ${name} ok`),
		);
		assert.deepEqual(told.slice(10), ['cli rotate k1 ok', 'cli revoke k2 ok', 'cli revoke k2 SLIPWAY_KEY_UNKNOWN']);
		const [key = ''] = /slipway_[\w-]{43}/.exec(rotated.stdout) ?? [];
		assert.equal(key.length, 51);
		for (const name of await readdir(audit)) assert.ok(!(await readFile(join(audit, name), 'utf8')).includes(key));
	});

	test('does nothing to keys where that must be recorded and cannot be, and says so where it need not', async (t) => {
		const folder = await makeFolder(t);
		const settings = { SLIPWAY_DATA: folder, SLIPWAY_AUDIT_DIR: '/dev/null/audit' };
		const refused = await runSlipway(['keys', 'create', 'a', '--all'], { ...settings, SLIPWAY_AUDIT: 'required' });
		assert.equal(refused.code, 1);
		assert.match(refused.stderr, /audit cannot be written/);
		assert.match((await runSlipway(['keys', 'list'], settings)).stdout, /no keys yet/);
		const made = await runSlipway(['keys', 'create', 'a', '--all'], settings);
		assert.match(made.stdout, /not recorded[\s\S]*slipway_/);
		const off = await runSlipway(['keys', 'create', 'b', '--all'], { ...settings, SLIPWAY_AUDIT: 'off' });
		assert.doesNotMatch(off.stdout, /not recorded/);
	});

	test('says whether the audit is whole and where it is not, and shows what it says', async (t) => {
		const folder = await makeFolder(t);
		const settings = { SLIPWAY_DATA: folder };
		const audit = join(folder, 'audit');
		for (const name of ['one', 'two', 'three']) await runSlipway(['keys', 'create', name, '--all'], settings);
		const run = (...args: readonly string[]) => runSlipway(['audit', ...args], settings);
		const whole = await run('verify', '--json');
		const { ok, chains } = JSON.parse(whole.stdout);
		assert.deepEqual([whole.code, ok, chains.length, chains[0].records], [0, true, 1, 3]);
		assert.equal((await run('verify', '--head', chains[0].head)).code, 0);
		const unknown = await run('verify', '--head', 'f'.repeat(64));
		assert.equal(unknown.code, 1);
		assert.match(unknown.stdout, /No record has the hash ffff/);

		assert.deepEqual((await run('tail', '--lines', '1', '--json')).stdout.match(/"key":"\w+"/g), ['"key":"three"']);
		assert.match((await run('show')).stdout, /^20\S+ key +cli act=create key=one scopes=\["\*"\] outcome=ok\n/);
		assert.equal(
			(await run('show', '--principal', 'cli', '--event', 'key', '--since', '1h')).stdout.split('\n').length,
			3,
		);
		for (const none of [
			['--principal', 'x'],
			['--server', 'x'],
			['--event', 'call'],
			['--since', '2999-01-01T00:00:00Z'],
		])
			assert.equal((await run('show', ...none)).stdout, '');
		for (const wrong of [['burn'], ['show', '--since', 'soon'], ['show', '--lines', '0']])
			assert.equal((await run(...wrong)).code, 2, wrong.join(' '));

		const second = join(audit, 'cli-00000002.jsonl');
		const text = await readFile(second, 'utf8');
		await writeFile(second, text.replace('"two"', '"six"'));
		const changed = await run('verify');
		assert.equal(changed.code, 1);
		assert.match(changed.stdout, /^cli: NOT whole\. cli-00000002\.jsonl, line 1 \(changed\)/);
		await rm(second);
		assert.match((await run('verify')).stdout, /cli-00000003\.jsonl, line 1 \(missing\)/);
		await writeFile(second, text);
		await appendFile(join(audit, 'cli-00000003.jsonl'), '{"half');
		const torn = await run('verify');
		assert.match(torn.stdout, /unfinished line/);
		assert.equal(torn.code, 0);
	});
});

test('show and tail have the records of both chains by their time', async (t) => {
	const folder = await makeFolder(t);
	const settings = { SLIPWAY_DATA: folder };
	const audit = join(folder, 'audit');
	const writer = new AuditWriter({
		folder: audit,
		retention: { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 },
		onFailure: (cause) => assert.fail(String(cause)),
		onRecovery: () => undefined,
		onHead: () => undefined,
		onCount: () => undefined,
	});
	for (const [tool, time] of Object.entries({ first: '2001-01-01', last: '2999-01-01' }))
		writer.record(recordText('call', { tool, server: 'alpha' }, Date.parse(time)));
	await writer.close();
	await runSlipway(['keys', 'create', 'middle', '--all'], settings);
	const names = async (...args: readonly string[]): Promise<string[]> => {
		const { stdout } = await runSlipway(['audit', ...args, '--json'], settings);
		return [...stdout.matchAll(/"(?:tool|key)":"(\w+)"/g)].map(([, name]) => name ?? '');
	};
	assert.deepEqual(await names('show'), ['first', 'middle', 'last']);
	assert.deepEqual(await names('tail', '--lines', '2'), ['middle', 'last']);
	assert.deepEqual(await names('show', '--server', 'alpha', '--since', '2002-01-01'), ['last']);
	assert.equal((await runSlipway(['audit', 'verify'], settings)).code, 0);
});

test('on a disk without room records are lost, counted, and the chain is whole when there is room again', async (t) => {
	// As a container, since a small disk of its own takes a privilege.
	const docker = new Docker();
	const container = await docker.createContainer({
		Image: image,
		name: `slipway-audit-${randomBytes(6).toString('hex')}`,
		Cmd: ['node', '/app/test/fixtures/audit-disk.ts'],
		HostConfig: { Tmpfs: { '/audit': 'size=24m' }, NetworkMode: 'none', Memory: 512 * 1024 ** 2 },
	});
	t.after(() => container.remove({ force: true }));
	await container.start();
	const { StatusCode } = await container.wait();
	const log = (await container.logs({ stdout: true, stderr: true })).toString('latin1');
	assert.equal(StatusCode, 0, log);
	const { lost, ...rest } = JSON.parse(/\{.*\}/.exec(log)?.[0] ?? assert.fail(log));
	// Those that were few and small, those that the bound let in, and the one that tells of the others.
	assert.deepEqual(rest, { code: 'ENOSPC', ok: true, records: 1000 + 20 - lost + 1, told: lost });
	assert.ok(lost > 0);
});
