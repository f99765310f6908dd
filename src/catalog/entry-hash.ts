import { createHash } from 'node:crypto';
import type { Server } from './catalog.ts';

/**
 * A name for what an entry and an image make together, as `sha256:…`: the same for the same two, whichever process
 * asks, and another as soon as anything in either is. An image that is not known yet, undefined, counts as one of its own.
 *
 * It is not the hash on the container (specHash): that one depends on what the engine calls the volumes, and leaves out
 * what has nothing to do with the container, as the title.
 */
export function hashEntry(server: Server, imageId: string | undefined): string {
	const text = JSON.stringify([server, imageId ?? null]);
	return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
