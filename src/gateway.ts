/** The gateway: everything that faces the network, put together. It never holds the Docker socket. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Audit } from './audit/audit.ts';
import { CatalogWatch } from './audit/catalog-watch.ts';
import type { Config } from './config.ts';
import { SlipwayError } from './errors.ts';
import { createAdminApp } from './http/admin.ts';
import { BoundedAuthenticator } from './http/attempts.ts';
import { authenticationOf, TokenAuthentication } from './http/authentication.ts';
import { CallBudgets } from './http/call-budgets.ts';
import type { Callers } from './http/callers.ts';
import { Certificates } from './http/certificates.ts';
import { Conversations } from './http/conversations.ts';
import { KeyRing, makeFirstKey, OPEN_TO_ALL, OPERATOR } from './http/keys.ts';
import { Listener } from './http/listener.ts';
import { LogStreams } from './http/log-streams.ts';
import { isOpen } from './http/open-paths.ts';
import { Peers } from './http/peers.ts';
import { Sessions } from './http/sessions.ts';
import { Tenants } from './http/tenants.ts';
import type { Launcher } from './launcher/contract.ts';
import { DRAIN_LIMITS, SESSION_LIMITS } from './limits.ts';
import type { Log } from './log.ts';
import { Metrics } from './metrics.ts';
import { Absences } from './pool/absences.ts';
import { Introductions } from './pool/introductions.ts';
import { Pins } from './pool/pins.ts';
import { Pool } from './pool/pool.ts';
import { Snapshots } from './pool/snapshots.ts';
import type { TargetDependencies } from './pool/target.ts';
import { ToolBook } from './pool/tool-book.ts';
import type { Store } from './store/contract.ts';
import { tolerant } from './store/tolerant.ts';

export interface GatewayDependencies {
	readonly config: Config;
	/** The key of the configuration, read from its file where it is in one. */
	readonly apiKey: string | undefined;
	readonly launcher: Launcher;
	readonly store: Store;
	readonly audit: Audit;
	readonly log: Log;
	readonly version: string;
}

/** INVARIANT: after `stop` no session, Instance, timer or socket of the gateway is left. */
export class Gateway {
	/** The key that was made at this start, to be shown once. */
	readonly madeKey: string | undefined;
	readonly #dependencies: GatewayDependencies;
	readonly #pool: Pool;
	readonly #callers: Callers;
	readonly #authenticator: BoundedAuthenticator;
	readonly #listener: Listener;
	readonly #keys: KeyRing | undefined;
	readonly #logs: LogStreams;
	readonly #pins: Pins;
	readonly #introductions: Introductions | undefined;
	readonly #catalogs: CatalogWatch;
	#stopWatching: () => void = () => undefined;
	readonly #toolBook: ToolBook;
	#ticking: NodeJS.Timeout | undefined;
	#draining = false;

	constructor(dependencies: GatewayDependencies) {
		const { config, apiKey, launcher, audit, log, version } = dependencies;
		const store = tolerant(dependencies.store, log);
		this.#dependencies = dependencies;
		const metrics = new Metrics({
			sessions: () => this.#callers.sessions.counts(),
			instances: () => launcher.state.servers.map(({ name, instances }) => [name, instances] as const),
			streams: () => this.#callers.tenants.streams,
			warm: () =>
				launcher.state.servers.map((server) => [server.name, this.#pool.warmth(server)?.waiting ?? 0] as const),
			startsQueued: () => launcher.state.startsQueued,
			orphansSwept: () => launcher.state.orphansSwept,
			egress: () =>
				launcher.state.servers.flatMap(({ name, egress }) =>
					egress === undefined ? [] : [[name, { allowed: egress.allowedCount, denied: egress.deniedCount }] as const],
				),
			breakers: () =>
				launcher.state.servers.map(({ name }) => {
					const { state } = this.#pool.crashes(name) ?? { state: 'closed' };
					return [name, Number(state !== 'closed')] as const;
				}),
			engineReachable: () => launcher.state.engine.reachable,
			launcherReachable: () => launcher.state.launcher.reachable,
			auditFailing: () => audit.failing,
		});
		audit.countTo((outcome, count) => metrics.auditRecords(outcome, count));
		this.#catalogs = new CatalogWatch((fields) => audit.record('catalog', fields));
		this.#pool = new Pool(launcher, {
			onDeath: (server, cause) => metrics.death(server, cause),
			onStart: (server, kind) => metrics.instanceStart(server, kind),
			warmBytesMax: config.warmBytesMax,
			heldMaxOf: (caller) => this.#keys?.limitsOf(caller)?.containers ?? config.containersPerPrincipalMax,
		});
		this.madeKey = config.auth === 'key' ? makeFirstKey(apiKey, store) : undefined;
		this.#keys = openKeys(config, apiKey, store);
		const callersOf = this.#keys === undefined ? OPEN_TO_ALL : authenticationOf(this.#keys, config);
		const metadata = callersOf instanceof TokenAuthentication ? callersOf.metadata.bind(callersOf) : undefined;
		const peers = new Peers(config);
		const authenticator = new BoundedAuthenticator(callersOf, (request) => peers.addressOf(request));
		this.#authenticator = authenticator;
		this.#logs = new LogStreams(launcher, callersOf);
		const tenants = new Tenants({
			perPrincipalMax: config.sessionsPerPrincipalMax,
			idleMsMax: config.sessionIdleMs,
		});
		const budgets = new CallBudgets({
			perMinuteDefault: config.callsPerMinute,
			inFlightDefault: config.callsInFlightMax,
			bytesDefault: config.bytesPerMinute,
			find: (name) => launcher.state.servers.find((server) => server.name === name),
		});
		this.#callers = {
			tenants,
			sessions: new Sessions({ metrics, log, store, audit, budgets }, tenants, config.sessionIdleMs),
			conversations: new Conversations({ metrics, log }, tenants),
			budgets,
		};
		if (this.#keys !== undefined)
			this.#keys.onChange = (principal, what) => {
				log.info('key changed', { principal, cause: what });
				tenants.dismiss(principal, what === 'gone' ? 'end' : 'suspend');
				this.#logs.dismiss(principal);
			};
		this.#pins = new Pins(store, log);
		const absences = new Absences();
		this.#toolBook = new ToolBook((server, tool, reason) =>
			log.warn('arguments are not held against a schema', { server, tool, reason }),
		);
		const targets: TargetDependencies = {
			pool: this.#pool,
			metrics,
			log,
			pins: this.#pins,
			toolBook: this.#toolBook,
			absences,
			snapshots: new Snapshots(store),
			find: (name) => launcher.state.servers.find((server) => server.name === name && server.enabled),
			membersOf: (group) => (Object.hasOwn(launcher.state.groups, group) ? launcher.state.groups[group] : undefined),
		};
		if (config.warmBytesMax > 0) this.#introductions = new Introductions(launcher, targets);
		const isDraining = (): boolean => this.#draining;
		this.#listener = new Listener({
			doors: config,
			authenticator,
			launcher,
			callers: this.#callers,
			version,
			targets,
			metrics,
			audit,
			log,
			isDraining,
			peers,
			certificates: config.tls === undefined ? undefined : new Certificates(config.tls, log),
			isOpen: (request) => isOpen(request, metadata !== undefined),
			admin: (door) =>
				createAdminApp({
					launcher,
					sessions: this.#callers.sessions,
					absences,
					crashes: (server) => this.#pool.crashes(server),
					warmth: (server) => this.#pool.warmth(server),
					metrics,
					audit,
					authenticator,
					metadata,
					keys: this.#keys === undefined ? undefined : { ring: this.#keys, store },
					pins: { pins: this.#pins, store },
					logs: this.#logs,
					restart: (server) => this.#pool.restart(server),
					version,
					publicUrl: config.publicUrl,
					isDraining,
					door,
				}),
		});
	}

	/** Listens, and resolves with the port. */
	async start(): Promise<number> {
		const { config, audit, launcher, log, version } = this.#dependencies;
		const port = await this.#listener.start(config.port, config.address);
		audit.record('start', { version });
		if (this.madeKey !== undefined) audit.record('key', { act: 'create', key: OPERATOR, outcome: 'ok' });
		this.#stopWatching = launcher.subscribe((state) => this.#catalogs.see(state));
		this.#catalogs.see(launcher.state);
		this.#keys?.start();
		this.#pins.start();
		this.#ticking = setInterval(() => this.#tick(), SESSION_LIMITS.tickMs);
		log.info('gateway listening', { address: `${config.address}:${port}`, version });
		if (config.auth === 'none') log.warn('authentication is off: everybody who reaches the port may use every server');
		return port;
	}

	/**
	 * Ends in order: nothing new is taken, calls in flight may finish, then every session ends with its container.
	 *
	 * @param hurry aborted when somebody will not wait: what is in flight is answered with an error at once
	 */
	async stop(hurry?: AbortSignal): Promise<void> {
		const { audit, log } = this.#dependencies;
		// The door stays open while calls finish: who comes is told 503 and when to come again, /ready too.
		this.#draining = true;
		const cooled = Promise.all([this.#introductions?.stop(), this.#pool.cool()]);
		const startedAtMs = performance.now();
		if (this.#callers.tenants.inFlight > 0)
			log.info('waiting for calls in flight', { count: this.#callers.tenants.inFlight });
		while (
			this.#callers.tenants.inFlight > 0 &&
			performance.now() - startedAtMs < DRAIN_LIMITS.inFlightMs &&
			!hurry?.aborted
		) {
			await sleep(DRAIN_LIMITS.pollMs, undefined, hurry === undefined ? {} : { signal: hurry }).catch(() => undefined);
		}
		this.#listener.close();
		const ended = Promise.all([cooled, this.#endSessions()]);
		await Promise.race([ended, sleep(DRAIN_LIMITS.stopMs, undefined, { ref: false })]);
		clearInterval(this.#ticking);
		this.#logs.stop();
		this.#keys?.stop();
		this.#pins.stop();
		await this.#listener.stop();
		this.#stopWatching();
		audit.record('stop', { durationMs: Math.round(performance.now() - startedAtMs) });
		log.info('gateway stopped', { durationMs: Math.round(performance.now() - startedAtMs) });
	}

	async #endSessions(): Promise<void> {
		await this.#callers.tenants.stop();
		await this.#pool.stop();
	}

	#tick(): void {
		const nowMs = performance.now();
		this.#introductions?.tick(nowMs);
		this.#pool.tick(nowMs);
		this.#callers.tenants.tick(nowMs);
		this.#callers.sessions.tick(nowMs);
		this.#callers.budgets.tick(nowMs);
		this.#authenticator.tick(nowMs);
		this.#logs.tick(nowMs);
		this.#dependencies.audit.tick(nowMs);
		this.#toolBook.tick(nowMs);
	}
}

function openKeys(config: Config, apiKey: string | undefined, store: Store): KeyRing | undefined {
	if (config.auth === 'key') return new KeyRing(apiKey, store);
	if (apiKey !== undefined)
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'SLIPWAY_AUTH is `none` and a key is set: remove one of the two.',
		});
	return undefined;
}
