/**
 * Named volumes: what a server may keep.
 *
 * A new volume belongs to root, and the server is nobody. It is given to the server's user by writing a directory
 * entry through the engine, into a container that is created for that and never started: nothing runs as root.
 */
import { createHash, randomUUID } from 'node:crypto';
import { basename, dirname } from 'node:path/posix';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import type { Server } from '../catalog/catalog.ts';
import type { ContainerId } from '../ids.ts';
import { removeContainer } from './container.ts';
import type { Engine } from './engine.ts';
import { LABELS } from './labels.ts';
import { VOLUME_OPTIONS } from './spec.ts';

const MOUNT_POINT = '/slipway/volume';

export interface VolumeContext {
	readonly gateway: string;
	readonly boot: string;
	/** The books of what is ours and alive; what is in them is not swept. */
	readonly books: Set<string>;
	/** An image that the engine has; nothing of it runs. */
	readonly imageId: string;
}

/** The engine's name for a volume of the catalog. Two deployments on one engine do not share any. */
export function volumeName(gateway: string, name: string): string {
	return `slipway-${gateway}-${name}`;
}

/**
 * The engine's name for the volume that stands for a folder of the host. It holds nothing itself: to remove it removes
 * no file. Made where it is not there; to make it again changes nothing.
 */
export async function ensureRootVolume(
	engine: Engine,
	root: string,
	{ gateway, boot }: VolumeContext,
): Promise<string> {
	const name = `slipway-${gateway}-root-${createHash('sha256').update(root).digest('hex').slice(0, 12)}`;
	await engine.call((docker) =>
		docker.createVolume({
			Name: name,
			Driver: 'local',
			DriverOpts: { type: 'none', o: 'bind', device: root },
			Labels: { [LABELS.gateway]: gateway, [LABELS.boot]: boot },
		}),
	);
	return name;
}

/** The engine's names for the volumes of a server, in their order, made where they are not there yet. */
export async function ensureVolumes(engine: Engine, server: Server, context: VolumeContext): Promise<string[]> {
	const names: string[] = [];
	for (const volume of server.volumes) {
		const name = volumeName(context.gateway, volume.name);
		const found = await engine.callIfThere((docker) => docker.getVolume(name).inspect());
		if (found === undefined) await createVolume(engine, { name, server, context });
		names.push(name);
	}
	return names;
}

async function createVolume(
	engine: Engine,
	{ name, server, context }: { name: string; server: Server; context: VolumeContext },
): Promise<void> {
	const instance = randomUUID();
	const labels = {
		[LABELS.gateway]: context.gateway,
		[LABELS.boot]: context.boot,
		[LABELS.server]: server.name,
		[LABELS.instance]: instance,
	};
	context.books.add(instance);
	await engine.call((docker) => docker.createVolume({ Name: name, Driver: 'local', Labels: labels }));
	try {
		await giveTo(engine, { name, server, context, labels });
	} catch (error) {
		// A volume of the wrong owner would be found, and taken for good, the next time.
		await engine.callIfThere((docker) => docker.getVolume(name).remove());
		throw error;
	} finally {
		context.books.delete(instance);
	}
}

interface Gift {
	readonly name: string;
	readonly server: Server;
	readonly context: VolumeContext;
	readonly labels: Readonly<Record<string, string>>;
}

async function giveTo(engine: Engine, { name, server, context, labels }: Gift): Promise<void> {
	const created = await engine.call((docker) =>
		docker.createContainer({
			Image: context.imageId,
			Cmd: ['never-started'],
			Labels: labels,
			HostConfig: {
				NetworkMode: 'none',
				Mounts: [
					{
						Type: 'volume',
						Source: name,
						Target: MOUNT_POINT,
						ReadOnly: false,
						VolumeOptions: VOLUME_OPTIONS,
					},
				],
			},
		}),
	);
	try {
		const tar = pack();
		tar.entry({
			name: `${basename(MOUNT_POINT)}/`,
			type: 'directory',
			mode: 0o700,
			uid: server.user.uid,
			gid: server.user.gid,
			mtime: new Date(),
		});
		tar.finalize();
		const archive = await buffer(tar);
		await engine.call((docker) => docker.getContainer(created.id).putArchive(archive, { path: dirname(MOUNT_POINT) }));
	} finally {
		await removeContainer(engine, created.id as ContainerId);
	}
}
