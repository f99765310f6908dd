/**
 * Small files, read whole and at once. Synchronous on purpose: what is known of secrets is then never half of an old
 * state and half of a new one, and they are few and small.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** `absent`: there is no file. `closed`: there is something there that cannot be read. */
export type FileContent = { readonly bytes: Buffer } | 'absent' | 'closed';

/** The first `bytesMax` bytes of a file and one more, so that it shows when there are more. Never throws. */
export function readSmallFile(path: string, bytesMax: number): FileContent {
	let file: number;
	try {
		// A pipe in the place of a file would keep us waiting for its writer.
		file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
	} catch (error) {
		return isAbsence(error) ? 'absent' : 'closed';
	}
	try {
		const state = fstatSync(file);
		// /dev/null stands for what is not set.
		if (!state.isFile() && !state.isCharacterDevice()) return 'closed';
		const bytes = Buffer.alloc(bytesMax + 1);
		let length = 0;
		for (let read = -1; read !== 0 && length < bytes.length; length += read)
			read = readSync(file, bytes, length, bytes.length - length, null);
		return { bytes: bytes.subarray(0, length) };
	} catch {
		return 'closed';
	} finally {
		closeSync(file);
	}
}

export function isAbsence(error: unknown): boolean {
	return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
