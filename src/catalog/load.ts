import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Node } from 'jsonc-parser';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { CATALOG_LIMITS } from '../limits.ts';
import { bytesOf } from '../sizes.ts';
import {
	type Catalog,
	createCatalog,
	type PackageOptions,
	type PypiLocalSource,
	type PypiSource,
	type Resources,
	type Server,
	type Source,
	type ToolRules,
} from './catalog.ts';
import { explainIssues, formatPath, keyOffset } from './explain.ts';
import type { Environment } from './import/references.ts';
import { type Flaw, positionOf, readJson } from './json.ts';
import { EMPTY_LOCK, type Lock, lockFileOf, parseLock } from './lock.ts';
import { isPypiLocal, type PypiPackage, parsePypi } from './pypi.ts';
import { catalogFileSchema, REPLICAS, type ServerFile, serverSchema } from './schema.ts';
import { readServed, type Served } from './served.ts';
import { isLocal, parseNpm } from './sources.ts';

const NANOS_PER_CPU = 1_000_000_000;
const MS_PER_SECOND = 1000;

/** The file that a folder is looked into for. */
export const FILE_NAME = 'catalog.json';

/** What a catalog's text is read with. */
export interface CatalogSurroundings {
	/** The lock beside it. */
	readonly lock?: Lock;
	/** What `${VAR}` is read from in a file that other programs wrote. */
	readonly environment?: Environment;
}

/**
 * The Catalog that a text says: one of Slipway's, or a file of the form `mcpServers` that clients keep. `file` is what
 * messages call it, and `environment` what such a file's `${VAR}` is read from.
 *
 * Throws SLIPWAY_CATALOG_INVALID, whose reason lists what is wrong, each with file, line, column, place and fix.
 */
export function parseCatalog(
	text: string,
	file: string,
	{ lock = EMPTY_LOCK, environment = {} }: CatalogSurroundings = {},
): Catalog {
	const reading = readJson(text);
	if (reading.kind === 'flawed') return refuse(text, file, { flaws: reading.flaws, count: reading.flaws.length });
	const served = readServed(reading.value, environment);
	if (served !== undefined) return toCatalog(served, { text, file, root: reading.root });
	const result = catalogFileSchema.safeParse(reading.value);
	if (!result.success) return refuse(text, file, explainIssues(reading.root, result.error.issues));
	const { servers, groups } = result.data;
	return createCatalog(
		Object.entries(servers).map(([name, entry]) => toServer(name, entry)),
		// The schema has found every member among the servers.
		Object.entries(groups).map(([name, members]) => [name, members as ServerName[]]),
		{ lock },
	);
}

/**
 * The Catalog in a file, or in the `catalog.json` of a folder, with the lock beside it.
 *
 * Rejects with SLIPWAY_CATALOG_INVALID or SLIPWAY_LOCK_INVALID.
 */
export async function loadCatalog(path: string, environment: Environment = {}): Promise<Catalog> {
	return parseTexts(await readCatalogText(path), environment);
}

/** What a catalog is read from. */
export interface CatalogTexts {
	readonly file: string;
	readonly text: string;
	/** Of the lock; undefined where there is none. */
	readonly lockText: string | undefined;
}

/** Throws SLIPWAY_CATALOG_INVALID or SLIPWAY_LOCK_INVALID. */
export function parseTexts({ file, text, lockText }: CatalogTexts, environment: Environment = {}): Catalog {
	const lock = lockText === undefined ? EMPTY_LOCK : parseLock(lockText, lockFileOf(file));
	return parseCatalog(text, file, { lock, environment });
}

/** The texts that loadCatalog parses. Rejects with SLIPWAY_CATALOG_INVALID or SLIPWAY_LOCK_INVALID. */
export async function readCatalogText(path: string): Promise<CatalogTexts> {
	let file = path;
	try {
		file = await resolveCatalogFile(path);
		const text = decode(await readBounded(file, CATALOG_LIMITS.fileBytesMax));
		return { file, text, lockText: await readLockText(lockFileOf(file)) };
	} catch (error) {
		if (error instanceof SlipwayError) throw error;
		if (error instanceof Unreadable) return refuseFile(file, error.message);
		return refuseFile(file, explainSystemError(error), error);
	}
}

/** The text of a lock; undefined where there is no such file. Rejects with SLIPWAY_LOCK_INVALID. */
async function readLockText(file: string): Promise<string | undefined> {
	try {
		return decode(await readBounded(file, CATALOG_LIMITS.lockFileBytesMax));
	} catch (error) {
		const code = error instanceof Error && 'code' in error ? error.code : undefined;
		if (code === 'ENOENT') return undefined;
		const why = error instanceof Unreadable ? error.message : `not readable (${String(code)})`;
		throw new SlipwayError('SLIPWAY_LOCK_INVALID', { reason: `${file}: ${why}.` }, { cause: error });
	}
}

/** The file that a path means: itself, or the `catalog.json` in it when it is a folder. Rejects as `stat` does. */
export async function resolveCatalogFile(path: string): Promise<string> {
	return (await stat(path)).isDirectory() ? join(path, FILE_NAME) : path;
}

/** Something about the file that no system call says. */
class Unreadable extends Error {}

async function readBounded(file: string, bytesMax: number): Promise<Buffer> {
	// Opening a pipe would wait for a writer.
	if (!(await stat(file)).isFile())
		throw new Unreadable('not a file. Name a JSON file or a folder that holds catalog.json');
	const chunks: Buffer[] = [];
	// `end` is inclusive: one byte more than may be is read, and tells that there is more.
	for await (const chunk of createReadStream(file, { end: bytesMax })) chunks.push(chunk);
	const bytes = Buffer.concat(chunks);
	if (bytes.length > bytesMax)
		throw new Unreadable(`larger than ${bytesMax} bytes, the most that it may have. Shorten it`);
	return bytes;
}

function decode(bytes: Buffer): string {
	try {
		return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
	} catch {
		throw new Unreadable('not UTF-8. Save it as UTF-8');
	}
}

function explainSystemError(error: unknown): string {
	const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error';
	if (code === 'ENOENT' || code === 'ENOTDIR') {
		return 'no such file. Copy catalog/catalog.json of Slipway to there, or set SLIPWAY_CATALOG to where it is';
	}
	if (code === 'EACCES' || code === 'EPERM') return `not readable (${code}). Let the user that Slipway runs as read it`;
	return `not readable (${code}). Check the disk and the path in SLIPWAY_CATALOG`;
}

function refuseFile(file: string, message: string, cause?: unknown): never {
	throw new SlipwayError('SLIPWAY_CATALOG_INVALID', { reason: `${file}: ${message}.` }, { cause });
}

function refuse(text: string, file: string, found: { readonly flaws: readonly Flaw[]; readonly count: number }): never {
	const lines = found.flaws
		.slice(0, CATALOG_LIMITS.problemsMax)
		.toSorted((a, b) => a.offset - b.offset)
		.map((flaw) => formatFlaw(text, file, flaw));
	const rest = found.count - lines.length;
	if (rest > 0) lines.push(`… and ${rest} more.`);
	const reason = lines.length === 1 ? lines.join() : `${found.count} problems:\n${lines.join('\n')}`;
	throw new SlipwayError('SLIPWAY_CATALOG_INVALID', { reason });
}

function formatFlaw(text: string, file: string, { offset, path, message }: Flaw): string {
	const { line, column } = positionOf(text, offset);
	const place = path.length === 0 ? '' : ` ${formatPath(path)}`;
	return `${file}:${line}:${column}${place}: ${message}${message.endsWith('?') ? '' : '.'}`;
}

/** The Catalog of a served file, or the list of what keeps it from being one. */
function toCatalog(
	{ servers, problems, secretValues }: Served,
	{ text, file, root }: { readonly text: string; readonly file: string; readonly root: Node },
): Catalog {
	const flaws = problems.map(({ path, message }) => ({ offset: keyOffset(root, path), path, message }));
	const made: Server[] = [];
	for (const { name, path, entry, loosen } of servers) {
		const result = serverSchema.safeParse(entry);
		if (result.success) {
			const server = toServer(name, result.data);
			made.push({ ...server, source: loosen(server.source) });
		} else {
			const issue = result.error.issues[0];
			const message = `its ${formatPath(issue?.path ?? [])} cannot be carried over: ${issue?.message ?? ''}`;
			flaws.push({ offset: keyOffset(root, path), path, message });
		}
	}
	if (flaws.length > 0) return refuse(text, file, { flaws, count: flaws.length });
	return createCatalog(made, [], { secretValues });
}

function toServer(name: string, entry: ServerFile): Server {
	const [uid = 0, gid = uid] = entry.user.split(':').map(Number);
	return {
		// The schema has held the name against SERVER_NAME_PATTERN.
		name: name as ServerName,
		...(entry.title === undefined ? {} : { title: entry.title }),
		...(entry.description === undefined ? {} : { description: entry.description }),
		enabled: entry.enabled,
		source: toSource(entry),
		command: entry.command ?? [],
		args: entry.args,
		env: entry.env,
		secrets: Object.entries(entry.secrets).map(([variable, secret]) =>
			typeof secret === 'string' ? { variable, name: secret } : { variable, name: secret.secret, file: secret.file },
		),
		volumes: entry.volumes,
		mounts: entry.mounts,
		egress: entry.egress,
		resources: toResources(entry.resources),
		user: { uid, gid },
		callTimeoutMs: Math.round(entry.callTimeout * MS_PER_SECOND),
		idleStopMs: Math.round(entry.idleStop * MS_PER_SECOND),
		snapshot: entry.snapshot,
		...(entry.callsPerMinute === undefined ? {} : { callsPerMinute: entry.callsPerMinute }),
		...(entry.callsInFlight === undefined ? {} : { callsInFlight: entry.callsInFlight }),
		...(entry.containers === undefined ? {} : { containers: entry.containers }),
		...(entry.tools === undefined ? {} : { tools: toTools(entry.tools) }),
		...(entry.audit === undefined ? {} : { audit: entry.audit }),
		pin: entry.pin,
		...(entry.warm === undefined ? {} : { warm: entry.warm }),
		isolation: entry.isolation,
		...(entry.isolation === 'shared' ? { replicas: entry.replicas ?? REPLICAS } : {}),
	};
}

function toTools(file: NonNullable<ServerFile['tools']>): ToolRules {
	const { allow, deny, callsPerMinute, validate } = file;
	const schemas = Object.entries(file.arguments ?? {}).map(([name, schema]) => [name, JSON.stringify(schema)]);
	return {
		...(allow === undefined ? {} : { allow }),
		...(deny === undefined ? {} : { deny }),
		...(callsPerMinute === undefined ? {} : { callsPerMinute }),
		...(schemas.length === 0 ? {} : { arguments: Object.fromEntries(schemas) }),
		...(validate === undefined ? {} : { validate }),
	};
}

function toSource(entry: ServerFile): Source {
	const { npm, pypi, image } = entry;
	if (image !== undefined) return { kind: 'image', reference: image };
	if (pypi !== undefined) return toPypi(pypi, entry);
	if (npm !== undefined && isLocal(npm)) return { kind: 'npm-local', path: npm, ...toOptions(entry) };
	const found = npm === undefined ? undefined : parseNpm(npm);
	if (found === undefined) throw unreachable();
	return { kind: 'npm', ...found, ...toOptions(entry) };
}

/** Sorted, so that the order in the file makes no other image. */
function toOptions({ bin, installScripts, systemPackages = [] }: ServerFile): PackageOptions {
	return {
		...(bin === undefined ? {} : { bin }),
		...(installScripts === undefined ? {} : { installScripts }),
		...(systemPackages.length === 0 ? {} : { systemPackages: systemPackages.toSorted() }),
	};
}

function toPypi(pypi: string, entry: ServerFile): PypiSource | PypiLocalSource {
	const { with: others = [] } = entry;
	return {
		...(isPypiLocal(pypi)
			? { kind: 'pypi-local' as const, path: pypi }
			: { kind: 'pypi' as const, ...pythonPackage(pypi) }),
		...(others.length === 0 ? {} : { with: others.map((other) => pythonPackage(other)) }),
		...toOptions(entry),
	};
}

function pythonPackage(text: string): PypiPackage {
	const found = parsePypi(text);
	if (found === undefined) throw unreachable();
	return found;
}

function unreachable(): Error {
	return new Error('unreachable: the schema lets exactly one valid source pass');
}

function toResources({ memory, cpus, pids, tmp, shm }: ServerFile['resources']): Resources {
	return {
		memoryBytes: bytesOf(memory),
		nanoCpus: cpus * NANOS_PER_CPU,
		pidsMax: pids,
		tmpBytes: bytesOf(tmp),
		shmBytes: shm === 'none' ? 0 : bytesOf(shm),
	};
}
