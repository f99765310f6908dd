/** Images of the engine: looking them up, and pulling what the catalog names and the engine lacks. */
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import { type Engine, EngineRefusal } from './engine.ts';
import { LABELS } from './labels.ts';

/** An image that can be run. */
export interface PreparedImage {
	/** What people call it. */
	readonly reference: string;
	/** `sha256:…`. Containers are created from this and never from a name, which may move. */
	readonly id: string;
	/** Paths that it declares as volumes. */
	readonly volumePaths: readonly string[];
	/** What it runs by itself: Docker's Entrypoint and Cmd. */
	readonly entrypoint: readonly string[];
	readonly command: readonly string[];
	/** The registry's integrity of the package in it, where it was made from one. */
	readonly integrity?: string;
	/** The exact version of that package. */
	readonly version?: string;
	/** By what registries know it: `name@sha256:…`. None where it was made on this engine. */
	readonly digests?: readonly string[];
}

/** What the engine knows of an image, or undefined where it has none of that name. */
export async function inspectImage(
	engine: Engine,
	reference: string,
	integrityLabel?: string,
): Promise<PreparedImage | undefined> {
	const found = await engine.callIfThere((docker) => docker.getImage(reference).inspect());
	if (found === undefined) return undefined;
	// An answer that is none: dockerode passes on whatever came.
	if (typeof found?.Id !== 'string' || typeof found.Config !== 'object')
		throw new SlipwayError('SLIPWAY_ENGINE_FAILED');
	// Labels of an image that is not ours say what whoever made it wants.
	const labels = integrityLabel === undefined ? {} : (found.Config.Labels ?? {});
	const integrity = labels[integrityLabel ?? ''];
	const version = labels[LABELS.package]?.replace(/^.*[@=]/, '');
	return {
		reference,
		id: found.Id,
		volumePaths: Object.keys(found.Config.Volumes ?? {}),
		entrypoint: wordsOf(found.Config.Entrypoint),
		command: wordsOf(found.Config.Cmd),
		digests: found.RepoDigests ?? [],
		...(integrity === undefined ? {} : { integrity }),
		...(version === undefined ? {} : { version }),
	};
}

function wordsOf(words: string | readonly string[] | null | undefined): readonly string[] {
	return typeof words === 'string' ? [words] : (words ?? []);
}

/**
 * The image of that name, pulled if the engine does not have it.
 *
 * @throws SlipwayError SLIPWAY_IMAGE_MISSING when no registry gives it
 */
export async function ensureImage(
	engine: Engine,
	reference: string,
	{ onStep, signal }: { onStep: (step: string) => void; signal: AbortSignal },
): Promise<PreparedImage> {
	const present = await inspectImage(engine, reference);
	if (present !== undefined) return present;
	onStep(`pulling ${reference}`);
	await pull(engine, reference, signal);
	const pulled = await inspectImage(engine, reference);
	if (pulled === undefined)
		throw new SlipwayError('SLIPWAY_IMAGE_MISSING', { reason: `The engine has no image ${reference}.` });
	return pulled;
}

async function pull(engine: Engine, reference: string, signal: AbortSignal): Promise<void> {
	const bounded = AbortSignal.any([signal, AbortSignal.timeout(PREPARATION_LIMITS.pullTimeoutMs)]);
	try {
		const stream = await engine.stream((docker) => docker.pull(reference), {
			timeoutMs: PREPARATION_LIMITS.pullTimeoutMs,
			signal,
		});
		await followProgress(stream, () => undefined, bounded);
	} catch (error) {
		signal.throwIfAborted();
		if (error instanceof SlipwayError && error.code === 'SLIPWAY_ENGINE_UNREACHABLE') throw error;
		const said =
			error instanceof EngineRefusal || error instanceof ProgressError
				? ` The engine says: ${error.message.slice(0, 300)}`
				: '';
		throw new SlipwayError(
			'SLIPWAY_IMAGE_MISSING',
			{ reason: `${reference} is not on this engine and cannot be pulled.${said}` },
			{ cause: error },
		);
	}
}

/** The engine's own report of a failed pull or build. */
export class ProgressError extends Error {}

/**
 * Reads the engine's progress of a pull or build, one JSON object a line.
 *
 * @throws ProgressError when the engine says that it failed
 */
export async function followProgress(
	stream: NodeJS.ReadableStream,
	onText: (text: string) => void,
	signal: AbortSignal,
): Promise<void> {
	let held = '';
	const abort = (): void => {
		if ('destroy' in stream && typeof stream.destroy === 'function') stream.destroy();
	};
	signal.addEventListener('abort', abort, { once: true });
	try {
		for await (const chunk of stream) {
			held += String(chunk);
			const lines = held.split('\n');
			held = lines.pop() ?? '';
			for (const line of lines) readProgress(line, onText);
		}
		signal.throwIfAborted();
		readProgress(held, onText);
	} finally {
		signal.removeEventListener('abort', abort);
	}
}

function readProgress(line: string, onText: (text: string) => void): void {
	if (line.trim() === '') return;
	const message: unknown = JSON.parse(line);
	if (typeof message !== 'object' || message === null) return;
	if ('error' in message) throw new ProgressError(String(message.error));
	if ('stream' in message) onText(String(message.stream));
}

/** The image of that name by the digest that its registry has for it; undefined for one that came from no registry. */
export async function digestOf(engine: Engine, reference: string): Promise<string | undefined> {
	const found = await engine.callIfThere((docker) => docker.getImage(reference).inspect());
	const repository = reference.replace(/@.*$|:[^:/]*$/, '');
	return found?.RepoDigests?.find((digest) => digest.startsWith(`${repository}@`));
}
