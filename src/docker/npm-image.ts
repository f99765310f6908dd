/**
 * An npm package as an image.
 *
 * First the lock file is resolved, in a throw-away container: the exact version of the package and of everything
 * below it, each with its integrity. Then `npm ci` builds from that file alone. The tag is the hash of all that goes
 * in, so the same input is built once and found again, here and on another machine.
 */
import { readFile } from 'node:fs/promises';
import { SlipwayError } from '../errors.ts';
import type { ContainerDependencies } from './container.ts';
import { ensureImage, inspectImage, type PreparedImage } from './images.ts';
import { LABELS } from './labels.ts';
import { buildPackage, findBySource, hash, type PackageContext, runResolver } from './package-image.ts';

const TEMPLATE_FOLDER = new URL('../../images/npm/', import.meta.url);
const TEMPLATE_FILES = ['Dockerfile', 'find-entry.mjs'] as const;
const REPOSITORY = 'slipway/npm-';

export interface NpmPackage {
	readonly name: string;
	/** Exact. */
	readonly version: string;
}

export interface NpmImageContext extends PackageContext {
	/** The image with Node and npm that it is built on. */
	readonly nodeImage: string;
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
	const found = await findBySource(dependencies, source, REPOSITORY);
	if (found !== undefined) return found;

	context.onStep(`resolving ${wanted.name}@${wanted.version} and its dependencies`);
	const manifest = JSON.stringify({
		name: 'slipway-server',
		private: true,
		dependencies: { [wanted.name]: wanted.version },
	});
	const lock = await resolveLock(dependencies, { wanted, manifest, baseId: base.id, context });
	const integrity = integrityOf(lock, wanted);
	const reference = `${REPOSITORY}${wanted.name.replace(/^@/, '').replace(/[^a-z0-9]+/g, '-')}:${hash(JSON.stringify({ source, lock })).slice(0, 16)}`;

	if ((await inspectImage(engine, reference)) === undefined) {
		context.onStep(`building ${reference}`);
		await buildPackage(dependencies, {
			reference,
			baseId: base.id,
			what: `${wanted.name}@${wanted.version}`,
			context,
			files: { ...template, 'package.json': manifest, 'package-lock.json': lock },
			labels: {
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

async function readTemplate(): Promise<Record<string, string>> {
	const entries = await Promise.all(
		TEMPLATE_FILES.map(async (name) => [name, await readFile(new URL(name, TEMPLATE_FOLDER), 'utf8')] as const),
	);
	return Object.fromEntries(entries);
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
	const command = ['sh', '-c', script, 'resolve', manifest];
	const result = await runResolver(dependencies, { baseId, command, manager: 'npm', context });
	if (result.exitCode === 0) return result.stdout;
	if (/\b(E404|ETARGET|ENOVERSIONS)\b/.test(result.stderr)) {
		throw new SlipwayError('SLIPWAY_PACKAGE_MISSING', { reason: `npm knows no ${wanted.name}@${wanted.version}.` });
	}
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
		reason: 'npm could not resolve the package.',
		log: result.stderr,
	});
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
