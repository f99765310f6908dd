/** A client of 2026-07-28 in front of a server of the revisions before: what it lacks is added, what it asks becomes input_required. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { askedIn, type InputRequired, type ModernOptions } from '../support/client-modern.ts';
import type { RpcMessage } from '../support/client-raw.ts';
import type { FakeInstance, Rpc } from '../support/fake-launcher.ts';
import { HeldTimers } from '../support/held-timers.ts';
import type { Reply } from '../support/http-client.ts';
import { type HttpStack, result, startHttpStack } from '../support/http-stack.ts';
import { allowKeys, ModernHttp, type ModernHttpOptions, type Pending } from '../support/modern-http.ts';
import {
	answerNext,
	failure,
	type Introduction,
	instanceOf,
	logLine,
	META,
	METHOD_NOT_FOUND,
	metaIn,
	methodsTo,
	notification,
	progress,
	speakLegacy,
} from '../support/played-server.ts';

const SERVER_INFO = `${META}serverInfo`;
const SUBSCRIPTION = `${META}subscriptionId`;
const ALL = { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: {} };
const INFO = { name: 'old', version: '1' };

interface Opened {
	readonly stack: HttpStack;
	readonly client: ModernHttp;
	readonly instance: FakeInstance;
	/** The params of `initialize`. */
	readonly told: Record<string, unknown>;
}

interface OpenOptions extends ModernHttpOptions {
	readonly introduction?: Introduction;
	readonly server?: string;
}

/** A stack with a server of the first era that has been initialized, for a client that can be asked everything. */
async function open(t: Parameters<typeof startHttpStack>[0], options: OpenOptions = {}): Promise<Opened> {
	const { introduction, server = 'alpha', ...claims } = options;
	const stack = await startHttpStack(t);
	const client = new ModernHttp(stack, { capabilities: ALL, path: `/servers/${server}/mcp`, ...claims });
	const discovering = client.send('server/discover');
	const instance = await stack.launcher.launched.next();
	const told = await speakLegacy(instance, { name: 'old', ...introduction });
	assert.equal((await discovering).status, 200);
	return { stack, client, instance, told };
}

function question(id: string | number, message = 'Which?'): Rpc {
	return { jsonrpc: '2.0', id, method: 'elicitation/create', params: { message, requestedSchema: { type: 'object' } } };
}

const ACCEPT = { action: 'accept', content: { answer: 42 } };

/** What an answer asks for. */
function askedBy({ rpc }: Reply): InputRequired {
	return askedIn(rpc as RpcMessage);
}

/** Calls a tool whose server asks, and resolves with what the client was asked. */
async function ask(
	{ client, instance }: Pick<Opened, 'client' | 'instance'>,
	questions: readonly Rpc[] = [question('q')],
	args: object = {},
): Promise<{ wireId: number; asked: InputRequired; keys: string[] }> {
	const calling = client.call('ask', args).reply();
	const { id: wireId } = await instance.hearRequest('tools/call');
	for (const one of questions) instance.say(one);
	const asked = askedBy(await calling);
	return { wireId, asked, keys: Object.keys(asked.inputRequests) };
}

/** Comes back with answers to what was asked. */
function retry(
	client: ModernHttp,
	{ requestState }: InputRequired,
	inputResponses: object,
	{ name = 'ask', args = {}, ...options }: ModernOptions & { name?: string; args?: object } = {},
): Pending {
	return client.begin('tools/call', { name, arguments: args, inputResponses, requestState }, options);
}

/** A round trip with the server, after which all that was said before has been read. */
async function settled({ client, instance }: Pick<Opened, 'client' | 'instance'>): Promise<void> {
	const listing = client.send('tools/list');
	await answerNext(instance, 'tools/list');
	await listing;
}

describe('initialize', () => {
	test("says the client's name and capabilities, and the newest revision of the first era", async (t) => {
		const clientInfo = { name: 'new', version: '9', title: 'New' };
		const capabilities = { sampling: {}, extensions: { 'x/y': { big: 1 } } };
		const { told } = await open(t, { clientInfo: clientInfo as { name: string; version: string }, capabilities });
		assert.deepEqual(told, { protocolVersion: '2025-11-25', capabilities, clientInfo });
	});

	test('gives clients with another name or other capabilities Instances of their own', async (t) => {
		const { stack, instance, client } = await open(t);
		const others = [
			{ capabilities: ALL, clientInfo: { name: 'another', version: '1.0.0' } },
			{ capabilities: ALL, clientInfo: { name: 'modern', version: '2' } },
			{ capabilities: { ...ALL, roots: { listChanged: true } } },
			{ capabilities: {} },
		];
		for (const [index, claims] of others.entries()) {
			const listing = new ModernHttp(stack, claims).send('tools/list');
			const own = await instanceOf(stack.launcher, 'alpha', index + 1);
			const told = await speakLegacy(own, { probed: false });
			assert.deepEqual(told['capabilities'], claims.capabilities);
			await answerNext(own, 'tools/list');
			assert.equal((await listing).status, 200);
		}
		// The same in another order is the same client, and what it wants to hear of is no part of it.
		const { roots, elicitation, sampling } = ALL;
		for (const same of [
			client,
			new ModernHttp(stack, { capabilities: { roots, elicitation, sampling }, logLevel: 'info' }),
		]) {
			const listing = same.send('tools/list');
			await answerNext(instance, 'tools/list');
			assert.equal((await listing).status, 200);
		}
		assert.equal(stack.launcher.launches, 5);
	});

	test('gives no two callers one Instance', async (t) => {
		allowKeys(t, 'other');
		const { stack } = await open(t);
		const listing = new ModernHttp(stack, { capabilities: ALL, key: 'other' }).send('tools/list');
		const theirs = await instanceOf(stack.launcher, 'alpha', 1);
		await speakLegacy(theirs, { probed: false });
		await answerNext(theirs, 'tools/list');
		assert.equal((await listing).status, 200);
	});
});

describe('an answer gets what the revision wants of it:', () => {
	const CACHED = { ttlMs: 0, cacheScope: 'private' };
	const table: [method: string, params: Record<string, unknown>, more: object][] = [
		['tools/list', {}, CACHED],
		['prompts/list', {}, CACHED],
		['resources/list', {}, CACHED],
		['resources/templates/list', {}, CACHED],
		['resources/read', { uri: 'a:b' }, CACHED],
		['tools/call', { name: 'x' }, {}],
		['prompts/get', { name: 'x' }, {}],
		['completion/complete', {}, {}],
	];
	test('its kind, the name of the server, and how long it may be kept where that is due', async (t) => {
		const { client, instance } = await open(t);
		for (const [method, params, more] of table) {
			const answering = client.send(method, params, { id: method });
			await answerNext(instance, method, { own: 1 });
			const expected = { own: 1, resultType: 'complete', ...more, _meta: { [SERVER_INFO]: INFO } };
			assert.deepEqual((await answering).rpc, result(method, expected));
		}
	});

	test('what the server gave of these itself stays', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('tools/list', {}, { id: 1 });
		const { id } = await instance.hearRequest('tools/list');
		const given = `"cacheScope":"public","big":12345678901234567890,"ttlMs":1.50,"_meta":{"x":1.0,"${SERVER_INFO}":{"name":"own"}}`;
		instance.say(`{"result":{${given}},"jsonrpc":"2.0","id":${id}}`);
		assert.equal((await answering).text, `{"result":{${given},"resultType":"complete"},"jsonrpc":"2.0","id":1}`);
	});

	test('what it gave by accident does not make another kind of it, nor a question', async (t) => {
		const { client, instance } = await open(t);
		for (const resultType of ['task', 'input_required', 5, null]) {
			const answering = client.call('x').reply();
			const { id } = await instance.hearRequest('tools/call');
			const stray = { inputRequests: { a: { method: 'roots/list' } }, requestState: 's' };
			instance.say(result(id, { content: [], resultType, ...stray }));
			const { status, rpc } = await answering;
			assert.equal(status, 200);
			assert.deepEqual(rpc.result, { content: [], resultType: 'complete', _meta: { [SERVER_INFO]: INFO } });
		}
	});

	for (const given of ['null', '"text"', '[1]', '5', 'true'])
		test(`a result that is none is an error: ${given}`, async (t) => {
			const { client, instance } = await open(t);
			const answering = client.call('x', {}, { id: 'mine' }).reply();
			const { id } = await instance.hearRequest('tools/call');
			instance.say(`{"jsonrpc":"2.0","id":${id},"result":${given}}`);
			const { status, rpc } = await answering;
			assert.equal(status, 200);
			assert.deepEqual(
				[rpc.id, rpc.error?.code, rpc.error?.data?.['code']],
				['mine', -32603, 'SLIPWAY_RESULT_INVALID'],
			);
		});

	test('and what it gave besides keeps its place and its spelling', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('tools/call', { name: 'x' }, { id: 1 });
		const { id } = await instance.hearRequest('tools/call');
		const odd = '"a":12345678901234567890,"f":1.0,"e":1E400,"u":"\\u00e9\\/\\ud800 é😀\u2028","__proto__":{"x":1}';
		instance.say(`{"result":{${odd},"_meta":{"y":1.0}},"jsonrpc":"2.0","id":${id},"z":[]}`);
		assert.equal(
			(await answering).text,
			`{"result":{${odd},"_meta":{"y":1.0,"${SERVER_INFO}":${JSON.stringify(INFO)}},"resultType":"complete"},"jsonrpc":"2.0","id":1,"z":[]}`,
		);
	});

	test('an unknown resource is -32602 with the words of the server; the code of any other error is its own', async (t) => {
		const { client, instance } = await open(t);
		const table: [method: string, params: Record<string, unknown>, code: number, expected: number][] = [
			['resources/read', { uri: 'a:b' }, -32002, -32602],
			['resources/read', { uri: 'a:b' }, -32603, -32603],
			['tools/call', { name: 'x' }, -32002, -32002],
		];
		for (const [method, params, code, expected] of table) {
			const answering = client.send(method, params, { id: 'e' });
			const { id } = await instance.hearRequest(method);
			instance.say(`{"jsonrpc":"2.0","id":${id},"error":{"message":"\\u0041","code":${code},"data":{"n":1.0}}}`);
			const { text, status } = await answering;
			assert.equal(status, 200);
			assert.equal(
				text,
				`{"jsonrpc":"2.0","id":"e","error":{"message":"\\u0041","code":${expected},"data":{"n":1.0}}}`,
			);
		}
	});

	test('a method that the server does not know is 404', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('x/y');
		instance.say(failure((await instance.hearRequest('x/y')).id, METHOD_NOT_FOUND));
		assert.equal((await answering).status, 404);
	});

	test('server/discover is answered from what the server said of itself, without asking it again', async (t) => {
		const capabilities = { tools: { listChanged: true }, tasks: { list: {} }, experimental: { x: 1 } };
		const { client, instance } = await open(t, { introduction: { capabilities, instructions: 'Be kind.' } });
		const { status, rpc } = await client.send('server/discover', {}, { id: 'd' });
		assert.equal(status, 200);
		const { supportedVersions, ...rest } = rpc.result ?? {};
		assert.ok(Array.isArray(supportedVersions) && supportedVersions[0] === '2026-07-28');
		assert.ok(supportedVersions.includes('2025-11-25'));
		assert.deepEqual(rest, {
			// Tasks of the first era are not those of the second.
			capabilities: { tools: { listChanged: true }, experimental: { x: 1 } },
			instructions: 'Be kind.',
			resultType: 'complete',
			ttlMs: 0,
			cacheScope: 'private',
			_meta: { [SERVER_INFO]: INFO },
		});
		assert.deepEqual(methodsTo(instance), ['server/discover', 'initialize', 'notifications/initialized']);
	});
});

describe('what reaches the server', () => {
	test('has none of the words of the second era, and everything else of the client', async (t) => {
		const { client, instance } = await open(t);
		const meta = { progressToken: 'p', traceparent: '00-1-2-01' };
		const params = { name: 'x', arguments: { requestState: 'keep', _meta: { keep: 1 } }, inputResponses: { a: {} } };
		const answering = client.send('tools/call', params, { meta, logLevel: 'info', id: 'mine' });
		const heard = await instance.hearRequest('tools/call');
		assert.deepEqual(heard.params, {
			name: 'x',
			arguments: { requestState: 'keep', _meta: { keep: 1 } },
			_meta: { progressToken: heard.id, traceparent: '00-1-2-01' },
		});
		instance.say(result(heard.id));
		assert.equal((await answering).rpc.id, 'mine');
	});

	test('has no `_meta` where nothing else was in it, and keeps every byte besides', async (t) => {
		const { client, instance } = await open(t);
		const odd = '"arguments":{"n":12345678901234567890,"u":"\\u00e9\\/ é😀","f":1.0}';
		const meta = JSON.stringify({
			[`${META}protocolVersion`]: '2026-07-28',
			[`${META}clientInfo`]: { name: 'modern', version: '1.0.0' },
			[`${META}clientCapabilities`]: ALL,
		});
		const body = `{"params":{"name":"x","_meta":${meta},${odd}},"method":"tools/call","id":"i","x":1.0,"jsonrpc":"2.0"}`;
		const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'x' };
		const answering = client.post(body, headers).reply();
		const line = await instance.lines.next();
		const { id } = JSON.parse(line) as { id: number };
		assert.equal(line, `{"params":{"name":"x",${odd}},"method":"tools/call","id":${id},"x":1.0,"jsonrpc":"2.0"}`);
		instance.say(result(id));
		await answering;
	});

	test('is, when the client hangs up, a cancellation without an envelope, once', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const calling = client.call('slow');
		const { id } = await instance.hearRequest('tools/call');
		calling.disconnect();
		assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: id }));
		instance.say(result(id));
		await settled(opened);
	});
});

describe('a question of the server', () => {
	test('ends the request with input_required, in its own words; the retry resumes the very same call', async (t) => {
		const { client, instance } = await open(t);
		const calling = client.call('ask', { a: 1 }, { id: 'first' }).reply();
		const { id } = await instance.hearRequest('tools/call');
		const params = '{"message":"\\u0041?","requestedSchema":{"type":"object","n":12345678901234567890}}';
		instance.say(`{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":${params}}`);
		const { status, text, rpc } = await calling;
		assert.equal(status, 200);
		assert.equal(rpc.id, 'first');
		const asked = askedIn(rpc as RpcMessage);
		const [key] = Object.keys(asked.inputRequests);
		assert.ok(text.includes(`"inputRequests":{"${key}":{"method":"elicitation/create","params":${params}}}`), text);
		assert.equal(typeof asked.requestState, 'string');
		const state = asked.requestState ?? '';
		const body = `{"jsonrpc":"2.0","id":"second","method":"tools/call","params":{"name":"ask","arguments":{"a":1},"requestState":"${state}","inputResponses":{"${key}":{"action":"accept","content":{"n":12345678901234567890,"u":"\\u00e9"}}},"_meta":${JSON.stringify({ [`${META}protocolVersion`]: '2026-07-28', [`${META}clientCapabilities`]: ALL })}}}`;
		const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'ask' };
		const answering = client.post(body, headers).reply();
		assert.equal(
			await instance.lines.next(),
			'{"jsonrpc":"2.0","id":"q","result":{"action":"accept","content":{"n":12345678901234567890,"u":"\\u00e9"}}}',
		);
		instance.say(result(id, { content: [] }));
		const answer = await answering;
		assert.equal(answer.rpc.id, 'second');
		assert.equal(answer.rpc.result?.['resultType'], 'complete');
		assert.equal(methodsTo(instance).filter((method) => method === 'tools/call').length, 1);
		assert.equal(methodsTo(instance).length, 5);
	});

	for (const [method, params] of [
		['prompts/get', { name: 'p' }],
		['resources/read', { uri: 'a:b' }],
	] as const) {
		test(`may come with ${method} too`, async (t) => {
			const { client, instance } = await open(t);
			const reading = client.send(method, params);
			const { id } = await instance.hearRequest(method);
			instance.say(question(1));
			const asked = askedBy(await reading);
			const [key = ''] = Object.keys(asked.inputRequests);
			const more = { inputResponses: { [key]: ACCEPT }, requestState: asked.requestState };
			const answering = client.send(method, { ...params, ...more }, { id: 2 });
			assert.deepEqual(await instance.hear(), result(1, ACCEPT));
			instance.say(result(id, { fine: true }));
			assert.equal((await answering).rpc.result?.['fine'], true);
		});
	}

	test('several that come at once are asked at once, and each answer goes to its own', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened, [
			question('e', 'One?'),
			{ jsonrpc: '2.0', id: 7, method: 'roots/list' },
			{ jsonrpc: '2.0', id: 's', method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } },
		]);
		assert.deepEqual(Object.values(asked.inputRequests), [
			{ method: 'elicitation/create', params: { message: 'One?', requestedSchema: { type: 'object' } } },
			{ method: 'roots/list' },
			{ method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } },
		]);
		const values = [ACCEPT, { roots: [] }, { role: 'assistant', content: [], model: 'm' }];
		const responses = Object.fromEntries(keys.map((key, index) => [key, values[index]]));
		const answering = retry(client, asked, responses).reply();
		const answers = [await instance.hear(), await instance.hear(), await instance.hear()];
		assert.deepEqual(
			answers.sort((one, other) => String(one.id).localeCompare(String(other.id))),
			[result(7, values[1]), result('e', values[0]), result('s', values[2])],
		);
		instance.say(result(wireId));
		assert.equal((await answering).rpc.result?.['resultType'], 'complete');
	});

	test('may follow another, round after round, with a new state and other keys each time', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { wireId, ...first } = await ask(opened);
		const states = new Set<unknown>();
		const keys = new Set<unknown>();
		let { asked } = first;
		for (let round = 0; round < 5; round++) {
			const [key = ''] = Object.keys(asked.inputRequests);
			states.add(asked.requestState);
			keys.add(key);
			const answering = retry(client, asked, { [key]: ACCEPT }).reply();
			assert.deepEqual((await instance.hear()).result, ACCEPT);
			if (round === 4) {
				instance.say(result(wireId, { done: true }));
				assert.equal((await answering).rpc.result?.['done'], true);
				break;
			}
			instance.say(question(`again-${round}`));
			asked = askedBy(await answering);
		}
		assert.equal(states.size, 5);
		assert.equal(keys.size, 5);
		assert.equal(methodsTo(instance).filter((method) => method === 'tools/call').length, 1);
	});

	test('that is not answered is asked again, alone; answers to what was not asked are not looked at', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened, [question('a', 'A?'), question('b', 'B?')]);
		const [a = '', b = ''] = keys;
		const stray = { 'question-99': ACCEPT, nonsense: { x: 1 }, [b]: 'no object', ['__proto__']: {} };
		const again = askedBy(await retry(client, asked, { ...stray, [a]: ACCEPT }).reply());
		assert.deepEqual(await instance.hear(), result('a', ACCEPT));
		assert.deepEqual(Object.keys(again.inputRequests), [b]);
		assert.notEqual(again.requestState, asked.requestState);
		const nothing = askedBy(await retry(client, again, {}).reply());
		assert.deepEqual(Object.keys(nothing.inputRequests), [b]);
		const answering = retry(client, nothing, { [a]: { action: 'decline' }, [b]: { action: 'cancel' } }).reply();
		assert.deepEqual(await instance.hear(), result('b', { action: 'cancel' }));
		instance.say(result(wireId));
		assert.equal((await answering).rpc.result?.['resultType'], 'complete');
		assert.equal(instance.lines.size, 0);
	});

	test('is asked again when the retry brings no inputResponses at all', async (t) => {
		const opened = await open(t);
		const { asked } = await ask(opened);
		const params = { name: 'ask', arguments: {}, requestState: asked.requestState };
		const again = askedBy(await opened.client.send('tools/call', params));
		assert.deepEqual(again.inputRequests, asked.inputRequests);
	});

	test('with several calls at once goes to the newest whose client waits', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const older = client.call('older', {}, { id: 'older' }).reply();
		const first = await instance.hearRequest('tools/call');
		const { asked, keys, wireId } = await ask(opened);
		instance.say(question('second'));
		const askedOlder = askedBy(await older);
		assert.deepEqual(Object.keys(askedOlder.inputRequests).length, 1);
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		const [key = ''] = Object.keys(askedOlder.inputRequests);
		const answeringOlder = retry(client, askedOlder, { [key]: { action: 'decline' } }, { name: 'older' }).reply();
		assert.deepEqual(await instance.hear(), result('second', { action: 'decline' }));
		instance.say(result(wireId, { of: 'newer' }));
		instance.say(result(first.id, { of: 'older' }));
		assert.equal((await answering).rpc.result?.['of'], 'newer');
		assert.equal((await answeringOlder).rpc.result?.['of'], 'older');
	});

	test('that comes while the client is asked another is asked when it comes back', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		instance.say(question('late'));
		await settled(opened);
		const again = askedBy(await retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply());
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		const [key = ''] = Object.keys(again.inputRequests);
		const answering = retry(client, again, { [key]: { action: 'decline' } }).reply();
		assert.deepEqual(await instance.hear(), result('late', { action: 'decline' }));
		instance.say(result(wireId));
		assert.equal((await answering).rpc.result?.['resultType'], 'complete');
	});

	test('that the server withdraws before it is asked is not asked', async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const { client, instance } = await open(t);
		const calling = client.call('ask').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		await gather.set.count(1);
		instance.say(notification('notifications/cancelled', { requestId: 'q' }));
		instance.say(result(id, { done: true }));
		assert.equal((await calling).rpc.result?.['done'], true);
		gather.fire();
		assert.equal(instance.lines.size, 0);
	});

	test('that the server withdraws while the client is asked: the retry waits for the call', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		instance.say(notification('notifications/cancelled', { requestId: 'q' }));
		await settled(opened);
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		// The server hears nothing more of it than another call.
		await settled(opened);
		instance.say(result(wireId, { done: true }));
		assert.equal((await answering).rpc.result?.['done'], true);
	});

	test('waits for another call when the server answers the call at once', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const calling = client.call('ask').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		instance.say(result(id, { done: true }));
		assert.equal((await calling).rpc.result?.['done'], true);
		await settled(opened);
		const asked = askedBy(await client.call('next').reply());
		assert.equal(Object.keys(asked.inputRequests).length, 1);
	});

	test('of a method that no client knows is answered with an error', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const calling = client.call('x').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say({ jsonrpc: '2.0', id: 'odd', method: 'x/ask', params: {} });
		const refused = await instance.hear();
		assert.equal(refused.id, 'odd');
		assert.equal(refused.error?.code, -32601);
		instance.say(result(id));
		assert.equal((await calling).status, 200);
		instance.say({ jsonrpc: '2.0', id: 'odder', method: 'x/ask', params: {} });
		const refusedAlone = await instance.hear();
		assert.deepEqual([refusedAlone.id, refusedAlone.error?.code], ['odder', -32601], 'it belongs to no call');
	});

	test('whether the server lives is answered for the client, in a call and out of one', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say({ jsonrpc: '2.0', id: 'p1', method: 'ping' });
		assert.deepEqual(await instance.hear(), result('p1'));
		const calling = client.call('x').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say({ jsonrpc: '2.0', id: 'p2', method: 'ping' });
		assert.deepEqual(await instance.hear(), result('p2'));
		instance.say(result(id));
		assert.equal((await calling).headers['content-type'], 'application/json');
	});
});

describe('the server answers while the client is asked:', () => {
	test('the retry gets the answer, and the server what the client answers', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		instance.say(result(wireId, { early: true }));
		await settled(opened);
		const answer = await retry(client, asked, { [keys[0] ?? '']: ACCEPT }, { id: 'again' }).reply();
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		assert.equal(answer.rpc.id, 'again');
		assert.equal(answer.rpc.result?.['early'], true);
		assert.equal(answer.rpc.result?.['resultType'], 'complete');
		// And that once.
		assert.equal((await retry(client, asked, {}).reply()).rpc.error?.code, -32602);
		await settled(opened);
	});

	test('with an error: the retry gets that', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, wireId } = await ask(opened);
		instance.say(failure(wireId, { code: -32000, message: 'gave up' }));
		await settled(opened);
		const { rpc } = await retry(client, asked, {}, { id: 'again' }).reply();
		assert.deepEqual(rpc, { jsonrpc: '2.0', id: 'again', error: { code: -32000, message: 'gave up' } });
	});

	test('or dies: the retry is told that its state is void, by an Instance that was not asked for more', async (t) => {
		const opened = await open(t);
		const { stack, client, instance } = opened;
		const { asked } = await ask(opened);
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		await instance.ended;
		const answering = retry(client, asked, {}).reply();
		await speakLegacy(await instanceOf(stack.launcher, 'alpha', 1), { probed: false });
		const { status, rpc } = await answering;
		assert.equal(status, 400);
		assert.equal(rpc.error?.code, -32602);
	});
});

describe('a question that went to another call than the one that asks', () => {
	/** Two calls; the server asks for the older, and the question goes to the newer. */
	async function askForOlder(opened: Opened) {
		const { client, instance } = opened;
		const older = client.call('asks').reply();
		const { id: olderId } = await instance.hearRequest('tools/call');
		const newer = client.call('ask');
		const { id: newerId } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		return { older, olderId, newer, newerId };
	}

	test('is answered by the client of that call although the call has ended meanwhile', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { older, olderId, newer, newerId } = await askForOlder(opened);
		const asked = askedBy(await newer.reply());
		instance.say(result(newerId, { of: 'newer' }));
		await settled(opened);
		const [key = ''] = Object.keys(asked.inputRequests);
		const answering = retry(client, asked, { [key]: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		assert.equal((await answering).rpc.result?.['of'], 'newer');
		instance.say(result(olderId, { of: 'older' }));
		assert.equal((await older).rpc.result?.['of'], 'older');
	});

	test('and is not answered when the client of that call comes to hear its end is asked with the other', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { older, newer, newerId } = await askForOlder(opened);
		const asked = askedBy(await newer.reply());
		instance.say(result(newerId, { of: 'newer' }));
		await settled(opened);
		assert.equal((await retry(client, asked, {}).reply()).rpc.result?.['of'], 'newer');
		await assertAskedWith(opened, await older, 'asks');
	});

	test('is asked with the other when that call ends before its client was asked', async (t) => {
		const opened = await open(t);
		const { older, newer, newerId } = await askForOlder(opened);
		opened.instance.say(result(newerId, { of: 'newer' }));
		assert.equal((await newer.reply()).rpc.result?.['of'], 'newer');
		await assertAskedWith(opened, await older, 'asks');
	});

	test('is asked with the other when the client of that call hangs up', async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const opened = await open(t);
		const { older, newer, newerId } = await askForOlder(opened);
		await gather.set.count(1);
		newer.disconnect();
		assert.deepEqual(
			await opened.instance.hear(),
			notification('notifications/cancelled', { requestId: newerId }),
			'nothing is refused',
		);
		await gather.set.count(2);
		gather.fire();
		await assertAskedWith(opened, await older, 'asks');
	});

	test('is asked with the other when the client of that call never comes back, however long it had', async (t) => {
		const opened = await open(t, { server: 'quick' });
		const { stack, instance } = opened;
		const { older, newer, newerId } = await askForOlder(opened);
		askedBy(await newer.reply());
		stack.later(BRIDGE_LIMITS.parkedMs - 1000);
		await settled(opened);
		stack.later(2000);
		assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: newerId }));
		await assertAskedWith(opened, await older, 'asks');
	});

	test('is asked with the other when that comes back, where both clients are asked', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys } = await ask(opened, [question('first')]);
		const calling = client.call('quick').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('second'));
		instance.say(result(id, { of: 'quick' }));
		assert.equal((await calling).rpc.result?.['of'], 'quick');
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('first', ACCEPT));
		assert.equal(Object.keys(askedBy(await answering).inputRequests).length, 1);
	});

	test('waits longer than for the next call, while somebody is asked who may come back', async (t) => {
		const opened = await open(t);
		const { stack, client } = opened;
		const { asked, keys } = await ask(opened, [question('first')]);
		opened.instance.say(question('second'));
		await settled(opened);
		stack.later(BRIDGE_LIMITS.waitingQuestionMs + 1000);
		await settled(opened);
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await opened.instance.hear(), result('first', ACCEPT));
		assert.equal(Object.keys(askedBy(await answering).inputRequests).length, 1);
	});

	/** The answer asks what the server asks, and what is answered there reaches it. */
	async function assertAskedWith({ client, instance }: Opened, reply: Reply, name: string): Promise<void> {
		const asked = askedBy(reply);
		const [key = '', ...others] = Object.keys(asked.inputRequests);
		assert.deepEqual(others, []);
		void retry(client, asked, { [key]: ACCEPT }, { name });
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
	}

	test('are put with one call when so many are asked that more would be at the cost of the oldest', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		for (let n = 0; n < BRIDGE_LIMITS.parkedApartMax; n++) await ask(opened, [question(`q-${n}`)], { n });
		const calling = ['one', 'two'].map((name) => client.call(name).reply());
		const ids: number[] = [];
		for (const _ of calling) ids.push((await instance.hearRequest('tools/call')).id);
		for (const id of ['a', 'b']) instance.say(question(id));
		assert.equal(Object.keys(askedBy(await Promise.race(calling)).inputRequests).length, 2);
		for (const id of ids) instance.say(result(id));
		await Promise.all(calling);
	});

	test(`are put with ${BRIDGE_LIMITS.parkedApartMax} calls at most where more ask at once, and none is lost`, async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const { client, instance } = await open(t);
		const names = Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, n) => `call-${n}`);
		const calling = names.map((name) => client.call(name).reply());
		const ids: number[] = [];
		for (const _ of names) ids.push((await instance.hearRequest('tools/call')).id);
		for (const n of names.keys()) instance.say(question(n));
		// Its answer comes when all that was said before has been heard.
		instance.say({ jsonrpc: '2.0', id: 'ping', method: 'ping' });
		assert.deepEqual(await instance.hear(), result('ping'));
		gather.fire();
		await Promise.race(calling);
		for (const id of ids) instance.say(result(id));
		const asked = (await Promise.all(calling)).filter(({ rpc }) => rpc.result?.['resultType'] === 'input_required');
		assert.equal(asked.length, BRIDGE_LIMITS.parkedApartMax);
		const counts = asked.map((reply) => Object.keys(askedBy(reply).inputRequests).length);
		assert.equal(
			counts.reduce((sum, count) => sum + count),
			names.length,
		);
	});

	test('calls that ask at once have one question each', async (t) => {
		const { client, instance } = await open(t);
		const calling = ['one', 'two', 'three'].map((name) => client.call(name).reply());
		for (const _ of calling) await instance.hearRequest('tools/call');
		for (const at of calling.keys()) instance.say(question(at));
		for (const reply of await Promise.all(calling)) assert.equal(Object.keys(askedBy(reply).inputRequests).length, 1);
	});
});

test('inputResponses that are no object are refused, and the call can still be come back to', async (t) => {
	const { client, instance } = await open(t);
	const { asked, keys, wireId } = await ask({ client, instance });
	for (const inputResponses of [null, [], [ACCEPT], 'text', 5, true]) {
		const { status, rpc } = await retry(client, asked, inputResponses as object).reply();
		assert.deepEqual([status, rpc.error?.code], [400, -32602], JSON.stringify(inputResponses));
		const first = await client.send('tools/call', { name: 'ask', arguments: {}, inputResponses });
		assert.deepEqual([first.status, first.rpc.error?.code], [400, -32602]);
	}
	const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
	assert.deepEqual(await instance.hear(), result('q', ACCEPT));
	instance.say(result(wireId, { done: true }));
	assert.equal((await answering).rpc.result?.['done'], true);
});

test('a server that hangs is ended after a while, and the next call gets another Instance', async (t) => {
	const { stack, client, instance } = await open(t, { server: 'quick' });
	for (const code of ['SLIPWAY_CALL_TIMEOUT', 'SLIPWAY_INSTANCE_STALLED']) {
		const calling = client.call('hang').reply();
		await instance.hearRequest('tools/call');
		stack.later(6_000);
		assert.equal((await calling).rpc.error?.data?.['code'], code);
		if (code === 'SLIPWAY_CALL_TIMEOUT') assert.equal((await instance.hear()).method, 'notifications/cancelled');
	}
	await instance.ended;
	const calling = client.call('again').reply();
	const next = await instanceOf(stack.launcher, 'quick', 1);
	await speakLegacy(next, { probed: false });
	await answerNext(next, 'tools/call', { done: true });
	assert.equal((await calling).rpc.result?.['done'], true);
});

describe('a requestState', () => {
	/** It is refused, and the call that it was given for goes on. */
	async function assertRefused(opened: Opened, refused: readonly Pending[], asking: Awaited<ReturnType<typeof ask>>) {
		const { client, instance } = opened;
		for (const pending of refused) {
			const { status, rpc } = await pending.reply();
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32602);
			assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_REQUEST_STATE');
		}
		assert.equal(instance.lines.size, 0, 'the server heard nothing of it');
		const answering = retry(client, asking.asked, { [asking.keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		instance.say(result(asking.wireId, { right: true }));
		assert.equal((await answering).rpc.result?.['right'], true);
	}

	test('that was tampered with is refused, and its call goes on', async (t) => {
		const opened = await open(t);
		const asking = await ask(opened);
		const state = asking.asked.requestState ?? '';
		const flipped = state.slice(0, -1) + (state.endsWith('A') ? 'Q' : 'A');
		const [call = '', round = '', mac = ''] = state.split('.');
		const states: unknown[] = [
			flipped,
			'',
			'x',
			`${Number(call) + 1}.${round}.${mac}`,
			`${call}.${Number(round) + 1}.${mac}`,
			`${state}x`,
			state.toUpperCase(),
			17,
			null,
			{},
		];
		const tries = states.map((requestState) =>
			retry(
				opened.client,
				{ ...asking.asked, requestState: requestState as string },
				{ [asking.keys[0] ?? '']: ACCEPT },
			),
		);
		await assertRefused(opened, tries, asking);
	});

	test('that is put together of two of the same request is refused, and both calls go on', async (t) => {
		const opened = await open(t);
		const other = await ask(opened, [question('other')]);
		const asking = await ask(opened);
		const [, , mac] = other.asked.requestState?.split('.') ?? [];
		const [call, round] = asking.asked.requestState?.split('.') ?? [];
		const mixed = { ...asking.asked, requestState: `${call}.${round}.${mac}` };
		await assertRefused(opened, [retry(opened.client, mixed, { [asking.keys[0] ?? '']: ACCEPT })], asking);
		const answering = retry(opened.client, other.asked, { [other.keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await opened.instance.hear(), result('other', ACCEPT));
		opened.instance.say(result(other.wireId));
		assert.equal((await answering).status, 200);
	});

	test('of other arguments, another tool or another method is refused, and its call goes on', async (t) => {
		const opened = await open(t);
		const asking = await ask(opened);
		const { client } = opened;
		const { requestState } = asking.asked;
		const inputResponses = { [asking.keys[0] ?? '']: ACCEPT };
		await assertRefused(
			opened,
			[
				retry(client, asking.asked, inputResponses, { args: { a: 1 } }),
				retry(client, asking.asked, inputResponses, { name: 'other' }),
				client.begin('prompts/get', { name: 'ask', arguments: {}, inputResponses, requestState }),
				client.begin('tools/call', { name: 'ask', inputResponses, requestState }),
				client.begin('tools/call', { name: 'ask', arguments: {}, more: 1, inputResponses, requestState }),
			],
			asking,
		);
	});

	test('of another caller is refused, and its call goes on', async (t) => {
		allowKeys(t, 'thief');
		const opened = await open(t);
		const asking = await ask(opened);
		const thief = new ModernHttp(opened.stack, { capabilities: ALL, key: 'thief' });
		const stealing = retry(thief, asking.asked, { [asking.keys[0] ?? '']: ACCEPT });
		await speakLegacy(await instanceOf(opened.stack.launcher, 'alpha', 1), { probed: false });
		await assertRefused(opened, [stealing], asking);
	});

	test('of another server is refused, and its call goes on', async (t) => {
		const opened = await open(t);
		const asking = await ask(opened);
		const elsewhere = new ModernHttp(opened.stack, { capabilities: ALL, path: '/servers/beta/mcp' });
		const trying = retry(elsewhere, asking.asked, {});
		await speakLegacy(await instanceOf(opened.stack.launcher, 'beta'));
		await assertRefused(opened, [trying], asking);
	});

	test('that was used is refused, also while the call goes on', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		const responses = { [keys[0] ?? '']: ACCEPT };
		const answering = retry(client, asked, responses).reply();
		await instance.hear();
		assert.equal((await retry(client, asked, responses).reply()).rpc.error?.code, -32602);
		instance.say(question('again'));
		const next = askedBy(await answering);
		assert.equal((await retry(client, asked, responses).reply()).rpc.error?.code, -32602);
		const last = retry(client, next, { [Object.keys(next.inputRequests)[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('again', ACCEPT));
		instance.say(result(wireId));
		assert.equal((await last).rpc.result?.['resultType'], 'complete');
		assert.equal((await retry(client, next, responses).reply()).rpc.error?.code, -32602);
	});

	test('is good whatever the order of the arguments, of the rest, and whatever `_meta` now says', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened, undefined, { a: { x: 1, y: [1, { p: 1, q: 2 }] }, b: 2 });
		const params = {
			requestState: asked.requestState,
			inputResponses: { [keys[0] ?? '']: ACCEPT },
			arguments: { b: 2, a: { y: [1, { q: 2, p: 1 }], x: 1 } },
			name: 'ask',
		};
		const answering = client.send('tools/call', params, { id: 'x', meta: { traceparent: 'other' }, logLevel: 'debug' });
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		instance.say(result(wireId));
		assert.equal((await answering).status, 200);
	});

	test('is good although the client now says something else of itself', async (t) => {
		const opened = await open(t);
		const { asked, keys, wireId } = await ask(opened);
		const changed = new ModernHttp(opened.stack, { clientInfo: { name: 'renamed', version: '2' }, capabilities: {} });
		const answering = retry(changed, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await opened.instance.hear(), result('q', ACCEPT));
		opened.instance.say(result(wireId));
		assert.equal((await answering).status, 200);
		assert.equal(opened.stack.launcher.launches, 1);
	});

	test('that was not brought back in time is void: the question is answered with an error and the call withdrawn', async (t) => {
		const opened = await open(t);
		const { stack, client, instance } = opened;
		const { asked, wireId } = await ask(opened);
		stack.later(BRIDGE_LIMITS.parkedMs - 1000);
		await settled(opened);
		stack.later(2000);
		const refused = await instance.hear();
		assert.equal(refused.id, 'q');
		assert.ok(refused.error);
		assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: wireId }));
		assert.equal((await retry(client, asked, {}).reply()).rpc.error?.code, -32602);
		await settled(opened);
	});

	test('given for the longest of calls outlives the deadline of the call', async (t) => {
		const opened = await open(t, { server: 'quick' });
		const { stack, client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		stack.later(60_000);
		await settled(opened);
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }).reply();
		assert.deepEqual(await instance.hear(), result('q', ACCEPT));
		stack.later(4000);
		instance.say(result(wireId, { done: true }));
		assert.equal((await answering).rpc.result?.['done'], true);
	});

	test(`of more than ${BRIDGE_LIMITS.parkedMax} calls at once: the oldest is void, and who never comes back blocks nobody`, async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const parked: Awaited<ReturnType<typeof ask>>[] = [];
		for (let n = 0; n < BRIDGE_LIMITS.parkedMax; n++) parked.push(await ask(opened, [question(`q-${n}`)], { n }));
		assert.equal(instance.lines.size, 0);
		const last = await ask(opened, [question('q-last')], { n: -1 });
		const [first, second] = parked;
		assert.ok(first && second);
		assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: first.wireId }));
		assert.equal((await retry(client, first.asked, {}, { args: { n: 0 } }).reply()).rpc.error?.code, -32602);
		// The question of the oldest may be of any other: the next that comes back is asked it.
		const again = askedBy(await retry(client, second.asked, {}, { args: { n: 1 } }).reply());
		assert.equal(Object.keys(again.inputRequests).length, 2);
		for (const [{ asked, keys, wireId }, n] of [
			[{ ...second, asked: again }, 1],
			[last, -1],
		] as const) {
			const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT }, { args: { n } }).reply();
			assert.deepEqual((await instance.hear()).result, ACCEPT);
			instance.say(result(wireId, { n }));
			if (n === 1) assert.equal(Object.keys(askedBy(await answering).inputRequests).length, 1);
			else assert.equal((await answering).rpc.result?.['n'], n);
		}
	});
});

describe('a client that hangs up', () => {
	test('before it is asked: the question is answered with an error and the call withdrawn', async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const opened = await open(t);
		const { client, instance } = opened;
		const calling = client.call('ask');
		const { id } = await instance.hearRequest('tools/call');
		instance.say(question('q'));
		await gather.set.count(1);
		calling.disconnect();
		const heard = [await instance.hear(), await instance.hear()];
		assert.ok(heard.some((message) => message.id === 'q' && message.error !== undefined));
		assert.ok(heard.some(({ method, params }) => method === 'notifications/cancelled' && params?.['requestId'] === id));
		gather.fire();
		await settled(opened);
	});

	test('after it came back: the call is withdrawn, once', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const { asked, keys, wireId } = await ask(opened);
		const answering = retry(client, asked, { [keys[0] ?? '']: ACCEPT });
		await instance.hear();
		answering.disconnect();
		assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: wireId }));
		await settled(opened);
	});
});

describe('what a client has not declared that it can do', () => {
	const table: [what: string, capabilities: Record<string, unknown>, asked: Rpc, required: object][] = [
		['anything', {}, question('q'), { elicitation: { form: {} } }],
		[
			'pages',
			{ elicitation: {} },
			{ ...question('q'), params: { mode: 'url', url: 'https://example.com', elicitationId: 'e', message: 'm' } },
			{ elicitation: { url: {} } },
		],
		['forms', { elicitation: { url: {} } }, question('q'), { elicitation: { form: {} } }],
		[
			'sampling',
			{ elicitation: {}, roots: {} },
			{ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: { messages: [] } },
			{ sampling: {} },
		],
		[
			'sampling with tools',
			{ sampling: {} },
			{ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: { messages: [], tools: [] } },
			{ sampling: { tools: {} } },
		],
		['roots', { sampling: {} }, { jsonrpc: '2.0', id: 'q', method: 'roots/list' }, { roots: {} }],
	];
	for (const [what, capabilities, asked, requiredCapabilities] of table) {
		test(`(${what}) and the server asks for it: 400 and -32021 with what it takes, and the server is told`, async (t) => {
			const opened = await open(t, { capabilities });
			const { client, instance } = opened;
			const calling = client.call('ask', {}, { id: 'c' }).reply();
			const { id } = await instance.hearRequest('tools/call');
			instance.say(asked);
			const { status, rpc } = await calling;
			assert.equal(status, 400);
			assert.equal(rpc.id, 'c');
			assert.equal(rpc.error?.code, -32021);
			assert.deepEqual(rpc.error?.data?.['requiredCapabilities'], requiredCapabilities);
			const refused = await instance.hear();
			assert.equal(refused.id, 'q');
			assert.ok(refused.error);
			assert.deepEqual(await instance.hear(), notification('notifications/cancelled', { requestId: id }));
			instance.say(result(id));
			await settled(opened);
		});
	}

	test('and what it has declared, in whatever form, is asked', async (t) => {
		const table: [capabilities: Record<string, unknown>, asked: Rpc][] = [
			[{ elicitation: {} }, question('q')],
			[{ elicitation: { form: {} } }, question('q')],
			[{ elicitation: { url: {} } }, { ...question('q'), params: { mode: 'url', url: 'https://example.com' } }],
			[{ sampling: {} }, { jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: { messages: [] } }],
			[
				{ sampling: { tools: {} } },
				{ jsonrpc: '2.0', id: 'q', method: 'sampling/createMessage', params: { tools: [{ name: 't' }] } },
			],
			[{ roots: {} }, { jsonrpc: '2.0', id: 'q', method: 'roots/list' }],
		];
		const stack = await startHttpStack(t);
		for (const [nth, [capabilities, question]] of table.entries()) {
			const client = new ModernHttp(stack, { capabilities });
			const calling = client.call('ask').reply();
			const instance = await instanceOf(stack.launcher, 'alpha', nth);
			await speakLegacy(instance, { probed: nth === 0 });
			await instance.hearRequest('tools/call');
			instance.say(question);
			const { method, params } = question;
			assert.deepEqual(Object.values(askedBy(await calling).inputRequests), [
				{ method, ...(params === undefined ? {} : { params }) },
			]);
		}
	});
});

describe('a question that comes with nobody to be asked, such as roots/list after the handshake,', () => {
	const ROOTS: Rpc = { jsonrpc: '2.0', id: 'r', method: 'roots/list' };

	test('waits for the next call, which is not sent before it is answered', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const asked = askedBy(await client.call('ask').reply());
		assert.deepEqual(Object.values(asked.inputRequests), [{ method: 'roots/list' }]);
		const [key = ''] = Object.keys(asked.inputRequests);
		const answering = retry(client, asked, { [key]: { roots: [] } }).reply();
		assert.deepEqual(await instance.hear(), result('r', { roots: [] }));
		const { params } = await answerNext(instance, 'tools/call', { done: true });
		assert.deepEqual(params, { name: 'ask', arguments: {} }, 'the call is sent as it was meant');
		assert.equal((await answering).rpc.result?.['done'], true);
	});

	test('waits past requests with which nobody can be asked', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		const listing = client.send('tools/list');
		const { id } = await instance.hearRequest('tools/list');
		instance.say(ROOTS);
		instance.say(result(id, { tools: [] }));
		assert.deepEqual((await listing).rpc.result?.['tools'], []);
		const asked = askedBy(await client.send('prompts/get', { name: 'p' }));
		assert.deepEqual(Object.values(asked.inputRequests), [{ method: 'roots/list' }]);
	});

	test('is asked once, though two calls come', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const first = client.call('one').reply();
		const second = client.call('two').reply();
		const { params } = await answerNext(instance, 'tools/call');
		const answers = await Promise.all([first, second]);
		const asked = answers.filter(({ rpc }) => rpc.result?.['resultType'] === 'input_required');
		assert.equal(asked.length, 1);
		assert.equal(params?.['name'], answers[0] === asked[0] ? 'two' : 'one');
	});

	test('is refused at once for a client that cannot be asked it', async (t) => {
		const opened = await open(t, { capabilities: {} });
		opened.instance.say(ROOTS);
		const refused = await opened.instance.hear();
		assert.equal(refused.id, 'r');
		assert.ok(refused.error);
		const calling = opened.client.call('x').reply();
		await answerNext(opened.instance, 'tools/call');
		assert.equal((await calling).rpc.result?.['resultType'], 'complete');
	});

	test('is answered with an error when no call comes for long', async (t) => {
		const opened = await open(t);
		const { stack, client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		stack.later(BRIDGE_LIMITS.waitingQuestionMs + 1);
		const refused = await instance.hear();
		assert.equal(refused.id, 'r');
		assert.ok(refused.error);
		const calling = client.call('x').reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).rpc.result?.['resultType'], 'complete');
	});

	test(`is, beyond ${BRIDGE_LIMITS.waitingQuestionsMax}, at the cost of the oldest`, async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		for (let i = 0; i <= BRIDGE_LIMITS.waitingQuestionsMax; i++) instance.say({ ...ROOTS, id: i });
		const refused = await instance.hear();
		assert.equal(refused.id, 0);
		assert.ok(refused.error);
		const asked = askedBy(await client.call('ask').reply());
		assert.equal(Object.keys(asked.inputRequests).length, BRIDGE_LIMITS.waitingQuestionsMax);
	});

	test('and is withdrawn is not asked', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		instance.say(notification('notifications/cancelled', { requestId: 'r' }));
		await settled(opened);
		const calling = client.call('x').reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).rpc.result?.['resultType'], 'complete');
	});

	test('and is withdrawn just before its client is asked lets the call pass', async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const calling = client.call('x').reply();
		await gather.set.count(1);
		instance.say(notification('notifications/cancelled', { requestId: 'r' }));
		await settled(opened);
		gather.fire();
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).rpc.result?.['resultType'], 'complete');
	});

	test('and is withdrawn while its client is asked: the retry is sent', async (t) => {
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const asked = askedBy(await client.call('ask').reply());
		instance.say(notification('notifications/cancelled', { requestId: 'r' }));
		await settled(opened);
		const answering = retry(client, asked, {}).reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await answering).rpc.result?.['resultType'], 'complete');
	});

	test('of a server that dies just before its client is asked: the call is failed', { timeout: 20_000 }, async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const calling = client.call('x').reply();
		await gather.set.count(1);
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		await instance.ended;
		gather.fire();
		const { rpc } = await calling;
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
	});

	test('of a client that hangs up instead of answering is answered with an error, and the call never sent', async (t) => {
		const gather = new HeldTimers(t, BRIDGE_LIMITS.gatherMs);
		const opened = await open(t);
		const { client, instance } = opened;
		instance.say(ROOTS);
		await settled(opened);
		const calling = client.call('x');
		await gather.set.count(1);
		calling.disconnect();
		const refused = await instance.hear();
		assert.equal(refused.id, 'r');
		assert.ok(refused.error);
		await settled(opened);
	});
});

describe('an error that sends the client to pages (-32042)', () => {
	const elicitations = [
		{ mode: 'url', elicitationId: 'e1', url: 'https://one.example', message: 'One' },
		{ elicitationId: 'e2', url: 'https://two.example', message: 'Two' },
	];
	const error = { code: -32042, message: 'Open these', data: { elicitations } };

	test('becomes input_required with these pages; the retry is the call anew', async (t) => {
		const { client, instance } = await open(t);
		const calling = client.call('ask').reply();
		instance.say(failure((await instance.hearRequest('tools/call')).id, error));
		const { status, rpc } = await calling;
		assert.equal(status, 200);
		const asked = askedIn(rpc as RpcMessage);
		assert.deepEqual(
			Object.values(asked.inputRequests),
			elicitations.map((page) => ({ method: 'elicitation/create', params: { mode: 'url', ...page } })),
		);
		const inputResponses = Object.fromEntries(Object.keys(asked.inputRequests).map((key) => [key, ACCEPT]));
		const answering = client.send('tools/call', {
			name: 'ask',
			arguments: {},
			inputResponses,
			...(asked.requestState === undefined ? {} : { requestState: asked.requestState }),
		});
		const { params } = await answerNext(instance, 'tools/call', { done: true });
		assert.deepEqual(params, { name: 'ask', arguments: {} });
		assert.equal((await answering).rpc.result?.['done'], true);
	});

	test('is -32021 for a client that opens no pages', async (t) => {
		const { client, instance } = await open(t, { capabilities: { elicitation: {} } });
		const calling = client.call('ask').reply();
		instance.say(failure((await instance.hearRequest('tools/call')).id, error));
		const { status, rpc } = await calling;
		assert.equal(status, 400);
		assert.equal(rpc.error?.code, -32021);
		assert.deepEqual(rpc.error?.data?.['requiredCapabilities'], { elicitation: { url: {} } });
	});

	test('of a call whose client is asked is told when it comes back', async (t) => {
		const opened = await open(t);
		const { asked, wireId } = await ask(opened);
		opened.instance.say(failure(wireId, error));
		await settled(opened);
		const again = askedBy(await retry(opened.client, asked, {}).reply());
		assert.equal(Object.keys(again.inputRequests).length, 2);
	});
});

describe('log lines', () => {
	const introduction = { capabilities: { tools: {}, logging: {} } };
	const setLevel = async (instance: FakeInstance): Promise<unknown> => {
		const { params } = await answerNext(instance, 'logging/setLevel');
		return params?.['level'];
	};

	test('that a request asks for are asked for at the server, once, and come with it from that level on', async (t) => {
		const { client, instance } = await open(t, { introduction });
		for (let i = 0; i < 2; i++) {
			const streaming = client.call('x', {}, { id: i, logLevel: 'warning' }).stream();
			if (i === 0) assert.equal(await setLevel(instance), 'warning');
			const { id } = await instance.hearRequest('tools/call');
			for (const level of ['debug', 'notice', 'warning', 'emergency', 'nonsense']) instance.say(logLine(level, level));
			instance.say(result(id));
			const lines = (await (await streaming).rest()).slice(0, -1);
			assert.deepEqual(lines, [logLine('warning', 'warning'), logLine('emergency', 'emergency')]);
		}
		assert.equal(methodsTo(instance).filter((method) => method === 'logging/setLevel').length, 1);
	});

	test('the level of the server is the lowest that was asked for, and each request gets its own', async (t) => {
		const { client, instance } = await open(t, { introduction });
		const one = client.call('one', {}, { id: 1, logLevel: 'error' }).stream();
		assert.equal(await setLevel(instance), 'error');
		const first = await instance.hearRequest('tools/call');
		const two = client.call('two', {}, { id: 2, logLevel: 'info' }).stream();
		assert.equal(await setLevel(instance), 'info');
		const second = await instance.hearRequest('tools/call');
		instance.say(logLine('a', 'info'));
		instance.say(result(second.id));
		instance.say(logLine('b', 'info'));
		instance.say(logLine('c', 'error'));
		instance.say(result(first.id));
		assert.deepEqual((await (await two).rest())[0], logLine('a', 'info'));
		assert.deepEqual((await (await one).rest())[0], logLine('c', 'error'));
	});

	test('are not passed on to a request that asked for none, nor to nobody', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const calling = client.call('x').reply();
		const { id } = await instance.hearRequest('tools/call');
		instance.say(logLine('loud', 'emergency'));
		instance.say(result(id));
		assert.equal((await calling).headers['content-type'], 'application/json');
		instance.say(logLine('later'));
		await settled(opened);
		assert.ok(!methodsTo(instance).includes('logging/setLevel'));
	});

	test('are not asked of a server that has none', async (t) => {
		const { client, instance } = await open(t);
		const calling = client.call('x', {}, { logLevel: 'debug' }).reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).status, 200);
	});

	test('of a level that is none are not asked for', async (t) => {
		const { client, instance } = await open(t, { introduction });
		const calling = client.call('x', {}, { logLevel: 'loud' }).reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).status, 200);
	});

	test('of which the server wants to hear nothing cost the call nothing', async (t) => {
		const { client, instance } = await open(t, { introduction });
		const calling = client.call('x', {}, { logLevel: 'info' }).reply();
		instance.say(failure((await instance.hearRequest('logging/setLevel')).id, METHOD_NOT_FOUND));
		await answerNext(instance, 'tools/call');
		assert.equal((await calling).status, 200);
	});
});

describe('progress', () => {
	test('reaches the stream of the call with the token of its client', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('x', {}, { id: 1, meta: { progressToken: 'p' } }).stream();
		const { id, params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken'], 5));
		instance.say(result(id));
		assert.deepEqual((await (await streaming).rest())[0], progress('p', 5));
	});

	test('before a question comes on the stream that ends with it; after it, on that of the retry, with its token', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('ask', {}, { id: 1, meta: { progressToken: 'one' } }).stream();
		const { id, params } = await instance.hearRequest('tools/call');
		const token = metaIn({ params })['progressToken'];
		instance.say(progress(token, 1));
		instance.say(question('q'));
		const [told, last] = await (await streaming).rest();
		assert.deepEqual(told, progress('one', 1));
		const asked = askedIn(last as RpcMessage);
		instance.say(progress(token, 2));
		const [key = ''] = Object.keys(asked.inputRequests);
		const again = retry(client, asked, { [key]: ACCEPT }, { id: 2, meta: { progressToken: 2 } }).stream();
		await instance.hear();
		instance.say(progress(token, 3));
		instance.say(result(id));
		const [later, answer] = await (await again).rest();
		assert.deepEqual(later, progress(2, 3));
		assert.equal(answer?.id, 2);
	});
});

describe('subscriptions/listen', () => {
	const introduction = {
		capabilities: {
			tools: { listChanged: true },
			prompts: {},
			resources: { listChanged: true, subscribe: true },
		},
	};
	const EVERYTHING = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

	function listen(client: ModernHttp, notifications: object, id: string | number = 'l') {
		return client.begin('subscriptions/listen', { notifications }, { id }).stream();
	}

	function tagged(method: string, id: string | number, params: Record<string, unknown> = {}): Rpc {
		return notification(method, { ...params, _meta: { [SUBSCRIPTION]: id } });
	}

	const acknowledged = (id: string | number, notifications: object): Rpc =>
		notification('notifications/subscriptions/acknowledged', { _meta: { [SUBSCRIPTION]: id }, notifications });

	const updated = (uri: string): Rpc => notification('notifications/resources/updated', { uri });

	test('is acknowledged with what the server tells of, and gets that, tagged with its own id', async (t) => {
		const { client, instance } = await open(t, { introduction });
		const [all, tools] = await Promise.all([
			listen(client, EVERYTHING, 1),
			listen(client, { toolsListChanged: true }, 'one'),
		]);
		assert.deepEqual(await all.next(), acknowledged(1, { toolsListChanged: true, resourcesListChanged: true }));
		assert.deepEqual(await tools.next(), acknowledged('one', { toolsListChanged: true }));
		instance.say(notification('notifications/prompts/list_changed'));
		instance.say(notification('notifications/resources/list_changed', { x: 1 }));
		instance.say(notification('notifications/tools/list_changed'));
		assert.deepEqual(await all.next(), tagged('notifications/resources/list_changed', 1, { x: 1 }));
		assert.deepEqual(await all.next(), tagged('notifications/tools/list_changed', 1));
		assert.deepEqual(await tools.next(), tagged('notifications/tools/list_changed', 'one'));
	});

	test('is of no effect on a server that tells of nothing', async (t) => {
		const { client, instance } = await open(t);
		const events = await listen(client, { ...EVERYTHING, resourceSubscriptions: ['a:b'] });
		assert.deepEqual(await events.next(), acknowledged('l', {}));
		assert.equal(instance.lines.size, 0);
	});

	test('subscribes to a resource while somebody listens to it, and no longer', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const opening = listen(client, { resourceSubscriptions: ['a:1', 'a:2'] }, 'both');
		const subscribed = [
			await answerNext(instance, 'resources/subscribe'),
			await answerNext(instance, 'resources/subscribe'),
		];
		assert.deepEqual(
			subscribed.map(({ params }) => params),
			[{ uri: 'a:1' }, { uri: 'a:2' }],
		);
		const both = await opening;
		assert.deepEqual(await both.next(), acknowledged('both', { resourceSubscriptions: ['a:1', 'a:2'] }));
		const one = await listen(client, { resourceSubscriptions: ['a:1'] }, 'one');
		assert.deepEqual(await one.next(), acknowledged('one', { resourceSubscriptions: ['a:1'] }));
		for (const uri of ['a:3', 'a:2', 'a:1']) instance.say(updated(uri));
		assert.deepEqual(await both.next(), tagged('notifications/resources/updated', 'both', { uri: 'a:2' }));
		assert.deepEqual(await both.next(), tagged('notifications/resources/updated', 'both', { uri: 'a:1' }));
		assert.deepEqual(await one.next(), tagged('notifications/resources/updated', 'one', { uri: 'a:1' }));
		both.destroy();
		assert.deepEqual((await answerNext(instance, 'resources/unsubscribe')).params, { uri: 'a:2' });
		instance.say(updated('a:1'));
		assert.deepEqual(await one.next(), tagged('notifications/resources/updated', 'one', { uri: 'a:1' }));
		one.destroy();
		assert.deepEqual((await answerNext(instance, 'resources/unsubscribe')).params, { uri: 'a:1' });
		await settled(opened);
	});

	test('that the server refuses of a resource is acknowledged without it', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const opening = listen(client, { toolsListChanged: true, resourceSubscriptions: ['a:good', 'a:bad'] });
		await answerNext(instance, 'resources/subscribe');
		instance.say(
			failure((await instance.hearRequest('resources/subscribe')).id, { code: -32002, message: 'Resource not found' }),
		);
		const events = await opening;
		assert.deepEqual(
			await events.next(),
			acknowledged('l', { toolsListChanged: true, resourceSubscriptions: ['a:good'] }),
		);
		instance.say(updated('a:bad'));
		instance.say(updated('a:good'));
		assert.deepEqual(await events.next(), tagged('notifications/resources/updated', 'l', { uri: 'a:good' }));
		events.destroy();
		assert.deepEqual((await answerNext(instance, 'resources/unsubscribe')).params, { uri: 'a:good' });
		await settled(opened);
	});

	test('hears nothing before it is acknowledged', async (t) => {
		const { client, instance } = await open(t, { introduction });
		const opening = listen(client, { toolsListChanged: true, resourceSubscriptions: ['a:1'] });
		const { id } = await instance.hearRequest('resources/subscribe');
		instance.say(notification('notifications/tools/list_changed', { n: 1 }));
		instance.say(result(id));
		const events = await opening;
		assert.equal((await events.next()).method, 'notifications/subscriptions/acknowledged');
		instance.say(notification('notifications/tools/list_changed', { n: 2 }));
		assert.equal((await events.next()).params?.['n'], 2);
	});

	test('of one that hangs up before it is acknowledged leaves no subscription', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const listening = client.begin('subscriptions/listen', { notifications: { resourceSubscriptions: ['a:1'] } });
		const { id } = await instance.hearRequest('resources/subscribe');
		listening.disconnect();
		await settled(opened);
		instance.say(result(id));
		assert.deepEqual((await answerNext(instance, 'resources/unsubscribe')).params, { uri: 'a:1' });
	});

	test('with a wrong filter is refused with -32602', async (t) => {
		const { client } = await open(t, { introduction });
		for (const params of [{}, { notifications: [] }, { notifications: { resourceSubscriptions: 'a:1' } }]) {
			const { status, rpc } = await client.send('subscriptions/listen', params);
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32602);
		}
	});

	test('to more resources than calls may be in flight is served, or refused, and harms nobody', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const uris = Array.from({ length: SESSION_LIMITS.inFlightMax + 8 }, (_, i) => `a:${i}`);
		const listening = client.begin('subscriptions/listen', { notifications: { resourceSubscriptions: uris } });
		for (let i = 0; i < SESSION_LIMITS.inFlightMax; i++) await answerNext(instance, 'resources/subscribe');
		const { statusCode = 0 } = await listening.response;
		assert.ok(statusCode === 200 || statusCode === 429);
		listening.disconnect();
		assert.equal((await opened.stack.send({ path: '/health' })).status, 200);
	});

	test('that ends with more resources than calls may be in flight harms nobody', async (t) => {
		const opened = await open(t, { introduction });
		const { client, instance } = opened;
		const uris = Array.from({ length: SESSION_LIMITS.inFlightMax }, (_, i) => `a:${i}`);
		const opening = listen(client, { resourceSubscriptions: uris });
		for (const _ of uris) await answerNext(instance, 'resources/subscribe');
		const events = await opening;
		await events.next();
		const calls = [client.call('x').reply(), client.call('y').reply()];
		const ids = [(await instance.hearRequest('tools/call')).id, (await instance.hearRequest('tools/call')).id];
		events.destroy();
		await events.closed;
		for (let i = 0; i < SESSION_LIMITS.inFlightMax - ids.length; i++)
			await answerNext(instance, 'resources/unsubscribe');
		for (const id of ids) instance.say(result(id));
		for (const answer of await Promise.all(calls)) assert.equal(answer.status, 200);
	});

	test('ends with a result when its Instance is ended by us, and with why when it dies', async (t) => {
		const { stack, client, instance } = await open(t, { introduction });
		const [events] = [await listen(client, { toolsListChanged: true })];
		await events.next();
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		const [error] = await events.rest();
		assert.equal(error?.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
		const opening = listen(client, { toolsListChanged: true }, 'next');
		await speakLegacy(await instanceOf(stack.launcher, 'alpha', 1), { ...introduction, probed: false });
		const next = await opening;
		await next.next();
		await stack.gateway.stop();
		assert.deepEqual(await next.rest(), [
			result('next', { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'next' } }),
		]);
	});

	test('keeps its Instance, and is kept alive', async (t) => {
		const { stack, client, instance } = await open(t, { introduction });
		const events = await listen(client, { toolsListChanged: true });
		await events.next();
		for (let i = 0; i < 3; i++) stack.later(SESSION_LIMITS.idleMs / 2);
		assert.equal(await events.comments.next(), 'keep-alive');
		assert.equal(instance.stopped, undefined);
		events.destroy();
		await events.closed;
		await stack.send({ path: '/health' });
		stack.later(SESSION_LIMITS.idleMs + 1);
		await instance.ended;
	});
});

test('a call whose client is asked does not hold up the end of the gateway', { timeout: 15_000 }, async (t) => {
	const opened = await open(t);
	await ask(opened);
	await opened.stack.gateway.stop();
	assert.equal(opened.instance.stopped, 'prompt');
});

test('a server that does not read its stdin, and asks whether we live, harms nobody', async (t) => {
	const { stack, client, instance } = await open(t);
	instance.stopReading();
	const large = 'x'.repeat(3 * 1024 * 1024);
	const calls = [client.call('a', { large }), client.call('b', { large })];
	await stack.send({ path: '/health' });
	while (instance.stream.writableLength < 5 * 1024 * 1024) await new Promise(setImmediate);
	instance.say({ jsonrpc: '2.0', id: 'p', method: 'ping' });
	await stack.send({ path: '/health' });
	for (const one of calls) one.disconnect();
	assert.equal((await stack.send({ path: '/health' })).status, 200);
	instance.resumeReading();
});
