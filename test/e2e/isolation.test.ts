/** Sessions that have containers together, as the catalog says, on the real engine. One key is one caller. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Docker from 'dockerode';
import { INSTANCE_LIMITS, SHARING_LIMITS } from '../../src/limits.ts';
import { ModernClient } from '../support/client-modern.ts';
import { answerOf, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
const docker = new Docker();

/** Everything in src reads performance.now, and nothing of Node does: so time can be moved for all of it at once. */
const realNow = performance.now.bind(performance);
let offsetMs = 0;

before(async () => {
	performance.now = () => realNow() + offsetMs;
	const image = await fixtureImage();
	const replicas = { min: 0, max: 2 };
	stack = await startStack({
		catalog: catalogOf(
			fixture('mine', image, ['conversation.ts'], { isolation: 'principal' }),
			fixture('modern', image, ['era.ts', 'modern-exits-on-initialize'], { isolation: 'principal' }),
			fixture('ours', image, ['conversation.ts'], { isolation: 'shared', replicas }),
			fixture('killed', image, ['conversation.ts'], { isolation: 'shared', replicas }),
		),
	});
});
after(async () => {
	// Fails when a container is left.
	await stack.stop();
	performance.now = realNow;
});

async function open(server: string): Promise<RawClient> {
	const client = new RawClient(stack.endpoint(server));
	await client.open();
	return client;
}

async function containersOf(server: string): Promise<string[]> {
	const containers = await stack.containers();
	return containers.filter(({ Labels }) => Labels['dev.slipway.server'] === server).map(({ Id }) => Id);
}

/** Resolves when so many containers of a server run, by the words of the launcher and of the engine. */
async function running(server: string, count: number): Promise<readonly string[]> {
	const { promise, resolve } = Promise.withResolvers<void>();
	const look = (): void => {
		const view = stack.remote.state.servers.find(({ name }) => name === server);
		if (view?.instances === count) resolve();
	};
	const unsubscribe = stack.remote.subscribe(look);
	look();
	await promise;
	unsubscribe();
	const found = await containersOf(server);
	assert.equal(found.length, count);
	return found;
}

/** Whether the home of all sessions answers, where one of them is subscribed to that resource. */
async function isAnsweredAtHome(client: RawClient): Promise<boolean> {
	return textOf(await client.call('touch_resource', { uri: 'test://watched' })) === 'updated';
}

test('principal: the sessions of a caller have one container, and each its own answers and subscriptions', async () => {
	assert.deepEqual(await containersOf('mine'), []);
	const [one, two] = await Promise.all([open('mine'), open('mine')]);
	assert.equal((await containersOf('mine')).length, 1);
	const values = Array.from({ length: 20 }, (_, at) => at);
	const answers = await Promise.all(
		values.flatMap((at) =>
			[one, two].map(async (client) => {
				const value = { at, of: client === one };
				return { value, answer: await client.call('echo_json', { value }, at + 100) };
			}),
		),
	);
	for (const { value, answer } of answers) assert.deepEqual(answer.result?.['structuredContent'], { value });
	const [heard, unheard] = await Promise.all([one.stream(), two.stream()]);
	assert.deepEqual((await one.request('resources/subscribe', { uri: 'test://watched' })).result, {});
	assert.equal(textOf(await two.call('touch_resource', { uri: 'test://watched' })), 'updated');
	assert.equal((await heard.messages.next()).method, 'notifications/resources/updated');
	await two.call('change_tools');
	assert.equal((await heard.messages.next()).method, 'notifications/tools/list_changed');
	assert.equal((await unheard.messages.next()).method, 'notifications/tools/list_changed');
	assert.deepEqual([heard.messages.size, unheard.messages.size], [0, 0]);
	// A subscription ends with its session; the container does not.
	assert.equal(await one.end(), 200);
	assert.equal(textOf(await two.call('touch_resource', { uri: 'test://watched' })), 'not subscribed');
	await two.end();
	assert.equal((await containersOf('mine')).length, 1);
});

test('principal: nobody is asked, and the server is told so', async () => {
	const client = new RawClient(stack.endpoint('mine'), { capabilities: { roots: {}, elicitation: {} } });
	await client.open();
	const { result } = await client.call('ask_elicitation', { message: 'Who?' });
	assert.equal(result?.['isError'], true);
	await client.end();
});

test('principal: a server that speaks 2026-07-28 is one for sessions and for requests without', async () => {
	const [one, two] = await Promise.all([open('modern'), open('modern')]);
	const clients = ['a', 'b'].map(
		(name) => new ModernClient(stack.endpoint('modern'), { clientInfo: { name, version: '1' } }),
	);
	for (const [at, client] of [one, two, ...clients].entries())
		assert.equal(textOf(await client.call('echo', { text: `${at}` })), `${at}`);
	assert.equal((await containersOf('modern')).length, 1);
	await Promise.all([one.end(), two.end()]);
});

test('shared: one container for all, another one while there is much to do, and one again', async () => {
	const clients = await Promise.all([open('ours'), open('ours'), open('ours')]);
	const [home] = await running('ours', 1);
	const [first, ...others] = clients;
	assert.ok(first);
	// While it is subscribed it keeps its seat, however long it calls nothing.
	await first.request('resources/subscribe', { uri: 'test://watched' });
	const count = SHARING_LIMITS.busyCallsMax + 2;
	const slow = Array.from({ length: count }, (_, at) => {
		const client = clients[at % clients.length] ?? assert.fail();
		const id = `slow-${at}`;
		return { client, id, answer: client.call('slow', { ms: 600_000 }, id).catch(() => undefined) };
	});
	await running('ours', 2);
	// It takes calls once it has said what it is.
	// It takes calls as soon as it has said what it is.
	for (let calls = 0; await isAnsweredAtHome(others[0] ?? assert.fail()); calls++)
		assert.ok(calls < 10_000, 'no call goes to the other container');
	for (const { client, id } of slow) await client.notify('notifications/cancelled', { requestId: id });
	await Promise.all(others.map((client) => client.end()));
	offsetMs += INSTANCE_LIMITS.idleStopMs + 1000;
	assert.deepEqual(await running('ours', 1), [home]);
	assert.ok(await isAnsweredAtHome(first));
	assert.equal(textOf(await first.call('cancelled_count')), String(count));
	await first.end();
	// The last call was just now.
	offsetMs += INSTANCE_LIMITS.idleStopMs + 1000;
	await running('ours', 0);
});

test('a container that is killed takes the calls in flight with it, and every session goes on', async () => {
	const clients = await Promise.all([open('killed'), open('killed')]);
	const [id = ''] = await running('killed', 1);
	const params = { name: 'progress', arguments: { steps: 500, delayMs: 100 }, _meta: { progressToken: 'p' } };
	const replies = await Promise.all(clients.map((client) => client.send('tools/call', params)));
	for (const { messages } of replies) await messages.count(1);
	await docker.getContainer(id).kill({ signal: 'SIGKILL' });
	const answers: RpcMessage[] = await Promise.all(replies.map((reply) => answerOf(reply)));
	for (const { error } of answers) assert.equal(error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
	const texts = await Promise.all(
		clients.map(async (client, at) => textOf(await client.call('echo', { text: `${at}` }))),
	);
	assert.deepEqual(texts, ['0', '1']);
	const [next] = await running('killed', 1);
	assert.notEqual(next, id);
	await Promise.all(clients.map((client) => client.end()));
});
