/**
 * The proof that nothing leaks, as long as a person wants: sessions are opened on real containers, called and abandoned,
 * again and again; in the middle of it the gateway is killed and started again. At the end, when the idle limits are
 * over, no container of ours may be left, and memory and file descriptors must be near where they began.
 *
 * Exits 1 when something is left, 2 for wrong arguments.
 */
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import Docker from 'dockerode';
import { LABELS } from '../src/docker/labels.ts';
import { freePort, type SlipwayProcess, startSlipway } from '../test/support/client-process.ts';
import { RawClient } from '../test/support/client-raw.ts';
import { fixtureImage } from '../test/support/fixtures.ts';
import { API_KEY } from '../test/support/stack.ts';

const USAGE = `Usage: npm run soak -- [--sessions 1000 | --minutes 60] [--at-once 4]

In the image of the tests: docker compose run --rm test npm run soak -- --sessions 1000`;

/** What is kept of a session and of a container that nobody calls. */
const SESSION_IDLE_SECONDS = 15;
const IDLE_STOP_SECONDS = 2;
/** How long after the idle limit there may be containers. */
const GRACE_MS = 10_000;
/** How much more memory than in the beginning there may be. */
const MEMORY_MIB_MAX = 10;
const DESCRIPTORS_MAX = 8;
/** How long who was refused waits. */
const REFUSED_MS = 500;
/** Sessions before anything is measured: what a process allocates once is no leak. */
const WARM_UP = 100;
/** Requests before a measure: a process collects its garbage when there is more of it, so it is given the same each time. */
const SETTLING = 30_000;
const SETTLING_AT_ONCE = 16;

interface Measure {
	readonly memoryMib: number;
	/** What of it is JavaScript's, garbage included. */
	readonly heapMib: number;
	readonly descriptors: number;
	readonly sessions: number;
}

class Bench {
	readonly #docker = new Docker();
	readonly #id = `soak-${randomBytes(4).toString('hex')}`;
	readonly #folder: string;
	readonly #port: number;
	#process: SlipwayProcess | undefined;

	private constructor(folder: string, port: number) {
		this.#folder = folder;
		this.#port = port;
	}

	static async make(): Promise<Bench> {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-soak-'));
		const command = ['node', '/app/test/fixtures/conversation.ts'];
		const server = { image: await fixtureImage(), command, idleStop: IDLE_STOP_SECONDS };
		await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers: { soak: server } }));
		return new Bench(folder, await freePort());
	}

	async start(): Promise<void> {
		this.#process = startSlipway(['all'], {
			SLIPWAY_PORT: String(this.#port),
			SLIPWAY_DATA: join(this.#folder, 'data'),
			SLIPWAY_CATALOG: this.#folder,
			SLIPWAY_GATEWAY_ID: this.#id,
			SLIPWAY_API_KEY: API_KEY,
			SLIPWAY_SESSIONS_PER_CALLER: '2000',
			SLIPWAY_CALLS_PER_MINUTE: '0',
			SLIPWAY_CONTAINERS_PER_CALLER: '0',
			SLIPWAY_SESSION_IDLE_SECONDS: String(SESSION_IDLE_SECONDS),
			SLIPWAY_LOG_LEVEL: 'error',
		});
		const { exited, lines } = this.#process;
		void exited.then((code) => {
			// Of itself: it is killed, or told to end, otherwise.
			if (typeof code === 'number' && code !== 0)
				console.error(`the gateway ended with ${code}\n${lines.items.join('\n')}`);
		});
		for (let ready = false; !ready; await sleep(100))
			ready = await fetch(`${this.#url}/ready`).then(
				({ status }) => status === 200,
				() => false,
			);
	}

	async kill(): Promise<void> {
		this.#process?.child.kill('SIGKILL');
		await this.#process?.exited;
	}

	/** A session with a container, which nobody ends. Resolves with whether it could be had. */
	async abandonSession(): Promise<boolean> {
		try {
			const client = new RawClient(`${this.#url}/servers/soak/mcp`);
			await client.open();
			const { result } = await client.call('echo', { text: 'hello' });
			return result !== undefined;
		} catch {
			return false;
		}
	}

	async containers(): Promise<number> {
		const filters = JSON.stringify({ label: [`${LABELS.gateway}=${this.#id}`] });
		return (await this.#docker.listContainers({ all: true, filters })).length;
	}

	async measure(): Promise<Measure> {
		let begun = 0;
		const work = async (): Promise<void> => {
			while (begun++ < SETTLING) await (await fetch(`${this.#url}/health`)).arrayBuffer();
		};
		await Promise.all(Array.from({ length: SETTLING_AT_ONCE }, work));
		const response = await fetch(`${this.#url}/metrics`, { headers: { authorization: `Bearer ${API_KEY}` } });
		const text = await response.text();
		const value = (name: string): number =>
			Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, 'm').exec(text)?.[1] ?? 0);
		if (!text.includes('slipway_process_resident_memory_bytes')) throw new Error('There is no memory in /metrics.');
		return {
			memoryMib: value('slipway_process_resident_memory_bytes') / 1024 ** 2,
			heapMib: value('slipway_nodejs_heap_size_used_bytes') / 1024 ** 2,
			descriptors: value('slipway_process_open_fds'),
			sessions: value('slipway_sessions'),
		};
	}

	async stop(): Promise<void> {
		this.#process?.child.kill('SIGTERM');
		await this.#process?.exited;
		await rm(this.#folder, { recursive: true });
	}

	get #url(): string {
		return `http://127.0.0.1:${this.#port}`;
	}
}

interface Plan {
	readonly sessions: number;
	readonly untilMs: number;
	readonly atOnce: number;
}

/** Opens and abandons sessions until there were enough, or the time is over. */
async function load(bench: Bench, { sessions, untilMs, atOnce }: Plan): Promise<{ opened: number; refused: number }> {
	let [begun, opened, refused] = [0, 0, 0];
	const work = async (): Promise<void> => {
		while (begun < sessions && Date.now() < untilMs) {
			begun += 1;
			const number = begun;
			if (await bench.abandonSession()) opened += 1;
			else {
				refused += 1;
				// There may be nobody at the door now.
				await sleep(REFUSED_MS);
			}
			if (number % 100 === 0) console.log(`${number} sessions, ${await bench.containers()} containers`);
		}
	};
	await Promise.all(Array.from({ length: atOnce }, work));
	return { opened, refused };
}

/** Waits until the idle limits are over. Resolves with the containers that are left then. */
async function cool(bench: Bench): Promise<number> {
	await sleep((SESSION_IDLE_SECONDS + IDLE_STOP_SECONDS) * 1000);
	const deadlineMs = Date.now() + GRACE_MS;
	let left = await bench.containers();
	while (left > 0 && Date.now() < deadlineMs) {
		await sleep(500);
		left = await bench.containers();
	}
	return left;
}

async function soak(plan: Plan): Promise<boolean> {
	const bench = await Bench.make();
	try {
		await bench.start();
		await load(bench, { ...plan, sessions: WARM_UP, untilMs: Number.POSITIVE_INFINITY });
		const leftFirst = await cool(bench);
		const first = await bench.measure();
		report('in the beginning', first, leftFirst);

		const half = Math.ceil(plan.sessions / 2);
		const halfMs = Math.min(plan.untilMs, (Date.now() + plan.untilMs) / 2);
		const before = await load(bench, { ...plan, sessions: half, untilMs: halfMs });
		const leftBefore = await cool(bench);
		const last = await bench.measure();
		report(`after ${before.opened} sessions (${before.refused} refused)`, last, leftBefore);

		const killed = load(bench, { ...plan, sessions: Number.isFinite(half) ? plan.sessions - half : half });
		await sleep(5_000);
		await bench.kill();
		console.log(`killed with ${await bench.containers()} containers`);
		await bench.start();
		const after = await killed;
		const leftAfter = await cool(bench);
		const end = await bench.measure();
		report(
			`after ${after.opened} more, some of them at a gateway that was killed (${after.refused} refused)`,
			end,
			leftAfter,
		);

		const left = leftFirst + leftBefore + leftAfter;
		const grown = last.memoryMib - first.memoryMib;
		const held = last.descriptors - first.descriptors;
		const good = left === 0 && grown <= MEMORY_MIB_MAX && held <= DESCRIPTORS_MAX && end.sessions === 0;
		console.log(
			`${good ? 'flat' : 'NOT FLAT'}: ${left} containers left, ${grown.toFixed(1)} MiB and ${held} descriptors more`,
		);
		return good;
	} finally {
		await bench.stop();
	}
}

function report(when: string, { memoryMib, heapMib, descriptors, sessions }: Measure, containers: number): void {
	console.log(
		`${when}: ${memoryMib.toFixed(1)} MiB (heap ${heapMib.toFixed(1)}), ${descriptors} descriptors, ${sessions} sessions, ${containers} containers`,
	);
}

function readArguments(args: readonly string[]): Plan | undefined {
	const { values } = parseArgs({
		args: [...args],
		options: {
			sessions: { type: 'string' },
			minutes: { type: 'string' },
			'at-once': { type: 'string', default: '4' },
			help: { type: 'boolean' },
		},
	});
	if (values.help) return undefined;
	const minutes = positive('minutes', values.minutes);
	const sessions = positive('sessions', values.sessions) ?? (minutes === undefined ? 1000 : Number.POSITIVE_INFINITY);
	return {
		sessions,
		untilMs: minutes === undefined ? Number.POSITIVE_INFINITY : Date.now() + minutes * 60_000,
		atOnce: positive('at-once', values['at-once']) ?? 4,
	};
}

function positive(name: string, text: string | undefined): number | undefined {
	if (text === undefined) return undefined;
	const value = Number(text);
	if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} must be a whole number of 1 or more.`);
	return value;
}

async function main(args: readonly string[]): Promise<number> {
	let plan: Plan | undefined;
	try {
		plan = readArguments(args);
	} catch (error) {
		console.error(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
		return 2;
	}
	if (plan === undefined) console.log(USAGE);
	return plan === undefined || (await soak(plan)) ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
