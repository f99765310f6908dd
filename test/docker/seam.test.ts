/** The launcher over its unix socket, on the real engine: what the gateway gets, and what it can never get. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { createConnection } from 'node:net';
import { availableParallelism } from 'node:os';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Catalog, createCatalog, type Server } from '../../src/catalog/catalog.ts';
import { hashEntry } from '../../src/catalog/entry-hash.ts';
import type { Channel } from '../../src/channel.ts';
import type { ServerName } from '../../src/ids.ts';
import { RemoteLauncher } from '../../src/launcher/client.ts';
import type { Launcher, StderrLine } from '../../src/launcher/contract.ts';
import { LauncherServer } from '../../src/launcher/server.ts';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import {
	type Bench,
	type BenchOptions,
	containersOf,
	docker,
	neverAborted,
	openBench,
	refusedWith,
	removed,
	until,
	within,
} from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { greet, talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage, NO_SECRETS, server } from '../support/fixtures.ts';
import { Inbox } from '../support/inbox.ts';

const image = await fixtureImage();
const IMAGE = { kind: 'image', reference: image } as const;
const MIB = 1024 ** 2;

interface Seam extends AsyncDisposable {
	readonly bench: Bench;
	readonly socketPath: string;
	readonly remote: RemoteLauncher;
	readonly listener: LauncherServer;
	launch(name: string, signal?: AbortSignal): Promise<Channel>;
	ask(options: RequestOptions, body?: string): Promise<{ status: number; body: string }>;
}

async function openSeam(servers: readonly Server[] | Catalog, options: BenchOptions = {}): Promise<Seam> {
	const bench = await openBench(servers, options);
	const socketPath = `${bench.folder}/launcher.sock`;
	const listener = new LauncherServer({ launcher: bench.launcher, socketPath, log: SILENT_LOG });
	await listener.start();
	const remote = new RemoteLauncher({ socketPath, log: SILENT_LOG });
	remote.start();
	await until('the launcher is found', () => remote.state.launcher.reachable);
	return {
		bench,
		socketPath,
		remote,
		listener,
		launch: (name, signal = neverAborted()) =>
			within(remote.launch(name as ServerName, signal, 'test'), `the launch of ${name}`),
		ask: async (request, body) => {
			const outgoing = httpRequest({ socketPath, agent: false, ...request });
			const response = Promise.withResolvers<IncomingMessage>();
			outgoing.once('response', response.resolve);
			outgoing.once('error', response.reject);
			outgoing.once('upgrade', (upgraded, socket) => {
				socket.destroy();
				response.resolve(upgraded);
			});
			outgoing.end(body);
			const answer = await within(response.promise, 'the answer');
			return { status: answer.statusCode ?? 0, body: answer.statusCode === 101 ? '' : await readText(answer) };
		},
		[Symbol.asyncDispose]: async () => {
			await remote.stop();
			await within(listener.stop(), 'the stop of the socket');
			await bench[Symbol.asyncDispose]();
		},
	};
}

const UPGRADE = { Connection: 'Upgrade', Upgrade: 'slipway-stdio' };

test('stdio through the socket: both ways, any size, any split', async () => {
	await using seam = await openSeam([fixture('plain', image, ['conversation.ts'])]);
	const channel = await seam.launch('plain');
	const conversation = await greet(channel);
	const big = `${'x'.repeat(MIB)} Zażółć gęślą jaźń 🚢`;
	assert.equal(await conversation.call('echo', { text: big }), big);
	assert.equal((await conversation.call('big', { bytes: 3 * MIB })).length, 3 * MIB);
	// A character in two writes.
	const line = Buffer.from(
		`${JSON.stringify({ jsonrpc: '2.0', id: 1000, method: 'tools/call', params: { name: 'echo', arguments: { text: '🚢' } } })}\n`,
	);
	const at = line.indexOf(Buffer.from('🚢')) + 2;
	const answered = new Promise<string>((resolve) => {
		channel.stream.on('data', (chunk: Buffer) => String(chunk).includes('"id":1000') && resolve(String(chunk)));
	});
	channel.stream.write(line.subarray(0, at));
	await new Promise((resolve) => setTimeout(resolve, 20));
	channel.stream.write(line.subarray(at));
	assert.match(await within(answered, 'the answer'), /🚢/);
	await within(channel.stop('prompt'), 'the stop');
	assert.deepEqual(await containersOf(seam.bench.gatewayId), []);
	assert.deepEqual(await within(channel.ended, 'the end'), { cause: 'stopped', exitCode: 0, stderr: '' });
});

test('a half-close through the socket: the server reads the end of stdin and still says its last', async () => {
	await using seam = await openSeam([
		server('last', IMAGE, { command: ['sh', '-c', 'cat; sleep 1; echo last words; echo on stderr >&2; exit 4'] }),
	]);
	const channel = await seam.launch('last');
	const said = readText(channel.stream);
	channel.stream.end('first words\n');
	assert.equal(await within(said, 'the output'), 'first words\nlast words\n');
	assert.deepEqual(await within(channel.ended, 'the end'), { cause: 'exited', exitCode: 4, stderr: 'on stderr' });
});

test('bytes survive the two sockets, 16 MiB of them each way', async () => {
	await using seam = await openSeam([server('cat', IMAGE, { command: ['cat'] })]);
	const channel = await seam.launch('cat');
	const sent = randomBytes(16 * MIB);
	const hash = createHash('sha256');
	channel.stream.on('data', (chunk: Buffer) => hash.update(chunk));
	channel.stream.end(sent);
	await within(channel.ended, 'the end');
	assert.equal(hash.digest('hex'), createHash('sha256').update(sent).digest('hex'));
});

test('death is told through the socket: code and stderr', async () => {
	await using seam = await openSeam([fixture('plain', image, ['conversation.ts'])]);
	const channel = await seam.launch('plain');
	const conversation = await greet(channel);
	await conversation.call('stderr', { text: 'before the fall' });
	conversation.send({ id: 99, method: 'tools/call', params: { name: 'exit', arguments: { code: 9 } } });
	assert.deepEqual(await within(channel.ended, 'the end'), { cause: 'exited', exitCode: 9, stderr: 'before the fall' });
	const report = await seam.remote.report();
	assert.deepEqual(
		report.map(({ instance, ended }) => [instance, ended?.cause, ended?.exitCode]),
		[[channel.instance, 'exited', 9]],
	);
});

for (const mode of ['crlf', 'ignore-eof', 'ignore-eof-and-term']) {
	test(`the gateway dies: its Instance goes (${mode})`, async () => {
		await using seam = await openSeam([fixture('mine', image, ['misbehaving.ts', mode])]);
		const channel = await seam.launch('mine');
		await talk(channel).request('ping');
		const { id } = await seam.bench.containerOf(channel);
		// What the kernel does with the connections of a killed process.
		channel.stream.destroy();
		await removed(id);
		await until(
			'no Instance is in the books',
			async () => (await seam.bench.launcher.report())[0]?.ended !== undefined,
		);
	});
}

test('the launcher stops while a gateway holds an Instance: nothing hangs, nothing is left', async () => {
	await using seam = await openSeam([fixture('held', image, ['misbehaving.ts', 'ignore-eof'])]);
	const channel = await seam.launch('held');
	await talk(channel).request('ping');
	await within(seam.listener.stop(), 'the stop of the socket', 20_000);
	await within(seam.bench.launcher.stop(), 'the stop of the launcher');
	assert.deepEqual(await containersOf(seam.bench.gatewayId), []);
	await within(channel.ended, 'the end');
});

test('stderr of a container is followed over the socket from its last lines on, without its secrets, and is known after its end', async () => {
	const token = 'canary-of-the-seam-0123456789';
	const secrets = { ...NO_SECRETS, environment: new Map([['token', { value: token }]]) };
	// A line for each that comes on stdin, the secret in it in two pieces.
	const source = `echo begun >&2; while read -r said; do printf %.12s "$TOKEN" >&2; echo "\${TOKEN#????????????} $said" >&2; done`;
	const noisy = server('noisy', IMAGE, {
		command: ['sh', '-c', source],
		secrets: [{ variable: 'TOKEN', name: 'token' }],
	});
	await using seam = await openSeam([noisy], { launcher: { secrets } });
	const channel = await seam.launch('noisy');
	const told = new Inbox<StderrLine>('a line');
	const enough = new AbortController();
	const follow = (wish: { tail: number; follow: boolean }) =>
		seam.remote.stderr({ ...wish, server: 'noisy' as ServerName, signal: enough.signal }, (lines) => {
			for (const line of lines) told.push(line);
		});
	const following = follow({ tail: 10, follow: true });
	const first = await told.next();
	assert.deepEqual([first.text, first.server, first.instance], ['begun', 'noisy', channel.instance]);
	assert.ok(Math.abs(Date.parse(first.at) - Date.now()) < 60_000, first.at);
	for (const said of ['one', 'two']) {
		channel.stream.write(`${said}\n`);
		assert.equal((await told.next()).text, `[redacted] ${said}`);
	}
	enough.abort();
	await within(following, 'the end of following');
	await channel.stop('prompt');
	const after: string[] = [];
	const { signal } = new AbortController();
	await seam.remote.stderr({ tail: 2, follow: false, signal }, (lines) => after.push(...lines.map(({ text }) => text)));
	assert.deepEqual(after, ['[redacted] one', '[redacted] two']);
});

test('a gateway that goes away while it waits takes its wish along', async () => {
	await using bench = await openBench([]);
	let asked = Promise.withResolvers<AbortSignal>();
	const waiting: Launcher = {
		state: bench.launcher.state,
		subscribe: () => () => undefined,
		launch: (_, signal) => {
			asked.resolve(signal);
			return new Promise((__, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
		},
		report: async () => [],
		stderr: async () => undefined,
		stop: async () => undefined,
	};
	const socketPath = `${bench.folder}/waiting.sock`;
	const listener = new LauncherServer({ launcher: waiting, socketPath, log: SILENT_LOG });
	await listener.start();
	const remote = new RemoteLauncher({ socketPath, log: SILENT_LOG });
	try {
		remote.start();
		await until('the launcher is found', () => remote.state.launcher.reachable);
		const aborter = new AbortController();
		const launch = remote.launch('any' as ServerName, aborter.signal, 'test').catch((error: unknown) => error);
		const signal = await within(asked.promise, 'the wish');
		assert.equal(signal.aborted, false);
		const reason = new Error('the client has gone');
		aborter.abort(reason);
		assert.equal(await launch, reason);
		if (!signal.aborted) await within(once(signal, 'abort'), 'the end of the wish');

		// And a launcher that stops does not wait for one that waits.
		asked = Promise.withResolvers();
		const second = refusedWith(
			'SLIPWAY_LAUNCHER_UNREACHABLE',
			remote.launch('any' as ServerName, neverAborted(), 'test'),
		);
		const other = await within(asked.promise, 'the second wish');
		await within(listener.stop(), 'the stop of the socket');
		await second;
		assert.equal(other.aborted, true);
	} finally {
		await remote.stop();
		await within(listener.stop(), 'the stop of the socket');
	}
});

test('aborting a launch through the socket leaves nothing; aborting after it has no effect', async () => {
	await using seam = await openSeam([fixture('plain', image, ['misbehaving.ts', 'ignore-eof-and-term'])]);
	for (const delayMs of [0, 10, 30, 60, 90]) {
		const aborter = new AbortController();
		setTimeout(() => aborter.abort(new Error('enough')), delayMs);
		const outcome = await seam.launch('plain', aborter.signal).catch((error: Error) => error.message);
		if (outcome !== 'enough') await (outcome as Channel).stop('prompt');
	}
	await until('nothing is left', async () => (await containersOf(seam.bench.gatewayId)).length === 0);

	const aborter = new AbortController();
	const channel = await seam.launch('plain', aborter.signal);
	const conversation = talk(channel);
	await conversation.request('ping');
	aborter.abort();
	await conversation.request('ping');
});

test('names that are not in the catalog, or hostile, are errors of the table and make nothing', async () => {
	await using seam = await openSeam([
		fixture('plain', image, ['conversation.ts']),
		fixture('off', image, ['conversation.ts'], { enabled: false }),
	]);
	await refusedWith('SLIPWAY_SERVER_UNKNOWN', seam.launch('nobody'));
	await refusedWith('SLIPWAY_SERVER_DISABLED', seam.launch('off'));
	const hostile = [
		'../plain',
		'plain/../../x',
		'__proto__',
		'constructor',
		'',
		' plain',
		'plain\0',
		'PLAIN',
		'%2e%2e',
		'plain?x=1',
		'ü',
		'a'.repeat(10_000),
	];
	for (const name of hostile) {
		const error = await seam.launch(name).catch((thrown: { code?: string }) => thrown.code);
		assert.match(String(error), /^SLIPWAY_(SERVER_UNKNOWN|PATH_UNKNOWN)$/, JSON.stringify(name));
	}
	assert.deepEqual(await containersOf(seam.bench.gatewayId), []);
});

test('a compromised gateway: no method, path, header or body shapes a container', async () => {
	await using seam = await openSeam([fixture('plain', image, ['conversation.ts'])]);
	const evil = JSON.stringify({
		Image: 'node:26-trixie-slim',
		Cmd: ['sh', '-c', 'id'],
		User: '0:0',
		HostConfig: { Privileged: true, Binds: ['/:/host'] },
		command: ['sh'],
		image: 'node:26-trixie-slim',
	});
	const paths = [
		'/',
		'/v1',
		'/v1/launch',
		'/v1/launch/',
		'/v1/launch/plain',
		'/v1/launch/plain?image=evil',
		'/v1/launch/plain/..%2f',
		'/v1/launch/%',
		'/v1/launch/%ff%fe',
		'/v1/launch/%00',
		'/V1/LAUNCH/plain',
		'//v1/launch/plain',
		'/v1.45/containers/create',
		'/containers/create?name=evil',
		'/containers/json',
		'/v1/instances/00000000-0000-0000-0000-000000000000/stop?patience=prompt&x=1',
		'/v1/instances/../../containers/create',
		'/_ping',
		'http://docker/containers/json',
	];
	for (const path of paths) {
		for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
			for (const headers of [{}, UPGRADE, { Connection: 'Upgrade', Upgrade: 'tcp' }]) {
				if (path === '/v1/launch/plain' && method === 'POST' && 'Upgrade' in headers) continue;
				const { status, body } = await seam.ask(
					{ path, method, headers: { ...headers, 'Content-Type': 'application/json' } },
					method === 'GET' ? undefined : evil,
				);
				assert.ok(status >= 400, `${method} ${path}: ${status} ${body}`);
				const { code }: { code: string } = JSON.parse(body);
				assert.match(code, /^SLIPWAY_(PATH_UNKNOWN|SERVER_UNKNOWN)$/, `${method} ${path}: ${code}`);
			}
		}
	}
	assert.deepEqual(await containersOf(seam.bench.gatewayId), []);

	// The one thing that it may ask for comes as the catalog has it, whatever goes with the wish.
	const outgoing = httpRequest({
		socketPath: seam.socketPath,
		method: 'POST',
		path: '/v1/launch/plain',
		headers: { ...UPGRADE, 'X-Image': 'evil', 'Content-Type': 'application/json', 'Content-Length': evil.length },
	});
	outgoing.end(evil);
	const [response, socket] = await within(once(outgoing, 'upgrade'), 'the upgrade');
	const instance = String((response as IncomingMessage).headers['slipway-instance']);
	const { Config, HostConfig } = await seam.bench.inspect({ instance } as Channel);
	assert.equal(Config.User, '65532:65532');
	assert.deepEqual(Config.Cmd, ['node', '/app/test/fixtures/conversation.ts']);
	assert.equal(HostConfig.Privileged, false);
	assert.deepEqual(HostConfig.Binds ?? [], []);
	(socket as { destroy(): void }).destroy();
});

test('bytes that are no HTTP close the connection and nothing else', async () => {
	await using seam = await openSeam([fixture('plain', image, ['conversation.ts'])]);
	for (const bytes of [
		'\0\0\0\0',
		'CONNECT docker:80 HTTP/1.1\r\n\r\n',
		'GET / HTTP/1.1\r\n',
		randomBytes(64 * 1024),
	]) {
		const socket = createConnection(seam.socketPath);
		socket.on('error', () => undefined);
		const closed = once(socket, 'close');
		socket.resume();
		socket.end(bytes);
		await within(closed, 'the close');
	}
	await talk(await seam.launch('plain')).request('ping');
});

test('a state that is pushed through the socket is the launcher’s own', async () => {
	await using seam = await openSeam([fixture('plain', image, ['conversation.ts'], { pin: 'approve' })]);
	await until('the launcher is reachable', () => seam.remote.state.launcher.reachable);
	await seam.launch('plain');
	await until('the state has the Instance', () => seam.remote.state.servers[0]?.instances === 1);
	assert.equal(seam.remote.state.servers[0]?.pin, 'approve');
	assert.deepEqual(seam.remote.state, JSON.parse(JSON.stringify(seam.bench.launcher.state)));
	// Nothing in it tells how a container is made.
	const told = JSON.stringify(seam.remote.state);
	for (const secret of ['conversation.ts', 'nanoCpus', '"env"', '65532']) assert.ok(!told.includes(secret), secret);
});

test('groups come through the socket in their order, and what a server is made of as a hash', async () => {
	const plain = fixture('plain', image, ['conversation.ts']);
	const other = fixture('other', image, ['conversation.ts']);
	const groups = [['constructor', [other.name, plain.name]]] as const;
	await using seam = await openSeam(createCatalog([plain, other], groups));
	const specs = (): Record<string, string> =>
		Object.fromEntries(seam.remote.state.servers.map(({ name, spec }) => [name, spec]));
	const areReady = (): boolean => seam.remote.state.servers.every(({ preparation }) => preparation.kind === 'ready');
	await until('the images are ready', areReady);
	assert.deepEqual(Object.entries(seam.remote.state.groups), [['constructor', ['other', 'plain']]]);
	const before = specs();
	const { Id } = await docker.getImage(image).inspect();
	assert.deepEqual(before, { plain: hashEntry(plain, Id), other: hashEntry(other, Id) });

	const changed = createCatalog([plain, { ...other, env: { A: '1' } }], [['all', [plain.name]]]);
	seam.bench.launcher.setCatalog(changed);
	await until('the catalog is the new one', () => seam.remote.state.catalog.revision === 2);
	assert.deepEqual(Object.entries(seam.remote.state.groups), [['all', ['plain']]]);
	assert.equal(specs()['plain'], before['plain']);
	assert.notEqual(specs()['other'], before['other']);

	const missing = fixture('plain', 'slipway-none.invalid/none:1', ['conversation.ts']);
	seam.bench.launcher.setCatalog(createCatalog([missing]));
	await until('the catalog is the third', () => seam.remote.state.catalog.revision === 3);
	assert.deepEqual(seam.remote.state.groups, {});
	assert.deepEqual(specs(), { plain: hashEntry(missing, undefined) });
});

test('20 launches at once: never more starts at a time than may be, and every one is answered', async () => {
	await using seam = await openSeam([fixture('crowd', image, ['misbehaving.ts', 'crlf'])]);
	const filters = JSON.stringify({
		type: ['container'],
		event: ['create', 'start', 'die'],
		label: [`dev.slipway.gateway=${seam.bench.gatewayId}`],
	});
	const events = await docker.getEvents({ filters });
	const between = new Set<string>();
	let most = 0;
	let started = 0;
	let held = '';
	events.on('data', (chunk: Buffer) => {
		held += chunk;
		const lines = held.split('\n');
		held = lines.pop() ?? '';
		for (const line of lines) {
			const { Action, Actor }: { Action: string; Actor: { ID: string } } = JSON.parse(line);
			if (Action === 'create') between.add(Actor.ID);
			else between.delete(Actor.ID);
			if (Action === 'start') started += 1;
			most = Math.max(most, between.size);
		}
	});
	const channels = await Promise.all(Array.from({ length: 20 }, () => seam.launch('crowd')));
	await Promise.all(channels.map((channel) => talk(channel).request('ping')));
	await until('all starts were seen', () => started === 20);
	assert.equal(new Set(channels.map(({ instance }) => instance)).size, 20);
	assert.ok(
		most >= 1 && most <= Math.max(INSTANCE_LIMITS.concurrentStartsMin, availableParallelism()),
		`${most} at a time`,
	);
	await within(Promise.all(channels.map((channel) => channel.stop('prompt'))), 'the stops');
	(events as unknown as { destroy(): void }).destroy();
	assert.deepEqual(await containersOf(seam.bench.gatewayId), []);
});

test('no more Instances than may be, and a place again after one ended', async () => {
	await using seam = await openSeam([fixture('few', image, ['misbehaving.ts', 'crlf'])], {
		launcher: { instancesMax: 2 },
	});
	const outcomes = await Promise.allSettled([seam.launch('few'), seam.launch('few'), seam.launch('few')]);
	const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
	assert.equal(refused.length, 1);
	const error = await refusedWith('SLIPWAY_INSTANCES_FULL', Promise.reject(refused[0]?.reason));
	assert.ok((error.details.retryAfterSeconds ?? 0) > 0);
	assert.equal((await containersOf(seam.bench.gatewayId)).length, 2);
	const first = outcomes.find((outcome) => outcome.status === 'fulfilled');
	await first?.value.stop('prompt');
	await talk(await seam.launch('few')).request('ping');
});

test('stopping the launcher in the middle of starts leaves nothing', async () => {
	for (const delayMs of [0, 8, 12, 16, 20, 40, 80]) {
		await using seam = await openSeam([fixture('crowd', image, ['misbehaving.ts', 'ignore-eof-and-term'])]);
		const launches = Array.from({ length: 5 }, () => seam.remote.launch('crowd' as ServerName, neverAborted(), 'test'));
		const settled = Promise.allSettled(launches);
		await new Promise((resolve) => setTimeout(resolve, delayMs));
		await within(seam.bench.launcher.stop(), 'the stop');
		assert.deepEqual(
			(await containersOf(seam.bench.gatewayId)).map(({ State }) => State),
			[],
			`${delayMs} ms`,
		);
		for (const outcome of await within(settled, 'the answers')) {
			if (outcome.status === 'fulfilled') await within(outcome.value.ended, 'the end');
			else assert.match(String(outcome.reason.code), /^SLIPWAY_(DRAINING|LAUNCHER_UNREACHABLE)$/);
		}
	}
});

test('a stop waits for a create that is under way, and for the removal of what came of it', async () => {
	const proxy = new EngineProxy(`/tmp/slipway-held-${randomBytes(6).toString('hex')}.sock`);
	await proxy.open();
	try {
		await using bench = await openBench([fixture('plain', image, ['conversation.ts'])], {
			socketPath: proxy.socketPath,
		});
		const held = proxy.hold(/^POST [^ ]*\/containers\/create/);
		const launch = refusedWith('SLIPWAY_DRAINING', bench.launch('plain'));
		await within(held.came, 'the create');
		const stop = bench.launcher.stop().then(() => containersOf(bench.gatewayId));
		// The stop has had every chance to be over before the create is.
		const early = await Promise.race([stop, new Promise((resolve) => setTimeout(resolve, 500, 'waits'))]);
		held.release();
		assert.equal(early, 'waits');
		assert.deepEqual(await within(stop, 'the stop'), []);
		await launch;
	} finally {
		await proxy.close();
	}
});

test('a launcher that is not there is told as such, and found again', async () => {
	const socketPath = `/tmp/slipway-none-${randomBytes(6).toString('hex')}.sock`;
	const remote = new RemoteLauncher({ socketPath, log: SILENT_LOG });
	remote.start();
	try {
		await refusedWith('SLIPWAY_LAUNCHER_UNREACHABLE', remote.launch('any' as ServerName, neverAborted(), 'test'));
		await refusedWith('SLIPWAY_LAUNCHER_UNREACHABLE', remote.report());
		assert.equal(remote.state.launcher.reachable, false);
		await using bench = await openBench([fixture('plain', image, ['conversation.ts'])]);
		const listener = new LauncherServer({ launcher: bench.launcher, socketPath, log: SILENT_LOG });
		await listener.start();
		await until('the launcher is found', () => remote.state.launcher.reachable);
		await within(listener.stop(), 'the stop of the socket');
		await until('the launcher is lost', () => !remote.state.launcher.reachable);
		assert.equal(remote.state.engine.reachable, false);
		await assert.rejects(readFile(socketPath));
	} finally {
		await remote.stop();
	}
});
