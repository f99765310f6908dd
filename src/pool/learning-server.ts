/**
 * Servers, with an ear on what they say of themselves before anybody calls anything of them: that is their Snapshot, with
 * which the next client of the kind is told without an Instance.
 */
import type { Call, CallOptions, LegacyServer, Reply } from '../mcp/exchange.ts';
import { notificationText, type RequestMessage } from '../mcp/jsonrpc.ts';
import { askModern, LISTEN, type ModernRequest, type ModernServer } from '../mcp/modern-server.ts';
import { PassingLegacyServer, PassingModernServer, withAnswer, withReplyAnswer } from '../mcp/passing.ts';
import type { Envelope } from '../mcp/revisions.ts';
import { type ListPage, pageOf, SNAPSHOT_LISTS } from '../mcp/snapshot.ts';
import { memberText } from '../mcp/text.ts';

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
export class LearningLegacyServer extends PassingLegacyServer {
	readonly #learn: (page: ListPage, result: string) => void;
	/** Whether nobody has called anything yet: what the server has may change with that. */
	#pristine = true;

	constructor(server: LegacyServer, learn: (page: ListPage, result: string) => void) {
		super(server);
		this.#learn = learn;
	}

	override request(text: string, message: RequestMessage, options: CallOptions): Call {
		if (!this.#pristine) return super.request(text, message, options);
		const page = pageOf(message);
		if (page === undefined) {
			if (!QUIET.has(message.method)) this.#pristine = false;
			return super.request(text, message, options);
		}
		const exchange = withAnswer(options.exchange, (answer) => {
			if (answer.message.ok) this.#learn(page, memberText(answer.text, 'result') ?? '{}');
			return answer;
		});
		return super.request(text, message, { ...options, exchange });
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
export class LearningServer extends PassingModernServer {
	readonly #learn: Learn;
	/** Whether nobody has called anything yet: what the server has may change with that. */
	#pristine = true;

	constructor(server: ModernServer, { told, first, isIntroduced }: Told, learn: Learn) {
		super(server);
		this.#learn = learn;
		if (!isIntroduced)
			askModern(this, 'server/discover', {}, first).then(
				() => undefined,
				() => undefined,
			);
		for (const [page, result] of told) this.#compare(page, result, first);
	}

	override request(request: ModernRequest, reply: Reply): Call {
		const { message, envelope } = request;
		const page = pageOf(message);
		const isIntroduction = message.method === 'server/discover';
		if (page === undefined && !isIntroduction) {
			if (!QUIET.has(message.method)) this.#pristine = false;
			return super.request(request, reply);
		}
		if (!this.#pristine) return super.request(request, reply);
		const heard = withReplyAnswer(reply, (answer) => {
			if (answer.message.ok) this.#learn(envelope, page, memberText(answer.text, 'result') ?? '{}');
			return answer;
		});
		return super.request(request, heard);
	}

	/** Who listens is told when it is otherwise now. */
	#compare(page: ListPage, told: string, envelope: Envelope): void {
		const params = page.cursor === undefined ? {} : { cursor: page.cursor };
		askModern(this.server, page.method, params, envelope).then(
			({ text, message }) => {
				const now = message.ok ? (memberText(text, 'result') ?? '{}') : told;
				const method = SNAPSHOT_LISTS.get(page.method);
				if (now === told || method === undefined) return;
				this.#learn(envelope, page, now);
				this.server.send(notificationText(method), { kind: 'notification', method, params: undefined });
			},
			() => undefined,
		);
	}
}
