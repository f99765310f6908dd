/**
 * The headers that every answer has, on each route and of each kind: the listener sets them before anything looks at the
 * request. They are helmet's, taken once, so that the message path pays for their writing alone.
 */
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import helmet from 'helmet';
import { HTTP_LIMITS } from '../limits.ts';

export type Headers = Readonly<Record<string, string>>;

const PLAIN = take(false);
const SECURE = take({ maxAge: HTTP_LIMITS.transportSecurityMs / 1000, includeSubDomains: false });

/** @param secure whether the client came by TLS: what a page is told by anybody on the way must not bind a browser */
export function securityHeaders(secure: boolean): Headers {
	return secure ? SECURE : PLAIN;
}

/** Nothing that we answer is a page: it loads nothing, is framed by nobody, and is what its type says. */
function take(strictTransportSecurity: false | { maxAge: number; includeSubDomains: boolean }): Headers {
	const response = new ServerResponse(new IncomingMessage(new Socket()));
	const none = ["'none'"];
	const directives = { defaultSrc: none, baseUri: none, formAction: none, frameAncestors: none };
	const set = helmet({
		contentSecurityPolicy: { useDefaults: false, directives },
		strictTransportSecurity,
		xFrameOptions: { action: 'deny' },
		// Of old browsers, or for pages.
		originAgentCluster: false,
		xDnsPrefetchControl: false,
		xDownloadOptions: false,
		xPermittedCrossDomainPolicies: false,
		xXssProtection: false,
	});
	set(response.req, response, () => undefined);
	const headers = Object.entries(response.getHeaders()).map(([name, value]) => [name, String(value)]);
	// Answers differ by it, also those to who sends none.
	return Object.freeze({ ...Object.fromEntries(headers), vary: 'Origin' });
}
