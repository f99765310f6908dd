/** How many calls a caller may make, by whatever way it comes. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, call, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

type Test = Parameters<typeof startHttpStack>[0];

const LIST = { jsonrpc: '2.0', id: 'l', method: 'tools/list' };

async function start(t: Test, callsPerMinute = 2) {
	const stack = await startHttpStack(t, { config: { callsPerMinute } });
	const { launcher } = stack;
	launcher.state = {
		...launcher.state,
		servers: [serverView('alpha'), serverView('beta'), serverView('slow', { callsPerMinute: 1 })],
	};
	const script = {
		answers: {
			'tools/list': () => ({ tools: [] }),
			'tools/call': () => ({ content: [] }),
			'prompts/get': () => ({ messages: [] }),
		},
	};
	new Cast(launcher, { alpha: { ...script, protocolVersion: '2025-03-26' }, beta: script, slow: script });
	return {
		stack,
		keyFor: async (name: string, body: object = {}): Promise<string> => {
			const { text } = await stack.send({
				method: 'POST',
				path: '/api/keys',
				headers: { ...POST_HEADERS, authorization: `Bearer ${API_KEY}` },
				body: JSON.stringify({ name, scopes: ['*'], ...body }),
			});
			return JSON.parse(text).key;
		},
	};
}

const isRefused = ({ status, rpc }: Reply): boolean =>
	status === 429 && rpc.error?.data?.['code'] === 'SLIPWAY_RATE_LIMITED';

describe('a caller', () => {
	test('is told what is left, refused when nothing is, and when to come again; lists are free', async (t) => {
		const { stack } = await start(t);
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		const first = await session.post(call(1));
		assert.equal(first.status, 200);
		assert.equal(first.headers['ratelimit-policy'], '"calls";q=2;w=60');
		assert.equal(first.headers['ratelimit'], '"calls";r=1;t=30');
		assert.equal((await session.post({ ...LIST, id: 5, method: 'prompts/get', params: { name: 'p' } })).status, 200);
		const refused = await session.post(call(3));
		assert.ok(isRefused(refused), refused.text);
		assert.equal(refused.headers['retry-after'], '30');
		assert.equal(refused.rpc.id, 3);
		assert.equal((await session.post(LIST)).status, 200);
		stack.later(30_000);
		assert.equal((await session.post(call(4))).status, 200);
	});

	test('has one budget at a server, in all its sessions, in both eras, at each endpoint and in batches', async (t) => {
		const { stack } = await start(t, 3);
		const [one, all] = [
			await new SessionHttp(stack, '/servers/alpha/mcp').open(),
			await new SessionHttp(stack, '/mcp').open(),
		];
		assert.equal((await one.post(call(1))).status, 200);
		assert.equal((await all.post(call(1, 'alpha__echo'))).status, 200);
		const modern = new ModernHttp(stack, { path: '/servers/alpha/mcp', capabilities: {} });
		assert.equal((await modern.call('echo').reply()).status, 200);
		assert.ok(isRefused(await modern.call('echo').reply()));
		assert.ok(isRefused(await one.post(call(2))));
		assert.ok(isRefused(await all.post(call(2, 'alpha__echo'))));
		const batching = await new SessionHttp(stack, '/servers/alpha/mcp').open('2025-03-26');
		const batch = await batching.post([call(7), LIST]);
		assert.ok(isRefused(batch), batch.text);
		assert.equal((await all.post(call(3, 'beta__echo'))).status, 200, 'another server is another budget');
	});

	test('takes nothing of another', async (t) => {
		const { stack, keyFor } = await start(t, 1);
		const key = await keyFor('ci');
		const [mine, theirs] = [
			await new SessionHttp(stack, '/servers/alpha/mcp').open(),
			await new SessionHttp(stack, '/servers/alpha/mcp', undefined, key).open(),
		];
		assert.equal((await mine.post(call(1))).status, 200);
		assert.ok(isRefused(await mine.post(call(2))));
		assert.equal((await theirs.post(call(1))).status, 200);
	});

	test('cannot have more by names that are none', async (t) => {
		const { stack } = await start(t, 1);
		const all = await new SessionHttp(stack, '/mcp').open();
		assert.ok((await all.post(call(1, 'nobody__echo'))).status !== 429);
		assert.ok(isRefused(await all.post(call(2, 'else__echo'))), 'they are one budget');
	});
});

test('the smaller of what the key and the catalog say counts, and either in place of the default', async (t) => {
	const { stack, keyFor } = await start(t, 2);
	const key = await keyFor('ci', { callsPerMinute: 4 });
	const of = async (server: string, ofKey?: string): Promise<string | undefined> => {
		const session = await new SessionHttp(stack, `/servers/${server}/mcp`, undefined, ofKey).open();
		return String((await session.post(call(1))).headers['ratelimit-policy']);
	};
	assert.equal(await of('alpha'), '"calls";q=2;w=60');
	assert.equal(await of('alpha', key), '"calls";q=4;w=60');
	assert.equal(await of('slow'), '"calls";q=1;w=60');
	assert.equal(await of('slow', key), '"calls";q=1;w=60');
});

test('with no bound nothing is counted or said', async (t) => {
	const { stack } = await start(t, 0);
	const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
	const { status, headers } = await session.post(call(1));
	assert.deepEqual([status, headers['ratelimit']], [200, undefined]);
});
