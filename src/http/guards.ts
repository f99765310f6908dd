/**
 * The guard at the door: what is looked at before anything of a request is read. Pure functions of a request's head.
 *
 * Host and Origin are what stands between a web page and a gateway on the same machine (DNS rebinding). Node accepts
 * two Host headers and an absolute-form target with any host, so both are refused here.
 */
import type { IncomingMessage } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { HTTP_LIMITS } from '../limits.ts';

export interface Doors {
	/** `name`, for the port we listen on and for none, or `name:port`; lower case. */
	readonly allowedHosts: readonly string[];
	/** `scheme://host[:port]`, lower case. */
	readonly allowedOrigins: readonly string[];
	/** Those of them whose pages may read our answers. */
	readonly corsOrigins: readonly string[];
	/** The port that the world uses to reach us. */
	readonly port: number;
}

/** Throws SLIPWAY_HEADERS_TOO_LARGE, SLIPWAY_HOST_REFUSED, SLIPWAY_ORIGIN_REFUSED or SLIPWAY_PATH_UNKNOWN. */
export function guard(request: IncomingMessage, doors: Doors): void {
	if (request.rawHeaders.length / 2 > HTTP_LIMITS.headerCountMax) throw new SlipwayError('SLIPWAY_HEADERS_TOO_LARGE');
	const hosts = rawValues(request, 'host');
	const [host] = hosts;
	if (host === undefined || hosts.length > 1 || !isAllowedHost(host, doors))
		throw new SlipwayError('SLIPWAY_HOST_REFUSED');
	// Only a proxy is sent absolute targets, and a target with another host would get around the line above.
	if (!request.url?.startsWith('/')) throw new SlipwayError('SLIPWAY_HOST_REFUSED');
	const origins = rawValues(request, 'origin');
	if (origins.length > 1) throw new SlipwayError('SLIPWAY_ORIGIN_REFUSED');
	const [origin] = origins;
	if (origin !== undefined && !isAllowedOrigin(origin, doors)) throw new SlipwayError('SLIPWAY_ORIGIN_REFUSED');
	// Dot segments and encoded slashes have no use in our paths, and routers differ in what they make of them.
	const path = pathOf(request);
	if (/(?:^|\/)\.\.?(?:\/|$)|\\|%2f|%5c|%2e/i.test(path)) throw new SlipwayError('SLIPWAY_PATH_UNKNOWN');
	// What does not decode is nowhere, so that no router behind is the one to find out.
	if (!decodes(path)) throw new SlipwayError('SLIPWAY_PATH_UNKNOWN');
}

/** The path of a request without its query. */
export function pathOf(request: IncomingMessage): string {
	const url = request.url ?? '';
	const query = url.indexOf('?');
	return query < 0 ? url : url.slice(0, query);
}

export function isAllowedHost(host: string, { allowedHosts, port }: Doors): boolean {
	const given = host.toLowerCase();
	return allowedHosts.some((allowed) => given === allowed || (!hasPort(allowed) && given === `${allowed}:${port}`));
}

export function isAllowedOrigin(origin: string, { allowedOrigins }: Doors): boolean {
	return allowedOrigins.includes(origin.toLowerCase());
}

function decodes(path: string): boolean {
	if (!path.includes('%')) return true;
	try {
		decodeURIComponent(path);
		return true;
	} catch {
		return false;
	}
}

function hasPort(host: string): boolean {
	return /:\d+$/.test(host);
}

/** Every value of a header, by itself: Node joins some and drops others. */
export function rawValues(request: IncomingMessage, name: string): string[] {
	const values: string[] = [];
	const { rawHeaders } = request;
	for (let i = 0; i < rawHeaders.length; i += 2) {
		if (rawHeaders[i]?.toLowerCase() === name) values.push(rawHeaders[i + 1] ?? '');
	}
	return values;
}
