/** Fields of other formats, held against what they are to be. */

import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** The object that a value is; undefined when it is none. */
export function fieldsOf(value: unknown): Fields | undefined {
	return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : undefined;
}

/** A text, or what people write in the place of one. */
function asText(value: unknown): string | undefined {
	if (typeof value === 'string') return value;
	return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint'
		? String(value)
		: undefined;
}

/** The text of a field; undefined when it is not there. Throws Refusal when it is something else. */
export function textOf(fields: Fields, field: string): string | undefined {
	const value = fields[field];
	if (value === undefined || value === null) return undefined;
	return asText(value) ?? refuse(field, 'a text');
}

/** The texts of a list. Throws Refusal. */
export function textsOf(fields: Fields, field: string): readonly string[] {
	const value = fields[field];
	if (value === undefined || value === null) return [];
	if (!Array.isArray(value)) return refuse(field, 'a list of texts');
	return value.map((one: unknown) => asText(one) ?? refuse(field, 'a list of texts'));
}

/** The texts of an object by name; those that are null are left out. Throws Refusal. */
export function recordOf(fields: Fields, field: string): Readonly<Record<string, string>> {
	const value = fields[field];
	if (value === undefined || value === null) return {};
	const record = fieldsOf(value) ?? refuse(field, 'an object with texts');
	const texts = Object.entries(record).filter(([, text]) => text !== null && text !== undefined);
	return Object.fromEntries(texts.map(([name, text]) => [name, asText(text) ?? refuse(field, 'an object with texts')]));
}

/** The objects of a list. Throws Refusal. */
export function listOf(fields: Fields, field: string): readonly Fields[] {
	const value = fields[field];
	if (value === undefined || value === null) return [];
	if (!Array.isArray(value)) return refuse(field, 'a list of objects');
	return value.map((one: unknown) => fieldsOf(one) ?? refuse(field, 'a list of objects'));
}

/** What people read, as the catalog takes it: in one piece, and not too long. */
export function proseOf(fields: Fields, field: string, charsMax: number): string | undefined {
	const value = fields[field];
	if (typeof value !== 'string') return undefined;
	const text = value.replace(/[\s\u0000-\u001f\u007f]+/g, ' ').trim();
	if (text === '') return undefined;
	return text.length > charsMax ? `${text.slice(0, charsMax - 1)}…` : text;
}

function refuse(field: string, wanted: string): never {
	throw new Refusal(`its field ${tell(field)} is not ${wanted}`, `Make it ${wanted}.`, field);
}
