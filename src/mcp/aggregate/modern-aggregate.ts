/** Many servers as one, for requests of the second era (2026-07-28) of one client. */
import type { Patience } from '../../channel.ts';
import { RPC_CODES, SlipwayError, toSlipwayError } from '../../errors.ts';
import type { Call, Reply } from '../exchange.ts';
import { isObject, notificationText, own, type RequestMessage } from '../jsonrpc.ts';
import { completeResult } from '../modern-results.ts';
import { askModern, LISTEN, type ModernRequest, type ModernServer } from '../modern-server.ts';
import { PendingCall } from '../pending-call.ts';
import { type Envelope, REVISIONS } from '../revisions.ts';
import { editMembers, replaceId } from '../text.ts';
import { AGGREGATE_CAPABILITIES, LIST_CHANGES, taskIdIn } from './capabilities.ts';
import { Directory, type DirectoryOptions, LISTS, type ListKind } from './directory.ts';
import { ManyListeners } from './many-listeners.ts';
import { type MemberConversation, Members } from './members.ts';
import { isNamed, routeOf, withName } from './route.ts';
import { search } from './search.ts';

interface ModernMember extends MemberConversation {
	readonly server: ModernServer;
}

export interface ModernAggregateOptions {
	/** The servers that there are now, in the order of their precedence. */
	readonly names: () => readonly string[];
	/** Begins a conversation with one, for requests with the envelope. */
	readonly open: (name: string) => Promise<ModernMember>;
	/** What the client says of itself. */
	readonly envelope: Envelope;
	/** Name and version of the aggregated server. */
	readonly serverInfo: object;
	readonly onMissing: (server: string, method: string, error: unknown) => void;
	/** What Instances of a server are made of now; undefined while that is not known. */
	readonly specOf: (name: string) => string | undefined;
	/** What is known of a server's list without asking it; see Directory. */
	readonly known: DirectoryOptions<MemberConversation>['known'];
}

export class ModernAggregate implements ModernServer {
	readonly ended: Promise<SlipwayError>;
	readonly #options: ModernAggregateOptions;
	readonly #members: Members<ModernMember>;
	readonly #directory: Directory<ModernMember>;
	readonly #listeners: ManyListeners;
	readonly #end = Promise.withResolvers<SlipwayError>();
	readonly #calls = new Set<PendingCall>();
	readonly #serverInfo: string;

	constructor(options: ModernAggregateOptions) {
		this.#options = options;
		this.#serverInfo = JSON.stringify(options.serverInfo);
		this.ended = this.#end.promise;
		this.#members = new Members({
			names: options.names,
			open: options.open,
			onOpen: (name, member) => {
				this.#listeners.join(name, member.server);
				void this.#directory.compare(name, member);
			},
			onLate: () => this.#tellChanged(),
			specOf: options.specOf,
			onChange: () => this.#tellChanged(),
			isNeeded: (name) => this.#listeners.wants(name),
		});
		this.#directory = new Directory({
			members: this.#members,
			known: options.known,
			ask: ({ server }, method, params) => askModern(server, method, params, options.envelope),
			onLate: () => this.#tellChanged(),
			onMissing: options.onMissing,
		});
		this.#listeners = new ManyListeners({
			ownerOf: (uri) => this.#directory.ownerOfResource(uri),
			present: () => this.#members.named.map(([name, { server }]) => [name, server]),
			open: async (names) => {
				await this.#members.openAll([...new Set([...this.#directory.strangers, ...names])]);
			},
		});
	}

	get inFlight(): number {
		const members = [...this.#members.present, ...this.#members.retiring()];
		return this.#calls.size + members.reduce((count, { server }) => count + server.inFlight, 0);
	}

	request(request: ModernRequest, reply: Reply): Call {
		const { message } = request;
		if (message.method === LISTEN) return this.#listeners.listen(request, reply);
		const call = new PendingCall(() => {
			this.#calls.delete(call);
			reply.drop();
		});
		this.#calls.add(call);
		this.#serve(call, request, reply).catch((error: unknown) => {
			if (this.#finish(call)) reply.fail(message.id, toSlipwayError(error));
		});
		return call;
	}

	holds(requestState: string, message: RequestMessage): boolean {
		const named = withName('{}', message).message;
		const members = [...this.#members.present, ...this.#members.retiring()];
		return members.some(({ server }) => server.holds(requestState, named));
	}

	hold(): () => void {
		return this.#members.hold();
	}

	tick(nowMs: number): void {
		this.#members.tick(nowMs);
		for (const { server } of [...this.#members.present, ...this.#members.retiring()]) server.tick(nowMs);
	}

	/** What servers say goes through their own conversations. */
	send(): boolean {
		return true;
	}

	ask(): boolean {
		return false;
	}

	async close(patience: Patience): Promise<void> {
		const reason = new SlipwayError('SLIPWAY_SESSION_ENDED');
		this.#listeners.end();
		this.#end.resolve(reason);
		await this.#members.end(patience);
	}

	async #serve(call: PendingCall, request: ModernRequest, reply: Reply): Promise<void> {
		const { text, message } = request;
		// Not before the caller has its Call.
		await Promise.resolve();
		const { method } = message;
		const kind = LISTS.get(method);
		if (method === 'server/discover') {
			const supportedVersions = JSON.stringify(REVISIONS);
			const capabilities = JSON.stringify(AGGREGATE_CAPABILITIES);
			return this.#answer(call, message, editMembers('{}', { supportedVersions, capabilities }), reply);
		}
		if (kind !== undefined && kind.method !== 'tasks/list') return this.#list(kind, call, message, reply);
		const route = await routeOf(this.#directory, text, message);
		if (call.over) return;
		const { server } = route;
		const routed = { text: route.text, message: route.message, envelope: request.envelope };
		// Where the request says itself whose it is, no other server is asked: it may have given a state for the like of it.
		const known = server === undefined ? this.#members.present : [];
		const candidates = [...known, ...this.#members.retiring(server)];
		const asking = candidates.find((member) => holdsStateOf(member.server, route.message));
		if (asking !== undefined) return call.hand(asking.server.request(routed, this.#noting(call, reply, server)));
		if (server === undefined || !this.#members.has(server)) return this.#search(call, request, reply);
		reply.servedBy?.(server);
		const member = await this.#members.open(server);
		if (!call.over) call.hand(member.server.request(routed, this.#noting(call, reply, server)));
	}

	async #list(kind: ListKind, call: PendingCall, message: RequestMessage, reply: Reply): Promise<void> {
		const list = await this.#directory.list(kind);
		this.#answer(call, message, editMembers('{}', { [kind.member]: list }), reply);
	}

	/** Whose a name is, the name says; the rest may be anybody's. */
	async #search(call: PendingCall, { message }: ModernRequest, reply: Reply): Promise<void> {
		const { id, method, params = {} } = message;
		const { text: answer, message: outcome } = await search(message, {
			candidates: isNamed(message) ? [] : await this.#members.openAll(),
			ask: ([name, { server }]) => {
				reply.servedBy?.(name);
				return askModern(server, method, params, this.#options.envelope);
			},
			notFoundCode: RPC_CODES.invalidParams,
			isOver: () => call.over,
		});
		if (!this.#finish(call)) return;
		if (!outcome.ok) reply.servedBy?.(undefined);
		reply.answer(replaceId(answer, outcome.id, id), outcome);
	}

	#answer(call: PendingCall, { id, method }: RequestMessage, result: string, reply: Reply): void {
		if (!this.#finish(call)) return;
		const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`;
		reply.answer(completeResult(text, {}, method, this.#serverInfo), { kind: 'response', id, ok: true, result: {} });
	}

	#finish(call: PendingCall): boolean {
		this.#calls.delete(call);
		return call.finish();
	}

	/** The reply, with an eye on its end, and on the tasks that come of it. */
	#noting(call: PendingCall, reply: Reply, server: string | undefined): Reply {
		return {
			get attached() {
				return reply.attached;
			},
			related: (text) => reply.related(text),
			answer: (text, message) => {
				this.#finish(call);
				const taskId = message.ok && isObject(message.result) ? taskIdIn(message.result) : undefined;
				if (taskId !== undefined && server !== undefined) this.#directory.noteTask(taskId, server);
				reply.answer(text, message);
			},
			fail: (id, error) => {
				this.#finish(call);
				reply.fail(id, error);
			},
			drop: () => {
				this.#finish(call);
				reply.drop();
			},
		};
	}

	#tellChanged(): void {
		for (const method of LIST_CHANGES) this.#listeners.tell(notificationText(method), method);
	}
}

/** Whether a request brings answers to a question of that server. */
function holdsStateOf(server: ModernServer, message: RequestMessage): boolean {
	const state = message.params === undefined ? undefined : own(message.params, 'requestState');
	return typeof state === 'string' && server.holds(state, message);
}
