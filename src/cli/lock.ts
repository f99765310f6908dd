/** `slipway lock`: what packages of the catalog are resolved to, kept in catalog.lock.json. */
import { dirname } from 'node:path';
import type { Catalog } from '../catalog/catalog.ts';
import { type CatalogTexts, parseTexts, readCatalogText } from '../catalog/load.ts';
import { EMPTY_LOCK, formatLock, isSameEntry, lockFileOf, lockKey } from '../catalog/lock.ts';
import { lockBeside, replaceFile } from '../catalog/replace-file.ts';
import { readConfig } from '../config.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { openResolver, type PackageSource } from '../launcher/resolver.ts';
import { withoutControls } from './failure.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway lock [server…] [--update] [--json]

Resolves the packages of the catalog that are not in its lock, and writes catalog.lock.json beside it: the exact version and
the integrity of each package and of everything below it. What is in the lock is built from that alone.

  server…     these and no others; without any, all of them
  --update    those that are in the lock are resolved anew, and so is what they are put on
  --json      for programs

Entries of packages that the catalog no longer has are removed. A launcher that runs sees it within a moment.`;

interface Wanted {
	/** What the lock calls it. */
	readonly key: string;
	readonly source: PackageSource;
	readonly servers: readonly ServerName[];
}

interface Outcome {
	readonly source: string;
	readonly servers: readonly string[];
	readonly outcome: 'locked' | 'updated' | 'unchanged' | 'removed' | 'failed';
	readonly version?: string;
	readonly problem?: string;
}

export const lock = defineVerb({
	help: HELP,
	options: { update: { type: 'boolean', default: false } },
	run: async ({ values, positionals }, { environment, print, stopping }) => {
		const config = readConfig(environment);
		const texts = await readCatalogText(config.catalogPath);
		const catalog = parseTexts(texts, environment);
		const all = packagesOf(catalog);
		const chosen = choose(all, positionals, catalog);
		const sources = new Map([...catalog.lock.sources].filter(([key]) => all.some((one) => one.key === key)));
		const bases = new Map(catalog.lock.bases);
		const outcomes: Outcome[] = [...catalog.lock.sources.keys()]
			.filter((key) => !sources.has(key))
			.map((source) => ({ source, servers: [], outcome: 'removed' }));
		const stale = chosen.filter(({ key }) => values.update || !sources.has(key));
		for (const { key, servers } of chosen)
			if (!stale.some((one) => one.key === key)) outcomes.push({ source: key, servers, outcome: 'unchanged' });

		if (stale.length > 0) {
			const onStep = (step: string): void => (values.json ? undefined : print(step));
			await using resolver = await openResolver(config, {
				catalogFolder: dirname(texts.file),
				onStep,
				signal: stopping,
			});
			for (const { key, servers, source } of stale) {
				const before = sources.get(key);
				try {
					const { version, ...entry } = await resolver.resolve(source);
					sources.set(key, entry);
					const { name, digest } = await resolver.base(source);
					if (digest !== undefined && (values.update || !bases.has(name))) bases.set(name, digest);
					const outcome = before === undefined ? 'locked' : isSameEntry(before, entry) ? 'unchanged' : 'updated';
					outcomes.push({ source: key, servers, outcome, version });
				} catch (cause) {
					stopping.throwIfAborted();
					const { message, row } = toSlipwayError(cause);
					outcomes.push({ source: key, servers, outcome: 'failed', problem: `${message} ${row.nextStep}` });
				}
			}
		}

		// What failed is not lost to what did not: the rest is kept.
		const text = formatLock({ bases, sources });
		const file = lockFileOf(texts.file);
		if (text !== (texts.lockText ?? formatLock(EMPTY_LOCK))) await write(texts, file, text);
		const ok = outcomes.every(({ outcome }) => outcome !== 'failed');
		if (values.json) print(JSON.stringify({ ok, file, packages: outcomes }));
		else for (const outcome of outcomes) print(describe(outcome));
		return ok ? 0 : 1;
	},
});

/** One program at a time, and not over what another has written since it was read. */
async function write({ file: catalogFile, lockText }: CatalogTexts, file: string, text: string): Promise<void> {
	const unlock = await lockBeside(catalogFile);
	try {
		if (replaceFile(file, { before: lockText, after: text })) return;
	} finally {
		unlock();
	}
	const reason = `${file}: somebody else has written it meanwhile. Run this again.`;
	throw new SlipwayError('SLIPWAY_CATALOG_UNWRITABLE', { reason });
}

/** The packages of a catalog, each once, with the servers that have it. */
function packagesOf({ servers }: Catalog): Wanted[] {
	const found = new Map<string, Wanted>();
	for (const { name, source } of servers.values()) {
		const key = lockKey(source);
		if (key === undefined || source.kind === 'image') continue;
		found.set(key, { key, source, servers: [...(found.get(key)?.servers ?? []), name] });
	}
	return [...found.values()];
}

function choose(all: readonly Wanted[], names: readonly string[], { servers }: Catalog): readonly Wanted[] {
	const unknown = names.find((name) => !servers.has(name as ServerName));
	if (unknown !== undefined)
		throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN', { reason: `There is no "${unknown}" in it.` });
	return names.length === 0 ? all : all.filter((one) => one.servers.some((name) => names.includes(name)));
}

function describe({ source, servers, outcome, version, problem }: Outcome): string {
	const whose = servers.length === 0 ? '' : ` (${servers.join(', ')})`;
	const what = version === undefined || source.endsWith(`@${version}`) ? source : `${source} at ${version}`;
	return `${outcome.padEnd(9)} ${what}${whose}${problem === undefined ? '' : `: ${withoutControls(problem)}`}`;
}
