/** One more server in the configuration of a client, and nothing else in it changed: comments, order and indentation stay. */
import { applyEdits, type FormattingOptions, modify, type ParseError, parse } from 'jsonc-parser';
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
	const file: unknown = parse(text, errors, { allowTrailingComma: true });
	if (errors.length > 0 || !isObject(file)) throw refused('It is not a JSON object.');
	const [group = '', name = ''] = entry.path;
	const servers = own(file, group) ?? {};
	if (!isObject(servers)) throw refused(`Its \`${group}\` is not an object.`);
	const known = own(servers, name);
	if (known !== undefined && !replaces && JSON.stringify(known) !== JSON.stringify(entry.value)) throw taken(name);
	const formattingOptions = formatOf(text);
	const isSame = JSON.stringify(known) === JSON.stringify(entry.value);
	let edited = isSame ? text : applyEdits(text, modify(text, [...entry.path], entry.value, { formattingOptions }));
	if (listed === undefined) return edited;
	const [path = ''] = listed.path;
	const list = own(file, path) ?? [];
	if (!Array.isArray(list)) throw refused(`Its \`${path}\` is not a list.`);
	if (list.some((one: unknown) => isObject(one) && one['id'] === listed.value.id)) return edited;
	const at = own(file, path) === undefined ? [path] : [path, list.length];
	const value = own(file, path) === undefined ? [listed.value] : listed.value;
	edited = applyEdits(edited, modify(edited, at, value, { formattingOptions, isArrayInsertion: true }));
	return edited;
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

function formatOf(text: string): FormattingOptions {
	const indent = /^([ \t]+)\S/m.exec(text)?.[1] ?? '  ';
	return { insertSpaces: !indent.startsWith('\t'), tabSize: indent.length, eol: text.includes('\r\n') ? '\r\n' : '\n' };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function own(object: Readonly<Record<string, unknown>>, name: string): unknown {
	return Object.hasOwn(object, name) ? object[name] : undefined;
}

function refused(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_CLIENT_FILE', { reason });
}

function taken(name: string): SlipwayError {
	return refused(`It has a server \`${name}\` already: choose another name with --name, or take that one out first.`);
}
