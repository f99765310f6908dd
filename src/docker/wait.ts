/**
 * Waiting for a container: the engine begins its answer as soon as it listens, and ends it with the container. dockerode
 * tells of neither, nor of an answer that breaks off.
 */
import type { IncomingMessage } from 'node:http';
import { json } from 'node:stream/consumers';
import type { ContainerId } from '../ids.ts';
import { EngineRefusal } from './engine.ts';
import { postRaw } from './raw-request.ts';

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
	const path = `/containers/${id}/wait?condition=${condition}`;
	const outgoing = postRaw({ socketPath, path, signal, what: 'A wait for a container', onFailure: reject });
	outgoing.once('response', (response) => {
		outgoing.setTimeout(0);
		if (response.statusCode === 200) return resolve({ exit: readExit(response) });
		response.resume();
		if (response.statusCode === 404) return resolve({ exit: Promise.resolve({}) });
		reject(new EngineRefusal(response.statusCode ?? 500, 'the engine would not wait'));
	});
	return promise;
}

async function readExit(response: IncomingMessage): Promise<Exit | undefined> {
	const answer = (await json(response).catch(() => undefined)) as { readonly StatusCode?: unknown } | null | undefined;
	return typeof answer?.StatusCode === 'number' ? { code: answer.StatusCode } : undefined;
}
