/**
 * Records of the command line, which is another process each time, and several at once maybe. Each act is a file of its
 * own in the chain `cli`, put there whole under a name that nobody else has: two that come at once cannot both be next.
 */
import { linkSync, rmSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { AUDIT_LIMITS } from '../limits.ts';
import { chained } from './chain.ts';
import { findEnd, findRetired, makeFolder, nameOf, type Retention } from './files.ts';
import { type ActEvent, type RecordFields, recordText } from './record.ts';

export interface ActOptions {
	readonly folder: string;
	readonly retention: Retention;
}

/** The record of an act that is about to be done. */
export interface ActDraft {
	/** Puts it into the chain. Rejects where the disk does not take it. */
	finish(event: ActEvent, fields: RecordFields): Promise<void>;
}

const CHAIN = 'cli';

/** Makes sure that there is room for a record, before what it tells of is done. Rejects where there is none. */
export async function draftAct({ folder, retention }: ActOptions): Promise<ActDraft> {
	makeFolder(folder);
	const path = join(folder, `${CHAIN}.${crypto.randomUUID()}`);
	const draft = await open(path, 'wx', 0o640);
	const leave = async (): Promise<void> => {
		await draft.close();
		rmSync(path, { force: true });
	};
	try {
		await write(draft, ' '.repeat(AUDIT_LIMITS.actBytesMax));
	} catch (error) {
		await leave();
		throw error;
	}
	return {
		finish: async (event, fields) => {
			try {
				for (let tries = 1; ; tries++) {
					const { name, lines, retired } = nextFile({ folder, retention }, recordText(event, fields, Date.now()));
					await write(draft, lines);
					if (isPut(path, join(folder, name))) {
						for (const old of retired) rmSync(join(folder, old), { force: true });
						return;
					}
					if (tries >= AUDIT_LIMITS.appendTriesMax) throw new Error('the chain of the command line is taken');
				}
			} finally {
				await leave();
			}
		},
	};
}

/** What the next file of the chain would be now. */
function nextFile({ folder, retention }: ActOptions, record: string) {
	const { head: end, lastIndex } = findEnd(folder, CHAIN);
	const retirement = findRetired(folder, CHAIN, retention);
	const nowMs = Date.now();
	const texts = [record];
	if (retirement !== undefined) {
		const { names, head } = retirement;
		texts.unshift(recordText('retired', { files: names.length, head }, nowMs));
	}
	let head = end;
	let lines = '';
	for (const text of texts) {
		const next = chained(head, text);
		head = next.head;
		lines += `${next.line}\n`;
	}
	return { name: nameOf(CHAIN, lastIndex + 1), lines, retired: retirement?.names ?? [] };
}

async function write(file: FileHandle, text: string): Promise<void> {
	await file.truncate();
	await file.write(text, 0);
	await file.datasync();
}

/** Gives a file its name; false where there is one of that name already. */
function isPut(path: string, target: string): boolean {
	try {
		linkSync(path, target);
		return true;
	} catch (error) {
		if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
		throw error;
	}
}
