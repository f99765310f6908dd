/** The catalog as programs change it: what they do not change stays as it was, byte for byte. */
import { findNodeAtLocation, type Node, parseTree } from 'jsonc-parser';
import { SlipwayError } from '../errors.ts';
import { CATALOG_LIMITS, EDIT_LIMITS } from '../limits.ts';
import type { EntryFile } from './import/contract.ts';
import { layOut, type Style } from './lay-out.ts';
import { FILE_NAME, parseCatalog, readCatalogText } from './load.ts';
import { lockBeside, replaceFile } from './replace-file.ts';

/**
 * The text with that entry, in the place of the one of that name or as the last.
 *
 * @throws SlipwayError SLIPWAY_CATALOG_INVALID, when the text is no catalog or would be none
 */
export function putServer(text: string, name: string, entry: EntryFile): string {
	const servers = serversOf(text);
	const old = findProperty(servers, name);
	const edited = old === undefined ? insert(text, servers, name, entry) : replace(text, old, entry);
	parseCatalog(edited, FILE_NAME);
	return edited;
}

/**
 * The text without the server of that name. Groups lose it too, and those that had no other are gone.
 *
 * @throws SlipwayError SLIPWAY_CATALOG_INVALID, when the text is no catalog; SLIPWAY_SERVER_UNKNOWN
 */
export function removeServer(text: string, name: string): string {
	const servers = serversOf(text);
	const server = findProperty(servers, name);
	if (server === undefined) throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN', { server: name });
	let edited = cut(text, servers, server);
	// Each cut moves what follows it, so the places are looked up again.
	for (let found = findMember(edited, name); found !== undefined; found = findMember(edited, name))
		edited = cut(edited, found.list, found.child);
	parseCatalog(edited, FILE_NAME);
	return edited;
}

/** The object that has the servers. Throws when the text is no catalog. */
function serversOf(text: string): Node {
	parseCatalog(text, FILE_NAME);
	const root = parseTree(text);
	const servers = root === undefined ? undefined : findNodeAtLocation(root, ['servers']);
	if (servers === undefined)
		throw new SlipwayError('SLIPWAY_CATALOG_INVALID', {
			reason: `${FILE_NAME}: it is a configuration of another program ("mcpServers"), which is not changed here. Make a catalog of it with \`slipway import\`.`,
		});
	return servers;
}

/** Where the first group names the server: its place in the list, or the whole group when it names no other. */
function findMember(text: string, name: string): { readonly list: Node; readonly child: Node } | undefined {
	const root = parseTree(text);
	const groups = root === undefined ? undefined : findNodeAtLocation(root, ['groups']);
	for (const group of groups?.children ?? []) {
		const list = group.children?.[1];
		const child = list?.children?.find(({ value }) => value === name);
		if (groups === undefined || list === undefined || child === undefined) continue;
		return list.children?.length === 1 ? { list: groups, child: group } : { list, child };
	}
	return undefined;
}

function findProperty(object: Node, key: string): Node | undefined {
	return object.children?.find(({ children }) => children?.[0]?.value === key);
}

function replace(text: string, property: Node, value: unknown): string {
	const old = property.children?.[1] ?? property;
	const style = styleOf(text, property.offset);
	return text.slice(0, old.offset) + layOut(value, style) + text.slice(old.offset + old.length);
}

function insert(text: string, object: Node, key: string, value: unknown): string {
	const last = object.children?.at(-1);
	const end = last === undefined ? object.offset + 1 : last.offset + last.length;
	const inLines = last === undefined ? text.includes('\n') : text.slice(object.offset, last.offset).includes('\n');
	const style = styleOf(text, last?.offset ?? object.offset);
	if (last === undefined && inLines) {
		const inner = { ...style, indent: style.indent + style.unit };
		const property = `${inner.eol}${inner.indent}${JSON.stringify(key)}: ${layOut(value, inner)}${style.eol}${style.indent}`;
		return text.slice(0, end) + property + text.slice(object.offset + object.length - 1);
	}
	const between = last === undefined ? '' : inLines ? `,${style.eol}${style.indent}` : ', ';
	const laidOut = inLines ? layOut(value, style) : JSON.stringify(value);
	return `${text.slice(0, end)}${between}${JSON.stringify(key)}: ${laidOut}${text.slice(end)}`;
}

/** Without one child, and without the comma that it needed. */
function cut(text: string, parent: Node, child: Node): string {
	const children = parent.children ?? [];
	const at = children.indexOf(child);
	const next = children[at + 1];
	const before = children[at - 1];
	if (next !== undefined) return text.slice(0, child.offset) + text.slice(next.offset);
	const start = before === undefined ? parent.offset + 1 : before.offset + before.length;
	const end = before === undefined ? parent.offset + parent.length - 1 : child.offset + child.length;
	return text.slice(0, start) + text.slice(end);
}

/** How the text indents: at the line of an offset, and by how much each level does. */
function styleOf(text: string, offset: number): Style {
	const line = text.slice(text.lastIndexOf('\n', offset - 1) + 1, offset);
	return {
		indent: /^[ \t]*/.exec(line)?.[0] ?? '',
		unit: /\n([ \t]+)\S/.exec(text)?.[1] ?? '  ',
		eol: text.includes('\r\n') ? '\r\n' : '\n',
	};
}

/**
 * Changes a catalog file, or the `catalog.json` of a folder: reads it, has it edited, looks whether it is a catalog still,
 * and puts it in the place of the old one, whole or not at all. Owner and mode stay. Of programs that write at once one
 * waits for the other; of somebody who writes beside them nothing is lost, since the edit is then made of what they wrote.
 *
 * @param edit text in, text out; it may be called more than once. What it throws is thrown, and nothing is written
 * @throws SlipwayError SLIPWAY_CATALOG_INVALID, SLIPWAY_CATALOG_UNWRITABLE
 */
export async function writeCatalogFile(path: string, edit: (text: string) => string): Promise<void> {
	const { file } = await readCatalogText(path);
	const unlock = await lockBeside(file);
	try {
		for (let tries = 0; tries < EDIT_LIMITS.triesMax; tries++) {
			const before = await readCatalogText(path);
			const edited = edit(before.text);
			if (edited === before.text) return;
			parseCatalog(edited, file);
			const bytes = Buffer.byteLength(edited);
			if (bytes > CATALOG_LIMITS.fileBytesMax) {
				const reason = `${file}: it would be ${bytes} bytes, more than the ${CATALOG_LIMITS.fileBytesMax} that a catalog may have.`;
				throw new SlipwayError('SLIPWAY_CATALOG_INVALID', { reason });
			}
			if (replaceFile(file, { before: before.text, after: edited })) return;
		}
	} finally {
		unlock();
	}
	const reason = `${file}: somebody else writes it again and again.`;
	throw new SlipwayError('SLIPWAY_CATALOG_UNWRITABLE', { reason });
}
