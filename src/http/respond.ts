/** How errors of the table become HTTP answers. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS, SSE_LIMITS } from '../limits.ts';
import { errorText, type RpcId } from '../mcp/jsonrpc.ts';
import { BACKLOG } from './backlog.ts';

/** The JSON-RPC error of an error of the table, as text. */
export function toRpcText(id: RpcId | null, error: SlipwayError, requestId: string | undefined): string {
	const { row, code, details } = error;
	const { retryAfterSeconds: _, ...told } = details;
	return errorText(id, {
		code: row.rpcCode,
		message: error.message,
		data: { code, nextStep: row.nextStep, retryable: row.retryable, ...told, requestId },
	});
}

/** Headers that every answer of ours has, beside those that the listener sets (answer-headers.ts). */
export const COMMON_HEADERS: Readonly<Record<string, string>> = Object.freeze({
	'cache-control': 'no-store',
});

/** Ends an answer, and the connection with it if the client then takes nothing of it for long. */
export function endWithin(response: ServerResponse, text = ''): void {
	response.end(text);
	BACKLOG.note(response);
	// Nearly every answer is in the socket's own buffer by now, and needs no timer.
	if (response.writableLength > response.writableHighWaterMark) {
		response.setTimeout(SSE_LIMITS.stallMs, () => response.destroy());
	}
}

/** Answers with a JSON-RPC message as the whole of the body. */
export function sendMessage(
	response: ServerResponse,
	text: string,
	{ requestId, status = 200, headers = {} }: { requestId: string; status?: number; headers?: Record<string, string> },
): void {
	response.writeHead(status, {
		...COMMON_HEADERS,
		...headers,
		'content-type': 'application/json',
		'x-request-id': requestId,
	});
	endWithin(response, text);
}

/** What a request is refused with. */
export interface Refusal {
	readonly error: SlipwayError;
	readonly id?: RpcId | null;
	readonly requestId: string;
	/** The WWW-Authenticate header, where another caller may come further. */
	readonly challenge?: string | undefined;
}

/** Answers a request with an error, and nothing more of its body is taken. */
export function sendError(
	request: IncomingMessage,
	response: ServerResponse,
	{ error, id = null, requestId, challenge }: Refusal,
): void {
	if (response.headersSent) {
		response.destroy();
		return;
	}
	const { row, code, details } = error;
	const unread = hasBody(request) && !request.complete;
	response.writeHead(row.httpStatus, {
		...COMMON_HEADERS,
		'content-type': 'application/json',
		'x-request-id': requestId,
		...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
		...(code === 'SLIPWAY_METHOD_NOT_ALLOWED'
			? { allow: /^\/(?:servers\/|groups\/|mcp)/.test(request.url ?? '') ? 'POST, GET, DELETE' : 'GET, HEAD' }
			: {}),
		...(details.retryAfterSeconds === undefined ? {} : { 'retry-after': String(details.retryAfterSeconds) }),
		...(unread ? { connection: 'close' } : {}),
	});
	response.end(toRpcText(id, error, requestId));
	if (unread) linger(request);
}

function hasBody({ headers }: IncomingMessage): boolean {
	return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Throws a body away for a moment: a connection reset at once would take our answer with it. */
function linger(request: IncomingMessage): void {
	const { socket } = request;
	request.resume();
	const timer = setTimeout(() => socket.destroy(), HTTP_LIMITS.lingerMs);
	timer.unref();
	socket.once('close', () => clearTimeout(timer));
}
