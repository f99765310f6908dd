/** Who is at the other end: the address of a client, and whether it came by TLS, also through proxies that are trusted. */
import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { TLSSocket } from 'node:tls';
import { networksOf } from '../addresses.ts';
import type { Config } from '../config.ts';

export class Peers {
	readonly #proxies: ReturnType<typeof networksOf>;
	readonly #hasProxies: boolean;
	/** The host by which TLS in front of us is reached, where the public URL says that there is some. */
	readonly #tlsHost: string | undefined;

	constructor({ trustedProxies, publicUrl }: Pick<Config, 'trustedProxies' | 'publicUrl'>) {
		this.#proxies = networksOf(trustedProxies);
		this.#hasProxies = trustedProxies.length > 0;
		const { protocol, host } = new URL(publicUrl);
		this.#tlsHost = protocol === 'https:' ? host : undefined;
	}

	/**
	 * The address that a request came from: the last one on its way that is no trusted proxy's. What stands before it in
	 * X-Forwarded-For anybody may have written.
	 */
	addressOf({ socket, headers }: IncomingMessage): string {
		let address = socket.remoteAddress ?? '';
		if (!this.#hasProxies) return address;
		const hops = String(headers['x-forwarded-for'] ?? '').split(',');
		while (this.#proxies.has(address)) {
			const hop = hops.pop()?.trim() ?? '';
			if (isIP(hop) === 0) break;
			address = hop;
		}
		return address;
	}

	/**
	 * Whether the client came by TLS: to us, to a trusted proxy that says so, or, where none says anything, to the public
	 * URL. A browser keeps that in mind for all ports of a host, so it is never so of this machine's own name.
	 */
	isSecure({ socket, headers }: IncomingMessage): boolean {
		if (this.#tlsHost === undefined && !this.#hasProxies && !(socket instanceof TLSSocket)) return false;
		const host = headers.host?.toLowerCase() ?? '';
		if (/^(?:.+\.)?localhost(?::\d+)?$/.test(host)) return false;
		if (socket instanceof TLSSocket) return true;
		const scheme = headers['x-forwarded-proto'];
		if (typeof scheme === 'string' && this.#proxies.has(socket.remoteAddress ?? ''))
			return scheme.split(',').at(-1)?.trim().toLowerCase() === 'https';
		return host === this.#tlsHost;
	}
}
