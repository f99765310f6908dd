/** What one end writes is what the other reads, character for character, whichever eras the two are of. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import * as server from '../fixtures/fidelity.ts';
import {
	type ClientEra,
	introduce,
	messagesOf,
	openTextClient,
	resultIn,
	type TextClient,
	toldIn,
} from '../support/client-text.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { elementsOf, memberAt, membersOf } from '../support/json-members.ts';
import { type Stack, startStack } from '../support/stack.ts';

const META = 'io.modelcontextprotocol/';
/** What results of the second era have, and the first does not. */
const ADDED = ['resultType', 'ttlMs', 'cacheScope'];

interface Pair {
	readonly client: ClientEra;
	readonly server: ClientEra;
	/** Where the client meets the server: at its own endpoint, or among all. */
	readonly at: 'itself' | '/mcp';
}

const PAIRS: readonly Pair[] = (['itself', '/mcp'] as const).flatMap((at) =>
	(['legacy', 'modern'] as const).flatMap((client) =>
		(['legacy', 'modern'] as const).map((era) => ({ client, server: era, at })),
	),
);

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('legacy', image, ['fidelity.ts', 'legacy'], { pin: 'off' }),
			fixture('modern', image, ['fidelity.ts', 'modern'], { pin: 'off' }),
		),
	});
});
after(() => stack.stop());

const urlOf = ({ at, server: era }: Pair): string => (at === '/mcp' ? `${stack.url}/mcp` : stack.endpoint(era));
const toolOf = ({ at, server: era }: Pair, name: string): string =>
	JSON.stringify(at === '/mcp' ? `${era}__${name}` : name);
const titleOf = ({ at, client, server: era }: Pair): string => `a ${client} client, a ${era} server, at ${at}`;
/** Whether somebody has to make a result of the second era of one of the first. */
const isBridged = ({ client, server: era }: Pair): boolean => client === 'modern' && era === 'legacy';

/** A result as the server writes it, of the members that any era has. */
function written({ server: era }: Pair, members: string, cached = false): string {
	const own = era === 'modern' ? `"resultType":"complete",${cached ? '"ttlMs":0,"cacheScope":"private",' : ''}` : '';
	return `{${own}${members}}`;
}

/** Whether a result is what the server wrote; in front of a client of the other era with what that has more. */
function assertKept(pair: Pair, actual: string, expected: string): void {
	if (!isBridged(pair)) return assert.equal(actual, expected);
	const had = new Set(membersOf(expected).map(([key]) => key));
	const kept = membersOf(actual).filter(([key]) => had.has(key) || !ADDED.includes(key));
	const withoutMeta = (members: [string, string][]) => members.filter(([key]) => key !== '_meta');
	assert.deepEqual(withoutMeta(kept), withoutMeta(membersOf(expected)));
	const meta = membersOf(memberAt(actual, '_meta')).filter(([key]) => key !== `${META}serverInfo`);
	assert.deepEqual(meta, had.has('_meta') ? membersOf(memberAt(expected, '_meta')) : []);
}

async function withClient(pair: Pair, use: (client: TextClient) => Promise<void>): Promise<void> {
	const client = await openTextClient(pair.client, urlOf(pair));
	await use(client);
	await client.end();
}

for (const pair of PAIRS)
	describe(titleOf(pair), () => {
		test('a result arrives as it was written', () =>
			withClient(pair, async (client) => {
				const messages = await client.request('tools/call', { name: toolOf(pair, 'say'), arguments: '{}' });
				assert.equal(messages.length, 1);
				assertKept(pair, resultIn(messages), written(pair, server.RESULT));
			}));

		test('an error arrives as it was written', () =>
			withClient(pair, async (client) => {
				const [answer = ''] = await client.request('tools/call', { name: toolOf(pair, 'refuse'), arguments: '{}' });
				assert.equal(memberAt(answer, 'error'), server.REFUSAL);
			}));

		test('progress and log lines arrive as they were written, under the client’s own token', () =>
			withClient(pair, async (client) => {
				const token = String.raw`"caf\u00e9 \ud800 12345678901234567890"`;
				const [progress = '', log = '', ...rest] = await client.request('tools/call', {
					name: toolOf(pair, 'report'),
					arguments: '{}',
					_meta: `{"progressToken":${token}}`,
				});
				const [[key, value] = [], ...others] = membersOf(memberAt(progress, 'params'));
				assert.equal(key, 'progressToken');
				assert.equal(JSON.parse(value ?? ''), JSON.parse(token));
				assert.deepEqual(others, membersOf(`{${server.PROGRESS}}`));
				assert.equal(memberAt(log, 'params'), server.LOG_LINE);
				assertKept(pair, resultIn(rest), written(pair, server.RESULT));
			}));

		test('the answer carries the id that the client chose', () =>
			withClient(pair, async (client) => {
				for (const id of [String.raw`"\ud800\u0000caf\u00e9\u2028"`, '-9007199254740991', '"1"']) {
					const [answer = ''] = await client.request('tools/call', { name: toolOf(pair, 'say'), arguments: '{}' }, id);
					assert.equal(JSON.parse(memberAt(answer, 'id')), JSON.parse(id));
				}
			}));

		test('arguments, and fields that no revision knows, reach the server as they were written', () =>
			withClient(pair, async (client) => {
				const args = `{${server.ODDITIES}}`;
				const meta = `{"test/a":12345678901234567890,${server.ODDITIES}}`;
				const name = toolOf(pair, 'heard');
				const params = { xBefore: '1e400', arguments: args, name, _meta: meta, xAfter: '[ 1 , 2 ]' };
				const [answer = ''] = await client.request('tools/call', params);
				const heard = toldIn(answer);
				assert.ok(Array.isArray(heard));
				const reached = memberAt(String(heard.at(-1)), 'params');
				assert.equal(memberAt(reached, 'arguments'), args);
				assert.equal(memberAt(reached, 'xBefore'), '1e400');
				assert.equal(memberAt(reached, 'xAfter'), '[ 1 , 2 ]');
				const ours = membersOf(memberAt(reached, '_meta')).filter(([key]) => !key.startsWith(META));
				assert.deepEqual(ours, membersOf(meta));
				const keys = membersOf(reached).map(([key]) => key);
				assert.deepEqual(keys, ['xBefore', 'arguments', 'name', '_meta', 'xAfter']);
			}));

		test('a question reaches the client, and its answer the server, as they were written', () =>
			withClient(pair, async (client) => {
				const params = { name: toolOf(pair, 'ask'), arguments: '{}' };
				const answer = `{"content":{"name":"\\ud800",${server.ODDITIES}},"action":"accept",${server.ODDITIES}}`;
				const result =
					client.era === 'legacy'
						? await askedLegacy(client, params, answer)
						: await askedModern(client, params, answer);
				assertKept(pair, result, written(pair, server.RESULT));
				const [told = ''] = await client.request('tools/call', { name: toolOf(pair, 'answered'), arguments: '{}' });
				const came = JSON.parse(told).result.content[0].text;
				const path = pair.server === 'legacy' ? ['result'] : ['params', 'inputResponses', 'question'];
				assert.equal(memberAt(came, ...path), answer);
			}));
	});

/** Answers the question that comes before the result, which is returned. */
async function askedLegacy(client: TextClient, params: Record<string, string>, answer: string): Promise<string> {
	const reply = await client.send('tools/call', params);
	const question = await reply.messages.next();
	assert.equal(question.method, 'elicitation/create');
	await client.respond(JSON.stringify(question.id), answer);
	const [asked = '', ...rest] = await messagesOf(reply);
	assert.equal(memberAt(asked, 'params'), server.QUESTION);
	return resultIn(rest);
}

/** Brings the answer to what the first result asked. Returns the second. */
async function askedModern(client: TextClient, params: Record<string, string>, answer: string): Promise<string> {
	const first = resultIn(await client.request('tools/call', params));
	const [[key = '', question = ''] = []] = membersOf(memberAt(first, 'inputRequests'));
	assert.equal(memberAt(question, 'params'), server.QUESTION);
	const brought = {
		inputResponses: `{${JSON.stringify(key)}:${answer}}`,
		requestState: memberAt(first, 'requestState'),
	};
	return resultIn(await client.request('tools/call', { ...params, ...brought }, '"again"'));
}

describe('what a server says of itself', () => {
	const introduction = `"capabilities":${server.CAPABILITIES},"serverInfo":${server.SERVER_INFO}`;

	test('arrives as it was written between two ends of the first era', async () => {
		const answer = await introduce(stack.endpoint('legacy'));
		const expected = `{"instructions":${server.INSTRUCTIONS},"protocolVersion":"2025-11-25",${introduction}}`;
		assert.equal(memberAt(answer, 'result'), expected);
	});

	test('arrives as it was written in front of a client of the first era', async () => {
		const result = memberAt(await introduce(stack.endpoint('modern')), 'result');
		assert.equal(memberAt(result, 'capabilities'), server.CAPABILITIES);
		assert.equal(memberAt(result, 'serverInfo'), server.SERVER_INFO);
		assert.equal(memberAt(result, 'instructions'), server.INSTRUCTIONS);
	});

	for (const era of ['legacy', 'modern'] as const)
		test(`arrives as it was written by a ${era} server, in front of a client of the second era`, async () => {
			const client = await openTextClient('modern', stack.endpoint(era));
			const result = resultIn(await client.request('server/discover'));
			assert.equal(memberAt(result, 'capabilities'), server.CAPABILITIES);
			assert.equal(memberAt(result, 'instructions'), server.INSTRUCTIONS);
			assert.equal(memberAt(result, '_meta', `${META}serverInfo`), server.SERVER_INFO);
		});
});

describe('lists and resources', () => {
	for (const pair of PAIRS.filter(({ at }) => at === 'itself'))
		test(`arrive as they were written: ${titleOf(pair)}`, () =>
			withClient(pair, async (client) => {
				const tools = server.TOOLS.map((name) => `{${server.TOOL},"name":"${name}"}`).join(',');
				for (const [method, members] of [
					['tools/list', `"tools":[${tools}]`],
					['resources/list', `"resources":[${server.RESOURCE}]`],
				] as const) {
					const expected = written(pair, `${members},${server.ODDITIES}`, true);
					assertKept(pair, resultIn(await client.request(method)), expected);
				}
				const read = await client.request('resources/read', { uri: JSON.stringify(server.RESOURCE_URI) });
				assertKept(pair, resultIn(read), written(pair, `"contents":[${server.RESOURCE}],${server.ODDITIES}`, true));
			}));

	for (const era of ['legacy', 'modern'] as const)
		test(`are those of all servers as these wrote them, but for the names: a ${era} client`, async () => {
			const client = await openTextClient(era, `${stack.url}/mcp`);
			const tools = memberAt(resultIn(await client.request('tools/list')), 'tools');
			const expected = ['legacy', 'modern'].flatMap((name) =>
				server.TOOLS.map((tool) => `{${server.TOOL},"name":"${name}__${tool}"}`),
			);
			assert.deepEqual(
				elementsOf(tools).map((tool) => membersOf(tool)),
				expected.map((tool) => membersOf(tool)),
			);
			// Both have it, and the first is asked.
			const resources = memberAt(resultIn(await client.request('resources/list')), 'resources');
			assert.equal(resources, `[${server.RESOURCE}]`);
			const read = resultIn(await client.request('resources/read', { uri: JSON.stringify(server.RESOURCE_URI) }));
			assert.equal(memberAt(read, 'contents'), `[${server.RESOURCE}]`);
			await client.end();
		});
});
