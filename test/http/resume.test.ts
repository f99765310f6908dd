/** A client whose connection broke comes back with the id of the last event that it got. */
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { REPLAY_LIMITS } from '../../src/limits.ts';
import {
	AUTHORIZATION,
	call,
	type HttpStack,
	type OpenSession,
	result,
	startHttpStack,
} from '../support/http-stack.ts';

const progress = (token: string | number, n: number) => ({
	jsonrpc: '2.0' as const,
	method: 'notifications/progress',
	params: { progressToken: token, progress: n },
});
const changed = (n: number) => ({
	jsonrpc: '2.0' as const,
	method: 'notifications/resources/updated',
	params: { uri: `test://${n}` },
});

/** A stream read as it is on the wire. */
class Wire {
	text = '';
	status = 0;
	readonly #watchers = new Set<() => void>();
	readonly #outgoing;
	readonly closed: Promise<void>;

	constructor(
		{ port }: HttpStack,
		{ id, server, headers }: OpenSession,
		{ body, lastEventId }: { body?: unknown; lastEventId?: string },
	) {
		const { promise, resolve } = Promise.withResolvers<void>();
		this.closed = promise;
		const own = body === undefined ? { ...AUTHORIZATION, accept: 'text/event-stream', 'mcp-session-id': id } : headers;
		this.#outgoing = request(
			{
				port,
				method: body === undefined ? 'GET' : 'POST',
				path: `/servers/${server}/mcp`,
				headers: { ...own, ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }) },
			},
			(response) => {
				this.status = response.statusCode ?? 0;
				response.setEncoding('utf8');
				response.on('data', (chunk: string) => {
					this.text += chunk;
					for (const watcher of this.#watchers) watcher();
				});
				response.on('error', () => undefined);
				response.on('close', resolve);
			},
		);
		this.#outgoing.on('error', () => resolve());
		this.#outgoing.end(body === undefined ? undefined : JSON.stringify(body));
	}

	/** Waits for a text on the stream. */
	async until(wanted: string): Promise<void> {
		const { promise, resolve, reject } = Promise.withResolvers<void>();
		const timer = setTimeout(() => reject(new Error(`${wanted} did not come, but: ${this.text.slice(-500)}`)), 15_000);
		const look = (): void => {
			if (this.text.includes(wanted)) resolve();
		};
		this.#watchers.add(look);
		look();
		await promise.finally(() => clearTimeout(timer));
	}

	/** The events that have a message: their ids and messages. */
	events(): (readonly [id: string | undefined, message: unknown])[] {
		return this.text
			.split('\n\n')
			.filter((event) => event.startsWith('event: message\n'))
			.map(
				(event) => [/^id: (.+)$/m.exec(event)?.[1], JSON.parse(/^data: (.+)$/m.exec(event)?.[1] ?? 'null')] as const,
			);
	}

	messages(): unknown[] {
		return this.events().map(([, message]) => message);
	}

	lastId(): string {
		return this.events().at(-1)?.[0] ?? '';
	}

	cut(): void {
		this.#outgoing.destroy();
	}
}

async function start(t: TestContext, revision = '2025-11-25') {
	const stack = await startHttpStack(t);
	const session = await stack.open('alpha', { revision });
	const wires: Wire[] = [];
	t.after(() => {
		for (const wire of wires) wire.cut();
	});
	const open = (options: { body?: unknown; lastEventId?: string } = {}): Wire => {
		const wire = new Wire(stack, session, options);
		wires.push(wire);
		return wire;
	};
	return { stack, session, instance: session.instance, open };
}

test('gets what it missed of the stream of its call, and then what is still to come, and the answer', async (t) => {
	const { instance, open } = await start(t);
	const first = open({ body: call(7, 'slow', { progressToken: 'p' }) });
	const { id } = await instance.hearRequest('tools/call');
	instance.say(progress(id, 1));
	await first.until('"progress":1');
	first.cut();
	await first.closed;
	instance.say(progress(id, 2));
	const ping = open({ body: { jsonrpc: '2.0', id: 8, method: 'ping' } });
	const { id: pingId } = await instance.hearRequest('ping');
	instance.say(result(pingId));
	await ping.closed;
	const second = open({ lastEventId: first.lastId() });
	await second.until('"progress":2');
	instance.say(progress(id, 3));
	await second.until('"progress":3');
	instance.say(result(id, { content: [] }));
	await second.closed;
	assert.deepEqual(second.messages(), [progress('p', 2), progress('p', 3), result(7, { content: [] })]);
	assert.equal(new Set([...first.events(), ...second.events()].map(([eventId]) => eventId)).size, 4, 'ids are unique');
});

test('gets an answer that came while it was away, and then 405: there is nothing more of that stream', async (t) => {
	const { instance, open } = await start(t);
	const first = open({ body: call(1, 'slow', { progressToken: 'p' }) });
	const { id } = await instance.hearRequest('tools/call');
	instance.say(progress(id, 1));
	await first.until('"progress":1');
	first.cut();
	await first.closed;
	instance.say(result(id));
	instance.say(changed(1));
	const second = open({ lastEventId: first.lastId() });
	await second.closed;
	assert.deepEqual(second.messages(), [result(1)], 'and nothing of another stream');
	const third = open({ lastEventId: second.lastId() });
	await third.closed;
	assert.equal(third.status, 405);
});

test('a stream begins with an event without a message in 2025-11-25, and in no earlier revision', async (t) => {
	for (const [revision, primed] of [
		['2025-11-25', true],
		['2025-06-18', false],
	] as const) {
		const { instance, open } = await start(t, revision);
		const stream = open({ body: call(1, 'x', { progressToken: 'p' }) });
		const { id } = await instance.hearRequest('tools/call');
		instance.say(progress(id, 1));
		await stream.until('"progress":1');
		assert.equal(/^id: \S+-0\ndata: \n\n/.test(stream.text), primed, stream.text);
		instance.say(result(id));
		await stream.closed;
	}
});

test('with only that first event it comes back to the stream of its call', async (t) => {
	const { instance, open } = await start(t);
	const first = open({ body: call(1, 'x', { progressToken: 'p' }) });
	const { id } = await instance.hearRequest('tools/call');
	instance.say(progress(id, 1));
	await first.until('"progress":1');
	const second = open({ lastEventId: /^id: (\S+)/.exec(first.text)?.[1] ?? '' });
	await second.until('"progress":1');
	await first.closed;
	instance.say(result(id));
	await second.closed;
	assert.deepEqual(second.messages(), [progress('p', 1), result(1)]);
});

test('the GET stream goes on after its last event, with what came meanwhile, in order', async (t) => {
	const { instance, open } = await start(t);
	const first = open();
	instance.say(changed(1));
	await first.until('test://1');
	first.cut();
	await first.closed;
	for (const n of [2, 3]) instance.say(changed(n));
	// What the server says before its answer has arrived when the answer has.
	const ping = open({ body: { jsonrpc: '2.0', id: 8, method: 'ping' } });
	const { id } = await instance.hearRequest('ping');
	instance.say(result(id));
	await ping.closed;
	const second = open({ lastEventId: first.lastId() });
	await second.until('test://3');
	assert.deepEqual(second.messages(), [changed(2), changed(3)]);
	const third = open({ lastEventId: first.lastId() });
	await third.until('test://3');
	assert.deepEqual(third.messages(), [changed(2), changed(3)], 'again, from an earlier event');
	await second.closed;
});

test('an id that is no event of this session is refused, and disturbs no stream', async (t) => {
	const { stack, instance, open } = await start(t);
	const other = await stack.open('alpha');
	const live = open();
	instance.say(changed(1));
	await live.until('test://1');
	const [epoch] = live.lastId().split('-');
	const wrong = ['1-1', 'x', '1', '-1-0', `${'9'.repeat(30)}-1`, `${epoch}-9-9`, `${epoch}-0-99`, '00000000-1-1'];
	for (const lastEventId of wrong) {
		const refused = open({ lastEventId });
		await refused.closed;
		assert.equal(refused.status, 405, lastEventId);
	}
	// The id of a GET stream that this process did not open may be one of the process before: the stream begins anew.
	const foreign = new Wire(stack, other, { lastEventId: live.lastId() });
	other.instance.say(changed(7));
	await foreign.until('test://7');
	assert.deepEqual(foreign.messages(), [changed(7)]);
	instance.say(changed(2));
	await live.until('test://2');
});

test('what is kept is bounded in number and in age, and the oldest goes first', async (t) => {
	const { stack, instance, open } = await start(t);
	// A server that somebody is subscribed to is not stopped when nobody calls it.
	const subscribing = open({
		body: { jsonrpc: '2.0', id: 0, method: 'resources/subscribe', params: { uri: 'test://0' } },
	});
	instance.say(result((await instance.hearRequest('resources/subscribe')).id));
	await subscribing.closed;
	const first = open();
	await first.until('data: ');
	const count = REPLAY_LIMITS.sessionEventsMax + 50;
	for (let n = 1; n <= count; n++) instance.say(changed(n));
	await first.until(`test://${count}"`);
	const begin = /^id: (\S+)/.exec(first.text)?.[1] ?? '';
	const second = open({ lastEventId: begin });
	await second.until(`test://${count}"`);
	assert.deepEqual(second.messages()[0], changed(51));
	assert.equal(second.messages().length, REPLAY_LIMITS.sessionEventsMax);
	stack.later(REPLAY_LIMITS.ageMsMax + 1);
	const third = open({ lastEventId: begin });
	await second.closed;
	instance.say(changed(0));
	await third.until('test://0"');
	assert.deepEqual(third.messages(), [changed(0)]);
});
