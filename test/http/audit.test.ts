/** What the audit records of calls and acts, at every endpoint and in both eras, and what it never does. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { FileAudit } from '../../src/audit/audit.ts';
import type { ChainedRecord } from '../../src/audit/chain.ts';
import type { ServerView } from '../../src/launcher/contract.ts';
import { AUDIT_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { assertWhole, recordsIn } from '../support/audit-files.ts';
import { until } from '../support/engine-bench.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { API_KEY, AUTHORIZATION, call, type HttpStack, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { Inbox } from '../support/inbox.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast, notification, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const SCRIPT: Script = {
	capabilities: { tools: {}, prompts: {}, resources: {} },
	protocolVersion: '2025-03-26',
	answers: {
		'tools/list': () => ({ tools: [] }),
		'tools/call': ({ name }) => {
			if (name === 'wait') return undefined;
			return name === 'bad' ? { content: [], isError: true } : { content: [{ type: 'text', text: 'RESULT-CANARY' }] };
		},
		'prompts/list': () => ({ prompts: [] }),
		'prompts/get': () => ({ messages: [] }),
		'resources/list': () => ({ resources: [{ uri: 'test:URI-CANARY', name: 'r' }] }),
		'resources/templates/list': () => ({ resourceTemplates: [] }),
		'resources/read': () => ({ contents: [] }),
	},
};

interface Setting {
	readonly stack: HttpStack;
	readonly cast: Cast;
	readonly folder: string;
	/** Stops the gateway. Resolves with all that was recorded. */
	end(): Promise<readonly ChainedRecord[]>;
	/** The same, but for calls alone. */
	calls(): Promise<readonly ChainedRecord[]>;
}

async function start(t: TestContext, { view = {}, callsPerMinute = 0 }: Partial<Options> = {}): Promise<Setting> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
	t.after(() => rm(folder, { recursive: true }));
	const retention = { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 };
	const audit = new FileAudit({ mode: 'best-effort', folder, retention, log: SILENT_LOG });
	const stack = await startHttpStack(t, { audit, config: { callsPerMinute } });
	const { launcher } = stack;
	launcher.state = { ...launcher.state, servers: [serverView('alpha', view), serverView('beta')] };
	const end = async (): Promise<readonly ChainedRecord[]> => {
		await stack.stop();
		assertWhole(folder);
		return recordsIn(folder);
	};
	return {
		stack,
		cast: new Cast(launcher, { alpha: SCRIPT, beta: SCRIPT }),
		folder,
		end,
		calls: async () => (await end()).filter(({ event }) => event === 'call'),
	};
}

interface Options {
	readonly view: Partial<ServerView>;
	readonly callsPerMinute: number;
}

const request = (method: string, params: object, id: string | number = method): Rpc => ({
	jsonrpc: '2.0',
	id,
	method,
	params: { ...params },
});

/** What is the same for every run. */
const plain = (record: ChainedRecord | undefined): object => {
	assert.ok(record);
	const { seq: _, prev: __, time, durationMs, requestId, client, session, ...rest } = record;
	assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
	if (record.event === 'call') {
		assert.ok(typeof durationMs === 'number' && durationMs >= 0 && typeof requestId === 'string');
		assert.equal(client, '127.0.0.1');
		assert.ok(session === undefined || /^[0-9a-f]{16}$/.test(session));
	}
	return rest;
};

/** One way to be a client. */
interface Client {
	send(message: Rpc): Promise<Reply>;
	/** Begins a request and withdraws it when the server has it. */
	withdraw(message: Rpc, isHeard: () => Promise<unknown>): Promise<void>;
}

const ERAS: Readonly<Record<string, (stack: HttpStack, path: string) => Promise<Client>>> = {
	legacy: async (stack, path) => {
		const session = await new SessionHttp(stack, path).open('2025-03-26');
		return {
			send: (message) => session.post(message),
			withdraw: async (message, isHeard) => {
				const answer = session.post(message);
				await isHeard();
				await session.post(notification('notifications/cancelled', { requestId: message.id }));
				await answer;
			},
		};
	},
	modern: async (stack, path) => {
		const client = new ModernHttp(stack, { path });
		return {
			send: ({ method = '', params = {} }) => client.send(method, params),
			withdraw: async ({ method = '', params = {} }, isHeard) => {
				const pending = client.begin(method, params);
				pending.response.catch(() => undefined);
				await isHeard();
				pending.disconnect();
			},
		};
	},
};

for (const [era, connect] of Object.entries(ERAS))
	for (const path of ['/servers/alpha/mcp', '/mcp'])
		describe(`a client of the ${era} era at ${path}`, () => {
			const isMany = path === '/mcp';
			const named = (name: string): string => (isMany ? `alpha__${name}` : name);
			const asked = {
				event: 'call',
				principal: 'operator',
				server: 'alpha',
				...(isMany ? { endpoint: '/mcp' } : {}),
			};

			test('has one record of each call, under the name of the server, with the shape of its arguments', async (t) => {
				const { stack, calls } = await start(t);
				const client = await connect(stack, path);
				const args = { text: 'CANARY', deep: { list: [1, 'CANARY'], ['__proto__']: null } };
				await client.send(request('tools/call', { name: named('echo'), arguments: args }, 1));
				await client.send(request('tools/call', { name: named('bad'), arguments: {} }, 2));
				await client.send(request('prompts/get', { name: named('p'), arguments: { who: 'CANARY' } }, 3));
				await client.send(request('resources/read', { uri: 'test:URI-CANARY' }, 4));
				await client.send(request('tools/list', {}, 5));
				const [echo, bad, prompt, resource, ...rest] = (await calls()).map((record) => {
					const { answerChars, ...others } = plain(record) as { answerChars?: number };
					assert.ok(typeof answerChars === 'number' && answerChars > 0);
					return others;
				});
				assert.deepEqual(echo, {
					...{ ...asked, method: 'tools/call', tool: 'echo', outcome: 'ok' },
					arguments: { text: 'string(6)', deep: { list: 'array(2) of number|string', ['__proto__']: 'null' } },
				});
				assert.deepEqual(bad, { ...asked, method: 'tools/call', tool: 'bad', arguments: {}, outcome: 'isError' });
				assert.deepEqual(prompt, {
					...{ ...asked, method: 'prompts/get', tool: 'p', outcome: 'ok' },
					arguments: { who: 'string(6)' },
				});
				assert.deepEqual(resource, {
					...{ ...asked, method: 'resources/read', outcome: 'ok' },
					arguments: { uri: 'string(15)' },
				});
				assert.deepEqual(rest, []);
			});

			test('has a record of a call that the server refused, of one it withdrew, and of one that lost its Instance', async (t) => {
				const { stack, cast, calls } = await start(t);
				const client = await connect(stack, path);
				const wait = (id: number): Rpc => request('tools/call', { name: named('wait') }, id);
				const refused = client.send(wait(1));
				const alpha = await cast.of('alpha');
				const heard = await alpha.hear('tools/call');
				alpha.say({ jsonrpc: '2.0', id: heard.id, error: { code: -32050, message: 'No' } });
				await refused;
				await client.withdraw(wait(2), () => alpha.hear('tools/call'));
				assert.equal((await alpha.heard.next()).method, 'notifications/cancelled');
				const lost = client.send(wait(3));
				await alpha.hear('tools/call');
				alpha.exit();
				await lost;
				assert.deepEqual(
					(await calls()).map(({ server, tool, outcome, rpcCode }) => [server, tool, outcome, rpcCode]),
					[
						['alpha', 'wait', 'error', -32050],
						['alpha', 'wait', 'cancelled', undefined],
						['alpha', 'wait', 'SLIPWAY_INSTANCE_EXITED', undefined],
					],
				);
			});

			test('has a record of what it may not call, of too many calls, and of one that the end of the gateway cut off', async (t) => {
				const { stack, cast, calls } = await start(t, { view: { tools: { deny: ['bad'] } }, callsPerMinute: 3 });
				const client = await connect(stack, path);
				await client.send(request('tools/call', { name: named('bad') }, 1));
				await client.send(request('tools/call', { name: named('echo') }, 2));
				const cut = client.send(request('tools/call', { name: named('wait') }, 3));
				cut.catch(() => undefined);
				await (await cast.of('alpha')).hear('tools/call');
				await client.send(request('tools/call', { name: named('echo') }, 4));
				const records = await calls();
				await cut.catch(() => undefined);
				assert.deepEqual(
					records.map(({ tool, outcome }) => [tool, outcome]),
					[
						['bad', 'SLIPWAY_FORBIDDEN'],
						['echo', 'ok'],
						['echo', 'SLIPWAY_RATE_LIMITED'],
						['wait', 'SLIPWAY_SESSION_ENDED'],
					],
				);
			});
		});

test('each call of a batch has a record of its own, also where the whole batch is refused', async (t) => {
	const { stack, calls } = await start(t, { callsPerMinute: 3 });
	const session = await new SessionHttp(stack, '/servers/alpha/mcp').open('2025-03-26');
	await session.post([call(1, 'echo'), request('tools/list', {}), call(2, 'bad'), notification('notifications/x')]);
	assert.equal((await session.post([call(3, 'echo'), call(4, 'bad')])).status, 429);
	const records = await calls();
	assert.deepEqual(
		records.map(({ tool, outcome }) => [tool, outcome]),
		[
			['echo', 'ok'],
			['bad', 'isError'],
			['echo', 'SLIPWAY_RATE_LIMITED'],
			['bad', 'SLIPWAY_RATE_LIMITED'],
		],
	);
	assert.equal(new Set(records.slice(0, 2).map(({ requestId }) => requestId)).size, 1);
});

test('a call whose client hung up before there was a server has a record', async (t) => {
	const { stack, calls } = await start(t);
	const coming = Promise.withResolvers<void>();
	stack.launcher.beforeLaunch = () => coming.promise;
	const pending = new ModernHttp(stack).call('echo');
	pending.response.catch(() => undefined);
	await until('it is started', () => stack.launcher.launches === 1);
	pending.disconnect();
	await stack.launcher.aborted.next();
	assert.deepEqual(
		(await calls()).map(({ tool, outcome }) => [tool, outcome]),
		[['echo', 'cancelled']],
	);
});

test('a call over HTTP+SSE has a record', async (t) => {
	const { stack, calls } = await start(t);
	const opened = Promise.withResolvers<IncomingMessage>();
	get({ host: '127.0.0.1', port: stack.port, path: '/servers/alpha/sse', headers: AUTHORIZATION }, opened.resolve);
	const stream = await opened.promise;
	stream.setEncoding('utf8');
	let text = '';
	const said = async (pattern: RegExp): Promise<string> => {
		for (;;) {
			const found = pattern.exec(text);
			if (found !== null) return found[1] ?? '';
			text += await new Promise<string>((resolve) => stream.once('data', resolve));
		}
	};
	const path = await said(/data: (\/\S+)/);
	const post = (message: Rpc) =>
		stack.send({ method: 'POST', path, headers: POST_HEADERS, body: JSON.stringify(message) });
	await post(request('initialize', { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: {} }, 0));
	await said(/("protocolVersion")/);
	await post(call(1, 'echo'));
	await said(/(RESULT-CANARY)/);
	stream.destroy();
	assert.deepEqual(
		(await calls()).map(({ tool, outcome, session }) => [tool, outcome, session?.length]),
		[['echo', 'ok', 16]],
	);
});

describe('acts', () => {
	test('sessions, keys, the catalog, the start and the stop have a record each', async (t) => {
		const { stack, end } = await start(t);
		const api = (method: string, path: string, body?: object): Promise<Reply> =>
			stack.send({
				method,
				path: `/api/keys${path}`,
				headers: body === undefined ? AUTHORIZATION : POST_HEADERS,
				...(body === undefined ? {} : { body: JSON.stringify(body) }),
			});
		const session = await new SessionHttp(stack, '/servers/alpha/mcp').open();
		await session.end();
		await api('POST', '', { name: 'ci', scopes: ['server:alpha'] });
		await api('POST', '/ci/rotate');
		await api('POST', '', { name: 'ci', scopes: ['*'] });
		await api('DELETE', '/ci');
		await api('DELETE', '/ci');
		const { launcher } = stack;
		const { servers } = launcher.state;
		launcher.state = {
			...launcher.state,
			servers: servers.map((server) => ({ ...server, spec: `made ${server.spec}` })),
		};
		launcher.state = {
			...launcher.state,
			catalog: { revision: 2 },
			servers: [{ ...serverView('alpha'), spec: 'made spec-alpha', callTimeoutMs: 1 }, serverView('gamma')],
		};
		launcher.state = { ...launcher.state, catalog: { revision: 2, problem: 'a secret word' } };
		const records = await end();
		assert.deepEqual(
			records.map(({ event, act, outcome, key }) => [event, act ?? '', outcome ?? '', key ?? ''].join(' ').trim()),
			[
				...['start', 'catalog', 'session made', 'session ended SLIPWAY_SESSION_ENDED'],
				...['key create ok ci', 'key rotate ok ci', 'key create SLIPWAY_KEY_EXISTS', 'key revoke ok ci'],
				...['key revoke SLIPWAY_KEY_UNKNOWN ci', 'catalog', 'catalog', 'stop'],
			],
		);
		const [made, ended] = records.filter(({ event }) => event === 'session');
		assert.ok(made?.session !== undefined && made.session === ended?.session);
		const created = records.find(({ event }) => event === 'key');
		assert.deepEqual([created?.principal, created?.scopes], ['operator', ['server:alpha']]);
		const [, changed, wrong] = records.filter(({ event }) => event === 'catalog').map(plain);
		assert.deepEqual(changed, {
			event: 'catalog',
			revision: 2,
			added: ['gamma'],
			removed: ['beta'],
			changed: ['alpha'],
		});
		assert.deepEqual(wrong, { event: 'catalog', revision: 2, problem: true });
	});

	test('requests of nobody, and of somebody who may not, have records: so many in a minute, and then their number', async (t) => {
		const { stack, folder, end } = await start(t);
		const { text } = await stack.send({
			method: 'POST',
			path: '/api/keys',
			headers: POST_HEADERS,
			body: JSON.stringify({ name: 'b', scopes: ['tool:beta/x'] }),
		});
		const key: string = JSON.parse(text).key;
		const authorization = `Bearer ${key}`;
		await stack.post('alpha', call(1), { authorization });
		await stack.send({ path: '/status', headers: { authorization } });
		const session = await new SessionHttp(stack, '/servers/beta/mcp', undefined, key).open();
		await session.post(request('completion/complete', {}));
		await stack.post('alpha', call(1), { authorization: 'Bearer KEY-CANARY-0123456789' });
		for (let nth = 0; nth < AUDIT_LIMITS.refusalsPerMinuteMax; nth++)
			await stack.post('alpha', call(nth), { authorization });
		stack.later(60_000);
		const refused = (await end()).filter(({ event }) => event === 'refused');
		assert.deepEqual(
			refused.slice(0, 4).map((record) => plain(record)),
			[
				{ event: 'refused', principal: 'key:b', endpoint: '/servers/alpha/mcp', outcome: 'SLIPWAY_FORBIDDEN' },
				{ event: 'refused', principal: 'key:b', endpoint: '/status', outcome: 'SLIPWAY_FORBIDDEN' },
				{
					event: 'refused',
					principal: 'key:b',
					server: 'beta',
					method: 'completion/complete',
					outcome: 'SLIPWAY_FORBIDDEN',
				},
				{ event: 'refused', endpoint: '/servers/alpha/mcp', outcome: 'SLIPWAY_UNAUTHENTICATED' },
			],
		);
		assert.equal(refused.length, AUDIT_LIMITS.refusalsPerMinuteMax + 2);
		assert.equal(refused.at(-1)?.count, 3);
		const all = JSON.stringify(recordsIn(folder));
		assert.ok(!all.includes('KEY-CANARY') && !all.includes(key));
	});
});

test('arguments are recorded where the catalog says so for the tool, and nothing else of a call ever is', async (t) => {
	const { stack, folder, calls } = await start(t, { view: { audit: { values: ['ech*'] } } });
	const client = await new SessionHttp(stack, '/mcp').open();
	const args = { text: 'SAID-SO', much: ['a', { b: 1 }] };
	await client.post(request('tools/call', { name: 'alpha__echo', arguments: args }, 1));
	await client.post(request('tools/call', { name: 'alpha__bad', arguments: { text: 'CANARY' } }, 2));
	await client.post(request('tools/call', { name: 'beta__echo', arguments: { text: 'CANARY' } }, 3));
	const long = { text: 'CANARY'.repeat(AUDIT_LIMITS.valuesCharsMax) };
	await client.post(request('tools/call', { name: 'alpha__echo', arguments: long, _meta: { x: 'CANARY' } }, 4));
	await client.post(request('resources/read', { uri: 'test:URI-CANARY' }, 5));
	const [said, ...others] = await calls();
	assert.deepEqual([said?.values, said?.arguments], [args, undefined]);
	assert.deepEqual(
		others.map(({ values, arguments: shape }) => [values, typeof shape]),
		Array.from({ length: 4 }, () => [undefined, 'object']),
	);
	let text = '';
	for (const name of await readdir(folder)) text += await readFile(join(folder, name), 'latin1');
	assert.match(text, /SAID-SO/);
	for (const secret of ['CANARY', API_KEY, client.id]) assert.ok(!text.includes(secret), secret);
	assert.match(text, /^[\x20-\x7e\n]*$/);
});

describe('where the audit cannot be written', () => {
	const retention = { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 };

	async function startBlocked(t: TestContext, mode: 'required' | 'best-effort') {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
		t.after(() => rm(folder, { recursive: true }));
		// A file where a folder should be.
		const blocker = join(folder, 'blocker');
		await writeFile(blocker, '');
		const told = new Inbox<string>('a line of the log');
		const tell = (message: string): void => told.push(message);
		const log = { ...SILENT_LOG, error: tell, warn: tell };
		const audit = new FileAudit({ mode, folder: join(blocker, 'audit'), retention, log });
		const stack = await startHttpStack(t, { audit });
		new Cast(stack.launcher, { alpha: SCRIPT });
		return { stack, blocker, told, session: await new SessionHttp(stack, '/servers/alpha/mcp').open() };
	}

	const failing = async ({ send }: HttpStack): Promise<string | undefined> =>
		/^slipway_audit_failing (\d)$/m.exec((await send({ path: '/metrics', headers: AUTHORIZATION })).text)?.[1];

	test('and must be, calls and changes of keys are refused, nothing else is, and all goes on when it can be again', async (t) => {
		const { stack, blocker, told, session } = await startBlocked(t, 'required');
		const refused = await session.post(call(1, 'echo'));
		assert.deepEqual([refused.status, refused.headers['retry-after']], [503, '1']);
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_AUDIT_FAILED');
		const path = '/api/keys';
		const body = JSON.stringify({ name: 'ci', scopes: ['*'] });
		assert.equal((await stack.send({ method: 'POST', path, headers: POST_HEADERS, body })).status, 503);
		assert.deepEqual(JSON.parse((await stack.send({ path, headers: AUTHORIZATION })).text), { keys: [] });
		assert.equal((await session.post(request('tools/list', {}))).status, 200);
		assert.equal(await failing(stack), '1');
		await rm(blocker);
		await told.first((message) => message === 'the audit is written again');
		assert.equal(await failing(stack), '0');
		assert.equal((await session.post(call(2, 'echo'))).status, 200);
		await stack.stop();
		assert.deepEqual(
			recordsIn(join(blocker, 'audit')).map(({ event, outcome = '' }) => `${event} ${outcome}`.trim()),
			[
				...['start', 'catalog', 'session', 'call SLIPWAY_AUDIT_FAILED', 'key SLIPWAY_AUDIT_FAILED', 'call ok'],
				...['session SLIPWAY_SESSION_ENDED', 'stop'],
			],
		);
		assert.deepEqual(told.items, ['the audit fails: calls are refused', 'the audit is written again']);
	});

	test('and need not be, calls go on, and the log and a metric tell', async (t) => {
		const { stack, told, session } = await startBlocked(t, 'best-effort');
		assert.equal((await session.post(call(1, 'echo'))).status, 200);
		assert.equal(await failing(stack), '1');
		assert.deepEqual(told.items, ['the audit fails: records may be lost']);
	});
});

test('the key that is made at the first start has a record', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-audit-'));
	t.after(() => rm(folder, { recursive: true }));
	const retention = { bytesMax: 2 ** 30, ageMsMax: 2 ** 40 };
	const audit = new FileAudit({ mode: 'best-effort', folder, retention, log: SILENT_LOG });
	const stack = await startHttpStack(t, { audit, apiKey: null });
	const made = stack.gateway.madeKey ?? assert.fail('no key');
	await stack.stop();
	const key = recordsIn(folder).find(({ event }) => event === 'key');
	assert.deepEqual(plain(key), { event: 'key', act: 'create', key: 'operator', outcome: 'ok' });
	assert.ok(!JSON.stringify(recordsIn(folder)).includes(made));
});
