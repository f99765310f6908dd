/** `slipway status`: what runs, what does not, and what to do about it, on one screen. */
import { readConfig } from '../config.ts';
import { ERRORS } from '../errors.ts';
import { type ServerTold, type StatusTold, statusTold } from '../http/told.ts';
import { withoutControls } from './failure.ts';
import { GATEWAY_HELP, GATEWAY_OPTIONS, withGateway } from './gateway.ts';
import { formatTable, type Paint, paintOf } from './terminal.ts';
import { defineVerb } from './verb.ts';

const HELP = `slipway status [options]

What runs: engine, catalog, servers with their sessions and containers; and what is wrong, with the next step.

${GATEWAY_HELP}
  --json               for programs: what GET /status answers

Exit code 1: calls cannot succeed now.`;

/** Something that is wrong with a server or with all of them, and what to do. */
interface Trouble {
	readonly what: string;
	readonly next: string;
}

export const status = defineVerb({
	help: HELP,
	options: GATEWAY_OPTIONS,
	run: async ({ values, positionals }, invocation) => {
		if (positionals.length > 0) return 'misused';
		const { print, out, environment } = invocation;
		return withGateway(invocation, values, {
			scopes: ['admin'],
			use: async (gateway) => {
				const told = await gateway.ask('/status', statusTold);
				// Where clients find it, which may not be the way of the command line.
				const url = values.url ?? readConfig(environment).publicUrl;
				print(values.json ? JSON.stringify(told) : describe(told, url, paintOf(out, environment)));
				return told.status === 'ok' ? 0 : 1;
			},
		});
	},
});

function describe(told: StatusTold, url: string, paint: Paint): string {
	const { engine, catalog, servers, sessions, startsQueued, version } = told;
	const containers = servers.reduce((sum, { instances }) => sum + instances, 0);
	const enabled = servers.filter((server) => server.enabled);
	const rows = enabled.map((server) => [
		server.name,
		stateOf(server),
		String(server.sessions),
		String(server.instances),
		String(server.warmStarts?.waiting ?? 0),
	]);
	const troubles = [...troublesOf(told), ...enabled.flatMap(troublesOfServer)];
	return [
		`${paint('bold', 'Slipway')} ${version} at ${url}: ${told.status === 'ok' ? paint('green', 'ok') : paint('red', told.status)}`,
		[
			engine.reachable ? `engine ${engine.version}` : paint('red', 'no engine'),
			`catalog revision ${catalog.revision}`,
			many(enabled.length, 'server'),
			many(sessions, 'session'),
			many(containers, 'container'),
			...(startsQueued === 0 ? [] : [`${many(startsQueued, 'start')} waiting`]),
		].join(' · '),
		'',
		enabled.length === 0
			? 'No server is enabled: `slipway add --help` says how to add one.'
			: formatTable([['SERVER', 'STATE', 'SESSIONS', 'CONTAINERS', 'WARM'], ...rows]),
		...(troubles.length === 0 ? [] : ['', paint('yellow', 'What is wrong')]),
		...troubles.flatMap(({ what, next }) => [`- ${withoutControls(what)}`, `  ${paint('dim', withoutControls(next))}`]),
	].join('\n');
}

/** In one or two words. */
export function stateOf({ enabled, preparation, crashes }: ServerTold): string {
	if (!enabled) return 'disabled';
	if (crashes?.state === 'open') return 'crashing';
	switch (preparation.kind) {
		case 'ready':
			return 'ready';
		case 'preparing':
			return withoutControls(preparation.step);
		default:
			return preparation.kind;
	}
}

function troublesOf({ engine, launcher, catalog }: StatusTold): Trouble[] {
	const troubles: Trouble[] = [];
	if (!launcher.reachable) {
		const { sentence, nextStep } = ERRORS.SLIPWAY_LAUNCHER_UNREACHABLE;
		troubles.push({ what: sentence, next: nextStep });
	} else if (!engine.reachable)
		troubles.push({ what: engine.reason, next: ERRORS.SLIPWAY_ENGINE_UNREACHABLE.nextStep });
	if (catalog.problem !== undefined)
		troubles.push({ what: `catalog: ${catalog.problem}`, next: 'The last good one counts until it is corrected.' });
	return troubles;
}

function troublesOfServer({ name, preparation, crashes, absent, pins, egress }: ServerTold): Trouble[] {
	const troubles: Trouble[] = [];
	if (preparation.kind === 'failed') {
		const { code, details } = preparation.error;
		const { sentence, nextStep } = ERRORS[code];
		const reason = details.reason === undefined ? '' : ` ${details.reason}`;
		troubles.push({ what: `${name}: ${sentence}${reason}`, next: nextStep });
	}
	const failure = crashes?.lastFailure ?? absent;
	if (failure !== undefined)
		troubles.push({
			what: `${name}: ${failure.sentence} (${failure.at})`,
			next: `\`slipway logs ${name}\` has what it said.`,
		});
	if (pins !== undefined && pins.waiting.length > 0)
		troubles.push({
			what: `${name}: ${many(pins.waiting.length, 'tool')} hidden until somebody approves: ${pins.waiting.join(', ')}`,
			next: `\`slipway approve ${name}\` shows what is new in them.`,
		});
	for (const { target, reason, allow } of egress?.denied ?? [])
		troubles.push({
			what: `${name}: it was refused ${target === '' ? 'a request' : target} (${reason})`,
			next:
				allow === undefined ? 'See docs/adr/0017-egress.md.' : `Where it should reach that: "egress": ["${allow}"].`,
		});
	return troubles;
}

function many(count: number, what: string): string {
	return `${count} ${what}${count === 1 ? '' : 's'}`;
}
