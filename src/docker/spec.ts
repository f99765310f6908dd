/**
 * What a container is created with: a function of the catalog entry and the image, and of nothing that a client sends.
 *
 * Left out on purpose, each because a value could only weaken the engine's default: MaskedPaths, ReadonlyPaths,
 * seccomp, Binds, Devices, VolumesFrom, CapAdd, PidMode, UTSMode, UsernsMode, GroupAdd, ExtraHosts, PortBindings.
 * WorkingDir is the image's own, since commands are written relative to it.
 * `nproc` is left out because it counts over all containers of a uid; PidsLimit does what it is thought to do.
 */
import { createHash } from 'node:crypto';
import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import type { Server } from '../catalog/catalog.ts';
import { hashEntry } from '../catalog/entry-hash.ts';
import { SECRET_FILES } from '../catalog/secrets.ts';
import { SlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { SECRET_LIMITS } from '../limits.ts';
import { type Delivered, SHIM_ENTRYPOINT } from '../secrets/delivery.ts';
import { LABELS } from './labels.ts';

/** The image as the engine has it. */
export interface SpecImage {
	/** `sha256:…`, the content itself and not a name that may move. */
	readonly id: string;
	/** Paths that the image declares as volumes. */
	readonly volumePaths: readonly string[];
	/** What it runs by itself: Docker's Entrypoint and Cmd. */
	readonly entrypoint: readonly string[];
	readonly command: readonly string[];
}

/** A folder of the host, as a place in a volume. */
export interface MountVolume {
	/** The volume that stands for the root. */
	readonly volume: string;
	/** The folder of the host that it stands for. */
	readonly root: string;
	/** The way from there; empty for the root itself. */
	readonly subpath: string;
}

/** The one way out. */
export interface Egress {
	/** The network of the server. */
	readonly network: string;
	/** As in `http://198.18.0.2:3128`: by address, since nothing in that network resolves names. */
	readonly proxyUrl: string;
}

export interface SpecContext {
	readonly gateway: string;
	readonly boot: string;
	readonly instance: InstanceId;
	/** For each mount of the entry, in its order. */
	readonly mountPlaces: readonly MountVolume[];
	/** For each volume of the entry, in its order: the engine's name for it. */
	readonly volumeNames: readonly string[];
	/** There where the entry names hosts; without it there is no network at all. */
	readonly egress?: Egress;
	/** There where the entry names secrets. */
	readonly secrets?: { readonly delivered: readonly Delivered[]; readonly fingerprint: string };
}

export interface ContainerSpec {
	readonly server: ServerName;
	readonly instance: InstanceId;
	/** The hash of the catalog entry and the image. */
	readonly entryHash: string;
	readonly containerName: string;
	/** The folders of the host behind its volumes, by the volume's name: for words about what went wrong. */
	readonly hostFolders: Readonly<Record<string, string>>;
	readonly body: ContainerCreateOptions & { readonly HostConfig: HostConfig };
	/** What its entry point waits for on stdin. Nothing of the values is in the body. */
	readonly secrets: readonly Delivered[];
	/** Further values that are not shown of what it writes. */
	readonly hidden?: readonly Buffer[];
}

/** The hash of everything in a body that is not a label: two Instances with the same hash are alike. */
export function specHash(body: ContainerCreateOptions): string {
	const { Labels: _, ...rest } = body;
	return `sha256:${createHash('sha256').update(JSON.stringify(rest)).digest('hex')}`;
}

/**
 * The specification of one Instance.
 *
 * @throws SlipwayError SLIPWAY_IMAGE_REFUSED when the image declares a volume where none can be covered;
 *   SLIPWAY_COMMAND_INVALID when there is nothing to run
 */
export function buildSpec(server: Server, image: SpecImage, context: SpecContext): ContainerSpec {
	const { instance } = context;
	const body: ContainerSpec['body'] = {
		Image: image.id,
		...program(server, image),
		User: `${server.user.uid}:${server.user.gid}`,
		Env: [
			'HOME=/tmp',
			'TMPDIR=/tmp',
			...proxyEnv(context.egress),
			...Object.entries(server.env).map(([name, value]) => `${name}=${value}`),
		],
		...stdio(),
		HostConfig: {
			...confinement(),
			NetworkMode: context.egress?.network ?? 'none',
			IpcMode: server.resources.shmBytes > 0 ? 'private' : 'none',
			...(server.resources.shmBytes > 0 ? { ShmSize: server.resources.shmBytes } : {}),
			// Swap capped with memory: a limit that can be swapped around is none.
			Memory: server.resources.memoryBytes,
			MemorySwap: server.resources.memoryBytes,
			NanoCpus: server.resources.nanoCpus,
			PidsLimit: server.resources.pidsMax,
			Tmpfs: tmpfs(server, image),
			Mounts: mounts(server, context),
		},
	};
	body.Labels = {
		[LABELS.gateway]: context.gateway,
		[LABELS.boot]: context.boot,
		[LABELS.server]: server.name,
		[LABELS.instance]: instance,
		[LABELS.spec]: specHash(body),
	};
	return {
		server: server.name,
		instance,
		entryHash: hashEntry(server, image.id, context.secrets?.fingerprint),
		containerName: `slipway-${server.name}-${instance.slice(0, 8)}`,
		hostFolders: Object.fromEntries(context.mountPlaces.map(({ volume, root }) => [volume, root])),
		body,
		secrets: context.secrets?.delivered ?? [],
	};
}

/** What runs. With secrets it is a shell, which takes them in and then becomes what would have run without. */
function program(server: Server, image: SpecImage): Pick<ContainerCreateOptions, 'Entrypoint' | 'Cmd'> {
	const command = [...server.command, ...server.args];
	if (server.secrets.length === 0) return command.length > 0 ? { Cmd: command } : {};
	const words = [...image.entrypoint, ...(command.length > 0 ? command : image.command)];
	if (words.length === 0) throw new SlipwayError('SLIPWAY_COMMAND_INVALID', { server: server.name });
	return { Entrypoint: [...SHIM_ENTRYPOINT], Cmd: words };
}

/**
 * How the HTTP stacks are told of a proxy. curl reads http_proxy in small letters only, Go, Python and most others take
 * either, and Node's own fetch and http nothing without its switch. What a server says to itself goes by no proxy.
 */
function proxyEnv(egress: Egress | undefined): string[] {
	if (egress === undefined) return [];
	const values = [
		...['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'].map((name) => [name, egress.proxyUrl] as const),
		['NO_PROXY', 'localhost,127.0.0.1,::1'] as const,
	];
	return [
		...values.flatMap(([name, value]) => [`${name}=${value}`, `${name.toLowerCase()}=${value}`]),
		'NODE_USE_ENV_PROXY=1',
	];
}

/** OpenStdin with StdinOnce: the engine closes the server's stdin when our connection goes, however it goes. */
export function stdio(): ContainerCreateOptions {
	return {
		Hostname: 'mcp',
		Tty: false,
		OpenStdin: true,
		StdinOnce: true,
		AttachStdin: true,
		AttachStdout: true,
		AttachStderr: true,
		StopSignal: 'SIGTERM',
		StopTimeout: 5,
		// An image's own health check would run inside the sandbox for nobody.
		Healthcheck: { Test: ['NONE'] },
	};
}

/** What every container of ours has, whatever runs in it. */
export function confinement(): HostConfig & { readonly CgroupnsMode: 'private' } {
	return {
		AutoRemove: true,
		Init: true,
		ReadonlyRootfs: true,
		Privileged: false,
		CapDrop: ['ALL'],
		SecurityOpt: ['no-new-privileges:true'],
		CgroupnsMode: 'private',
		CpuShares: 256,
		OomScoreAdj: 500,
		Ulimits: [
			{ Name: 'nofile', Soft: 1024, Hard: 1024 },
			{ Name: 'core', Soft: 0, Hard: 0 },
		],
		// The engine's default would write every message, secrets and all, to the host's disk.
		LogConfig: { Type: 'none', Config: {} },
		RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
	};
}

/** The options of a writable, bounded, non-executable memory file system. */
export function tmpfsOptions(bytes: number): string {
	return `rw,noexec,nosuid,nodev,size=${bytes},nr_inodes=8192,mode=1777`;
}

/** For files that nobody but the server's user may look at. */
function secretFilesOptions({ user: { uid, gid } }: Server): string {
	return `rw,noexec,nosuid,nodev,size=${SECRET_LIMITS.filesBytesMax},nr_inodes=64,mode=0700,uid=${uid},gid=${gid}`;
}

/**
 * A volume that an image declares would be writable, unbounded and on the host's disk, read-only root or not.
 * Each is covered by a memory file system, unless the catalog mounts something there.
 */
function tmpfs(server: Server, image: SpecImage): Record<string, string> {
	const options = tmpfsOptions(server.resources.tmpBytes);
	const covered: Record<string, string> = { '/tmp': options };
	const mounted = new Set([...server.volumes, ...server.mounts].map(({ target }) => target));
	for (const declared of image.volumePaths) {
		const path = declared.replace(/\/+$/, '');
		if (!/^\/[^/,:]+(?:\/[^/,:]+)*$/.test(path) || path.split('/').some((part) => part === '.' || part === '..')) {
			throw new SlipwayError('SLIPWAY_IMAGE_REFUSED', {
				server: server.name,
				reason: `It declares a volume at ${JSON.stringify(declared)}, which cannot be covered.`,
			});
		}
		if (!mounted.has(path)) covered[path] = options;
	}
	if (server.secrets.some(({ file }) => file !== undefined)) covered[SECRET_FILES] = secretFilesOptions(server);
	return covered;
}

/** NoCopy: the image's content at that place would bring the image's owner with it. */
export const VOLUME_OPTIONS = Object.freeze({
	NoCopy: true,
	Labels: {},
	DriverConfig: { Name: 'local', Options: {} },
});

/**
 * Folders of the host are mounted as volumes too, each a volume of its root with a way from there: so the Engine itself
 * makes sure, when it mounts, that no link leads out of the root. A bind of the path would follow any.
 */
function mounts(server: Server, { mountPlaces, volumeNames }: SpecContext): NonNullable<HostConfig['Mounts']> {
	return [
		...server.mounts.map(({ target, readOnly }, index) => {
			const { volume = '', subpath = '' } = mountPlaces[index] ?? {};
			return {
				Type: 'volume' as const,
				Source: volume,
				Target: target,
				ReadOnly: readOnly,
				VolumeOptions: { ...VOLUME_OPTIONS, ...(subpath === '' ? {} : { Subpath: subpath }) },
			};
		}),
		...server.volumes.map(({ target }, index) => ({
			Type: 'volume' as const,
			Source: volumeNames[index] ?? '',
			Target: target,
			ReadOnly: false,
			VolumeOptions: VOLUME_OPTIONS,
		})),
	];
}
