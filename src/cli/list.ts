/** `slipway list`: the servers of the catalog, as the gateway has it. */
import { type ServerTold, serversTold } from '../http/told.ts';
import { withoutControls } from './failure.ts';
import { GATEWAY_HELP, GATEWAY_OPTIONS, withGateway } from './gateway.ts';
import { stateOf } from './status.ts';
import { formatTable } from './terminal.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway list [options]

The servers of the catalog: what each runs, how far it is, who has a container together, and what it may reach.

${GATEWAY_HELP}
  --json               for programs: what GET /api/servers answers`;

export const list = defineVerb({
	help: HELP,
	options: GATEWAY_OPTIONS,
	run: async ({ values, positionals }, invocation) => {
		if (positionals.length > 0) return 'misused';
		return withGateway(invocation, values, {
			scopes: ['admin'],
			use: async (gateway) => {
				const told = await gateway.ask('/api/servers', serversTold);
				invocation.print(values.json ? JSON.stringify(told) : describe(told.servers));
				return 0;
			},
		});
	},
});

function describe(servers: readonly ServerTold[]): string {
	if (servers.length === 0) return 'The catalog is empty: `slipway add --help` says how to add a server.';
	const rows = servers.map((server) => [
		server.name,
		withoutControls(server.source),
		stateOf(server),
		server.isolation,
		server.egress === undefined ? 'none' : server.egress.allowed.join(' '),
	]);
	return formatTable([['SERVER', 'SOURCE', 'STATE', 'ISOLATION', 'NETWORK'], ...rows]);
}
