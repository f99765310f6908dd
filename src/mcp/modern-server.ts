/**
 * A server as requests of the second era (2026-07-28) see it, and the plain case of one: a server that speaks it
 * itself. Whatever it says passes through; what has no request or subscription that it belongs to has no reader.
 */
import { SlipwayError } from '../errors.ts';
import type { Call, Exchange, LegacyServer, Question, Reply, Standing } from './exchange.ts';
import {
	type NotificationMessage,
	type RequestMessage,
	type ResponseMessage,
	type RpcId,
	requestText,
} from './jsonrpc.ts';
import { type Answer, answerWith } from './own-request.ts';
import { type Envelope, metaOfEnvelope, REVISIONS, SUBSCRIPTION_KEY } from './revisions.ts';
import { editMembers } from './text.ts';

/** A request of a client, with what the client says of itself in it. */
export interface ModernRequest {
	readonly text: string;
	readonly message: RequestMessage;
	readonly envelope: Envelope;
}

export interface ModernServer extends Standing {
	/** Requests without an answer, and calls that wait for their client to come back, but no subscriptions. */
	readonly inFlight: number;
	/** Resolves with the reason when the conversation is over. */
	readonly ended: Promise<SlipwayError>;
	/** Takes a request. To be cancelled when the client has gone. Throws a SlipwayError when it cannot be served. */
	request(request: ModernRequest, reply: Reply): Call;
	/** Whether a requestState was given out here for that request. */
	holds(requestState: string, request: RequestMessage): boolean;
	/** Stops what the server says until the way back is called. */
	hold(): () => void;
	/** To be called every second or so. */
	tick(nowMs: number): void;
}

/** The request that opens a subscription, and lasts as long as it does. */
export const LISTEN = 'subscriptions/listen';

/** Ends a subscription in order. Source: MCP 2026-07-28, basic/patterns/subscriptions#graceful-closure. */
export function endSubscription(reply: Reply, id: RpcId): void {
	answerWith(reply, id, { resultType: 'complete', _meta: { [SUBSCRIPTION_KEY]: id } });
}

/** Makes a request of our own, and takes no messages but the answer. Rejects with a SlipwayError. */
export function askModern(server: ModernServer, method: string, params: object, envelope: Envelope): Promise<Answer> {
	const { promise, resolve, reject } = Promise.withResolvers<Answer>();
	const enveloped = { ...params, _meta: metaOfEnvelope(envelope) };
	const message: RequestMessage = { kind: 'request', id: 'slipway', method, params: enveloped };
	try {
		server.request(
			{ text: requestText(message.id, method, enveloped), message, envelope },
			{
				attached: true,
				related: () => undefined,
				answer: (text, answer) => resolve({ text, message: answer }),
				fail: (_, error) => reject(error),
				drop: () => reject(new SlipwayError('SLIPWAY_SESSION_ENDED')),
			},
		);
	} catch (error) {
		reject(error);
	}
	return promise;
}

export class DirectServer implements ModernServer {
	readonly #upstream: LegacyServer;
	readonly #callTimeoutMs: number;

	/** @param upstream a conversation that has begun in the words of the second era, or a seat at one */
	constructor(upstream: LegacyServer, callTimeoutMs: number) {
		this.#upstream = upstream;
		this.#callTimeoutMs = callTimeoutMs;
	}

	get inFlight(): number {
		return this.#upstream.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.#upstream.ended;
	}

	request({ text, message, envelope }: ModernRequest, reply: Reply): Call {
		return this.#upstream.request(text, message, {
			exchange: new DirectExchange(message.method, envelope, reply),
			timeoutMs: message.method === LISTEN ? Number.POSITIVE_INFINITY : this.#callTimeoutMs,
		});
	}

	/** The server keeps its state to itself. */
	holds(): boolean {
		return false;
	}

	hold(): () => void {
		return this.#upstream.hold();
	}

	tick(): void {}

	send(): boolean {
		return true;
	}

	ask(): boolean {
		return false;
	}
}

class DirectExchange implements Exchange {
	readonly #method: string;
	readonly #envelope: Envelope;
	readonly #reply: Reply;

	constructor(method: string, envelope: Envelope, reply: Reply) {
		this.#method = method;
		this.#envelope = envelope;
		this.#reply = reply;
	}

	/** Log lines that were asked for. A server of this era has no questions. */
	takes({ kind }: RequestMessage | NotificationMessage): boolean {
		return kind === 'notification' && this.#envelope.logLevel !== undefined && this.#method !== LISTEN;
	}

	tell(text: string): void {
		this.#reply.related(text);
	}

	ask(_: Question): void {}

	/** Clients may speak the first era here too, whatever the server speaks. */
	answer(text: string, message: ResponseMessage): void {
		const discovered = this.#method === 'server/discover' && message.ok;
		const supportedVersions = JSON.stringify(REVISIONS);
		this.#reply.answer(
			discovered ? editMembers(text, { result: (result = '{}') => editMembers(result, { supportedVersions }) }) : text,
			message,
		);
	}

	/** The end of a subscription that is ours is a result, so that clients know it for no accident. */
	fail(id: RpcId, error: SlipwayError): void {
		if (this.#method === LISTEN && error.code === 'SLIPWAY_SESSION_ENDED') endSubscription(this.#reply, id);
		else this.#reply.fail(id, error);
	}

	drop(): void {
		this.#reply.drop();
	}
}
