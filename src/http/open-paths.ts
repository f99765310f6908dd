/**
 * What is answered without a key, all of it. Whatever else there is or comes is behind the door: the listener
 * authenticates every other request before any router sees it.
 */
import type { IncomingMessage } from 'node:http';
import { pathOf } from './guards.ts';
import { matchMetadataPath } from './oauth/resource-metadata.ts';

/** They start no container, make no session, and say no more than whether we live. */
const OPEN: ReadonlySet<string> = new Set(['/health', '/ready']);

/** @param tokens whether clients are told where to get a token, which they ask for before they have one */
export function isOpen(request: IncomingMessage, tokens: boolean): boolean {
	if (request.method !== 'GET' && request.method !== 'HEAD') return false;
	const path = pathOf(request);
	return OPEN.has(path) || (tokens && matchMetadataPath(path) !== undefined);
}
