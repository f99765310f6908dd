/** The first words with a server: which era it speaks, whatever it does with a word of the other, and for how long that is known. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { InstanceEnd } from '../../src/channel.ts';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { type FakeInstance, serverView } from '../support/fake-launcher.ts';
import { HeldTimers } from '../support/held-timers.ts';
import { type HttpStack, initializeRequest, result, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';
import {
	answerNext,
	discovered,
	failure,
	initialized,
	instanceOf,
	logLine,
	META,
	METHOD_NOT_FOUND,
	metaIn,
	methodsTo,
	notification,
	speakLegacy,
	speakModern,
} from '../support/played-server.ts';

const PING = { jsonrpc: '2.0', id: 1, method: 'ping' };
const EXITED: InstanceEnd = { cause: 'exited', exitCode: 1, stderr: 'unexpected message' };
const REFUSAL = { code: -32022, message: 'Unsupported protocol version', data: { supported: ['2026-07-28'] } };

/** Another client of the second era than any before, so that it is not served by an Instance that is there. */
function stranger(stack: HttpStack, name: string): ModernHttp {
	return new ModernHttp(stack, { clientInfo: { name, version: '1' } });
}

/** Asks for the tools, and resolves with what became of it once the server was played. */
async function listTools(stack: HttpStack, nth: number, name: string, play: (instance: FakeInstance) => Promise<void>) {
	const answering = stranger(stack, name).send('tools/list');
	await play(await instanceOf(stack.launcher, 'alpha', nth));
	return answering;
}

async function answerTools(instance: FakeInstance): Promise<void> {
	await answerNext(instance, 'tools/list', { tools: [] });
}

describe('a client of the second era and a server that', () => {
	test('speaks both is given the second, and no word of the first', async (t) => {
		const stack = await startHttpStack(t);
		const answer = await listTools(stack, 0, 'a', async (instance) => {
			const meta = await speakModern(instance);
			assert.deepEqual(meta, {
				[`${META}protocolVersion`]: '2026-07-28',
				[`${META}clientInfo`]: { name: 'a', version: '1' },
				[`${META}clientCapabilities`]: {},
			});
			await answerTools(instance);
			assert.deepEqual(methodsTo(instance), ['server/discover', 'tools/list']);
		});
		assert.equal(answer.status, 200);
	});

	for (const error of [METHOD_NOT_FOUND, { code: -32602, message: 'Invalid request parameters' }, REFUSAL]) {
		test(`answers server/discover with ${error.code} is taken for one of the first, and asked no second time`, async (t) => {
			const stack = await startHttpStack(t);
			const first = await listTools(stack, 0, 'a', async (instance) => {
				instance.say(failure((await instance.hearRequest('server/discover')).id, error));
				await speakLegacy(instance, { probed: false });
				await answerTools(instance);
			});
			assert.equal(first.status, 200);
			const second = await listTools(stack, 1, 'b', async (instance) => {
				await speakLegacy(instance, { probed: false });
				await answerTools(instance);
			});
			assert.equal(second.status, 200);
			assert.equal(stack.launcher.launches, 2, 'each has one Instance, and none was launched in vain');
		});
	}

	test('answers server/discover without the revision of this era is taken for one of the first', async (t) => {
		const stack = await startHttpStack(t);
		const answer = await listTools(stack, 0, 'a', async (instance) => {
			const { id } = await instance.hearRequest('server/discover');
			instance.say(result(id, { ...discovered(), supportedVersions: ['2027-01-01'] }));
			await speakLegacy(instance, { probed: false });
			await answerTools(instance);
		});
		assert.equal(answer.status, 200);
	});

	test('says nothing to server/discover is initialized after a while, and is not told that nobody waits', async (t) => {
		const stack = await startHttpStack(t);
		const probe = new HeldTimers(t, INSTANCE_LIMITS.probeTimeoutMs);
		const answer = await listTools(stack, 0, 'a', async (instance) => {
			await instance.hearRequest('server/discover');
			await probe.fireNext();
			await speakLegacy(instance, { probed: false });
			await answerTools(instance);
			assert.deepEqual(methodsTo(instance), [
				'server/discover',
				'initialize',
				'notifications/initialized',
				'tools/list',
			]);
		});
		assert.equal(answer.status, 200);
		await listTools(stack, 1, 'b', async (instance) => {
			await speakLegacy(instance, { probed: false });
			await answerTools(instance);
		});
	});

	test('answers server/discover when nobody waits for it any more is not confused, nor are we', async (t) => {
		const stack = await startHttpStack(t);
		const probe = new HeldTimers(t, INSTANCE_LIMITS.probeTimeoutMs);
		const answer = await listTools(stack, 0, 'a', async (instance) => {
			const late = await instance.hearRequest('server/discover');
			await probe.fireNext();
			const { id } = await instance.hearRequest('initialize');
			instance.say(failure(late.id, METHOD_NOT_FOUND));
			instance.say(result(id, initialized()));
			await instance.hear();
			await answerTools(instance);
		});
		assert.deepEqual(answer.rpc.result?.['tools'], []);
	});

	test('exits at server/discover is launched once more, and then remembered', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stranger(stack, 'a').send('tools/list');
		const first = await instanceOf(stack.launcher, 'alpha');
		await first.hearRequest('server/discover');
		first.end(EXITED);
		const again = await instanceOf(stack.launcher, 'alpha', 1);
		await speakLegacy(again, { probed: false });
		await answerTools(again);
		assert.equal((await answering).status, 200);
		await listTools(stack, 2, 'b', async (instance) => {
			await speakLegacy(instance, { probed: false });
			await answerTools(instance);
		});
		assert.equal(stack.launcher.launches, 3);
	});

	test('exits at whatever it is told: its client hears why, and nothing is left', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stranger(stack, 'a').send('tools/list');
		for (const nth of [0, 1]) {
			const instance = await instanceOf(stack.launcher, 'alpha', nth);
			await instance.hear();
			instance.end(EXITED);
		}
		const { status, rpc } = await answering;
		assert.equal(status, 502);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		assert.equal(rpc.error?.data?.['stderr'], 'unexpected message');
		assert.equal(stack.launcher.live.size, 0);
		assert.equal(stack.launcher.launches, 2);
	});

	test('refuses both: the client hears what it said, and nothing is left', async (t) => {
		const stack = await startHttpStack(t);
		const { status, rpc } = await listTools(stack, 0, 'a', async (instance) => {
			instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
			instance.say(failure((await instance.hearRequest('initialize')).id, { code: -32000, message: 'No licence' }));
			await instance.ended;
		});
		assert.equal(status, 502);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_HANDSHAKE_REFUSED');
		assert.equal(rpc.error?.data?.['reason'], 'No licence');
		assert.equal(stack.launcher.live.size, 0);
	});

	test('is known to speak it and says nothing is given up in the end, as one that did not start', async (t) => {
		const stack = await startHttpStack(t);
		const { rpc } = await listTools(stack, 0, 'a', async (instance) => {
			await speakModern(instance);
			const { id } = await instance.hearRequest('tools/list');
			instance.end({ cause: 'exited', exitCode: 0, stderr: '' });
			assert.equal(id, 2);
		});
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
		const start = new HeldTimers(t, INSTANCE_LIMITS.startTimeoutMs);
		const answer = await listTools(stack, 1, 'b', async (instance) => {
			await instance.hearRequest('server/discover');
			await start.fireNext();
			await instance.ended;
		});
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_START_TIMEOUT');
		assert.equal(answer.status, 504);
	});
});

describe('what was no word about eras is not remembered as one:', () => {
	/** The next client's server is asked again, and speaks the second era. */
	async function assertAsked(stack: HttpStack, nth: number): Promise<void> {
		const answer = await listTools(stack, nth, 'next', async (instance) => {
			await speakModern(instance);
			await answerTools(instance);
		});
		assert.equal(answer.status, 200);
	}

	test('a client that hung up while its server was asked', async (t) => {
		const stack = await startHttpStack(t);
		const pending = stranger(stack, 'a').begin('tools/list');
		const instance = await instanceOf(stack.launcher, 'alpha');
		await instance.hearRequest('server/discover');
		pending.disconnect();
		await instance.ended;
		await assertAsked(stack, 1);
		assert.equal(stack.launcher.launches, 2);
	});

	for (const end of [
		{ cause: 'oom', exitCode: 137, stderr: '' },
		{ cause: 'lost', stderr: '' },
	] as const) {
		test(`a server that was asked and then ${end.cause === 'oom' ? 'ran out of memory' : 'lost'}`, async (t) => {
			const stack = await startHttpStack(t);
			const { rpc } = await listTools(stack, 0, 'a', async (instance) => {
				await instance.hearRequest('server/discover');
				instance.end(end);
			});
			assert.equal(rpc.error?.data?.['code'], end.cause === 'oom' ? 'SLIPWAY_INSTANCE_OOM' : 'SLIPWAY_INSTANCE_LOST');
			assert.equal(stack.launcher.launches, 1, 'it is not tried again');
			await assertAsked(stack, 1);
		});
	}

	test('a server of the second era alone that was slow once, and is asked again', async (t) => {
		const stack = await startHttpStack(t);
		const probe = new HeldTimers(t, INSTANCE_LIMITS.probeTimeoutMs);
		const answer = await listTools(stack, 0, 'a', async (instance) => {
			const late = await instance.hearRequest('server/discover');
			await probe.fireNext();
			instance.say(failure((await instance.hearRequest('initialize')).id, REFUSAL));
			instance.say(result(late.id, discovered()));
			await speakModern(instance);
			await answerTools(instance);
		});
		assert.equal(answer.status, 200);
		assert.equal(stack.launcher.launches, 1);
		// And known from then on, whoever asks.
		const again = stranger(stack, 'b').send('tools/list');
		await answerTools(await instanceOf(stack.launcher, 'alpha'));
		assert.equal((await again).status, 200);
	});

	test('a server of the second era alone that was slow once, for a client of the first', async (t) => {
		const stack = await startHttpStack(t);
		const probe = new HeldTimers(t, INSTANCE_LIMITS.probeTimeoutMs);
		const refused = stack.post('alpha', initializeRequest());
		const slow = await instanceOf(stack.launcher, 'alpha');
		slow.say(failure((await slow.hearRequest('initialize')).id, REFUSAL));
		await slow.hearRequest('server/discover');
		await probe.fireNext();
		assert.deepEqual((await refused).rpc.error, REFUSAL);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await instanceOf(stack.launcher, 'alpha', 1);
		instance.say(failure((await instance.hearRequest('initialize')).id, REFUSAL));
		await speakModern(instance);
		assert.equal((await answering).rpc.result?.['protocolVersion'], '2025-11-25');
	});

	test('a server of the second era alone that ended once', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stranger(stack, 'a').send('tools/list');
		const first = await instanceOf(stack.launcher, 'alpha');
		await first.hearRequest('server/discover');
		first.end(EXITED);
		const second = await instanceOf(stack.launcher, 'alpha', 1);
		second.say(failure((await second.hearRequest('initialize')).id, REFUSAL));
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_HANDSHAKE_REFUSED');
		await assertAsked(stack, 2);
	});

	test('a client of the first era that was refused for itself', async (t) => {
		const stack = await startHttpStack(t);
		const refusing = stack.post('alpha', initializeRequest());
		const instance = await stack.launcher.launched.next();
		instance.say(failure((await instance.hearRequest('initialize')).id, { code: -32000, message: 'Not you' }));
		instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
		assert.equal((await refusing).rpc.error?.message, 'Not you');
		await stack.open();
	});
});

describe('a client of the first era and a server that', () => {
	test('speaks both is given the first, and no word of the second', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post } = await stack.open();
		const answering = post({ jsonrpc: '2.0', id: 1, method: 'ping' });
		await answerNext(instance, 'ping');
		await answering;
		assert.deepEqual(methodsTo(instance), ['initialize', 'ping']);
	});

	for (const error of [METHOD_NOT_FOUND, REFUSAL]) {
		test(`refuses initialize with ${error.code} is asked for the second, and next time not for the first`, async (t) => {
			const stack = await startHttpStack(t);
			for (const nth of [0, 1]) {
				const answering = stack.post('alpha', initializeRequest());
				const instance = await instanceOf(stack.launcher, 'alpha', nth);
				if (nth === 0) instance.say(failure((await instance.hearRequest('initialize')).id, error));
				const meta = await speakModern(instance);
				assert.deepEqual(meta[`${META}clientInfo`], { name: 'test', version: '1' });
				const { status, rpc, headers } = await answering;
				assert.equal(status, 200);
				assert.equal(rpc.result?.['protocolVersion'], '2025-11-25');
				assert.ok(headers['mcp-session-id']);
			}
			assert.equal(stack.launcher.launches, 2);
		});
	}

	test('exits at initialize is launched once more, and then remembered', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		const first = await instanceOf(stack.launcher, 'alpha');
		await first.hearRequest('initialize');
		first.end(EXITED);
		const again = await instanceOf(stack.launcher, 'alpha', 1);
		await speakModern(again);
		assert.equal((await answering).rpc.result?.['protocolVersion'], '2025-11-25');
		const second = stack.post('alpha', initializeRequest());
		await speakModern(await instanceOf(stack.launcher, 'alpha', 2));
		assert.equal((await second).status, 200);
		assert.equal(stack.launcher.launches, 3);
	});

	test('exits at both: its client hears why, and it is not tried a third time, nor twice the next time', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		for (const [nth, method] of [
			[0, 'initialize'],
			[1, 'server/discover'],
		] as const) {
			const instance = await instanceOf(stack.launcher, 'alpha', nth);
			await instance.hearRequest(method);
			instance.end(EXITED);
		}
		const { status, rpc } = await answering;
		assert.equal(status, 502);
		assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		const next = stack.post('alpha', initializeRequest());
		const instance = await instanceOf(stack.launcher, 'alpha', 2);
		await instance.hearRequest('initialize');
		instance.end(EXITED);
		assert.equal((await next).status, 502);
		assert.equal(stack.launcher.launches, 3);
	});

	test('refuses both in its own words: the client gets those that it said to initialize', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await instanceOf(stack.launcher, 'alpha');
		const words = { code: -32099, message: 'No licence', data: { see: 'https://example.com' } };
		instance.say(failure((await instance.hearRequest('initialize')).id, words));
		instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
		const answer = await answering;
		assert.deepEqual(answer.rpc, { jsonrpc: '2.0', id: 0, error: words });
		assert.equal(answer.headers['mcp-session-id'], undefined, 'there is no session to come back to');
		await instance.ended;
		assert.equal(stack.launcher.live.size, 0);
	});

	test('refuses initialize and then says nothing: the client gets its words after a while', async (t) => {
		const stack = await startHttpStack(t);
		const probe = new HeldTimers(t, INSTANCE_LIMITS.probeTimeoutMs);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await instanceOf(stack.launcher, 'alpha');
		instance.say(failure((await instance.hearRequest('initialize')).id, REFUSAL));
		await instance.hearRequest('server/discover');
		await probe.fireNext();
		assert.deepEqual((await answering).rpc.error, REFUSAL);
		await instance.ended;
	});

	test('is known to speak the first and exits for once is not taken for another', async (t) => {
		const stack = await startHttpStack(t);
		await (await stack.open()).end();
		const answering = stack.post('alpha', initializeRequest());
		const instance = await stack.launcher.launched.next();
		instance.end(EXITED);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		assert.equal(stack.launcher.launches, 2);
		await stack.open();
	});
});

describe('a revision that we do not speak', () => {
	for (const asked of ['"9999-99-99"', '"2026-07-28"', '5', 'null', '"2025-11-25 "'])
		test(`is not passed on from a client, which gets the newest that the server has of ours: ${asked}`, async (t) => {
			const stack = await startHttpStack(t);
			const odd = '"x":1.0,"clientInfo":{"name":"\\u0041","version":"1"},"capabilities":{}';
			const answering = stack.post(
				'alpha',
				`{"params":{"protocolVersion":${asked},${odd}},"method":"initialize","id":"i","jsonrpc":"2.0"}`,
			);
			const instance = await stack.launcher.launched.next();
			const line = await instance.lines.next();
			const { id, params } = JSON.parse(line) as { id: number; params: { protocolVersion: string } };
			assert.equal(
				line,
				`{"params":{"protocolVersion":"2025-11-25",${odd}},"method":"initialize","id":${id},"jsonrpc":"2.0"}`,
			);
			// Some say what they were told.
			instance.say(result(id, { ...initialized(), protocolVersion: params.protocolVersion }));
			const { rpc, headers } = await answering;
			assert.equal(rpc.result?.['protocolVersion'], '2025-11-25');
			const pinging = stack.post('alpha', PING, {
				'mcp-session-id': String(headers['mcp-session-id']),
				'mcp-protocol-version': '2025-11-25',
			});
			await answerNext(instance, 'ping');
			assert.equal((await pinging).status, 200);
		});

	const results: unknown[] = [
		{ ...initialized(), protocolVersion: '9999-99-99' },
		{ ...initialized(), protocolVersion: '2026-07-28' },
		{ ...initialized(), protocolVersion: 5 },
		{},
		null,
		'text',
		[initialized()],
	];
	for (const given of results) {
		test(`of a server is a refusal, to a client of either era: ${JSON.stringify(given)}`, async (t) => {
			const stack = await startHttpStack(t);
			const play = async (nth: number, probed: boolean): Promise<void> => {
				const instance = await instanceOf(stack.launcher, 'alpha', nth);
				if (probed) instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
				const { id } = await instance.hearRequest('initialize');
				instance.say(JSON.stringify({ jsonrpc: '2.0', id, result: given }));
				await instance.ended;
			};
			const initializing = stack.post('alpha', initializeRequest());
			await play(0, false);
			const answer = await initializing;
			assert.deepEqual([answer.status, answer.rpc.error?.data?.['code']], [502, 'SLIPWAY_HANDSHAKE_REFUSED']);
			assert.ok(String(answer.rpc.error?.message).length > 60, 'it says why');
			assert.equal(answer.headers['mcp-session-id'], undefined);
			const listing = stranger(stack, 'a').send('tools/list');
			await play(1, true);
			assert.equal((await listing).rpc.error?.data?.['code'], 'SLIPWAY_HANDSHAKE_REFUSED');
		});
	}
});

test('the verdict is forgotten when the server is another: its spec has changed', async (t) => {
	const stack = await startHttpStack(t);
	await listTools(stack, 0, 'a', async (instance) => {
		await speakLegacy(instance);
		await answerTools(instance);
	});
	stack.launcher.state = { ...stack.launcher.state, servers: [serverView('alpha', { spec: 'another' })] };
	await listTools(stack, 1, 'b', async (instance) => {
		await speakModern(instance);
		await answerTools(instance);
	});
});

test('the verdict on one server is none on another', async (t) => {
	const stack = await startHttpStack(t);
	await listTools(stack, 0, 'a', async (instance) => {
		await speakLegacy(instance);
		await answerTools(instance);
	});
	const answering = new ModernHttp(stack, { path: '/servers/beta/mcp' }).send('tools/list');
	const beta = await instanceOf(stack.launcher, 'beta');
	await speakModern(beta);
	await answerTools(beta);
	assert.equal((await answering).status, 200);
});

test('a server of the second era hears nothing without an envelope, from the first word to a cancellation', async (t) => {
	const stack = await startHttpStack(t);
	const client = new ModernHttp(stack);
	const listing = client.send('tools/list');
	const instance = await instanceOf(stack.launcher, 'alpha');
	await speakModern(instance);
	await answerTools(instance);
	await listing;
	const calling = client.call('slow');
	await instance.hearRequest('tools/call');
	calling.disconnect();
	assert.equal((await instance.hear()).method, 'notifications/cancelled');
	const legacy = stack.post('alpha', initializeRequest());
	const other = await instanceOf(stack.launcher, 'alpha', 1);
	// It is not known yet whether it speaks the first.
	other.say(failure((await other.hearRequest('initialize')).id, METHOD_NOT_FOUND));
	await speakModern(other);
	const session = String((await legacy).headers['mcp-session-id']);
	const inSession = { 'mcp-session-id': session };
	await stack.post('alpha', notification('notifications/initialized'), inSession);
	await stack.post('alpha', notification('notifications/roots/list_changed'), inSession);
	const called = stack.post('alpha', { jsonrpc: '2.0', id: 5, method: 'tools/call', params: { name: 'x' } }, inSession);
	await other.hearRequest('tools/call');
	await stack.post('alpha', notification('notifications/cancelled', { requestId: 5 }), inSession);
	await called;
	const cancelled = await other.hear();
	assert.equal(cancelled.method, 'notifications/cancelled');
	for (const line of [...instance.received, ...other.received.slice(1)])
		assert.equal(metaIn(JSON.parse(line))[`${META}protocolVersion`], '2026-07-28', line);
	assert.deepEqual(methodsTo(other), ['initialize', 'server/discover', 'tools/call', 'notifications/cancelled']);
});

test('nothing goes between the handshake and its server: a client that cancels, notifies or asks waits', async (t) => {
	const stack = await startHttpStack(t);
	const client = new ModernHttp(stack);
	const gone = client.call('gone');
	const stays = client.call('stays');
	const instance = await instanceOf(stack.launcher, 'alpha');
	const discover = await instance.hearRequest('server/discover');
	gone.disconnect();
	await assert.rejects(gone.response);
	assert.equal((await client.post(notification('notifications/roots/list_changed')).reply()).status, 400);
	instance.say(failure(discover.id, METHOD_NOT_FOUND));
	await speakLegacy(instance, { probed: false });
	const { params } = await answerNext(instance, 'tools/call');
	assert.equal(params?.['name'], 'stays');
	assert.equal((await stays.reply()).status, 200);
	assert.deepEqual(methodsTo(instance), ['server/discover', 'initialize', 'notifications/initialized', 'tools/call']);
});

test("a server's ping is answered while it is asked what it speaks", async (t) => {
	const stack = await startHttpStack(t);
	const answer = await listTools(stack, 0, 'a', async (instance) => {
		instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
		const { id } = await instance.hearRequest('initialize');
		instance.say({ jsonrpc: '2.0', id: 'p', method: 'ping' });
		assert.deepEqual(await instance.hear(), result('p'));
		instance.say(logLine('starting'));
		instance.say(result(id, initialized()));
		await instance.hear();
		await answerTools(instance);
	});
	assert.equal(answer.status, 200);
});

test('a server whose launch fails gives its error, and is no word about eras', async (t) => {
	const stack = await startHttpStack(t);
	stack.launcher.beforeLaunch = () => {
		throw new Error('no engine');
	};
	assert.equal((await stranger(stack, 'a').send('tools/list')).status, 500);
	stack.launcher.beforeLaunch = () => undefined;
	await listTools(stack, 0, 'b', async (instance) => {
		await speakModern(instance);
		await answerTools(instance);
	});
});
