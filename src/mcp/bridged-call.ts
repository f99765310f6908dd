/**
 * One call of a client of the second era to a server of the first.
 *
 * The second era has no requests of a server. So a question ends the client's request with `input_required`, while the
 * call goes on waiting at the server; the client brings its answers along with the same request, and goes on waiting
 * for the very same call.
 *
 * A question may be of another call of the same client, since nothing on the wire says of which it is. So it does not end
 * with the call that has it.
 */
import { RPC_CODES, SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS } from '../limits.ts';
import { declares, neededFor } from './capabilities.ts';
import type { Call, Exchange, Question, Reply } from './exchange.ts';
import {
	isObject,
	type NotificationMessage,
	own,
	progressTokenOf,
	type RequestMessage,
	type ResponseMessage,
	type RpcError,
	type RpcId,
} from './jsonrpc.ts';
import { severityOf } from './log-levels.ts';
import { completeResult, modernError } from './modern-results.ts';
import type { ModernRequest } from './modern-server.ts';
import { answerWith } from './own-request.ts';
import type { Envelope } from './revisions.ts';
import { editMembers, memberText, replaceId } from './text.ts';

/** What a call needs of the bridge that it belongs to. */
export interface CallKeeper {
	/** `name` and `version` of the server, as JSON. */
	readonly serverInfo: string | undefined;
	/** Sends the request to the server. */
	forward(call: BridgedCall, request: ModernRequest): Call;
	/** Keeps the call while its client is asked. Returns the requestState to come back with. */
	park(call: BridgedCall, request: RequestMessage): string;
	/** Whether there is another call that a question may be of, and whose client can be asked or comes back. */
	hasOther(call: BridgedCall): boolean;
	/** Whether a call whose client is asked nothing may be asked with, too. */
	hasRoom(): boolean;
	/** The call is over. */
	forget(call: BridgedCall): void;
}

/** Requests in whose place a client can be asked. Source: MCP 2026-07-28, basic/patterns/mrtr. */
const ASKABLE = new Set(['tools/call', 'prompts/get', 'resources/read']);

/** The error of the first era that says: the client has to open these pages first. */
const URL_ELICITATION_REQUIRED = -32042;

/** What a server is told that asks what no client knows. */
export const METHOD_UNKNOWN: RpcError = { code: RPC_CODES.methodNotFound, message: 'Clients do not know this method.' };
const CLIENT_GONE: RpcError = { code: RPC_CODES.failed, message: 'The client did not answer.' };

/**
 * INVARIANTS:
 * - While there is a reply, the client waits. There is none while it is asked.
 * - Every question that was taken is answered, refused, handed on, or withdrawn by the server.
 */
export class BridgedCall implements Exchange {
	readonly #keeper: CallKeeper;
	readonly #request: ModernRequest;
	readonly #envelope: Envelope;
	readonly #questions = new Map<string, Question>();
	#asked = 0;
	#gathering: NodeJS.Timeout | undefined;
	/** The request that the client waits with now: the first, or one that brought answers. */
	#current: RequestMessage;
	#reply: Reply | undefined;
	#call: Call | undefined;
	/** How the call ended at the server, while the client has not come to hear it. */
	#outcome: ((reply: Reply) => void) | undefined;
	#settled = false;

	constructor(keeper: CallKeeper, request: ModernRequest, reply: Reply) {
		this.#keeper = keeper;
		this.#request = request;
		this.#envelope = request.envelope;
		this.#current = request.message;
		this.#reply = reply;
	}

	/** Sends the request, after the client was asked what had waited for somebody to be asked. */
	start(waiting: readonly Question[]): void {
		for (const question of waiting) this.ask(question);
		if (this.#questions.size === 0) this.#send();
	}

	/** Whether the client can be asked in the place of this request. */
	get askable(): boolean {
		return ASKABLE.has(this.#request.message.method);
	}

	/** Whether the server has no more part in it. */
	get settled(): boolean {
		return this.#settled;
	}

	/** Whether its client is about to be asked, in the middle of the call. */
	get gathers(): boolean {
		return this.#questions.size > 0 && this.#reply !== undefined && this.#call !== undefined && !this.#settled;
	}

	/** Nothing while the client is asked: it may not come back, and another call may be meant. */
	takes(message: RequestMessage | NotificationMessage): boolean {
		if (this.#settled || this.#reply === undefined) return false;
		if (message.kind === 'notification') return this.#wants(message);
		return this.askable && neededFor(message) !== undefined && (this.gathers || this.#keeper.hasRoom());
	}

	/** The client may hear nothing while it is asked; and when it came back, it hears of progress as it then asked to. */
	tell(text: string, { method }: NotificationMessage): void {
		const resumed = this.#current !== this.#request.message;
		if (method !== 'notifications/progress' || !resumed) return this.#reply?.related(text);
		const token = progressTokenOf(this.#current.params);
		if (token === undefined) return;
		const progressToken = JSON.stringify(token);
		this.#reply?.related(editMembers(text, { params: (params = '{}') => editMembers(params, { progressToken }) }));
	}

	ask(question: Question): void {
		if (this.#settled) return question.handOn();
		const needed = neededFor(question.message);
		if (needed === undefined) return question.refuse(METHOD_UNKNOWN);
		if (!declares(this.#envelope.capabilities, needed)) {
			const error = new SlipwayError('SLIPWAY_CAPABILITY_MISSING', { requiredCapabilities: needed });
			question.refuse({ code: error.row.rpcCode, message: error.row.sentence });
			return this.#failForGood(error);
		}
		this.#asked += 1;
		const key = `question-${this.#asked}`;
		this.#questions.set(key, question);
		question.onWithdrawn = () => this.#questions.delete(key);
		// What a server asks at once, the client is asked at once.
		this.#gathering ??= setTimeout(() => this.#askClient(), BRIDGE_LIMITS.gatherMs);
	}

	answer(text: string, message: ResponseMessage): void {
		if (message.ok && !isObject(message.result))
			this.fail(this.#current.id, new SlipwayError('SLIPWAY_RESULT_INVALID'));
		else if (message.ok) {
			const { method } = this.#request.message;
			const complete = completeResult(text, message.result, method, this.#keeper.serverInfo);
			this.#finish((reply) => reply.answer(replaceId(complete, this.#request.message.id, this.#current.id), message));
		} else if (message.error.code === URL_ELICITATION_REQUIRED && this.askable) this.#sendToPages(message.error);
		else {
			const modern = modernError(text, message.error, this.#request.message.method);
			this.#finish((reply) => reply.answer(replaceId(modern, this.#request.message.id, this.#current.id), message));
		}
	}

	fail(_: RpcId, error: SlipwayError): void {
		this.#finish((reply) => reply.fail(this.#current.id, error));
	}

	drop(): void {
		this.#finish((reply) => reply.drop());
	}

	/** The client came back with answers: it waits again, or is asked for what it left out. */
	resume({ message, text }: ModernRequest, reply: Reply, takeWaiting: () => readonly Question[]): void {
		this.#current = message;
		this.#reply = reply;
		this.#takeAnswers(message, text);
		if (this.#outcome !== undefined) return this.#deliver(this.#outcome, reply);
		for (const question of takeWaiting()) this.ask(question);
		if (this.#questions.size > 0) this.#askClient();
		else if (this.#call === undefined) this.#send();
	}

	/**
	 * The client has gone, or took too long to answer. Another call may be the one that asks; if there is none, the
	 * server hears that nobody waits.
	 */
	cancel(): void {
		const questions = this.#takeQuestions();
		const hasOther = this.#keeper.hasOther(this);
		if (!hasOther) for (const question of questions) question.refuse(CLIENT_GONE);
		if (this.#call === undefined) this.drop();
		else this.#call.cancel();
		if (hasOther) for (const question of questions) question.handOn();
	}

	#takeAnswers(message: RequestMessage, text: string): void {
		const params = memberText(text, 'params') ?? '{}';
		const responses = memberText(params, 'inputResponses') ?? '{}';
		const given = message.params === undefined ? undefined : own(message.params, 'inputResponses');
		for (const [key, question] of [...this.#questions]) {
			if (!isObject(given) || !isObject(own(given, key))) continue;
			this.#questions.delete(key);
			const answer = `{"jsonrpc":"2.0","id":0,"result":${memberText(responses, key) ?? '{}'}}`;
			question.answer(answer, { kind: 'response', id: 0, ok: true, result: own(given, key) });
		}
	}

	#send(): void {
		try {
			this.#call = this.#keeper.forward(this, this.#request);
		} catch (error) {
			if (!(error instanceof SlipwayError)) throw error;
			this.fail(this.#current.id, error);
		}
	}

	#askClient(): void {
		clearTimeout(this.#gathering);
		this.#gathering = undefined;
		const reply = this.#reply;
		// The server thought better of it.
		if (this.#questions.size === 0 && this.#call === undefined && !this.#settled) return this.#send();
		// While it is asked one thing, it cannot be asked another; it will be when it comes back.
		if (this.#questions.size === 0 || reply === undefined || this.#settled) return;
		this.#reply = undefined;
		const { id } = this.#current;
		const inputRequests = [...this.#questions].map(([key, { message, text }]) => {
			const params = memberText(text, 'params');
			const described = params === undefined ? '' : `,"params":${params}`;
			return `${JSON.stringify(key)}:{"method":${JSON.stringify(message.method)}${described}}`;
		});
		const requestState = this.#keeper.park(this, this.#current);
		const result = `{"resultType":"input_required","inputRequests":{${inputRequests.join(',')}},"requestState":${JSON.stringify(requestState)}}`;
		const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`;
		reply.answer(text, { kind: 'response', id, ok: true, result: {} });
	}

	/** The server wants pages opened and the call made again: no state of ours is needed for that. */
	#sendToPages({ data }: RpcError): void {
		const needed = { elicitation: { url: {} } };
		const pages = isObject(data) ? own(data, 'elicitations') : undefined;
		if (!declares(this.#envelope.capabilities, needed) || !Array.isArray(pages) || pages.length === 0) {
			const error = new SlipwayError('SLIPWAY_CAPABILITY_MISSING', { requiredCapabilities: needed });
			return this.fail(this.#current.id, error);
		}
		const inputRequests = Object.fromEntries(
			pages.map((page: unknown, index) => [
				`page-${index + 1}`,
				{ method: 'elicitation/create', params: isObject(page) ? { mode: 'url', ...page } : page },
			]),
		);
		this.#finish((reply) => answerWith(reply, this.#current.id, { resultType: 'input_required', inputRequests }));
	}

	/** Ends the call with an error of ours, and at the server too. */
	#failForGood(error: SlipwayError): void {
		this.fail(this.#current.id, error);
		this.#call?.cancel();
	}

	#finish(outcome: (reply: Reply) => void): void {
		if (this.#settled) return;
		this.#settled = true;
		clearTimeout(this.#gathering);
		// The client that is asked may well answer, and then hears how the call ended.
		if (this.#reply === undefined) this.#outcome = outcome;
		else this.#deliver(outcome, this.#reply);
	}

	#deliver(outcome: (reply: Reply) => void, reply: Reply): void {
		this.#keeper.forget(this);
		outcome(reply);
		for (const question of this.#takeQuestions()) question.handOn();
	}

	#takeQuestions(): Question[] {
		const questions = [...this.#questions.values()];
		this.#questions.clear();
		return questions;
	}

	#wants({ params }: NotificationMessage): boolean {
		const wanted = severityOf(this.#envelope.logLevel);
		return wanted !== -1 && severityOf(params === undefined ? undefined : own(params, 'level')) >= wanted;
	}
}
