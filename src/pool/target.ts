/** What a path of the gateway leads to: one server, or many as one. Conversations of either era begin here. */
import type { Patience } from '../channel.ts';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import type { ServerView } from '../launcher/contract.ts';
import type { Log } from '../log.ts';
import type { ListKind } from '../mcp/aggregate/directory.ts';
import type { LegacyAggregate } from '../mcp/aggregate/legacy-aggregate.ts';
import type { LegacyServer, Standing } from '../mcp/exchange.ts';
import type { HeaderParam } from '../mcp/header-params.ts';
import { classify, isObject, own, type RequestMessage, type RpcId } from '../mcp/jsonrpc.ts';
import { LastingServer, type Sitting } from '../mcp/lasting-server.ts';
import { LegacyEmulation } from '../mcp/legacy-emulation.ts';
import { ModernBridge } from '../mcp/modern-bridge.ts';
import { DirectServer, type ModernRequest, type ModernServer } from '../mcp/modern-server.ts';
import type { Answer } from '../mcp/own-request.ts';
import { type Envelope, envelopeOfInitialize, metaOfEnvelope, revisionForInitialize } from '../mcp/revisions.ts';
import type { SessionMemory } from '../mcp/session-memory.ts';
import { pageOf, type Snapshot } from '../mcp/snapshot.ts';
import {
	FilteredLegacyServer,
	FilteredModernServer,
	filterByPins,
	filterList,
	type ToolFilter,
} from '../mcp/tool-filter.ts';
import { ComparedLegacyServer, ComparedModernServer, type ToolPins } from '../mcp/tool-pins.ts';
import type { UpstreamObserver } from '../mcp/upstream.ts';
import type { Metrics } from '../metrics.ts';
import { type Access, both, filterOf, type MembersOf } from '../policy/access.ts';
import type { Absences } from './absences.ts';
import { type Build, buildOf } from './build.ts';
import { CheckingLegacyServer, CheckingModernServer, ShownTools } from './checking-server.ts';
import { LateStanding } from './late-standing.ts';
import type { Lease, LeaseRequest } from './lease.ts';
import type { Opened, Opener } from './opening.ts';
import type { Pins } from './pins.ts';
import type { Pool } from './pool.ts';
import { ServerSnapshots } from './server-snapshots.ts';
import type { SeatRequest } from './shared-instances.ts';
import type { Snapshots } from './snapshots.ts';
import type { ToolBook } from './tool-book.ts';

/** Who opens a conversation, and how it gives up. */
export type OpenOptions = Pick<LeaseRequest, 'caller' | 'signal' | 'makeRoom'>;

/** Who opens a conversation of the first era. */
export interface LegacyOptions extends OpenOptions {
	/** Where goes what belongs to no request. */
	readonly standing: Standing;
	/** What has to be remembered of the conversation has changed. */
	readonly onMemory: () => void;
}

/** A conversation of the first era. It outlives its Instances. */
export interface LegacyConversation {
	readonly server: LegacyServer;
	readonly memory: SessionMemory;
	/** Whether it has Instances, or some are on their way. */
	readonly awake: boolean;
	/** To be called every second or so. */
	tick(nowMs: number): void;
	/** Gives its Instances back. The next request gets others. */
	rest(patience: Patience): Promise<void>;
	/** Resolves when its Instances are gone. */
	end(patience: Patience): Promise<void>;
}

/** One that has begun with the server's answer to `initialize`. When that is an error, there is nothing more to it. */
export interface OpenedLegacy extends LegacyConversation {
	readonly answer: Answer;
}

/** A conversation in which requests of the second era are served. */
export interface ModernConversation {
	readonly server: ModernServer;
	/** Whether the server was told of one client, and no other may use it. */
	readonly personal: boolean;
	/** What the server said that it can do. */
	readonly capabilities: object;
	/** Whether the server is not what it should be any more: new requests are for another conversation. */
	readonly stale: boolean;
	/** When nobody calls it for so long, it ends. */
	readonly idleStopMs: number;
	end(patience: Patience): Promise<void>;
}

export interface Target {
	/** For logs, metrics and /status: the name of the server, or the path of the endpoint. */
	readonly name: string;
	readonly callTimeoutMs: number;
	/** Whether it is in the catalog, and enabled. */
	readonly served: boolean;
	/** The same endpoint for the same caller, who may use something else by now. */
	become(other: Target): void;
	/** The result of a request of the second era that is known without an Instance, as JSON. */
	known(request: ModernRequest, caller: PrincipalId): string | undefined;
	/** Whether it speaks 2026-07-28 by itself; undefined when that was not tried. */
	readonly speaksModern: boolean | undefined;
	/** The server that a request is for, as far as its name says; else the endpoint. */
	serverOf(message: RequestMessage): string;
	/** The tool that a request calls, by the name that its server has for it. */
	toolOf(message: RequestMessage): string | undefined;
	/** The arguments that a tool wants repeated in headers, as far as that is known. */
	headerParams(tool: string): readonly HeaderParam[];
	/** Begins a conversation with a client's own `initialize`. Rejects with a SlipwayError. */
	openLegacy(text: string, message: RequestMessage, options: LegacyOptions): Promise<OpenedLegacy>;
	/** Goes on with a conversation, of another process maybe. No Instance is started for that. */
	resumeLegacy(memory: SessionMemory, options: LegacyOptions): LegacyConversation;
	/** Begins a conversation for requests with that envelope. Rejects with a SlipwayError. */
	openModern(envelope: Envelope, options: OpenOptions): Promise<ModernConversation>;
}

export interface TargetDependencies {
	readonly pool: Pool;
	readonly metrics: Metrics;
	readonly log: Log;
	readonly pins: Pins;
	readonly toolBook: ToolBook;
	readonly absences: Absences;
	readonly snapshots: Snapshots;
	/** The server as it stands in the catalog, if it is in it and enabled. */
	readonly find: (name: string) => ServerView | undefined;
	/** The servers of a group of the catalog. */
	readonly membersOf: MembersOf;
}

/** One server. */
export class ServerTarget implements Target {
	readonly name: string;
	/** What it has said of itself. */
	readonly snapshots: ServerSnapshots;
	#access: () => Access;
	readonly #server: ServerView;
	readonly #dependencies: TargetDependencies;

	/** @param access what its caller may use now */
	constructor(server: ServerView, dependencies: TargetDependencies, access: () => Access) {
		this.name = server.name;
		this.#access = access;
		this.#server = server;
		this.#dependencies = dependencies;
		this.snapshots = new ServerSnapshots(dependencies.snapshots, () => this.#view);
	}

	become(other: Target): void {
		if (other instanceof ServerTarget) this.#access = other.#access;
	}

	get served(): boolean {
		return this.#dependencies.find(this.name) !== undefined;
	}

	get callTimeoutMs(): number {
		return this.#view.callTimeoutMs;
	}

	/** An Instance that nobody calls for so long is stopped. */
	get idleStopMs(): number {
		return this.#view.idleStopMs;
	}

	get speaksModern(): boolean | undefined {
		return this.#dependencies.pool.speaksModern(this.#server.name);
	}

	known({ message, envelope }: ModernRequest, caller: PrincipalId): string | undefined {
		const snapshot = this.snapshots.ofModern(envelope, caller);
		if (message.method === 'server/discover') return snapshot?.initialize || undefined;
		const page = pageOf(message);
		const result = page === undefined ? undefined : snapshot?.find(page);
		return result === undefined ? undefined : this.#filtered(message.method, result);
	}

	/** The results of a list that are known without an Instance, page by page, as its caller may see them. */
	knownList(snapshot: Snapshot | undefined, { method, capability }: ListKind): readonly string[] | undefined {
		if (snapshot === undefined || snapshot.initialize === '') return undefined;
		const introduction: unknown = JSON.parse(snapshot.initialize);
		const capabilities = isObject(introduction) ? own(introduction, 'capabilities') : undefined;
		if (!isObject(capabilities) || own(capabilities, capability) === undefined) return [];
		return snapshot.findWhole(method)?.map((result) => this.#filtered(method, result));
	}

	#filtered(method: string, result: string): string {
		const filter = this.#filter();
		return filter === undefined ? result : filterList(method, result, filter);
	}

	/** Which tools its caller may use now: what the catalog says for everybody, the caller's own scopes, and the pins. */
	readonly #filter = (): ToolFilter | undefined => {
		const { tools, name } = this.#view;
		const ofServer = tools === undefined ? undefined : filterOf(tools);
		const pins = this.#dependencies.pins.of(this.#view, () => this.#specNow);
		return both(
			both(ofServer, this.#access().filterFor(name, this.#dependencies.membersOf)),
			pins === undefined ? undefined : filterByPins(pins),
		);
	};

	serverOf(): string {
		return this.name;
	}

	toolOf({ method, params = {} }: RequestMessage): string | undefined {
		const name = method === 'tools/call' ? own(params, 'name') : undefined;
		return typeof name === 'string' ? name : undefined;
	}

	headerParams(tool: string): readonly HeaderParam[] {
		return this.#dependencies.toolBook.headersOf(this.name, tool);
	}

	async openLegacy(text: string, message: RequestMessage, options: LegacyOptions): Promise<OpenedLegacy> {
		const known = this.snapshots.ofLegacy(message, options.caller);
		const first = known === undefined ? await this.#listen(text, message, options) : undefined;
		const answer = first?.answer ?? answerWithResult(message.id, known?.initialize ?? '{}');
		const revision = revisionIn(answer) ?? '';
		const spec = first === undefined ? (this.#specNow ?? '') : '';
		const memory = { initialize: text, revision, spec, logLevel: undefined, subscriptions: [] };
		return Object.assign(this.#last(memory, message, options, first), { answer });
	}

	resumeLegacy(memory: SessionMemory, options: LegacyOptions): LegacyConversation {
		return this.#last(memory, initializeIn(memory), options, undefined);
	}

	/** A conversation of the first era with one Instance, which ends with it, as its caller may have it. Rejects with a SlipwayError. */
	async sit(text: string, message: RequestMessage, options: LegacyOptions): Promise<Sitting> {
		const sitting = await this.#listen(text, message, options);
		const snapshot = (): Snapshot | undefined => this.snapshots.ofLegacy(message, options.caller);
		const server = new CheckingLegacyServer(sitting.server, this.#shownTools(snapshot), revisionForInitialize(message));
		return { ...sitting, server: new FilteredLegacyServer(server, this.#filter) };
	}

	/** The same with all that the server has, which is learned, and compared before it is called. */
	async #listen(text: string, message: RequestMessage, options: LegacyOptions): Promise<Sitting> {
		const sitting = await this.#overhear(text, message, options);
		return { ...sitting, server: new ComparedLegacyServer(sitting.server, () => this.#pinsOf(sitting.build)) };
	}

	async #overhear(text: string, message: RequestMessage, options: LegacyOptions): Promise<Sitting> {
		const request = this.#seatRequest(options);
		const client = { initialize: message, caller: options.caller };
		if (request === undefined) return this.snapshots.listenInLegacy(await this.#sit(text, message, options), client);
		const { shared } = this.#dependencies.pool;
		const { leave, isPristine, ...seat } = await shared.seatLegacy(request, message, options.standing);
		return this.snapshots.listenInLegacy({ ...seat, end: async () => leave() }, client, isPristine);
	}

	async #sit(text: string, message: RequestMessage, options: LegacyOptions): Promise<Sitting> {
		const { standing } = options;
		const { era, lease, answer } = await this.#open(options, { era: 'legacy', text, message });
		const { upstream, release: end } = lease;
		const build = this.#buildOf(lease);
		if (era === 'legacy') return { server: upstream, answer, build, end };
		const meta = metaOfEnvelope(envelopeOfInitialize(message));
		const emulation = new LegacyEmulation({ upstream, introduction: answer, meta, standing });
		return { server: emulation, answer: emulation.introduce(message), build, end };
	}

	#last(
		memory: SessionMemory,
		message: RequestMessage,
		options: LegacyOptions,
		first: Sitting | undefined,
	): LegacyConversation {
		const { log } = this.#dependencies;
		const snapshot = (): Snapshot | undefined => this.snapshots.ofLegacy(message, options.caller);
		const server = new LastingServer({
			name: this.name,
			memory,
			first,
			open: () => this.#listen(memory.initialize, message, options),
			callTimeoutMs: this.callTimeoutMs,
			snapshot,
			specNow: () => this.#specNow,
			idleStopMs: this.idleStopMs,
			standing: options.standing,
			onMemory: options.onMemory,
			onLost: ({ code, row, details: { exitCode } }) =>
				log[row.logLevel]('a session lost its instance', {
					server: this.name,
					code,
					...(exitCode === undefined ? {} : { exitCode }),
				}),
		});
		const checked = new CheckingLegacyServer(server, this.#shownTools(snapshot), memory.revision);
		return conversationWith(server, new FilteredLegacyServer(checked, this.#filter));
	}

	/** What a conversation is shown of the server's tools, and its calls are held against. */
	#shownTools(snapshot: () => Snapshot | undefined): ShownTools {
		const { metrics, toolBook: book } = this.#dependencies;
		const onRefused = (): void => metrics.refusal('SLIPWAY_ARGUMENTS_INVALID');
		return new ShownTools({ book, server: () => this.#view, snapshot, onRefused });
	}

	/** What an Instance is made of. */
	#buildOf({ upstream }: Lease): Build {
		const { pool } = this.#dependencies;
		return buildOf(
			upstream.channel.spec,
			() => this.#specNow,
			() => pool.isRetired(upstream),
		);
	}

	/** What Instances are made of now; undefined while that is not known. */
	get #specNow(): string | undefined {
		const { preparation, spec } = this.#view;
		return preparation.kind === 'ready' ? spec : undefined;
	}

	/** The server as it is in the catalog now, or was when it was there last. */
	get #view(): ServerView {
		return this.#dependencies.find(this.name) ?? this.#server;
	}

	async openModern(envelope: Envelope, options: OpenOptions): Promise<ModernConversation> {
		const request = this.#seatRequest(options);
		if (request !== undefined) {
			const { server, answer, build, isPristine, leave } = await this.#dependencies.pool.shared.seatModern(request);
			return {
				server: this.#shown(server, { build, first: envelope, caller: options.caller }, isPristine),
				personal: false,
				capabilities: capabilitiesIn(answer),
				idleStopMs: this.idleStopMs,
				get stale() {
					return build.stale;
				},
				end: async () => leave(),
			};
		}
		const standing = new LateStanding();
		const { era, lease, answer } = await this.#open({ ...options, standing }, { era: 'modern', envelope });
		const build = this.#buildOf(lease);
		const { callTimeoutMs } = this;
		const server =
			era === 'modern'
				? new DirectServer(lease.upstream, callTimeoutMs)
				: new ModernBridge({
						server: lease.upstream,
						introduction: answer,
						capabilities: envelope.capabilities,
						callTimeoutMs,
					});
		standing.become(server);
		return {
			server: this.#shown(server, { build, first: envelope, caller: options.caller }),
			personal: era === 'legacy',
			capabilities: capabilitiesIn(answer),
			idleStopMs: this.idleStopMs,
			get stale() {
				return build.stale;
			},
			end: lease.release,
		};
	}

	/** A server of which all is learned and compared, and shown what its caller may use. */
	#shown(...listen: Parameters<ServerSnapshots['listenInModern']>): ModernServer {
		const [, { build, first, caller }] = listen;
		const compared = new ComparedModernServer(this.snapshots.listenInModern(...listen), () => this.#pinsOf(build));
		const shownTools = this.#shownTools(() => this.snapshots.ofModern(first, caller));
		return new FilteredModernServer(new CheckingModernServer(compared, shownTools), this.#filter);
	}

	/** What is held of the definitions of an Instance that there is. */
	#pinsOf(build: Sitting['build']): ToolPins | undefined {
		return this.#dependencies.pins.of(this.#view, () => build.spec ?? this.#specNow);
	}

	/** What a seat is had with, where the catalog says that sessions have an Instance together. */
	#seatRequest(options: OpenOptions): SeatRequest | undefined {
		const server = this.#view;
		if (server.isolation === 'session') return undefined;
		return { ...this.#withRoom(options), server, observer: observe(this.name, this.#dependencies) };
	}

	#open(request: OpenOptions & Pick<LeaseRequest, 'standing'>, opener: Opener): Promise<Opened> {
		const observer = observe(this.name, this.#dependencies);
		const { pool } = this.#dependencies;
		return pool.open({ ...request, ...this.#withRoom(request), server: this.#server.name, observer }, opener);
	}

	/** An Instance that nobody has a seat at goes first, also when somebody abandoned was the last to have one. */
	#withRoom({ caller, signal, makeRoom }: OpenOptions): OpenOptions {
		const { shared } = this.#dependencies.pool;
		return {
			caller,
			signal,
			makeRoom: async () => {
				if (await shared.endUnused()) return true;
				if (!(await makeRoom())) return false;
				await shared.endUnused();
				return true;
			},
		};
	}
}

/** A conversation with a server that comes and goes as it likes, and what its client has of it. */
export function conversationWith(
	server: LastingServer | LegacyAggregate,
	shown: LegacyServer = server,
): LegacyConversation {
	return {
		server: shown,
		get memory() {
			return server.memory;
		},
		get awake() {
			return server.awake;
		},
		tick: (nowMs) => server.tick(nowMs),
		rest: (patience) => server.rest(patience),
		end: (patience) => server.close(patience),
	};
}

/** Metrics and log lines of what a server does. */
function observe(server: string, { metrics, log, toolBook, pins, find }: TargetDependencies): UpstreamObserver {
	return {
		onCall: (report) => {
			metrics.call(server, report);
			const { method, tool, outcome } = report;
			log.debug('call', {
				server,
				method,
				...(tool === undefined ? {} : { tool }),
				code: outcome,
				durationMs: Math.round(report.durationMs),
			});
		},
		onNoise: (bytes, told) => {
			metrics.noise(server);
			if (told) log.warn('noise on stdout', { server, bytes });
		},
		onTools: (tools, spec) => {
			const { pin = 'first-use', spec: now = '' } = find(server) ?? {};
			toolBook.learn(server, spec ?? now, tools);
			pins.learn({ name: server, pin }, spec, tools);
			metrics.tools(server, namesOf(tools));
		},
	};
}

function namesOf(tools: readonly unknown[]): string[] {
	return tools.flatMap((tool) => {
		const name = isObject(tool) ? own(tool, 'name') : undefined;
		return typeof name === 'string' ? [name] : [];
	});
}

/** What a server said that it can do. */
export function capabilitiesIn({ message }: Answer): object {
	const capabilities = message.ok && isObject(message.result) ? own(message.result, 'capabilities') : undefined;
	return isObject(capabilities) ? capabilities : {};
}

function revisionIn({ message }: Answer): string | undefined {
	const revision = message.ok && isObject(message.result) ? own(message.result, 'protocolVersion') : undefined;
	return typeof revision === 'string' ? revision : undefined;
}

/** The client's `initialize`, as it is remembered. */
export function initializeIn({ initialize }: SessionMemory): RequestMessage {
	const message = classify(parseOrUndefined(initialize));
	if (message?.kind !== 'request') throw new SlipwayError('SLIPWAY_SESSION_UNKNOWN');
	return message;
}

function parseOrUndefined(text: string): unknown {
	try {
		return JSON.parse(text);
	} catch {
		return undefined;
	}
}

function answerWithResult(id: RpcId, result: string): Answer {
	const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`;
	return { text, message: { kind: 'response', id, ok: true, result: JSON.parse(result) } };
}
