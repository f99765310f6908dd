/**
 * What clients are told of the gateway as a protected resource: https://www.rfc-editor.org/rfc/rfc9728.
 *
 * Each endpoint is a resource of its own, and the gateway as a whole is one too. A client asks for a token for the most
 * specific one that it can, and a token for one endpoint is none for another:
 * https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization#canonical-server-uri.
 *
 * All of it comes from the path alone, so nobody learns here which servers there are.
 */
import { SERVER_NAME_PATTERN } from '../../ids.ts';

/** https://www.rfc-editor.org/rfc/rfc9728#section-3.1: the path of the resource comes after it. */
const WELL_KNOWN = '/.well-known/oauth-protected-resource';

const NAME = SERVER_NAME_PATTERN.source.slice(1, -1);

/** The endpoints that have a document of their own. */
const ENDPOINT = new RegExp(`^/(?:(?<kind>server|group)s/(?<name>${NAME})/)?mcp$`);

/** All the paths at which a server is. */
const SERVER_PATH = new RegExp(`^/servers/(?<name>${NAME})(?:/(?:mcp|sse|messages)?)?$`);

/** The path of the endpoint whose document is at that path; '' for the gateway as a whole, undefined for no document. */
export function matchMetadataPath(path: string): string | undefined {
	if (!path.startsWith(WELL_KNOWN)) return undefined;
	const endpoint = path.slice(WELL_KNOWN.length);
	return endpoint === '' || ENDPOINT.test(endpoint) ? endpoint : undefined;
}

/**
 * Where the document for a request to that path is, for `resource_metadata` of a challenge.
 *
 * Clients compare the resource with the URL that they called, so a path that is no endpoint's own, like that of
 * HTTP+SSE, is given the document of the whole gateway.
 *
 * @param publicUrl without a slash at its end
 */
export function metadataUrlOf(publicUrl: string, path: string): string {
	return `${publicUrl}${WELL_KNOWN}${ENDPOINT.test(path) ? path : ''}`;
}

/**
 * The resource that a request to that path is for: its endpoint, or else the gateway as a whole. The several paths of
 * one server are one resource.
 *
 * @param publicUrl without a slash at its end
 */
export function resourceOf(publicUrl: string, path: string): string {
	if (ENDPOINT.test(path)) return publicUrl + path;
	const name = SERVER_PATH.exec(path)?.groups?.['name'];
	return name === undefined ? publicUrl : `${publicUrl}/servers/${name}/mcp`;
}

/**
 * What tokens name that are for the gateway as a whole. Of a URL without a path there are two forms, and clients that
 * keep it as a URL object write the slash.
 *
 * @param publicUrl without a slash at its end
 */
export function audienceOf(publicUrl: string): readonly string[] {
	return new URL(publicUrl).pathname === '/' ? [publicUrl, `${publicUrl}/`] : [publicUrl];
}

/** The scopes that a request to that path needs at least, before anything is known of what it asks for. */
export function scopesFor(path: string): readonly string[] {
	const { kind, name } = ENDPOINT.exec(path)?.groups ?? {};
	if (kind !== undefined) return [`${kind}:${name}`];
	const server = SERVER_PATH.exec(path)?.groups?.['name'];
	return server === undefined ? ['*'] : [`server:${server}`];
}

/** A document of https://www.rfc-editor.org/rfc/rfc9728#section-2. */
export interface ResourceMetadata {
	readonly resource: string;
	readonly authorization_servers: readonly string[];
	readonly scopes_supported?: readonly string[];
	readonly bearer_methods_supported: readonly ['header'];
	readonly resource_name: string;
}

export interface ResourceMetadataOptions {
	/** Without a slash at its end. */
	readonly publicUrl: string;
	readonly issuer: string;
	/**
	 * Whether the issuer knows our scopes. One that gives its callers groups or roles instead would refuse a client that
	 * asks for scopes it has never heard of.
	 */
	readonly announceScopes: boolean;
}

/** @param endpoint as matchMetadataPath has it */
export function resourceMetadata(
	endpoint: string,
	{ publicUrl, issuer, announceScopes }: ResourceMetadataOptions,
): ResourceMetadata {
	const name = ENDPOINT.exec(endpoint)?.groups?.['name'];
	return {
		resource: resourceOf(publicUrl, endpoint),
		authorization_servers: [issuer],
		...(announceScopes ? { scopes_supported: scopesFor(endpoint) } : {}),
		// A token in a query would be written into logs, and one in a form is not looked for.
		bearer_methods_supported: ['header'],
		resource_name: name === undefined ? 'Slipway' : `Slipway: ${name}`,
	};
}
