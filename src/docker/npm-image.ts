/**
 * An npm package as an image.
 *
 * First the lock file is resolved, in a throw-away container: the exact version of the package and of everything
 * below it, each with its integrity. Then `npm ci` builds from that file alone. The tag is the hash of all that goes
 * in, so the same input is built once and found again, here and on another machine.
 */
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { SlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { ContainerDependencies } from './container.ts';
import { ensureImage, followProgress, inspectImage, type PreparedImage, ProgressError } from './images.ts';
import { LABELS } from './labels.ts';
import { runOnce } from './run-once.ts';
import { type ContainerSpec, confinement, stdio, tmpfsOptions } from './spec.ts';

const TEMPLATE_FOLDER = new URL('../../images/npm/', import.meta.url);
const TEMPLATE_FILES = ['Dockerfile', 'find-entry.mjs'] as const;
const MIB = 1024 * 1024;

export interface NpmPackage {
	readonly name: string;
	/** Exact. */
	readonly version: string;
}

export interface NpmImageContext {
	readonly gateway: string;
	readonly boot: string;
	/** The books of what is ours and alive; what is in them is not swept. */
	readonly books: Set<string>;
	/** The image with Node and npm that it is built on. */
	readonly nodeImage: string;
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

/**
 * The image of a package: found, or else resolved and built.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED, SLIPWAY_PREPARATION_FAILED,
 *   SLIPWAY_IMAGE_MISSING (the Node image), SLIPWAY_ENGINE_UNREACHABLE
 */
export async function ensureNpmImage(
	dependencies: ContainerDependencies,
	wanted: NpmPackage,
	context: NpmImageContext,
): Promise<PreparedImage> {
	const { engine } = dependencies;
	const base = await ensureImage(engine, context.nodeImage, context);
	const template = await readTemplate();
	// What can be known without asking a registry; enough to find the image again when there is no network.
	const source = hash(JSON.stringify({ template, base: base.id, ...wanted }));
	const found = await findBySource(dependencies, source);
	if (found !== undefined) return found;

	context.onStep(`resolving ${wanted.name}@${wanted.version} and its dependencies`);
	const manifest = JSON.stringify({
		name: 'slipway-server',
		private: true,
		dependencies: { [wanted.name]: wanted.version },
	});
	const lock = await resolveLock(dependencies, { wanted, manifest, baseId: base.id, context });
	const integrity = integrityOf(lock, wanted);
	const reference = `slipway/npm-${wanted.name.replace(/^@/, '').replace(/[^a-z0-9]+/g, '-')}:${hash(JSON.stringify({ source, lock })).slice(0, 16)}`;

	if ((await inspectImage(engine, reference)) === undefined) {
		context.onStep(`building ${reference}`);
		await build(dependencies, {
			reference,
			baseId: base.id,
			wanted,
			context,
			files: { ...template, 'package.json': manifest, 'package-lock.json': lock },
			labels: {
				[LABELS.gateway]: context.gateway,
				[LABELS.source]: source,
				[LABELS.package]: `${wanted.name}@${wanted.version}`,
				[LABELS.integrity]: integrity,
				[LABELS.lock]: `sha256:${hash(lock)}`,
			},
		});
	}
	const built = await inspectImage(engine, reference, LABELS.integrity);
	if (built === undefined)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: 'The image is not there after its build.' });
	return built;
}

function hash(text: string): string {
	return createHash('sha256').update(text).digest('hex');
}

async function readTemplate(): Promise<Record<string, string>> {
	const entries = await Promise.all(
		TEMPLATE_FILES.map(async (name) => [name, await readFile(new URL(name, TEMPLATE_FOLDER), 'utf8')] as const),
	);
	return Object.fromEntries(entries);
}

async function findBySource({ engine }: ContainerDependencies, source: string): Promise<PreparedImage | undefined> {
	const filters = JSON.stringify({ label: [`${LABELS.source}=${source}`] });
	const images = await engine.call((docker) => docker.listImages({ filters }));
	// More than one when the same input was resolved at different times: the oldest, so that the choice is stable.
	const tagged = images
		.filter(({ RepoTags }) => RepoTags?.some((tag) => tag.startsWith('slipway/npm-')))
		.sort((a, b) => a.Created - b.Created)[0];
	const reference = tagged?.RepoTags?.find((tag) => tag.startsWith('slipway/npm-'));
	return reference === undefined ? undefined : inspectImage(engine, reference, LABELS.integrity);
}

interface ResolveInput {
	readonly wanted: NpmPackage;
	readonly manifest: string;
	readonly baseId: string;
	readonly context: NpmImageContext;
}

/** The lock file, as text: what npm resolves the manifest to today. Nothing of the package runs. */
async function resolveLock(
	dependencies: ContainerDependencies,
	{ wanted, manifest, baseId, context }: ResolveInput,
): Promise<string> {
	const script =
		'printf %s "$1" >package.json && npm install --package-lock-only --ignore-scripts --omit=dev --no-audit --no-fund --no-update-notifier --omit-lockfile-registry-resolved --loglevel=error >&2 && cat package-lock.json';
	const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PREPARATION_LIMITS.resolveTimeoutMs)]);
	const spec = resolverSpec({ baseId, command: ['sh', '-c', script, 'resolve', manifest], context });
	context.books.add(spec.instance);
	const result = await runOnce(dependencies, spec, { stdoutBytesMax: PREPARATION_LIMITS.lockBytesMax, signal })
		.catch((error: unknown) => {
			context.signal.throwIfAborted();
			if (signal.aborted)
				throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
					reason: 'npm did not resolve the package in time: does the engine reach the registry?',
				});
			throw error;
		})
		.finally(() => context.books.delete(spec.instance));
	if (result.exitCode === 0) return result.stdout;
	if (/\b(E404|ETARGET|ENOVERSIONS)\b/.test(result.stderr)) {
		throw new SlipwayError('SLIPWAY_PACKAGE_MISSING', { reason: `npm knows no ${wanted.name}@${wanted.version}.` });
	}
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
		reason: 'npm could not resolve the package.',
		log: result.stderr,
	});
}

/** As hardened as a server's container, but for the network that it is there to use. */
function resolverSpec({
	baseId,
	command,
	context,
}: {
	baseId: string;
	command: string[];
	context: NpmImageContext;
}): ContainerSpec {
	const instance = randomUUID() as InstanceId;
	const server = 'slipway-resolver' as ServerName;
	return {
		server,
		instance,
		entryHash: '',
		containerName: `slipway-resolver-${instance.slice(0, 8)}`,
		hostFolders: {},
		secrets: [],
		body: {
			...stdio(),
			Image: baseId,
			Cmd: command,
			User: '65532:65532',
			WorkingDir: '/tmp',
			Env: ['HOME=/tmp', 'TMPDIR=/tmp'],
			Labels: {
				[LABELS.gateway]: context.gateway,
				[LABELS.boot]: context.boot,
				[LABELS.server]: server,
				[LABELS.instance]: instance,
			},
			HostConfig: {
				...confinement(),
				NetworkMode: 'bridge',
				IpcMode: 'none',
				Memory: 1024 * MIB,
				MemorySwap: 1024 * MIB,
				NanoCpus: 2e9,
				PidsLimit: 256,
				Tmpfs: { '/tmp': tmpfsOptions(512 * MIB) },
			},
		},
	};
}

/** The registry's integrity of the package itself, from the lock file. */
function integrityOf(lock: string, { name, version }: NpmPackage): string {
	const parsed: { packages?: Record<string, { version?: string; integrity?: string }> } = JSON.parse(lock);
	const entry = parsed.packages?.[`node_modules/${name}`];
	if (entry?.version !== version || entry.integrity === undefined) {
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
			reason: `npm resolved ${name} to ${entry?.version ?? 'nothing'} and not to ${version} with an integrity.`,
		});
	}
	return entry.integrity;
}

interface BuildInput {
	readonly reference: string;
	readonly baseId: string;
	readonly wanted: NpmPackage;
	readonly context: NpmImageContext;
	readonly files: Readonly<Record<string, string>>;
	readonly labels: Readonly<Record<string, string>>;
}

/** The engine's own builder: it needs no session with a client, and its log is text that a person can read. */
async function build(
	{ engine }: ContainerDependencies,
	{ reference, baseId, wanted, context, files, labels }: BuildInput,
): Promise<void> {
	const tar = pack();
	for (const [name, content] of Object.entries(files)) tar.entry({ name, mode: 0o644, mtime: new Date(0) }, content);
	tar.finalize();
	const buildContext = Readable.from([await buffer(tar)]);
	const timeoutMs = PREPARATION_LIMITS.buildTimeoutMs;
	let log = '';
	try {
		const stream = await engine.stream(
			(docker) =>
				docker.buildImage(buildContext, {
					t: reference,
					buildargs: { BASE: baseId },
					labels,
					rm: true,
					forcerm: true,
				}),
			{ timeoutMs, signal: context.signal },
		);
		const bounded = AbortSignal.any([context.signal, AbortSignal.timeout(timeoutMs)]);
		await followProgress(
			stream,
			(text) => {
				// The builder colours what came on stderr.
				log = (log + text.replace(/\u001b\[[0-9;]*m/g, '')).slice(-PREPARATION_LIMITS.logTailCharsMax);
			},
			bounded,
		);
	} catch (error) {
		context.signal.throwIfAborted();
		if (error instanceof SlipwayError) throw error;
		const refused = /^slipway: (.+)$/m.exec(log)?.[1];
		if (refused !== undefined) throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: refused }, { cause: error });
		const said = error instanceof ProgressError ? error.message : 'the engine broke off';
		throw new SlipwayError(
			'SLIPWAY_PREPARATION_FAILED',
			{ reason: `The build of ${wanted.name}@${wanted.version} failed: ${said.slice(0, 200)}`, log },
			{ cause: error },
		);
	}
}
