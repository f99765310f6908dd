/**
 * Waiting for a container: the engine begins its answer at once, and ends it with the container. dockerode does not tell
 * of an answer that breaks off, and whoever waits would wait for good.
 */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { json } from 'node:stream/consumers';
import type { ContainerId } from '../ids.ts';
import { ENGINE_LIMITS } from '../limits.ts';
import { EngineRefusal } from './engine.ts';

/** Without a code when the container was gone already. */
export interface Exit {
	readonly code?: number;
}

interface WaitOptions {
	readonly condition: 'next-exit' | 'removed';
	readonly signal?: AbortSignal;
}

/** Rejects when the engine does not answer or refuses, and when its answer breaks off. */
export async function waitFor(socketPath: string, id: ContainerId, { condition, signal }: WaitOptions): Promise<Exit> {
	const outgoing = request({
		socketPath,
		method: 'POST',
		path: `/v${ENGINE_LIMITS.apiVersionMin}/containers/${id}/wait?condition=${condition}`,
		headers: { Host: 'docker', 'Content-Length': '0' },
		agent: false,
		...(signal === undefined ? {} : { signal }),
	});
	// What breaks after the answer has begun is told by reading it.
	outgoing.on('error', () => undefined);
	outgoing.end();
	const [response]: IncomingMessage[] = await once(outgoing, 'response');
	if (response?.statusCode !== 200) {
		response?.resume();
		if (response?.statusCode === 404) return {};
		throw new EngineRefusal(response?.statusCode ?? 500, 'the engine would not wait');
	}
	const { StatusCode } = (await json(response)) as { StatusCode: number };
	return { code: StatusCode };
}
