/** The containers of a stack as the engine tells of them: how many were started, which a look at what runs cannot tell. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { Inbox } from './inbox.ts';
import type { Stack } from './stack.ts';

interface Started {
	readonly id: string;
	readonly server: string;
}

export class ContainerWatch {
	readonly #stack: Stack;
	readonly #started = new Inbox<Started>('the start of a container');
	/** Starts that were counted, by server. */
	readonly #counted = new Map<string, number>();
	readonly #close: () => void;

	private constructor(stack: Stack, stream: NodeJS.ReadableStream) {
		this.#stack = stack;
		createInterface({ input: stream }).on('line', (line) => {
			const { id, Actor } = JSON.parse(line);
			this.#started.push({ id, server: Actor.Attributes[LABELS.server] });
		});
		this.#close = () => Reflect.apply(Reflect.get(stream, 'destroy'), stream, []);
	}

	static async of(stack: Stack): Promise<ContainerWatch> {
		const label = [`${LABELS.gateway}=${stack.gatewayId}`];
		const stream = await new Docker().getEvents({ filters: { type: ['container'], event: ['start'], label } });
		return new ContainerWatch(stack, stream);
	}

	/** How many containers of a server were started since the last time. At least one of them must be running. */
	async startsOf(server: string): Promise<number> {
		const running = (await this.#stack.containers()).filter(({ Labels }) => Labels[LABELS.server] === server);
		assert.ok(running.length > 0, `no container of ${server} runs`);
		// Events come in order: with the last of those that run, all were told of.
		for (const { Id } of running) await this.#started.first(({ id }) => id === Id);
		const starts = this.#started.items.filter((started) => started.server === server).length;
		const before = this.#counted.get(server) ?? 0;
		this.#counted.set(server, starts);
		return starts - before;
	}

	stop(): void {
		this.#close();
	}
}
