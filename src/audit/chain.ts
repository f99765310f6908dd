/**
 * The chain: each record names the SHA-256 of the bytes of the line before it, over all files. Whoever changes a record,
 * takes one out or moves it has to write every later one anew, and ends with another head.
 */
import { hash } from 'node:crypto';
import { EVENTS, type RecordFields } from './record.ts';

/** Who writes: the gateway, and the command line, which is another process. Each has a chain of its own. */
export const CHAINS = ['gateway', 'cli'] as const;
export type ChainName = (typeof CHAINS)[number];

/** Where a chain ends. */
export interface Head {
	/** The number of the last record; 0 before the first. */
	readonly seq: number;
	/** The SHA-256 of its line, without the newline, in hexadecimal. */
	readonly hash: string;
}

/** A record as it is read. */
export interface ChainedRecord extends RecordFields {
	readonly seq: number;
	readonly prev: string;
	readonly time: string;
	readonly event: string;
}

const HASH = /^[0-9a-f]{64}$/;

/** Where a chain begins. Its name is in it: no chain can take the place of another. */
export function genesis(chain: ChainName): Head {
	return { seq: 0, hash: sha256(`slipway audit ${chain}`) };
}

export function sha256(bytes: string | Uint8Array): string {
	return hash('sha256', bytes);
}

/** The next line, without its newline, and where the chain ends with it. */
export function chained({ seq, hash: prev }: Head, text: string): { readonly line: string; readonly head: Head } {
	const line = `{"seq":${seq + 1},"prev":"${prev}",${text.slice(1)}`;
	return { line, head: { seq: seq + 1, hash: sha256(line) } };
}

/** The record of a line; undefined where it is none. */
export function parseRecord(line: string): ChainedRecord | undefined {
	let value: unknown;
	try {
		value = JSON.parse(line);
	} catch {
		return undefined;
	}
	return isRecord(value) ? value : undefined;
}

function isRecord(value: unknown): value is ChainedRecord {
	if (typeof value !== 'object' || value === null) return false;
	const { seq, prev, time, event } = value as Partial<Record<keyof ChainedRecord, unknown>>;
	const isChained = Number.isSafeInteger(seq) && typeof prev === 'string' && HASH.test(prev);
	return isChained && typeof time === 'string' && EVENTS.some((name) => name === event);
}
