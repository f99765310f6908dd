/** Servers whose Instances several sessions have together, through the whole gateway. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import { INSTANCE_LIMITS, SHARING_LIMITS } from '../../src/limits.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import type { Reply } from '../support/http-client.ts';
import { call, type HttpStack, initializeRequest, result, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import { Cast, type PlayedServer, type Script } from '../support/played-server.ts';
import { settle } from '../support/seat-bench.ts';

interface Client {
	post(message: Rpc): Promise<Reply>;
	end(): Promise<Reply>;
}

async function setUp(t: Parameters<typeof startHttpStack>[0], script: Script = {}) {
	const stack = await startHttpStack(t);
	const { launcher } = stack;
	launcher.state = {
		...launcher.state,
		servers: [
			serverView('mine', { isolation: 'principal' }),
			serverView('ours', { isolation: 'shared', replicas: { min: 0, max: 2 } }),
			serverView('alone'),
		],
	};
	const cast = new Cast(launcher, { mine: script, ours: script, alone: script });
	return { stack, launcher, cast };
}

async function open(stack: HttpStack, server: string): Promise<Client> {
	const opened = await stack.post(server, initializeRequest());
	assert.equal(opened.status, 200, opened.text);
	const headers = { 'mcp-session-id': String(opened.headers['mcp-session-id']) };
	await stack.post(server, { jsonrpc: '2.0', method: 'notifications/initialized' }, headers);
	return {
		post: (message) => stack.post(server, message, headers),
		end: () => stack.send({ method: 'DELETE', path: `/servers/${server}/mcp`, headers: { ...AUTH, ...headers } }),
	};
}

const AUTH = { authorization: 'Bearer a-key-for-tests-0123456789' };

/** Makes the same call in all of them, and sees that each gets its own answer of that server. */
async function callAll(played: PlayedServer, clients: readonly Client[]): Promise<void> {
	const answering = clients.map(({ post }, at) => post(call(1, `tool-${at}`)));
	for (const _ of clients) {
		const { id, params } = await played.hear('tools/call');
		played.say(result(id, { of: params['name'] }));
	}
	for (const [at, answer] of (await Promise.all(answering)).entries())
		assert.deepEqual(answer.rpc, result(1, { of: `tool-${at}` }));
}

for (const server of ['mine', 'ours']) {
	describe(server, () => {
		test('the sessions of a caller have one Instance, and all go on when it is killed', async (t) => {
			const { stack, launcher, cast } = await setUp(t);
			const clients = [await open(stack, server), await open(stack, server), await open(stack, server)];
			assert.equal(launcher.launches, 1);
			const first = await cast.of(server, 0);
			await callAll(first, clients);
			const lost = clients.map(({ post }) => post(call(2)));
			for (const _ of clients) await first.hear('tools/call');
			first.instance.end({ cause: 'oom', exitCode: 137, stderr: '' });
			for (const one of lost) assert.equal((await one).rpc?.error?.data?.['code'], 'SLIPWAY_INSTANCE_OOM');
			const answering = clients.map(({ post }) => post(call(3)));
			const second = await cast.of(server, 1);
			for (const _ of clients) await second.answer('tools/call', { again: true });
			for (const one of answering) assert.deepEqual((await one).rpc, result(3, { again: true }));
			assert.deepEqual([launcher.launches, launcher.live.size], [2, 1]);
		});

		test('a restart has all of them at another Instance, and the one before goes when its calls have ended', async (t) => {
			const { stack, launcher, cast } = await setUp(t);
			const clients = [await open(stack, server), await open(stack, server)];
			const first = await cast.of(server, 0);
			const [busy] = clients;
			assert.ok(busy !== undefined);
			const answering = busy.post(call(1));
			const { id } = await first.hear('tools/call');
			const path = `/api/servers/${server}/restart`;
			const restarted = await stack.send({ method: 'POST', path, headers: AUTH });
			assert.deepEqual(JSON.parse(restarted.text), { server, count: 1 });
			stack.later(1000);
			assert.equal(first.instance.stopped, undefined, 'somebody waits for its answer');
			first.say(result(id, { by: 'the one before' }));
			assert.deepEqual((await answering).rpc, result(1, { by: 'the one before' }));
			const after = clients.map(({ post }) => post(call(2)));
			const second = await cast.of(server, 1);
			for (const _ of clients) await second.answer('tools/call', { by: 'the next' });
			for (const one of after) assert.deepEqual((await one).rpc, result(2, { by: 'the next' }));
			stack.later(1000);
			await first.instance.ended;
			assert.deepEqual([launcher.launches, launcher.live.size], [2, 1]);
		});

		test('a session that ends takes its calls with it, and nobody else’s', async (t) => {
			const { stack, launcher, cast } = await setUp(t);
			const [leaver, stays] = [await open(stack, server), await open(stack, server)];
			const played = await cast.of(server, 0);
			const answering = [leaver.post(call(1)), stays.post(call(1))];
			const heard = [await played.hear('tools/call'), await played.hear('tools/call')];
			assert.equal((await leaver.end()).status, 200);
			const { params } = await played.hear('notifications/cancelled');
			const rest = heard.filter(({ id }) => id !== params['requestId']);
			assert.equal(rest.length, 1);
			for (const { id } of rest) played.say(result(id));
			assert.equal((await answering[0])?.rpc?.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
			assert.deepEqual((await answering[1])?.rpc, result(1));
			assert.equal(launcher.live.size, 1);
		});

		test('requests of the second era have the same Instance, whatever it speaks', async (t) => {
			for (const era of ['legacy', 'modern'] as const) {
				const { stack, launcher, cast } = await setUp(t, { era });
				const clients = ['one', 'two'].map(
					(name) => new ModernHttp(stack, { path: `/servers/${server}/mcp`, clientInfo: { name, version: '1' } }),
				);
				const session = await open(stack, server);
				const played = await cast.of(server, 0);
				const answering = clients.map((client) => client.send('tools/call', { name: 'x' }));
				const another = session.post(call(1));
				for (let calls = 0; calls < 3; calls++)
					await played.answer('tools/call', era === 'modern' ? { resultType: 'complete' } : {});
				for (const one of answering) assert.equal((await one).status, 200);
				assert.equal((await another).status, 200);
				assert.equal(launcher.launches, 1);
				await stack.stop();
			}
		});

		test('an Instance that nobody uses ends after the idle time', async (t) => {
			const { stack, launcher } = await setUp(t);
			await (await open(stack, server)).end();
			await settle();
			stack.later(INSTANCE_LIMITS.idleStopMs - 5000);
			assert.equal(launcher.live.size, 1);
			stack.later(6000);
			await settle();
			assert.equal(launcher.live.size, 0);
		});
	});
}

test('where there is no room, an Instance that nobody uses makes room for another server', async (t) => {
	const { stack, launcher } = await setUp(t);
	await (await open(stack, 'mine')).end();
	launcher.beforeLaunch = () => {
		if (launcher.live.size > 0) throw new SlipwayError('SLIPWAY_INSTANCES_FULL');
	};
	await open(stack, 'alone');
	assert.deepEqual(
		[...launcher.live].map(({ server }) => server),
		['alone'],
	);
});

test('a session that has much to do has more Instances of a shared server for a while', async (t) => {
	const { stack, launcher, cast } = await setUp(t);
	const clients = [await open(stack, 'ours'), await open(stack, 'ours')];
	const first = await cast.of('ours', 0);
	const count = SHARING_LIMITS.busyCallsMax + 2;
	const answering = Array.from({ length: count }, (_, id) => clients[id % 2]?.post(call(id)));
	const second = await cast.of('ours', 1);
	await first.heard.count(count);
	answering.push(clients[0]?.post(call('more')));
	await second.answer('tools/call');
	for (let calls = 0; calls < count; calls++) await first.answer('tools/call');
	for (const one of answering) assert.equal((await one)?.status, 200);
	stack.later(INSTANCE_LIMITS.idleStopMs + 1000);
	await settle();
	assert.ok(!launcher.live.has(second.instance));
	assert.equal(launcher.launches, 2);
});

test('the same session of many servers as one has the same Instance as a session of one', async (t) => {
	const { stack, launcher, cast } = await setUp(t, { answers: { 'tools/list': () => ({ tools: [] }) } });
	await open(stack, 'mine');
	const path = '/mcp';
	const many = new ModernHttp(stack, { path });
	const answering = many.send('tools/call', { name: 'mine__x' });
	await (await cast.of('mine')).answer('tools/call', { content: [] });
	assert.equal((await answering).status, 200);
	assert.equal([...launcher.live].filter(({ server }) => server === 'mine').length, 1);
});

test('sessions go on in an Instance that they have together when the catalog says so from now on', async (t) => {
	const { stack, launcher, cast } = await setUp(t);
	const clients = [await open(stack, 'alone'), await open(stack, 'alone')];
	assert.equal(launcher.live.size, 2);
	const servers = [serverView('alone', { isolation: 'principal', spec: 'another' })];
	launcher.state = { ...launcher.state, servers };
	stack.later(1000);
	const answering = clients.map(({ post }) => post(call(1)));
	const together = await cast.of('alone', 2);
	for (const _ of clients) await together.answer('tools/call');
	for (const one of answering) assert.equal((await one).status, 200);
	assert.deepEqual([...launcher.live], [together.instance]);
});

test('what one session made of the tools is not told to others as what the server has', async (t) => {
	const tools: object[] = [];
	const { stack, launcher, cast } = await setUp(t, { answers: { 'tools/list': () => ({ tools: [...tools] }) } });
	const servers = [serverView('mine', { isolation: 'principal', snapshot: true })];
	launcher.state = { ...launcher.state, servers };
	const list = async ({ post }: Client): Promise<unknown> =>
		(await post({ jsonrpc: '2.0', id: 9, method: 'tools/list' })).rpc?.result?.['tools'];
	const clients = [await open(stack, 'mine'), await open(stack, 'mine')];
	const answering = clients[0]?.post(call(1, 'log-in'));
	const played = await cast.of('mine', 0);
	tools.push({ name: 'private' });
	await played.answer('tools/call');
	await answering;
	assert.deepEqual(await list(clients[1] ?? assert.fail()), [{ name: 'private' }]);
	played.exit();
	await played.instance.ended;
	tools.length = 0;
	assert.deepEqual(await list(await open(stack, 'mine')), []);
	assert.equal(launcher.launches, 2);
});
