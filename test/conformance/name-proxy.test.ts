/** The proxy that gives the suite the names that it knows: what it changes, and that it changes nothing else. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { ask, type Reply, reply, Stream } from '../support/http-client.ts';
import { Inbox } from '../support/inbox.ts';
import { NameProxy } from '../support/name-proxy.ts';

interface Exchange {
	readonly request: IncomingMessage;
	readonly body: string;
	readonly response: ServerResponse;
}

/** A proxy for the server `own`, and what comes out of it, to be answered by the test. */
async function start(t: TestContext): Promise<{ port: number; exchanges: Inbox<Exchange> }> {
	const exchanges = new Inbox<Exchange>('a request');
	const upstream = createServer(async (request, response) => {
		const chunks: Buffer[] = await request.toArray();
		exchanges.push({ request, body: Buffer.concat(chunks).toString(), response });
	}).listen(0, '127.0.0.1');
	await once(upstream, 'listening');
	const proxy = await NameProxy.start('own');
	proxy.forwardTo(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`);
	t.after(async () => {
		await proxy.stop();
		upstream.closeAllConnections();
		upstream.close();
	});
	return { port: Number(new URL(proxy.origin).port), exchanges };
}

const message = (method: string, params: object = {}) => ({ jsonrpc: '2.0', id: 1, method, params });

function post(port: number, body: object, headers: Record<string, string> = {}): Promise<Reply> {
	const json = { 'content-type': 'application/json', ...headers };
	return reply(port, { method: 'POST', path: '/mcp', headers: json, body: JSON.stringify(body) });
}

test('names of calls, in the body and in Mcp-Name, get the prefix', async (t) => {
	const { port, exchanges } = await start(t);
	for (const [body, name, renamed, header] of [
		[message('tools/call', { name: 'a' }), 'a', { name: 'own__a' }, 'own__a'],
		[message('prompts/get', { name: 'ä' }), '=?base64?w6Q=?=', { name: 'own__ä' }, '=?base64?b3duX1/DpA==?='],
		[message('resources/read', { uri: 'test://a' }), 'test://a', { uri: 'test://a' }, 'test://a'],
		[
			message('completion/complete', { ref: { type: 'ref/prompt', name: 'a' } }),
			undefined,
			{ ref: { type: 'ref/prompt', name: 'own__a' } },
			undefined,
		],
	] as const) {
		const answered = post(port, body, name === undefined ? {} : { 'mcp-name': name });
		const { request, body: came, response } = await exchanges.next();
		assert.deepEqual(JSON.parse(came), { ...body, params: renamed });
		assert.equal(request.headers['mcp-name'], header);
		response.writeHead(404).end('{"jsonrpc":"2.0","id":1,"error":{}}');
		assert.deepEqual([(await answered).status, (await answered).text], [404, '{"jsonrpc":"2.0","id":1,"error":{}}']);
	}
});

test('Host, Origin, path and a body without names come through as they were', async (t) => {
	const { port, exchanges } = await start(t);
	const headers = { host: 'evil.example.com', origin: 'http://evil.example.com', 'mcp-session-id': 's' };
	const answered = reply(port, { method: 'POST', path: '/mcp?x=1', headers, body: '{ "id" : 1.0 }' });
	const { request, body, response } = await exchanges.next();
	const { host, origin, 'mcp-session-id': session } = request.headers;
	assert.deepEqual({ host, origin, 'mcp-session-id': session }, headers);
	assert.deepEqual([request.method, request.url, body], ['POST', '/mcp?x=1', '{ "id" : 1.0 }']);
	response.writeHead(403, { 'x-said': 'no' }).end('refused');
	const { status, headers: back, text } = await answered;
	assert.deepEqual([status, back['x-said'], text], [403, 'no', 'refused']);
});

test('lists hold what is of the one server, under its own names, as JSON and as events', async (t) => {
	const { port, exchanges } = await start(t);
	const listed = (...names: string[]) => ({
		jsonrpc: '2.0',
		id: 1,
		result: { tools: names.map((name) => ({ name })) },
	});
	const whole = JSON.stringify(listed('own__a', 'other__own__b', 'own__own__c'));
	for (const [type, wire] of [
		['application/json', whole],
		['text/event-stream', `: comment\n\nevent: message\ndata: ${whole}\n\n`],
	] as const) {
		const answered = post(port, message('tools/list'));
		const { response } = await exchanges.next();
		response.writeHead(200, { 'content-type': type }).end(wire);
		assert.equal((await answered).text, wire.replace(whole, JSON.stringify(listed('a', 'own__c'))));
	}
});

test('an event stream comes event by event, and who goes away is gone behind the proxy too', async (t) => {
	const { port, exchanges } = await start(t);
	const body = JSON.stringify(message('subscriptions/listen'));
	const asked = ask(port, { method: 'POST', path: '/mcp', body });
	const { response } = await exchanges.next();
	response.writeHead(200, { 'content-type': 'text/event-stream' });
	response.write('event: message\ndata: {"method":"one"}\n\n');
	const stream = new Stream(await asked);
	assert.deepEqual(await stream.next(), { method: 'one' });
	response.write('event: message\ndata: {"method":"two"}\n\n');
	assert.deepEqual(await stream.next(), { method: 'two' });
	const gone = once(response, 'close');
	stream.destroy();
	await gone;
	assert.equal(response.writableFinished, false);
});

test('who goes away before there is an answer is gone behind the proxy too', async (t) => {
	const { port, exchanges } = await start(t);
	const leaving = new AbortController();
	const asked = fetch(`http://127.0.0.1:${port}/mcp`, {
		method: 'POST',
		body: JSON.stringify(message('tools/call', { name: 'slow' })),
		signal: leaving.signal,
	});
	const { response } = await exchanges.next();
	const gone = once(response, 'close');
	leaving.abort();
	await assert.rejects(asked, { name: 'AbortError' });
	await gone;
});
