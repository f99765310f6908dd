/** The keys of a real authorization server over time: changed, withdrawn, and not to be had. */
import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { metadataUrlsOf } from '../../src/http/oauth/issuer.ts';
import { TokenVerifier } from '../../src/http/oauth/token-verifier.ts';
import { OAUTH_LIMITS } from '../../src/limits.ts';
import {
	AuthorizationServer,
	type AuthorizationServerOptions,
	makeKey,
	type Played,
} from '../support/authorization-server.ts';

const GATEWAY = 'https://mcp.example.com';
const { refetchCooldownMs, keysAgeMsMax, keysStaleMsMax } = OAUTH_LIMITS;

async function startBench(t: TestContext, options?: AuthorizationServerOptions) {
	const issuer = await AuthorizationServer.start(t, options);
	// It stands still but for the test: no machine is too slow for it.
	let timeMs = Date.now();
	const nowMs = (): number => timeMs;
	return {
		issuer,
		verifier: new TokenVerifier({ issuer: issuer.issuer, audience: [GATEWAY], nowMs }),
		/** A token that the verifier has not seen. */
		token: () => issuer.robotToken(GATEWAY),
		/** One that lives for two days. */
		lastingToken: () =>
			issuer.forge({ jti: crypto.randomUUID(), aud: GATEWAY, exp: Math.floor(Date.now() / 1000) + 2 * 24 * 60 * 60 }),
		pass: (ms: number): void => {
			timeMs += ms;
		},
	};
}

const INVALID = { code: 'SLIPWAY_TOKEN_INVALID', message: /not signed with a key of the issuer/ };
const UNREACHABLE = { code: 'SLIPWAY_ISSUER_UNREACHABLE' };

describe('keys of the issuer', () => {
	test('are asked for once, however many tokens come at once', async (t) => {
		const { issuer, verifier, token } = await startBench(t);
		const tokens = await Promise.all(Array.from({ length: 8 }, token));
		await Promise.all(tokens.map((each) => verifier.verify(each)));
		assert.equal(issuer.keysAsked, 1);
	});

	test('a new one is asked for when a token has it, and no more often than may be', async (t) => {
		const { issuer, verifier, token, pass } = await startBench(t);
		const old = await token();
		await verifier.verify(old);
		issuer.useKeys([await makeKey(), issuer.key]);
		const fresh = await token();
		await assert.rejects(verifier.verify(fresh), INVALID);
		assert.equal(issuer.keysAsked, 1);
		pass(refetchCooldownMs);
		await Promise.all([verifier.verify(fresh), verifier.verify(old), verifier.verify(await token())]);
		assert.equal(issuer.keysAsked, 2);
	});

	test('one without an id is found where there is no other', async (t) => {
		const { issuer, verifier, pass } = await startBench(t);
		const forge = (): Promise<string> =>
			issuer.forge({ aud: GATEWAY, jti: crypto.randomUUID() }, { header: { kid: undefined } });
		await verifier.verify(await forge());
		issuer.useKeys([issuer.key, await makeKey()]);
		pass(keysAgeMsMax);
		const told = { code: 'SLIPWAY_TOKEN_INVALID', message: /does not say which key/ };
		await assert.rejects(verifier.verify(await forge()), told);
	});

	test('ids that nobody has do not make us ask again and again', async (t) => {
		const { issuer, verifier, pass } = await startBench(t);
		const evil = await makeKey();
		const forge = (kid: string): Promise<string> =>
			issuer.forge({ aud: GATEWAY }, { header: { kid }, key: evil.privateKey });
		for (let round = 1; round <= 3; round += 1) {
			for (let count = 0; count < 10; count += 1)
				await assert.rejects(verifier.verify(await forge(`${round}-${count}`)), INVALID);
			assert.equal(issuer.keysAsked, round);
			pass(refetchCooldownMs);
		}
	});

	test('one that was withdrawn is good for nothing when our copy is old and what was seen is forgotten', async (t) => {
		const { issuer, verifier, lastingToken, pass } = await startBench(t);
		const [before, between, after] = [await lastingToken(), await lastingToken(), await lastingToken()];
		await verifier.verify(before);
		issuer.useKeys([await makeKey()]);
		pass(keysAgeMsMax - 1);
		await verifier.verify(between);
		assert.equal(issuer.keysAsked, 1);
		pass(1);
		await assert.rejects(verifier.verify(after), INVALID);
		await assert.rejects(verifier.verify(before), INVALID);
		assert.equal(issuer.keysAsked, 2);
		pass(OAUTH_LIMITS.verifiedMsMax);
		await assert.rejects(verifier.verify(between), INVALID);
	});
});

describe('an issuer that is down', () => {
	test('from the beginning: nothing is accepted, until it is there', async (t) => {
		const { issuer, verifier, token, pass } = await startBench(t);
		const good = await token();
		await issuer.stop();
		await assert.rejects(verifier.verify(good), {
			...UNREACHABLE,
			details: { reason: 'It does not answer.', retryAfterSeconds: 10 },
		});
		await issuer.start();
		// Asked just now: it is not asked again with every token.
		const before = issuer.asked.length;
		await assert.rejects(verifier.verify(good), UNREACHABLE);
		assert.equal(issuer.asked.length, before);
		pass(refetchCooldownMs);
		assert.equal((await verifier.verify(good)).subject, 'robot');
	});

	test('later: tokens with a known key go on, for a day, and others are neither good nor bad', async (t) => {
		const { issuer, verifier, token, lastingToken, pass } = await startBench(t);
		await verifier.verify(await token());
		const [soon, late, tooLate] = [await token(), await lastingToken(), await lastingToken()];
		const stranger = await makeKey();
		const exp = Math.floor(Date.now() / 1000) + 2 * 24 * 60 * 60;
		const other = await issuer.forge(
			{ aud: GATEWAY, exp },
			{ header: { kid: stranger.kid }, key: stranger.privateKey },
		);
		await issuer.stop();
		pass(refetchCooldownMs);
		await verifier.verify(soon);
		await assert.rejects(verifier.verify(other), UNREACHABLE);
		pass(keysAgeMsMax);
		await verifier.verify(late);
		pass(keysStaleMsMax - keysAgeMsMax - refetchCooldownMs);
		await assert.rejects(verifier.verify(tooLate), UNREACHABLE);
		await issuer.start();
		pass(refetchCooldownMs);
		await verifier.verify(tooLate);
		await assert.rejects(verifier.verify(other), INVALID);
	});

	test('one that takes a connection and says nothing is waited for so long and no longer', async (t) => {
		const { issuer, verifier, token } = await startBench(t);
		const good = await token();
		issuer.played.set('/jwks', 'nothing');
		const startedAtMs = performance.now();
		await assert.rejects(verifier.verify(good), UNREACHABLE);
		const waitedMs = performance.now() - startedAtMs;
		assert.ok(waitedMs >= OAUTH_LIMITS.fetchTimeoutMs - 100, `${waitedMs} ms`);
		assert.ok(waitedMs < 4 * OAUTH_LIMITS.fetchTimeoutMs, `${waitedMs} ms`);
	});
});

describe('the metadata of an issuer', () => {
	const here = { issuer: 'http://127.0.0.1' };
	const table: [name: string, play: (issuer: string) => Played, reason: RegExp][] = [
		['that names another', (issuer) => json({ issuer: `${issuer}/`, jwks_uri: `${issuer}/jwks` }), /another issuer/],
		['that names none', (issuer) => json({ jwks_uri: `${issuer}/jwks` }), /another issuer/],
		['without keys', (issuer) => json({ issuer }), /no https URL/],
		['with keys over plain http', (issuer) => json({ issuer, jwks_uri: 'http://id.example/jwks' }), /no https URL/],
		['with keys in a file', (issuer) => json({ issuer, jwks_uri: 'file:///etc/passwd' }), /no https URL/],
		['that is no object', () => json(null), /no object/],
		['that is no JSON', () => ({ body: '<html>' }), /does not answer/],
		['that is endless', () => json('x'.repeat(OAUTH_LIMITS.documentBytesMax)), /too long/],
		[
			'that is elsewhere',
			(issuer) => ({ status: 302, headers: { location: `${issuer}/jwks` }, body: '' }),
			/does not answer/,
		],
		['with no set of keys', (issuer) => json({ issuer, jwks_uri: `${issuer}/keys` }), /no set of keys/],
	];
	for (const [name, play, reason] of table) {
		test(`${name}: nothing is accepted`, async (t) => {
			const { issuer, verifier, token } = await startBench(t);
			const good = await token();
			for (const url of metadataUrlsOf(issuer.issuer)) issuer.played.set(new URL(url).pathname, play(issuer.issuer));
			issuer.played.set('/keys', json(here));
			await assert.rejects(verifier.verify(good), { ...UNREACHABLE, message: reason });
		});
	}

	test('that is wrong in one place is told of rather than that there is none in another', async (t) => {
		const { issuer, verifier, token } = await startBench(t);
		const good = await token();
		issuer.played.set('/.well-known/oauth-authorization-server', { status: 404, body: '' });
		issuer.played.set('/.well-known/openid-configuration', json({ issuer: 'https://id.example.com' }));
		await assert.rejects(verifier.verify(good), { ...UNREACHABLE, message: /names another issuer/ });
		// What is wrong in one place may be right in another.
		issuer.played.set('/.well-known/oauth-authorization-server', json({ issuer: 'https://id.example.com' }));
		issuer.played.delete('/.well-known/openid-configuration');
		assert.ok(await new TokenVerifier({ issuer: issuer.issuer, audience: [GATEWAY] }).verify(good));
	});

	test('is looked for where OAuth has it, then where OpenID Connect has it', async (t) => {
		const { issuer, verifier, token } = await startBench(t, { path: '/tenant/one' });
		const good = await token();
		issuer.asked.length = 0;
		assert.equal((await verifier.verify(good)).issuer, issuer.issuer);
		assert.deepEqual(issuer.asked, [
			'/.well-known/oauth-authorization-server/tenant/one',
			'/.well-known/openid-configuration/tenant/one',
			'/tenant/one/.well-known/openid-configuration',
			'/tenant/one/jwks',
		]);
		assert.deepEqual(metadataUrlsOf('https://id.example.com/'), [
			'https://id.example.com/.well-known/oauth-authorization-server',
			'https://id.example.com/.well-known/openid-configuration',
		]);
	});
});

test('an issuer has an https URL, or is on this machine', () => {
	const make = (issuer: string) => new TokenVerifier({ issuer, audience: [GATEWAY] });
	for (const issuer of [
		'https://id.example.com',
		'https://id.example.com/a/',
		'http://localhost:1',
		'http://127.0.0.9:1',
		'http://[::1]:1',
	])
		assert.ok(make(issuer));
	for (const issuer of [
		'',
		'id.example.com',
		'http://id.example.com',
		'http://localhost.example.com',
		'http://127.0.0.1.example.com',
		'ftp://localhost',
		'https://id.example.com?x',
		'https://id.example.com#x',
		'https://user@id.example.com',
		'https://:secret@id.example.com',
	])
		assert.throws(() => make(issuer), { code: 'SLIPWAY_CONFIG_INVALID' }, issuer);
});

function json(value: unknown): Played {
	return { body: JSON.stringify(value) };
}
