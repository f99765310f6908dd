/** What whoever speaks to the launcher's end of the seam may hold there. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import { LauncherServer } from '../../src/launcher/server.ts';
import { LAUNCHER_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { FakeLauncher } from '../support/fake-launcher.ts';

const LAUNCH = 'POST /v1/launch/alpha HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: slipway-stdio\r\n\r\n';
const MIB = 1024 ** 2;

interface Wire {
	readonly launcher: FakeLauncher;
	/** A connection on which this was sent, and that stays open on this side. */
	open(bytes: string): Promise<Socket>;
}

async function openWire(t: TestContext): Promise<Wire> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-wire-'));
	const socketPath = join(folder, 'launcher.sock');
	const launcher = new FakeLauncher();
	const server = new LauncherServer({ launcher, socketPath, log: SILENT_LOG });
	await server.start();
	const sockets = new Set<Socket>();
	t.after(async () => {
		for (const socket of sockets) socket.destroy();
		await server.stop();
		await rm(folder, { recursive: true });
	});
	return {
		launcher,
		open: async (bytes) => {
			const socket = createConnection({ path: socketPath, allowHalfOpen: true });
			sockets.add(socket);
			socket.on('error', () => undefined);
			await once(socket, 'connect');
			socket.write(bytes);
			return socket;
		},
	};
}

/** What is said before the other side says no more. */
async function readAll(socket: Socket): Promise<string> {
	let said = '';
	socket.on('data', (chunk) => {
		said += String(chunk);
	});
	await once(socket, 'end');
	return said;
}

test('launches that wait have so many places, whoever they are for, and one is free again when one gives up', async (t) => {
	const { launcher, open } = await openWire(t);
	launcher.beforeLaunch = () => new Promise(() => undefined);
	const waiting: Socket[] = [];
	while (waiting.length < LAUNCHER_LIMITS.launchesMax) waiting.push(await open(LAUNCH));
	assert.match(await readAll(await open(LAUNCH)), /^HTTP\/1\.1 503 .*"SLIPWAY_START_QUEUE_FULL"/s);
	assert.equal(launcher.launches, LAUNCHER_LIMITS.launchesMax);
	waiting[0]?.destroy();
	await launcher.aborted.next();
	launcher.beforeLaunch = () => undefined;
	const next = await open(LAUNCH);
	assert.match(String((await once(next, 'data'))[0]), /^HTTP\/1\.1 101 /);
});

test('of connections whose Instances have ended the latest may still be read, and the others are closed', async (t) => {
	const { launcher, open } = await openWire(t);
	const sockets: Socket[] = [];
	const closed: Socket[] = [];
	for (let count = 0; count < LAUNCHER_LIMITS.endedConnectionsMax + 3; count += 1) {
		const socket = await open(LAUNCH);
		await once(socket, 'data');
		socket.once('close', () => closed.push(socket));
		sockets.push(socket);
		await (await launcher.launched.next()).stop('prompt');
	}
	// Who writes learns whether there is anybody.
	for (const socket of sockets) socket.write('x');
	while (closed.length < 3) await nextTurn();
	for (let turn = 0; turn < 100; turn += 1) await nextTurn();
	assert.deepEqual(closed.map((socket) => sockets.indexOf(socket)).sort(), [0, 1, 2]);
});

test('a gateway that dies while its server reads nothing of what it sent: the Instance goes', async (t) => {
	const { launcher, open } = await openWire(t);
	const socket = await open(LAUNCH);
	await once(socket, 'data');
	const instance = await launcher.launched.next();
	instance.stopReading();
	t.mock.timers.enable({ apis: ['setTimeout'] });
	// More than the kernel and both streams hold: the end of the connection lies behind it.
	socket.write(Buffer.alloc(4 * MIB));
	let buffered = -1;
	while (socket.writableLength !== buffered) {
		buffered = socket.writableLength;
		for (let turn = 0; turn < 100; turn += 1) await nextTurn();
	}
	assert.ok(buffered > 0);
	socket.destroy();
	for (let turn = 0; turn < 100; turn += 1) await nextTurn();
	t.mock.timers.tick(LAUNCHER_LIMITS.stdinStallMs - 1);
	assert.equal(instance.stopped, undefined);
	t.mock.timers.tick(1);
	assert.equal(instance.stopped, 'prompt');
});

test('a server that reads its stdin slowly is left alone for as long as it does', async (t) => {
	const { launcher, open } = await openWire(t);
	const reads: (() => void)[] = [];
	const stopped: string[] = [];
	launcher.launch = async (server) => ({
		server,
		instance: 'slow' as InstanceId,
		spec: '',
		// As that of a container: it takes in more than it has passed on.
		stream: new Duplex({ highWaterMark: MIB, read: () => undefined, write: (_, __, done) => void reads.push(done) }),
		ended: new Promise(() => undefined),
		stop: async (patience) => void stopped.push(patience),
	});
	const socket = await open(LAUNCH);
	await once(socket, 'data');
	t.mock.timers.enable({ apis: ['setTimeout'] });
	socket.write(Buffer.alloc(4 * MIB));
	for (let turn = 0; turn < 100; turn += 1) await nextTurn();
	for (let time = 0; time < 5; time += 1) {
		t.mock.timers.tick(LAUNCHER_LIMITS.stdinStallMs - 1);
		reads.shift()?.();
		await nextTurn();
		t.mock.timers.tick(1);
		assert.deepEqual(stopped, []);
	}
	t.mock.timers.tick(LAUNCHER_LIMITS.stdinStallMs);
	assert.deepEqual(stopped, ['prompt']);
});

test('a server that reads its stdin late is left alone', async (t) => {
	const { launcher, open } = await openWire(t);
	const socket = await open(LAUNCH);
	await once(socket, 'data');
	const instance = await launcher.launched.next();
	instance.stopReading();
	t.mock.timers.enable({ apis: ['setTimeout'] });
	socket.write(`${'x'.repeat(4 * MIB)}\n`);
	for (let turn = 0; turn < 100; turn += 1) await nextTurn();
	t.mock.timers.tick(LAUNCHER_LIMITS.stdinStallMs - 1);
	instance.resumeReading();
	await instance.lines.next();
	t.mock.timers.tick(LAUNCHER_LIMITS.stdinStallMs);
	assert.equal(instance.stopped, undefined);
});

test('who follows stderr is told of the server that it names, ends with its connection, and is cut when it does not read', async (t) => {
	const { launcher, open } = await openWire(t);
	const line = (server: string, text: string) => ({
		at: '2026-01-01T00:00:00.000Z',
		server: server as ServerName,
		instance: 'i' as InstanceId,
		text,
	});
	launcher.stderrLines = [line('alpha', 'first'), line('beta', 'not asked for'), line('alpha', 'second')];
	const ask = (query: string) => open(`GET /v1/stderr?${query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
	const whole = await readAll(await ask('tail=1&follow=false&server=alpha'));
	assert.match(whole, /^HTTP\/1\.1 200 .*"text":"second"/s);
	assert.doesNotMatch(whole, /first|not asked for/);
	assert.match(await readAll(await ask('tail=1&follow=false&server=../x')), /^HTTP\/1\.1 404 /);

	const follower = await ask('tail=0&follow=true&server=alpha');
	await once(follower, 'data');
	launcher.writeStderr(line('beta', 'not this'));
	launcher.writeStderr(line('alpha', 'but this'));
	assert.match(String((await once(follower, 'data'))[0]), /but this/);
	follower.destroy();
	while (launcher.followers.size > 0) await nextTurn();

	const idle = await ask('tail=0&follow=true');
	await once(idle, 'data');
	idle.pause();
	const text = 'x'.repeat(64 * 1024);
	for (let told = 0; told < 64 && launcher.followers.size > 0; told += 1) {
		launcher.writeStderr(line('alpha', text));
		await nextTurn();
	}
	assert.equal(launcher.followers.size, 0);
});

test('of those who follow stderr the latest are served', async (t) => {
	const { launcher, open } = await openWire(t);
	for (let count = 0; count <= LAUNCHER_LIMITS.stderrFollowersMax; count += 1)
		await once(await open('GET /v1/stderr?tail=0&follow=true HTTP/1.1\r\nHost: x\r\n\r\n'), 'data');
	while (launcher.followers.size > LAUNCHER_LIMITS.stderrFollowersMax) await nextTurn();
	assert.equal(launcher.followers.size, LAUNCHER_LIMITS.stderrFollowersMax);
});
