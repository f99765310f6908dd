/** Slipway as people run it: its start, its end however that comes, its settings and its verbs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type Docker from 'dockerode';
import { freePort, onceSaid, runSlipway, type SlipwayProcess, startSlipway } from '../support/client-process.ts';
import { answerOf, RawClient, type Reply, textOf } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { containersOfGateway, leaveNothing } from '../support/leave-nothing.ts';
import { API_KEY } from '../support/stack.ts';

const { version }: { version: string } = JSON.parse(
	await readFile(new URL('../../package.json', import.meta.url), 'utf8'),
);
let image: string;

before(async () => {
	image = await fixtureImage();
});

interface Place {
	readonly id: string;
	readonly url: string;
	readonly port: number;
	readonly folder: string;
	readonly settings: Readonly<Record<string, string>>;
	/** Writes the catalog as editors do: a new file takes the place of the old. */
	writeCatalog(text: string): Promise<void>;
	/** Starts `all` and waits until it listens. */
	start(more?: Readonly<Record<string, string>>): Promise<SlipwayProcess>;
	containers(): Promise<Docker.ContainerInfo[]>;
	status(): Promise<StatusBody>;
	raw(server: string): RawClient;
}

interface StatusBody {
	readonly catalog: { readonly revision: number; readonly problem?: string };
	readonly servers: readonly { readonly name: string; readonly instances: number }[];
}

function entry(...args: readonly string[]): object {
	const [file, ...rest] = args;
	return { image, command: ['node', `/app/test/fixtures/${file}`, ...rest] };
}

function catalogText(...names: readonly string[]): string {
	const servers = Object.fromEntries(
		names.map((name) => [name, name.startsWith('ignore') ? entry('misbehaving.ts', name) : entry('conversation.ts')]),
	);
	return JSON.stringify({ servers }, null, 2);
}

/** A port, folders and an id of its own. When the test ends, nothing of it may be left. */
async function makePlace(t: TestContext, ...names: readonly string[]): Promise<Place> {
	const id = `e2e-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-process-'));
	const port = await freePort();
	const processes: SlipwayProcess[] = [];
	const catalog = join(folder, 'catalog.json');
	const writeCatalog = async (text: string): Promise<void> => {
		await writeFile(`${catalog}.new`, text);
		await rename(`${catalog}.new`, catalog);
	};
	await writeCatalog(catalogText(...names));
	const url = `http://127.0.0.1:${port}`;
	const settings = {
		SLIPWAY_PORT: String(port),
		SLIPWAY_DATA: join(folder, 'data'),
		SLIPWAY_CATALOG: folder,
		SLIPWAY_GATEWAY_ID: id,
		// So that what runs is for somebody.
		SLIPWAY_WARM: '0',
	};
	const containers = () => containersOfGateway(id);
	t.after(() => leaveNothing({ id, folder, processes, signal: 'SIGKILL' }));
	return {
		id,
		url,
		port,
		folder,
		settings,
		writeCatalog,
		containers,
		start: async (more = { SLIPWAY_API_KEY: API_KEY }) => {
			const started = startSlipway(['all'], { ...settings, ...more });
			processes.push(started);
			return onceSaid(started, 'gateway listening');
		},
		status: async () => {
			const response = await fetch(`${url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
			return (await response.json()) as StatusBody;
		},
		raw: (server) => new RawClient(`${url}/servers/${server}/mcp`),
	};
}

/** Asks again until it is so: for what another process does in its own time. */
async function until(what: string, isSo: () => Promise<boolean>, withinMs = 30_000): Promise<number> {
	const startedAtMs = performance.now();
	while (!(await isSo())) {
		assert.ok(performance.now() - startedAtMs < withinMs, `in ${withinMs} ms it did not come to this: ${what}`);
		await sleep(100);
	}
	return performance.now() - startedAtMs;
}

async function beginCall(raw: RawClient, steps: number, delayMs: number): Promise<Reply> {
	const params = { name: 'progress', arguments: { steps, delayMs }, _meta: { progressToken: 'p' } };
	const reply = await raw.send('tools/call', params, 'the call');
	await reply.messages.count(1);
	return reply;
}

describe('the first key', () => {
	test('is made and shown once, works, and goes on to work', async (t) => {
		const place = await makePlace(t, 'conversation');
		const first = await place.start({});
		await first.stdout.first((line) => line.includes('To have another key'));
		const shown = first.lines.items.join('\n');
		const key = /^ {2}(slipway_[\w-]{43})$/m.exec(shown)?.[1] ?? '';
		assert.notEqual(key, '', shown);
		assert.ok(shown.includes(`Bearer ${key}`));
		assert.ok(shown.includes(`http://localhost:${place.port}/servers/conversation/mcp`));
		const client = await connectSdk(`${place.url}/servers/conversation/mcp`, { key });
		assert.equal(await client.call('echo', { text: 'with the key' }), 'with the key');
		await client.close();
		await assert.rejects(connectSdk(`${place.url}/servers/conversation/mcp`, { key: 'another-key-0123456789' }), {
			code: 401,
		});
		first.child.kill('SIGTERM');
		assert.equal(await first.exited, 0);

		const second = await place.start({});
		const again = await connectSdk(`${place.url}/servers/conversation/mcp`, { key });
		assert.equal(await again.call('echo', { text: 'again' }), 'again');
		await again.close();
		second.child.kill('SIGTERM');
		assert.equal(await second.exited, 0);
		assert.doesNotMatch(second.lines.items.join('\n'), /slipway_|Bearer/);
	});
});

describe('the end of the process', { concurrency: 2 }, () => {
	test('SIGTERM: a call in flight is finished, nothing new is taken, nothing stays', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const raw = place.raw('conversation');
		await raw.open();
		const call = await beginCall(raw, 20, 150);
		slipway.child.kill('SIGTERM');
		await slipway.lines.first((line) => line.includes('waiting for calls in flight'));
		// Nothing new is taken: on a connection that is kept, it is refused; a new connection may be.
		const refused = await place
			.raw('conversation')
			.sendInitialize()
			.catch(() => undefined);
		if (refused !== undefined) {
			assert.equal(refused.status, 503);
			assert.equal((await answerOf(refused)).error?.data?.['code'], 'SLIPWAY_DRAINING');
		}
		const answer = await answerOf(call, 'the call');
		assert.equal(textOf(answer), '20 steps');
		assert.equal(call.messages.items.length, 21);
		assert.equal(await slipway.exited, 0);
		assert.deepEqual(await place.containers(), []);
	});

	test('a second SIGTERM: what is in flight is answered with an error, and it ends at once', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const raw = place.raw('conversation');
		await raw.open();
		// Far longer than anybody would wait.
		const call = await beginCall(raw, 1000, 100);
		slipway.child.kill('SIGTERM');
		await slipway.lines.first((line) => line.includes('waiting for calls in flight'));
		const startedAtMs = performance.now();
		slipway.child.kill('SIGTERM');
		const { error } = await answerOf(call, 'the call');
		assert.equal(error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(await slipway.exited, 0);
		assert.ok(performance.now() - startedAtMs < 15_000);
		assert.deepEqual(await place.containers(), []);
	});

	test('SIGHUP is no reason to end, SIGINT is', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		slipway.child.kill('SIGHUP');
		const raw = place.raw('conversation');
		await raw.open();
		assert.equal(textOf(await raw.call('echo', { text: 'still here' })), 'still here');
		slipway.child.kill('SIGINT');
		assert.equal(await slipway.exited, 0);
	});

	test('kill -9: servers that keep the rules end by themselves', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const raw = place.raw('conversation');
		await raw.open();
		const call = await beginCall(raw, 1000, 100);
		slipway.child.kill('SIGKILL');
		assert.equal(await slipway.exited, 'SIGKILL');
		await assert.rejects(call.text);
		await until('no container', async () => (await place.containers()).length === 0, 20_000);
	});

	test('kill -9: a process of the same id sweeps what ignores its end', async (t) => {
		const place = await makePlace(t, 'conversation', 'ignore-eof', 'ignore-eof-and-term');
		const slipway = await place.start();
		for (const name of ['conversation', 'ignore-eof', 'ignore-eof-and-term']) await place.raw(name).open();
		// Those that said what they have, for nobody, are gone after a moment.
		await until('one for each session', async () => (await place.containers()).length === 3);
		slipway.child.kill('SIGKILL');
		await slipway.exited;
		await until('only those that ignore it', async () => (await place.containers()).length === 2, 20_000);
		const second = await place.start();
		const tookMs = await until('no container', async () => (await place.containers()).length === 0, 20_000);
		t.diagnostic(`swept in ${Math.round(tookMs)} ms`);
		// And whoever watches the gateway sees it.
		const headers = { authorization: `Bearer ${API_KEY}` };
		await until('the sweep is told of', async () => {
			const metrics = await (await fetch(`${place.url}/metrics`, { headers })).text();
			return /^slipway_orphans_swept 2$/m.test(metrics);
		});
		const raw = place.raw('ignore-eof');
		await raw.open();
		second.child.kill('SIGTERM');
		assert.equal(await second.exited, 0);
		assert.deepEqual(await place.containers(), []);
	});
});

describe('the catalog', { concurrency: 2 }, () => {
	test('one that is broken at the start: exit code 1, and one message with file, place and fix', async (t) => {
		const place = await makePlace(t, 'conversation');
		await place.writeCatalog(
			'{\n  "servers": {\n    "one": { "npm": "some-package@1.0.0", "privileged": true }\n  }\n}',
		);
		const { code, stdout, stderr } = await runSlipway(['all'], { ...place.settings, SLIPWAY_API_KEY: API_KEY });
		assert.equal(code, 1);
		const told = `${stdout}\n${stderr}`;
		assert.equal(told.split('privileged').length - 1, 1, told);
		assert.match(told, /catalog\.json:3:\d+ servers\.one\.privileged: unknown field\. Known fields are /);
		assert.ok(!told.includes('    at '), 'a stack trace');
		const checked = await runSlipway(['check', place.folder]);
		assert.equal(checked.code, 1);
		assert.match(checked.stdout, /servers\.one\.privileged/);
	});

	test('one that breaks later: the last good one stays, and /status says why; then a new server comes by itself', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const raw = place.raw('conversation');
		await raw.open();
		await place.writeCatalog('{ "servers": { "conversation": ');
		await until('the problem in /status', async () => (await place.status()).catalog.problem !== undefined);
		const { catalog, servers } = await place.status();
		assert.match(catalog.problem ?? '', /catalog\.json:1:\d+/);
		assert.deepEqual(
			servers.map(({ name }) => name),
			['conversation'],
		);
		const another = place.raw('conversation');
		await another.open();
		assert.equal(textOf(await another.call('echo', { text: 'as before' })), 'as before');

		assert.equal((await place.raw('added').sendInitialize()).status, 404);
		await place.writeCatalog(catalogText('conversation', 'added'));
		await until('two servers', async () => (await place.status()).servers.length === 2);
		assert.equal((await place.status()).catalog.problem, undefined);
		const added = place.raw('added');
		await added.open();
		assert.equal(textOf(await added.call('echo', { text: 'new' })), 'new');
		// The session from before all this goes on.
		assert.equal(textOf(await raw.call('echo', { text: 'old' })), 'old');
		slipway.child.kill('SIGTERM');
		assert.equal(await slipway.exited, 0);
	});
});

describe('settings and verbs', { concurrency: 2 }, () => {
	test('a setting that there is not, and one that is wrong: exit code 1, and its name', async () => {
		const { code, stderr, stdout } = await runSlipway(['all'], { SLIPWAY_PROT: '80', SLIPWAY_PORT: 'eighty' });
		assert.equal(code, 1);
		assert.match(stderr, /SLIPWAY_PROT is no setting/);
		assert.match(stderr, /SLIPWAY_PORT must be a whole number from 1 to 65535/);
		assert.equal(stdout, '');
	});

	test('a port that is taken: exit code 1, and what to do', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const second = await runSlipway(['all'], {
			...place.settings,
			SLIPWAY_DATA: join(place.folder, 'data-2'),
			SLIPWAY_GATEWAY_ID: `${place.id}-2`,
			SLIPWAY_API_KEY: API_KEY,
		});
		assert.equal(second.code, 1);
		assert.match(second.stderr, new RegExp(`Port ${place.port} is in use: set SLIPWAY_PORT`));
		slipway.child.kill('SIGTERM');
		await slipway.exited;
	});

	test('usage: exit code 2; help and version: 0', async () => {
		for (const [args, help] of [
			[[], /slipway <role \| verb>/],
			[['no-such-verb'], /slipway <role \| verb>/],
			[['check', '--no-such-option'], /slipway check \[path\]/],
		] as const) {
			const { code, stderr } = await runSlipway(args);
			assert.equal(code, 2, args.join(' '));
			assert.match(stderr, help);
		}
		for (const args of [['--help'], ['help'], ['-h'], ['check', '--help'], ['health', '--help']]) {
			const { code, stdout, stderr } = await runSlipway(args);
			assert.equal(code, 0, args.join(' '));
			assert.match(stdout, /^slipway /);
			assert.equal(stderr, '');
		}
		assert.deepEqual(await runSlipway(['version']), { code: 0, stdout: version, stderr: '' });
	});

	test('check says that a catalog is good, for people and for programs', async (t) => {
		const place = await makePlace(t, 'conversation', 'ignore-eof');
		const told = await runSlipway(['check', place.folder]);
		assert.equal(told.code, 0);
		assert.match(told.stdout, /2 servers \(conversation, ignore-eof\)/);
		const json = await runSlipway(['check', '--json'], { SLIPWAY_CATALOG: place.folder });
		assert.deepEqual(JSON.parse(json.stdout), { ok: true, servers: ['conversation', 'ignore-eof'] });
		const missing = await runSlipway(['check', '--json', join(place.folder, 'nowhere')]);
		assert.equal(missing.code, 1);
		assert.equal(JSON.parse(missing.stdout).ok, false);
	});

	test('health: 0 while it runs, 1 when it does not', async (t) => {
		const place = await makePlace(t, 'conversation');
		const slipway = await place.start();
		const settings = { SLIPWAY_PORT: String(place.port) };
		assert.equal((await runSlipway(['health'], settings)).code, 0);
		slipway.child.kill('SIGTERM');
		await slipway.exited;
		const { code, stdout } = await runSlipway(['health'], settings);
		assert.equal(code, 1);
		assert.notEqual(stdout, '');
	});
});

describe('gateway and launcher as two processes', () => {
	test('the launcher dies and comes back: /ready says so, and calls work again', async (t) => {
		const place = await makePlace(t, 'conversation', 'ignore-eof');
		const socket = join(place.folder, 'launcher.sock');
		const running: SlipwayProcess[] = [];
		t.after(() => {
			for (const { child } of running) child.kill('SIGKILL');
		});
		const start = async (args: readonly string[], settings: Readonly<Record<string, string>>, sign: string) => {
			const started = startSlipway(args, settings);
			running.push(started);
			return onceSaid(started, sign);
		};
		const { SLIPWAY_PORT, SLIPWAY_DATA, SLIPWAY_CATALOG, SLIPWAY_GATEWAY_ID } = place.settings as Record<
			string,
			string
		>;
		const launcherSettings = { SLIPWAY_CATALOG: SLIPWAY_CATALOG ?? '', SLIPWAY_GATEWAY_ID: SLIPWAY_GATEWAY_ID ?? '' };
		const startLauncher = () => start(['launcher', '--socket', socket], launcherSettings, 'launcher ready');
		const launcher = await startLauncher();
		const gateway = await start(
			['gateway', '--launcher', socket],
			{ SLIPWAY_PORT: SLIPWAY_PORT ?? '', SLIPWAY_DATA: SLIPWAY_DATA ?? '', SLIPWAY_API_KEY: API_KEY },
			'gateway listening',
		);
		const isReady = async () => (await fetch(`${place.url}/ready`)).status === 200;
		await until('ready', isReady);
		assert.equal((await runSlipway(['health', '--launcher', socket])).code, 0);
		const raw = place.raw('conversation');
		await raw.open();
		const call = await beginCall(raw, 1000, 100);
		await place.raw('ignore-eof').open();

		launcher.child.kill('SIGKILL');
		const { error } = await answerOf(call, 'the call');
		assert.match(String(error?.data?.['code']), /^SLIPWAY_(?:INSTANCE_LOST|LAUNCHER_UNREACHABLE)$/);
		await until('not ready', async () => !(await isReady()));
		const pinged = await raw.request('ping');
		assert.equal(pinged.error?.data?.['code'], 'SLIPWAY_LAUNCHER_UNREACHABLE');
		// What the server has is known; what it does is not to be had.
		const other = place.raw('conversation');
		await other.open();
		const called = await other.call('echo', { text: 'hello?' });
		assert.equal(called.error?.data?.['code'], 'SLIPWAY_LAUNCHER_UNREACHABLE');

		const second = await startLauncher();
		await until('ready again', isReady);
		await until('no container', async () => (await place.containers()).length === 0);
		assert.equal(textOf(await raw.call('echo', { text: 'again' })), 'again', 'the session goes on');

		// And the gateway dies: whatever it had is ended by the launcher, also what ignores its end.
		await place.raw('ignore-eof').open();
		gateway.child.kill('SIGKILL');
		await gateway.exited;
		await until('no container', async () => (await place.containers()).length === 0);
		second.child.kill('SIGTERM');
		assert.equal(await second.exited, 0);
	});
});
