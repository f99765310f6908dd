/** Every era of a client in front of every kind of server: which era each server is opened in, and what it hears of the other. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { askedIn, ModernClient } from '../support/client-modern.ts';
import { answerOf, assertStatus, RawClient, type RpcMessage, textOf } from '../support/client-raw.ts';
import { openTextClient, toldIn } from '../support/client-text.ts';
import { ContainerWatch } from '../support/container-watch.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { prepared } from '../support/prepared.ts';
import { type Stack, startStack } from '../support/stack.ts';

type Era = 'legacy' | 'modern';

/** What is expected of one mode of era.ts in front of one era of clients. */
interface Expected {
	readonly mode: string;
	readonly client: Era;
	/** How many containers the first conversation takes; each later one takes one. */
	readonly starts: 1 | 2;
	/** What its process hears, with a `*` where the message claims the second era. */
	readonly heard: readonly string[];
	/** What the process of a later conversation hears, where that is not the same. */
	readonly heardLater?: readonly string[];
	readonly pinned?: Era;
}

const INITIALIZED = ['initialize', 'notifications/initialized', 'tools/call'];
const DISCOVERED = ['*server/discover', '*tools/call'];

const TABLE: readonly Expected[] = [
	{ mode: 'exits-on-unknown', client: 'legacy', starts: 1, heard: INITIALIZED },
	{ mode: 'silent-on-unknown', client: 'legacy', starts: 1, heard: INITIALIZED },
	{ mode: 'modern-exits-on-initialize', client: 'modern', starts: 1, heard: DISCOVERED },
	{ mode: 'pins', client: 'legacy', starts: 1, heard: INITIALIZED, pinned: 'legacy' },
	{ mode: 'pins', client: 'modern', starts: 1, heard: DISCOVERED, pinned: 'modern' },
	// The other era is tried first, once.
	{ mode: 'exits-on-unknown', client: 'modern', starts: 2, heard: INITIALIZED },
	{ mode: 'modern-exits-on-initialize', client: 'legacy', starts: 2, heard: DISCOVERED },
	{
		mode: 'silent-on-unknown',
		client: 'modern',
		starts: 1,
		heard: ['*server/discover', ...INITIALIZED],
		heardLater: INITIALIZED,
	},
];

const MODES = ['exits-on-unknown', 'modern-exits-on-initialize', 'pins'] as const;
const SDK_SERVERS = ['conformance-v1', 'conformance-v2', 'conformance-modern'] as const;
const CLAIM = 'io.modelcontextprotocol/protocolVersion';
const QUESTIONS = { elicitation: {}, sampling: {}, roots: {} };
/** Longer than a server is waited for that may not know a question of the other era, and shorter than any is. */
const LATE_S = 9;

/** Of each row a server of its own, of which nothing is known yet. */
const nameOf = ({ mode, client }: Expected): string => `${client}-${mode}`;

let stack: Stack;
let watch: ContainerWatch;
before(async () => {
	const image = await fixtureImage();
	const late = (mode: string) => ['sh', '-c', `sleep ${LATE_S}; exec node /app/test/fixtures/era.ts ${mode}`];
	stack = await startStack({
		catalog: catalogOf(
			...TABLE.map((row) => fixture(nameOf(row), image, ['era.ts', row.mode])),
			...MODES.map((mode) => fixture(`questions-${mode}`, image, ['era.ts', mode])),
			...MODES.map((mode) => fixture(`at-once-${mode}`, image, ['era.ts', mode])),
			fixture('late', image, [], { command: late('modern-exits-on-initialize') }),
			...SDK_SERVERS.map((name) => fixture(name, image, [`${name}.ts`])),
			fixture('fidelity-legacy', image, ['fidelity.ts', 'legacy']),
			fixture('fidelity-modern', image, ['fidelity.ts', 'modern']),
		),
	});
	await prepared(stack);
	watch = await ContainerWatch.of(stack);
});
after(async () => {
	watch.stop();
	await stack.stop();
});

/** A client of either era, as far as these tests need one. Each has a name of its own: nothing is shared by chance. */
interface EraClient {
	/** The answer to a call, with the questions that it asks answered. */
	call(name: string, args?: object): Promise<RpcMessage>;
	end(): Promise<void>;
}

let clients = 0;

async function connect(era: Era, server: string, name = `client-${++clients}`): Promise<EraClient> {
	const url = stack.endpoint(server);
	if (era === 'modern') return modernClient(new ModernClient(url, claimsOf(name)));
	const raw = new RawClient(url, { capabilities: QUESTIONS });
	await raw.open();
	return { call: (tool, args) => callAndReply(raw, tool, args), end: async () => assert.equal(await raw.end(), 200) };
}

const claimsOf = (name: string) => ({ capabilities: QUESTIONS, clientInfo: { name, version: '1.0.0' } });

function modernClient(client: ModernClient): EraClient {
	const call = async (tool: string, args: object = {}): Promise<RpcMessage> => {
		const params = { name: tool, arguments: args };
		let answer = await client.request('tools/call', params);
		while (answer.result?.['resultType'] === 'input_required') {
			const asked = askedIn(answer);
			const replies = Object.entries(asked.inputRequests).map(([key, { method }]) => [key, replyTo(method)]);
			answer = await client.retry('tools/call', params, asked, Object.fromEntries(replies));
		}
		return answer;
	};
	return { call, end: async () => undefined };
}

/** Answers the questions that come before the answer. */
async function callAndReply(raw: RawClient, name: string, args: object = {}): Promise<RpcMessage> {
	const reply = await raw.send('tools/call', { name, arguments: args });
	for (;;) {
		const message = await reply.messages.next();
		if (message.method === undefined) return message;
		assert.notEqual(message.id, undefined, `not a question: ${message.method}`);
		const { status } = await raw.post({ jsonrpc: '2.0', id: message.id, result: replyTo(message.method) });
		assert.equal(status, 202);
	}
}

function replyTo(method: string): object {
	switch (method) {
		case 'elicitation/create':
			return { action: 'accept', content: { name: 'Ada', color: 'green', ok: true } };
		case 'sampling/createMessage':
			return { model: 'test', role: 'assistant', content: { type: 'text', text: 'a completion' } };
		case 'roots/list':
			return { roots: [{ uri: 'file:///one' }, { uri: 'file:///two' }] };
		default:
			return assert.fail(`asked ${method}`);
	}
}

interface Told {
	readonly heard: readonly { readonly method: string; readonly enveloped: boolean }[];
	readonly pinned?: Era;
	readonly refused: readonly string[];
}

/** What the process behind a client heard so far, and what it made of it. */
async function heardBy(client: EraClient) {
	const { heard, pinned, refused } = JSON.parse(textOf(await client.call('era'))) as Told;
	return { heard: heard.map(({ method, enveloped }) => (enveloped ? `*${method}` : method)), pinned, refused };
}

describe('a server is opened in the era that it speaks', { concurrency: 4 }, () => {
	for (const row of TABLE)
		test(`${row.mode}, in front of a ${row.client} client`, async () => {
			const { client, heard, heardLater = heard, pinned, starts } = row;
			const server = nameOf(row);
			const first = await connect(client, server);
			assert.deepEqual(await heardBy(first), { heard, pinned, refused: [] });
			assert.equal(await watch.startsOf(server), starts);
			await first.end();
			// Requests of the second era stand for themselves, whoever makes them, and share a process.
			const isShared = client === 'modern' && heard === DISCOVERED;
			for (let later = 1; later <= 2; later++) {
				const next = await connect(client, server);
				const more = Array.from({ length: later }, () => '*tools/call');
				const expected = isShared ? [...heard, ...more] : heardLater;
				assert.deepEqual(await heardBy(next), { heard: expected, pinned, refused: [] });
				// What was found out is remembered.
				assert.equal(await watch.startsOf(server), isShared ? 0 : 1);
				await next.end();
			}
		});

	test('clients of both eras that come at once, when nothing is known of a server', async () => {
		const eras: readonly Era[] = ['legacy', 'modern', 'modern', 'legacy', 'modern', 'legacy'];
		for (const mode of MODES) {
			const all = await Promise.all(eras.map((era) => connect(era, `at-once-${mode}`)));
			const answers = await Promise.all(all.map((client, index) => client.call('echo', { text: `text ${index}` })));
			assert.deepEqual(
				answers.map(textOf),
				all.map((_, index) => `text ${index}`),
			);
			await Promise.all(all.map((client) => client.end()));
		}
	});

	test('a server of the second era that takes its time to start is not taken for one of the first', async () => {
		for (const era of ['modern', 'modern'] as const) {
			const client = await connect(era, 'late');
			assert.equal(textOf(await client.call('echo', { text: era })), era);
			await client.end();
		}
	});
});

describe('a server asks its client', { concurrency: 4 }, () => {
	for (const mode of MODES)
		for (const era of ['legacy', 'modern'] as const)
			test(`${mode}, of a ${era} client`, async () => {
				const client = await connect(era, `questions-${mode}`);
				const [form, roots] = await Promise.all([client.call('ask', { message: 'who?' }), client.call('roots')]);
				assert.deepEqual(JSON.parse(textOf(form)), replyTo('elicitation/create'));
				assert.deepEqual(JSON.parse(textOf(roots)), replyTo('roots/list'));
				await client.end();
			});

	test('of a client that cannot be asked, a bridge asks nothing', async () => {
		const client = new ModernClient(stack.endpoint('questions-exits-on-unknown'));
		const reply = await client.send('tools/call', { name: 'ask', arguments: { message: 'who?' } });
		assertStatus(reply, 400);
		const { error } = await answerOf(reply);
		assert.equal(error?.code, -32021);
		assert.deepEqual(error?.data?.['requiredCapabilities'], { elicitation: { form: {} } });
	});
});

describe('what only one era has does not reach a server of the other', { concurrency: 4 }, () => {
	test('a client of the first era says all that it may to a server of the second', async () => {
		const raw = new RawClient(stack.endpoint('questions-modern-exits-on-initialize'), { capabilities: QUESTIONS });
		await raw.open();
		for (const [method, params] of [
			['ping', {}],
			['logging/setLevel', { level: 'debug' }],
			['resources/unsubscribe', { uri: 'test://x' }],
		] as const)
			assert.deepEqual((await raw.request(method, params)).result, {});
		for (const method of ['notifications/roots/list_changed', 'notifications/cancelled', 'notifications/progress'])
			assert.equal((await raw.notify(method, { requestId: 99, progressToken: 99, progress: 1 })).status, 202);
		const client = { call: (name: string, args?: object) => raw.call(name, args), end: async () => undefined };
		assert.deepEqual(await heardBy(client), { heard: DISCOVERED, pinned: undefined, refused: [] });
		assert.equal(await raw.end(), 200);
	});

	for (const mode of ['pins', 'exits-on-unknown'] as const)
		test(`a client of the second era that speaks of the first is told so, and nothing of it reaches ${mode}`, async () => {
			const modern = new ModernClient(stack.endpoint(`questions-${mode}`), claimsOf('of-both'));
			const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } };
			const removed = ['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe'];
			for (const method of removed) {
				const reply = await modern.send(method, params);
				assert.equal(reply.status, 404, method);
				assert.equal((await answerOf(reply)).error?.code, -32601);
			}
			const { heard, refused } = await heardBy(modernClient(modern));
			assert.deepEqual(refused, []);
			// What the gateway itself has to say to a server of the first era is not the client's.
			const own = mode === 'pins' ? [] : ['initialize'];
			assert.deepEqual(
				heard.filter((method) => removed.includes(method.replace('*', ''))),
				own,
			);
		});

	for (const client of ['legacy', 'modern'] as const)
		for (const server of ['legacy', 'modern'] as const)
			test(`a ${client} client withdraws a call, and a ${server} server hears it in its own words`, async () => {
				const text = await openTextClient(client, stack.endpoint(`fidelity-${server}`));
				const abort = new AbortController();
				const hanging = text.hang('tools/call', { name: '"hang"', arguments: '{}' }, abort.signal);
				const lines = async (): Promise<RpcMessage[]> => {
					const [answer = ''] = await text.request('tools/call', { name: '"heard"', arguments: '{}' });
					return (toldIn(answer) as string[]).map((line) => JSON.parse(line));
				};
				const find = async (matches: (message: RpcMessage) => boolean): Promise<RpcMessage> => {
					for (;;) {
						const found = (await lines()).find(matches);
						if (found !== undefined) return found;
					}
				};
				const call = await find(({ params }) => params?.['name'] === 'hang');
				abort.abort();
				const { params } = await find(({ method }) => method === 'notifications/cancelled');
				assert.equal(params?.['requestId'], call.id);
				const claim = Reflect.get(Object(params?.['_meta']), CLAIM);
				assert.equal(claim, server === 'modern' ? '2026-07-28' : undefined);
				await hanging;
				await text.end();
			});
});

describe('servers on the SDK', { concurrency: 3 }, () => {
	for (const server of SDK_SERVERS)
		for (const era of ['legacy', 'modern'] as const)
			test(`${server}, and a ${era} client: every question, in one round and in two`, async () => {
				const client = await connect(era, server);
				const told = async (name: string): Promise<string> =>
					textOf(await client.call(`test_input_required_result_${name}`));
				assert.equal(await told('elicitation'), 'Hello, Ada!');
				assert.equal(await told('sampling'), 'a completion');
				assert.equal(await told('list_roots'), 'file:///one, file:///two');
				assert.equal(await told('multi_round'), 'Ada likes green');
				assert.equal(await told('multiple_inputs'), 'Ada a completion file:///one, file:///two');
				assert.equal(await told('request_state'), 'state-ok: true');
				await client.end();
			});

	test('one that speaks both eras is spoken to in its client’s, and nothing is translated', async () => {
		const raw = new RawClient(stack.endpoint('conformance-v2'), { capabilities: QUESTIONS });
		await raw.open();
		const legacy = await raw.call('test_simple_text');
		assert.equal(legacy.result?.['resultType'], undefined);
		assert.equal(await raw.end(), 200);
		const modern = new ModernClient(stack.endpoint('conformance-v2'), claimsOf('direct'));
		const asked = askedIn(await modern.call('test_streaming_elicitation'));
		// The server's own key, and none of the state that a bridge needs.
		assert.deepEqual(Object.keys(asked.inputRequests), ['user_name']);
		assert.equal(asked.requestState, undefined);
	});

	test('one that speaks the first era alone is asked through a bridge', async () => {
		const modern = new ModernClient(stack.endpoint('conformance-v1'), claimsOf('bridged'));
		const asked = askedIn(await modern.call('test_streaming_elicitation'));
		assert.equal(typeof asked.requestState, 'string');
		const params = { name: 'test_streaming_elicitation', arguments: {} };
		const [key = ''] = Object.keys(asked.inputRequests);
		const answers = { [key]: replyTo('elicitation/create') };
		assert.equal(textOf(await modern.retry('tools/call', params, asked, answers)), 'Hello, Ada!');
		// The state is good for one time.
		const again = await modern.retry('tools/call', params, asked, answers);
		assert.equal(again.error?.code, -32602);
	});
});
