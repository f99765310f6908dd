/** Another text in the place of a file's, whole or not at all, by one program at a time. */
import { randomUUID } from 'node:crypto';
import {
	closeSync,
	constants,
	existsSync,
	fchmodSync,
	fchownSync,
	fstatSync,
	fsyncSync,
	ftruncateSync,
	openSync,
	readFileSync,
	realpathSync,
	renameSync,
	rmSync,
	type Stats,
	statSync,
	writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as wait } from 'node:timers/promises';
import { SlipwayError } from '../errors.ts';
import { EDIT_LIMITS } from '../limits.ts';

const BYTE_ORDER_MARK = Buffer.from('\uFEFF');

/** Of a file that was not there. */
const NEW_MODE = 0o644;

/** Whose a file is, and who may read it. */
type Owned = Pick<Stats, 'uid' | 'gid' | 'mode'>;

/** Of SQLite: somebody else has the lock. */
const BUSY = 5;

/**
 * Waits until no other program has the lock beside a file, and takes it. Returns the way to let it go.
 *
 * The lock is the operating system's, so it ends with whoever has it, however that ends. Where the folder cannot be
 * written there is none: replaceFile still sees what others write.
 *
 * Rejects with SLIPWAY_CATALOG_UNWRITABLE when it takes longer than EDIT_LIMITS.lockTimeoutMs.
 */
export async function lockBeside(file: string): Promise<() => void> {
	const target = realpathSync(file);
	const path = join(dirname(target), `.${basename(target)}.lock`);
	const signal = AbortSignal.timeout(EDIT_LIMITS.lockTimeoutMs);
	for (;;) {
		const lock = tryLock(path);
		if (lock !== 'busy') return lock;
		if (signal.aborted) return refuse(file, 'another program has been writing it for too long.');
		// Nothing tells when a lock of another process ends.
		await wait(EDIT_LIMITS.lockPollMs);
	}
}

function tryLock(path: string): (() => void) | 'busy' {
	let database: DatabaseSync | undefined;
	try {
		database = new DatabaseSync(path, { timeout: 0 });
		database.exec('BEGIN EXCLUSIVE');
	} catch (error) {
		database?.close();
		return error instanceof Error && 'errcode' in error && error.errcode === BUSY ? 'busy' : () => {};
	}
	return () => database.close();
}

export interface Replacement {
	/** What was read from the file; undefined when there was none. */
	readonly before: string | undefined;
	readonly after: string;
}

/**
 * Puts a text in the place of a file's. False when the file does not have the text any more that was read from it: then
 * nothing was written. From the last look to the rename nothing else of this process runs. A file that was not there belongs to
 * whom its folder does.
 *
 * @throws SlipwayError SLIPWAY_CATALOG_UNWRITABLE; the file is as it was
 */
export function replaceFile(file: string, { before, after }: Replacement): boolean {
	try {
		if (before === undefined) return createFile(file, Buffer.from(after));
		// A link stays one: what it leads to is replaced.
		const target = realpathSync(file);
		const old = readFileSync(target);
		const marked = old.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK);
		if (!old.subarray(marked ? BYTE_ORDER_MARK.length : 0).equals(Buffer.from(before))) return false;
		const bytes = Buffer.concat([...(marked ? [BYTE_ORDER_MARK] : []), Buffer.from(after)]);
		if (!replaceByRename(target, bytes, statSync(target))) overwrite(target, { old, bytes });
		return true;
	} catch (error) {
		return refuse(file, explain(codeOf(error)), error);
	}
}

function createFile(file: string, bytes: Buffer): boolean {
	if (existsSync(file)) return false;
	const draft = draftOf(file);
	try {
		writeDraft(draft, bytes, { ...statSync(dirname(file)), mode: NEW_MODE });
		renameSync(draft, file);
	} catch (error) {
		rmSync(draft, { force: true });
		throw error;
	}
	return true;
}

function draftOf(target: string): string {
	return join(dirname(target), `.${basename(target)}.${randomUUID()}`);
}

/** False where the folder does not let a file take the place of another, or not with the owner that it has. */
function replaceByRename(target: string, bytes: Buffer, like: Owned): boolean {
	const draft = draftOf(target);
	try {
		writeDraft(draft, bytes, like);
		renameSync(draft, target);
	} catch (error) {
		rmSync(draft, { force: true });
		// A mount point of its own; a folder that is closed to us or read-only, with a file in it that may be written; another
		// owner, whom the file is to stay with.
		if (['EBUSY', 'EXDEV', 'EACCES', 'EPERM', 'EROFS'].includes(codeOf(error))) return false;
		throw error;
	}
	// The rename is done, and a folder that cannot be synchronised is no reason to say that it is not.
	try {
		sync(dirname(target), constants.O_RDONLY);
	} catch {
		return true;
	}
	return true;
}

function writeDraft(draft: string, bytes: Buffer, { uid, gid, mode }: Owned): void {
	const file = openSync(draft, 'wx', 0o600);
	try {
		const { uid: ownUid, gid: ownGid } = fstatSync(file);
		if (uid !== ownUid || gid !== ownGid) fchownSync(file, uid, gid);
		fchmodSync(file, mode & 0o7777);
		writeAll(file, bytes, 0);
		fsyncSync(file);
	} finally {
		closeSync(file);
	}
}

/**
 * Writes over a file that nothing can take the place of. What is beyond its old end goes first: only that needs room on the
 * disk, and without it the file is cut back to what it was.
 */
function overwrite(target: string, { old, bytes }: { old: Buffer; bytes: Buffer }): void {
	const file = openSync(target, 'r+');
	try {
		try {
			writeAll(file, bytes.subarray(old.length), old.length);
			fsyncSync(file);
			writeAll(file, bytes.subarray(0, old.length), 0);
			ftruncateSync(file, bytes.length);
			fsyncSync(file);
		} catch (error) {
			writeAll(file, old, 0);
			ftruncateSync(file, old.length);
			throw error;
		}
	} finally {
		closeSync(file);
	}
}

function writeAll(file: number, bytes: Buffer, position: number): void {
	for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at, bytes.length - at, position + at);
}

function sync(path: string, flags: number): void {
	const file = openSync(path, flags);
	try {
		fsyncSync(file);
	} finally {
		closeSync(file);
	}
}

function codeOf(error: unknown): string {
	return error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
}

function explain(code: string): string {
	if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG')
		return `there is no room for it on the disk (${code}). Make some, and try again.`;
	if (code === 'EROFS')
		return 'it is on a disk that is read-only (EROFS). Mount the folder of the catalog for writing.';
	if (code === 'EACCES' || code === 'EPERM')
		return `this user may not write it (${code}). Run this as the owner of the file, or as root.`;
	return `writing it failed (${code}). Check the disk and the path in SLIPWAY_CATALOG.`;
}

function refuse(file: string, why: string, cause?: unknown): never {
	throw new SlipwayError('SLIPWAY_CATALOG_UNWRITABLE', { reason: `${file}: ${why}` }, { cause });
}
