import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { InstanceEnd } from '../../src/channel.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import { SESSION_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import { classify, type RpcId } from '../../src/mcp/jsonrpc.ts';
import { type CallReport, type Exchange, Upstream } from '../../src/mcp/upstream.ts';
import { FakeInstance, type Rpc } from '../support/fake-launcher.ts';
import { Inbox } from '../support/inbox.ts';

class Recorder implements Exchange {
	attached = true;
	readonly ends = new Inbox<string | SlipwayError>('the end of a call');
	readonly before: string[] = [];
	related(text: string): void {
		this.before.push(text);
	}
	answer(text: string): void {
		this.ends.push(text);
	}
	fail(_: RpcId, error: SlipwayError): void {
		this.ends.push(error);
	}
	drop(): void {
		this.ends.push('dropped');
	}
}

function setUp() {
	const instance = new FakeInstance('alpha' as ServerName);
	const reports: CallReport[] = [];
	const noise: { readonly bytes: number; readonly told: boolean }[] = [];
	const tools: string[] = [];
	const standing: string[] = [];
	const upstream = new Upstream(instance, {
		standing: { send: (text) => standing.push(text) > 0 },
		observer: {
			onCall: (report) => reports.push(report),
			onNoise: (bytes, told) => noise.push({ bytes, told }),
			onTools: (names) => tools.push(...names),
		},
	});
	const send = (message: Rpc, timeoutMs = 1_000): Recorder => {
		const exchange = new Recorder();
		const parsed = classify(message);
		assert.ok(parsed?.kind === 'request');
		upstream.request(JSON.stringify(message), parsed, { exchange, timeoutMs });
		return exchange;
	};
	const initialize = async (): Promise<void> => {
		const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
		instance.say({ jsonrpc: '2.0', id: (await instance.hearRequest('initialize')).id, result: {} });
		await exchange.ends.next();
	};
	return { instance, upstream, reports, noise, tools, standing, send, initialize };
}

const call = (id: RpcId, name = 'x'): Rpc => ({ jsonrpc: '2.0', id, method: 'tools/call', params: { name } });

describe('the end of the Channel', () => {
	const table: [InstanceEnd, initialized: boolean, ErrorCode][] = [
		[{ cause: 'exited', exitCode: 1, stderr: 'e' }, true, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'exited', exitCode: 127, stderr: 'e' }, true, 'SLIPWAY_INSTANCE_EXITED'],
		[{ cause: 'exited', exitCode: 1, stderr: 'e' }, false, 'SLIPWAY_START_FAILED'],
		[{ cause: 'exited', exitCode: 126, stderr: 'e' }, false, 'SLIPWAY_COMMAND_INVALID'],
		[{ cause: 'exited', exitCode: 127, stderr: 'e' }, false, 'SLIPWAY_COMMAND_INVALID'],
		[{ cause: 'oom', exitCode: 137, stderr: 'e' }, false, 'SLIPWAY_INSTANCE_OOM'],
		[{ cause: 'lost', stderr: 'e' }, true, 'SLIPWAY_INSTANCE_LOST'],
		[{ cause: 'frame', stderr: 'e' }, true, 'SLIPWAY_FRAME_INVALID'],
		[{ cause: 'stopped', stderr: 'e' }, true, 'SLIPWAY_SESSION_ENDED'],
	];
	for (const [end, initialized, code] of table) {
		test(`${end.cause} ${end.exitCode ?? ''} ${initialized ? 'after' : 'before'} initialize: ${code}`, async () => {
			const { instance, upstream, send, initialize, reports } = setUp();
			if (initialized) await initialize();
			const exchanges = [send(call(1)), send(call(2))];
			instance.end(end);
			for (const exchange of exchanges) {
				const told = await exchange.ends.next();
				assert.ok(told instanceof SlipwayError);
				assert.equal(told.code, code);
				if (code !== 'SLIPWAY_SESSION_ENDED') assert.equal(told.details.stderr, 'e');
				assert.equal(told.details.exitCode, end.exitCode);
			}
			assert.equal((await upstream.ended).code, code);
			assert.equal(upstream.inFlight, 0);
			assert.throws(() => send(call(3)), { code });
			assert.equal(reports.at(-1)?.outcome, code);
		});
	}
});

test('an answer in several chunks, or with others in one, is the same', async () => {
	const { instance, send } = setUp();
	const exchanges = [send(call('a')), send(call('b'))];
	const ids = [(await instance.hear()).id, (await instance.hear()).id];
	const text = `{"jsonrpc":"2.0","id":${ids[0]},"result":{"é":1}}\n{"jsonrpc":"2.0","id":${ids[1]},"result":2}\n`;
	for (const byte of Buffer.from(text)) instance.raw(Buffer.from([byte]));
	assert.equal(await exchanges[0]?.ends.next(), '{"jsonrpc":"2.0","id":"a","result":{"é":1}}');
	assert.equal(await exchanges[1]?.ends.next(), '{"jsonrpc":"2.0","id":"b","result":2}');
});

test('ids on the wire are never used twice, whatever the ids of clients', async () => {
	const { instance, send, upstream } = setUp();
	const seen = new Set<unknown>();
	for (let i = 0; i < 100; i++) {
		const exchange = send(call(i % 2));
		const { id } = await instance.hear();
		assert.ok(!seen.has(id));
		seen.add(id);
		instance.say({ jsonrpc: '2.0', id: id ?? null, result: {} });
		await exchange.ends.next();
	}
	assert.equal(upstream.inFlight, 0);
});

test(`call ${SESSION_LIMITS.inFlightMax + 1} is refused, and an id in flight`, () => {
	const { send } = setUp();
	for (let i = 0; i < SESSION_LIMITS.inFlightMax; i++) send(call(i));
	assert.throws(() => send(call('more')), { code: 'SLIPWAY_CALLS_FULL' });
	const other = setUp();
	other.send(call(1));
	assert.throws(() => other.send(call(1)), { code: 'SLIPWAY_DUPLICATE_ID' });
	other.send(call('1'));
});

test('progress that comes after the answer goes nowhere, also when the token was used anew', async () => {
	const { instance, send } = setUp();
	const progress: Rpc = {
		jsonrpc: '2.0',
		method: 'notifications/progress',
		params: { progressToken: 't', progress: 1 },
	};
	const withToken = (id: RpcId): Rpc => ({ ...call(id), params: { name: 'x', _meta: { progressToken: 't' } } });
	const first = send(withToken(1));
	const second = send(withToken(2));
	const ids = [(await instance.hear()).id, (await instance.hear()).id];
	instance.say({ jsonrpc: '2.0', id: ids[0] ?? null, result: {} });
	await first.ends.next();
	instance.say(progress);
	instance.say({ jsonrpc: '2.0', id: ids[1] ?? null, result: {} });
	await second.ends.next();
	instance.say(progress);
	const last = send(call(3));
	instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: {} });
	await last.ends.next();
	assert.deepEqual([first.before.length, second.before.length], [0, 1]);
});

test('initialize is not cancelled: no cancellation reaches the server, and the answer arrives', async () => {
	const { instance, upstream, send } = setUp();
	const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
	const { id } = await instance.hearRequest('initialize');
	const cancel = { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'i' } };
	const parsed = classify(cancel);
	assert.ok(parsed?.kind === 'notification');
	upstream.notify(JSON.stringify(cancel), parsed);
	instance.say({ jsonrpc: '2.0', id, result: {} });
	assert.equal(await exchange.ends.next(), '{"jsonrpc":"2.0","id":"i","result":{}}');
	assert.equal(instance.lines.size, 0);
});

test('deadlines: each call has its own, told once, and the report says so', async () => {
	const { instance, upstream, send, initialize, reports } = setUp();
	await initialize();
	const short = send(call(1), 1_000);
	const long = send(call(2), 100_000);
	const { id } = await instance.hear();
	await instance.hear();
	const nowMs = performance.now();
	upstream.tick(nowMs + 500);
	assert.equal(upstream.inFlight, 2);
	upstream.tick(nowMs + 1_001);
	upstream.tick(nowMs + 1_002);
	const told = await short.ends.next();
	assert.ok(told instanceof SlipwayError && told.code === 'SLIPWAY_CALL_TIMEOUT');
	const cancelled = await instance.hear();
	assert.deepEqual(cancelled.params, { requestId: id, reason: 'timeout' });
	assert.equal(short.ends.size + long.ends.size, 0);
	assert.equal(reports.at(-1)?.outcome, 'SLIPWAY_CALL_TIMEOUT');
	upstream.tick(nowMs + SESSION_LIMITS.callTimeoutMsMax + 1_000);
	assert.ok((await long.ends.next()) instanceof SlipwayError);
});

test('a late answer to initialize finds a server that was stopped', async () => {
	const { instance, upstream, send } = setUp();
	const exchange = send({ jsonrpc: '2.0', id: 'i', method: 'initialize' });
	await instance.hear();
	upstream.tick(performance.now() + 1_001);
	assert.equal(instance.stopped, 'prompt');
	assert.throws(() => send(call(1)), { code: 'SLIPWAY_START_TIMEOUT' });
	const told = await exchange.ends.next();
	assert.ok(told instanceof SlipwayError && told.code === 'SLIPWAY_START_TIMEOUT');
});

test('holds count: the server goes on when the last is let go, each once', () => {
	const { instance, upstream } = setUp();
	const [one, two] = [upstream.hold(), upstream.hold()];
	one();
	one();
	assert.ok(instance.stream.isPaused());
	two();
	assert.ok(!instance.stream.isPaused());
});

test('the names of tools are told as the server lists them, and what is no list is none', async () => {
	const { instance, send, tools } = setUp();
	for (const result of [{ tools: [{ name: 'a' }, { name: 1 }, null, 'x', { name: 'b' }] }, { tools: 5 }, {}]) {
		const exchange = send({ jsonrpc: '2.0', id: 1, method: 'tools/list' });
		instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result });
		await exchange.ends.next();
	}
	assert.deepEqual(tools, ['a', 'b']);
});

describe('noise', () => {
	test('is counted, and told of a few times, by its length and never by its text', async () => {
		const { instance, noise, send } = setUp();
		instance.raw(`\u001b[31mred\n${'x'.repeat(10_000)}\n`);
		for (let i = 0; i < 5; i++) instance.raw('more\n');
		const exchange = send(call(1));
		instance.say({ jsonrpc: '2.0', id: (await instance.hear()).id ?? null, result: {} });
		await exchange.ends.next();
		assert.deepEqual(
			noise.map(({ bytes }) => bytes),
			[8, 10_000, 4, 4, 4, 4, 4],
		);
		assert.equal(noise.filter(({ told }) => told).length, STDIO_LIMITS.noiseToldMax);
	});

	test('in a batch of the server is the member alone', async () => {
		const { instance, noise, send } = setUp();
		const exchange = send(call(1));
		const { id } = await instance.hear();
		instance.raw(`[{"no":1},{"jsonrpc":"2.0","id":${id},"result":{}},[]]\n`);
		await exchange.ends.next();
		await new Promise((resolve) => setImmediate(resolve));
		assert.equal(noise.length, 2);
	});
});

test('JSON that is deep, huge, or full of strange keys is passed on or noise, and harms nothing', async () => {
	const { instance, send, noise, standing } = setUp();
	const exchange = send(call(1));
	const { id } = await instance.hear();
	const depth = 10_000;
	instance.raw(`${'['.repeat(depth)}${']'.repeat(depth)}\n`);
	instance.raw(`${'['.repeat(depth)}\n`);
	const deep = `{"jsonrpc":"2.0","method":"notifications/x","params":{"a":${'['.repeat(depth)}${']'.repeat(depth)},"__proto__":{"polluted":1}}}`;
	instance.raw(`${deep}\n`);
	instance.raw(
		`{"jsonrpc":"2.0","method":"notifications/y","params":{"s":"${'s'.repeat(STDIO_LIMITS.lineBytesMax - 100)}"}}\n`,
	);
	instance.raw(`{"jsonrpc":"2.0","id":${id},"id":${id},"result":{"n":1e999}}\n`);
	assert.equal(await exchange.ends.next(), `{"jsonrpc":"2.0","id":${id},"id":1,"result":{"n":1e999}}`);
	assert.equal(standing[0], deep);
	assert.equal(standing.length, 2);
	assert.equal(noise.length, 2);
	assert.equal(Reflect.get({}, 'polluted'), undefined);
});
