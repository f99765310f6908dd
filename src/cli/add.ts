/** `slipway add`: from the command line of a README to a server of the catalog, which was seen to work. */

import type { Catalog } from '../catalog/catalog.ts';
import { putServer, writeCatalogFile } from '../catalog/edit.ts';
import { fromCommand } from '../catalog/import/command.ts';
import type { EntryFile, ImportedServer } from '../catalog/import/contract.ts';
import { parseCatalog } from '../catalog/load.ts';
import { type Config, readConfig } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { UNRECORDED } from './audited.ts';
import { awaitServed } from './await-served.ts';
import { isExact, makeExact } from './exact.ts';
import { Failure } from './failure.ts';
import type { Invocation } from './invocation.ts';
import { findClashes, keepSecrets, placeOf, withSecrets } from './keep-secrets.ts';
import { readOwnCatalog } from './own-catalog.ts';
import { drawPortrait } from './portrait.ts';
import { confirm, Progress, paintOf } from './terminal.ts';
import { serverOf, type Trial, tryServer } from './trial.ts';
import { hintsOf, howToKeep } from './trial-hints.ts';
import { type Asked, defineVerb } from './verb.ts';
import { openWorkbench } from './workbench.ts';

const HELP = `slipway add [options] -- <command line>

Takes a server as its README has it (npx, uvx, docker run …), tries it in a container as it would be served, shows what it may
do, and writes it into the catalog. A launcher that runs serves it at once. What does not work is not written.

  --name n             what it is called in the catalog; without it, a name is made of the command line
  --secret VAR=name    the environment variable gets the secret of that name. May be said more than once
  --env VAR=value      an environment variable; not for secrets. May be said more than once
  --volume name:/path  a Docker volume at that path, for what it is to keep. May be said more than once
  --egress host:port   it may reach that host. May be said more than once; without it, it has no network
  --replace            in the place of the server of that name
  --no-try             writes it untried
  --yes                does not ask before it writes; without a terminal it never does

  --json               for programs

  slipway add --name notes -- npx -y @modelcontextprotocol/server-memory`;

const OPTIONS = {
	name: { type: 'string' },
	secret: { type: 'string', multiple: true },
	env: { type: 'string', multiple: true },
	volume: { type: 'string', multiple: true },
	egress: { type: 'string', multiple: true },
	replace: { type: 'boolean' },
	'no-try': { type: 'boolean' },
	yes: { type: 'boolean', short: 'y' },
} as const;

export const add = defineVerb({ help: HELP, options: OPTIONS, takesCommand: true, run });

const FORMS = Object.freeze({ secret: 'VARIABLE=name', env: 'VARIABLE=value', volume: 'name:/path' });

type Values = Asked<typeof OPTIONS>['values'];

async function run(
	{ values, positionals: words }: Asked<typeof OPTIONS>,
	invocation: Invocation,
): Promise<0 | 1 | 'misused'> {
	if (words.length === 0) return 'misused';
	const { environment, print, err, out, input } = invocation;
	const settings = readConfig(environment);
	const { file, catalog } = await readOwnCatalog(settings.catalogPath);
	const imported = read(words, values);
	assertFree(catalog, imported.name, values);
	const config = withSecrets(settings, imported.secrets);
	assertNoClash(settings, imported, values);

	const { entry, trial } = await examine({ ...imported, config, isTried: values['no-try'] !== true }, invocation);
	const server = serverOf(imported.name, entry);
	if (!values.json) {
		print(drawPortrait(server, trial, paintOf(out, environment)));
		for (const note of imported.notes) print(`\nNote: ${note}`);
		print('');
	}
	const isAsked = !values.yes && !values.json && err.isTerminal && input().isTTY === true;
	if (isAsked && !(await confirm(invocation, `Write ${server.name} into ${file}?`))) {
		print('Nothing was written.');
		return 1;
	}
	// Once it has begun, it is finished: half of it would be worse than what somebody wants to break off.
	const isRecorded = await keepSecrets(imported.secrets, { config: settings, invocation });
	await writeCatalogFile(file, (now) => {
		assertFree(parseCatalog(now, file), server.name, values);
		return putServer(now, server.name, entry);
	});
	const isServed = await awaitServed([server], invocation);
	const missing = trial?.missingSecrets ?? [];
	const url = `${config.publicUrl}/servers/${server.name}/mcp`;
	if (values.json) {
		const secrets = { kept: imported.secrets.map(({ name }) => name), missing };
		print(
			JSON.stringify({
				name: server.name,
				url,
				catalog: file,
				served: isServed,
				entry,
				notes: imported.notes,
				secrets,
				trial,
			}),
		);
		return 0;
	}
	if (!isRecorded) print(UNRECORDED);
	if (imported.secrets.length > 0)
		print(`Kept in ${placeOf(settings)}: ${imported.secrets.map(({ name }) => name).join(', ')}.`);
	for (const name of missing) print(howToKeep(name));
	const how = isServed ? 'and is served' : 'and a launcher that runs serves it, without a restart';
	print(`${server.name} is in ${file}, ${how}:\n\n  ${url}`);
	return 0;
}

/** What the words mean, and what the options add to that. */
function read(words: readonly string[], values: Values): ImportedServer {
	const { name } = values;
	const imported = fromCommand(words, name === undefined ? {} : { name });
	if (imported.kind === 'refused')
		throw new Failure(new SlipwayError('SLIPWAY_IMPORT_REFUSED', { reason: `${imported.reason}.` }), [
			imported.nextStep,
		]);
	const entry = withOptions(imported.entry, values);
	const named = new Set(
		Object.values(entry.secrets ?? {}).map((secret) => (typeof secret === 'string' ? secret : secret.secret)),
	);
	// A value whose place another secret has taken is nobody's.
	return { ...imported, entry, secrets: imported.secrets.filter((secret) => named.has(secret.name)) };
}

/** What the options say counts more than what the command line does. */
function withOptions(entry: EntryFile, values: Values): EntryFile {
	const given = { secrets: pairsOf(values, 'secret', '='), env: pairsOf(values, 'env', '=') };
	const volumes = [
		...(entry.volumes ?? []),
		...Object.entries(pairsOf(values, 'volume', ':')).map(([name, target]) => ({ name, target })),
	];
	const env = { ...entry.env, ...given.env };
	const secrets = { ...entry.secrets, ...given.secrets };
	for (const variable of Object.keys(given.secrets)) delete env[variable];
	for (const variable of Object.keys(given.env)) delete secrets[variable];
	const egress = [...new Set([...(entry.egress ?? []), ...(values.egress ?? [])])];
	const { env: _, secrets: __, egress: ___, volumes: ____, ...rest } = entry;
	return {
		...rest,
		...(Object.keys(env).length === 0 ? {} : { env }),
		...(Object.keys(secrets).length === 0 ? {} : { secrets }),
		...(volumes.length === 0 ? {} : { volumes }),
		...(egress.length === 0 ? {} : { egress }),
	};
}

/** The options that are pairs. */
function pairsOf(values: Values, option: 'secret' | 'env' | 'volume', separator: string): Record<string, string> {
	const pairs = (values[option] ?? []).map((pair) => {
		const at = pair.indexOf(separator);
		// Not repeated: it may be a value in the place of a name.
		if (at < 1) throw new SlipwayError('SLIPWAY_IMPORT_REFUSED', { reason: `--${option} has to be ${FORMS[option]}.` });
		return [pair.slice(0, at), pair.slice(at + 1)] as const;
	});
	return Object.fromEntries(pairs);
}

function assertFree({ servers }: Catalog, name: string, { replace }: Values): void {
	if (servers.has(name as ServerName) && replace !== true)
		throw new SlipwayError('SLIPWAY_SERVER_EXISTS', { server: name, reason: `"${name}"` });
}

function assertNoClash(config: Config, { secrets }: ImportedServer, { replace }: Values): void {
	const [clash] = replace === true ? [] : findClashes(config, secrets);
	if (clash === undefined) return;
	throw new Failure(
		new SlipwayError('SLIPWAY_SECRET_INVALID', { reason: `There is a secret "${clash}" with another value.` }),
		[`Choose another name for the server (--name), or use that secret: --secret VARIABLE=${clash}`],
	);
}

/** The entry as it can be written, and what was seen of it. */
async function examine(
	{ name, entry, config, isTried }: ImportedServer & { readonly config: Config; readonly isTried: boolean },
	{ err, environment, stopping, version, workDir }: Invocation,
): Promise<{ readonly entry: EntryFile; readonly trial: Trial | undefined }> {
	if (!isTried && isExact(entry)) return { entry, trial: undefined };
	await using bench = await openWorkbench(config);
	const progress = new Progress(err, environment);
	const onStep = (step: string): void => progress.step(step);
	try {
		const exact = await makeExact(entry, { bench, config, onStep, signal: stopping });
		// Told before anything is built for it.
		serverOf(name, exact);
		const options = { bench, config, version, workDir, name, entry: exact, onStep, signal: stopping };
		const trial = isTried ? await tryServer(options) : undefined;
		progress.done();
		return { entry: exact, trial };
	} catch (error) {
		progress.fail();
		const hints = stopping.aborted ? [] : hintsOf(error, entry);
		throw hints.length > 0 && error instanceof SlipwayError ? new Failure(error, hints) : error;
	}
}
