/** What operators and monitors ask, and the admin API. Express and a rate limit serve it, from the table of its routes. */
import type { IncomingMessage } from 'node:http';
import express, { type NextFunction, type Request, type Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import type { Audit } from '../audit/audit.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { Metrics } from '../metrics.ts';
import { isRoute, mount } from './api-route.ts';
import { auditedActs } from './audited-acts.ts';
import { auditRefusal } from './audited-refusals.ts';
import { type KeysApiDependencies, keysApi } from './keys-api.ts';
import type { LogStreams } from './log-streams.ts';
import { matchMetadataPath } from './oauth/resource-metadata.ts';
import { openApiRoute } from './openapi.ts';
import { type PinsApiDependencies, pinsApi } from './pins-api.ts';
import type { Authenticator, Principal } from './principal.ts';
import { sendError } from './respond.ts';
import { serversApi } from './servers-api.ts';
import { sessionsApi } from './sessions-api.ts';
import { healthRoutes, type StatusDependencies, statusRoutes } from './status.ts';

/** What is known of a request at the door. */
export interface Door {
	/** The id that it was given. */
	requestIdOf(request: IncomingMessage): string;
	/** Its caller; undefined for what is open to all (open-paths.ts). */
	principalOf(request: IncomingMessage): Principal | undefined;
	/** Where it came from. */
	addressOf(request: IncomingMessage): string;
}

export interface AdminDependencies extends Omit<StatusDependencies, 'pins'> {
	readonly metrics: Metrics;
	readonly audit: Audit;
	readonly authenticator: Authenticator;
	/** What clients are told of an endpoint as a protected resource; undefined where there are no tokens. */
	readonly metadata: ((endpoint: string) => object) | undefined;
	/** Where keys are changed; undefined where there are none to change. */
	readonly keys: Omit<KeysApiDependencies, 'act'> | undefined;
	/** Where definitions of tools are approved. */
	readonly pins: Omit<PinsApiDependencies, 'act'>;
	/** What servers write on stderr, followed. */
	readonly logs: LogStreams;
	/** Has other Instances take the place of a server's; returns how many are to go. */
	readonly restart: (server: ServerName) => number;
	readonly door: Door;
	readonly publicUrl: string;
}

export function createAdminApp(dependencies: AdminDependencies): express.Express {
	const { metrics, audit, authenticator, sessions, keys, pins, logs, restart, door } = dependencies;
	const act = auditedActs(audit, (request) => ({
		principal: door.principalOf(request)?.id ?? '',
		requestId: door.requestIdOf(request),
		client: door.addressOf(request),
	}));
	const open = healthRoutes(dependencies);
	const guarded = [
		...statusRoutes(dependencies, metrics),
		...serversApi({ status: dependencies, logs, restart, act, door }),
		...sessionsApi(sessions, act),
		...(keys === undefined ? [] : keysApi({ ...keys, act })),
		...pinsApi({ ...pins, act }),
	];
	const described = openApiRoute([...open, ...guarded], dependencies);
	const routes = [...open, ...guarded, described];
	const app = express();
	app.disable('x-powered-by');
	app.disable('etag');
	app.use((request, response, next) => {
		response.set({ 'cache-control': 'no-store', 'x-request-id': door.requestIdOf(request) });
		const reads = request.method === 'GET' || request.method === 'HEAD';
		if (!reads && !request.path.startsWith('/api/')) throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
		next();
	});
	mount(app, open);
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
	mount(app, [...guarded, described]);
	app.use((request) => {
		throw new SlipwayError(isRoute(routes, request.path) ? 'SLIPWAY_METHOD_NOT_ALLOWED' : 'SLIPWAY_PATH_UNKNOWN');
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
