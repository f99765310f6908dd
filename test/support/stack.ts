/** The whole of Slipway in this process, on the real engine: what end-to-end tests talk to. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { NO_AUDIT } from '../../src/audit/audit.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { Engine } from '../../src/docker/engine.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { Gateway } from '../../src/gateway.ts';
import { RemoteLauncher } from '../../src/launcher/client.ts';
import { LocalLauncher, type LocalLauncherOptions } from '../../src/launcher/local.ts';
import { LauncherServer } from '../../src/launcher/server.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { BOUNDLESS, NO_SECRETS } from './fixtures.ts';

export const API_KEY = 'a-key-for-tests-0123456789';

export interface StackOptions {
	readonly catalog: Catalog;
	readonly config?: Partial<Config>;
	readonly launcher?: Partial<LocalLauncherOptions>;
	readonly dockerSocket?: string;
	readonly log?: Log;
}

export interface Stack {
	/** `http://127.0.0.1:<port>`. */
	readonly url: string;
	/** Where it keeps what it keeps: the socket, and the store in `data`. */
	readonly folder: string;
	/** Its label on everything that it makes. */
	readonly gatewayId: string;
	readonly launcher: LocalLauncher;
	readonly remote: RemoteLauncher;
	readonly engine: Engine;
	/** The URL of a server's endpoint. */
	endpoint(server: string): string;
	/** The containers of this stack that there are now. */
	containers(): Promise<Docker.ContainerInfo[]>;
	/** Stops everything, and fails when anything of it is left on the engine. */
	stop(): Promise<void>;
}

/** Starts gateway and launcher with the unix socket between them, as compose does, but in one process. */
export async function startStack(options: StackOptions): Promise<Stack> {
	const gatewayId = `test-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-test-'));
	const log = options.log ?? SILENT_LOG;
	const config = { ...readConfig(BOUNDLESS), port: 0, ...options.config };
	const engine = new Engine({ socketPath: options.dockerSocket ?? config.dockerSocket, log });
	await engine.start();
	const launcher = new LocalLauncher({
		engine,
		log,
		version: 'test',
		catalog: options.catalog,
		nodeImage: config.nodeImage,
		python: config.python,
		instancesMax: config.instancesMax,
		gatewayId,
		fallbackGatewayId: gatewayId,
		hostDir: '/nowhere',
		fallbackHostDir: '/nowhere',
		mountRoots: [],
		secrets: NO_SECRETS,
		...options.launcher,
	});
	const socketPath = join(folder, 'launcher.sock');
	const server = new LauncherServer({ launcher, socketPath, log });
	launcher.start();
	await server.start();
	const remote = new RemoteLauncher({ socketPath, log });
	const known = firstState(remote);
	remote.start();
	await known;
	const store = openSqliteStore(join(folder, 'data'));
	const gateway = new Gateway({
		config,
		apiKey: config.auth === 'none' ? undefined : API_KEY,
		launcher: remote,
		store,
		audit: NO_AUDIT,
		log,
		version: 'test',
	});
	const port = await gateway.start();
	const url = `http://127.0.0.1:${port}`;
	const docker = new Docker();
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] });
	const containers = (): Promise<Docker.ContainerInfo[]> => docker.listContainers({ all: true, filters });
	return {
		url,
		folder,
		gatewayId,
		launcher,
		remote,
		engine,
		endpoint: (name) => `${url}/servers/${name}/mcp`,
		containers,
		stop: async () => {
			await gateway.stop(AbortSignal.abort());
			store.close();
			await remote.stop();
			await server.stop();
			await launcher.stop();
			engine.stop();
			await rm(folder, { recursive: true });
			const left = await containers();
			const { Volumes } = await docker.listVolumes({ filters });
			for (const { Name } of Volumes) await docker.getVolume(Name).remove();
			assert.deepEqual(
				left.map(({ Names, State }) => `${Names[0]} ${State}`),
				[],
				'containers are left',
			);
		},
	};
}

function firstState(launcher: RemoteLauncher): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	const unsubscribe = launcher.subscribe(({ launcher: { reachable } }) => {
		if (!reachable) return;
		unsubscribe();
		resolve();
	});
	return promise;
}
