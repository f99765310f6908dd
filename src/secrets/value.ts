/** What the value of a secret may be. Bytes, since what a server is given is what was kept, to the byte. */
import { SECRET_LIMITS } from '../limits.ts';

/** A secret, or why there is none to give: a sentence that names it and says nothing of the value. */
export type Finding =
	| { readonly kind: 'found'; readonly value: Buffer }
	| { readonly kind: 'missing' }
	| { readonly kind: 'unusable'; readonly reason: string };

export const MISSING: Finding = Object.freeze({ kind: 'missing' });

export function unusable(name: string, why: string): Finding {
	return { kind: 'unusable', reason: `The secret "${name}" ${why}` };
}

/** The bytes as the value of the secret of that name, if they can be one. */
export function examineValue(name: string, value: Buffer): Finding {
	if (value.length === 0) return unusable(name, 'is empty.');
	if (value.length > SECRET_LIMITS.valueBytesMax)
		return unusable(name, `is longer than ${SECRET_LIMITS.valueBytesMax} bytes.`);
	// Neither a variable nor a line of the delivery can hold one.
	if (value.includes(0)) return unusable(name, 'has a NUL byte in it.');
	if (countLines(value) > SECRET_LIMITS.valueLinesMax)
		return unusable(name, `has more than ${SECRET_LIMITS.valueLinesMax} lines.`);
	return { kind: 'found', value };
}

/** One more than there are newlines. */
export function countLines(value: Buffer): number {
	let lines = 1;
	for (let at = value.indexOf(0x0a); at >= 0; at = value.indexOf(0x0a, at + 1)) lines += 1;
	return lines;
}

/** What a file, or standard input, holds: editors and `echo` end the last line, and that end is none of the value's. */
export function withoutLastNewline(bytes: Buffer): Buffer {
	if (bytes.at(-1) !== 0x0a) return bytes;
	return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}
