/**
 * What the audit costs a call: the same calls through two gateways of one process, one that records them and one that does
 * not, in turns, so that what else the machine does strikes both alike. Client and server are in the process too: what counts
 * is the difference, and the ratio is kinder than it would be without them. Exits 2 for wrong arguments.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Audit, FileAudit, NO_AUDIT } from '../src/audit/audit.ts';
import { readConfig } from '../src/config.ts';
import { Gateway } from '../src/gateway.ts';
import { SILENT_LOG } from '../src/log.ts';
import { openSqliteStore } from '../src/store/sqlite.ts';
import { FakeLauncher } from '../test/support/fake-launcher.ts';
import { BOUNDLESS } from '../test/support/fixtures.ts';
import { API_KEY, call, initializeRequest, POST_HEADERS } from '../test/support/http-stack.ts';
import { Cast } from '../test/support/played-server.ts';

const USAGE = 'Usage: npm run bench:audit -- [--rounds 15] [--calls 2000] [--in-flight 32]';
const PATH = '/servers/alpha/mcp';

class Bench {
	readonly #gateway: Gateway;
	readonly #audit: Audit;
	readonly #store: ReturnType<typeof openSqliteStore>;
	readonly #agent = new Agent({ keepAlive: true });
	#port = 0;
	#session = '';

	constructor(folder: string, audit: Audit) {
		const launcher = new FakeLauncher();
		new Cast(launcher, {
			alpha: { answers: { 'tools/call': () => ({ content: [{ type: 'text', text: 'hello' }] }) } },
		});
		this.#audit = audit;
		this.#store = openSqliteStore(folder);
		this.#gateway = new Gateway({
			config: { ...readConfig(BOUNDLESS), port: 0 },
			apiKey: API_KEY,
			launcher,
			store: this.#store,
			audit,
			log: SILENT_LOG,
			version: 'bench',
		});
	}

	async start(): Promise<void> {
		this.#port = await this.#gateway.start();
		this.#session = await this.#post(initializeRequest());
		await this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
	}

	/** So many calls. Resolves with the CPU time of one, in microseconds. */
	async measure(calls: number, inFlight: number): Promise<number> {
		const before = process.cpuUsage();
		let left = calls;
		const worker = async (): Promise<void> => {
			while (left > 0) await this.#post(call(left--, 'echo'));
		};
		await Promise.all(Array.from({ length: inFlight }, worker));
		const { user, system } = process.cpuUsage(before);
		return (user + system) / calls;
	}

	async stop(): Promise<void> {
		this.#agent.destroy();
		await this.#gateway.stop(AbortSignal.abort());
		await this.#audit.close();
		this.#store.close();
	}

	/** Resolves with the session that the answer names. */
	#post(message: object): Promise<string> {
		const { promise, resolve, reject } = Promise.withResolvers<string>();
		const headers = { ...POST_HEADERS, ...(this.#session === '' ? {} : { 'mcp-session-id': this.#session }) };
		const options = { host: '127.0.0.1', port: this.#port, method: 'POST', path: PATH, headers, agent: this.#agent };
		request(options, (response) => {
			response.resume();
			response.once('end', () => resolve(String(response.headers['mcp-session-id'] ?? '')));
		})
			.once('error', reject)
			.end(JSON.stringify(message));
		return promise;
	}
}

function median(values: readonly number[]): number {
	return values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function readArguments(): { rounds: number; calls: number; inFlight: number } | undefined {
	try {
		const text = { type: 'string' } as const;
		const { values } = parseArgs({ options: { rounds: text, calls: text, 'in-flight': text } });
		const said = {
			rounds: Number(values.rounds ?? 15),
			calls: Number(values.calls ?? 2000),
			inFlight: Number(values['in-flight'] ?? 32),
		};
		return Object.values(said).every((value) => Number.isInteger(value) && value > 0) ? said : undefined;
	} catch {
		return undefined;
	}
}

const said = readArguments();
if (said === undefined) {
	console.error(USAGE);
	process.exit(2);
}
const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
const retention = { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 };
const recorded = new FileAudit({ mode: 'best-effort', folder: join(folder, 'audit'), retention, log: SILENT_LOG });
const off = new Bench(join(folder, 'off'), NO_AUDIT);
const on = new Bench(join(folder, 'on'), recorded);
await off.start();
await on.start();
// The first of each is compiled and not measured.
for (const bench of [off, on]) await bench.measure(said.calls, said.inFlight);
const times: { off: number; on: number }[] = [];
for (let round = 0; round < said.rounds; round++)
	times.push({ off: await off.measure(said.calls, said.inFlight), on: await on.measure(said.calls, said.inFlight) });
const ofOff = median(times.map((time) => time.off));
const ofOn = median(times.map((time) => time.on));
const ratio = median(times.map((time) => time.on / time.off));
console.log(`CPU of one call, median of ${said.rounds} rounds of ${said.calls} calls, ${said.inFlight} in flight`);
console.log(`  without the audit  ${ofOff.toFixed(1)} us`);
console.log(`  with it            ${ofOn.toFixed(1)} us`);
console.log(`  ratio              ${ratio.toFixed(3)} (median of the rounds)`);
await off.stop();
await on.stop();
await rm(folder, { recursive: true });
