/**
 * The servers behind an aggregated endpoint: each is started when it is needed first, and one that cannot be started,
 * or that ends, is absent, and delays none of the others.
 */
import type { Patience } from '../../channel.ts';
import { SlipwayError } from '../../errors.ts';
import { AGGREGATE_LIMITS } from '../../limits.ts';
import { within } from './within.ts';

/** A conversation with one server. */
export interface MemberConversation {
	readonly server: { readonly ended: Promise<SlipwayError>; readonly inFlight: number; hold(): () => void };
	/** Whether Instances that are made now are others than this one. */
	readonly stale: boolean;
	/** When nobody calls it for so long, it is stopped until somebody does. */
	readonly idleStopMs: number;
	/** What the server said that it can do. */
	readonly capabilities: object;
	end(patience: Patience): Promise<void>;
}

export interface MembersOptions<C extends MemberConversation> {
	/** The servers that there are now, in the order of their precedence. */
	readonly names: () => readonly string[];
	/** Begins a conversation with one. Rejects with a SlipwayError. */
	readonly open: (name: string) => Promise<C>;
	/** A server that some list was without is there. */
	readonly onLate: (name: string) => void;
	/** A server is there, before anybody else hears of it. */
	readonly onOpen: (name: string, conversation: C) => void;
	/** What Instances of a server are made of now; undefined while that is not known. */
	readonly specOf: (name: string) => string | undefined;
	/** There are other servers now, or one has become another. */
	readonly onChange: () => void;
	/** Whether a server that nobody calls has to be there all the same. */
	readonly isNeeded: (name: string) => boolean;
}

interface Member<C> {
	readonly opening: Promise<C>;
	conversation: C | undefined;
	/** When it was asked for last. */
	usedAtMs: number;
	/** Since when it is known that it cannot be started. */
	failedAtMs: number | undefined;
}

/** INVARIANT: at most one conversation with each server; after `end` there is none. */
export class Members<C extends MemberConversation> {
	readonly #options: MembersOptions<C>;
	readonly #members = new Map<string, Member<C>>();
	/** Those that some list was without, and that have not come since. */
	readonly #missed = new Set<string>();
	/** Those that finish what they have, with the names of their servers. */
	readonly #retiring = new Map<C, string>();
	/** What must not speak now: the ways back, by who wants it. */
	readonly #holds = new Set<(() => void)[]>();
	/** The names that there were a moment ago. */
	#known: string;
	/** What their Instances were made of when that was known last. */
	readonly #specs = new Map<string, string>();
	#over = false;

	constructor(options: MembersOptions<C>) {
		this.#options = options;
		this.#known = options.names().join('\n');
		this.#noteSpecs(options.names());
	}

	/** Those that are there, in order. */
	get present(): C[] {
		return this.named.map(([, conversation]) => conversation);
	}

	/** Those that are there, with their names, in order. */
	get named(): (readonly [name: string, conversation: C])[] {
		return this.#options.names().flatMap((name) => {
			const conversation = this.#members.get(name)?.conversation;
			return conversation === undefined ? [] : [[name, conversation] as const];
		});
	}

	/** Those that finish what they have: of all servers, or of one. */
	retiring(name?: string): C[] {
		return [...this.#retiring].flatMap(([conversation, of]) =>
			name === undefined || name === of ? [conversation] : [],
		);
	}

	/** The servers that may be asked for, started or not, in order. */
	get names(): readonly string[] {
		return this.#options.names();
	}

	/** Whether a server could not be started when it was tried last. */
	isAbsent(name: string): boolean {
		return this.#members.get(name)?.failedAtMs !== undefined;
	}

	/** Whether there is a server of that name. */
	has(name: string): boolean {
		return this.names.includes(name);
	}

	/** The conversation with one, begun if need be. Rejects with a SlipwayError. */
	open(name: string): Promise<C> {
		const known = this.#members.get(name);
		if (known === undefined || known.failedAtMs !== undefined) return this.#begin(name);
		known.usedAtMs = performance.now();
		return known.opening;
	}

	/** Whether a server is there. */
	isPresent(name: string): boolean {
		return this.#members.get(name)?.conversation !== undefined;
	}

	/** Every one of them that is there, or comes within the time that a list waits, in order. */
	async openAll(
		names: readonly string[] = this.#options.names(),
	): Promise<(readonly [name: string, conversation: C])[]> {
		const comings = names.map((name) => this.#openIfDue(name).catch(() => undefined));
		const all = await Promise.all(comings.map((coming) => within(coming, AGGREGATE_LIMITS.listWaitMs)));
		return names.flatMap((name, index) => {
			const conversation = all[index];
			if (conversation !== undefined) return [[name, conversation] as const];
			this.miss(name);
			return [];
		});
	}

	/** A list was without it: when it comes, that is news. */
	miss(name: string): void {
		this.#missed.add(name);
	}

	/** Stops what they all say until the way back is called. */
	hold(): () => void {
		const releases = [...this.present, ...this.retiring()].map(({ server }) => server.hold());
		this.#holds.add(releases);
		return () => {
			this.#holds.delete(releases);
			for (const release of releases.splice(0)) release();
		};
	}

	/** Ends what is no longer in the catalog, not what it was, or not used. To be called every second or so. */
	tick(nowMs: number): void {
		for (const conversation of this.retiring()) this.#endWhenDone(conversation);
		const names = this.#options.names();
		const known = names.join('\n');
		const changed = known !== this.#known;
		this.#known = known;
		for (const [name, member] of this.#members) if (!names.includes(name)) this.#retire(name, member);
		let stale = this.#noteSpecs(names);
		for (const [name, member] of this.#members) {
			if (member.conversation?.stale) {
				this.#retire(name, member);
				stale = true;
			} else if (this.#isIdle(name, member, nowMs)) this.#retire(name, member);
		}
		if (changed || stale) this.#options.onChange();
	}

	/** Ends them all until somebody asks for them. */
	async rest(patience: Patience): Promise<void> {
		const resting = [...this.#members].flatMap(([name, { conversation }]) => {
			if (conversation === undefined) return [];
			this.#members.delete(name);
			return [conversation];
		});
		const retiring = this.retiring();
		for (const conversation of retiring) this.#retiring.delete(conversation);
		await Promise.all([...resting, ...retiring].map((conversation) => conversation.end(patience)));
	}

	async end(patience: Patience): Promise<void> {
		this.#over = true;
		const members = [...this.#members.values()];
		await Promise.all([
			...members.map(async ({ opening }) => (await opening.catch(() => undefined))?.end(patience)),
			...this.retiring().map((conversation) => conversation.end(patience)),
		]);
	}

	/** Returns whether one is made of something else than it was when that was known last. */
	#noteSpecs(names: readonly string[]): boolean {
		let changed = false;
		for (const name of names) {
			const spec = this.#options.specOf(name);
			if (spec === undefined) continue;
			const known = this.#specs.get(name);
			changed ||= known !== undefined && known !== spec;
			this.#specs.set(name, spec);
		}
		return changed;
	}

	#isIdle(name: string, member: Member<C>, nowMs: number): boolean {
		const { conversation } = member;
		if (conversation === undefined) return false;
		if (conversation.server.inFlight > 0 || this.#options.isNeeded(name)) member.usedAtMs = nowMs;
		return nowMs - member.usedAtMs > conversation.idleStopMs;
	}

	/** Its calls may finish. */
	#retire(name: string, { conversation }: Member<C>): void {
		this.#members.delete(name);
		if (conversation === undefined) return;
		this.#retiring.set(conversation, name);
		this.#endWhenDone(conversation);
	}

	#endWhenDone(conversation: C): void {
		if (conversation.server.inFlight > 0) return;
		this.#retiring.delete(conversation);
		void conversation.end('patient');
	}

	/** One that could not be started a moment ago is not tried for every list. */
	#openIfDue(name: string): Promise<C> {
		const { failedAtMs, opening } = this.#members.get(name) ?? {};
		const due = failedAtMs === undefined || performance.now() - failedAtMs > AGGREGATE_LIMITS.retryAfterMs;
		return due || opening === undefined ? this.open(name) : opening;
	}

	#begin(name: string): Promise<C> {
		if (this.#over) return Promise.reject(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		const member: Member<C> = {
			opening: this.#options.open(name),
			conversation: undefined,
			usedAtMs: performance.now(),
			failedAtMs: undefined,
		};
		this.#members.set(name, member);
		member.opening.then(
			(conversation) => this.#arrive(name, member, conversation),
			() => {
				member.failedAtMs = performance.now();
			},
		);
		return member.opening;
	}

	#arrive(name: string, member: Member<C>, conversation: C): void {
		// It left the catalog while it started.
		if (this.#members.get(name) !== member) return void conversation.end('prompt');
		member.conversation = conversation;
		for (const releases of this.#holds) releases.push(conversation.server.hold());
		void conversation.server.ended.then(() => {
			this.#retiring.delete(conversation);
			if (this.#members.get(name) === member) this.#members.delete(name);
		});
		try {
			this.#options.onOpen(name, conversation);
		} catch (error) {
			// Its first words were its last; that it has ended is told like any end.
			if (!(error instanceof SlipwayError)) throw error;
		}
		if (this.#missed.delete(name)) this.#options.onLate(name);
	}
}
