/**
 * Streamable HTTP of both eras on one path.
 *
 * Revisions 2025-03-26 to 2025-11-25 (and 2024-11-05 for clients that speak it over this transport): POST for messages,
 * GET for the standing stream, DELETE for the end. What is of 2026-07-28 goes on to modern.ts, message by message.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
 */
import { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS } from '../limits.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import {
	BATCH_REVISION,
	claimsModern,
	envelopeOf,
	LEGACY_REVISIONS,
	namesModern,
	unsupportedRevision,
} from '../mcp/revisions.ts';
import { toOneLine } from '../mcp/text.ts';
import type { Callers } from './callers.ts';
import { serveModern } from './modern.ts';
import { HttpReply } from './reply.ts';
import { COMMON_HEADERS } from './respond.ts';
import type { Session } from './session.ts';
import { accepted, accepts, classifyOrThrow, readBody, type Visit, versionOf } from './visit.ts';

/** One request on an endpoint's path. Throws a SlipwayError for whatever is answered with an error as a whole. */
export async function serveStreamable(callers: Callers, visit: Visit): Promise<void> {
	const { method } = visit.request;
	if (method === 'POST') return post(callers, visit);
	// The second era has neither streams of their own nor sessions to end.
	if ((method !== 'GET' && method !== 'DELETE') || namesModern(versionOf(visit.request)))
		throw new SlipwayError('SLIPWAY_METHOD_NOT_ALLOWED');
	const session = findSession(callers, visit);
	return method === 'GET' ? openStream(session, visit) : endSession(session, visit);
}

async function post(callers: Callers, visit: Visit): Promise<void> {
	if (!accepts(visit.request, 'application/json') || !accepts(visit.request, 'text/event-stream'))
		throw new SlipwayError('SLIPWAY_NOT_ACCEPTABLE');
	const { text, value } = await readBody(visit);
	if (Array.isArray(value)) return postBatch(findSession(callers, visit), visit, value);
	const message = classifyOrThrow(visit, value);
	const line = toOneLine(text);
	const envelope = envelopeOf(message, versionOf(visit.request));
	if (envelope !== undefined) {
		if (message.kind === 'request') return serveModern(callers, visit, { text: line, message, envelope });
		// The second era has no notifications of a client over HTTP.
		return accepted(visit);
	}
	if (message.kind === 'request' && message.method === 'initialize')
		return initialize(callers, visit, { line, message });
	const session = findSession(callers, visit);
	if (message.kind === 'request')
		return session.receive(line, message, visit.calls.watch(message, openReply(session, visit, 1), session.mark));
	session.receive(line, message, undefined);
	accepted(visit);
}

/** A session is made for whoever initializes; an id that the client brings along is not taken over. */
function initialize(
	{ sessions }: Callers,
	visit: Visit,
	{ line, message }: { line: string; message: RequestMessage },
): Promise<void> {
	const session = sessions.create(visit, { outlives: true });
	return session.start(line, message, openReply(session, visit, 1, { 'mcp-session-id': session.id }));
}

function postBatch(session: Session, visit: Visit, values: readonly unknown[]): void {
	if (session.revision !== BATCH_REVISION) throw new SlipwayError('SLIPWAY_BATCH_REFUSED');
	if (values.length === 0 || values.length > HTTP_LIMITS.batchMessagesMax)
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', {
			reason: `A batch has 1 to ${HTTP_LIMITS.batchMessagesMax} messages.`,
		});
	const messages = values.map((value) => ({ message: classifyOrThrow(visit, value), text: JSON.stringify(value) }));
	if (messages.some(({ message }) => claimsModern(message))) throw new SlipwayError('SLIPWAY_BATCH_REFUSED');
	if (messages.some(({ message }) => message.kind === 'request' && message.method === 'initialize'))
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: '`initialize` must not be part of a batch.' });
	const expected = messages.filter(({ message }) => message.kind === 'request').length;
	const reply = expected === 0 ? undefined : openReply(session, visit, expected);
	for (const { message, text } of messages) {
		const own =
			message.kind === 'request' && reply !== undefined ? visit.calls.watch(message, reply, session.mark) : undefined;
		try {
			session.receive(text, message, own);
		} catch (error) {
			if (!(error instanceof SlipwayError)) throw error;
			if (message.kind === 'request') own?.fail(message.id, error);
		}
	}
	if (reply === undefined) accepted(visit);
}

function openReply(
	session: Session,
	{ request, response, requestId, challenge }: Visit,
	expected: number,
	headers: Readonly<Record<string, string>> = {},
): HttpReply {
	const reply = new HttpReply({
		request,
		response,
		requestId,
		expected,
		headers,
		challenge,
		hold: () => session.hold(),
		// Before there is a session there is none to come back to.
		replay: session.revision === undefined ? undefined : session.replay,
		primed: session.primes,
		onSettled: (settled) => session.leave(settled),
	});
	session.enter(reply);
	return reply;
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
function findSession({ sessions }: Callers, visit: Visit): Session {
	const version = versionOf(visit.request);
	if (namesModern(version))
		throw new SlipwayError('SLIPWAY_BAD_REQUEST', { reason: `Revision ${version} has single requests only.` });
	if (version !== undefined && !LEGACY_REVISIONS.includes(version)) throw unsupportedRevision(version);
	const id = visit.request.headers['mcp-session-id'];
	if (typeof id !== 'string' || id === '') throw new SlipwayError('SLIPWAY_SESSION_REQUIRED');
	return sessions.find(id, visit);
}
