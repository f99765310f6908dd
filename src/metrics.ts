/**
 * The metrics of the gateway, through prom-client. Labels come from the catalog, from the lists of tools that servers
 * gave, and from the error table, each bounded; never from what a client sends.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { METRIC_LIMITS } from './limits.ts';

/** What is read at the time of a scrape. */
export interface MetricSources {
	readonly sessions: () => Iterable<readonly [server: string, count: number]>;
	readonly instances: () => Iterable<readonly [server: string, count: number]>;
	/** Instances that wait for their first caller. */
	readonly warm: MetricSources['sessions'];
	readonly streams: () => number;
	/** Starts that wait for their turn. */
	readonly startsQueued: () => number;
	readonly orphansSwept: () => number;
	/** Of servers that may reach something: the connections that were made and refused since the egress role started. */
	readonly egress: () => Iterable<
		readonly [server: string, counts: { readonly allowed: number; readonly denied: number }]
	>;
	/** 1 for a server that is not started because it failed again and again. */
	readonly breakers: () => Iterable<readonly [server: string, open: number]>;
	readonly engineReachable: () => boolean;
	readonly launcherReachable: () => boolean;
	readonly auditFailing: () => boolean;
}

/** How one request ended. */
export interface CallSample {
	/** The name of the tool, with tools/call. */
	readonly tool: string | undefined;
	readonly outcome: string;
	readonly durationMs: number;
}

export class Metrics {
	readonly #registry = new Registry();
	readonly #tools = new Map<string, Set<string>>();
	readonly #requests = new Counter({
		name: 'mcp_requests_total',
		help: 'Requests of clients to servers, by server, tool (of tools/call) and how they ended.',
		labelNames: ['server', 'tool', 'status'],
		registers: [this.#registry],
	});
	readonly #durations = new Histogram({
		name: 'mcp_request_duration_seconds',
		help: 'How long servers took to answer, by server and tool (of tools/call).',
		labelNames: ['server', 'tool'],
		buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
		registers: [this.#registry],
	});
	readonly #starts = new Histogram({
		name: 'slipway_start_duration_seconds',
		help: 'How long a session waited from its initialize to the answer, preparation of the image included.',
		labelNames: ['server', 'outcome'],
		buckets: [0.1, 0.2, 0.3, 0.5, 0.75, 1, 2, 5, 10, 30, 60, 120],
		registers: [this.#registry],
	});
	readonly #instanceStarts = new Counter({
		name: 'slipway_instance_starts_total',
		help: 'Containers that clients were given, by server: `warm` ones had waited for them, `cold` ones were started then.',
		labelNames: ['server', 'kind'],
		registers: [this.#registry],
	});
	readonly #refusals = new Counter({
		name: 'slipway_http_errors_total',
		help: 'Requests answered with an error of the table, by its code.',
		labelNames: ['code'],
		registers: [this.#registry],
	});
	readonly #noise = new Counter({
		name: 'slipway_noise_lines_total',
		help: 'Lines on the stdout of servers that were no JSON-RPC.',
		labelNames: ['server'],
		registers: [this.#registry],
	});

	readonly #deaths = new Counter({
		name: 'slipway_instance_deaths_total',
		help: 'Containers that ended other than by our doing, by server and why.',
		labelNames: ['server', 'cause'],
		registers: [this.#registry],
	});

	readonly #auditRecords = new Counter({
		name: 'slipway_audit_records_total',
		help: 'Records of the audit, by whether they were written or lost.',
		labelNames: ['outcome'],
		registers: [this.#registry],
	});

	constructor(sources: MetricSources) {
		collectDefaultMetrics({ register: this.#registry, prefix: 'slipway_' });
		const perServer = (name: string, help: string, read: MetricSources['sessions']): void => {
			const gauge: Gauge = new Gauge({
				name,
				help,
				labelNames: ['server'],
				registers: [this.#registry],
				collect() {
					gauge.reset();
					for (const [server, count] of read()) gauge.set({ server }, count);
				},
			});
		};
		const perEgress = (outcome: 'allowed' | 'denied', help: string): void => {
			const counter: Counter = new Counter({
				name: `slipway_egress_${outcome}_total`,
				help,
				labelNames: ['server'],
				registers: [this.#registry],
				collect() {
					counter.reset();
					for (const [server, counts] of sources.egress()) counter.inc({ server }, counts[outcome]);
				},
			});
		};
		perEgress('allowed', 'Connections that servers made through the egress proxy.');
		perEgress('denied', 'Connections that the egress proxy refused to servers.');
		const single = (name: string, help: string, read: () => number): void => {
			const gauge: Gauge = new Gauge({ name, help, registers: [this.#registry], collect: () => gauge.set(read()) });
		};
		perServer('slipway_sessions', 'Sessions, by server.', sources.sessions);
		perServer('slipway_instances', 'Containers that run, by server.', sources.instances);
		perServer('slipway_instances_warm', 'Containers that wait for their first caller, by server.', sources.warm);
		perServer(
			'slipway_breaker_open',
			'Whether a server is not started because it failed again and again.',
			sources.breakers,
		);
		single('slipway_streams', 'Event streams that clients hold open.', sources.streams);
		single('slipway_starts_queued', 'Starts of containers that wait for their turn.', sources.startsQueued);
		single(
			'slipway_orphans_swept',
			'Containers and networks without an owner that were found and removed since the launcher started.',
			sources.orphansSwept,
		);
		single('slipway_engine_up', 'Whether the Docker Engine answers.', () => Number(sources.engineReachable()));
		single('slipway_audit_failing', 'Whether the audit cannot be written.', () => Number(sources.auditFailing()));
		single('slipway_launcher_up', 'Whether the launcher answers.', () => Number(sources.launcherReachable()));
	}

	call(server: string, { tool, outcome, durationMs }: CallSample): void {
		const label = this.#toolLabel(server, tool);
		this.#requests.inc({ server, tool: label, status: outcome.replace(/^SLIPWAY_/, '').toLowerCase() });
		this.#durations.observe({ server, tool: label }, durationMs / 1000);
	}

	start(server: string, outcome: string, durationMs: number): void {
		this.#starts.observe({ server, outcome: outcome.replace(/^SLIPWAY_/, '').toLowerCase() }, durationMs / 1000);
	}

	instanceStart(server: string, kind: 'warm' | 'cold'): void {
		this.#instanceStarts.inc({ server, kind });
	}

	refusal(code: string): void {
		this.#refusals.inc({ code });
	}

	/** @param code of the error table: why the Instance ended */
	death(server: string, code: string): void {
		const cause = code.replace(/^SLIPWAY_(?:INSTANCE_)?/, '').toLowerCase();
		this.#deaths.inc({ server, cause });
	}

	noise(server: string): void {
		this.#noise.inc({ server });
	}

	auditRecords(outcome: 'written' | 'lost', count: number): void {
		this.#auditRecords.inc({ outcome }, count);
	}

	/** Names of tools become label values when their server listed them, up to a bound. */
	tools(server: string, names: readonly string[]): void {
		const known = this.#tools.get(server) ?? new Set();
		this.#tools.set(server, known);
		for (const name of names) {
			if (known.size >= METRIC_LIMITS.toolsPerServerMax) return;
			if (name.length <= METRIC_LIMITS.toolNameCharsMax) known.add(name);
		}
	}

	/** The text of a scrape. */
	text(): Promise<string> {
		return this.#registry.metrics();
	}

	get contentType(): string {
		return this.#registry.contentType;
	}

	#toolLabel(server: string, tool: string | undefined): string {
		if (tool === undefined) return '';
		return this.#tools.get(server)?.has(tool) ? tool : 'other';
	}
}
