/**
 * The raw attach: a container's stdio over one hijacked connection.
 *
 * dockerode's attach always sends a body, and an engine behind a slow socket hands a late body to the container's
 * stdin. So: no body, and no byte before the 101, since the engine drops those that come earlier.
 */
import type { Socket } from 'node:net';
import type { ContainerId } from '../ids.ts';
import { EngineRefusal } from './engine.ts';
import { postRaw } from './raw-request.ts';

/**
 * Attaches to a container that is created and not started yet.
 *
 * @returns the connection, paused, with an error listener in place. Writing is stdin; `end()` is the end of stdin;
 *   reading gives the frames of frames.ts.
 * @throws SlipwayError SLIPWAY_ENGINE_UNREACHABLE, EngineRefusal, or the reason of `signal`
 */
export function attach(socketPath: string, container: ContainerId, signal: AbortSignal): Promise<Socket> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const outgoing = postRaw({
		socketPath,
		path: `/containers/${container}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
		headers: { Connection: 'Upgrade', Upgrade: 'tcp' },
		signal,
		what: 'The attach to a container',
		onFailure: reject,
	});
	outgoing.once('upgrade', (_, socket: Socket, head: Buffer) => {
		// An error says no more than the close that follows it.
		socket.on('error', () => undefined);
		socket.setTimeout(0);
		socket.pause();
		if (head.length > 0) socket.unshift(head);
		resolve(socket);
	});
	outgoing.once('response', (response) => {
		response.resume();
		reject(new EngineRefusal(response.statusCode ?? 500, 'the engine did not upgrade the attach'));
	});
	return promise;
}
