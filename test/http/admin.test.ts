/** /health, /ready, /status, /metrics, and the key that they are asked with. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import type { Log, LogFields } from '../../src/log.ts';
import { RawConnection } from '../support/http-client.ts';
import {
	API_KEY,
	AUTHORIZATION,
	call,
	type HttpStack,
	initializeRequest,
	result,
	startHttpStack,
} from '../support/http-stack.ts';

describe('/health and /ready', () => {
	test('say what is, start nothing and make no session', async (t) => {
		const stack = await startHttpStack(t);
		const health = await stack.send({ path: '/health' });
		assert.equal(health.status, 200);
		assert.deepEqual(JSON.parse(health.text), { status: 'ok', version: 'test' });
		const ready = await stack.send({ path: '/ready' });
		assert.equal(ready.status, 200);
		assert.deepEqual(JSON.parse(ready.text), {
			status: 'ok',
			version: 'test',
			checks: { gateway: 'ok', launcher: 'ok', engine: 'ok' },
		});
		assert.equal(stack.launcher.launches, 0);
		assert.equal(ready.headers['cache-control'], 'no-store');
		assert.equal(ready.headers['x-powered-by'], undefined);
		assert.ok(ready.headers['x-request-id']);
	});

	test('/ready is 503 while engine or launcher does not answer, /health is not', async (t) => {
		const stack = await startHttpStack(t);
		const good = stack.launcher.state;
		stack.launcher.state = { ...good, engine: { reachable: false, reason: '/var/run/docker.sock: ENOENT' } };
		const engine = await stack.send({ path: '/ready' });
		assert.equal(engine.status, 503);
		assert.equal(JSON.parse(engine.text).status, 'unavailable');
		assert.equal(JSON.parse(engine.text).checks.launcher, 'ok');
		assert.notEqual(JSON.parse(engine.text).checks.engine, 'ok');
		assert.ok(!engine.text.includes('docker.sock'), 'no reason without a key');
		stack.launcher.state = { ...good, launcher: { reachable: false, version: '' } };
		assert.equal((await stack.send({ path: '/ready' })).status, 503);
		assert.equal((await stack.send({ path: '/health' })).status, 200);
		stack.launcher.state = good;
		assert.equal((await stack.send({ path: '/ready' })).status, 200);
	});

	test('/ready is 503 while the gateway drains', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		const connection = await new RawConnection(stack.port).connected();
		connection.write('GET /ready HTTP/1.1\r\nHost:');
		await stack.send({ path: '/health' });
		const stopping = stack.gateway.stop();
		connection.write(' localhost\r\n\r\n');
		assert.match(await connection.until(/"checks"/), /^HTTP\/1\.1 503 [\s\S]*shutting down/);
		instance.say(result(id));
		await answering;
		await stopping;
	});
});

test('/status tells of servers, their Instances and the sessions', async (t) => {
	const stack = await startHttpStack(t);
	stack.launcher.reports = [
		{
			instance: 'i-1' as InstanceId,
			server: 'alpha' as ServerName,
			startedAt: '2026-01-01T00:00:00Z',
			ended: { at: '2026-01-01T00:00:01Z', cause: 'exited', exitCode: 3 },
			stderr: 'boom',
		},
	];
	const { id } = await stack.open();
	const { status, text, headers } = await stack.send({ path: '/status', headers: AUTHORIZATION });
	assert.equal(status, 200);
	assert.match(String(headers['content-type']), /^application\/json/);
	const told = JSON.parse(text);
	assert.equal(told.status, 'ok');
	assert.equal(told.sessions, 1);
	assert.equal(told.startsQueued, 0);
	assert.equal(told.orphansSwept, 0);
	assert.equal(told.engine.version, '29');
	assert.deepEqual(
		told.servers.map(({ name, enabled, path, sessions }: Record<string, unknown>) => ({
			name,
			enabled,
			path,
			sessions,
		})),
		[
			{ name: 'alpha', enabled: true, path: '/servers/alpha/mcp', sessions: 1 },
			{ name: 'beta', enabled: true, path: '/servers/beta/mcp', sessions: 0 },
			{ name: 'off', enabled: false, path: '/servers/off/mcp', sessions: 0 },
			{ name: 'quick', enabled: true, path: '/servers/quick/mcp', sessions: 0 },
		],
	);
	assert.equal(told.servers[0].recent[0].stderr, 'boom');
	assert.ok(!text.includes(id), 'a session id is a secret');
	// Without the launcher it still says what it knows.
	stack.launcher.report = () => Promise.reject(new Error('gone'));
	assert.equal((await stack.send({ path: '/status', headers: AUTHORIZATION })).status, 200);
});

describe('/metrics', () => {
	const read = async (stack: HttpStack): Promise<string> =>
		(await stack.send({ path: '/metrics', headers: AUTHORIZATION })).text;

	test('has the names of the design, and labels from catalog and lists only, never from traffic', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post, listen } = await stack.open();
		const listing = post({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
		instance.say(
			result((await instance.hearRequest('tools/list')).id, { tools: [{ name: 'known' }, { name: 5 }, null] }),
		);
		await listing;
		for (const name of ['known', 'from-traffic', 'evil"} 1\nfake_metric 1']) {
			const answering = post(call(1, name));
			instance.say(result((await instance.hearRequest('tools/call')).id));
			await answering;
		}
		const failing = post(call(1, 'known'));
		instance.say({
			jsonrpc: '2.0',
			id: (await instance.hearRequest('tools/call')).id,
			error: { code: -1, message: 'x' },
		});
		await failing;
		await post({ jsonrpc: '2.0', id: 1, method: 'evil-method', params: 5 });
		await stack.post('evil-server', initializeRequest());
		instance.raw('noise\n');
		const standing = await listen();
		stack.launcher.state = { ...stack.launcher.state, startsQueued: 3, orphansSwept: 2 };
		const text = await read(stack);
		const lines = text.split('\n');
		for (const line of [
			'mcp_requests_total{server="alpha",tool="known",status="ok"} 1',
			'mcp_requests_total{server="alpha",tool="known",status="error"} 1',
			'mcp_requests_total{server="alpha",tool="other",status="ok"} 2',
			'mcp_request_duration_seconds_count{server="alpha",tool="other"} 2',
			'slipway_sessions{server="alpha"} 1',
			'slipway_streams 1',
			'slipway_starts_queued 3',
			'slipway_orphans_swept 2',
			'slipway_engine_up 1',
			'slipway_launcher_up 1',
			'slipway_http_errors_total{code="SLIPWAY_SERVER_UNKNOWN"} 1',
			'slipway_noise_lines_total{server="alpha"} 1',
			'slipway_start_duration_seconds_count{server="alpha",outcome="ok"} 1',
		])
			assert.ok(lines.includes(line), `${line}\n${text}`);
		assert.ok(!/from-traffic|evil|fake_metric/.test(text));
		for (const name of text.matchAll(/^# TYPE (\S+)/gm))
			assert.match(name[1] ?? '', /^(?:slipway_|mcp_requests_total$|mcp_request_duration_seconds$)/);
		standing.destroy();
		await standing.closed;
	});

	test('count ends that are no answers by what they were', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open('quick');
		const cancelled = post(call('c'));
		await instance.hearRequest('tools/call');
		await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'c' } });
		await cancelled;
		await instance.hear();
		const late = post(call('t'));
		await instance.hearRequest('tools/call');
		stack.later(5_001);
		await late;
		const dying = post(call('d'));
		await instance.hear();
		await instance.hearRequest('tools/call');
		instance.end({ cause: 'oom', exitCode: 137, stderr: '' });
		await dying;
		const text = await read(stack);
		for (const status of ['cancelled', 'call_timeout', 'instance_oom'])
			assert.ok(text.includes(`mcp_requests_total{server="quick",tool="other",status="${status}"} 1\n`), status);
		assert.ok(text.includes('slipway_sessions{server="quick"} 1\n'), 'the session goes on');
	});
});

test('admin requests beyond 600 a minute are 429 with Retry-After', async (t) => {
	const stack = await startHttpStack(t);
	let answer = await stack.send({ path: '/status', headers: AUTHORIZATION });
	for (let i = 0; i < 600; i++) answer = await stack.send({ path: '/status', headers: AUTHORIZATION });
	assert.equal(answer.status, 429);
	assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_RATE_LIMITED');
	assert.ok(Number(answer.headers['retry-after']) > 0);
	assert.equal((await stack.send({ path: '/health' })).status, 200, 'health is not limited');
	await stack.open();
});

describe('the first key', () => {
	test('is made once, kept as a hash, and found again at the next start', async (t) => {
		const folder = await mkdtemp(join(tmpdir(), 'slipway-key-'));
		t.after(() => rm(folder, { recursive: true }));
		const first = await startHttpStack(t, { folder, apiKey: null });
		const key = first.gateway.madeKey;
		assert.ok(key !== undefined);
		assert.match(key, /^slipway_[A-Za-z0-9_-]{43}$/);
		const authorization = `Bearer ${key}`;
		assert.equal((await first.send({ path: '/status', headers: { authorization } })).status, 200);
		assert.equal((await first.send({ path: '/status', headers: AUTHORIZATION })).status, 401);
		for (const file of await readdir(folder))
			assert.ok(!(await readFile(join(folder, file))).includes(key.slice(8)), file);
		await first.stop();
		for (const file of await readdir(folder))
			assert.ok(!(await readFile(join(folder, file))).includes(key.slice(8)), file);

		const second = await startHttpStack(t, { folder, apiKey: null });
		assert.equal(second.gateway.madeKey, undefined);
		assert.equal((await second.send({ path: '/status', headers: { authorization } })).status, 200);
		await second.stop();

		// A configured key wins, and what was made is good again without it.
		const third = await startHttpStack(t, { folder });
		assert.equal(third.gateway.madeKey, undefined);
		assert.equal((await third.send({ path: '/status', headers: AUTHORIZATION })).status, 200);
		assert.equal((await third.send({ path: '/status', headers: { authorization } })).status, 401);
		await third.stop();
		const fourth = await startHttpStack(t, { folder, apiKey: null });
		assert.equal((await fourth.send({ path: '/status', headers: { authorization } })).status, 200);
	});

	test('and a switched-off authentication are not set at once', async (t) => {
		await assert.rejects(startHttpStack(t, { config: { auth: 'none' } }), { code: 'SLIPWAY_CONFIG_INVALID' });
	});
});

test('the log holds no key, no session id, no argument and no answer', async (t) => {
	const lines: string[] = [];
	const write = (message: string, fields?: LogFields): void => void lines.push(JSON.stringify({ message, ...fields }));
	const log: Log = { error: write, warn: write, info: write, debug: write, with: () => log };
	const stack = await startHttpStack(t, { log });
	const { id, instance, post } = await stack.open();
	const answering = post({
		jsonrpc: '2.0',
		id: 'id-secret',
		method: 'tools/call',
		params: { name: 'x', arguments: { a: 'argument-secret' } },
	});
	instance.say(result((await instance.hearRequest('tools/call')).id, { a: 'result-secret' }));
	await answering;
	const dying = post(call(2));
	await instance.hearRequest('tools/call');
	instance.end({ cause: 'exited', exitCode: 1, stderr: 'stderr-secret' });
	await dying;
	await stack.send({ path: '/status?key=query-secret' });
	await stack.send({ path: '/servers/alpha/mcp', headers: { authorization: 'Bearer wrong-secret' } });
	await stack.stop();
	assert.ok(lines.length > 4);
	const all = lines.join('\n');
	for (const secret of [API_KEY, id, 'secret']) assert.ok(!all.includes(secret), `${secret}\n${all}`);
});
