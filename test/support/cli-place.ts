/** The command line as a person runs it: a catalog, secrets and data of its own, and the proof that nothing else is left. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { freePort, onceSaid, runSlipway, type SlipwayProcess, startSlipway } from './client-process.ts';
import { API_KEY } from './stack.ts';

const docker = new Docker();

export interface CliPlace {
	readonly id: string;
	readonly url: string;
	readonly folder: string;
	readonly settings: Readonly<Record<string, string>>;
	/** Runs a verb to its end. */
	run(...args: readonly string[]): ReturnType<typeof runSlipway>;
	/** Starts a verb. */
	start(...args: readonly string[]): SlipwayProcess;
	/** A gateway and launcher on the catalog. */
	serve(): Promise<SlipwayProcess>;
	/** The text of the catalog now. */
	catalog(): Promise<string>;
	/** What there is on the engine of the deployment or of its trials. */
	remains(): Promise<string[]>;
}

/** @param servers of the catalog, by name */
export async function makeCliPlace(t: TestContext, servers: object = {}): Promise<CliPlace> {
	const id = `cli-${randomBytes(6).toString('hex')}`;
	const folder = await mkdtemp(join(tmpdir(), 'slipway-cli-'));
	const port = await freePort();
	const file = join(folder, 'catalog.json');
	await writeFile(file, `${JSON.stringify({ servers }, null, 2)}\n`);
	const settings = {
		SLIPWAY_PORT: String(port),
		SLIPWAY_GATEWAY_ID: id,
		SLIPWAY_CATALOG: folder,
		SLIPWAY_DATA: join(folder, 'data'),
		SLIPWAY_SECRETS_DIR: join(folder, 'secrets'),
		SLIPWAY_SECRETS_STORE: join(folder, 'sealed'),
	};
	const processes: SlipwayProcess[] = [];
	const start = (...args: readonly string[]): SlipwayProcess => {
		const started = startSlipway(args, settings);
		processes.push(started);
		return started;
	};
	const remains = () => listRemains(id);
	t.after(async () => {
		for (const { child, exited } of processes) {
			child.kill('SIGTERM');
			await exited;
		}
		await rm(folder, { recursive: true });
		assert.deepEqual(await remains(), []);
	});
	return {
		id,
		url: `http://127.0.0.1:${port}`,
		folder,
		settings,
		run: (...args) => runSlipway(args, settings),
		start,
		serve: async () => {
			const started = startSlipway(['all'], { ...settings, SLIPWAY_API_KEY: API_KEY });
			processes.push(started);
			return onceSaid(started, 'gateway listening');
		},
		catalog: () => readFile(file, 'utf8'),
		remains,
	};
}

/** Containers, networks and volumes; those of the deployment's servers outlive it by design, and are removed here. */
async function listRemains(id: string): Promise<string[]> {
	const filters = JSON.stringify({ label: [LABELS.gateway] });
	const isOurs = ({ Labels }: { Labels?: Record<string, string> | null | undefined }): boolean => {
		const gateway = Labels?.[LABELS.gateway] ?? '';
		return gateway === id || gateway.startsWith(`trial-${id}-`);
	};
	const containers = (await docker.listContainers({ all: true, filters })).filter(isOurs);
	const networks = (await docker.listNetworks({ filters })).filter(isOurs);
	const volumes = ((await docker.listVolumes({ filters })).Volumes ?? []).filter(isOurs);
	return [
		...containers.map(({ Names, State }) => `container ${Names[0]} ${State}`),
		...networks.map(({ Name }) => `network ${Name}`),
		...volumes.map(({ Name }) => `volume ${Name}`),
	];
}
