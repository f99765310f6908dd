/** The arguments of a call as they stand on a command line. */
import { SlipwayError } from '../errors.ts';

export type Arguments = Record<string, unknown>;

/** What is known of a tool's arguments. */
interface InputSchema {
	readonly properties?: Readonly<Record<string, object>> | undefined;
}

/**
 * `key=value` is text, or the number, truth or JSON that the schema wants; `key:=json` is JSON whatever the schema says.
 *
 * @param all the whole as one JSON object, which the others are added to
 * @throws SlipwayError SLIPWAY_ARGUMENTS_INVALID
 */
export function argumentsOf(
	words: readonly string[],
	{ all, schema }: { readonly all?: string | undefined; readonly schema?: InputSchema | undefined },
): Arguments {
	const found = new Map<string, unknown>();
	if (all !== undefined) {
		const whole = parse(all, '--args');
		if (typeof whole !== 'object' || whole === null || Array.isArray(whole))
			throw wrong('`--args` takes a JSON object.');
		for (const [key, value] of Object.entries(whole)) found.set(key, value);
	}
	for (const word of words) {
		const [, key, operator, text] = /^([^=]*?)(:?=)(.*)$/s.exec(word) ?? [];
		if (key === undefined || key === '' || text === undefined)
			throw wrong(`\`${word}\` is no argument: write key=value, or key:=json.`);
		found.set(key, operator === ':=' ? parse(text, key) : convert(text, key, schema));
	}
	// A key may be any word: none of them is taken for more than a key.
	return Object.fromEntries(found);
}

function convert(text: string, key: string, schema: InputSchema | undefined): unknown {
	const { properties = {} } = schema ?? {};
	const { type } = (Object.hasOwn(properties, key) ? properties[key] : {}) as { readonly type?: unknown };
	switch (type) {
		case 'number':
		case 'integer':
			if (text.trim() === '' || !Number.isFinite(Number(text))) throw wrong(`\`${key}\` takes a number.`);
			return Number(text);
		case 'boolean':
			if (text !== 'true' && text !== 'false') throw wrong(`\`${key}\` takes true or false.`);
			return text === 'true';
		case 'array':
		case 'object':
			return parse(text, key);
		default:
			return text;
	}
}

function parse(text: string, what: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		throw wrong(`What stands after \`${what}\` is not JSON.`);
	}
}

function wrong(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_ARGUMENTS_INVALID', { reason });
}
