/**
 * The log: one JSON line an event, through winston.
 *
 * Only fields of LogFields can be logged. It is an allowlist on purpose: no body, argument, header, environment
 * value or stderr has a name here, so none can be logged by accident.
 */
import winston from 'winston';

export interface LogFields {
	readonly address?: string;
	readonly apiVersion?: string;
	readonly bytes?: number;
	readonly cause?: string;
	readonly code?: string;
	readonly count?: number;
	readonly durationMs?: number;
	/** The path of an aggregated endpoint. */
	readonly endpoint?: string;
	readonly engineVersion?: string;
	readonly exitCode?: number;
	readonly file?: string;
	readonly gateway?: string;
	/** The hash that the audit's chain ends with. */
	readonly head?: string;
	readonly httpStatus?: number;
	readonly image?: string;
	readonly instance?: string;
	readonly method?: string;
	readonly principal?: string;
	readonly reason?: string;
	readonly requestId?: string;
	readonly role?: string;
	readonly server?: string;
	/** The stack of an unexpected error. */
	readonly stack?: string;
	readonly step?: string;
	/** Where a server wanted to go: `host:port`. */
	readonly target?: string;
	readonly tool?: string;
	readonly version?: string;
}

const FIELD_NAMES = [
	'address',
	'apiVersion',
	'bytes',
	'cause',
	'code',
	'count',
	'durationMs',
	'endpoint',
	'engineVersion',
	'exitCode',
	'file',
	'gateway',
	'head',
	'httpStatus',
	'image',
	'instance',
	'method',
	'principal',
	'reason',
	'requestId',
	'role',
	'server',
	'stack',
	'step',
	'target',
	'tool',
	'version',
] as const satisfies readonly (keyof LogFields)[];

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Log {
	error(message: string, fields?: LogFields): void;
	warn(message: string, fields?: LogFields): void;
	info(message: string, fields?: LogFields): void;
	debug(message: string, fields?: LogFields): void;
	/** A log whose lines all carry these fields. */
	with(fields: LogFields): Log;
}

/**
 * The log of a process.
 *
 * @param level what is logged: this level and those above it
 * @param stream where the lines go; default standard output
 */
export function createLog(level: LogLevel, stream?: NodeJS.WritableStream): Log {
	const logger = winston.createLogger({
		level,
		levels: { error: 0, warn: 1, info: 2, debug: 3 },
		format: winston.format.printf((info) => String(info['line'])),
		transports: [stream === undefined ? new winston.transports.Console() : new winston.transports.Stream({ stream })],
		exitOnError: false,
	});
	const write = (lineLevel: LogLevel, message: string, fields: LogFields): void => {
		// A line that nobody reads is not worth building.
		if (!logger.isLevelEnabled(lineLevel)) return;
		logger.log({ level: lineLevel, message: '', line: toLine(lineLevel, message, fields) });
	};
	return withFields({}, write);
}

/** A log that keeps nothing, for tests and for commands that speak for themselves. */
export const SILENT_LOG: Log = withFields({}, () => undefined);

function withFields(bound: LogFields, write: (level: LogLevel, message: string, fields: LogFields) => void): Log {
	return {
		error: (message, fields) => write('error', message, { ...bound, ...fields }),
		warn: (message, fields) => write('warn', message, { ...bound, ...fields }),
		info: (message, fields) => write('info', message, { ...bound, ...fields }),
		debug: (message, fields) => write('debug', message, { ...bound, ...fields }),
		with: (fields) => withFields({ ...bound, ...fields }, write),
	};
}

function toLine(level: LogLevel, message: string, fields: LogFields): string {
	const line: Record<string, unknown> = { time: new Date().toISOString(), level, message };
	for (const name of FIELD_NAMES) {
		if (fields[name] !== undefined) line[name] = fields[name];
	}
	return JSON.stringify(line);
}
