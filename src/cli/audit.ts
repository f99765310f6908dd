/** `slipway audit`: whether what was recorded is whole, and what it says. */
import { CHAINS, type ChainedRecord, type ChainName, parseRecord } from '../audit/chain.ts';
import { listFiles, readFiles } from '../audit/files.ts';
import { type Verdict, verifyChain } from '../audit/verify.ts';
import { readConfig } from '../config.ts';
import type { Invocation } from './invocation.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway audit <verify | show | tail> [options]

  verify            follows the chains of all records, and says where the first one is changed, missing or not in its place
    --head <hash>     and that this one, told earlier, is still in it: the end was not cut off. May be said more than once
  show              the records, the oldest first
  tail              the last of them
    --principal p     of one caller
    --server s        of one server
    --event e         of one kind: call, refused, session, server, key, approval, secret, catalog, start, stop
    --since 2h        from then on: days (d), hours (h), minutes (m), or a time like 2027-01-31T00:00:00Z
    --lines 20        so many at most, the last ones

  --json            for programs; of records, the lines as they are

Exit code 1: not whole. SLIPWAY_AUDIT_DIR says where the audit is, and SLIPWAY_DATA where that does not.`;

const TAIL_LINES = '20';
const MS_OF_UNIT: Readonly<Record<string, number>> = Object.freeze({ m: 60_000, h: 3_600_000, d: 86_400_000 });

const OPTIONS = {
	head: { type: 'string', multiple: true },
	principal: { type: 'string' },
	server: { type: 'string' },
	event: { type: 'string' },
	since: { type: 'string' },
	lines: { type: 'string' },
} as const;

export const audit = defineVerb({ help: HELP, options: OPTIONS, run });

async function run(
	{ values, positionals }: Asked<typeof OPTIONS>,
	{ environment, print }: Invocation,
): Promise<0 | 1 | 'misused'> {
	const [action, ...rest] = positionals;
	const sinceMs = timeOf(values.since);
	const lines = Number(values.lines ?? (action === 'tail' ? TAIL_LINES : Number.POSITIVE_INFINITY));
	const isKnown = action === 'verify' || action === 'show' || action === 'tail';
	if (!isKnown || rest.length > 0 || Number.isNaN(sinceMs) || !(lines > 0)) return 'misused';
	const { folder } = readConfig(environment).audit;
	if (action === 'verify') return verify(folder, values, print);
	const wanted = { ...values, sinceMs };
	for (const { line, record } of lastOf(recordsOf(folder, wanted), lines)) print(values.json ? line : describe(record));
	return 0;
}

function verify(
	folder: string,
	{ head: heads = [], json = false }: { readonly head?: readonly string[]; readonly json?: boolean },
	print: Invocation['print'],
): 0 | 1 {
	const verdicts = CHAINS.filter((chain) => listFiles(folder, chain).length > 0).map((chain) =>
		verifyNow(folder, chain, heads),
	);
	const missing = heads.filter((head) => !verdicts.some(({ found }) => found.includes(head)));
	const ok = verdicts.every((verdict) => verdict.ok) && missing.length === 0;
	if (json) print(JSON.stringify({ ok, chains: verdicts, missingHeads: missing }));
	else {
		if (verdicts.length === 0) print(`There are no records in ${folder}.`);
		for (const verdict of verdicts) print(tell(verdict));
		for (const head of missing)
			print(
				`No record has the hash ${head}: the end was cut off or changed, or the record is older than all that is kept.`,
			);
	}
	return ok ? 0 : 1;
}

/** Files may be retired while they are read: what is found of the beginning then is looked at again. */
function verifyNow(folder: string, chain: ChainName, heads: readonly string[]): Verdict {
	for (;;) {
		const [first] = listFiles(folder, chain);
		const verdict = verifyChain(chain, readFiles(folder, chain), heads);
		if (verdict.ok || listFiles(folder, chain)[0]?.name === first?.name) return verdict;
	}
}

function tell({ chain, broken, torn, files, records, first, last, head }: Verdict): string {
	if (broken !== undefined)
		return `${chain}: NOT whole. ${broken.file}, line ${broken.line} (${broken.kind}): ${broken.reason}`;
	const kept = first > 1 ? ` (${first} to ${last}; what was before is retired)` : '';
	return [
		`${chain}: whole. ${records} records${kept} in ${files} files.`,
		`  head ${head}`,
		...(torn === undefined
			? []
			: [`  ${torn.file} ends with an unfinished line: it is being written, or its process was killed.`]),
	].join('\n');
}

interface Wanted {
	readonly principal?: string | undefined;
	readonly server?: string | undefined;
	readonly event?: string | undefined;
	readonly sinceMs: number;
}

interface Line {
	readonly line: string;
	readonly record: ChainedRecord;
}

/** The records of all chains that are wanted, by their time. */
function* recordsOf(folder: string, wanted: Wanted): Generator<Line> {
	const chains = CHAINS.map((chain) => {
		const lines = linesOf(folder, chain, wanted);
		return { lines, next: lines.next() };
	});
	for (;;) {
		const [first] = chains
			.filter(({ next }) => next.done !== true)
			.sort((one, other) => timeIn(one.next.value) - timeIn(other.next.value));
		if (first === undefined || first.next.done === true) return;
		yield first.next.value;
		first.next = first.lines.next();
	}
}

function* linesOf(folder: string, chain: ChainName, wanted: Wanted): Generator<Line, undefined> {
	for (const { bytes } of readFiles(folder, chain))
		for (const line of bytes.toString('latin1').split('\n')) {
			const record = parseRecord(line);
			if (record !== undefined && isWanted(record, wanted)) yield { line, record };
		}
}

function timeIn(line: Line | undefined): number {
	return line === undefined ? Number.NaN : Date.parse(line.record.time);
}

function* lastOf<Item>(items: Iterable<Item>, count: number): Generator<Item> {
	if (count === Number.POSITIVE_INFINITY) return yield* items;
	const last: Item[] = [];
	for (const item of items) {
		last.push(item);
		if (last.length > count) last.shift();
	}
	yield* last;
}

function isWanted(record: ChainedRecord, { principal, server, event, sinceMs }: Wanted): boolean {
	return (
		(principal === undefined || record.principal === principal) &&
		(server === undefined || record.server === server) &&
		(event === undefined || record.event === event) &&
		Date.parse(record.time) >= sinceMs
	);
}

/** One line for people: when, what, who, and the rest by its names. */
function describe({ seq: _, prev: __, time, event, principal = '-', ...rest }: ChainedRecord): string {
	const told = Object.entries(rest).map(
		([name, value]) => `${name}=${typeof value === 'string' ? plain(value) : JSON.stringify(value)}`,
	);
	return [time, event.padEnd(9), plain(principal), ...told].join(' ');
}

/** A text that steers no terminal. */
function plain(text: string): string {
	return /^[\x21-\x7e]+$/.test(text) ? text : JSON.stringify(text).replace(/[^\x20-\x7e]/g, '?');
}

/** A time that is said as a time or as an age; NaN for anything else. */
function timeOf(text: string | undefined): number {
	if (text === undefined) return Number.NEGATIVE_INFINITY;
	const [, count, unit = ''] = /^([1-9][0-9]{0,4})([mhd])$/.exec(text) ?? [];
	return count === undefined ? Date.parse(text) : Date.now() - Number(count) * (MS_OF_UNIT[unit] ?? Number.NaN);
}
