/**
 * Streamable HTTP, revision 2026-07-28: every request stands for itself. Its headers repeat what its body says, its
 * answer comes on its own response, and a client that hangs up withdraws it.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
 */
import { RPC_CODES, SlipwayError } from '../errors.ts';
import { decodeHeader, findMismatch } from '../mcp/header-params.ts';
import { own, type RequestMessage, type ResponseMessage } from '../mcp/jsonrpc.ts';
import type { ModernRequest } from '../mcp/modern-server.ts';
import { refuseRemovedMethod } from '../mcp/revisions.ts';
import type { Callers } from './callers.ts';
import { HttpReply } from './reply.ts';
import { sendMessage } from './respond.ts';
import type { Visit } from './visit.ts';

/** Which of the params Mcp-Name repeats, by method; the last three are of the extension for tasks. */
const NAME_SOURCES: ReadonlyMap<string, string> = new Map([
	['tools/call', 'name'],
	['prompts/get', 'name'],
	['resources/read', 'uri'],
	['tasks/get', 'taskId'],
	['tasks/update', 'taskId'],
	['tasks/cancel', 'taskId'],
]);

/** The statuses that the revision asks for with errors that come as the whole answer. */
const STATUS_OF_ERROR: ReadonlyMap<number, number> = new Map([
	[RPC_CODES.methodNotFound, 404],
	[RPC_CODES.headerMismatch, 400],
	[RPC_CODES.capabilityMissing, 400],
	[RPC_CODES.protocolVersion, 400],
]);

/** One request. Throws a SlipwayError for what is refused before a server hears of it. */
export function serveModern({ conversations }: Callers, visit: Visit, request: ModernRequest): void {
	const { message } = request;
	checkHeaders(visit, message);
	refuseRemovedMethod(message.method);
	const known = conversations.has(visit, request) ? undefined : visit.target.known(request, visit.principal.id);
	if (known !== undefined) return answerKnown(visit, message, known);
	// Nothing is started for a call that there is no place for.
	const leave = visit.budgets.enter(visit.principal, visit.target, message);
	const conversation = orLeave(leave, () => conversations.find(visit, request));
	const reply = new HttpReply({
		request: visit.request,
		response: visit.response,
		requestId: visit.requestId,
		expected: 1,
		headers: {},
		challenge: visit.challenge,
		hold: () => conversation.hold(),
		replay: undefined,
		primed: false,
		statusOf,
		onSettled: (_, complete) => {
			leave();
			conversation.leave(watched, complete);
			// Also one that no server has heard of yet.
			if (!complete) visit.calls.end('cancelled');
		},
	});
	const watched = visit.calls.watch(message, reply);
	void conversation.serve(request, watched);
}

/** What a function returns; the place is given back where it throws. */
function orLeave<T>(leave: () => void, run: () => T): T {
	try {
		return run();
	} catch (error) {
		leave();
		throw error;
	}
}

/** Answers with what the server has said before, and starts nothing. */
function answerKnown({ response, requestId }: Visit, { id }: RequestMessage, result: string): void {
	sendMessage(response, `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`, { requestId });
}

function statusOf(answer: ResponseMessage): number {
	return answer.ok ? 200 : (STATUS_OF_ERROR.get(answer.error.code) ?? 200);
}

function checkHeaders({ request: { headers }, target }: Visit, { method, params = {} }: RequestMessage): void {
	if (headers['mcp-method'] !== method) throw mismatch('Mcp-Method must be there and be the same as `method`.');
	const source = NAME_SOURCES.get(method);
	if (source === undefined) return;
	const value = own(params, source);
	const name = headers['mcp-name'];
	// Without the value the server refuses the request; a header alone says nothing.
	if (name === undefined && typeof value !== 'string') return;
	if (typeof name !== 'string' || decodeHeader(name) !== value)
		throw mismatch(`Mcp-Name must be there and be the same as \`params.${source}\`.`);
	if (method !== 'tools/call') return;
	const wrong = findMismatch(target.headerParams(String(value)), own(params, 'arguments'), headers);
	if (wrong !== undefined) throw mismatch(wrong);
}

function mismatch(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_HEADER_MISMATCH', { reason });
}
