/** A launcher on the real engine with an id of its own, and the proof that it leaves nothing there. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import Docker from 'dockerode';
import { type Catalog, createCatalog, type Server } from '../../src/catalog/catalog.ts';
import type { Channel } from '../../src/channel.ts';
import { readConfig } from '../../src/config.ts';
import { type ContainerChannel, startContainer } from '../../src/docker/container.ts';
import { Engine } from '../../src/docker/engine.ts';
import { inspectImage } from '../../src/docker/images.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { OomWatch } from '../../src/docker/oom-watch.ts';
import { buildSpec } from '../../src/docker/spec.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import { LocalLauncher, type LocalLauncherOptions } from '../../src/launcher/local.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { NO_SECRETS } from './fixtures.ts';

export const ENGINE_SOCKET = '/var/run/docker.sock';
export const NODE_IMAGE = 'node:26-trixie-slim';
/** Python packages as they are prepared where nothing is set. */
export const PYTHON = readConfig({}).python;
/** Longer than anything takes on a machine that others load, so that only what hangs is told. */
export const DEADLINE_MS = 20_000;
/** The same for an image that has to be made. */
export const PREPARED_MS = 300_000;

export const docker = new Docker({ socketPath: ENGINE_SOCKET });

export function newGatewayId(): string {
	return `test-${randomBytes(6).toString('hex')}`;
}

export function neverAborted(): AbortSignal {
	return new AbortController().signal;
}

/** Every container that carries the id, running or not. */
export function containersOf(gatewayId: string): Promise<Docker.ContainerInfo[]> {
	return docker.listContainers({ all: true, filters: JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] }) });
}

/** Resolves when the engine has removed the container. */
export async function removed(id: string): Promise<void> {
	const wait = docker.getContainer(id).wait({ condition: 'removed' });
	await within(
		wait.catch((error: { statusCode?: number }) => {
			if (error.statusCode !== 404) throw error;
		}),
		`the removal of ${id.slice(0, 12)}`,
	);
}

/** The promise's value, or a failure that names what was waited for. */
export async function within<T>(promise: Promise<T>, what: string, ms: number = DEADLINE_MS): Promise<T> {
	const timer = new AbortController();
	const late = sleep(ms, undefined, { signal: timer.signal }).then(
		() => Promise.reject(new Error(`${what} did not come within ${ms} ms`)),
		() => new Promise<never>(() => undefined),
	);
	try {
		return await Promise.race([promise, late]);
	} finally {
		timer.abort();
	}
}

/** For what tells of itself by no event: looks until it is so. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
	const giveUpAt = Date.now() + DEADLINE_MS;
	while (!(await isSo())) {
		if (Date.now() > giveUpAt) throw new Error(`${what}: not so within ${DEADLINE_MS} ms`);
		await sleep(20);
	}
}

/** That the promise rejects with this error of the table, which is returned. */
export async function refusedWith(
	code: ErrorCode,
	promise: Promise<unknown>,
	ms: number = DEADLINE_MS,
): Promise<SlipwayError> {
	const outcome: unknown = await within(
		promise.then(
			() => 'no error',
			(error: unknown) => error,
		),
		code,
		ms,
	);
	assert.ok(outcome instanceof SlipwayError, `not an error of the table: ${String(outcome)}`);
	assert.equal(outcome.code, code, outcome.message);
	return outcome;
}

export interface BenchOptions {
	readonly launcher?: Partial<LocalLauncherOptions>;
	readonly gatewayId?: string;
	readonly socketPath?: string;
	/** For tests in which the engine is not there at the start. */
	readonly mayBeUnreachable?: boolean;
}

export interface Bench extends AsyncDisposable {
	readonly gatewayId: string;
	readonly engine: Engine;
	readonly launcher: LocalLauncher;
	/** A folder for sockets. */
	readonly folder: string;
	launch(name: string, signal?: AbortSignal): Promise<Channel>;
	/** The one container of an Instance. */
	inspect(channel: Channel): Promise<Docker.ContainerInspectInfo>;
	containerOf(channel: Channel): Promise<Docker.Container>;
}

/** Disposing of it stops the launcher, and fails when a container is left. Volumes are removed then. */
export async function openBench(servers: readonly Server[] | Catalog, options: BenchOptions = {}): Promise<Bench> {
	const gatewayId = options.gatewayId ?? newGatewayId();
	const folder = await mkdtemp(join(tmpdir(), 'slipway-bench-'));
	const engine = new Engine({ socketPath: options.socketPath ?? ENGINE_SOCKET, log: SILENT_LOG });
	await engine.start();
	if (options.mayBeUnreachable !== true) assert.deepEqual(engine.state.reachable, true, JSON.stringify(engine.state));
	const launcher = new LocalLauncher({
		engine,
		log: SILENT_LOG,
		version: 'test',
		catalog: 'servers' in servers ? servers : createCatalog(servers),
		nodeImage: NODE_IMAGE,
		python: PYTHON,
		instancesMax: 32,
		gatewayId,
		fallbackGatewayId: gatewayId,
		hostDir: '/nowhere',
		fallbackHostDir: '/nowhere',
		mountRoots: [],
		secrets: NO_SECRETS,
		...options.launcher,
	});
	launcher.start();
	const containerOf = async ({ instance }: Channel): Promise<Docker.Container> => {
		const filters = JSON.stringify({ label: [`${LABELS.instance}=${instance}`] });
		const [found] = await docker.listContainers({ all: true, filters });
		assert.ok(found !== undefined, `no container of ${instance}`);
		return docker.getContainer(found.Id);
	};
	return {
		gatewayId,
		engine,
		launcher,
		folder,
		launch: (name, signal = neverAborted()) =>
			within(launcher.launch(name as ServerName, signal, 'test'), `the launch of ${name}`),
		containerOf,
		inspect: async (channel) => (await containerOf(channel)).inspect(),
		[Symbol.asyncDispose]: async () => {
			await within(launcher.stop(), 'the stop of the launcher');
			engine.stop();
			await rm(folder, { recursive: true });
			await assertNothingLeft(gatewayId);
		},
	};
}

/** That the engine has no container of the id. Its volumes, which outlive Instances by design, are removed. */
export async function assertNothingLeft(gatewayId: string): Promise<void> {
	const left = await containersOf(gatewayId);
	for (const { Id } of left) await docker.getContainer(Id).remove({ force: true, v: true });
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] });
	for (const { Name } of (await docker.listVolumes({ filters })).Volumes) await docker.getVolume(Name).remove();
	assert.deepEqual(
		left.map(({ Names, State }) => `${Names[0]} ${State}`),
		[],
		'containers are left',
	);
}

export interface Yard extends AsyncDisposable {
	readonly gatewayId: string;
	readonly boot: string;
	readonly engine: Engine;
	readonly oomWatch: OomWatch;
	start(server: Server, signal?: AbortSignal): Promise<ContainerChannel>;
}

/** Below the launcher: containers by themselves, each from the entry of its server. */
export async function openYard(socketPath: string = ENGINE_SOCKET): Promise<Yard> {
	const gatewayId = newGatewayId();
	const boot = randomUUID();
	const engine = new Engine({ socketPath, log: SILENT_LOG });
	await engine.start();
	const oomWatch = new OomWatch(engine, gatewayId);
	oomWatch.start();
	const channels: ContainerChannel[] = [];
	return {
		gatewayId,
		boot,
		engine,
		oomWatch,
		start: async (server, signal = neverAborted()) => {
			assert.ok(server.source.kind === 'image');
			const image = await inspectImage(engine, server.source.reference);
			assert.ok(image !== undefined, `no image ${server.source.reference}`);
			const instance = randomUUID() as InstanceId;
			const spec = buildSpec(server, image, { gateway: gatewayId, boot, instance, mountPlaces: [], volumeNames: [] });
			const channel = await startContainer({ engine, oomWatch }, spec, signal);
			channels.push(channel);
			return channel;
		},
		[Symbol.asyncDispose]: async () => {
			await within(Promise.all(channels.map((channel) => channel.stop('prompt'))), 'the stop of the channels');
			await oomWatch.stop();
			engine.stop();
			await assertNothingLeft(gatewayId);
		},
	};
}

/** What a server that ends by itself says on stdout. Its image is made first where it is not there. */
export async function said(bench: Bench, name: string): Promise<string> {
	const launching = bench.launcher.launch(name as ServerName, neverAborted(), 'test');
	const channel = await within(launching, `the launch of ${name}`, PREPARED_MS);
	const output = readText(channel.stream);
	await within(channel.ended, 'the end');
	return (await output).trim();
}
