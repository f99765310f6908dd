/** The server in a simulated Instance: what it says first, how it answers calls, and of what it dies. */
import { SUBSCRIPTION_KEY } from '../../src/mcp/revisions.ts';
import type { Rpc } from './fake-launcher.ts';
import { discovered, failure, initialized, META, METHOD_NOT_FOUND, metaIn } from './played-server.ts';
import { ACCIDENTS, type SimulatedInstance } from './simulated-launcher.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What comes of its first words. */
export interface Manners {
	readonly era: 'legacy' | 'modern' | 'dual';
	/** Whether a first word of the other era makes it exit. */
	readonly exitsOnOtherEra: boolean;
	readonly first: 'answer' | 'silence' | 'exit' | 'refuse';
	readonly firstMs: number;
	/** It dies so long after it was started. */
	readonly livesMs: number | undefined;
}

/** What comes of one call. */
export interface Reaction {
	readonly kind: 'answer' | 'error' | 'silence' | 'exit';
	readonly afterMs: number;
}

export interface SimulatedServerOptions {
	readonly instance: SimulatedInstance;
	readonly manners: Manners;
	readonly time: SimulatedTime;
	readonly react: () => Reaction;
	/** Told of each call, before it does anything about it. */
	readonly onCall: (client: string, server: SimulatedServer) => void;
}

const CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };

export class SimulatedServer {
	readonly instance: SimulatedInstance;
	/** Who it was told of in its first words; undefined before. */
	introducedTo: string | undefined;
	/** The clients whose calls it has heard. */
	readonly clients = new Set<string>();
	/** When it last heard or answered a request. */
	activeAtMs: number;
	/** Whether it ever owed an answer and did not give it: whoever waits may end it for that. */
	hasHung = false;
	/** Resources that somebody wants to hear of, in the first era, and by listeners in the second. */
	readonly #subscribed = new Set<string>();
	readonly #listening = new Map<number, boolean>();
	readonly #options: SimulatedServerOptions;
	/** Requests that it has not answered, and that were not withdrawn. */
	readonly #pending = new Set<number>();
	#heard = 0;

	constructor(options: SimulatedServerOptions) {
		this.#options = options;
		this.instance = options.instance;
		const { time, manners } = options;
		this.activeAtMs = time.nowMs;
		if (manners.livesMs !== undefined) time.after(manners.livesMs, () => this.#exit());
	}

	get inFlight(): number {
		return this.#pending.size;
	}

	/** Whether somebody wants to hear of a resource. */
	get isSubscribed(): boolean {
		return this.#subscribed.size > 0 || [...this.#listening.values()].includes(true);
	}

	/** Reads what came since it was asked last. Returns whether anything did. */
	hear(): boolean {
		const { received } = this.instance;
		const before = this.#heard;
		while (this.#heard < received.length) this.#take(JSON.parse(received[this.#heard++] ?? ''));
		return this.#heard > before;
	}

	/** Answers nothing any more. */
	hang(): void {
		this.hasHung = true;
	}

	#take({ id, method, params = {} }: Rpc): void {
		if (this.instance.over || method === undefined) return;
		this.activeAtMs = this.#options.time.nowMs;
		if (method === 'notifications/cancelled') this.#withdraw(Number(params['requestId']));
		if (typeof id !== 'number') return;
		const { manners, react, onCall } = this.#options;
		this.#pending.add(id);
		switch (method) {
			case 'server/discover':
				this.introducedTo = nameIn(Reflect.get(metaIn({ params }), `${META}clientInfo`));
				return this.#introduce(id, manners.era !== 'legacy', discovered({ capabilities: CAPABILITIES }));
			case 'initialize': {
				this.introducedTo = nameIn(params['clientInfo']);
				const protocolVersion = String(params['protocolVersion']);
				return this.#introduce(
					id,
					manners.era !== 'modern',
					initialized({ capabilities: CAPABILITIES, protocolVersion }),
				);
			}
			case 'tools/call': {
				const client = String(Reflect.get(Object(params['arguments']), 'client'));
				this.clients.add(client);
				onCall(client, this);
				const { kind, afterMs } = react();
				if (kind === 'silence') return this.hang();
				if (kind === 'exit') return this.#options.time.after(afterMs, () => this.#exit());
				const result = { resultType: 'complete', content: [{ type: 'text', text: client }] };
				return this.#later(id, afterMs, kind === 'error' ? failure(id, { code: -32000, message: client }) : { result });
			}
			case 'tools/list':
				return this.#later(id, 0, { result: { resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools: [] } });
			case 'resources/subscribe':
				this.#subscribed.add(String(params['uri']));
				return this.#later(id, 0, { result: {} });
			case 'resources/unsubscribe':
				this.#subscribed.delete(String(params['uri']));
				return this.#later(id, 0, { result: {} });
			case 'subscriptions/listen':
				return this.#listen(id, Object(params['notifications']));
			default:
				return this.#later(id, 0, { result: {} });
		}
	}

	/** Lasts until it is withdrawn, and is no call. */
	#listen(id: number, notifications: object): void {
		this.#pending.delete(id);
		this.#listening.set(id, Reflect.has(notifications, 'resourceSubscriptions'));
		const params = { notifications, _meta: { [SUBSCRIPTION_KEY]: id } };
		this.instance.say({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params });
	}

	#withdraw(id: number): void {
		this.#pending.delete(id);
		this.#listening.delete(id);
	}

	#introduce(id: number, speaks: boolean, introduction: Record<string, unknown>): void {
		const { first, firstMs, exitsOnOtherEra } = this.#options.manners;
		if (first === 'silence') return this.hang();
		if (first === 'exit' || (!speaks && exitsOnOtherEra)) return this.#options.time.after(firstMs, () => this.#exit());
		if (first === 'refuse') return this.#later(id, firstMs, failure(id, { code: -32000, message: 'No licence' }));
		this.#later(id, firstMs, speaks ? { result: introduction } : failure(id, METHOD_NOT_FOUND));
	}

	#later(id: number, ms: number, answer: Rpc): void {
		this.#options.time.after(ms, () => {
			if (this.hasHung || this.instance.over || !this.#pending.delete(id)) return;
			this.activeAtMs = this.#options.time.nowMs;
			this.instance.say({ jsonrpc: '2.0', id, ...answer });
		});
	}

	#exit(): void {
		this.instance.die(ACCIDENTS[0]);
	}
}

function nameIn(clientInfo: unknown): string {
	return String(Reflect.get(Object(clientInfo), 'name'));
}
