/** Failed authentications: bounded for each address, and nobody's key is worth less for those of others. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BoundedAuthenticator } from '../../src/http/attempts.ts';
import { makeKey } from '../../src/http/keys.ts';
import { POLICY_LIMITS } from '../../src/limits.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, AUTHORIZATION, type HttpStack, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';

const { failuresPerMinuteMax } = POLICY_LIMITS;

async function start(t: TestContext, trustedProxies: readonly string[] = []) {
	const stack = await startHttpStack(t, { config: { trustedProxies } });
	// It stands still but for the test: on a slow machine there would be room again meanwhile.
	let timeMs = Math.round(performance.now());
	t.mock.method(performance, 'now', () => timeMs);
	const pass = (ms: number): void => {
		timeMs += ms;
	};
	const get = (key: string, headers: Record<string, string> = {}): Promise<Reply> =>
		stack.send({ path: '/status', headers: { authorization: `Bearer ${key}`, ...headers } });
	/** Fails as often as one address may, with keys of any length. */
	const spend = async (headers: Record<string, string> = {}): Promise<void> => {
		for (let n = 0; n < failuresPerMinuteMax; n++)
			assert.equal((await get(n % 2 === 0 ? `wrong-${n}` : makeKey(), headers)).status, 401, `failure ${n}`);
	};
	return { stack, get, spend, pass };
}

async function makeLongKey(stack: HttpStack): Promise<string> {
	const body = JSON.stringify({ name: 'long', scopes: ['*', 'admin'] });
	const { text } = await stack.send({ method: 'POST', path: '/api/keys', headers: POST_HEADERS, body });
	return JSON.parse(text).key;
}

test('beyond the bound a failure is 429, and a moment later one more may fail', async (t) => {
	const { get, spend, pass } = await start(t);
	await spend();
	for (const key of ['wrong', makeKey()]) {
		const refused = await get(key);
		assert.equal(refused.status, 429);
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_RATE_LIMITED');
		assert.equal(refused.headers['retry-after'], '1');
	}
	pass(1000);
	assert.equal((await get('wrong')).status, 401);
	assert.equal((await get('wrong')).status, 429);
});

test('then what may be a guess is not looked at, and a key that no guess finds is let in', async (t) => {
	const { stack, get, spend, pass } = await start(t);
	const long = await makeLongKey(stack);
	await spend();
	assert.ok(API_KEY.length <= POLICY_LIMITS.guessableCharsMax);
	assert.equal((await get(API_KEY)).status, 429, 'the right one too: else guessing would go on');
	assert.equal((await get(long)).status, 200);
	pass(1000);
	assert.equal((await get(API_KEY)).status, 200);
	assert.equal((await get(API_KEY)).status, 200, 'who succeeds spends nothing');
});

test('who comes with nothing has not guessed: a client is always told where to get a token', async (t) => {
	const { stack, get } = await start(t);
	for (let n = 0; n < 2 * failuresPerMinuteMax; n++) assert.equal((await stack.send({ path: '/status' })).status, 401);
	assert.equal((await get('wrong')).status, 401);
});

test('behind a trusted proxy each client has its own bound, and nobody writes itself another address', async (t) => {
	const { get, spend } = await start(t, ['127.0.0.0/8', '10.0.0.0/8']);
	await spend({ 'x-forwarded-for': '203.0.113.7, 10.1.2.3' });
	const from = async (chain: string): Promise<number> => (await get('wrong', { 'x-forwarded-for': chain })).status;
	assert.equal(await from('203.0.113.7'), 429);
	assert.equal(await from('198.51.100.1, 203.0.113.7, 10.9.9.9'), 429, 'what comes before is the client’s own word');
	assert.equal(await from('203.0.113.8'), 401);
	assert.equal((await get(API_KEY, { 'x-forwarded-for': '203.0.113.8' })).status, 200);
});

test('of IPv6 all of a /64 are one', async (t) => {
	const { get, spend } = await start(t, ['127.0.0.1']);
	await spend({ 'x-forwarded-for': '2001:db8:1:2::1' });
	const from = async (address: string): Promise<number> => (await get('wrong', { 'x-forwarded-for': address })).status;
	assert.equal(await from('2001:db8:1:2:ffff:ffff:ffff:ffff'), 429);
	assert.equal(await from('2001:db8:1:3::1'), 401);
});

test('where no proxy is trusted, what a request says of its way counts for nothing', async (t) => {
	const { get, spend } = await start(t);
	await spend();
	assert.equal((await get('wrong', { 'x-forwarded-for': '203.0.113.9' })).status, 429);
	const secure = await get(makeKey(), { 'x-forwarded-proto': 'https', host: '127.0.0.1' });
	assert.equal(secure.headers['strict-transport-security'], undefined);
});

test('browsers are bound to TLS where they came by it, and only there', async (t) => {
	const config = {
		publicUrl: 'https://mcp.example.com',
		allowedHosts: ['mcp.example.com', '127.0.0.1', 'localhost', 'other.example.com'],
	};
	const year = `max-age=${365 * 24 * 60 * 60}`;
	const plain = await startHttpStack(t, { config });
	const proxied = await startHttpStack(t, { config: { ...config, trustedProxies: ['127.0.0.1'] } });
	const table: [stack: HttpStack, headers: Record<string, string>, expected: string | undefined][] = [
		[plain, { host: 'mcp.example.com' }, year],
		[plain, { host: 'MCP.example.com' }, year],
		[plain, { host: '127.0.0.1' }, undefined],
		[plain, { host: 'other.example.com', 'x-forwarded-proto': 'https' }, undefined],
		[proxied, { host: 'mcp.example.com' }, year],
		[proxied, { host: 'mcp.example.com', 'x-forwarded-proto': 'http' }, undefined],
		[proxied, { host: 'other.example.com', 'x-forwarded-proto': 'https' }, year],
		[proxied, { host: 'other.example.com', 'x-forwarded-proto': 'https, http' }, undefined],
		[proxied, { host: 'localhost', 'x-forwarded-proto': 'https' }, undefined],
	];
	for (const [stack, headers, expected] of table)
		for (const path of ['/health', '/status', '/servers/alpha/mcp']) {
			const answer = await stack.send({ path, headers: { ...AUTHORIZATION, ...headers } });
			assert.equal(answer.headers['strict-transport-security'], expected, `${path} ${JSON.stringify(headers)}`);
		}
});

test('the gateway lets failures be forgotten as time goes by', async (t) => {
	const tick = t.mock.method(BoundedAuthenticator.prototype, 'tick');
	const stack = await startHttpStack(t);
	stack.later(1000);
	assert.ok(tick.mock.callCount() > 0);
});
