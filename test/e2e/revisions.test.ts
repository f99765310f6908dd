/** The revisions of the protocol with `initialize`, each on the wire as its clients speak it. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { answerOf, RawClient, REVISIONS, textOf } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
before(async () => {
	const catalog = catalogOf(fixture('conversation', await fixtureImage(), ['conversation.ts']));
	stack = await startStack({ catalog });
});
after(() => stack.stop());

const client = (revision: (typeof REVISIONS)[number]) => new RawClient(stack.endpoint('conversation'), { revision });

describe('revisions', { concurrency: 3 }, () => {
	for (const revision of REVISIONS) {
		test(`${revision} is negotiated and spoken`, async () => {
			const raw = client(revision);
			const { result } = await raw.open();
			assert.equal(result?.['protocolVersion'], revision);
			assert.match(raw.sessionId ?? '', /^[\x21-\x7e]{22,}$/);
			assert.equal(textOf(await raw.call('echo', { text: revision })), revision);
			const list = await raw.request('tools/list', {}, 'a-string-for-an-id');
			assert.equal(list.id, 'a-string-for-an-id');
			assert.ok(Array.isArray(list.result?.['tools']));
			const progress = await raw.send('tools/call', {
				name: 'progress',
				arguments: { steps: 2, delayMs: 1 },
				_meta: { progressToken: 0 },
			});
			await progress.text;
			assert.equal(progress.messages.items.length, 3);
			assert.equal(await raw.end(), 200);
		});
	}

	test('an unknown revision is negotiated down, and refused as a header', async () => {
		const raw = client('2025-11-25');
		const reply = await raw.send('initialize', {
			protocolVersion: '2099-01-01',
			capabilities: {},
			clientInfo: { name: 'raw', version: '1.0.0' },
		});
		assert.equal((await answerOf(reply)).result?.['protocolVersion'], '2025-11-25');
		raw.sessionId = reply.headers.get('mcp-session-id') ?? '';
		const ping = { jsonrpc: '2.0', id: 1, method: 'ping' };
		const refused = await raw.post(ping, { headers: { 'mcp-protocol-version': '1999-01-01' } });
		assert.equal(refused.status, 400);
		assert.deepEqual((await answerOf(refused)).error?.data?.['supported'], [
			'2026-07-28',
			'2025-11-25',
			'2025-06-18',
			'2025-03-26',
			'2024-11-05',
			'2024-10-07',
		]);
		assert.deepEqual((await answerOf(await raw.post(ping))).result, {});
		await raw.end();
	});

	test('a batch of 2025-03-26: every request is answered once, whatever else is in it', async () => {
		const raw = client('2025-03-26');
		await raw.open();
		const echo = (id: string | number, text: string) => ({
			jsonrpc: '2.0',
			id,
			method: 'tools/call',
			params: { name: 'echo', arguments: { text } },
		});
		const reply = await raw.post([
			echo('one', 'first'),
			{ jsonrpc: '2.0', method: 'notifications/roots/list_changed' },
			{ jsonrpc: '2.0', id: 2, method: 'ping' },
			echo(3, 'third'),
			{ jsonrpc: '2.0', id: 4, method: 'no/such/method' },
		]);
		assert.equal(reply.status, 200);
		await reply.text;
		const answers = new Map(reply.messages.items.map((message) => [message.id, message]));
		assert.equal(reply.messages.items.length, 4);
		assert.equal(textOf(answers.get('one') ?? {}), 'first');
		assert.deepEqual(answers.get(2)?.result, {});
		assert.equal(textOf(answers.get(3) ?? {}), 'third');
		assert.equal(answers.get(4)?.error?.code, -32601);
		await raw.end();
	});

	test('a batch without a request is accepted; an empty one and one with `initialize` are refused', async () => {
		const raw = client('2025-03-26');
		await raw.open();
		const notification = { jsonrpc: '2.0', method: 'notifications/roots/list_changed' };
		const { status } = await raw.post([notification, notification]);
		assert.equal(status, 202);
		for (const batch of [[], [{ jsonrpc: '2.0', id: 1, method: 'initialize', params: {} }], [{ jsonrpc: '1.0' }]]) {
			const reply = await raw.post(batch);
			assert.equal(reply.status, 400, JSON.stringify(batch));
			assert.equal((await answerOf(reply)).error?.code, -32600);
		}
		assert.equal(textOf(await raw.call('echo', { text: 'alive' })), 'alive');
		await raw.end();
	});

	test('no other revision takes a batch', async () => {
		const raw = client('2025-06-18');
		await raw.open();
		const reply = await raw.post([{ jsonrpc: '2.0', id: 1, method: 'ping' }]);
		assert.equal(reply.status, 400);
		assert.equal((await answerOf(reply)).error?.data?.['code'], 'SLIPWAY_BATCH_REFUSED');
		await raw.end();
	});
});
