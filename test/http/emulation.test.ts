/** A client with a session in front of a server that speaks 2026-07-28 alone: what the first era has and the second has not. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BRIDGE_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import type { FakeInstance, Rpc } from '../support/fake-launcher.ts';
import { HeldTimers } from '../support/held-timers.ts';
import { ask as askHttp, type Reply } from '../support/http-client.ts';
import {
	AUTHORIZATION,
	call,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
	toBody,
} from '../support/http-stack.ts';
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
	speakModern,
} from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const SUBSCRIPTION = `${META}subscriptionId`;
const LIST_CHANGED = 'notifications/tools/list_changed';
const ALL = { sampling: { tools: {} }, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };

/** A session whose server speaks the second era alone. */
interface Opened {
	readonly stack: HttpStack;
	readonly session: SessionHttp;
	readonly instance: FakeInstance;
	/** To `initialize`. */
	readonly answer: Reply;
}

interface OpenOptions {
	readonly introduction?: Introduction;
	readonly revision?: string;
	readonly server?: string;
}

async function open(t: Parameters<typeof startHttpStack>[0], options: OpenOptions = {}): Promise<Opened> {
	const { introduction, revision, server = 'alpha' } = options;
	const stack = await startHttpStack(t);
	const session = new SessionHttp(stack, `/servers/${server}/mcp`);
	const answering = session.initialize(revision, ALL);
	const instance = await stack.launcher.launched.next();
	instance.say(failure((await instance.hearRequest('initialize')).id, METHOD_NOT_FOUND));
	await speakModern(instance, introduction);
	return { stack, session, instance, answer: await answering };
}

function request(id: string | number, method: string, params: Record<string, unknown> = {}): Rpc {
	return { jsonrpc: '2.0', id, method, params };
}

/** What a server of the second era says in place of a result. */
function inputRequired(inputRequests: Record<string, object>, requestState?: string): Record<string, unknown> {
	return {
		resultType: 'input_required',
		inputRequests,
		...(requestState === undefined ? {} : { requestState }),
	};
}

const WHO = { method: 'elicitation/create', params: { message: 'Who?' } };
const ROOTS = { method: 'roots/list' };

function tagged(method: string, id: number, params: Record<string, unknown> = {}): Rpc {
	return notification(method, { ...params, _meta: { [SUBSCRIPTION]: id } });
}

function acknowledged(id: number, notifications: object): Rpc {
	return tagged('notifications/subscriptions/acknowledged', id, { notifications });
}

/** A round trip with the server, after which all that was said before has been read. */
async function settled({ instance, session }: Opened): Promise<void> {
	const listing = session.post(request('settled', 'tools/list'));
	await answerNext(instance, 'tools/list');
	await listing;
}

describe('initialize', () => {
	test('is answered from what the server says of itself, with a session', async (t) => {
		const capabilities = { tools: { listChanged: true }, extensions: { 'x/y': {} } };
		const { answer } = await open(t, { introduction: { capabilities, instructions: 'Be kind.', name: 'new' } });
		assert.equal(answer.status, 200);
		assert.ok(answer.headers['mcp-session-id']);
		assert.deepEqual(
			answer.rpc,
			result(0, {
				protocolVersion: '2025-11-25',
				capabilities,
				serverInfo: { name: 'new', version: '1' },
				instructions: 'Be kind.',
			}),
		);
	});

	for (const [asked, expected] of [
		['2025-06-18', '2025-06-18'],
		['2025-03-26', '2025-03-26'],
		['2024-11-05', '2024-11-05'],
		['2026-07-28', '2025-11-25'],
		['1999-01-01', '2025-11-25'],
	] as const) {
		test(`with revision ${asked} agrees on ${expected}`, async (t) => {
			const { answer } = await open(t, { revision: asked });
			assert.equal(answer.rpc.result?.['protocolVersion'], expected);
		});
	}

	test('of a server that names itself nowhere still names a server', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await instanceOf(stack.launcher, 'alpha');
		instance.say(failure((await instance.hearRequest('initialize')).id, METHOD_NOT_FOUND));
		await answerNext(instance, 'server/discover', { supportedVersions: ['2026-07-28'], capabilities: {} });
		const { rpc } = await answering;
		const { serverInfo, ...rest } = rpc.result ?? {};
		assert.equal(typeof Reflect.get(Object(serverInfo), 'name'), 'string');
		assert.equal(typeof Reflect.get(Object(serverInfo), 'version'), 'string');
		assert.deepEqual(rest, { protocolVersion: '2025-11-25', capabilities: {} });
	});
});

describe('what reaches the server', () => {
	test('has the envelope with what the client said once, and everything else as it was', async (t) => {
		const { instance, session } = await open(t);
		const odd = '"arguments":{"n":12345678901234567890,"u":"\\u00e9\\/ é😀","f":1.0}';
		const meta = `"_meta":{"x":1.0,"${META}clientInfo":"a lie","z":2.0}`;
		const answering = session.post(
			`{"params":{"name":"x",${odd},${meta}},"method":"tools/call","id":"i","y":1.0,"jsonrpc":"2.0"}`,
		);
		const line = await instance.lines.next();
		const { id } = JSON.parse(line) as { id: number };
		const envelope = `"_meta":{"x":1.0,"${META}clientInfo":{"name":"test","version":"1"},"z":2.0,"${META}protocolVersion":"2026-07-28","${META}clientCapabilities":${JSON.stringify(ALL)}}`;
		assert.equal(
			line,
			`{"params":{"name":"x",${odd},${envelope}},"method":"tools/call","id":${id},"y":1.0,"jsonrpc":"2.0"}`,
		);
		instance.say(`{"result":{"n":12345678901234567890},"id":${id},"jsonrpc":"2.0"}`);
		assert.equal((await answering).text, '{"result":{"n":12345678901234567890},"id":"i","jsonrpc":"2.0"}');
	});

	test('has it too where the client gave no params', async (t) => {
		const { instance, session } = await open(t);
		const answering = session.post({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
		const { params } = await answerNext(instance, 'tools/list', { tools: [] });
		assert.equal(metaIn({ params })[`${META}protocolVersion`], '2026-07-28');
		assert.equal((await answering).status, 200);
	});

	test('is nothing of what the second era has no more: ping, notifications', async (t) => {
		const opened = await open(t);
		const { instance, session } = opened;
		const ponged = await session.post(request('p', 'ping'));
		assert.deepEqual(ponged.rpc, result('p', {}));
		for (const method of ['notifications/initialized', 'notifications/roots/list_changed', 'notifications/x'])
			assert.equal((await session.post(notification(method))).status, 202);
		await settled(opened);
		assert.deepEqual(methodsTo(instance), ['initialize', 'server/discover', 'tools/list']);
	});

	test('is, for a cancellation, the id that the server knows, and the envelope', async (t) => {
		const opened = await open(t);
		const { instance, session } = opened;
		const streaming = session.stream(call('mine'));
		const { id } = await instance.hearRequest('tools/call');
		await session.post(notification('notifications/cancelled', { requestId: 'mine', reason: 'user' }));
		const cancelled = await instance.hear();
		assert.equal(cancelled.method, 'notifications/cancelled');
		assert.equal(cancelled.params?.['requestId'], id);
		assert.equal(cancelled.params?.['reason'], 'user');
		assert.equal(metaIn(cancelled)[`${META}protocolVersion`], '2026-07-28');
		assert.deepEqual(await (await streaming).rest(), []);
		instance.say(result(id, { late: true }));
		await settled(opened);
	});

	test('is an error of its own for what it does not know, which its client gets', async (t) => {
		const { instance, session } = await open(t);
		const answering = session.post(request(1, 'x/y'));
		instance.say(failure((await instance.hearRequest('x/y')).id, METHOD_NOT_FOUND));
		const { status, rpc } = await answering;
		assert.equal(status, 200);
		assert.deepEqual(rpc.error, METHOD_NOT_FOUND);
	});
});

describe('while a call runs', () => {
	test('its progress comes on its stream with the token of the client', async (t) => {
		const { instance, session } = await open(t);
		const streaming = [
			session.stream(call(1, 'a', { progressToken: 'p' })),
			session.stream(call(2, 'b', { progressToken: 0 })),
		];
		const heard = new Map<unknown, { id: number; token: unknown }>();
		for (const _ of streaming) {
			const { id, params } = await instance.hearRequest('tools/call');
			heard.set(params?.['name'], { id, token: metaIn({ params })['progressToken'] });
		}
		const [a, b] = [heard.get('a'), heard.get('b')];
		assert.ok(a && b);
		instance.say(progress(b.token, 2));
		instance.say(progress(a.token, 1));
		instance.say(result(b.id, { of: 'b' }));
		instance.say(result(a.id, { of: 'a' }));
		const [ofA, ofB] = await Promise.all(streaming.map(async (opening) => (await opening).rest()));
		assert.deepEqual(ofA, [progress('p', 1), result(1, { of: 'a' })]);
		assert.deepEqual(ofB, [progress(0, 2), result(2, { of: 'b' })]);
	});

	test('log lines come on its stream, once the client has set a level, which goes with every request', async (t) => {
		const { instance, session } = await open(t, { introduction: { capabilities: { tools: {}, logging: {} } } });
		const quiet = session.post(call(1));
		const { params } = await answerNext(instance, 'tools/call');
		assert.ok(!(`${META}logLevel` in metaIn({ params })));
		await quiet;
		assert.deepEqual((await session.post(request('l', 'logging/setLevel', { level: 'warning' }))).rpc, result('l', {}));
		const streaming = session.stream(call(2));
		const loud = await instance.hearRequest('tools/call');
		assert.equal(metaIn(loud)[`${META}logLevel`], 'warning');
		instance.say(logLine('careful', 'warning'));
		instance.say(result(loud.id));
		assert.deepEqual(await (await streaming).rest(), [logLine('careful', 'warning'), result(2)]);
		assert.ok(!methodsTo(instance).includes('logging/setLevel'));
	});

	test('the death of the server fails it, and the session goes on', async (t) => {
		const { stack, instance, session } = await open(t);
		const answering = session.post(call(1));
		await instance.hearRequest('tools/call');
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
		const again = session.post(call(2));
		const other = await stack.launcher.launched.next();
		// It is known by now what the server speaks.
		await speakModern(other);
		other.say(result((await other.hearRequest('tools/call')).id, { resultType: 'complete', by: 'another' }));
		assert.equal((await again).rpc.result?.['by'], 'another');
	});
});

describe('changes', () => {
	const introduction = {
		capabilities: { tools: { listChanged: true }, prompts: {}, resources: { listChanged: true } },
	};

	test('of the lists are listened for when the client is ready, and come on its GET stream without a tag', async (t) => {
		const opened = await open(t, { introduction });
		const { instance, session } = opened;
		await session.post(notification('notifications/initialized'));
		const { id, params } = await instance.hearRequest('subscriptions/listen');
		assert.deepEqual(params?.['notifications'], { toolsListChanged: true, resourcesListChanged: true });
		assert.equal(metaIn({ params })[`${META}protocolVersion`], '2026-07-28');
		instance.say(acknowledged(id, { toolsListChanged: true, resourcesListChanged: true }));
		instance.say(tagged(LIST_CHANGED, id));
		const standing = await session.listen();
		assert.deepEqual(await standing.next(), notification(LIST_CHANGED, {}));
		instance.say(notification('notifications/resources/list_changed', { x: 1, _meta: { [SUBSCRIPTION]: id, y: 2 } }));
		assert.deepEqual(
			await standing.next(),
			notification('notifications/resources/list_changed', { x: 1, _meta: { y: 2 } }),
		);
	});

	test('are listened for of no server that tells of none', async (t) => {
		const opened = await open(t, { introduction: { capabilities: { tools: {} } } });
		await opened.session.post(notification('notifications/initialized'));
		await settled(opened);
		assert.ok(!methodsTo(opened.instance).includes('subscriptions/listen'));
	});

	test('listening keeps no session from ending as idle', async (t) => {
		const { stack, instance, session } = await open(t, { introduction });
		await session.post(notification('notifications/initialized'));
		instance.say(acknowledged((await instance.hearRequest('subscriptions/listen')).id, {}));
		stack.later(SESSION_LIMITS.idleMs + 1);
		await instance.ended;
	});
});

describe('a resource', () => {
	const introduction = { capabilities: { resources: { subscribe: true } } };
	const uri = 'file:///a';

	async function subscribe({ instance, session }: Opened, id: string | number = 1) {
		const answering = session.post(request(id, 'resources/subscribe', { uri }));
		const heard = await instance.hearRequest('subscriptions/listen');
		assert.deepEqual(heard.params?.['notifications'], { resourceSubscriptions: [uri] });
		instance.say(acknowledged(heard.id, { resourceSubscriptions: [uri] }));
		assert.deepEqual((await answering).rpc, result(id, {}));
		return heard.id;
	}

	test('that is subscribed to is listened to until it is unsubscribed from', async (t) => {
		const opened = await open(t, { introduction });
		const { instance, session } = opened;
		const standing = await session.listen();
		const id = await subscribe(opened);
		instance.say(tagged('notifications/resources/updated', id, { uri }));
		assert.deepEqual(await standing.next(), notification('notifications/resources/updated', { uri }));
		const twice = await session.post(request(2, 'resources/subscribe', { uri }));
		assert.deepEqual(twice.rpc, result(2, {}));
		assert.deepEqual((await session.post(request(3, 'resources/unsubscribe', { uri }))).rpc, result(3, {}));
		const cancelled = await instance.hear();
		assert.equal(cancelled.method, 'notifications/cancelled');
		assert.equal(cancelled.params?.['requestId'], id);
		assert.equal(metaIn(cancelled)[`${META}protocolVersion`], '2026-07-28');
		assert.deepEqual((await session.post(request(4, 'resources/unsubscribe', { uri }))).rpc, result(4, {}));
		await subscribe(opened, 5);
	});

	test('that the server refuses is refused in its words, and may be asked for again', async (t) => {
		const opened = await open(t, { introduction });
		const { instance, session } = opened;
		const refused = session.post(request(1, 'resources/subscribe', { uri }));
		const error = { code: -32602, message: 'Resource not found', data: { uri } };
		instance.say(failure((await instance.hearRequest('subscriptions/listen')).id, error));
		assert.deepEqual((await refused).rpc, { jsonrpc: '2.0', id: 1, error });
		await subscribe(opened, 2);
	});

	test('that the server leaves out of what it acknowledges is refused, and may be asked for again', async (t) => {
		const opened = await open(t, { introduction });
		const { instance, session } = opened;
		const refused = session.post(request(1, 'resources/subscribe', { uri }));
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id, {}));
		assert.ok((await refused).rpc.error);
		assert.equal((await instance.hear()).params?.['requestId'], id);
		await subscribe(opened, 2);
	});

	test('whose subscription the server ended is subscribed to again when the client asks', async (t) => {
		const opened = await open(t, { introduction });
		const { instance } = opened;
		const id = await subscribe(opened);
		instance.say(result(id, { resultType: 'complete', _meta: { [SUBSCRIPTION]: id } }));
		await settled(opened);
		const next = await subscribe(opened, 2);
		instance.say(notification('notifications/cancelled', { requestId: next }));
		await settled(opened);
		await subscribe(opened, 3);
	});

	test('that is not named is refused, and the request that names none answered', async (t) => {
		const { session } = await open(t, { introduction });
		const { rpc } = await session.post(request(1, 'resources/subscribe'));
		assert.equal(rpc.error?.code, -32602);
	});

	test('whose subscription the client withdraws before it is there is withdrawn at the server', async (t) => {
		const opened = await open(t, { introduction });
		const { instance, session } = opened;
		const streaming = session.stream(request('s', 'resources/subscribe', { uri }));
		const { id } = await instance.hearRequest('subscriptions/listen');
		await session.post(notification('notifications/cancelled', { requestId: 's' }));
		assert.equal((await instance.hear()).params?.['requestId'], id);
		await (await streaming).closed;
		await subscribe(opened, 's');
	});
});

describe('input_required', () => {
	test('is put to the client as questions on the stream of its call, and the answers go with the next request', async (t) => {
		const { instance, session } = await open(t);
		const streaming = session.stream(call('c', 'ask', { progressToken: 'p' }));
		const first = await instance.hearRequest('tools/call');
		instance.say(
			`{"jsonrpc":"2.0","id":${first.id},"result":{"resultType":"input_required","requestState":"st\\u0061te","inputRequests":{"who":{"method":"elicitation/create","params":{"message":"\\u0041?","n":12345678901234567890}},"where":{"method":"roots/list"}}}}`,
		);
		const events = await streaming;
		const [who, where] = [await events.next(), await events.next()];
		assert.equal(who.method, 'elicitation/create');
		assert.match(events.texts[0] ?? '', /"params":\{"message":"\\u0041\?","n":12345678901234567890\}/);
		assert.equal(where.method, 'roots/list');
		assert.notEqual(who.id, where.id);
		await session.post(result(where.id ?? '', { roots: [] }));
		assert.equal(instance.lines.size, 0, 'not before all is answered');
		await session.post(
			`{"jsonrpc":"2.0","id":${JSON.stringify(who.id)},"result":{"action":"accept","content":{"n":12345678901234567890}}}`,
		);
		const line = await instance.lines.next();
		assert.ok(line.includes('"who":{"action":"accept","content":{"n":12345678901234567890}}'), line);
		const next = JSON.parse(line) as Rpc & { id: number };
		assert.equal(next.method, 'tools/call');
		assert.notEqual(next.id, first.id);
		const { _meta, ...params } = next.params ?? {};
		assert.deepEqual(params, {
			name: 'ask',
			arguments: {},
			inputResponses: {
				where: { roots: [] },
				who: { action: 'accept', content: { n: Number('12345678901234567890') } },
			},
			requestState: 'state',
		});
		assert.equal(metaIn(next)[`${META}protocolVersion`], '2026-07-28');
		instance.say(progress(metaIn(next)['progressToken'], 3));
		instance.say(result(next.id, { resultType: 'complete', done: true }));
		assert.deepEqual(await events.next(), progress('p', 3));
		assert.deepEqual(await events.rest(), [result('c', { resultType: 'complete', done: true })]);
	});

	test('may come round after round; each has its own state, and only its own answers', async (t) => {
		const { instance, session } = await open(t);
		const streaming = session.stream(call('c'));
		let { id } = await instance.hearRequest('tools/call');
		instance.say(result(id, inputRequired({ a: WHO }, 'one')));
		const events = await streaming;
		for (const [key, state, next] of [
			['a', 'one', { b: ROOTS }],
			['b', undefined, { c: WHO }],
			['c', 'three', undefined],
		] as const) {
			const asked = await events.next();
			await session.post(result(asked.id ?? '', { of: key }));
			const heard = await instance.hearRequest('tools/call');
			assert.deepEqual(heard.params?.['inputResponses'], { [key]: { of: key } });
			assert.equal(heard.params?.['requestState'], state);
			id = heard.id;
			if (next !== undefined) instance.say(result(id, inputRequired(next, key === 'b' ? 'three' : undefined)));
		}
		instance.say(result(id, { done: true }));
		assert.deepEqual(await events.rest(), [result('c', { done: true })]);
	});

	test('with a state alone is answered at once, without the client', async (t) => {
		const { instance, session } = await open(t);
		const answering = session.post(call('c'));
		const { id } = await instance.hearRequest('tools/call');
		instance.say(result(id, { resultType: 'input_required', requestState: 'again' }));
		const next = await instance.hearRequest('tools/call');
		assert.equal(next.params?.['requestState'], 'again');
		assert.ok(!('inputResponses' in (next.params ?? {})));
		instance.say(result(next.id, { done: true }));
		const { headers, rpc } = await answering;
		assert.equal(headers['content-type'], 'application/json');
		assert.deepEqual(rpc, result('c', { done: true }));
	});

	test(`without end ends after ${BRIDGE_LIMITS.roundsMax} rounds`, async (t) => {
		const { instance, session } = await open(t);
		const answering = session.post(call('c'));
		for (let round = 0; round <= BRIDGE_LIMITS.roundsMax; round++) {
			const { id } = await instance.hearRequest('tools/call');
			instance.say(result(id, { resultType: 'input_required', requestState: String(round) }));
		}
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
		assert.equal(instance.lines.size, 0);
	});

	for (const [method, params] of [
		['prompts/get', { name: 'p' }],
		['resources/read', { uri: 'a:b' }],
	] as const) {
		test(`may come with ${method} too`, async (t) => {
			const { instance, session } = await open(t);
			const streaming = session.stream(request(1, method, params));
			instance.say(result((await instance.hearRequest(method)).id, inputRequired({ a: WHO })));
			const events = await streaming;
			await session.post(result((await events.next()).id ?? '', { action: 'cancel' }));
			const { id } = await instance.hearRequest(method);
			instance.say(result(id, { done: true }));
			assert.deepEqual(await events.rest(), [result(1, { done: true })]);
		});
	}

	test('of two calls at once: each answer goes to its own call', async (t) => {
		const { instance, session } = await open(t);
		const streaming = [session.stream(call(1, 'a')), session.stream(call(2, 'b'))];
		const names = new Map<number, unknown>();
		for (const _ of streaming) {
			const { id, params } = await instance.hearRequest('tools/call');
			names.set(id, params?.['name']);
		}
		for (const [id, name] of names) instance.say(result(id, inputRequired({ same: WHO }, `of ${name}`)));
		const [a, b] = await Promise.all(streaming);
		assert.ok(a && b);
		const [askedA, askedB] = [await a.next(), await b.next()];
		assert.notEqual(askedA.id, askedB.id);
		for (const [asked, name, stream] of [
			[askedB, 'b', b],
			[askedA, 'a', a],
		] as const) {
			await session.post(result(asked.id ?? '', { of: name }));
			const { id, params } = await instance.hearRequest('tools/call');
			assert.equal(params?.['name'], name);
			assert.equal(params?.['requestState'], `of ${name}`);
			assert.deepEqual(params?.['inputResponses'], { same: { of: name } });
			instance.say(result(id, { of: name }));
			assert.deepEqual((await stream.rest())[0]?.result, { of: name });
		}
	});

	test('that the client answers with an error ends the call with it; the other questions are withdrawn', async (t) => {
		const opened = await open(t);
		const { instance, session } = opened;
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO, b: ROOTS })));
		const events = await streaming;
		const [a, b] = [await events.next(), await events.next()];
		await session.post({ jsonrpc: '2.0', id: a.id, error: { code: -1, message: 'the user said no' } });
		const withdrawn = await events.next();
		assert.equal(withdrawn.method, 'notifications/cancelled');
		assert.equal(withdrawn.params?.['requestId'], b.id);
		assert.deepEqual(await events.rest(), [
			{ jsonrpc: '2.0', id: 'c', error: { code: -1, message: 'the user said no' } },
		]);
		assert.equal((await session.post(result(b.id ?? '', { late: true }))).status, 202);
		await settled(opened);
	});

	test('that the client answers twice counts once', async (t) => {
		const { instance, session } = await open(t);
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO, b: WHO })));
		const events = await streaming;
		const [a, b] = [await events.next(), await events.next()];
		await session.post(result(a.id ?? '', { n: 1 }));
		await session.post(result(a.id ?? '', { n: 2 }));
		await session.post(result(b.id ?? '', { n: 3 }));
		const { id, params } = await instance.hearRequest('tools/call');
		assert.deepEqual(params?.['inputResponses'], { a: { n: 1 }, b: { n: 3 } });
		instance.say(result(id));
		await events.closed;
		assert.equal(instance.lines.size, 0);
	});

	test('for a call that the client withdraws while it is asked: the question is withdrawn, and the server hears no more', async (t) => {
		const opened = await open(t);
		const { instance, session } = opened;
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO }, 'state')));
		const events = await streaming;
		const asked = await events.next();
		await session.post(notification('notifications/cancelled', { requestId: 'c' }));
		const withdrawn = await events.rest();
		assert.deepEqual(withdrawn, [notification('notifications/cancelled', { requestId: asked.id })]);
		assert.equal((await session.post(result(asked.id ?? '', { late: true }))).status, 202);
		await settled(opened);
		// The id may be used again.
		const again = session.post(call('c'));
		await answerNext(instance, 'tools/call', { again: true });
		assert.deepEqual((await again).rpc, result('c', { again: true }));
	});

	test('for a session that is ended while its client is asked: the call is failed', async (t) => {
		const { instance, session } = await open(t);
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO })));
		const events = await streaming;
		await events.next();
		assert.equal((await session.end()).status, 200);
		const last = (await events.rest()).at(-1);
		assert.equal(last?.id, 'c');
		assert.equal(last?.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		await instance.ended;
	});

	test('for a server that dies while the client is asked: the call is failed', async (t) => {
		const { instance, session } = await open(t);
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO })));
		const events = await streaming;
		await events.next();
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		const last = (await events.rest()).at(-1);
		assert.equal(last?.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
	});

	test('for a client whose stream broke is put to it on its GET stream', async (t) => {
		const opened = await open(t);
		const { instance, session } = opened;
		const streaming = session.stream(call('c', 'ask', { progressToken: 'p' }));
		const { id, params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken']));
		const events = await streaming;
		events.destroy();
		await events.closed;
		await settled(opened);
		instance.say(result(id, inputRequired({ a: WHO }, 'state')));
		const asked = await (await session.listen()).next();
		assert.equal(asked.method, 'elicitation/create');
		await session.post(result(asked.id ?? '', { action: 'decline' }));
		const next = await instance.hearRequest('tools/call');
		assert.deepEqual(next.params?.['inputResponses'], { a: { action: 'decline' } });
		instance.say(result(next.id));
		await settled(opened);
	});

	test('waits for its client past the deadline of the call, but not for ever', async (t) => {
		const ceiling = new HeldTimers(t, SESSION_LIMITS.callTimeoutMsMax);
		const opened = await open(t, { server: 'quick' });
		const { stack, instance, session } = opened;
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO })));
		const events = await streaming;
		const asked = await events.next();
		stack.later(60_000);
		await settled(opened);
		await ceiling.fireNext();
		const [withdrawn, failed] = await events.rest();
		assert.equal(withdrawn?.params?.['requestId'], asked.id);
		assert.equal(failed?.error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
	});

	test('keeps its session from ending as idle, and the gateway from ending without it', async (t) => {
		const { stack, instance, session } = await open(t);
		const streaming = session.stream(call('c'));
		instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO })));
		const events = await streaming;
		const asked = await events.next();
		stack.later(SESSION_LIMITS.idleMs + 1);
		await stack.send({ path: '/health' });
		assert.equal(instance.stopped, undefined);
		const stopping = stack.gateway.stop();
		assert.equal((await session.post(result(asked.id ?? '', { action: 'decline' }))).status, 202);
		const { id } = await instance.hearRequest('tools/call');
		instance.say(result(id, { done: true }));
		assert.deepEqual(await events.rest(), [result('c', { done: true })]);
		await stopping;
	});

	test('that is malformed harms nobody', async (t) => {
		const { stack, instance, session } = await open(t);
		for (const inputRequests of [null, [], 'x', { a: null }, { a: [] }, { a: { method: 5 } }, { a: { params: {} } }]) {
			const answering = session.post(call('c'));
			const { id } = await instance.hearRequest('tools/call');
			instance.say({ jsonrpc: '2.0', id, result: { resultType: 'input_required', inputRequests } });
			// Whether it is asked for nothing or for nonsense: it can be withdrawn, and the next one begun.
			await session.post(notification('notifications/cancelled', { requestId: 'c' }));
			await answering;
			await stack.send({ path: '/health' });
			while (instance.lines.size > 0) await instance.hear();
		}
	});
});

test('the old transport with a stream of its own works with such a server too', async (t) => {
	const stack = await startHttpStack(t);
	const response = await askHttp(stack.port, {
		path: '/servers/alpha/sse',
		headers: { ...AUTHORIZATION, accept: 'text/event-stream' },
	});
	response.setEncoding('utf8');
	let text = '';
	const waiters = new Set<() => void>();
	response.on('data', (chunk: string) => {
		text += chunk;
		for (const waiter of waiters) waiter();
	});
	const until = async (pattern: RegExp): Promise<RegExpExecArray> => {
		for (;;) {
			const found = pattern.exec(text);
			if (found !== null) return found;
			await new Promise<void>((resolve) => waiters.add(resolve));
		}
	};
	const [, path = ''] = await until(/event: endpoint\ndata: (\S+)\n/);
	const post = (body: unknown) => stack.send({ method: 'POST', path, headers: POST_HEADERS, body: toBody(body) });
	assert.equal((await post(initializeRequest('2024-11-05', ALL))).status, 202);
	const instance = await instanceOf(stack.launcher, 'alpha');
	instance.say(failure((await instance.hearRequest('initialize')).id, METHOD_NOT_FOUND));
	await speakModern(instance);
	await until(/"id":0,"result":\{"protocolVersion":"2024-11-05"/);
	await post(call('c'));
	instance.say(result((await instance.hearRequest('tools/call')).id, inputRequired({ a: WHO }, 's')));
	const [, id = ''] = await until(/"method":"elicitation\/create".*"id":(\d+)/);
	await post(result(Number(id), { action: 'decline' }));
	const next = await instance.hearRequest('tools/call');
	assert.deepEqual(next.params?.['inputResponses'], { a: { action: 'decline' } });
	instance.say(result(next.id, { done: true }));
	await until(/"done":true/);
	response.destroy();
	await instance.ended;
});
