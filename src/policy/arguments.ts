/** What the catalog says of the arguments of tools: a schema that they must fit, whatever the server's own allows. */
import { SlipwayError } from '../errors.ts';
import { compileSchema, type Look, SchemaRefused } from '../json-schema.ts';
import { SCHEMA_LIMITS } from '../limits.ts';
import { isAmbiguous } from '../mcp/text.ts';
import { toPattern } from './access.ts';

/** Schemas as JSON, by the names of tools; `*` in one stands for any characters. */
export type ArgumentRules = Readonly<Record<string, string>>;

/** A call, as it was read and as it was written. */
export interface Asked {
	readonly tool: string;
	readonly args: unknown;
	/** The whole message. */
	readonly text: string;
}

/** By schema: those of the catalog as it is now, and of some before it. */
const looks = new Map<string, Look>();

/**
 * Throws SLIPWAY_ARGUMENTS_FORBIDDEN for what a rule does not let through, and for what cannot be told: it names the
 * argument and never its value.
 */
export function checkArguments(rules: ArgumentRules, { tool, args, text }: Asked): void {
	const schemas = Object.entries(rules).filter(([pattern]) => toPattern(pattern)(tool));
	if (schemas.length === 0) return;
	if (isAmbiguous(text)) throw forbidden('A member of the message stands twice, or its name has a backslash.');
	for (const [, schema] of schemas) {
		const objection = lookWith(schema, args, text.length);
		if (objection !== undefined) throw forbidden(objection);
	}
}

function lookWith(schema: string, args: unknown, chars: number): string | undefined {
	try {
		const look = looks.get(schema) ?? compileSchema(schema, 'operator');
		looks.delete(schema);
		looks.set(schema, look);
		const [oldest] = looks.keys();
		if (looks.size > SCHEMA_LIMITS.compiledMax && oldest !== undefined) looks.delete(oldest);
		return look(args, chars);
	} catch (cause) {
		if (cause instanceof SchemaRefused) return 'They could not be looked at.';
		throw cause;
	}
}

function forbidden(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_ARGUMENTS_FORBIDDEN', { reason });
}
