/**
 * What a server said of itself to a client of some kind, before anybody had called anything of it: its answer to
 * `initialize`, and the lists that do not come from its data. With it a client can be told without an Instance.
 */
import { SNAPSHOT_LIMITS } from '../limits.ts';
import { isObject, own, type RequestMessage } from './jsonrpc.ts';

/** The lists of a Snapshot, and the notification that says that one has changed. Resources are data: they are not here. */
export const SNAPSHOT_LISTS: ReadonlyMap<string, string> = new Map([
	['tools/list', 'notifications/tools/list_changed'],
	['prompts/list', 'notifications/prompts/list_changed'],
	['resources/templates/list', 'notifications/resources/list_changed'],
]);

/** As it is kept: the texts of results. */
export interface SnapshotRecord {
	readonly initialize: string;
	/** By method and cursor. */
	readonly lists: Readonly<Record<string, string>>;
}

/** A page of a list. */
export interface ListPage {
	readonly method: string;
	readonly cursor: string | undefined;
}

interface KeptPage {
	readonly result: string;
	readonly nextCursor: string | undefined;
}

/** INVARIANT: what it holds is bounded in pages and characters; a list of which a page is too much is not held. */
export class Snapshot {
	readonly #pages = new Map<string, KeptPage>();
	readonly #onChange: (record: SnapshotRecord) => void;
	#initialize: string;
	#chars = 0;

	/** @param onChange called when it has learned something */
	constructor({ initialize, lists }: SnapshotRecord, onChange: (record: SnapshotRecord) => void) {
		this.#initialize = initialize;
		for (const [key, result] of Object.entries(lists)) this.#put(key, result);
		this.#onChange = onChange;
	}

	/** The result of `initialize` or `server/discover`, as JSON; empty where nobody has asked that. */
	get initialize(): string {
		return this.#initialize;
	}

	/** The result of a page, as JSON; undefined when it is not known, or a page after it is not. */
	find({ method, cursor }: ListPage): string | undefined {
		const found = this.#pages.get(keyOf({ method, cursor }));
		const seen = new Set<KeptPage>();
		for (let page = found; page !== undefined && !seen.has(page); ) {
			if (page.nextCursor === undefined) return found?.result;
			seen.add(page);
			page = this.#pages.get(keyOf({ method, cursor: page.nextCursor }));
		}
		return undefined;
	}

	/** The results of all pages of a list, in order, as JSON; undefined where not all are known. */
	findWhole(method: string): readonly string[] | undefined {
		const results: string[] = [];
		let page = this.find({ method, cursor: undefined }) === undefined ? undefined : this.#pages.get(method);
		while (page !== undefined) {
			results.push(page.result);
			page = page.nextCursor === undefined ? undefined : this.#pages.get(keyOf({ method, cursor: page.nextCursor }));
		}
		return results.length === 0 ? undefined : results;
	}

	/** All pages that are known. */
	get pages(): (readonly [page: ListPage, result: string])[] {
		return [...this.#pages].map(([key, { result }]) => {
			const [method = '', cursor] = key.split(/ (.*)/s, 2);
			return [{ method, cursor }, result] as const;
		});
	}

	/** The server answered `initialize` with that result. */
	learnInitialize(result: string): void {
		if (result === this.#initialize) return;
		this.#initialize = result;
		this.#tell();
	}

	/** The server answered with that result. Returns whether it was known otherwise. */
	learn(page: ListPage, result: string): boolean {
		const key = keyOf(page);
		const known = this.#pages.get(key)?.result;
		if (known === result) return false;
		this.#put(key, result);
		this.#tell();
		return known !== undefined;
	}

	#put(key: string, result: string): void {
		this.#chars -= this.#pages.get(key)?.result.length ?? 0;
		this.#pages.delete(key);
		const { charsMax, pagesMax } = SNAPSHOT_LIMITS;
		if (this.#chars + result.length > charsMax || this.#pages.size >= pagesMax) return;
		this.#pages.set(key, { result, nextCursor: nextCursorOf(result) });
		this.#chars += result.length;
	}

	#tell(): void {
		const lists = Object.fromEntries([...this.#pages].map(([key, { result }]) => [key, result]));
		this.#onChange({ initialize: this.#initialize, lists });
	}
}

/** The page that a request is for; undefined when it is for none that a Snapshot has. */
export function pageOf({ method, params = {} }: RequestMessage): ListPage | undefined {
	if (!SNAPSHOT_LISTS.has(method)) return undefined;
	const cursor = own(params, 'cursor');
	if (cursor !== undefined && typeof cursor !== 'string') return undefined;
	return { method, cursor };
}

function keyOf({ method, cursor }: ListPage): string {
	return cursor === undefined ? method : `${method} ${cursor}`;
}

function nextCursorOf(result: string): string | undefined {
	const value: unknown = JSON.parse(result);
	const cursor = isObject(value) ? own(value, 'nextCursor') : undefined;
	return typeof cursor === 'string' ? cursor : undefined;
}
