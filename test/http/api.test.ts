/** The admin API: that it does what its document says, and that the document says all that it does. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { FileAudit } from '../../src/audit/audit.ts';
import { hashKey, makeKey } from '../../src/http/keys.ts';
import { ENDPOINTS } from '../../src/http/listener.ts';
import type { InstanceId, ServerName } from '../../src/ids.ts';
import type { StderrLine } from '../../src/launcher/contract.ts';
import { HTTP_LIMITS, SSE_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { recordsIn } from '../support/audit-files.ts';
import { recordRoutes } from '../support/every-route.ts';
import { serverView } from '../support/fake-launcher.ts';
import { ask, type Reply } from '../support/http-client.ts';
import { AUTHORIZATION, call, callAgain, type HttpStack, result, startHttpStack } from '../support/http-stack.ts';
import { LineReader } from '../support/line-reader.ts';

interface Operation {
	readonly responses: Readonly<Record<string, { content?: Record<string, { schema: object }> }>>;
}
interface Document {
	readonly openapi: string;
	readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const ALPHA = 'alpha' as ServerName;
const JSON_TYPE = 'application/json';

function line(text: string, server = ALPHA): StderrLine {
	return { at: '2026-01-01T00:00:00.000Z', server, instance: 'i-1' as InstanceId, text };
}

async function documentOf(stack: HttpStack): Promise<Document> {
	return JSON.parse((await stack.send({ path: '/openapi.json', headers: AUTHORIZATION })).text);
}

/** What says whether an answer is one that the document has for that operation. */
function schemasOf(document: Document) {
	const ajv = new Ajv2020({ strict: false, validateFormats: false });
	ajv.addSchema(document, 'document');
	return (path: string, method: string, status: number, type: string): ValidateFunction => {
		const { responses } = document.paths[path]?.[method] ?? { responses: {} };
		const told = status in responses ? String(status) : 'default';
		assert.ok(responses[told]?.content?.[type] !== undefined, `${method} ${path} has no ${status} as ${type}`);
		const pointer = ['paths', path, method, 'responses', told, 'content', type, 'schema'].map((part) =>
			encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1')),
		);
		return ajv.compile({ $ref: `document#/${pointer.join('/')}` });
	};
}

/** A stack whose document is at hand, and whose answers are held against it. */
async function start(t: TestContext, folder?: string) {
	const stack = await startHttpStack(t, folder === undefined ? {} : { folder });
	const fits = schemasOf(await documentOf(stack));
	const send = async (method: string, path: string, { template = path, body = '' } = {}): Promise<Reply> => {
		const answer = await stack.send({
			method: method.toUpperCase(),
			path,
			headers: { ...AUTHORIZATION, 'content-type': JSON_TYPE },
			...(body === '' ? {} : { body }),
		});
		if (answer.text !== '' && /json/.test(String(answer.headers['content-type']))) {
			const validate = fits(template, method, answer.status, JSON_TYPE);
			assert.ok(
				validate(JSON.parse(answer.text)),
				`${method} ${path} ${answer.text} ${JSON.stringify(validate.errors)}`,
			);
		}
		return answer;
	};
	return { stack, send, fits };
}

/** A stream of lines that is read. */
async function follow(stack: HttpStack, path: string, headers: Record<string, string> = AUTHORIZATION) {
	const response = await ask(stack.port, { path, headers });
	return { response, lines: new LineReader(response) };
}

test('the document is OpenAPI 3.1, and has every route of express and of the listener, and no other', async (t) => {
	const routes = recordRoutes(t);
	const stack = await startHttpStack(t);
	const document = await documentOf(stack);
	const { valid, errors } = await new Validator().validate({ ...structuredClone(document) });
	assert.ok(valid, JSON.stringify(errors));
	assert.match(document.openapi, /^3\.1\./);
	const told = Object.entries(document.paths).flatMap(([path, operations]) =>
		Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/g, 'someone')}`),
	);
	const served = routes().flatMap(({ path, methods }) => methods.map((method) => `${method} ${path}`));
	const endpoints = ['/mcp', '/groups/someone/mcp', '/servers/someone/mcp'].flatMap((path) =>
		['POST', 'GET', 'DELETE'].map((method) => `${method} ${path}`),
	);
	const old = ['GET /servers/someone/sse', 'POST /servers/someone/messages'];
	assert.deepEqual(told.toSorted(), [...served, ...endpoints, ...old].toSorted());
	for (const endpoint of Object.keys(ENDPOINTS)) assert.ok(`/servers/{name}/${endpoint}` in document.paths, endpoint);
});

test('every answer is what the document says, of refusals too', async (t) => {
	const { stack, send } = await start(t);
	const { launcher } = stack;
	launcher.reports = [
		{
			instance: 'i-1' as InstanceId,
			server: ALPHA,
			startedAt: '2026-01-01T00:00:00Z',
			ended: { at: '2026-01-01T00:00:01Z', cause: 'exited', exitCode: 3 },
			stderr: 'boom',
		},
	];
	const denied = [
		{ target: 'evil:443', reason: 'rule' as const, count: 1, at: '2026-01-01T00:00:00Z', allow: 'evil:443' },
	];
	launcher.state = {
		...launcher.state,
		catalog: { revision: 3, problem: 'servers.x: no' },
		servers: [
			serverView('alpha', {
				title: 'Alpha',
				description: 'd',
				callsPerMinute: 5,
				callsInFlight: 2,
				containers: 3,
				warm: 1,
				tools: { allow: ['a*'], callsPerMinute: { 'w*': 3 }, arguments: { x: '{}' }, validate: false },
				audit: { values: ['a'] },
				isolation: 'shared',
				replicas: { min: 0, max: 2 },
				egress: { allowed: ['a:443'], denied, allowedCount: 1, deniedCount: 1 },
			}),
			serverView('waits', { preparation: { kind: 'waiting' } }),
			serverView('builds', { preparation: { kind: 'preparing', step: 'install', startedAt: 'now' } }),
			serverView('fails', {
				preparation: {
					kind: 'failed',
					error: { code: 'SLIPWAY_PACKAGE_MISSING', details: { reason: 'r', log: 'l' } },
					failedAt: 'then',
				},
			}),
			serverView('beta'),
		],
	};
	await stack.open('beta');
	for (const path of [
		'/health',
		'/ready',
		'/status',
		'/api/servers',
		'/api/groups',
		'/api/catalog',
		'/api/sessions',
		'/api/pins',
		'/api/keys',
		'/openapi.json',
	])
		assert.equal((await send('get', path)).status, 200, path);
	const one = await send('get', '/api/servers/alpha', { template: '/api/servers/{name}' });
	assert.equal(JSON.parse(one.text).recent[0].stderr, 'boom');
	assert.equal((await send('get', '/api/servers/none', { template: '/api/servers/{name}' })).status, 404);
	assert.equal((await send('get', '/api/pins/alpha', { template: '/api/pins/{server}' })).status, 200);
	const key = JSON.stringify({ name: 'ci', scopes: ['server:alpha'], limits: { sessions: 2 }, callsPerMinute: 7 });
	assert.equal((await send('post', '/api/keys', { body: key })).status, 201);
	assert.equal((await send('post', '/api/keys', { body: key })).status, 409);
	assert.equal((await send('post', '/api/keys', { body: '{' })).status, 400);
	assert.equal((await send('post', '/api/keys/ci/rotate', { template: '/api/keys/{name}/rotate' })).status, 200);
	assert.equal((await send('get', '/api/keys')).status, 200);
	assert.equal((await send('delete', '/api/keys/ci', { template: '/api/keys/{name}' })).status, 204);
	assert.equal((await send('post', '/api/pins/approve', { body: '{"server":"alpha"}' })).status, 404);
	assert.equal((await send('get', '/api/logs?tail=many', { template: '/api/logs' })).status, 400);
	assert.equal((await send('get', '/api/logs?since=1', { template: '/api/logs' })).status, 400);
	launcher.state = { ...launcher.state, engine: { reachable: false, reason: 'gone' } };
	assert.equal((await send('get', '/ready')).status, 503);
	assert.equal((await send('get', '/status')).status, 200);
	for (const path of ['/api/servers', '/api/nothing', '/openapi.json']) {
		const { status } = await stack.send({ method: 'DELETE', path, headers: AUTHORIZATION });
		assert.equal(status, path === '/api/nothing' ? 404 : 405, path);
	}
	assert.match((await send('get', '/metrics')).text, /^# HELP/);
});

test('a restart: idle containers end, a call in flight finishes, the next has another, and it is recorded', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-api-'));
	t.after(() => rm(folder, { recursive: true }));
	const retention = { bytesMax: 1024 ** 2, ageMsMax: 1e9 };
	const audit = new FileAudit({ mode: 'required', folder: join(folder, 'audit'), retention, log: SILENT_LOG });
	const stack = await startHttpStack(t, { folder, audit });
	const idle = await stack.open();
	const busy = await stack.open();
	const other = await stack.open('beta');
	const answering = busy.post(call(1));
	const { id } = await busy.instance.hearRequest('tools/call');
	const path = '/api/servers/alpha/restart';
	const told = await stack.send({ method: 'POST', path, headers: AUTHORIZATION });
	assert.equal(told.status, 202);
	assert.deepEqual(JSON.parse(told.text), { server: 'alpha', count: 2 });
	stack.later(1000);
	await idle.instance.ended;
	assert.equal(idle.instance.stopped, 'patient');
	assert.equal(busy.instance.stopped, undefined, 'somebody waits for its answer');
	busy.instance.say(result(id, { by: 'the one before' }));
	assert.deepEqual((await answering).rpc, result(1, { by: 'the one before' }));
	stack.later(1000);
	await busy.instance.ended;
	await callAgain(stack, busy);
	assert.equal(other.instance.stopped, undefined);
	assert.equal(
		(await stack.send({ method: 'POST', path: '/api/servers/no/restart', headers: AUTHORIZATION })).status,
		404,
	);
	await stack.stop();
	const records = recordsIn(join(folder, 'audit')).filter(({ event }) => event === 'server');
	assert.deepEqual(
		records.map(({ act, server, count, outcome, principal }) => ({ act, server, count, outcome, principal })),
		[{ act: 'restart', server: 'alpha', count: 2, outcome: 'ok', principal: 'operator' }],
	);
});

test('a session is listed without its id, and ended by its mark', async (t) => {
	const { stack, send } = await start(t);
	const { id, instance, post } = await stack.open();
	const { text } = await send('get', '/api/sessions');
	assert.ok(!text.includes(id));
	const [told] = JSON.parse(text).sessions;
	assert.deepEqual(
		[told.endpoint, told.principal, told.revision, told.awake],
		['alpha', 'operator', '2025-11-25', true],
	);
	const path = `/api/sessions/${told.session}`;
	const template = '/api/sessions/{session}';
	assert.equal((await send('delete', path, { template })).status, 204);
	await instance.ended;
	assert.equal((await post(call(1))).status, 404);
	assert.equal((await send('delete', path, { template })).status, 404);
});

test('logs: the last lines, those that come, of one server or of all, each as the document has it', async (t) => {
	const { stack, send, fits } = await start(t);
	const { launcher } = stack;
	const template = '/api/servers/{name}/logs';
	launcher.stderrLines = [line('one'), line('not of it', 'beta' as ServerName), line('two')];
	const last = await send('get', '/api/servers/alpha/logs?tail=1', { template });
	assert.deepEqual(JSON.parse(last.text), { lines: [line('two')] });
	assert.equal(JSON.parse((await send('get', '/api/logs')).text).lines.length, 3);
	assert.equal((await send('get', '/api/servers/none/logs', { template })).status, 404);

	const { response, lines } = await follow(stack, '/api/servers/alpha/logs?tail=1&follow=true');
	assert.equal(response.headers['content-type'], 'application/x-ndjson');
	assert.deepEqual(JSON.parse(await lines.next()), line('two'));
	launcher.writeStderr(line('unheard', 'beta' as ServerName));
	launcher.writeStderr(line('three'));
	const came: unknown = JSON.parse(await lines.next());
	assert.deepEqual(came, line('three'));
	assert.ok(fits(template, 'get', 200, 'application/x-ndjson')(came));
	stack.later(SSE_LIMITS.keepAliveMs + 1000);
	assert.equal(await lines.next(), '', 'it lives');
	response.destroy();
	while (launcher.followers.size > 0) await nextTurn();
});

test('a stream of lines is cut when nobody reads it, when its key is revoked, and when there are too many', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-logs-'));
	t.after(() => rm(folder, { recursive: true }));
	const store = openSqliteStore(folder);
	const key = makeKey();
	store.saveKey({ name: 'ops', hash: hashKey(key), scopes: ['admin'], createdAtMs: Date.now() });
	store.close();
	const { stack, send } = await start(t, folder);
	const { launcher } = stack;
	const path = '/api/logs?tail=0&follow=true';

	const slow = await ask(stack.port, { path, headers: AUTHORIZATION });
	while (launcher.followers.size === 0) await nextTurn();
	const text = 'x'.repeat(256 * 1024);
	for (let written = 0; written < 200 && launcher.followers.size > 0; written += 1) {
		launcher.writeStderr(line(text));
		await nextTurn();
	}
	assert.equal(launcher.followers.size, 0, 'it is not followed any more');
	slow.destroy();

	const revoked = await follow(stack, path, { authorization: `Bearer ${key}` });
	const kept = await follow(stack, path);
	while (launcher.followers.size < 2) await nextTurn();
	await send('delete', '/api/keys/ops', { template: '/api/keys/{name}' });
	assert.equal(await revoked.lines.ended, true);
	assert.equal(launcher.followers.size, 1);
	const more = [kept.response];
	while (more.length < HTTP_LIMITS.logStreamsPerCallerMax)
		more.push(await ask(stack.port, { path, headers: AUTHORIZATION }));
	assert.equal((await stack.send({ path, headers: AUTHORIZATION })).status, 429);
	launcher.state = { ...launcher.state, launcher: { reachable: false, version: '' } };
	more.shift()?.destroy();
	while (launcher.followers.size >= HTTP_LIMITS.logStreamsPerCallerMax) await nextTurn();
	assert.equal((await stack.send({ path, headers: AUTHORIZATION })).status, 503);
	await stack.stop();
	assert.equal(launcher.followers.size, 0);
	for (const response of more) response.destroy();
});
