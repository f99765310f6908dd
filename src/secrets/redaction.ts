/**
 * Known values taken out of what a server wrote.
 *
 * It looks at a whole window of the text at once, when somebody is to see it: so it does not matter in which pieces the text
 * came, and a server that writes much pays nothing. A value that the window cuts off, at either end, counts as far as it is in it.
 */
import { SECRET_LIMITS } from '../limits.ts';

const REDACTED = Buffer.from('[redacted]');

/** A part of a text as it is shown. */
export interface Piece {
	/** Where in the text it begins and ends. */
	readonly from: number;
	readonly to: number;
	readonly bytes: Buffer;
	/** Whether they stand for a value. */
	readonly hidden: boolean;
}

export class Redaction {
	readonly #patterns: readonly Buffer[];

	/** Values shorter than SECRET_LIMITS.redactedBytesMin are left alone: they would be found in any text. */
	constructor(values: readonly Buffer[]) {
		const forms = new Map<string, Buffer>();
		for (const form of values.flatMap(formsOf)) {
			if (form.length >= SECRET_LIMITS.redactedBytesMin) forms.set(form.toString('latin1'), form);
		}
		this.#patterns = [...forms.values()];
	}

	/**
	 * The end of the text, or all of it where there is no value to look for.
	 *
	 * @param isPart whether something stood before the text
	 */
	apply(whole: Buffer, isPart: boolean): Buffer {
		return Buffer.concat(this.pieces(whole, isPart).map(({ bytes }) => bytes));
	}

	/** The same in pieces, for those who must know where in the text each stood. */
	pieces(whole: Buffer, isPart: boolean): readonly Piece[] {
		if (this.#patterns.length === 0) return [plain(whole, 0, whole.length)];
		const start = Math.max(whole.length - SECRET_LIMITS.redactedWindowBytesMax, 0);
		const text = whole.subarray(start);
		const isCut = isPart || start > 0;
		const ranges = this.#patterns.flatMap((pattern) => rangesOf(pattern, text, isCut));
		ranges.sort(([a], [b]) => a - b);
		const pieces: Piece[] = [];
		let shown = start;
		for (let at = 0; at < ranges.length; ) {
			const [first, last] = ranges[at] ?? [0, 0];
			let end = last;
			// What overlaps or touches is one.
			for (at += 1; at < ranges.length && (ranges[at]?.[0] ?? 0) <= end; at++)
				end = Math.max(end, ranges[at]?.[1] ?? 0);
			pieces.push(plain(whole, shown, start + first));
			shown = start + end;
			pieces.push({ from: start + first, to: shown, bytes: REDACTED, hidden: true });
		}
		return [...pieces, plain(whole, shown, whole.length)];
	}
}

function plain(text: Buffer, from: number, to: number): Piece {
	return { from, to, bytes: text.subarray(from, to), hidden: false };
}

/** The value; each of its lines, since programs log by lines; and as JSON has it, where that is another text. */
function formsOf(value: Buffer): Buffer[] {
	const lines = value
		.toString('latin1')
		.split(/[\r\n]+/)
		.map((line) => Buffer.from(line.trim(), 'latin1'));
	return [value, ...lines, Buffer.from(JSON.stringify(value.toString('utf8')).slice(1, -1))];
}

type Range = readonly [from: number, to: number];

function rangesOf(pattern: Buffer, text: Buffer, isCut: boolean): Range[] {
	const ranges: Range[] = [];
	for (let at = text.indexOf(pattern); at >= 0; at = text.indexOf(pattern, at + 1))
		ranges.push([at, at + pattern.length]);
	const begun = overlap(text, pattern);
	if (begun >= SECRET_LIMITS.redactedBytesMin) ranges.push([text.length - begun, text.length]);
	const ended = isCut ? overlap(pattern, text) : 0;
	if (ended >= SECRET_LIMITS.redactedBytesMin) ranges.push([0, ended]);
	const isWithin = isCut && text.length >= SECRET_LIMITS.redactedBytesMin && pattern.includes(text);
	if (isWithin) ranges.push([0, text.length]);
	return ranges;
}

/** How many bytes at the end of one are the beginning of the other (Knuth, Morris and Pratt), fewer than all of that. */
function overlap(one: Buffer, other: Buffer): number {
	const length = Math.min(one.length, other.length);
	const fallback = new Int32Array(length);
	for (let at = 1, matched = 0; at < length; at++) {
		while (matched > 0 && other[at] !== other[matched]) matched = fallback[matched - 1] ?? 0;
		if (other[at] === other[matched]) matched += 1;
		fallback[at] = matched;
	}
	let matched = 0;
	for (let at = one.length - length; at < one.length; at++) {
		while (matched > 0 && (matched === length || one[at] !== other[matched])) matched = fallback[matched - 1] ?? 0;
		if (one[at] === other[matched]) matched += 1;
	}
	return matched;
}
