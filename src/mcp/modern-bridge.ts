/** A server of the first era for requests of the second (2026-07-28): what it says of itself, its calls, its changes. */
import { RPC_CODES, SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../limits.ts';
import { BridgedCall, type CallKeeper, METHOD_UNKNOWN } from './bridged-call.ts';
import { declares, neededFor } from './capabilities.ts';
import type { Call, LegacyServer, Question, Reply } from './exchange.ts';
import { isObject, type NotificationMessage, own, type RequestMessage, type RpcError } from './jsonrpc.ts';
import { Listeners } from './listeners.ts';
import { LOG_LEVELS, severityOf } from './log-levels.ts';
import { completeResult } from './modern-results.ts';
import { LISTEN, type ModernRequest, type ModernServer } from './modern-server.ts';
import { type Answer, answerPing, ask } from './own-request.ts';
import { RequestStates } from './request-state.ts';
import { ENVELOPE_KEYS, REVISIONS } from './revisions.ts';
import { Subscriptions } from './subscriptions.ts';
import { editMembers, memberText } from './text.ts';

interface Parked {
	readonly call: BridgedCall;
	readonly round: number;
	readonly sinceMs: number;
}

interface Waiting {
	readonly question: Question;
	readonly sinceMs: number;
}

const NOBODY_ASKED: RpcError = { code: RPC_CODES.failed, message: 'No request of the client came to ask it with.' };

export interface BridgeOptions {
	readonly server: LegacyServer;
	/** The server's answer to `initialize`. */
	readonly introduction: Answer;
	/** What the client can do, as the server was told. */
	readonly capabilities: object;
	readonly callTimeoutMs: number;
}

/**
 * INVARIANTS:
 * - A call is in `#parked` exactly while its client is asked; each requestState is good for one of these times.
 * - Calls that are parked, and questions that wait, are bounded in number and time.
 */
export class ModernBridge implements ModernServer, CallKeeper {
	readonly serverInfo: string | undefined;
	readonly #options: BridgeOptions;
	/** What the server said of itself, as JSON and as it was read. */
	readonly #introduction: { readonly text: string; readonly result: object };
	readonly #serverCapabilities: object;
	readonly #listeners: Listeners;
	readonly #states = new RequestStates();
	readonly #parked = new Map<number, Parked>();
	readonly #numbers = new WeakMap<BridgedCall, number>();
	/** Calls that wait for the server, or for their client. */
	readonly #calls = new Set<BridgedCall>();
	/** Questions that came when no call could be asked with. */
	readonly #waiting: Waiting[] = [];
	#lastNumber = 0;
	#lastRound = 0;
	/** The lowest level of log lines that was asked for. */
	#logLevel: number = LOG_LEVELS.length;

	constructor(options: BridgeOptions) {
		this.#options = options;
		const { text, message } = options.introduction;
		const result = message.ok && isObject(message.result) ? message.result : {};
		this.#introduction = { text: memberText(text, 'result') ?? '{}', result };
		this.serverInfo = memberText(this.#introduction.text, 'serverInfo');
		const capabilities = own(result, 'capabilities');
		this.#serverCapabilities = isObject(capabilities) ? capabilities : {};
		const { server } = options;
		this.#listeners = new Listeners({
			capabilities: this.#serverCapabilities,
			subscriptions: new Subscriptions({
				subscribe: (uri) =>
					this.#ask('resources/subscribe', { uri }).then(
						({ message: answer }) => answer.ok,
						() => false,
					),
				unsubscribe: async (uri) => {
					await this.#ask('resources/unsubscribe', { uri }).catch(() => undefined);
				},
			}),
		});
		void server.ended.then((reason) => this.#end(reason));
	}

	get inFlight(): number {
		return this.#calls.size;
	}

	get ended(): Promise<SlipwayError> {
		return this.#options.server.ended;
	}

	request(request: ModernRequest, reply: Reply): Call {
		const { message } = request;
		if (message.method === LISTEN) return this.#listeners.listen(message, reply);
		if (message.method === 'server/discover') return this.#discover(message, reply);
		const { params = {} } = message;
		const responses = own(params, 'inputResponses');
		if (responses !== undefined && !isObject(responses))
			throw new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: '`params.inputResponses` is no object.' });
		const state = own(params, 'requestState');
		if (state === undefined) return this.#call(request, reply);
		if (typeof state !== 'string') throw new SlipwayError('SLIPWAY_REQUEST_STATE');
		return this.#resume(state, request, reply);
	}

	holds(requestState: string, request: RequestMessage): boolean {
		return this.#states.issued(requestState, request);
	}

	hold(): () => void {
		return this.#options.server.hold();
	}

	tick(nowMs: number): void {
		for (const [number, { call, sinceMs }] of this.#parked)
			if (nowMs - sinceMs > BRIDGE_LIMITS.parkedMs) this.#abandon(number, call);
		// Whoever is asked something may come back, and be asked more.
		if (this.#parked.size > 0) return;
		while (nowMs - (this.#waiting[0]?.sinceMs ?? nowMs) > BRIDGE_LIMITS.waitingQuestionMs)
			this.#waiting.shift()?.question.refuse(NOBODY_ASKED);
	}

	/** A message that belongs to no call: a change, or nothing that this era has. */
	send(text: string, message: NotificationMessage): boolean {
		this.#listeners.tell(text, message);
		return true;
	}

	/**
	 * A question that belongs to no call whose client waits: the next that comes, or comes back, is asked with it. The
	 * second era asks no client out of the blue.
	 */
	ask(question: Question): boolean {
		if (answerPing(question)) return true;
		const needed = neededFor(question.message);
		if (needed === undefined) {
			question.refuse(METHOD_UNKNOWN);
			return true;
		}
		if (!declares(this.#options.capabilities, needed)) return false;
		this.#waiting.push({ question, sinceMs: performance.now() });
		question.onWithdrawn = () => this.#forgetWaiting(question);
		if (this.#waiting.length > BRIDGE_LIMITS.waitingQuestionsMax) this.#waiting.shift()?.question.refuse(NOBODY_ASKED);
		return true;
	}

	forward(call: BridgedCall, { text, message, envelope }: ModernRequest): Call {
		this.#lowerLogLevel(envelope.logLevel);
		return this.#options.server.request(forLegacy(text), message, {
			exchange: call,
			timeoutMs: this.#options.callTimeoutMs,
		});
	}

	park(call: BridgedCall, request: RequestMessage): string {
		const number = this.#numbers.get(call) ?? ++this.#lastNumber;
		this.#numbers.set(call, number);
		this.#lastRound += 1;
		const round = this.#lastRound;
		this.#parked.set(number, { call, round, sinceMs: performance.now() });
		const [oldest] = this.#parked;
		if (this.#parked.size > BRIDGE_LIMITS.parkedMax && oldest !== undefined) this.#abandon(oldest[0], oldest[1].call);
		return this.#states.issue({ call: number, round }, request);
	}

	hasOther(call: BridgedCall): boolean {
		return [...this.#calls].some((other) => other !== call && other.askable && !other.settled);
	}

	hasRoom(): boolean {
		const gathering = [...this.#calls].filter(({ gathers }) => gathers).length;
		return gathering === 0 || this.#parked.size + gathering < BRIDGE_LIMITS.parkedApartMax;
	}

	forget(call: BridgedCall): void {
		this.#calls.delete(call);
	}

	#call(request: ModernRequest, reply: Reply): Call {
		const call = new BridgedCall(this, request, reply);
		this.#calls.add(call);
		call.start(call.askable ? this.#takeWaiting() : []);
		return call;
	}

	#resume(state: string, request: ModernRequest, reply: Reply): Call {
		const { call: number, round } = this.#states.read(state, request.message);
		const parked = this.#parked.get(number);
		if (parked?.round !== round) throw new SlipwayError('SLIPWAY_REQUEST_STATE');
		this.#parked.delete(number);
		parked.call.resume(request, reply, () => this.#takeWaiting());
		return parked.call;
	}

	#takeWaiting(): Question[] {
		return this.#waiting.splice(0).map(({ question }) => question);
	}

	/** The client did not come back in time. */
	#abandon(number: number, call: BridgedCall): void {
		this.#parked.delete(number);
		call.cancel();
		this.forget(call);
	}

	#discover({ id, method }: RequestMessage, reply: Reply): Call {
		const { text, result } = this.#introduction;
		// Tasks of the first era are not those of the second.
		const capabilities = editMembers(memberText(text, 'capabilities') ?? '{}', { tasks: undefined });
		const introduced = editMembers('{}', {
			supportedVersions: JSON.stringify(REVISIONS),
			capabilities,
			instructions: memberText(text, 'instructions'),
		});
		const answer = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${introduced}}`;
		reply.answer(completeResult(answer, {}, method, this.serverInfo), { kind: 'response', id, ok: true, result });
		return { cancel: () => undefined };
	}

	/** A server of the first era has one level for all; what is more than a request asked for goes no further. */
	#lowerLogLevel(level: string | undefined): void {
		const severity = severityOf(level);
		const [name] = LOG_LEVELS.slice(severity);
		if (severity === -1 || severity >= this.#logLevel || own(this.#serverCapabilities, 'logging') === undefined) return;
		this.#logLevel = severity;
		void this.#ask('logging/setLevel', { level: name }).catch(() => undefined);
	}

	#ask(method: string, params: object): Promise<Answer> {
		return ask(this.#options.server, method, params, { timeoutMs: SESSION_LIMITS.callTimeoutMs });
	}

	#forgetWaiting(question: Question): void {
		const at = this.#waiting.findIndex((waiting) => waiting.question === question);
		if (at !== -1) this.#waiting.splice(at, 1);
	}

	#end(reason: SlipwayError): void {
		this.#listeners.end(reason);
		this.#parked.clear();
		this.#waiting.length = 0;
		this.#calls.clear();
	}
}

/** A request without what only the second era has in it. A server that speaks both might take it for that one. */
function forLegacy(text: string): string {
	return editMembers(text, {
		params: (params) =>
			params === undefined
				? undefined
				: editMembers(params, { inputResponses: undefined, requestState: undefined, _meta: withoutEnvelope }),
	});
}

function withoutEnvelope(meta: string | undefined): string | undefined {
	if (meta === undefined) return undefined;
	const left = editMembers(meta, Object.fromEntries(Object.values(ENVELOPE_KEYS).map((key) => [key, undefined])));
	return left === '{}' ? undefined : left;
}
