/** Servers that send more than anybody reads: the gateway stays small, and who reads gets everything. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RawClient, textOf } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const MIB = 1024 ** 2;
const EVENT = 'event: message\n';

/** Gateway, launcher and the test's own clients together. Far below what the servers would send if nothing held them. */
const GROWTH_MAX = 250 * MIB;

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('conversation', image, ['conversation.ts'], { callTimeoutMs: 120_000 }),
			fixture('endless-line', image, ['misbehaving.ts', 'endless-line']),
			fixture('long-line', image, ['misbehaving.ts', 'long-line']),
		),
	});
});
after(() => stack.stop());

/** Calls `chatter`, and resolves with an answer that nobody reads yet. */
async function openChatter(messages: number, bytes: number): Promise<IncomingMessage> {
	const raw = new RawClient(stack.endpoint('conversation'));
	await raw.open();
	const outgoing = request(raw.url, { method: 'POST', headers: raw.headers(), agent: false });
	const params = { name: 'chatter', arguments: { messages, bytes } };
	outgoing.end(JSON.stringify({ jsonrpc: '2.0', id: 'chatter', method: 'tools/call', params }));
	const [response] = await once(outgoing, 'response');
	return response;
}

describe('memory', { concurrency: false }, () => {
	test('a client that does not read stops its server, others work on, and nothing is lost', async () => {
		const messages = 20_000;
		const before = process.memoryUsage.rss();
		const response = await openChatter(messages, 20_000);
		let largest = 0;
		const other = new RawClient(stack.endpoint('conversation'));
		await other.open();
		for (let round = 0; round < 40; round++) {
			assert.equal(textOf(await other.call('echo', { text: `${round}` })), `${round}`);
			largest = Math.max(largest, process.memoryUsage.rss() - before);
			await sleep(100);
		}
		assert.ok(largest < GROWTH_MAX, `it grew by ${Math.round(largest / MIB)} MiB`);
		await other.end();
		let read = 0;
		let tail = '';
		for await (const chunk of response) {
			const pieces = (tail + chunk.toString('latin1')).split(EVENT);
			read += pieces.length - 1;
			tail = (pieces.at(-1) ?? '').slice(-EVENT.length + 1);
		}
		assert.equal(read, messages + 1);
	});

	test('a client that reads nothing for 30 s is cut', { timeout: 110_000 }, async () => {
		const response = await openChatter(3000, 20_000);
		await sleep(34_000);
		// What was on its way to it is all there is.
		let bytes = 0;
		await assert.rejects(async () => {
			for await (const chunk of response) bytes += chunk.length;
		});
		assert.ok(bytes < 50 * MIB, `${bytes} bytes came`);
	});

	test('lines without an end, many times over', async () => {
		const before = process.memoryUsage.rss();
		let largest = 0;
		// Once more, and they would not be started for a while.
		for (let round = 0; round < 2; round++) {
			await Promise.all(
				(['endless-line', 'long-line', 'endless-line', 'long-line'] as const).map(async (mode) => {
					const raw = new RawClient(stack.endpoint(mode));
					await raw.open();
					const { error } = await raw.call(mode === 'endless-line' ? 'endless' : 'long');
					assert.equal(error?.data?.['code'], 'SLIPWAY_LINE_TOO_LONG');
					largest = Math.max(largest, process.memoryUsage.rss() - before);
				}),
			);
		}
		assert.ok(largest < GROWTH_MAX, `it grew by ${Math.round(largest / MIB)} MiB`);
	});
});
