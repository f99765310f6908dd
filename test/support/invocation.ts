/** What a verb gets of a process, for tests that run it in theirs. */
import { Readable } from 'node:stream';
import type { Invocation, Surface } from '../../src/cli/invocation.ts';

/** A surface that keeps what is written to it. */
export function writtenSurface({ isTerminal = false, columns = 80 } = {}): Surface & { readonly written: string[] } {
	const written: string[] = [];
	return { isTerminal, columns, written, write: (text) => void written.push(text) };
}

export function invocationOf(args: readonly string[], overrides: Partial<Invocation> = {}): Invocation {
	const { signal } = new AbortController();
	return {
		args,
		environment: {},
		workDir: '/nowhere',
		version: 'test',
		input: () => Readable.from([]),
		print: () => undefined,
		out: writtenSurface(),
		err: writtenSurface(),
		asOwner: (act) => act(),
		stopping: signal,
		hurry: signal,
		...overrides,
	};
}
