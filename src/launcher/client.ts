/** The gateway's end of the seam: a Launcher that is another process. */
import { Agent, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { json } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, InstanceEnd, Patience } from '../channel.ts';
import { type ErrorRecord, fromErrorRecord, SlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { LAUNCHER_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { InstanceReport, Launcher, LauncherState, StderrLine, StderrListener, StderrWish } from './contract.ts';
import { CALLER_HEADER, INSTANCE_HEADER, PATHS, SPEC_HEADER, UPGRADE_PROTOCOL } from './wire.ts';

export interface RemoteLauncherOptions {
	readonly socketPath: string;
	readonly log: Log;
}

/**
 * INVARIANTS:
 * - `state.launcher.reachable` is false whenever nothing was heard for silenceMsMax.
 * - Nothing is asked of a launcher that is not reachable, and nothing asked outlives its being reachable: whoever
 *   waits is told at once.
 */
export class RemoteLauncher implements Launcher {
	readonly #options: RemoteLauncherOptions;
	readonly #agent = new Agent({ keepAlive: false });
	readonly #listeners = new Set<(state: LauncherState) => void>();
	readonly #stopping = new AbortController();
	#state: LauncherState = unreachable({
		launcher: { reachable: false, version: '' },
		engine: { reachable: false, reason: '' },
		catalog: { revision: 0 },
		servers: [],
		startsQueued: 0,
		orphansSwept: 0,
		groups: {},
	});
	#following: Promise<void> | undefined;
	/** Aborted when the launcher is lost. */
	#contact = new AbortController();

	constructor(options: RemoteLauncherOptions) {
		this.#options = options;
	}

	/** Follows the launcher's state, and finds it again whenever it was lost. */
	start(): void {
		this.#following ??= this.#follow();
	}

	get state(): LauncherState {
		return this.#state;
	}

	subscribe(listener: (state: LauncherState) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	async launch(server: ServerName, signal: AbortSignal, caller: string): Promise<Channel> {
		const either = AbortSignal.any([signal, this.#assertReachable()]);
		const { promise, resolve, reject } = Promise.withResolvers<Channel>();
		const outgoing = request({
			socketPath: this.#options.socketPath,
			method: 'POST',
			path: PATHS.launch(server),
			headers: {
				Host: 'launcher',
				Connection: 'Upgrade',
				Upgrade: UPGRADE_PROTOCOL,
				'Content-Length': '0',
				[CALLER_HEADER]: caller,
			},
			agent: false,
			signal: either,
		});
		outgoing.once('upgrade', (response, socket: Socket, head: Buffer) => {
			if (head.length > 0) socket.unshift(head);
			const instance = String(response.headers[INSTANCE_HEADER] ?? '') as InstanceId;
			resolve(this.#channel({ server, instance, spec: String(response.headers[SPEC_HEADER] ?? '') }, socket));
		});
		outgoing.once('response', (response) => {
			readJson<ErrorRecord>(response).then(
				(record) => reject(fromErrorRecord(record)),
				(cause: unknown) => reject(lost(cause)),
			);
		});
		outgoing.on('error', (cause) => reject(signal.aborted ? signal.reason : lost(cause)));
		outgoing.end();
		return promise;
	}

	async report(): Promise<readonly InstanceReport[]> {
		return this.#ask('GET', PATHS.report);
	}

	async stderr(wish: StderrWish, onLines: StderrListener): Promise<void> {
		const { signal } = wish;
		const either = AbortSignal.any([signal, this.#assertReachable()]);
		try {
			const response = await this.#send('GET', PATHS.stderr(wish), either);
			if (response.statusCode !== 200) throw fromErrorRecord(await readJson<ErrorRecord>(response));
			for await (const line of createInterface({ input: response })) {
				const told: StderrLine = JSON.parse(line);
				onLines([told]);
			}
			// It ends by itself where it is not followed; otherwise the launcher has cut it.
			if (wish.follow && !signal.aborted) throw new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE');
		} catch (cause) {
			if (!signal.aborted) throw cause instanceof SlipwayError ? cause : lost(cause);
		}
	}

	/** Lets go of the launcher, which ends by itself every Instance that this process held. */
	async stop(): Promise<void> {
		this.#stopping.abort();
		this.#listeners.clear();
		await this.#following;
	}

	#channel({ server, instance, spec }: Pick<Channel, 'server' | 'instance' | 'spec'>, socket: Socket): Channel {
		socket.on('error', () => undefined);
		socket.setTimeout(0);
		const closed = Promise.withResolvers<void>();
		socket.once('close', closed.resolve);
		const ended = closed.promise.then(() =>
			this.#ask<InstanceEnd>('GET', PATHS.end(instance)).catch((): InstanceEnd => ({ cause: 'lost', stderr: '' })),
		);
		let stopping: Promise<void> | undefined;
		const stop = async (patience: Patience): Promise<void> => {
			// Nobody reads any more; what the server still has to say must not keep it from ending.
			socket.resume();
			await this.#ask('POST', PATHS.stop(instance, patience)).catch(() => undefined);
			socket.destroy();
		};
		return {
			server,
			instance,
			spec,
			stream: socket,
			ended,
			stop: (patience) => {
				stopping ??= stop(patience);
				return stopping;
			},
		};
	}

	#assertReachable(): AbortSignal {
		if (!this.#state.launcher.reachable) throw new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE');
		return this.#contact.signal;
	}

	async #send(method: string, path: string, signal: AbortSignal): Promise<IncomingMessage> {
		const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
		const outgoing = request({
			socketPath: this.#options.socketPath,
			method,
			path,
			headers: { Host: 'launcher' },
			agent: this.#agent,
			signal,
		});
		outgoing.once('response', resolve);
		outgoing.on('error', (cause) => reject(lost(cause)));
		outgoing.end();
		return promise;
	}

	async #ask<T>(method: string, path: string): Promise<T> {
		const response = await this.#send(method, path, this.#assertReachable());
		const body = await readJson<T | ErrorRecord>(response).catch((cause: unknown) => Promise.reject(lost(cause)));
		if (response.statusCode !== 200) throw fromErrorRecord(body as ErrorRecord);
		return body as T;
	}

	async #follow(): Promise<void> {
		const { log } = this.#options;
		const { signal } = this.#stopping;
		while (!signal.aborted) {
			try {
				await this.#followOnce(signal);
			} catch {
				// Told by the state below; the reason is always that nobody answers.
			}
			if (this.#state.launcher.reachable && !signal.aborted)
				log.warn('launcher unreachable', { code: 'SLIPWAY_LAUNCHER_UNREACHABLE' });
			this.#enter(unreachable(this.#state));
			this.#contact.abort();
			await sleep(LAUNCHER_LIMITS.reconnectDelayMs, undefined, { signal }).catch(() => undefined);
		}
	}

	async #followOnce(signal: AbortSignal): Promise<void> {
		const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
		const outgoing = request({
			socketPath: this.#options.socketPath,
			path: PATHS.state,
			headers: { Host: 'launcher' },
			agent: false,
			timeout: LAUNCHER_LIMITS.silenceMsMax,
			signal,
		});
		outgoing.once('timeout', () => outgoing.destroy(new Error('silent')));
		outgoing.once('response', resolve);
		outgoing.on('error', reject);
		outgoing.end();
		const response = await promise;
		for await (const line of createInterface({ input: response })) {
			if (line === '') continue;
			const state: LauncherState = JSON.parse(line);
			if (!this.#state.launcher.reachable) {
				this.#contact = new AbortController();
				this.#options.log.info('launcher reachable', { version: state.launcher.version });
			}
			this.#enter(state);
		}
	}

	#enter(state: LauncherState): void {
		this.#state = Object.freeze(state);
		for (const listener of this.#listeners) listener(state);
	}
}

function lost(cause: unknown): SlipwayError {
	return new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE', {}, { cause });
}

/** What was last known of catalog and servers stays, so that names can still be told apart. */
function unreachable(state: LauncherState): LauncherState {
	return Object.freeze({
		...state,
		launcher: { ...state.launcher, reachable: false },
		engine: {
			reachable: false as const,
			reason: 'The launcher does not answer: see `docker compose ps launcher` and its logs.',
		},
	});
}

async function readJson<T>(response: IncomingMessage): Promise<T> {
	return (await json(response)) as T;
}
