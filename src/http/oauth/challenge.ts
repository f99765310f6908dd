/** The WWW-Authenticate header: what a client needs to know to come back with a token that will do. */
import { OAUTH_LIMITS } from '../../limits.ts';

/** Why a request was refused, and the scopes that it needs: none of them where the issuer does not know our scopes. */
export type Refusal =
	/** 401, without a token. Nothing is wrong with such a request: it is told of no error (RFC 6750, section 3.1). */
	| { readonly kind: 'tokenMissing'; readonly needed: readonly string[] }
	/** 401: the token is not one that is taken here. */
	| { readonly kind: 'tokenInvalid'; readonly needed: readonly string[] }
	/** 403: the token is good, but not for this. */
	| { readonly kind: 'scopeMissing'; readonly needed: readonly string[]; readonly granted: readonly string[] };

/**
 * The value of a WWW-Authenticate header: https://www.rfc-editor.org/rfc/rfc6750#section-3, with the parameter of
 * https://www.rfc-editor.org/rfc/rfc9728#section-5.1.
 *
 * A 403 names all scopes that the request needs and all that the caller has, at once: a client that asked for the
 * missing ones alone would lose the others, and come back for each of them
 * (https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization#scope-challenge-handling).
 *
 * @param metadataUrl see metadataUrlOf
 * @returns visible ASCII and spaces, at most OAUTH_LIMITS.challengeCharsMax of them; scopes that would be too much are
 * left out, those that the caller has before those that it needs
 */
export function challenge(metadataUrl: string, refusal: Refusal): string {
	const url = toAscii(metadataUrl);
	const granted = refusal.kind === 'scopeMissing' ? refusal.granted : [];
	const parameters = [
		'realm="slipway"',
		...(refusal.kind === 'tokenInvalid' ? ['error="invalid_token"'] : []),
		...(refusal.kind === 'scopeMissing' ? ['error="insufficient_scope"'] : []),
		// Without it clients look in the places where such a document may be.
		...(url.length > OAUTH_LIMITS.challengeCharsMax / 2 ? [] : [`resource_metadata="${url}"`]),
	];
	const value = `Bearer ${parameters.join(', ')}`;
	const scope = joinScopes([...refusal.needed, ...granted], OAUTH_LIMITS.challengeCharsMax - value.length);
	return scope === '' ? value : `${value}, scope="${scope}"`;
}

/**
 * The same URL in characters that a quoted string has without escapes, which many clients do not undo. Nothing in it
 * can end the string or the header.
 */
function toAscii(url: string): string {
	return url.toWellFormed().replace(/[^\x21\x23-\x5b\x5d-\x7e]/gu, encodeURIComponent);
}

/** As many scopes as fit, each once; those that are none by https://www.rfc-editor.org/rfc/rfc6749#section-3.3 are not told. */
function joinScopes(scopes: readonly string[], charsMax: number): string {
	let text = '';
	for (const scope of new Set(scopes)) {
		if (!/^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)) continue;
		const longer = text === '' ? scope : `${text} ${scope}`;
		if (longer.length + ', scope=""'.length <= charsMax) text = longer;
	}
	return text;
}
