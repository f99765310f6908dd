/** What no list names is put to one server after the other: the first that answers without an error knows it. */
import { SlipwayError } from '../../errors.ts';
import { AGGREGATE_LIMITS } from '../../limits.ts';
import { errorText, type RequestMessage, type RpcError } from '../jsonrpc.ts';
import type { Answer } from '../own-request.ts';
import { notFound, saysNotFound } from './capabilities.ts';
import { within } from './within.ts';

export interface SearchOptions<C> {
	/** The servers that may know it, in the order of their precedence. */
	readonly candidates: readonly C[];
	/** Puts the request to one. Rejects with a SlipwayError. */
	readonly ask: (candidate: C) => Promise<Answer>;
	/** The code that says, in the era of the client, that nobody knows it. */
	readonly notFoundCode: number;
	/** Whether nobody waits any more. */
	readonly isOver: () => boolean;
}

/**
 * Resolves with the answer of who knows it, or else with a refusal: that of a server that had more to say than that it
 * does not know it, or one of ours. The answer's id is not the request's.
 *
 * @throws SlipwayError when nobody knew it, and a server that may have known said nothing in time, or ended
 */
export async function search<C>(message: RequestMessage, options: SearchOptions<C>): Promise<Answer> {
	const { candidates, ask, notFoundCode, isOver } = options;
	let refusal: RpcError = notFound(message, notFoundCode);
	let failure: SlipwayError | undefined;
	for (const candidate of candidates) {
		if (isOver()) break;
		const answer = await within(ask(candidate), AGGREGATE_LIMITS.listWaitMs).catch((error: unknown) => {
			if (!(error instanceof SlipwayError)) throw error;
			return error;
		});
		if (answer instanceof SlipwayError) failure ??= answer;
		else if (answer === undefined) failure ??= new SlipwayError('SLIPWAY_CALL_TIMEOUT');
		else if (answer.message.ok) return answer;
		else if (!saysNotFound(answer.message.error)) refusal = answer.message.error;
	}
	if (failure !== undefined) throw failure;
	const { id } = message;
	return { text: errorText(id, refusal), message: { kind: 'response', id, ok: false, error: refusal } };
}
