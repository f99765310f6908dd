/** A launcher as a process of its own on the real engine, and whoever has taken its gateway over: raw bytes on the socket. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ServerName } from '../../src/ids.ts';
import { RemoteLauncher } from '../../src/launcher/client.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { startSlipway } from './client-process.ts';
import { assertNothingLeft, neverAborted, newGatewayId, until, within } from './engine-bench.ts';
import { talk } from './engine-talk.ts';
import { leaveNothing } from './leave-nothing.ts';

/** What has come on a connection so far. */
export interface Heard {
	readonly socket: Socket;
	/** Resolves when the launcher has closed it, or said that it will say no more. */
	readonly over: Promise<void>;
	/** What was said, as far as it was read. */
	text(): string;
	/** Resolves when this was said. */
	says(pattern: RegExp): Promise<RegExpExecArray>;
}

export interface StolenGateway extends AsyncDisposable {
	readonly gatewayId: string;
	readonly socketPath: string;
	/** A connection that stays open on our side whatever the launcher does; undefined when there was no room for one. */
	open(bytes?: string | Buffer): Promise<Heard | undefined>;
	/** As `open`, trying until there is room. */
	insist(bytes?: string | Buffer): Promise<Heard>;
	/** Closes every connection that there is. */
	hangUp(): void;
	/** Whether the launcher serves somebody who means well, now: a new gateway finds it, starts this server and is answered. */
	servesHonestly(server: string): Promise<void>;
	/** Descriptors that the launcher has open. */
	descriptors(): number;
	/** Memory that it has, in MiB. */
	memoryMib(): number;
	/** Whether its process has not ended. */
	lives(): boolean;
}

/** A request for an Instance, with further headers. */
export function launchOf(server: string, ...headers: readonly string[]): string {
	const lines = ['Host: x', 'Connection: Upgrade', 'Upgrade: slipway-stdio', ...headers];
	return `POST /v1/launch/${server} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

export function get(path: string): string {
	return `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;
}

export async function stealGateway(
	servers: Readonly<Record<string, object>>,
	settings: Readonly<Record<string, string>> = {},
): Promise<StolenGateway> {
	const gatewayId = newGatewayId();
	const folder = await mkdtemp(join(tmpdir(), 'slipway-stolen-'));
	const socketPath = join(folder, `${randomBytes(3).toString('hex')}.sock`);
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
	const launcher = startSlipway(['launcher', '--socket', socketPath], {
		SLIPWAY_CATALOG: folder,
		SLIPWAY_GATEWAY_ID: gatewayId,
		SLIPWAY_HOST_DIR: '/nowhere',
		...settings,
	});
	const { child } = launcher;
	const sockets = new Set<Socket>();
	const open: StolenGateway['open'] = async (bytes = '') => {
		const socket = createConnection({ path: socketPath, allowHalfOpen: true });
		const chunks: Buffer[] = [];
		const over = Promise.withResolvers<void>();
		const heard = (): string => Buffer.concat(chunks).toString('latin1');
		socket.on('error', () => undefined);
		socket.once('close', () => sockets.delete(socket));
		for (const event of ['end', 'close'] as const) socket.once(event, () => over.resolve());
		const connected = Promise.withResolvers<boolean>();
		socket.once('connect', () => connected.resolve(true));
		socket.once('close', () => connected.resolve(false));
		if (!(await within(connected.promise, 'the connection'))) return undefined;
		sockets.add(socket);
		socket.on('data', (chunk: Buffer) => {
			// What a server says without an end is not ours to keep.
			if (chunks.length < 64) chunks.push(chunk);
		});
		socket.write(bytes);
		return {
			socket,
			over: over.promise,
			text: heard,
			says: async (pattern) => {
				await within(
					(async () => {
						while (!pattern.test(heard())) await Promise.race([once(socket, 'data'), over.promise.then(refuse(heard))]);
					})(),
					`${pattern} on a connection`,
				);
				return pattern.exec(heard()) as RegExpExecArray;
			},
		};
	};
	const insist: StolenGateway['insist'] = async (bytes) => {
		let heard: Heard | undefined;
		await until('there is room for a connection', async () => {
			heard = await open(bytes);
			return heard !== undefined;
		});
		return heard as Heard;
	};
	const hangUp = (): void => {
		for (const socket of sockets) socket.destroy();
	};
	await launcher.lines.first((line) => line.includes('launcher ready'));
	return {
		gatewayId,
		socketPath,
		open,
		insist,
		hangUp,
		descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
		memoryMib: () => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024,
		lives: () => child.exitCode === null && child.signalCode === null,
		servesHonestly: async (server) => {
			const remote = new RemoteLauncher({ socketPath, log: SILENT_LOG });
			remote.start();
			try {
				await until('the launcher is found', () => remote.state.launcher.reachable);
				const launch = remote.launch(server as ServerName, neverAborted(), 'honest');
				const channel = await within(launch, 'the launch');
				await talk(channel).request('ping');
				await within(channel.stop('prompt'), 'the stop');
			} finally {
				await remote.stop();
			}
		},
		[Symbol.asyncDispose]: async () => {
			hangUp();
			await leaveNothing({ id: gatewayId, folder, processes: [launcher], signal: 'SIGTERM' });
			await assertNothingLeft(gatewayId);
		},
	};
}

function refuse(heard: () => string): () => never {
	return () => {
		throw new Error(`it was closed after ${JSON.stringify(heard().slice(0, 300))}`);
	};
}
