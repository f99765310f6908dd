/** A container that runs to its end for what it prints: used to prepare images, never for a server. */
import type { ContainerDependencies } from './container.ts';
import { startContainer } from './container.ts';
import type { ContainerSpec } from './spec.ts';

export interface RunResult {
	/** Undefined when the engine could not say, or the output was too long and the container was ended. */
	readonly exitCode: number | undefined;
	readonly stdout: string;
	readonly stderr: string;
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
