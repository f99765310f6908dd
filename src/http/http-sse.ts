/**
 * HTTP+SSE, the transport of revision 2024-11-05, for the clients that still speak it: GET opens a stream that first
 * says where to POST, every message of the server comes on that stream, and a POST is answered with 202.
 *
 * Source: https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
 */
import { SlipwayError } from '../errors.ts';
import type { RpcId } from '../mcp/jsonrpc.ts';
import { toOneLine } from '../mcp/text.ts';
import type { Callers } from './callers.ts';
import { pathOf } from './guards.ts';
import { toRpcText } from './respond.ts';
import type { PendingReply, Session } from './session.ts';
import { accepted, accepts, classifyOrThrow, readBody, type Visit } from './visit.ts';

/** GET /servers/<name>/sse: the session lives as long as the stream. */
export function serveSse({ sessions }: Callers, visit: Visit): void {
	const { request, response, requestId } = visit;
	if (visit.draining) throw new SlipwayError('SLIPWAY_DRAINING', { retryAfterSeconds: 1 });
	if (request.method !== 'GET') throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
	if (!accepts(request, 'text/event-stream')) throw new SlipwayError('SLIPWAY_NOT_ACCEPTABLE');
	// The session is its stream's, and there is no way back to that.
	const session = sessions.create(visit, { outlives: false });
	const endpoint = `${pathOf(request).replace(/sse$/, 'messages')}?sessionId=${session.id}`;
	session.openUnkept(response, { 'x-request-id': requestId }).event('endpoint', endpoint);
	response.once('close', () => void session.end('prompt'));
}

/** POST /servers/<name>/messages?sessionId=: a message of the client. What it brings about comes on the stream. */
export async function serveSseMessage({ sessions }: Callers, visit: Visit): Promise<void> {
	const { request } = visit;
	if (request.method !== 'POST') throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
	const id = new URLSearchParams(request.url?.split('?', 2)[1]).get('sessionId');
	if (id === null || id === '') throw new SlipwayError('SLIPWAY_SESSION_REQUIRED');
	const session = sessions.find(id, visit);
	const { text, value } = await readBody(visit);
	const message = classifyOrThrow(visit, value);
	const line = toOneLine(text);
	if (message.kind !== 'request') {
		session.receive(line, message, undefined);
		return accepted(visit);
	}
	const reply = new SseReply(session, visit.requestId);
	if (message.method === 'initialize') {
		if (session.started)
			throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: 'The session is initialized already.' });
		void session.start(line, message, reply);
	} else {
		session.receive(line, message, visit.calls.watch(message, reply, session.mark));
		session.enter(reply);
	}
	accepted(visit);
}

/** A request whose answer goes, as everything does here, to the one stream of its session. */
class SseReply implements PendingReply {
	readonly #session: Session;
	readonly #requestId: string;

	constructor(session: Session, requestId: string) {
		this.#session = session;
		this.#requestId = requestId;
	}

	get attached(): boolean {
		return this.#session.streams > 0;
	}

	related(text: string): void {
		this.#session.send(text);
	}

	answer(text: string): void {
		this.#session.send(text);
		this.#session.leave(this);
	}

	fail(id: RpcId, error: SlipwayError): void {
		this.#session.send(toRpcText(id, error, this.#requestId));
		this.#session.leave(this);
	}

	drop(): void {
		this.#session.leave(this);
	}

	tick(): void {}
}
