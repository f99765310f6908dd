/**
 * What packages of the catalog were resolved to: `catalog.lock.json`, beside the catalog. A source that is in it is made of
 * what it says and of nothing else, on every machine and at every time.
 *
 * In the file what a package manager reads stands as it is, so that a difference can be read: npm's lock file as an object,
 * and others as their lines.
 */
import { z } from 'zod';
import { SlipwayError } from '../errors.ts';
import { CATALOG_LIMITS } from '../limits.ts';
import type { Source } from './catalog.ts';
import { formatPath } from './explain.ts';
import { positionOf, readJson } from './json.ts';
import { findUnlocked } from './npm-lock.ts';
import { pypiLockKey } from './pypi.ts';

/** What one source was resolved to. */
export interface LockEntry {
	/** Of the package itself, as the registry has it; of a local one, of its files. */
	readonly integrity: string;
	/** What its package manager reads, to the byte. */
	readonly lock: string;
}

export interface Lock {
	/** The images that packages are put on, by name: each as a reference with its digest. */
	readonly bases: ReadonlyMap<string, string>;
	/** By lockKey. */
	readonly sources: ReadonlyMap<string, LockEntry>;
}

export const EMPTY_LOCK: Lock = Object.freeze({ bases: new Map(), sources: new Map() });

const FORM = 1;
const KEY_PATTERN = /^(?:npm|pypi):[^\u0000-\u001f\u007f]+$/;
const INTEGRITY_PATTERN = /^sha(?:256|384|512)-[A-Za-z0-9+/]+={0,2}$/;
const DIGEST_PATTERN = /^[a-z0-9][^\s@]*@sha256:[0-9a-f]{64}$/;

const lockFileSchema = z.strictObject({
	version: z.literal(FORM),
	bases: z.record(z.string().max(CATALOG_LIMITS.imageReferenceCharsMax), z.string().regex(DIGEST_PATTERN)),
	sources: z.record(
		z.string().regex(KEY_PATTERN),
		z.strictObject({
			integrity: z.string().regex(INTEGRITY_PATTERN),
			lock: z.union([z.array(z.string()), z.record(z.string(), z.unknown())]),
		}),
	),
});

/** How a source is called in the lock; undefined for one that is resolved by nobody. */
export function lockKey(source: Source): string | undefined {
	switch (source.kind) {
		case 'image':
			return undefined;
		case 'npm':
			return `npm:${source.name}@${source.version}`;
		case 'npm-local':
			return `npm:${source.path}`;
		case 'pypi':
		case 'pypi-local':
			return pypiLockKey(source);
	}
}

/** The name of the lock of a catalog file. */
export function lockFileOf(catalogFile: string): string {
	return `${catalogFile.replace(/\.json$/, '')}.lock.json`;
}

/** The Lock that a text says. Throws SLIPWAY_LOCK_INVALID, whose reason has the file, the place and what is wrong. */
export function parseLock(text: string, file: string): Lock {
	const reading = text.trim() === '' ? undefined : readJson(text);
	if (reading === undefined) return refuse(`${file} is empty.`);
	if (reading.kind === 'flawed') {
		const [{ offset, message } = { offset: 0, message: 'this is not JSON' }] = reading.flaws;
		const { line, column } = positionOf(text, offset);
		return refuse(`${file}:${line}:${column}: ${message}.`);
	}
	const result = lockFileSchema.safeParse(reading.value);
	if (!result.success) {
		const path = result.error.issues[0]?.path ?? [];
		return refuse(`${file}: ${path.length === 0 ? 'the file' : formatPath(path)} is not what \`slipway lock\` writes.`);
	}
	const sources = Object.entries(result.data.sources).map(([key, { integrity, lock }]) => {
		const entry = { integrity, lock: Array.isArray(lock) ? lock.join('\n') : printNpmLock(lock) };
		const unlocked = key.startsWith('npm:') ? findUnlocked(entry.lock) : undefined;
		if (unlocked !== undefined) return refuse(`${file}: ${formatPath(['sources', key])}: ${unlocked}.`);
		return [key, Object.freeze(entry)] as const;
	});
	return { bases: new Map(Object.entries(result.data.bases)), sources: new Map(sources) };
}

/** The text of a Lock: the same for the same, in whatever order it was put together. */
export function formatLock({ bases, sources }: Lock): string {
	const file = {
		version: FORM,
		bases: Object.fromEntries(sorted(bases)),
		sources: Object.fromEntries(
			sorted(sources).map(([key, { integrity, lock }]) => [
				key,
				{ integrity, lock: key.startsWith('npm:') ? JSON.parse(lock) : lock.split('\n') },
			]),
		),
	};
	return `${JSON.stringify(file, null, '\t')}\n`;
}

/** npm's own lock file as one text for one meaning: spaces do not count, the order of its members does, and npm sorts them. */
export function printNpmLock(lock: object): string {
	return `${JSON.stringify(lock, null, 2)}\n`;
}

/** Whether it says what the other says. */
export function isSameEntry(one: LockEntry | undefined, other: LockEntry | undefined): boolean {
	return one?.integrity === other?.integrity && one?.lock === other?.lock;
}

/** By code units, so that no locale has a say in it. */
function sorted<Value>(map: ReadonlyMap<string, Value>): (readonly [string, Value])[] {
	return [...map].sort(([one], [other]) => (one < other ? -1 : 1));
}

function refuse(reason: string): never {
	throw new SlipwayError('SLIPWAY_LOCK_INVALID', { reason });
}
