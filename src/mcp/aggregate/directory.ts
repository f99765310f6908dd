/**
 * What the servers behind an aggregated endpoint have, as one: lists in the order of the servers, names with the
 * server's before them, and whose a resource is. What the servers wrote stays as it is but for the names.
 *
 * A URI that two servers have is the first one's: the same at every time, and no error.
 */
import { SlipwayError } from '../../errors.ts';
import { AGGREGATE_LIMITS } from '../../limits.ts';
import { isObject, own } from '../jsonrpc.ts';
import type { Answer } from '../own-request.ts';
import { followPages } from '../pages.ts';
import { editMembers, elementTexts, memberText } from '../text.ts';
import type { MemberConversation, Members } from './members.ts';
import { joinName } from './names.ts';
import { within } from './within.ts';

/** A list that every server may have. */
export interface ListKind {
	readonly method: string;
	/** The member of the result that holds it. */
	readonly member: string;
	/** The capability that a server has if it has the list. */
	readonly capability: string;
	/** What its entries are told apart by. Names are joined with the server's; the rest must be unique. */
	readonly key: 'name' | 'uri' | 'uriTemplate' | 'taskId';
}

/** By method. */
export const LISTS: ReadonlyMap<string, ListKind> = new Map(
	(
		[
			{ method: 'tools/list', member: 'tools', capability: 'tools', key: 'name' },
			{ method: 'prompts/list', member: 'prompts', capability: 'prompts', key: 'name' },
			{ method: 'resources/list', member: 'resources', capability: 'resources', key: 'uri' },
			{
				method: 'resources/templates/list',
				member: 'resourceTemplates',
				capability: 'resources',
				key: 'uriTemplate',
			},
			{ method: 'tasks/list', member: 'tasks', capability: 'tasks', key: 'taskId' },
		] as const
	).map((kind) => [kind.method, kind]),
);

interface Entry {
	readonly key: string;
	readonly text: string;
}

export interface DirectoryOptions<C extends MemberConversation> {
	readonly members: Members<C>;
	/**
	 * The results of a list that are known of a server without asking it, page by page, as JSON: none where the server
	 * does not have the list, undefined where it is to be asked.
	 */
	readonly known: (server: string, kind: ListKind) => readonly string[] | undefined;
	/** Asks one server. Rejects with a SlipwayError. */
	readonly ask: (conversation: C, method: string, params: object) => Promise<Answer>;
	/** A server that some list was without would have its own now. */
	readonly onLate: () => void;
	/** A list of a server could not be had. */
	readonly onMissing: (server: string, method: string, error: unknown) => void;
}

/** INVARIANT: what is remembered of whose a resource, template or task is, is bounded for each server. */
export class Directory<C extends MemberConversation> {
	readonly #options: DirectoryOptions<C>;
	/** What each server has, by kind of key. */
	readonly #owned = {
		uri: new Map<string, Set<string>>(),
		uriTemplate: new Map<string, Set<string>>(),
		taskId: new Map<string, Set<string>>(),
	};
	/** Servers whose lists take too long, and until when they are not asked for one again. */
	readonly #slowUntilMs = new Map<string, number>();
	/** The lists that the client was told without asking the server, as it was told them. */
	readonly #told = new Map<string, Map<ListKind, readonly string[]>>();

	constructor(options: DirectoryOptions<C>) {
		this.#options = options;
	}

	/** The servers of which it is not known what they have. */
	get strangers(): string[] {
		const kind = LISTS.get('tools/list');
		return this.#options.members.names.filter(
			(server) => kind === undefined || this.#options.known(server, kind) === undefined,
		);
	}

	/** The whole of a list, as the text of a JSON array. Servers that are absent, or fail, are left out. */
	async list(kind: ListKind): Promise<string> {
		const { members } = this.#options;
		const known = new Map(members.names.map((server) => [server, this.#knownOf(kind, server)] as const));
		const present = new Map(await members.openAll(members.names.filter((server) => known.get(server) === undefined)));
		const lists = await Promise.all(
			members.names.map(async (server) => {
				const conversation = present.get(server);
				const entries = conversation === undefined ? known.get(server) : this.#entriesOf(kind, server, conversation);
				return { server, entries: (await entries) ?? [] };
			}),
		);
		const seen = new Set<string>();
		const texts: string[] = [];
		for (const { server, entries } of lists)
			for (const { key, text } of entries) {
				const id = kind.key === 'name' ? joinName(server, key) : key;
				if (seen.has(id)) continue;
				seen.add(id);
				texts.push(kind.key === 'name' ? editMembers(text, { name: JSON.stringify(id) }) : text);
			}
		return `[${texts.join(',')}]`;
	}

	/** A server is there: what the client was told of it without asking is looked at, and told as a change if it is not so. */
	async compare(server: string, conversation: C): Promise<void> {
		const told = [...(this.#told.get(server) ?? [])];
		this.#told.delete(server);
		const same = await Promise.all(
			told.map(async ([kind, results]) => {
				const now = await this.#resultsOf(kind, conversation).catch(() => results);
				return now.join('\n') === results.join('\n');
			}),
		);
		if (same.includes(false)) this.#options.onLate();
	}

	/** The server whose a resource is, by the lists of all; undefined for one that is in none. */
	async ownerOfResource(uri: string): Promise<string | undefined> {
		const known = this.#ownerOf('uri', uri) ?? this.#ownerByTemplate(uri);
		if (known !== undefined) return known;
		await Promise.all(['resources/list', 'resources/templates/list'].map((method) => this.#refresh(method)));
		return this.#ownerOf('uri', uri) ?? this.#ownerByTemplate(uri);
	}

	/** The server whose a template is. */
	async ownerOfTemplate(template: string): Promise<string | undefined> {
		const known = this.#ownerOf('uriTemplate', template);
		if (known !== undefined) return known;
		await this.#refresh('resources/templates/list');
		return this.#ownerOf('uriTemplate', template);
	}

	ownerOfTask(taskId: string): string | undefined {
		return this.#ownerOf('taskId', taskId);
	}

	/** Remembers whose a task is. */
	noteTask(taskId: string, server: string): void {
		const tasks = this.#owned.taskId.get(server) ?? new Set<string>();
		this.#owned.taskId.set(server, tasks.add(taskId));
		const [oldest] = tasks;
		if (tasks.size > AGGREGATE_LIMITS.rememberedMax && oldest !== undefined) tasks.delete(oldest);
	}

	async #refresh(method: string): Promise<void> {
		const kind = LISTS.get(method);
		if (kind !== undefined) await this.list(kind);
	}

	/** The first server, in the order of precedence, that has it and can be asked. */
	#ownerOf(kind: 'uri' | 'uriTemplate' | 'taskId', key: string): string | undefined {
		const { members } = this.#options;
		const owners = members.names.filter((server) => this.#owned[kind].get(server)?.has(key));
		return owners.find((server) => !members.isAbsent(server)) ?? owners[0];
	}

	/** The template with the longest beginning without a variable that the URI shares. */
	#ownerByTemplate(uri: string): string | undefined {
		let owner: string | undefined;
		let longest = 0;
		for (const server of this.#options.members.names)
			for (const template of this.#owned.uriTemplate.get(server) ?? []) {
				const [beginning = ''] = template.split('{', 1);
				if (beginning.length <= longest || !uri.startsWith(beginning)) continue;
				owner = server;
				longest = beginning.length;
			}
		return owner;
	}

	async #entriesOf(kind: ListKind, server: string, conversation: C): Promise<readonly Entry[]> {
		if (own(conversation.capabilities, kind.capability) === undefined) return [];
		// One that was too slow a moment ago does not delay every list.
		if (performance.now() < (this.#slowUntilMs.get(server) ?? 0)) return [];
		try {
			const fetching = this.#pagesOf(kind, conversation);
			const entries = await within(fetching, AGGREGATE_LIMITS.listWaitMs);
			if (entries === undefined) {
				this.#slowUntilMs.set(server, performance.now() + AGGREGATE_LIMITS.retryAfterMs);
				fetching.then(
					() => {
						this.#slowUntilMs.delete(server);
						this.#options.onLate();
					},
					() => undefined,
				);
				throw new SlipwayError('SLIPWAY_CALL_TIMEOUT');
			}
			this.#note(kind.key, entries, server);
			return entries;
		} catch (error) {
			this.#options.members.miss(server);
			this.#options.onMissing(server, kind.method, error);
			return [];
		}
	}

	/** What is known of a list of a server that is not there. */
	#knownOf(kind: ListKind, server: string): readonly Entry[] | undefined {
		if (this.#options.members.isPresent(server)) return undefined;
		const results = this.#options.known(server, kind);
		if (results === undefined) return undefined;
		const told = this.#told.get(server) ?? new Map<ListKind, readonly string[]>();
		if (results.length > 0) this.#told.set(server, told.set(kind, results));
		const entries = results.flatMap((result) => entriesIn(result, kind));
		this.#note(kind.key, entries, server);
		return entries;
	}

	async #pagesOf(kind: ListKind, conversation: C): Promise<Entry[]> {
		return (await this.#resultsOf(kind, conversation)).flatMap((result) => entriesIn(result, kind));
	}

	/** The results of all pages, as JSON. */
	#resultsOf({ method }: ListKind, conversation: C): Promise<string[]> {
		return followPages((params) => this.#options.ask(conversation, method, params), AGGREGATE_LIMITS.pagesMax);
	}

	#note(kind: ListKind['key'], entries: readonly Entry[], server: string): void {
		if (kind === 'name') return;
		this.#owned[kind].set(server, new Set(entries.slice(0, AGGREGATE_LIMITS.rememberedMax).map(({ key }) => key)));
	}
}

/** The entries of a page that can be told apart. */
function entriesIn(result: string, { member, key }: ListKind): Entry[] {
	const list = memberText(result, member) ?? '[]';
	const values: unknown = JSON.parse(list);
	if (!Array.isArray(values)) return [];
	return elementTexts(list).flatMap((text, index) => {
		const value: unknown = values[index];
		const id = isObject(value) ? own(value, key) : undefined;
		return typeof id === 'string' ? [{ key: id, text }] : [];
	});
}
