/**
 * Which containers ran out of memory, from the engine's events.
 *
 * Events are hints: the engine keeps none over a restart. What we miss is told as a plain exit 137.
 * An `oom` event also comes when only a child of the server died, so it says why, never that a container ended.
 */
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContainerId } from '../ids.ts';
import { ENGINE_LIMITS, INSTANCE_LIMITS } from '../limits.ts';
import type { Engine } from './engine.ts';
import { LABELS } from './labels.ts';

export class OomWatch {
	readonly #engine: Engine;
	readonly #gateway: string;
	readonly #killed = new Set<ContainerId>();
	readonly #stopped = new AbortController();
	#following: Promise<void> | undefined;

	constructor(engine: Engine, gateway: string) {
		this.#engine = engine;
		this.#gateway = gateway;
	}

	start(): void {
		this.#following ??= this.#follow();
	}

	async stop(): Promise<void> {
		this.#stopped.abort();
		await this.#following;
	}

	/** Whether an out-of-memory event came for this container, giving a late one a moment. */
	async happened(id: ContainerId): Promise<boolean> {
		if (!this.#killed.has(id)) await sleep(ENGINE_LIMITS.oomEventLagMs);
		return this.#killed.delete(id);
	}

	/** Listens as long as the stream lasts, and again when it was cut. */
	async #follow(): Promise<void> {
		const { signal } = this.#stopped;
		while (!signal.aborted) {
			// What ended it is of no interest: the engine's own state is watched elsewhere.
			if (this.#engine.state.reachable) await this.#listen(signal).catch(() => undefined);
			await sleep(ENGINE_LIMITS.pingIntervalMs, undefined, { signal }).catch(() => undefined);
		}
	}

	async #listen(signal: AbortSignal): Promise<void> {
		const filters = JSON.stringify({
			type: ['container'],
			event: ['oom'],
			label: [`${LABELS.gateway}=${this.#gateway}`],
		});
		const events = await this.#engine.stream((docker) => docker.getEvents({ filters }), { signal });
		events.on('error', () => undefined);
		for await (const line of createInterface({ input: events })) this.#note(line);
	}

	#note(line: string): void {
		const id = /"id":"([0-9a-f]{64})"/.exec(line)?.[1];
		if (id === undefined) return;
		this.#killed.add(id as ContainerId);
		if (this.#killed.size > INSTANCE_LIMITS.endedKeptMax) {
			for (const oldest of this.#killed) {
				this.#killed.delete(oldest);
				break;
			}
		}
	}
}
