/** Tokens of a real authorization server at the gateway itself, beside keys. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { AuthorizationServer, makeKey, ROBOT } from '../support/authorization-server.ts';
import { ENDPOINT_PATHS, recordRoutes } from '../support/every-route.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, call, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const PUBLIC_URL = 'http://localhost:8080';
const MEMORY = '/servers/memory/mcp';
const LIST: Rpc = { jsonrpc: '2.0', id: 'l', method: 'tools/list' };

async function start(
	t: Test,
	mapped: { scopesClaim?: string; scopesMap?: string; claims?: Record<string, unknown> } = {},
) {
	const issuer = await AuthorizationServer.start(t, mapped.claims === undefined ? {} : { claims: mapped.claims });
	const logged: unknown[] = [];
	const note = (...line: readonly unknown[]): void => void logged.push(line);
	const log: Log = { ...SILENT_LOG, error: note, warn: note, info: note, debug: note, with: () => log };
	const stack = await startHttpStack(t, {
		log,
		config: {
			publicUrl: PUBLIC_URL,
			oauth: {
				issuer: issuer.issuer,
				audience: undefined,
				scopesClaim: mapped.scopesClaim,
				scopesMap: mapped.scopesMap,
				tokenType: 'at+jwt',
			},
		},
	});
	const { launcher } = stack;
	launcher.state = { ...launcher.state, servers: [serverView('memory'), serverView('files')], groups: {} };
	const tools = ['read_graph', 'write'].map((name) => ({ name, inputSchema: { type: 'object' } }));
	const script = { answers: { 'tools/list': () => ({ tools }), 'tools/call': () => ({ content: [] }) } };
	const cast = new Cast(launcher, { memory: script, files: script });
	return {
		issuer,
		stack,
		cast,
		logged,
		initialize: (path: string, token?: string): Promise<Reply> =>
			new SessionHttp(stack, path, undefined, token).initialize(),
		get: (path: string, token?: string): Promise<Reply> =>
			stack.send({ path, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }),
	};
}

const challengeOf = ({ headers }: Reply): string => String(headers['www-authenticate']);

async function namesIn(session: SessionHttp): Promise<unknown> {
	const { rpc } = await session.post(LIST);
	return (rpc.result?.['tools'] as { name: string }[] | undefined)?.map(({ name }) => name);
}

test('who comes with nothing is told where to get a token, and for what; the document says no more to anybody', async (t) => {
	const { issuer, stack, get } = await start(t);
	const refused = await stack.send({
		method: 'POST',
		path: MEMORY,
		headers: { 'content-type': 'application/json' },
		body: '{}',
	});
	assert.equal(refused.status, 401);
	const document = '/.well-known/oauth-protected-resource';
	assert.equal(
		challengeOf(refused),
		`Bearer realm="slipway", resource_metadata="${PUBLIC_URL}${document}${MEMORY}", scope="server:memory"`,
	);
	for (const [endpoint, scopes] of [
		[MEMORY, ['server:memory']],
		['/servers/none/mcp', ['server:none']],
		['', ['*']],
	] as const) {
		const { status, text } = await get(`${document}${endpoint}`);
		assert.equal(status, 200);
		const { resource, authorization_servers, scopes_supported } = JSON.parse(text);
		assert.deepEqual(
			[resource, authorization_servers, scopes_supported],
			[`${PUBLIC_URL}${endpoint}`, [issuer.issuer], scopes],
		);
	}
	assert.equal((await get(`${document}/status`)).status, 401);
	assert.equal((await get('/status')).status, 401);
});

test('a token that is expired, forged or meant for another is 401 on every route, and starts nothing', async (t) => {
	const { issuer, stack } = await start(t);
	const evil = await makeKey('RS256', issuer.key.kid);
	const nowS = Math.floor(Date.now() / 1000);
	const scope = '* admin';
	const aud = PUBLIC_URL;
	const [, payload] = (await issuer.forge({ aud, scope })).split('.');
	const unsigned = Buffer.from(JSON.stringify({ alg: 'none', typ: 'at+jwt' })).toString('base64url');
	const bad = {
		expired: await issuer.forge({ aud, scope, exp: nowS - 600 }),
		'of another key': await issuer.forge({ aud, scope }, { key: evil.privateKey }),
		'for another gateway': await issuer.forge({ aud: 'https://other.example.com', scope }),
		'of another issuer': await issuer.forge({ aud, scope, iss: 'https://id.evil.example' }),
		'not signed': `${unsigned}.${payload}.AAAA`,
	};
	const routes = recordRoutes(t);
	await startHttpStack(t);
	const open = new Set(['/health', '/ready']);
	const paths = [...routes().map(({ path }) => path), ...ENDPOINT_PATHS, MEMORY].filter((path) => !open.has(path));
	for (const path of new Set(paths)) {
		// Many failures of one address are another test's.
		stack.later(60_000);
		for (const [name, token] of Object.entries(bad))
			for (const method of ['GET', 'POST', 'DELETE']) {
				const answer = await stack.send({ method, path, headers: { authorization: `Bearer ${token}` } });
				assert.equal(answer.status, 401, `${name}: ${method} ${path}`);
				assert.match(challengeOf(answer), /error="invalid_token"/);
			}
	}
	assert.equal(stack.launcher.launches, 0);
	const good = await issuer.forge({ aud, scope });
	assert.equal((await stack.send({ path: '/status', headers: { authorization: `Bearer ${good}` } })).status, 200);
});

test('a token for one server is good for that, with what it may use there, and for nothing else', async (t) => {
	const { issuer, stack, initialize } = await start(t);
	const token = await issuer.robotToken(`${PUBLIC_URL}${MEMORY}`, 'server:memory server:files');
	assert.equal((await initialize(MEMORY, token)).status, 200);
	const client = new ModernHttp(stack, { path: MEMORY, key: token, capabilities: {} });
	assert.equal((await client.call('write').reply()).status, 200);
	const elsewhere = await initialize('/servers/files/mcp', token);
	assert.equal(elsewhere.status, 401);
	assert.match(challengeOf(elsewhere), /error="invalid_token"/);
	assert.equal((await initialize('/mcp', token)).status, 401);
});

test('a token for the gateway is good for what its scopes say, and a refusal names all of them at once', async (t) => {
	const { issuer, stack, initialize, get } = await start(t);
	const token = await issuer.robotToken(PUBLIC_URL, 'server:memory');
	assert.deepEqual(await namesIn(await new SessionHttp(stack, '/mcp', undefined, token).open()), [
		'memory__read_graph',
		'memory__write',
	]);
	const refused = await initialize('/servers/files/mcp', token);
	assert.equal(refused.status, 403);
	assert.match(challengeOf(refused), /error="insufficient_scope".*scope="server:files server:memory"$/);
	assert.match(challengeOf(await get('/status', token)), /scope="admin server:memory"$/);
	assert.equal((await get('/status', await issuer.robotToken(PUBLIC_URL, 'admin'))).status, 200);
	assert.equal((await get('/status', API_KEY)).status, 200, 'keys are taken as before');
});

describe('within a session', () => {
	for (const era of ['legacy', 'modern'] as const)
		test(`of the ${era} era a caller has what its latest token gives, more or less than before`, async (t) => {
			const { issuer, stack } = await start(t);
			const few = await issuer.robotToken(PUBLIC_URL, 'tool:memory/read_*');
			const more = await issuer.robotToken(PUBLIC_URL, 'server:memory');
			const first = await new SessionHttp(stack, MEMORY, undefined, few).open();
			const send = async (token: string, message: Rpc): Promise<Reply> =>
				era === 'legacy'
					? new SessionHttp(stack, MEMORY, first.id, token).post(message)
					: new ModernHttp(stack, { path: MEMORY, key: token, capabilities: {} }).send(
							message.method ?? '',
							message.params ?? {},
						);
			const listed = async (token: string): Promise<unknown> =>
				((await send(token, LIST)).rpc.result?.['tools'] as unknown[] | undefined)?.length;
			assert.equal(await listed(few), 1);
			const refused = await send(few, call(1, 'write'));
			assert.equal(refused.status, 403);
			assert.match(
				challengeOf(refused),
				/error="insufficient_scope".*scope="tool:memory\/write tool:memory\/read_\*"$/,
			);
			assert.equal((await send(more, call(2, 'write'))).status, 200);
			assert.equal(await listed(more), 2);
			assert.equal((await send(few, call(3, 'write'))).status, 403);
			assert.equal(await listed(few), 1);
		});

	test('streams end with the token, and the session goes on with the next', async (t) => {
		const { issuer, stack } = await start(t);
		const now = Math.floor(Date.now() / 1000);
		const claims = {
			iss: issuer.issuer,
			sub: ROBOT.id,
			aud: PUBLIC_URL,
			client_id: ROBOT.id,
			scope: 'server:memory',
			jti: '1',
		};
		const token = await issuer.forge({ ...claims, iat: now, exp: now + 60 });
		const session = await new SessionHttp(stack, MEMORY, undefined, token).open();
		const other = await (await new SessionHttp(stack, MEMORY).open()).listen();
		const stream = await session.listen();
		t.mock.timers.enable({ apis: ['Date'], now: (now + 61) * 1000 });
		stack.later(0);
		await stream.closed;
		const next = await issuer.forge({ ...claims, iat: now, exp: now + 120 });
		const again = new SessionHttp(stack, MEMORY, session.id, next);
		assert.equal((await again.post(LIST)).status, 200);
		const still = await Promise.race([other.closed, new Promise((resolve) => setImmediate(resolve, 'open'))]);
		assert.equal(still, 'open', 'a key has no such end');
	});

	test('nobody else has a part in it, with whatever token', async (t) => {
		const { issuer, stack } = await start(t);
		const session = await new SessionHttp(stack, MEMORY, undefined, await issuer.robotToken(PUBLIC_URL, '*')).open();
		const { accessToken } = await issuer.appTokens(PUBLIC_URL, 'openid *');
		assert.equal((await new SessionHttp(stack, MEMORY, session.id, accessToken).post(LIST)).status, 404);
		assert.equal((await new SessionHttp(stack, MEMORY, session.id).post(LIST)).status, 404);
	});
});

test('groups of the issuer become scopes by the table, and clients are asked for none', async (t) => {
	const { issuer, initialize, stack } = await start(t, {
		claims: { groups: ['developers', 'admin'] },
		scopesClaim: 'groups',
		scopesMap: '{"developers": ["server:memory"]}',
	});
	const token = await issuer.robotToken(PUBLIC_URL, 'unheard-of');
	assert.equal((await initialize(MEMORY, token)).status, 200);
	const refused = await initialize('/servers/files/mcp', token);
	assert.equal(refused.status, 403);
	assert.doesNotMatch(challengeOf(refused), /scope=/);
	assert.equal((await stack.send({ path: '/status', headers: { authorization: `Bearer ${token}` } })).status, 403);
});

test('a token goes no further than the gateway: no server, no log and no answer has any of it', async (t) => {
	const { issuer, stack, cast, logged, initialize } = await start(t);
	const token = await issuer.robotToken(PUBLIC_URL, 'server:memory');
	const session = await new SessionHttp(stack, MEMORY, undefined, token).open();
	await session.post(call(1, 'write'));
	const refusals = [
		await initialize('/servers/files/mcp', token),
		await initialize(MEMORY, `${token.slice(0, -4)}AAAA`),
	];
	const [, payload = '', signature = ''] = token.split('.');
	const { instance } = await cast.of('memory');
	const places = [instance.received, logged, refusals.map(({ text, headers }) => [text, headers])];
	for (const place of places)
		for (const part of [payload, signature.slice(0, 40)]) assert.ok(!JSON.stringify(place).includes(part));
});

test('while the issuer is down keys go on, and tokens that are known; others are told to come again', async (t) => {
	const { issuer, initialize } = await start(t);
	const [known, unknown] = [
		await issuer.robotToken(PUBLIC_URL, '*'),
		await issuer.robotToken(PUBLIC_URL, 'server:memory'),
	];
	await issuer.stop();
	const first = await initialize(MEMORY, unknown);
	assert.equal(first.status, 503);
	assert.equal(first.rpc.error?.data?.['code'], 'SLIPWAY_ISSUER_UNREACHABLE');
	assert.equal((await initialize(MEMORY)).status, 200);
	assert.ok(known);
});

test('settings that cannot be meant are refused at the start', async (t) => {
	for (const [oauth, message] of [
		[{ scopesClaim: 'groups' }, /SCOPES_MAP/],
		[{ scopesClaim: 'groups', scopesMap: '{"a": ["everything"]}' }, /SLIPWAY_OAUTH_SCOPES_MAP.*everything/],
		[{ issuer: 'http://issuer.example' }, /https/],
	] as const)
		await assert.rejects(
			startHttpStack(t, {
				config: {
					oauth: {
						issuer: 'https://issuer.example',
						audience: undefined,
						scopesClaim: undefined,
						scopesMap: undefined,
						tokenType: 'at+jwt',
						...oauth,
					},
				},
			}),
			message,
		);
});
