/**
 * Servers, as somebody sees them who may not use all of their tools: what may not be called is in no list, and a call of
 * it is refused before the server hears of it.
 */
import { SlipwayError } from '../errors.ts';
import type { Call, CallOptions, Exchange, LegacyServer, Question, Reply } from './exchange.ts';
import { isObject, type NotificationMessage, own, type RequestMessage, type ResponseMessage } from './jsonrpc.ts';
import type { ModernRequest, ModernServer } from './modern-server.ts';
import { editMembers, elementTexts, memberText } from './text.ts';

/** Which tools of a server somebody may use. */
export interface ToolFilter {
	allows(tool: string): boolean;
	/** The scopes with which a tool that is not allowed would be; none where nobody may use it. */
	scopesFor(tool: string): readonly string[];
	/** The scopes with which all else of the server would be in reach, where tools alone are. */
	readonly toolsOnly: readonly string[] | undefined;
}

/** Lists, and the member of their results that holds the entries. */
const LIST_MEMBERS: ReadonlyMap<string, string> = new Map([
	['tools/list', 'tools'],
	['prompts/list', 'prompts'],
	['resources/list', 'resources'],
	['resources/templates/list', 'resourceTemplates'],
]);

/** What those who may use tools only may still ask. */
const OF_TOOLS = /^(?:tools\/|tasks\/|initialize$|ping$|logging\/setLevel$|server\/discover$|subscriptions\/listen$)/;

/** Throws SLIPWAY_FORBIDDEN for a request that the filter does not let through. */
function check({ method, params = {} }: RequestMessage, filter: ToolFilter): void {
	if (method === 'tools/call') {
		const name = own(params, 'name');
		// Without a name the server refuses it itself.
		if (typeof name === 'string' && !filter.allows(name))
			throw new SlipwayError('SLIPWAY_FORBIDDEN', { scopes: filter.scopesFor(name) });
		return;
	}
	const isOfTools = LIST_MEMBERS.has(method) || (OF_TOOLS.test(method) && !listensToResources(method, params));
	if (filter.toolsOnly !== undefined && !isOfTools)
		throw new SlipwayError('SLIPWAY_FORBIDDEN', { scopes: filter.toolsOnly });
}

/**
 * A request in which the method and the name of the tool stand once. Of two members of one name the last counts here; a
 * server for which the first counts would be asked something else than was judged.
 */
function withoutDoubles(text: string, { method, params = {} }: RequestMessage): string {
	const name = method === 'tools/call' ? own(params, 'name') : undefined;
	return editMembers(text, {
		method: JSON.stringify(method),
		...(typeof name === 'string' ? { params: (said = '{}') => editMembers(said, { name: JSON.stringify(name) }) } : {}),
	});
}

function listensToResources(method: string, params: object): boolean {
	if (method !== 'subscriptions/listen') return false;
	const notifications = own(params, 'notifications');
	return isObject(notifications) && own(notifications, 'resourceSubscriptions') !== undefined;
}

/** The result of a list as JSON, without what the filter holds back. */
export function filterList(method: string, result: string, filter: ToolFilter): string {
	const member = LIST_MEMBERS.get(method);
	const list = member === undefined ? undefined : memberText(result, member);
	if (member === undefined || list === undefined) return result;
	if (method !== 'tools/list') return filter.toolsOnly !== undefined ? editMembers(result, { [member]: '[]' }) : result;
	const values: unknown = JSON.parse(list);
	if (!Array.isArray(values)) return result;
	const kept = elementTexts(list).filter((_, index) => {
		const value: unknown = values[index];
		const name = isObject(value) ? own(value, 'name') : undefined;
		return typeof name === 'string' && filter.allows(name);
	});
	return kept.length === values.length ? result : editMembers(result, { [member]: `[${kept.join(',')}]` });
}

/** An answer to a list, without what the filter holds back. */
function filterAnswer(
	method: string,
	{ text, message }: { readonly text: string; readonly message: ResponseMessage },
	filter: ToolFilter,
): { readonly text: string; readonly message: ResponseMessage } {
	const result = message.ok ? memberText(text, 'result') : undefined;
	if (!message.ok || result === undefined) return { text, message };
	const filtered = filterList(method, result, filter);
	if (filtered === result) return { text, message };
	return { text: editMembers(text, { result: filtered }), message: { ...message, result: JSON.parse(filtered) } };
}

/** A server for one conversation of the first era. */
export class FilteredLegacyServer implements LegacyServer {
	readonly #server: LegacyServer;
	readonly #filter: () => ToolFilter | undefined;

	/** @param filter what holds now: it is asked at every request */
	constructor(server: LegacyServer, filter: () => ToolFilter | undefined) {
		this.#server = server;
		this.#filter = filter;
	}

	get inFlight(): number {
		return this.#server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.#server.ended;
	}

	request(text: string, message: RequestMessage, options: CallOptions): Call {
		const filter = this.#filter();
		if (filter === undefined) return this.#server.request(text, message, options);
		check(message, filter);
		const once = withoutDoubles(text, message);
		if (!LIST_MEMBERS.has(message.method)) return this.#server.request(once, message, options);
		const { exchange } = options;
		const filtered: Exchange = {
			takes: (other) => exchange.takes(other),
			tell: (line, other) => exchange.tell(line, other),
			ask: (question) => exchange.ask(question),
			answer: (line, response) => {
				const answer = filterAnswer(message.method, { text: line, message: response }, filter);
				exchange.answer(answer.text, answer.message);
			},
			fail: (id, error) => exchange.fail(id, error),
			drop: () => exchange.drop(),
		};
		return this.#server.request(once, message, { ...options, exchange: filtered });
	}

	notify(text: string, message: NotificationMessage): void {
		this.#server.notify(text, message);
	}

	hold(): () => void {
		return this.#server.hold();
	}
}

/** A server for requests of the second era. */
export class FilteredModernServer implements ModernServer {
	readonly #server: ModernServer;
	readonly #filter: () => ToolFilter | undefined;

	/** @param filter what holds now: it is asked at every request */
	constructor(server: ModernServer, filter: () => ToolFilter | undefined) {
		this.#server = server;
		this.#filter = filter;
	}

	get inFlight(): number {
		return this.#server.inFlight;
	}

	get ended(): Promise<SlipwayError> {
		return this.#server.ended;
	}

	request(request: ModernRequest, reply: Reply): Call {
		const filter = this.#filter();
		if (filter === undefined) return this.#server.request(request, reply);
		const { message, text } = request;
		const { method } = message;
		check(message, filter);
		const once = { ...request, text: withoutDoubles(text, message) };
		if (!LIST_MEMBERS.has(method)) return this.#server.request(once, reply);
		return this.#server.request(once, {
			get attached() {
				return reply.attached;
			},
			related: (line) => reply.related(line),
			answer: (line, response) => {
				const answer = filterAnswer(method, { text: line, message: response }, filter);
				reply.answer(answer.text, answer.message);
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
}
