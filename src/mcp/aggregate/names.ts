/**
 * Names of tools and prompts where many servers are one: `<server>__<name>`.
 *
 * The name of a server has no underscore (catalog/schema.ts), so the first two are where it ends.
 */
const SEPARATOR = '__';

export function joinName(server: string, name: string): string {
	return `${server}${SEPARATOR}${name}`;
}

/** Undefined for a name that is of no server. */
export function splitName(joined: string): { server: string; name: string } | undefined {
	const at = joined.indexOf(SEPARATOR);
	if (at <= 0) return undefined;
	return { server: joined.slice(0, at), name: joined.slice(at + SEPARATOR.length) };
}
