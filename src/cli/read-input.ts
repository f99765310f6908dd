/** Texts that a verb is given: in a file, or on standard input. */
import { createReadStream } from 'node:fs';
import { SlipwayError } from '../errors.ts';
import { CLI_LIMITS } from '../limits.ts';
import { Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';

/**
 * The text of a file, or of standard input for `-`.
 *
 * @throws Failure SLIPWAY_IMPORT_INVALID when there is none, or it is longer than CLI_LIMITS.importBytesMax
 */
export async function readInput(path: string, { input }: Pick<Invocation, 'input'>): Promise<string> {
	const isInput = path === '-';
	if (isInput && input().isTTY === true) return refuse('Standard input is a terminal.');
	const { importBytesMax } = CLI_LIMITS;
	const chunks: Buffer[] = [];
	let bytes = 0;
	try {
		for await (const chunk of isInput ? input() : createReadStream(path)) {
			chunks.push(Buffer.from(chunk));
			bytes += chunk.length;
			if (bytes > importBytesMax) break;
		}
	} catch (cause) {
		const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
		return refuse(code === 'ENOENT' ? `There is no file ${path} here.` : `${path} cannot be read (${code}).`);
	}
	if (bytes > importBytesMax) return refuse(`It is longer than ${importBytesMax} bytes.`);
	try {
		return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
	} catch {
		return refuse('It is not UTF-8.');
	}
}

function refuse(reason: string): never {
	throw new Failure(new SlipwayError('SLIPWAY_IMPORT_INVALID', { reason }), [
		'Name the file, or give it on standard input: slipway import - <file (with compose: docker compose run --rm -T cli import - <file).',
	]);
}
