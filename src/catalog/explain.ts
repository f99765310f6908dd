/** What zod found, in plain sentences that say where it is and what to do. */
import { findNodeAtLocation, type Node } from 'jsonc-parser';
import type { z } from 'zod';
import { CATALOG_LIMITS } from '../limits.ts';
import type { Flaw } from './json.ts';
import { quote } from './quote.ts';
import { knownFields, type NameMissed } from './schema.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** The first CATALOG_LIMITS.problemsMax flaws that the schema found, and how many there are: an unknown field is one. */
export function explainIssues(
	root: Node,
	issues: readonly Issue[],
): { readonly flaws: readonly Flaw[]; readonly count: number } {
	const flaws: Flaw[] = [];
	let count = 0;
	for (const issue of issues) {
		const unknown = issue.code === 'unrecognized_keys' ? issue.keys : undefined;
		// To look up a place takes time in the length of the file, so only what will be told is looked up.
		const room = CATALOG_LIMITS.problemsMax - flaws.length;
		if (unknown !== undefined) flaws.push(...unknown.slice(0, room).map((key) => unknownField(root, issue.path, key)));
		else if (room > 0) flaws.push(flawOf(root, issue));
		count += unknown?.length ?? 1;
	}
	return { flaws, count };
}

function unknownField(root: Node, parent: Path, key: string): Flaw {
	const path = [...parent, key];
	return { offset: keyOffset(root, path), path, message: explainUnknown(key, knownFields(parent)) };
}

function flawOf(root: Node, issue: Issue): Flaw {
	const offset = issue.code === 'invalid_key' ? keyOffset(root, issue.path) : nearestNode(root, issue.path).offset;
	return { offset, path: issue.path, message: explainIssue(issue, findNode(root, issue.path)) };
}

/** A path as people write it: `servers.memory.volumes[0].target`. */
export function formatPath(path: Path): string {
	let text = '';
	for (const key of path) {
		if (typeof key === 'number') text += `[${key}]`;
		else if (/^[A-Za-z_$][\w$-]*$/.test(String(key)) && String(key).length <= CATALOG_LIMITS.quotedCharsMax) {
			text += text === '' ? String(key) : `.${String(key)}`;
		} else text += `[${quote(String(key))}]`;
	}
	return text;
}

function explainIssue(issue: Issue, node: Node | undefined): string {
	switch (issue.code) {
		case 'invalid_type':
			return explainType(issue.expected, node);
		case 'invalid_value':
			return `must be one of ${issue.values.map((value) => JSON.stringify(value)).join(', ')}`;
		case 'too_big':
			return explainTooBig(issue.origin, issue.maximum);
		case 'too_small':
			return explainTooSmall(issue.origin, issue.minimum);
		case 'invalid_key':
			return issue.issues[0] === undefined
				? 'is not a name to use. Choose another'
				: explainIssue(issue.issues[0], node);
		case 'custom':
			return `${issue.message}${guessMissed(issue.params as NameMissed | undefined)}`;
		default:
			// Every rule of the schema that ends here brings its own sentence.
			return issue.message;
	}
}

const TYPE_WORDS: Readonly<Record<string, string>> = Object.freeze({
	string: 'a text',
	number: 'a number',
	boolean: 'true or false',
	array: 'a list in []',
	object: 'an object in {}',
	record: 'an object in {}',
	null: 'null',
});

function explainType(expected: string, node: Node | undefined): string {
	if (node === undefined) return 'is missing. Add it';
	if (expected === 'number' && node.type === 'number') return 'is too large a number. Write a smaller one';
	const found = node.type === 'boolean' ? String(node.value) : TYPE_WORDS[node.type];
	const fix = expected === 'string' && ['number', 'boolean'].includes(node.type) ? '. Put it in double quotes' : '';
	return `must be ${TYPE_WORDS[expected] ?? expected}, not ${found}${fix}`;
}

function explainTooBig(origin: string, maximum: number | bigint): string {
	if (origin === 'string') return `is too long. Keep it to ${maximum} characters`;
	if (origin === 'array') return `has too many entries. Keep at most ${maximum}`;
	return `is more than ${maximum}. Write ${maximum} or less`;
}

function explainTooSmall(origin: string, minimum: number | bigint): string {
	if (origin === 'number') return `is less than ${minimum}. Write ${minimum} or more`;
	return 'is empty. Fill it in, or leave the field out';
}

function explainUnknown(key: string, known: readonly string[]): string {
	return `unknown field. Known fields are ${known.join(', ')}${guess(key, known)}`;
}

/** Only for what is told: to compare with every known name takes time. */
function guessMissed(missed: NameMissed | undefined): string {
	return missed === undefined ? '' : guess(missed.name, missed.known);
}

function guess(word: string, known: readonly string[]): string {
	const close = closest(word, known);
	return close === undefined ? '' : `; did you mean "${close}"?`;
}

/** The known word that is at most two edits away, the nearest first. */
function closest(word: string, known: readonly string[]): string | undefined {
	const ranked = known
		.map((candidate) => ({ candidate, edits: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
		.filter(({ candidate, edits }) => edits <= 2 && edits < candidate.length)
		.sort((a, b) => a.edits - b.edits);
	return ranked[0]?.candidate;
}

/** Levenshtein's distance; infinite without looking where the lengths alone are too far apart to matter. */
function editDistance(source: string, target: string): number {
	if (Math.abs(source.length - target.length) > 2) return Number.POSITIVE_INFINITY;
	let row = Array.from({ length: target.length + 1 }, (_, index) => index);
	for (const [index, char] of [...source].entries()) {
		const next = [index + 1];
		for (let column = 1; column <= target.length; column++) {
			const replaced = (row[column - 1] ?? 0) + (target[column - 1] === char ? 0 : 1);
			next.push(Math.min(replaced, (row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1));
		}
		row = next;
	}
	return row[target.length] ?? 0;
}

function findNode(root: Node, path: Path): Node | undefined {
	return findNodeAtLocation(
		root,
		path.map((key) => (typeof key === 'number' ? key : String(key))),
	);
}

/** The value at the path, or what holds it where it is missing. */
function nearestNode(root: Node, path: Path): Node {
	for (let length = path.length; length > 0; length--) {
		const node = findNode(root, path.slice(0, length));
		if (node !== undefined) return node;
	}
	return root;
}

export function keyOffset(root: Node, path: Path): number {
	return findNode(root, path)?.parent?.offset ?? nearestNode(root, path).offset;
}
