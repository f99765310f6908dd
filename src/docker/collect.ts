/**
 * The removal of images that were made of packages and are needed by nobody any more.
 *
 * Only what carries our gateway's label is looked at, and of that only what is old: who takes an entry out of the catalog for a
 * moment loses nothing. What another deployment found and uses has a container; without one it is made again when it is asked for.
 */
import type { Catalog, Source } from '../catalog/catalog.ts';
import { lockKey } from '../catalog/lock.ts';
import type { Engine } from './engine.ts';
import { LABELS } from './labels.ts';
import { BUILD_TOOLS } from './npm-image.ts';
import { systemLabel } from './system-image.ts';

export interface Needs {
	/** Images that are ready for a server. */
	readonly imageIds: ReadonlySet<string>;
	/** What any image may stay for: the entry is disabled, or its image is not ready. */
	readonly keys: ReadonlySet<string>;
}

/**
 * What a catalog needs.
 *
 * @param readyImage the id of the image of a source, once it is ready
 */
export function needsOf({ servers }: Catalog, readyImage: (source: Source) => string | undefined): Needs {
	const imageIds = new Set<string>();
	const keys = new Set<string>();
	for (const { enabled, source } of servers.values()) {
		if (source.kind === 'image') continue;
		const key = lockKey(source);
		const imageId = readyImage(source);
		if (imageId !== undefined) imageIds.add(imageId);
		// One that is ready is needed by itself; an older one of the same source is not.
		if (key !== undefined && (!enabled || imageId === undefined)) keys.add(key);
		const packages = source.systemPackages ?? [];
		if (packages.length > 0) keys.add(systemLabel(packages));
		if (source.kind !== 'npm' && source.kind !== 'npm-local') continue;
		if (source.installScripts) keys.add(systemLabel([...BUILD_TOOLS, ...packages]));
	}
	return { imageIds, keys };
}

/** How the names of all of them begin. What somebody built on one has its labels, and a name of its own. */
const NAMES = /^slipway\/(?:npm-|pypi-|system:)/;

export interface CollectContext {
	readonly gateway: string;
	readonly needs: Needs;
	/** Younger ones stay. */
	readonly ageMs: number;
}

/** Removes the images that nobody needs, and returns how many there were. */
export async function collectImages(engine: Engine, { gateway, needs, ageMs }: CollectContext): Promise<number> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gateway}`, LABELS.key] });
	const images = await engine.call((docker) => docker.listImages({ filters }));
	const unused = images.filter(
		({ Id, Labels, Created, RepoTags }) =>
			RepoTags?.every((tag) => NAMES.test(tag)) &&
			!needs.imageIds.has(Id) &&
			!needs.keys.has(Labels[LABELS.key] ?? '') &&
			Date.now() - Created * 1000 >= ageMs,
	);
	let count = 0;
	for (const { RepoTags = [] } of unused) {
		let removed = false;
		for (const tag of RepoTags) {
			// Without force: the engine refuses while any container is made of it. By name: what is built on it keeps its layers.
			const answer = await engine.callIfThere((docker) => docker.getImage(tag).remove());
			removed ||= answer !== undefined;
		}
		if (removed) count += 1;
	}
	return count;
}
