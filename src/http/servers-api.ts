/** /api/servers, /api/logs, /api/groups, /api/catalog: what there is, what it says, and another start of it. */
import { z } from 'zod';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import type { StderrLine } from '../launcher/contract.ts';
import { HTTP_LIMITS, LAUNCHER_LIMITS } from '../limits.ts';
import type { Door } from './admin.ts';
import { type ApiRoute, type Asked, jsonRoute } from './api-route.ts';
import type { DoAct } from './audited-acts.ts';
import { LINES_TYPE, type LogStreams } from './log-streams.ts';
import { describeGroups, describeServers, type StatusDependencies } from './status.ts';
import { catalogTold, groupsTold, linesTold, lineTold, restartTold, serversTold, serverTold } from './told.ts';

export interface ServersApiDependencies {
	readonly status: StatusDependencies;
	readonly logs: LogStreams;
	/** Has other Instances take the place of a server's; returns how many are to go. */
	readonly restart: (server: ServerName) => number;
	readonly act: DoAct;
	readonly door: Door;
}

const logsQuery = z.strictObject({
	follow: z.enum(['true', 'false']).default('false').describe('`true`: the lines that come, too, until you go away.'),
	tail: z
		.string()
		.regex(/^\d{1,4}$/, `a whole number from 0 to ${LAUNCHER_LIMITS.stderrTailLinesMax}`)
		.default(String(HTTP_LIMITS.logTailLinesMax))
		.describe('How many of the lines that are still known, the last ones.'),
});
type LogsQuery = z.output<typeof logsQuery>;

export function serversApi({ status, logs, restart, act, door }: ServersApiDependencies): ApiRoute[] {
	const { launcher } = status;
	/** A server of the catalog. Throws SLIPWAY_SERVER_UNKNOWN. */
	const find = (name: string | undefined): ServerName => {
		const server = launcher.state.servers.find((one) => one.name === name);
		if (server === undefined) throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN');
		return server.name;
	};
	const tellLogs = async (
		{ request, response, query }: Asked<LogsQuery>,
		of: { readonly server?: ServerName },
	): Promise<z.output<typeof linesTold> | undefined> => {
		const wish = { ...of, tail: Math.min(Number(query.tail), LAUNCHER_LIMITS.stderrTailLinesMax) };
		const principal = door.principalOf(request);
		if (query.follow === 'true' && principal !== undefined)
			return void (await logs.follow(wish, { request, response, principal }));
		const lines: StderrLine[] = [];
		const { signal } = new AbortController();
		await launcher.stderr({ ...wish, follow: false, signal }, (told) => void lines.push(...told));
		return { lines };
	};
	const logsRoute = {
		method: 'get',
		query: logsQuery,
		says: 'The lines, the oldest first.',
		told: linesTold,
		also: [{ status: 200, says: 'With `follow`: one a line.', body: { type: LINES_TYPE, schema: lineTold } }],
	} as const;
	return [
		jsonRoute({
			method: 'get',
			path: '/api/servers',
			summary: 'The servers of the catalog, with their latest containers.',
			says: 'All of them, in the order of the catalog.',
			told: serversTold,
			handle: async () => ({ servers: await describeServers(status) }),
		}),
		jsonRoute({
			method: 'get',
			path: '/api/servers/{name}',
			summary: 'One server.',
			says: 'What is known of it.',
			told: serverTold,
			errors: ['SLIPWAY_SERVER_UNKNOWN'],
			handle: async ({ params }) => {
				const name = find(params['name']);
				return (await describeServers(status)).find((server) => server.name === name);
			},
		}),
		jsonRoute({
			...logsRoute,
			path: '/api/servers/{name}/logs',
			summary: 'What a server wrote on stderr, and writes.',
			errors: ['SLIPWAY_SERVER_UNKNOWN', 'SLIPWAY_CALLS_FULL', 'SLIPWAY_LAUNCHER_UNREACHABLE'],
			handle: (asked: Asked<LogsQuery>) => tellLogs(asked, { server: find(asked.params['name']) }),
		}),
		jsonRoute({
			...logsRoute,
			path: '/api/logs',
			summary: 'The same of all servers.',
			errors: ['SLIPWAY_CALLS_FULL', 'SLIPWAY_LAUNCHER_UNREACHABLE'],
			handle: (asked: Asked<LogsQuery>) => tellLogs(asked, {}),
		}),
		jsonRoute({
			method: 'post',
			path: '/api/servers/{name}/restart',
			summary: 'Has other containers take the place of those that run: calls in flight finish, the next gets another.',
			status: 202,
			says: 'They end as soon as nobody calls them.',
			told: restartTold,
			errors: ['SLIPWAY_SERVER_UNKNOWN'],
			handle: ({ request, params }) => {
				const name = find(params['name']);
				return act(request, {
					event: 'server',
					describe: (told?: z.output<typeof restartTold>) => ({
						act: 'restart',
						server: name,
						...(told === undefined ? {} : { count: told.count }),
					}),
					run: () => ({ server: name, count: restart(name) }),
				});
			},
		}),
		jsonRoute({
			method: 'get',
			path: '/api/groups',
			summary: 'The groups of the catalog.',
			says: 'All of them.',
			told: groupsTold,
			handle: () => ({ groups: describeGroups(launcher) }),
		}),
		jsonRoute({
			method: 'get',
			path: '/api/catalog',
			summary: 'Which state of the catalog counts, and what is wrong with the file.',
			says: 'The state.',
			told: catalogTold,
			handle: () => launcher.state.catalog,
		}),
	];
}
