/** The shape of arguments: names and kinds of their members and sizes, and no value. Bounded, whatever comes. */
import { AUDIT_LIMITS } from '../limits.ts';

/** `string(12)`, `number`, `array(3) of string`, `object(40)` where it is too deep; or members by name. */
export type Shape = string | { readonly [name: string]: Shape };

/** What stands for the members that are beyond the bound. */
export const REST = '...';

/** The shape of a JSON value. */
export function shapeOf(value: unknown): Shape {
	return describe(value, 0, { left: AUDIT_LIMITS.shapeMembersMax });
}

function describe(value: unknown, depth: number, budget: { left: number }): Shape {
	if (typeof value === 'string') return `string(${value.length})`;
	if (value === null) return 'null';
	if (Array.isArray(value)) return describeArray(value);
	if (typeof value !== 'object') return typeof value;
	const names = Object.keys(value);
	if (depth >= AUDIT_LIMITS.shapeDepthMax) return `object(${names.length})`;
	// Without a prototype, so that a member of any name is a member.
	const members: Record<string, Shape> = Object.create(null);
	for (const [index, name] of names.entries()) {
		if (budget.left <= 0) {
			members[REST] = `${names.length - index} more`;
			break;
		}
		budget.left -= 1;
		members[cut(name)] = describe(Reflect.get(value, name), depth + 1, budget);
	}
	return members;
}

/** Which kinds its first elements are of. */
function describeArray(values: readonly unknown[]): string {
	const kinds = new Set(values.slice(0, AUDIT_LIMITS.shapeMembersMax).map(kindOf));
	return kinds.size === 0 ? 'array(0)' : `array(${values.length}) of ${[...kinds].sort().join('|')}`;
}

function kindOf(value: unknown): string {
	if (value === null) return 'null';
	return Array.isArray(value) ? 'array' : typeof value;
}

function cut(name: string): string {
	const max = AUDIT_LIMITS.nameCharsMax;
	return name.length <= max ? name : `${name.slice(0, max)}${REST}`;
}
