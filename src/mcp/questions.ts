/**
 * The questions that were put to a client of the first era, and the exchanges that put them.
 *
 * A client's answer names its question by an id of ours, since several servers may ask the same client.
 */
import type { SlipwayError } from '../errors.ts';
import type { Exchange, Question, Reply } from './exchange.ts';
import {
	type NotificationMessage,
	notificationText,
	type RequestMessage,
	type ResponseMessage,
	type RpcId,
} from './jsonrpc.ts';
import { replaceId } from './text.ts';

/** INVARIANT: a question is in the table from when it was put until it is answered or withdrawn. */
export class Questions {
	readonly #open = new Map<RpcId, Question>();
	#lastId = 0;

	/** Puts a question; `send` carries it to the client, and its withdrawal. Returns false when `send` does. */
	put(question: Question, send: (text: string) => boolean): boolean {
		const id = ++this.#lastId;
		this.#open.set(id, question);
		question.onWithdrawn = (params) => {
			if (this.#open.delete(id)) send(notificationText('notifications/cancelled', { ...params, requestId: id }));
		};
		if (send(replaceId(question.text, question.message.id, id))) return true;
		this.#open.delete(id);
		return false;
	}

	/** Passes a client's answer on. One that nobody asked for is dropped. */
	respond(text: string, message: ResponseMessage): void {
		const question = this.#open.get(message.id);
		if (question === undefined) return;
		this.#open.delete(message.id);
		question.answer(text, message);
	}
}

/** A request of a client of the first era: everything goes to its reply, questions too. */
export class LegacyExchange implements Exchange {
	readonly #reply: Reply;
	readonly #questions: Questions;

	constructor(reply: Reply, questions: Questions) {
		this.#reply = reply;
		this.#questions = questions;
	}

	takes(_: RequestMessage | NotificationMessage): boolean {
		return this.#reply.attached;
	}

	tell(text: string): void {
		this.#reply.related(text);
	}

	ask(question: Question): void {
		this.#questions.put(question, (text) => {
			this.#reply.related(text);
			return true;
		});
	}

	answer(text: string, message: ResponseMessage): void {
		this.#reply.answer(text, message);
	}

	fail(id: RpcId, error: SlipwayError): void {
		this.#reply.fail(id, error);
	}

	drop(): void {
		this.#reply.drop();
	}

	servedBy(server: string | undefined): void {
		this.#reply.servedBy?.(server);
	}
}
