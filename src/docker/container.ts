/**
 * One container for its whole life: create, compare, attach, start, stdio, end.
 *
 * The order matters. Attached before started, no byte of stdout is missed; `wait` registered before started, no
 * exit is. StdinOnce makes the engine close the server's stdin when this connection goes, however it goes.
 */
import { addAbortListener } from 'node:events';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Channel, InstanceEnd, Patience } from '../channel.ts';
import { SlipwayError } from '../errors.ts';
import type { ContainerId, InstanceId, ServerName } from '../ids.ts';
import { ENGINE_LIMITS, INSTANCE_LIMITS, STDIO_LIMITS } from '../limits.ts';
import { frame, SHELL } from '../secrets/delivery.ts';
import { attach } from './attach.ts';
import { findDrift } from './drift.ts';
import { type Engine, EngineRefusal } from './engine.ts';
import { FrameDemultiplexer } from './frames.ts';
import type { OomWatch } from './oom-watch.ts';
import type { ContainerSpec } from './spec.ts';
import { StderrRing } from './stderr-ring.ts';
import { type Exit, waitFor } from './wait.ts';

export interface ContainerDependencies {
	readonly engine: Engine;
	readonly oomWatch: OomWatch;
}

/**
 * Creates, checks, attaches and starts a container.
 *
 * @throws SlipwayError; the container is removed then, and when `signal` aborts
 */
export async function startContainer(
	dependencies: ContainerDependencies,
	spec: ContainerSpec,
	signal: AbortSignal,
): Promise<ContainerChannel> {
	const { engine } = dependencies;
	signal.throwIfAborted();
	const id = await createContainer(engine, spec);
	const waiting = new AbortController();
	try {
		using _ = addAbortListener(signal, () => waiting.abort(signal.reason));
		const [inspected, { exit }, hasShell] = await Promise.all([
			engine.call((docker) => docker.getContainer(id).inspect(), { signal }),
			waitFor(engine.socketPath, id, { condition: 'next-exit', signal: waiting.signal }),
			spec.secrets.length === 0 || findShell(engine, id),
		]);
		const drift = findDrift(spec.body, inspected);
		if (drift !== undefined) throw new SlipwayError('SLIPWAY_SPEC_DRIFT', { server: spec.server, reason: drift });
		if (!hasShell)
			throw new SlipwayError('SLIPWAY_IMAGE_REFUSED', {
				server: spec.server,
				reason: `It has no ${SHELL}, which a server is handed its secrets by.`,
			});
		const socket = await attach(engine.socketPath, id, signal);
		// Before any byte of whoever gets the channel; the engine keeps them until the container runs.
		if (spec.secrets.length > 0) socket.write(frame(spec.secrets));
		const channel = new ContainerChannel(dependencies, { id, spec, socket, exit, waiting });
		try {
			await engine.call((docker) => docker.getContainer(id).start(), { signal });
		} catch (error) {
			socket.destroy();
			throw error;
		}
		return channel;
	} catch (error) {
		waiting.abort();
		await removeContainer(engine, id);
		throw explainStart(error, spec);
	}
}

/** Whether there is a shell in a container that need not run. Without one, `exec` would fail in words of the engine's init. */
async function findShell(engine: Engine, id: ContainerId): Promise<boolean> {
	return (await engine.callIfThere((docker) => docker.getContainer(id).infoArchive({ path: SHELL }))) !== undefined;
}

/** Removes a container with its anonymous volumes, running or not. Resolves also when it was gone, or the engine is. */
export async function removeContainer(engine: Engine, id: ContainerId): Promise<void> {
	try {
		await engine.callIfThere((docker) => docker.getContainer(id).remove({ force: true, v: true }));
		// One that is being removed already refuses the above; it is not gone yet.
		await engine.callIfThere((docker) => docker.getContainer(id).wait({ condition: 'removed' }));
	} catch {
		// What is left when the engine is gone or refuses is the sweep's to remove: it goes by label, not by memory.
	}
}

/** Not to be aborted: the engine would make the container all the same, and nobody would know its id. */
async function createContainer(engine: Engine, spec: ContainerSpec): Promise<ContainerId> {
	try {
		const created = await engine.call((docker) => docker.createContainer({ name: spec.containerName, ...spec.body }));
		return created.id as ContainerId;
	} catch (error) {
		throw explainStart(error, spec);
	}
}

/** What a refusal of the engine means for the one who wrote the catalog. */
function explainStart(error: unknown, spec: ContainerSpec): unknown {
	const { server } = spec;
	if (!(error instanceof EngineRefusal)) return error;
	const cause = { cause: error };
	const text = error.message;
	if (error.statusCode === 404 && /no such image/i.test(text))
		return new SlipwayError('SLIPWAY_IMAGE_MISSING', { server }, cause);
	const mount = explainMount(text, spec);
	if (mount !== undefined) return new SlipwayError('SLIPWAY_MOUNT_REFUSED', { server, reason: mount }, cause);
	if (
		/executable file not found|no such file or directory|permission denied|is a directory|no command specified/i.test(
			text,
		)
	) {
		return new SlipwayError('SLIPWAY_COMMAND_INVALID', { server }, cause);
	}
	return new SlipwayError('SLIPWAY_ENGINE_FAILED', { server }, cause);
}

/** What the engine's words about a folder of the host mean, or undefined when they are about something else. */
function explainMount(text: string, { hostFolders }: ContainerSpec): string | undefined {
	const onHost = ([, volume = '', subpath = '']: RegExpExecArray): string =>
		`${hostFolders[volume] ?? volume}/${subpath.trim()}`;
	const escaping = /\/volumes\/([^/]+)\/_data, subpath: (.+)/.exec(text);
	if (escaping !== null) return `A link in ${onHost(escaping)} leads out of the folder that may be mounted.`;
	const below = /cannot access path .*\/volumes\/([^/]+)\/_data\/(.+?): lstat/.exec(text);
	const root = /failed to mount local volume: mount (.+?):\/.*no such file or directory/.exec(text)?.[1];
	const missing = below === null ? root : onHost(below);
	return missing === undefined ? undefined : `There is no ${missing} on the host: make it, or correct \`mounts\`.`;
}

interface ContainerParts {
	readonly id: ContainerId;
	readonly spec: ContainerSpec;
	readonly socket: Socket;
	/** How it exited, once it did; undefined when the engine could not say. */
	readonly exit: Promise<Exit | undefined>;
	/** Ends the wait for that. */
	readonly waiting: AbortController;
}

/**
 * INVARIANTS:
 * - `ended` resolves exactly once, after the last byte of stdout was given to `stream`; no request to the engine is
 *   open for it then.
 * - After `stop` resolved the engine has no container of this id, or the engine does not answer.
 * - The socket is paused while the reader of `stream` is behind, which stops the server's own writes.
 */
export class ContainerChannel implements Channel {
	readonly id: ContainerId;
	readonly server: ServerName;
	readonly instance: InstanceId;
	readonly spec: string;
	readonly startedAt = new Date();
	readonly stream: Duplex;
	readonly ended: Promise<InstanceEnd>;
	readonly #engine: Engine;
	readonly #oomWatch: OomWatch;
	readonly #socket: Socket;
	readonly #stderr: StderrRing;
	readonly #exit: Promise<Exit | undefined>;
	readonly #waiting: AbortController;
	#frameProblem: string | undefined;
	#stopping: Promise<void> | undefined;
	/** What comes of stdout now is for nobody. */
	#discarding = false;

	constructor({ engine, oomWatch }: ContainerDependencies, { id, spec, socket, exit, waiting }: ContainerParts) {
		this.id = id;
		this.server = spec.server;
		this.instance = spec.instance;
		this.spec = spec.entryHash;
		this.#stderr = new StderrRing(STDIO_LIMITS.stderrRingBytesMax, [
			...spec.secrets.map(({ value }) => value),
			...(spec.hidden ?? []),
		]);
		this.#engine = engine;
		this.#oomWatch = oomWatch;
		this.#socket = socket;
		this.#exit = exit;
		this.#waiting = waiting;
		this.stream = this.#connect();
		this.ended = this.#awaitEnd();
	}

	stderrTail(): string {
		return this.#stderr.tail();
	}

	/** See StderrRing. */
	stderrLines(from: number, isOver: boolean): ReturnType<StderrRing['lines']> {
		return this.#stderr.lines(from, isOver);
	}

	stop(patience: Patience): Promise<void> {
		this.#stopping ??= this.#stop(patience);
		return this.#stopping;
	}

	async #stop(patience: Patience): Promise<void> {
		const [eofMs, termMs] =
			patience === 'prompt'
				? [INSTANCE_LIMITS.promptStopEofMs, INSTANCE_LIMITS.promptStopTermMs]
				: [INSTANCE_LIMITS.stopEofMs, INSTANCE_LIMITS.stopTermMs];
		this.#socket.end();
		// Nobody reads any more; what the server still has to say must not keep it from ending.
		this.stream.resume();
		if (!(await this.#exitsWithin(eofMs))) {
			await this.#signal('SIGTERM');
			if (!(await this.#exitsWithin(termMs))) {
				// The engine tells of no end, and removes nothing, while its own stream is not read: by whoever pipes ours, say.
				this.#discarding = true;
				this.#socket.resume();
				await removeContainer(this.#engine, this.id);
			}
		}
		await this.#removed();
		this.#socket.destroy();
	}

	async #exitsWithin(ms: number): Promise<boolean> {
		const timer = new AbortController();
		const timeout = sleep(ms, false, { signal: timer.signal }).catch(() => false);
		const exited = this.#exit.then((exit) => exit !== undefined);
		try {
			return await Promise.race([exited, timeout]);
		} finally {
			timer.abort();
		}
	}

	async #signal(signal: string): Promise<void> {
		try {
			await this.#engine.callIfThere((docker) => docker.getContainer(this.id).kill({ signal }));
		} catch {
			// The engine is gone or refuses; the removal that follows, or the sweep, has the last word.
		}
	}

	/** Also when the engine does not answer: then the sweep has the last word. */
	async #removed(): Promise<void> {
		const signal = AbortSignal.timeout(ENGINE_LIMITS.requestTimeoutMs);
		const wait = waitFor(this.#engine.socketPath, this.id, { condition: 'removed', signal });
		await wait.then(({ exit }) => exit).catch(() => undefined);
	}

	async #awaitEnd(): Promise<InstanceEnd> {
		const closed = Promise.withResolvers<void>();
		this.#socket.once('close', closed.resolve);
		await closed.promise;
		// Who stops it from here on, as one does who sees the stream end, is not the one who ended it.
		const stopped = this.#stopping !== undefined;
		// The stream ends a little before the engine knows the exit.
		const exitCode = (await this.#exitsWithin(ENGINE_LIMITS.exitReportMs)) ? (await this.#exit)?.code : undefined;
		this.#waiting.abort();
		const end = { ...(exitCode === undefined ? {} : { exitCode }), stderr: this.#stderr.tail() };
		if (this.#frameProblem !== undefined) return { cause: 'frame', ...end };
		if (stopped) return { cause: 'stopped', ...end };
		if (exitCode === undefined) {
			this.#engine.doubt();
			return { cause: 'lost', ...end };
		}
		if (exitCode === 137 && (await this.#oomWatch.happened(this.id))) return { cause: 'oom', ...end };
		return { cause: 'exited', ...end };
	}

	#connect(): Duplex {
		const socket = this.#socket;
		const stream = new Duplex({
			highWaterMark: STDIO_LIMITS.frameBytesMax,
			write: (chunk: Buffer, _, done) => {
				if (socket.write(chunk)) done();
				else onceDrainedOrClosed(socket, done);
			},
			final: (done) => {
				socket.end();
				done();
			},
			read: () => {
				socket.resume();
			},
			destroy: (error, done) => {
				socket.destroy();
				done(error);
			},
		});
		stream.on('error', () => undefined);
		const frames = new FrameDemultiplexer(
			{
				stdout: (chunk) => {
					if (!this.#discarding && !stream.push(chunk)) socket.pause();
				},
				stderr: (chunk) => this.#stderr.push(chunk),
				invalid: (reason) => {
					this.#frameProblem = reason;
					socket.destroy();
				},
			},
			STDIO_LIMITS.frameBytesMax,
		);
		socket.on('data', (chunk: Buffer) => frames.push(chunk));
		// The socket is half-open by nature: its end is the end of stdout and stderr, that is, of the container.
		socket.once('end', () => socket.end());
		socket.once('close', () => {
			if (!stream.destroyed) stream.push(null);
		});
		return stream;
	}
}

/** Waits for room in the socket; a socket that closes has room for everything, since nothing is written any more. */
function onceDrainedOrClosed(socket: Socket, done: () => void): void {
	const settle = (): void => {
		socket.off('drain', settle);
		socket.off('close', settle);
		done();
	};
	socket.once('drain', settle);
	socket.once('close', settle);
}
