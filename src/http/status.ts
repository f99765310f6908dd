/** What is told of the gateway and its servers: /health, /ready, /status, and what `/api` has of that. */
import type { ServerName } from '../ids.ts';
import type { InstanceReport, Launcher, LauncherState, ServerView } from '../launcher/contract.ts';
import type { Metrics } from '../metrics.ts';
import type { Absences } from '../pool/absences.ts';
import type { CrashView } from '../pool/crash-record.ts';
import type { Pins } from '../pool/pins.ts';
import type { WarmView } from '../pool/warm-starts.ts';
import { type ApiRoute, jsonRoute } from './api-route.ts';
import type { Sessions } from './sessions.ts';
import { healthTold, metricsTold, readyTold, type ServerTold, type StatusTold, statusTold } from './told.ts';

export interface StatusDependencies {
	readonly launcher: Launcher;
	readonly sessions: Sessions;
	readonly absences: Absences;
	/** What keeps a server from being started at once. */
	readonly crashes: (server: ServerName) => CrashView | undefined;
	/** How many Instances of a server wait for their first caller, and should. */
	readonly warmth: (server: ServerView) => WarmView | undefined;
	/** Which tools are approved. */
	readonly pins: { readonly pins: Pins };
	readonly version: string;
	readonly isDraining: () => boolean;
}

/** What is answered without a key: no more than whether we live. */
export function healthRoutes({ launcher, version, isDraining }: StatusDependencies): ApiRoute[] {
	return [
		jsonRoute({
			method: 'get',
			path: '/health',
			summary: 'Whether the gateway lives.',
			open: true,
			says: 'It does.',
			told: healthTold,
			handle: () => ({ status: 'ok', version }),
		}),
		jsonRoute({
			method: 'get',
			path: '/ready',
			summary: 'Whether a call could succeed now.',
			open: true,
			says: 'It could.',
			told: readyTold,
			also: [{ status: 503, says: 'It could not.', body: { type: 'application/json', schema: readyTold } }],
			handle: ({ response }) => {
				const checks = readiness(launcher.state, isDraining());
				const status = statusOf(checks);
				if (status !== 'ok') response.status(503);
				return { status, version, checks };
			},
		}),
	];
}

export function statusRoutes(dependencies: StatusDependencies, metrics: Metrics): ApiRoute[] {
	return [
		jsonRoute({
			method: 'get',
			path: '/status',
			summary: 'Everything at once: engine, catalog, servers with their containers, sessions.',
			says: 'What is known, also where the launcher does not answer.',
			told: statusTold,
			handle: () => describeStatus(dependencies),
		}),
		{
			method: 'get',
			path: '/metrics',
			summary: 'Counters and gauges for Prometheus.',
			answers: [{ status: 200, says: 'In its text format.', body: { type: 'text/plain', schema: metricsTold } }],
			errors: [],
			handle: async ({ response }) => {
				response.type(metrics.contentType).send(await metrics.text());
			},
		},
	];
}

/** Every server, with its latest Instances. */
export async function describeServers({
	launcher,
	sessions,
	absences,
	crashes,
	warmth,
	pins: { pins },
}: StatusDependencies): Promise<ServerTold[]> {
	const reports = await launcher.report().catch((): readonly InstanceReport[] => []);
	const counts = sessions.counts();
	const views = pins.views();
	return launcher.state.servers.map((server) => {
		const { name } = server;
		return {
			...server,
			path: `/servers/${name}/mcp`,
			sessions: counts.get(name) ?? 0,
			...some('absent', absences.of(name)),
			...some('crashes', crashes(name)),
			...some('warmStarts', warmth(server)),
			...some('pins', views.get(name)),
			recent: reports.filter((report) => report.server === name).map(({ server: _, ...report }) => report),
		};
	});
}

export function describeGroups({ state }: Launcher): StatusTold['groups'] {
	return Object.entries(state.groups).map(([name, servers]) => ({ name, servers, path: `/groups/${name}/mcp` }));
}

async function describeStatus(dependencies: StatusDependencies): Promise<StatusTold> {
	const { launcher, sessions, version, isDraining } = dependencies;
	const servers = await describeServers(dependencies);
	const { state } = launcher;
	return {
		version,
		status: statusOf(readiness(state, isDraining())),
		launcher: state.launcher,
		engine: state.engine,
		catalog: state.catalog,
		sessions: sessions.size,
		startsQueued: state.startsQueued,
		orphansSwept: state.orphansSwept,
		groups: describeGroups(launcher),
		servers,
	};
}

/** What must be so for a call to succeed. Each check is `ok` or the reason why not. */
function readiness({ launcher, engine }: LauncherState, draining: boolean): StatusChecks {
	return {
		gateway: draining ? 'shutting down' : 'ok',
		launcher: launcher.reachable ? 'ok' : 'does not answer',
		engine: engine.reachable ? 'ok' : 'does not answer',
	};
}

interface StatusChecks {
	readonly gateway: string;
	readonly launcher: string;
	readonly engine: string;
}

function statusOf(checks: StatusChecks): 'ok' | 'unavailable' {
	return Object.values(checks).every((check) => check === 'ok') ? 'ok' : 'unavailable';
}

/** A member, where there is something to tell. */
function some<Name extends string, Value>(name: Name, value: Value | undefined): { [Key in Name]?: Value } {
	return value === undefined ? {} : ({ [name]: value } as { [Key in Name]?: Value });
}
