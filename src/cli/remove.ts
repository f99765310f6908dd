/** `slipway remove`: a server out of the catalog. What it kept stays, unless that is to go too. */
import type { Catalog, Volume } from '../catalog/catalog.ts';
import { removeServer, writeCatalogFile } from '../catalog/edit.ts';
import { type Config, readConfig } from '../config.ts';
import { dropVolume } from '../docker/drop-volume.ts';
import { Engine } from '../docker/engine.ts';
import { SlipwayError } from '../errors.ts';
import type { ServerName } from '../ids.ts';
import { gatewayIdOfPort, identify } from '../launcher/identity.ts';
import { CLI_LIMITS } from '../limits.ts';
import { SILENT_LOG } from '../log.ts';
import type { Invocation } from './invocation.ts';
import { readOwnCatalog } from './own-catalog.ts';
import { confirm, Progress } from './terminal.ts';
import { type Asked, defineVerb } from './verb.ts';

const HELP = `slipway remove <server> [--volumes] [--yes] [--json]

Takes a server out of the catalog, and out of its groups. Its containers end when their calls are done.

  --volumes   removes what it keeps in Docker volumes too, for good; without it, they are named and stay
  --yes       does not ask before it removes volumes; without a terminal it never does

  --json      for programs`;

const OPTIONS = {
	volumes: { type: 'boolean' },
	yes: { type: 'boolean', short: 'y' },
} as const;

export const remove = defineVerb({ help: HELP, options: OPTIONS, run });

async function run({ values, positionals }: Asked<typeof OPTIONS>, invocation: Invocation): Promise<0 | 1 | 'misused'> {
	const [name, ...rest] = positionals;
	if (name === undefined || rest.length > 0) return 'misused';
	const { environment, print, err, input } = invocation;
	const config = readConfig(environment);
	const { file, catalog } = await readOwnCatalog(config.catalogPath);
	const { own, common } = volumesOf(catalog, name);
	const isAsked = values.volumes && own.length > 0 && !values.yes && err.isTerminal && input().isTTY === true;
	if (isAsked && !(await confirm(invocation, `Remove ${name} and all that is in ${namesOf(own)}?`))) {
		print('Nothing was removed.');
		return 1;
	}
	await writeCatalogFile(file, (now) => removeServer(now, name));
	if (!values.json) print(`${name} is out of ${file}.`);
	const dropped = values.volumes ? await drop(own, config, invocation) : [];
	const used = dropped.filter(({ outcome }) => outcome === 'used');
	if (values.json) {
		const kept = [...common, ...(values.volumes ? [] : own)].map((volume) => volume.name);
		print(
			JSON.stringify({
				removed: name,
				volumes: { kept, removed: namesIn(dropped, 'removed'), used: namesIn(used, 'used') },
			}),
		);
		return used.length === 0 ? 0 : 1;
	}
	if (!values.volumes && own.length > 0)
		print(
			`What it kept is in ${namesOf(own)} still: a server with a volume of that name has it, and docker volume rm removes it.`,
		);
	if (common.length > 0) print(`Other servers have ${namesOf(common)} too, so that stays.`);
	for (const { volume, outcome } of dropped)
		print(
			outcome === 'used'
				? `The volume ${volume} is used still, and stays.`
				: `The volume ${volume} is ${outcome === 'absent' ? 'not there' : 'removed'}.`,
		);
	return used.length === 0 ? 0 : 1;
}

/** The volumes of a server: those that it has for itself, and those that others of the catalog have too. */
function volumesOf(
	{ servers }: Catalog,
	name: string,
): { readonly own: readonly Volume[]; readonly common: readonly Volume[] } {
	const server = servers.get(name as ServerName);
	if (server === undefined) throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN', { server: name });
	const others = new Set(
		[...servers.values()]
			.filter((other) => other !== server)
			.flatMap(({ volumes }) => volumes.map((volume) => volume.name)),
	);
	return {
		own: server.volumes.filter((volume) => !others.has(volume.name)),
		common: server.volumes.filter((volume) => others.has(volume.name)),
	};
}

interface Dropped {
	readonly volume: string;
	readonly outcome: 'removed' | 'absent' | 'used';
}

async function drop(
	volumes: readonly Volume[],
	config: Config,
	{ err, environment, workDir, stopping }: Invocation,
): Promise<Dropped[]> {
	if (volumes.length === 0) return [];
	const engine = new Engine({ socketPath: config.dockerSocket, log: SILENT_LOG });
	const progress = new Progress(err, environment);
	await engine.start();
	try {
		engine.assertReachable();
		const fallback = { fallbackGatewayId: gatewayIdOfPort(config.port), fallbackHostDir: workDir };
		const { gateway } = await identify(engine, { ...config, ...fallback });
		const dropped: Dropped[] = [];
		for (const { name } of volumes) {
			progress.step(`removing the volume ${name}, once nobody has it`);
			const outcome = await dropVolume(engine, { gateway, name, waitMs: CLI_LIMITS.volumeWaitMs, signal: stopping });
			dropped.push({ volume: name, outcome });
		}
		progress.done();
		return dropped;
	} catch (error) {
		progress.fail();
		throw error;
	} finally {
		engine.stop();
	}
}

function namesOf(volumes: readonly Volume[]): string {
	return `${volumes.length === 1 ? 'the volume' : 'the volumes'} ${volumes.map(({ name }) => name).join(', ')}`;
}

function namesIn(dropped: readonly Dropped[], wanted: Dropped['outcome']): string[] {
	return dropped.filter(({ outcome }) => outcome === wanted).map(({ volume }) => volume);
}
