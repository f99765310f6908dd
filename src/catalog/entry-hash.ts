import { createHash } from 'node:crypto';
import type { Server } from './catalog.ts';

/** What is said of a server, or of how it is used, and not of what runs: its containers are the same with another. */
const NOT_OF_CONTAINERS: ReadonlySet<string> = new Set([
	'title',
	'description',
	'enabled',
	'callTimeoutMs',
	'idleStopMs',
	'snapshot',
	'warm',
	'tools',
	'pin',
	'callsPerMinute',
	'audit',
	'callsInFlight',
	'containers',
] satisfies (keyof Server)[]);

/** Whether another value of a field makes other containers. */
export function changesContainers(field: string): boolean {
	return !NOT_OF_CONTAINERS.has(field);
}

/**
 * A name for the containers that an entry and an image make together, as `sha256:…`: the same for the same two, whichever
 * process asks, and another as soon as anything in either is that makes another container. An image that is not known yet,
 * undefined, counts as one of its own. Where the entry names secrets, `secrets` stands for their values.
 *
 * It is not the hash on the container (specHash): that one depends on what the engine calls the volumes.
 */
export function hashEntry(server: Server, imageId: string | undefined, secrets?: string): string {
	const made = Object.fromEntries(Object.entries(server).filter(([member]) => changesContainers(member)));
	const text = JSON.stringify([made, imageId ?? null, ...(secrets === undefined ? [] : [secrets])]);
	return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
