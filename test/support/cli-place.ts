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
	/** What there is of its trials alone. */
	trialRemains(): Promise<string[]>;
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
	const isOfTrial = (gateway: string): boolean => gateway.startsWith(`trial-${id}-`);
	const remains = () => listRemains((gateway) => gateway === id || isOfTrial(gateway));
	t.after(async () => {
		for (const { child, exited } of processes) {
			child.kill('SIGTERM');
			await exited;
		}
		await rm(folder, { recursive: true });
		const left = await remains();
		for (const [, name = ''] of left.map((one) => one.split(' ')))
			await docker
				.getVolume(name)
				.remove()
				.catch(() => undefined);
		assert.deepEqual(left, []);
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
		trialRemains: () => listRemains(isOfTrial),
	};
}

/** Containers, networks and volumes. */
async function listRemains(isOurs: (gateway: string) => boolean): Promise<string[]> {
	const filters = JSON.stringify({ label: [LABELS.gateway] });
	const isWanted = ({ Labels }: { Labels?: Record<string, string> | null | undefined }): boolean =>
		isOurs(Labels?.[LABELS.gateway] ?? '');
	const containers = await docker.listContainers({ all: true, filters });
	const networks = await docker.listNetworks({ filters });
	const { Volumes: volumes } = await docker.listVolumes({ filters });
	return [
		...containers.filter(isWanted).map(({ Names, State }) => `container ${Names[0]} ${State}`),
		...networks.filter(isWanted).map(({ Name }) => `network ${Name}`),
		...(volumes ?? []).filter(isWanted).map(({ Name }) => `volume ${Name}`),
	];
}
