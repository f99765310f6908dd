/** What a request must be before anything of it is used. */
import assert from 'node:assert/strict';
import { channel } from 'node:diagnostics_channel';
import type { Server } from 'node:http';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { HTTP_LIMITS } from '../../src/limits.ts';
import { ENVELOPE_KEYS, LEGACY_REVISIONS, REVISIONS } from '../../src/mcp/revisions.ts';
import { RawConnection, type Reply, rawExchange } from '../support/http-client.ts';
import {
	API_KEY,
	AUTHORIZATION,
	call,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
	toBody,
} from '../support/http-stack.ts';

const codeOf = ({ rpc }: Reply): unknown => rpc.error?.data?.['code'];
const statusOf = (raw: string): number => Number(/^HTTP\/1\.1 (\d+)/.exec(raw)?.[1]);
const head = (...lines: string[]): string => `${lines.join('\r\n')}\r\n\r\n`;

describe('Host', () => {
	test('only configured names pass, with our port or none', async (t) => {
		const stack = await startHttpStack(t, {
			config: { allowedHosts: ['localhost', '127.0.0.1', '[::1]', 'mcp.example.com', 'inner:9000'] },
		});
		const { port } = stack;
		const table: [host: string, status: number][] = [
			['localhost', 200],
			[`localhost:${port}`, 200],
			['LOCALHOST', 200],
			[`127.0.0.1:${port}`, 200],
			['[::1]', 200],
			[`[::1]:${port}`, 200],
			['mcp.example.com', 200],
			['inner:9000', 200],
			['inner', 403],
			[`inner:${port}`, 403],
			['inner:9000:1', 403],
			['evil', 403],
			['localhost.evil.com', 403],
			['evil.localhost', 403],
			['127.0.0.1:1', 403],
			['localhost.', 403],
			['localhost:', 403],
			['localhost@evil', 403],
			['127.0.0.2', 403],
			['[::ffff:127.0.0.1]', 403],
			['0.0.0.0', 403],
			['localhost,evil', 403],
		];
		for (const [host, status] of table) {
			const answer = await stack.send({ path: '/health', headers: { host } });
			assert.equal(answer.status, status, host);
			if (status === 403) assert.equal(codeOf(answer), 'SLIPWAY_HOST_REFUSED');
		}
	});

	test('is looked at before the key, on every route', async (t) => {
		const stack = await startHttpStack(t);
		for (const path of ['/health', '/ready', '/status', '/metrics', '/servers/alpha/mcp', '/nothing'])
			assert.equal((await stack.send({ path, headers: { host: 'evil' } })).status, 403, path);
	});

	test('twice, none, or an absolute target is refused', async (t) => {
		const { port } = await startHttpStack(t);
		const close = 'Connection: close';
		const table: [string, number][] = [
			[head('GET /health HTTP/1.1', 'Host: localhost', 'Host: evil', close), 403],
			[head('GET /health HTTP/1.1', 'Host: localhost', 'Host: localhost', close), 403],
			[head('GET http://evil/health HTTP/1.1', 'Host: localhost', close), 403],
			[head('GET http://localhost/health HTTP/1.1', 'Host: localhost', close), 403],
			[head('GET /health HTTP/1.1', close), 400],
			[head('GET /health HTTP/1.1', 'Host:', close), 403],
			[head('GET * HTTP/1.1', 'Host: localhost', close), 400],
			[head('GET /health HTTP/1.1', 'Host: localhost', close), 200],
		];
		for (const [text, status] of table) {
			const found = statusOf(await rawExchange(port, text));
			assert.ok(found === status || (status === 400 && found === 403), `${found}: ${text}`);
		}
	});
});

test('requests that two readers may read in two ways are refused', async (t) => {
	const { port } = await startHttpStack(t);
	const start = ['POST /servers/alpha/mcp HTTP/1.1', 'Host: localhost', `Authorization: Bearer ${API_KEY}`];
	const table = [
		`${head(...start, 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
		`${head(...start, 'Content-Length: 5', 'Content-Length: 6')}hello`,
		`${head(...start, 'Transfer-Encoding: chunked, identity')}0\r\n\r\n`,
		`${start.join('\n')}\nContent-Length: 0\n\n`,
		`${start.join('\r\n')}\r\nX-Folded: a\r\n b\r\n\r\n`,
		head(...start, 'Content-Length : 0'),
		head(...start, 'Content-Length: -1'),
		'\u0016\u0003\u0001 this is TLS\r\n\r\n',
	];
	for (const text of table) {
		const answer = await rawExchange(port, text);
		assert.equal(statusOf(answer), 400, text);
		assert.match(answer, /"code":"SLIPWAY_BAD_REQUEST"/);
		assert.match(answer, /\r\nConnection: close\r\n/i);
	}
});

test('Origin: what is there must be listed; none is fine', async (t) => {
	const stack = await startHttpStack(t, {
		config: { allowedOrigins: ['http://localhost:8080', 'https://app.example.com'] },
	});
	const table: [origin: string | undefined, status: number][] = [
		[undefined, 200],
		['http://localhost:8080', 200],
		['https://app.example.com', 200],
		['HTTPS://APP.example.com', 200],
		['http://app.example.com', 403],
		['https://app.example.com:8443', 403],
		['https://app.example.com.evil.com', 403],
		['https://evil.com', 403],
		['http://localhost', 403],
		['null', 403],
		['', 403],
	];
	for (const [origin, status] of table) {
		const answer = await stack.send({
			path: '/status',
			headers: { ...AUTHORIZATION, ...(origin === undefined ? {} : { origin }) },
		});
		assert.equal(answer.status, status, String(origin));
		if (status === 403) assert.equal(codeOf(answer), 'SLIPWAY_ORIGIN_REFUSED');
	}
	const twice = head(
		'GET /health HTTP/1.1',
		'Host: localhost',
		'Origin: http://localhost:8080',
		'Origin: https://evil.com',
		'Connection: close',
	);
	assert.equal(statusOf(await rawExchange(stack.port, twice)), 403);
});

test('tricks with the path lead nowhere', async (t) => {
	const stack = await startHttpStack(t);
	const paths = [
		'/servers/../health',
		'/health/../servers/alpha/mcp',
		'/servers/alpha/./mcp',
		'/servers/%2e%2e/health',
		'/servers/alpha%2fmcp',
		'/servers/alpha%5Cmcp',
		'/servers/alpha\\mcp',
		'/servers/alpha/mcp/..',
		'/servers//mcp',
		'//servers/alpha/mcp',
		'/servers/alpha/mcp/',
		'/servers/alpha/mcp/x',
		'/servers/ALPHA/mcp',
		'/servers/alph%61/mcp',
		'/servers/__proto__/mcp',
		'/servers/constructor/mcp',
		'/SERVERS/alpha/mcp',
		'/MCP',
		'/mcp/',
		'/mcp/alpha',
		'/',
	];
	for (const method of ['GET', 'POST', 'DELETE', 'PUT'])
		for (const path of paths) {
			const raw = await rawExchange(
				stack.port,
				head(
					`${method} ${path} HTTP/1.1`,
					'Host: localhost',
					`Authorization: Bearer ${API_KEY}`,
					'Accept: text/event-stream',
					'Connection: close',
				),
			);
			assert.equal(statusOf(raw), 404, `${method} ${path}`);
		}
	const post = (path: string, authorization = `Bearer ${API_KEY}`) =>
		stack.send({ method: 'POST', path, headers: { authorization } });
	assert.equal(codeOf(await post('/servers/alpha/mcp/')), 'SLIPWAY_PATH_UNKNOWN');
	assert.equal((await post('/servers/alpha/mcp/', 'Bearer wrong')).status, 401, 'nothing is told without the key');
	for (const path of ['/health', '/ready', '/status', '/metrics']) assert.equal((await post(path)).status, 405, path);
	assert.equal(stack.launcher.launches, 0);
});

describe('the key', () => {
	const routes: [method: string, path: string][] = [
		['GET', '/status'],
		['GET', '/metrics'],
		['HEAD', '/status'],
		['GET', '/'],
		['GET', '/api/x'],
		['GET', '/nothing/here'],
		...['POST', 'GET', 'DELETE', 'PUT', 'OPTIONS', 'HEAD'].flatMap((method): [string, string][] =>
			['/servers/alpha/mcp', '/servers/alpha', '/servers/alpha/', '/servers/nobody/mcp', '/servers/off/mcp'].map(
				(path) => [method, path],
			),
		),
	];

	test('is needed on every route but /health and /ready, and nothing is told without it', async (t) => {
		const stack = await startHttpStack(t);
		const { id } = await stack.open();
		for (const [method, path] of routes) {
			const answer = await stack.send({
				method,
				path,
				headers: { 'mcp-session-id': id, accept: 'text/event-stream, application/json' },
			});
			assert.equal(answer.status, 401, `${method} ${path}`);
			assert.match(String(answer.headers['www-authenticate']), /^Bearer /);
			if (method !== 'HEAD') assert.equal(answer.rpc.error?.code, -32003);
		}
		for (const path of ['/health', '/ready']) assert.equal((await stack.send({ path })).status, 200);
	});

	test('wrong, malformed, or in the query is no key', async (t) => {
		const stack = await startHttpStack(t);
		const wrong = [
			'Bearer wrong',
			`Bearer ${API_KEY}x`,
			`Bearer ${API_KEY.slice(0, -1)}`,
			`Bearer ${API_KEY.toUpperCase()}`,
			`Bearer ${API_KEY} ${API_KEY}`,
			`Bearer${API_KEY}`,
			`Basic ${Buffer.from(`:${API_KEY}`).toString('base64')}`,
			API_KEY,
			'Bearer ',
			'',
		];
		for (const authorization of wrong)
			assert.equal((await stack.send({ path: '/status', headers: { authorization } })).status, 401, authorization);
		for (const name of ['key', 'api_key', 'access_token', 'token', 'authorization'])
			assert.equal((await stack.send({ path: `/status?${name}=${API_KEY}` })).status, 401, name);
		assert.equal(
			(await stack.send({ path: '/status', headers: { authorization: `bearer  ${API_KEY} ` } })).status,
			200,
		);
	});

	test('is not asked for with SLIPWAY_AUTH=none', async (t) => {
		const stack = await startHttpStack(t, { config: { auth: 'none' }, apiKey: null });
		assert.equal((await stack.send({ path: '/status' })).status, 200);
		assert.equal(
			(await stack.send({ path: '/status', headers: { host: 'evil' } })).status,
			403,
			'the Host still counts',
		);
	});
});

describe('the body', () => {
	test('declared as larger than 4 MiB is refused unread', async (t) => {
		const { port } = await startHttpStack(t);
		const connection = await new RawConnection(port).connected();
		const headers = Object.entries({
			host: 'localhost',
			...POST_HEADERS,
			'content-length': HTTP_LIMITS.bodyBytesMax + 1,
		});
		connection.write(head('POST /servers/alpha/mcp HTTP/1.1', ...headers.map(([name, value]) => `${name}: ${value}`)));
		const answer = await connection.until(/SLIPWAY_BODY_TOO_LARGE/);
		assert.equal(statusOf(answer), 413);
		assert.match(answer, /connection: close/i);
		await connection.closed;
	});

	test('of exactly 4 MiB is taken, and one byte more is not, declared or in chunks', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		const frame = toBody({ jsonrpc: '2.0', method: 'notifications/x', params: { p: '' } });
		const exact = frame.replace('""', `"${'p'.repeat(HTTP_LIMITS.bodyBytesMax - frame.length)}"`);
		assert.equal(exact.length, HTTP_LIMITS.bodyBytesMax);
		assert.equal((await session.post(exact)).status, 202);
		assert.equal((await session.instance.lines.next()).length, exact.length);
		for (const headers of [{}, { 'transfer-encoding': 'chunked' }]) {
			const answer = await session.post(`${exact} `, headers);
			assert.equal(answer.status, 413);
			assert.equal(codeOf(answer), 'SLIPWAY_BODY_TOO_LARGE');
		}
		assert.equal(session.instance.lines.size, 0);
	});

	test('is not decompressed: 415', async (t) => {
		const stack = await startHttpStack(t);
		for (const encoding of ['gzip', 'br', 'deflate', 'gzip, identity']) {
			const answer = await stack.send({
				method: 'POST',
				path: '/servers/alpha/mcp',
				headers: { ...POST_HEADERS, 'content-encoding': encoding },
				body: gzipSync(toBody(initializeRequest())),
			});
			assert.equal(answer.status, 415, encoding);
		}
		assert.equal(stack.launcher.launches, 0);
	});

	test('must be application/json in UTF-8: 415', async (t) => {
		const session = await (await startHttpStack(t)).open();
		const message = { jsonrpc: '2.0', method: 'notifications/x' };
		const types: [string, number][] = [
			['application/json', 202],
			['Application/JSON; charset=UTF-8', 202],
			['application/json;charset="utf-8"', 202],
			['application/json; charset=latin1', 415],
			['text/plain', 415],
			['application/x-www-form-urlencoded', 415],
			['application/jsonp', 415],
			['text/plain; application/json', 415],
			['', 415],
		];
		for (const [type, status] of types)
			assert.equal((await session.post(message, { 'content-type': type })).status, status, type);
	});

	test('malformed is 400 with -32700, and valid JSON that is no message with -32600', async (t) => {
		const session = await (await startHttpStack(t)).open();
		for (const body of ['', '{', '{"a":}', "{'a':1}", 'undefined', '{"jsonrpc":"2.0"} x', '\u0000']) {
			const answer = await session.post(body);
			assert.equal(answer.status, 400, body);
			assert.equal(answer.rpc.error?.code, -32700, body);
			assert.equal(answer.rpc.id, null);
		}
		const bad = [
			'{}',
			'null',
			'5',
			'"x"',
			'{"jsonrpc":"1.0","id":1,"method":"x"}',
			'{"jsonrpc":"2.0","id":null,"method":"x"}',
			'{"jsonrpc":"2.0","id":1.5,"method":"x"}',
			'{"jsonrpc":"2.0","id":1,"method":"x","params":[]}',
			'{"jsonrpc":"2.0","id":{},"method":"x"}',
			'{"jsonrpc":"2.0","id":1,"method":5}',
			'{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}',
			`{"jsonrpc":"2.0","id":1,"method":"x","params":${'{"a":'.repeat(64)}1${'}'.repeat(64)}}`,
		];
		for (const body of bad) {
			const answer = await session.post(body);
			assert.equal(answer.status, 400, body);
			assert.equal(answer.rpc.error?.code, -32600, body);
		}
		assert.equal(session.instance.received.length, 1);
	});

	test('with invalid UTF-8 is no JSON', async (t) => {
		const stack = await startHttpStack(t);
		const body = Buffer.concat([
			Buffer.from('{"jsonrpc":"2.0","id":1,"method":"'),
			Buffer.from([0xff]),
			Buffer.from('"}'),
		]);
		const answer = await stack.send({ method: 'POST', path: '/servers/alpha/mcp', headers: POST_HEADERS, body });
		assert.equal(answer.rpc.error?.code, -32700);
	});

	test('with keys of the prototype, huge numbers, twice the same key or 10,000 levels is inert', async (t) => {
		const session = await (await startHttpStack(t)).open();
		const inert = [
			'{"jsonrpc":"2.0","method":"notifications/x","__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}',
			'{"jsonrpc":"2.0","method":"notifications/x","params":{"__proto__":{"_meta":{"progressToken":1}},"n":1e999999,"m":123456789012345678901234567890}}',
			'{"jsonrpc":"2.0","method":"notifications/y","method":"notifications/x"}',
		];
		for (const body of inert) {
			assert.equal((await session.post(body)).status, 202);
			assert.equal(await session.instance.lines.next(), body);
		}
		assert.equal(Reflect.get({}, 'polluted'), undefined);
		const deep = `{"jsonrpc":"2.0","method":"notifications/x","params":{"a":${'['.repeat(10_000)}${']'.repeat(10_000)}}}`;
		assert.equal((await session.post(deep)).status, 400);
		const polluting = '{"__proto__":{"jsonrpc":"2.0","id":1,"method":"tools/call"}}';
		assert.equal((await session.post(polluting)).status, 400);
	});
});

test('Accept must take both kinds of answers with POST, and a stream with GET: 406', async (t) => {
	const session = await (await startHttpStack(t)).open();
	const message = { jsonrpc: '2.0', method: 'notifications/x' };
	const table: [string, number][] = [
		['application/json, text/event-stream', 202],
		['text/event-stream;q=0.5,application/json', 202],
		['*/*', 202],
		['application/*, text/*', 202],
		['application/json', 406],
		['text/event-stream', 406],
		['text/html', 406],
		['', 406],
	];
	for (const [accept, status] of table) assert.equal((await session.post(message, { accept })).status, status, accept);
	const stack = await startHttpStack(t);
	const other = await stack.open();
	const get = await stack.send({
		path: '/servers/alpha/mcp',
		headers: { ...AUTHORIZATION, accept: 'application/json', 'mcp-session-id': other.id },
	});
	assert.equal(get.status, 406);
});

describe('the session id', () => {
	test('missing is 400, unknown 404 with -32001; of another server, malformed or long: 404', async (t) => {
		const stack = await startHttpStack(t);
		const { id } = await stack.open('alpha');
		for (const method of ['POST', 'GET', 'DELETE']) {
			const send = (server: string, session?: string): Promise<Reply> =>
				stack.send({
					method,
					path: `/servers/${server}/mcp`,
					headers: { ...POST_HEADERS, ...(session === undefined ? {} : { 'mcp-session-id': session }) },
					...(method === 'POST' ? { body: toBody(call(1)) } : {}),
				});
			for (const missing of [undefined, '']) {
				const answer = await send('alpha', missing);
				assert.equal(answer.status, 400);
				assert.equal(codeOf(answer), 'SLIPWAY_SESSION_REQUIRED');
			}
			for (const unknown of [
				'A'.repeat(32),
				`${id}x`,
				id.slice(1),
				id.toLowerCase(),
				'__proto__',
				'../../x',
				'x'.repeat(10_000),
				`${id}, ${id}`,
			]) {
				const answer = await send('alpha', unknown);
				assert.equal(answer.status, 404, unknown);
				assert.equal(answer.rpc.error?.code, -32001);
			}
			const foreign = await send('beta', id);
			assert.equal(foreign.status, 404);
			assert.equal(foreign.rpc.error?.code, -32001);
		}
	});
});

describe('the revision', () => {
	const NOTIFICATION = { jsonrpc: '2.0', method: 'notifications/x' };
	const { revision, capabilities } = ENVELOPE_KEYS;
	const discover = (meta: object): object => ({
		jsonrpc: '2.0',
		id: 'm',
		method: 'server/discover',
		params: { _meta: meta },
	});

	test('in the header must be one that we speak: 400 with -32022, what is supported and what was asked for', async (t) => {
		const { post, instance } = await (await startHttpStack(t)).open();
		for (const version of ['1999-01-01', '2026-07-29', '2027-01-01', '2030-01-01', 'x', '']) {
			// What `initialize` agrees on is in its params, so its header counts only if it asks for the second era.
			const first = version.startsWith('20') ? [initializeRequest()] : [];
			for (const message of [NOTIFICATION, call('m'), ...first]) {
				const answer = await post(message, { 'mcp-protocol-version': version });
				assert.equal(answer.status, 400, version);
				assert.equal(answer.rpc.error?.code, -32022);
				assert.deepEqual(answer.rpc.error?.data?.['supported'], REVISIONS);
				assert.equal(answer.rpc.error?.data?.['requested'], version);
				assert.equal(answer.rpc.id, 'id' in message ? message.id : null);
			}
		}
		assert.equal(instance.lines.size, 0);
		for (const version of LEGACY_REVISIONS)
			assert.equal((await post(NOTIFICATION, { 'mcp-protocol-version': version })).status, 202);
		assert.equal(instance.lines.size, LEGACY_REVISIONS.length);
	});

	test('of the second era must be the same in header and body, and come with what the era wants', async (t) => {
		const stack = await startHttpStack(t);
		const whole = { [revision]: '2026-07-28', [capabilities]: {} };
		const table: [header: string | undefined, message: object, code: number][] = [
			['2026-07-28', call('m'), -32602],
			['2026-07-28', initializeRequest(), -32602],
			['2026-07-28', discover({}), -32602],
			['2026-07-28', discover({ [revision]: 20260728, [capabilities]: {} }), -32602],
			['2026-07-28', discover({ [revision]: null, [capabilities]: {} }), -32602],
			['2026-07-28', discover({ [revision]: '2026-07-28' }), -32602],
			['2026-07-28', discover({ [revision]: '2026-07-28', [capabilities]: [] }), -32602],
			[undefined, discover(whole), -32020],
			['', discover(whole), -32020],
			['2025-11-25', discover(whole), -32020],
			['2027-01-01', discover(whole), -32020],
			['2026-07-28', discover({ ...whole, [revision]: '2027-01-01' }), -32020],
			['2026-07-28', discover({ ...whole, [revision]: '2025-11-25' }), -32020],
			['2027-01-01', discover({ ...whole, [revision]: '2027-01-01' }), -32022],
			['1999-01-01', discover({ ...whole, [revision]: '1999-01-01' }), -32022],
		];
		for (const [header, message, code] of table) {
			const label = `${header} ${toBody(message)}`;
			const headers = { 'mcp-protocol-version': header, 'mcp-method': String(Reflect.get(message, 'method')) };
			const answer = await stack.post('alpha', message, headers);
			assert.equal(answer.status, 400, label);
			assert.equal(answer.rpc.error?.code, code, label);
			assert.equal(answer.rpc.id, Reflect.get(message, 'id'), label);
			if (code !== -32022) continue;
			assert.deepEqual(answer.rpc.error?.data?.['supported'], REVISIONS);
			assert.equal(answer.rpc.error?.data?.['requested'], header);
			assert.ok(REVISIONS.includes('2025-11-25'), 'a client can fall back');
		}
		assert.equal(stack.launcher.launches, 0);
	});

	test('of the second era has neither notifications of a client that go on, nor batches, streams or sessions', async (t) => {
		const stack = await startHttpStack(t);
		const { id, instance, post } = await stack.open('alpha', { revision: '2025-03-26' });
		const modern = { 'mcp-protocol-version': '2026-07-28' };
		assert.equal((await post(NOTIFICATION, modern)).status, 202);
		const claim = { [revision]: '2026-07-28', [capabilities]: {} };
		assert.equal((await post({ ...NOTIFICATION, params: { _meta: claim } }, modern)).status, 202);
		assert.equal((await post(result(1), modern)).status, 400);
		assert.equal((await post([call(1)], modern)).rpc.error?.code, -32600);
		const hidden = await post([call(1), { ...NOTIFICATION, params: { _meta: claim } }]);
		assert.equal(hidden.status, 400);
		for (const method of ['GET', 'DELETE']) {
			const headers = { ...AUTHORIZATION, accept: 'text/event-stream', 'mcp-session-id': id, ...modern };
			const answer = await stack.send({ method, path: '/servers/alpha/mcp', headers });
			assert.equal(answer.status, 405, method);
			assert.equal(answer.headers['allow'], 'POST, GET, DELETE');
		}
		assert.equal(instance.lines.size, 0);
		assert.equal(instance.stopped, undefined);
	});

	test('of the first era that a client writes into `_meta` by itself is nobody’s business', async (t) => {
		const { post, instance } = await (await startHttpStack(t)).open();
		const params = { name: 'echo', _meta: { [revision]: '2025-11-25' } };
		const answering = post({ ...call(1), params }, { 'mcp-protocol-version': '2025-11-25' });
		const heard = await instance.hearRequest('tools/call');
		assert.deepEqual(heard.params, params);
		instance.say(result(heard.id));
		assert.deepEqual((await answering).rpc, result(1));
	});
});

describe('the server and the method', () => {
	test('unknown 404, disabled 404, catalog not seen yet 503', async (t) => {
		const stack = await startHttpStack(t);
		const unknown = await stack.post('nobody', initializeRequest());
		assert.equal(unknown.status, 404);
		assert.equal(codeOf(unknown), 'SLIPWAY_SERVER_UNKNOWN');
		const off = await stack.post('off', initializeRequest());
		assert.equal(off.status, 404);
		assert.equal(codeOf(off), 'SLIPWAY_SERVER_DISABLED');
		stack.launcher.state = { ...stack.launcher.state, catalog: { revision: 0 }, servers: [] };
		const early = await stack.post('alpha', initializeRequest());
		assert.equal(early.status, 503);
		assert.equal(codeOf(early), 'SLIPWAY_LAUNCHER_UNREACHABLE');
	});

	test('other methods are 405 with Allow', async (t) => {
		const stack = await startHttpStack(t);
		for (const method of ['PUT', 'PATCH', 'OPTIONS', 'HEAD', 'TRACE']) {
			const answer = await stack.send({ method, path: '/servers/alpha/mcp', headers: AUTHORIZATION });
			assert.equal(answer.status, 405, method);
			assert.equal(answer.headers['allow'], 'POST, GET, DELETE');
		}
		for (const path of ['/health', '/ready', '/status'])
			assert.equal((await stack.send({ method: 'POST', path, headers: AUTHORIZATION })).status, 405, path);
	});

	test('the short forms of the path are the same endpoint', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, headers } = await stack.open();
		for (const path of ['/servers/alpha', '/servers/alpha/', '/servers/alpha/mcp', '/servers/alpha/mcp?x=1']) {
			const answering = stack.send({ method: 'POST', path, headers, body: toBody(call(1)) });
			instance.say(result((await instance.hearRequest('tools/call')).id));
			assert.equal((await answering).status, 200, path);
		}
	});
});

describe('limits of the connection', () => {
	test('headers beyond 16 KiB or 64 in number: 431', async (t) => {
		const stack = await startHttpStack(t);
		const many = (count: number): Record<string, string> =>
			Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-${i}`, 'v']));
		const fine = await stack.send({ path: '/health', headers: many(50) });
		assert.equal(fine.status, 200);
		for (const headers of [many(65), many(1000), { 'x-big': 'x'.repeat(20 * 1024) }]) {
			const answer = await stack.send({ path: '/health', headers });
			assert.equal(answer.status, 431);
			assert.equal(codeOf(answer), 'SLIPWAY_HEADERS_TOO_LARGE');
		}
		const hostLast = head(
			'GET /health HTTP/1.1',
			'Connection: close',
			...Array.from({ length: 2500 }, (_, i) => `x${i}:`),
			'Host: localhost',
		);
		assert.equal(statusOf(await rawExchange(stack.port, hostLast)), 431);
	});

	test('a head, a body or a whole request that does not arrive: 408 (scaled)', async (t) => {
		const stack = await startHttpStack(t);
		// The limits are those of node:http, which reads them at every check; here they are made short for this server.
		const began = channel('http.server.request.start');
		const shorten = (message: unknown): void => {
			const { server } = message as { server: Server };
			server.headersTimeout = 300;
			server.requestTimeout = 300;
		};
		began.subscribe(shorten);
		await stack.send({ path: '/health' });
		began.unsubscribe(shorten);
		const headers = Object.entries({ host: 'localhost', ...POST_HEADERS, 'content-length': 50 });
		const texts = [
			'',
			'GET /health HTTP/1.1\r\nHost: local',
			`${head('POST /servers/alpha/mcp HTTP/1.1', ...headers.map(([name, value]) => `${name}: ${value}`))}{"a"`,
		];
		const answers = await Promise.all(texts.map((text) => rawExchange(stack.port, text)));
		for (const [i, answer] of answers.entries()) {
			assert.equal(statusOf(answer), 408, `${i}: ${answer}`);
			assert.match(answer, /SLIPWAY_REQUEST_TIMEOUT/);
		}
		assert.equal(stack.launcher.launches, 0);
	});

	test('a connection that breaks off in a body harms nothing', async (t) => {
		const stack = await startHttpStack(t);
		const session = await stack.open();
		const headers = Object.entries({ host: 'localhost', ...session.headers, 'content-length': 500 });
		for (let i = 0; i < 20; i++) {
			const connection = await new RawConnection(stack.port).connected();
			connection.write(
				`${head('POST /servers/alpha/mcp HTTP/1.1', ...headers.map(([name, value]) => `${name}: ${value}`))}{"jsonrpc"`,
			);
			connection.socket.destroy();
		}
		const answering = session.post(call(1));
		session.instance.say(result((await session.instance.hearRequest('tools/call')).id));
		assert.equal((await answering).status, 200);
	});
});
