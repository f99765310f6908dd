/** The wire between launcher and egress role, on a real socket. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { EgressPolicy } from '../../src/egress/contract.ts';
import { EgressDoor, followPolicy, LinkedGate } from '../../src/egress/link.ts';
import { EgressProxy } from '../../src/egress/proxy.ts';
import type { ServerName } from '../../src/ids.ts';
import { EGRESS_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';

const NETWORK = {
	server: 'one' as ServerName,
	subnet: '127.0.1.0/24',
	address: '127.0.1.2',
	allowed: ['a.example:80'],
};

function policy(revision: number): EgressPolicy {
	return { revision, networks: [NETWORK] };
}

/** Resolves also when it was cut. */
function closed(socket: Socket): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	socket.once('close', () => resolve());
	return promise;
}

interface Link extends AsyncDisposable {
	readonly gate: LinkedGate;
	/** Resolves at the next change that the gate tells of after which this is so. */
	so(isSo: () => boolean): Promise<void>;
	/** The other end of a new connection. */
	come(): Promise<Socket>;
}

async function openLink(): Promise<Link> {
	const gate = new LinkedGate();
	const socketPath = join(tmpdir(), `slipway-egress-${randomBytes(6).toString('hex')}.sock`);
	const door = new EgressDoor(gate, socketPath);
	await door.start();
	const sockets: Socket[] = [];
	return {
		gate,
		so: async (isSo) => {
			if (isSo()) return;
			const { promise, resolve } = Promise.withResolvers<void>();
			const unsubscribe = gate.subscribe(() => isSo() && resolve());
			await promise;
			unsubscribe();
		},
		come: async () => {
			const socket = connect(socketPath);
			socket.on('error', () => undefined);
			sockets.push(socket);
			await once(socket, 'connect');
			return socket;
		},
		[Symbol.asyncDispose]: async () => {
			for (const socket of sockets) socket.destroy();
			await door.stop();
		},
	};
}

test('a role is told the latest policy when it comes and at every change, and says so at once', async () => {
	await using link = await openLink();
	const { gate, so, come } = link;
	assert.equal(gate.open, false);
	gate.apply(policy(3));
	const proxy = new EgressProxy({ log: SILENT_LOG });
	const followed = followPolicy(await come(), proxy);
	await so(() => gate.report.revision === 3);
	assert.equal(gate.open, true);
	gate.apply(policy(4));
	await so(() => gate.report.revision === 4);
	assert.equal(proxy.report.revision, 4);
	await link[Symbol.asyncDispose]();
	await followed;
	// Without the launcher nobody gets out.
	assert.equal(proxy.report.revision, 0);
	await proxy.stop();
});

test('a role that comes takes the place of the one before, and one that goes leaves nothing', async () => {
	await using link = await openLink();
	const { gate, so, come } = link;
	const first = await come();
	await so(() => gate.open);
	first.write('{"revision":7,"tallies":[]}\n');
	await so(() => gate.report.revision === 7);
	first.resume();
	const ended = closed(first);
	const second = await come();
	second.resume();
	await ended;
	assert.equal(gate.open, true);
	assert.equal(gate.report.revision, 0);
	second.destroy();
	await so(() => !gate.open);
});

const TALLY = { allowed: 1, denied: 2, latest: [] };
const DENIAL = { target: 'a.example:80', reason: 'rule', count: 1, at: '2026-01-01T00:00:00.000Z' };
const report = (tallies: unknown): string => JSON.stringify({ revision: 1, tallies });

test('a report is taken as it is', async () => {
	await using link = await openLink();
	const role = await link.come();
	const tallies = [['one', { ...TALLY, latest: [{ ...DENIAL, allow: 'a.example:80' }, DENIAL] }]];
	role.write(`${report(tallies).slice(0, 20)}`);
	role.write(`${report(tallies).slice(20)}\n`);
	await link.so(() => link.gate.report.revision === 1);
	assert.deepEqual(link.gate.report.tallies, tallies);
});

/** What a role that was taken over might say. */
const LIES: Readonly<Record<string, string>> = {
	'no JSON': 'hello',
	'no report': '{}',
	'a report with more in it': '{"revision":1,"tallies":[],"more":1}',
	'a name that no server has': report([['ONE\n', TALLY]]),
	'a count below none': report([['one', { ...TALLY, denied: -1 }]]),
	'too many denials': report([['one', { ...TALLY, latest: Array.from({ length: 33 }, () => DENIAL) }]]),
	'a target with a line break': report([['one', { ...TALLY, latest: [{ ...DENIAL, target: 'a\nb' }] }]]),
	'a target that is long': report([['one', { ...TALLY, latest: [{ ...DENIAL, target: 'a'.repeat(300) }] }]]),
	'a reason of its own': report([['one', { ...TALLY, latest: [{ ...DENIAL, reason: 'because' }] }]]),
	'too many servers': report(Array.from({ length: 257 }, (_, index) => [`s${index}`, TALLY])),
};

for (const [what, line] of Object.entries(LIES)) {
	test(`a role that says ${what} is hung up on`, async () => {
		await using link = await openLink();
		const role = await link.come();
		role.resume();
		role.write(`${line}\n`);
		await closed(role);
		assert.equal(link.gate.report.revision, 0);
	});
}

test('a role that never ends its line is hung up on', async () => {
	await using link = await openLink();
	const role = await link.come();
	role.resume();
	const hungUp = closed(role);
	const chunk = Buffer.alloc(1024 * 1024, 0x20);
	for (let sent = 0; sent <= EGRESS_LIMITS.messageBytesMax; sent += chunk.length) role.write(chunk);
	await hungUp;
});

test('a role that does not read gets the latest policy when it does, and not all that it missed', async () => {
	await using link = await openLink();
	const role = await link.come();
	await link.so(() => link.gate.open);
	role.pause();
	const big = Array.from({ length: 2000 }, () => NETWORK);
	for (let revision = 1; revision <= 50; revision++) link.gate.apply({ revision, networks: big });
	let heard = '';
	const { promise, resolve } = Promise.withResolvers<void>();
	role.on('data', (chunk: Buffer) => {
		heard += chunk.toString();
		if (heard.endsWith('\n') && heard.includes('{"revision":50,')) resolve();
	});
	role.resume();
	await promise;
	assert.ok(heard.split('\n').length < 10, `${heard.split('\n').length} messages`);
});
