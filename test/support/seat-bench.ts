/** A Multiplexer over an Upstream, with the test as the server and as those who have seats. */
import assert from 'node:assert/strict';
import type { SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { SESSION_LIMITS, SHARING_LIMITS } from '../../src/limits.ts';
import type { Call, Exchange } from '../../src/mcp/exchange.ts';
import { classify, type RpcId } from '../../src/mcp/jsonrpc.ts';
import { type Company, Multiplexer } from '../../src/mcp/multiplexer.ts';
import type { SeatedServer } from '../../src/mcp/seat.ts';
import { Upstream } from '../../src/mcp/upstream.ts';
import { LateStanding } from '../../src/pool/late-standing.ts';
import { FakeInstance, type Rpc } from './fake-launcher.ts';

const ALL_CAPABILITIES = {
	tools: { listChanged: true },
	resources: { subscribe: true, listChanged: true },
	logging: {},
	tasks: { list: {} },
};

/** What came of one request. */
export class Ticket implements Exchange {
	readonly id: RpcId;
	readonly told: Rpc[] = [];
	readonly answers: Rpc[] = [];
	readonly failures: SlipwayError[] = [];
	drops = 0;
	/** How often it was announced that it is over. */
	announced = 0;
	/** Is set by who made the request. */
	call: Call | undefined;

	constructor(id: RpcId) {
		this.id = id;
	}

	get ends(): number {
		return this.answers.length + this.failures.length + this.drops;
	}

	takes(): boolean {
		return true;
	}

	tell(text: string): void {
		assert.equal(this.ends, 0, 'told after the end');
		this.told.push(JSON.parse(text));
	}

	ask(): void {
		assert.fail('nobody here can be asked');
	}

	answer(text: string): void {
		this.answers.push(JSON.parse(text));
	}

	fail(id: RpcId, error: SlipwayError): void {
		assert.equal(id, this.id);
		this.failures.push(error);
	}

	drop(): void {
		this.drops += 1;
	}
}

/** Sends a request to a server of whatever kind. */
export function send(
	server: Pick<SeatedServer, 'request'>,
	message: Rpc,
	timeoutMs: number = SESSION_LIMITS.callTimeoutMs,
): Ticket {
	const parsed = classify({ jsonrpc: '2.0', ...message });
	assert.ok(parsed?.kind === 'request');
	const ticket = new Ticket(parsed.id);
	ticket.call = server.request(JSON.stringify({ jsonrpc: '2.0', ...message }), parsed, {
		exchange: ticket,
		timeoutMs,
		onEnd: () => {
			ticket.announced += 1;
		},
	});
	return ticket;
}

/** Who has a seat. */
export class Sitter {
	readonly seat: SeatedServer;
	/** What came that belongs to none of its requests. */
	readonly standing: Rpc[] = [];

	constructor(multiplexer: Multiplexer) {
		this.seat = multiplexer.join({
			send: (text) => this.standing.push(JSON.parse(text)) > 0,
			ask: () => assert.fail('nobody here can be asked'),
		});
	}

	send(message: Rpc): Ticket {
		return send(this.seat, message);
	}

	notify(method: string): void {
		const parsed = classify({ jsonrpc: '2.0', method });
		assert.ok(parsed?.kind === 'notification');
		this.seat.notify(JSON.stringify({ jsonrpc: '2.0', method }), parsed);
	}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets everything that was written arrive, and what it brings about. */
export async function settle(): Promise<void> {
	for (let i = 0; i < 8; i++) await turn();
}

export class SeatBench {
	readonly instance = new FakeInstance('alpha' as ServerName);
	readonly upstream: Upstream;
	readonly multiplexer: Multiplexer;
	#heard = 0;

	constructor(company: Company, introduction: object = {}) {
		const standing = new LateStanding();
		this.upstream = new Upstream(this.instance, {
			standing,
			observer: { onCall: () => undefined, onNoise: () => assert.fail('noise'), onTools: () => undefined },
			bounds: SHARING_LIMITS,
		});
		this.upstream.opened();
		const result = {
			protocolVersion: '2025-06-18',
			capabilities: ALL_CAPABILITIES,
			serverInfo: { name: 'played', version: '1' },
			...introduction,
		};
		this.multiplexer = new Multiplexer({
			server: this.upstream,
			introduction: {
				text: JSON.stringify({ jsonrpc: '2.0', id: 0, result }),
				message: { kind: 'response', id: 0, ok: true, result },
			},
			company,
		});
		standing.become(this.multiplexer);
	}

	sit(): Sitter {
		return new Sitter(this.multiplexer);
	}

	/** What the server was sent since it was looked at last. */
	async heard(): Promise<Rpc[]> {
		await settle();
		const lines = this.instance.received.slice(this.#heard);
		this.#heard += lines.length;
		return lines.map((line) => JSON.parse(line));
	}

	/** What the server was sent since then, which must be one message of that method. Its id is the server's. */
	async heardOne(method: string): Promise<{ readonly id: number; readonly params: Record<string, unknown> }> {
		const heard = await this.heard();
		assert.deepEqual(
			heard.map((message) => message.method),
			[method],
		);
		return { id: Number(heard[0]?.id), params: heard[0]?.params ?? {} };
	}

	/** The server says something, which arrives. */
	async say(message: Rpc): Promise<void> {
		this.instance.say({ jsonrpc: '2.0', ...message });
		await settle();
	}

	/** Ends it, and resolves when everybody has heard. */
	async stop(): Promise<void> {
		this.instance.finishStop();
		await this.upstream.ended;
		await settle();
	}
}
