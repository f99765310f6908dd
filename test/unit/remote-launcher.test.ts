/** The gateway's end of the seam, without an engine behind it. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { SlipwayError } from '../../src/errors.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import { RemoteLauncher } from '../../src/launcher/client.ts';
import type { LauncherState, StderrLine } from '../../src/launcher/contract.ts';
import { LauncherServer } from '../../src/launcher/server.ts';
import { LAUNCHER_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { FakeLauncher } from '../support/fake-launcher.ts';
import { Inbox } from '../support/inbox.ts';

const STATE: LauncherState = {
	launcher: { reachable: true, version: 'test' },
	engine: { reachable: true, version: '29', apiVersion: '1.51' },
	catalog: { revision: 1 },
	servers: [],
	startsQueued: 0,
	orphansSwept: 0,
	groups: {},
};

function isUnreachable(error: unknown): boolean {
	return error instanceof SlipwayError && error.code === 'SLIPWAY_LAUNCHER_UNREACHABLE';
}

test('a launch and a report that a launcher which hangs never answers are refused when its silence is noticed, and later ones at once', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-hung-'));
	const socketPath = join(folder, 'launcher.sock');
	const sockets = new Set<Socket>();
	let states = 0;
	// The first asks for the state and is told once; everything after that hangs.
	const hung = createServer((request, response) => {
		if (request.url === '/v1/state' && states++ === 0) response.write(`${JSON.stringify(STATE)}\n`);
	});
	hung.on('connection', (socket) => sockets.add(socket));
	hung.on('upgrade', () => undefined);
	await new Promise<void>((resolve) => hung.listen(socketPath, resolve));
	const launcher = new RemoteLauncher({ socketPath, log: SILENT_LOG });
	t.after(async () => {
		for (const socket of sockets) socket.destroy();
		hung.close();
		await launcher.stop();
		await rm(folder, { recursive: true });
	});
	const known = Promise.withResolvers<void>();
	launcher.subscribe((state) => state.launcher.reachable && known.resolve());
	launcher.start();
	await known.promise;
	const launching = launcher.launch('alpha' as ServerName, new AbortController().signal, 'test');
	const reporting = launcher.report();
	await Promise.all([assert.rejects(launching, isUnreachable), assert.rejects(reporting, isUnreachable)]);
	assert.equal(launcher.state.launcher.reachable, false);
	await assert.rejects(launcher.launch('alpha' as ServerName, new AbortController().signal, 'test'), isUnreachable);
	await assert.rejects(launcher.report(), isUnreachable);
});

/** A launcher behind a socket of its own, and whoever asks it, who knows its state. */
async function startSeam(t: TestContext) {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-seam-'));
	const socketPath = join(folder, 'launcher.sock');
	const served = new FakeLauncher();
	const server = new LauncherServer({ launcher: served, socketPath, log: SILENT_LOG });
	await server.start();
	const launcher = new RemoteLauncher({ socketPath, log: SILENT_LOG });
	t.after(async () => {
		await launcher.stop();
		await server.stop();
		await rm(folder, { recursive: true });
	});
	const known = Promise.withResolvers<void>();
	launcher.subscribe((state) => state.launcher.reachable && known.resolve());
	launcher.start();
	await known.promise;
	return { served, server, launcher };
}

test('for whom a start is goes with the wish, and no more of it than there is room for', async (t) => {
	const { served, launcher } = await startSeam(t);
	const longest = 'x'.repeat(LAUNCHER_LIMITS.callerCharsMax);
	for (const caller of ['0123456789abcdef', longest]) {
		const channel = await launcher.launch('alpha' as ServerName, new AbortController().signal, caller);
		await channel.stop('prompt');
	}
	await assert.rejects(
		launcher.launch('alpha' as ServerName, new AbortController().signal, `${longest}x`),
		(error) => error instanceof SlipwayError && error.code === 'SLIPWAY_BAD_REQUEST',
	);
	assert.deepEqual(served.callers, ['0123456789abcdef', longest]);
});

test('stderr is followed over the socket until it is enough, and who follows is told when the launcher has gone', async (t) => {
	const { served, server, launcher } = await startSeam(t);
	const at = '2026-01-01T00:00:00.000Z';
	const line = (text: string): StderrLine => ({ at, server: 'alpha' as ServerName, instance: 'i' as InstanceId, text });
	served.stderrLines = [line('one'), line('two')];
	const told = new Inbox<StderrLine>('a line');
	const listen = (lines: readonly StderrLine[]): void => {
		for (const one of lines) told.push(one);
	};
	await launcher.stderr({ tail: 1, follow: false, signal: new AbortController().signal }, listen);
	assert.deepEqual(await told.next(), line('two'));

	const enough = new AbortController();
	const following = launcher.stderr(
		{ server: 'alpha' as ServerName, tail: 0, follow: true, signal: enough.signal },
		listen,
	);
	while (served.followers.size === 0) await nextTurn();
	served.writeStderr(line('three'));
	assert.deepEqual(await told.next(), line('three'));
	enough.abort();
	await following;
	while (served.followers.size > 0) await nextTurn();

	const lasting = launcher.stderr({ tail: 0, follow: true, signal: new AbortController().signal }, listen);
	while (served.followers.size === 0) await nextTurn();
	await Promise.all([server.stop(), assert.rejects(lasting, isUnreachable)]);
});
