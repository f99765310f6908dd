/** A client of the protocol's SDK that is told nothing but an address, and finds its way by what we answer. */
import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { auth, extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js';
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { SlipwayError } from '../../src/errors.ts';
import { challenge } from '../../src/http/oauth/challenge.ts';
import {
	audienceOf,
	matchMetadataPath,
	metadataUrlOf,
	resourceMetadata,
	resourceOf,
	scopesFor,
} from '../../src/http/oauth/resource-metadata.ts';
import { TokenVerifier } from '../../src/http/oauth/token-verifier.ts';
import { AuthorizationServer, ROBOT } from '../support/authorization-server.ts';

/** A resource server of our parts, and of nothing else: it answers with the Grant of whoever has all the scopes. */
async function startResource(t: TestContext, issuer: string, needed: readonly string[]): Promise<string> {
	const http = createServer((request, response) => void serve(request, response));
	await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve));
	t.after(() => {
		http.close();
		http.closeAllConnections();
	});
	const publicUrl = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
	const verifier = new TokenVerifier({ issuer, audience: audienceOf(publicUrl) });
	const serve = async ({ url: path = '', headers }: IncomingMessage, response: ServerResponse): Promise<void> => {
		const endpoint = matchMetadataPath(path);
		if (endpoint !== undefined) {
			response.writeHead(200, { 'content-type': 'application/json' });
			response.end(JSON.stringify(resourceMetadata(endpoint, { publicUrl, issuer, announceScopes: true })));
			return;
		}
		const refuse = (status: number, value: string): void => {
			response.writeHead(status, { 'www-authenticate': value }).end();
		};
		const metadataUrl = metadataUrlOf(publicUrl, path);
		const token = headers.authorization?.replace(/^Bearer /, '');
		if (token === undefined)
			return refuse(401, challenge(metadataUrl, { kind: 'tokenMissing', needed: scopesFor(path) }));
		try {
			const grant = await verifier.verify(token, resourceOf(publicUrl, path));
			const { scopes: granted } = grant;
			if (needed.every((scope) => granted.includes(scope))) response.end(JSON.stringify(grant));
			else refuse(403, challenge(metadataUrl, { kind: 'scopeMissing', needed, granted }));
		} catch (error) {
			assert.ok(error instanceof SlipwayError);
			refuse(error.row.httpStatus, challenge(metadataUrl, { kind: 'tokenInvalid', needed: scopesFor(path) }));
		}
	};
	return publicUrl;
}

test('a client finds the issuer, gets a token for the one server, and steps up once for all scopes', async (t) => {
	const issuer = await AuthorizationServer.start(t);
	const publicUrl = await startResource(t, issuer.issuer, ['tool:memory/read_*', 'group:coding']);
	const serverUrl = `${publicUrl}/servers/memory/mcp`;
	let token: string | undefined;

	/** Asks, and where it is refused goes for what the refusal says. */
	const call = async (
		url = serverUrl,
	): Promise<{ status: number; scope: string | undefined; error: string | undefined; body: string }> => {
		const response = await fetch(url, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
		const { resourceMetadataUrl, scope, error } = extractWWWAuthenticateParams(response);
		if (!response.ok && scope !== undefined && resourceMetadataUrl !== undefined) {
			// The SDK takes the scopes of a client that acts for itself from here, and not from what it was told.
			const provider = new ClientCredentialsProvider({
				clientId: ROBOT.id,
				clientSecret: ROBOT.secret,
				expectedIssuer: issuer.issuer,
				scope,
			});
			assert.equal(await auth(provider, { serverUrl: url, resourceMetadataUrl, scope }), 'AUTHORIZED');
			token = provider.tokens()?.access_token;
		}
		return { status: response.status, scope, error, body: await response.text() };
	};

	const { status, scope, error } = await call();
	assert.deepEqual({ status, scope, error }, { status: 401, scope: 'server:memory', error: undefined });

	const refused = await call();
	assert.equal(refused.status, 403);
	assert.equal(refused.error, 'insufficient_scope');
	assert.equal(refused.scope, 'tool:memory/read_* group:coding server:memory');

	const answered = await call();
	assert.equal(answered.status, 200);
	const { subject, scopes }: { subject: string; scopes: string[] } = JSON.parse(answered.body);
	assert.equal(subject, 'robot');
	assert.deepEqual(new Set(scopes), new Set(['tool:memory/read_*', 'group:coding', 'server:memory']));

	// The token names that server, and is good at no other.
	const elsewhere = await call(`${publicUrl}/servers/files/mcp`);
	assert.equal(elsewhere.status, 401);
	assert.equal(elsewhere.error, 'invalid_token');
});
