/** The throw-away containers in which packages are resolved and installed. */
import { randomUUID } from 'node:crypto';
import type { InstanceId, ServerName } from '../ids.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import { type Delivered, SHIM_ENTRYPOINT } from '../secrets/delivery.ts';
import { LABELS } from './labels.ts';
import type { PackageContext } from './package-image.ts';
import { type ContainerSpec, confinement, stdio, tmpfsOptions } from './spec.ts';

export interface Workshop {
	/** The image that the package manager is in. */
	readonly baseId: string;
	readonly command: readonly string[];
	readonly context: PackageContext;
	readonly env?: readonly string[];
	/** Default: it may ask registries. */
	readonly network?: 'bridge' | 'none';
	/**
	 * Whether it may write all over its own file system, on the engine's disk, and run what it wrote: to install packages.
	 * It is root then, who owns those files, and has no capability.
	 */
	readonly writable?: boolean;
	/** As servers are given them: over stdin, and into memory. */
	readonly secrets?: readonly Delivered[];
	/** Values that are not shown of what it writes, however it came by them. */
	readonly hidden?: readonly Buffer[];
	/** Of its memory, and of its /tmp, which is in it, where they are others than those of a resolver or an installer. */
	readonly memoryBytes?: number;
	readonly tmpBytes?: number;
}

/** As hardened as a server's container, but for the network that it is there to use. */
export function workshopSpec({ baseId, command, context, writable = false, ...rest }: Workshop): ContainerSpec {
	const { env = [], network = 'bridge', secrets = [], hidden } = rest;
	const instance = randomUUID() as InstanceId;
	const server = (writable ? 'slipway-installer' : 'slipway-resolver') as ServerName;
	const { installMemoryBytesMax, resolveMemoryBytesMax } = PREPARATION_LIMITS;
	const { memoryBytes = writable ? installMemoryBytesMax : resolveMemoryBytesMax } = rest;
	const { tmpBytes = resolveMemoryBytesMax / 2 } = rest;
	const filesMax = PREPARATION_LIMITS.openFilesMax;
	return {
		server,
		instance,
		entryHash: '',
		containerName: `${server}-${instance.slice(0, 8)}`,
		hostFolders: {},
		secrets,
		...(hidden === undefined ? {} : { hidden }),
		body: {
			...stdio(),
			Image: baseId,
			...(secrets.length === 0 ? {} : { Entrypoint: [...SHIM_ENTRYPOINT] }),
			Cmd: [...command],
			User: writable ? '0:0' : '65532:65532',
			WorkingDir: writable ? '/' : '/tmp',
			Env: ['HOME=/tmp', `TMPDIR=${writable ? '/var/tmp' : '/tmp'}`, ...env],
			Labels: {
				[LABELS.gateway]: context.gateway,
				[LABELS.boot]: context.boot,
				[LABELS.server]: server,
				[LABELS.instance]: instance,
			},
			HostConfig: {
				...confinement(),
				...(writable
					? {
							ReadonlyRootfs: false,
							Ulimits: [
								{ Name: 'nofile', Soft: filesMax, Hard: filesMax },
								{ Name: 'core', Soft: 0, Hard: 0 },
							],
						}
					: {}),
				NetworkMode: network,
				IpcMode: 'none',
				Memory: memoryBytes,
				MemorySwap: memoryBytes,
				NanoCpus: 2e9,
				PidsLimit: 256,
				Tmpfs: { '/tmp': tmpfsOptions(tmpBytes) },
			},
		},
	};
}
