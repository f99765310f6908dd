/** Revision 2026-07-28 in front of a server that speaks it: every request stands for itself. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { INSTANCE_LIMITS, SESSION_LIMITS, SSE_LIMITS } from '../../src/limits.ts';
import { type ModernOptions, modernHeaders, modernMeta, modernRequest } from '../support/client-modern.ts';
import { type FakeInstance, type Rpc, serverView } from '../support/fake-launcher.ts';
import {
	AUTHORIZATION,
	call,
	type HttpStack,
	result,
	type StackOptions,
	startHttpStack,
} from '../support/http-stack.ts';
import { allowKeys, ModernHttp, type ModernHttpOptions } from '../support/modern-http.ts';
import {
	answerNext,
	failure,
	type Introduction,
	instanceOf,
	logLine,
	META,
	metaIn,
	methodsTo,
	notification,
	progress,
	speakModern,
} from '../support/played-server.ts';

const MINUTE = 60_000;
const SUBSCRIPTION = `${META}subscriptionId`;
const LIST_CHANGED = 'notifications/tools/list_changed';

interface Opened {
	readonly stack: HttpStack;
	readonly client: ModernHttp;
	readonly instance: FakeInstance;
}

interface OpenOptions extends ModernHttpOptions {
	readonly introduction?: Introduction;
	readonly stackOptions?: StackOptions;
	readonly tools?: readonly object[];
	readonly server?: string;
}

/** A stack with an Instance that has spoken, and listed its tools. */
async function open(t: Parameters<typeof startHttpStack>[0], options: OpenOptions = {}): Promise<Opened> {
	const { introduction, stackOptions, tools = [], server = 'alpha', ...claims } = options;
	const stack = await startHttpStack(t, stackOptions);
	const client = new ModernHttp(stack, { path: `/servers/${server}/mcp`, ...claims });
	const listing = client.send('tools/list');
	const instance = await stack.launcher.launched.next();
	await speakModern(instance, introduction);
	await answerNext(instance, 'tools/list', { tools });
	assert.equal((await listing).status, 200);
	return { stack, client, instance };
}

/** What was set going has come to its end when a request has gone there and back. */
async function settled({ send }: HttpStack): Promise<void> {
	await send({ path: '/health' });
}

/** What a listener hears of its subscription. */
function tagged(method: string, id: string | number, params: Record<string, unknown> = {}): Rpc {
	return notification(method, { ...params, _meta: { [SUBSCRIPTION]: id } });
}

function acknowledged(id: string | number, notifications: object = { toolsListChanged: true }): Rpc {
	return tagged('notifications/subscriptions/acknowledged', id, { notifications });
}

/** A request of which nothing but its envelope is right unless said. */
const TOOL = { name: 'echo', arguments: {} };

describe('what the headers say must be what the body says:', () => {
	const refused: [what: string, headers: Record<string, string | undefined>][] = [
		['no MCP-Protocol-Version', { 'mcp-protocol-version': undefined }],
		['a MCP-Protocol-Version of the first era', { 'mcp-protocol-version': '2025-11-25' }],
		['a MCP-Protocol-Version that is none', { 'mcp-protocol-version': 'latest' }],
		['another MCP-Protocol-Version of this era', { 'mcp-protocol-version': '2027-01-01' }],
		['no Mcp-Method', { 'mcp-method': undefined }],
		['an empty Mcp-Method', { 'mcp-method': '' }],
		['another Mcp-Method', { 'mcp-method': 'tools/list' }],
		['a Mcp-Method in other letters', { 'mcp-method': 'Tools/Call' }],
		['no Mcp-Name', { 'mcp-name': undefined }],
		['an empty Mcp-Name', { 'mcp-name': '' }],
		['another Mcp-Name', { 'mcp-name': 'other' }],
		['a Mcp-Name in other letters', { 'mcp-name': 'Echo' }],
		['another Mcp-Name in base64', { 'mcp-name': '=?base64?b3RoZXI=?=' }],
		['a Mcp-Name in base64 that is none', { 'mcp-name': '=?base64?!!!!?=' }],
		['a Mcp-Name in base64 without its padding', { 'mcp-name': '=?base64?ZWNobw?=' }],
		['a Mcp-Name in base64 that is no UTF-8', { 'mcp-name': '=?base64?/////w==?=' }],
		['a Mcp-Name with the base64 and not its marks', { 'mcp-name': 'ZWNobw==' }],
	];
	test('a call with any of the headers missing or wrong is refused with 400 and -32020, and starts nothing', async (t) => {
		const stack = await startHttpStack(t);
		const client = new ModernHttp(stack);
		for (const [what, headers] of refused) {
			const { status, rpc, headers: answered } = await client.send('tools/call', TOOL, { id: 'mine', headers });
			assert.equal(status, 400, what);
			assert.equal(rpc.error?.code, -32020, what);
			assert.equal(rpc.id, 'mine', what);
			assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_HEADER_MISMATCH', what);
			assert.equal(rpc.error?.data?.['requestId'], answered['x-request-id']);
		}
		assert.equal(stack.launcher.launches, 0);
	});

	const named: [method: string, params: Record<string, unknown>][] = [
		['tools/call', { name: 'echo' }],
		['tools/call', { name: 'grüße 😀' }],
		['tools/call', { name: ' spaced ' }],
		['tools/call', { name: '=?base64?ZWNobw==?=' }],
		['prompts/get', { name: 'p' }],
		['resources/read', { uri: 'file:///a%20b?c=d#e' }],
		['tasks/get', { taskId: 't-1' }],
		['tasks/cancel', { taskId: 't-1' }],
	];
	test('a name in plain letters or in base64 passes, for every method that has one', async (t) => {
		const { client, instance } = await open(t);
		for (const [method, params] of named) {
			const value = String(Object.values(params)[0]);
			const encoded = `=?base64?${Buffer.from(value).toString('base64')}?=`;
			const spellings = /^[!-~]+$/.test(value) && !value.startsWith('=?') ? [value, encoded] : [encoded];
			for (const name of spellings) {
				const answering = client.send(method, params, { headers: { 'mcp-name': name } });
				const heard = await answerNext(instance, method);
				assert.equal(Object.values(heard.params ?? {})[0], value);
				assert.equal((await answering).status, 200, `${method} ${name}`);
			}
		}
	});

	test('each of these methods needs its name', async (t) => {
		const { stack, instance } = await open(t);
		const client = new ModernHttp(stack);
		for (const [method, params] of named) {
			for (const name of [undefined, 'another']) {
				const { status, rpc } = await client.send(method, params, { headers: { 'mcp-name': name } });
				assert.equal(status, 400, method);
				assert.equal(rpc.error?.code, -32020);
			}
		}
		assert.deepEqual(methodsTo(instance), ['server/discover', 'tools/list']);
	});

	test('bytes that are no UTF-8 are no name, not even that of the character which stands for such', async (t) => {
		const { client } = await open(t);
		const { status } = await client.send(
			'tools/call',
			{ name: '\ufffd' },
			{ headers: { 'mcp-name': '=?base64?/w==?=' } },
		);
		assert.equal(status, 400);
	});

	test('a call without a name is the business of the server; a name in the header alone is not', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('tools/call', {});
		instance.say(
			failure((await instance.hearRequest('tools/call')).id, { code: -32602, message: 'A name is required' }),
		);
		assert.equal((await answering).rpc.error?.message, 'A name is required');
		const { status } = await client.send('tools/call', {}, { headers: { 'mcp-name': 'echo' } });
		assert.equal(status, 400);
	});

	test('a name of a method that has none is not looked at', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('tools/list', {}, { headers: { 'mcp-name': 'whatever' } });
		await answerNext(instance, 'tools/list');
		assert.equal((await answering).status, 200);
	});
});

describe('arguments that a tool wants repeated in headers', () => {
	const inputSchema = {
		type: 'object',
		properties: {
			region: { type: 'string', 'x-mcp-header': 'Region' },
			count: { type: 'integer', 'x-mcp-header': 'Count' },
			dry: { type: 'boolean', 'x-mcp-header': 'Dry-Run' },
			deep: { type: 'object', properties: { id: { type: 'string', 'x-mcp-header': 'Deep' } } },
			list: { type: 'array', 'x-mcp-header': 'List' },
			ratio: { type: 'number', 'x-mcp-header': 'Ratio' },
			odd: { type: 'string', 'x-mcp-header': 'not a name' },
			free: { type: 'string' },
		},
	};
	const tools = [{ name: 'regional', inputSchema }, { name: 'plain' }];
	const call = (client: ModernHttp, args: object, headers: Record<string, string> = {}, name = 'regional') =>
		client.begin('tools/call', { name, arguments: args }, { headers });

	const good: [args: object, headers: Record<string, string>][] = [
		[{ region: 'eu-1' }, { 'mcp-param-region': 'eu-1' }],
		[{ region: 'Zürich' }, { 'mcp-param-region': '=?base64?WsO8cmljaA==?=' }],
		[{ region: '' }, { 'mcp-param-region': '' }],
		[{ count: 3 }, { 'Mcp-Param-Count': '3' }],
		[{ count: 3 }, { 'Mcp-Param-Count': '3.0' }],
		[{ dry: false }, { 'Mcp-Param-Dry-Run': 'false' }],
		[{ deep: { id: 'x' } }, { 'mcp-param-deep': 'x' }],
		[{ free: 'y', list: ['z'], ratio: 1.5, odd: 'o' }, {}],
		[{}, {}],
	];
	const bad: [args: object, headers: Record<string, string>][] = [
		[{ region: 'eu-1' }, {}],
		[{ region: 'eu-1' }, { 'mcp-param-region': 'eu-2' }],
		[{ region: 'eu-1' }, { 'mcp-param-region': '=?base64?eu-1?=' }],
		[{ region: 'eu-1', count: 3 }, { 'mcp-param-region': 'eu-1' }],
		[{ count: 3 }, { 'mcp-param-count': '4' }],
		[{ count: 3 }, { 'mcp-param-count': '0x3' }],
		[{ dry: true }, { 'mcp-param-dry-run': 'True' }],
		[{ deep: { id: 'x' } }, {}],
	];

	test('are compared once the tool was listed, and the call is refused with -32020 where they differ', async (t) => {
		const { client, instance } = await open(t, { tools });
		for (const [args, headers] of good) {
			const answering = call(client, args, headers).reply();
			await answerNext(instance, 'tools/call');
			assert.equal((await answering).status, 200, JSON.stringify([args, headers]));
		}
		const before = instance.received.length;
		const { status, rpc } = await call(client, { region: null }).reply();
		assert.deepEqual([status, rpc.result?.['isError']], [200, true], 'no header is due for what the schema refuses');
		for (const [args, headers] of bad) {
			const { status, rpc } = await call(client, args, headers).reply();
			assert.equal(status, 400, JSON.stringify([args, headers]));
			assert.equal(rpc.error?.code, -32020);
			assert.match(String(rpc.error?.message), /mcp-param-.*arguments\./);
		}
		assert.equal(instance.received.length, before);
	});

	test('are no matter before it is known, with another tool, or at another server', async (t) => {
		const { stack, client, instance } = await open(t);
		const early = call(client, { region: 'eu-1' }).reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await early).status, 200);
		const listing = client.send('tools/list');
		await answerNext(instance, 'tools/list', { tools });
		await listing;
		assert.equal((await call(client, { region: 'eu-1' }).reply()).status, 400);
		const other = call(client, { region: 'eu-1' }, {}, 'plain').reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await other).status, 200);
		const elsewhere = call(new ModernHttp(stack, { path: '/servers/beta/mcp' }), { region: 'eu-1' }).reply();
		const beta = await instanceOf(stack.launcher, 'beta');
		await speakModern(beta);
		await answerNext(beta, 'tools/call');
		assert.equal((await elsewhere).status, 200);
	});

	test('are no matter any more when the tool was listed without them', async (t) => {
		const { stack, client, instance } = await open(t, { tools });
		stack.launcher.state = { ...stack.launcher.state, servers: [serverView('alpha', { pin: 'off' })] };
		const listing = client.send('tools/list');
		await answerNext(instance, 'tools/list', { tools: [{ name: 'regional', inputSchema: { type: 'object' } }] });
		await listing;
		const answering = call(client, { region: 'eu-1' }).reply();
		await answerNext(instance, 'tools/call');
		assert.equal((await answering).status, 200);
	});
});

describe('what every request says in `_meta`', () => {
	const broken: [what: string, meta: Record<string, unknown> | undefined][] = [
		['nothing', undefined],
		['no revision', { [`${META}protocolVersion`]: undefined }],
		['a revision that is no text', { [`${META}protocolVersion`]: 20260728 }],
		['no capabilities', { [`${META}clientCapabilities`]: undefined }],
		['capabilities that are no object', { [`${META}clientCapabilities`]: [] }],
		['capabilities that are null', { [`${META}clientCapabilities`]: null }],
	];
	for (const [what, meta] of broken) {
		test(`${what}: refused with 400 and -32602, and the id of the request`, async (t) => {
			const stack = await startHttpStack(t);
			const params = { ...TOOL, ...(meta === undefined ? {} : { _meta: { ...modernMeta(), ...meta } }) };
			const body = { jsonrpc: '2.0', id: 7, method: 'tools/call', params };
			const { status, rpc } = await new ModernHttp(stack).post(body, modernHeaders('tools/call', TOOL)).reply();
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32602);
			assert.equal(rpc.id, 7);
			assert.equal(stack.launcher.launches, 0);
		});
	}

	test('need not name the client', async (t) => {
		const stack = await startHttpStack(t);
		const { [`${META}clientInfo`]: _, ...anonymous } = modernMeta();
		const body = { jsonrpc: '2.0', id: 1, method: 'tools/list', params: { _meta: anonymous } };
		const answering = new ModernHttp(stack).post(body, modernHeaders('tools/list')).reply();
		const instance = await instanceOf(stack.launcher, 'alpha');
		assert.equal(typeof (await speakModern(instance))[`${META}clientInfo`], 'object');
		const { params } = await answerNext(instance, 'tools/list');
		assert.deepEqual(metaIn({ params }), anonymous, 'nothing is added to what a client says itself');
		assert.equal((await answering).status, 200);
	});
});

describe('a revision that is not spoken here', () => {
	test('is refused with 400 and -32022, with what is spoken and what was asked for', async (t) => {
		const stack = await startHttpStack(t);
		const client = new ModernHttp(stack);
		const claiming = { meta: { [`${META}protocolVersion`]: '2027-01-01' } };
		const headers = { 'mcp-protocol-version': '2027-01-01' };
		const answers = [
			await client.send('tools/list', {}, { ...claiming, headers, id: 1 }),
			await client.post(call(1), { ...modernHeaders('tools/call', TOOL), ...headers }).reply(),
			await client.post(notification('notifications/x'), headers).reply(),
		];
		for (const { status, rpc } of answers) {
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32022);
			assert.equal(rpc.error?.data?.['requested'], '2027-01-01');
			const supported = rpc.error?.data?.['supported'];
			assert.ok(Array.isArray(supported));
			for (const revision of ['2026-07-28', '2025-11-25', '2025-06-18', '2025-03-26'])
				assert.ok(supported.includes(revision), revision);
		}
		assert.deepEqual(
			answers.map(({ rpc }) => rpc.id),
			[1, 1, null],
		);
		assert.equal(stack.launcher.launches, 0);
	});
});

describe('methods', () => {
	test('that the revision removed are refused with 404 and -32601 and the id, and no server hears of them', async (t) => {
		const { client, instance } = await open(t);
		for (const method of ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe']) {
			const { status, rpc, headers } = await client.send(method, { uri: 'a:b', level: 'info' }, { id: method });
			assert.equal(status, 404, method);
			assert.equal(rpc.error?.code, -32601);
			assert.equal(rpc.id, method);
			assert.equal(headers['mcp-session-id'], undefined);
		}
		assert.deepEqual(methodsTo(instance), ['server/discover', 'tools/list']);
	});

	const statuses: [code: number, status: number][] = [
		[-32601, 404],
		[-32020, 400],
		[-32021, 400],
		[-32022, 400],
		[-32602, 200],
		[-32603, 200],
		[-32000, 200],
		[-32001, 200],
		[-32700, 200],
		[42, 200],
	];
	test("a server's error has the status that the revision has for it, and every word of the server", async (t) => {
		const { client, instance } = await open(t);
		for (const [code, status] of statuses) {
			const answering = client.send('x/y', {}, { id: 'e' });
			const error = { code, message: 'its words', data: { requiredCapabilities: { sampling: {} }, more: [1] } };
			instance.say(failure((await instance.hearRequest('x/y')).id, error));
			const answer = await answering;
			assert.equal(answer.status, status, String(code));
			assert.deepEqual(answer.rpc, { jsonrpc: '2.0', id: 'e', error });
		}
	});

	test('an error that comes on a stream is its last event', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('x', {}, { id: 1, meta: { progressToken: 'p' } }).stream();
		const { id, params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken']));
		instance.say(failure(id, { code: -32601, message: 'gone' }));
		const events = await streaming;
		assert.equal(events.status, 200);
		const rest = await events.rest();
		assert.deepEqual(rest, [progress('p'), { jsonrpc: '2.0', id: 1, error: { code: -32601, message: 'gone' } }]);
	});

	test('GET and DELETE are not allowed, with or without the id of a session', async (t) => {
		const { stack, instance } = await open(t);
		for (const method of ['GET', 'DELETE', 'PUT']) {
			for (const more of [{}, { 'mcp-session-id': 'abc' }, { 'mcp-protocol-version': '2027-01-01' }]) {
				const { status } = await stack.send({
					method,
					path: '/servers/alpha/mcp',
					headers: { ...AUTHORIZATION, accept: 'text/event-stream', 'mcp-protocol-version': '2026-07-28', ...more },
				});
				assert.equal(status, 405, method);
			}
		}
		assert.ok(stack.launcher.live.has(instance));
	});
});

test('an Mcp-Session-Id is never given, and one that is sent is not looked at', async (t) => {
	const { stack, client, instance } = await open(t);
	const { id: session } = await stack.open();
	for (const sent of ['nonsense', session]) {
		const answering = client.send('tools/list', {}, { headers: { 'mcp-session-id': sent } });
		await answerNext(instance, 'tools/list');
		const { status, headers } = await answering;
		assert.equal(status, 200);
		assert.equal(headers['mcp-session-id'], undefined);
	}
	const refused = await client.send('ping', {}, { headers: { 'mcp-session-id': session } });
	assert.equal(refused.headers['mcp-session-id'], undefined);
});

describe('a POST that is no request:', () => {
	test('a notification is answered 202 with no body and reaches no server', async (t) => {
		const { client, instance } = await open(t);
		const bodies = [
			notification('notifications/cancelled', { requestId: 1, _meta: modernMeta() }),
			notification('notifications/roots/list_changed', { _meta: modernMeta() }),
			notification('notifications/initialized'),
		];
		for (const body of bodies) {
			const { status, text } = await client.post(body, { 'mcp-protocol-version': '2026-07-28' }).reply();
			assert.equal(status, 202);
			assert.equal(text, '');
		}
		const answering = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		await answering;
		assert.deepEqual(methodsTo(instance), ['server/discover', 'tools/list', 'tools/list']);
	});

	test('a response is refused with 400 and reaches no server', async (t) => {
		const { client, instance } = await open(t);
		for (const body of [result(1), failure(1, { code: -1, message: 'no' })]) {
			const { status, rpc } = await client.post(body, { 'mcp-protocol-version': '2026-07-28' }).reply();
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32600);
		}
		assert.equal(instance.received.length, 2);
	});

	test('a batch is refused with 400 and -32600, whatever revision its header names', async (t) => {
		const { stack, client, instance } = await open(t);
		const modern = modernRequest('tools/list');
		const headers = { 'mcp-protocol-version': '2026-07-28' };
		const answers = [
			await client.post([modern], headers).reply(),
			await client.post([call(1)], headers).reply(),
			await client.post([], headers).reply(),
			await client.post([modern]).reply(),
		];
		const session = await stack.open('alpha', { revision: '2025-03-26' });
		answers.push(await session.post([call(1), modern]), await session.post([modern, call(1)], headers));
		for (const { status, rpc } of answers) {
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32600);
		}
		assert.equal(instance.received.length, 2);
		assert.deepEqual(methodsTo(session.instance), ['initialize'], 'nothing of it reached the session');
	});

	test('a client that accepts no stream, or no JSON, is told so with 406', async (t) => {
		const { client } = await open(t);
		for (const accept of ['application/json', 'text/event-stream'])
			assert.equal((await client.send('tools/list', {}, { headers: { accept } })).status, 406);
	});
});

describe('two requests at once', () => {
	for (const [who, names] of [
		['of two clients', ['one', 'two']],
		['of one client', ['one', 'one']],
	] as const) {
		test(`${who} with the same id and the same progress token stay apart`, async (t) => {
			const { stack, instance } = await open(t);
			const streaming = ['a', 'b'].map((tool, index) =>
				new ModernHttp(stack, { clientInfo: { name: names[index] ?? '', version: '1' } })
					.call(tool, {}, { id: 1, meta: { progressToken: 1 } })
					.stream(),
			);
			const calls = new Map<unknown, { id: number; token: unknown }>();
			for (const _ of streaming) {
				const { id, params } = await instance.hearRequest('tools/call');
				calls.set(params?.['name'], { id, token: metaIn({ params })['progressToken'] });
			}
			const [a, b] = [calls.get('a'), calls.get('b')];
			assert.ok(a && b);
			assert.notEqual(a.id, b.id);
			assert.notEqual(a.token, b.token);
			instance.say(progress(b.token, 20));
			instance.say(progress(a.token, 10));
			instance.say(result(b.id, { of: 'b' }));
			instance.say(progress(b.token, 21));
			instance.say(result(a.id, { of: 'a' }));
			const [ofA, ofB] = await Promise.all(streaming.map(async (opening) => (await opening).rest()));
			assert.deepEqual(ofA, [progress(1, 10), result(1, { of: 'a' })]);
			assert.deepEqual(ofB, [progress(1, 20), result(1, { of: 'b' })]);
		});
	}

	test('that are withdrawn one after the other are withdrawn one by one', async (t) => {
		const { client, instance } = await open(t);
		const first = client.call('first', {}, { id: 1 });
		const { id } = await instance.hearRequest('tools/call');
		const second = client.call('second', {}, { id: 1 });
		const other = await instance.hearRequest('tools/call');
		first.disconnect();
		assert.equal((await instance.hear()).params?.['requestId'], id);
		instance.say(result(id, { late: true }));
		instance.say(result(other.id, { right: true }));
		assert.deepEqual((await second.reply()).rpc, result(1, { right: true }));
	});
});

describe('a client that hangs up', () => {
	test('withdraws its request: the server hears it once, in its envelope, and a late answer goes nowhere', async (t) => {
		const { client, instance } = await open(t);
		const calling = client.call('slow', {}, { id: 'mine' });
		const { id } = await instance.hearRequest('tools/call');
		calling.disconnect();
		const cancelled = await instance.hear();
		assert.equal(cancelled.method, 'notifications/cancelled');
		assert.equal(cancelled.id, undefined);
		assert.equal(cancelled.params?.['requestId'], id);
		assert.deepEqual(Object.keys(metaIn(cancelled)).sort(), [
			`${META}clientCapabilities`,
			`${META}clientInfo`,
			`${META}protocolVersion`,
		]);
		instance.say(result(id, { late: true }));
		const answering = client.send('tools/call', TOOL, { id: 'mine' });
		const next = await instance.hearRequest('tools/call');
		instance.say(result(id, { late: true }));
		instance.say(result(next.id, { right: true }));
		assert.deepEqual((await answering).rpc, result('mine', { right: true }));
		assert.deepEqual(methodsTo(instance).slice(2), ['tools/call', 'notifications/cancelled', 'tools/call']);
	});

	test('in the middle of its stream withdraws its request too', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('slow', {}, { meta: { progressToken: 'p' } }).stream();
		const { id, params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken']));
		const events = await streaming;
		await events.next();
		events.destroy();
		assert.equal((await instance.hear()).params?.['requestId'], id);
		// What it says of it afterwards is nobody's.
		instance.say(progress(metaIn({ params })['progressToken']));
		const answering = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		assert.equal((await answering).headers['content-type'], 'application/json');
	});

	test('after its answer withdraws nothing', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('x', {}, { meta: { progressToken: 'p' } }).stream();
		const { id, params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken']));
		instance.say(result(id));
		const events = await streaming;
		await events.rest();
		events.destroy();
		const answering = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		await answering;
		assert.deepEqual(methodsTo(instance).slice(2), ['tools/call', 'tools/list']);
	});

	test('while its server starts, alone, has the start given up', async (t) => {
		const stack = await startHttpStack(t);
		stack.launcher.beforeLaunch = () => new Promise(() => undefined);
		const pending = new ModernHttp(stack).begin('tools/list');
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		pending.disconnect();
		await stack.launcher.aborted.next();
		assert.equal(stack.launcher.live.size, 0);
	});

	test('while its server starts, beside another, is not sent to the server; the other is', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const client = new ModernHttp(stack);
		const gone = client.call('gone');
		const stays = client.call('stays');
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		gone.disconnect();
		await assert.rejects(gone.response);
		await stack.send({ path: '/health' });
		launch.resolve();
		const instance = await instanceOf(stack.launcher, 'alpha');
		await speakModern(instance);
		const { params } = await answerNext(instance, 'tools/call');
		assert.equal(params?.['name'], 'stays');
		assert.equal((await stays.reply()).status, 200);
		assert.deepEqual(methodsTo(instance), ['server/discover', 'tools/call']);
		assert.equal(stack.launcher.launches, 1);
	});
});

describe('subscriptions/listen', () => {
	const listen = (client: ModernHttp, id: string | number, options: ModernOptions = {}) =>
		client.begin('subscriptions/listen', { notifications: { toolsListChanged: true } }, { id, ...options }).stream();

	test('every message has the id that its client gave, number or text, of two listeners at once', async (t) => {
		const { client, instance } = await open(t);
		const opening = [listen(client, 9), listen(client, 'nine')];
		const wires: number[] = [];
		for (const _ of opening) {
			const { id, params } = await instance.hearRequest('subscriptions/listen');
			assert.deepEqual(params?.['notifications'], { toolsListChanged: true });
			wires.push(id);
			instance.say(acknowledged(id));
		}
		const [nine, text] = await Promise.all(opening);
		assert.ok(nine && text);
		assert.equal(nine.headers['content-type'], 'text/event-stream');
		assert.equal(nine.headers['x-accel-buffering'], 'no');
		const [first, second] = wires as [number, number];
		instance.say(tagged(LIST_CHANGED, second, { which: 2 }));
		instance.say(tagged(LIST_CHANGED, first, { which: 1 }));
		assert.deepEqual([await nine.next(), await nine.next()], [acknowledged(9), tagged(LIST_CHANGED, 9, { which: 1 })]);
		assert.deepEqual(
			[await text.next(), await text.next()],
			[acknowledged('nine'), tagged(LIST_CHANGED, 'nine', { which: 2 })],
		);
	});

	test('what has no listener, or one that is not there, goes nowhere', async (t) => {
		const { client, instance } = await open(t);
		const opening = listen(client, 1);
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id));
		instance.say(notification(LIST_CHANGED));
		instance.say(tagged(LIST_CHANGED, 4711));
		instance.say(tagged(LIST_CHANGED, String(id)));
		instance.say(logLine('nobody asked'));
		instance.say(tagged(LIST_CHANGED, id, { last: true }));
		const events = await opening;
		assert.deepEqual(
			[await events.next(), await events.next()],
			[acknowledged(1), tagged(LIST_CHANGED, 1, { last: true })],
		);
	});

	test('a listener that hangs up is cancelled at the server in its envelope, and the other goes on', async (t) => {
		const { client, instance } = await open(t);
		const opening = [listen(client, 'a'), listen(client, 'b')];
		const first = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(first.id));
		const second = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(second.id));
		const [a, b] = await Promise.all(opening);
		assert.ok(a && b);
		await Promise.all([a.next(), b.next()]);
		const wireOfA = a.texts[0]?.includes('"a"') ? first.id : second.id;
		a.destroy();
		const cancelled = await instance.hear();
		assert.equal(cancelled.method, 'notifications/cancelled');
		assert.equal(cancelled.params?.['requestId'], wireOfA);
		assert.equal(metaIn(cancelled)[`${META}protocolVersion`], '2026-07-28');
		instance.say(tagged(LIST_CHANGED, first.id));
		instance.say(tagged(LIST_CHANGED, second.id));
		assert.deepEqual(await b.next(), tagged(LIST_CHANGED, 'b'));
	});

	test('an end that the server gives with a result is told as one, and closes the stream', async (t) => {
		const { client, instance } = await open(t);
		const opening = listen(client, 'l');
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id));
		instance.say(result(id, { resultType: 'complete', _meta: { [SUBSCRIPTION]: id, x: 1 } }));
		const events = await opening;
		assert.deepEqual(await events.rest(), [
			acknowledged('l'),
			result('l', { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'l', x: 1 } }),
		]);
		assert.equal(await events.closed, true);
	});

	test('an end that the server gives with a cancellation closes the stream', async (t) => {
		const { client, instance } = await open(t);
		const opening = listen(client, 'l');
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id));
		instance.say(notification('notifications/cancelled', { requestId: id, reason: 'over' }));
		const events = await opening;
		assert.deepEqual(await events.rest(), [acknowledged('l')]);
		assert.equal(await events.closed, true);
	});

	test('lasts as long as its client wants, is kept alive, and keeps its Instance', async (t) => {
		const { stack, client, instance } = await open(t);
		const opening = listen(client, 1);
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id));
		const events = await opening;
		await events.next();
		for (let i = 0; i < 4; i++) stack.later(SESSION_LIMITS.idleMs / 2);
		assert.equal(await events.comments.next(), 'keep-alive');
		await settled(stack);
		assert.equal(instance.stopped, undefined);
		instance.say(tagged(LIST_CHANGED, id));
		assert.deepEqual(await events.next(), tagged(LIST_CHANGED, 1));
		events.destroy();
		await instance.hear();
		stack.later(SESSION_LIMITS.idleMs + 1);
		await instance.ended;
	});

	test('of a server that dies ends with why', async (t) => {
		const { client, instance } = await open(t);
		const opening = listen(client, 'l');
		const { id } = await instance.hearRequest('subscriptions/listen');
		instance.say(acknowledged(id));
		const events = await opening;
		await events.next();
		instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
		const [error] = await events.rest();
		assert.equal(error?.id, 'l');
		assert.equal(error?.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
	});

	test('is not waited for at the end, and is ended with the gateway', async (t) => {
		const { stack, client, instance } = await open(t);
		const opening = listen(client, 'l');
		instance.say(acknowledged((await instance.hearRequest('subscriptions/listen')).id));
		const events = await opening;
		await events.next();
		await stack.gateway.stop();
		const [last] = await events.rest();
		assert.equal(last?.id, 'l');
		assert.equal(await events.closed, true);
	});

	test(`beyond ${SESSION_LIMITS.lastingMax} at one server one is told so with 429; calls still pass`, async (t) => {
		const { client, instance } = await open(t);
		const listeners = Array.from({ length: SESSION_LIMITS.lastingMax }, (_, id) => listen(client, id));
		for (const _ of listeners) instance.say(acknowledged((await instance.hearRequest('subscriptions/listen')).id));
		const streams = await Promise.all(listeners);
		const { status, rpc } = await client.send('subscriptions/listen', { notifications: {} });
		assert.equal(status, 429);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_CALLS_FULL');
		const answering = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		assert.equal((await answering).status, 200);
		streams[0]?.destroy();
		await instance.hear();
		const again = listen(client, 'again');
		instance.say(acknowledged((await instance.hearRequest('subscriptions/listen')).id));
		assert.equal((await again).status, 200);
	});
});

describe('over time:', () => {
	test('a request waits through a slow start on a stream that is kept alive', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const streaming = new ModernHttp(stack).begin('tools/list', {}, { id: 5 }).stream();
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const events = await streaming;
		assert.equal(events.status, 200);
		for (let i = 0; i < 2; i++) {
			stack.later(SSE_LIMITS.keepAliveMs + 1);
			assert.equal(await events.comments.next(), 'keep-alive');
		}
		launch.resolve();
		const instance = await instanceOf(stack.launcher, 'alpha');
		await speakModern(instance);
		await answerNext(instance, 'tools/list', { tools: [] });
		assert.deepEqual(await events.rest(), [result(5, { tools: [] })]);
	});

	test('a slow start that fails is told on the stream', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const streaming = new ModernHttp(stack).begin('tools/list', {}, { id: 5 }).stream();
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const events = await streaming;
		launch.reject(new Error('none of your business'));
		const [error] = await events.rest();
		assert.equal(error?.id, 5);
		assert.equal(error?.error?.code, -32603);
	});

	test('a server that dies fails every request in flight; the next starts another, and nothing is sent twice', async (t) => {
		const { stack, client, instance } = await open(t);
		const plain = client.call('one', {}, { id: 1 }).reply();
		await instance.hearRequest('tools/call');
		const streaming = client.call('two', {}, { id: 2, meta: { progressToken: 'p' } }).stream();
		const { params } = await instance.hearRequest('tools/call');
		instance.say(progress(metaIn({ params })['progressToken']));
		const events = await streaming;
		await events.next();
		instance.end({ cause: 'exited', exitCode: 3, stderr: 'boom' });
		const { status, rpc } = await plain;
		assert.equal(status, 200);
		for (const [id, message] of [
			[1, rpc],
			[2, await events.next()],
		] as const) {
			assert.equal(message.id, id);
			assert.equal(message.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
			assert.equal(message.error?.data?.['stderr'], 'boom');
		}
		const answering = client.send('tools/list');
		const next = await instanceOf(stack.launcher, 'alpha', 1);
		await speakModern(next);
		await answerNext(next, 'tools/list');
		assert.equal((await answering).status, 200);
	});

	test('a call that takes too long is failed, and withdrawn at the server in its envelope', async (t) => {
		const { stack, client, instance } = await open(t, { server: 'quick' });
		const calling = client.call('slow').reply();
		const { id } = await instance.hearRequest('tools/call');
		stack.later(5001);
		assert.equal((await calling).rpc.error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
		const cancelled = await instance.hear();
		assert.equal(cancelled.params?.['requestId'], id);
		assert.equal(metaIn(cancelled)[`${META}protocolVersion`], '2026-07-28');
	});

	test('an Instance that nobody asks for long is ended, and the next request has a new one', async (t) => {
		const { stack, client, instance } = await open(t);
		stack.later(INSTANCE_LIMITS.idleStopMs - MINUTE);
		const answering = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		await answering;
		stack.later(INSTANCE_LIMITS.idleStopMs - MINUTE);
		await settled(stack);
		assert.equal(instance.stopped, undefined, 'a request has kept it');
		stack.later(2 * MINUTE);
		await instance.ended;
		assert.equal(instance.stopped, 'patient');
		const next = client.send('tools/list');
		const another = await instanceOf(stack.launcher, 'alpha', 1);
		await speakModern(another);
		await answerNext(another, 'tools/list');
		assert.equal((await next).status, 200);
	});

	test('a server that left the catalog finishes what it does, and is ended', async (t) => {
		const { stack, client, instance } = await open(t);
		const calling = client.call('x').reply();
		const { id } = await instance.hearRequest('tools/call');
		stack.launcher.state = { ...stack.launcher.state, servers: [] };
		stack.later(0);
		assert.equal((await client.send('tools/list')).status, 404);
		assert.equal(instance.stopped, undefined);
		instance.say(result(id));
		assert.equal((await calling).status, 200);
		stack.later(0);
		await instance.ended;
	});

	test('while the gateway drains, what runs may finish and what is new is refused with 503', async (t) => {
		const { stack, client, instance } = await open(t);
		const calling = client.call('x', {}, { id: 1 }).reply();
		const { id } = await instance.hearRequest('tools/call');
		const stopping = stack.gateway.stop();
		const { status, headers, rpc } = await client.send('tools/list', {}, { id: 2 });
		assert.equal(status, 503);
		assert.equal(headers['retry-after'], '1');
		assert.equal(rpc.id, 2);
		assert.equal(instance.stopped, undefined, 'it is waited for');
		instance.say(result(id, { in: 'time' }));
		assert.deepEqual((await calling).rpc, result(1, { in: 'time' }));
		await stopping;
		assert.equal(instance.stopped, 'prompt');
		assert.equal(stack.launcher.live.size, 0);
	});
});

describe('who shares an Instance', () => {
	test('all clients of one caller, whatever they say of themselves, since the server is told with each request', async (t) => {
		const { stack, instance } = await open(t);
		for (const claims of [
			{ clientInfo: { name: 'other', version: '2' } },
			{ capabilities: { sampling: {} } },
			{ logLevel: 'debug' },
		]) {
			const answering = new ModernHttp(stack, claims).send('tools/list');
			const { params } = await answerNext(instance, 'tools/list');
			assert.deepEqual(metaIn({ params }), modernMeta(claims));
			assert.equal((await answering).status, 200);
		}
		assert.equal(stack.launcher.launches, 1);
	});

	test('no two callers', async (t) => {
		allowKeys(t, 'other');
		const { stack, client, instance } = await open(t);
		const answering = new ModernHttp(stack, { key: 'other' }).send('tools/list');
		const others = await instanceOf(stack.launcher, 'alpha', 1);
		await speakModern(others);
		await answerNext(others, 'tools/list', { tools: [{ name: 'theirs' }] });
		assert.equal((await answering).status, 200);
		const mine = client.send('tools/list');
		await answerNext(instance, 'tools/list');
		assert.equal((await mine).status, 200);
		assert.equal(stack.launcher.launches, 2);
		assert.equal((await new ModernHttp(stack, { key: 'nobody' }).send('tools/list')).status, 401);
	});

	test('no session of the first era', async (t) => {
		const { stack, instance } = await open(t);
		const session = await stack.open();
		assert.notEqual(session.instance, instance);
	});

	/** Two first requests of two clients at once, before it is known that they may share. */
	async function race(stack: HttpStack) {
		const pending = ['one', 'two'].map((name) =>
			new ModernHttp(stack, { clientInfo: { name, version: '1' } }).call(name, {}, { id: name }),
		);
		const instances = [await instanceOf(stack.launcher, 'alpha'), await instanceOf(stack.launcher, 'alpha', 1)];
		for (const instance of instances) await speakModern(instance);
		const [kept, spare] = instances as [FakeInstance, FakeInstance];
		const wires = new Map<unknown, number>();
		for (const _ of pending) {
			const { id, params } = await kept.hearRequest('tools/call');
			wires.set(params?.['name'], id);
		}
		await spare.ended;
		return { pending, kept, spare, wires };
	}

	test('two clients whose first requests come at once: the spare Instance is ended, and both are answered', async (t) => {
		const stack = await startHttpStack(t);
		const { pending, kept, spare, wires } = await race(stack);
		for (const [name, id] of wires) kept.say(result(id, { of: name }));
		const answers = await Promise.all(pending.map((one) => one.reply()));
		assert.deepEqual(
			answers.map(({ rpc }) => rpc),
			[result('one', { of: 'one' }), result('two', { of: 'two' })],
		);
		assert.deepEqual(methodsTo(spare), ['server/discover']);
		assert.deepEqual([...stack.launcher.live], [kept]);
	});

	test('of these two each is kept alive, and withdraws its own request', async (t) => {
		const stack = await startHttpStack(t);
		const { pending, kept, wires } = await race(stack);
		stack.later(SSE_LIMITS.openAfterMs + 1);
		const streams = await Promise.all(pending.map((one) => one.stream()));
		stack.later(SSE_LIMITS.keepAliveMs + 1);
		for (const stream of streams) assert.equal(await stream.comments.next(), 'keep-alive');
		for (const [index, name] of ['one', 'two'].entries()) {
			streams[index]?.destroy();
			assert.equal((await kept.hear()).params?.['requestId'], wires.get(name));
		}
	});

	test('of these two none is ended as idle while a client of the other listens', async (t) => {
		const stack = await startHttpStack(t);
		const pending = ['one', 'two'].map((name) =>
			new ModernHttp(stack, { clientInfo: { name, version: '1' } }).begin(
				'subscriptions/listen',
				{ notifications: {} },
				{ id: name },
			),
		);
		const instances = [await instanceOf(stack.launcher, 'alpha'), await instanceOf(stack.launcher, 'alpha', 1)];
		for (const instance of instances) await speakModern(instance);
		const [kept, spare] = instances as [FakeInstance, FakeInstance];
		const wires: number[] = [];
		for (const _ of pending) {
			const { id } = await kept.hearRequest('subscriptions/listen');
			kept.say(acknowledged(id));
			wires.push(id);
		}
		await spare.ended;
		const streams = await Promise.all(pending.map((one) => one.stream()));
		for (const stream of streams) await stream.next();
		// The first has the Instance; the listener of the other must keep it.
		streams[0]?.destroy();
		await kept.hear();
		stack.later(SESSION_LIMITS.idleMs + MINUTE);
		await settled(stack);
		assert.equal(kept.stopped, undefined);
		kept.say(tagged(LIST_CHANGED, wires[1] ?? -1));
		assert.deepEqual(await streams[1]?.next(), tagged(LIST_CHANGED, 'two'));
	});
});

describe('bounds:', () => {
	test(`a call beyond ${SESSION_LIMITS.inFlightMax} in flight is refused with 429`, async (t) => {
		const { client, instance } = await open(t);
		const calls = Array.from({ length: SESSION_LIMITS.inFlightMax }, () => client.call('x').reply());
		const ids: number[] = [];
		for (const _ of calls) ids.push((await instance.hearRequest('tools/call')).id);
		const { status, rpc, headers } = await client.send('tools/call', TOOL, { id: 'more' });
		assert.equal(status, 429);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_CALLS_FULL');
		assert.equal(rpc.id, 'more');
		assert.equal(headers['retry-after'], '1');
		for (const id of ids) instance.say(result(id));
		for (const answer of await Promise.all(calls)) assert.equal(answer.status, 200);
	});

	test('a caller with as many conversations as it may have is refused with 429; an idle one makes room', async (t) => {
		const { stack, client, instance } = await open(t, { stackOptions: { config: { sessionsPerPrincipalMax: 1 } } });
		const beta = new ModernHttp(stack, { path: '/servers/beta/mcp' });
		const { status, rpc } = await beta.send('tools/list');
		assert.equal(status, 429);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_SESSIONS_FULL');
		const calling = client.call('x').reply();
		const { id } = await instance.hearRequest('tools/call');
		stack.later(30_000);
		assert.equal((await beta.send('tools/list')).status, 429, 'one with a call in flight is not idle');
		instance.say(result(id));
		await calling;
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		const answering = beta.send('tools/list');
		await instance.ended;
		const other = await instanceOf(stack.launcher, 'beta');
		await speakModern(other);
		await answerNext(other, 'tools/list');
		assert.equal((await answering).status, 200);
	});

	test('sessions of the first era and conversations of the second count together, and make room for each other', async (t) => {
		const { stack, instance } = await open(t, { stackOptions: { config: { sessionsPerPrincipalMax: 2 } } });
		const session = await stack.open();
		const beta = new ModernHttp(stack, { path: '/servers/beta/mcp' });
		assert.equal((await beta.send('tools/list')).status, 429);
		stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		await stack.open('beta');
		await Promise.race([instance.ended, session.instance.ended]);
		assert.equal(stack.launcher.live.size, 2);
	});
});

describe('what passes through', () => {
	const ODD = '"a":12345678901234567890,"f":1.0,"e":1E400,"u":"\\u00e9\\/\\ud800 é😀","__proto__":{"x":1},"a":1';

	test('a request reaches the server byte for byte, but for its id and raw newlines', async (t) => {
		const { client, instance } = await open(t);
		const meta = JSON.stringify(
			modernMeta({ capabilities: { sampling: {} }, meta: { traceparent: '00-1-2-01', n: 1 } }),
		);
		const body = (at: string): string =>
			`{\n"method":"tools/call",\r\n "params" : {"name":"echo", ${ODD}, "arguments":{"id":"keep","n":12345678901234567890},"_meta":${meta}},"id": ${at} ,"jsonrpc":"2.0","extra":null}\n`;
		const answering = client.post(body('"mine"'), modernHeaders('tools/call', TOOL)).reply();
		const line = await instance.lines.next();
		const { id } = JSON.parse(line) as { id: number };
		assert.equal(line, body(String(id)).replaceAll(/[\r\n]/g, ' '));
		instance.say(result(id));
		assert.equal((await answering).rpc.id, 'mine');
	});

	test('a request with a progress token keeps every value', async (t) => {
		const { client, instance } = await open(t);
		const meta = modernMeta({ meta: { progressToken: 'p', big: 1 } });
		const metaText = JSON.stringify(meta).replace('"big":1', '"big":12345678901234567890');
		const body = `{"method":"tools/call","params":{"name":"echo",${ODD},"arguments":{"progressToken":"keep"},"_meta":${metaText}},"id":1,"jsonrpc":"2.0","extra":null}`;
		const answering = client.post(body, modernHeaders('tools/call', TOOL)).reply();
		const line = await instance.lines.next();
		const { id } = JSON.parse(line) as { id: number };
		assert.equal(line, body.replace('"progressToken":"p"', `"progressToken":${id}`).replace('"id":1', `"id":${id}`));
		instance.say(result(id));
		assert.equal((await answering).status, 200);
	});

	test('an answer reaches the client byte for byte, but for its id', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('tools/call', TOOL, { id: 'é"\\' });
		const { id } = await instance.hearRequest('tools/call');
		const body = (at: string): string =>
			`{ "result" : {"z":1,${ODD},"id":5},\t"x-unknown": [ ], "id" :${at}, "jsonrpc":"2.0"}`;
		instance.say(body(String(id)));
		assert.equal((await answering).text, body(JSON.stringify('é"\\')));
	});

	test('what comes on a stream keeps every value', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.call('echo', {}, { id: 1, meta: { progressToken: 'p' } }).stream();
		const { id } = await instance.hearRequest('tools/call');
		instance.say(
			`{"method":"notifications/progress","params":{"progressToken":${id},"progress":1.50,${ODD}},"jsonrpc":"2.0"}`,
		);
		instance.say(`{"result":{"n":0.10},"id":${id},"jsonrpc":"2.0"}`);
		const events = await streaming;
		await events.closed;
		assert.deepEqual(events.texts, [
			`{"method":"notifications/progress","params":{"progressToken":"p","progress":1.50,${ODD}},"jsonrpc":"2.0"}`,
			'{"result":{"n":0.10},"id":1,"jsonrpc":"2.0"}',
		]);
	});

	test('what comes of a subscription keeps every value', async (t) => {
		const { client, instance } = await open(t);
		const streaming = client.begin('subscriptions/listen', { notifications: {} }, { id: 'l' }).stream();
		const { id } = await instance.hearRequest('subscriptions/listen');
		const told = (at: string): string =>
			`{"jsonrpc":"2.0","x":1.0,"method":"notifications/resources/updated","params":{"uri":"a:b",${ODD},"_meta":{"y":1.0,"${SUBSCRIPTION}":${at},"z":"\\u00e9"}}}`;
		instance.say(told(String(id)));
		const events = await streaming;
		await events.next();
		assert.deepEqual(events.texts, [told('"l"')]);
	});

	test('input_required, its requestState and the answers to it are between client and server', async (t) => {
		const { client, instance } = await open(t, { capabilities: { elicitation: {} } });
		const asking = client.send('tools/call', TOOL, { id: 1 });
		const asked = {
			resultType: 'input_required',
			inputRequests: { who: { method: 'elicitation/create', params: { message: 'Who?' } } },
			requestState: '1.1.opaque',
		};
		await answerNext(instance, 'tools/call', asked);
		assert.deepEqual((await asking).rpc, result(1, asked));
		const more = { inputResponses: { who: { action: 'accept', content: {} } }, requestState: '1.1.opaque' };
		const answering = client.send('tools/call', { ...TOOL, ...more }, { id: 2 });
		const { params } = await answerNext(instance, 'tools/call', { resultType: 'complete' });
		assert.deepEqual(params, { ...TOOL, ...more, _meta: modernMeta({ capabilities: { elicitation: {} } }) });
		assert.deepEqual((await answering).rpc, result(2, { resultType: 'complete' }));
	});

	test('log lines go to the newest call that asked for them, and a question of the server is answered with an error', async (t) => {
		const { client, instance } = await open(t);
		const loud = client.call('loud', {}, { id: 'loud', logLevel: 'debug' }).stream();
		const first = await instance.hearRequest('tools/call');
		const quiet = client.call('quiet', {}, { id: 'quiet' }).reply();
		const second = await instance.hearRequest('tools/call');
		instance.say(logLine('for the loud one', 'debug'));
		instance.say({ jsonrpc: '2.0', id: 'q', method: 'roots/list' });
		assert.equal((await instance.hear()).error?.data?.['code'], 'SLIPWAY_CLIENT_GONE');
		instance.say(result(second.id));
		instance.say(result(first.id));
		assert.deepEqual(await (await loud).rest(), [logLine('for the loud one', 'debug'), result('loud')]);
		assert.equal((await quiet).headers['content-type'], 'application/json');
	});
});

describe('server/discover', () => {
	test('is answered by the server, with all the revisions that are spoken here', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('server/discover', {}, { id: 'd' });
		const { id } = await instance.hearRequest('server/discover');
		instance.say(
			`{"jsonrpc":"2.0","id":${id},"result":{"x":1.0,"supportedVersions":["2026-07-28"],"capabilities":{"big":12345678901234567890},"resultType":"complete"}}`,
		);
		const { text, status } = await answering;
		assert.equal(status, 200);
		const versions = JSON.stringify([
			'2026-07-28',
			'2025-11-25',
			'2025-06-18',
			'2025-03-26',
			'2024-11-05',
			'2024-10-07',
		]);
		assert.equal(
			text,
			`{"jsonrpc":"2.0","id":"d","result":{"x":1.0,"supportedVersions":${versions},"capabilities":{"big":12345678901234567890},"resultType":"complete"}}`,
		);
	});

	test('that the server refuses is refused', async (t) => {
		const { client, instance } = await open(t);
		const answering = client.send('server/discover');
		instance.say(failure((await instance.hearRequest('server/discover')).id, { code: -32603, message: 'not now' }));
		assert.equal((await answering).rpc.error?.message, 'not now');
	});
});
