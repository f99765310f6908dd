/**
 * A server that speaks 2026-07-28 alone, for a conversation of the first era: `initialize` and what else the second
 * has no more is answered here, every message gets its envelope, and `input_required` becomes questions to the client.
 */
import { RPC_CODES, SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../limits.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Question, Standing } from './exchange.ts';
import {
	errorText,
	isObject,
	type NotificationMessage,
	own,
	type RequestMessage,
	type ResponseMessage,
	type RpcError,
	type RpcId,
	requestText,
} from './jsonrpc.ts';
import { LISTEN } from './modern-server.ts';
import { type Answer, answerWith } from './own-request.ts';
import { ENVELOPE_KEYS, revisionForInitialize, SERVER_INFO_KEY, SUBSCRIPTION_KEY } from './revisions.ts';
import { editMembers, memberText } from './text.ts';
import type { Upstream } from './upstream.ts';

export interface EmulationOptions {
	readonly upstream: Upstream;
	/** The server's answer to `server/discover`. */
	readonly introduction: Answer;
	/** What `_meta` of every message holds: revision, name and capabilities of the client. */
	readonly meta: Readonly<Record<string, unknown>>;
	/** Where changes go. */
	readonly standing: Standing;
}

/** The part of a listener's filter for each change, and the capability that a server has if it tells of it. */
const LIST_CHANGES = Object.freeze({
	tools: 'toolsListChanged',
	prompts: 'promptsListChanged',
	resources: 'resourcesListChanged',
});

export class LegacyEmulation implements LegacyServer {
	readonly #options: EmulationOptions;
	readonly #introduction: { readonly text: string; readonly capabilities: object };
	/** Calls whose client is asked. */
	readonly #asking = new Set<EmulatedCall>();
	/** Subscriptions of the client, by resource. */
	readonly #subscriptions = new Map<string, Call>();
	#logLevel: unknown;

	constructor(options: EmulationOptions) {
		this.#options = options;
		const { text, message } = options.introduction;
		const capabilities = message.ok && isObject(message.result) ? own(message.result, 'capabilities') : undefined;
		this.#introduction = {
			text: memberText(text, 'result') ?? '{}',
			capabilities: isObject(capabilities) ? capabilities : {},
		};
		void options.upstream.ended.then((reason) => {
			for (const call of this.#asking) call.failNow(reason);
		});
	}

	get inFlight(): number {
		return this.#options.upstream.inFlight + this.#asking.size;
	}

	get ended(): Promise<SlipwayError> {
		return this.#options.upstream.ended;
	}

	/** Where a client is asked whose request has no stream now. */
	get standing(): Standing {
		return this.#options.standing;
	}

	/** The answer to a client's `initialize`. */
	introduce(message: RequestMessage): Answer {
		const { id } = message;
		const { text } = this.#introduction;
		const result = editMembers('{}', {
			protocolVersion: JSON.stringify(revisionForInitialize(message)),
			capabilities: memberText(text, 'capabilities') ?? '{}',
			serverInfo: memberText(memberText(text, '_meta') ?? '{}', SERVER_INFO_KEY) ?? NAMELESS_SERVER,
			instructions: memberText(text, 'instructions'),
		});
		return {
			text: `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`,
			message: { kind: 'response', id, ok: true, result: JSON.parse(result) },
		};
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		const { id, method, params = {} } = message;
		switch (method) {
			case 'ping':
				return answerNow(options, id);
			case 'logging/setLevel':
				this.#logLevel = own(params, 'level');
				return answerNow(options, id);
			case 'resources/subscribe':
				return this.#subscribe(message, options);
			case 'resources/unsubscribe':
				this.#unsubscribe(own(params, 'uri'));
				return answerNow(options, id);
			default: {
				const call = new EmulatedCall(this, options, { text, message });
				call.send();
				return call;
			}
		}
	}

	/** The second era has no notifications of a client but for what we say ourselves. */
	notify(_: string, { method }: NotificationMessage): void {
		if (method === 'notifications/initialized') this.#listenForChanges();
	}

	hold(): () => void {
		return this.#options.upstream.hold();
	}

	/** Sends a request of the client in its envelope. */
	forward(text: string, message: RequestMessage, options: CallOptions): Call {
		const level = this.#logLevel === undefined ? {} : { [ENVELOPE_KEYS.logLevel]: this.#logLevel };
		const meta = Object.entries({ ...this.#options.meta, ...level });
		const edits = Object.fromEntries(meta.map(([key, value]) => [key, JSON.stringify(value)]));
		const enveloped = editMembers(text, {
			params: (params = '{}') => editMembers(params, { _meta: (old = '{}') => editMembers(old, edits) }),
		});
		return this.#options.upstream.request(enveloped, message, options);
	}

	setAsking(call: EmulatedCall, asking: boolean): void {
		if (asking) this.#asking.add(call);
		else this.#asking.delete(call);
	}

	#listenForChanges(): void {
		const told = Object.entries(LIST_CHANGES).filter(([capability]) => {
			const declared = own(this.#introduction.capabilities, capability);
			return isObject(declared) && own(declared, 'listChanged') === true;
		});
		if (told.length > 0)
			this.#listen(Object.fromEntries(told.map(([, filter]) => [filter, true])), undefined, () => undefined);
	}

	#subscribe({ id, params = {} }: RequestMessage, options: CallOptions): Call {
		const uri = own(params, 'uri');
		if (typeof uri !== 'string')
			throw new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: '`params.uri` is missing.' });
		if (this.#subscriptions.has(uri)) return answerNow(options, id);
		if (this.#subscriptions.size >= BRIDGE_LIMITS.subscriptionsMax) throw new SlipwayError('SLIPWAY_CALLS_FULL');
		let over = false;
		const listening = this.#listen({ resourceSubscriptions: [uri] }, uri, (refusal) => {
			if (over) return;
			over = true;
			options.onEnd?.();
			if (refusal === undefined) return answerWith(options.exchange, id, {});
			this.#unsubscribe(uri);
			options.exchange.answer(errorText(id, refusal), { kind: 'response', id, ok: false, error: refusal });
		});
		this.#subscriptions.set(uri, listening);
		return {
			cancel: () => {
				if (over) return;
				over = true;
				options.onEnd?.();
				this.#unsubscribe(uri);
				options.exchange.drop();
			},
		};
	}

	#unsubscribe(uri: unknown): void {
		if (typeof uri !== 'string') return;
		this.#subscriptions.get(uri)?.cancel();
		this.#subscriptions.delete(uri);
	}

	/** Opens a subscription. `onBegun` hears once whether the server took it. */
	#listen(notifications: object, uri: string | undefined, onBegun: (refusal: RpcError | undefined) => void): Call {
		const message: RequestMessage = { kind: 'request', id: 'slipway', method: LISTEN, params: { notifications } };
		const exchange = new ListenExchange(this.#options.standing, uri, onBegun);
		const text = requestText(message.id, message.method, { notifications });
		return this.forward(text, message, { exchange, timeoutMs: Number.POSITIVE_INFINITY });
	}
}

const NAMELESS_SERVER = JSON.stringify({ name: 'unnamed', version: '0' });

/** A call, with as many requests to the server as it has rounds of questions. */
class EmulatedCall implements Exchange, Call {
	readonly #emulation: LegacyEmulation;
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
		emulation: LegacyEmulation,
		options: CallOptions,
		request: { readonly text: string; readonly message: RequestMessage },
	) {
		this.#emulation = emulation;
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
		this.#call = this.#emulation.forward(next, message, { exchange: this, timeoutMs: this.#options.timeoutMs });
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
		this.#emulation.setAsking(this, true);
		this.#timer = setTimeout(
			() =>
				this.failNow(new SlipwayError('SLIPWAY_CALL_TIMEOUT', { reason: 'The client was asked and did not answer.' })),
			SESSION_LIMITS.callTimeoutMsMax,
		);
		for (const question of questions) this.#open.set(String(question.message.id), question);
		for (const question of questions) {
			if (this.#over) return;
			if (this.#options.exchange.takes(question.message)) this.#options.exchange.ask(question);
			else if (!this.#emulation.standing.ask(question)) return this.failNow(new SlipwayError('SLIPWAY_CLIENT_GONE'));
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
		this.#emulation.setAsking(this, false);
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

/** A subscription of ours: what comes of it goes to the client as changes did before there were subscriptions. */
class ListenExchange implements Exchange {
	readonly #standing: Standing;
	readonly #uri: string | undefined;
	readonly #onBegun: (refusal: RpcError | undefined) => void;
	#begun = false;

	constructor(standing: Standing, uri: string | undefined, onBegun: (refusal: RpcError | undefined) => void) {
		this.#standing = standing;
		this.#uri = uri;
		this.#onBegun = onBegun;
	}

	takes(): boolean {
		return false;
	}

	tell(text: string, message: NotificationMessage): void {
		if (message.method === 'notifications/subscriptions/acknowledged') return this.#begin(this.#refusalIn(message));
		const bare = editMembers(text, {
			params: (params = '{}') =>
				editMembers(params, {
					_meta: (meta = '{}') => {
						const left = editMembers(meta, { [SUBSCRIPTION_KEY]: undefined });
						return left === '{}' ? undefined : left;
					},
				}),
		});
		this.#standing.send(bare, message);
	}

	ask(_: Question): void {}

	answer(_: string, message: ResponseMessage): void {
		this.#begin(message.ok ? undefined : message.error);
	}

	fail(_: RpcId, error: SlipwayError): void {
		this.#begin({ code: error.row.rpcCode, message: error.message });
	}

	drop(): void {
		this.#begin(undefined);
	}

	/** A server tells of resources that it does not know by leaving them out. */
	#refusalIn({ params = {} }: NotificationMessage): RpcError | undefined {
		if (this.#uri === undefined) return undefined;
		const taken = own(params, 'notifications');
		const uris = isObject(taken) ? own(taken, 'resourceSubscriptions') : undefined;
		if (Array.isArray(uris) && uris.includes(this.#uri)) return undefined;
		return { code: RPC_CODES.invalidParams, message: 'The server does not tell of changes to this resource.' };
	}

	#begin(refusal: RpcError | undefined): void {
		if (this.#begun) return;
		this.#begun = true;
		this.#onBegun(refusal);
	}
}

function answerNow({ exchange, onEnd }: CallOptions, id: RpcId): Call {
	// Not before the caller has its Call.
	setImmediate(() => {
		onEnd?.();
		answerWith(exchange, id, {});
	});
	return { cancel: () => undefined };
}
