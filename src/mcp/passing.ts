/** Servers and exchanges that pass on what they are given, for those that change or overhear some of it. */
import type { SlipwayError } from '../errors.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Question, Reply } from './exchange.ts';
import type { NotificationMessage, RequestMessage } from './jsonrpc.ts';
import type { ModernRequest, ModernServer } from './modern-server.ts';
import type { Answer } from './own-request.ts';

/** A server for one conversation of the first era. */
export class PassingLegacyServer implements LegacyServer {
	protected readonly server: LegacyServer;

	constructor(server: LegacyServer) {
		this.server = server;
	}

	get inFlight(): number {
		return this.server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.server.ended;
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		return this.server.request(text, message, options);
	}

	notify(text: string, message: NotificationMessage): void {
		this.server.notify(text, message);
	}

	hold(): () => void {
		return this.server.hold();
	}
}

/** A server for requests of the second era. */
export class PassingModernServer implements ModernServer {
	protected readonly server: ModernServer;

	constructor(server: ModernServer) {
		this.server = server;
	}

	get inFlight(): number {
		return this.server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.server.ended;
	}

	request(request: ModernRequest, reply: Reply): Call {
		return this.server.request(request, reply);
	}

	holds(requestState: string, request: RequestMessage): boolean {
		return this.server.holds(requestState, request);
	}

	hold(): () => void {
		return this.server.hold();
	}

	tick(nowMs: number): void {
		this.server.tick(nowMs);
	}

	send(text: string, message: NotificationMessage): boolean {
		return this.server.send(text, message);
	}

	ask(question: Question): boolean {
		return this.server.ask(question);
	}
}

/** An exchange whose answer is another, or is overheard. */
export function withAnswer(exchange: Exchange, map: (answer: Answer) => Answer): Exchange {
	return {
		takes: (message) => exchange.takes(message),
		tell: (text, message) => exchange.tell(text, message),
		ask: (question) => exchange.ask(question),
		answer: (text, message) => {
			const answer = map({ text, message });
			exchange.answer(answer.text, answer.message);
		},
		fail: (id, error) => exchange.fail(id, error),
		drop: () => exchange.drop(),
	};
}

/** The same of a reply. */
export function withReplyAnswer(reply: Reply, map: (answer: Answer) => Answer): Reply {
	return {
		get attached() {
			return reply.attached;
		},
		related: (text) => reply.related(text),
		answer: (text, message) => {
			const answer = map({ text, message });
			reply.answer(answer.text, answer.message);
		},
		fail: (id, error) => reply.fail(id, error),
		drop: () => reply.drop(),
	};
}
