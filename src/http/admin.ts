/** What operators and monitors ask: /health, /ready, /status, /metrics. Express and a rate limit serve it. */
import type { IncomingMessage } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Audit } from '../audit/audit.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import type { InstanceReport, Launcher, LauncherState, ServerView } from '../launcher/contract.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import type { Absence, Absences } from '../pool/absences.ts';
import type { CrashView } from '../pool/crash-record.ts';
import type { PinView } from '../pool/pins.ts';
import type { WarmView } from '../pool/warm-starts.ts';
import { auditedActs } from './audited-acts.ts';
import { auditRefusal } from './audited-refusals.ts';
import { type KeysApiDependencies, keysApi } from './keys-api.ts';
import { matchMetadataPath } from './oauth/resource-metadata.ts';
import { type PinsApiDependencies, pinsApi } from './pins-api.ts';
import type { Authenticator, Principal } from './principal.ts';
import { sendError } from './respond.ts';
import type { Sessions } from './sessions.ts';

/** What is known of a request at the door. */
export interface Door {
	/** The id that it was given. */
	requestIdOf(request: IncomingMessage): string;
	/** Its caller; undefined for what is open to all (open-paths.ts). */
	principalOf(request: IncomingMessage): Principal | undefined;
	/** Where it came from. */
	addressOf(request: IncomingMessage): string;
}

export interface AdminDependencies {
	readonly launcher: Launcher;
	readonly sessions: Sessions;
	readonly absences: Absences;
	/** What keeps a server from being started at once. */
	readonly crashes: (server: ServerName) => CrashView | undefined;
	/** How many Instances of a server wait for their first caller, and should. */
	readonly warmth: (server: ServerView) => WarmView | undefined;
	readonly metrics: Metrics;
	readonly audit: Audit;
	readonly authenticator: Authenticator;
	/** What clients are told of an endpoint as a protected resource; undefined where there are no tokens. */
	readonly metadata: ((endpoint: string) => object) | undefined;
	/** Where keys are changed; undefined where there are none to change. */
	readonly keys: Omit<KeysApiDependencies, 'act'> | undefined;
	/** Where definitions of tools are approved. */
	readonly pins: Omit<PinsApiDependencies, 'act'>;
	readonly version: string;
	readonly isDraining: () => boolean;
	readonly door: Door;
}

export function createAdminApp(dependencies: AdminDependencies): express.Express {
	const { launcher, metrics, audit, authenticator, version, door } = dependencies;
	const app = express();
	app.disable('x-powered-by');
	app.disable('etag');
	app.use((request, response, next) => {
		response.set({ 'cache-control': 'no-store', 'x-request-id': door.requestIdOf(request) });
		const reads = request.method === 'GET' || request.method === 'HEAD';
		if (!reads && !request.path.startsWith('/api/')) throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
		next();
	});
	app.get('/health', (_, response) => {
		response.json({ status: 'ok', version });
	});
	app.get('/ready', (_, response) => {
		const checks = readiness(launcher.state, dependencies.isDraining());
		const ready = Object.values(checks).every((check) => check === 'ok');
		response.status(ready ? 200 : 503).json({ status: ready ? 'ok' : 'unavailable', version, checks });
	});
	app.use((request, response, next) => {
		const endpoint = matchMetadataPath(request.path);
		if (endpoint === undefined || dependencies.metadata === undefined) return next();
		response.json(dependencies.metadata(endpoint));
	});
	app.use(
		rateLimit({
			windowMs: 60_000,
			limit: HTTP_LIMITS.adminRequestsPerMinuteMax,
			keyGenerator: (request) => door.principalOf(request)?.id ?? '',
			standardHeaders: 'draft-8',
			legacyHeaders: false,
			handler: () => {
				throw new SlipwayError('SLIPWAY_RATE_LIMITED', { retryAfterSeconds: 60 });
			},
		}),
	);
	app.use((request, _, next) => {
		if (!door.principalOf(request)?.access.admin) throw new SlipwayError('SLIPWAY_FORBIDDEN', { scopes: ['admin'] });
		next();
	});
	app.get('/status', async (_, response) => {
		response.json(await describeStatus(dependencies));
	});
	app.get('/metrics', async (_, response) => {
		response.type(metrics.contentType).send(await metrics.text());
	});
	const act = auditedActs(audit, (request) => ({
		principal: door.principalOf(request)?.id ?? '',
		requestId: door.requestIdOf(request),
		client: door.addressOf(request),
	}));
	if (dependencies.keys !== undefined) app.use('/api/keys', keysApi({ ...dependencies.keys, act }));
	app.use('/api/pins', pinsApi({ ...dependencies.pins, act }));
	app.use(() => {
		throw new SlipwayError('SLIPWAY_PATH_UNKNOWN');
	});
	app.use((error: unknown, request: Request, response: Response, _: NextFunction) => {
		const told = toSlipwayError(error);
		metrics.refusal(told.code);
		const requestId = door.requestIdOf(request);
		const principal = door.principalOf(request);
		auditRefusal(audit, request, told, { principal, requestId, client: door.addressOf(request) });
		const challenge = authenticator.challenge(request, told, principal);
		sendError(request, response, { error: told, requestId, challenge });
	});
	return app;
}

/** What must be so for a call to succeed. Each check is `ok` or the reason why not. */
function readiness({ launcher, engine }: LauncherState, draining: boolean): Record<string, string> {
	return {
		gateway: draining ? 'shutting down' : 'ok',
		launcher: launcher.reachable ? 'ok' : 'does not answer',
		engine: engine.reachable ? 'ok' : 'does not answer',
	};
}

async function describeStatus({
	launcher,
	sessions,
	absences,
	crashes,
	warmth,
	pins: { pins },
	version,
	isDraining,
}: AdminDependencies): Promise<object> {
	const { state } = launcher;
	const reports = await launcher.report().catch((): readonly InstanceReport[] => []);
	const counts = sessions.counts();
	const views = pins.views();
	return {
		version,
		status: Object.values(readiness(state, isDraining())).every((check) => check === 'ok') ? 'ok' : 'unavailable',
		launcher: state.launcher,
		engine: state.engine,
		catalog: state.catalog,
		sessions: sessions.size,
		startsQueued: state.startsQueued,
		orphansSwept: state.orphansSwept,
		groups: Object.entries(state.groups).map(([name, servers]) => ({ name, servers, path: `/groups/${name}/mcp` })),
		servers: state.servers.map((server) => ({
			...server,
			path: `/servers/${server.name}/mcp`,
			sessions: counts.get(server.name) ?? 0,
			...describeAbsence(absences.of(server.name)),
			...describeCrashes(crashes(server.name)),
			...describeWarmth(warmth(server)),
			...describePins(views.get(server.name)),
			recent: reports.filter((report) => report.server === server.name).map(({ server: _, ...report }) => report),
		})),
	};
}

/** Why aggregated endpoints are without a server, if they are. */
function describeAbsence(absence: Absence | undefined): { absent?: Absence } {
	return absence === undefined ? {} : { absent: absence };
}

/** Why a server is started later or not at all, if it is. */
function describeCrashes(crashes: CrashView | undefined): { crashes?: CrashView } {
	return crashes === undefined ? {} : { crashes };
}

/** How many of a server's Instances wait, if any do or should. */
function describeWarmth(warmStarts: WarmView | undefined): { warmStarts?: WarmView } {
	return warmStarts === undefined ? {} : { warmStarts };
}

/** Which of a server's tools are approved, and which are hidden, where any are known. */
function describePins(pins: PinView | undefined): { pins?: PinView } {
	return pins === undefined ? {} : { pins };
}
