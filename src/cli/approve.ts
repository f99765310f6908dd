/** `slipway approve`: definitions of tools that wait for a person. It works on the store itself, as `slipway keys` does. */
import type { Act } from '../audit/record.ts';
import { readConfig } from '../config.ts';
import { approvePins, describeApproval, forgetPins, listPins, type PinTold } from '../http/pin-admin.ts';
import { visible } from '../mcp/definition.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { audited, UNRECORDED } from './audited.ts';
import type { Invocation } from './invocation.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway approve [server] [tool] [options]

                          what waits: tools that are hidden since their definition is not the one that was approved,
                          and how it differs
  <server>                the same of one server
  <server> <tool>         approves the definition that the server has for it now
  <server> --all          approves all that waits of a server
    --hash 3f5a…          only if it is the definition with that SHA-256
  [server] --pins         every tool that is known, and tools that may be taken for others
  <server> --forget       forgets what was approved of a server: what it says next is taken for the first

  --json                  for programs

A gateway that runs sees it at once. SLIPWAY_DATA says where it is kept.`;

const OPTIONS = {
	all: { type: 'boolean' },
	hash: { type: 'string' },
	pins: { type: 'boolean' },
	forget: { type: 'boolean' },
} as const;

export const approve = defineVerb({ help: HELP, options: OPTIONS, run });

async function run(
	{ values, positionals }: Asked<typeof OPTIONS>,
	{ environment, print }: Invocation,
): Promise<0 | 'misused'> {
	const [server, tool, ...rest] = positionals;
	const { all = false, pins = false, forget = false, hash: shownHash } = values;
	const verbs = [tool !== undefined, all, pins, forget].filter(Boolean).length;
	const isMisused = (all || forget) && server === undefined;
	if (verbs > 1 || isMisused || rest.length > 0 || (shownHash !== undefined && tool === undefined)) return 'misused';
	const config = readConfig(environment);
	const store = openSqliteStore(config.dataDir);
	const record = async <Result>(act: Omit<Act<Result>, 'event'>): Promise<Result> => {
		const { result, recorded } = await audited(config, { event: 'approval', ...act });
		if (!recorded && !values.json) print(UNRECORDED);
		return result;
	};
	try {
		if (server !== undefined && forget) {
			await record({ describe: () => describeApproval('forget', { server }), run: () => forgetPins(store, server) });
			print(
				values.json ? JSON.stringify({ forgotten: server }) : `${server} is forgotten: what it says next is the first.`,
			);
		} else if (server !== undefined && (tool !== undefined || all)) {
			const asked = { server, tool, shownHash };
			const approved = await record({
				describe: (tools?: readonly string[]) => describeApproval('approve', asked, tools),
				run: () => approvePins(store, asked),
			});
			print(values.json ? JSON.stringify({ approved }) : `Approved of ${server}: ${approved.map(visible).join(', ')}`);
		} else {
			const told = listPins(store, server).filter(({ state }) => pins || state !== 'approved');
			print(values.json ? JSON.stringify({ pins: told }) : describe(told, pins));
		}
		return 0;
	} finally {
		store.close();
	}
}

function describe(pins: readonly PinTold[], isAll: boolean): string {
	if (pins.length === 0) return isAll ? 'No server has listed a tool yet.' : 'Nothing waits.';
	return pins.map(describePin).join('\n\n');
}

function describePin({
	server,
	tool,
	state,
	reason,
	shownHash,
	shownAt,
	difference = [],
	alike = [],
}: PinTold): string {
	const shown = visible(tool);
	return [
		`${server} ${shown}: ${state}${state === 'approved' ? '' : ` since ${shownAt}`} (${shownHash.slice(0, 12)})`,
		...(reason === undefined ? [] : [`  refused: ${reason}`]),
		...(alike.length === 0 ? [] : [`  may be taken for ${alike.map(visible).join(', ')}`]),
		...difference.map((line) => `  ${line}`),
	].join('\n');
}
