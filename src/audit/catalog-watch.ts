/** What has changed when the catalog is another: which servers came, went, or are not what they were. */
import { AUDIT_LIMITS } from '../limits.ts';
import type { RecordFields } from './record.ts';

/** A server as the launcher tells of it: what of it changes by itself, and all else, which is the catalog's. */
interface CatalogServer {
	readonly name: string;
	readonly preparation: unknown;
	readonly instances: number;
	readonly egress?: { readonly allowed: readonly string[] };
}

/** What of the launcher's state is looked at. */
export interface CatalogState {
	readonly catalog: { readonly revision: number; readonly problem?: string };
	readonly servers: readonly CatalogServer[];
}

export class CatalogWatch {
	readonly #record: (fields: RecordFields) => void;
	#seen = '0';
	/** As they were told last: an image that is made gives a server another spec, and is no change of the catalog. */
	#servers: readonly CatalogServer[] = [];

	/** @param record is told of each change */
	constructor(record: (fields: RecordFields) => void) {
		this.#record = record;
	}

	see({ catalog, servers }: CatalogState): void {
		const { revision, problem } = catalog;
		// A mistake leaves the catalog what it was.
		const seen = problem === undefined ? String(revision) : `${revision} ${problem}`;
		const before = this.#servers;
		this.#servers = servers;
		if (seen === this.#seen) return;
		this.#seen = seen;
		const was = describe(before);
		const is = describe(servers);
		this.#record({
			revision,
			...(problem === undefined ? {} : { problem: true }),
			...tell('added', servers, ({ name }) => !was.has(name)),
			...tell('removed', before, ({ name }) => !is.has(name)),
			...tell('changed', servers, ({ name }) => was.has(name) && was.get(name) !== is.get(name)),
		});
	}
}

function describe(servers: readonly CatalogServer[]): ReadonlyMap<string, string> {
	return new Map(
		servers.map(({ preparation: _, instances: __, egress, ...said }) => [
			said.name,
			JSON.stringify([said, egress?.allowed]),
		]),
	);
}

function tell(
	field: 'added' | 'removed' | 'changed',
	servers: readonly CatalogServer[],
	isOne: (server: CatalogServer) => boolean,
): RecordFields {
	const names = servers.filter(isOne).map(({ name }) => name);
	return names.length === 0 ? {} : { [field]: names.slice(0, AUDIT_LIMITS.catalogNamesMax) };
}
