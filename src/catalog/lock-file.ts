/** Writing the lock beside a catalog, so that whoever reads it meanwhile finds the old one or the new one. */
import { randomUUID } from 'node:crypto';
import type { Stats } from 'node:fs';
import { chmod, chown, open, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SlipwayError } from '../errors.ts';

const NEW_MODE = 0o644;

/**
 * Writes a text in the place of a file. Owner and mode stay; a new file has those of its folder. A file that is a mount of its own
 * cannot be replaced, and is written where it is.
 *
 * @throws SlipwayError SLIPWAY_LOCK_INVALID when it cannot be written
 */
export async function replaceFile(file: string, text: string): Promise<void> {
	try {
		const before = await stat(file).catch(() => undefined);
		await replace(file, text, before ?? { ...(await stat(dirname(file))), mode: NEW_MODE }).catch((error: unknown) =>
			before !== undefined && isOfPlace(error) ? writeFile(file, text) : Promise.reject(error),
		);
	} catch (error) {
		const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
		throw new SlipwayError(
			'SLIPWAY_LOCK_INVALID',
			{ reason: `${file} cannot be written (${code}): its folder has to be writable.` },
			{ cause: error },
		);
	}
}

async function replace(
	file: string,
	text: string,
	{ uid, gid, mode }: Pick<Stats, 'uid' | 'gid' | 'mode'>,
): Promise<void> {
	// In the same folder: a rename is one act in one file system only.
	const next = `${file}.${randomUUID()}`;
	try {
		const handle = await open(next, 'wx', NEW_MODE);
		try {
			await handle.writeFile(text);
			await handle.sync();
		} finally {
			await handle.close();
		}
		await chmod(next, mode & 0o777);
		// Of a file that is ours already nothing is to be changed, and only root may.
		const made = await stat(next);
		if (made.uid !== uid || made.gid !== gid) await chown(next, uid, gid);
		await rename(next, file);
	} catch (error) {
		await rm(next, { force: true });
		throw error;
	}
}

/** A mount point is busy; in a folder that is read-only a file may be writable. */
function isOfPlace(error: unknown): boolean {
	const code = error instanceof Error && 'code' in error ? error.code : undefined;
	return code === 'EBUSY' || code === 'EROFS' || code === 'EACCES' || code === 'EXDEV' || code === 'EPERM';
}
