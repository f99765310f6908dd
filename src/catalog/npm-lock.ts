/** npm's own lock file (package-lock.json, version 3), as far as it is looked into. */
import { z } from 'zod';
import { quote } from './quote.ts';

/** The file that a local package is installed from, beside the lock file. Its content is known by the hash of its files. */
export const LOCAL_ARCHIVE = 'package.tgz';

const MODULES = 'node_modules/';
const STRONG = /\bsha(?:256|384|512)-[A-Za-z0-9+/]+={0,2}/;

const npmLockSchema = z.looseObject({
	lockfileVersion: z.literal(3),
	packages: z.record(
		z.string(),
		z.looseObject({
			version: z.string().optional(),
			integrity: z.string().optional(),
			resolved: z.string().optional(),
			inBundle: z.boolean().optional(),
			dependencies: z.record(z.string(), z.string()).optional(),
		}),
	),
});

export type NpmLock = z.output<typeof npmLockSchema>;

/** The lock file that a text is; undefined where it is none. */
export function readNpmLock(text: string): NpmLock | undefined {
	try {
		return npmLockSchema.safeParse(JSON.parse(text)).data;
	} catch {
		return undefined;
	}
}

/**
 * What of a lock file could be something else tomorrow, in words: a package without a strong hash, as one from a git
 * repository is. Undefined where each has one. What lies in a package that has one needs none.
 */
export function findUnlocked(text: string): string | undefined {
	const lock = readNpmLock(text);
	if (lock === undefined) return 'this is no lock file of npm';
	for (const [path, { integrity = '', inBundle, resolved }] of Object.entries(lock.packages)) {
		if (path === '' || inBundle === true || STRONG.test(integrity)) continue;
		if (resolved === `file:${LOCAL_ARCHIVE}`) continue;
		return `${quote(path.slice(path.lastIndexOf(MODULES) + MODULES.length))} has no hash to know it by: it comes from no registry, or from one that gives none stronger than SHA-1`;
	}
	return undefined;
}
