/**
 * What images of packages have in common, whichever registry they come from: a throw-away container resolves what goes in,
 * with the integrity of each file, and the engine's own builder makes an image of that alone. The tag is the hash of all
 * that went in, so the same input is built once and found again, here and on another machine.
 */
import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Pack, pack } from 'tar-stream';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { ContainerDependencies } from './container.ts';
import type { Engine } from './engine.ts';
import { followProgress, inspectImage, type PreparedImage, ProgressError } from './images.ts';
import { LABELS } from './labels.ts';
import { type RunOptions, type RunResult, runOnce } from './run-once.ts';
import { copyTree, type TreeEntry } from './tree.ts';
import { type Workshop, workshopSpec } from './workshop.ts';

export interface PackageContext {
	readonly gateway: string;
	/** Whose the image is, where that is another deployment: a trial makes it for the one that serves it afterwards. */
	readonly owner?: string;
	readonly boot: string;
	/** The books of what is ours and alive; what is in them is not swept. */
	readonly books: Set<string>;
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

export function hash(text: string): string {
	return createHash('sha256').update(text).digest('hex');
}

/**
 * The image that was made of a source before: what can be known of it without asking a registry is enough to find it again
 * when there is no network.
 *
 * @param source the hash on the image's label
 * @param repository how its tags begin: `slipway/npm-`
 */
export async function findBySource(
	{ engine }: ContainerDependencies,
	source: string,
	repository: string,
): Promise<PreparedImage | undefined> {
	const filters = JSON.stringify({ label: [`${LABELS.source}=${source}`] });
	const images = await engine.call((docker) => docker.listImages({ filters }));
	// More than one when the same input was resolved at different times: the oldest, so that the choice is stable.
	const tagged = images
		.filter(({ RepoTags }) => RepoTags?.some((tag) => tag.startsWith(repository)))
		.sort((a, b) => a.Created - b.Created)[0];
	const reference = tagged?.RepoTags?.find((tag) => tag.startsWith(repository));
	return reference === undefined ? undefined : inspectImage(engine, reference, LABELS.integrity);
}

/** The packages that the engine has images of, by lockKey. */
export async function listPackages(engine: Engine): Promise<ReadonlySet<string>> {
	const filters = JSON.stringify({ label: [LABELS.key] });
	const images = await engine.call((docker) => docker.listImages({ filters }));
	return new Set(images.flatMap(({ Labels }) => Labels?.[LABELS.key] ?? []));
}

export interface ResolveOptions extends Workshop, Pick<RunOptions, 'input'> {
	/** Who is asked, for the sentence about one that does not answer: `npm`. */
	readonly manager: string;
}

/** Runs a package manager where it may ask its registry, and has nothing of ours. What it prints is what it resolved. */
export async function runResolver(
	dependencies: ContainerDependencies,
	{ manager, input, ...workshop }: ResolveOptions,
): Promise<RunResult> {
	const { context } = workshop;
	const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PREPARATION_LIMITS.resolveTimeoutMs)]);
	const spec = workshopSpec(workshop);
	context.books.add(spec.instance);
	return runOnce(dependencies, spec, {
		stdoutBytesMax: PREPARATION_LIMITS.lockBytesMax,
		signal,
		...(input === undefined ? {} : { input }),
	})
		.catch((error: unknown) => {
			context.signal.throwIfAborted();
			if (signal.aborted)
				throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
					reason: `${manager} did not resolve the package in time: does the engine reach the registry?`,
				});
			throw error;
		})
		.finally(() => context.books.delete(spec.instance));
}

export interface BuildInput {
	readonly reference: string;
	readonly baseId: string;
	/** What is built, for people: `name@version`. */
	readonly what: string;
	readonly context: PackageContext;
	readonly files: Readonly<Record<string, string>>;
	readonly labels: Readonly<Record<string, string>>;
	/** What comes into the build as it is, beside the files, in the folder `app`. */
	readonly tree?: AsyncIterable<TreeEntry>;
}

/** Builds an image of a few files. Throws as buildFrom does. */
export async function buildPackage(
	dependencies: ContainerDependencies,
	{ files, tree, ...input }: BuildInput,
): Promise<void> {
	return buildFrom(dependencies, {
		...input,
		write: async (tar) => {
			if (tree !== undefined) await copyTree(tree, tar);
			// After the tree, so that nothing of it takes the place of what is ours.
			for (const [name, content] of Object.entries(files))
				tar.entry({ name, mode: 0o644, mtime: new Date(0) }, content);
		},
	});
}

export interface BuildFromInput extends Omit<BuildInput, 'files' | 'tree'> {
	/** Writes what is built of, as it comes. */
	readonly write: (tar: Pack) => Promise<void>;
	/** Beside BASE. */
	readonly buildArguments?: Readonly<Record<string, string>>;
	/** Without one it has the engine's own. */
	readonly network?: 'none';
}

/**
 * Builds an image with the engine's own builder, which needs no session with a client, and whose log a person can read.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_REFUSED when the build says `slipway: <reason>`, SLIPWAY_PREPARATION_FAILED
 */
export async function buildFrom(
	{ engine }: ContainerDependencies,
	{ reference, baseId, what, context, labels, write, buildArguments, network }: BuildFromInput,
): Promise<void> {
	const tar = pack();
	const broken = new AbortController();
	// The engine would wait for the rest of what breaks off.
	const written = write(tar).then(
		() => tar.finalize(),
		(error: unknown) => broken.abort(error),
	);
	const timeoutMs = PREPARATION_LIMITS.buildTimeoutMs;
	const signal = AbortSignal.any([context.signal, broken.signal]);
	let log = '';
	try {
		const stream = await engine.stream(
			(docker) =>
				docker.buildImage(Readable.from(tar), {
					t: reference,
					buildargs: { BASE: baseId, ...buildArguments },
					labels: { ...labels, [LABELS.gateway]: context.owner ?? context.gateway },
					rm: true,
					forcerm: true,
					...(network === undefined ? {} : { networkmode: network }),
				}),
			{ timeoutMs, signal },
		);
		await followProgress(
			stream,
			(text) => {
				// The builder colours what came on stderr.
				log = (log + text.replace(/\u001b\[[0-9;]*m/g, '')).slice(-PREPARATION_LIMITS.logTailCharsMax);
			},
			AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
		);
		await written;
	} catch (error) {
		tar.destroy();
		signal.throwIfAborted();
		if (error instanceof SlipwayError) throw error;
		const refused = refusalIn(log);
		if (refused !== undefined) throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: refused }, { cause: error });
		const said = error instanceof ProgressError ? error.message : 'the engine broke off';
		throw new SlipwayError(
			'SLIPWAY_PREPARATION_FAILED',
			{ reason: `The build of ${what} failed: ${said.slice(0, 200)}`, log },
			{ cause: error },
		);
	}
}

/** What a script of ours says of why it refuses a package: a line `slipway: <reason>`. */
export function refusalIn(log: string): string | undefined {
	return /^slipway: (.+)$/m.exec(log)?.[1];
}
