/** Images that packages are put on: the one of a name, pulled where it is not there, and with Debian packages where they want some. */
import { readFile } from 'node:fs/promises';
import type { Lock } from '../catalog/lock.ts';
import { SlipwayError } from '../errors.ts';
import type { ContainerDependencies } from './container.ts';
import { ensureImage, inspectImage } from './images.ts';
import { LABELS } from './labels.ts';
import { buildPackage, hash, type PackageContext } from './package-image.ts';

const DOCKERFILE = new URL('../../images/system/Dockerfile', import.meta.url);
/** How the tags of those begin that have Debian packages. */
const SYSTEM_REPOSITORY = 'slipway/system';

export interface BaseImage {
	readonly id: string;
	/** The same on every machine, where a registry gave it and the lock names its digest; else the image's own id. */
	readonly identity: string;
	/** By what registries know it. */
	readonly digests: readonly string[];
}

/**
 * The image of that name: by the digest in the lock, where there is one.
 *
 * @throws SlipwayError SLIPWAY_IMAGE_MISSING
 */
export async function ensureBase(
	{ engine }: ContainerDependencies,
	name: string,
	context: PackageContext & { readonly lock?: Lock },
): Promise<BaseImage> {
	const locked = context.lock?.bases.get(name);
	const { id, digests = [] } = await ensureImage(engine, locked ?? name, context);
	return { id, identity: locked ?? id, digests };
}

/** The names as one text, for people. */
export function systemKey(packages: readonly string[]): string {
	return [...new Set(packages)].toSorted().join(' ');
}

/** What stands in the place of a source on the label of the image with these. */
export function systemLabel(packages: readonly string[]): string {
	return `system:${systemKey(packages)}`;
}

/**
 * The image with Debian packages on it: found, or else built. Which versions of them are in it the day says on which it is built.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_REFUSED when Debian has none of such a name; SLIPWAY_PREPARATION_FAILED
 */
export async function withSystemPackages(
	dependencies: ContainerDependencies,
	base: BaseImage,
	packages: readonly string[],
	context: PackageContext,
): Promise<BaseImage> {
	if (packages.length === 0) return base;
	const dockerfile = await readFile(DOCKERFILE, 'utf8');
	const what = systemKey(packages);
	const source = hash(JSON.stringify({ dockerfile, base: base.identity, what }));
	const reference = `${SYSTEM_REPOSITORY}:${source.slice(0, 16)}`;
	const find = () => inspectImage(dependencies.engine, reference);
	let found = await find();
	if (found === undefined) {
		context.onStep(`installing ${what}`);
		await buildPackage(dependencies, {
			reference,
			baseId: base.id,
			what,
			context,
			files: { Dockerfile: dockerfile, 'system-packages.txt': `${packages.toSorted().join('\n')}\n` },
			labels: {
				[LABELS.source]: source,
				[LABELS.key]: systemLabel(packages),
				[LABELS.package]: what,
			},
		});
		found = await find();
	}
	if (found === undefined)
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: 'The image is not there after its build.' });
	return { id: found.id, identity: source, digests: [] };
}
