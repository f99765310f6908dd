/**
 * One server of the first era for any number of sessions, each of which has it as if it were alone with it.
 *
 * The server was told of one client that can do nothing: so it asks nothing, and what it says belongs to a call, or is a
 * change. What the era has once for a connection, the log level and the subscriptions, is kept for each seat here, and
 * the server is told what all of them want together. What belongs to one call goes to that call, as the Upstream has it.
 *
 * Among callers who do not know each other (`shared`) only what certainly is for all of them goes to more than one, and a
 * line of the log to nobody: nothing on the wire says whose call it tells of.
 *
 * INVARIANTS:
 * - A seat hears of a resource only while it is subscribed to it, and the server is subscribed to what some seat wants.
 * - The server's log level is the lowest that a seat wants, once one has wanted any.
 * - Every request that a seat took ends once, also when the seat is given up.
 */
import { RPC_CODES, SlipwayError, toSlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS, SESSION_LIMITS, SHARING_LIMITS } from '../limits.ts';
import type { Call, CallOptions, LegacyServer, Question, Standing } from './exchange.ts';
import { errorText, isObject, type NotificationMessage, own, type RequestMessage, type RpcError } from './jsonrpc.ts';
import { LOG_LEVELS, severityOf } from './log-levels.ts';
import { type Answer, answerPing, answerWith, ask } from './own-request.ts';
import { revisionForInitialize } from './revisions.ts';
import { Seat, type SeatedServer } from './seat.ts';
import { Subscriptions } from './subscriptions.ts';
import { editMembers, memberText } from './text.ts';

/** Who has a server together: the sessions of one caller, or callers who do not know each other. */
export type Company = 'principal' | 'shared';

export interface MultiplexerOptions {
	/** A conversation that has begun, with `initialize` of a client without capabilities. */
	readonly server: LegacyServer;
	/** The server's answer to that. */
	readonly introduction: Answer;
	readonly company: Company;
}

/** What those want to hear of the log who did not say. */
const DEFAULT_SEVERITY = severityOf('info');
/** That of no level: the server may have been told any. */
const NO_SEVERITY = -1;

const LIST_CHANGES: ReadonlySet<string> = new Set([
	'notifications/tools/list_changed',
	'notifications/prompts/list_changed',
	'notifications/resources/list_changed',
]);

/** What a client says of itself, of questions that it is not asked, and of requests by ids that are not the server's. */
const SWALLOWED: ReadonlySet<string> = new Set([
	'notifications/initialized',
	'notifications/roots/list_changed',
	'notifications/progress',
	'notifications/cancelled',
]);

const NOT_ASKABLE: RpcError = {
	code: RPC_CODES.methodNotFound,
	message: 'The client has not declared that it can be asked this.',
};

const NOT_TOLD_OF: RpcError = {
	code: RPC_CODES.invalidParams,
	message: 'The server does not tell of changes to this resource.',
};

export class Multiplexer implements Standing {
	readonly #options: MultiplexerOptions;
	/** What the server said of itself, as JSON, without what is not to be had here; and its capabilities. */
	readonly #introduction: { readonly text: string; readonly revision: string; readonly capabilities: object };
	readonly #seats = new Set<MultiplexedSeat>();
	readonly #subscriptions: Subscriptions;
	/** Why the server did not take a subscription, while somebody waits to hear of it. */
	readonly #refusals = new Map<string, RpcError | SlipwayError>();
	/** The level that the server was told last; undefined: none yet. */
	#severityTold: number | undefined;
	/** Whether it is being told, until it was told what is wanted. */
	#telling = false;

	constructor(options: MultiplexerOptions) {
		this.#options = options;
		this.#introduction = introductionOf(options);
		this.#subscriptions = new Subscriptions({
			subscribe: (uri) => this.#subscribe(uri),
			unsubscribe: async (uri) => {
				await this.#ask('resources/unsubscribe', { uri }).catch(() => undefined);
			},
		});
		void options.server.ended.then(() => this.#subscriptions.clear());
	}

	/** How many have a seat. */
	get size(): number {
		return this.#seats.size;
	}

	/** The answer to a client's `initialize`. */
	introduce(message: RequestMessage): Answer {
		const { id } = message;
		const { text, revision } = this.#introduction;
		const asked = revisionForInitialize(message);
		const agreed = JSON.stringify(asked < revision ? asked : revision);
		const result = editMembers(text, { protocolVersion: agreed });
		return {
			text: `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`,
			message: { kind: 'response', id, ok: true, result: JSON.parse(result) },
		};
	}

	/** A seat, for one session. What belongs to none of its calls goes to `standing`. */
	join(standing: Standing): SeatedServer {
		const { server, company } = this.#options;
		const seat: MultiplexedSeat = new MultiplexedSeat(standing, {
			seat: new Seat({
				server,
				// Whose it is nothing says where there are others: then all hear it.
				takesLogLine: (message) => company === 'principal' && this.#seats.size === 1 && this.#isHeard(seat, message),
			}),
			logs: own(this.#introduction.capabilities, 'logging') !== undefined,
			want: (uri) => this.#want(uri),
			letGo: (uri) => this.#letGo(uri),
			onLevel: () => void this.#tellLevel(),
			onLeave: () => {
				this.#seats.delete(seat);
				void this.#tellLevel();
			},
		});
		this.#seats.add(seat);
		void seat.ended.then(() => this.#seats.delete(seat));
		// One that wants more than the others may have come.
		void this.#tellLevel();
		return seat;
	}

	/** What the server says that belongs to no call. */
	send(text: string, message: NotificationMessage): boolean {
		for (const seat of this.#seats) if (this.#isFor(seat, message)) seat.standing.send(text, message);
		return true;
	}

	ask(question: Question): boolean {
		if (!answerPing(question)) question.refuse(NOT_ASKABLE);
		return true;
	}

	#isFor(seat: MultiplexedSeat, message: NotificationMessage): boolean {
		const { method, params = {} } = message;
		if (LIST_CHANGES.has(method)) return true;
		if (method === 'notifications/resources/updated') return seat.isSubscribedTo(own(params, 'uri'));
		if (this.#options.company === 'shared') return false;
		return method !== 'notifications/message' || this.#isHeard(seat, message);
	}

	/** Whether a seat wants to hear a line of the log. One of a level that is none is for all. */
	#isHeard({ severity }: MultiplexedSeat, { params = {} }: NotificationMessage): boolean {
		const said = severityOf(own(params, 'level'));
		// While nobody has said what to hear, the server decides.
		const wanted = severity ?? (this.#severityTold === undefined ? 0 : DEFAULT_SEVERITY);
		return said === -1 || said >= wanted;
	}

	/** The lowest level that a seat wants; undefined while nobody has said what to hear. */
	get #lowestSeverity(): number | undefined {
		const wanted = [...this.#seats].map(({ severity }) => severity);
		if (this.#severityTold === undefined && wanted.every((severity) => severity === undefined)) return undefined;
		if (wanted.length === 0) return DEFAULT_SEVERITY;
		return Math.min(...wanted.map((severity) => severity ?? DEFAULT_SEVERITY));
	}

	/** Tells the server what to log. It may answer in any order, so it is told one thing at a time. */
	async #tellLevel(): Promise<void> {
		if (this.#telling) return;
		this.#telling = true;
		for (let lowest = this.#lowestSeverity; lowest !== this.#severityTold; lowest = this.#lowestSeverity) {
			this.#severityTold = lowest;
			try {
				await this.#ask('logging/setLevel', { level: LOG_LEVELS[lowest ?? DEFAULT_SEVERITY] });
			} catch {
				// It was not told, and is told the next time that somebody comes, leaves or says what to hear.
				this.#severityTold = NO_SEVERITY;
				break;
			}
		}
		this.#telling = false;
	}

	async #subscribe(uri: string): Promise<boolean> {
		try {
			const { message } = await this.#ask('resources/subscribe', { uri });
			if (message.ok) return true;
			this.#refusals.set(uri, message.error);
		} catch (error) {
			this.#refusals.set(uri, toSlipwayError(error));
		}
		return false;
	}

	#want(uri: string): Promise<RpcError | SlipwayError | undefined> {
		if (!this.#subscriptions.has(uri) && this.#subscriptions.size >= SHARING_LIMITS.subscriptionsMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		return this.#subscriptions
			.want(uri)
			.then((taken) => (taken ? undefined : (this.#refusals.get(uri) ?? NOT_TOLD_OF)));
	}

	#letGo(uri: string): void {
		this.#subscriptions.letGo(uri);
		if (!this.#subscriptions.has(uri)) this.#refusals.delete(uri);
	}

	async #ask(method: string, params: object): Promise<Answer> {
		return ask(this.#options.server, method, params, { timeoutMs: SESSION_LIMITS.callTimeoutMs });
	}
}

interface MultiplexedSeatOptions {
	/** What the calls of it go through. */
	readonly seat: Seat;
	/** Whether the server has a log that one may have lines of here. */
	readonly logs: boolean;
	/**
	 * Has the server tell of a resource. Resolves with why it does not, or undefined; to be let go of in either case.
	 * Throws SLIPWAY_CALLS_FULL, and nothing is to be let go of then.
	 */
	readonly want: (uri: string) => Promise<RpcError | SlipwayError | undefined>;
	readonly letGo: (uri: string) => void;
	/** It wants to hear another part of the log. */
	readonly onLevel: () => void;
	readonly onLeave: () => void;
}

/** A resource that a seat wants to hear of. */
interface WantedResource {
	/** Resolves with why the server does not tell of it, or undefined. */
	readonly refusal: Promise<RpcError | SlipwayError | undefined>;
	/** Whether the server said that it will. */
	taken: boolean;
	/** Requests for it without an answer. */
	waiting: number;
}

/** INVARIANT: `#resources` holds what it wants to hear of and has not let go of. */
class MultiplexedSeat implements SeatedServer {
	/** Where goes what belongs to none of its calls. */
	readonly standing: Standing;
	readonly #options: MultiplexedSeatOptions;
	readonly #resources = new Map<string, WantedResource>();
	/** Requests that are answered here, and are not yet. */
	readonly #own = new Set<OwnCall>();
	#severity: number | undefined;
	#left = false;

	constructor(standing: Standing, options: MultiplexedSeatOptions) {
		this.standing = standing;
		this.#options = options;
		void options.seat.ended.then((reason) => this.#finish(reason));
	}

	get inFlight(): number {
		return this.#options.seat.inFlight + this.#own.size;
	}

	get ended(): Promise<SlipwayError> {
		return this.#options.seat.ended;
	}

	/** The lowest level of the log that it wants; undefined: it has not said. */
	get severity(): number | undefined {
		return this.#severity;
	}

	/** Also to what has the resource in it. */
	isSubscribedTo(uri: unknown): boolean {
		if (typeof uri !== 'string') return false;
		if (this.#resources.has(uri)) return true;
		// "This might be a sub-resource of the one that the client actually subscribed to." MCP 2025-11-25, schema
		for (const wanted of this.#resources.keys())
			if (uri.startsWith(wanted.endsWith('/') ? wanted : `${wanted}/`)) return true;
		return false;
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		const { seat, logs } = this.#options;
		seat.assertOpen();
		const { method } = message;
		if (method === 'ping') return this.#answer(message, options);
		if (method === 'resources/subscribe') return this.#subscribe(message, options);
		if (method === 'resources/unsubscribe') {
			this.#letGo(own(message.params ?? {}, 'uri'));
			return this.#answer(message, options);
		}
		if (method === 'logging/setLevel' && logs) return this.#setLevel(message, options);
		// Tasks outlive their call: nothing would say whose they are. The rest is not to be had here, or was had already.
		if (method === 'logging/setLevel' || method === 'initialize' || method.startsWith('tasks/'))
			return this.#answer(message, options, { code: RPC_CODES.methodNotFound, message: 'Method not found' });
		return seat.request(method === 'tools/call' ? withoutTask(text, message) : text, message, options);
	}

	notify(text: string, message: NotificationMessage): void {
		this.#options.seat.assertOpen();
		if (!SWALLOWED.has(message.method)) this.#options.seat.notify(text, message);
	}

	hold(): () => void {
		return this.#options.seat.hold();
	}

	leave(reason = new SlipwayError('SLIPWAY_SESSION_ENDED')): void {
		if (this.#left) return;
		this.#left = true;
		this.#options.seat.leave(reason);
		this.#finish(reason);
		this.#options.onLeave();
	}

	#finish(reason: SlipwayError): void {
		for (const call of this.#own) call.settle(() => call.fail(reason));
		for (const uri of this.#resources.keys()) this.#letGo(uri);
	}

	#setLevel(message: RequestMessage, options: CallOptions): Call {
		const severity = severityOf(own(message.params ?? {}, 'level'));
		if (severity === -1)
			return this.#answer(message, options, {
				code: RPC_CODES.invalidParams,
				message: '`params.level` is not a level of the log.',
			});
		this.#severity = severity;
		this.#options.onLevel();
		return this.#answer(message, options);
	}

	#subscribe(message: RequestMessage, options: CallOptions): Call {
		const uri = own(message.params ?? {}, 'uri');
		if (typeof uri !== 'string')
			return this.#answer(message, options, { code: RPC_CODES.invalidParams, message: '`params.uri` is missing.' });
		const resource = this.#resources.get(uri) ?? this.#want(uri);
		if (resource.taken) return this.#answer(message, options);
		resource.waiting += 1;
		const call = this.#begin(message, options, () => {
			resource.waiting -= 1;
			if (resource.waiting === 0 && this.#resources.get(uri) === resource) this.#letGo(uri);
		});
		void resource.refusal.then((refusal) =>
			call.settle(() => {
				if (refusal instanceof SlipwayError) call.fail(refusal);
				else call.answer(refusal);
			}),
		);
		return call;
	}

	#want(uri: string): WantedResource {
		if (this.#resources.size >= BRIDGE_LIMITS.subscriptionsMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		const resource: WantedResource = { refusal: this.#options.want(uri), taken: false, waiting: 0 };
		this.#resources.set(uri, resource);
		void resource.refusal.then((refusal) => {
			resource.taken = refusal === undefined;
			if (!resource.taken && this.#resources.get(uri) === resource) this.#letGo(uri);
		});
		return resource;
	}

	#letGo(uri: unknown): void {
		if (typeof uri === 'string' && this.#resources.delete(uri)) this.#options.letGo(uri);
	}

	/** Answers a request here; but not before its caller has its Call. */
	#answer(message: RequestMessage, options: CallOptions, error?: RpcError): Call {
		const call = this.#begin(message, options, () => undefined);
		setImmediate(() => call.settle(() => call.answer(error)));
		return call;
	}

	#begin(message: RequestMessage, options: CallOptions, onCancel: () => void): OwnCall {
		const call: OwnCall = new OwnCall(message, {
			...options,
			onEnd: () => {
				this.#own.delete(call);
				options.onEnd?.();
			},
			onCancel,
		});
		this.#own.add(call);
		return call;
	}
}

/** A request that is answered here, in the place of the server. */
class OwnCall implements Call {
	readonly #message: RequestMessage;
	readonly #options: CallOptions & { readonly onCancel: () => void };
	#over = false;

	constructor(message: RequestMessage, options: CallOptions & { readonly onCancel: () => void }) {
		this.#message = message;
		this.#options = options;
	}

	cancel(): void {
		this.settle(() => {
			this.#options.onCancel();
			this.#options.exchange.drop();
		});
	}

	/** Ends it in that way, unless it is over. */
	settle(end: () => void): void {
		if (this.#over) return;
		this.#over = true;
		this.#options.onEnd?.();
		end();
	}

	answer(error: RpcError | undefined): void {
		const { id } = this.#message;
		const { exchange } = this.#options;
		if (error === undefined) answerWith(exchange, id, {});
		else exchange.answer(errorText(id, error), { kind: 'response', id, ok: false, error });
	}

	fail(reason: SlipwayError): void {
		this.#options.exchange.fail(this.#message.id, reason);
	}
}

/**
 * A server that has not declared tasks processes a request as if nothing was said of them.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/utilities/tasks#task-support-and-handling
 */
function withoutTask(text: string, { params = {} }: RequestMessage): string {
	if (own(params, 'task') === undefined) return text;
	return editMembers(text, { params: (value = '{}') => editMembers(value, { task: undefined }) });
}

function introductionOf({ introduction: { text, message }, company }: MultiplexerOptions) {
	const result = message.ok && isObject(message.result) ? message.result : {};
	const declared = own(result, 'capabilities');
	const revision = own(result, 'protocolVersion');
	const absent = company === 'shared' ? { tasks: undefined, logging: undefined } : { tasks: undefined };
	const capabilities = isObject(declared) ? { ...declared, ...absent } : {};
	return {
		text: editMembers(memberText(text, 'result') ?? '{}', {
			capabilities: (value = '{}') => editMembers(value, absent),
		}),
		revision: typeof revision === 'string' ? revision : '',
		capabilities,
	};
}
