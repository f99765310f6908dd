/** Packages and archives that lie in folders of the operator's, read within bounds. */
import { createHash } from 'node:crypto';
import { type Dirent, lstatSync, readdirSync } from 'node:fs';
import { open, readdir, realpath, stat } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { quote } from '../catalog/quote.ts';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import { readTree } from './tree.ts';

/** A file as it goes into a container. */
export interface LocalFile {
	/** From the folder, with slashes. */
	readonly name: string;
	readonly mode: number;
	readonly content: Buffer;
}

export interface LocalPackage {
	readonly name: string;
	readonly version: string;
	/** Of its files, in the form of npm's. */
	readonly integrity: string;
	/** The folder's files, or one archive. */
	readonly kind: 'folder' | 'archive';
	readonly files: readonly LocalFile[];
}

/** What npm never puts into a package: it is not read either. */
const NEVER_PACKED: ReadonlySet<string> = new Set(['node_modules', '.git', '.npmrc', 'package-lock.json']);

/**
 * The package at a path of the catalog: a folder, or an archive that `npm pack` made.
 *
 * @param path as in the catalog, with a leading `./`
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED
 */
export async function readLocalPackage(catalogFolder: string, path: string): Promise<LocalPackage> {
	const place = await placeOf(catalogFolder, path);
	const isFolder = (await stat(place)).isDirectory();
	const files = isFolder ? await readFolder(place, path) : [await readWhole(place, 'package.tgz')];
	const manifest = isFolder
		? files.find(({ name }) => name === 'package.json')?.content
		: await manifestOf(files[0]?.content ?? Buffer.alloc(0));
	const { name, version } = readManifest(manifest, path);
	const digest = createHash('sha512');
	for (const file of files) {
		// Lengths first, so that no two trees are the same text.
		digest.update(`${file.name.length} ${file.name} ${file.mode.toString(8)} ${file.content.length}\n`);
		digest.update(file.content);
	}
	return {
		name,
		version,
		integrity: `sha512-${digest.digest('base64')}`,
		kind: isFolder ? 'folder' : 'archive',
		files,
	};
}

/** What tells one state of a package from another without reading its files. Never throws. */
export function signLocalPackage(catalogFolder: string, path: string): string {
	const digest = createHash('sha256');
	let files = 0;
	const visit = (place: string): void => {
		files += 1;
		// Such a package is refused; what else is in it is all the same.
		if (files > PREPARATION_LIMITS.localFilesMax) return;
		const state = lstatSync(place, { bigint: true });
		digest.update(`${place} ${state.ino} ${state.mode} ${state.size} ${state.mtimeNs} ${state.ctimeNs}\n`);
		if (!state.isDirectory()) return;
		for (const name of readdirSync(place).sort()) if (!NEVER_PACKED.has(name)) visit(join(place, name));
	};
	try {
		visit(join(catalogFolder, path));
		return digest.digest('hex');
	} catch {
		// It is not there, or it changes while it is looked at.
		return '';
	}
}

/** The place that a path means, which no link leads out of the catalog's folder. */
async function placeOf(catalogFolder: string, path: string): Promise<string> {
	let root: string;
	let place: string;
	try {
		[root, place] = await Promise.all([realpath(catalogFolder), realpath(join(catalogFolder, path))]);
	} catch (error) {
		throw new SlipwayError(
			'SLIPWAY_PACKAGE_MISSING',
			{ reason: `There is no ${quote(path)} in the folder of the catalog.` },
			{ cause: error },
		);
	}
	if (!place.startsWith(root + sep)) return refuse(`${quote(path)} leads out of the folder of the catalog.`);
	return place;
}

async function readFolder(root: string, path: string): Promise<LocalFile[]> {
	const files: LocalFile[] = [];
	let bytes = 0;
	const visit = async (folder: string): Promise<void> => {
		for (const entry of await readdir(folder, { withFileTypes: true })) {
			if (NEVER_PACKED.has(entry.name)) continue;
			const place = join(folder, entry.name);
			if (entry.isDirectory()) await visit(place);
			else if (await isFileOf(root, place, entry)) {
				const file = await readWhole(place, relative(root, place).split(sep).join('/'));
				bytes += file.content.length;
				files.push(file);
				if (files.length > PREPARATION_LIMITS.localFilesMax || bytes > PREPARATION_LIMITS.localBytesMax)
					refuse(
						`${quote(path)} has more than ${PREPARATION_LIMITS.localFilesMax} files or ${PREPARATION_LIMITS.localBytesMax} bytes.`,
					);
			}
		}
	};
	await visit(root);
	return files.sort((one, other) => (one.name < other.name ? -1 : 1));
}

/** npm packs no links. One that leads out of the folder is somebody's mistake, or worse. */
async function isFileOf(root: string, place: string, entry: Dirent): Promise<boolean> {
	if (!entry.isSymbolicLink()) return entry.isFile();
	const target = await realpath(place).catch(() => '');
	if (!target.startsWith(root + sep)) refuse(`The link ${quote(relative(root, place))} leads out of its package.`);
	return false;
}

async function readWhole(place: string, name: string): Promise<LocalFile> {
	const handle = await open(place);
	try {
		const { mode, size } = await handle.stat();
		if (size > PREPARATION_LIMITS.localBytesMax)
			refuse(`${quote(name)} has more than ${PREPARATION_LIMITS.localBytesMax} bytes.`);
		// One byte more than it had: whoever writes to it now is not followed for ever.
		const { buffer, bytesRead } = await handle.read(Buffer.alloc(size + 1), 0, size + 1, 0);
		return { name, mode: (mode & 0o100) === 0 ? 0o644 : 0o755, content: buffer.subarray(0, bytesRead) };
	} finally {
		await handle.close();
	}
}

/** The package.json of an archive: that of the one folder that it has at its top. */
async function manifestOf(archive: Buffer): Promise<Buffer | undefined> {
	try {
		const tar = gunzipSync(archive, { maxOutputLength: PREPARATION_LIMITS.localBytesMax });
		const entries = readTree(Readable.from([tar]));
		for (let next = await entries.next(); !next.done; next = await entries.next()) {
			const content = await buffer(Readable.from(next.value));
			if (/^[^/]+\/package\.json$/.test(next.value.header.name)) return content;
		}
		return undefined;
	} catch {
		return undefined;
	}
}

function readManifest(text: Buffer | undefined, path: string): { readonly name: string; readonly version: string } {
	let manifest: unknown;
	try {
		manifest = JSON.parse(text?.toString('utf8') ?? '');
	} catch {
		return refuse(`${quote(path)} has no package.json, or one that is no JSON: it is not an npm package.`);
	}
	const { name, version } =
		typeof manifest === 'object' && manifest !== null ? (manifest as Record<string, unknown>) : {};
	if (typeof name !== 'string' || typeof version !== 'string')
		return refuse(`The package.json of ${quote(path)} needs a "name" and a "version".`);
	return { name, version };
}

/** An archive in the folder that takes the place of a registry. */
export interface Archive {
	readonly name: string;
	readonly path: string;
	readonly bytes: number;
}

/**
 * The archives (`.tgz`) of a folder.
 *
 * @throws SlipwayError SLIPWAY_PREPARATION_FAILED when it cannot be read or has too much in it
 */
export async function listArchives(folder: string): Promise<readonly Archive[]> {
	try {
		const names = (await readdir(folder)).filter((name) => name.endsWith('.tgz')).sort();
		const archives = await Promise.all(
			names.slice(0, PREPARATION_LIMITS.offlineFilesMax + 1).map(async (name) => {
				const path = join(folder, name);
				return { name, path, bytes: (await stat(path)).size };
			}),
		);
		const bytes = archives.reduce((sum, archive) => sum + archive.bytes, 0);
		if (archives.length <= PREPARATION_LIMITS.offlineFilesMax && bytes <= PREPARATION_LIMITS.offlineBytesMax)
			return archives;
	} catch (error) {
		throw new SlipwayError(
			'SLIPWAY_PREPARATION_FAILED',
			{ reason: 'The folder of SLIPWAY_NPM_OFFLINE_DIR cannot be read.' },
			{ cause: error },
		);
	}
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
		reason: `The folder of SLIPWAY_NPM_OFFLINE_DIR has more than ${PREPARATION_LIMITS.offlineFilesMax} archives or ${PREPARATION_LIMITS.offlineBytesMax} bytes.`,
	});
}

function refuse(reason: string): never {
	throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason });
}
