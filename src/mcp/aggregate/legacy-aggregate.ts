/** Many servers as one, for a conversation of the first era. */
import type { Patience } from '../../channel.ts';
import { RPC_CODES, SlipwayError, toSlipwayError } from '../../errors.ts';
import { BRIDGE_LIMITS } from '../../limits.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Standing } from '../exchange.ts';
import {
	isObject,
	type NotificationMessage,
	notificationText,
	own,
	type RequestMessage,
	type RpcId,
	resultText,
} from '../jsonrpc.ts';
import { type Answer, answerWith, ask, askWith } from '../own-request.ts';
import { withAnswer } from '../passing.ts';
import { PendingCall } from '../pending-call.ts';
import { revisionForInitialize } from '../revisions.ts';
import type { SessionMemory } from '../session-memory.ts';
import { editMembers, replaceId } from '../text.ts';
import { AGGREGATE_CAPABILITIES, LIST_CHANGES, taskIdIn } from './capabilities.ts';
import { Directory, type DirectoryOptions, LISTS, type ListKind } from './directory.ts';
import { type MemberConversation, Members } from './members.ts';
import { isNamed, routeOf } from './route.ts';
import { search } from './search.ts';

interface LegacyMember extends MemberConversation {
	readonly server: LegacyServer;
	readonly callTimeoutMs: number;
}

export interface LegacyAggregateOptions {
	/** The servers that there are now, in the order of their precedence. */
	readonly names: () => readonly string[];
	/** What the client told, maybe to another process. */
	readonly memory: SessionMemory;
	/** What is remembered has changed. */
	readonly onMemory: () => void;
	/** Begins a conversation with one, with the client's own `initialize`. */
	readonly open: (name: string) => Promise<LegacyMember>;
	/** Where goes what belongs to no request. */
	readonly standing: Standing;
	/** Name and version of the aggregated server. */
	readonly serverInfo: object;
	readonly onMissing: (server: string, method: string, error: unknown) => void;
	/** What Instances of a server are made of now; undefined while that is not known. */
	readonly specOf: (name: string) => string | undefined;
	/** What is known of a server's list without asking it; see Directory. */
	readonly known: DirectoryOptions<MemberConversation>['known'];
}

/** Tasks are the first era's alone; whether a tool has them, the tool says. */
const CAPABILITIES = Object.freeze({
	...AGGREGATE_CAPABILITIES,
	tasks: { cancel: {}, list: {}, requests: { tools: { call: {} } } },
});

export class LegacyAggregate implements LegacyServer {
	readonly ended: Promise<SlipwayError>;
	readonly #options: LegacyAggregateOptions;
	readonly #members: Members<LegacyMember>;
	readonly #directory: Directory<LegacyMember>;
	readonly #end = Promise.withResolvers<SlipwayError>();
	readonly #calls = new Set<PendingCall>();
	/** Resources that the client is subscribed to, and their servers: one that comes back has to be told. */
	readonly #subscriptions: Map<string, string>;
	#logLevel: string | undefined;

	constructor(options: LegacyAggregateOptions) {
		this.#options = options;
		this.#subscriptions = new Map(options.memory.subscriptions);
		this.#logLevel = options.memory.logLevel;
		this.ended = this.#end.promise;
		this.#members = new Members({
			names: options.names,
			open: options.open,
			onOpen: (name, member) => {
				this.#greet(name, member);
				void this.#directory.compare(name, member);
			},
			onLate: () => this.#tellChanged(),
			specOf: options.specOf,
			onChange: () => this.#tellChanged(),
			isNeeded: (name) => [...this.#subscriptions.values()].includes(name),
		});
		this.#directory = new Directory({
			members: this.#members,
			known: options.known,
			ask: ({ server, callTimeoutMs }, method, params) => ask(server, method, params, { timeoutMs: callTimeoutMs }),
			onLate: () => this.#tellChanged(),
			onMissing: options.onMissing,
		});
	}

	get inFlight(): number {
		return this.#calls.size;
	}

	/** The answer to a client's `initialize`. No server is needed for it. */
	introduce(message: RequestMessage): Answer {
		const { id } = message;
		const { serverInfo } = this.#options;
		const result = { protocolVersion: revisionForInitialize(message), capabilities: CAPABILITIES, serverInfo };
		return { text: resultText(id, result), message: { kind: 'response', id, ok: true, result } };
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		const call = new PendingCall(() => {
			this.#finish(call, options);
			options.exchange.drop();
		});
		this.#calls.add(call);
		this.#serve(call, text, message, options).catch((error: unknown) => {
			if (!call.finish()) return;
			this.#finish(call, options);
			options.exchange.fail(message.id, toSlipwayError(error));
		});
		return call;
	}

	notify(text: string, message: NotificationMessage): void {
		// The client is about to look at all that there is. Each server is told when it is there.
		if (message.method === 'notifications/initialized') void this.#members.openAll(this.#directory.strangers);
		else for (const { server } of this.#members.present) tryNotify(server, text, message);
	}

	hold(): () => void {
		return this.#members.hold();
	}

	get awake(): boolean {
		return this.#members.present.length > 0;
	}

	get memory(): SessionMemory {
		return { ...this.#options.memory, logLevel: this.#logLevel, subscriptions: [...this.#subscriptions] };
	}

	tick(nowMs: number): void {
		this.#members.tick(nowMs);
	}

	/** Gives the Instances back. Each server gets another one at its next request. */
	rest(patience: Patience): Promise<void> {
		return this.#members.rest(patience);
	}

	async close(patience: Patience): Promise<void> {
		this.#end.resolve(new SlipwayError('SLIPWAY_SESSION_ENDED'));
		await this.#members.end(patience);
	}

	async #serve(call: PendingCall, text: string, message: RequestMessage, options: CallOptions): Promise<void> {
		const { id, method, params = {} } = message;
		// Not before the caller has its Call.
		await Promise.resolve();
		const kind = LISTS.get(method);
		if (kind !== undefined) return this.#list(kind, call, id, options);
		if (method === 'ping') return this.#answer(call, id, {}, options);
		if (method === 'logging/setLevel') {
			const level = own(params, 'level');
			this.#logLevel = typeof level === 'string' ? level : undefined;
			this.#options.onMemory();
			for (const member of this.#members.present) this.#tellLogLevel(member);
			return this.#answer(call, id, {}, options);
		}
		const route = await routeOf(this.#directory, text, message);
		if (call.over) return;
		const { server } = route;
		if (server === undefined || !this.#members.has(server)) return this.#search(call, text, message, options);
		options.exchange.servedBy?.(server);
		const member = await this.#members.open(server);
		if (call.over) return;
		call.hand(
			member.server.request(route.text, route.message, {
				exchange: this.#noting(options.exchange, [server, member], route.message),
				timeoutMs: member.callTimeoutMs,
				onEnd: () => {
					call.finish();
					this.#finish(call, options);
				},
			}),
		);
	}

	async #list(kind: ListKind, call: PendingCall, id: RpcId, options: CallOptions): Promise<void> {
		const list = await this.#directory.list(kind);
		if (!call.finish()) return;
		this.#finish(call, options);
		const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${editMembers('{}', { [kind.member]: list })}}`;
		options.exchange.answer(text, { kind: 'response', id, ok: true, result: {} });
	}

	/** Whose a name is, the name says; the rest may be anybody's. */
	async #search(call: PendingCall, text: string, message: RequestMessage, options: CallOptions): Promise<void> {
		const { text: answer, message: outcome } = await search(message, {
			candidates: isNamed(message) ? [] : await this.#members.openAll(),
			ask: ([name, { server, callTimeoutMs }]) => {
				options.exchange.servedBy?.(name);
				return askWith(server, text, message, { timeoutMs: callTimeoutMs });
			},
			notFoundCode: RPC_CODES.resourceNotFound,
			isOver: () => call.over,
		});
		if (!call.finish()) return;
		this.#finish(call, options);
		if (!outcome.ok) options.exchange.servedBy?.(undefined);
		options.exchange.answer(replaceId(answer, outcome.id, message.id), outcome);
	}

	#answer(call: PendingCall, id: RpcId, result: object, options: CallOptions): void {
		if (!call.finish()) return;
		this.#finish(call, options);
		answerWith(options.exchange, id, result);
	}

	#finish(call: PendingCall, { onEnd }: CallOptions): void {
		if (this.#calls.delete(call)) onEnd?.();
	}

	/** The exchange, with an eye on the tasks and subscriptions that come of it. */
	#noting(exchange: Exchange, by: readonly [name: string, LegacyMember], request: RequestMessage): Exchange {
		return withAnswer(exchange, (answer) => {
			const { message } = answer;
			const taskId = message.ok && isObject(message.result) ? taskIdIn(message.result) : undefined;
			if (taskId !== undefined) this.#directory.noteTask(taskId, by[0]);
			if (message.ok) this.#noteSubscription(request, by);
			return answer;
		});
	}

	#noteSubscription({ method, params = {} }: RequestMessage, [name, by]: readonly [string, LegacyMember]): void {
		const uri = own(params, 'uri');
		if (typeof uri !== 'string') return;
		if (method === 'resources/unsubscribe') this.#subscriptions.delete(uri);
		else if (method === 'resources/subscribe' && this.#subscriptions.size < BRIDGE_LIMITS.subscriptionsMax)
			this.#subscriptions.set(uri, name);
		else return;
		this.#options.onMemory();
		// One that is retiring has taken it; the one that came after it has not heard of it.
		const [, now] = this.#members.named.find(([present]) => present === name) ?? [];
		if (now !== undefined && now !== by)
			ask(now.server, method, { uri }, { timeoutMs: now.callTimeoutMs }).catch(() => undefined);
	}

	#greet(name: string, member: LegacyMember): void {
		const method = 'notifications/initialized';
		member.server.notify(notificationText(method), { kind: 'notification', method, params: undefined });
		if (this.#logLevel !== undefined) this.#tellLogLevel(member);
		for (const [uri, server] of this.#subscriptions) {
			if (server !== name) continue;
			ask(member.server, 'resources/subscribe', { uri }, { timeoutMs: member.callTimeoutMs }).catch(() => undefined);
		}
	}

	#tellLogLevel({ server, capabilities, callTimeoutMs }: LegacyMember): void {
		if (own(capabilities, 'logging') === undefined) return;
		ask(server, 'logging/setLevel', { level: this.#logLevel }, { timeoutMs: callTimeoutMs }).catch(() => undefined);
	}

	#tellChanged(): void {
		for (const method of LIST_CHANGES)
			this.#options.standing.send(notificationText(method), { kind: 'notification', method, params: undefined });
	}
}

/** Tells one of many. That it does not listen is no business of who tells. */
function tryNotify(server: LegacyServer, text: string, message: NotificationMessage): void {
	try {
		server.notify(text, message);
	} catch (error) {
		if (!(error instanceof SlipwayError)) throw error;
	}
}
