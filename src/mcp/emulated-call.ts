/** A call of a client of the first era to a server of the second: as many requests to it as there are rounds of questions. */
import { SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../limits.ts';
import type { Call, CallOptions, Exchange, Question, Standing } from './exchange.ts';
import {
	errorText,
	isObject,
	type NotificationMessage,
	own,
	type RequestMessage,
	type ResponseMessage,
	type RpcError,
	type RpcId,
} from './jsonrpc.ts';
import { editMembers, memberText } from './text.ts';

/** What a call needs of the emulation that it belongs to. */
export interface EmulatedCallKeeper {
	/** Where a client is asked whose request has no stream now. */
	readonly standing: Standing;
	/** Sends a request of the client in its envelope. */
	forward(text: string, message: RequestMessage, options: CallOptions): Call;
	/** Whether the client is asked, and no request is at the server. */
	setAsking(call: EmulatedCall, asking: boolean): void;
}

export class EmulatedCall implements Exchange, Call {
	readonly #keeper: EmulatedCallKeeper;
	readonly #options: CallOptions;
	readonly #request: { readonly text: string; readonly message: RequestMessage };
	#call: Call | undefined;
	#round = 0;
	/** Questions that the client has not answered, by the server's key; and the answers, as JSON. */
	readonly #open = new Map<string, Question>();
	readonly #answers = new Map<string, string>();
	#requestState: string | undefined;
	#timer: NodeJS.Timeout | undefined;
	#over = false;

	constructor(
		keeper: EmulatedCallKeeper,
		options: CallOptions,
		request: { readonly text: string; readonly message: RequestMessage },
	) {
		this.#keeper = keeper;
		this.#options = options;
		this.#request = request;
	}

	send(): void {
		const { text, message } = this.#request;
		const inputResponses = `{${[...this.#answers].map(([key, answer]) => `${JSON.stringify(key)}:${answer}`).join(',')}}`;
		const answered = this.#round > 0 && this.#answers.size > 0;
		const requestState = this.#requestState;
		const next =
			this.#round === 0
				? text
				: editMembers(text, {
						params: (params = '{}') => editMembers(params, { ...(answered ? { inputResponses } : {}), requestState }),
					});
		this.#answers.clear();
		this.#call = this.#keeper.forward(next, message, { exchange: this, timeoutMs: this.#options.timeoutMs });
	}

	takes(message: RequestMessage | NotificationMessage): boolean {
		return message.kind === 'notification' && this.#options.exchange.takes(message);
	}

	tell(text: string, message: NotificationMessage): void {
		this.#options.exchange.tell(text, message);
	}

	/** A server of the second era makes no requests. */
	ask(_: Question): void {}

	answer(text: string, message: ResponseMessage): void {
		const result = message.ok && isObject(message.result) ? message.result : {};
		if (own(result, 'resultType') === 'input_required') return this.#askClient(text, result);
		this.#finish(() => this.#options.exchange.answer(text, message));
	}

	fail(id: RpcId, error: SlipwayError): void {
		this.#finish(() => this.#options.exchange.fail(id, error));
	}

	drop(): void {
		this.#finish(() => this.#options.exchange.drop());
	}

	cancel(params?: object): void {
		if (this.#open.size === 0) this.#call?.cancel(params);
		else this.drop();
	}

	/** Ends a call whose client is asked. */
	failNow(error: SlipwayError): void {
		this.fail(this.#request.message.id, error);
	}

	#askClient(text: string, result: object): void {
		this.#round += 1;
		const state = own(result, 'requestState');
		this.#requestState = typeof state === 'string' ? JSON.stringify(state) : undefined;
		const requests = own(result, 'inputRequests');
		const texts = memberText(memberText(text, 'result') ?? '{}', 'inputRequests') ?? '{}';
		const asked = isObject(requests) ? Object.keys(requests) : [];
		if (this.#round > BRIDGE_LIMITS.roundsMax)
			return this.failNow(new SlipwayError('SLIPWAY_CALL_TIMEOUT', { reason: 'It asked again and again.' }));
		const questions = asked.map((key) => this.#questionOf(key, memberText(texts, key) ?? '{}'));
		this.#keeper.setAsking(this, true);
		this.#timer = setTimeout(
			() =>
				this.failNow(new SlipwayError('SLIPWAY_CALL_TIMEOUT', { reason: 'The client was asked and did not answer.' })),
			SESSION_LIMITS.callTimeoutMsMax,
		);
		for (const question of questions) this.#open.set(String(question.message.id), question);
		for (const question of questions) {
			if (this.#over) return;
			if (this.#options.exchange.takes(question.message)) this.#options.exchange.ask(question);
			else if (!this.#keeper.standing.ask(question)) return this.failNow(new SlipwayError('SLIPWAY_CLIENT_GONE'));
		}
		this.#goOn();
	}

	#questionOf(key: string, text: string): Question {
		const value: unknown = JSON.parse(text);
		const method = isObject(value) ? own(value, 'method') : undefined;
		const params = isObject(value) ? own(value, 'params') : undefined;
		const idText = JSON.stringify(key);
		return {
			message: {
				kind: 'request',
				id: key,
				method: typeof method === 'string' ? method : '',
				params: isObject(params) ? params : undefined,
			},
			text: editMembers(text, { jsonrpc: '"2.0"', id: idText }),
			answer: (answer, message) => {
				if (!this.#open.delete(key)) return;
				if (!message.ok) return this.#refuse(message.error);
				this.#answers.set(key, memberText(answer, 'result') ?? '{}');
				this.#goOn();
			},
			refuse: (error) => {
				if (this.#open.delete(key)) this.#refuse(error);
			},
			// It came with the result of this call, and is of no other.
			handOn: () => this.failNow(new SlipwayError('SLIPWAY_CLIENT_GONE')),
			onWithdrawn: undefined,
		};
	}

	/** The second era knows no answer but the one that was asked for: the call ends with what the client said. */
	#refuse(error: RpcError): void {
		const { id } = this.#request.message;
		this.#finish(() => this.#options.exchange.answer(errorText(id, error), { kind: 'response', id, ok: false, error }));
	}

	#goOn(): void {
		if (this.#open.size > 0 || this.#over) return;
		this.#stopAsking();
		try {
			this.send();
		} catch (error) {
			if (!(error instanceof SlipwayError)) throw error;
			this.failNow(error);
		}
	}

	#stopAsking(): void {
		clearTimeout(this.#timer);
		this.#keeper.setAsking(this, false);
		for (const question of this.#open.values()) question.onWithdrawn?.(undefined);
		this.#open.clear();
	}

	#finish(end: () => void): void {
		if (this.#over) return;
		this.#over = true;
		this.#stopAsking();
		this.#options.onEnd?.();
		end();
	}
}
