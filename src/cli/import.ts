/** `slipway import`: the servers of another program's configuration, all of them at once. */
import type { Catalog, Server } from '../catalog/catalog.ts';
import { putServer, writeCatalogFile } from '../catalog/edit.ts';
import type { EntryFile, Imported, ImportedServer } from '../catalog/import/contract.ts';
import { FORMATS, type Format, importText } from '../catalog/import/formats.ts';
import { type Config, readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { describeSource } from '../launcher/preparations.ts';
import { visible } from '../mcp/definition.ts';
import { findSecret } from '../secrets/sources.ts';
import { UNRECORDED } from './audited.ts';
import { awaitServed } from './await-served.ts';
import { isExact, makeExact } from './exact.ts';
import { nextSteps } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { findClashes, keepSecrets, placeOf, withSecrets } from './keep-secrets.ts';
import { diffLines } from './line-diff.ts';
import { readOwnCatalog } from './own-catalog.ts';
import { describeNetwork } from './portrait.ts';
import { readInput } from './read-input.ts';
import { formatTable, type Paint, Progress, paintOf } from './terminal.ts';
import { serverOf, type Trial, tryServer } from './trial.ts';
import { hintsOf, howToKeep } from './trial-hints.ts';
import { type Asked, defineVerb } from './verb.ts';
import { openWorkbench, type Workbench } from './workbench.ts';

const HELP = `slipway import <file | -> [options]

Takes the servers of another program's configuration into the catalog: of Claude Desktop, Claude Code, Cursor, Windsurf,
Gemini CLI, mcp-proxy (mcpServers), VS Code, Codex, Docker's MCP catalog, or a server.json. Versions are made exact, values
that are secrets are kept apart, and what cannot be carried over is refused, each with its reason; the others are written.

  --format f    ${FORMATS.join(' | ')}; without it, the text tells
  --only a,b    these and no others
  --replace     in the place of servers that the catalog has already
  --try         starts each first, and refuses those that do not work
  --dry-run     shows what would be written, and writes nothing

  --json        for programs

Exit code 1: some were refused. With compose: docker compose run --rm -T cli import - <file`;

const OPTIONS = {
	format: { type: 'string' },
	only: { type: 'string' },
	replace: { type: 'boolean' },
	try: { type: 'boolean' },
	'dry-run': { type: 'boolean' },
} as const;

export const importServers = defineVerb({ help: HELP, options: OPTIONS, run });

type Values = Asked<typeof OPTIONS>['values'];

/** What became of one. */
type Outcome =
	| {
			readonly outcome: 'added' | 'replaced';
			readonly imported: ImportedServer;
			readonly entry: EntryFile;
			readonly server: Server;
			readonly trial: Trial | undefined;
	  }
	| { readonly outcome: 'refused'; readonly name: string; readonly reason: string; readonly nextStep: string };

type Accepted = Exclude<Outcome, { readonly outcome: 'refused' }>;

async function run({ values, positionals }: Asked<typeof OPTIONS>, invocation: Invocation): Promise<0 | 1 | 'misused'> {
	const [path, ...rest] = positionals;
	const format = FORMATS.find((known) => known === values.format);
	if (path === undefined || rest.length > 0 || (values.format !== undefined && format === undefined)) return 'misused';
	const config = readConfig(invocation.environment);
	const found = readServers(await readInput(path, invocation), { format, only: values.only });
	const { file, text, catalog } = await readOwnCatalog(config.catalogPath);
	const outcomes = await examineAll(found, { catalog, config, values, invocation });
	const accepted = outcomes.filter((outcome): outcome is Accepted => outcome.outcome !== 'refused');
	const edit = (now: string): string =>
		accepted.reduce((edited, { server, entry }) => putServer(edited, server.name, entry), now);
	const { print } = invocation;
	let isRecorded = true;
	let isServed = false;
	if (!values['dry-run'] && accepted.length > 0) {
		const secrets = accepted.flatMap(({ imported }) => imported.secrets);
		isRecorded = await keepSecrets(secrets, { config, invocation });
		await writeCatalogFile(file, edit);
		isServed = await awaitServed(
			accepted.map(({ server }) => server),
			invocation,
		);
	}
	if (values.json) print(JSON.stringify(summaryOf(outcomes, { file, isDry: values['dry-run'] === true, isServed })));
	else {
		print(describe(outcomes, paintOf(invocation.out, invocation.environment)));
		if (values['dry-run'])
			print(`\nNothing was written. ${file} would be:\n\n${diffLines(text, edit(text)).join('\n')}`);
		else print(`\n${tellWritten(accepted, { file, config, isServed })}${isRecorded ? '' : `\n${UNRECORDED}`}`);
	}
	return accepted.length === outcomes.length ? 0 : 1;
}

function readServers(
	text: string,
	{ format, only }: { readonly format: Format | undefined; readonly only: string | undefined },
): readonly Imported[] {
	const { servers } = importText(text, format === undefined ? {} : { format });
	if (only === undefined) return servers;
	const wanted = only.split(',').map((name) => name.trim());
	const missing = wanted.filter((name) => !servers.some((server) => server.name === name));
	if (missing.length > 0) {
		const names = servers.map((server) => visible(server.name)).join(', ');
		throw new SlipwayError('SLIPWAY_IMPORT_INVALID', { reason: `It has no ${missing.join(', ')}, but ${names}.` });
	}
	return servers.filter((server) => wanted.includes(server.name));
}

interface Examination {
	/** As it is. */
	readonly catalog: Catalog;
	readonly config: Config;
	readonly values: Values;
	readonly invocation: Invocation;
}

async function examineAll(found: readonly Imported[], examination: Examination): Promise<Outcome[]> {
	const { values, config, invocation } = examination;
	const needsEngine = found.some((one) => one.kind === 'server' && (values.try === true || !isExact(one.entry)));
	const bench = needsEngine ? await openWorkbench(config) : undefined;
	const progress = new Progress(invocation.err, invocation.environment);
	try {
		const outcomes: Outcome[] = [];
		for (const imported of found)
			outcomes.push(
				imported.kind === 'refused' ? refuse(imported) : await examine(imported, { ...examination, bench, progress }),
			);
		progress.done();
		return outcomes;
	} catch (error) {
		progress.fail();
		throw error;
	} finally {
		await bench?.[Symbol.asyncDispose]();
	}
}

async function examine(
	imported: ImportedServer,
	{
		catalog,
		config,
		values,
		invocation,
		bench,
		progress,
	}: Examination & { readonly bench: Workbench | undefined; readonly progress: Progress },
): Promise<Outcome> {
	const { name } = imported;
	const { stopping: signal, version, workDir } = invocation;
	const isTaken = catalog.servers.has(name as ServerName);
	if (isTaken && !values.replace)
		return refuse({
			name,
			reason: 'the catalog has a server of that name',
			nextStep: '--replace puts it in its place.',
		});
	const [clash] = isTaken ? [] : findClashes(config, imported.secrets);
	if (clash !== undefined)
		return refuse({
			name,
			reason: `there is a secret "${clash}" with another value`,
			nextStep: `Remove it (slipway secrets remove ${clash}), or write this server by hand.`,
		});
	const onStep = (step: string): void => progress.step(`${name}: ${step}`);
	try {
		const given = withSecrets(config, imported.secrets);
		const entry =
			bench === undefined ? imported.entry : await makeExact(imported.entry, { bench, config, onStep, signal });
		const server = serverOf(name, entry);
		const options = { config: given, version, workDir, name, entry, onStep, signal };
		const trial = values.try && bench !== undefined ? await tryServer({ ...options, bench }) : undefined;
		return { outcome: isTaken ? 'replaced' : 'added', imported, entry, server, trial };
	} catch (error) {
		signal.throwIfAborted();
		if (!(error instanceof SlipwayError) || error.code === 'SLIPWAY_ENGINE_UNREACHABLE') throw error;
		const hints = hintsOf(error, imported.entry);
		const steps = hints.length === 0 ? nextSteps(error) : hints;
		return refuse({ name, reason: error.message.replace(/\.$/, ''), nextStep: steps.join(' ') });
	}
}

function refuse({ name, reason, nextStep }: { name: string; reason: string; nextStep: string }): Outcome {
	return { outcome: 'refused', name, reason, nextStep };
}

function summaryOf(
	outcomes: readonly Outcome[],
	{ file, isDry, isServed }: { readonly file: string; readonly isDry: boolean; readonly isServed: boolean },
): object {
	const servers = outcomes.map((one) => {
		if (one.outcome === 'refused') return one;
		const { outcome, imported, entry, server, trial } = one;
		const secrets = imported.secrets.map(({ name }) => name);
		return { outcome, name: server.name, entry, notes: imported.notes, secrets, ...(trial && { trial }) };
	});
	return { catalog: file, dryRun: isDry, served: isServed, servers };
}

function describe(outcomes: readonly Outcome[], paint: Paint): string {
	const rows = outcomes.map((one) => {
		if (one.outcome === 'refused') return [visible(one.name), 'refused'];
		const { server, imported, trial } = one;
		return [
			server.name,
			one.outcome,
			describeSource(server.source),
			describeNetwork(server),
			server.mounts.map(({ source }) => source).join(', ') || '-',
			server.secrets.map(({ name }) => name).join(', ') || '-',
			...(trial === undefined ? [] : [`${trial.tools.length} tools`]),
			...(imported.entry.enabled === false ? ['disabled'] : []),
		];
	});
	const table = formatTable([['SERVER', 'OUTCOME', 'SOURCE', 'NETWORK', 'FOLDERS', 'SECRETS'], ...rows]);
	const remarks = outcomes.flatMap((one) =>
		one.outcome === 'refused'
			? [`${paint('red', visible(one.name))}: ${visible(one.reason)}. ${visible(one.nextStep)}`]
			: one.imported.notes.map((note) => `${paint('bold', one.server.name)}: ${visible(note)}`),
	);
	return [table, ...(remarks.length === 0 ? [] : ['', ...remarks])].join('\n');
}

function tellWritten(
	accepted: readonly Accepted[],
	{ file, config, isServed }: { readonly file: string; readonly config: Config; readonly isServed: boolean },
): string {
	if (accepted.length === 0) return 'Nothing was written.';
	const kept = accepted.flatMap(({ imported }) => imported.secrets.map(({ name }) => name));
	const names = accepted.map(({ server }) => server.name);
	const missing = findMissing(accepted, config);
	return [
		`${accepted.length === 1 ? 'One server is' : `${accepted.length} servers are`} in ${file}${isServed ? ', and served' : ''}: ${names.join(', ')}.`,
		...(kept.length === 0 ? [] : [`Kept in ${placeOf(config)}: ${kept.join(', ')}.`]),
		...missing.map(howToKeep),
	].join('\n');
}

/** Secrets that servers name and nobody keeps. */
function findMissing(accepted: readonly Accepted[], { secrets }: Config): string[] {
	const names = new Set(accepted.flatMap(({ server }) => server.secrets.map(({ name }) => name)));
	return [...names].filter((name) => findSecret(secrets, name).kind === 'missing');
}
