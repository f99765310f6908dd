/**
 * An npm package as an image.
 *
 * First the lock file is resolved, in a throw-away container: the exact version of the package and of everything below it, each
 * with its integrity; or it is in the lock of the catalog already. Then `npm ci` installs from that file alone, in another, and
 * what it installed becomes the image: no credential, cache or script of the installation is in any layer. The tag is the hash
 * of all that goes in, so the same input is built once and found again, here and on another machine.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { pack } from 'tar-stream';
import type { NpmLocalSource, NpmSource } from '../catalog/catalog.ts';
import { type Lock, type LockEntry, lockKey, printNpmLock } from '../catalog/lock.ts';
import { findUnlocked, LOCAL_ARCHIVE, readNpmLock } from '../catalog/npm-lock.ts';
import { quote } from '../catalog/quote.ts';
import { isPackageName } from '../catalog/sources.ts';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { ContainerDependencies } from './container.ts';
import { inspectImage, type PreparedImage } from './images.ts';
import { LABELS } from './labels.ts';
import { type Archive, type LocalPackage, listArchives, readLocalPackage } from './local-package.ts';
import { buildPackage, findBySource, hash, type PackageContext, refusalIn, runResolver } from './package-image.ts';
import { runReading } from './run-once.ts';
import { type BaseImage, ensureBase, withSystemPackages } from './system-image.ts';
import { readTree, type TreeEntry } from './tree.ts';
import { type Workshop, workshopSpec } from './workshop.ts';

const TEMPLATE_FOLDER = new URL('../../images/npm/', import.meta.url);
const TEMPLATE_FILES = ['Dockerfile', 'find-entry.mjs', 'offline-registry.mjs', 'prepare.sh'] as const;
const REPOSITORY = 'slipway/npm-';
/** What a module that is not prebuilt is made with; in the image in which it is, and in no other. */
export const BUILD_TOOLS: readonly string[] = Object.freeze(['build-essential', 'python3']);
/** Where npm finds the file with the credentials: in memory. */
const NPMRC = '/tmp/.npmrc';
/** A version, a range or a tag, and nothing that would lead npm elsewhere: no URL, path or alias. */
const WANTED_PATTERN = /^[A-Za-z0-9 .<>=~^|*+-]{1,256}$/;

/** Where npm gets packages from, other than from the public registry. */
export interface NpmAccess {
	/** The URL of the registry. */
	readonly registry?: string;
	/** The content of an .npmrc: scopes, credentials. Looked at when it is needed. */
	readonly npmrc?: () => Buffer;
	/** A folder of archives that takes the place of any registry: there is no network then. */
	readonly offlineDir?: string;
}

export interface NpmImageContext extends PackageContext {
	/** The image with Node and npm that it is built on. */
	readonly nodeImage: string;
	/** The folder that paths of local packages start from. */
	readonly catalogFolder?: string;
	readonly access?: NpmAccess;
	/** What is in it is not resolved. */
	readonly lock?: Lock;
}

/** A package as it was resolved. */
export interface ResolvedNpm extends LockEntry {
	/** Exact. */
	readonly version: string;
}

/**
 * What npm makes of a package of a registry today: nothing of it runs.
 *
 * @param wanted its version exact, a range or a tag: `latest` when nothing was said
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED, SLIPWAY_PREPARATION_FAILED,
 *   SLIPWAY_IMAGE_MISSING (the Node image), SLIPWAY_ENGINE_UNREACHABLE
 */
export function resolveNpm(
	dependencies: ContainerDependencies,
	{ name, version }: { readonly name: string; readonly version: string },
	context: NpmImageContext,
): Promise<ResolvedNpm> {
	return resolveNpmSource(dependencies, { kind: 'npm', name, version }, context);
}

/** As resolveNpm, also for a package beside the catalog. */
export async function resolveNpmSource(
	dependencies: ContainerDependencies,
	source: NpmSource | NpmLocalSource,
	context: NpmImageContext,
): Promise<ResolvedNpm> {
	const base = await ensureBase(dependencies, context.nodeImage, context);
	return resolve(dependencies, await subjectOf(source, context), { base, template: await readTemplate(), context });
}

/**
 * The image of a package: found, or else resolved and built.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED, SLIPWAY_PACKAGE_CHANGED, SLIPWAY_PREPARATION_FAILED,
 *   SLIPWAY_IMAGE_MISSING (the Node image), SLIPWAY_ENGINE_UNREACHABLE
 */
export async function ensureNpmImage(
	dependencies: ContainerDependencies,
	source: NpmSource | NpmLocalSource,
	context: NpmImageContext,
): Promise<PreparedImage> {
	const { engine } = dependencies;
	const node = await ensureBase(dependencies, context.nodeImage, context);
	const base = await withSystemPackages(dependencies, node, source.systemPackages ?? [], context);
	const template = await readTemplate();
	const subject = await subjectOf(source, context);
	// What can be known without asking a registry; enough to find the image again when there is no network.
	const sourceHash = hash(JSON.stringify({ template, base: base.identity, source, files: subject.local?.integrity }));
	const locked = lockedEntry(source, subject, context);
	if (locked === undefined) {
		const found = await findBySource(dependencies, sourceHash, REPOSITORY);
		if (found !== undefined) return found;
	}
	const resolved = locked ?? (await resolve(dependencies, subject, { base: node, template, context }));
	const reference = referenceOf(subject.name, sourceHash, resolved.lock);
	const find = () => inspectImage(engine, reference, LABELS.integrity);
	const present = await find();
	if (present !== undefined) return present;
	const labels = {
		[LABELS.source]: sourceHash,
		[LABELS.key]: lockKey(source) ?? '',
		[LABELS.package]: `${subject.name}@${resolved.version}`,
		[LABELS.integrity]: resolved.integrity,
		[LABELS.lock]: `sha256:${hash(resolved.lock)}`,
	};
	await install(dependencies, { source, subject, resolved, reference, labels, node, base, template, context });
	const built = await find();
	if (built === undefined)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: 'The image is not there after its build.' });
	return built;
}

/** The image's name: a function of what goes in, and of nothing else. */
export function referenceOf(name: string, sourceHash: string, lock: string): string {
	const short = name
		.toLowerCase()
		.replace(/[^a-z0-9]+/g, '-')
		.replace(/^-|-$/g, '');
	return `${REPOSITORY}${short}:${hash(JSON.stringify({ source: sourceHash, lock })).slice(0, 16)}`;
}

type Template = Readonly<Record<(typeof TEMPLATE_FILES)[number], string>>;

async function readTemplate(): Promise<Template> {
	const read = (name: string) => readFile(new URL(name, TEMPLATE_FOLDER), 'utf8');
	const [dockerfile, finder, registry, script] = await Promise.all(TEMPLATE_FILES.map(read));
	return {
		Dockerfile: dockerfile ?? '',
		'find-entry.mjs': finder ?? '',
		'offline-registry.mjs': registry ?? '',
		'prepare.sh': script ?? '',
	};
}

/** What is resolved and installed. */
interface Subject {
	readonly name: string;
	/** What npm is asked for: a version, a range, a tag, or the archive. */
	readonly wanted: string;
	readonly local?: LocalPackage;
}

async function subjectOf(source: NpmSource | NpmLocalSource, { catalogFolder }: NpmImageContext): Promise<Subject> {
	if (source.kind === 'npm') {
		if (!isPackageName(source.name) || !WANTED_PATTERN.test(source.version))
			throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', {
				reason: `${quote(`${source.name}@${source.version}`)} is no package of a registry.`,
			});
		return { name: source.name, wanted: source.version };
	}
	if (catalogFolder === undefined)
		throw new SlipwayError('SLIPWAY_PACKAGE_MISSING', { reason: 'There is no folder that the catalog is in.' });
	const local = await readLocalPackage(catalogFolder, source.path);
	if (!isPackageName(local.name))
		throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', {
			reason: `The "name" in the package.json of ${quote(source.path)} is not one of an npm package.`,
		});
	return { name: local.name, wanted: `file:${LOCAL_ARCHIVE}`, local };
}

/** What the lock has of a source; of a local one only as long as its files are those that were resolved. */
function lockedEntry(
	source: NpmSource | NpmLocalSource,
	{ name, local }: Subject,
	{ lock }: NpmImageContext,
): ResolvedNpm | undefined {
	const entry = lock?.sources.get(lockKey(source) ?? '');
	if (entry === undefined || (local !== undefined && local.integrity !== entry.integrity)) return undefined;
	const found = describeLock(entry.lock, name);
	if (found === undefined || (local === undefined && found.integrity !== entry.integrity))
		throw new SlipwayError('SLIPWAY_LOCK_INVALID', {
			reason: `What is there for ${quote(lockKey(source) ?? '')} is not about ${name} with that integrity.`,
		});
	return { ...entry, version: found.version };
}

/** What a lock file has of the package itself. */
function describeLock(lock: string, name: string): { version: string; integrity: string | undefined } | undefined {
	const { version, integrity } = readNpmLock(lock)?.packages[`node_modules/${name}`] ?? {};
	return version === undefined ? undefined : { version, integrity };
}

interface Shop {
	readonly base: BaseImage;
	readonly template: Template;
	readonly context: NpmImageContext;
}

async function resolve(dependencies: ContainerDependencies, subject: Subject, shop: Shop): Promise<ResolvedNpm> {
	const { name, wanted, local } = subject;
	const { context, template, base } = shop;
	const what = local === undefined ? `${name}@${wanted}` : name;
	context.onStep(`resolving ${what} and its dependencies`);
	const offline = await archivesOf(context);
	const result = await runResolver(dependencies, {
		...workshop('resolve', context, offline),
		baseId: base.id,
		writable: offline !== undefined,
		manager: 'npm',
		input: packInput({ files: { ...template, 'package.json': manifestFor(name, wanted) }, local, offline }),
	});
	if (result.exitCode !== 0) throw explainNpmFailure(result.stderr, what);
	return settle(result.stdout, subject);
}

/** npm's lock file with what was asked for replaced by what it was resolved to, so that it is the same however one asked. */
function settle(stdout: string, { name, wanted, local }: Subject): ResolvedNpm {
	const lock = readNpmLock(stdout);
	const own = lock?.packages[`node_modules/${name}`];
	const root = lock?.packages[''];
	if (lock === undefined || root === undefined || own?.version === undefined)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: `npm resolved ${name}@${wanted} to nothing.` });
	root.dependencies = { [name]: local === undefined ? own.version : wanted };
	// How npm compresses it is not of the package, and another npm may do it otherwise; its files are known by their hash.
	if (local !== undefined) delete own.integrity;
	const text = printNpmLock(lock);
	const unlocked = findUnlocked(text);
	if (unlocked !== undefined) throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: `${unlocked}.` });
	return { version: own.version, integrity: local?.integrity ?? own.integrity ?? '', lock: text };
}

interface InstallInput {
	readonly source: NpmSource | NpmLocalSource;
	readonly subject: Subject;
	readonly resolved: ResolvedNpm;
	readonly reference: string;
	readonly labels: Readonly<Record<string, string>>;
	/** What it is installed in, and what the image is built on. */
	readonly node: BaseImage;
	readonly base: BaseImage;
	readonly template: Template;
	readonly context: NpmImageContext;
}

/** Installs in one container, and builds of what it prints; nothing of either is kept when it does not end well. */
async function install(dependencies: ContainerDependencies, input: InstallInput): Promise<void> {
	const { source, subject, resolved, reference, labels, base, node, template, context } = input;
	const what = `${subject.name}@${resolved.version}`;
	const tools = source.installScripts ? [...new Set([...BUILD_TOOLS, ...(source.systemPackages ?? [])])] : undefined;
	const place = tools === undefined ? base : await withSystemPackages(dependencies, node, tools, context);
	context.onStep(`building ${reference}`);
	const offline = await archivesOf(context);
	const scripts = source.installScripts ? ['RUN_INSTALL_SCRIPTS=1'] : [];
	const shop = workshop('install', context, offline);
	const spec = workshopSpec({ ...shop, baseId: place.id, writable: true, env: [...(shop.env ?? []), ...scripts] });
	const files = {
		...template,
		'package.json': manifestFor(subject.name, subject.local === undefined ? resolved.version : subject.wanted),
		'package-lock.json': resolved.lock,
		'options.json': JSON.stringify({ bin: source.bin }),
	};
	const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PREPARATION_LIMITS.buildTimeoutMs)]);
	context.books.add(spec.instance);
	try {
		const { value, exitCode, stderr } = await runReading(dependencies, spec, {
			input: packInput({ files, local: subject.local, offline }),
			signal,
			read: async (stdout) => {
				const entries = readTree(stdout);
				const first = await entries.next();
				// Nothing was installed; the exit code and stderr say why.
				if (first.done) return false;
				const dockerfile = withFlags(template.Dockerfile, await readFlags(first.value));
				const tree = { [Symbol.asyncIterator]: () => entries };
				await buildPackage(dependencies, {
					reference,
					baseId: base.id,
					what,
					context,
					files: { Dockerfile: dockerfile },
					labels,
					tree,
				});
				return true;
			},
		});
		if (value && exitCode === 0) return;
		if (value) await dependencies.engine.callIfThere((docker) => docker.getImage(reference).remove());
		throw explainNpmFailure(stderr, what, resolved.lock);
	} catch (error) {
		context.signal.throwIfAborted();
		if (!signal.aborted) throw error;
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: `${what} was not installed in time.` });
	} finally {
		context.books.delete(spec.instance);
	}
}

/** What Node is to be told before the program. The script that wrote it has looked at them, in a container that is not ours to trust. */
async function readFlags(entry: TreeEntry): Promise<readonly string[]> {
	const { name, size = 0 } = entry.header;
	if (name !== 'entry.json' || size > PREPARATION_LIMITS.entryBytesMax)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: 'The installation printed something else.' });
	const { flags }: { flags?: unknown } = JSON.parse(await text(Readable.from(entry)));
	const list: readonly unknown[] = Array.isArray(flags) ? flags : [];
	return list.filter((flag) => typeof flag === 'string' && /^--[A-Za-z][A-Za-z0-9=._:/@-]*$/.test(flag)).map(String);
}

function withFlags(dockerfile: string, flags: readonly string[]): string {
	if (flags.length === 0) return dockerfile;
	return `${dockerfile}ENTRYPOINT ${JSON.stringify(['node', ...flags, '/app/server'])}\n`;
}

function manifestFor(name: string, wanted: string): string {
	return JSON.stringify({ name: 'slipway-server', private: true, dependencies: { [name]: wanted } });
}

async function archivesOf({ access }: NpmImageContext): Promise<readonly Archive[] | undefined> {
	return access?.offlineDir === undefined ? undefined : listArchives(access.offlineDir);
}

/** What a container for npm has, whatever it does there. */
function workshop(
	act: 'resolve' | 'install',
	context: NpmImageContext,
	offline: readonly Archive[] | undefined,
): Omit<Workshop, 'baseId'> {
	const { registry, npmrc } = context.access ?? {};
	const run = ['sh', 'prepare.sh', act];
	const words = offline === undefined ? run : ['node', 'offline-registry.mjs', 'offline', ...run];
	const value = offline === undefined ? npmrc?.() : undefined;
	return {
		command: ['sh', '-c', 'mkdir -p app && cd app && tar -x && exec "$@"', 'slipway', ...words],
		context,
		network: offline === undefined ? 'bridge' : 'none',
		env: [
			...(act === 'install' ? ['NPM_CONFIG_CACHE=/npm-cache'] : []),
			...(registry === undefined || offline !== undefined ? [] : [`NPM_CONFIG_REGISTRY=${registry}`]),
		],
		...(value === undefined ? {} : { secrets: [{ variable: 'NPM_CONFIG_USERCONFIG', value, file: NPMRC }] }),
	};
}

interface Input {
	readonly files: Readonly<Record<string, string>>;
	readonly local: LocalPackage | undefined;
	readonly offline: readonly Archive[] | undefined;
}

/** The files of a container for npm, as a tar for its stdin. */
function packInput({ files, local, offline }: Input): AsyncIterable<Uint8Array> {
	const tar = pack();
	const write = async (): Promise<void> => {
		for (const [name, content] of Object.entries(files)) tar.entry({ name }, content);
		const folder = local?.kind === 'folder' ? 'local/' : '';
		for (const { name, mode, content } of local?.files ?? []) tar.entry({ name: folder + name, mode }, content);
		if (offline !== undefined) tar.entry({ name: 'offline', type: 'directory' });
		for (const { name, path, bytes } of offline ?? [])
			await pipeline(createReadStream(path), tar.entry({ name: `offline/${name}`, size: bytes }));
		tar.finalize();
	};
	// Whoever reads it hears of it, also when that begins later.
	tar.on('error', () => undefined);
	write().catch((error: Error) => tar.destroy(error));
	return Readable.from(tar);
}

/** What npm's words mean for the one who wrote the catalog. */
function explainNpmFailure(stderr: string, what: string, lock = ''): SlipwayError {
	const refused = refusalIn(stderr);
	if (refused !== undefined) return new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: refused });
	if (/\bEINTEGRITY\b/.test(stderr))
		return new SlipwayError('SLIPWAY_PACKAGE_CHANGED', {
			reason: `What the registry gives for ${changedIn(stderr, lock) ?? what} has another integrity than the lock file says.`,
		});
	if (/\b(E404|ETARGET|ENOVERSIONS)\b/.test(stderr))
		return new SlipwayError('SLIPWAY_PACKAGE_MISSING', {
			reason: `npm knows no ${what}, or no version of what it needs.`,
		});
	const log = stderr.slice(-PREPARATION_LIMITS.logTailCharsMax);
	if (/\b(E401|E403|ENEEDAUTH)\b/.test(stderr))
		return new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
			reason: `The registry of ${what} wants other credentials: see SLIPWAY_NPMRC_SECRET.`,
			log,
		});
	return new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: `npm could not prepare ${what}.`, log });
}

/** The package whose integrity npm missed: npm names the hash alone. */
function changedIn(stderr: string, lock: string): string | undefined {
	const wanted = /\bwanted (sha\d+-[A-Za-z0-9+/=]+)/.exec(stderr)?.[1];
	const packages = Object.entries(readNpmLock(lock)?.packages ?? {});
	const found = packages.find(([, { integrity }]) => wanted !== undefined && integrity === wanted);
	return found === undefined ? undefined : `${found[0].replace(/^.*node_modules\//, '')}@${found[1].version}`;
}
