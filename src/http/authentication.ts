/**
 * Who a caller is: by a key of ours, or by a token of the authorization server that the settings name. Tokens go no
 * further than here.
 */
import type { IncomingMessage } from 'node:http';
import type { Config } from '../config.ts';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import { Access } from '../policy/access.ts';
import { pathOf } from './guards.ts';
import type { KeyRing } from './keys.ts';
import { challenge } from './oauth/challenge.ts';
import {
	audienceOf,
	metadataUrlOf,
	type ResourceMetadata,
	resourceMetadata,
	resourceOf,
	scopesFor,
} from './oauth/resource-metadata.ts';
import { readScopeTable } from './oauth/scopes.ts';
import { type Grant, isTokenShaped, TokenVerifier } from './oauth/token-verifier.ts';
import { type Authenticator, bearerOf, type Principal } from './principal.ts';

export interface TokenAuthenticationOptions {
	readonly keys: KeyRing;
	readonly verifier: TokenVerifier;
	readonly issuer: string;
	/** Without a slash at its end. */
	readonly publicUrl: string;
	/** Whether the issuer knows our scopes, and clients are to ask it for them. */
	readonly announceScopes: boolean;
}

/**
 * Keys, and tokens beside them where the settings name an issuer.
 *
 * @throws SlipwayError SLIPWAY_CONFIG_INVALID when the issuer is no URL of one, or the table of scopes is none
 */
export function authenticationOf(
	keys: KeyRing,
	{ oauth, publicUrl }: Pick<Config, 'oauth' | 'publicUrl'>,
): KeyRing | TokenAuthentication {
	if (oauth === undefined) return keys;
	const { issuer, scopesClaim, scopesMap, tokenType, audience = audienceOf(publicUrl) } = oauth;
	if ((scopesClaim === undefined) !== (scopesMap === undefined))
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'SLIPWAY_OAUTH_SCOPES_CLAIM and SLIPWAY_OAUTH_SCOPES_MAP go together: set both or none.',
		});
	const scopeMapping =
		scopesClaim === undefined || scopesMap === undefined
			? undefined
			: { claim: scopesClaim, table: readScopeTable(scopesMap) };
	const verifier = new TokenVerifier({ issuer, audience, scopeMapping, tokenType });
	return new TokenAuthentication({ keys, verifier, issuer, publicUrl, announceScopes: scopeMapping === undefined });
}

export class TokenAuthentication implements Authenticator {
	readonly #options: TokenAuthenticationOptions;
	/** A token is verified once, and is the same caller as long as that is remembered. */
	readonly #principals = new WeakMap<Grant, Principal>();

	constructor(options: TokenAuthenticationOptions) {
		this.#options = options;
	}

	authenticate(request: IncomingMessage): Principal | Promise<Principal> {
		const bearer = bearerOf(request);
		const known = bearer === undefined ? undefined : this.#options.keys.find(bearer);
		if (known !== undefined) return known;
		if (bearer === undefined || !isTokenShaped(bearer)) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');
		return this.#byToken(bearer, request);
	}

	/** The header that tells a refused caller what to come back with. */
	challenge(request: IncomingMessage, { code, details }: SlipwayError, principal?: Principal): string | undefined {
		const { publicUrl, announceScopes } = this.#options;
		const path = pathOf(request);
		const url = metadataUrlOf(publicUrl, path);
		const needed = announceScopes ? (details.scopes ?? scopesFor(path)) : [];
		if (code === 'SLIPWAY_FORBIDDEN') {
			// What nobody may is no reason to come back with more.
			if (details.scopes === undefined || details.scopes.length === 0) return undefined;
			const granted = announceScopes ? (principal?.access.scopes ?? []) : [];
			return challenge(url, { kind: 'scopeMissing', needed, granted });
		}
		if (code === 'SLIPWAY_TOKEN_INVALID') return challenge(url, { kind: 'tokenInvalid', needed });
		if (code !== 'SLIPWAY_UNAUTHENTICATED') return undefined;
		return challenge(url, { kind: bearerOf(request) === undefined ? 'tokenMissing' : 'tokenInvalid', needed });
	}

	/** What clients are told of an endpoint as a protected resource. */
	metadata(endpoint: string): ResourceMetadata {
		const { publicUrl, issuer, announceScopes } = this.#options;
		return resourceMetadata(endpoint, { publicUrl, issuer, announceScopes });
	}

	async #byToken(bearer: string, request: IncomingMessage): Promise<Principal> {
		const { verifier, publicUrl } = this.#options;
		const grant = await verifier.verify(bearer, resourceOf(publicUrl, pathOf(request)));
		const known = this.#principals.get(grant);
		if (known !== undefined) return known;
		const principal: Principal = Object.freeze({
			// No key has such a name, no two subjects the same, and nothing in it ends a line or a part of a name.
			id: `oauth:${encodeURIComponent(grant.subject.toWellFormed())}` as PrincipalId,
			access: new Access(grant.scopes),
			expiresAtMs: grant.expiresAtMs,
		});
		this.#principals.set(grant, principal);
		return principal;
	}
}
