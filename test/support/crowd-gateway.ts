/**
 * A gateway in a process of its own, whose memory is then its own too, and whose clock its parent turns forward. Behind it are
 * servers in memory that answer calls at once; one that is called as `flood` says more than fits on the way to a client.
 *
 * Run by test/http/crowds.test.ts, with which it speaks over IPC: see Ask and Told.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type Duplex, duplexPair } from 'node:stream';
import type { Channel, InstanceEnd } from '../../src/channel.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import type { Rpc } from './fake-launcher.ts';
import { startHttpStack } from './http-stack.ts';

/** What the parent wants: that so much time goes by at once, or that it is over. */
export type Ask = { readonly laterMs: number } | { readonly stop: true };

/** What it tells at its start, and after time has gone by. */
export interface Told {
	readonly port: number;
	readonly rssBytes: number;
	/** What floods have got rid of. */
	readonly floodedBytes: number;
}

const LINE = `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"${'x'.repeat(64 * 1024)}"}}\n`;
/** Beyond what the buffers of a connection take. */
const FLOOD_BYTES = 10 * 1024 ** 2;
/** Turns of the event loop without a byte taken, until nothing more will be. */
const QUIET_TURNS = 50;
const SESSIONS_MAX = 2000;

class Server implements Channel {
	readonly instance = randomUUID() as InstanceId;
	readonly server: ServerName;
	readonly spec: string;
	readonly stream: Duplex;
	readonly ended: Promise<InstanceEnd>;
	floods = false;
	floodedBytes = 0;
	readonly #far: Duplex;
	#partial = '';

	constructor({ name, spec }: ServerView) {
		this.server = name;
		this.spec = spec;
		const [near, far] = duplexPair({ highWaterMark: 16 * 1024 });
		this.stream = near;
		this.#far = far;
		const { promise, resolve } = Promise.withResolvers<InstanceEnd>();
		this.ended = promise;
		near.once('close', () => resolve({ cause: 'stopped', stderr: '' }));
		far.setEncoding('utf8');
		far.on('data', (chunk: string) => this.#take(chunk));
	}

	async stop(): Promise<void> {
		this.stream.destroy();
		await this.ended;
	}

	/** Writes what there is room for. */
	flood(): void {
		while (this.floods && this.floodedBytes < FLOOD_BYTES && !this.#far.destroyed && !this.#far.writableNeedDrain) {
			this.#far.write(LINE);
			this.floodedBytes += LINE.length;
		}
	}

	#take(chunk: string): void {
		const lines = (this.#partial + chunk).split('\n');
		this.#partial = lines.pop() ?? '';
		for (const line of lines) this.#hear(JSON.parse(line));
	}

	#hear({ id, method, params }: Rpc): void {
		if (id === undefined) return;
		const begun = {
			protocolVersion: params?.['protocolVersion'],
			capabilities: {},
			serverInfo: { name: 'a', version: '1' },
		};
		const result = method === 'initialize' ? begun : { content: [] };
		this.#far.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`);
		if (params?.['name'] === 'flood') this.floods = true;
	}
}

const servers: Server[] = [];
const ends: (() => Promise<void>)[] = [];
const stack = await startHttpStack(
	{ after: (end) => void ends.push(end) },
	{ config: { sessionsPerPrincipalMax: SESSIONS_MAX } },
);
stack.launcher.launch = async (name) => {
	const server = new Server(stack.launcher.state.servers.find((view) => view.name === name) ?? assert.fail(name));
	servers.push(server);
	return server;
};

const flooded = (): number => servers.reduce((sum, { floodedBytes }) => sum + floodedBytes, 0);

async function flood(): Promise<void> {
	let before = -1;
	while (flooded() !== before) {
		before = flooded();
		for (const server of servers) server.flood();
		for (let turn = 0; turn < QUIET_TURNS; turn++) await new Promise(setImmediate);
	}
}

function tell(): void {
	process.send?.({ port: stack.port, rssBytes: process.memoryUsage.rss(), floodedBytes: flooded() } satisfies Told);
}

process.on('message', async (ask: Ask) => {
	if ('stop' in ask) {
		for (const end of ends) await end();
		process.disconnect?.();
		return;
	}
	stack.later(ask.laterMs);
	await flood();
	tell();
});
tell();
// Whoever ran it is gone.
process.on('disconnect', () => process.exit());
