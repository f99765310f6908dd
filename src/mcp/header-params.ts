/**
 * Arguments of tools that clients repeat in headers `Mcp-Param-<name>`, as the tools' schemas say with `x-mcp-header`.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#custom-headers-from-tool-parameters
 */
import { isUtf8 } from 'node:buffer';
import { BRIDGE_LIMITS } from '../limits.ts';
import { isObject, own } from './jsonrpc.ts';

/** An argument, by its path in `arguments`, and the header that repeats it. */
export interface HeaderParam {
	/** In lower case, with the prefix. */
	readonly header: string;
	readonly path: readonly string[];
}

const TYPES: readonly unknown[] = ['string', 'integer', 'boolean'];

/** The arguments that a tool's input schema wants repeated. What is annotated in a way that no client follows is not. */
export function headerParamsOf(inputSchema: unknown): readonly HeaderParam[] {
	const found: HeaderParam[] = [];
	const visit = (schema: unknown, path: readonly string[]): void => {
		if (!isObject(schema) || path.length > BRIDGE_LIMITS.schemaDepthMax) return;
		if (found.length >= BRIDGE_LIMITS.headerParamsMax) return;
		const name = own(schema, 'x-mcp-header');
		if (typeof name === 'string' && /^[\w!#$%&'*+.^`|~-]+$/.test(name) && TYPES.includes(own(schema, 'type')))
			found.push({ header: `mcp-param-${name.toLowerCase()}`, path });
		const properties = own(schema, 'properties');
		if (!isObject(properties)) return;
		for (const key of Object.keys(properties)) visit(own(properties, key), [...path, key]);
	};
	visit(inputSchema, []);
	return found;
}

/** What is wrong with the headers of a call, in words; undefined when they agree with the arguments. */
export function findMismatch(
	params: readonly HeaderParam[],
	args: unknown,
	headers: Readonly<Record<string, string | readonly string[] | undefined>>,
): string | undefined {
	for (const { header, path } of params) {
		const value = path.reduce((node: unknown, key) => (isObject(node) ? own(node, key) : undefined), args);
		// For a value that is not there, or that the schema would refuse, no header is due.
		if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') continue;
		const given = headers[header];
		const decoded = typeof given === 'string' ? decodeHeader(given) : undefined;
		const same =
			decoded === String(value) || (typeof value === 'number' && isDecimal(decoded) && Number(decoded) === value);
		if (!same) return `${header} must be there and be the same as \`arguments.${path.join('.')}\`.`;
	}
	return undefined;
}

/**
 * The value of a header that may come as `=?base64?…?=`, which is how clients send what is no plain ASCII.
 * Undefined when that is not canonical base64 of UTF-8.
 */
export function decodeHeader(value: string): string | undefined {
	const [, encoded] = /^=\?base64\?(.*)\?=$/.exec(value.trim()) ?? [];
	if (encoded === undefined) return value.trim();
	const bytes = Buffer.from(encoded, 'base64');
	return bytes.toString('base64') === encoded && isUtf8(bytes) ? bytes.toString('utf8') : undefined;
}

function isDecimal(text: string | undefined): boolean {
	return text !== undefined && /^-?\d+(\.\d+)?$/.test(text);
}
