/**
 * Where secrets come from. The first of these that has one of the name counts, also when it is unusable there: a server
 * is not to be given an old value because the new one cannot be read.
 *
 * 1. the launcher's environment: SLIPWAY_SECRET_<NAME>, or the file that SLIPWAY_SECRET_<NAME>_FILE names
 * 2. a file of that name in one of the folders, in their order
 * 3. the encrypted store
 *
 * Before all of these comes a catalog file in a form that has values in it (secrets.ts).
 */
import { join } from 'node:path';
import type { SecretsConfig } from '../config.ts';
import { SECRET_LIMITS } from '../limits.ts';
import { type FileContent, readSmallFile } from './files.ts';
import { readSealed } from './sealed-store.ts';
import { examineValue, type Finding, unusable, withoutLastNewline } from './value.ts';

/** The line end that is not counted may be two bytes. */
const FILE_BYTES_MAX = SECRET_LIMITS.valueBytesMax + 2;

/** The secret of that name as it is now. Never throws. */
export function findSecret({ environment, folders, ...store }: SecretsConfig, name: string): Finding {
	const said = environment.get(name);
	if (said !== undefined && 'value' in said) return examineValue(name, Buffer.from(said.value));
	if (said !== undefined) {
		// Said, and not there, is a mistake and no reason to look elsewhere.
		const content = readSmallFile(said.file, FILE_BYTES_MAX);
		return content === 'absent' ? unusable(name, 'is said to be in a file that is not there.') : inFile(name, content);
	}
	for (const folder of folders) {
		const content = readSmallFile(join(folder, name), FILE_BYTES_MAX);
		if (content !== 'absent') return inFile(name, content);
	}
	return readSealed({ folder: store.storeDir, keyFile: store.keyFile }, name);
}

function inFile(name: string, content: Exclude<FileContent, 'absent'>): Finding {
	if (content === 'closed')
		return unusable(name, 'is no file that the launcher may read: root without any capability, in the group 0.');
	return examineValue(name, withoutLastNewline(content.bytes));
}
