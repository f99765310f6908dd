/** What a server is and what it may do, for people who are to decide about it. */
import type { Server } from '../catalog/catalog.ts';
import { describeSource } from '../launcher/preparations.ts';
import { CLI_LIMITS } from '../limits.ts';
import { visible } from '../mcp/definition.ts';
import { formatBytes, formatDuration, formatTable, type Paint } from './terminal.ts';
import type { Described, Trial } from './trial.ts';

const NANOS_PER_CPU = 1_000_000_000;

/** What a server runs, what it is let do, and, where it was tried, what it has. */
export function drawPortrait(server: Server, trial: Trial | undefined, paint: Paint): string {
	const { resources, user } = server;
	const rows: (readonly [string, string])[] = [
		...(trial === undefined ? [] : [['image', `${trial.image} (${trial.imageId.slice(0, 19)})`] as const]),
		['network', describeNetwork(server)],
		...server.volumes.map(({ name, target }) => ['volume', `${name} at ${target}`] as const),
		...server.mounts.map(
			({ source, target, readOnly }) => ['folder', `${source} at ${target}${readOnly ? ', read only' : ''}`] as const,
		),
		...server.secrets.map(
			({ variable, name }) =>
				['secret', `${name} as ${variable}${trial?.missingSecrets.includes(name) ? ' (not kept yet)' : ''}`] as const,
		),
		['user', `${user.uid}:${user.gid}, without any privilege`],
		[
			'at most',
			`${formatBytes(resources.memoryBytes)} of memory, ${resources.nanoCpus / NANOS_PER_CPU} CPU, ${resources.pidsMax} processes`,
		],
		...(trial === undefined
			? []
			: [
					[
						'says',
						`${visible(trial.calls)}, revision ${trial.revision}, ${formatDuration(trial.startMs)} after it was started`,
					] as const,
					['tools', `${trial.tools.length}`] as const,
				]),
	];
	return [
		`${paint('bold', server.name)}: ${describeSource(server.source)}`,
		'',
		indent(formatTable(rows), '  '),
		...(trial === undefined ? [] : [indent(listOf(trial.tools, paint), '    ')]),
		...(trial === undefined || trial.prompts.length === 0 ? [] : [`  prompts  ${namesOf(trial.prompts)}`]),
		...(trial === undefined || trial.resources.length === 0 ? [] : [`  resources  ${trial.resources.length}`]),
	]
		.filter((line) => line !== undefined)
		.join('\n');
}

export function describeNetwork({ egress }: Pick<Server, 'egress'>): string {
	return egress.length === 0 ? 'none' : egress.join(', ');
}

function listOf(tools: readonly Described[], paint: Paint): string {
	const shown = tools.slice(0, CLI_LIMITS.trialToolsShownMax);
	const width = Math.max(0, ...shown.map(({ name }) => visible(name).length));
	const lines = shown.map(({ name, description }) =>
		`${visible(name).padEnd(width)}  ${paint('dim', firstLine(description))}`.trimEnd(),
	);
	const rest = tools.length - shown.length;
	return [...lines, ...(rest > 0 ? [`… and ${rest} more`] : [])].join('\n');
}

function namesOf(described: readonly Described[]): string {
	return described
		.slice(0, CLI_LIMITS.trialToolsShownMax)
		.map(({ name }) => visible(name))
		.join(', ');
}

/** The first line of what somebody wrote, and of that no more than is read at a glance. */
function firstLine(text: string): string {
	const [line = ''] = text.trim().split(/[\r\n]/, 1);
	const shown = visible(line);
	const { describedCharsMax } = CLI_LIMITS;
	return shown.length <= describedCharsMax ? shown : `${shown.slice(0, describedCharsMax - 1)}…`;
}

function indent(text: string, by: string): string {
	return text === '' ? '' : text.replace(/^/gm, by);
}
