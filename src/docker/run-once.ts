/** A container that runs to its end for what it prints: used to prepare images, never for a server. */
import { once } from 'node:events';
import type { Duplex, Readable } from 'node:stream';
import type { ContainerDependencies } from './container.ts';
import { startContainer } from './container.ts';
import type { ContainerSpec } from './spec.ts';

export interface RunResult {
	/** Undefined when the engine could not say, or the output was too long and the container was ended. */
	readonly exitCode: number | undefined;
	readonly stdout: string;
	readonly stderr: string;
}

export interface RunOptions {
	/** What the container gets on its stdin; absent: nothing. */
	readonly input?: AsyncIterable<Uint8Array>;
	readonly signal: AbortSignal;
}

/** Runs a container, and resolves when it is gone. At most `stdoutBytesMax` are kept. */
export async function runOnce(
	dependencies: ContainerDependencies,
	spec: ContainerSpec,
	{ stdoutBytesMax, ...options }: RunOptions & { stdoutBytesMax: number },
): Promise<RunResult> {
	const { value, exitCode, stderr } = await runReading(dependencies, spec, {
		...options,
		read: async (stdout) => {
			const chunks: Buffer[] = [];
			let bytes = 0;
			for await (const chunk of stdout) {
				bytes += chunk.length;
				if (bytes > stdoutBytesMax) return undefined;
				chunks.push(chunk);
			}
			return Buffer.concat(chunks).toString('utf8');
		},
	});
	return { exitCode: value === undefined ? undefined : exitCode, stdout: value ?? '', stderr };
}

/**
 * Runs a container whose stdout is read as it comes, and resolves when it is gone: at the latest when `read` is done, whether or
 * not it has read everything.
 */
export async function runReading<T>(
	dependencies: ContainerDependencies,
	spec: ContainerSpec,
	{ input, signal, read }: RunOptions & { readonly read: (stdout: Readable) => Promise<T> },
): Promise<{ readonly value: T; readonly exitCode: number | undefined; readonly stderr: string }> {
	const channel = await startContainer(dependencies, spec, signal);
	const stop = (): void => void channel.stop('prompt');
	signal.addEventListener('abort', stop, { once: true });
	try {
		const [value] = await Promise.all([read(channel.stream), feed(channel.stream, input)]);
		if (!channel.stream.readableEnded) await channel.stop('prompt');
		const { exitCode, stderr } = await channel.ended;
		signal.throwIfAborted();
		return { value, exitCode, stderr };
	} finally {
		signal.removeEventListener('abort', stop);
		await channel.stop('prompt');
	}
}

/** Resolves when all is written, or nobody takes it any more: why that is so, the exit code tells. */
async function feed(stdin: Duplex, input: AsyncIterable<Uint8Array> | undefined): Promise<void> {
	const gone = new AbortController();
	stdin.once('close', () => gone.abort());
	for await (const chunk of input ?? []) {
		if (stdin.destroyed || gone.signal.aborted) return;
		if (!stdin.write(chunk)) await once(stdin, 'drain', { signal: gone.signal }).catch(() => undefined);
	}
	stdin.end();
}
