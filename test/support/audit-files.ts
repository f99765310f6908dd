/** Chains of the audit for tests: made in memory, and read from a folder. */
import assert from 'node:assert/strict';
import { type ChainedRecord, type ChainName, chained, genesis, parseRecord } from '../../src/audit/chain.ts';
import { readFiles } from '../../src/audit/files.ts';
import { recordText } from '../../src/audit/record.ts';
import { type ChainFile, type Verdict, verifyChain } from '../../src/audit/verify.ts';

/** A whole chain of so many records in each file. */
export function makeChain(counts: readonly number[]): { files: ChainFile[]; head: string } {
	let head = genesis('gateway');
	const files = counts.map((count, index) => {
		let text = '';
		for (let nth = 0; nth < count; nth++) {
			const next = chained(head, recordText('call', { server: 'alpha', tool: `t${head.seq}`, outcome: 'ok' }, 1e12));
			head = next.head;
			text += `${next.line}\n`;
		}
		return { name: `gateway-${index + 1}`, bytes: Buffer.from(text) };
	});
	return { files, head: head.hash };
}

/** All records of a folder's chain, in order. Each line must be one. */
export function recordsIn(folder: string, chain: ChainName = 'gateway'): ChainedRecord[] {
	return [...readFiles(folder, chain)].flatMap(({ bytes }) =>
		Buffer.from(bytes)
			.toString()
			.split('\n')
			.slice(0, -1)
			.map((line) => parseRecord(line) ?? assert.fail(line)),
	);
}

export function verify(folder: string, chain: ChainName = 'gateway', heads: readonly string[] = []): Verdict {
	return verifyChain(chain, readFiles(folder, chain), heads);
}

/** Fails where a folder's chain is not whole. */
export function assertWhole(folder: string, chain: ChainName = 'gateway'): Verdict {
	const verdict = verify(folder, chain);
	assert.equal(verdict.broken, undefined);
	return verdict;
}
