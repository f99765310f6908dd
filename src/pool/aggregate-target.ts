/** Many servers as one: `/mcp`, with all that there are, and `/groups/<name>/mcp`, with those of a group. */
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { SESSION_LIMITS } from '../limits.ts';
import { LegacyAggregate } from '../mcp/aggregate/legacy-aggregate.ts';
import { ModernAggregate } from '../mcp/aggregate/modern-aggregate.ts';
import { splitName } from '../mcp/aggregate/names.ts';
import type { Standing } from '../mcp/exchange.ts';
import type { HeaderParam } from '../mcp/header-params.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import type { Envelope } from '../mcp/revisions.ts';
import {
	type LegacyConversation,
	type ModernConversation,
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
	/** The version of Slipway, which is the aggregated server. */
	readonly version: string;
}

export class AggregateTarget implements Target {
	readonly name: string;
	/** Each server behind it has its own. */
	readonly callTimeoutMs: number = SESSION_LIMITS.callTimeoutMsMax;
	/** Its servers were told of one client, whatever they speak. */
	readonly speaksModern = undefined;
	readonly #options: AggregateTargetOptions;
	readonly #dependencies: TargetDependencies;

	constructor(options: AggregateTargetOptions, dependencies: TargetDependencies) {
		this.name = options.name;
		this.#options = options;
		this.#dependencies = dependencies;
	}

	get served(): boolean {
		return this.#options.names() !== undefined;
	}

	headerParams(tool: string): readonly HeaderParam[] {
		const { server, name } = splitName(tool) ?? { server: '', name: tool };
		return this.#dependencies.toolHeaders.of(server, name);
	}

	async openLegacy(
		text: string,
		message: RequestMessage,
		standing: Standing,
		options: OpenOptions,
	): Promise<LegacyConversation> {
		const server = new LegacyAggregate({
			...this.#common(),
			open: (name) =>
				this.#reporting(name, async () => {
					const conversation = await this.#target(name).openLegacy(text, message, standing, options);
					const { message: answer } = conversation.answer;
					if (answer.ok) return conversation;
					await conversation.end('prompt');
					throw new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED', { reason: answer.error.message });
				}),
			standing,
		});
		return {
			server,
			answer: server.introduce(message),
			capabilities: {},
			callTimeoutMs: this.callTimeoutMs,
			tick: () => server.tick(),
			end: (patience) => server.close(patience),
		};
	}

	async openModern(envelope: Envelope, options: OpenOptions): Promise<ModernConversation> {
		const server = new ModernAggregate({
			...this.#common(),
			open: (name) => this.#reporting(name, () => this.#target(name).openModern(envelope, options)),
			envelope,
		});
		return { server, personal: true, capabilities: {}, end: (patience) => server.close(patience) };
	}

	#common() {
		const { log } = this.#dependencies;
		return {
			names: () => this.#options.names() ?? [],
			serverInfo: { name: 'slipway', version: this.#options.version },
			onMissing: (server: string, method: string, error: unknown): void =>
				log.warn('a list is without a server', { server, method, code: toSlipwayError(error).code }),
		};
	}

	#target(name: string): ServerTarget {
		const server = this.#dependencies.find(name);
		if (server === undefined) throw new Error(`${name} is not served`);
		return new ServerTarget(server, this.#dependencies);
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
