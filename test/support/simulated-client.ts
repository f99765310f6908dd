/** Clients in a simulation: what they ask for, and what came of it. */
import { modernHeaders, modernRequest } from './client-modern.ts';
import type { FakeRequestOptions, FakeResponse } from './fake-http.ts';
import type { Rpc } from './fake-launcher.ts';

/** What came of one request. */
export class Ticket {
	readonly client: string;
	readonly id: number;
	readonly method: string;
	/** Whether no answer is to be expected: the client hung up, or its connection went. */
	gone = false;
	/** Whether the gateway ended the response. */
	ended = false;
	/** The answers that came: one at most, if all is well. */
	readonly answers: Rpc[] = [];
	readonly #response: FakeResponse;

	constructor(client: string, message: Rpc, response: FakeResponse) {
		this.client = client;
		this.id = Number(message.id);
		this.method = message.method ?? '';
		this.#response = response;
		response.onMessage = (came) => {
			if (came.method === undefined) this.answers.push(came);
		};
		response.onEnd = () => {
			this.ended = true;
		};
	}

	get answer(): Rpc | undefined {
		return this.answers[0];
	}

	/** Whether nothing more will come of it. */
	get over(): boolean {
		return this.gone || this.ended;
	}

	get code(): string {
		const code: unknown = Reflect.get(Object(this.answer?.error?.data), 'code');
		if (typeof code === 'string') return code;
		return this.answer?.error === undefined ? 'ok' : 'its error';
	}

	/** The client hangs up. */
	hangUp(): void {
		if (this.over) return;
		this.gone = true;
		this.#response.destroy();
	}

	toString(): string {
		return `${this.method} ${this.id} of ${this.client}`;
	}
}

/** Makes a request at the gateway that there is now; undefined when it does not know the path. */
export type Visit = (path: string, principal: string, options: FakeRequestOptions) => FakeResponse | undefined;

export interface ClientOptions {
	/** No other has it. */
	readonly name: string;
	readonly principal: string;
	readonly path: string;
	readonly visit: Visit;
	/** In which step it came. */
	readonly step: number;
}

/** What the simulation asks of clients of either era. */
export abstract class SimulatedClient {
	readonly name: string;
	readonly principal: string;
	readonly path: string;
	readonly step: number;
	readonly tickets: Ticket[] = [];
	protected readonly visit: Visit;
	#lastId = 0;

	constructor({ name, principal, path, visit, step }: ClientOptions) {
		this.name = name;
		this.principal = principal;
		this.path = path;
		this.visit = visit;
		this.step = step;
	}

	/** Whether it can make requests. */
	abstract readonly isOpen: boolean;

	call(): Ticket | undefined {
		return this.request('tools/call', { name: 'x', arguments: { client: this.name } });
	}

	list(): Ticket | undefined {
		return this.request('tools/list', {});
	}

	/** Hangs up on its last request. */
	hangUp(): void {
		this.tickets.findLast(({ over }) => !over)?.hangUp();
	}

	abstract request(method: string, params: Record<string, unknown>): Ticket | undefined;

	protected get nextId(): number {
		return ++this.#lastId;
	}

	protected take(message: Rpc, headers: Readonly<Record<string, string>>): [Ticket, FakeResponse] | undefined {
		const response = this.visit(this.path, this.principal, { method: 'POST', headers, body: message });
		if (response === undefined) return undefined;
		const ticket = new Ticket(this.name, message, response);
		this.tickets.push(ticket);
		return [ticket, response];
	}
}

export class LegacyClient extends SimulatedClient {
	/** Empty before `initialize` was answered. */
	sessionId = '';
	/** Whether it knows that its session is no more, or it ended it. */
	over = false;
	/** Whether it was told that its session is ended. */
	hasEnded = false;
	#stream: FakeResponse | undefined;

	get isOpen(): boolean {
		return this.sessionId !== '' && !this.over;
	}

	open(): Ticket | undefined {
		const clientInfo = { name: this.name, version: '1' };
		const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo };
		const message: Rpc = { jsonrpc: '2.0', id: this.nextId, method: 'initialize', params };
		const [ticket, response] = this.take(message, {}) ?? [];
		if (ticket === undefined || response === undefined) return undefined;
		const { onEnd } = response;
		response.onEnd = () => {
			onEnd();
			if (ticket.answer?.result === undefined) return;
			this.sessionId = String(response.headers['mcp-session-id']);
			this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
		};
		return ticket;
	}

	request(method: string, params: Record<string, unknown>): Ticket | undefined {
		const message: Rpc = { jsonrpc: '2.0', id: this.nextId, method, params };
		const [ticket, response] = this.take(message, this.#headers) ?? [];
		if (ticket === undefined || response === undefined) return undefined;
		const { onEnd } = response;
		response.onEnd = () => {
			onEnd();
			// As a client has it: its session is no more.
			if (response.status === 404) this.over = true;
		};
		return ticket;
	}

	/** Opens its GET stream, or breaks it. */
	listen(): void {
		if (this.#stream !== undefined) {
			this.#stream.destroy();
			this.#stream = undefined;
			return;
		}
		const headers = { accept: 'text/event-stream', ...this.#headers };
		const stream = this.visit(this.path, this.principal, { method: 'GET', headers });
		if (stream === undefined) return;
		this.#stream = stream;
		stream.onEnd = () => {
			if (this.#stream === stream) this.#stream = undefined;
		};
	}

	/** Ends its session. */
	end(): void {
		if (!this.isOpen) return;
		this.over = true;
		const response = this.visit(this.path, this.principal, { method: 'DELETE', headers: this.#headers });
		if (response === undefined) return;
		response.onEnd = () => {
			this.hasEnded = response.status === 200;
		};
	}

	/** Its machine is gone, and nothing says so but that its connections break. */
	vanish(): void {
		for (const ticket of this.tickets) ticket.hangUp();
		const stream = this.#stream;
		this.#stream = undefined;
		stream?.destroy();
	}

	get #headers(): Readonly<Record<string, string>> {
		return { 'mcp-session-id': this.sessionId };
	}

	#post(body: Rpc): void {
		this.visit(this.path, this.principal, { method: 'POST', headers: this.#headers, body });
	}
}

export class ModernClient extends SimulatedClient {
	readonly isOpen = true;

	request(method: string, params: Record<string, unknown>): Ticket | undefined {
		const clientInfo = { name: this.name, version: '1' };
		const message = modernRequest(method, params, { id: this.nextId, clientInfo });
		return this.take(message, modernHeaders(method, params))?.[0];
	}
}
