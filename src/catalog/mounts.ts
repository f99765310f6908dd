import { posix } from 'node:path';
import { SlipwayError } from '../errors.ts';
import { isAtOrBelow, shortest } from './paths.ts';
import { quote } from './quote.ts';

/** Where mounts may come from. Absolute paths of the host, which need not exist where this runs. */
export interface MountPlaces {
	/** The folder that sources with a leading `./` are taken from. */
	readonly hostDir: string;
	/** Sources are one of these or below one. */
	readonly roots: readonly string[];
}

/** A place on the host, in two parts: one that is trusted as it is, and one that must not lead out of it. */
export interface MountPlace {
	/** One of the roots, normalised. */
	readonly root: string;
	/** From there, without a slash at either end; empty for the root itself. */
	readonly subpath: string;
}

/**
 * What a mount's source names: the innermost of the roots that it is in, and the way from there.
 *
 * It looks at names only, since the host's files may be out of sight. That no link on the way leads out of the root is
 * for the Engine to see to, at the moment of the mount. Throws SLIPWAY_MOUNT_REFUSED when the source is elsewhere.
 */
export function resolveMount(source: string, { hostDir, roots }: MountPlaces): MountPlace {
	const path = absolutePath(source, hostDir);
	// The kernel would read such a path only as far as the NUL.
	if (path.includes('\0'))
		return refuse(`The path ${quote(path)} has a NUL character in it. Correct the mount source.`);
	const allowed = roots.filter((root) => root.startsWith('/')).map(shortest);
	const [root] = allowed.filter((one) => isAtOrBelow(path, one)).sort((a, b) => b.length - a.length);
	if (root !== undefined) return { root, subpath: posix.relative(root, path) };
	const list = allowed.length === 0 ? 'none' : allowed.map(quote).join(', ');
	return refuse(
		`${quote(path)} (the mount source ${quote(source)}) is not below a folder that may be mounted: ${list}. Move it there, or add its folder to SLIPWAY_MOUNT_ROOTS.`,
	);
}

function absolutePath(source: string, hostDir: string): string {
	if (source.startsWith('/')) return shortest(source);
	if (source.startsWith('./') && hostDir.startsWith('/')) return shortest(posix.join(hostDir, source));
	if (source.startsWith('./')) {
		return refuse(
			`The mount source ${quote(source)} is relative, and the folder on the host that it starts from is not known. Write an absolute path below one of SLIPWAY_MOUNT_ROOTS.`,
		);
	}
	return refuse(
		`The mount source ${quote(source)} starts with neither "./" nor "/". Write a path below one of SLIPWAY_MOUNT_ROOTS.`,
	);
}

function refuse(reason: string): never {
	throw new SlipwayError('SLIPWAY_MOUNT_REFUSED', { reason });
}
