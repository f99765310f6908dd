/**
 * Streamable HTTP, revisions 2025-03-26 to 2025-11-25 (and 2024-11-05 for clients that speak it over this transport):
 * POST for messages, GET for the standing stream, DELETE for the end, on one path of a server.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
 */
import type { IncomingMessage } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { BATCH_REVISION, LEGACY_REVISIONS, modernRevision } from '../mcp/revisions.ts';
import { toOneLine } from '../mcp/text.ts';
import { readJsonBody } from './body.ts';
import { HttpExchange } from './exchange.ts';
import { COMMON_HEADERS } from './respond.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import { accepted, accepts, classifyOrThrow, type Visit } from './visit.ts';

/** One request on a server's path. Throws a SlipwayError for whatever is answered with an error as a whole. */
export async function serveStreamable(sessions: Sessions, visit: Visit): Promise<void> {
	switch (visit.request.method) {
		case 'POST':
			return post(sessions, visit);
		case 'GET':
			return openStream(findSession(sessions, visit), visit);
		case 'DELETE':
			return endSession(findSession(sessions, visit), visit);
		default:
			throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
	}
}

async function post(sessions: Sessions, visit: Visit): Promise<void> {
	if (!accepts(visit.request, 'application/json') || !accepts(visit.request, 'text/event-stream'))
		throw new SlipwayError('SLIPWAY_NOT_ACCEPTABLE');
	const { text, value } = await readJsonBody(visit.request);
	if (Array.isArray(value)) return postBatch(findSession(sessions, visit), visit, value);
	const message = classifyOrThrow(visit, value);
	const modern = message.kind === 'response' ? undefined : modernRevision(versionOf(visit.request), message.params);
	if (modern !== undefined) throw unsupportedRevision(modern);
	const line = toOneLine(text);
	if (message.kind === 'request' && message.method === 'initialize')
		return initialize(sessions, visit, { line, message });
	const session = findSession(sessions, visit);
	const exchange = message.kind === 'request' ? openExchange(session, visit, 1) : undefined;
	session.receive(line, message, exchange);
	if (exchange === undefined) accepted(visit);
}

/** A session is made for whoever initializes; an id that the client brings along is not taken over. */
function initialize(
	sessions: Sessions,
	visit: Visit,
	{ line, message }: { line: string; message: RequestMessage },
): Promise<void> {
	const { principal, server } = visit;
	const session = sessions.create({ principal, server: server.name, callTimeoutMs: server.callTimeoutMs });
	return session.start(line, message, openExchange(session, visit, 1, { 'mcp-session-id': session.id }));
}

function postBatch(session: Session, visit: Visit, values: readonly unknown[]): void {
	if (session.revision !== BATCH_REVISION) throw new SlipwayError('SLIPWAY_BATCH_REFUSED');
	if (values.length === 0 || values.length > HTTP_LIMITS.batchMessagesMax)
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', {
			reason: `A batch has 1 to ${HTTP_LIMITS.batchMessagesMax} messages.`,
		});
	const messages = values.map((value) => ({ message: classifyOrThrow(visit, value), text: JSON.stringify(value) }));
	if (messages.some(({ message }) => message.kind === 'request' && message.method === 'initialize'))
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: '`initialize` must not be part of a batch.' });
	const expected = messages.filter(({ message }) => message.kind === 'request').length;
	const exchange = expected === 0 ? undefined : openExchange(session, visit, expected);
	for (const { message, text } of messages) {
		try {
			session.receive(text, message, exchange);
		} catch (error) {
			if (!(error instanceof SlipwayError)) throw error;
			if (message.kind === 'request') exchange?.fail(message.id, error);
		}
	}
	if (exchange === undefined) accepted(visit);
}

function openExchange(
	session: Session,
	{ request, response, requestId }: Visit,
	expected: number,
	headers: Readonly<Record<string, string>> = {},
): HttpExchange {
	const exchange = new HttpExchange({
		request,
		response,
		requestId,
		expected,
		headers,
		hold: () => session.hold(),
		// Before there is a session there is none to come back to.
		replay: session.revision === undefined ? undefined : session.replay,
		primed: session.primes,
		onSettled: (settled) => session.leave(settled),
	});
	session.enter(exchange);
	return exchange;
}

function openStream(session: Session, { request, response, requestId }: Visit): void {
	if (!accepts(request, 'text/event-stream')) throw new SlipwayError('SLIPWAY_NOT_ACCEPTABLE');
	const lastEventId = request.headers['last-event-id'];
	session.openStream(
		response,
		{ 'x-request-id': requestId },
		typeof lastEventId === 'string' ? lastEventId : undefined,
	);
}

async function endSession(session: Session, { response, requestId }: Visit): Promise<void> {
	await session.end('prompt');
	response.writeHead(200, { ...COMMON_HEADERS, 'content-length': '0', 'x-request-id': requestId }).end();
}

/** The session that a request names. A missing id and an unknown one are told apart: clients initialize anew on 404. */
function findSession(sessions: Sessions, { request, principal, server }: Visit): Session {
	const version = versionOf(request);
	if (version !== undefined && !LEGACY_REVISIONS.includes(version)) throw unsupportedRevision(version);
	const id = request.headers['mcp-session-id'];
	if (typeof id !== 'string' || id === '') throw new SlipwayError('SLIPWAY_SESSION_REQUIRED');
	return sessions.find(id, { principal, server: server.name });
}

function versionOf({ headers }: IncomingMessage): string | undefined {
	const version = headers['mcp-protocol-version'];
	return typeof version === 'string' ? version : undefined;
}

function unsupportedRevision(requested: string): SlipwayError {
	return new SlipwayError('SLIPWAY_PROTOCOL_VERSION', { supported: LEGACY_REVISIONS, requested });
}
