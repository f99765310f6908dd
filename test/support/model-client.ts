/** Clients of either era whose every move is the test's, and that check what they get: whose it is, and that it ends. */
import assert from 'node:assert/strict';
import { SUBSCRIPTION_KEY } from '../../src/mcp/revisions.ts';
import { modernMeta } from './client-modern.ts';
import type { Rpc } from './fake-launcher.ts';
import { pick } from './model-server.ts';

type Id = string | number;

/** Errors of the gateway that no client of these here has earned, whatever its server does. */
const UNFAIR: ReadonlySet<string> = new Set([
	'SLIPWAY_BAD_JSON',
	'SLIPWAY_BAD_REQUEST',
	'SLIPWAY_CALLS_FULL',
	'SLIPWAY_CALL_TIMEOUT',
	'SLIPWAY_CAPABILITY_MISSING',
	'SLIPWAY_CLIENT_GONE',
	'SLIPWAY_DUPLICATE_ID',
	'SLIPWAY_HEADER_MISMATCH',
	'SLIPWAY_INTERNAL',
	'SLIPWAY_METHOD_UNKNOWN',
	'SLIPWAY_PARAMS_INVALID',
	'SLIPWAY_PROTOCOL_VERSION',
]);

/** One request as its client sees it. */
export class Ticket {
	readonly id: Id;
	/** What the server brings back of the call. */
	readonly mark: string;
	readonly token: Id | undefined;
	/** Whether the client still listens. */
	attached = true;
	readonly told: Rpc[] = [];
	/** Its answer, or that it ended without one: once. */
	readonly ends: (Rpc | 'dropped')[] = [];

	constructor(id: Id, mark: string, token: Id | undefined) {
		this.id = id;
		this.mark = mark;
		this.token = token;
	}

	get over(): boolean {
		return this.ends.length > 0;
	}

	/** Fails when something that came is not its own. */
	check(): void {
		assert.ok(this.ends.length <= 1, `${this.mark} ended twice: ${JSON.stringify(this.ends)}`);
		for (const end of this.ends) {
			if (end === 'dropped') continue;
			assert.equal(end.id, this.id, `an id of another: ${this.mark}`);
			const code = end.error?.data?.['code'] ?? end.error?.message;
			assert.ok(!UNFAIR.has(String(code)), `${this.mark} was refused: ${code}`);
		}
		for (const { method, params } of this.told) {
			if (method !== 'notifications/progress') continue;
			assert.equal(params?.['message'], this.mark, 'progress of another call');
			assert.equal(params?.['progressToken'], this.token, `progress under another token, ${this.mark}`);
		}
	}
}

/** Sends a request for a client of the second era. Returns how it hangs up. */
export type ModernPort = (message: Rpc, ticket: Ticket) => () => void;

export interface Filter {
	readonly resourceSubscriptions: readonly string[];
	readonly toolsListChanged?: true;
}

/** A stream of changes that a client holds open. */
export class Listening {
	readonly ticket: Ticket;
	readonly #filter: Filter;
	readonly #leave: () => void;
	/** How much it had been told when its client hung up. */
	#toldAtEnd: number | undefined;

	constructor(ticket: Ticket, filter: Filter, leave: () => void) {
		this.ticket = ticket;
		this.#filter = filter;
		this.#leave = leave;
	}

	get live(): boolean {
		return this.#toldAtEnd === undefined && !this.ticket.over;
	}

	leave(): void {
		this.ticket.attached = false;
		this.#toldAtEnd = this.ticket.told.length;
		this.#leave();
	}

	/** The resources that it was told it is subscribed to; undefined before it was told. */
	get acknowledged(): readonly unknown[] | undefined {
		const [first] = this.ticket.told;
		if (first === undefined) return undefined;
		assert.equal(first.method, ACKNOWLEDGED, 'something came before the acknowledgement');
		const uris: unknown = Reflect.get(Object(first.params?.['notifications']), 'resourceSubscriptions');
		return Array.isArray(uris) ? uris : [];
	}

	/** The resources that it was told of. */
	get changed(): unknown[] {
		return this.ticket.told.flatMap(({ method, params }) =>
			method === 'notifications/resources/updated' ? [params?.['uri']] : [],
		);
	}

	check(): void {
		this.ticket.check();
		const acknowledged = this.acknowledged ?? [];
		for (const uri of acknowledged)
			assert.ok(this.#filter.resourceSubscriptions.includes(String(uri)), 'a resource that was not asked for');
		for (const uri of this.changed) assert.ok(acknowledged.includes(uri), `${uri} was not subscribed to`);
		for (const [index, { method, params }] of this.ticket.told.entries()) {
			assert.equal(Reflect.get(Object(params?.['_meta']), SUBSCRIPTION_KEY), this.ticket.id, 'another subscription');
			if (index > 0) assert.notEqual(method, ACKNOWLEDGED, 'acknowledged twice');
			if (method === 'notifications/tools/list_changed') assert.ok(this.#filter.toolsListChanged);
		}
		assert.equal(this.ticket.told.length, this.#toldAtEnd ?? this.ticket.told.length, 'told after it hung up');
	}
}

const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

interface ModernCall {
	readonly mark: string;
	readonly tickets: Ticket[];
	state: 'waiting' | 'asked' | 'over' | 'left' | 'abandoned';
	leave: () => void;
	asked: { readonly inputRequests: object; readonly requestState: string | undefined } | undefined;
	readonly states: string[];
	/** The questions that it answered. */
	readonly answered: unknown[];
}

export interface ModernCallerOptions {
	readonly name: string;
	readonly port: ModernPort;
	/** The name of the tool that is called. */
	readonly tool?: (at: number) => string;
	readonly capabilities?: Record<string, unknown>;
	/** Whether a requestState is good for one time, as those of the gateway are. */
	readonly statesAreUsedUp?: boolean;
}

export const CAPABILITIES = { sampling: {}, elicitation: {}, roots: {} };

/** A client of 2026-07-28. It may use an id twice at once: the protocol has each request stand for itself. */
export class ModernCaller {
	readonly name: string;
	readonly calls: ModernCall[] = [];
	/** Requests with a state that was used before. */
	readonly #replays: { readonly ticket: Ticket; readonly call: ModernCall }[] = [];
	readonly #options: ModernCallerOptions;

	constructor(options: ModernCallerOptions) {
		this.name = options.name;
		this.#options = options;
	}

	call(id: Id, token: Id | undefined, at = 0): void {
		const mark = `${this.name} ${this.calls.length} ${this.#options.tool?.(at) ?? 'x'}`;
		const made: ModernCall = {
			mark,
			tickets: [],
			state: 'waiting',
			leave: () => undefined,
			asked: undefined,
			states: [],
			answered: [],
		};
		this.calls.push(made);
		this.#send(made, { id, token });
	}

	/** Comes back to a call with answers: to all that it was asked, or not. */
	comeBack(
		at: number,
		{ id, token, portion }: { id: Id; token: Id | undefined; portion: 'all' | 'some' | 'none' },
	): void {
		const call = pick(this.#in('asked'), at);
		if (call?.asked === undefined) return;
		const { inputRequests, requestState } = call.asked;
		const asked = Object.entries(inputRequests).slice(0, { all: undefined, some: 1, none: 0 }[portion]);
		const nonces = asked.map(([key, { params }]) => [key, params?.nonce] as const);
		call.answered.push(...nonces.map(([, nonce]) => nonce));
		const inputResponses = Object.fromEntries(nonces.map(([key, nonce]) => [key, { nonce, by: this.name }]));
		if (requestState !== undefined) call.states.push(requestState);
		call.state = 'waiting';
		this.#send(call, { id, token, more: { inputResponses, ...(requestState === undefined ? {} : { requestState }) } });
	}

	/** Brings a state that was used before: it must be refused, and change nothing. */
	replay(at: number): void {
		const used = this.calls.filter(({ states }) => states.length > 0);
		const call = pick(used, at);
		if (call === undefined || !this.#options.statesAreUsedUp) return;
		const ticket = new Ticket(`again ${at}`, call.mark, undefined);
		this.#replays.push({ ticket, call });
		const request = this.#request(call, ticket, { requestState: pick(call.states, at), inputResponses: {} });
		this.#options.port(request, ticket);
	}

	/** Brings a state with another request than it was given for: it must be refused, and change nothing. */
	tamper(at: number): void {
		const call = pick(this.#in('asked'), at);
		if (call?.asked === undefined || !this.#options.statesAreUsedUp) return;
		const ticket = new Ticket(`tampered ${at}`, `${call.mark} of another`, undefined);
		this.#replays.push({ ticket, call });
		const more = { requestState: call.asked.requestState, inputResponses: {} };
		this.#options.port(this.#request({ mark: ticket.mark }, ticket, more), ticket);
	}

	/** Hangs up in the middle of a call. */
	leave(at: number): void {
		const call = pick(this.#in('waiting'), at);
		if (call === undefined) return;
		call.state = 'left';
		const ticket = call.tickets.at(-1);
		if (ticket !== undefined) ticket.attached = false;
		call.leave();
	}

	/** Never comes back to a call. */
	abandon(at: number): void {
		const call = pick(this.#in('asked'), at);
		if (call !== undefined) call.state = 'abandoned';
	}

	/** Looks at what came. */
	hear(): void {
		for (const call of this.#in('waiting')) {
			const [end] = call.tickets.at(-1)?.ends ?? [];
			if (end === undefined) continue;
			const { result } = end === 'dropped' ? {} : end;
			if (result?.['resultType'] === 'input_required') {
				const { inputRequests = {}, requestState } = result;
				call.asked = { inputRequests: Object(inputRequests), requestState: requestState as string | undefined };
				call.state = 'asked';
			} else call.state = 'over';
		}
	}

	/** Opens a stream of changes. It is not one of its calls. */
	listen(id: Id, filter: Filter): Listening {
		const ticket = new Ticket(id, `${this.name} listens`, undefined);
		const { capabilities = CAPABILITIES, name } = this.#options;
		const _meta = modernMeta({ capabilities, clientInfo: { name, version: '1' } });
		const params = { notifications: filter, _meta };
		return new Listening(
			ticket,
			filter,
			this.#options.port({ jsonrpc: '2.0', id, method: 'subscriptions/listen', params }, ticket),
		);
	}

	/** Whether it has something to come back to. */
	get isAsked(): boolean {
		return this.#in('asked').length > 0;
	}

	get waiting(): number {
		return this.#in('waiting').length;
	}

	check(): void {
		for (const { mark, tickets, answered } of this.calls) {
			for (const ticket of tickets) ticket.check();
			const [end] = tickets.at(-1)?.ends ?? [];
			if (end === undefined || end === 'dropped' || end.result === undefined) continue;
			if (end.result['resultType'] === 'input_required') continue;
			assert.equal(end.result['mark'], mark, 'the answer to another call');
			assert.equal(end.result['resultType'], 'complete');
			// A server of the first era is not told which call an answer came with.
			const heard = end.result['answered'];
			if (Array.isArray(heard) && heard.length > 0) assert.deepEqual(heard, answered);
		}
	}

	/** At the end: every call that was not given up has ended, once. */
	checkEnded(): void {
		this.check();
		for (const { mark, tickets, state } of this.calls) {
			if (state === 'left') continue;
			for (const { ends } of tickets) {
				assert.equal(ends.length, 1, `${mark} was lost`);
				assert.notEqual(ends[0], 'dropped', `${mark} ended without an answer`);
			}
			assert.ok(state === 'over' || state === 'abandoned', `${mark} is ${state}`);
		}
		for (const { ticket, call } of this.#replays) {
			const [end] = ticket.ends;
			// A request whose client hangs up at once may not have used its state.
			if (call.state === 'left') continue;
			assert.ok(end !== undefined && end !== 'dropped' && end.error !== undefined, 'a state was good for too much');
		}
	}

	/** How each of its calls ended, as far as it did. */
	get answers(): (Rpc | 'dropped' | undefined)[] {
		return this.calls.map(({ tickets }) => tickets.at(-1)?.ends[0]);
	}

	/**
	 * Marks of calls that it hung up on, of which the server is to hear at once. Who hangs up on the way back to a call
	 * may not have been heard of: then the call waits for it as for any that it does not come back to.
	 */
	get withdrawn(): string[] {
		return this.#in('left').flatMap(({ mark, states }) => (states.length === 0 ? [mark] : []));
	}

	/** Marks of all that it hung up on, and of those that it never came back to. */
	get givenUp(): string[] {
		return [...this.#in('left'), ...this.#in('abandoned')].map(({ mark }) => mark);
	}

	#in(state: ModernCall['state']): ModernCall[] {
		return this.calls.filter((call) => call.state === state);
	}

	#send(call: ModernCall, { id, token, more = {} }: { id: Id; token: Id | undefined; more?: object }): void {
		const ticket = new Ticket(id, call.mark, token);
		call.tickets.push(ticket);
		call.leave = this.#options.port(this.#request(call, ticket, more), ticket);
	}

	#request({ mark }: Pick<ModernCall, 'mark'>, { id, token }: Ticket, more: object): Rpc {
		const { capabilities = CAPABILITIES, name } = this.#options;
		const meta = token === undefined ? {} : { progressToken: token };
		const _meta = modernMeta({ capabilities, clientInfo: { name, version: '1' }, logLevel: 'debug', meta });
		const [, , tool] = mark.split(' ');
		return {
			jsonrpc: '2.0',
			id,
			method: 'tools/call',
			params: { name: tool, arguments: { mark }, ...more, _meta },
		};
	}
}

/** How a client of the first era reaches its server. */
export interface LegacyPort {
	request(message: Rpc, ticket: Ticket): void;
	notify(message: Rpc): void;
	respond(message: Rpc): void;
	/** What came that belongs to no request. */
	readonly standing: readonly Rpc[];
}

export interface LegacyCallerOptions {
	readonly name: string;
	readonly port: LegacyPort;
	readonly tool?: (at: number) => string;
}

/** A client of the revisions with `initialize`. */
export class LegacyCaller {
	readonly name: string;
	readonly tickets: Ticket[] = [];
	readonly #options: LegacyCallerOptions;
	readonly #calls = new Set<Ticket>();
	readonly #answered = new Set<Id>();
	readonly #cancelled = new Set<Ticket>();

	constructor(options: LegacyCallerOptions) {
		this.name = options.name;
		this.#options = options;
	}

	/** Nothing when it has a call of that id in flight: the protocol forbids it. */
	call(id: Id, token: Id | undefined, at = 0): void {
		if (this.open.some((ticket) => ticket.id === id)) return;
		const tool = this.#options.tool?.(at) ?? 'x';
		const mark = `${this.name} ${this.tickets.length} ${tool}`;
		const inUse = this.open.some((ticket) => ticket.token === token);
		const ticket = new Ticket(id, mark, inUse ? undefined : token);
		this.tickets.push(ticket);
		this.#calls.add(ticket);
		const _meta = ticket.token === undefined ? {} : { _meta: { progressToken: ticket.token } };
		const params = { name: tool, arguments: { mark }, ..._meta };
		this.#options.port.request({ jsonrpc: '2.0', id, method: 'tools/call', params }, ticket);
	}

	/** Makes a request that is no call of a tool. */
	request(id: Id, method: string, params: object): void {
		if (this.open.some((ticket) => ticket.id === id)) return;
		const ticket = new Ticket(id, `${this.name} ${method}`, undefined);
		this.tickets.push(ticket);
		this.#options.port.request({ jsonrpc: '2.0', id, method, params: { ...params } }, ticket);
	}

	get open(): Ticket[] {
		return this.tickets.filter(({ over }) => !over);
	}

	cancel(at: number): void {
		const ticket = pick(this.open, at);
		if (ticket === undefined) return;
		this.#cancelled.add(ticket);
		const params = { requestId: ticket.id, reason: 'enough' };
		this.#options.port.notify({ jsonrpc: '2.0', method: 'notifications/cancelled', params });
	}

	/** Answers a question. Returns whether there was one. */
	reply(at: number, how: 'ok' | 'error' | 'twice' = 'ok'): boolean {
		const question = pick(this.questions, at);
		if (question?.id === undefined || question.id === null) return false;
		const { id, params } = question;
		this.#answered.add(id);
		const result = { nonce: params?.['nonce'], by: this.name };
		const answer: Rpc =
			how === 'error' ? { jsonrpc: '2.0', id, error: { code: -1, message: 'no' } } : { jsonrpc: '2.0', id, result };
		this.#options.port.respond(answer);
		if (how === 'twice') this.#options.port.respond(answer);
		return true;
	}

	/** Questions that it has not answered, and that were not withdrawn. */
	get questions(): Rpc[] {
		const came = this.#came;
		const withdrawn = new Set(
			came.filter(({ method }) => method === 'notifications/cancelled').map(({ params }) => params?.['requestId']),
		);
		return came.filter(
			({ id, method }) => method !== undefined && id != null && !withdrawn.has(id) && !this.#answered.has(id),
		);
	}

	check(): void {
		for (const ticket of this.tickets) {
			ticket.check();
			const [end] = ticket.ends;
			if (end === undefined || end === 'dropped' || end.result === undefined) continue;
			if (this.#calls.has(ticket)) assert.equal(end.result['mark'], ticket.mark, 'the answer to another call');
		}
		const ids = this.#came.flatMap(({ id, method }) => (method === undefined || id == null ? [] : [id]));
		assert.equal(new Set(ids).size, ids.length, 'two questions with one id');
	}

	/** What it cancelled is over, with or without an answer, as soon as the gateway has heard of it. */
	checkCancelled(): void {
		for (const { mark, over } of this.#cancelled) assert.ok(over, `${mark} goes on although it was cancelled`);
	}

	/** At the end: every call has ended, once. */
	checkEnded(): void {
		this.check();
		for (const ticket of this.tickets) {
			assert.equal(ticket.ends.length, 1, `${ticket.mark} was lost`);
			if (!this.#cancelled.has(ticket)) assert.notEqual(ticket.ends[0], 'dropped', `${ticket.mark} has no answer`);
		}
	}

	/** Marks of calls that it cancelled. */
	get withdrawn(): string[] {
		return [...this.#cancelled].map(({ mark }) => mark);
	}

	get givenUp(): string[] {
		return this.withdrawn;
	}

	/** How many of its requests have not ended. */
	get waiting(): number {
		return this.open.length;
	}

	get #came(): Rpc[] {
		return [...this.tickets.flatMap(({ told }) => told), ...this.#options.port.standing];
	}
}
