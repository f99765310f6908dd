/**
 * A server that speaks 2026-07-28 alone, for a conversation of the first era: `initialize` and what else the second
 * has no more is answered here, every message gets its envelope, and `input_required` becomes questions to the client.
 */
import { SlipwayError } from '../errors.ts';
import { BRIDGE_LIMITS } from '../limits.ts';
import { EmulatedCall, type EmulatedCallKeeper } from './emulated-call.ts';
import type { Call, CallOptions, LegacyServer, Standing } from './exchange.ts';
import {
	errorText,
	isObject,
	type NotificationMessage,
	own,
	type RequestMessage,
	type RpcId,
	requestText,
} from './jsonrpc.ts';
import { ListenExchange, type ListenOptions } from './listen-exchange.ts';
import { LISTEN } from './modern-server.ts';
import { type Answer, answerWith } from './own-request.ts';
import { ENVELOPE_KEYS, revisionForInitialize, SERVER_INFO_KEY } from './revisions.ts';
import { editMembers, memberText } from './text.ts';

export interface EmulationOptions {
	/** A conversation that has begun in the words of the second era, or a seat at one. */
	readonly upstream: LegacyServer;
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

export class LegacyEmulation implements LegacyServer, EmulatedCallKeeper {
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
		if (told.length === 0) return;
		const filter = Object.fromEntries(told.map(([, part]) => [part, true]));
		this.#listen(filter, { uri: undefined, onBegun: () => undefined, onOver: () => undefined });
	}

	#subscribe({ id, params = {} }: RequestMessage, options: CallOptions): Call {
		const uri = own(params, 'uri');
		if (typeof uri !== 'string')
			throw new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: '`params.uri` is missing.' });
		if (this.#subscriptions.has(uri)) return answerNow(options, id);
		if (this.#subscriptions.size >= BRIDGE_LIMITS.subscriptionsMax) throw new SlipwayError('SLIPWAY_CALLS_FULL');
		let over = false;
		const listening: Call = this.#listen(
			{ resourceSubscriptions: [uri] },
			{
				uri,
				onBegun: (refusal) => {
					if (over) return;
					over = true;
					options.onEnd?.();
					if (refusal === undefined) return answerWith(options.exchange, id, {});
					this.#unsubscribe(uri);
					options.exchange.answer(errorText(id, refusal), { kind: 'response', id, ok: false, error: refusal });
				},
				onOver: () => {
					if (this.#subscriptions.get(uri) === listening) this.#subscriptions.delete(uri);
				},
			},
		);
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

	/** Opens a subscription. */
	#listen(notifications: object, options: Omit<ListenOptions, 'standing'>): Call {
		const message: RequestMessage = { kind: 'request', id: 'slipway', method: LISTEN, params: { notifications } };
		const exchange = new ListenExchange({ ...options, standing: this.#options.standing });
		const text = requestText(message.id, message.method, { notifications });
		return this.forward(text, message, { exchange, timeoutMs: Number.POSITIVE_INFINITY });
	}
}

const NAMELESS_SERVER = JSON.stringify({ name: 'unnamed', version: '0' });

function answerNow({ exchange, onEnd }: CallOptions, id: RpcId): Call {
	// Not before the caller has its Call.
	setImmediate(() => {
		onEnd?.();
		answerWith(exchange, id, {});
	});
	return { cancel: () => undefined };
}
