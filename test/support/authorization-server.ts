/**
 * A real authorization server on loopback (oidc-provider), for tests of what its tokens are taken for. It can be stopped
 * and started at the same address, change its keys, and hold or replace its answers.
 */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { TestContext } from 'node:test';
import { exportJWK, generateKeyPair, type JWK, type JWTHeaderParameters, type JWTPayload, SignJWT } from 'jose';
import Provider, { type Configuration } from 'oidc-provider';

/** The scopes that its clients may ask for. */
const SCOPES = ['server:memory', 'server:files', 'group:coding', 'tool:memory/read_*', 'admin', '*', 'unheard-of'];

const REDIRECT_URI = 'https://client.invalid/callback';

/** A client that acts for itself, and one that acts for a person. */
export const ROBOT = Object.freeze({ id: 'robot', secret: 'a-secret-of-the-robot-0123456789' });
export const APP = Object.freeze({ id: 'app', secret: 'a-secret-of-the-app-0123456789ab' });

export interface SigningKey {
	readonly kid: string;
	readonly alg: string;
	readonly privateKey: CryptoKey;
	readonly publicKey: CryptoKey;
	readonly publicJwk: JWK;
	readonly jwk: JWK;
}

/** A key pair such as an authorization server has. */
export async function makeKey(alg = 'RS256', kid: string = randomBytes(8).toString('hex')): Promise<SigningKey> {
	const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
	const named = async (key: CryptoKey): Promise<JWK> => ({ ...(await exportJWK(key)), kid, alg, use: 'sig' });
	return { kid, alg, privateKey, publicKey, publicJwk: await named(publicKey), jwk: await named(privateKey) };
}

export interface AuthorizationServerOptions {
	/** The path of its issuer, '' for none. */
	readonly path?: string;
	/** Claims of every access token beside its own. */
	readonly claims?: Record<string, unknown>;
	readonly keys?: readonly SigningKey[];
}

/** What may be of any type, and where undefined leaves something out. */
type Forged = Readonly<Record<string, unknown>>;

export interface ForgeOptions {
	readonly header?: Forged;
	/** The server's own where none is given. */
	readonly key?: CryptoKey | Uint8Array;
}

/** What is answered in the place of a document, and what is not answered at all. */
export type Played =
	| { readonly status?: number; readonly headers?: Record<string, string>; readonly body: string }
	| 'nothing';

export class AuthorizationServer {
	readonly issuer: string;
	/** The paths that were asked for. */
	readonly asked: string[] = [];
	/** Answers in the place of real ones, by path. */
	readonly played = new Map<string, Played>();
	readonly #path: string;
	readonly #port: number;
	readonly #http: Server;
	readonly #claims: Record<string, unknown>;
	#keys: readonly SigningKey[] = [];
	#provider: Provider | undefined;

	private constructor(http: Server, { path = '', claims = {}, keys = [] }: AuthorizationServerOptions) {
		this.#path = path;
		this.#port = (http.address() as AddressInfo).port;
		this.issuer = `http://127.0.0.1:${this.#port}${path}`;
		this.#http = http;
		this.#claims = claims;
		this.useKeys(keys);
		http.on('request', (request, response) => void this.#serve(request, response));
	}

	/** Starts one that ends with the test. */
	static async start(
		t: Pick<TestContext, 'after'>,
		options: AuthorizationServerOptions = {},
	): Promise<AuthorizationServer> {
		const keys = options.keys ?? [await makeKey()];
		const http = createServer();
		await listen(http, 0);
		const server = new AuthorizationServer(http, { ...options, keys });
		t.after(() => server.stop());
		return server;
	}

	/** The key that it signs with. */
	get key(): SigningKey {
		const [key] = this.#keys;
		assert.ok(key !== undefined);
		return key;
	}

	/** How often its keys were asked for. */
	get keysAsked(): number {
		return this.asked.filter((path) => path === `${this.#path}/jwks`).length;
	}

	/** Signs with the first of these keys from now on, and publishes all of them and no other. */
	useKeys(keys: readonly SigningKey[]): void {
		this.#keys = keys;
		this.#provider = new Provider(this.issuer, toConfiguration(this.#path, keys, this.#claims));
	}

	/** Cuts all connections, and refuses new ones. */
	async stop(): Promise<void> {
		if (!this.#http.listening) return;
		const { promise, resolve } = Promise.withResolvers<void>();
		this.#http.close(() => resolve());
		this.#http.closeAllConnections();
		await promise;
	}

	/** Comes back at the same address. */
	start(): Promise<void> {
		return listen(this.#http, this.#port);
	}

	/** An access token that the robot gets for itself. */
	async robotToken(resource: string, scope = 'server:memory'): Promise<string> {
		const { access_token: token } = await this.#post('/token', ROBOT, {
			grant_type: 'client_credentials',
			resource,
			scope,
		});
		return String(token);
	}

	/** What the app gets when a person lets it: an access token and an ID token. */
	async appTokens(resource: string, scope = 'openid server:memory'): Promise<{ accessToken: string; idToken: string }> {
		const verifier = randomBytes(32).toString('base64url');
		const query = new URLSearchParams({
			client_id: APP.id,
			response_type: 'code',
			redirect_uri: REDIRECT_URI,
			scope,
			resource,
			nonce: 'a-nonce',
			code_challenge: createHash('sha256').update(verifier).digest('base64url'),
			code_challenge_method: 'S256',
		});
		const code = await this.#authorize(`${this.issuer}/auth?${query}`);
		const { access_token: accessToken, id_token: idToken } = await this.#post('/token', APP, {
			grant_type: 'authorization_code',
			code,
			redirect_uri: REDIRECT_URI,
			code_verifier: verifier,
			resource,
		});
		return { accessToken: String(accessToken), idToken: String(idToken) };
	}

	/** A token that this server has not made: with the claims and the header of a good one, but for what is given. */
	forge(claims: Forged, { header = {}, key = this.key.privateKey }: ForgeOptions = {}): Promise<string> {
		const nowS = Math.floor(Date.now() / 1000);
		const all: Forged = { iss: this.issuer, sub: 'robot', iat: nowS, exp: nowS + 600, ...claims };
		return new SignJWT(all as JWTPayload)
			.setProtectedHeader({ alg: this.key.alg, kid: this.key.kid, typ: 'at+jwt', ...header } as JWTHeaderParameters)
			.sign(key);
	}

	async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const path = new URL(request.url ?? '/', this.issuer).pathname;
		this.asked.push(path);
		const played = this.played.get(path);
		if (played === 'nothing') return;
		if (played !== undefined) {
			response.writeHead(played.status ?? 200, { 'content-type': 'application/json', ...played.headers });
			response.end(played.body);
			return;
		}
		if (!path.startsWith(`${this.#path}/`)) {
			response.writeHead(404).end();
			return;
		}
		assert.ok(this.#provider !== undefined);
		if (path.startsWith(`${this.#path}/interaction/`)) {
			// Whoever is asked is Alice, and agrees.
			await this.#provider.interactionFinished(request, response, { login: { accountId: 'alice' } });
			return;
		}
		// What the provider's own mounting in another app comes down to.
		Object.assign(request, { originalUrl: request.url, url: request.url?.slice(this.#path.length) });
		await this.#provider.callback()(request, response);
	}

	/** Goes where a browser is sent, until it is sent back to the app. */
	async #authorize(url: string): Promise<string> {
		const cookies = new Map<string, string>();
		let next = url;
		for (let steps = 0; steps < 8; steps += 1) {
			const response = await fetch(next, {
				redirect: 'manual',
				headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
			});
			for (const cookie of response.headers.getSetCookie()) {
				const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(cookie) ?? [];
				cookies.set(name, value);
			}
			const location = response.headers.get('location');
			assert.ok(location !== null, `${response.status} ${await response.text()}`);
			next = new URL(location, next).href;
			if (next.startsWith(REDIRECT_URI)) {
				const code = new URL(next).searchParams.get('code');
				assert.ok(code !== null, next);
				return code;
			}
		}
		throw new Error(`sent around, to ${next} at last`);
	}

	async #post(
		path: string,
		client: { readonly id: string; readonly secret: string },
		parameters: Record<string, string>,
	): Promise<Record<string, unknown>> {
		const response = await fetch(this.issuer + path, {
			method: 'POST',
			headers: { authorization: `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}` },
			body: new URLSearchParams(parameters),
		});
		const body: unknown = await response.json();
		assert.equal(response.status, 200, JSON.stringify(body));
		assert.ok(typeof body === 'object' && body !== null);
		return { ...body };
	}
}

function listen(http: Server, port: number): Promise<void> {
	const { promise, resolve, reject } = Promise.withResolvers<void>();
	http.once('error', reject);
	http.listen(port, '127.0.0.1', () => {
		http.off('error', reject);
		resolve();
	});
	return promise;
}

function toConfiguration(path: string, keys: readonly SigningKey[], claims: Record<string, unknown>): Configuration {
	const alg = keys[0]?.alg as 'RS256';
	const shared = { token_endpoint_auth_method: 'client_secret_basic', scope: `openid ${SCOPES.join(' ')}` } as const;
	return {
		clients: [
			{
				...shared,
				client_id: ROBOT.id,
				client_secret: ROBOT.secret,
				grant_types: ['client_credentials'],
				redirect_uris: [],
				response_types: [],
			},
			{
				...shared,
				client_id: APP.id,
				client_secret: APP.secret,
				grant_types: ['authorization_code'],
				redirect_uris: [REDIRECT_URI],
				response_types: ['code'],
			},
		],
		scopes: ['openid', ...SCOPES],
		clientDefaults: { id_token_signed_response_alg: alg },
		enabledJWA: { idTokenSigningAlgValues: [alg] },
		jwks: { keys: keys.map(({ jwk }) => jwk) },
		cookies: { keys: ['a-key-for-cookies'] },
		ttl: { AccessToken: 600, ClientCredentials: 600, IdToken: 600, Interaction: 600, Session: 600, Grant: 600 },
		findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
		extraTokenClaims: () => claims,
		interactions: { url: (_, { uid }) => `${path}/interaction/${uid}` },
		features: {
			devInteractions: { enabled: false },
			clientCredentials: { enabled: true },
			resourceIndicators: {
				enabled: true,
				getResourceServerInfo: (_, resource) => ({
					scope: SCOPES.join(' '),
					audience: resource,
					accessTokenFormat: 'jwt',
					jwt: { sign: { kid: keys[0]?.kid } },
				}),
			},
		},
		loadExistingGrant: async ({ oidc }) => {
			const grant = new oidc.provider.Grant({ clientId: APP.id, accountId: 'alice' });
			grant.addOIDCScope(['openid', ...SCOPES].join(' '));
			for (const resource of Object.keys(oidc.resourceServers ?? {}))
				grant.addResourceScope(resource, SCOPES.join(' '));
			await grant.save();
			return grant;
		},
	};
}
