/** Session ids in the wrong hands: of another key, of nobody, at another endpoint, of another transport, after a restart. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { ask, type Reply } from '../support/http-client.ts';
import {
	AUTHORIZATION,
	call,
	callAgain,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
	toBody,
} from '../support/http-stack.ts';

const ENDPOINT = '/servers/alpha/mcp';
const CANCEL = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1 } };

type Headers = Readonly<Record<string, string>>;

/** The headers of a caller of its own, who may use everything. */
async function anotherCaller(stack: HttpStack): Promise<Headers> {
	const body = toBody({ name: 'thief', scopes: ['*', 'admin'] });
	const { text } = await stack.send({ method: 'POST', path: '/api/keys', headers: POST_HEADERS, body });
	return { ...POST_HEADERS, authorization: `Bearer ${JSON.parse(text).key}` };
}

/** Everything that a request in a session can be. */
async function tryAll(stack: HttpStack, path: string, headers: Headers): Promise<Reply[]> {
	const posts = [call(1), CANCEL, result(1)].map((message) =>
		stack.send({ method: 'POST', path, headers, body: toBody(message) }),
	);
	const batch = stack.send({ method: 'POST', path, headers, body: toBody([call(1)]) });
	const streams = [{}, { 'last-event-id': '00000000-1-1' }].map((more) =>
		stack.send({ path, headers: { ...headers, ...more } }),
	);
	return Promise.all([...posts, batch, ...streams, stack.send({ method: 'DELETE', path, headers })]);
}

function assertRefused(replies: readonly Reply[], status: number): void {
	for (const [n, { status: told, text }] of replies.entries()) assert.equal(told, status, `${n}: ${text}`);
}

test('of another key: whatever it sends is for a session that there is not, and the owner’s call goes on', async (t) => {
	const stack = await startHttpStack(t);
	const session = await stack.open();
	const answering = session.post(call(1));
	const { id } = await session.instance.hearRequest('tools/call');
	const thief = await anotherCaller(stack);
	const stolen = { ...thief, 'mcp-session-id': session.id };
	const replies = await tryAll(stack, ENDPOINT, stolen);
	assertRefused(replies, 404);
	const unknown = await tryAll(stack, ENDPOINT, { ...thief, 'mcp-session-id': 'A'.repeat(32) });
	const told = ({ rpc }: Reply): unknown => ({ ...rpc.error, data: { ...rpc.error?.data, requestId: '' } });
	assert.deepEqual(replies.map(told), unknown.map(told), 'nothing tells that there is such a session');
	session.instance.say(result(id, { mine: true }));
	assert.deepEqual((await answering).rpc, result(1, { mine: true }));
	assert.equal(session.instance.lines.size, 0);
	assert.equal(session.instance.stopped, undefined);
});

test('without a key, or with a wrong one, an id is worth nothing', async (t) => {
	const stack = await startHttpStack(t);
	const session = await stack.open();
	const { authorization: _, ...nobody } = session.headers;
	assertRefused(await tryAll(stack, ENDPOINT, nobody), 401);
	assertRefused(await tryAll(stack, ENDPOINT, { ...nobody, authorization: 'Bearer a-wrong-key-0123456789' }), 401);
	assert.equal(session.instance.lines.size, 0);
	assert.equal(session.instance.stopped, undefined);
});

test('at another endpoint an id is unknown, also to its owner', async (t) => {
	const stack = await startHttpStack(t);
	const session = await stack.open();
	for (const path of ['/servers/beta/mcp', '/groups/pair/mcp', '/mcp'])
		assertRefused(await tryAll(stack, path, session.headers), 404);
	assert.equal(session.instance.lines.size, 0);
});

test('who initializes with an id gets another one, be it foreign, its own or made up', async (t) => {
	const stack = await startHttpStack(t);
	const session = await stack.open();
	const thief = await anotherCaller(stack);
	const launches = stack.launcher.launches;
	for (const [n, headers] of [
		{ ...thief, 'mcp-session-id': session.id },
		{ ...thief, 'mcp-session-id': 'chosen-by-the-client-0123456789ab' },
		session.headers,
	].entries()) {
		const answering = stack.send({ method: 'POST', path: ENDPOINT, headers, body: toBody(initializeRequest()) });
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		const serverInfo = { name: 'alpha', version: '1' };
		instance.say(result(id, { protocolVersion: '2025-11-25', capabilities: {}, serverInfo }));
		const made = String((await answering).headers['mcp-session-id']);
		assert.match(made, /^[\w-]{32}$/);
		assert.notEqual(made, session.id);
		assert.equal(stack.launcher.launches, launches + n + 1);
	}
	assert.equal(session.instance.lines.size, 0);
});

/** Opens HTTP+SSE, and resolves with where to post. */
async function openSse(t: TestContext, stack: HttpStack): Promise<string> {
	const headers = { ...AUTHORIZATION, accept: 'text/event-stream' };
	const response = await ask(stack.port, { path: '/servers/alpha/sse', headers });
	t.after(() => response.destroy());
	const { promise, resolve } = Promise.withResolvers<string>();
	response.once('data', (chunk: Buffer) => resolve(String(chunk)));
	return /data: (\S+)/.exec(await promise)?.[1] ?? assert.fail('no endpoint');
}

test('of HTTP+SSE: another key posts to a session that there is not, by either transport', async (t) => {
	const stack = await startHttpStack(t);
	const path = await openSse(t, stack);
	const thief = await anotherCaller(stack);
	const id = path.split('sessionId=')[1] ?? '';
	for (const message of [initializeRequest(), call(1), CANCEL, result(1)]) {
		const body = toBody(message);
		assertRefused([await stack.send({ method: 'POST', path, headers: thief, body })], 404);
		const { authorization: _, ...nobody } = thief;
		assertRefused([await stack.send({ method: 'POST', path, headers: nobody, body })], 401);
		const elsewhere = path.replace('alpha', 'beta');
		assertRefused([await stack.send({ method: 'POST', path: elsewhere, headers: POST_HEADERS, body })], 404);
	}
	assertRefused(await tryAll(stack, ENDPOINT, { ...thief, 'mcp-session-id': id }), 404);
	const streamable = await stack.open();
	const messages = `/servers/alpha/messages?sessionId=${streamable.id}`;
	assertRefused([await stack.send({ method: 'POST', path: messages, headers: thief, body: toBody(call(1)) })], 404);
	assert.equal(streamable.instance.lines.size, 0);
	const mine = await stack.send({ method: 'POST', path, headers: POST_HEADERS, body: toBody(initializeRequest()) });
	assert.equal(mine.status, 202);
	assert.equal((await (await stack.launcher.launched.next()).hear()).method, 'initialize');
});

test('after a restart the session is taken up by its owner, and by nobody else', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-stolen-'));
	t.after(() => rm(folder, { recursive: true }));
	const before = await startHttpStack(t, { folder });
	const { id, post, headers } = await before.open();
	assert.equal((await post({ jsonrpc: '2.0', method: 'notifications/initialized' })).status, 202);
	const thief = await anotherCaller(before);
	await before.stop();
	const stack = await startHttpStack(t, { folder });
	assertRefused(await tryAll(stack, ENDPOINT, { ...thief, 'mcp-session-id': id }), 404);
	assertRefused(await tryAll(stack, '/servers/beta/mcp', headers), 404);
	assert.equal(stack.launcher.launches, 0);
	const owner = (message: unknown): Promise<Reply> =>
		stack.send({ method: 'POST', path: ENDPOINT, headers, body: toBody(message) });
	await callAgain(stack, { post: owner });
});
