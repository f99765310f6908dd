/** Gateway and launcher on an engine that is about to fail, and what the chaos suite asks of them. */
import assert from 'node:assert/strict';
import type Docker from 'dockerode';
import { RawClient, type Reply, type RpcMessage } from './client-raw.ts';
import type { DisposableEngine } from './disposable-engine.ts';
import { until, within } from './engine-bench.ts';
import { catalogOf, fixture } from './fixtures.ts';
import { API_KEY, type Stack, startStack } from './stack.ts';

/** What is promised: /ready says that the engine is lost within this. */
export const UNREADY_MS_MAX = 2_000;
/** And a call that cannot succeed is refused within this. */
export const REFUSAL_MS_MAX = 100;
/** The end of an Instance reaches who waits for its answer within this. */
export const DEATH_MS_MAX = 1_000;
/** What an engine that came back still runs of ours is gone within this. */
export const SWEPT_MS_MAX = 10_000;

/** Fixtures without the SDK, one server for each mode. */
const MODES = ['crlf', 'deaf', 'ignore-eof-and-term'] as const;
type Mode = (typeof MODES)[number];

interface ServerStatus {
	readonly name: string;
	readonly crashes?: object;
}

export class ChaosBench {
	readonly stack: Stack;
	readonly #engine: DisposableEngine;

	private constructor(stack: Stack, engine: DisposableEngine) {
		this.stack = stack;
		this.#engine = engine;
	}

	static async open(engine: DisposableEngine): Promise<ChaosBench> {
		// A test that failed may have left it as it was then.
		await engine.revive();
		const servers = MODES.map((mode) => fixture(mode, engine.image, ['misbehaving.ts', mode]));
		const bench = new ChaosBench(
			await startStack({ catalog: catalogOf(...servers), dockerSocket: engine.socket.path }),
			engine,
		);
		await bench.readyBecomes(true);
		return bench;
	}

	client(mode: Mode): RawClient {
		return new RawClient(this.stack.endpoint(mode));
	}

	/** A session that has its container. */
	async session(mode: Mode): Promise<RawClient> {
		const client = this.client(mode);
		await client.open();
		return client;
	}

	/** This deployment's containers, by the engine's own word. */
	containers(): Promise<Docker.ContainerInfo[]> {
		return this.#engine.containersOf(this.stack.gatewayId);
	}

	async ids(): Promise<string[]> {
		return (await this.containers()).map(({ Id }) => Id);
	}

	/** What /ready answers. */
	async ready(): Promise<{ readonly status: number; readonly checks: Record<string, string> }> {
		const response = await fetch(`${this.stack.url}/ready`);
		const { checks } = (await response.json()) as { checks: Record<string, string> };
		return { status: response.status, checks };
	}

	/** Resolves when /ready says so, with how long that took. */
	async readyBecomes(ready: boolean): Promise<number> {
		const startedAtMs = performance.now();
		await until(`/ready is ${ready}`, async () => ((await this.ready()).status === 200) === ready);
		return performance.now() - startedAtMs;
	}

	/** That what the engine did is held against no server. */
	async assertNoServerBlamed(): Promise<void> {
		const response = await fetch(`${this.stack.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
		const { servers } = (await response.json()) as { servers: ServerStatus[] };
		const blamed = servers.filter(({ crashes }) => crashes !== undefined);
		assert.deepEqual(blamed, []);
	}

	/** How many Instances the launcher's books have. */
	get instances(): number {
		return this.stack.launcher.state.servers.reduce((sum, { instances }) => sum + instances, 0);
	}

	async instancesBecome(count: number): Promise<void> {
		await until(`${count} Instances`, () => this.instances === count);
	}

	/** Why the engine is not there, as /status has it. */
	reason(): string {
		const { engine } = this.stack.remote.state;
		return engine.reachable ? '' : engine.reason;
	}

	/** That whoever comes now is refused at once, and told why. */
	async assertRefusesFast(): Promise<void> {
		const took: number[] = [];
		for (let attempt = 0; attempt < 5; attempt++) {
			const startedAtMs = performance.now();
			const reply = await this.client('crlf').sendInitialize();
			await reply.text;
			took.push(performance.now() - startedAtMs);
			assert.equal(reply.status, 503);
			assert.equal(codeOf(reply), 'SLIPWAY_ENGINE_UNREACHABLE');
		}
		// The middle one: a single one may have waited for the machine.
		const [, , middle = 0] = took.sort((a, b) => a - b);
		assert.ok(middle <= REFUSAL_MS_MAX, `refused after ${took.map(Math.round).join(', ')} ms`);
	}

	/** Resolves when the engine has so many containers of ours, with how long that took. */
	async onlyLeft(count: number): Promise<number> {
		const startedAtMs = performance.now();
		await until(`${count} containers are left`, async () => (await this.ids()).length === count);
		return performance.now() - startedAtMs;
	}

	/** Fails when anything of it is left on the disposable engine. */
	async [Symbol.asyncDispose](): Promise<void> {
		await this.#engine.revive();
		await within(this.stack.stop(), 'the stop of the stack', 40_000);
		const left = await this.containers();
		assert.deepEqual(
			left.map(({ Names, State }) => `${Names[0]} ${State}`),
			[],
			'containers are left',
		);
	}
}

/** What an error says beside its message. */
export function dataOf({ error }: RpcMessage): Record<string, unknown> {
	return error?.data ?? {};
}

/** The code of the error that is the whole of an answer, or its last event. */
export function codeOf({ messages }: Reply): unknown {
	return messages.items.at(-1)?.error?.data?.['code'];
}

/** That something took no longer than it may. */
export function assertWithin(tookMs: number, msMax: number, what: string): void {
	assert.ok(tookMs <= msMax, `${what} took ${Math.round(tookMs)} ms, and may take ${msMax} ms`);
}
