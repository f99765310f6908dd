/** Many servers as one: `/mcp`, with all that there are, and `/groups/<name>/mcp`, with those of a group. */
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { SESSION_LIMITS } from '../limits.ts';
import type { ListKind } from '../mcp/aggregate/directory.ts';
import { LegacyAggregate } from '../mcp/aggregate/legacy-aggregate.ts';
import { ModernAggregate } from '../mcp/aggregate/modern-aggregate.ts';
import { splitName } from '../mcp/aggregate/names.ts';
import type { HeaderParam } from '../mcp/header-params.ts';
import { own, type RequestMessage } from '../mcp/jsonrpc.ts';
import { type Envelope, revisionForInitialize } from '../mcp/revisions.ts';
import type { SessionMemory } from '../mcp/session-memory.ts';
import type { Snapshot } from '../mcp/snapshot.ts';
import type { Access } from '../policy/access.ts';
import {
	capabilitiesIn,
	conversationWith,
	initializeIn,
	type LegacyConversation,
	type LegacyOptions,
	type ModernConversation,
	type OpenedLegacy,
	type OpenOptions,
	ServerTarget,
	type Target,
	type TargetDependencies,
} from './target.ts';

export interface AggregateTargetOptions {
	/** The path of the endpoint, which is its name. */
	readonly name: string;
	/** The servers that there are now, in the order of their precedence; undefined when there is no such endpoint any more. */
	readonly names: () => readonly string[] | undefined;
	/** What its caller may use. Its servers are among that. */
	readonly access: Access;
	/** The version of Slipway, which is the aggregated server. */
	readonly version: string;
}

export class AggregateTarget implements Target {
	readonly name: string;
	/** Each server behind it has its own. */
	readonly callTimeoutMs: number = SESSION_LIMITS.callTimeoutMsMax;
	/** Its servers were told of one client, whatever they speak. */
	readonly speaksModern = undefined;
	#options: AggregateTargetOptions;
	readonly #dependencies: TargetDependencies;

	constructor(options: AggregateTargetOptions, dependencies: TargetDependencies) {
		this.name = options.name;
		this.#options = options;
		this.#dependencies = dependencies;
	}

	become(other: Target): void {
		if (other instanceof AggregateTarget) this.#options = other.#options;
	}

	get served(): boolean {
		return this.#options.names() !== undefined;
	}

	/** It says what it is without asking anybody. */
	known(): undefined {
		return undefined;
	}

	serverOf({ params = {} }: RequestMessage): string {
		const name = own(params, 'name');
		const server = typeof name === 'string' ? splitName(name)?.server : undefined;
		return server !== undefined && this.#options.names()?.includes(server) ? server : this.name;
	}

	toolOf({ method, params = {} }: RequestMessage): string | undefined {
		const name = method === 'tools/call' ? own(params, 'name') : undefined;
		return typeof name === 'string' ? splitName(name)?.name : undefined;
	}

	headerParams(tool: string): readonly HeaderParam[] {
		const { server, name } = splitName(tool) ?? { server: '', name: tool };
		return this.#dependencies.toolBook.headersOf(server, name);
	}

	async openLegacy(text: string, message: RequestMessage, options: LegacyOptions): Promise<OpenedLegacy> {
		const revision = revisionForInitialize(message);
		const memory = { initialize: text, revision, spec: '', logLevel: undefined, subscriptions: [] };
		const server = this.#last(memory, message, options);
		return Object.assign(conversationWith(server), { answer: server.introduce(message) });
	}

	resumeLegacy(memory: SessionMemory, options: LegacyOptions): LegacyConversation {
		return conversationWith(this.#last(memory, initializeIn(memory), options));
	}

	/** Its servers come and go, and each outlives its own Instances. */
	#last(memory: SessionMemory, message: RequestMessage, options: LegacyOptions): LegacyAggregate {
		return new LegacyAggregate({
			...this.#common(({ snapshots }) => snapshots.ofLegacy(message, options.caller)),
			memory,
			open: (name) =>
				this.#reporting(name, async () => {
					const target = this.#target(name);
					const { server: member, answer, build, end } = await target.sit(memory.initialize, message, options);
					if (!answer.message.ok) {
						await end('prompt');
						throw new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED', { reason: answer.message.error.message });
					}
					return {
						server: member,
						capabilities: capabilitiesIn(answer),
						callTimeoutMs: target.callTimeoutMs,
						idleStopMs: target.idleStopMs,
						get stale() {
							return build.stale;
						},
						end,
					};
				}),
			standing: options.standing,
			onMemory: options.onMemory,
		});
	}

	async openModern(envelope: Envelope, options: OpenOptions): Promise<ModernConversation> {
		const server = new ModernAggregate({
			...this.#common(({ snapshots }) => snapshots.ofModern(envelope, options.caller)),
			open: (name) => this.#reporting(name, () => this.#target(name).openModern(envelope, options)),
			envelope,
		});
		return {
			server,
			personal: true,
			capabilities: {},
			stale: false,
			idleStopMs: Number.POSITIVE_INFINITY,
			end: (patience) => server.close(patience),
		};
	}

	#common(snapshotOf: (target: ServerTarget) => Snapshot | undefined) {
		const { log, find } = this.#dependencies;
		return {
			known: (name: string, kind: ListKind) => {
				if (find(name) === undefined) return undefined;
				const target = this.#target(name);
				return target.knownList(snapshotOf(target), kind);
			},
			names: () => this.#options.names() ?? [],
			specOf: (name: string) => {
				const server = find(name);
				return server?.preparation.kind === 'ready' ? server.spec : undefined;
			},
			serverInfo: { name: 'slipway', version: this.#options.version },
			onMissing: (server: string, method: string, error: unknown): void =>
				log.warn('a list is without a server', { server, method, code: toSlipwayError(error).code }),
		};
	}

	#target(name: string): ServerTarget {
		const server = this.#dependencies.find(name);
		if (server === undefined) throw new Error(`${name} is not served`);
		return new ServerTarget(server, this.#dependencies, () => this.#options.access);
	}

	/** A server that cannot be started is absent: the log says so, and /status as long as it is. */
	async #reporting<T>(name: string, open: () => Promise<T>): Promise<T> {
		const { absences, log } = this.#dependencies;
		try {
			const opened = await open();
			absences.clear(name);
			return opened;
		} catch (cause) {
			const error = toSlipwayError(cause);
			if (error.code !== 'SLIPWAY_SESSION_ENDED') {
				absences.note(name, error);
				log.warn('server absent from an endpoint', { server: name, code: error.code, endpoint: this.name });
			}
			throw error;
		}
	}
}
