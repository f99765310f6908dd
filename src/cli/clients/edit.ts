/** One more server in the configuration of a client, and nothing else in it changed: comments, order and indentation stay. */
import { findNodeAtLocation, getNodeValue, type Node, type ParseError, parseTree } from 'jsonc-parser';
import { SlipwayError } from '../../errors.ts';
import { type Configuration, toText } from './configurations.ts';

/**
 * The text with the configuration in it; the same text where it has it already.
 *
 * @param replaces whether another server of that name gives way
 * @throws SlipwayError SLIPWAY_CLIENT_FILE where the text is not what the client reads, or has another server of that name
 */
export function edit(text: string, configuration: Configuration, replaces: boolean): string {
	if (text.trim() === '') return toText(configuration);
	return configuration.format === 'json' ? editJson(text, configuration, replaces) : editToml(text, configuration);
}

type Json = Extract<Configuration, { format: 'json' }>;
type Toml = Extract<Configuration, { format: 'toml' }>;

function editJson(text: string, { entry, listed }: Json, replaces: boolean): string {
	const errors: ParseError[] = [];
	const file = parseTree(text, errors, { allowTrailingComma: true });
	if (errors.length > 0 || file?.type !== 'object') throw refused('It is not a JSON object.');
	const [group = '', name = ''] = entry.path;
	const servers = findNodeAtLocation(file, [group]);
	if (servers !== undefined && servers.type !== 'object') throw refused(`Its \`${group}\` is not an object.`);
	const known = findNodeAtLocation(file, [group, name]);
	const isSame = known !== undefined && JSON.stringify(getNodeValue(known)) === JSON.stringify(entry.value);
	if (known !== undefined && !isSame && !replaces) throw taken(name);
	const style = styleOf(text);
	const changes: Change[] = [];
	if (known !== undefined) {
		if (!isSame) changes.push({ at: known.offset, removed: known.length, put: toJson(entry.value, 2, style) });
	} else if (servers !== undefined)
		changes.push(first(servers, `${JSON.stringify(name)}: ${toJson(entry.value, 2, style)}`, 2, style));
	else changes.push(first(file, `${JSON.stringify(group)}: ${toJson({ [name]: entry.value }, 1, style)}`, 1, style));
	if (listed !== undefined) {
		const [path = ''] = listed.path;
		const list = findNodeAtLocation(file, [path]);
		if (list !== undefined && list.type !== 'array') throw refused(`Its \`${path}\` is not a list.`);
		const ids = list?.children?.map((one) => findNodeAtLocation(one, ['id'])?.value) ?? [];
		if (list === undefined)
			changes.push(
				first(file, `${JSON.stringify(path)}: ${toJson([listed.value], 1, style)}`, 1, style, changes.length > 0),
			);
		else if (!ids.includes(listed.value.id)) changes.push(first(list, toJson(listed.value, 2, style), 2, style));
	}
	// From the end, so that no change moves the place of another.
	changes.sort((one, other) => other.at - one.at);
	return changes.reduce((all, { at, removed, put }) => all.slice(0, at) + put + all.slice(at + removed), text);
}

/** Something put at a place of a text, for so many characters that were there. */
interface Change {
	readonly at: number;
	readonly removed: number;
	readonly put: string;
}

interface Style {
	/** One step of indentation. */
	readonly indent: string;
	readonly lineEnd: string;
}

/** As the first member of an object or list: so nothing that stands in it is touched. */
function first({ offset, children = [] }: Node, put: string, depth: number, style: Style, isFollowed = false): Change {
	const { indent, lineEnd } = style;
	const after = children.length > 0 || isFollowed ? ',' : `${lineEnd}${indent.repeat(depth - 1)}`;
	return { at: offset + 1, removed: 0, put: `${lineEnd}${indent.repeat(depth)}${put}${after}` };
}

function toJson(value: object, depth: number, { indent, lineEnd }: Style): string {
	return JSON.stringify(value, null, indent).replaceAll('\n', `${lineEnd}${indent.repeat(depth)}`);
}

/** Tables may stand in any order, so one more goes to the end. What has the name in another form is left to people. */
function editToml(text: string, configuration: Toml): string {
	const whole = toText(configuration);
	if (text.includes(whole)) return text;
	const [group = '', name = ''] = configuration.table;
	const quoted = `(?:${name}|"${name}"|'${name}')`;
	const asTable = new RegExp(`^\\s*\\[\\s*${group}\\s*\\.\\s*${quoted}\\s*[.\\]]`, 'm');
	const inline = new RegExp(`^\\s*(?:${group}\\s*=|${group}\\s*\\.\\s*${quoted}\\s*[.=])`, 'm');
	if (asTable.test(text) || new RegExp(`^\\s*\\[\\s*${group}\\s*\\][^[]*^\\s*${quoted}\\s*[.=]`, 'm').test(text))
		throw taken(name);
	if (inline.test(text)) throw refused(`Its \`${group}\` is in a form that is not added to.`);
	const end = text.includes('\r\n') ? '\r\n' : '\n';
	return `${text.trimEnd()}${end}${end}${whole.replaceAll('\n', end)}`;
}

function styleOf(text: string): Style {
	return { indent: /^([ \t]+)\S/m.exec(text)?.[1] ?? '  ', lineEnd: text.includes('\r\n') ? '\r\n' : '\n' };
}

function refused(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_CLIENT_FILE', { reason });
}

function taken(name: string): SlipwayError {
	return refused(`It has a server \`${name}\` already: choose another name with --name, or take that one out first.`);
}
