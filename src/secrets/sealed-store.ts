/**
 * The encrypted store: a folder with a file for each secret. One file a secret, so that two who write at once can at
 * most write the same one, and then the later counts: there is nothing else in it to lose.
 */
import { randomUUID } from 'node:crypto';
import {
	closeSync,
	fsyncSync,
	mkdirSync,
	openSync,
	readdirSync,
	renameSync,
	rmSync,
	unlinkSync,
	writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { SlipwayError } from '../errors.ts';
import { SECRET_NAME_PATTERN } from '../ids.ts';
import { SECRET_LIMITS } from '../limits.ts';
import { isAbsence, readSmallFile } from './files.ts';
import { parseSealingKey, SEAL_BYTES, seal, unseal } from './sealed.ts';
import { examineValue, type Finding, MISSING, unusable } from './value.ts';

const SUFFIX = '.sealed';
const KEY_TEXT_BYTES_MAX = 1024;

export interface SealedStoreOptions {
	readonly folder: string;
	/** A file with the key. An empty one is as good as none, since compose mounts one where nothing is set. */
	readonly keyFile: string | undefined;
}

/** The secret of that name in the store, unsealed. Never throws. */
export function readSealed({ folder, keyFile }: SealedStoreOptions, name: string): Finding {
	const content = readSmallFile(join(folder, name + SUFFIX), SECRET_LIMITS.valueBytesMax + SEAL_BYTES);
	if (content === 'absent') return MISSING;
	if (content === 'closed') return unusable(name, 'is in the encrypted store and cannot be read there.');
	const key = readKey(keyFile);
	if (typeof key === 'string') return unusable(name, `is in the encrypted store, and ${key}`);
	const value = unseal(key, name, content.bytes);
	if (value === undefined) return unusable(name, 'was sealed with another key, or was changed since.');
	return examineValue(name, value);
}

/**
 * Seals a value and keeps it in the place of the one before, whole or not at all.
 *
 * @throws SlipwayError SLIPWAY_SECRET_INVALID, SLIPWAY_CONFIG_INVALID
 */
export function writeSealed({ folder, keyFile }: SealedStoreOptions, name: string, value: Buffer): void {
	assertName(name);
	const finding = examineValue(name, value);
	if (finding.kind === 'unusable') throw new SlipwayError('SLIPWAY_SECRET_INVALID', { reason: finding.reason });
	const key = readKey(keyFile);
	if (typeof key === 'string')
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason: `To seal a secret takes a key: ${key}` });
	inStore(folder, () => {
		mkdirSync(folder, { recursive: true, mode: 0o750 });
		const path = join(folder, name + SUFFIX);
		const draft = `${path}.${randomUUID()}`;
		try {
			// The group is the folder's: in compose that of the launcher, which reads what the command line writes.
			const file = openSync(draft, 'wx', 0o640);
			try {
				const sealed = seal(key, name, value);
				for (let at = 0; at < sealed.length; ) at += writeSync(file, sealed, at);
				fsyncSync(file);
			} finally {
				closeSync(file);
			}
			renameSync(draft, path);
		} catch (error) {
			rmSync(draft, { force: true });
			throw error;
		}
		syncFolder(folder);
	});
}

/**
 * Removes a secret from the store.
 *
 * @throws SlipwayError SLIPWAY_SECRET_MISSING, SLIPWAY_SECRET_INVALID, SLIPWAY_CONFIG_INVALID
 */
export function removeSealed({ folder }: SealedStoreOptions, name: string): void {
	assertName(name);
	inStore(folder, () => {
		try {
			unlinkSync(join(folder, name + SUFFIX));
		} catch (error) {
			if (!isAbsence(error)) throw error;
			throw new SlipwayError('SLIPWAY_SECRET_MISSING', { reason: `The encrypted store has no "${name}".` });
		}
		syncFolder(folder);
	});
}

/** The names in the store, in order. @throws SlipwayError SLIPWAY_CONFIG_INVALID */
export function listSealed({ folder }: SealedStoreOptions): string[] {
	return inStore(folder, () => {
		try {
			return readdirSync(folder)
				.filter((file) => file.endsWith(SUFFIX))
				.map((file) => file.slice(0, -SUFFIX.length))
				.filter((name) => SECRET_NAME_PATTERN.test(name))
				.sort();
		} catch (error) {
			if (isAbsence(error)) return [];
			throw error;
		}
	});
}

function assertName(name: string): void {
	if (SECRET_NAME_PATTERN.test(name)) return;
	throw new SlipwayError('SLIPWAY_SECRET_INVALID', {
		reason: 'The name of a secret is 1 to 63 of a-z, 0-9 and "_", a letter first, and does not end in "_file".',
	});
}

/** Whether the operator has given the store a key, right or wrong. */
export function hasSealingKey(keyFile: string | undefined): boolean {
	if (keyFile === undefined) return false;
	const content = readSmallFile(keyFile, KEY_TEXT_BYTES_MAX);
	return typeof content === 'string' || content.bytes.length > 0;
}

/** The key, or a sentence about why there is none. */
function readKey(keyFile: string | undefined): Buffer | string {
	if (keyFile === undefined) return 'SLIPWAY_SECRETS_KEY_FILE is not set.';
	const content = readSmallFile(keyFile, KEY_TEXT_BYTES_MAX);
	if (typeof content === 'string') return 'the file of SLIPWAY_SECRETS_KEY_FILE cannot be read.';
	if (content.bytes.length === 0) return 'SLIPWAY_SECRETS_KEY_FILE is not set.';
	return (
		parseSealingKey(content.bytes.toString('utf8')) ??
		'the file of SLIPWAY_SECRETS_KEY_FILE does not hold 64 hexadecimal digits: `openssl rand -hex 32` makes them.'
	);
}

/** A rename is on the disk when its folder is. */
function syncFolder(folder: string): void {
	const handle = openSync(folder, 'r');
	try {
		fsyncSync(handle);
	} finally {
		closeSync(handle);
	}
}

function inStore<T>(folder: string, act: () => T): T {
	try {
		return act();
	} catch (cause) {
		if (cause instanceof SlipwayError) throw cause;
		const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
		const reason = `The folder of SLIPWAY_SECRETS_STORE, ${folder}, cannot be used (${code}).`;
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', { reason }, { cause });
	}
}
