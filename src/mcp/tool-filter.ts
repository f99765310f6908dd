/**
 * Servers, as somebody sees them who may not use all of their tools: what may not be called is in no list, and a call of
 * it is refused before the server hears of it.
 */
import { SlipwayError } from '../errors.ts';
import { nameOf } from './definition.ts';
import type { Call, CallOptions, LegacyServer, Reply } from './exchange.ts';
import { isObject, own, type RequestMessage } from './jsonrpc.ts';
import type { ModernRequest, ModernServer } from './modern-server.ts';
import type { Answer } from './own-request.ts';
import { PassingLegacyServer, PassingModernServer, withAnswer, withReplyAnswer } from './passing.ts';
import { editMembers, elementTexts, isAmbiguous, memberText } from './text.ts';
import { type ToolPins, toolOf } from './tool-pins.ts';

/** Which tools of a server somebody may use. */
export interface ToolFilter {
	allows(tool: string): boolean;
	/** The scopes with which a tool that is not allowed would be; none where nobody may use it. */
	scopesFor(tool: string): readonly string[];
	/** The scopes with which all else of the server would be in reach, where tools alone are. */
	readonly toolsOnly: readonly string[] | undefined;
	/** What is held of the definitions of those tools, if anything is. */
	readonly pins?: ToolPins | undefined;
	/** There where it goes by definitions alone. */
	readonly pinsOnly?: true;
}

/** A filter that goes by definitions alone. */
export function filterByPins(pins: ToolPins): ToolFilter {
	return { allows: () => true, scopesFor: () => [], toolsOnly: undefined, pins, pinsOnly: true };
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

/** A request as the server is to have it: as it came, where nothing is held back of what it may be for. */
function toSend(text: string, message: RequestMessage, { pins, pinsOnly }: ToolFilter): string {
	const tool = toolOf(message);
	const isOpen = pinsOnly && !pins?.holdsBack && (tool === undefined || pins?.verdict(tool) === 'passes');
	return isOpen ? text : withoutDoubles(text, message);
}

/** Whether something may have to be left out of an answer. */
function isFiltered(method: string, { pinsOnly }: ToolFilter): boolean {
	return method === 'tools/list' || (!pinsOnly && LIST_MEMBERS.has(method));
}

/** Throws SLIPWAY_FORBIDDEN or SLIPWAY_TOOL_CHANGED for a request that the filter does not let through. */
function check({ method, params = {} }: RequestMessage, filter: ToolFilter): void {
	if (method === 'tools/call') {
		const name = own(params, 'name');
		// Without a name the server refuses it itself.
		if (typeof name === 'string' && !filter.allows(name))
			throw new SlipwayError('SLIPWAY_FORBIDDEN', { scopes: filter.scopesFor(name) });
		if (typeof name === 'string' && filter.pins?.verdict(name) === 'refused') throw filter.pins.refusal(name);
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
function withoutDoubles(text: string, message: RequestMessage): string {
	const name = toolOf(message);
	return editMembers(text, {
		method: JSON.stringify(message.method),
		...(name !== undefined ? { params: (said = '{}') => editMembers(said, { name: JSON.stringify(name) }) } : {}),
	});
}

function listensToResources(method: string, params: object): boolean {
	if (method !== 'subscriptions/listen') return false;
	const notifications = own(params, 'notifications');
	return isObject(notifications) && own(notifications, 'resourceSubscriptions') !== undefined;
}

/** A list that says one thing to all: its reader is to take it for what was looked at here. */
function unambiguous(method: string, text: string): string {
	return method === 'tools/list' && isAmbiguous(text) ? JSON.stringify(JSON.parse(text)) : text;
}

/** The result of a list as JSON, without what the filter holds back. */
export function filterList(method: string, said: string, filter: ToolFilter): string {
	const result = unambiguous(method, said);
	const member = LIST_MEMBERS.get(method);
	const list = member === undefined ? undefined : memberText(result, member);
	if (member === undefined || list === undefined) return result;
	if (method !== 'tools/list') return filter.toolsOnly !== undefined ? editMembers(result, { [member]: '[]' }) : result;
	const values: unknown = JSON.parse(list);
	if (!Array.isArray(values)) return result;
	const kept = elementTexts(list).filter((_, index) => {
		const value: unknown = values[index];
		const name = nameOf(value);
		return name !== undefined && filter.allows(name) && filter.pins?.shows(value) !== false;
	});
	return kept.length === values.length ? result : editMembers(result, { [member]: `[${kept.join(',')}]` });
}

/** An answer to a list, without what the filter holds back. */
function filterAnswer(method: string, { text: said, message }: Answer, filter: ToolFilter): Answer {
	const text = unambiguous(method, said);
	const result = message.ok ? memberText(text, 'result') : undefined;
	if (!message.ok || result === undefined) return { text, message };
	const filtered = filterList(method, result, filter);
	if (filtered === result) return { text, message };
	return { text: editMembers(text, { result: filtered }), message: { ...message, result: JSON.parse(filtered) } };
}

/** A server for one conversation of the first era. */
export class FilteredLegacyServer extends PassingLegacyServer {
	readonly #filter: () => ToolFilter | undefined;

	/** @param filter what holds now: it is asked at every request */
	constructor(server: LegacyServer, filter: () => ToolFilter | undefined) {
		super(server);
		this.#filter = filter;
	}

	override request(text: string, message: RequestMessage, options: CallOptions): Call {
		const filter = this.#filter();
		if (filter === undefined) return super.request(text, message, options);
		check(message, filter);
		const sent = toSend(text, message, filter);
		const { method } = message;
		if (!isFiltered(method, filter)) return super.request(sent, message, options);
		const exchange = withAnswer(options.exchange, (answer) => filterAnswer(method, answer, filter));
		return super.request(sent, message, { ...options, exchange });
	}
}

/** A server for requests of the second era. */
export class FilteredModernServer extends PassingModernServer {
	readonly #filter: () => ToolFilter | undefined;

	/** @param filter what holds now: it is asked at every request */
	constructor(server: ModernServer, filter: () => ToolFilter | undefined) {
		super(server);
		this.#filter = filter;
	}

	override request(request: ModernRequest, reply: Reply): Call {
		const filter = this.#filter();
		if (filter === undefined) return super.request(request, reply);
		const { message, text } = request;
		const { method } = message;
		check(message, filter);
		const sent = { ...request, text: toSend(text, message, filter) };
		if (!isFiltered(method, filter)) return super.request(sent, reply);
		return super.request(
			sent,
			withReplyAnswer(reply, (answer) => filterAnswer(method, answer, filter)),
		);
	}
}
