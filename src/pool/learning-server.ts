/**
 * Servers, with an ear on what they say of themselves before anybody calls anything of them: that is their Snapshot, with
 * which the next client of the kind is told without an Instance.
 */
import type { SlipwayError } from '../errors.ts';
import type { Call, CallOptions, LegacyServer, Question, Reply } from '../mcp/exchange.ts';
import { type NotificationMessage, notificationText, type RequestMessage } from '../mcp/jsonrpc.ts';
import { askModern, LISTEN, type ModernRequest, type ModernServer } from '../mcp/modern-server.ts';
import type { Envelope } from '../mcp/revisions.ts';
import { type ListPage, pageOf, SNAPSHOT_LISTS } from '../mcp/snapshot.ts';
import { memberText } from '../mcp/text.ts';
import { watched } from '../mcp/watched.ts';

/** Requests that change nothing of what a server has. */
const QUIET = new Set([
	LISTEN,
	'ping',
	'logging/setLevel',
	'resources/list',
	'resources/subscribe',
	'resources/unsubscribe',
]);

/** A server for one conversation of the first era. */
export class LearningLegacyServer implements LegacyServer {
	readonly #server: LegacyServer;
	readonly #learn: (page: ListPage, result: string) => void;
	/** Whether nobody has called anything yet: what the server has may change with that. */
	#pristine = true;

	constructor(server: LegacyServer, learn: (page: ListPage, result: string) => void) {
		this.#server = server;
		this.#learn = learn;
	}

	get inFlight(): number {
		return this.#server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.#server.ended;
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		if (!this.#pristine) return this.#server.request(text, message, options);
		const page = pageOf(message);
		if (page === undefined) {
			if (!QUIET.has(message.method)) this.#pristine = false;
			return this.#server.request(text, message, options);
		}
		const exchange = watched(options.exchange, (answer, { ok }) => {
			if (ok) this.#learn(page, memberText(answer, 'result') ?? '{}');
		});
		return this.#server.request(text, message, { ...options, exchange });
	}

	notify(text: string, message: NotificationMessage): void {
		this.#server.notify(text, message);
	}

	hold(): () => void {
		return this.#server.hold();
	}
}

/** A result of `server/discover`, where there is no page, or of a list, for clients that say that of themselves. */
export type Learn = (envelope: Envelope, page: ListPage | undefined, result: string) => void;

/** What a client was told without the server. */
export interface Told {
	/** Whether it is known what the server says to `server/discover`, which not every client asks. */
	readonly isIntroduced: boolean;
	readonly told: readonly (readonly [page: ListPage, result: string])[];
	/** What the client says of itself. */
	readonly first: Envelope;
}

/** A server for requests of the second era. */
export class LearningServer implements ModernServer {
	readonly #server: ModernServer;
	readonly #learn: Learn;
	/** Whether nobody has called anything yet: what the server has may change with that. */
	#pristine = true;

	constructor(server: ModernServer, { told, first, isIntroduced }: Told, learn: Learn) {
		this.#server = server;
		this.#learn = learn;
		if (!isIntroduced)
			askModern(this, 'server/discover', {}, first).then(
				() => undefined,
				() => undefined,
			);
		for (const [page, result] of told) this.#compare(page, result, first);
	}

	get inFlight(): number {
		return this.#server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.#server.ended;
	}

	request(request: ModernRequest, reply: Reply): Call {
		const { message, envelope } = request;
		const page = pageOf(message);
		const isIntroduction = message.method === 'server/discover';
		if (page === undefined && !isIntroduction) {
			if (!QUIET.has(message.method)) this.#pristine = false;
			return this.#server.request(request, reply);
		}
		if (!this.#pristine) return this.#server.request(request, reply);
		return this.#server.request(request, {
			get attached() {
				return reply.attached;
			},
			related: (text) => reply.related(text),
			answer: (text, answer) => {
				if (answer.ok) this.#learn(envelope, page, memberText(text, 'result') ?? '{}');
				reply.answer(text, answer);
			},
			fail: (id, error) => reply.fail(id, error),
			drop: () => reply.drop(),
		});
	}

	holds(requestState: string, request: RequestMessage): boolean {
		return this.#server.holds(requestState, request);
	}

	hold(): () => void {
		return this.#server.hold();
	}

	tick(nowMs: number): void {
		this.#server.tick(nowMs);
	}

	send(text: string, message: NotificationMessage): boolean {
		return this.#server.send(text, message);
	}

	ask(question: Question): boolean {
		return this.#server.ask(question);
	}

	/** Who listens is told when it is otherwise now. */
	#compare(page: ListPage, told: string, envelope: Envelope): void {
		const params = page.cursor === undefined ? {} : { cursor: page.cursor };
		askModern(this.#server, page.method, params, envelope).then(
			({ text, message }) => {
				const now = message.ok ? (memberText(text, 'result') ?? '{}') : told;
				const method = SNAPSHOT_LISTS.get(page.method);
				if (now === told || method === undefined) return;
				this.#learn(envelope, page, now);
				this.#server.send(notificationText(method), { kind: 'notification', method, params: undefined });
			},
			() => undefined,
		);
	}
}
