/**
 * Cross-origin requests of web pages: those of the origins that the settings list may send what clients send, and read
 * what clients read. Never of all, and never with a browser's own credentials: a key is always one that the page has.
 *
 * Source: https://fetch.spec.whatwg.org/#http-cors-protocol
 */
import type { IncomingMessage } from 'node:http';
import { BRIDGE_LIMITS, HTTP_LIMITS } from '../limits.ts';
import type { Headers } from './answer-headers.ts';
import { type Doors, rawValues } from './guards.ts';

/** What clients of the protocol send beyond what any page may. */
const REQUEST_HEADERS = [
	'authorization',
	'content-type',
	'last-event-id',
	'mcp-method',
	'mcp-name',
	'mcp-protocol-version',
	'mcp-session-id',
	'x-request-id',
];

/** What they read beyond what any page may. */
const EXPOSED_HEADERS = [
	'mcp-session-id',
	'mcp-protocol-version',
	'www-authenticate',
	'retry-after',
	'ratelimit',
	'ratelimit-policy',
	'x-request-id',
].join(', ');

/** An argument of a tool that is repeated in a header: its name is the tool's, so the browser has to be told it. */
const PARAM_HEADER = /^mcp-param-[\w!#$%&'*+.^`|~-]+$/;

/** What a page of a listed origin may do with the answer; undefined for everybody else. */
export function corsHeaders(request: IncomingMessage, { corsOrigins }: Doors): Headers | undefined {
	const origins = rawValues(request, 'origin');
	const [origin] = origins;
	if (origin === undefined || origins.length > 1 || !corsOrigins.includes(origin.toLowerCase())) return undefined;
	return { 'access-control-allow-origin': origin, 'access-control-expose-headers': EXPOSED_HEADERS };
}

/** Whether a browser asks if it may send a request of a page. It sends no key with that. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
	return method === 'OPTIONS' && headers.origin !== undefined && headers['access-control-request-method'] !== undefined;
}

/** What such a page may send. */
export function preflightHeaders({ headers }: IncomingMessage): Headers {
	const asked = (headers['access-control-request-headers'] ?? '').toLowerCase().split(',');
	const params = asked.map((name) => name.trim()).filter((name) => PARAM_HEADER.test(name));
	return {
		'access-control-allow-methods': 'GET, POST, DELETE',
		'access-control-allow-headers': [...REQUEST_HEADERS, ...params.slice(0, BRIDGE_LIMITS.headerParamsMax)].join(', '),
		'access-control-max-age': String(HTTP_LIMITS.preflightAgeMs / 1000),
		vary: 'Origin, Access-Control-Request-Headers',
	};
}
