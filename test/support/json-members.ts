/** The text of the parts of a JSON document, as it is on the wire; found by a parser that the gateway does not use here. */
import assert from 'node:assert/strict';
import { type Node, parseTree } from 'jsonc-parser';

/** The members of an object, each by its key and the text of its value, in order. */
export function membersOf(text: string): [key: string, value: string][] {
	return (objectIn(text).children ?? []).map(({ children = [] }) => {
		const [key, value] = children;
		return [String(key?.value), textOf(text, value)];
	});
}

/** The text of a member of a member, and so on. Fails when there is none. */
export function memberAt(text: string, ...path: readonly string[]): string {
	let part = text;
	for (const key of path) {
		const found = membersOf(part).findLast(([name]) => name === key);
		assert.ok(found, `no ${key} in ${part.slice(0, 300)}`);
		part = found[1];
	}
	return part;
}

/** The texts of the elements of an array. */
export function elementsOf(text: string): string[] {
	const tree = parseTree(text);
	assert.equal(tree?.type, 'array', text.slice(0, 300));
	return (tree?.children ?? []).map((child) => textOf(text, child));
}

function objectIn(text: string): Node {
	const tree = parseTree(text);
	assert.ok(tree?.type === 'object', `no object: ${text.slice(0, 300)}`);
	return tree;
}

function textOf(text: string, node: Node | undefined): string {
	assert.ok(node, 'a member without a value');
	return text.slice(node.offset, node.offset + node.length);
}
