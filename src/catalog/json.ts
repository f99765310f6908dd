/** JSON as the standard has it, with the place of everything in it. */
import {
	createScanner,
	getNodePath,
	getNodeValue,
	type Node,
	type ParseError,
	parseTree,
	printParseErrorCode,
} from 'jsonc-parser';
import { CATALOG_LIMITS } from '../limits.ts';
import { quote } from './quote.ts';

/** Something wrong at a place of a text. */
export interface Flaw {
	/** In UTF-16 units from the start of the text. */
	readonly offset: number;
	/** The keys and indexes that lead there; empty where that says nothing. */
	readonly path: readonly PropertyKey[];
	/** What is wrong and what to do, without a full stop. */
	readonly message: string;
}

export type JsonReading =
	| { readonly kind: 'read'; readonly root: Node; readonly value: unknown }
	| { readonly kind: 'flawed'; readonly flaws: readonly Flaw[] };

/** How a text is read. */
export interface JsonForm {
	/** Objects and lists in each other. */
	readonly depthMax: number;
	/** Whether comments and trailing commas are let pass, as in the files of editors. */
	readonly lenient: boolean;
}

const STRICT: JsonForm = Object.freeze({ depthMax: CATALOG_LIMITS.jsonDepthMax, lenient: false });

/**
 * Reads a text as JSON: no key twice in one object, no `__proto__`, no deeper than it may be; and, where it is strict, no
 * comments and no trailing commas. Of broken syntax the first flaw alone is told, since the others follow from it.
 */
export function readJson(text: string, { depthMax, lenient }: JsonForm = STRICT): JsonReading {
	if (text.trim() === '') return flawed(0, 'the file is empty. Write at least {"servers": {}}');
	const deep = findTooDeep(text, depthMax);
	if (deep !== undefined) return flawed(deep, `more than ${depthMax} objects and lists in each other`);

	const errors: ParseError[] = [];
	const root = parseTree(text, errors, {
		disallowComments: !lenient,
		allowTrailingComma: lenient,
		allowEmptyContent: false,
	});
	const [error] = errors;
	if (error !== undefined) return explainSyntax(text, error);
	if (root === undefined) return flawed(0, 'the file is not JSON. Write at least {"servers": {}}');

	const flaws: Flaw[] = [];
	collectKeyFlaws(root, flaws);
	if (flaws.length > 0) return { kind: 'flawed', flaws };
	if (lenient) return { kind: 'read', root, value: getNodeValue(root) };
	try {
		return { kind: 'read', root, value: JSON.parse(text) };
	} catch {
		// The tolerant parser let something pass that the standard does not know.
		return flawed(root.offset, 'the file is not JSON. `node -p "JSON.parse(…)"` or an editor shows where');
	}
}

/** Line and column of an offset, both from 1. */
export function positionOf(text: string, offset: number): { readonly line: number; readonly column: number } {
	const before = text.slice(0, offset);
	return { line: before.split('\n').length, column: offset - before.lastIndexOf('\n') };
}

function flawed(offset: number, message: string): JsonReading {
	return { kind: 'flawed', flaws: [{ offset, path: [], message }] };
}

/** The offset of the first bracket that is too deep. The parser is recursive, so this is looked at before it runs. */
function findTooDeep(text: string, depthMax: number): number | undefined {
	const scanner = createScanner(text, true);
	let depth = 0;
	for (scanner.scan(); scanner.getTokenOffset() < text.length; scanner.scan()) {
		const first = text[scanner.getTokenOffset()];
		if (first === '{' || first === '[') depth++;
		if (first === '}' || first === ']') depth--;
		if (depth > depthMax) return scanner.getTokenOffset();
	}
	return undefined;
}

const SYNTAX_MESSAGES: Readonly<Record<string, string>> = Object.freeze({
	PropertyNameExpected: 'a name in double quotes was expected',
	ValueExpected: 'a value was expected',
	ColonExpected: 'a colon was expected',
	CommaExpected: 'a comma was expected',
	CloseBraceExpected: 'a closing } was expected',
	CloseBracketExpected: 'a closing ] was expected',
	EndOfFileExpected: 'the end of the file was expected. Remove what follows',
	InvalidCommentToken: 'JSON has no comments. Remove it',
	UnexpectedEndOfComment: 'JSON has no comments. Remove it',
	UnexpectedEndOfString: 'the closing double quote of a text was expected',
	UnexpectedEndOfNumber: 'a digit was expected',
	InvalidNumberFormat: 'a number was expected',
	InvalidUnicode: 'four hexadecimal digits were expected after \\u',
	InvalidEscapeCharacter: 'one of " \\ / b f n r t u was expected after \\',
	InvalidCharacter: 'a text has a line break or another control character in it. Write it as an escape, as in \\n',
});

function explainSyntax(text: string, { error, offset, length }: ParseError): JsonReading {
	const code = printParseErrorCode(error);
	const before = text.slice(0, offset).trimEnd();
	if (before.endsWith(',') && /[}\]]/.test(text.charAt(offset))) {
		return flawed(before.length - 1, 'a trailing comma. Remove it');
	}
	if (code === 'InvalidSymbol') {
		const symbol = quote(text.slice(offset, offset + length));
		return flawed(offset, `JSON has no ${symbol}. Remove it, or put it in double quotes if it is a name or a text`);
	}
	return flawed(offset, SYNTAX_MESSAGES[code] ?? 'this is not JSON');
}

/** Looks for keys that JSON.parse would take without a word, to the last one's gain. */
function collectKeyFlaws(node: Node, flaws: Flaw[]): void {
	const seen = new Set<unknown>();
	for (const child of node.children ?? []) {
		const key = child.type === 'property' ? child.children?.[0] : undefined;
		if (key === undefined) {
			collectKeyFlaws(child, flaws);
			continue;
		}
		if (seen.has(key.value)) flaws.push(keyFlaw(key, 'stands here twice. Remove one of them'));
		if (key.value === '__proto__') flaws.push(keyFlaw(key, 'is not a name to use. Choose another'));
		seen.add(key.value);
		const value = child.children?.[1];
		if (value !== undefined) collectKeyFlaws(value, flaws);
	}
}

function keyFlaw(key: Node, message: string): Flaw {
	return { offset: key.offset, path: getNodePath(key), message };
}
