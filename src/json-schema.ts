/**
 * JSON Schemas that others wrote, of draft 2020-12 and of draft-07, and whether values fit them.
 *
 * Whoever wrote a schema decides how long it takes to look at a value with it: a pattern may backtrack, and a few
 * references to references make a number of looks that no length bounds. No list of what is dangerous is known to be
 * whole, so what may take long runs under a clock that ends it, wherever it is. What cannot take long runs without: the
 * clock costs a tenth of a millisecond, and such a look a thousandth.
 */
import { createContext, Script } from 'node:vm';
import { Ajv, type ErrorObject, type Options } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { SCHEMA_LIMITS } from './limits.ts';

/** Why a schema is not used: it is none, or not one that values are held against here, or it takes too long. */
export class SchemaRefused extends Error {
	/** Whether it took too long, which may be so by chance. */
	readonly late: boolean;

	constructor(reason: string, { late = false, cause }: { readonly late?: boolean; readonly cause?: unknown } = {}) {
		super(reason, { cause });
		this.late = late;
	}
}

/**
 * What is wrong with a value, in words that name its members and none of their values; undefined when it fits.
 *
 * @param valueChars of the text that the value is a part of
 * @throws SchemaRefused when it took too long
 */
export type Look = (value: unknown, valueChars: number) => string | undefined;

/** Whose words a schema is. An operator is told of every one that means nothing; a server's are passed over, as the standard has it. */
export type Author = 'operator' | 'server';

const DIALECTS: ReadonlyMap<unknown, typeof Ajv2020 | typeof Ajv> = new Map<unknown, typeof Ajv2020 | typeof Ajv>([
	[undefined, Ajv2020],
	['https://json-schema.org/draft/2020-12/schema', Ajv2020],
	['https://json-schema.org/draft/2020-12/schema#', Ajv2020],
	['http://json-schema.org/draft-07/schema', Ajv],
	['http://json-schema.org/draft-07/schema#', Ajv],
	['https://json-schema.org/draft-07/schema', Ajv],
	['https://json-schema.org/draft-07/schema#', Ajv],
]);

/** Nothing is filled in or converted, members of prototypes are none of the value's, and nobody is asked for a schema. */
const OPTIONS: Options = Object.freeze({
	allErrors: false,
	useDefaults: false,
	coerceTypes: false,
	removeAdditional: false,
	ownProperties: true,
	meta: false,
	validateSchema: false,
	inlineRefs: false,
	logger: false,
	code: { optimize: false },
});

const OPTIONS_OF: Readonly<Record<Author, Options>> = Object.freeze({
	// A format that is not looked at would be a bound that is none.
	operator: { ...OPTIONS, strict: true, strictTypes: false, strictTuples: false, strictRequired: false },
	server: { ...OPTIONS, strict: false, validateFormats: false },
});

/** Members of a schema whose own members are names, each with a schema. */
const BY_NAME: ReadonlySet<string> = new Set([
	'properties',
	'patternProperties',
	'dependentSchemas',
	'dependencies',
	'$defs',
	'definitions',
]);
/** Members whose value is no schema, whatever it looks like. */
const VALUES: ReadonlySet<string> = new Set(['const', 'enum', 'default', 'examples']);
/** What makes a look longer than the schema and the value are, or is not followed here. */
const SLOW: ReadonlySet<string> = new Set([
	'pattern',
	'patternProperties',
	'uniqueItems',
	'$dynamicRef',
	'$recursiveRef',
	'$anchor',
]);

/**
 * The way to look at values with a schema.
 *
 * @param text the schema as JSON
 * @throws SchemaRefused
 */
export function compileSchema(text: string, author: Author): Look {
	if (text.length > SCHEMA_LIMITS.schemaCharsMax) throw new SchemaRefused('it is too long');
	const schema: unknown = JSON.parse(text);
	if (!isObject(schema)) throw new SchemaRefused('it is no object');
	const Dialect = DIALECTS.get(schema['$schema']);
	if (Dialect === undefined) throw new SchemaRefused('its `$schema` is neither draft 2020-12 nor draft-07');
	const chars = charsOf(schema, text.length);
	// One for each, so that no schema can refer to another's.
	const validate = within(SCHEMA_LIMITS.compileMs, () => new Dialect(OPTIONS_OF[author]).compile(schema));
	return (value, valueChars) => {
		const quick = chars * valueChars <= SCHEMA_LIMITS.quickWorkMax;
		const fits = quick ? validate(value) : within(SCHEMA_LIMITS.lookMs, () => validate(value));
		return fits ? undefined : describe(validate.errors?.at(-1));
	};
}

/**
 * How long a schema is with everything in the place of what refers to it: each character of it is looked at once for each
 * of the value. Infinity where that is not so, or not known.
 */
function charsOf(root: object, rootChars: number): number {
	let chars = rootChars;
	const visit = (schema: unknown, depth: number): void => {
		if (!isTree(schema) || chars === Number.POSITIVE_INFINITY) return;
		// What refers to itself is nested without end.
		if (depth > SCHEMA_LIMITS.schemaDepthMax) chars = Number.POSITIVE_INFINITY;
		for (const [key, value] of Object.entries(schema)) {
			if (VALUES.has(key)) continue;
			if (SLOW.has(key) || (key === '$id' && schema !== root)) chars = Number.POSITIVE_INFINITY;
			const target = key === '$ref' ? find(root, value) : undefined;
			if (key === '$ref') chars += target === undefined ? Number.POSITIVE_INFINITY : JSON.stringify(target).length;
			if (chars > SCHEMA_LIMITS.schemaCharsMax) chars = Number.POSITIVE_INFINITY;
			const inner = BY_NAME.has(key) && isObject(value) ? Object.values(value) : [target ?? value];
			for (const one of inner) visit(one, depth + 1);
		}
	};
	visit(root, 0);
	return chars;
}

/** What a reference within a schema is to; undefined for any other. */
function find(root: object, reference: unknown): object | undefined {
	if (typeof reference !== 'string' || !/^#(?:\/[^%]*)?$/.test(reference)) return undefined;
	const keys = reference.split('/').slice(1);
	const found = keys
		.map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'))
		.reduce((at: unknown, key) => (isTree(at) && Object.hasOwn(at, key) ? Reflect.get(at, key) : undefined), root);
	return isTree(found) ? found : undefined;
}

const CLOCKED = createContext({ run: () => undefined });
const RUN = new Script('run()');

/** What a function returns, unless that takes too long: then it is ended where it is. Throws SchemaRefused. */
function within<T>(ms: number, run: () => T): T {
	let result: { readonly value: T } | undefined;
	CLOCKED['run'] = (): void => {
		result = { value: run() };
	};
	try {
		RUN.runInContext(CLOCKED, { timeout: ms });
	} catch (cause) {
		// The error is of the other context, and no Error of ours.
		const late = isObject(cause) && cause['code'] === 'ERR_SCRIPT_EXECUTION_TIMEOUT';
		const why = cause instanceof Error ? cause.message.slice(0, SCHEMA_LIMITS.objectionCharsMax) : 'it cannot be used';
		throw new SchemaRefused(late ? 'it takes too long' : why, { late, cause });
	} finally {
		CLOCKED['run'] = undefined;
	}
	if (result === undefined) throw new SchemaRefused('it cannot be used');
	return result.value;
}

/** Every error that is ours to make names what is wrong by schema and path: values are not repeated. */
function describe(error: ErrorObject | undefined): string {
	if (error === undefined) return '`arguments` do not fit.';
	const { keyword, params, instancePath, message = 'does not fit' } = error;
	const more: unknown =
		keyword === 'additionalProperties' || keyword === 'unevaluatedProperties'
			? (params['additionalProperty'] ?? params['unevaluatedProperty'])
			: keyword === 'enum'
				? params['allowedValues']
				: params['allowedValue'];
	const text = `\`arguments${instancePath}\` ${message}${more === undefined ? '' : `: ${JSON.stringify(more)}`}`;
	return text.length > SCHEMA_LIMITS.objectionCharsMax
		? `${text.slice(0, SCHEMA_LIMITS.objectionCharsMax)}…`
		: `${text}.`;
}

function isTree(value: unknown): value is object {
	return typeof value === 'object' && value !== null;
}

function isObject(value: unknown): value is Record<string, unknown> {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
