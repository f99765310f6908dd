/**
 * What of a request and of an answer is passed on. RFC 9110 7.6 and RFC 9112: who stands between writes the framing anew,
 * so that both sides agree on where a message ends, and nothing can be hidden in the difference.
 */
import type { IncomingMessage } from 'node:http';
import { parseTarget, type Target } from './rules.ts';

/** Of one connection, and not to be passed on; beside those that `Connection` names. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
	'connection',
	'expect',
	'keep-alive',
	'proxy-authenticate',
	'proxy-authorization',
	'proxy-connection',
	'te',
	'trailer',
	'transfer-encoding',
	'upgrade',
]);

const HTTP_PORT = 80;

export interface Forwarded {
	readonly target: Target;
	/** With the query, as it came. */
	readonly path: string;
	/** Name, value, name, value: as node:http takes them. */
	readonly headers: readonly string[];
	readonly hasBody: boolean;
}

type Head = Pick<IncomingMessage, 'method' | 'url' | 'rawHeaders'>;

/** What to send for a request in absolute form; a sentence that says what is wrong with any other. */
export function readForwarded({ method = '', url = '', rawHeaders }: Head): Forwarded | string {
	if (method === 'TRACE') return 'TRACE is not passed on.';
	if (/^https:/i.test(url)) return 'https is for CONNECT.';
	// No user, no fragment, nothing that two readers could split in two ways.
	const [, authority, rest = ''] = /^http:\/\/([^/?#@\\]+)((?:[/?][\x21\x22\x24-\x7e]*)?)$/i.exec(url) ?? [];
	const target = authority === undefined ? undefined : parseTarget(authority, HTTP_PORT);
	if (target === undefined) return 'It is no request in absolute form, "http://host/path".';
	const hosts = valuesOf(rawHeaders, 'host');
	const host = hosts.length === 1 ? parseTarget(hosts[0] ?? '', HTTP_PORT) : undefined;
	if (host === undefined || host.host !== target.host || host.port !== target.port)
		return 'Its Host is not that of its target.';
	const framing = frameRequest(rawHeaders);
	if (framing === undefined) return 'Its length is said in two ways, or in one that is not known here.';
	const kept = endToEnd(rawHeaders, ['host', 'content-length']);
	return {
		target,
		path: rest.startsWith('/') ? rest : `/${rest}`,
		headers: ['Host', authority ?? '', ...kept, ...framing, 'Connection', 'close'],
		hasBody: framing.length > 0,
	};
}

/** What is wrong with a request to CONNECT, or its target. */
export function readConnect({ url = '', rawHeaders }: Head): Target | string {
	const target = /:\d+$/.test(url) ? parseTarget(url) : undefined;
	if (target === undefined) return 'CONNECT takes "host:port".';
	const framed = valuesOf(rawHeaders, 'content-length').length + valuesOf(rawHeaders, 'transfer-encoding').length;
	return framed === 0 ? target : 'CONNECT has no body.';
}

/** The headers of an answer as they are passed on, its length among them where the server said one. */
export function answerHeaders(rawHeaders: readonly string[]): string[] {
	const chunked = valuesOf(rawHeaders, 'transfer-encoding').length > 0;
	return [...endToEnd(rawHeaders, chunked ? ['content-length'] : []), 'Connection', 'close'];
}

/** The header that says how long the body is, if there is one; undefined when it cannot be told for certain. */
function frameRequest(rawHeaders: readonly string[]): string[] | undefined {
	const lengths = valuesOf(rawHeaders, 'content-length');
	const encodings = valuesOf(rawHeaders, 'transfer-encoding');
	if (encodings.length === 0) {
		if (lengths.length === 0) return [];
		return lengths.length === 1 && /^\d{1,15}$/.test(lengths[0] ?? '')
			? ['Content-Length', lengths[0] ?? '']
			: undefined;
	}
	const plain = lengths.length === 0 && encodings.length === 1 && encodings[0]?.toLowerCase() === 'chunked';
	return plain ? ['Transfer-Encoding', 'chunked'] : undefined;
}

function endToEnd(rawHeaders: readonly string[], further: readonly string[]): string[] {
	const named = valuesOf(rawHeaders, 'connection').flatMap((value) =>
		value
			.toLowerCase()
			.split(',')
			.map((name) => name.trim()),
	);
	const dropped = new Set([...HOP_BY_HOP, ...named, ...further]);
	return pairs(rawHeaders)
		.filter(([name]) => !dropped.has(name.toLowerCase()))
		.flat();
}

function valuesOf(rawHeaders: readonly string[], wanted: string): string[] {
	return pairs(rawHeaders)
		.filter(([name]) => name.toLowerCase() === wanted)
		.map(([, value]) => value);
}

function pairs(rawHeaders: readonly string[]): [name: string, value: string][] {
	return rawHeaders.flatMap((name, index) => (index % 2 === 0 ? [[name, rawHeaders[index + 1] ?? '']] : []));
}
