/** Whether a chain is whole. A function of the bytes of its files. */
import { type ChainedRecord, type ChainName, genesis, type Head, parseRecord, sha256 } from './chain.ts';
import type { Torn } from './record.ts';

export interface ChainFile {
	readonly name: string;
	readonly bytes: Uint8Array;
}

/** `changed`: not what the next record was chained to. `missing`: records were taken out. `reordered`: moved, or put in. */
export type BreakKind = 'changed' | 'missing' | 'reordered';

/** The first place where a chain is not whole. */
export interface Break {
	readonly kind: BreakKind;
	readonly file: string;
	/** From 1. */
	readonly line: number;
	readonly reason: string;
}

export interface Verdict {
	readonly chain: ChainName;
	readonly ok: boolean;
	readonly files: number;
	readonly records: number;
	/** The number of the first record: more than 1 where older files were retired. */
	readonly first: number;
	readonly last: number;
	/** The hash of the last record. Whoever keeps it elsewhere can tell later that the end was not cut off. */
	readonly head: string;
	readonly broken?: Break;
	/** An unfinished line at the very end: it is being written, or its process was killed and none has started since. */
	readonly torn?: Torn;
	/** Those of the heads asked for that this chain has had. */
	readonly found: readonly string[];
}

/** One line, and the unfinished ends of files between the line before and this one. */
interface Entry {
	readonly file: string;
	readonly line: number;
	readonly hash: string;
	readonly record: ChainedRecord | undefined;
	readonly torn: readonly TornLine[];
}

interface TornLine extends Torn {
	/** From 1. */
	readonly line: number;
}

const NEWLINE = 0x0a;

/**
 * Follows a chain over its files, in their order, to its end or the first break.
 *
 * @param heads hashes that the chain is looked through for
 */
export function verifyChain(chain: ChainName, files: Iterable<ChainFile>, heads: readonly string[] = []): Verdict {
	const start = genesis(chain);
	const found = new Set<string>();
	const retired = new Set<string>();
	const names: string[] = [];
	const lines = linesOf(files, names);
	let head: Head = start;
	let began: Entry | undefined;
	let before: Entry | undefined;
	let broken: Break | undefined;
	let records = 0;
	let item = lines.next();
	while (item.done !== true) {
		const entry = item.value;
		const following = lines.next();
		const { record } = entry;
		// Older files may have been retired: a later record has to say so.
		if (began === undefined && record !== undefined && record.seq > 1 && record.prev !== start.hash)
			head = { seq: record.seq - 1, hash: record.prev };
		began ??= entry;
		broken = breakAt(entry, { head, before, following: following.done === true ? undefined : following.value });
		if (broken !== undefined || record === undefined) break;
		records += 1;
		if (record.event === 'retired' && record.head !== undefined) retired.add(record.head);
		for (const hash of [entry.hash, head.hash]) if (heads.includes(hash)) found.add(hash);
		head = { seq: record.seq, hash: entry.hash };
		before = entry;
		item = following;
	}
	const torn = item.done === true ? item.value : [];
	if (broken === undefined && began?.record !== undefined && began.record.seq > 1 && !retired.has(began.record.prev))
		broken = {
			kind: 'missing',
			file: began.file,
			line: 1,
			reason: `What was before record ${began.record.seq} is gone, and no record says that it was retired.`,
		};
	return {
		chain,
		ok: broken === undefined,
		files: names.length,
		records,
		first: began?.record?.seq ?? 0,
		last: head.seq,
		head: head.hash,
		...(broken === undefined ? {} : { broken }),
		...(torn[0] === undefined ? {} : { torn: torn[0] }),
		found: [...found],
	};
}

interface Around {
	/** Where the chain ended before the line. */
	readonly head: Head;
	readonly before: Entry | undefined;
	readonly following: Entry | undefined;
}

function breakAt({ file, line, hash, record, torn }: Entry, { head, before, following }: Around): Break | undefined {
	if (record === undefined) return { kind: 'changed', file, line, reason: 'This line is no record.' };
	// What was left unfinished before a record, the record has to say; and nothing else.
	const told = record.event === 'recovered' ? (record.torn ?? []) : [];
	const [end] = torn;
	if (end !== undefined && JSON.stringify(told) !== JSON.stringify(torn.map(({ line: _, ...said }) => said)))
		return {
			kind: 'changed',
			file: end.file,
			line: end.line,
			reason: 'This line is not whole, and no record says so.',
		};
	const isNext = record.seq === head.seq + 1;
	if (record.prev === head.hash) {
		if (!isNext) return { kind: 'changed', file, line, reason: `Record ${head.seq + 1} has another number.` };
		// What was unfinished in a file that is retired is gone with it.
		const isFirst = before === undefined && record.seq > 1;
		if (end !== undefined || told.length === 0 || isFirst) return undefined;
		return { kind: 'missing', file, line, reason: 'It tells of an unfinished line that is not there.' };
	}
	if (isNext) {
		// One of the two was changed. The record after them was chained to what this one was.
		const isThis = before === undefined || (following?.record !== undefined && following.record.prev !== hash);
		const at = isThis ? { file, line } : before;
		return {
			kind: 'changed',
			file: at.file,
			line: at.line,
			reason: isThis
				? `Record ${record.seq} is not what was written.`
				: `Record ${head.seq} is not what record ${record.seq} was chained to.`,
		};
	}
	if (record.seq > head.seq + 1 && following?.record?.seq !== head.seq + 1)
		return {
			kind: 'missing',
			file,
			line,
			reason: `Before record ${record.seq} there should be record ${head.seq + 1}.`,
		};
	return { kind: 'reordered', file, line, reason: `Record ${record.seq} stands where record ${head.seq + 1} should.` };
}

/** The lines of all files; at the end, what is unfinished after the last. Notes the names of the files. */
function* linesOf(files: Iterable<ChainFile>, names: string[]): Generator<Entry, readonly TornLine[], undefined> {
	let torn: TornLine[] = [];
	for (const { name, bytes } of files) {
		names.push(name);
		let from = 0;
		let line = 1;
		for (; ; line++) {
			const to = bytes.indexOf(NEWLINE, from);
			if (to < 0) break;
			const own = bytes.subarray(from, to);
			yield { file: name, line, hash: sha256(own), record: parseRecord(Buffer.from(own).toString('latin1')), torn };
			torn = [];
			from = to + 1;
		}
		if (from < bytes.length) torn.push({ ...tornEnd(name, bytes.subarray(from)), line });
	}
	return torn;
}

/** What is there of a line whose end is not. */
export function tornEnd(file: string, bytes: Uint8Array): Torn {
	return { file, bytes: bytes.length, hash: sha256(bytes) };
}
