/** Every route there is, without a key, with a wrong one, with one for nothing, and as a page sees it that is not welcome. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { hashKey, makeKey } from '../../src/http/keys.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { ENDPOINT_PATHS, recordRoutes } from '../support/every-route.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, type HttpStack, initializeRequest, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { SessionHttp } from '../support/session-http.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const METADATA = '/.well-known/oauth-protected-resource';

/** All that is answered to anybody. Who adds to it has thought about it. */
const OPEN = ['/health', '/ready', METADATA, `${METADATA}/mcp`, `${METADATA}/servers/alpha/mcp`];

interface Walk {
	readonly stack: HttpStack;
	/** Every path, with the methods that it is there for. */
	readonly paths: ReadonlyMap<string, readonly string[]>;
	/** A key with no scope at all. */
	readonly keyForNothing: string;
	send(method: string, path: string, headers?: Record<string, string>): Promise<Reply>;
}

async function start(t: TestContext): Promise<Walk> {
	const routes = recordRoutes(t);
	const folder = await mkdtemp(join(tmpdir(), 'slipway-routes-'));
	t.after(() => rm(folder, { recursive: true }));
	const keyForNothing = makeKey();
	const store = openSqliteStore(folder);
	store.saveKey({ name: 'nothing', hash: hashKey(keyForNothing), scopes: [], createdAtMs: Date.now() });
	store.close();
	const oauth = {
		issuer: 'https://issuer.invalid',
		audience: undefined,
		scopesClaim: undefined,
		scopesMap: undefined,
		tokenType: 'at+jwt',
	} as const;
	const stack = await startHttpStack(t, { folder, config: { oauth } });
	const paths = new Map<string, readonly string[]>();
	for (const { path, methods } of routes()) paths.set(path, [...(paths.get(path) ?? []), ...methods]);
	for (const path of ENDPOINT_PATHS) paths.set(path, ['GET', 'POST', 'DELETE']);
	for (const path of [...OPEN, '/', '/nothing']) if (!paths.has(path)) paths.set(path, []);
	const send: Walk['send'] = (method, path, headers = {}) => {
		const all = { 'content-type': 'application/json', accept: 'application/json, text/event-stream', ...headers };
		const body = method === 'POST' ? { body: JSON.stringify(initializeRequest()) } : {};
		return stack.send({ method, path, headers: all, ...body });
	};
	return { stack, paths, keyForNothing, send };
}

const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
const isOpen = (method: string, path: string): boolean => /^(?:GET|HEAD)$/.test(method) && OPEN.includes(path);

test('the routers are all known: what is walked is what there is', async (t) => {
	const { paths } = await start(t);
	for (const [path, method] of [
		['/health', 'GET'],
		['/ready', 'GET'],
		['/status', 'GET'],
		['/metrics', 'GET'],
		['/openapi.json', 'GET'],
		['/api/servers/someone/logs', 'GET'],
		['/api/servers/someone/restart', 'POST'],
		['/api/sessions/someone', 'DELETE'],
		['/api/keys', 'GET'],
		['/api/keys', 'POST'],
		['/api/keys/someone', 'DELETE'],
		['/api/keys/someone/rotate', 'POST'],
	] as const)
		assert.ok(paths.get(path)?.includes(method), `${method} ${path} of ${[...paths.keys()].join(' ')}`);
});

test('without a key, and with a wrong one, every route but the open ones is 401', async (t) => {
	const { stack, paths, send } = await start(t);
	for (const path of paths.keys()) {
		// Many failures of one address are another test's.
		stack.later(60_000);
		for (const method of METHODS)
			for (const headers of [{}, bearer(makeKey()), bearer(`${API_KEY}x`), { authorization: 'Basic YTpi' }]) {
				const { status } = await send(method, path, headers);
				assert.equal(status, isOpen(method, path) ? 200 : 401, `${method} ${path} ${JSON.stringify(headers)}`);
			}
	}
	assert.equal(stack.launcher.launches, 0);
});

test('with a key for nothing every route but the open ones is 403, and /mcp is empty', async (t) => {
	const { stack, paths, keyForNothing, send } = await start(t);
	for (const [path, there] of paths) {
		if (path === '/mcp') continue;
		for (const method of METHODS) {
			const { status } = await send(method, path, bearer(keyForNothing));
			const label = `${method} ${path}`;
			if (isOpen(method, path)) assert.equal(status, 200, label);
			else if (there.includes(method)) assert.equal(status, 403, label);
			else assert.ok([403, 404, 405].includes(status), `${status} ${label}`);
		}
	}
	const session = await new SessionHttp(stack, '/mcp', undefined, keyForNothing).open();
	const { rpc } = await session.post({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
	assert.deepEqual(rpc.result?.['tools'], []);
	assert.equal(stack.launcher.launches, 0);
});

test('a page that has its own name lead to us (DNS rebinding), or calls us by ours, gets nothing of any route', async (t) => {
	const { stack, paths, send } = await start(t);
	const { id } = await stack.open();
	const good = { ...POST_HEADERS, 'mcp-session-id': id };
	const evil = `evil.example:${stack.port}`;
	const ours = `localhost:${stack.port}`;
	const pages: Record<string, string>[] = [
		// Same-origin to the browser, which then sends no Origin with GET.
		{ host: evil },
		{ host: evil, origin: `http://${evil}` },
		{ host: evil, origin: `http://${ours}` },
		{ host: ours, origin: `http://${evil}` },
		// A sandboxed frame, and a file.
		{ host: ours, origin: 'null' },
		{ host: evil, origin: `http://${evil}`, 'access-control-request-method': 'POST' },
		{ host: ours, origin: `http://${evil}`, 'access-control-request-method': 'POST' },
	];
	const before = stack.launcher.launches;
	for (const path of paths.keys())
		for (const method of METHODS)
			for (const page of pages)
				for (const headers of [{}, good]) {
					const answer = await send(method, path, { ...headers, ...page });
					assert.equal(answer.status, 403, `${method} ${path} ${JSON.stringify(page)}`);
					assert.equal(answer.headers['access-control-allow-origin'], undefined);
				}
	assert.equal(stack.launcher.launches, before);
	const [session] = stack.launcher.live;
	assert.equal(session?.stopped, undefined, 'the session lives');
});

test('what does not decode is nowhere, on every route and with every method', async (t) => {
	const { stack, paths } = await start(t);
	for (const path of paths.keys())
		for (const tail of ['%zz', '%', '%e2%82', '%ff', '%c0%ae', '%E0%A4%A'])
			for (const method of METHODS) {
				const answer = await stack.send({ method, path: `${path}/${tail}`, headers: bearer(API_KEY) });
				assert.equal(answer.status, 404, `${method} ${path}/${tail}`);
				if (method !== 'HEAD') assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_PATH_UNKNOWN');
			}
});
