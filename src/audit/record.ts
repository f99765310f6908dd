/**
 * What an audit record says: one JSON object a line.
 *
 * Only fields of RecordFields can be recorded. It is an allowlist on purpose, as in log.ts: no result, header, key or
 * token has a name here, so none can be recorded by accident.
 */
import type { Shape } from './shape.ts';

/** What is recorded; docs/audit.md says what each is. */
export const EVENTS = [
	'call',
	'refused',
	'session',
	'server',
	'key',
	'approval',
	'secret',
	'catalog',
	'start',
	'stop',
	// Of the chain itself.
	'recovered',
	'lost',
	'retired',
] as const;
export type EventName = (typeof EVENTS)[number];

/** What an administrator does. */
export type ActEvent = Extract<EventName, 'session' | 'server' | 'key' | 'approval' | 'secret'>;

/** The end of a file that was being written when its process was killed. */
export interface Torn {
	readonly file: string;
	readonly bytes: number;
	/** Their SHA-256. */
	readonly hash: string;
}

export interface RecordFields {
	/** What was done to a session, a server, a key, an approval or a secret. */
	readonly act?: string;
	readonly principal?: string;
	/** The name of the key that something was done to. */
	readonly key?: string;
	/** The name of the secret that something was done to. */
	readonly secret?: string;
	readonly scopes?: readonly string[];
	readonly server?: string;
	/** The path of the endpoint, where that is many servers as one. */
	readonly endpoint?: string;
	readonly method?: string;
	/** The name of the tool or prompt. */
	readonly tool?: string;
	/** The tools that were approved. */
	readonly tools?: readonly string[];
	/** The shape of the arguments. */
	readonly arguments?: Shape;
	/** The arguments themselves, where the catalog says so for the tool. */
	readonly values?: unknown;
	/** `ok`, `isError`, `input_required`, `error` (the server's), `cancelled`, or a code of the error table. */
	readonly outcome?: string;
	/** The code of the server's error. */
	readonly rpcCode?: number;
	readonly durationMs?: number;
	readonly answerChars?: number;
	readonly requestId?: string;
	/** The beginning of the hash of the session's id. */
	readonly session?: string;
	/** The address that the request came from. */
	readonly client?: string;
	readonly revision?: number;
	readonly problem?: boolean;
	readonly added?: readonly string[];
	readonly removed?: readonly string[];
	readonly changed?: readonly string[];
	readonly version?: string;
	readonly count?: number;
	readonly files?: number;
	readonly head?: string;
	readonly torn?: readonly Torn[];
}

/** Something that an administrator has done, and that is recorded with how it ended. */
export interface Act<Result> {
	readonly event: ActEvent;
	/** What is recorded of it, before there is a result and with one. */
	readonly describe: (result?: Result) => RecordFields;
	readonly run: () => Result;
}

const FIELD_NAMES = [
	'act',
	'principal',
	'key',
	'secret',
	'scopes',
	'server',
	'endpoint',
	'method',
	'tool',
	'tools',
	'arguments',
	'values',
	'outcome',
	'rpcCode',
	'durationMs',
	'answerChars',
	'requestId',
	'session',
	'client',
	'revision',
	'problem',
	'added',
	'removed',
	'changed',
	'version',
	'count',
	'files',
	'head',
	'torn',
] as const satisfies readonly (keyof RecordFields)[];

const NAMES: ReadonlySet<string> = new Set(FIELD_NAMES);

/**
 * The text of a record but for its place in the chain, in ASCII alone: what a name holds cannot steer a terminal.
 *
 * @param timeMs when it ended; milliseconds since 1970
 */
export function recordText(event: EventName, fields: RecordFields, timeMs: number): string {
	// There is one for every call: what only has names of the list is written as it is.
	const said = JSON.stringify(isListed(fields) ? fields : pick(fields));
	const text = `{"time":"${new Date(timeMs).toISOString()}","event":"${event}"${said === '{}' ? '' : ','}${said.slice(1)}`;
	return /[^\x20-\x7e]/.test(text) ? text.replace(/[^\x20-\x7e]/g, escapeUnit) : text;
}

function isListed(fields: RecordFields): boolean {
	for (const name in fields) if (!NAMES.has(name)) return false;
	return true;
}

function pick(fields: RecordFields): RecordFields {
	return Object.fromEntries(Object.entries(fields).filter(([name]) => NAMES.has(name)));
}

function escapeUnit(unit: string): string {
	return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
