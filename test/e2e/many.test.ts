/** Many clients at once, who use the same ids and the same tokens: nobody gets what is another's. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { connectSdk, textOfResult } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SESSIONS = 8;
const CALLS = 20;

let stack: Stack;
before(async () => {
	const catalog = catalogOf(fixture('conversation', await fixtureImage(), ['conversation.ts']));
	stack = await startStack({ catalog });
});
after(() => stack.stop());

function range<T>(count: number, make: (index: number) => T): T[] {
	return Array.from({ length: count }, (_, index) => make(index));
}

test('eight sessions with twenty calls at once, all with the same ids and progress tokens', async () => {
	const clients = range(SESSIONS, () => new RawClient(stack.endpoint('conversation')));
	await Promise.all(clients.map((client) => client.open()));
	for (let round = 0; round < 5; round++) {
		const answers = await Promise.all(
			clients.flatMap((client, session) =>
				range(CALLS, async (call) => {
					const value = { session, call, round };
					const params = { name: 'echo_json', arguments: { value }, _meta: { progressToken: call } };
					return { value, answer: await client.request('tools/call', params, call) };
				}),
			),
		);
		for (const { value, answer } of answers) {
			assert.equal(answer.id, value.call);
			assert.deepEqual(answer.result?.['structuredContent'], { value });
		}
		// To a server every call has a token of its own.
		for (const client of range(SESSIONS, (session) => session)) {
			const own = answers.filter(({ value }) => value.session === client);
			assert.equal(new Set(own.map(({ answer }) => tokenHeard(answer))).size, CALLS);
		}
	}
	await Promise.all(clients.map((client) => client.end()));
});

function tokenHeard({ result }: RpcMessage): unknown {
	const heard: unknown = Reflect.get(Object(result?.['_meta']), 'test/request');
	return Reflect.get(Object(heard), 'progressToken');
}

test('progress under the same token stays with its session, and with its call', async () => {
	const clients = range(4, () => new RawClient(stack.endpoint('conversation')));
	await Promise.all(clients.map((client) => client.open()));
	const replies = await Promise.all(
		clients.flatMap((client, session) =>
			range(4, async (call) => {
				const steps = 2 + session * 4 + call;
				const reply = await client.send(
					'tools/call',
					{ name: 'progress', arguments: { steps, delayMs: 5 }, _meta: { progressToken: `t${call}` } },
					call,
				);
				await reply.text;
				return { steps, call, messages: reply.messages.items };
			}),
		),
	);
	for (const { steps, call, messages } of replies) {
		assert.equal(messages.length, steps + 1);
		for (const [index, { params }] of messages.slice(0, -1).entries()) {
			assert.deepEqual(params, {
				progressToken: `t${call}`,
				progress: index + 1,
				total: steps,
				message: `step ${index + 1}`,
			});
		}
		const last = messages.at(-1);
		assert.equal(last?.id, call);
		assert.equal(textOf(last ?? {}), `${steps} steps`);
	}
	await Promise.all(clients.map((client) => client.end()));
});

test('questions in the middle of calls reach the client whose call it is', async () => {
	const clients = await Promise.all(
		range(SESSIONS, (session) => connectSdk(stack.endpoint('conversation'), { name: `client-${session}` })),
	);
	await Promise.all(
		clients.map(async ({ client, asked }, session) => {
			const name = `client-${session}`;
			const results = await Promise.all([
				...range(3, () => client.callTool({ name: 'ask_all', arguments: {} })),
				...range(CALLS - 3, (call) => client.callTool({ name: 'echo', arguments: { text: `${name} ${call}` } })),
			]);
			const expected = {
				sampling: `${name} says one of three`,
				elicitation: JSON.stringify({ action: 'accept', content: { name } }),
				roots: `file:///${name}/one\nfile:///${name}/two`,
			};
			const texts = results.map((result) => textOfResult(result));
			assert.deepEqual(
				texts.slice(0, 3).map((text) => JSON.parse(text)),
				[expected, expected, expected],
			);
			assert.deepEqual(
				texts.slice(3),
				range(CALLS - 3, (call) => `${name} ${call}`),
			);
			assert.equal(asked.items.length, 9);
		}),
	);
	await Promise.all(clients.map((client) => client.close()));
});
