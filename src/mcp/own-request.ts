/** Requests that Slipway makes of a server for itself, and answers that it gives for one. */
import { SlipwayError } from '../errors.ts';
import type { Call, LegacyServer, Question, Reply } from './exchange.ts';
import { type RequestMessage, type ResponseMessage, type RpcId, requestText, resultText } from './jsonrpc.ts';

/** A server's answer, as it came and as it was read. */
export interface Answer {
	readonly text: string;
	readonly message: ResponseMessage;
}

/** Any: an Upstream gives each request an id of its own. */
const OWN_ID = 'slipway';

/** Makes a request and resolves with the answer, also when that is an error. Rejects with a SlipwayError. */
export function ask(
	server: LegacyServer,
	method: string,
	params: object,
	{ timeoutMs, onCall }: { timeoutMs: number; onCall?: (call: Call) => void },
): Promise<Answer> {
	const message: RequestMessage = { kind: 'request', id: OWN_ID, method, params };
	return askWith(server, requestText(OWN_ID, method, params), message, { timeoutMs, ...(onCall && { onCall }) });
}

/** The same with a request that somebody else wrote, and takes no messages but the answer. */
export async function askWith(
	server: LegacyServer,
	text: string,
	message: RequestMessage,
	{ timeoutMs, onCall }: { timeoutMs: number; onCall?: (call: Call) => void },
): Promise<Answer> {
	const { promise, resolve, reject } = Promise.withResolvers<Answer>();
	const call = server.request(text, message, {
		timeoutMs,
		exchange: {
			takes: () => false,
			tell: () => undefined,
			ask: () => undefined,
			answer: (answer, response) => resolve({ text: answer, message: response }),
			fail: (_, error) => reject(error),
			drop: () => reject(new SlipwayError('SLIPWAY_SESSION_ENDED')),
		},
	});
	onCall?.(call);
	return await promise;
}

/** Answers a server's ping in the place of its client. Returns false for any other question. */
export function answerPing({ message, answer }: Question): boolean {
	if (message.method !== 'ping') return false;
	const { id } = message;
	try {
		answer(resultText(id, {}), { kind: 'response', id, ok: true, result: {} });
	} catch (error) {
		// A server that does not read goes without.
		if (!(error instanceof SlipwayError)) throw error;
	}
	return true;
}

/** Answers a request in the place of its server. */
export function answerWith(reply: Pick<Reply, 'answer'>, id: RpcId, result: object): void {
	reply.answer(resultText(id, result), { kind: 'response', id, ok: true, result });
}
