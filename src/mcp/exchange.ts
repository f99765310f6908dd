/** Who is at the other end of a server's messages: the request that they belong to, or the conversation as a whole. */
import type { SlipwayError } from '../errors.ts';
import type { NotificationMessage, RequestMessage, ResponseMessage, RpcError, RpcId } from './jsonrpc.ts';

/** Where what comes of one request of a client goes, on its transport. Exactly one of answer, fail, drop ends it. */
export interface Reply {
	/** Whether somebody still listens. */
	readonly attached: boolean;
	/** A message that comes before the answer. */
	related(text: string): void;
	/** The server's answer, with the client's id. */
	answer(text: string, message: ResponseMessage): void;
	/** There is no answer, and this is why. */
	fail(id: RpcId, error: SlipwayError): void;
	/** The client withdrew the request: it wants no answer. */
	drop(): void;
	/** Behind many servers as one: which of them it goes to; undefined when none of them knows what it is for. */
	servedBy?(server: string | undefined): void;
}

/** What an Upstream needs of whoever made a request. Exactly one of answer, fail, drop ends it. */
export interface Exchange {
	/** Whether a question or a log line that may belong to the request can be given to it. */
	takes(message: RequestMessage | NotificationMessage): boolean;
	/** A message that comes before the answer: progress, a log line. */
	tell(text: string, message: NotificationMessage): void;
	ask(question: Question): void;
	answer(text: string, message: ResponseMessage): void;
	fail(id: RpcId, error: SlipwayError): void;
	drop(): void;
	servedBy?(server: string | undefined): void;
}

/** A request of a server to its client. Whoever gets it answers it, refuses it or hands it on, once. */
export interface Question {
	readonly message: RequestMessage;
	/** As the server wrote it, with the server's id. */
	readonly text: string;
	/** Passes the client's answer on, a JSON-RPC response whose id does not matter. */
	answer(text: string, message: ResponseMessage): void;
	/** Answers the server with an error. */
	refuse(error: RpcError): void;
	/** Whoever has it cannot put it any more, and it may belong to somebody else: it goes to whoever takes it now. */
	handOn(): void;
	/** Called when nobody waits for the answer any more; with the server's `notifications/cancelled`, if it sent one. */
	onWithdrawn: ((params: object | undefined) => void) | undefined;
}

/** Where a server's messages go that belong to no request. Both return false when the message was not taken. */
export interface Standing {
	send(text: string, message: NotificationMessage): boolean;
	ask(question: Question): boolean;
}

export interface CallOptions {
	readonly exchange: Exchange;
	/** Infinity for a request that lasts as long as its client wants. */
	readonly timeoutMs: number;
	/** Called once, when the call is over, before its exchange hears of it. */
	readonly onEnd?: () => void;
}

/** A server as a conversation of the first era sees it: one Instance, an emulation of it, or many as one. */
export interface LegacyServer {
	/** Requests without an answer that will end by themselves. */
	readonly inFlight: number;
	/** Resolves with the reason when the conversation is over. */
	readonly ended: Promise<SlipwayError>;
	/** Sends a client's request. Throws a SlipwayError when it cannot be sent. */
	request(text: string, message: RequestMessage, options: CallOptions): Call;
	/** Sends a client's notification; not one that cancels a request. */
	notify(text: string, message: NotificationMessage): void;
	/** Stops what the server says until the way back is called. */
	hold(): () => void;
}

/** A request in flight. */
export interface Call {
	/** Tells the server that the client withdrew the request, and ends it. Without effect when it is over. */
	cancel(params?: object): void;
}
