/** A file of the form that clients keep, `mcpServers`, served as it is: its servers as entries, and the values of its secrets. */
import { CATALOG_LIMITS } from '../limits.ts';
import type { Source } from './catalog.ts';
import type { EntryFile, Imported } from './import/contract.ts';
import { clientServers, importAll } from './import/formats.ts';
import type { Environment } from './import/references.ts';
import { parseImage, parseNpm } from './sources.ts';

export interface Served {
	readonly servers: readonly ServedServer[];
	/** What keeps the file from being served. */
	readonly problems: readonly { readonly path: readonly string[]; readonly message: string }[];
	/** By the names that entries give them. */
	readonly secretValues: ReadonlyMap<string, string>;
}

export interface ServedServer {
	readonly name: string;
	/** Where it stands. */
	readonly path: readonly string[];
	/** As the catalog takes it: where no exact version was said, one stands in its place. */
	readonly entry: EntryFile;
	/** Of the source of that entry, the one that was said. */
	readonly loosen: (source: Source) => Source;
}

/** What stands for a version that nobody has said. It is in no Source that is made. */
const NO_VERSION = '0.0.0';

/**
 * What the value of a file says, if it is of that form: an object `mcpServers`, and no `servers`. All of it is carried over
 * or the file is refused, since nobody reads notes about a file that is served.
 */
export function readServed(value: unknown, environment: Environment): Served | undefined {
	if (typeof value !== 'object' || value === null || !('mcpServers' in value) || 'servers' in value) return undefined;
	const { mcpServers } = value;
	if (typeof mcpServers !== 'object' || mcpServers === null || Array.isArray(mcpServers)) return undefined;
	const listed = clientServers({ ...mcpServers }, true);
	const top = ['mcpServers'];
	if (listed.length > CATALOG_LIMITS.serversMax) {
		const message = `has ${listed.length} entries. Keep at most ${CATALOG_LIMITS.serversMax}`;
		return { servers: [], problems: [{ path: top, message }], secretValues: new Map() };
	}
	const imported = importAll(listed, { taken: new Set(), environment, served: true });
	const placed = imported.map((one, index) => ({ one, path: [...top, listed[index]?.name ?? ''] }));
	return {
		servers: placed.flatMap(({ one, path }) =>
			one.kind === 'server' ? [{ name: one.name, path, ...pin(one.entry) }] : [],
		),
		problems: placed.flatMap(({ one, path }) => (one.kind === 'refused' ? [toProblem(one, path)] : [])),
		secretValues: new Map(
			imported.flatMap((one) =>
				one.kind === 'server' ? one.secrets.map(({ name, value }) => [name, value] as const) : [],
			),
		),
	};
}

function toProblem(
	{ reason, nextStep, field }: Extract<Imported, { kind: 'refused' }>,
	path: readonly string[],
): Served['problems'][number] {
	return {
		path: field === undefined ? path : [...path, field],
		message: `${reason}. ${nextStep.replace(/\.$/, '')}`,
	};
}

function pin(entry: EntryFile): Pick<ServedServer, 'entry' | 'loosen'> {
	const { npm, pypi, image } = entry;
	if (npm !== undefined && !npm.startsWith('./') && parseNpm(npm) === undefined) {
		const at = npm.indexOf('@', 1);
		const version = at === -1 ? 'latest' : npm.slice(at + 1);
		return {
			entry: { ...entry, npm: `${at === -1 ? npm : npm.slice(0, at)}@${NO_VERSION}` },
			loosen: withVersion(version),
		};
	}
	if (pypi !== undefined && !pypi.startsWith('./') && !/^[^=<>!~]+==[^*,]+$/.test(pypi)) {
		const [, name = '', range = ''] = /^([^=<>!~]+)(.*)$/.exec(pypi) ?? [];
		return {
			entry: { ...entry, pypi: `${name}==${NO_VERSION}` },
			loosen: withVersion(range === '' ? 'latest' : range),
		};
	}
	const parsed = image === undefined ? undefined : parseImage(image);
	if (image !== undefined && parsed?.digest === undefined && (parsed?.tag ?? 'latest') === 'latest') {
		const reference = `${parsed?.repository ?? image}:latest`;
		return {
			entry: { ...entry, image: `${parsed?.repository}:${NO_VERSION}` },
			loosen: () => ({ kind: 'image', reference }),
		};
	}
	return { entry, loosen: (source) => source };
}

function withVersion(version: string): (source: Source) => Source {
	return (source) => (source.kind === 'image' ? source : { ...source, version });
}
