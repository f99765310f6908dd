/** Tokens of a real authorization server, and those that only look like it. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { decodeProtectedHeader, exportSPKI } from 'jose';
import { SlipwayError } from '../../src/errors.ts';
import { audienceOf, resourceOf } from '../../src/http/oauth/resource-metadata.ts';
import { readScopeTable } from '../../src/http/oauth/scopes.ts';
import {
	type Grant,
	isTokenShaped,
	TokenVerifier,
	type TokenVerifierOptions,
} from '../../src/http/oauth/token-verifier.ts';
import { OAUTH_LIMITS } from '../../src/limits.ts';
import { AuthorizationServer, type AuthorizationServerOptions, makeKey } from '../support/authorization-server.ts';

const GATEWAY = 'https://mcp.example.com';
const MEMORY = resourceOf(GATEWAY, '/servers/memory/mcp');
const FILES = resourceOf(GATEWAY, '/servers/files/mcp');

/** What every forged token says, and no error may. */
const CANARY = 'canary of a claim';

type Claims = Readonly<Record<string, unknown>>;

interface Bench {
	readonly issuer: AuthorizationServer;
	readonly verifier: TokenVerifier;
	/** Turns the verifier's clock forward. */
	pass(ms: number): void;
}

async function startBench(
	t: TestContext,
	{ server, ...options }: Partial<TokenVerifierOptions> & { readonly server?: AuthorizationServerOptions } = {},
): Promise<Bench> {
	const issuer = await AuthorizationServer.start(t, server);
	// It stands still but for the test: no machine is too slow for it.
	let timeMs = Date.now();
	const nowMs = (): number => timeMs;
	const verifier = new TokenVerifier({ issuer: issuer.issuer, audience: audienceOf(GATEWAY), nowMs, ...options });
	const pass = (ms: number): void => {
		timeMs += ms;
	};
	return { issuer, verifier, pass };
}

/** Refused, for that reason, and without a word of the token. */
async function assertRefused(verified: Promise<Grant>, token: string, reason: RegExp): Promise<void> {
	await assert.rejects(verified, (error) => {
		assert.ok(error instanceof SlipwayError);
		assert.equal(error.code, 'SLIPWAY_TOKEN_INVALID');
		assert.match(error.message, reason);
		assert.match(error.message, /^The access token is not one that this gateway takes\. Its? [a-zA-Z ,]+\.$/);
		const told = error.message + JSON.stringify(error.details);
		for (const part of token.split('.')) assert.ok(part.length < 8 || !told.includes(part.slice(0, 8)), told);
		assert.ok(!told.includes(CANARY), told);
		return true;
	});
}

describe('tokens of the issuer', () => {
	test('one that a client gets for itself says who it is and what it may use, of ours only', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const grant = await verifier.verify(await issuer.robotToken(GATEWAY, 'server:memory admin unheard-of'));
		const { expiresAtMs, ...rest } = grant;
		assert.deepEqual(rest, {
			issuer: issuer.issuer,
			subject: 'robot',
			clientId: 'robot',
			scopes: ['server:memory', 'admin'],
		});
		assert.ok(Math.abs(expiresAtMs - Date.now() - 600_000) < 30_000);
		assert.ok(Object.isFrozen(grant) && Object.isFrozen(grant.scopes));
	});

	test('one that an app gets for a person is that of the person', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const { accessToken } = await issuer.appTokens(MEMORY);
		const { subject, clientId, scopes } = await verifier.verify(accessToken, MEMORY);
		assert.deepEqual({ subject, clientId, scopes }, { subject: 'alice', clientId: 'app', scopes: ['server:memory'] });
	});

	test('the client is where the issuer has it, if it is a name', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const clientOf = async (claims: Claims): Promise<string | undefined> =>
			(await verifier.verify(await issuer.forge({ aud: GATEWAY, ...claims }))).clientId;
		assert.equal(await clientOf({ client_id: 'a', azp: 'b' }), 'a');
		assert.equal(await clientOf({ azp: 'b' }), 'b');
		for (const client of [undefined, 7, '', 'a\nb']) assert.equal(await clientOf({ client_id: client }), undefined);
	});

	test('one for the gateway is good for every server, and one for a server for that alone', async (t) => {
		const { issuer, verifier } = await startBench(t);
		for (const audience of [GATEWAY, `${GATEWAY}/`]) {
			const token = await issuer.robotToken(audience);
			for (const resource of [undefined, GATEWAY, MEMORY, FILES]) await verifier.verify(token, resource);
		}
		const token = await issuer.robotToken(MEMORY);
		await verifier.verify(token, MEMORY);
		// The second look at it is not from memory alone.
		for (const other of [FILES, GATEWAY, undefined, `${MEMORY}/`, MEMORY.toUpperCase()])
			await assertRefused(verifier.verify(token, other), token, /for another resource/);
	});

	test('groups and roles of the issuer become scopes', async (t) => {
		const claims = { realm_access: { roles: ['operators', 'others'] } };
		const table = readScopeTable('{"operators": ["*", "admin"]}');
		const { issuer, verifier } = await startBench(t, {
			server: { claims },
			scopeMapping: { claim: 'realm_access.roles', table },
		});
		const { scopes } = await verifier.verify(await issuer.robotToken(GATEWAY));
		assert.deepEqual(scopes, ['server:memory', '*', 'admin']);
	});

	for (const alg of ['RS256', 'PS512', 'ES256', 'ES512', 'EdDSA']) {
		test(`signed with ${alg}`, async (t) => {
			const { issuer, verifier } = await startBench(t, { server: { keys: [await makeKey(alg)] } });
			const token = await issuer.robotToken(GATEWAY);
			assert.equal(decodeProtectedHeader(token).alg, alg);
			assert.equal((await verifier.verify(token)).subject, 'robot');
		});
	}
});

describe('what is no token of the issuer for us', () => {
	const toleranceS = OAUTH_LIMITS.clockToleranceMs / 1000;
	const claims: [name: string, claims: Claims | ((nowS: number) => Claims), reason: RegExp][] = [
		['expired', (nowS) => ({ exp: nowS - toleranceS - 5 }), /expired/],
		['no exp', { exp: undefined }, /no exp/],
		['an exp that is a string', (nowS) => ({ exp: String(nowS + 600) }), /no exp/],
		['an exp beyond all time', { exp: 1e300 }, /no end/],
		['not yet valid', (nowS) => ({ nbf: nowS + toleranceS + 60 }), /not valid yet/],
		['issued in the future', (nowS) => ({ iat: nowS + toleranceS + 60 }), /in the future/],
		['another audience', { aud: 'https://other.example.com' }, /another resource/],
		['an audience that begins as ours', { aud: `${GATEWAY}.evil.example` }, /another resource/],
		['no audience', { aud: undefined }, /no aud/],
		['an audience that is no name', { aud: { x: GATEWAY } }, /another resource/],
		['another issuer', { iss: 'https://id.evil.example' }, /another issuer/],
		['no issuer', { iss: undefined }, /another issuer/],
		['no subject', { sub: undefined }, /no sub/],
		['an empty subject', { sub: '' }, /subject/],
		['a subject that is no string', { sub: 7 }, /subject/],
		['a subject with a line break', { sub: 'a\nb' }, /subject/],
		['a long subject', { sub: 'x'.repeat(OAUTH_LIMITS.subjectCharsMax + 1) }, /subject/],
		['bound to a key of its bearer', { cnf: { jkt: 'x' } }, /bound to a key/],
	];
	for (const [name, given, reason] of claims) {
		test(name, async (t) => {
			const { issuer, verifier } = await startBench(t);
			const nowS = Math.floor(Date.now() / 1000);
			const token = await issuer.forge({
				aud: GATEWAY,
				canary: CANARY,
				...(typeof given === 'function' ? given(nowS) : given),
			});
			await assertRefused(verifier.verify(token), token, reason);
		});
	}

	test('within the tolerance of clocks they are good', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const nowS = Math.floor(Date.now() / 1000);
		for (const given of [
			{ exp: nowS - 5 },
			{ nbf: nowS + 5 },
			{ iat: nowS + 5 },
			{ aud: ['https://x.example', GATEWAY] },
		])
			await verifier.verify(await issuer.forge({ aud: GATEWAY, ...given }));
	});

	const headers: [name: string, header: Claims, reason: RegExp][] = [
		['of no type', { typ: undefined }, /no access token/],
		['a JWT of any kind', { typ: 'JWT' }, /no access token/],
		['a logout token', { typ: 'logout+jwt' }, /no access token/],
		['a header with extensions', { crit: ['b64'], b64: true }, /extensions/],
	];
	for (const [name, header, reason] of headers) {
		test(name, async (t) => {
			const { issuer, verifier } = await startBench(t);
			const token = await issuer.forge({ aud: GATEWAY }, { header });
			await assertRefused(verifier.verify(token), token, reason);
			// For the sake of what could never be good, the issuer is not asked.
			assert.equal(issuer.keysAsked, 0);
		});
	}

	test('signed with HS256, the public key of the issuer for a secret', async (t) => {
		const { issuer, verifier } = await startBench(t);
		for (const secret of [await exportSPKI(issuer.key.publicKey), JSON.stringify(issuer.key.publicJwk)]) {
			const token = await issuer.forge(
				{ aud: GATEWAY },
				{ header: { alg: 'HS256' }, key: new TextEncoder().encode(secret) },
			);
			await assertRefused(verifier.verify(token), token, /signed in a way/);
		}
	});

	test('not signed at all', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const [, payload] = (await issuer.forge({ aud: GATEWAY })).split('.');
		for (const alg of ['none', 'None', 'NONE', '']) {
			const header = Buffer.from(JSON.stringify({ alg, typ: 'at+jwt', kid: issuer.key.kid })).toString('base64url');
			for (const token of [`${header}.${payload}.`, `${header}.${payload}.AAAA`, `${header}.${payload}`])
				await assertRefused(verifier.verify(token), token, /signed/);
		}
	});

	test('signed with another key that has the same id, or that the token brings along', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const evil = await makeKey('RS256', issuer.key.kid);
		const evilIssuer = await AuthorizationServer.start(t, { keys: [evil] });
		const jku = `${evilIssuer.issuer}/jwks`;
		for (const header of [{}, { jwk: evil.publicJwk }, { jku }, { x5u: jku }, { jku, kid: 'another' }]) {
			const token = await issuer.forge({ aud: GATEWAY }, { header, key: evil.privateKey });
			await assertRefused(verifier.verify(token), token, /not signed with a key of the issuer/);
		}
		assert.deepEqual(evilIssuer.asked, []);
	});

	test('an ID token, though its audience be accepted', async (t) => {
		const { issuer, verifier } = await startBench(t, { audience: ['app'] });
		const { idToken } = await issuer.appTokens(MEMORY);
		await assertRefused(verifier.verify(idToken), idToken, /no access token/);
	});

	test('an ID token where access tokens are of no type of their own', async (t) => {
		const { issuer, verifier } = await startBench(t, { audience: ['app', GATEWAY], tokenType: 'JWT' });
		const { idToken } = await issuer.appTokens(MEMORY);
		await assertRefused(verifier.verify(idToken), idToken, /no access token/);
		for (const typ of ['JWT', undefined, 'at+jwt', 'application/at+jwt']) {
			await verifier.verify(await issuer.forge({ aud: GATEWAY }, { header: { typ } }));
		}
		const keycloaks = await issuer.forge({ aud: GATEWAY, typ: 'ID' }, { header: { typ: 'JWT' } });
		await assertRefused(verifier.verify(keycloaks), keycloaks, /no access token/);
	});

	test('cut off anywhere, or with a character changed anywhere', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const token = await issuer.robotToken(GATEWAY);
		await fc.assert(
			fc.asyncProperty(
				fc.nat(token.length - 2),
				fc.constantFrom('A', 'b', '9', '-', '.', ' ', '\n', 'é'),
				async (at, other) => {
					await assertRefused(verifier.verify(token.slice(0, at)), token, /./);
					if (token[at] === other) return;
					await assertRefused(verifier.verify(token.slice(0, at) + other + token.slice(at + 1)), token, /./);
				},
			),
			{ numRuns: 300 },
		);
		await verifier.verify(token);
	});

	test('100 KB long, though it be signed by the issuer', async (t) => {
		const { issuer, verifier } = await startBench(t);
		const token = await issuer.forge({ aud: GATEWAY, padding: 'x'.repeat(75_000) });
		assert.ok(token.length > 100_000);
		await assertRefused(verifier.verify(token), token, /too long/);
		assert.deepEqual(issuer.asked, []);
	});

	test('a key of ours or anything else has not the form of one', async (t) => {
		const { issuer } = await startBench(t);
		assert.equal(isTokenShaped(await issuer.robotToken(GATEWAY)), true);
		for (const other of ['', 'slipway_AbC-123', 'a.b', 'a.b.c.d', 'a.b.c.d.e', 'a..c', 'a.b.c ']) {
			assert.equal(isTokenShaped(other), false, other);
		}
	});
});

describe('what was found good', () => {
	test('is known again by its hash, for a minute and not beyond its end', async (t) => {
		const { issuer, verifier, pass } = await startBench(t);
		const looks = t.mock.method(crypto.subtle, 'verify');
		const long = await issuer.robotToken(GATEWAY);
		const short = await issuer.forge({ aud: GATEWAY, exp: Math.floor(Date.now() / 1000) + 20 });
		const grant = await verifier.verify(long);
		assert.equal(await verifier.verify(long), grant);
		assert.equal(looks.mock.callCount(), 1);
		await verifier.verify(short);
		assert.equal(looks.mock.callCount(), 2);
		pass(20_000 + OAUTH_LIMITS.clockToleranceMs + 1_000);
		await assertRefused(verifier.verify(short), short, /expired/);
		assert.equal(looks.mock.callCount(), 3);
		await verifier.verify(long);
		assert.equal(looks.mock.callCount(), 3);
		pass(OAUTH_LIMITS.verifiedMsMax);
		await verifier.verify(long);
		assert.equal(looks.mock.callCount(), 4);
		pass(10 * 60_000);
		await assertRefused(verifier.verify(long), long, /expired/);
	});

	test('is not more than may be, and the oldest goes first', async (t) => {
		const { issuer, verifier } = await startBench(t, { server: { keys: [await makeKey('EdDSA')] } });
		const [first, second] = [
			await issuer.forge({ aud: GATEWAY, jti: 'a' }),
			await issuer.forge({ aud: GATEWAY, jti: 'b' }),
		];
		await verifier.verify(first);
		await verifier.verify(second);
		for (let count = 0; count < OAUTH_LIMITS.verifiedMax - 1; count += 1)
			await verifier.verify(await issuer.forge({ aud: GATEWAY, jti: `c${count}` }));
		const looks = t.mock.method(crypto.subtle, 'verify');
		await verifier.verify(second);
		assert.equal(looks.mock.callCount(), 0);
		await verifier.verify(first);
		assert.equal(looks.mock.callCount(), 1);
	});
});
