/** Servers of test/fixtures as catalog entries, and the image that they run in. */
import { readFile } from 'node:fs/promises';
import Docker from 'dockerode';
import { type Catalog, createCatalog, type Server } from '../../src/catalog/catalog.ts';
import type { SecretsConfig } from '../../src/config.ts';
import type { ServerName } from '../../src/ids.ts';
import { INSTANCE_LIMITS } from '../../src/limits.ts';

/** Where there are no secrets. */
export const NO_SECRETS: SecretsConfig = {
	environment: new Map(),
	folders: [],
	storeDir: '/nowhere',
	keyFile: undefined,
};

/** Settings with which nothing is started before it is asked for, and one caller may do everything at once. */
export const BOUNDLESS = Object.freeze({
	SLIPWAY_WARM: '0',
	SLIPWAY_CALLS_PER_MINUTE: '0',
	SLIPWAY_CONTAINERS_PER_CALLER: '0',
	SLIPWAY_CALLS_IN_FLIGHT_PER_CALLER: '0',
});

/** The id of the container that this runs in, if it does. */
export async function findOwnContainer(): Promise<string | undefined> {
	const mounts = await readFile('/proc/self/mountinfo', 'utf8');
	return /\/containers\/([0-9a-f]{64})\/(?:hostname|hosts|resolv\.conf) /.exec(mounts)?.[1];
}

/** The image of this very test run: it has the fixtures at /app/test/fixtures and what they import. */
export async function fixtureImage(): Promise<string> {
	const self = await findOwnContainer();
	// Outside a container, scripts/test.ts builds it first.
	if (self === undefined) return 'slipway-test:local';
	return (await new Docker().getContainer(self).inspect()).Config.Image;
}

/** A catalog entry with every default. */
export function server(name: string, source: Server['source'], overrides: Partial<Server> = {}): Server {
	return {
		name: name as ServerName,
		enabled: true,
		source,
		command: [],
		args: [],
		env: {},
		secrets: [],
		volumes: [],
		mounts: [],
		egress: [],
		resources: { memoryBytes: 256 * 1024 ** 2, nanoCpus: 1e9, pidsMax: 128, tmpBytes: 32 * 1024 ** 2, shmBytes: 0 },
		user: { uid: 65_532, gid: 65_532 },
		callTimeoutMs: 60_000,
		idleStopMs: INSTANCE_LIMITS.idleStopMs,
		snapshot: false,
		pin: 'first-use',
		isolation: 'session',
		...overrides,
	};
}

/** A catalog entry that runs a file of test/fixtures. */
export function fixture(
	name: string,
	image: string,
	command: readonly string[],
	overrides: Partial<Server> = {},
): Server {
	const [file, ...args] = command;
	return server(
		name,
		{ kind: 'image', reference: image },
		{ command: ['node', `/app/test/fixtures/${file}`, ...args], ...overrides },
	);
}

export function catalogOf(...servers: readonly Server[]): Catalog {
	return createCatalog(servers);
}
