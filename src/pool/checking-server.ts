/**
 * Servers whose calls of tools are held against what the operator says of their arguments, and against the schema that the
 * tool was listed with. What is passed on is passed on as it came: nothing is filled in or converted.
 */
import { SlipwayError } from '../errors.ts';
import type { ServerView } from '../launcher/contract.ts';
import { SCHEMA_LIMITS } from '../limits.ts';
import type { Call, CallOptions, LegacyServer, Reply } from '../mcp/exchange.ts';
import { isObject, own, type RequestMessage } from '../mcp/jsonrpc.ts';
import type { ModernRequest, ModernServer } from '../mcp/modern-server.ts';
import { type Answer, answerWith } from '../mcp/own-request.ts';
import { PassingLegacyServer, PassingModernServer, withAnswer, withReplyAnswer } from '../mcp/passing.ts';
import { PendingCall } from '../mcp/pending-call.ts';
import { refusesInResults } from '../mcp/revisions.ts';
import type { Snapshot } from '../mcp/snapshot.ts';
import { checkArguments } from '../policy/arguments.ts';
import type { ToolBook, Tools } from './tool-book.ts';

export interface ShownToolsOptions {
	readonly book: ToolBook;
	/** The server as it is in the catalog now. */
	readonly server: () => ServerView;
	/** What clients of the kind are told without the server. */
	readonly snapshot: () => Snapshot | undefined;
	/** Told of each call that is refused in a result. */
	readonly onRefused: () => void;
}

/**
 * The tools as one conversation was shown them: a server may describe them otherwise to somebody else, and later. Where
 * the conversation was given no list it is what is told to its kind, and else to everybody alike.
 */
export class ShownTools {
	readonly #options: ShownToolsOptions;
	/** By cursor. */
	readonly #pages = new Map<string | undefined, Tools>();
	#asked = false;

	constructor(options: ShownToolsOptions) {
		this.#options = options;
	}

	/** A page of the list was given. */
	note({ params = {} }: RequestMessage, { message }: Answer): void {
		const cursor = own(params, 'cursor');
		this.#learn(typeof cursor === 'string' ? cursor : undefined, message.ok ? message.result : undefined);
	}

	/**
	 * What is wrong with the arguments of a call by the schema of its tool; undefined when nothing is.
	 *
	 * @throws SlipwayError SLIPWAY_ARGUMENTS_FORBIDDEN
	 */
	objection(text: string, { params = {} }: RequestMessage): string | undefined {
		const name = own(params, 'name');
		// Without a name the server refuses it itself.
		if (typeof name !== 'string') return undefined;
		const { book, server } = this.#options;
		const { name: serverName, tools } = server();
		const args = own(params, 'arguments') ?? {};
		if (tools?.arguments !== undefined) checkArguments(tools.arguments, { tool: name, args, text });
		if (tools?.validate === false) return undefined;
		const tool = this.#find(name);
		return tool && book.objection(serverName, name, tool, args, text.length);
	}

	refused(): void {
		this.#options.onRefused();
	}

	#find(name: string) {
		if (this.#pages.size === 0 && !this.#asked) {
			this.#asked = true;
			const pages = this.#options.snapshot()?.findWhole('tools/list') ?? [];
			for (const [index, page] of pages.entries())
				this.#learn(index === 0 ? undefined : String(index), JSON.parse(page));
		}
		for (const page of this.#pages.values()) {
			const tool = page.get(name);
			if (tool !== undefined) return tool;
		}
		const { book, server } = this.#options;
		return this.#pages.size === 0 ? book.find(server().name, name) : undefined;
	}

	#learn(cursor: string | undefined, result: unknown): void {
		const list = isObject(result) ? own(result, 'tools') : undefined;
		if (!Array.isArray(list)) return;
		const { name, spec } = this.#options.server();
		if (cursor === undefined) this.#pages.clear();
		if (this.#pages.size < SCHEMA_LIMITS.pagesMax) this.#pages.set(cursor, this.#options.book.learn(name, spec, list));
	}
}

/** A server for one conversation of the first era. */
export class CheckingLegacyServer extends PassingLegacyServer {
	readonly #shown: ShownTools;
	readonly #revision: string;

	/** @param revision that client and server agreed on */
	constructor(server: LegacyServer, shown: ShownTools, revision: string) {
		super(server);
		this.#shown = shown;
		this.#revision = revision;
	}

	override request(text: string, message: RequestMessage, options: CallOptions): Call {
		if (message.method === 'tools/list') {
			const exchange = withAnswer(options.exchange, (answer) => {
				this.#shown.note(message, answer);
				return answer;
			});
			return super.request(text, message, { ...options, exchange });
		}
		const objection = message.method === 'tools/call' ? this.#shown.objection(text, message) : undefined;
		if (objection === undefined) return super.request(text, message, options);
		this.#shown.refused();
		// Who asked for a task waits for a task.
		const asResult = refusesInResults(this.#revision) && own(message.params ?? {}, 'task') === undefined;
		return refuse(message, objection, { to: options.exchange, asResult, onEnd: options.onEnd });
	}
}

/** A server for requests of the second era. */
export class CheckingModernServer extends PassingModernServer {
	readonly #shown: ShownTools;

	constructor(server: ModernServer, shown: ShownTools) {
		super(server);
		this.#shown = shown;
	}

	override request(request: ModernRequest, reply: Reply): Call {
		const { message, text } = request;
		if (message.method === 'tools/list')
			return super.request(
				request,
				withReplyAnswer(reply, (answer) => {
					this.#shown.note(message, answer);
					return answer;
				}),
			);
		const objection = message.method === 'tools/call' ? this.#shown.objection(text, message) : undefined;
		if (objection === undefined) return super.request(request, reply);
		this.#shown.refused();
		return refuse(message, objection, { to: reply, asResult: true, resultType: 'complete' });
	}
}

interface Refusal {
	readonly to: Pick<Reply, 'answer' | 'fail' | 'drop'>;
	/** Whether it is a result, which the model reads and can act on, or an error, which is the client's alone. */
	readonly asResult: boolean;
	readonly resultType?: 'complete';
	readonly onEnd?: (() => void) | undefined;
}

/** Source: MCP 2025-11-25, server/tools#error-handling (SEP-1303). */
function refuse({ id }: RequestMessage, reason: string, { to, asResult, resultType, onEnd }: Refusal): Call {
	const call = new PendingCall(() => {
		onEnd?.();
		to.drop();
	});
	const error = new SlipwayError('SLIPWAY_ARGUMENTS_INVALID', { reason });
	// Not before the caller has its Call.
	queueMicrotask(() => {
		if (!call.finish()) return;
		onEnd?.();
		if (!asResult) return to.fail(id, error);
		const content = [{ type: 'text', text: error.message }];
		answerWith(to, id, { content, isError: true, ...(resultType === undefined ? {} : { resultType }) });
	});
	return call;
}
