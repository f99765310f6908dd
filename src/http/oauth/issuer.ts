/**
 * The authorization server whose tokens are taken: its metadata, and the keys that it signs with.
 *
 * jose has a remote key set of its own. It refuses tokens with a known key when its copy is old and the issuer does not
 * answer, and asks an issuer that does not answer again with every token; so what jose does here is to choose among
 * the keys, and when to ask for them is decided here.
 *
 * INVARIANTS:
 * - The issuer is asked for its keys at most once in OAUTH_LIMITS.refetchCooldownMs, whatever tokens come.
 * - No key is used that the issuer has not shown within OAUTH_LIMITS.keysStaleMsMax.
 * - Keys come from the issuer alone: `jwk`, `jku`, `x5c` and `x5u` in the header of a token are not looked at.
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from 'jose';
import { SlipwayError } from '../../errors.ts';
import { OAUTH_LIMITS } from '../../limits.ts';

/** What an issuer answered and should not have; the message may be told. */
class IssuerFault extends Error {}

type LocalKeySet = ReturnType<typeof createLocalJWKSet>;

export class Issuer {
	/** Exactly as its tokens name it. */
	readonly url: string;
	readonly #nowMs: () => number;
	#keys: LocalKeySet | undefined;
	/** When the issuer was last asked, and when it last answered. */
	#askedAtMs = Number.NEGATIVE_INFINITY;
	#answeredAtMs = Number.NEGATIVE_INFINITY;
	#asking: Promise<void> | undefined;
	/** What went wrong the last time. */
	#failure: unknown;

	/** @throws SlipwayError SLIPWAY_CONFIG_INVALID when it is no URL of an issuer */
	constructor(url: string, nowMs: () => number) {
		checkIssuerUrl(url);
		this.url = url;
		this.#nowMs = nowMs;
	}

	/**
	 * The key that a token says it is signed with, as jose asks for it.
	 *
	 * @throws SlipwayError SLIPWAY_ISSUER_UNREACHABLE when it is not known what the issuer would say
	 */
	readonly findKey: JWTVerifyGetKey = async (header, token) => {
		if (this.#isOver(this.#answeredAtMs, OAUTH_LIMITS.keysAgeMsMax)) await this.#ask();
		try {
			return await this.#known()(header, token);
		} catch (error) {
			if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
		}
		// The issuer may have begun to use it just now.
		await this.#ask();
		try {
			return await this.#known()(header, token);
		} catch (error) {
			if (this.#failure !== undefined && error instanceof errors.JWKSNoMatchingKey) throw this.#unreachable();
			throw error;
		}
	};

	#known(): LocalKeySet {
		if (this.#keys === undefined || this.#isOver(this.#answeredAtMs, OAUTH_LIMITS.keysStaleMsMax))
			throw this.#unreachable();
		return this.#keys;
	}

	#unreachable(): SlipwayError {
		const waitMs = this.#askedAtMs + OAUTH_LIMITS.refetchCooldownMs - this.#nowMs();
		const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
		const reason = this.#failure instanceof IssuerFault ? this.#failure.message : 'It does not answer.';
		return new SlipwayError('SLIPWAY_ISSUER_UNREACHABLE', { reason, retryAfterSeconds }, { cause: this.#failure });
	}

	/** Asks the issuer for its keys, if it may be asked again; resolves when it has answered or has not. */
	#ask(): Promise<void> {
		if (this.#asking !== undefined) return this.#asking;
		if (!this.#isOver(this.#askedAtMs, OAUTH_LIMITS.refetchCooldownMs)) return Promise.resolve();
		this.#askedAtMs = this.#nowMs();
		this.#asking = this.#load().finally(() => {
			this.#asking = undefined;
		});
		return this.#asking;
	}

	async #load(): Promise<void> {
		try {
			const signal = AbortSignal.timeout(OAUTH_LIMITS.fetchTimeoutMs);
			const keys = await fetchJson(await discoverKeysUrl(this.url, signal), signal);
			if (!isKeySet(keys)) throw new IssuerFault('Its keys are no set of keys.');
			this.#keys = createLocalJWKSet(keys);
			this.#answeredAtMs = this.#nowMs();
			this.#failure = undefined;
		} catch (error) {
			this.#failure = error;
		}
	}

	/** Whether so much time has passed. A clock that was set back by more than that counts as well. */
	#isOver(sinceMs: number, ms: number): boolean {
		return Math.abs(this.#nowMs() - sinceMs) >= ms;
	}
}

/** https://www.rfc-editor.org/rfc/rfc8414#section-2: https, no query, no fragment. Plain http is for this machine alone. */
function checkIssuerUrl(issuer: string): void {
	const url = URL.parse(issuer);
	if (url !== null && isTrusted(url) && !/[?#]/.test(issuer) && url.username === '' && url.password === '') return;
	throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
		reason: 'The issuer must be an https URL without query and fragment, or an http URL of a loopback address.',
	});
}

function isTrusted({ protocol, hostname }: URL): boolean {
	return protocol === 'https:' || (protocol === 'http:' && /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/.test(hostname));
}

/**
 * Where the metadata of an issuer may be, in the order of
 * https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization/authorization-server-discovery#authorization-server-metadata-discovery:
 * RFC 8414 puts the well-known part before the path of the issuer, OpenID Connect after it.
 */
export function metadataUrlsOf(issuer: string): readonly string[] {
	const { origin, pathname } = new URL(issuer);
	const path = pathname.replace(/\/$/, '');
	const urls = ['oauth-authorization-server', 'openid-configuration'].map(
		(name) => `${origin}/.well-known/${name}${path}`,
	);
	return path === '' ? urls : [...urls, `${origin}${path}/.well-known/openid-configuration`];
}

/** The `jwks_uri` of the first metadata that is there and is that of this issuer. */
async function discoverKeysUrl(issuer: string, signal: AbortSignal): Promise<string> {
	const failures: unknown[] = [];
	for (const url of metadataUrlsOf(issuer)) {
		try {
			return keysUrlIn(await fetchJson(url, signal), issuer);
		} catch (error) {
			failures.push(error);
		}
	}
	throw failures.find((failure) => failure instanceof IssuerFault) ?? failures[0];
}

/** https://www.rfc-editor.org/rfc/rfc8414#section-3.3: metadata that names another issuer must not be used. */
function keysUrlIn(metadata: unknown, issuer: string): string {
	if (typeof metadata !== 'object' || metadata === null) throw new IssuerFault('Its metadata is no object.');
	if (!('issuer' in metadata) || metadata.issuer !== issuer)
		throw new IssuerFault('Its metadata names another issuer.');
	const text = 'jwks_uri' in metadata && typeof metadata.jwks_uri === 'string' ? metadata.jwks_uri : '';
	const url = URL.parse(text);
	if (url === null || !isTrusted(url)) throw new IssuerFault('Its metadata names no https URL of its keys.');
	return url.href;
}

/** A document of the issuer. Nothing is followed, and no more is read than it may have. */
async function fetchJson(url: string, signal: AbortSignal): Promise<unknown> {
	const response = await fetch(url, { signal, redirect: 'manual', headers: { accept: 'application/json' } });
	if (response.status !== 200) {
		await response.body?.cancel();
		throw new Error(`status ${response.status}`);
	}
	const chunks: Uint8Array[] = [];
	let bytes = 0;
	for await (const chunk of response.body ?? []) {
		bytes += chunk.byteLength;
		if (bytes > OAUTH_LIMITS.documentBytesMax) throw new IssuerFault('Its metadata or keys are too long.');
		chunks.push(chunk);
	}
	return JSON.parse(Buffer.concat(chunks).toString());
}

/** jose looks at what the keys are. */
function isKeySet(value: unknown): value is JSONWebKeySet {
	return typeof value === 'object' && value !== null && 'keys' in value && Array.isArray(value.keys);
}
