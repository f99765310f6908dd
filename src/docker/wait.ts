/**
 * Waiting for a container: the engine begins its answer as soon as it listens, and ends it with the container. dockerode
 * tells of neither, nor of an answer that breaks off.
 */
import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import { SlipwayError } from '../errors.ts';
import type { ContainerId } from '../ids.ts';
import { ENGINE_LIMITS } from '../limits.ts';
import { EngineRefusal } from './engine.ts';

/** Without a code when the container was gone already. */
export interface Exit {
	readonly code?: number;
}

export interface Wait {
	/** Never rejects: undefined when the engine's answer broke off, or `signal` was aborted. */
	readonly exit: Promise<Exit | undefined>;
}

interface WaitOptions {
	readonly condition: 'next-exit' | 'removed';
	/** Ends the wait; the engine may never answer for a container that was removed while it was asked. */
	readonly signal: AbortSignal;
}

/**
 * Resolves when the engine listens for it: what happens from then on is not missed.
 *
 * @throws EngineRefusal, SlipwayError SLIPWAY_ENGINE_UNREACHABLE, or the reason of `signal`
 */
export function waitFor(socketPath: string, id: ContainerId, { condition, signal }: WaitOptions): Promise<Wait> {
	const { promise, resolve, reject } = Promise.withResolvers<Wait>();
	const outgoing = request({
		socketPath,
		method: 'POST',
		path: `/v${ENGINE_LIMITS.apiVersionMin}/containers/${id}/wait?condition=${condition}`,
		headers: { Host: 'docker', 'Content-Length': '0' },
		agent: false,
		timeout: ENGINE_LIMITS.requestTimeoutMs,
		signal,
	});
	outgoing.once('response', (response) => {
		outgoing.setTimeout(0);
		if (response.statusCode === 200) return resolve({ exit: readExit(response) });
		response.resume();
		if (response.statusCode === 404) return resolve({ exit: Promise.resolve({}) });
		reject(new EngineRefusal(response.statusCode ?? 500, 'the engine would not wait'));
	});
	outgoing.once('timeout', () => outgoing.destroy(new Error('wait timed out')));
	// What breaks after the answer has begun is told by reading it.
	outgoing.on('error', (cause) => {
		if (signal.aborted) return reject(signal.reason);
		reject(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE', { reason: 'A wait for a container broke.' }, { cause }));
	});
	outgoing.end();
	return promise;
}

async function readExit(response: IncomingMessage): Promise<Exit | undefined> {
	const answer = (await json(response).catch(() => undefined)) as { readonly StatusCode?: unknown } | null | undefined;
	return typeof answer?.StatusCode === 'number' ? { code: answer.StatusCode } : undefined;
}
