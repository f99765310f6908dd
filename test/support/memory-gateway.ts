/**
 * The gateway from its endpoints to the stdio of its servers, in memory: only the listener in front of it and the
 * engine behind it are not there.
 */
import assert from 'node:assert/strict';
import { type Audit, NO_AUDIT } from '../../src/audit/audit.ts';
import { toSlipwayError } from '../../src/errors.ts';
import { AuditedCalls } from '../../src/http/audited-calls.ts';
import { CALLS, CallBudgets } from '../../src/http/call-budgets.ts';
import { Conversations } from '../../src/http/conversations.ts';
import { sendError } from '../../src/http/respond.ts';
import { Sessions } from '../../src/http/sessions.ts';
import { serveStreamable } from '../../src/http/streamable.ts';
import { Tenants } from '../../src/http/tenants.ts';
import type { Visit } from '../../src/http/visit.ts';
import type { PrincipalId, ServerName } from '../../src/ids.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { INSTANCE_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { Metrics } from '../../src/metrics.ts';
import { UNBOUNDED } from '../../src/policy/access.ts';
import { Absences } from '../../src/pool/absences.ts';
import { AggregateTarget } from '../../src/pool/aggregate-target.ts';
import { REAL_CHANCE } from '../../src/pool/crash-guard.ts';
import { Pins } from '../../src/pool/pins.ts';
import { Pool } from '../../src/pool/pool.ts';
import { Snapshots } from '../../src/pool/snapshots.ts';
import { ServerTarget, type Target, type TargetDependencies } from '../../src/pool/target.ts';
import { ToolBook } from '../../src/pool/tool-book.ts';
import { modernHeaders } from './client-modern.ts';
import { type FakeRequestOptions, FakeResponse, fakeRequest } from './fake-http.ts';
import { FakeLauncher, type Rpc, serverView } from './fake-launcher.ts';
import { MemoryStore } from './memory-store.ts';
import type { LegacyPort, ModernPort, Ticket } from './model-client.ts';
import { ModelServer, type ModelServerOptions } from './model-server.ts';

/** How the servers of that name behave. */
export type Habits = Omit<ModelServerOptions, 'instance'>;

const metrics = new Metrics({
	sessions: () => [],
	instances: () => [],
	streams: () => 0,
	warm: () => [],
	startsQueued: () => 0,
	orphansSwept: () => 0,
	egress: () => [],
	breakers: () => [],
	engineReachable: () => true,
	launcherReachable: () => true,
	auditFailing: () => false,
});

export class MemoryGateway {
	readonly launcher = new FakeLauncher();
	/** Nobody has to wait before a server that failed is started again. */
	readonly pool = new Pool(this.launcher, { chance: { ...REAL_CHANCE, random: () => 0 } });
	/** Every server that was started, in order. */
	readonly servers: ModelServer[] = [];
	readonly tenants = new Tenants({
		perPrincipalMax: SESSION_LIMITS.sessionsPerPrincipalMax,
		idleMsMax: SESSION_LIMITS.idleMs,
	});
	readonly store = new MemoryStore();
	readonly budgets = new CallBudgets({
		perMinuteDefault: 0,
		inFlightDefault: 0,
		bytesDefault: 0,
		find: () => undefined,
	});
	readonly sessions = new Sessions(
		{ metrics, log: SILENT_LOG, store: this.store, audit: NO_AUDIT, budgets: this.budgets },
		this.tenants,
		SESSION_LIMITS.idleMs,
	);
	readonly conversations = new Conversations({ metrics, log: SILENT_LOG }, this.tenants);
	/** How many calls were made, and how many records they left. */
	readonly calls = { made: 0, recorded: 0 };
	readonly #audit: Audit = {
		...NO_AUDIT,
		record: (event) => {
			if (event === 'call') this.calls.recorded += 1;
		},
	};
	readonly #targets: TargetDependencies;

	constructor(habits: Readonly<Record<string, Habits>>) {
		const names = Object.keys(habits) as ServerName[];
		this.launcher.state = { ...this.launcher.state, servers: names.map((name) => serverView(name)) };
		const launch = this.launcher.launch.bind(this.launcher);
		this.launcher.launch = async (server, signal, caller) => {
			const channel = await launch(server, signal, caller);
			const instance = [...this.launcher.live].find((live) => live === channel) ?? assert.fail();
			this.servers.push(new ModelServer({ instance, isBegunWith: true, ...(habits[server] ?? assert.fail()) }));
			return channel;
		};
		this.#targets = {
			pool: this.pool,
			metrics,
			log: SILENT_LOG,
			toolBook: new ToolBook(),
			pins: new Pins(this.store, SILENT_LOG),
			absences: new Absences(),
			snapshots: new Snapshots(this.store),
			find: (name) => this.launcher.state.servers.find((server) => server.name === name),
			membersOf: () => undefined,
		};
	}

	/** What the launcher knows of a server is something else from here on. */
	change(name: string, change: Partial<ServerView>): void {
		const { state } = this.launcher;
		const servers = state.servers.map((server) => (server.name === name ? { ...server, ...change } : server));
		this.launcher.state = { ...state, servers };
	}

	/** A server by its name; all as one for `/mcp`. */
	target(path: string): Target {
		const { servers } = this.launcher.state;
		if (path === '/mcp') {
			const names = (): readonly string[] => servers.map(({ name }) => name);
			return new AggregateTarget({ name: path, names, access: UNBOUNDED, version: 'test' }, this.#targets);
		}
		return new ServerTarget(
			servers.find(({ name }) => name === path) ?? assert.fail(path),
			this.#targets,
			() => UNBOUNDED,
		);
	}

	/** Makes a request. What goes wrong is answered as the listener does. */
	visit(path: string, principal: string, options: FakeRequestOptions): FakeResponse {
		if (CALLS.has((options.body as Rpc | undefined)?.method ?? '')) this.calls.made += 1;
		const fake = new FakeResponse();
		const request = fakeRequest(options);
		const of = {
			request,
			requestId: 'test',
			principal: { id: principal as PrincipalId, access: UNBOUNDED },
			target: this.target(path),
		};
		const visit: Visit = {
			...of,
			response: fake.response,
			calls: new AuditedCalls({ ...of, audit: this.#audit, recordsValues: () => false, addressOf: () => '' }),
			draining: false,
			budgets: this.budgets,
			challenge: () => undefined,
			rpcId: null,
		};
		serveStreamable(
			{ tenants: this.tenants, sessions: this.sessions, conversations: this.conversations, budgets: this.budgets },
			visit,
		).catch((error: unknown) => {
			const refusal = toSlipwayError(error);
			visit.calls.end(refusal.code);
			sendError(request, fake.response, { error: refusal, id: visit.rpcId, requestId: 'test' });
		});
		return fake;
	}

	/** A client of the second era at an endpoint. */
	modernPort(path: string, principal: string): ModernPort {
		return (body, ticket) => {
			const headers = modernHeaders(body.method ?? '', body.params);
			const response = this.visit(path, principal, { method: 'POST', headers, body });
			follow(response, ticket);
			return () => response.destroy();
		};
	}

	/** Whether nobody holds anything. */
	get empty(): boolean {
		const { launcher, pool, sessions, conversations } = this;
		return launcher.live.size + pool.size + sessions.size + conversations.size === 0;
	}

	/** Ends all that there is. */
	async stop(): Promise<void> {
		await this.tenants.stop();
		await this.pool.stop();
	}
}

/** Tells a ticket what comes on its response. */
function follow(response: FakeResponse, ticket: Ticket): void {
	response.onMessage = (message) => {
		if (message.method === undefined) ticket.ends.push(message);
		else ticket.told.push(message);
	};
	response.onEnd = () => {
		if (!ticket.over && ticket.attached) ticket.ends.push('dropped');
	};
}

/** A client of the first era at an endpoint, with its session. */
export class SessionPort implements LegacyPort {
	readonly standing: Rpc[] = [];
	/** Whether `initialize` was answered, and the session is not over. */
	isOpen = false;
	readonly #gateway: MemoryGateway;
	readonly #path: string;
	readonly #principal: string;
	#id = '';
	#stream: FakeResponse | undefined;

	constructor(gateway: MemoryGateway, path: string, principal: string) {
		this.#gateway = gateway;
		this.#path = path;
		this.#principal = principal;
	}

	/** Sends `initialize`, and with its answer the rest of the handshake. */
	open(name: string, capabilities: object): void {
		const params = { protocolVersion: '2025-11-25', capabilities, clientInfo: { name, version: '1' } };
		const response = this.#post({ jsonrpc: '2.0', id: 0, method: 'initialize', params });
		response.onMessage = ({ result }) => {
			if (result === undefined) return;
			this.#id = String(response.headers['mcp-session-id']);
			this.isOpen = true;
			this.#post({ jsonrpc: '2.0', method: 'notifications/initialized' });
			this.#listen();
		};
	}

	request(message: Rpc, ticket: Ticket): void {
		const response = this.#post(message);
		follow(response, ticket);
	}

	notify(message: Rpc): void {
		this.#post(message);
	}

	respond(message: Rpc): void {
		this.#post(message);
	}

	/** The GET stream breaks, and the client opens another. */
	reconnect(): void {
		if (!this.isOpen) return;
		this.#stream?.destroy();
		this.#listen();
	}

	/** Nobody calls its servers for so long that those are stopped which have nothing to do. */
	idle(): void {
		if (!this.isOpen) return;
		const of = {
			principal: { id: this.#principal as PrincipalId, access: UNBOUNDED },
			target: this.#gateway.target(this.#path),
		};
		this.#gateway.sessions.find(this.#id, of).tick(performance.now() + INSTANCE_LIMITS.idleStopMs + 1);
	}

	/** Ends the session. */
	end(): void {
		if (!this.isOpen) return;
		this.isOpen = false;
		this.#gateway.visit(this.#path, this.#principal, { method: 'DELETE', headers: { 'mcp-session-id': this.#id } });
	}

	#post(body: Rpc): FakeResponse {
		const headers = this.#id === '' ? {} : { 'mcp-session-id': this.#id };
		return this.#gateway.visit(this.#path, this.#principal, { method: 'POST', headers: { ...headers }, body });
	}

	#listen(): void {
		const headers = { accept: 'text/event-stream', 'mcp-session-id': this.#id };
		const stream = this.#gateway.visit(this.#path, this.#principal, { method: 'GET', headers });
		stream.onMessage = (message) => void this.standing.push(message);
		// The gateway ends it with the session.
		stream.onEnd = () => {
			if (this.#stream === stream) this.isOpen = false;
		};
		this.#stream = stream;
	}
}
