/**
 * A Python package as an image.
 *
 * A throw-away container resolves it to exact versions with the hash of every file, and fetches those; the image is built
 * of them and of nothing else, without a network. The tag is the hash of all that goes in, so the same input is built once
 * and found again, here and on another machine.
 */
import { readFile } from 'node:fs/promises';
import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { PypiLocalSource, PypiSource } from '../catalog/catalog.ts';
import type { Lock } from '../catalog/lock.ts';
import { type PypiPackage, pypiLockKey, toRequirement, writePypi } from '../catalog/pypi.ts';
import type { PythonConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { ContainerDependencies } from './container.ts';
import { inspectImage, type PreparedImage } from './images.ts';
import { LABELS } from './labels.ts';
import { type LocalPackage, readLocal } from './local-python.ts';
import { buildFrom, findBySource, hash, type PackageContext } from './package-image.ts';
import { addFile, type Fetched, fetchPython } from './python-fetch.ts';
import { type BaseImage, ensureBase, withSystemPackages } from './system-image.ts';

const TEMPLATE_FOLDER = new URL('../../images/pypi/', import.meta.url);
const TEMPLATE_FILES = ['Dockerfile', 'find-entry.py'] as const;
const REPOSITORY = 'slipway/pypi-';
const SCRIPT = 'server.py';
const MS_PER_SECOND = 1000;

export interface PypiImageContext extends PackageContext {
	readonly python: PythonConfig;
	/** The folder that packages beside the catalog are below. */
	readonly catalogFolder?: string;
	/** What was resolved before: nothing of what is in it is resolved again. */
	readonly lock?: Lock;
}

/** What a package was resolved to. */
export interface ResolvedPypi {
	/** Exact; of what lies beside the catalog, `local`. */
	readonly version: string;
	/** `sha256-…` of the file of the package itself, or of all files of what lies beside the catalog. */
	readonly integrity: string;
	/** Requirements, as pip reads them, with the hash of every file that is installed. */
	readonly lock: string;
}

/**
 * What a package is today: exact versions and hashes, of it and of everything below it. Nothing of the package runs, unless
 * the source says that its scripts may.
 *
 * @throws SlipwayError as ensurePypiImage
 */
export async function resolvePypi(
	dependencies: ContainerDependencies,
	wanted: PypiSource | PypiLocalSource,
	context: PypiImageContext,
): Promise<ResolvedPypi> {
	const base = await ensureBase(dependencies, context.python.image, context);
	const work = await readWork(wanted, base, context);
	context.onStep(`resolving ${work.what} and its dependencies`);
	const fetch = { ...work.fetch, lock: undefined, fetch: false };
	const lock = await fetchPython(dependencies, fetch, async (text) => text);
	return { ...identify(wanted, lock, work.local), lock };
}

/**
 * The image of a package: found, or else resolved and built.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED, SLIPWAY_PACKAGE_CHANGED,
 *   SLIPWAY_PREPARATION_FAILED, SLIPWAY_IMAGE_MISSING (the Python image), SLIPWAY_ENGINE_UNREACHABLE
 */
export async function ensurePypiImage(
	dependencies: ContainerDependencies,
	wanted: PypiSource | PypiLocalSource,
	context: PypiImageContext,
): Promise<PreparedImage> {
	const { engine } = dependencies;
	const python = await ensureBase(dependencies, context.python.image, context);
	const base = await withSystemPackages(dependencies, python, wanted.systemPackages ?? [], context);
	const work = await readWork(wanted, base, context);
	const { lock } = work.fetch;
	const found =
		lock === undefined
			? await findBySource(dependencies, work.source, REPOSITORY)
			: await inspectImage(engine, referenceOf(work, lock), LABELS.integrity);
	if (found !== undefined) return found;

	context.onStep(`resolving and fetching ${work.what} and its dependencies`);
	const reference = await fetchPython(dependencies, { ...work.fetch, fetch: true }, (resolved, files) =>
		build(dependencies, { wanted, work, lock: resolved, files, context }),
	);
	const built = await inspectImage(engine, reference, LABELS.integrity);
	if (built === undefined)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: 'The image is not there after its build.' });
	return built;
}

interface Work {
	/** What is made, for people. */
	readonly what: string;
	readonly baseId: string;
	readonly template: Readonly<Record<string, string>>;
	readonly local: LocalPackage | undefined;
	/** The hash of what can be known without asking an index; enough to find the image again when there is no network. */
	readonly source: string;
	/** The name of its images. */
	readonly repository: string;
	readonly fetch: Omit<Parameters<typeof fetchPython>[1], 'fetch'>;
}

async function readWork(
	wanted: PypiSource | PypiLocalSource,
	base: BaseImage,
	context: PypiImageContext,
): Promise<Work> {
	const local = 'path' in wanted ? await readLocal(wanted.path, context.catalogFolder) : undefined;
	const template = await readTemplate();
	const program = await readFile(new URL('prepare.py', TEMPLATE_FOLDER), 'utf8');
	const packages = 'path' in wanted ? [] : [wanted];
	const requirements = [...packages, ...(wanted.with ?? [])].map(requirementOf);
	const { bin, installScripts = false } = wanted;
	const name = 'path' in wanted ? posix.parse(wanted.path).name : wanted.name;
	return {
		what: 'path' in wanted ? wanted.path : writePypi(wanted),
		baseId: base.id,
		template,
		local,
		source: hash(
			JSON.stringify({
				template,
				program,
				base: base.identity,
				requirements,
				bin,
				installScripts,
				...(local === undefined ? {} : { kind: local.kind, integrity: local.integrity }),
			}),
		),
		repository: `${REPOSITORY}${
			name
				.toLowerCase()
				.replace(/[^a-z0-9]+/g, '-')
				.replace(/^-|-$/g, '') || 'local'
		}`,
		fetch: {
			requirements,
			package: 'path' in wanted ? undefined : wanted.name,
			bin,
			local,
			lock: lockedText(wanted, local, context),
			sources: installScripts,
			baseId: base.id,
			program,
			python: context.python,
			context,
		},
	};
}

/** What the lock says of it; undefined where that is nothing, or about other files. */
function lockedText(
	wanted: PypiSource | PypiLocalSource,
	local: LocalPackage | undefined,
	{ lock }: PypiImageContext,
): string | undefined {
	const key = pypiLockKey(wanted);
	const entry = lock?.sources.get(key);
	if (entry === undefined || (local !== undefined && local.integrity !== entry.integrity)) return undefined;
	if (local !== undefined || findPinned(wanted, entry.lock)?.integrity === entry.integrity) return entry.lock;
	throw new SlipwayError('SLIPWAY_LOCK_INVALID', {
		reason: `What is there for ${JSON.stringify(key)} is not about it with that integrity.`,
	});
}

/** The schema has held a catalog's packages against its patterns; a source that the program made is looked at here. */
function requirementOf(wanted: PypiPackage): string {
	const requirement = toRequirement(wanted);
	if (requirement !== undefined) return requirement;
	throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', {
		reason: `${JSON.stringify(writePypi(wanted))} is not a package and a version. Write "name==1.2.3".`,
	});
}

async function readTemplate(): Promise<Record<string, string>> {
	const entries = await Promise.all(
		TEMPLATE_FILES.map(async (name) => [name, await readFile(new URL(name, TEMPLATE_FOLDER), 'utf8')] as const),
	);
	return Object.fromEntries(entries);
}

function referenceOf({ repository, source }: Work, lock: string): string {
	return `${repository}:${hash(JSON.stringify({ source, lock })).slice(0, 16)}`;
}

function identify(
	wanted: PypiSource | PypiLocalSource,
	lock: string,
	local: LocalPackage | undefined,
): Omit<ResolvedPypi, 'lock'> {
	if (local !== undefined) return { version: 'local', integrity: local.integrity };
	const pinned = findPinned(wanted, lock);
	if (pinned !== undefined) return pinned;
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
		reason: `pip resolved ${'path' in wanted ? wanted.path : wanted.name} to nothing that has a hash.`,
	});
}

/** What requirements say of a package itself. */
function findPinned(wanted: PypiSource | PypiLocalSource, lock: string): Omit<ResolvedPypi, 'lock'> | undefined {
	if ('path' in wanted) return undefined;
	for (const line of lock.split('\n')) {
		const [, name, version, digest] = /^([^=\s]+)==(\S+) --hash=sha256:([0-9a-f]{64})$/.exec(line) ?? [];
		if (name === wanted.name && version !== undefined && digest !== undefined)
			return { version, integrity: `sha256-${Buffer.from(digest, 'hex').toString('base64')}` };
	}
	return undefined;
}

interface BuildOptions {
	readonly wanted: PypiSource | PypiLocalSource;
	readonly work: Work;
	readonly lock: string;
	readonly files: Fetched;
	readonly context: PypiImageContext;
}

/** Builds the image of the files as they come, unless it is there. Its reference. */
async function build(dependencies: ContainerDependencies, options: BuildOptions): Promise<string> {
	const { wanted, work, lock, files, context } = options;
	const { version, integrity } = identify(wanted, lock, work.local);
	const reference = referenceOf(work, lock);
	if ((await inspectImage(dependencies.engine, reference)) !== undefined) return reference;
	context.onStep(`building ${reference}`);
	try {
		await buildFrom(dependencies, {
			reference,
			baseId: work.baseId,
			what: work.what,
			context,
			write: async (tar) => {
				for (const [name, content] of Object.entries(work.template)) addFile(tar, name, content);
				if (work.local?.kind === 'script') addFile(tar, SCRIPT, work.local.files.get(SCRIPT) ?? '');
				// The folder is there also where nothing is in it.
				tar.entry({ name: 'wheels', type: 'directory', mode: 0o755, mtime: new Date(0) });
				for await (const { name, size, content } of files)
					await pipeline(content, tar.entry({ name, size, mode: 0o644, mtime: new Date(0) }));
			},
			network: 'none',
			buildArguments: { GATEWAY: context.owner ?? context.gateway, SOURCE: work.source },
			labels: {
				[LABELS.source]: work.source,
				[LABELS.key]: pypiLockKey(wanted),
				[LABELS.package]: 'path' in wanted ? `${wanted.path}@${version}` : `${wanted.name}==${version}`,
				[LABELS.integrity]: integrity,
				[LABELS.lock]: `sha256:${hash(lock)}`,
			},
		});
	} finally {
		await removeStages(dependencies, work.source, context);
	}
	return reference;
}

/**
 * What the builder keeps of the first stage, which nothing is built of again: the wheels, and all that is installed. With it
 * goes what builds left that were broken off, since the builder may have gone on for a moment.
 */
async function removeStages(
	{ engine }: ContainerDependencies,
	source: string,
	{ gateway, owner = gateway }: PackageContext,
): Promise<void> {
	const filters = JSON.stringify({ label: [LABELS.stage, `${LABELS.gateway}=${owner}`], dangling: ['true'] });
	const left = await engine.call((docker) => docker.listImages({ filters })).catch(() => []);
	const longAgo = (Date.now() - PREPARATION_LIMITS.buildTimeoutMs) / MS_PER_SECOND;
	for (const { Id, Labels, Created } of left) {
		if (Labels?.[LABELS.stage] !== source && Created > longAgo) continue;
		await engine.callIfThere((docker) => docker.getImage(Id).remove({ force: true })).catch(() => undefined);
	}
}
