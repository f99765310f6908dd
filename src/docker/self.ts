/** What the engine knows of the container that this process runs in, if it runs in one. */
import { readFile } from 'node:fs/promises';
import type { Engine } from './engine.ts';

export interface Self {
	/** The name of the container, without a slash. Unique on its engine. */
	readonly containerName: string;
	/** `sha256:…`, of the image that it was made of. */
	readonly imageId: string;
	/** The project's name and its folder on the host, where compose made the container. */
	readonly compose?: { readonly project: string; readonly folder: string };
}

/** Undefined when this process runs in no container of this engine. */
export async function inspectSelf(engine: Engine): Promise<Self | undefined> {
	const id = await ownContainerId();
	if (id === undefined) return undefined;
	const found = await engine.callIfThere((docker) => docker.getContainer(id).inspect());
	if (found === undefined) return undefined;
	const project = found.Config.Labels['com.docker.compose.project'];
	const folder = found.Config.Labels['com.docker.compose.project.working_dir'];
	return {
		containerName: found.Name.replace(/^\//, ''),
		imageId: found.Image,
		// Images that compose built carry the project's label too, and `docker run` passes it on; the folder's they do not.
		...(project === undefined || folder === undefined ? {} : { compose: { project, folder } }),
	};
}

/** From the files that the engine mounts into every container; the host name may be anything. */
async function ownContainerId(): Promise<string | undefined> {
	const mounts = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
	return /\/containers\/([0-9a-f]{64})\/(?:hostname|hosts|resolv\.conf) /.exec(mounts)?.[1];
}
