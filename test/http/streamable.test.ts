/** Streamable HTTP: which stream each message goes to, and what is in it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SESSION_LIMITS, SSE_LIMITS } from '../../src/limits.ts';
import type { Rpc } from '../support/fake-launcher.ts';
import { call, initializeRequest, result, startHttpStack } from '../support/http-stack.ts';

const progress = (progressToken: string | number, value = 1): Rpc => ({
	jsonrpc: '2.0',
	method: 'notifications/progress',
	params: { progressToken, progress: value },
});
const logLine = (data: string): Rpc => ({
	jsonrpc: '2.0',
	method: 'notifications/message',
	params: { level: 'info', data },
});
const question = (id: string | number, method = 'elicitation/create'): Rpc => ({
	jsonrpc: '2.0',
	id,
	method,
	params: { message: 'Which?' },
});
const LIST_CHANGED: Rpc = { jsonrpc: '2.0', method: 'notifications/tools/list_changed' };

describe('the answer to a POST', () => {
	test('is JSON when the server says nothing before its result', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call('c-1'));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(result(id, { content: [] }));
		const answer = await answering;
		assert.equal(answer.status, 200);
		assert.equal(answer.headers['content-type'], 'application/json');
		assert.deepEqual(answer.rpc, result('c-1', { content: [] }));
	});

	test('is a stream of events that ends with the result when the server says something before', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open();
		const streaming = stream(call(7, 'echo', { progressToken: 'p' }));
		const { id, params } = await instance.hearRequest('tools/call');
		assert.deepEqual(params?.['_meta'], { progressToken: id });
		instance.say(progress(id));
		const events = await streaming;
		assert.equal(events.status, 200);
		assert.equal(events.headers['content-type'], 'text/event-stream');
		assert.equal(events.headers['x-accel-buffering'], 'no');
		assert.match(String(events.headers['cache-control']), /no-transform/);
		assert.deepEqual(await events.next(), progress('p'));
		instance.say(result(id));
		assert.deepEqual(await events.rest(), [result(7)]);
	});

	test('carries the error of the server as it is, with status 200', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say({ jsonrpc: '2.0', id, error: { code: -32602, message: 'no', data: { a: 1 } } });
		const answer = await answering;
		assert.equal(answer.status, 200);
		assert.deepEqual(answer.rpc.error, { code: -32602, message: 'no', data: { a: 1 } });
	});

	test('has every byte of what the server wrote, but for the id', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call('é"\\'));
		const { id } = await instance.hearRequest('tools/call');
		const body = (at: string): string =>
			`{ "result" : {"z":1,"a":12345678901234567890,"f":1.0,"e":1E400,"u":"\\u00e9\\/\\ud800 é😀\u2028","id":5,"__proto__":{"x":1},"a":1},\t"x-unknown": [ ], "id" :${at}, "jsonrpc":"2.0"}`;
		instance.say(body(String(id)));
		assert.equal((await answering).text, body(JSON.stringify('é"\\')));
	});

	test('keeps the bytes in a stream too', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open();
		const streaming = stream(call(1, 'echo', { progressToken: 9 }));
		const { id } = await instance.hearRequest('tools/call');
		const first = (token: number): string =>
			`{"method":"notifications/progress","params":{"progressToken":${token},"progress":1.50,"total":12345678901234567890},"jsonrpc":"2.0"}`;
		instance.say(first(id));
		instance.say(`{"result":{"n":0.10},"id":${id},"jsonrpc":"2.0"}`);
		const events = await streaming;
		await events.closed;
		assert.deepEqual(events.texts, [first(9), '{"result":{"n":0.10},"id":1,"jsonrpc":"2.0"}']);
	});

	test('brings x-request-id back where the client gave a plain one, and makes one otherwise', async (t) => {
		const { post, instance } = await (await startHttpStack(t)).open();
		const ids: unknown[] = [];
		for (const given of ['my-id.1', 'has space', 'x'.repeat(65)]) {
			const answering = post(call(1), { 'x-request-id': given });
			instance.say(result((await instance.hearRequest('tools/call')).id));
			ids.push((await answering).headers['x-request-id']);
		}
		assert.equal(ids[0], 'my-id.1');
		assert.match(String(ids[1]), /^[0-9a-f-]{36}$/);
		assert.match(String(ids[2]), /^[0-9a-f-]{36}$/);
	});
});

describe('what reaches the server', () => {
	test('is the text of the request byte for byte, but for the id and raw newlines', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const body = (at: string): string =>
			`{\n"method":"tools/call",\r\n "params" : {"name":"é","big":12345678901234567890,"arguments":{"id":"keep","s":"a\\nb\\u0041"},"x":1.0},"id": ${at} ,"jsonrpc":"2.0","extra":null}\n`;
		const answering = post(body('"mine"'));
		const line = await instance.lines.next();
		const { id }: { id: number } = JSON.parse(line);
		assert.equal(line, body(String(id)).replaceAll(/[\r\n]/g, ' '));
		instance.say(result(id));
		assert.equal((await answering).rpc.id, 'mine');
	});

	test('is never the id of the client: two requests with one id in two sessions stay apart', async (t) => {
		const stack = await startHttpStack(t);
		const [one, two] = [await stack.open(), await stack.open()];
		const answers = [one.post(call(1, 'one')), two.post(call(1, 'two'))];
		const first = await one.instance.hearRequest('tools/call');
		const second = await two.instance.hearRequest('tools/call');
		assert.equal(first.params?.['name'], 'one');
		assert.equal(second.params?.['name'], 'two');
		two.instance.say(result(second.id, { of: 'two' }));
		one.instance.say(result(first.id, { of: 'one' }));
		assert.deepEqual(
			(await Promise.all(answers)).map(({ rpc }) => rpc),
			[result(1, { of: 'one' }), result(1, { of: 'two' })],
		);
	});

	test('notifications and responses are answered 202 with no body', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const notified = await post({ jsonrpc: '2.0', method: 'notifications/initialized' });
		assert.equal(notified.status, 202);
		assert.equal(notified.text, '');
		assert.deepEqual(await instance.hear(), { jsonrpc: '2.0', method: 'notifications/initialized' });
		const responded = await post(result(99));
		assert.equal(responded.status, 202);
		assert.equal(responded.text, '');
	});

	test('an id in flight is not given twice: 400, and the first is answered', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		const second = await post(call(1));
		assert.equal(second.status, 400);
		assert.equal(second.rpc.error?.data?.['code'], 'SLIPWAY_DUPLICATE_ID');
		instance.say(result(id, { first: true }));
		assert.deepEqual((await answering).rpc, result(1, { first: true }));
		// `1` and `"1"` are two ids.
		const both = [post(call(1)), post(call('1'))];
		for (const _ of both) instance.say(result((await instance.hearRequest('tools/call')).id));
		assert.deepEqual(
			(await Promise.all(both)).map(({ rpc }) => rpc.id),
			[1, '1'],
		);
	});
});

describe('initialize', () => {
	test('answers with a new, unguessable session id, and only when the server agreed', async (t) => {
		const stack = await startHttpStack(t);
		const ids = new Set([(await stack.open()).id, (await stack.open()).id, (await stack.open('beta')).id]);
		assert.equal(ids.size, 3);
		for (const id of ids) assert.match(id, /^[A-Za-z0-9_-]{32}$/);
	});

	test('takes over no id that the client chose', async (t) => {
		const stack = await startHttpStack(t);
		const chosen = 'A'.repeat(32);
		const answering = stack.post('alpha', initializeRequest(), { 'mcp-session-id': chosen });
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		instance.say(result(id, { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: {} }));
		const answer = await answering;
		assert.equal(answer.status, 200);
		assert.notEqual(answer.headers['mcp-session-id'], chosen);
		const used = await stack.post('alpha', call(1), { 'mcp-session-id': chosen });
		assert.equal(used.status, 404);
	});

	test('with the id of a session begins another one, and the first goes on', async (t) => {
		const stack = await startHttpStack(t);
		const first = await stack.open();
		const answering = first.post(initializeRequest());
		const instance = await stack.launcher.launched.next();
		instance.say(result((await instance.hearRequest('initialize')).id, { protocolVersion: '2025-11-25' }));
		assert.notEqual((await answering).headers['mcp-session-id'], first.id);
		const pinging = first.post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		first.instance.say(result((await first.instance.hearRequest('ping')).id));
		assert.equal((await pinging).status, 200);
	});

	test('that the server refuses gives its own words and no session', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await stack.launcher.launched.next();
		const { id } = await instance.hearRequest('initialize');
		instance.say({ jsonrpc: '2.0', id, error: { code: -32602, message: 'Unsupported protocol version' } });
		// It may be one that speaks the second era alone.
		const discover = await instance.hearRequest('server/discover');
		instance.say({ jsonrpc: '2.0', id: discover.id, error: { code: -32601, message: 'Method not found' } });
		const answer = await answering;
		assert.equal(answer.status, 200);
		assert.equal(answer.rpc.id, 0);
		assert.deepEqual(answer.rpc.error, { code: -32602, message: 'Unsupported protocol version' });
		await instance.ended;
		assert.equal(stack.launcher.live.size, 0);
		const session = answer.headers['mcp-session-id'];
		if (typeof session === 'string')
			assert.equal((await stack.post('alpha', call(1), { 'mcp-session-id': session })).status, 404);
	});
});

describe('where a message of the server goes', () => {
	test('progress goes to its own call, with three calls at once, also when clients use one token twice', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open();
		const streaming = [
			stream(call(1, 'a', { progressToken: 'x' })),
			stream(call(2, 'b', { progressToken: 0 })),
			stream(call(3, 'c', { progressToken: 'x' })),
		];
		const ids = new Map<unknown, number>();
		for (const _ of streaming) {
			const { id, params } = await instance.hearRequest('tools/call');
			ids.set(params?.['name'], id);
		}
		const [a = -1, b = -1, c = -1] = ['a', 'b', 'c'].map((name) => ids.get(name));
		for (const [value, token] of [b, a, c, a, b].entries()) instance.say(progress(token, value));
		for (const token of ['nobody', 'x', 0, String(a), c + 100]) instance.say(progress(token, 98));
		instance.say(result(b, { of: 'b' }));
		instance.say(progress(b, 99));
		instance.say(result(c, { of: 'c' }));
		instance.say(result(a, { of: 'a' }));
		assert.deepEqual(await Promise.all(streaming.map(async (opening) => (await opening).rest())), [
			[progress('x', 1), progress('x', 3), result(1, { of: 'a' })],
			[progress(0, 0), progress(0, 4), result(2, { of: 'b' })],
			[progress('x', 2), result(3, { of: 'c' })],
		]);
	});

	test('log lines and questions go to the newest tools/call in flight, also past newer requests', async (t) => {
		const { instance, stream, post, listen } = await (await startHttpStack(t)).open();
		const standing = await listen();
		const older = stream(call('old', 'old', { progressToken: 'o' }));
		const old = await instance.hearRequest('tools/call');
		const newer = stream(call('new'));
		const young = await instance.hearRequest('tools/call');
		const listing = post({ jsonrpc: '2.0', id: 'list', method: 'tools/list' });
		const list = await instance.hearRequest('tools/list');
		instance.say(logLine('hello'));
		instance.say(question('q'));
		instance.say(result(list.id, { tools: [] }));
		instance.say(progress(old.id));
		instance.say(result(young.id));
		instance.say(result(old.id));
		instance.say(LIST_CHANGED);
		const [log, asked, answer] = await (await newer).rest();
		assert.deepEqual(log, logLine('hello'));
		assert.equal(asked?.method, 'elicitation/create');
		assert.deepEqual(answer, result('new'));
		assert.deepEqual(await (await older).rest(), [progress('o'), result('old')]);
		assert.equal((await listing).headers['content-type'], 'application/json');
		assert.deepEqual(await standing.next(), LIST_CHANGED);
		assert.equal(standing.texts.length, 1);
	});

	test('with no tools/call in flight they go to the newest other request', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open();
		const streaming = stream({ jsonrpc: '2.0', id: 1, method: 'prompts/get', params: { name: 'p' } });
		const { id } = await instance.hearRequest('prompts/get');
		instance.say(logLine('x'));
		instance.say(result(id));
		assert.deepEqual(await (await streaming).rest(), [logLine('x'), result(1)]);
	});

	test('with nothing in flight they wait for the GET stream and arrive in order when it opens', async (t) => {
		const { instance, post, listen } = await (await startHttpStack(t)).open();
		instance.say(question('r', 'roots/list'));
		instance.say(logLine('one'));
		instance.say(LIST_CHANGED);
		// An answer that came after them proves that they were read.
		const pinging = post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		instance.say(result((await instance.hearRequest('ping')).id));
		await pinging;
		const standing = await listen();
		const asked = await standing.next();
		assert.equal(asked.method, 'roots/list');
		assert.deepEqual(await standing.next(), logLine('one'));
		assert.deepEqual(await standing.next(), LIST_CHANGED);
		await post(result(asked.id ?? '', { roots: [] }));
		assert.deepEqual(await instance.hear(), result('r', { roots: [] }));
	});

	test('list_changed and resources/updated go to the GET stream, also with a call in flight', async (t) => {
		const { instance, post, listen } = await (await startHttpStack(t)).open();
		const standing = await listen();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		const updated = { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'a:b' } };
		instance.say(LIST_CHANGED);
		instance.say(updated);
		instance.say(result(id));
		assert.deepEqual(await standing.next(), LIST_CHANGED);
		assert.deepEqual(await standing.next(), updated);
		assert.equal((await answering).headers['content-type'], 'application/json');
	});

	test('what waits for the GET stream is bounded, and a question beyond is answered for the client', async (t) => {
		const { instance, listen } = await (await startHttpStack(t)).open();
		for (let i = 0; i < SSE_LIMITS.queuedMessagesMax + 50; i++) instance.say(logLine(String(i)));
		instance.say(question('late'));
		const refused = await instance.hear();
		assert.equal(refused.id, 'late');
		assert.equal(refused.error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
		const standing = await listen();
		instance.say(LIST_CHANGED);
		for (let i = 0; i < SSE_LIMITS.queuedMessagesMax; i++) assert.deepEqual(await standing.next(), logLine(String(i)));
		assert.deepEqual(await standing.next(), LIST_CHANGED);
	});

	test('a second GET takes the place of the first, which ends; none is refused', async (t) => {
		const { instance, listen } = await (await startHttpStack(t)).open();
		const first = await listen();
		instance.say(logLine('1'));
		assert.deepEqual(await first.next(), logLine('1'));
		const second = await listen();
		assert.equal(second.status, 200);
		assert.equal(await first.closed, true);
		instance.say(logLine('2'));
		assert.deepEqual(await second.next(), logLine('2'));
		assert.equal(first.texts.length, 1);
		// And a GET stream that went away is made good for by the next, with what came in between.
		second.destroy();
		await second.closed;
		const third = await listen();
		instance.say(logLine('3'));
		assert.deepEqual(await third.next(), logLine('3'));
	});

	test('the members of a batch of the server go their own ways', async (t) => {
		const { instance, stream, post } = await (await startHttpStack(t)).open('alpha', { revision: '2025-03-26' });
		const streaming = stream(call(1, 'a', { progressToken: 't' }));
		const one = await instance.hearRequest('tools/call');
		const answering = post({ jsonrpc: '2.0', id: 2, method: 'ping' });
		const two = await instance.hearRequest('ping');
		instance.say([progress(one.id), result(two.id, { of: 2 }), result(one.id, { of: 1 })]);
		assert.deepEqual(await (await streaming).rest(), [progress('t'), result(1, { of: 1 })]);
		assert.deepEqual((await answering).rpc, result(2, { of: 2 }));
	});

	test('noise on stdout between messages harms nothing', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.raw('Server listening!\n\n{"not":"rpc"}\n[]\nnull\n"text"\n{"jsonrpc":"2.0","id":null,"result":{}}\n');
		instance.raw(Buffer.from([0xff, 0xfe, 0x0a, 0x00, 0x0a]));
		instance.raw(`{"jsonrpc":"2.0","id":${id},"method":5}\r\n`);
		instance.raw(`${JSON.stringify(result(id, { fine: true }))}\r\n`);
		assert.deepEqual((await answering).rpc, result(1, { fine: true }));
	});
});

describe('questions of the server', () => {
	test('reach the client with an id of ours and their answers the server with its own; two at once', async (t) => {
		const { instance, stream, post } = await (await startHttpStack(t)).open();
		const streaming = stream(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('same', 'sampling/createMessage'));
		instance.say(question(1, 'roots/list'));
		const events = await streaming;
		const sampling = await events.next();
		const roots = await events.next();
		assert.notEqual(sampling.id, roots.id);
		assert.equal((await post(result(roots.id ?? '', { roots: [] }))).status, 202);
		assert.deepEqual(await instance.hear(), result(1, { roots: [] }));
		await post({ jsonrpc: '2.0', id: sampling.id, error: { code: -1, message: 'refused by the user' } });
		assert.deepEqual(await instance.hear(), {
			jsonrpc: '2.0',
			id: 'same',
			error: { code: -1, message: 'refused by the user' },
		});
		instance.say(result(id));
		assert.deepEqual(await events.rest(), [result(1)]);
	});

	test('an answer that nobody asked for, and a second answer, are dropped', async (t) => {
		const { instance, stream, post } = await (await startHttpStack(t)).open();
		const streaming = stream(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		const events = await streaming;
		const asked = await events.next();
		for (const stray of [12_345, 'q', String(asked.id)]) assert.equal((await post(result(stray))).status, 202);
		await post(result(asked.id ?? '', { first: true }));
		await post(result(asked.id ?? '', { second: true }));
		await post({ jsonrpc: '2.0', method: 'notifications/roots/list_changed' });
		assert.deepEqual(await instance.hear(), result('q', { first: true }));
		assert.equal((await instance.hear()).method, 'notifications/roots/list_changed');
		instance.say(result(id));
		await events.closed;
	});

	test('one session cannot answer the question of another', async (t) => {
		const stack = await startHttpStack(t);
		const [one, two] = [await stack.open(), await stack.open()];
		const standing = await one.listen();
		one.instance.say(question('q'));
		const asked = await standing.next();
		assert.equal((await two.post(result(asked.id ?? '', { stolen: true }))).status, 202);
		await one.post(result(asked.id ?? '', { mine: true }));
		assert.deepEqual(await one.instance.hear(), result('q', { mine: true }));
		assert.equal(two.instance.lines.size, 0);
	});

	test('of whatever method are put, a ping too, and each is answered by the client', async (t) => {
		const { instance, post, listen } = await (await startHttpStack(t)).open();
		const standing = await listen();
		instance.say({ jsonrpc: '2.0', id: 'p', method: 'ping' });
		instance.say({ jsonrpc: '2.0', id: 'x', method: 'x/unknown', params: { a: 1 } });
		const ping = await standing.next();
		const unknown = await standing.next();
		assert.deepEqual(ping, { jsonrpc: '2.0', id: ping.id, method: 'ping' });
		assert.deepEqual(unknown, { jsonrpc: '2.0', id: unknown.id, method: 'x/unknown', params: { a: 1 } });
		assert.equal(instance.lines.size, 0, 'nobody answered for the client');
		await post(result(ping.id ?? ''));
		assert.deepEqual(await instance.hear(), result('p'));
		await post({ jsonrpc: '2.0', id: unknown.id, error: { code: -32601, message: 'no' } });
		assert.deepEqual(await instance.hear(), { jsonrpc: '2.0', id: 'x', error: { code: -32601, message: 'no' } });
	});

	test('that the server withdraws are withdrawn in the id that the client knows', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open();
		const streaming = stream(call(1));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		const events = await streaming;
		const asked = await events.next();
		instance.say({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'q', reason: 'late' } });
		const withdrawn = await events.next();
		assert.deepEqual(withdrawn.params, { requestId: asked.id, reason: 'late' });
		instance.say(result(id));
		await events.closed;
	});

	test(`beyond ${SESSION_LIMITS.questionsMax} unanswered ones the server is told so`, async (t) => {
		const { instance, listen } = await (await startHttpStack(t)).open();
		const standing = await listen();
		for (let i = 0; i <= SESSION_LIMITS.questionsMax; i++) instance.say(question(i));
		const refused = await instance.hear();
		assert.equal(refused.id, SESSION_LIMITS.questionsMax);
		assert.equal(refused.error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
		for (let i = 0; i < SESSION_LIMITS.questionsMax; i++) await standing.next();
	});
});

describe('cancellation', () => {
	test('reaches the server in its own id, ends the stream without an event, and a late answer goes nowhere', async (t) => {
		const { instance, stream, post, listen } = await (await startHttpStack(t)).open();
		const standing = await listen();
		const streaming = stream(call('mine'));
		const { id } = await instance.hearRequest('tools/call');
		const told = await post({
			jsonrpc: '2.0',
			method: 'notifications/cancelled',
			params: { requestId: 'mine', reason: 'user' },
		});
		assert.equal(told.status, 202);
		assert.deepEqual(await instance.hear(), {
			jsonrpc: '2.0',
			method: 'notifications/cancelled',
			params: { requestId: id, reason: 'user' },
		});
		const events = await streaming;
		assert.deepEqual(await events.rest(), []);
		assert.equal(await events.closed, true);
		// The late answer must not reach a new call with the same id either.
		const answering = post(call('mine'));
		const next = await instance.hearRequest('tools/call');
		instance.say(result(id, { late: true }));
		instance.say(result(next.id, { right: true }));
		assert.deepEqual((await answering).rpc, result('mine', { right: true }));
		instance.say(LIST_CHANGED);
		assert.deepEqual(await standing.next(), LIST_CHANGED);
	});

	test('of what is not in flight is not passed on', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const cancel = (requestId: unknown): Rpc => ({
			jsonrpc: '2.0',
			method: 'notifications/cancelled',
			params: { requestId },
		});
		for (const id of [0, 1, 'x', null]) assert.equal((await post(cancel(id))).status, 202);
		await post({ jsonrpc: '2.0', method: 'notifications/initialized' });
		assert.equal((await instance.hear()).method, 'notifications/initialized');
	});

	test('that names no request cancels none, not even one with an empty id', async (t) => {
		const { instance, post } = await (await startHttpStack(t)).open();
		const answering = post(call(''));
		const { id } = await instance.hearRequest('tools/call');
		for (const params of [undefined, {}, { requestId: null }, { requestId: 0.5 }])
			assert.equal((await post({ jsonrpc: '2.0', method: 'notifications/cancelled', params })).status, 202);
		instance.say(result(id, { still: 'there' }));
		assert.deepEqual((await answering).rpc, result('', { still: 'there' }));
		assert.equal(instance.lines.size, 0);
	});
});

describe('batches', () => {
	const BATCH = [call(1, 'a'), { jsonrpc: '2.0', method: 'notifications/initialized' }, call(2, 'b')];

	test('a session of 2025-03-26 takes them: one stream with every answer', async (t) => {
		const { instance, stream, post } = await (await startHttpStack(t)).open('alpha', { revision: '2025-03-26' });
		const streaming = stream(BATCH);
		const a = await instance.hearRequest('tools/call');
		assert.equal((await instance.hear()).method, 'notifications/initialized');
		const b = await instance.hearRequest('tools/call');
		instance.say(result(b.id, { of: 'b' }));
		instance.say(result(a.id, { of: 'a' }));
		assert.deepEqual(await (await streaming).rest(), [result(2, { of: 'b' }), result(1, { of: 'a' })]);
		const notified = await post([{ jsonrpc: '2.0', method: 'notifications/initialized' }]);
		assert.equal(notified.status, 202);
	});

	test('with an id twice: the second is refused in the stream, the first answered', async (t) => {
		const { instance, stream } = await (await startHttpStack(t)).open('alpha', { revision: '2025-03-26' });
		const streaming = stream([call(1), call(1)]);
		const { id } = await instance.hearRequest('tools/call');
		instance.say(result(id));
		const [refused, answered] = await (await streaming).rest();
		assert.equal(refused?.error?.data?.['code'], 'SLIPWAY_DUPLICATE_ID');
		assert.deepEqual(answered, result(1));
	});

	test('a session of any other revision refuses them', async (t) => {
		const stack = await startHttpStack(t);
		for (const revision of ['2025-11-25', '2025-06-18', '2024-11-05']) {
			const { post, instance, end } = await stack.open('alpha', { revision });
			const answer = await post(BATCH);
			assert.equal(answer.status, 400);
			assert.equal(answer.rpc.error?.code, -32600);
			assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_BATCH_REFUSED');
			await end();
			assert.equal(instance.lines.size, 0);
		}
	});

	test('empty, too long, malformed, with initialize, or without a session: 400, and nothing of it is passed on', async (t) => {
		const stack = await startHttpStack(t);
		const { post, instance } = await stack.open('alpha', { revision: '2025-03-26' });
		const bad: unknown[] = [
			[],
			Array.from({ length: 101 }, (_, i) => call(i)),
			[call(1), { jsonrpc: '2.0' }],
			[call(1), [call(2)]],
			[call(1), initializeRequest()],
		];
		for (const batch of bad) {
			const answer = await post(batch);
			assert.equal(answer.status, 400, answer.text);
			assert.equal(answer.rpc.error?.code, -32600);
		}
		assert.equal(instance.received.length, 1, 'only initialize reached the server');
		const homeless = await stack.post('alpha', [call(1)]);
		assert.equal(homeless.status, 400);
		assert.equal(homeless.rpc.error?.data?.['code'], 'SLIPWAY_SESSION_REQUIRED');
	});
});

test('a client that goes away mid-call does not cancel it; its answer goes to no other stream', async (t) => {
	const { instance, stream, post, listen } = await (await startHttpStack(t)).open();
	const standing = await listen();
	const streaming = stream(call(1, 'slow', { progressToken: 't' }));
	const { id } = await instance.hearRequest('tools/call');
	instance.say(progress(id));
	const events = await streaming;
	await events.next();
	events.destroy();
	assert.equal(await events.closed, false);
	// Another call is there, whose stream the answer must not reach.
	const answering = post(call(2, 'quick'));
	const other = await instance.hearRequest('tools/call');
	instance.say(progress(id, 2));
	instance.say(result(id, { late: true }));
	instance.say(result(other.id, { right: true }));
	instance.say(LIST_CHANGED);
	const answer = await answering;
	assert.equal(answer.headers['content-type'], 'application/json');
	assert.deepEqual(answer.rpc, result(2, { right: true }));
	assert.deepEqual(await standing.next(), LIST_CHANGED);
	assert.deepEqual(
		instance.received.map((line) => JSON.parse(line).method),
		['initialize', 'tools/call', 'tools/call'],
		'nothing was cancelled',
	);
});
