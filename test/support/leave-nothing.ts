/** The end of a test that ran Slipway as processes of its own: they end, and no container of theirs may be left. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import type { SlipwayProcess } from './client-process.ts';

const docker = new Docker();

/** The containers of a gateway id. */
export function containersOfGateway(id: string): Promise<Docker.ContainerInfo[]> {
	return docker.listContainers({ all: true, filters: JSON.stringify({ label: [`${LABELS.gateway}=${id}`] }) });
}

export interface Remains {
	readonly id: string;
	/** Removed with all that is in it. */
	readonly folder: string;
	readonly processes: readonly SlipwayProcess[];
	/** How the processes end. */
	readonly signal: 'SIGTERM' | 'SIGKILL';
}

/** Ends the processes, and removes what is left of them; fails when that was any container. */
export async function leaveNothing({ id, folder, processes, signal }: Remains): Promise<void> {
	for (const { child, exited } of processes) {
		child.kill(signal);
		await exited;
	}
	const left = await containersOfGateway(id);
	for (const { Id } of left)
		await docker
			.getContainer(Id)
			.remove({ force: true })
			.catch(() => undefined);
	await rm(folder, { recursive: true });
	assert.deepEqual(
		left.map(({ Names, State }) => `${Names[0]} ${State}`),
		[],
		'containers are left',
	);
}
