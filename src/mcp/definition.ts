/** Definitions of tools, as they are pinned: their hash, what is refused in them, and how two of them differ. */
import { hash } from 'node:crypto';
import { PIN_LIMITS } from '../limits.ts';
import { canonical } from './canonical.ts';
import { isObject, own } from './jsonrpc.ts';

/** A tool as a server defines it. */
export interface Definition {
	/** Of the text, in hexadecimal. */
	readonly hash: string;
	/** Canonical JSON; empty where it is too much to be kept. */
	readonly text: string;
	/** Why nobody is shown it, for people; undefined when nothing is wrong with it. */
	readonly flaw: string | undefined;
}

/**
 * What a person does not see and a model reads, or what makes a person see something else: controls (but for tab and the
 * ends of lines), whatever has no width, what turns the direction of text, tags, fillers, halves of characters. Selectors
 * of the look of an emoji are what they should be right after one, and nowhere else.
 */
const INVISIBLE =
	/(?<!\p{Extended_Pictographic}|\p{Emoji_Modifier}|[0-9#*](?=\ufe0f\u20e3))(?:\ufe0e|\ufe0f)|(?!\t|\n|\r|\ufe0e|\ufe0f)[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}]/u;
const ALL_INVISIBLE = new RegExp(INVISIBLE, 'gu');

/** The name of a tool in a list, where it has one. */
export function nameOf(tool: unknown): string | undefined {
	const name = isObject(tool) ? own(tool, 'name') : undefined;
	return typeof name === 'string' ? name : undefined;
}

/** Reads the definition of a tool, a value that was parsed from JSON. */
export function readDefinition(tool: unknown): Definition {
	const flaw = flawIn(tool);
	if (flaw?.isDepth) return { hash: hash('sha256', ''), text: '', flaw: flaw.reason };
	const text = canonical(tool);
	const bytes = Buffer.byteLength(text);
	const digest = hash('sha256', text);
	if (bytes <= PIN_LIMITS.definitionBytesMax) return { hash: digest, text, flaw: flaw?.reason };
	return { hash: digest, text: '', flaw: `${bytes} bytes, and ${PIN_LIMITS.definitionBytesMax} is the most` };
}

/** What is wrong within it. Iterative, since the depth is what is looked at. */
function flawIn(tool: unknown): { readonly reason: string; readonly isDepth: boolean } | undefined {
	const left: { value: unknown; path: string; depth: number }[] = [{ value: tool, path: '', depth: 0 }];
	let found: string | undefined;
	for (let part = left.pop(); part !== undefined; part = left.pop()) {
		const { value, path, depth } = part;
		if (typeof value === 'string') {
			// A name is one line.
			const [character] = INVISIBLE.exec(value) ?? (path === 'name' ? /[\t\n\r]/.exec(value) : null) ?? [];
			if (character !== undefined) found ??= `${codeOf(character)} in \`${visible(path)}\``;
		}
		if (typeof value !== 'object' || value === null) continue;
		if (depth >= PIN_LIMITS.definitionDepthMax)
			return { reason: `more than ${PIN_LIMITS.definitionDepthMax} objects and arrays in each other`, isDepth: true };
		for (const [key, member] of Object.entries(value)) {
			const [character] = Array.isArray(value) ? [] : (INVISIBLE.exec(key) ?? []);
			if (character !== undefined) found ??= `${codeOf(character)} in a key of \`${visible(path) || 'it'}\``;
			left.push({ value: member, path: joinPath(path, key, Array.isArray(value)), depth: depth + 1 });
		}
	}
	return found === undefined ? undefined : { reason: found.slice(0, PIN_LIMITS.flawCharsMax), isDepth: false };
}

/** A text in which what nobody would see is written out, so that it can be shown. Line ends count. */
export function visible(text: string): string {
	const shown = (character: string): string => `<${codeOf(character)}>`;
	return text.replaceAll(ALL_INVISIBLE, shown).replaceAll(/[\t\n\r\u2028\u2029]/g, shown);
}

function codeOf(character: string): string {
	return `U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/**
 * How two definitions differ, for people: a line with `-` for what is no more, one with `+` for what is there now, each
 * with the path to it, and of long texts the part that is not the same. Without the first: all of the second.
 *
 * @param before canonical JSON, and so is `now`; empty for none
 */
export function difference(before: string, now: string): string[] {
	const [was, is] = [leavesOf(before), leavesOf(now)];
	const lines: string[] = [];
	for (const path of new Set([...was.keys(), ...is.keys()])) {
		const [old, next] = [was.get(path), is.get(path)];
		if (old === next) continue;
		const [shownOld, shownNext] = old === undefined || next === undefined ? [old, next] : parts(old, next);
		if (shownOld !== undefined) lines.push(`- ${visible(path)}: ${visible(shownOld)}`);
		if (shownNext !== undefined) lines.push(`+ ${visible(path)}: ${visible(shownNext)}`);
	}
	const { differenceLinesMax } = PIN_LIMITS;
	if (lines.length <= differenceLinesMax) return lines;
	return [...lines.slice(0, differenceLinesMax), `… and ${lines.length - differenceLinesMax} lines more`];
}

/** What two texts do not share, with a little of what they do before and after it. */
function parts(before: string, now: string): [string, string] {
	const [one, other] = [Array.from(before), Array.from(now)];
	const { differenceContextCharsMax: context } = PIN_LIMITS;
	const shorter = Math.min(one.length, other.length);
	let head = 0;
	while (head < shorter && one[head] === other[head]) head++;
	let tail = 0;
	while (tail < shorter - head && one[one.length - 1 - tail] === other[other.length - 1 - tail]) tail++;
	const from = head > 2 * context ? head - context : 0;
	const rest = tail > 2 * context ? tail - context : 0;
	const cut = (text: readonly string[]): string =>
		`${from > 0 ? '…' : ''}${text.slice(from, text.length - rest).join('')}${rest > 0 ? '…' : ''}`;
	return [cut(one), cut(other)];
}

/** All that a definition says, by the path to it. Lists of plain values are one. */
function leavesOf(text: string): Map<string, string> {
	const leaves = new Map<string, string>();
	const read = (value: unknown, path: string): void => {
		const members = typeof value === 'object' && value !== null ? Object.entries(value) : [];
		const isPlainList = Array.isArray(value) && value.every((item) => typeof item !== 'object' || item === null);
		if (members.length === 0 || isPlainList) leaves.set(path, JSON.stringify(value));
		else for (const [key, member] of members) read(member, joinPath(path, key, Array.isArray(value)));
	};
	if (text !== '') read(JSON.parse(text), '');
	return leaves;
}

/** No two parts of a value have the same path. */
function joinPath(path: string, key: string, isIndex: boolean): string {
	if (isIndex) return `${path}[${key}]`;
	const step = /^[\w$-]+$/.test(key) ? key : JSON.stringify(key);
	return path === '' ? step : `${path}.${step}`;
}
