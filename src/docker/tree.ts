/** A tree of files on its way from a container into an image, as a tar of which no more than a piece is in memory. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { extract, type Header, type Pack } from 'tar-stream';
import { quote } from '../catalog/quote.ts';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';

/** A file, folder or link of a tar. */
export interface TreeEntry extends AsyncIterable<unknown> {
	readonly header: Header;
}

/** The folder of a build that a tree comes into. */
const FOLDER = 'app/';
/** As npm has it: some programs take no files of 1970. */
const MTIME = new Date('1985-10-26T08:15:00.000Z');

/** The entries of a tar, each to be read before the next is asked for. */
export function readTree(tar: Readable): AsyncIterator<TreeEntry> {
	const entries = extract();
	// A tar that breaks off is told to whoever reads the entries, and to nobody else.
	entries.on('error', () => undefined);
	entries.on('entry', (_, entry) => entry.on('error', () => undefined));
	void pipeline(tar, entries).catch((error: Error) => entries.destroy(error));
	return entries[Symbol.asyncIterator]();
}

/**
 * Writes a tree into a tar. Owners, times and more than the permissions of a file are not taken over, so that what
 * is made of the same files is the same.
 *
 * Whoever wrote it may have run what a package brought: no name in it leads out of the folder, by itself or through a link, to
 * what else is in the build.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_REFUSED when it is too large, leads out, or has what is neither file, folder nor link
 */
export async function copyTree(tree: AsyncIterable<TreeEntry>, tar: Pack): Promise<void> {
	// What breaks off here breaks the tar off too; it is this promise that tells of it.
	tar.on('error', () => undefined);
	const links = new Set<string>();
	let files = 0;
	let bytes = 0;
	for await (const entry of tree) {
		const { name, type, size = 0, mode = 0o644, linkname } = entry.header;
		files += 1;
		bytes += size;
		if (files > PREPARATION_LIMITS.treeFilesMax || bytes > PREPARATION_LIMITS.treeBytesMax)
			throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', {
				reason: `It installs more than ${PREPARATION_LIMITS.treeFilesMax} files or ${PREPARATION_LIMITS.treeBytesMax} bytes.`,
			});
		assertInside(name, links);
		if (type === 'symlink') links.add(name);
		const header = { name: FOLDER + name, mode: mode & 0o777, mtime: MTIME };
		if (type === 'file') await pipeline(Readable.from(entry), tar.entry({ ...header, type, size }));
		else if (type === 'directory') tar.entry({ ...header, type });
		else if (type === 'symlink') tar.entry({ ...header, type, linkname: linkname ?? '' });
		else if (type === 'link') {
			assertInside(linkname ?? '', links);
			tar.entry({ ...header, type, linkname: FOLDER + (linkname ?? '') });
		} else throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: `It installs a ${type}, which is no file.` });
		// The next entry comes when this one is read to its end.
		if (type !== 'file') for await (const _ of entry);
	}
}

function assertInside(name: string, links: ReadonlySet<string>): void {
	const parts = name.replace(/\/$/, '').split('/');
	const odd = parts.some((part) => part === '..' || part === '.' || part === '');
	const above = parts.slice(1).map((_, index) => parts.slice(0, index + 1).join('/'));
	if (odd || above.some((folder) => links.has(folder)))
		throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: `It installs ${quote(name)}, which leads elsewhere.` });
}
