/**
 * The throw-away container that Python packages are resolved and fetched in, and what it is told and says.
 *
 * All that it needs comes by its stdin: the request, credentials for an index, wheels where there is no index, and what
 * lies beside the catalog. So nothing of that is in a command line, in its environment, or in an image.
 */
import { createReadStream } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { type Extract, extract, type Pack, pack } from 'tar-stream';
import type { PythonConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { ContainerDependencies } from './container.ts';
import type { LocalPackage } from './local-python.ts';
import type { PackageContext } from './package-image.ts';
import { runReading } from './run-once.ts';
import { workshopSpec } from './workshop.ts';

const WHEEL_PATTERN = /^wheels\/[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl$/;
const FILES_OUT: readonly string[] = ['entry.json', 'requirements.txt'];
/** Files that pip takes from a folder. */
const DISTRIBUTION_PATTERN = /\.(?:whl|tar\.gz|zip)$/;

export interface FetchInput {
	/** As pip reads them. */
	readonly requirements: readonly string[];
	/** Whose program runs; undefined where that is a script's or a wheel's own. */
	readonly package: string | undefined;
	readonly bin: string | undefined;
	readonly local: LocalPackage | undefined;
	/** What was resolved before; nothing else is fetched then. */
	readonly lock: string | undefined;
	/** Whether packages without a wheel are built, which runs their code. */
	readonly sources: boolean;
	/** Without it they are resolved only. */
	readonly fetch: boolean;
	readonly baseId: string;
	/** What runs in it: images/pypi/prepare.py. */
	readonly program: string;
	readonly python: PythonConfig;
	readonly context: PackageContext;
}

/** What was fetched, on its way: each file once, before the next. */
export type Fetched = AsyncIterable<{
	readonly name: string;
	readonly size: number;
	readonly content: AsyncIterable<unknown>;
}>;

/**
 * Resolves, and hands on what is fetched as it comes.
 *
 * @param use what is done with the lock and, where they are fetched, the files that an image is built of; when it is done
 *   with them the rest is not fetched
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PACKAGE_REFUSED, SLIPWAY_PACKAGE_CHANGED,
 *   SLIPWAY_PREPARATION_FAILED
 */
export async function fetchPython<T>(
	dependencies: ContainerDependencies,
	input: FetchInput,
	use: (lock: string, files: Fetched) => Promise<T>,
): Promise<T> {
	const { python, context, baseId, program } = input;
	const netrc = python.netrcFile === undefined ? undefined : await readCredentials(python.netrcFile);
	const wheels = python.wheelsDir === undefined ? [] : await listWheels(python.wheelsDir);
	const signal = AbortSignal.any([context.signal, AbortSignal.timeout(PREPARATION_LIMITS.buildTimeoutMs)]);
	const spec = workshopSpec({
		baseId,
		command: ['python', '-c', program],
		context,
		memoryBytes: PREPARATION_LIMITS.fetchMemoryBytesMax,
		tmpBytes: PREPARATION_LIMITS.fetchedBytesMax,
		...(python.wheelsDir === undefined ? {} : { network: 'none' }),
		...(netrc === undefined ? {} : { hidden: passwordsOf(netrc) }),
	});
	context.books.add(spec.instance);
	try {
		const { value, exitCode, stderr } = await runReading(dependencies, spec, {
			input: tell(input, { netrc, wheels }),
			read: (stdout) => readAnswer(stdout, use),
			signal,
		});
		if (value === undefined) throw explain(exitCode, stderr);
		return value.of;
	} catch (error) {
		context.signal.throwIfAborted();
		if (signal.aborted)
			throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
				reason: 'pip did not fetch the package in time: does the engine reach the index?',
			});
		throw error;
	} finally {
		context.books.delete(spec.instance);
	}
}

async function readCredentials(file: string): Promise<Buffer> {
	const { credentialsBytesMax } = PREPARATION_LIMITS;
	// `end` is inclusive: one byte more than may be is read, and tells that there is more.
	const content = await buffer(createReadStream(file, { end: credentialsBytesMax })).catch((error: unknown) => {
		const reason = 'The file of SLIPWAY_PYPI_NETRC_FILE cannot be read by the launcher.';
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason }, { cause: error });
	});
	if (content.length <= credentialsBytesMax) return content;
	const reason = `The file of SLIPWAY_PYPI_NETRC_FILE has more than ${credentialsBytesMax} bytes.`;
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason });
}

/** What follows the word, in a netrc file. */
function passwordsOf(netrc: Buffer): Buffer[] {
	return [...netrc.toString('latin1').matchAll(/\bpassword\s+(\S+)/g)].map(([, word = '']) =>
		Buffer.from(word, 'latin1'),
	);
}

interface Wheel {
	readonly file: string;
	readonly name: string;
	readonly size: number;
}

/** @throws SlipwayError SLIPWAY_PREPARATION_FAILED when there is no such folder, or there is too much in it */
async function listWheels(folder: string): Promise<readonly Wheel[]> {
	const names = await readdir(folder).catch((error: unknown) => {
		const reason = 'The folder of SLIPWAY_PYPI_WHEELS cannot be read by the launcher.';
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason }, { cause: error });
	});
	const wheels: Wheel[] = [];
	let bytes = 0;
	for (const name of names.filter((one) => DISTRIBUTION_PATTERN.test(one)).sort()) {
		const file = join(folder, name);
		const found = await lstat(file);
		if (!found.isFile()) continue;
		bytes += found.size;
		wheels.push({ file, name, size: found.size });
	}
	const { wheelsBytesMax, wheelsMax } = PREPARATION_LIMITS;
	if (bytes <= wheelsBytesMax && wheels.length <= wheelsMax) return wheels;
	const reason = `The folder of SLIPWAY_PYPI_WHEELS has ${wheels.length} packages of ${bytes} bytes; it may have ${wheelsMax} of ${wheelsBytesMax}.`;
	throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason });
}

/** What it is told, as a tar that is read as it is asked for. */
function tell(
	{ requirements, package: name, bin, local, lock, sources, fetch, python }: FetchInput,
	{ netrc, wheels }: { readonly netrc: Buffer | undefined; readonly wheels: readonly Wheel[] },
): Readable {
	const tar = pack();
	const request = {
		requirements,
		package: name ?? null,
		bin: bin ?? null,
		local: local?.kind ?? null,
		lock: lock ?? null,
		sources,
		fetch,
		index: python.indexUrl ?? null,
		offline: python.wheelsDir !== undefined,
	};
	const write = async (): Promise<void> => {
		addFile(tar, 'request.json', JSON.stringify(request));
		if (netrc !== undefined) addFile(tar, 'netrc', netrc, 0o600);
		for (const [path, content] of local?.files ?? []) addFile(tar, `local/${path}`, content);
		for (const { file, name: wheel, size } of wheels)
			await pipeline(createReadStream(file), tar.entry({ name: `wheels/${wheel}`, size, mode: 0o644 }));
		tar.finalize();
	};
	write().catch((error: Error) => tar.destroy(error));
	return Readable.from(tar);
}

/** A file whose time says nothing, so that the same files are the same tar. */
export function addFile(tar: Pack, name: string, content: string | Buffer, mode = 0o644): void {
	tar.entry({ name, mode, mtime: new Date(0) }, content);
}

/** What it says: the lock first, and then files, whose names are looked at, since code of others may have run in there. */
async function readAnswer<T>(
	stdout: Readable,
	use: (lock: string, files: Fetched) => Promise<T>,
): Promise<{ readonly of: T } | undefined> {
	const tar = stdout.pipe(extract());
	const entries = tar[Symbol.asyncIterator]();
	const first = await entries.next();
	if (first.done === true) return undefined;
	const { name, size } = first.value.header;
	if (name !== 'lock.txt' || size > PREPARATION_LIMITS.lockBytesMax) throw garbled();
	const lock = (await buffer(first.value)).toString('utf8');
	return { of: await use(lock, files(entries)) };
}

type Entries = ReturnType<Extract[typeof Symbol.asyncIterator]>;

async function* files(entries: Entries): Fetched {
	for (let next = await entries.next(); next.done !== true; next = await entries.next()) {
		const { name, size, type } = next.value.header;
		if (type !== 'file' || !(FILES_OUT.includes(name) || WHEEL_PATTERN.test(name))) throw garbled();
		yield { name, size, content: next.value };
	}
}

function garbled(): SlipwayError {
	return new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
		reason: 'What was fetched is not what a package is made of.',
	});
}

const CODES = Object.freeze({
	missing: 'SLIPWAY_PACKAGE_MISSING',
	refused: 'SLIPWAY_PACKAGE_REFUSED',
	changed: 'SLIPWAY_PACKAGE_CHANGED',
	denied: 'SLIPWAY_PREPARATION_FAILED',
});

/** What it says of its failure, in one line where it knows what it is. */
function explain(exitCode: number | undefined, stderr: string): SlipwayError {
	const [, kind, reason = ''] = /^slipway-(missing|refused|changed|denied): (.+)$/m.exec(stderr) ?? [];
	switch (kind) {
		case 'missing':
		case 'refused':
		case 'changed':
			return new SlipwayError(CODES[kind], { reason });
		case 'denied':
			return new SlipwayError(CODES[kind], { reason: `${reason}: SLIPWAY_PYPI_NETRC_FILE names a file with them.` });
		default:
			return new SlipwayError('SLIPWAY_PREPARATION_FAILED', {
				reason:
					exitCode === 137
						? `pip was ended for want of memory; it may have ${PREPARATION_LIMITS.fetchMemoryBytesMax} bytes.`
						: 'pip could not resolve or fetch the package.',
				log: stderr,
			});
	}
}
