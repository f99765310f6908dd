/** What web pages may do: those of listed origins what clients do, and all others nothing. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { BRIDGE_LIMITS } from '../../src/limits.ts';
import { ask, type Reply, rawExchange, Stream } from '../support/http-client.ts';
import {
	AUTHORIZATION,
	call,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
} from '../support/http-stack.ts';

const PAGE = 'https://app.example.com';
/** One that may call us as a page of ours, and is no other. */
const OURS = 'http://localhost:8080';
const ENDPOINT = '/servers/alpha/mcp';

function start(t: TestContext, callsPerMinute = 0): Promise<HttpStack> {
	return startHttpStack(t, { config: { allowedOrigins: [OURS, PAGE], corsOrigins: [PAGE], callsPerMinute } });
}

type Headers = Readonly<Record<string, string | readonly string[] | undefined>>;

function assertReadable(headers: Headers, label: string): void {
	assert.equal(headers['access-control-allow-origin'], PAGE, label);
	assert.match(String(headers['vary']), /\bOrigin\b/, label);
	assert.equal(headers['access-control-allow-credentials'], undefined, label);
	const exposed = String(headers['access-control-expose-headers']).split(', ');
	for (const name of [
		'mcp-session-id',
		'www-authenticate',
		'retry-after',
		'ratelimit',
		'ratelimit-policy',
		'x-request-id',
	])
		assert.ok(exposed.includes(name), `${name}: ${label}`);
}

function assertUnreadable(headers: Headers, label: string): void {
	const told = Object.keys(headers).filter((name) => name.startsWith('access-control-'));
	assert.deepEqual(told, [], label);
	// Or a cache would give what one origin got to another.
	assert.match(String(headers['vary']), /\bOrigin\b/, label);
}

test('a page of a listed origin is told what it may send, without a key, at every path', async (t) => {
	const stack = await start(t);
	for (const path of [ENDPOINT, '/mcp', '/groups/pair/mcp', '/servers/alpha/sse', '/api/keys', '/health', '/nothing'])
		for (const method of ['POST', 'GET', 'DELETE']) {
			const asked = 'authorization, Content-Type, mcp-param-Region, x-evil, mcp-param-bad name, cookie';
			const headers = {
				origin: PAGE,
				'access-control-request-method': method,
				'access-control-request-headers': asked,
			};
			const answer = await stack.send({ method: 'OPTIONS', path, headers });
			assert.equal(answer.status, 204, path);
			assertReadable(answer.headers, path);
			assert.equal(answer.text, '');
			assert.equal(answer.headers['access-control-allow-methods'], 'GET, POST, DELETE');
			assert.deepEqual(String(answer.headers['access-control-allow-headers']).split(', '), [
				'authorization',
				'content-type',
				'last-event-id',
				'mcp-method',
				'mcp-name',
				'mcp-protocol-version',
				'mcp-session-id',
				'x-request-id',
				'mcp-param-region',
			]);
			assert.equal(answer.headers['access-control-max-age'], '600');
			assert.match(String(answer.headers['vary']), /Access-Control-Request-Headers/);
		}
	assert.equal(stack.launcher.launches, 0);
});

test('names that a page asks to send are not repeated without end', async (t) => {
	const stack = await start(t);
	const names = Array.from({ length: 200 }, (_, n) => `mcp-param-${n}`);
	const answer = await stack.send({
		method: 'OPTIONS',
		path: ENDPOINT,
		headers: { origin: PAGE, 'access-control-request-method': 'POST', 'access-control-request-headers': names.join() },
	});
	const allowed = String(answer.headers['access-control-allow-headers']).match(/mcp-param-/g);
	assert.equal(allowed?.length, BRIDGE_LIMITS.headerParamsMax);
});

test('any other origin is told 403, also one of ours, which need not ask', async (t) => {
	const stack = await start(t);
	for (const origin of [
		OURS,
		'null',
		'*',
		'https://evil.example',
		`${PAGE}.evil.example`,
		`${PAGE}:8443`,
		`${PAGE}, ${PAGE}`,
	])
		for (const headers of [{}, AUTHORIZATION]) {
			const asked = { ...headers, origin, 'access-control-request-method': 'POST' };
			const answer = await stack.send({ method: 'OPTIONS', path: ENDPOINT, headers: asked });
			assert.equal(answer.status, 403, origin);
			assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_ORIGIN_REFUSED');
			assertUnreadable(answer.headers, origin);
		}
	const noQuestion = await stack.send({ method: 'OPTIONS', path: ENDPOINT, headers: { origin: PAGE } });
	assert.equal(noQuestion.status, 401, 'what is no preflight needs a key');
	const noPage = await stack.send({
		method: 'OPTIONS',
		path: ENDPOINT,
		headers: { 'access-control-request-method': 'POST' },
	});
	assert.equal(noPage.status, 401);
});

/** One request of each kind of answer, with the status that tells that it is. */
async function everyAnswer(
	stack: HttpStack,
	origin: Record<string, string>,
): Promise<[number, Reply | Stream, number][]> {
	const session = await stack.open();
	const inSession = { ...session.headers, ...origin };
	const send = (method: string, path: string, headers: Record<string, string> = {}, body?: unknown): Promise<Reply> =>
		stack.send({
			method,
			path,
			headers: { ...headers, ...origin },
			...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
		});
	const answers: [number, Reply | Stream, number][] = [];
	let kind = 0;
	const note = (status: number, answer: Reply | Stream): void => void answers.push([status, answer, kind++]);
	note(200, await send('GET', '/health'));
	note(200, await send('HEAD', '/ready'));
	note(200, await send('GET', '/status', AUTHORIZATION));
	note(200, await send('GET', '/metrics', AUTHORIZATION));
	note(200, await send('GET', '/api/keys', AUTHORIZATION));
	note(401, await send('GET', '/status'));
	note(401, await send('POST', ENDPOINT, {}, initializeRequest()));
	note(404, await send('GET', '/nothing', AUTHORIZATION));
	note(404, await send('GET', '/%zz', AUTHORIZATION));
	note(404, await send('POST', '/servers/nobody/mcp', POST_HEADERS, initializeRequest()));
	note(405, await send('PUT', ENDPOINT, AUTHORIZATION));
	note(405, await send('POST', '/health', AUTHORIZATION));
	note(406, await send('POST', ENDPOINT, { ...POST_HEADERS, accept: 'text/html' }, initializeRequest()));
	note(415, await send('POST', ENDPOINT, { ...POST_HEADERS, 'content-type': 'text/plain' }, initializeRequest()));
	note(400, await send('POST', ENDPOINT, POST_HEADERS, '{'));
	note(413, await send('POST', ENDPOINT, POST_HEADERS, `"${'x'.repeat(5 * 1024 ** 2)}"`));
	note(202, await send('POST', ENDPOINT, inSession, { jsonrpc: '2.0', method: 'notifications/x' }));
	assert.equal((await session.instance.hear()).method, 'notifications/x');
	const answering = send('POST', ENDPOINT, inSession, call(1));
	session.instance.say(result((await session.instance.hearRequest('tools/call')).id));
	note(200, await answering);
	const streaming = ask(stack.port, {
		method: 'POST',
		path: ENDPOINT,
		headers: inSession,
		body: JSON.stringify(call(2, 'a', { progressToken: 1 })),
	});
	const { id, params } = await session.instance.hearRequest('tools/call');
	const progressToken = Reflect.get(Object(params?.['_meta']), 'progressToken');
	session.instance.say({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 1 } });
	const stream = new Stream(await streaming);
	assert.equal(stream.headers['content-type'], 'text/event-stream');
	note(200, stream);
	session.instance.say(result(id));
	await stream.closed;
	const standing = new Stream(
		await ask(stack.port, { path: ENDPOINT, headers: { ...inSession, accept: 'text/event-stream' } }),
	);
	note(200, standing);
	const old = await ask(stack.port, {
		path: '/servers/alpha/sse',
		headers: { ...AUTHORIZATION, ...origin, accept: 'text/event-stream' },
	});
	note(200, { status: old.statusCode ?? 0, headers: old.headers, text: '', rpc: {} });
	old.destroy();
	note(200, await send('DELETE', ENDPOINT, inSession));
	const large = Object.fromEntries(Array.from({ length: 70 }, (_, n) => [`x-${n}`, '1']));
	note(431, await send('GET', '/health', large));
	return answers;
}

test('every answer can be read by a page of a listed origin: JSON, errors, streams and empty ones', async (t) => {
	const stack = await start(t);
	for (const [status, answer, kind] of await everyAnswer(stack, { origin: PAGE })) {
		assert.equal(answer.status, status, `answer ${kind}`);
		assertReadable(answer.headers, `answer ${kind}`);
	}
});

test('and by no other page', async (t) => {
	const stack = await start(t);
	for (const origin of [{}, { origin: OURS }])
		for (const [status, answer, kind] of await everyAnswer(stack, origin)) {
			assert.equal(answer.status, status, `answer ${kind}`);
			assertUnreadable(answer.headers, `answer ${kind}`);
		}
});

test('every answer says that it is no page: it loads nothing, is framed by nobody, and is what its type says', async (t) => {
	const stack = await start(t);
	for (const [, { headers }, kind] of await everyAnswer(stack, {})) {
		const label = `answer ${kind}`;
		assert.equal(
			headers['content-security-policy'],
			"default-src 'none';base-uri 'none';form-action 'none';frame-ancestors 'none'",
			label,
		);
		assert.equal(headers['x-content-type-options'], 'nosniff', label);
		assert.equal(headers['x-frame-options'], 'DENY', label);
		assert.equal(headers['referrer-policy'], 'no-referrer', label);
		assert.equal(headers['cross-origin-opener-policy'], 'same-origin', label);
		assert.equal(headers['cross-origin-resource-policy'], 'same-origin', label);
		assert.equal(headers['strict-transport-security'], undefined, label);
		assert.equal(headers['x-powered-by'], undefined, label);
		assert.match(String(headers['cache-control']), /^no-(?:store|cache, no-transform)$/, label);
	}
});

test('so does the answer to what is no request', async (t) => {
	const { port } = await start(t);
	for (const text of ['nonsense\r\n\r\n', `GET / HTTP/1.1\r\nHost: localhost\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`]) {
		const answer = await rawExchange(port, text);
		assert.match(answer, /^HTTP\/1\.1 4\d\d /);
		assert.match(answer, /\r\ncontent-security-policy: default-src 'none';/i);
		assert.match(answer, /\r\nx-content-type-options: nosniff\r\n/i);
		assert.match(answer, /\r\ncache-control: no-store\r\n/i);
	}
});

test('a request without a Host, and one that expects something, are answered in our words', async (t) => {
	const { port } = await start(t);
	const noHost = await rawExchange(port, 'GET /health HTTP/1.1\r\nConnection: close\r\n\r\n');
	assert.match(noHost, /^HTTP\/1\.1 403 /);
	assert.match(noHost, /"code":"SLIPWAY_HOST_REFUSED"/);
	const head = 'GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: wonders\r\n\r\n';
	const expecting = await rawExchange(port, head);
	assert.match(expecting, /^HTTP\/1\.1 200 /);
	assert.match(expecting, /\r\ncontent-security-policy: /i);
});
