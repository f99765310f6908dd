/** Requests that dockerode does not serve: attach, which it sends with a body, and wait, of which it tells too little. */
import { type ClientRequest, request } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { ENGINE_LIMITS } from '../limits.ts';

export interface RawRequest {
	readonly socketPath: string;
	/** Below the version of the API. */
	readonly path: string;
	readonly headers?: Readonly<Record<string, string>>;
	/** Ends it anywhere, also in the middle of an answer. */
	readonly signal: AbortSignal;
	/** For the sentence about what went wrong: `The attach to a container`. */
	readonly what: string;
	/** What came instead of an answer: SLIPWAY_ENGINE_UNREACHABLE, or the reason of `signal`. */
	readonly onFailure: (error: unknown) => void;
}

/**
 * Posts to the engine on a connection of its own, and without a body. There is so much time for its answer to begin; from
 * then on `setTimeout(0)` is for whoever reads it.
 */
export function postRaw({ socketPath, path, headers = {}, signal, what, onFailure }: RawRequest): ClientRequest {
	const outgoing = request({
		socketPath,
		method: 'POST',
		path: `/v${ENGINE_LIMITS.apiVersionMin}${path}`,
		headers: { Host: 'docker', 'Content-Length': '0', ...headers },
		agent: false,
		timeout: ENGINE_LIMITS.requestTimeoutMs,
		signal,
	});
	outgoing.once('timeout', () => outgoing.destroy(new Error('it timed out')));
	// What breaks after an answer has begun is told by reading it.
	outgoing.on('error', (cause) => {
		if (signal.aborted) return onFailure(signal.reason);
		onFailure(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE', { reason: `${what} broke.` }, { cause }));
	});
	outgoing.end();
	return outgoing;
}
