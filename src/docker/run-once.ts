/** A container that runs to its end for what it prints: used to prepare images, never for a server. */
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ContainerDependencies } from './container.ts';
import { startContainer } from './container.ts';
import type { ContainerSpec } from './spec.ts';

export interface RunResult {
	/** Undefined when the engine could not say, or the output was too long and the container was ended. */
	readonly exitCode: number | undefined;
	readonly stdout: string;
	readonly stderr: string;
}

export interface Conversation<T> {
	/** What it is given on its stdin. */
	readonly stdin: Readable;
	/** Reads what it prints, to its end or for as long as there is something to learn from it. */
	readonly read: (stdout: Readable) => Promise<T>;
	readonly signal: AbortSignal;
}

/** Runs a container that is told something first, and resolves when it is gone. It is ended when `read` is done. */
export async function converse<T>(
	dependencies: ContainerDependencies,
	spec: ContainerSpec,
	{ stdin, read, signal }: Conversation<T>,
): Promise<{ readonly value: T; readonly exitCode: number | undefined; readonly stderr: string }> {
	const channel = await startContainer(dependencies, spec, signal);
	const stop = (): void => void channel.stop('prompt');
	signal.addEventListener('abort', stop, { once: true });
	try {
		// One that ended before it had read all of it says why on its stderr.
		const told = pipeline(stdin, channel.stream).catch((error: unknown) => {
			if (!channel.stream.destroyed) throw error;
		});
		const [value] = await Promise.all([read(channel.stream), told]);
		const over = channel.stream.readableEnded ? undefined : channel.stop('prompt');
		const { exitCode, stderr } = await channel.ended;
		await over;
		signal.throwIfAborted();
		return { value, exitCode, stderr };
	} finally {
		signal.removeEventListener('abort', stop);
		stdin.destroy();
		await channel.stop('prompt');
	}
}

/** Runs a container with nothing on its stdin, and resolves when it is gone. At most `stdoutBytesMax` are kept. */
export async function runOnce(
	dependencies: ContainerDependencies,
	spec: ContainerSpec,
	{ stdoutBytesMax, signal }: { stdoutBytesMax: number; signal: AbortSignal },
): Promise<RunResult> {
	const channel = await startContainer(dependencies, spec, signal);
	const stop = (): void => void channel.stop('prompt');
	signal.addEventListener('abort', stop, { once: true });
	try {
		channel.stream.end();
		const chunks: Buffer[] = [];
		let bytes = 0;
		for await (const chunk of channel.stream) {
			bytes += chunk.length;
			if (bytes > stdoutBytesMax) break;
			chunks.push(chunk);
		}
		if (bytes > stdoutBytesMax) await channel.stop('prompt');
		const end = await channel.ended;
		signal.throwIfAborted();
		return {
			exitCode: bytes > stdoutBytesMax ? undefined : end.exitCode,
			stdout: Buffer.concat(chunks).toString('utf8'),
			stderr: end.stderr,
		};
	} finally {
		signal.removeEventListener('abort', stop);
		await channel.stop('prompt');
	}
}
