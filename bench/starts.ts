/**
 * What a start costs: the first call of a session to a real server that has to be started (cold), and to one that waits
 * for its first caller (warm), beside the bare least that a cold one takes: create, attach, start and `initialize` of the
 * very same container, straight at the engine. And what is told from a Snapshot, where nothing is started: `initialize`
 * and a list, beside the least that the gateway can be asked (GET /health).
 *
 * All take turns in one run, so that what else the machine does strikes all of them alike; what counts are the
 * ratios. Exits 2 for wrong arguments.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import Docker from 'dockerode';
import { attach } from '../src/docker/attach.ts';
import { FrameDemultiplexer } from '../src/docker/frames.ts';
import { LABELS } from '../src/docker/labels.ts';
import type { ContainerId } from '../src/ids.ts';
import { STDIO_LIMITS } from '../src/limits.ts';
import { freePort, type SlipwayProcess, startSlipway } from '../test/support/client-process.ts';
import { answerOf, RawClient } from '../test/support/client-raw.ts';
import { API_KEY } from '../test/support/stack.ts';

const USAGE = 'Usage: npm run bench:starts -- [--rounds 15] [--package name@version]';
const SOCKET = '/var/run/docker.sock';
/** How long a server that waits is given to boot before it is measured. */
const BOOT_MS = 2_000;

const INITIALIZE = `${JSON.stringify({
	jsonrpc: '2.0',
	id: 1,
	method: 'initialize',
	params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'bench', version: '1' } },
})}\n`;

const STARTS = ['bare', 'cold', 'warm'] as const;
type Start = (typeof STARTS)[number];
/** What takes less than a millisecond is measured so many times a round. */
const TOLD_A_ROUND = 20;
const TOLD = ['health', 'initialize', 'tools/list'] as const;
type Told = (typeof TOLD)[number];
type Kind = Start | Told;
const RATIOS = [
	['cold', 'bare'],
	['warm', 'cold'],
	['initialize', 'health'],
	['tools/list', 'health'],
] as const satisfies readonly (readonly [Kind, Kind])[];
const KINDS: readonly Kind[] = [...STARTS, ...TOLD];

class Bench {
	readonly #docker = new Docker({ socketPath: SOCKET });
	readonly #id = `bench-${randomBytes(4).toString('hex')}`;
	readonly #folder: string;
	readonly #port: number;
	readonly #process: SlipwayProcess;
	#body: Docker.ContainerCreateOptions = {};

	private constructor(folder: string, port: number) {
		this.#folder = folder;
		this.#port = port;
		this.#process = startSlipway(['all'], {
			SLIPWAY_PORT: String(port),
			SLIPWAY_DATA: join(folder, 'data'),
			SLIPWAY_CATALOG: folder,
			SLIPWAY_GATEWAY_ID: this.#id,
			SLIPWAY_API_KEY: API_KEY,
			SLIPWAY_CALLS_PER_MINUTE: '0',
			SLIPWAY_CONTAINERS_PER_CALLER: '0',
			SLIPWAY_LOG_LEVEL: 'warn',
		});
	}

	/** A gateway with one server of that package that never waits, and one of which one always does. */
	static async make(npm: string): Promise<Bench> {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
		const servers = { cold: { npm, warm: 0 }, warm: { npm, warm: 1 } };
		await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
		const bench = new Bench(folder, await freePort());
		await bench.#statusWhere(({ servers }) => servers.every(({ preparation }) => preparation.kind === 'ready'));
		// Whoever comes later is told from what these leave; and this is the container that is measured.
		const cold = await bench.#open('cold');
		const [container] = await bench.#containers('cold');
		const { Config, HostConfig } = await bench.#docker.getContainer(container?.Id ?? '').inspect();
		const { Image, Cmd, Entrypoint, Env, User, WorkingDir, OpenStdin, StdinOnce, Healthcheck } = Config;
		bench.#body = {
			...{ Image, Cmd, Entrypoint, Env, User, WorkingDir, OpenStdin, StdinOnce, HostConfig, Healthcheck },
			...{ AttachStdin: true, AttachStdout: true, AttachStderr: true },
		} as Docker.ContainerCreateOptions;
		await cold.end();
		await (await bench.#open('warm')).end();
		return bench;
	}

	/** How long it takes, in milliseconds. */
	measure(kind: Start): Promise<number> {
		return kind === 'bare' ? this.#bare() : this.#first(kind);
	}

	/** How long the gateway takes to say what it knows, in milliseconds. */
	async measureTold(): Promise<Record<Told, number>> {
		const client = new RawClient(`${this.#url}/servers/cold/mcp`);
		const health = await timed(async () => (await fetch(`${this.#url}/health`)).text());
		const initialize = await timed(async () => {
			const reply = await client.sendInitialize();
			await answerOf(reply);
			client.sessionId = reply.headers.get('mcp-session-id') ?? undefined;
		});
		await client.notify('notifications/initialized');
		const list = await timed(() => client.request('tools/list'));
		await client.end();
		return { health, initialize, 'tools/list': list };
	}

	async stop(): Promise<void> {
		this.#process.child.kill('SIGTERM');
		await this.#process.exited;
		await rm(this.#folder, { recursive: true });
	}

	/** The first call of a session that was told the rest from a Snapshot. */
	async #first(kind: 'cold' | 'warm'): Promise<number> {
		const waiting = kind === 'warm' ? 1 : 0;
		await this.#statusWhere(({ servers }) =>
			servers.some(({ name, instances }) => name === kind && instances === waiting),
		);
		if (kind === 'warm') await sleep(BOOT_MS);
		const client = await this.#open(kind);
		const startedAtMs = performance.now();
		const { result } = await client.call('echo', { message: 'hello' });
		const durationMs = performance.now() - startedAtMs;
		if (result === undefined) throw new Error(`The ${kind} server did not answer.`);
		await client.end();
		return durationMs;
	}

	async #bare(): Promise<number> {
		const startedAtMs = performance.now();
		const container = await this.#docker.createContainer(this.#body);
		const socket = await attach(SOCKET, container.id as ContainerId, new AbortController().signal);
		const answered = Promise.withResolvers<void>();
		const frames = new FrameDemultiplexer(
			{
				stdout: (chunk) => void (chunk.includes('"result"') && answered.resolve()),
				stderr: () => undefined,
				invalid: (reason) => answered.reject(new Error(reason)),
			},
			STDIO_LIMITS.frameBytesMax,
		);
		socket.on('data', (chunk: Buffer) => frames.push(chunk));
		socket.once('close', () => answered.reject(new Error('The container ended before it answered.')));
		socket.resume();
		await container.start();
		socket.write(INITIALIZE);
		await answered.promise;
		const durationMs = performance.now() - startedAtMs;
		const removed = container.wait({ condition: 'removed' });
		socket.end();
		await container.kill({ signal: 'SIGKILL' }).catch(() => undefined);
		await removed.catch(() => undefined);
		socket.destroy();
		return durationMs;
	}

	async #open(server: 'cold' | 'warm'): Promise<RawClient> {
		const client = new RawClient(`${this.#url}/servers/${server}/mcp`);
		await client.open();
		return client;
	}

	#containers(server: string): Promise<Docker.ContainerInfo[]> {
		const label = [`${LABELS.gateway}=${this.#id}`, `${LABELS.server}=${server}`];
		return this.#docker.listContainers({ all: true, filters: JSON.stringify({ label }) });
	}

	async #statusWhere(isSo: (status: Status) => boolean): Promise<void> {
		for (;;) {
			const status = await fetch(`${this.#url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } })
				.then((response) => response.json() as Promise<Status>)
				.catch(() => undefined);
			if (status !== undefined && isSo(status)) return;
			await sleep(100);
		}
	}

	get #url(): string {
		return `http://127.0.0.1:${this.#port}`;
	}
}

interface Status {
	readonly servers: readonly {
		readonly name: string;
		readonly instances: number;
		readonly preparation: { readonly kind: string };
	}[];
}

async function timed(work: () => Promise<unknown>): Promise<number> {
	const startedAtMs = performance.now();
	await work();
	return performance.now() - startedAtMs;
}

function quantile(values: readonly number[], part: number): number {
	const sorted = values.toSorted((one, other) => one - other);
	return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Number.NaN;
}

async function run(rounds: number, npm: string): Promise<void> {
	console.log(`preparing ${npm}`);
	const bench = await Bench.make(npm);
	try {
		const times = new Map<Kind, number[]>(KINDS.map((kind) => [kind, []]));
		const note = (kind: Kind, ms: number): void => void times.get(kind)?.push(ms);
		for (let round = 1; round <= rounds; round += 1) {
			for (const kind of STARTS) note(kind, await bench.measure(kind));
			for (let time = 0; time < TOLD_A_ROUND; time += 1) {
				const told = await bench.measureTold();
				for (const kind of TOLD) note(kind, told[kind]);
			}
			console.log(
				`round ${round}: ${KINDS.map((kind) => `${kind} ${times.get(kind)?.at(-1)?.toFixed(1)} ms`).join(', ')}`,
			);
		}
		const part = (kind: Kind, share: number): number => quantile(times.get(kind) ?? [], share);
		for (const [one, other] of RATIOS)
			console.log(`${one} / ${other} ${(part(one, 0.5) / part(other, 0.5)).toFixed(3)}`);
		for (const kind of KINDS)
			console.log(
				`${kind}: median ${part(kind, 0.5).toFixed(2)} ms, quarters ${part(kind, 0.25).toFixed(2)} to ${part(kind, 0.75).toFixed(2)} ms`,
			);
	} finally {
		await bench.stop();
	}
}

async function main(args: readonly string[]): Promise<number> {
	const { values } = parseArgs({
		args: [...args],
		options: {
			rounds: { type: 'string', default: '15' },
			package: { type: 'string', default: '@modelcontextprotocol/server-everything@2026.8.31' },
			help: { type: 'boolean' },
		},
	});
	const rounds = Number(values.rounds);
	if (values.help || !Number.isInteger(rounds) || rounds < 1) {
		console[values.help ? 'log' : 'error'](USAGE);
		return values.help ? 0 : 2;
	}
	await run(rounds, values.package);
	return 0;
}

process.exitCode = await main(process.argv.slice(2));
