/**
 * The Docker Engine: one connection to its API, whether it answers, and what its errors mean.
 *
 * Everything but attach goes through dockerode (attach.ts says why that does not).
 */
import { addAbortListener } from 'node:events';
import { Agent } from 'node:http';
import Docker from 'dockerode';
import { SlipwayError } from '../errors.ts';
import { ENGINE_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';

/** Whether the engine answers, and if not, why, in a sentence for the person who has to mend it. */
export type EngineState =
	| { readonly reachable: true; readonly version: string; readonly apiVersion: string }
	| { readonly reachable: false; readonly reason: string };

/** The Engine answered with an error. `message` is its own and goes to the log only. */
export class EngineRefusal extends Error {
	readonly statusCode: number;
	constructor(statusCode: number, message: string) {
		super(message);
		this.name = 'EngineRefusal';
		this.statusCode = statusCode;
	}
}

/** A refusal that nobody foresaw as an error of the table, which tells nothing of the engine's; else the error itself. */
export function explainRefusal(error: unknown): unknown {
	return error instanceof EngineRefusal ? new SlipwayError('SLIPWAY_ENGINE_FAILED', {}, { cause: error }) : error;
}

interface CallOptions {
	readonly timeoutMs?: number;
	readonly signal?: AbortSignal;
	/** Of the Engine's API; `any` lets an engine that is too old say so. */
	readonly version?: typeof ENGINE_LIMITS.apiVersionMin | 'any';
}

/**
 * Pooled sockets break when the engine restarts, and a POST cannot be repeated: a connection a request. The agent closes
 * it: half of dockerode's requests take no signal, and none hears it once an answer has begun.
 */
function newAgent(): Agent {
	return new Agent({ keepAlive: false });
}

export interface EngineOptions {
	readonly socketPath: string;
	readonly log: Log;
}

/**
 * INVARIANTS:
 * - `state` is what the last ping said; it is never older than pingIntervalMs + pingTimeoutMs while started.
 * - Listeners are called at changes only, never twice for the same state.
 */
export class Engine {
	readonly socketPath: string;
	readonly #log: Log;
	readonly #listeners = new Set<(state: EngineState) => void>();
	#state: EngineState = { reachable: false, reason: 'not asked yet' };
	#timer: NodeJS.Timeout | undefined;
	#pinging: Promise<void> | undefined;
	#stopped = false;

	constructor({ socketPath, log }: EngineOptions) {
		this.socketPath = socketPath;
		this.#log = log;
	}

	get state(): EngineState {
		return this.#state;
	}

	/** Asks the engine for the first time, and then every pingIntervalMs. Never rejects. */
	async start(): Promise<void> {
		await this.#ping();
		const tick = (): void => {
			if (this.#stopped) return;
			this.#timer = setTimeout(() => void this.#ping().then(tick), ENGINE_LIMITS.pingIntervalMs);
		};
		tick();
	}

	stop(): void {
		this.#stopped = true;
		clearTimeout(this.#timer);
		this.#listeners.clear();
	}

	/** Calls back at every change of `state`. Returns the way to stop that. */
	subscribe(listener: (state: EngineState) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** A connection of somebody's broke: whether the engine is still there is asked now, and not a while later. */
	doubt(): void {
		if (!this.#stopped) void this.#ping();
	}

	/** Throws SLIPWAY_ENGINE_UNREACHABLE at once when the engine is known not to answer. */
	assertReachable(): void {
		if (!this.#state.reachable) {
			throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE', { reason: this.#state.reason });
		}
	}

	/**
	 * One request of the Engine's API, bounded in time. However it goes, its connection is closed then.
	 *
	 * @throws EngineRefusal when the Engine answers with an error status
	 * @throws SlipwayError SLIPWAY_ENGINE_UNREACHABLE when it does not answer
	 */
	async call<T>(request: (docker: Docker) => Promise<T>, options: CallOptions = {}): Promise<T> {
		const agent = newAgent();
		try {
			return await this.#ask(request, options, agent);
		} finally {
			agent.destroy();
		}
	}

	/** As `call`, for an answer that is read as it comes: the time is for its beginning, and `signal` ends it anywhere. */
	async stream<T extends NodeJS.ReadableStream>(
		request: (docker: Docker) => Promise<T>,
		options: CallOptions & { readonly signal: AbortSignal },
	): Promise<T> {
		const agent = newAgent();
		try {
			const stream = await this.#ask(request, options, agent);
			const listening = addAbortListener(options.signal, () => agent.destroy());
			stream.once('close', () => listening[Symbol.dispose]());
			return stream;
		} catch (error) {
			agent.destroy();
			throw error;
		}
	}

	/** As `call`, for what may be gone already: a 404 (gone) or a 409 (going) is `undefined`. */
	async callIfThere<T>(request: (docker: Docker) => Promise<T>, options: CallOptions = {}): Promise<T | undefined> {
		try {
			return await this.call(request, options);
		} catch (error) {
			if (error instanceof EngineRefusal && (error.statusCode === 404 || error.statusCode === 409)) return undefined;
			throw error;
		}
	}

	async #ask<T>(
		request: (docker: Docker) => Promise<T>,
		{ timeoutMs = ENGINE_LIMITS.requestTimeoutMs, signal, version = ENGINE_LIMITS.apiVersionMin }: CallOptions,
		agent: Agent,
	): Promise<T> {
		const deadline = AbortSignal.timeout(timeoutMs);
		const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
		const cut = Promise.withResolvers<never>();
		const abort = (): void => cut.reject(either.reason);
		either.addEventListener('abort', abort, { once: true });
		const api = version === 'any' ? {} : { version: `v${version}` };
		const connection = { socketPath: this.socketPath, agent, ...api };
		try {
			signal?.throwIfAborted();
			// An answer that breaks off in the middle leaves dockerode waiting for good.
			return await Promise.race([request(new Docker(connection)), cut.promise]);
		} catch (error) {
			signal?.throwIfAborted();
			throw this.#explain(error, deadline.aborted);
		} finally {
			either.removeEventListener('abort', abort);
		}
	}

	#explain(error: unknown, timedOut: boolean): Error {
		const status = property(error, 'statusCode');
		if (typeof status === 'number') return new EngineRefusal(status, engineMessage(error));
		return new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE', { reason: this.#reason(error, timedOut) }, { cause: error });
	}

	#reason(error: unknown, timedOut: boolean): string {
		if (timedOut) return 'The engine did not answer in time.';
		switch (property(error, 'code')) {
			case 'ENOENT':
				return `There is no socket at ${this.socketPath}: is the engine running, and is its socket mounted?`;
			case 'EACCES':
			case 'EPERM':
				return `No permission to open ${this.socketPath}: the launcher needs to own it or be in its group.`;
			case 'ECONNREFUSED':
				return `Nothing listens at ${this.socketPath}: the engine is not running.`;
			case 'EMFILE':
			case 'ENFILE':
				return 'This process has no file descriptors left: raise its limit (ulimit -n).';
			case 'ENOTSOCK':
			case 'EISDIR':
				return `${this.socketPath} is not a socket: the engine was not running when it was mounted.`;
			default:
				return 'The connection to the engine broke.';
		}
	}

	#ping(): Promise<void> {
		this.#pinging ??= this.#look().finally(() => {
			this.#pinging = undefined;
		});
		return this.#pinging;
	}

	async #look(): Promise<void> {
		try {
			if (this.#state.reachable) {
				await this.call((docker) => docker.ping(), { timeoutMs: ENGINE_LIMITS.pingTimeoutMs, version: 'any' });
				return;
			}
			this.#enter(await this.#greet());
		} catch (error) {
			const reason =
				error instanceof SlipwayError
					? (error.details.reason ?? '')
					: `The engine answers with an error: ${messageOf(error)}`;
			this.#enter({ reachable: false, reason });
		}
	}

	/** What engine this is. */
	async #greet(): Promise<EngineState> {
		const answer = await this.call((docker) => docker.version(), {
			timeoutMs: ENGINE_LIMITS.pingTimeoutMs,
			version: 'any',
		});
		const { Version: version, ApiVersion: apiVersion }: { Version?: unknown; ApiVersion?: unknown } = answer;
		if (typeof version !== 'string' || typeof apiVersion !== 'string')
			return { reachable: false, reason: `What answers at ${this.socketPath} is no Docker Engine.` };
		if (compareVersions(apiVersion, ENGINE_LIMITS.apiVersionMin) < 0) {
			const reason = `The engine speaks API ${apiVersion}; Slipway needs ${ENGINE_LIMITS.apiVersionMin} (Docker Engine 26) or newer.`;
			return { reachable: false, reason };
		}
		return { reachable: true, version, apiVersion };
	}

	#enter(state: EngineState): void {
		const before = this.#state;
		if (
			before.reachable === state.reachable &&
			(state.reachable || (!before.reachable && before.reason === state.reason))
		)
			return;
		this.#state = state;
		if (state.reachable) {
			this.#log.info('engine reachable', { engineVersion: state.version, apiVersion: state.apiVersion });
		} else {
			this.#log.warn('engine unreachable', { code: 'SLIPWAY_ENGINE_UNREACHABLE', reason: state.reason });
		}
		for (const listener of this.#listeners) listener(state);
	}
}

/** Compares dotted versions by number: negative, zero or positive. */
export function compareVersions(left: string, right: string): number {
	const [a, b] = [left.split('.').map(Number), right.split('.').map(Number)];
	for (let i = 0; i < Math.max(a.length, b.length); i++) {
		const difference = (a[i] ?? 0) - (b[i] ?? 0);
		if (difference !== 0) return difference;
	}
	return 0;
}

function engineMessage(error: unknown): string {
	const json = property(error, 'json');
	const message = property(json, 'message');
	return typeof message === 'string' ? message : messageOf(error);
}

function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function property(value: unknown, name: string): unknown {
	return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
