/** Texts of three notations, read into plain data; what is wrong with one is told with its place. */
import { parse as parseToml, TomlError } from 'smol-toml';
import { LineCounter, parseDocument } from 'yaml';
import { SlipwayError } from '../../errors.ts';
import { IMPORT_LIMITS } from '../../limits.ts';
import { type Flaw, positionOf, readJson } from '../json.ts';

export type Notation = 'json' | 'toml' | 'yaml';

/** A table of its own line, or a key with its value. */
const TOML_LINE = /^[ \t]*(?:\[{1,2}[A-Za-z0-9_."' -]+\]{1,2}[ \t]*(?:#.*)?$|[A-Za-z0-9_."-]+[ \t]*=)/m;

/** The notation that a text looks to be in. */
export function notationOf(text: string): Notation {
	const start = text.trimStart();
	if (/^(?:\{|\/[/*])/.test(start)) return 'json';
	if (/^registry:/m.test(text)) return 'yaml';
	if (TOML_LINE.test(text)) return 'toml';
	return start.startsWith('[') ? 'json' : 'yaml';
}

/** @throws SlipwayError SLIPWAY_IMPORT_INVALID */
export function readText(text: string, notation: Notation): unknown {
	const charsMax = notation === 'json' ? IMPORT_LIMITS.textCharsMax : IMPORT_LIMITS.slowTextCharsMax;
	if (text.trim() === '') return refuseText('it is empty');
	if (text.length > charsMax) return refuseText(`it is longer than ${charsMax} characters`);
	switch (notation) {
		case 'json':
			return readLenientJson(text);
		case 'toml':
			return readToml(text);
		case 'yaml':
			return readYaml(text);
	}
}

/** @throws SlipwayError SLIPWAY_IMPORT_INVALID */
export function refuseText(message: string, at?: { readonly line: number; readonly column: number }): never {
	const place = at === undefined ? '' : `${at.line}:${at.column}: `;
	const [sentence = ''] = message.split('\n');
	throw new SlipwayError('SLIPWAY_IMPORT_INVALID', {
		reason: `${place === '' ? sentence.charAt(0).toUpperCase() + sentence.slice(1) : place + sentence}.`.replace(
			/[.:]\.$/,
			'.',
		),
	});
}

function readLenientJson(text: string): unknown {
	const reading = readJson(text, { depthMax: IMPORT_LIMITS.jsonDepthMax, lenient: true });
	if (reading.kind === 'read') return reading.value;
	const [flaw = { offset: 0, path: [], message: 'it is not JSON' } satisfies Flaw] = reading.flaws;
	return refuseText(flaw.message, positionOf(text, flaw.offset));
}

function readToml(text: string): unknown {
	try {
		return parseToml(text, { maxDepth: IMPORT_LIMITS.jsonDepthMax });
	} catch (error) {
		if (error instanceof TomlError)
			return refuseText(error.message.replace(/^Invalid TOML document: /, ''), {
				line: error.line,
				column: error.column,
			});
		return refuseText('it is no TOML that can be read');
	}
}

const TOO_DEEP = 'more lists and objects in each other than can be read';

function readYaml(text: string): unknown {
	const lines = new LineCounter();
	try {
		const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
		const [error] = document.errors;
		if (error !== undefined) {
			const { line, col } = lines.linePos(error.pos[0]);
			// The parser is recursive, and takes the end of the stack for a flaw of the text.
			const deep = error.message.includes('call stack');
			return refuseText(deep ? TOO_DEEP : error.message, { line, column: col });
		}
		// Aliases of aliases would make much of little.
		return document.toJS({ maxAliasCount: IMPORT_LIMITS.aliasesMax });
	} catch (error) {
		if (error instanceof SlipwayError) throw error;
		return refuseText('it has more aliases in each other than are followed');
	}
}
