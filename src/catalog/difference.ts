/**
 * What another catalog would change. What runs is told of in fingerprints, a hash for each field that is said, so that whoever
 * compares learns what differs and not what is in it.
 */
import { createHash } from 'node:crypto';
import { CATALOG_LIMITS } from '../limits.ts';
import type { Catalog, Server } from './catalog.ts';
import { changesContainers } from './entry-hash.ts';

/** A hash for each field of an entry. */
export type Fingerprint = Readonly<Record<string, string>>;

export interface Fingerprints {
	/** Of each server. */
	readonly servers: Readonly<Record<string, Fingerprint>>;
	/** Of the members of each group. */
	readonly groups: Fingerprint;
}

export interface Changed {
	readonly name: string;
	/** The names of the fields, as Slipway calls them. */
	readonly fields: readonly string[];
	/** Whether its containers are others then: those that run end when their calls are done. */
	readonly replaced: boolean;
}

export interface Difference {
	readonly added: readonly string[];
	readonly removed: readonly string[];
	readonly changed: readonly Changed[];
	readonly groups: {
		readonly added: readonly string[];
		readonly removed: readonly string[];
		readonly changed: readonly string[];
	};
}

export function fingerprintsOf({ servers, groups }: Catalog): Fingerprints {
	return {
		servers: Object.fromEntries([...servers.values()].map((server) => [server.name, fingerprintOf(server)])),
		groups: Object.fromEntries([...groups].map(([name, members]) => [name, hashOf(members)])),
	};
}

function fingerprintOf({ name: _, ...fields }: Server): Fingerprint {
	return Object.fromEntries(Object.entries(fields).map(([field, value]) => [field, hashOf(value)]));
}

function hashOf(value: unknown): string {
	return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, CATALOG_LIMITS.fingerprintCharsMax);
}

/** What is not yet so in `now` that `next` says. */
export function differenceOf(now: Fingerprints, next: Fingerprints): Difference {
	const servers = compare(now.servers, next.servers, (one, other) => differing(one, other).length === 0);
	const groups = compare(now.groups, next.groups, (one, other) => one === other);
	return {
		...servers,
		changed: servers.changed.map((name) => {
			const fields = differing(now.servers[name] ?? {}, next.servers[name] ?? {});
			return { name, fields, replaced: fields.some(changesContainers) };
		}),
		groups,
	};
}

/** Whether nothing differs. */
export function isNone({ added, removed, changed, groups }: Difference): boolean {
	const all = [added, removed, changed, groups.added, groups.removed, groups.changed];
	return all.every(({ length }) => length === 0);
}

function differing(one: Fingerprint, other: Fingerprint): string[] {
	const fields = new Set([...Object.keys(one), ...Object.keys(other)]);
	return [...fields].filter((field) => one[field] !== other[field]).toSorted();
}

function compare<Value>(
	now: Readonly<Record<string, Value>>,
	next: Readonly<Record<string, Value>>,
	isSame: (one: Value, other: Value) => boolean,
): { added: string[]; removed: string[]; changed: string[] } {
	const added = Object.keys(next).filter((name) => !Object.hasOwn(now, name));
	const removed = Object.keys(now).filter((name) => !Object.hasOwn(next, name));
	const changed = Object.entries(next)
		.filter(([name, value]) => {
			const before = Object.hasOwn(now, name) ? now[name] : undefined;
			return before !== undefined && !isSame(before, value);
		})
		.map(([name]) => name);
	return { added, removed, changed };
}
