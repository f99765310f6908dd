/**
 * Changes to the text of a message that leave the rest of it as it is: unknown fields, the order of keys, the
 * spelling of numbers beyond 2^53 and every character survive, which they would not in JSON.parse and JSON.stringify.
 */

import type { RpcId } from './jsonrpc.ts';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/**
 * The text with the value of the top-level "id" replaced, and every other byte as it was.
 *
 * The text must be valid JSON and classify must have found `id` in it. Of several top-level "id" keys the last is
 * replaced, which is the one that JSON.parse takes.
 */
export function replaceId(text: string, id: RpcId, next: RpcId): string {
	const end = trimmedEnd(text);
	const value = JSON.stringify(id);
	// The TypeScript SDK writes the id last. This test is exact: the text ends with the end of its outermost object,
	// before that stands the end of the last member, and the quotes in the pattern cannot be escaped ones, since what
	// stands before each opening one is a comma or a colon. So the last member is the id, and the last id counts.
	if (text.endsWith(`,"id":${value}}`, end)) {
		return splice(text, { start: end - 1 - value.length, end: end - 1 }, next);
	}
	return splice(text, lastIdSpan(text), next);
}

/** What becomes of a member of an object: a JSON text, `undefined` for none, or what makes one of the other. */
export type Edit = string | undefined | ((value: string | undefined) => string | undefined);

/**
 * The text of a JSON object with some members set or removed, and the texts of all others as they were, in their order.
 *
 * A member that is set keeps its place, and a new one comes last. Of several with the same key the last counts, as in
 * JSON.parse, and the others go. The text must be valid JSON; what is no object counts as an empty one. Whitespace
 * between members is not kept.
 */
export function editMembers(text: string, edits: Readonly<Record<string, Edit>>): string {
	const members: (string | undefined)[] = [];
	const places = new Map<string, { at: number; value: string }>();
	for (const { key, keyStart, start, end } of membersOf(text)) {
		if (!Object.hasOwn(edits, key)) {
			members.push(text.slice(keyStart, end));
			continue;
		}
		places.set(key, { at: members.length, value: text.slice(start, end) });
		members.push(undefined);
	}
	for (const [key, edit] of Object.entries(edits)) {
		const place = places.get(key);
		const value = typeof edit === 'function' ? edit(place?.value) : edit;
		if (value !== undefined) members[place?.at ?? members.length] = `${JSON.stringify(key)}:${value}`;
	}
	return `{${members.filter((member) => member !== undefined).join(',')}}`;
}

/** The text of a member of a JSON object, or undefined when it has none of that key. */
export function memberText(text: string, key: string): string | undefined {
	let found: string | undefined;
	for (const member of membersOf(text)) if (member.key === key) found = text.slice(member.start, member.end);
	return found;
}

/**
 * Whether two readers of a valid JSON text may differ on what it says: of a key that stands twice in an object one may take
 * the first and another the last, and V8 misreads keys that are spelled with an escape now and then (nodejs/node#63785).
 */
export function isAmbiguous(text: string): boolean {
	const open: Set<string>[] = [];
	for (let at = 0; at < text.length; at++) {
		const code = text.charCodeAt(at);
		if (code === OPEN_BRACE) open.push(new Set());
		else if (code === CLOSE_BRACE) open.pop();
		else if (code === QUOTE) {
			const end = stringEnd(text, at);
			if (text.charCodeAt(skipSpace(text, end)) === COLON) {
				const key = text.slice(at, end);
				if (key.includes('\\') || open.at(-1)?.has(key)) return true;
				open.at(-1)?.add(key);
			}
			at = end - 1;
		}
	}
	return false;
}

/** The texts of the elements of a JSON array; none of any other value. The text must be valid JSON. */
export function elementTexts(text: string): string[] {
	const elements: string[] = [];
	const start = skipSpace(text, 0);
	if (text.charCodeAt(start) !== OPEN_BRACKET) return elements;
	let at = skipSpace(text, start + 1);
	while (text.charCodeAt(at) !== CLOSE_BRACKET) {
		const end = valueEnd(text, at);
		elements.push(text.slice(at, end));
		at = skipSpace(text, end);
		if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
	}
	return elements;
}

/**
 * A valid JSON text as one line: raw CR and LF, which can only be whitespace between tokens, become spaces.
 * Other line breaks of Unicode are none to a reader of lines and stay as they are.
 */
export function toOneLine(text: string): string {
	return text.includes('\n') || text.includes('\r') ? text.replaceAll(/[\r\n]/g, ' ') : text;
}

/** The index after the string that opens at `at`, or the length of the text if it never closes. Linear. */
export function stringEnd(text: string, at: number): number {
	let quote = text.indexOf('"', at + 1);
	while (quote !== -1) {
		let content = quote;
		while (text.charCodeAt(content - 1) === BACKSLASH) content--;
		// An even number of backslashes before a quote are escaped backslashes, so the quote is not escaped.
		if (((quote - content) & 1) === 0) return quote + 1;
		quote = text.indexOf('"', quote + 1);
	}
	return text.length;
}

interface Span {
	readonly start: number;
	readonly end: number;
}

function splice(text: string, span: Span, id: RpcId): string {
	return text.slice(0, span.start) + JSON.stringify(id) + text.slice(span.end);
}

interface Member extends Span {
	readonly key: string;
	readonly keyStart: number;
}

/** The members of the object that a text is, in order; none of any other value. */
function* membersOf(text: string): Generator<Member> {
	const objectStart = skipSpace(text, 0);
	if (text.charCodeAt(objectStart) !== OPEN_BRACE) return;
	let at = skipSpace(text, objectStart + 1);
	while (text.charCodeAt(at) === QUOTE) {
		const keyStart = at;
		const keyEnd = stringEnd(text, keyStart);
		const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
		const end = valueEnd(text, start);
		yield { key: readKey(text.slice(keyStart, keyEnd)), keyStart, start, end };
		at = skipSpace(text, end);
		if (text.charCodeAt(at) === COMMA) at = skipSpace(text, at + 1);
	}
}

function readKey(literal: string): string {
	return literal.includes('\\') ? String(JSON.parse(literal)) : literal.slice(1, -1);
}

/** Where the value of the last top-level "id" stands. */
function lastIdSpan(text: string): Span {
	let span: Span | undefined;
	let at = skipSpace(text, 0);
	do {
		const keyStart = skipSpace(text, at + 1);
		const keyEnd = stringEnd(text, keyStart);
		const start = skipSpace(text, skipSpace(text, keyEnd) + 1);
		const end = valueEnd(text, start);
		if (isIdKey(text, keyStart, keyEnd)) {
			span = { start, end };
			// Most servers write the id near the head. Each search ends at the next id, so all of them are one pass.
			if (!ID_KEY.test(text.slice(end))) break;
		}
		at = skipSpace(text, end);
	} while (text.charCodeAt(at) === COMMA);
	if (span === undefined) throw new Error('the text has no top-level id');
	return span;
}

/**
 * Every spelling of the key "id", at whatever depth: only \u can escape its letters, and the digits of their codes
 * have no case. With nothing to repeat, it is linear, and several times faster than a search for each spelling.
 */
const ID_KEY = /"(?:i|\\u0069)(?:d|\\u0064)"/;

function isIdKey(text: string, start: number, end: number): boolean {
	switch (end - start) {
		case 4:
			return text.startsWith('"id"', start);
		case 9:
			return text.startsWith('"\\u0069d"', start) || text.startsWith('"i\\u0064"', start);
		case 14:
			return text.startsWith('"\\u0069\\u0064"', start);
		default:
			return false;
	}
}

/** The index after the value that begins at `at`. Iterative, whatever the depth. */
function valueEnd(text: string, at: number): number {
	const first = text.charCodeAt(at);
	if (first === QUOTE) return stringEnd(text, at);
	if (first === OPEN_BRACE || first === OPEN_BRACKET) return nestedEnd(text, at);
	let end = at;
	while (end < text.length && !isAfterScalar(text.charCodeAt(end))) end++;
	return end;
}

function nestedEnd(text: string, start: number): number {
	let depth = 0;
	let at = start;
	while (at < text.length) {
		switch (text.charCodeAt(at)) {
			case QUOTE:
				at = stringEnd(text, at);
				continue;
			case OPEN_BRACE:
			case OPEN_BRACKET:
				depth++;
				break;
			case CLOSE_BRACE:
			case CLOSE_BRACKET:
				depth--;
				if (depth === 0) return at + 1;
				break;
		}
		at++;
	}
	return at;
}

function isAfterScalar(code: number): boolean {
	return code === COMMA || code === CLOSE_BRACE || code === CLOSE_BRACKET || isSpace(code);
}

/** JSON's whitespace: space, tab, LF, CR. */
function isSpace(code: number): boolean {
	return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d;
}

function skipSpace(text: string, at: number): number {
	let next = at;
	while (isSpace(text.charCodeAt(next))) next++;
	return next;
}

function trimmedEnd(text: string): number {
	let end = text.length;
	while (isSpace(text.charCodeAt(end - 1))) end--;
	return end;
}
