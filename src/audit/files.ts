/** The files of a chain: `gateway-00000012.jsonl`. A file is made once, under a name that no other has, and grows at its end alone. */
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type ChainName, genesis, type Head, parseRecord, sha256 } from './chain.ts';
import type { Torn } from './record.ts';
import { type ChainFile, tornEnd } from './verify.ts';

const NEWLINE = 0x0a;

export interface FileName {
	readonly name: string;
	readonly index: number;
}

/** The files of a chain, the oldest first; none where the folder is not there. */
export function listFiles(folder: string, chain: ChainName): FileName[] {
	const pattern = new RegExp(`^${chain}-(\\d{8,15})\\.jsonl$`);
	return (ifThere(() => readdirSync(folder)) ?? [])
		.flatMap((name) => {
			const [, digits] = pattern.exec(name) ?? [];
			return digits === undefined ? [] : [{ name, index: Number(digits) }];
		})
		.sort((one, other) => one.index - other.index);
}

/** What a look at a file or folder gives; undefined where there is none. */
function ifThere<Result>(look: () => Result): Result | undefined {
	try {
		return look();
	} catch (error) {
		if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
		throw error;
	}
}

export function nameOf(chain: ChainName, index: number): string {
	return `${chain}-${String(index).padStart(8, '0')}.jsonl`;
}

export function makeFolder(folder: string): void {
	mkdirSync(folder, { recursive: true, mode: 0o770 });
}

/** The files with what is in them, each read when it is asked for. One that was retired meanwhile is not among them. */
export function* readFiles(folder: string, chain: ChainName): Generator<ChainFile & { readonly bytes: Buffer }> {
	for (const { name } of listFiles(folder, chain)) {
		const bytes = ifThere(() => readFileSync(join(folder, name)));
		if (bytes !== undefined) yield { name, bytes };
	}
}

/** Where a chain ends, for whoever goes on with it. */
export interface ChainEnd {
	readonly head: Head;
	/** The number of the last file; 0 where there is none. */
	readonly lastIndex: number;
	/** The event of the last record. */
	readonly lastEvent: string | undefined;
	/** What was being written when the last writer was killed. */
	readonly torn: readonly Torn[];
}

export function findEnd(folder: string, chain: ChainName): ChainEnd {
	const files = listFiles(folder, chain);
	const lastIndex = files.at(-1)?.index ?? 0;
	const torn: Torn[] = [];
	for (const { name } of files.toReversed()) {
		const bytes = ifThere(() => readFileSync(join(folder, name)));
		if (bytes === undefined) continue;
		const end = bytes.lastIndexOf(NEWLINE) + 1;
		if (end < bytes.length) torn.unshift(tornEnd(name, bytes.subarray(end)));
		if (end === 0) continue;
		const start = end < 2 ? 0 : bytes.lastIndexOf(NEWLINE, end - 2) + 1;
		const line = bytes.subarray(start, end - 1);
		const record = parseRecord(line.toString('latin1'));
		// What somebody damaged is for `verify` to tell; the chain goes on from what is there.
		return { head: { seq: record?.seq ?? 0, hash: sha256(line) }, lastIndex, lastEvent: record?.event, torn };
	}
	return { head: genesis(chain), lastIndex, lastEvent: undefined, torn };
}

export interface Retention {
	/** Of all files of a chain. */
	readonly bytesMax: number;
	/** Since a file was last written. */
	readonly ageMsMax: number;
}

/** The files that go, the oldest first, and the hash of the last record in them: the first that stays was chained to it. */
export interface Retirement {
	readonly names: readonly string[];
	readonly head: string;
}

/** What is beyond the bounds. The last file stays. */
export function findRetired(
	folder: string,
	chain: ChainName,
	{ bytesMax, ageMsMax }: Retention,
): Retirement | undefined {
	const files = listFiles(folder, chain).flatMap(({ name }) => {
		const stat = ifThere(() => statSync(join(folder, name)));
		return stat === undefined ? [] : [{ name, size: stat.size, mtimeMs: stat.mtimeMs }];
	});
	let bytes = files.reduce((sum, { size }) => sum + size, 0);
	const names: string[] = [];
	for (const { name, size, mtimeMs } of files.slice(0, -1)) {
		if (bytes <= bytesMax && Date.now() - mtimeMs <= ageMsMax) break;
		bytes -= size;
		names.push(name);
	}
	// A file without a whole line is not where a chain can begin: it goes with those before it.
	for (const { name } of files.slice(names.length)) {
		const head = names.length === 0 ? undefined : prevOfFirst(join(folder, name));
		if (head !== undefined) return { names, head };
		if (names.length > 0) names.push(name);
	}
	return undefined;
}

function prevOfFirst(path: string): string | undefined {
	const bytes = ifThere(() => readFileSync(path));
	const end = bytes?.indexOf(NEWLINE) ?? -1;
	return bytes === undefined || end < 0 ? undefined : parseRecord(bytes.subarray(0, end).toString('latin1'))?.prev;
}
