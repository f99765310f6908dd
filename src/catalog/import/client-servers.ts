/** A server as the configurations of clients have it: Claude, Cursor, Windsurf, Gemini CLI, VS Code, Codex, mcp-proxy. */
import { CATALOG_LIMITS, SESSION_LIMITS } from '../../limits.ts';
import type { EntryFile } from './contract.ts';
import { type Fields, fieldsOf, proseOf, recordOf, textOf, textsOf } from './fields.ts';
import { type Launch, remote } from './launch.ts';
import { Refusal } from './refusal.ts';
import { splitWords } from './shell.ts';
import { tell } from './tell.ts';

const MS_PER_SECOND = 1000;
/** Some clients say milliseconds and some seconds; nobody waits an hour for a call, and nobody a second and a half. */
const SECONDS_MAX = 3600;

/** Fields that say what is carried over, or how the client itself behaves. */
const KNOWN: ReadonlySet<string> = new Set(
	'command args env cwd type transport transportType url serverUrl httpUrl endpoint headers http_headers disabled enabled timeout tool_timeout_sec startup_timeout_sec startup_timeout_ms disabledTools excludeTools disabled_tools includeTools enabledTools enabled_tools tools description title name icon options env_vars envFile autoApprove alwaysAllow autoAllow trust required gallery version dev'.split(
		' ',
	),
);
/** Fields of clients that ask a person before they call a tool. */
const APPROVALS = ['autoApprove', 'alwaysAllow', 'autoAllow', 'trust'];

/** @throws Refusal */
export function clientLaunch(name: string, server: unknown, served: boolean): Launch {
	const fields = fieldsOf(server);
	if (fields === undefined) throw new Refusal('it is not an object', 'Write an object with "command" and "args".');
	const url = [fields['url'], fields['serverUrl'], fields['httpUrl'], fields['endpoint']].find(
		(one) => typeof one === 'string',
	);
	const type = textOf(fields, 'type') ?? textOf(fields, 'transport') ?? textOf(fields, 'transportType') ?? 'stdio';
	if (fields['command'] === undefined && typeof url === 'string') throw remote(url);
	if (!['stdio', 'local'].includes(type.toLowerCase())) throw remote(typeof url === 'string' ? url : type);
	const cwd = textOf(fields, 'cwd');
	const notes = notesOf(fields, served);
	return {
		name,
		words: wordsOf(fields),
		env: {
			...Object.fromEntries(textsOf(fields, 'env_vars').map((one) => [one, `\${${one}}`])),
			...recordOf(fields, 'env'),
		},
		...(cwd === undefined ? {} : { cwd }),
		more: moreOf(fields, notes),
		notes,
	};
}

function wordsOf(fields: Fields): readonly string[] {
	const args = textsOf(fields, 'args');
	const { command } = fields;
	if (Array.isArray(command)) return [...textsOf(fields, 'command'), ...args];
	const text = (textOf(fields, 'command') ?? '').trim();
	if (text === '')
		throw new Refusal('it has no "command"', 'Write the command line that starts the server.', 'command');
	// Some write the whole line there; a path of Windows may have a space in it too.
	const whole = /\s/.test(text) && !/[\\/]/.test(text.split(/\s/)[0] ?? '');
	return whole ? [...splitWords(text), ...args] : [text, ...args];
}

function moreOf(fields: Fields, notes: string[]): Partial<EntryFile> {
	const filter = fieldsOf(fieldsOf(fields['options'])?.['toolFilter']);
	const listed = filter === undefined ? [] : textsOf(filter, 'list');
	const blocks = filter !== undefined && textOf(filter, 'mode') === 'block';
	const deny = unique([
		...texts(fields, ['disabledTools', 'excludeTools', 'disabled_tools']),
		...(blocks ? listed : []),
	]);
	const allow = unique([
		...texts(fields, ['includeTools', 'enabledTools', 'enabled_tools', 'tools']),
		...(blocks ? [] : listed),
	]).filter((name) => name !== '*');
	const title = proseOf(fields, 'title', CATALOG_LIMITS.titleCharsMax);
	const description = proseOf(fields, 'description', CATALOG_LIMITS.descriptionCharsMax);
	const callTimeout = timeoutOf(fields, notes);
	const off = fields['disabled'] === true || fields['enabled'] === false;
	return {
		...(title === undefined ? {} : { title }),
		...(description === undefined ? {} : { description }),
		...(callTimeout === undefined ? {} : { callTimeout }),
		...(allow.length === 0 && deny.length === 0
			? {}
			: { tools: { ...(allow.length === 0 ? {} : { allow }), ...(deny.length === 0 ? {} : { deny }) } }),
		...(off ? { enabled: false } : {}),
	};
}

function timeoutOf(fields: Fields, notes: string[]): number | undefined {
	const said = fields['tool_timeout_sec'] ?? fields['timeout'];
	if (typeof said !== 'number' || !Number.isFinite(said) || said <= 0) return undefined;
	const seconds = said > SECONDS_MAX ? Math.round(said / MS_PER_SECOND) : said;
	const secondsMax = SESSION_LIMITS.callTimeoutMsMax / MS_PER_SECOND;
	if (seconds >= CATALOG_LIMITS.callTimeoutMsMin / MS_PER_SECOND && seconds <= secondsMax) return seconds;
	notes.push(
		`Its time for a call, ${said}, is not one that may be ("callTimeout" is at most ${secondsMax} s), and is left out.`,
	);
	return undefined;
}

function notesOf(fields: Fields, served: boolean): string[] {
	const notes: string[] = [];
	for (const field of APPROVALS) {
		const value = fields[field];
		if (value === true || (Array.isArray(value) && value.length > 0))
			notes.push(`Whom the client asks before a call (${tell(field)}) is the client's to say, and is left out.`);
	}
	const envFile = textOf(fields, 'envFile');
	if (envFile !== undefined)
		notes.push(`The file ${tell(envFile)} is not read: add its variables to "env", and secrets to "secrets".`);
	const unknown = Object.keys(fields).filter((field) => !KNOWN.has(field));
	const [first] = unknown;
	if (served && (first !== undefined || envFile !== undefined)) {
		const field = first ?? 'envFile';
		throw new Refusal(
			`its field ${tell(field)} cannot be carried over`,
			'Remove it, or make a catalog of the file with `slipway import`, and say there what it says.',
			field,
		);
	}
	if (unknown.length > 0)
		notes.push(`Left out, since the catalog has nothing like it: ${unknown.slice(0, 8).map(tell).join(', ')}.`);
	return notes;
}

function texts(fields: Fields, names: readonly string[]): string[] {
	// Some have a switch by that name.
	return names.filter((name) => Array.isArray(fields[name])).flatMap((name) => textsOf(fields, name));
}

function unique(names: readonly string[]): string[] {
	return [...new Set(names)];
}
