/**
 * What a call costs on its way: the throughput of `tools/call` through a gateway to a server in a container that is up,
 * so many calls in flight at once, of this tree and of another beside it (--against FOLDER, a checkout with its modules).
 *
 * The trees take turns in one run, so that what else the machine does strikes both alike; what counts is the ratio.
 * Exits 2 for wrong arguments.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { freePort } from '../test/support/client-process.ts';
import { RawClient } from '../test/support/client-raw.ts';

const USAGE =
	'Usage: npm run bench:calls -- [--against FOLDER] [--rounds 7] [--seconds 3] [--in-flight 32] [--image node:26-trixie-slim]';
const START_MS = 20_000;
/** As long as those that Slipway makes: a short one is looked at as what may be a guess. */
const KEY = `bench_${randomBytes(32).toString('hex')}`;

/** The least that answers: what is measured is the way to it. */
const SERVER = `
const tools = [{ name: 'echo', inputSchema: { type: 'object', properties: { text: { type: 'string' } } } }];
let held = '';
process.stdin.on('data', (chunk) => {
	const lines = (held + chunk).split('\\n');
	held = lines.pop();
	let out = '';
	for (const line of lines) {
		const { id, method, params } = JSON.parse(line);
		if (id === undefined) continue;
		const result =
			method === 'initialize' ? { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'least', version: '1' } }
			: method === 'tools/list' ? { tools }
			: method === 'tools/call' ? { content: [{ type: 'text', text: params.arguments.text }] }
			: undefined;
		out += JSON.stringify(result === undefined ? { jsonrpc: '2.0', id, error: { code: -32601, message: 'no' } } : { jsonrpc: '2.0', id, result }) + '\\n';
	}
	process.stdout.write(out);
});
process.stdin.on('end', () => process.exit(0));
`;

/** A gateway of a tree, with a session whose Instance is up. */
class Gateway implements AsyncDisposable {
	readonly #client: RawClient;
	readonly #stop: () => Promise<void>;

	private constructor(client: RawClient, stop: () => Promise<void>) {
		this.#client = client;
		this.#stop = stop;
	}

	static async start(tree: string, image: string): Promise<Gateway> {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-calls-'));
		const port = await freePort();
		const servers = { least: { image, command: ['node', '-e', SERVER] } };
		await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
		const child = spawn(process.execPath, ['src/main.ts', 'all'], {
			cwd: tree,
			stdio: ['ignore', 'inherit', 'inherit'],
			env: {
				PATH: process.env['PATH'],
				SLIPWAY_PORT: String(port),
				SLIPWAY_DATA: join(folder, 'data'),
				SLIPWAY_CATALOG: folder,
				SLIPWAY_GATEWAY_ID: `calls-${randomBytes(4).toString('hex')}`,
				SLIPWAY_API_KEY: KEY,
				SLIPWAY_LOG_LEVEL: 'warn',
				...(await boundsOf(tree)),
			},
		});
		const stop = async (): Promise<void> => {
			const ended = once(child, 'close');
			child.kill('SIGTERM');
			await ended;
			await rm(folder, { recursive: true });
		};
		try {
			await untilReady(`http://127.0.0.1:${port}`);
			const client = new RawClient(`http://127.0.0.1:${port}/servers/least/mcp`, { key: KEY });
			await client.open();
			await client.request('tools/list');
			await client.call('echo', { text: 'up' });
			return new Gateway(client, stop);
		} catch (error) {
			await stop();
			throw error;
		}
	}

	/** Calls for so long, and resolves with the calls a second. */
	async measure(seconds: number, inFlight: number): Promise<number> {
		// Connections that idle until the next round would be closed on the way of a request.
		const agent = new Agent({ keepAlive: true, maxSockets: inFlight });
		const endAtMs = performance.now() + seconds * 1000;
		let calls = 0;
		const startedAtMs = performance.now();
		const worker = async (): Promise<void> => {
			while (performance.now() < endAtMs) {
				calls += 1;
				await this.#call(calls, agent);
			}
		};
		await Promise.all(Array.from({ length: inFlight }, worker));
		agent.destroy();
		return calls / ((performance.now() - startedAtMs) / 1000);
	}

	/** As little as a client can do: it looks whether the answer has what was sent. */
	#call(id: number, agent: Agent): Promise<void> {
		const text = `call ${id}`;
		const body = JSON.stringify({
			jsonrpc: '2.0',
			id,
			method: 'tools/call',
			params: { name: 'echo', arguments: { text } },
		});
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const outgoing = request(
			this.#client.url,
			{
				method: 'POST',
				agent,
				headers: { ...this.#client.headers(), 'content-length': Buffer.byteLength(body) },
			},
			(response) => {
				let said = '';
				response.setEncoding('utf8');
				response.on('data', (chunk: string) => {
					said += chunk;
				});
				response.on('end', () => {
					if (said.includes(text)) resolve();
					else reject(new Error(`${response.statusCode}: ${said.slice(0, 300)}`));
				});
			},
		);
		outgoing.on('error', reject);
		outgoing.end(body);
		return promise;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		await this.#client.end();
		await this.#stop();
	}
}

/** What keeps a tree from being measured, as wide as it goes and not off, where the tree knows it. */
async function boundsOf(tree: string): Promise<Record<string, string>> {
	const config = await readFile(join(tree, 'src/config.ts'), 'utf8');
	return config.includes('SLIPWAY_CALLS_PER_MINUTE') ? { SLIPWAY_CALLS_PER_MINUTE: '1000000' } : {};
}

async function untilReady(url: string): Promise<void> {
	const giveUpAtMs = performance.now() + START_MS;
	for (;;) {
		const ready = await fetch(`${url}/ready`).catch(() => undefined);
		if (ready?.ok) return;
		if (performance.now() > giveUpAtMs) throw new Error(`${url} was not ready within ${START_MS} ms`);
		await sleep(100);
	}
}

function median(values: readonly number[]): number {
	return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

interface Run {
	readonly against: string | undefined;
	readonly image: string;
	readonly rounds: number;
	readonly seconds: number;
	readonly inFlight: number;
}

async function run({ against, image, rounds, seconds, inFlight }: Run): Promise<void> {
	await using here = await Gateway.start(new URL('..', import.meta.url).pathname, image);
	await using there = against === undefined ? undefined : await Gateway.start(against, image);
	const rates: { readonly here: number[]; readonly there: number[] } = { here: [], there: [] };
	// The first round of each warms it up.
	for (let round = 0; round <= rounds; round += 1) {
		// Whoever is first in one round is second in the next.
		const early = round % 2 === 0 ? await there?.measure(seconds, inFlight) : undefined;
		const one = await here.measure(seconds, inFlight);
		const other = early ?? (await there?.measure(seconds, inFlight));
		if (round === 0) continue;
		rates.here.push(one);
		if (other !== undefined) rates.there.push(other);
		console.log(
			`round ${round}: ${one.toFixed(0)} a second${other === undefined ? '' : `, ${against} ${other.toFixed(0)}, ratio ${(one / other).toFixed(3)}`}`,
		);
	}
	console.log(`${inFlight} in flight: median ${median(rates.here).toFixed(0)} calls a second`);
	if (there === undefined) return;
	const ratios = rates.here.map((rate, index) => rate / (rates.there[index] ?? Number.NaN));
	console.log(
		`against ${against}: median ${median(rates.there).toFixed(0)} calls a second, median of the rounds' ratios ${median(ratios).toFixed(3)}`,
	);
}

async function main(args: readonly string[]): Promise<number> {
	const { values } = parseArgs({
		args: [...args],
		options: {
			against: { type: 'string' },
			image: { type: 'string', default: 'node:26-trixie-slim' },
			rounds: { type: 'string', default: '7' },
			seconds: { type: 'string', default: '3' },
			'in-flight': { type: 'string', default: '32' },
			help: { type: 'boolean' },
		},
	});
	const [rounds, seconds, inFlight] = [values.rounds, values.seconds, values['in-flight']].map(Number);
	if (values.help || ![rounds, seconds, inFlight].every((number) => Number.isInteger(number) && Number(number) > 0)) {
		console[values.help ? 'log' : 'error'](USAGE);
		return values.help ? 0 : 2;
	}
	const { against, image } = values;
	await run({ against, image, rounds: Number(rounds), seconds: Number(seconds), inFlight: Number(inFlight) });
	return 0;
}

process.exitCode = await main(process.argv.slice(2));
