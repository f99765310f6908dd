/** The launcher: everything that needs the Docker socket, put together. It faces no network. */
import { dirname } from 'node:path';
import type { Environment } from './catalog/import/references.ts';
import { loadCatalog, resolveCatalogFile } from './catalog/load.ts';
import { watchCatalog } from './catalog/watch.ts';
import type { Config } from './config.ts';
import { Engine } from './docker/engine.ts';
import { EgressDoor, LinkedGate } from './egress/link.ts';
import { LocalGate } from './egress/local-gate.ts';
import type { EgressOptions } from './launcher/egress.ts';
import { gatewayIdOfPort } from './launcher/identity.ts';
import { LocalLauncher, type LocalLauncherOptions } from './launcher/local.ts';
import { npmAccess } from './launcher/npm-access.ts';
import { LauncherServer } from './launcher/server.ts';
import type { Log } from './log.ts';

export interface LauncherRoleOptions {
	readonly config: Config;
	/** What `${VAR}` is read from in a catalog that other programs wrote. */
	readonly environment: Environment;
	readonly log: Log;
	readonly version: string;
	/** The folder that this process runs in: what relative paths start from where nothing else says so. */
	readonly workDir: string;
	/** Where the gateway finds us; undefined when it is this process. */
	readonly socketPath?: string;
	/** Where the egress role finds us; undefined when there is none, or when it is this process. */
	readonly egressSocketPath?: string;
}

export interface LauncherRole {
	readonly launcher: LocalLauncher;
	stop(): Promise<void>;
}

/**
 * Loads the catalog, looks for the engine, and begins.
 *
 * @throws SlipwayError SLIPWAY_CATALOG_INVALID. An engine that does not answer is no reason not to start.
 */
export async function startLauncher({
	config,
	environment,
	log,
	version,
	workDir,
	socketPath,
	egressSocketPath,
}: LauncherRoleOptions): Promise<LauncherRole> {
	const catalog = await loadCatalog(config.catalogPath, environment);
	const engine = new Engine({ socketPath: config.dockerSocket, log });
	const { egress, door } = openEgress({ socketPath, egressSocketPath, log });
	const launcher = new LocalLauncher({
		...(await settingsOf(config, workDir)),
		engine,
		log,
		version,
		catalog,
		...(egress === undefined ? {} : { egress }),
	});
	const server = socketPath === undefined ? undefined : new LauncherServer({ launcher, socketPath, log });
	await engine.start();
	launcher.start();
	await door?.start();
	await server?.start();
	const watch = watchCatalog(config.catalogPath, {
		current: catalog,
		environment,
		onCatalog: (changed) => {
			log.info('catalog loaded', { count: changed.servers.size });
			launcher.setCatalog(changed);
		},
		onProblem: (error) => {
			log.error('catalog not loaded; the last good one stays', {
				code: error.code,
				reason: error.details.reason ?? '',
			});
			launcher.setCatalogProblem(error.message);
		},
	});
	log.info('launcher ready', { version, count: catalog.servers.size });
	return {
		launcher,
		stop: async () => {
			watch.stop();
			await server?.stop();
			await launcher.stop();
			await (door ?? egress?.gate)?.stop();
			engine.stop();
			log.info('launcher stopped');
		},
	};
}

/** What the settings say to a launcher, of a role or of a trial. */
export async function settingsOf(
	config: Config,
	workDir: string,
): Promise<Omit<LocalLauncherOptions, 'engine' | 'log' | 'version' | 'catalog' | 'egress'>> {
	return {
		nodeImage: config.nodeImage,
		npm: npmAccess(config),
		python: config.python,
		catalogFolder: dirname(await resolveCatalogFile(config.catalogPath)),
		instancesMax: config.instancesMax,
		instancesPerServerMax: config.instancesPerServerMax,
		startsPerMinuteMax: config.startsPerMinuteMax,
		gatewayId: config.gatewayId,
		fallbackGatewayId: gatewayIdOfPort(config.port),
		hostDir: config.hostDir,
		fallbackHostDir: workDir,
		mountRoots: config.mountRoots,
		secrets: config.secrets,
	};
}

/** The way to the egress role: in one process with the gateway it is this process too, and else it comes to a socket. */
function openEgress({
	socketPath,
	egressSocketPath,
	log,
}: Pick<LauncherRoleOptions, 'log'> & {
	readonly socketPath: string | undefined;
	readonly egressSocketPath: string | undefined;
}): { readonly egress?: EgressOptions; readonly door?: EgressDoor } {
	if (socketPath === undefined) return { egress: { gate: new LocalGate(log), within: true } };
	if (egressSocketPath === undefined) return {};
	const gate = new LinkedGate();
	return { egress: { gate, within: false }, door: new EgressDoor(gate, egressSocketPath) };
}
