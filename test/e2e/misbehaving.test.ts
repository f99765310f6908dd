/** Servers that break a rule: their clients get an answer that says what happened, and nobody else notices. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CRASH_LIMITS } from '../../src/limits.ts';
import { rawResult } from '../fixtures/raw-result.ts';
import { answerOf, assertStatus, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { connectSdk } from '../support/client-sdk.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

const MODES = [
	'exit-at-once',
	'exit-after-initialize',
	'silent',
	'garbage',
	'wrong-version',
	'deaf',
	'noise',
	'noise-flood',
	'long-line',
	'endless-line',
	'ignore-eof',
	'ignore-eof-and-term',
	'closes-stdout',
	'invalid-utf8',
	'crlf',
	'chunked',
	'batch',
	'duplicate-answer',
	'stray-answer',
	'big-integers',
] as const;
type Mode = (typeof MODES)[number];

/** Far beyond what it takes when nothing else runs, and far below what a client would wait for in vain. */
const SOON_MS = 20_000;

let stack: Stack;
let bystander: Promise<number>;
const over = new AbortController();

before(async () => {
	const image = await fixtureImage();
	const entries = MODES.map((mode) =>
		fixture(
			mode,
			image,
			['misbehaving.ts', mode],
			['deaf', 'closes-stdout'].includes(mode) ? { callTimeoutMs: 2000 } : {},
		),
	);
	stack = await startStack({
		catalog: catalogOf(
			...entries,
			fixture('exit-at-once-3', image, ['misbehaving.ts', 'exit-at-once', '3']),
			fixture('exit-again', image, ['misbehaving.ts', 'exit-at-once', '4']),
			fixture('no-command', image, ['x'], { command: ['/etc'] }),
			fixture('conversation', image, ['conversation.ts']),
		),
	});
	bystander = workOn();
});

/** Somebody whose server is well, at work all the while. Resolves with how many calls were answered. */
async function workOn(): Promise<number> {
	const { call, close } = await connectSdk(stack.endpoint('conversation'), { name: 'bystander' });
	let calls = 0;
	for (; !over.signal.aborted; calls++) {
		const startedAtMs = performance.now();
		assert.equal(await call('echo', { text: `call ${calls}` }), `call ${calls}`);
		assert.ok(performance.now() - startedAtMs < SOON_MS, 'the bystander had to wait');
		await sleep(50);
	}
	await close();
	return calls;
}

after(async () => {
	over.abort();
	try {
		assert.ok((await bystander) > 0, 'the bystander did not get far');
	} finally {
		await stack.stop();
	}
});

function client(mode: string): RawClient {
	return new RawClient(stack.endpoint(mode));
}

async function open(mode: Mode): Promise<RawClient> {
	const raw = client(mode);
	await raw.open();
	return raw;
}

function codeOf({ error }: RpcMessage): unknown {
	return error?.data?.['code'];
}

/** The session goes on, on another container. */
async function assertGoesOn(raw: RawClient): Promise<void> {
	assert.ok(Array.isArray((await raw.request('tools/list')).result?.['tools']));
	assert.equal(await raw.end(), 200);
}

/** Waits until an Instance of a server has ended by itself. */
async function endOf(server: string): Promise<void> {
	const ended = Promise.withResolvers<void>();
	const look = async (): Promise<void> => {
		const reports = await stack.launcher.report();
		if (reports.some((report) => report.server === server && report.ended !== undefined)) ended.resolve();
	};
	const unsubscribe = stack.remote.subscribe(() => void look());
	await look();
	await ended.promise.finally(unsubscribe);
}

async function metric(name: string, labels: string): Promise<number> {
	const response = await fetch(`${stack.url}/metrics`, { headers: { authorization: `Bearer ${API_KEY}` } });
	const line = (await response.text()).split('\n').find((text) => text.startsWith(`${name}{${labels}}`));
	return Number(line?.split(' ').at(-1) ?? 0);
}

/** How many Instances of a server were started. */
async function startsOf(server: string): Promise<number> {
	return (await stack.launcher.report()).filter((report) => report.server === server).length;
}

describe('what is slow, and servers that do not come up', { concurrency: 5 }, () => {
	test('one that never reads: calls time out, and what is sent to it is bounded', { timeout: 100_000 }, async () => {
		const raw = await open('deaf');
		const answer = await raw.call('echo', { text: 'hello?' });
		assert.equal(codeOf(answer), 'SLIPWAY_CALL_TIMEOUT');
		const filler = { padding: 'x'.repeat(64 * 1024) };
		let accepted = 0;
		let refusal: RpcMessage | undefined;
		while (refusal === undefined && accepted < 500) {
			const reply = await raw.notify('notifications/filler', filler);
			if (reply.status === 202) accepted += 1;
			else refusal = await answerOf(reply);
		}
		assert.equal(codeOf(refusal ?? { jsonrpc: '2.0' }), 'SLIPWAY_STDIN_STALL');
		// The bound, and what the pipes on the way hold.
		assert.ok(accepted >= 32 && accepted < 320, `${accepted} were taken`);
		// In the end it is ended for it.
		await endOf('deaf');
		assert.equal(await raw.end(), 200);
	});

	test('silent: the client hears of it when its time is over', { timeout: 90_000 }, async () => {
		const startedAtMs = performance.now();
		const reply = await client('silent').sendInitialize();
		// It saw life long before.
		assert.ok(performance.now() - startedAtMs < SOON_MS);
		assert.equal(reply.isStream, true);
		const { error } = await answerOf(reply);
		assert.equal(error?.code, -32000);
		assert.equal(error?.data?.['code'], 'SLIPWAY_START_TIMEOUT');
		assert.equal(error?.data?.['server'], 'silent');
		assert.ok(performance.now() - startedAtMs < 45_000);
	});

	test('a server that exits at once: its exit code and its last words', async () => {
		for (const [name, exitCode] of [
			['exit-at-once', 1],
			['exit-at-once-3', 3],
		] as const) {
			const reply = await client(name).sendInitialize();
			assertStatus(reply, 502);
			// A stream that was opened because the start was slow has one, and it is over with the stream.
			if (!reply.isStream) assert.equal(reply.headers.get('mcp-session-id'), null);
			const { error } = await answerOf(reply);
			assert.equal(error?.data?.['code'], 'SLIPWAY_START_FAILED');
			assert.equal(error?.data?.['exitCode'], exitCode);
			assert.equal(String(error?.data?.['stderr']).trim(), 'exit-at-once: cannot find my configuration');
			assert.equal(error?.data?.['requestId'], reply.headers.get('x-request-id'));
		}
		await assert.rejects(connectSdk(stack.endpoint('exit-at-once')), /SLIPWAY_START_FAILED/);
	});

	test('one that exits at once again and again: the sixth client is told so at once, and nothing is started', async () => {
		for (let failure = 0; failure < CRASH_LIMITS.failuresMax; failure++)
			assert.equal(codeOf(await answerOf(await client('exit-again').sendInitialize())), 'SLIPWAY_START_FAILED');
		const starts = await startsOf('exit-again');
		assert.ok(starts >= CRASH_LIMITS.failuresMax);
		const reply = await client('exit-again').sendInitialize();
		assertStatus(reply, 503);
		const retryAfterSeconds = Number(reply.headers.get('retry-after'));
		assert.ok(retryAfterSeconds > 0 && retryAfterSeconds <= 30, `${retryAfterSeconds}`);
		const { error } = await answerOf(reply);
		assert.equal(error?.data?.['code'], 'SLIPWAY_CRASH_LOOP');
		assert.equal(error?.data?.['server'], 'exit-again');
		assert.equal(error?.data?.['exitCode'], 4);
		assert.equal(String(error?.data?.['stderr']).trim(), 'exit-at-once: cannot find my configuration');
		assert.equal(await startsOf('exit-again'), starts);
		assert.equal(await metric('slipway_breaker_open', 'server="exit-again"'), 1);
	});

	test('a command that cannot be run', async () => {
		const reply = await client('no-command').sendInitialize();
		assertStatus(reply, 502);
		assert.equal(codeOf(await answerOf(reply)), 'SLIPWAY_COMMAND_INVALID');
	});

	test('garbage: it is ended as soon as that is clear', async () => {
		const answer = await client('garbage').request('initialize', {
			protocolVersion: '2025-11-25',
			capabilities: {},
			clientInfo: { name: 'raw', version: '1.0.0' },
		});
		assert.equal(codeOf(answer), 'SLIPWAY_PROTOCOL_NOISE');
	});

	test('a server that refuses the revision says so itself, and there is no session', async () => {
		const raw = client('wrong-version');
		const reply = await raw.sendInitialize();
		assert.deepEqual((await answerOf(reply)).error, {
			code: -32602,
			message: 'Unsupported protocol version',
			data: { supported: ['1999-12-31'] },
		});
		assert.equal(reply.headers.get('mcp-session-id'), null);
	});
});

describe('servers that end or stop listening', { concurrency: 4 }, () => {
	test('one that ends after `initialize`: its calls are told so, and soon that it is not started for a while', async () => {
		const raw = await openOrEnd('exit-after-initialize');
		for (let round = 0; ; round++) {
			assert.ok(round < 20, 'it is started again and again');
			const { error } = await answerOf(await raw.send('tools/list'));
			assert.equal(error?.data?.['exitCode'], 1);
			if (error?.data?.['code'] === 'SLIPWAY_CRASH_LOOP') break;
			assert.equal(error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
		}
		assert.equal(await raw.end(), 200);
	});

	test('one that closes its stdout after an answer: nobody waits for longer than a call may take', async () => {
		const raw = await open('closes-stdout');
		assert.equal(textOf(await raw.call('echo', { text: 'the last' })), 'the last');
		// The engine tells of the end of stdout and stderr together only, so that it shows in a call without an answer.
		assert.equal(codeOf(await raw.call('echo', { text: 'nobody hears' })), 'SLIPWAY_CALL_TIMEOUT');
		assert.equal(await raw.end(), 200);
	});

	for (const mode of ['ignore-eof', 'ignore-eof-and-term'] as const) {
		test(`${mode}: DELETE ends it all the same`, async () => {
			const raw = await open(mode);
			assert.equal(textOf(await raw.call('echo', { text: 'hello' })), 'hello');
			assert.equal(await raw.end(), 200);
			const left = await stack.containers();
			assert.ok(!left.some(({ Labels }) => Labels['dev.slipway.server'] === mode), 'its container is there');
		});
	}
});

/** The handshake with a server that may be gone before it is complete. */
async function openOrEnd(mode: Mode): Promise<RawClient> {
	const raw = client(mode);
	const reply = await raw.sendInitialize();
	assert.equal((await answerOf(reply)).error, undefined);
	raw.sessionId = reply.headers.get('mcp-session-id') ?? undefined;
	return raw;
}

describe('servers that write what they should not', { concurrency: 4 }, () => {
	test('noise between messages is passed over and counted', async () => {
		const raw = await open('noise');
		for (let call = 0; call < 3; call++) assert.equal(textOf(await raw.call('echo', { text: 'ok' })), 'ok');
		assert.ok((await metric('slipway_noise_lines_total', 'server="noise"')) > 10);
		await raw.end();
	});

	test('a flood of noise ends the server', async () => {
		const raw = await open('noise-flood');
		assert.equal(codeOf(await raw.call('flood')), 'SLIPWAY_PROTOCOL_NOISE');
		await assertGoesOn(raw);
	});

	test('a line of 9 MiB is an answer, and one of 11 MiB is the end', async () => {
		const raw = await open('long-line');
		const answer = await raw.call('long', { bytes: 9 * 1024 ** 2 });
		assert.ok(textOf(answer).length > 9_400_000);
		assert.equal(codeOf(await raw.call('long')), 'SLIPWAY_LINE_TOO_LONG');
		await assertGoesOn(raw);
	});

	test('a line without an end is cut in time', async () => {
		const raw = await open('endless-line');
		const startedAtMs = performance.now();
		const answer = await raw.call('endless');
		assert.equal(codeOf(answer), 'SLIPWAY_LINE_TOO_LONG');
		assert.ok(performance.now() - startedAtMs < SOON_MS);
		await assertGoesOn(raw);
	});

	test('bytes that are not UTF-8 are noise, and never part of an answer', async () => {
		const raw = await open('invalid-utf8');
		const reply = await raw.send('tools/call', { name: 'echo', arguments: { text: 'zażółć' } });
		assert.equal(textOf(await answerOf(reply)), 'zażółć');
		assert.ok(!(await reply.text).includes('\ufffd'));
		assert.equal(await metric('slipway_noise_lines_total', 'server="invalid-utf8"'), 4);
		await raw.end();
	});

	for (const mode of ['crlf', 'chunked', 'batch'] as const) {
		test(`${mode}: works`, async () => {
			const { client: sdk, call, close } = await connectSdk(stack.endpoint(mode));
			const { tools } = await sdk.listTools();
			assert.equal(tools[0]?.description, 'Zażółć gęślą jaźń 🚢');
			assert.equal(await call('echo', { text: 'żółw 🐢' }), 'żółw 🐢');
			assert.deepEqual(await sdk.ping(), {});
			await close();
		});
	}

	for (const mode of ['duplicate-answer', 'stray-answer'] as const) {
		test(`${mode}: each call has one answer, its own`, async () => {
			const raw = await open(mode);
			const stream = await raw.stream();
			// More than may be in flight at once: none stays there after its answer.
			for (let round = 0; round < 4; round++) {
				const ids = Array.from({ length: 10 }, (_, index) => round * 10 + index);
				const replies = await Promise.all(
					ids.map((id) => raw.send('tools/call', { name: 'echo', arguments: { text: `${id}` } }, id)),
				);
				for (const [index, reply] of replies.entries()) {
					await reply.text;
					assert.equal(reply.messages.items.length, 1);
					assert.equal(reply.messages.items[0]?.id, ids[index]);
					assert.equal(textOf(reply.messages.items[0] ?? {}), `${ids[index]}`);
				}
			}
			await raw.end();
			await stream.text;
			assert.deepEqual(stream.messages.items, []);
		});
	}

	test('an answer arrives byte for byte', async () => {
		const raw = await open('big-integers');
		for (const id of [7, 'an "id"']) {
			const reply = await raw.send('tools/call', { name: 'numbers', arguments: {} }, id);
			assert.equal(await reply.text, `{"result":${rawResult},"id":${JSON.stringify(id)},"jsonrpc":"2.0"}`);
		}
		await raw.end();
	});

	test('and a request arrives at the server byte for byte', async () => {
		const raw = await open('crlf');
		const reply = await raw.post(
			'{"params":{"name":"echo","arguments":{"text":"t"},"xBig":12345678.5e0,"\\u0061":1.50},"id":"x","method":"tools/call","jsonrpc":"2.0"}',
		);
		const { result } = await answerOf(reply);
		assert.deepEqual(Reflect.get(Object(result?.['_meta']), 'test/params'), {
			name: 'echo',
			arguments: { text: 't' },
			xBig: 12_345_678.5,
			a: 1.5,
		});
		await raw.end();
	});
});
