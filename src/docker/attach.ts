/**
 * The raw attach: a container's stdio over one hijacked connection.
 *
 * dockerode's attach always sends a body, and an engine behind a slow socket hands a late body to the container's
 * stdin. So: no body, and no byte before the 101, since the engine drops those that come earlier.
 */
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { SlipwayError } from '../errors.ts';
import type { ContainerId } from '../ids.ts';
import { ENGINE_LIMITS } from '../limits.ts';
import { EngineRefusal } from './engine.ts';

/**
 * Attaches to a container that is created and not started yet.
 *
 * @returns the connection, paused, with an error listener in place. Writing is stdin; `end()` is the end of stdin;
 *   reading gives the frames of frames.ts.
 * @throws SlipwayError SLIPWAY_ENGINE_UNREACHABLE, EngineRefusal, or the reason of `signal`
 */
export function attach(socketPath: string, container: ContainerId, signal: AbortSignal): Promise<Socket> {
	const { promise, resolve, reject } = Promise.withResolvers<Socket>();
	const outgoing = request({
		socketPath,
		method: 'POST',
		path: `/v${ENGINE_LIMITS.apiVersionMin}/containers/${container}/attach?stream=1&stdin=1&stdout=1&stderr=1`,
		headers: { Host: 'docker', Connection: 'Upgrade', Upgrade: 'tcp', 'Content-Length': '0' },
		agent: false,
		timeout: ENGINE_LIMITS.requestTimeoutMs,
		signal,
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
	outgoing.once('timeout', () => outgoing.destroy(new Error('attach timed out')));
	outgoing.on('error', (cause) => {
		if (signal.aborted) return reject(signal.reason);
		reject(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE', { reason: 'The attach to a container broke.' }, { cause }));
	});
	outgoing.end();
	return promise;
}
