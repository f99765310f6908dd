/** Four servers as one: one of each era, one that cannot be started, and one that takes longer than a list waits. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createCatalog } from '../../src/catalog/catalog.ts';
import type { ServerName } from '../../src/ids.ts';
import * as data from '../fixtures/conformance-data.ts';
import { askedIn, ModernClient } from '../support/client-modern.ts';
import { answerOf, RawClient, type Reply, type RpcMessage, textOf } from '../support/client-raw.ts';
import { fixture, fixtureImage, server } from '../support/fixtures.ts';
import { prepared } from '../support/prepared.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

/** Longer than a list waits for a server. */
const SLOW_START_S = 12;
const QUESTIONS = { elicitation: {}, sampling: {}, roots: {} };
const LISTS_CHANGED = ['tools', 'prompts', 'resources'].map((list) => `notifications/${list}/list_changed`);
const EVERYTHING = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	const slow = `sleep ${SLOW_START_S}; exec node /app/test/fixtures/conformance-v1.ts`;
	const groups: [string, string[]][] = [
		['quick', ['modern', 'talk', 'broken']],
		['talkers', ['talk']],
	];
	stack = await startStack({
		catalog: createCatalog(
			[
				fixture('talk', image, ['conversation.ts']),
				fixture('modern', image, ['conformance-modern.ts']),
				server('broken', { kind: 'image', reference: image }, { command: ['sh', '-c', 'exec no-such-command'] }),
				server('slow', { kind: 'image', reference: image }, { command: ['sh', '-c', slow] }),
			],
			groups.map(([name, members]) => [name, members as ServerName[]] as const),
		),
		config: { instancesMax: 64 },
		launcher: { instancesMax: 64 },
	});
	await prepared(stack);
});
after(() => stack.stop());

const all = () => `${stack.url}/mcp`;
const quick = () => `${stack.url}/groups/quick/mcp`;

async function openLegacy(url: string): Promise<RawClient> {
	const raw = new RawClient(url, { capabilities: QUESTIONS });
	await raw.open();
	return raw;
}

let clients = 0;

/** A client that shares nothing with any other. */
function newModern(url: string): ModernClient {
	return new ModernClient(url, { capabilities: QUESTIONS, clientInfo: { name: `c${++clients}`, version: '1.0.0' } });
}

function namesIn({ result }: RpcMessage, list: string): string[] {
	const entries = result?.[list];
	assert.ok(Array.isArray(entries), JSON.stringify(result).slice(0, 300));
	return entries.map((entry: { name: string }) => entry.name);
}

/** The servers whose names stand before those of a list, in order. */
const serversIn = (names: readonly string[]) => [...new Set(names.map((name) => name.split('__', 1).join()))];

async function absences(): Promise<Record<string, unknown>> {
	const response = await fetch(`${stack.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
	const { servers } = (await response.json()) as { servers: { name: string; absent?: { code: string } }[] };
	return Object.fromEntries(servers.flatMap(({ name, absent }) => (absent === undefined ? [] : [[name, absent.code]])));
}

/** A request at either kind of client. */
type Ask = (method: string, params?: object) => Promise<RpcMessage>;

describe('one server is slow, and one cannot be started', { concurrency: 2 }, () => {
	/** The first list, what comes later, and that nobody else waits for it. */
	async function meet(ask: Ask, changes: Reply, first: readonly string[]): Promise<void> {
		const listing = ask('tools/list');
		let isListed = false;
		void listing.then(() => {
			isListed = true;
		});
		const echo = await ask('tools/call', { name: 'talk__echo', arguments: { text: 'hello' } });
		assert.equal(textOf(echo), 'hello');
		assert.equal(
			textOf(await ask('tools/call', { name: 'modern__test_simple_text', arguments: {} })),
			data.SIMPLE_TEXT,
		);
		if (first.length === 2) assert.ok(!isListed, 'the calls waited for the list');
		assert.deepEqual(serversIn(namesIn(await listing, 'tools')), first);
		assert.equal((await absences())['broken'], 'SLIPWAY_COMMAND_INVALID');
		for (const method of LISTS_CHANGED) await changes.messages.first((message) => message.method === method);
		const tools = namesIn(await ask('tools/list'), 'tools');
		assert.deepEqual(serversIn(tools), ['talk', 'modern', 'slow']);
		assert.equal(new Set(tools).size, tools.length);
		assert.equal(textOf(await ask('tools/call', { name: 'slow__test_simple_text', arguments: {} })), data.SIMPLE_TEXT);
	}

	test('a client of the first era hears of the slow one when it comes', async () => {
		const raw = new RawClient(all(), { capabilities: QUESTIONS });
		const { result } = await raw.open();
		assert.deepEqual(result?.['serverInfo'], { name: 'slipway', version: 'test' });
		await meet((...args) => raw.request(...args), await raw.stream(), ['talk', 'modern']);
		assert.equal(await raw.end(), 200);
	});

	test('a client of the second era hears of the slow one when it comes', async () => {
		const modern = newModern(all());
		const { result } = await modern.request('server/discover');
		assert.deepEqual(Reflect.get(Object(result?.['_meta']), 'io.modelcontextprotocol/serverInfo'), {
			name: 'slipway',
			version: 'test',
		});
		// A listener is told what it is subscribed to without the slow one, and then of that.
		const listening = modern.listen(EVERYTHING);
		assert.equal(textOf(await modern.call('talk__echo', { text: 'meanwhile' })), 'meanwhile');
		const changes = await listening;
		for (const method of LISTS_CHANGED) {
			const { params } = await changes.messages.first((message) => message.method === method);
			assert.equal(typeof Reflect.get(Object(params?.['_meta']), 'io.modelcontextprotocol/subscriptionId'), 'number');
		}
		await meet((...args) => modern.request(...args), changes, ['talk', 'modern', 'slow']);
		changes.disconnect();
	});

	test('a call of what cannot be started says why, and one of no server that there is none', async () => {
		const raw = await openLegacy(quick());
		const modern = newModern(quick());
		for (const call of [raw.call.bind(raw), modern.call.bind(modern)]) {
			const broken = await call('broken__anything');
			assert.equal(broken.error?.data?.['code'], 'SLIPWAY_COMMAND_INVALID', JSON.stringify(broken));
			for (const name of ['nobody__echo', 'echo', '__echo', 'talk_echo', 'slow__test_simple_text'])
				assert.equal((await call(name)).error?.code, -32602, name);
			assert.equal(textOf(await call('talk__echo', { text: 'alive' })), 'alive');
		}
		assert.equal(await raw.end(), 200);
	});
});

describe('names, resources and prompts', { concurrency: 2 }, () => {
	/** What is the same in both eras but for one code. */
	async function look(ask: Ask, unknownCode: number): Promise<void> {
		assert.deepEqual(serversIn(namesIn(await ask('tools/list'), 'tools')), ['modern', 'talk']);
		assert.deepEqual(serversIn(namesIn(await ask('prompts/list'), 'prompts')), ['modern', 'talk']);
		const { result = {} } = await ask('resources/list');
		const uris = (result['resources'] as { uri: string }[]).map(({ uri }) => uri);
		assert.ok(uris.includes('test://static') && uris.includes('test://static-text'), uris.join());
		const read = async (uri: string): Promise<unknown> => {
			const { result } = await ask('resources/read', { uri });
			return Reflect.get(Object((result?.['contents'] as unknown[] | undefined)?.[0]), 'text');
		};
		assert.equal(await read('test://static'), 'static text');
		assert.equal(await read('test://static-text'), data.RESOURCES['static-text'].content.text);
		// By the templates.
		assert.equal(await read('test://item/7'), 'item 7');
		assert.equal(await read('test://template/9/data'), data.templateText('9'));
		const unknown = await ask('resources/read', { uri: 'other://unknown' });
		assert.equal(unknown.error?.code, unknownCode, JSON.stringify(unknown));
		const prompt = await ask('prompts/get', { name: 'talk__greet', arguments: { name: 'Ada' } });
		assert.match(JSON.stringify(prompt.result), /Say hello to Ada\./);
		const complete = async (name: string, argument: object): Promise<unknown> => {
			const { result } = await ask('completion/complete', { ref: { type: 'ref/prompt', name }, argument });
			return Reflect.get(Object(result?.['completion']), 'values');
		};
		assert.deepEqual(await complete('talk__greet', { name: 'name', value: 'A' }), ['Ada', 'Alan']);
		const words = ['paris', 'park', 'party'];
		assert.deepEqual(await complete('modern__test_prompt_with_arguments', { name: 'arg1', value: 'par' }), words);
	}

	test('a client of the first era', async () => {
		const raw = await openLegacy(quick());
		await look((...args) => raw.request(...args), -32002);
		assert.equal(await raw.end(), 200);
	});

	test('a client of the second era', async () => {
		const modern = newModern(quick());
		await look((...args) => modern.request(...args), -32602);
	});

	test('a group has its own servers and no others, and an unknown one is no endpoint', async () => {
		const raw = await openLegacy(`${stack.url}/groups/talkers/mcp`);
		assert.deepEqual(serversIn(namesIn(await raw.request('tools/list'), 'tools')), ['talk']);
		assert.equal((await raw.call('modern__test_simple_text')).error?.code, -32602);
		assert.equal(await raw.end(), 200);
		for (const name of ['nobody', 'constructor', 'talk']) {
			const reply = await new RawClient(`${stack.url}/groups/${name}/mcp`).sendInitialize();
			assert.equal(reply.status, 404, name);
			assert.equal((await answerOf(reply)).error?.data?.['code'], 'SLIPWAY_GROUP_UNKNOWN');
		}
	});
});

describe('everything else that belongs to one of them', { concurrency: 2 }, () => {
	test('questions of two servers at once, of a client of the first era, answered in the other order', async () => {
		const raw = await openLegacy(quick());
		const asking = [
			raw.send('tools/call', { name: 'talk__ask_elicitation', arguments: { message: 'talk' } }),
			raw.send('tools/call', { name: 'modern__test_streaming_elicitation', arguments: {} }),
		];
		const replies = await Promise.all(asking);
		const questions = await Promise.all(replies.map(({ messages }) => messages.next()));
		assert.equal(new Set(questions.map(({ id }) => id)).size, 2, 'two questions with one id');
		assert.deepEqual(
			questions.map(({ params }) => params?.['message']),
			['talk', data.QUESTIONS.user_name.message],
		);
		for (const { id, params } of questions.toReversed())
			await raw.post({
				jsonrpc: '2.0',
				id,
				result: { action: 'accept', content: { name: String(params?.['message']) } },
			});
		const [talk, modern] = await Promise.all(replies.map((reply) => answerOf(reply)));
		assert.equal(JSON.parse(textOf(talk ?? {})).content.name, 'talk');
		assert.equal(textOf(modern ?? {}), data.ANSWERS.hello(data.QUESTIONS.user_name.message));
		assert.equal(await raw.end(), 200);
	});

	test('questions of two servers at once, of a client of the second era, which comes back in the other order', async () => {
		const client = newModern(quick());
		const calls = [
			{ name: 'talk__ask_elicitation', arguments: { message: 'talk' } },
			{ name: 'modern__test_input_required_result_request_state', arguments: {} },
		];
		const asked = (await Promise.all(calls.map((params) => client.request('tools/call', params)))).map(askedIn);
		const comeBack = (index: number, params: object = calls[index] ?? {}): Promise<RpcMessage> => {
			const round = asked[index] ?? assert.fail();
			const [key = ''] = Object.keys(round.inputRequests);
			const answer = { action: 'accept', content: { name: 'Ada', ok: true } };
			return client.retry('tools/call', params, round, { [key]: answer });
		};
		// With the state of one server another has nothing to do.
		const crossed = await comeBack(0, { name: 'modern__test_simple_text', arguments: {} });
		assert.notEqual(crossed.error, undefined, JSON.stringify(crossed));
		assert.equal(textOf(await comeBack(1)), data.ANSWERS.requestState('true'));
		assert.equal(JSON.parse(textOf(await comeBack(0))).content.name, 'Ada');
	});

	test('log levels, resources that change, progress and a call that is withdrawn', async () => {
		const raw = await openLegacy(quick());
		const changes = await raw.stream();
		const log = async (level: string): Promise<number> => {
			const args = { level, message: 'a line', times: 2 };
			const { messages, text } = await raw.send('tools/call', { name: 'talk__log', arguments: args });
			await text;
			assert.equal(textOf(messages.items.at(-1) ?? {}), '2 messages');
			return messages.items.length - 1;
		};
		assert.equal(await log('info'), 2);
		// To a server that is there, and to one that is started anew.
		assert.deepEqual((await raw.request('logging/setLevel', { level: 'warning' })).result, {});
		assert.deepEqual([await log('info'), await log('error')], [0, 2]);
		assert.equal((await raw.call('talk__exit', { code: 0 })).error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
		assert.deepEqual([await log('info'), await log('error')], [0, 2]);
		const watched = { uri: 'test://watched' };
		assert.deepEqual((await raw.request('resources/subscribe', watched)).result, {});
		assert.equal(textOf(await raw.call('talk__touch_resource', watched)), 'updated');
		const { params } = await changes.messages.first(({ method }) => method === 'notifications/resources/updated');
		assert.equal(params?.['uri'], watched.uri);
		assert.deepEqual((await raw.request('resources/unsubscribe', watched)).result, {});
		assert.equal(textOf(await raw.call('talk__touch_resource', watched)), 'not subscribed');
		const slow = raw.send('tools/call', { name: 'talk__slow', arguments: { ms: 60_000 } }, 'slow');
		const steps = await raw.send('tools/call', {
			name: 'talk__progress',
			arguments: { steps: 3, delayMs: 5 },
			_meta: { progressToken: 'token' },
		});
		await steps.text;
		assert.deepEqual(
			steps.messages.items.slice(0, -1).map((message) => message.params?.['progressToken']),
			['token', 'token', 'token'],
		);
		assert.equal((await raw.notify('notifications/cancelled', { requestId: 'slow' })).status, 202);
		await (await slow).text;
		// The call hears of it a moment after its server does.
		let cancelled = '0';
		while (cancelled === '0') cancelled = textOf(await raw.call('talk__cancelled_count'));
		assert.equal(cancelled, '1');
		assert.equal(await raw.end(), 200);
	});

	test('one server dies in the middle of a call: that call fails, the other goes on, and the next is served', async () => {
		const raw = await openLegacy(quick());
		const modern = newModern(quick());
		const asLegacy: Ask = (...args) => raw.request(...args);
		const asModern: Ask = (...args) => modern.request(...args);
		for (const ask of [asLegacy, asModern]) {
			const call = (name: string, args: object = {}) => ask('tools/call', { name, arguments: args });
			await call('talk__echo', { text: 'here' });
			const [exited, working] = await Promise.all([
				call('talk__exit', { code: 3 }),
				call('modern__test_tool_with_progress'),
			]);
			assert.equal(exited.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED', JSON.stringify(exited));
			assert.equal(exited.error?.data?.['exitCode'], 3);
			assert.equal(textOf(working), 'Progress was reported.');
			assert.equal(textOf(await call('talk__echo', { text: 'again' })), 'again');
		}
		assert.equal(await raw.end(), 200);
	});

	test('many clients of both eras at once, with the same ids: nobody gets what is another’s', async () => {
		const sessions = await Promise.all(Array.from({ length: 3 }, () => openLegacy(quick())));
		const callers: Ask[] = [
			...sessions.map<Ask>((raw) => (method, params) => raw.request(method, params, undefined)),
			...Array.from({ length: 3 }, () => newModern(quick())).map<Ask>(
				(modern) =>
					(...args) =>
						modern.request(...args),
			),
		];
		const answers = await Promise.all(
			callers.flatMap((ask, caller) =>
				Array.from({ length: 12 }, async (_, index) => {
					const text = `caller ${caller}, call ${index}`;
					const talk = await ask('tools/call', { name: 'talk__echo', arguments: { text } });
					const input = { name: text, email: 'ada@example.com' };
					const modern = await ask('tools/call', { name: 'modern__json_schema_2020_12_tool', arguments: input });
					return [text, textOf(talk), JSON.parse(textOf(modern)).name];
				}),
			),
		);
		for (const [text, talk, modern] of answers) {
			assert.equal(talk, text);
			assert.equal(modern, text);
		}
		assert.deepEqual(await Promise.all(sessions.map((raw) => raw.end())), [200, 200, 200]);
	});
});

test('the end of a session ends every container of it, also one that is still starting', async () => {
	const mine = new Set((await stack.containers()).map(({ Id }) => Id));
	const raw = await openLegacy(all());
	assert.equal(textOf(await raw.call('talk__echo', { text: 'x' })), 'x');
	const during = (await stack.containers()).filter(({ Id }) => !mine.has(Id));
	assert.ok(during.length >= 2, `${during.length} containers`);
	assert.equal(await raw.end(), 200);
	const left = (await stack.containers()).filter(({ Id }) => !mine.has(Id));
	assert.deepEqual(
		left.map(({ Names, State }) => `${Names[0]} ${State}`),
		[],
	);
});
