/** JSON as the shipped catalog has it: a member a line, and what is short in one. */

export interface Style {
	/** Of the line that the value begins in. */
	readonly indent: string;
	/** What a level adds. */
	readonly unit: string;
	readonly eol: string;
}

/** Longer ones get lines of their own. Columns, as in the shipped catalog. */
const LINE_COLUMNS = 120;

/** A value as JSON, a line for each of its members; those that fit stay in theirs. */
export function layOut(value: unknown, { indent, unit, eol }: Style): string {
	const members = membersOf(value);
	if (members === undefined || members.length === 0) return JSON.stringify(value);
	const inner = indent + unit;
	const lines = members.map(([key, member]) => {
		const start = `${inner}${key === undefined ? '' : `${JSON.stringify(key)}: `}`;
		const short = inOneLine(member);
		const fits = start.length + short.length < LINE_COLUMNS;
		return start + (fits ? short : layOut(member, { indent: inner, unit, eol }));
	});
	const [open, close] = Array.isArray(value) ? '[]' : '{}';
	return `${open}${eol}${lines.join(`,${eol}`)}${eol}${indent}${close}`;
}

function inOneLine(value: unknown): string {
	const members = membersOf(value);
	if (members === undefined || members.length === 0) return JSON.stringify(value);
	const texts = members.map(
		([key, member]) => `${key === undefined ? '' : `${JSON.stringify(key)}: `}${inOneLine(member)}`,
	);
	return Array.isArray(value) ? `[${texts.join(', ')}]` : `{ ${texts.join(', ')} }`;
}

/** What is in an object or a list; what is undefined is not there. */
function membersOf(value: unknown): readonly (readonly [key: string | undefined, member: unknown])[] | undefined {
	if (Array.isArray(value)) return value.map((member: unknown) => [undefined, member]);
	if (typeof value !== 'object' || value === null) return undefined;
	return Object.entries(value).filter(([, member]) => member !== undefined);
}
