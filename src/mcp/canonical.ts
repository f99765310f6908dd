/**
 * A JSON text that is the same for values that are the same, whatever the order of their keys and the spelling of their
 * numbers and strings. Recursive: for values whose depth is bounded.
 *
 * Source: RFC 8785. What is undefined in an object is left out, as in JSON.stringify.
 */
export function canonical(value: unknown): string {
	if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
	if (typeof value !== 'object' || value === null) return JSON.stringify(value);
	const members = Object.entries(value)
		.filter(([, part]) => part !== undefined)
		.sort(([one], [other]) => (one < other ? -1 : 1))
		.map(([key, part]) => `${JSON.stringify(key)}:${canonical(part)}`);
	return `{${members.join(',')}}`;
}
