/**
 * Access tokens: who the issuer says that a caller is, and what it may use.
 *
 * Tokens are JWTs as https://www.rfc-editor.org/rfc/rfc9068 has them. They go no further than here: what leaves is a
 * Grant, which has nothing of a token that could be used again, and what is kept of a token is its SHA-256.
 */
import { hash } from 'node:crypto';
import { decodeProtectedHeader, errors, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import { SlipwayError } from '../../errors.ts';
import { OAUTH_LIMITS } from '../../limits.ts';
import { Issuer } from './issuer.ts';
import { type ScopeMapping, scopesOf } from './scopes.ts';

/** What a token that was found good says. */
export interface Grant {
	readonly issuer: string;
	/** Who the caller is, among those of the issuer. */
	readonly subject: string;
	/** The client that acts for it. */
	readonly clientId?: string;
	/** The scopes that are ours. */
	readonly scopes: readonly string[];
	readonly expiresAtMs: number;
}

export interface TokenVerifierOptions {
	/** The URL of the authorization server, exactly as its tokens have it in `iss`. */
	readonly issuer: string;
	/** What tokens have in `aud` that are for the gateway as a whole, each exactly. Never the id of a client. */
	readonly audience: readonly string[];
	/** How groups or roles become scopes, beside the scopes that a token has. */
	readonly scopeMapping?: ScopeMapping | undefined;
	/**
	 * What the header of a token must have as its `typ`. `JWT`, which some issuers write or leave out, tells access
	 * tokens from ID tokens less well: what has the claims of an ID token is refused then.
	 */
	readonly tokenType?: 'at+jwt' | 'JWT';
	/** The time of day in ms, as of Date.now. */
	readonly nowMs?: () => number;
}

/** With a key pair each, so that nobody who can check a token can make one. The list is also what keeps `none` out. */
const ALGORITHMS = Object.freeze([
	'RS256',
	'RS384',
	'RS512',
	'PS256',
	'PS384',
	'PS512',
	'ES256',
	'ES384',
	'ES512',
	'EdDSA',
	'Ed25519',
]);

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Whether it may be a token at all, rather than a key of ours. */
export function isTokenShaped(bearer: string): boolean {
	return TOKEN.test(bearer);
}

/** A token that was found good, for whichever of our resources it is. */
interface Verified {
	readonly grant: Grant;
	readonly audience: readonly string[];
	readonly untilMs: number;
}

/** INVARIANT: no token is known again after its end, nor OAUTH_LIMITS.verifiedMsMax after it was looked at. */
export class TokenVerifier {
	readonly #issuer: Issuer;
	readonly #audience: ReadonlySet<string>;
	readonly #scopeMapping: ScopeMapping | undefined;
	readonly #tokenType: 'at+jwt' | 'JWT';
	readonly #nowMs: () => number;
	/** By the SHA-256 of the token, the oldest first. */
	readonly #verified = new Map<string, Verified>();

	/** @throws SlipwayError SLIPWAY_CONFIG_INVALID when the issuer is no URL of one */
	constructor({ issuer, audience, scopeMapping, tokenType = 'at+jwt', nowMs = Date.now }: TokenVerifierOptions) {
		this.#issuer = new Issuer(issuer, nowMs);
		this.#audience = new Set(audience);
		this.#scopeMapping = scopeMapping;
		this.#tokenType = tokenType;
		this.#nowMs = nowMs;
	}

	/**
	 * What a token gives its bearer at one of our resources. A token is good for the resource that it names, and one
	 * that names the gateway is good for all of them.
	 *
	 * @param resource see resourceOf
	 * @throws SlipwayError SLIPWAY_TOKEN_INVALID, or SLIPWAY_ISSUER_UNREACHABLE when the token has a key that is not known
	 */
	async verify(token: string, resource?: string): Promise<Grant> {
		if (token.length > OAUTH_LIMITS.tokenCharsMax) throw invalid('It is too long.');
		const digest = hash('sha256', token, 'base64');
		const { grant, audience } = this.#find(digest) ?? this.#keep(digest, await this.#check(token));
		if (!audience.some((name) => name === resource || this.#audience.has(name)))
			throw invalid('It is for another resource.');
		return grant;
	}

	#find(digest: string): Verified | undefined {
		const verified = this.#verified.get(digest);
		if (verified === undefined || verified.untilMs > this.#nowMs()) return verified;
		this.#verified.delete(digest);
		return undefined;
	}

	#keep(digest: string, verified: Verified): Verified {
		const [oldest] = this.#verified.keys();
		if (this.#verified.size >= OAUTH_LIMITS.verifiedMax && oldest !== undefined) this.#verified.delete(oldest);
		this.#verified.set(digest, verified);
		return verified;
	}

	/** Everything but the audience, which depends on the request. */
	async #check(token: string): Promise<Verified> {
		const nowMs = this.#nowMs();
		try {
			checkHeader(token, this.#tokenType);
			const { payload } = await jwtVerify(token, this.#issuer.findKey, this.#joseOptions(nowMs));
			checkClaims(payload, this.#tokenType, nowMs);
			return this.#toVerified(payload, nowMs);
		} catch (error) {
			throw error instanceof SlipwayError ? error : invalid(reasonOf(error), error);
		}
	}

	#joseOptions(nowMs: number): JWTVerifyOptions {
		return {
			algorithms: [...ALGORITHMS],
			issuer: this.#issuer.url,
			requiredClaims: ['aud', 'exp', 'sub'],
			clockTolerance: OAUTH_LIMITS.clockToleranceMs / 1000,
			currentDate: new Date(nowMs),
		};
	}

	#toVerified(payload: JWTPayload, nowMs: number): Verified {
		const { aud, exp = 0, sub = '' } = payload;
		const expiresAtMs = exp * 1000;
		const clientId = payload['client_id'] ?? payload['azp'];
		const grant: Grant = Object.freeze({
			issuer: this.#issuer.url,
			subject: sub,
			...(isName(clientId) ? { clientId } : {}),
			scopes: scopesOf(payload, this.#scopeMapping),
			expiresAtMs,
		});
		const untilMs = Math.min(expiresAtMs, nowMs + OAUTH_LIMITS.verifiedMsMax);
		return { grant, audience: Array.isArray(aud) ? aud : [String(aud)], untilMs };
	}
}

/** What is looked at before any key is: the issuer is not asked for the sake of what could never be good. */
function checkHeader(token: string, tokenType: 'at+jwt' | 'JWT'): void {
	if (!TOKEN.test(token)) throw invalid('It is no signed JWT.');
	const { alg, crit, typ = 'JWT' } = decodeProtectedHeader(token);
	if (alg === undefined || !ALGORITHMS.includes(alg)) throw invalid('It is signed in a way that is not taken.');
	// What must be understood, and is not understood here.
	if (crit !== undefined) throw invalid('Its header has extensions.');
	const type = String(typ)
		.toLowerCase()
		.replace(/^application\//, '');
	if (type !== 'at+jwt' && !(type === 'jwt' && tokenType === 'JWT')) throw invalid('It is no access token.');
}

/** What jose does not look at. */
function checkClaims(payload: JWTPayload, tokenType: 'at+jwt' | 'JWT', nowMs: number): void {
	const { exp, iat, sub } = payload;
	if (!isName(sub)) throw invalid('Its subject is not one that is taken.');
	if (exp === undefined || exp * 1000 > Number.MAX_SAFE_INTEGER) throw invalid('It has no end.');
	if (iat !== undefined && !(iat * 1000 <= nowMs + OAUTH_LIMITS.clockToleranceMs))
		throw invalid('It was issued in the future.');
	// https://www.rfc-editor.org/rfc/rfc9449#section-6: whoever presents it would have to show that it has a key.
	if (payload['cnf'] !== undefined) throw invalid('It is bound to a key, and is no bearer token.');
	if (tokenType === 'JWT' && isIdToken(payload)) throw invalid('It is no access token.');
}

/** The claims that only ID tokens have (https://openid.net/specs/openid-connect-core-1_0.html#IDToken), and Keycloak's. */
function isIdToken(payload: JWTPayload): boolean {
	return (
		['nonce', 'at_hash', 'c_hash', 's_hash'].some((claim) => payload[claim] !== undefined) || payload['typ'] === 'ID'
	);
}

/** A name that can stand in a log and in a list. */
function isName(value: unknown): value is string {
	return (
		typeof value === 'string' &&
		value !== '' &&
		value.length <= OAUTH_LIMITS.subjectCharsMax &&
		value.isWellFormed() &&
		!/\p{Cc}/u.test(value)
	);
}

/** What may be told of an error of jose: its own words may have something of the token in them. */
function reasonOf(error: unknown): string {
	if (error instanceof errors.JWTExpired) return 'It has expired.';
	if (error instanceof errors.JWTClaimValidationFailed) return claimReason(error.claim);
	if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey)
		return 'It is not signed with a key of the issuer.';
	if (error instanceof errors.JWKSMultipleMatchingKeys) return 'It does not say which key it is signed with.';
	return 'It is no signed JWT.';
}

function claimReason(claim: string): string {
	switch (claim) {
		case 'iss':
			return 'It is from another issuer.';
		case 'nbf':
			return 'It is not valid yet.';
		case 'exp':
		case 'aud':
		case 'sub':
			return `It has no ${claim}.`;
		default:
			return 'A claim of it is wrong.';
	}
}

function invalid(reason: string, cause?: unknown): SlipwayError {
	return new SlipwayError('SLIPWAY_TOKEN_INVALID', { reason }, { cause });
}
