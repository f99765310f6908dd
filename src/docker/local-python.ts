/** A Python package beside the catalog: a folder with a pyproject.toml, a wheel, or a script by itself. */
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, realpath } from 'node:fs/promises';
import { basename, join, posix, sep } from 'node:path';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';

/** What a build of the package leaves, and what is no part of it. */
const LEFT_OUT = /^(?:\.git|\.hg|\.venv|venv|node_modules|__pycache__|\.[a-z]+_cache|build|dist|.+\.egg-info|.+\.pyc)$/;

export interface LocalPackage {
	readonly kind: 'folder' | 'wheel' | 'script';
	/** By their paths from its folder, in order. */
	readonly files: ReadonlyMap<string, Buffer>;
	/** `sha256-…` of all of them. */
	readonly integrity: string;
}

/**
 * What lies at a path below the catalog.
 *
 * @param catalogFolder undefined where there is no such folder
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED
 */
export async function readLocal(path: string, catalogFolder: string | undefined): Promise<LocalPackage> {
	if (catalogFolder === undefined) return refuse(`There is no folder that ${path} could be in.`);
	const root = await realpath(catalogFolder).catch(() => missing(path));
	const place = await realpath(join(root, path)).catch(() => missing(path));
	if (!place.startsWith(root + sep)) return refuse(`A link in ${path} leads out of the folder of the catalog.`);
	const found = await lstat(place);
	const files = new Map<string, Buffer>();
	if (found.isDirectory()) {
		await readFolder({ root: place, files, room: { bytes: PREPARATION_LIMITS.localBytesMax } }, '');
		if (!files.has('pyproject.toml') && !files.has('setup.py'))
			return refuse(`${path} has no pyproject.toml. Add one, or name a script in it.`);
		return withIntegrity('folder', files);
	}
	if (!found.isFile()) return refuse(`${path} is neither a file nor a folder.`);
	const kind = place.endsWith('.whl') ? 'wheel' : place.endsWith('.py') ? 'script' : undefined;
	if (kind === undefined) return refuse(`${path} is no folder, no wheel (.whl) and no script (.py).`);
	if (found.size > PREPARATION_LIMITS.localBytesMax) return tooLarge(path);
	files.set(kind === 'script' ? 'server.py' : basename(place), await readable(place));
	return withIntegrity(kind, files);
}

interface Reading {
	readonly root: string;
	readonly files: Map<string, Buffer>;
	readonly room: { bytes: number };
}

/** In the order of names, so that the same folder is the same text everywhere. */
async function readFolder(reading: Reading, below: string): Promise<void> {
	const { root, files, room } = reading;
	const entries = await readdir(join(root, below), { withFileTypes: true });
	entries.sort((a, b) => (a.name < b.name ? -1 : 1));
	for (const entry of entries) {
		if (LEFT_OUT.test(entry.name)) continue;
		const path = posix.join(below, entry.name);
		if (entry.isDirectory()) await readFolder(reading, path);
		else if (entry.isFile()) {
			room.bytes -= (await lstat(join(root, path))).size;
			if (room.bytes < 0 || files.size >= PREPARATION_LIMITS.localFilesMax) tooLarge(basename(root));
			files.set(path, await readable(join(root, path)));
		} else refuse(`${path} in it is a link or no file. Put a file in its place.`);
	}
}

function readable(file: string): Promise<Buffer> {
	return readFile(file).catch(() =>
		refuse(`${basename(file)} cannot be read. Let the user that Slipway runs as read it.`),
	);
}

function withIntegrity(kind: LocalPackage['kind'], files: ReadonlyMap<string, Buffer>): LocalPackage {
	const all = createHash('sha256');
	for (const [name, content] of files)
		all.update(JSON.stringify([name, createHash('sha256').update(content).digest('hex')]));
	return { kind, files, integrity: `sha256-${all.digest('base64')}` };
}

function missing(path: string): never {
	throw new SlipwayError('SLIPWAY_PACKAGE_MISSING', { reason: `There is no ${path} beside the catalog.` });
}

function tooLarge(path: string): never {
	const { localBytesMax, localFilesMax } = PREPARATION_LIMITS;
	return refuse(`${path} has more than ${localBytesMax} bytes or ${localFilesMax} files, the most that it may have.`);
}

function refuse(reason: string): never {
	throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason });
}
