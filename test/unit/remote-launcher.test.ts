/** A launcher that hangs: it holds its connections, and says nothing more. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { RemoteLauncher } from '../../src/launcher/client.ts';
import type { LauncherState } from '../../src/launcher/contract.ts';
import { SILENT_LOG } from '../../src/log.ts';

const STATE: LauncherState = {
	launcher: { reachable: true, version: 'test' },
	engine: { reachable: true, version: '29', apiVersion: '1.51' },
	catalog: { revision: 1 },
	servers: [],
	groups: {},
};

function isUnreachable(error: unknown): boolean {
	return error instanceof SlipwayError && error.code === 'SLIPWAY_LAUNCHER_UNREACHABLE';
}

test('a launch and a report that it never answers are refused when its silence is noticed, and later ones at once', async (t) => {
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
	const launching = launcher.launch('alpha' as ServerName, new AbortController().signal);
	const reporting = launcher.report();
	await Promise.all([assert.rejects(launching, isUnreachable), assert.rejects(reporting, isUnreachable)]);
	assert.equal(launcher.state.launcher.reachable, false);
	await assert.rejects(launcher.launch('alpha' as ServerName, new AbortController().signal), isUnreachable);
	await assert.rejects(launcher.report(), isUnreachable);
});
