/** Everything that client and server may say to each other, through the SDK's client and a container on the engine. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Progress } from '@modelcontextprotocol/sdk/types.js';
import { RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { connectSdk, type SdkOptions, textOfResult } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { Inbox } from '../support/inbox.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('conversation', image, ['conversation.ts']),
			fixture('roots-at-start', image, ['conversation.ts', '--roots-at-start']),
		),
	});
});
after(() => stack.stop());

const connect = (options?: SdkOptions) => connectSdk(stack.endpoint('conversation'), options);

describe('a conversation', { concurrency: 4 }, () => {
	test('a server asks its client for a completion, a form and its roots', async () => {
		const ada = await connect({ name: 'ada' });
		assert.equal(await ada.call('ask_sampling', { prompt: 'hello' }), 'ada says hello');
		assert.equal(await ada.call('ask_roots'), 'file:///ada/one\nfile:///ada/two');
		assert.deepEqual(JSON.parse(await ada.call('ask_elicitation', { message: 'who?' })), {
			action: 'accept',
			content: { name: 'ada' },
		});
		assert.deepEqual(JSON.parse(await ada.call('ask_all')), {
			sampling: 'ada says one of three',
			elicitation: '{"action":"accept","content":{"name":"ada"}}',
			roots: 'file:///ada/one\nfile:///ada/two',
		});
		const [sampling, elicitation, roots] = ['sampling/createMessage', 'elicitation/create', 'roots/list'];
		assert.deepEqual(ada.asked.items, [sampling, roots, elicitation, sampling, elicitation, roots]);
		await ada.close();
	});

	test('a person declines a form, and cancels one', async () => {
		const client = await connect({
			elicit: (message) => ({ action: message === 'decline this' ? 'decline' : 'cancel' }),
		});
		assert.deepEqual(JSON.parse(await client.call('ask_elicitation', { message: 'decline this' })), {
			action: 'decline',
		});
		assert.deepEqual(JSON.parse(await client.call('ask_elicitation', { message: 'cancel this' })), {
			action: 'cancel',
		});
		await client.close();
	});

	test('a client that refuses a question has its error brought to the server', async () => {
		const client = await connect({
			elicit: () => {
				throw new Error('nobody is here');
			},
		});
		const result = await client.client.callTool({ name: 'ask_elicitation', arguments: { message: 'who?' } });
		assert.equal(result['isError'], true);
		assert.match(textOfResult(result), /nobody is here/);
		await client.close();
	});

	test('progress comes in order, each step once, and keeps a call alive beyond its time', async () => {
		const client = await connect();
		const steps: Progress[] = [];
		const result = await client.client.callTool(
			{ name: 'progress', arguments: { steps: 8, delayMs: 500 } },
			undefined,
			// Altogether it takes 4 s: without the progress it would be out of time.
			{ onprogress: (progress) => steps.push(progress), resetTimeoutOnProgress: true, timeout: 3500 },
		);
		assert.equal(textOfResult(result), '8 steps');
		assert.deepEqual(
			steps,
			Array.from({ length: 8 }, (_, step) => ({ progress: step + 1, total: 8, message: `step ${step + 1}` })),
		);
		await client.close();
	});

	test('log messages come by the level that the client set', async () => {
		const client = await connect();
		await client.client.setLoggingLevel('warning');
		assert.equal(await client.call('log', { level: 'info', message: 'too quiet', times: 3 }), '3 messages');
		assert.equal(await client.call('log', { level: 'error', message: 'loud', times: 2 }), '2 messages');
		await client.client.setLoggingLevel('debug');
		await client.call('log', { level: 'debug', message: 'whisper', times: 1 });
		await client.logs.count(3);
		assert.deepEqual(client.logs.items, [
			{ level: 'error', logger: 'conversation', data: 'loud' },
			{ level: 'error', logger: 'conversation', data: 'loud' },
			{ level: 'debug', logger: 'conversation', data: 'whisper' },
		]);
		await client.close();
	});

	test('an aborted call is cancelled on the server, and its client goes on', async () => {
		const heads = new Inbox<string>();
		const client = await connect({ onResponse: (_, body) => heads.push(body) });
		const abort = new AbortController();
		const call = client.client.callTool({ name: 'slow', arguments: { ms: 50_000 } }, undefined, {
			signal: abort.signal,
		});
		call.catch(() => undefined);
		// After 5 s of silence the call is given its stream: the server has it then.
		await heads.first((body) => body.includes('"slow"'));
		assert.equal(await client.call('cancelled_count'), '0');
		abort.abort(new Error('enough'));
		await assert.rejects(call, /enough/);
		// The cancellation is a POST of its own, which may be on its way.
		let count = '0';
		while (count === '0') count = await client.call('cancelled_count');
		assert.equal(count, '1');
		assert.equal(await client.call('echo', { text: 'still here' }), 'still here');
		await client.close();
	});

	test('lists are the server’s own, and news of them arrives', async () => {
		const client = await connect();
		const names = async () => (await client.client.listTools()).tools.map(({ name }) => name);
		const before = await names();
		assert.equal(before.length, 22);
		assert.ok(!before.includes('came_and_went'));
		assert.equal(await client.call('change_tools'), 'added came_and_went');
		await client.toolsChanged.count(1);
		assert.deepEqual(
			(await names()).filter((name) => !before.includes(name)),
			['came_and_went'],
		);
		assert.equal(await client.call('came_and_went'), 'here');
		await client.call('change_tools');
		await client.toolsChanged.count(2);
		assert.deepEqual(await names(), before);
		await client.close();
	});

	test('resources are listed, read, templated and watched', async () => {
		const { client, updated, call, close } = await connect();
		const { resources } = await client.listResources();
		assert.deepEqual(resources.map(({ uri }) => uri).sort(), ['test://static', 'test://watched']);
		const { resourceTemplates } = await client.listResourceTemplates();
		assert.deepEqual(
			resourceTemplates.map(({ uriTemplate }) => uriTemplate),
			['test://item/{id}'],
		);
		const read = async (uri: string) => (await client.readResource({ uri })).contents;
		assert.deepEqual(await read('test://item/7'), [{ uri: 'test://item/7', mimeType: 'text/plain', text: 'item 7' }]);
		const uri = 'test://watched';
		assert.equal(await call('touch_resource', { uri }), 'not subscribed');
		await client.subscribeResource({ uri });
		assert.equal(await call('touch_resource', { uri }), 'updated');
		assert.equal(await updated.first(() => true), uri);
		assert.deepEqual(await read(uri), [{ uri, mimeType: 'text/plain', text: 'version 2' }]);
		await client.unsubscribeResource({ uri });
		assert.equal(await call('touch_resource', { uri }), 'not subscribed');
		assert.equal(updated.items.length, 1);
		await assert.rejects(read('test://nowhere'), { code: -32602 });
		await close();
	});

	test('prompts, completions, ping and instructions', async () => {
		const { client, close } = await connect();
		const { prompts } = await client.listPrompts();
		assert.deepEqual(
			prompts.map(({ name }) => name),
			['greet'],
		);
		const { messages } = await client.getPrompt({ name: 'greet', arguments: { name: 'Grace' } });
		assert.deepEqual(messages, [{ role: 'user', content: { type: 'text', text: 'Say hello to Grace.' } }]);
		const { completion } = await client.complete({
			ref: { type: 'ref/prompt', name: 'greet' },
			argument: { name: 'name', value: 'A' },
		});
		assert.deepEqual(completion.values, ['Ada', 'Alan']);
		assert.deepEqual(await client.ping(), {});
		assert.match(client.getInstructions() ?? '', /^Use the tool that is named/);
		assert.equal(client.getServerVersion()?.name, 'conversation');
		assert.deepEqual(client.getServerCapabilities()?.resources, { subscribe: true, listChanged: true });
		await close();
	});

	test('unknown fields, unusual values and the request’s _meta go through both ways', async () => {
		const { client, close } = await connect();
		const value = { empty: {}, list: [null, true, 1.5, ''], text: '\u0000 \u2028 🚢 ż "\\', '': 'no name' };
		const result = await client.callTool({
			name: 'echo_json',
			arguments: { value },
			_meta: { 'test/own': { deep: [1] }, progressToken: 'a token' },
		});
		assert.deepEqual(result.structuredContent, { value });
		assert.deepEqual(result['xUnknown'], value);
		const { 'test/request': heard, ...rest } = result._meta ?? {};
		assert.deepEqual(rest, { 'test/value': value });
		// The token is ours on the way to the server, like the id.
		const { progressToken, ...meta } = heard as { progressToken?: unknown };
		assert.deepEqual(meta, { 'test/own': { deep: [1] } });
		assert.equal(typeof progressToken, 'number');
		await close();
	});

	test('a large answer arrives whole', async () => {
		const client = await connect();
		const text = await client.call('big', { bytes: 3_000_000 });
		assert.equal(text, 'x'.repeat(3_000_000));
		await client.close();
	});

	test('what a server says while nothing is in flight comes on the GET stream', async () => {
		const raw = new RawClient(stack.endpoint('conversation'), { capabilities: { roots: {} } });
		await raw.open();
		const stream = await raw.stream();
		for (const kind of LATER_KINDS) {
			await sayLater(raw, kind);
			await stream.messages.first(({ method }) => method === LATER_METHODS[kind]);
		}
		const [log, , question] = stream.messages.items;
		assert.deepEqual(log?.params, { level: 'warning', data: 'later' });
		assert.equal(await answerRoots(raw, question, 'file:///later'), 'file:///later');
		assert.equal(stream.messages.items.length, 3);
		assert.equal(await raw.end(), 200);
		await stream.text;
	});

	test('it waits for a GET stream that opens later', async () => {
		const said = await Promise.all(
			LATER_KINDS.map(async (kind) => {
				const raw = new RawClient(stack.endpoint('conversation'), { capabilities: { roots: {} } });
				await raw.open();
				await sayLater(raw, kind);
				// Long enough that the message is there first; if it is not, that is no failure.
				await sleep(500);
				const stream = await raw.stream();
				const message = await stream.messages.first(() => true);
				if (kind === 'roots') assert.equal(await answerRoots(raw, message, 'file:///late'), 'file:///late');
				await raw.end();
				return message.method;
			}),
		);
		assert.deepEqual(said, Object.values(LATER_METHODS));
	});

	test('what is said during a call comes on the stream of that call and on no other', async () => {
		const raw = new RawClient(stack.endpoint('conversation'));
		await raw.open();
		const standing = await raw.stream();
		const params = { name: 'progress', arguments: { steps: 3, delayMs: 10 }, _meta: { progressToken: 'p' } };
		const reply = await raw.send('tools/call', params, 'the call');
		assert.equal(reply.isStream, true);
		await reply.text;
		assert.deepEqual(
			reply.messages.items.map(({ method, id }) => method ?? id),
			[...Array.from({ length: 3 }, () => 'notifications/progress'), 'the call'],
		);
		assert.deepEqual(
			new Set(reply.messages.items.slice(0, 3).map(({ params }) => params?.['progressToken'])),
			new Set('p'),
		);
		const logged = await raw.send('tools/call', { name: 'log', arguments: { level: 'info', message: 'm', times: 2 } });
		await logged.text;
		assert.equal(logged.messages.items.length, 3);
		assert.deepEqual(standing.messages.items, []);
		await raw.end();
	});

	test('DELETE ends a session: its container goes, its stream ends, its id is unknown', async () => {
		const raw = new RawClient(stack.endpoint('conversation'));
		await raw.open();
		const { hostname } = JSON.parse(textOf(await raw.call('whoami')));
		const stream = await raw.stream();
		assert.equal(await raw.end(), 200);
		await stream.text;
		const ids = (await stack.containers()).map(({ Id }) => Id.slice(0, 12));
		assert.ok(!ids.includes(hostname), 'its container is there');
		const reply = await raw.send('ping');
		assert.equal(reply.status, 404);
		await reply.text;
		assert.equal(reply.messages.items[0]?.error?.code, -32001);
	});

	test('roots that a server asks for at its start reach a client that opens its stream late, ten times of ten', async () => {
		const results = await Promise.all(
			Array.from({ length: 10 }, async (_, index) => {
				const raw = new RawClient(stack.endpoint('roots-at-start'), { capabilities: { roots: {} } });
				await raw.open();
				// From before the question to well after it.
				await sleep(index * 100);
				const stream = await raw.stream();
				const question = await stream.messages.first(({ method }) => method === 'roots/list');
				const result = await answerRoots(raw, question, `file:///${index}`);
				await raw.end();
				return result;
			}),
		);
		assert.deepEqual(
			results,
			Array.from({ length: 10 }, (_, index) => `file:///${index}`),
		);
	});

	test('the same with the SDK’s client', async () => {
		for (let round = 0; round < 3; round++) {
			const client = await connectSdk(stack.endpoint('roots-at-start'), { name: `round-${round}` });
			await client.asked.first((method) => method === 'roots/list');
			let result = 'pending';
			while (result === 'pending') result = await client.call('later_result');
			assert.equal(result, `file:///round-${round}/one\nfile:///round-${round}/two`);
			await client.close();
		}
	});
});

const LATER_METHODS = {
	log: 'notifications/message',
	list_changed: 'notifications/tools/list_changed',
	roots: 'roots/list',
} as const;
const LATER_KINDS = ['log', 'list_changed', 'roots'] as const;

/** Has the server say something after its answer, which is alone then. */
async function sayLater(raw: RawClient, kind: (typeof LATER_KINDS)[number]): Promise<void> {
	const reply = await raw.send('tools/call', { name: 'later', arguments: { kind, delayMs: 50 } });
	assert.equal(reply.isStream, false, 'something came on the stream of the call');
	await reply.text;
}

/** Answers the question for roots, and resolves with what the server got. */
async function answerRoots(raw: RawClient, question: RpcMessage | undefined, uri: string): Promise<string> {
	const { status } = await raw.post({ jsonrpc: '2.0', id: question?.id, result: { roots: [{ uri }] } });
	assert.equal(status, 202);
	for (;;) {
		const result = textOf(await raw.call('later_result'));
		if (result !== 'pending') return result;
	}
}
