/** Many servers as one, at /mcp and /groups/<name>/mcp, for clients and servers of either era. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import { AGGREGATE_LIMITS, CRASH_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { askedIn } from '../support/client-modern.ts';
import type { RpcMessage } from '../support/client-raw.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import { HeldTimers } from '../support/held-timers.ts';
import type { Stream } from '../support/http-client.ts';
import { AUTHORIZATION, call, type HttpStack, result, startHttpStack } from '../support/http-stack.ts';
import { ModernHttp, type ModernHttpOptions } from '../support/modern-http.ts';
import {
	Cast,
	failure,
	logLine,
	META,
	metaIn,
	methodsTo,
	notification,
	type PlayedServer,
	progress,
	type Script,
} from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const SUBSCRIPTION = `${META}subscriptionId`;
const TOOLS_CHANGED = 'notifications/tools/list_changed';
const ALL = { sampling: {}, elicitation: { form: {}, url: {} }, roots: { listChanged: true } };
const ACCEPT = { action: 'accept', content: { answer: 42 } };
const WHO = { method: 'elicitation/create', params: { message: 'Who?' } };

type Test = Parameters<typeof startHttpStack>[0];

/** A stack with these servers, in this order. */
async function start(
	t: Test,
	scripts: Readonly<Record<string, Script>>,
	groups: Record<string, readonly string[]> = {},
) {
	const stack = await startHttpStack(t);
	const { launcher } = stack;
	const views = Object.keys(scripts).map((name) => serverView(name));
	const named = Object.entries(groups).map(([name, members]) => [
		name,
		members.map((member) => serverView(member).name),
	]);
	launcher.state = { ...launcher.state, servers: views, groups: Object.fromEntries(named) };
	return { stack, cast: new Cast(launcher, scripts) };
}

/** Whether a server is served. */
function enable({ launcher }: HttpStack, name: string, enabled: boolean): void {
	const servers = launcher.state.servers.map((server) => (server.name === name ? { ...server, enabled } : server));
	launcher.state = { ...launcher.state, servers };
}

/** A client of either era, at an aggregated endpoint. */
interface Client {
	/** The whole answer to a request. */
	ask(method: string, params?: Record<string, unknown>): Promise<Rpc>;
	/** The answer as it was on the wire. */
	text(method: string, params?: Record<string, unknown>): Promise<string>;
	/** The answer as a stream. */
	stream(method: string, params?: Record<string, unknown>): Promise<Stream>;
	/** Everything that the client hears of changes of tools. */
	changes(): Promise<Stream>;
}

type Era = 'legacy' | 'modern';
const ERAS: readonly Era[] = ['legacy', 'modern'];

async function connect(stack: HttpStack, era: Era, path = '/mcp'): Promise<Client> {
	let id = 100;
	if (era === 'modern') {
		const client = new ModernHttp(stack, { path, capabilities: ALL });
		return {
			ask: async (method, params) => (await client.send(method, params)).rpc,
			text: async (method, params) => (await client.send(method, params)).text,
			stream: (method, params) => client.begin(method, params).stream(),
			changes: async () => {
				const notifications = { toolsListChanged: true };
				const stream = await client.begin('subscriptions/listen', { notifications }, { id: 'l' }).stream();
				assert.equal((await stream.next()).method, 'notifications/subscriptions/acknowledged');
				return stream;
			},
		};
	}
	const session = await new SessionHttp(stack, path).open('2025-11-25', ALL);
	const request = (method: string, params: Record<string, unknown> = {}): Rpc => ({
		jsonrpc: '2.0',
		id: ++id,
		method,
		params,
	});
	return {
		ask: async (method, params) => (await session.post(request(method, params))).rpc,
		text: async (method, params) => (await session.post(request(method, params))).text,
		stream: (method, params) => session.stream(request(method, params)),
		changes: () => session.listen(),
	};
}

/** A result without what only the second era has in it. */
function bare(result: Record<string, unknown> | undefined): Record<string, unknown> {
	const { resultType: _, ttlMs: __, cacheScope: ___, _meta: ____, ...rest } = result ?? {};
	return rest;
}

function namesIn({ result }: Rpc, member = 'tools', key = 'name'): unknown[] {
	const entries = result?.[member];
	assert.ok(Array.isArray(entries), JSON.stringify(result));
	return entries.map((entry: object) => Reflect.get(entry, key));
}

const toolsOf =
	(...names: string[]) =>
	() => ({ tools: names.map((name) => ({ name, inputSchema: { type: 'object' } })) });

const withTools = (...names: string[]): Script => ({
	capabilities: { tools: { listChanged: true } },
	answers: { 'tools/list': toolsOf(...names) },
});

const refuseLaunch = () => {
	throw new SlipwayError('SLIPWAY_IMAGE_MISSING');
};

/** Why servers are absent, as /status tells it. */
async function absences({ send }: HttpStack): Promise<Record<string, unknown>> {
	const { text } = await send({ path: '/status', headers: AUTHORIZATION });
	const { servers } = JSON.parse(text) as { servers: { name: string; absent?: { code: string } }[] };
	return Object.fromEntries(servers.map(({ name, absent }) => [name, absent?.code]));
}

describe('what an aggregated endpoint says of itself', () => {
	for (const path of ['/mcp', '/groups/pair/mcp']) {
		test(`is said at once at ${path}, and starts nothing`, async (t) => {
			const { stack } = await start(t, { alpha: {}, beta: {} }, { pair: ['alpha', 'beta'] });
			const discovered = await new ModernHttp(stack, { path }).send('server/discover', {}, { id: 'd' });
			const session = new SessionHttp(stack, path);
			const initialized = await session.initialize('2025-06-18');
			assert.equal(stack.launcher.launches, 0);
			const lists = {
				prompts: { listChanged: true },
				resources: { listChanged: true, subscribe: true },
				tools: { listChanged: true },
			};
			const { capabilities, supportedVersions, ...rest } = discovered.rpc.result ?? {};
			assert.deepEqual(capabilities, { completions: {}, logging: {}, ...lists });
			assert.ok(Array.isArray(supportedVersions) && supportedVersions.includes('2026-07-28'));
			assert.deepEqual(rest, {
				resultType: 'complete',
				ttlMs: 0,
				cacheScope: 'private',
				_meta: { [`${META}serverInfo`]: { name: 'slipway', version: 'test' } },
			});
			assert.equal(discovered.rpc.id, 'd');
			assert.equal(discovered.headers['mcp-session-id'], undefined);
			assert.ok(initialized.headers['mcp-session-id']);
			assert.equal(initialized.rpc.result?.['protocolVersion'], '2025-06-18');
			assert.deepEqual(initialized.rpc.result?.['serverInfo'], { name: 'slipway', version: 'test' });
			assert.deepEqual(initialized.rpc.result?.['capabilities'], {
				completions: {},
				logging: {},
				...lists,
				tasks: { cancel: {}, list: {}, requests: { tools: { call: {} } } },
			});
		});
	}

	test('is nothing for a group that there is not, nor for a name that every object has', async (t) => {
		const { stack } = await start(t, { alpha: {} }, { pair: ['alpha'] });
		for (const name of ['none', 'constructor', '__proto__', 'toString']) {
			const { status, rpc } = await new ModernHttp(stack, { path: `/groups/${name}/mcp` }).send('tools/list');
			assert.equal(status, 404, name);
			assert.equal(rpc.error?.data?.['code'], 'SLIPWAY_GROUP_UNKNOWN');
			assert.equal((await new SessionHttp(stack, `/groups/${name}/mcp`).initialize()).status, 404);
		}
	});

	test('is told to nobody without a key', async (t) => {
		const { stack } = await start(t, { alpha: {} });
		assert.equal((await new ModernHttp(stack, { path: '/mcp', key: 'wrong' }).send('tools/list')).status, 401);
	});

	test('a method that the second era has no more is refused there, and what no server knows too', async (t) => {
		const { stack, cast } = await start(t, { alpha: withTools('a') });
		const client = new ModernHttp(stack, { path: '/mcp' });
		assert.equal((await client.send('resources/subscribe', { uri: 'a:b' })).status, 404);
		assert.equal(stack.launcher.launches, 0);
		const answering = client.send('x/y');
		const alpha = await cast.of('alpha');
		alpha.say(failure((await alpha.hear('x/y')).id, { code: -32601, message: 'Method not found' }));
		const { status, rpc } = await answering;
		assert.equal(status, 404);
		assert.equal(rpc.error?.code, -32601);
	});
});

for (const era of ERAS) {
	describe(`for a client of the ${era} era`, () => {
		describe('lists', () => {
			test('are those of all servers, in the order of the catalog, with the names of the servers before theirs', async (t) => {
				const { stack } = await start(t, {
					zeta: withTools('one', 'two'),
					alpha: { era: 'modern', ...withTools('two', 'x__y') },
					mid: { era: 'dual', ...withTools() },
				});
				const client = await connect(stack, era);
				const { result: listed } = await client.ask('tools/list');
				assert.deepEqual(Object.keys(bare(listed)), ['tools']);
				assert.deepEqual(namesIn({ result: listed ?? {} }), ['zeta__one', 'zeta__two', 'alpha__two', 'alpha__x__y']);
			});

			test('are whole, however many pages a server has of them', async (t) => {
				const page = ({ cursor }: Record<string, unknown>) =>
					cursor === undefined
						? { tools: [{ name: 'p1' }], nextCursor: 'c-2' }
						: cursor === 'c-2'
							? { tools: [{ name: 'p2' }, { name: 'p2b' }], nextCursor: 'c-3' }
							: { tools: [{ name: `p3 of ${cursor}` }] };
				const { stack } = await start(t, {
					alpha: { capabilities: { tools: {} }, answers: { 'tools/list': page } },
					beta: { era: 'modern', capabilities: { tools: {} }, answers: { 'tools/list': page } },
				});
				const client = await connect(stack, era);
				const listed = await client.ask('tools/list');
				assert.deepEqual(namesIn(listed), [
					'alpha__p1',
					'alpha__p2',
					'alpha__p2b',
					'alpha__p3 of c-3',
					'beta__p1',
					'beta__p2',
					'beta__p2b',
					'beta__p3 of c-3',
				]);
				assert.equal(listed.result?.['nextCursor'], undefined);
			});

			test('without an end are ended', async (t) => {
				let pages = 0;
				const { stack } = await start(t, {
					alpha: {
						capabilities: { tools: {} },
						answers: { 'tools/list': () => ({ tools: [{ name: `t${pages++}` }], nextCursor: 'again' }) },
					},
				});
				const client = await connect(stack, era);
				assert.equal(namesIn(await client.ask('tools/list')).length, AGGREGATE_LIMITS.pagesMax);
			});

			test('keep what servers wrote of an entry, but for the name', async (t) => {
				const { stack, cast } = await start(t, { alpha: { capabilities: { tools: {} } } });
				const client = await connect(stack, era);
				const listing = client.text('tools/list');
				const alpha = await cast.of('alpha');
				const { id } = await alpha.hear('tools/list');
				const entry = (name: string): string =>
					`{"z":12345678901234567890,"name":"${name}","u":"\\u00e9\\/ é😀","f":1.0,"_meta":{"name":"keep"},"inputSchema":{"properties":{"name":{}}}}`;
				alpha.instance.say(`{"jsonrpc":"2.0","id":${id},"result":{"tools":[${entry('t')},5,{"no":"name"}]}}`);
				const text = await listing;
				assert.ok(text.includes(`"tools":[${entry('alpha__t')}]`), text);
			});

			test('of prompts have names as well; of two resources with one URI the first server has it', async (t) => {
				const script = (name: string): Script => ({
					capabilities: { prompts: {}, resources: {} },
					answers: {
						'prompts/list': () => ({ prompts: [{ name: 'p', title: name }] }),
						'resources/list': () => ({
							resources: [
								{ uri: 'same:1', name },
								{ uri: `${name}:1`, name },
							],
						}),
						'resources/templates/list': () => ({
							resourceTemplates: [
								{ uriTemplate: 'same:{x}', name },
								{ uriTemplate: `${name}:{x}`, name },
							],
						}),
					},
				});
				const { stack } = await start(t, { beta: script('beta'), alpha: { era: 'modern', ...script('alpha') } });
				const client = await connect(stack, era);
				assert.deepEqual(namesIn(await client.ask('prompts/list'), 'prompts'), ['beta__p', 'alpha__p']);
				const resources = await client.ask('resources/list');
				assert.deepEqual(namesIn(resources, 'resources', 'uri'), ['same:1', 'beta:1', 'alpha:1']);
				assert.deepEqual(namesIn(resources, 'resources'), ['beta', 'beta', 'alpha']);
				const templates = await client.ask('resources/templates/list');
				assert.deepEqual(namesIn(templates, 'resourceTemplates', 'uriTemplate'), ['same:{x}', 'beta:{x}', 'alpha:{x}']);
			});

			test('are not asked of a server that has none', async (t) => {
				const { stack, cast } = await start(t, {
					alpha: { capabilities: { tools: {} }, answers: { 'tools/list': toolsOf('a') } },
					beta: { capabilities: { prompts: {} } },
				});
				const client = await connect(stack, era);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				assert.deepEqual(namesIn(await client.ask('resources/list'), 'resources'), []);
				assert.ok(!methodsTo((await cast.of('beta')).instance).includes('tools/list'));
			});

			test('are without what a server fails to list, and with all the rest', async (t) => {
				const { stack, cast } = await start(t, {
					alpha: { capabilities: { tools: {} } },
					beta: withTools('b'),
				});
				const client = await connect(stack, era);
				const listing = client.ask('tools/list');
				const alpha = await cast.of('alpha');
				alpha.say(failure((await alpha.hear('tools/list')).id, { code: -32603, message: 'not now' }));
				assert.deepEqual(namesIn(await listing), ['beta__b']);
				const next = client.ask('tools/list');
				await alpha.hear('tools/list');
				alpha.exit();
				assert.deepEqual(namesIn(await next), ['beta__b']);
			});
		});

		describe('requests', () => {
			test('of tools and prompts go to the server that their name begins with, by the name that it knows', async (t) => {
				const { stack, cast } = await start(t, {
					alpha: { capabilities: { tools: {}, prompts: {} } },
					beta: { era: 'modern', capabilities: { tools: {}, prompts: {} } },
				});
				const client = await connect(stack, era);
				for (const [method, name, server, bareName] of [
					['tools/call', 'alpha__echo', 'alpha', 'echo'],
					['tools/call', 'beta__echo', 'beta', 'echo'],
					['tools/call', 'beta__x__y', 'beta', 'x__y'],
					['tools/call', 'alpha___z', 'alpha', '_z'],
					['prompts/get', 'beta__p', 'beta', 'p'],
				] as const) {
					const answering = client.ask(method, { arguments: { name: 'keep' }, name });
					const heard = await (await cast.of(server)).answer(method, { of: server });
					assert.equal(heard.params['name'], bareName);
					assert.deepEqual(heard.params['arguments'], { name: 'keep' });
					assert.deepEqual(bare((await answering).result), { of: server });
				}
			});

			test('start only the server that they are for', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				stack.launcher.beforeLaunch = (server) => (server === 'alpha' ? new Promise(() => undefined) : undefined);
				const client = await connect(stack, era);
				const calling = client.ask('tools/call', { name: 'beta__b' });
				await (await cast.of('beta')).answer('tools/call', { fine: true });
				assert.equal((await calling).result?.['fine'], true);
			});

			test('for tools that no server has are refused, and no server hears of them', async (t) => {
				const { stack } = await start(t, { alpha: withTools('a'), off: withTools('o') });
				enable(stack, 'off', false);
				const client = await connect(stack, era);
				await client.ask('tools/list');
				const before = [...stack.launcher.live].map(({ received }) => received.length);
				for (const name of ['a', 'gamma__a', 'off__o', '__a', 'alpha_a', '', 5]) {
					const { error } = await client.ask('prompts/get', { name });
					assert.equal(error?.code, -32602, String(name));
				}
				assert.deepEqual(
					[...stack.launcher.live].map(({ received }) => received.length),
					before,
				);
				assert.equal(stack.launcher.launches, 1);
			});

			test('for tools that their server does not have get what that says', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a') });
				const client = await connect(stack, era);
				const calling = client.ask('tools/call', { name: 'alpha__none' });
				const alpha = await cast.of('alpha');
				const error = { code: -32602, message: 'Unknown tool: none' };
				alpha.say(failure((await alpha.hear('tools/call')).id, error));
				assert.deepEqual((await calling).error, error);
			});

			test('of resources go to the server that lists them, or a template of them, the longest', async (t) => {
				const script = (uri: string, ...templates: string[]): Script => ({
					capabilities: { resources: {} },
					answers: {
						'resources/list': () => ({ resources: [{ uri, name: 'r' }] }),
						'resources/templates/list': () => ({
							resourceTemplates: templates.map((uriTemplate) => ({ uriTemplate, name: 't' })),
						}),
					},
				});
				const { stack, cast } = await start(t, {
					alpha: script('a:1', 'file:///{path}'),
					beta: { era: 'modern', ...script('b:1', 'file:///special/{path}', 'b:{x}') },
				});
				const client = await connect(stack, era);
				for (const [uri, server] of [
					['a:1', 'alpha'],
					['b:1', 'beta'],
					['b:77', 'beta'],
					['file:///x', 'alpha'],
					['file:///special/x', 'beta'],
				] as const) {
					const reading = client.ask('resources/read', { uri });
					const heard = await (await cast.of(server)).answer('resources/read', { contents: [{ uri }] });
					assert.equal(heard.params['uri'], uri);
					assert.deepEqual(bare((await reading).result), { contents: [{ uri }] });
				}
			});

			test('of a resource that two have go to the first, also when the second has answered first', async (t) => {
				const script: Script = { capabilities: { resources: {} } };
				const { stack, cast } = await start(t, { alpha: script, beta: script });
				const client = await connect(stack, era);
				const listing = client.ask('resources/list');
				const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
				const mine = { resources: [{ uri: 'same:1', name: 'r' }] };
				await beta.answer('resources/list', mine);
				await alpha.answer('resources/list', mine);
				await listing;
				const reading = client.ask('resources/read', { uri: 'same:1' });
				await alpha.answer('resources/read', { of: 'alpha' });
				assert.equal((await reading).result?.['of'], 'alpha');
			});

			test('of a resource that went from one server to the other go to the one that lists it now', async (t) => {
				const lists: Record<string, string[]> = { alpha: ['x:1'], beta: [] };
				const script = (name: string): Script => ({
					capabilities: { resources: {} },
					answers: {
						'resources/list': () => ({ resources: lists[name]?.map((uri) => ({ uri, name: 'r' })) ?? [] }),
						'resources/templates/list': () => ({ resourceTemplates: [] }),
					},
				});
				const { stack, cast } = await start(t, { alpha: script('alpha'), beta: script('beta') });
				const client = await connect(stack, era);
				await client.ask('resources/list');
				lists['alpha'] = [];
				lists['beta'] = ['x:1'];
				assert.deepEqual(namesIn(await client.ask('resources/list'), 'resources', 'uri'), ['x:1']);
				const reading = client.ask('resources/read', { uri: 'x:1' });
				const heard = await Promise.race([
					(await cast.of('alpha')).heard.next().then(() => 'alpha'),
					(await cast.of('beta')).answer('resources/read', { of: 'beta' }).then(() => 'beta'),
				]);
				assert.equal(heard, 'beta');
				assert.equal((await reading).result?.['of'], 'beta');
			});

			test('of a resource that two have go to the second while the first cannot start', async (t) => {
				const script: Script = {
					capabilities: { resources: {} },
					answers: {
						'resources/list': () => ({ resources: [{ uri: 'same:1', name: 'r' }] }),
						'resources/templates/list': () => ({ resourceTemplates: [] }),
					},
				};
				const { stack, cast } = await start(t, { alpha: script, beta: script });
				const client = await connect(stack, era);
				await client.ask('resources/list');
				stack.launcher.beforeLaunch = refuseLaunch;
				const alpha = await cast.of('alpha');
				alpha.exit();
				await alpha.instance.ended;
				assert.deepEqual(namesIn(await client.ask('resources/list'), 'resources', 'uri'), ['same:1']);
				const reading = client.ask('resources/read', { uri: 'same:1' });
				const answering = (await cast.of('beta')).answer('resources/read', { of: 'beta' });
				answering.catch(() => undefined);
				assert.equal((await reading).result?.['of'], 'beta');
			});

			test('of a resource that is in no list, of which a server says nothing, are not told that there is none', async (t) => {
				const wait = new HeldTimers(t, AGGREGATE_LIMITS.listWaitMs);
				const script: Script = { capabilities: {} };
				const { stack, cast } = await start(t, { alpha: script, beta: script });
				const client = await connect(stack, era);
				const reading = client.ask('resources/read', { uri: 'slow:1' });
				const alpha = await cast.of('alpha');
				await alpha.hear('resources/read');
				wait.fire();
				const beta = await cast.of('beta');
				beta.say(failure((await beta.hear('resources/read')).id, { code: -32002, message: 'not mine' }));
				assert.equal((await reading).error?.data?.['code'], 'SLIPWAY_CALL_TIMEOUT');
			});

			test('of a resource that is in no list are put to one server after the other', async (t) => {
				const script: Script = {
					capabilities: { resources: {} },
					answers: {
						'resources/list': () => ({ resources: [] }),
						'resources/templates/list': () => ({ resourceTemplates: [] }),
					},
				};
				const { stack, cast } = await start(t, { alpha: script, beta: { era: 'modern', ...script } });
				const client = await connect(stack, era);
				const reading = client.ask('resources/read', { uri: 'hidden:1' });
				const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
				alpha.say(failure((await alpha.hear('resources/read')).id, { code: -32002, message: 'not mine' }));
				await beta.answer('resources/read', { of: 'beta' });
				assert.equal((await reading).result?.['of'], 'beta');
				const none = client.ask('resources/read', { uri: 'hidden:2' });
				alpha.say(failure((await alpha.hear('resources/read')).id, { code: -32002, message: 'not mine' }));
				beta.say(failure((await beta.hear('resources/read')).id, { code: -32602, message: 'not mine' }));
				const { error } = await none;
				assert.equal(error?.code, era === 'legacy' ? -32002 : -32602);
				assert.equal(error?.data?.['uri'], 'hidden:2');
				const broken = client.ask('resources/read', { uri: 'hidden:3' });
				alpha.say(failure((await alpha.hear('resources/read')).id, { code: -32603, message: 'disk on fire' }));
				beta.say(failure((await beta.hear('resources/read')).id, { code: -32602, message: 'not mine' }));
				assert.equal((await broken).error?.message, 'disk on fire');
			});

			test('of a resource that is in no list go on to the next server when one ends of it', async (t) => {
				const script: Script = { capabilities: {} };
				const { stack, cast } = await start(t, { alpha: script, beta: script });
				const client = await connect(stack, era);
				const reading = client.ask('resources/read', { uri: 'deadly:1' });
				const alpha = await cast.of('alpha');
				await alpha.hear('resources/read');
				alpha.exit();
				await (await cast.of('beta')).answer('resources/read', { of: 'beta' });
				assert.equal((await reading).result?.['of'], 'beta');
				// And when nobody else knows it either, that one may have known it.
				const again = client.ask('resources/read', { uri: 'deadly:2' });
				const next = await cast.of('alpha', 1);
				await next.hear('resources/read');
				next.exit();
				const beta = await cast.of('beta');
				beta.say(failure((await beta.hear('resources/read')).id, { code: -32002, message: 'not mine' }));
				assert.equal((await again).error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
			});

			test('for completion go to the server of the prompt, or of the template', async (t) => {
				const { stack, cast } = await start(t, {
					alpha: { capabilities: { completions: {}, prompts: {} } },
					beta: {
						era: 'modern',
						capabilities: { completions: {}, resources: {} },
						answers: {
							'resources/list': () => ({ resources: [] }),
							'resources/templates/list': () => ({ resourceTemplates: [{ uriTemplate: 'b:{x}', name: 't' }] }),
						},
					},
				});
				const client = await connect(stack, era);
				const argument = { name: 'x', value: 'v' };
				const prompt = client.ask('completion/complete', { ref: { type: 'ref/prompt', name: 'alpha__p' }, argument });
				const heard = await (await cast.of('alpha')).answer('completion/complete', { completion: { values: ['1'] } });
				assert.deepEqual(heard.params['ref'], { type: 'ref/prompt', name: 'p' });
				assert.deepEqual(heard.params['argument'], argument);
				assert.deepEqual(bare((await prompt).result), { completion: { values: ['1'] } });
				const ref = { type: 'ref/resource', uri: 'b:{x}' };
				const template = client.ask('completion/complete', { ref, argument });
				const asked = await (await cast.of('beta')).answer('completion/complete', { completion: { values: ['2'] } });
				assert.deepEqual(asked.params['ref'], ref);
				assert.deepEqual(bare((await template).result), { completion: { values: ['2'] } });
			});

			test('for the completion of a prompt that no server has are refused as a wrong name is', async (t) => {
				const { stack, cast } = await start(t, { alpha: { capabilities: { completions: {}, prompts: {} } } });
				const client = await connect(stack, era);
				const ref = { type: 'ref/prompt', name: 'none__p' };
				const asking = client.ask('completion/complete', { ref, argument: { name: 'x', value: '' } });
				const refusing = cast.of('alpha').then(async (alpha) => {
					const { id } = await alpha.hear('completion/complete');
					alpha.say(failure(id, { code: -32602, message: 'no such prompt' }));
				});
				refusing.catch(() => undefined);
				assert.equal((await asking).error?.code, -32602);
			});
		});

		describe('calls', () => {
			test('of two servers at once have their own progress, whatever their tokens', async (t) => {
				const script: Script = { capabilities: { tools: {} } };
				const { stack, cast } = await start(t, { alpha: script, beta: { era: 'modern', ...script } });
				const client = await connect(stack, era);
				const meta = (progressToken: unknown) => ({ _meta: { progressToken } });
				const streaming =
					era === 'modern'
						? ['alpha', 'beta'].map((server) =>
								new ModernHttp(stack, { path: '/mcp', capabilities: ALL, meta: { progressToken: 1 } })
									.call(`${server}__x`)
									.stream(),
							)
						: ['alpha', 'beta'].map((server, index) =>
								client.stream('tools/call', { name: `${server}__x`, ...meta(index) }),
							);
				const servers = [await cast.of('alpha'), await cast.of('beta')];
				for (const [index, server] of servers.entries()) {
					const heard = await server.hear('tools/call');
					server.say(progress(metaIn(heard)['progressToken'], index + 10));
					server.say(result(heard.id, { of: index }));
				}
				for (const [index, opening] of streaming.entries()) {
					const [told, answer] = await (await opening).rest();
					assert.deepEqual(told, progress(era === 'modern' ? 1 : index, index + 10));
					assert.equal(answer?.result?.['of'], index);
				}
			});

			test('that their client withdraws are withdrawn at their server alone', async (t) => {
				const script: Script = { capabilities: { tools: {} } };
				const { stack, cast } = await start(t, { alpha: script, beta: script });
				const [alpha, beta] = await (async () => {
					if (era === 'modern') {
						const client = new ModernHttp(stack, { path: '/mcp' });
						const pending = [client.call('alpha__x'), client.call('beta__x')];
						const servers = [await cast.of('alpha'), await cast.of('beta')] as const;
						for (const server of servers) await server.hear('tools/call');
						pending[0]?.disconnect();
						return servers;
					}
					const session = await new SessionHttp(stack, '/mcp').open();
					void session.stream(call('a', 'alpha__x'));
					void session.stream(call('b', 'beta__x'));
					const servers = [await cast.of('alpha'), await cast.of('beta')] as const;
					for (const server of servers) await server.hear('tools/call');
					await session.post(notification('notifications/cancelled', { requestId: 'a' }));
					return servers;
				})();
				const cancelled = await alpha.hear('notifications/cancelled');
				assert.equal(typeof cancelled.params['requestId'], 'number');
				assert.equal(beta.heard.size, 0);
			});

			test('to a server that cannot start get why, and the next one tries again', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				stack.launcher.beforeLaunch = (server) => {
					if (server === 'beta') throw new SlipwayError('SLIPWAY_IMAGE_MISSING');
				};
				const client = await connect(stack, era);
				const { error } = await client.ask('tools/call', { name: 'beta__b' });
				assert.equal(error?.data?.['code'], 'SLIPWAY_IMAGE_MISSING');
				stack.launcher.beforeLaunch = () => undefined;
				stack.later(CRASH_LIMITS.permanentFaultMs);
				const calling = client.ask('tools/call', { name: 'beta__b' });
				await (await cast.of('beta')).answer('tools/call', { fine: true });
				assert.equal((await calling).result?.['fine'], true);
			});

			test('to a server that dies get why; the next starts it again, and the others never noticed', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const client = await connect(stack, era);
				await client.ask('tools/list');
				const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
				const lasting = client.ask('tools/call', { name: 'alpha__a' });
				const { id } = await alpha.hear('tools/call');
				const dying = client.ask('tools/call', { name: 'beta__b' });
				await beta.hear('tools/call');
				beta.exit();
				assert.equal((await dying).error?.data?.['code'], 'SLIPWAY_INSTANCE_EXITED');
				const again = client.ask('tools/call', { name: 'beta__b' });
				const next = await cast.of('beta', 1);
				await next.answer('tools/call', { again: true });
				assert.equal((await again).result?.['again'], true);
				alpha.say(result(id, { lasting: true }));
				assert.equal((await lasting).result?.['lasting'], true);
				assert.equal(stack.launcher.launches, 3);
			});
		});

		describe('a server', () => {
			test('that cannot start is absent from lists, without delay, and so /status says until it is back', async (t) => {
				const { stack } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const launching: string[] = [];
				stack.launcher.beforeLaunch = (server) => {
					launching.push(server);
					if (server === 'beta') refuseLaunch();
				};
				const client = await connect(stack, era);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				assert.deepEqual(await absences(stack), { alpha: undefined, beta: 'SLIPWAY_IMAGE_MISSING' });
				const tries = launching.length;
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				assert.equal(launching.length, tries, 'it is not tried for every list');
				stack.launcher.beforeLaunch = () => undefined;
				stack.later(AGGREGATE_LIMITS.retryAfterMs + 1);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a', 'beta__b']);
				assert.deepEqual(await absences(stack), { alpha: undefined, beta: undefined });
			});

			test('that was absent and comes back for a call is told of as a change', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				stack.launcher.beforeLaunch = (server) => {
					if (server === 'beta') refuseLaunch();
				};
				const client = await connect(stack, era);
				const changes = await client.changes();
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				stack.launcher.beforeLaunch = () => undefined;
				stack.later(CRASH_LIMITS.permanentFaultMs);
				const calling = client.ask('tools/call', { name: 'beta__b' });
				await (await cast.of('beta')).answer('tools/call');
				await calling;
				assert.equal((await changes.next()).method, TOOLS_CHANGED);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a', 'beta__b']);
			});

			test('that is slow to start is waited for, but not for ever, and told of as a change when it comes', async (t) => {
				const wait = new HeldTimers(t, AGGREGATE_LIMITS.listWaitMs);
				const { stack } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const launch = Promise.withResolvers<void>();
				stack.launcher.beforeLaunch = (server) => (server === 'beta' ? launch.promise : undefined);
				const client = await connect(stack, era);
				const opening = client.changes();
				if (era === 'modern') await wait.fireNext();
				const changes = await opening;
				let listed = false;
				const listing = client.ask('tools/list').finally(() => {
					listed = true;
				});
				while (!listed) {
					await stack.send({ path: '/health' });
					wait.fire();
				}
				assert.deepEqual(namesIn(await listing), ['alpha__a']);
				launch.resolve();
				assert.equal((await changes.next()).method, TOOLS_CHANGED);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a', 'beta__b']);
			});

			test('that dies while its tools are listed is told of as a change when it is back', async (t) => {
				const beta: Script = { capabilities: { tools: {} } };
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta });
				const client = await connect(stack, era);
				const changes = await client.changes();
				const listing = client.ask('tools/list');
				const first = await cast.of('beta');
				await first.hear('tools/list');
				first.exit();
				assert.deepEqual(namesIn(await listing), ['alpha__a']);
				const calling = client.ask('tools/call', { name: 'beta__b' });
				await (await cast.of('beta', 1)).answer('tools/call');
				await calling;
				assert.equal((await changes.next()).method, TOOLS_CHANGED);
			});

			test('that was slow with its tools for once is told of as a change when they come, and has them', async (t) => {
				const wait = new HeldTimers(t, AGGREGATE_LIMITS.listWaitMs);
				const { stack, cast } = await start(t, { alpha: { capabilities: { tools: {} } }, beta: withTools('b') });
				const client = await connect(stack, era);
				const changes = await client.changes();
				const listing = client.ask('tools/list');
				const alpha = await cast.of('alpha');
				const { id } = await alpha.hear('tools/list');
				await stack.send({ path: '/health' });
				wait.fire();
				assert.deepEqual(namesIn(await listing), ['beta__b']);
				alpha.say(result(id, { tools: [{ name: 'a' }] }));
				assert.equal((await changes.next()).method, TOOLS_CHANGED);
				const again = client.ask('tools/list');
				const answering = alpha.answer('tools/list', { tools: [{ name: 'a' }] });
				answering.catch(() => undefined);
				assert.deepEqual(namesIn(await again), ['alpha__a', 'beta__b']);
			});

			test('that ends right after its first words harms nobody', async (t) => {
				for (const speaks of ['legacy', 'modern'] as const) {
					const beta: Script = { ...withTools('b'), era: speaks, ends: true };
					const { stack } = await start(t, { alpha: withTools('a'), beta });
					const client = await connect(stack, era);
					assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
					assert.equal((await stack.send({ path: '/health' })).status, 200);
				}
			});

			test('that refuses to begin is absent, with what it says, and is not kept', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), mute: { era: 'none' } });
				const client = await connect(stack, era);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				assert.deepEqual(await absences(stack), { alpha: undefined, mute: 'SLIPWAY_HANDSHAKE_REFUSED' });
				await (await cast.of('mute')).instance.ended;
			});

			test('that leaves the catalog is ended, and absent, and is there again with it', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const client = await connect(stack, era);
				await client.ask('tools/list');
				const beta = await cast.of('beta');
				enable(stack, 'beta', false);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a']);
				assert.equal((await client.ask('tools/call', { name: 'beta__b' })).error?.code, -32602);
				stack.later(0);
				await beta.instance.ended;
				enable(stack, 'beta', true);
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['alpha__a', 'beta__b']);
				assert.equal(stack.launcher.launches, 3);
			});

			test('that leaves the catalog while it starts is not kept', async (t) => {
				const { stack } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const launch = Promise.withResolvers<void>();
				stack.launcher.beforeLaunch = (server) => (server === 'beta' ? launch.promise : undefined);
				const client = await connect(stack, era);
				const calling = client.ask('tools/call', { name: 'beta__b' });
				while (stack.launcher.launches < (era === 'legacy' ? 2 : 1)) await new Promise(setImmediate);
				enable(stack, 'beta', false);
				stack.later(0);
				launch.resolve();
				const beta = await stack.launcher.launched.first(({ server }) => server === 'beta');
				stack.later(0);
				await beta.ended;
				assert.ok((await calling).error);
			});
		});

		describe('a group', () => {
			test('has its servers in its own order, without those that are disabled', async (t) => {
				const { stack } = await start(
					t,
					{ alpha: withTools('t'), beta: withTools('t'), gamma: withTools('t'), off: withTools('t') },
					{ some: ['gamma', 'off', 'alpha'] },
				);
				enable(stack, 'off', false);
				const client = await connect(stack, era, '/groups/some/mcp');
				assert.deepEqual(namesIn(await client.ask('tools/list')), ['gamma__t', 'alpha__t']);
				assert.equal((await client.ask('tools/call', { name: 'beta__t' })).error?.code, -32602);
				assert.equal((await client.ask('tools/call', { name: 'off__t' })).error?.code, -32602);
				assert.equal(stack.launcher.launches, 2);
			});

			test('that is no longer in the catalog is ended with its Instances', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('t') }, { some: ['alpha'] });
				const client = await connect(stack, era, '/groups/some/mcp');
				await client.ask('tools/list');
				const { instance } = await cast.of('alpha');
				stack.launcher.state = { ...stack.launcher.state, groups: {} };
				stack.later(0);
				await instance.ended;
				const { status } = await new ModernHttp(stack, { path: '/groups/some/mcp' }).send('tools/list');
				assert.equal(status, 404);
			});
		});

		describe('the end', () => {
			test('comes for all servers when nobody asked for long', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: { era: 'modern', ...withTools('b') } });
				const client = await connect(stack, era);
				await client.ask('tools/list');
				const servers = [await cast.of('alpha'), await cast.of('beta')];
				stack.later(SESSION_LIMITS.idleMs + 1);
				for (const { instance } of servers) await instance.ended;
				assert.equal(stack.launcher.live.size, 0);
			});

			test('comes in the middle of a start, and leaves no Instance', async (t) => {
				const { stack } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				stack.launcher.beforeLaunch = (server) => (server === 'beta' ? new Promise(() => undefined) : undefined);
				const client = await connect(stack, era);
				const listing = client.ask('tools/list').catch(() => undefined);
				await stack.launcher.launched.first(({ server }) => server === 'alpha');
				await stack.stop();
				await listing;
				assert.equal(stack.launcher.live.size, 0);
			});

			test('waits for calls in flight, and for them alone', async (t) => {
				const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
				const client = await connect(stack, era);
				await client.ask('tools/list');
				const calling = client.ask('tools/call', { name: 'alpha__a' });
				const alpha = await cast.of('alpha');
				const { id } = await alpha.hear('tools/call');
				const stopping = stack.gateway.stop();
				await stack.send({ path: '/health' });
				assert.equal(alpha.instance.stopped, undefined);
				alpha.say(result(id, { in: 'time' }));
				assert.equal((await calling).result?.['in'], 'time');
				await stopping;
				assert.equal(stack.launcher.live.size, 0);
			});
		});
	});
}

describe('a client with a session', () => {
	const open = async (t: Test, scripts: Readonly<Record<string, Script>>, capabilities: object = ALL) => {
		const { stack, cast } = await start(t, scripts);
		return { stack, cast, session: await new SessionHttp(stack, '/mcp').open('2025-11-25', capabilities) };
	};

	test('introduces itself to each server as it did to us, and is ready with each', async (t) => {
		const { cast } = await open(t, { alpha: {}, beta: { era: 'modern' } });
		const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
		const { received } = alpha.instance;
		while (received.length < 2) await new Promise(setImmediate);
		const initialize = JSON.parse(received[0] ?? '') as Rpc;
		assert.deepEqual(initialize.params, {
			protocolVersion: '2025-11-25',
			capabilities: ALL,
			clientInfo: { name: 'test', version: '1' },
		});
		assert.deepEqual(methodsTo(alpha.instance), ['initialize', 'notifications/initialized']);
		while (beta.instance.received.length < 2) await new Promise(setImmediate);
		assert.deepEqual(methodsTo(beta.instance), ['initialize', 'server/discover']);
	});

	test('is pinged back at once, without a server', async (t) => {
		const { session } = await open(t, {});
		assert.deepEqual((await session.post({ jsonrpc: '2.0', id: 'p', method: 'ping' })).rpc, result('p', {}));
	});

	test('is asked by two servers with the same id, and each gets its own answer', async (t) => {
		const { cast, session } = await open(t, { alpha: {}, beta: {} });
		const streaming = ['alpha', 'beta'].map((server) => session.stream(call(server, `${server}__ask`)));
		const servers = [await cast.of('alpha'), await cast.of('beta')];
		const ids: number[] = [];
		for (const server of servers) {
			ids.push((await server.hear('tools/call')).id);
			server.say({ jsonrpc: '2.0', id: 'same', ...WHO });
		}
		const streams = await Promise.all(streaming);
		const asked = [await streams[0]?.next(), await streams[1]?.next()];
		assert.notEqual(asked[0]?.id, asked[1]?.id);
		for (const index of [1, 0]) await session.post(result(asked[index]?.id ?? '', { of: index }));
		for (const [index, server] of servers.entries()) {
			assert.deepEqual((await server.answers.next()).result, { of: index });
			server.say(result(ids[index] ?? -1, { done: index }));
			assert.deepEqual((await streams[index]?.rest())?.[0]?.result, { done: index });
		}
	});

	test('is asked what a server of the second era needs, and the call goes on there', async (t) => {
		const { cast, session } = await open(t, { alpha: { era: 'modern' } });
		const streaming = session.stream(call('c', 'alpha__ask'));
		const alpha = await cast.of('alpha');
		await alpha.answer('tools/call', {
			resultType: 'input_required',
			inputRequests: { who: WHO },
			requestState: 'state',
		});
		const events = await streaming;
		await session.post(result((await events.next()).id ?? '', ACCEPT));
		const { params } = await alpha.answer('tools/call', { done: true });
		assert.deepEqual(
			[params['name'], params['requestState'], params['inputResponses']],
			['ask', 'state', { who: ACCEPT }],
		);
		assert.deepEqual((await events.rest())[0]?.result, { done: true });
	});

	test('hears on its GET stream what belongs to no call, of every server', async (t) => {
		const { cast, session } = await open(t, { alpha: {}, beta: {} });
		const standing = await session.listen();
		const servers = [await cast.of('alpha'), await cast.of('beta')];
		for (const { instance } of servers) while (instance.received.length < 2) await new Promise(setImmediate);
		servers[0]?.say(notification(TOOLS_CHANGED));
		assert.deepEqual(await standing.next(), notification(TOOLS_CHANGED));
		servers[1]?.say(logLine('hello'));
		assert.deepEqual(await standing.next(), logLine('hello'));
		servers[1]?.say({ jsonrpc: '2.0', id: 'r', method: 'roots/list' });
		const asked = await standing.next();
		assert.equal(asked.method, 'roots/list');
		await session.post(result(asked.id ?? '', { roots: [] }));
		assert.deepEqual((await servers[1]?.answers.next())?.result, { roots: [] });
	});

	test('tells every server that its roots changed', async (t) => {
		const { cast, session } = await open(t, { alpha: {}, beta: {}, gamma: { era: 'modern' } });
		const servers = [await cast.of('alpha'), await cast.of('beta')];
		for (const { instance } of servers) while (instance.received.length < 2) await new Promise(setImmediate);
		await session.post(notification('notifications/roots/list_changed'));
		for (const server of servers) await server.hear('notifications/roots/list_changed');
		await session.post(notification('notifications/cancelled', { requestId: 'nothing' }));
		assert.deepEqual(
			servers.map(({ heard }) => heard.size),
			[0, 0],
		);
	});

	test('sets the level of log lines for all that have them, also for those that come later', async (t) => {
		const logging: Script = { capabilities: { tools: {}, logging: {} }, answers: { 'logging/setLevel': () => ({}) } };
		const { stack, cast } = await start(t, {
			alpha: logging,
			beta: logging,
			plain: {},
			modern: { ...logging, era: 'modern' },
		});
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = (server) => (server === 'beta' ? launch.promise : undefined);
		const session = await new SessionHttp(stack, '/mcp').open();
		const [alpha, plain, modern] = [await cast.of('alpha'), await cast.of('plain'), await cast.of('modern')];
		for (const { instance } of [alpha, plain, modern])
			while (instance.received.length < 2) await new Promise(setImmediate);
		const set = await session.post({ jsonrpc: '2.0', id: 1, method: 'logging/setLevel', params: { level: 'error' } });
		assert.deepEqual(set.rpc, result(1, {}));
		launch.resolve();
		const beta = await cast.of('beta');
		for (const { instance } of [alpha, beta])
			while (!methodsTo(instance).includes('logging/setLevel')) await new Promise(setImmediate);
		for (const { instance } of [alpha, beta])
			assert.deepEqual((JSON.parse(instance.received.at(-1) ?? '') as Rpc).params, { level: 'error' });
		const calling = session.post(call(2, 'modern__x'));
		assert.equal(metaIn(await modern.answer('tools/call'))[`${META}logLevel`], 'error');
		await calling;
		assert.ok(!methodsTo(plain.instance).includes('logging/setLevel'));
	});

	test('subscribes to a resource at its server, and hears of it on the GET stream', async (t) => {
		const script = (uri: string): Script => ({
			capabilities: { resources: { subscribe: true } },
			answers: {
				'resources/list': () => ({ resources: [{ uri, name: 'r' }] }),
				'resources/templates/list': () => ({ resourceTemplates: [] }),
			},
		});
		const { cast, session } = await open(t, {
			alpha: script('a:1'),
			beta: script('b:1'),
			gamma: { era: 'modern', ...script('c:1') },
		});
		const standing = await session.listen();
		const subscribe = (uri: string, method = 'resources/subscribe') =>
			session.post({ jsonrpc: '2.0', id: uri, method, params: { uri } });
		const subscribing = subscribe('b:1');
		const beta = await cast.of('beta');
		assert.deepEqual((await beta.answer('resources/subscribe')).params, { uri: 'b:1' });
		assert.deepEqual((await subscribing).rpc, result('b:1', {}));
		beta.say(notification('notifications/resources/updated', { uri: 'b:1' }));
		assert.deepEqual(await standing.next(), notification('notifications/resources/updated', { uri: 'b:1' }));
		const unsubscribing = subscribe('b:1', 'resources/unsubscribe');
		await beta.answer('resources/unsubscribe');
		assert.deepEqual((await unsubscribing).rpc, result('b:1', {}));
		const listening = subscribe('c:1');
		const gamma = await cast.of('gamma');
		const { id, params } = await gamma.hear('subscriptions/listen');
		const notifications = { resourceSubscriptions: ['c:1'] };
		assert.deepEqual(params['notifications'], notifications);
		const meta = { _meta: { [SUBSCRIPTION]: id } };
		gamma.say(notification('notifications/subscriptions/acknowledged', { ...meta, notifications }));
		assert.deepEqual((await listening).rpc, result('c:1', {}));
		gamma.say(notification('notifications/resources/updated', { uri: 'c:1', ...meta }));
		assert.deepEqual(await standing.next(), notification('notifications/resources/updated', { uri: 'c:1' }));
	});

	test('stays subscribed to a resource whose server died, when that is back', async (t) => {
		const script: Script = {
			capabilities: { tools: {}, resources: { subscribe: true } },
			answers: {
				'resources/list': () => ({ resources: [{ uri: 'a:1', name: 'r' }] }),
				'resources/templates/list': () => ({ resourceTemplates: [] }),
				'resources/subscribe': () => ({}),
			},
		};
		const { cast, session } = await open(t, { alpha: script });
		await session.post({ jsonrpc: '2.0', id: 1, method: 'resources/subscribe', params: { uri: 'a:1' } });
		const alpha = await cast.of('alpha');
		alpha.exit();
		await alpha.instance.ended;
		const calling = session.post(call(2, 'alpha__x'));
		const again = await cast.of('alpha', 1);
		await again.answer('tools/call');
		await calling;
		await session.post({ jsonrpc: '2.0', id: 3, method: 'resources/list' });
		assert.ok(methodsTo(again.instance).includes('resources/subscribe'));
	});

	test('finds the task of a server by its id', async (t) => {
		const { cast, session } = await open(t, { alpha: {}, beta: {} });
		const calling = session.post(call(1, 'beta__slow'));
		const beta = await cast.of('beta');
		await beta.answer('tools/call', { task: { taskId: 't-1', status: 'working' } });
		await calling;
		for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) {
			const asking = session.post({ jsonrpc: '2.0', id: method, method, params: { taskId: 't-1' } });
			assert.deepEqual((await beta.answer(method, { of: method })).params, { taskId: 't-1' });
			assert.deepEqual((await asking).rpc, result(method, { of: method }));
		}
		assert.equal((await cast.of('alpha')).heard.size, 0);
	});

	test('may use the id of a request again when it is over, and not before', async (t) => {
		const { cast, session } = await open(t, { alpha: withTools('x') });
		const calling = session.post(call('c', 'alpha__x'));
		const alpha = await cast.of('alpha');
		const { id } = await alpha.hear('tools/call');
		assert.equal((await session.post(call('c', 'alpha__x'))).rpc.error?.data?.['code'], 'SLIPWAY_DUPLICATE_ID');
		alpha.say(result(id));
		await calling;
		for (const refused of [call('c', 'none__x'), { jsonrpc: '2.0', id: 'c', method: 'tools/list' }])
			assert.notEqual((await session.post(refused)).rpc.error?.data?.['code'], 'SLIPWAY_DUPLICATE_ID');
		const again = session.post(call('c', 'alpha__x'));
		await alpha.answer('tools/call', { again: true });
		assert.deepEqual((await again).rpc, result('c', { again: true }));
	});

	test('withdraws a call whose server has not come yet: it is never sent', async (t) => {
		const { stack, cast } = await start(t, { alpha: {} });
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const session = await new SessionHttp(stack, '/mcp').open();
		const streaming = session.stream(call('c', 'alpha__x'));
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		await stack.send({ path: '/health' });
		await session.post(notification('notifications/cancelled', { requestId: 'c' }));
		assert.deepEqual(await (await streaming).rest(), []);
		launch.resolve();
		const alpha = await cast.of('alpha');
		const calling = session.post(call('c', 'alpha__y'));
		assert.equal((await alpha.answer('tools/call')).params['name'], 'y');
		await calling;
	});

	test('ends all Instances with DELETE, before it is answered', async (t) => {
		const { stack, cast, session } = await open(t, { alpha: {}, beta: { era: 'modern' } });
		const { instance } = await cast.of('alpha');
		await cast.of('beta');
		const calling = session.post(call('c', 'alpha__x'));
		await (await cast.of('alpha')).hear('tools/call');
		instance.onStop = () => setImmediate(() => instance.finishStop());
		assert.equal((await session.end()).status, 200);
		assert.equal((await calling).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(stack.launcher.live.size, 0);
		assert.equal((await session.post(call(1, 'alpha__x'))).status, 404);
	});

	test('is of one endpoint: another knows it not', async (t) => {
		const { stack } = await start(t, { alpha: {} }, { some: ['alpha'] });
		const session = new SessionHttp(stack, '/mcp');
		const { headers } = await session.initialize();
		const inSession = { 'mcp-session-id': String(headers['mcp-session-id']) };
		for (const path of ['/groups/some/mcp', '/servers/alpha/mcp']) {
			const { status } = await new ModernHttp(stack, { path }).post(call(1, 'alpha__x'), inSession).reply();
			assert.equal(status, 404);
		}
	});
});

describe('a client of the second era', () => {
	const connectModern = (stack: HttpStack, options: ModernHttpOptions = {}) =>
		new ModernHttp(stack, { path: '/mcp', capabilities: ALL, ...options });

	test('is asked by a server of the first, with a state that finds its way back there, and nowhere else', {
		timeout: 20_000,
	}, async (t) => {
		const { stack, cast } = await start(t, { alpha: {}, beta: {} });
		const client = connectModern(stack);
		const pending = ['alpha', 'beta'].map((server) => client.call(`${server}__ask`).reply());
		const servers = [await cast.of('alpha'), await cast.of('beta')];
		const ids: number[] = [];
		for (const server of servers) {
			ids.push((await server.hear('tools/call')).id);
			server.say({ jsonrpc: '2.0', id: 'same', ...WHO });
		}
		const asked = (await Promise.all(pending)).map(({ rpc }) => askedIn(rpc as RpcMessage));
		for (const index of [1, 0]) {
			const server = servers[index] as PlayedServer;
			const { inputRequests, requestState } = asked[index] ?? askedIn({ jsonrpc: '2.0' });
			const [key = ''] = Object.keys(inputRequests);
			assert.deepEqual(inputRequests[key], WHO);
			const name = `${index === 0 ? 'alpha' : 'beta'}__ask`;
			const inputResponses = { [key]: { of: index } };
			const crossed = { name: `${index === 0 ? 'beta' : 'alpha'}__ask`, arguments: {}, inputResponses, requestState };
			assert.equal((await client.send('tools/call', crossed)).rpc.error?.code, -32602);
			const answering = client.send('tools/call', { name, arguments: {}, inputResponses, requestState }, { id: 'r' });
			assert.deepEqual((await server.answers.next()).result, { of: index });
			server.say(result(ids[index] ?? -1, { done: index }));
			const { rpc } = await answering;
			assert.equal(rpc.id, 'r');
			assert.equal(rpc.result?.['done'], index);
		}
		assert.equal(stack.launcher.launches, 2);
	});

	test('is asked by a server of the second, whose state is its own', async (t) => {
		const { stack, cast } = await start(t, { alpha: {}, beta: { era: 'modern' } });
		const client = connectModern(stack);
		const asking = client.call('beta__ask', {}, { id: 1 }).reply();
		const required = { resultType: 'input_required', inputRequests: { who: WHO }, requestState: '1.1.x' };
		const beta = await cast.of('beta');
		await beta.answer('tools/call', required);
		assert.deepEqual((await asking).rpc, result(1, required));
		const more = { inputResponses: { who: ACCEPT }, requestState: '1.1.x' };
		const answering = client.send('tools/call', { name: 'beta__ask', arguments: {}, ...more });
		const { params } = await beta.answer('tools/call', { resultType: 'complete', done: true });
		const { _meta, ...sent } = params;
		assert.deepEqual(sent, { name: 'ask', arguments: {}, ...more });
		assert.equal((await answering).rpc.result?.['done'], true);
	});

	test('asked while it reads a resource that is in no list comes back to the very same call', async (t) => {
		const script: Script = {
			capabilities: { resources: {} },
			answers: {
				'resources/list': () => ({ resources: [] }),
				'resources/templates/list': () => ({ resourceTemplates: [] }),
			},
		};
		const { stack, cast } = await start(t, { alpha: script, beta: script });
		const client = connectModern(stack);
		const reading = client.send('resources/read', { uri: 'x:1' }, { id: 'first' });
		const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
		alpha.say(failure((await alpha.hear('resources/read')).id, { code: -32002, message: 'not mine' }));
		const { id } = await beta.hear('resources/read');
		beta.say({ jsonrpc: '2.0', id: 'q', ...WHO });
		const { rpc } = await reading;
		assert.equal(rpc.id, 'first');
		const { inputRequests, requestState } = askedIn(rpc as RpcMessage);
		const inputResponses = { [Object.keys(inputRequests)[0] ?? '']: ACCEPT };
		const answering = client.send('resources/read', { uri: 'x:1', inputResponses, requestState });
		assert.deepEqual((await beta.answers.next()).result, ACCEPT);
		beta.say(result(id, { contents: [] }));
		assert.deepEqual((await answering).rpc.result?.['contents'], []);
		assert.equal(alpha.heard.size, 0);
	});

	test('hears log lines of the call that asked for them, from a server of either era', async (t) => {
		const logging: Script = { capabilities: { tools: {}, logging: {} }, answers: { 'logging/setLevel': () => ({}) } };
		const { stack, cast } = await start(t, { alpha: logging, beta: { ...logging, era: 'modern' } });
		const client = connectModern(stack);
		for (const server of ['alpha', 'beta']) {
			const streaming = client.call(`${server}__x`, {}, { logLevel: 'info', id: server }).stream();
			const played = await cast.of(server);
			const { id } = await played.hear('tools/call');
			played.say(logLine(server));
			played.say(result(id));
			assert.deepEqual((await (await streaming).rest())[0], logLine(server));
		}
	});

	test('repeats arguments in headers, as the list at the endpoint told it to', async (t) => {
		const inputSchema = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } };
		const tools = [{ name: 'x', inputSchema }];
		const script: Script = { capabilities: { tools: {} }, answers: { 'tools/list': () => ({ tools }) } };
		const { stack, cast } = await start(t, { alpha: script, beta: withTools('x') });
		const client = connectModern(stack);
		await client.send('tools/list');
		const args = { region: 'eu' };
		assert.equal((await client.call('alpha__x', args).reply()).rpc.error?.code, -32020);
		const good = client.call('alpha__x', args, { headers: { 'mcp-param-region': 'eu' } }).reply();
		await (await cast.of('alpha')).answer('tools/call');
		assert.equal((await good).status, 200);
		const other = client.call('beta__x', args).reply();
		await (await cast.of('beta')).answer('tools/call');
		assert.equal((await other).status, 200);
		assert.equal((await client.send('tools/call', { name: 'alpha__x' }, { headers: { 'mcp-name': 'x' } })).status, 400);
	});

	test('with another name has Instances of its own', async (t) => {
		const { stack } = await start(t, { alpha: withTools('a') });
		await connectModern(stack).send('tools/list');
		await connectModern(stack, { clientInfo: { name: 'other', version: '1' } }).send('tools/list');
		assert.equal(stack.launcher.launches, 2);
		await connectModern(stack).send('tools/list');
		assert.equal(stack.launcher.launches, 2);
	});

	test('that hangs up while its server starts withdraws the request: it is never sent', async (t) => {
		const { stack, cast } = await start(t, { alpha: {} });
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const client = connectModern(stack);
		const gone = client.call('alpha__gone');
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		gone.disconnect();
		const stays = client.call('alpha__stays').reply();
		await stack.send({ path: '/health' });
		launch.resolve();
		assert.equal((await (await cast.of('alpha')).answer('tools/call')).params['name'], 'stays');
		assert.equal((await stays).status, 200);
	});

	describe('that listens', () => {
		const NOTIFICATIONS = { toolsListChanged: true, resourceSubscriptions: ['a:1', 'b:1', 'none:1'] };
		const resources = (uri: string, era: 'legacy' | 'modern'): Script => ({
			era,
			capabilities: { tools: { listChanged: true }, resources: { subscribe: true } },
			answers: {
				'resources/list': () => ({ resources: [{ uri, name: 'r' }] }),
				'resources/templates/list': () => ({ resourceTemplates: [] }),
				...(era === 'legacy' ? { 'resources/subscribe': () => ({}) } : {}),
			},
		});
		const listen = (client: ModernHttp, notifications: object = NOTIFICATIONS) =>
			client.begin('subscriptions/listen', { notifications }, { id: 'l' }).stream();
		const tagged = (method: string, id: string | number, params: Record<string, unknown> = {}): Rpc =>
			notification(method, { ...params, _meta: { [SUBSCRIPTION]: id } });
		const ACKNOWLEDGED = 'notifications/subscriptions/acknowledged';

		/** Acknowledges a server's part of a subscription. Resolves with its id. */
		async function acknowledge(server: PlayedServer): Promise<number> {
			const { id, params } = await server.hear('subscriptions/listen');
			server.say(tagged(ACKNOWLEDGED, id, { notifications: params['notifications'] }));
			return id;
		}

		test('is acknowledged once, hears of all servers, and of each resource from its own', async (t) => {
			const { stack, cast } = await start(t, { alpha: resources('a:1', 'legacy'), beta: resources('b:1', 'modern') });
			const opening = listen(connectModern(stack));
			const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
			// Whose `none:1` is, nobody knows.
			const { id, params } = await beta.hear('subscriptions/listen');
			assert.deepEqual(params['notifications'], { toolsListChanged: true, resourceSubscriptions: ['b:1'] });
			beta.say(tagged(ACKNOWLEDGED, id, { notifications: params['notifications'] }));
			const events = await opening;
			const told = await events.next();
			assert.equal(told.method, ACKNOWLEDGED);
			assert.deepEqual(metaIn(told), { [SUBSCRIPTION]: 'l' });
			assert.deepEqual(told.params?.['notifications'], {
				toolsListChanged: true,
				resourceSubscriptions: ['a:1', 'b:1'],
			});
			alpha.say(notification(TOOLS_CHANGED, { of: 'alpha' }));
			assert.deepEqual(await events.next(), tagged(TOOLS_CHANGED, 'l', { of: 'alpha' }));
			beta.say(tagged(TOOLS_CHANGED, id, { of: 'beta' }));
			assert.deepEqual(await events.next(), tagged(TOOLS_CHANGED, 'l', { of: 'beta' }));
			alpha.say(notification('notifications/resources/updated', { uri: 'a:1' }));
			assert.deepEqual(await events.next(), tagged('notifications/resources/updated', 'l', { uri: 'a:1' }));
			beta.say(tagged('notifications/resources/updated', id, { uri: 'b:1' }));
			assert.deepEqual(await events.next(), tagged('notifications/resources/updated', 'l', { uri: 'b:1' }));
		});

		test('and hangs up is withdrawn at every server', async (t) => {
			const { stack, cast } = await start(t, { alpha: resources('a:1', 'legacy'), beta: resources('b:1', 'modern') });
			const opening = listen(connectModern(stack));
			const [alpha, beta] = [await cast.of('alpha'), await cast.of('beta')];
			const id = await acknowledge(beta);
			const events = await opening;
			await events.next();
			events.destroy();
			assert.equal((await beta.hear('notifications/cancelled')).params['requestId'], id);
			assert.deepEqual((await alpha.hear('resources/unsubscribe')).params, { uri: 'a:1' });
		});

		test('hears of a server that comes later, and of its changes', async (t) => {
			const { stack, cast } = await start(t, { alpha: withTools('a'), beta: withTools('b') });
			stack.launcher.beforeLaunch = (server) => {
				if (server === 'beta') refuseLaunch();
			};
			const client = connectModern(stack);
			const events = await listen(client, { toolsListChanged: true });
			await events.next();
			stack.launcher.beforeLaunch = () => undefined;
			stack.later(CRASH_LIMITS.permanentFaultMs);
			const calling = client.call('beta__b').reply();
			const beta = await cast.of('beta');
			await beta.answer('tools/call');
			await calling;
			assert.deepEqual(await events.next(), tagged(TOOLS_CHANGED, 'l'));
			beta.say(notification(TOOLS_CHANGED, { of: 'beta' }));
			assert.deepEqual(await events.next(), tagged(TOOLS_CHANGED, 'l', { of: 'beta' }));
		});

		test('hears of a server that came while another was asked to acknowledge', async (t) => {
			const { stack, cast } = await start(t, {
				alpha: { era: 'modern', ...withTools('a') },
				beta: withTools('b'),
			});
			stack.launcher.beforeLaunch = (server) => {
				if (server === 'beta') refuseLaunch();
			};
			const client = connectModern(stack);
			const opening = listen(client, { toolsListChanged: true });
			const alpha = await cast.of('alpha');
			const { id } = await alpha.hear('subscriptions/listen');
			stack.launcher.beforeLaunch = () => undefined;
			stack.later(CRASH_LIMITS.permanentFaultMs);
			const calling = client.call('beta__b').reply();
			const beta = await cast.of('beta');
			await beta.answer('tools/call');
			await calling;
			alpha.say(tagged(ACKNOWLEDGED, id, { notifications: { toolsListChanged: true } }));
			const events = await opening;
			assert.equal((await events.next()).method, ACKNOWLEDGED);
			const hearing = events.events.first(({ params }) => params?.['of'] === 'beta');
			beta.say(notification(TOOLS_CHANGED, { of: 'beta' }));
			assert.equal((await hearing).method, TOOLS_CHANGED);
		});

		test('is acknowledged although a server says nothing to that', async (t) => {
			const wait = new HeldTimers(t, AGGREGATE_LIMITS.listWaitMs);
			const { stack, cast } = await start(t, {
				alpha: { era: 'modern', ...withTools('a') },
				beta: withTools('b'),
			});
			const opening = listen(connectModern(stack), { toolsListChanged: true });
			await (await cast.of('alpha')).hear('subscriptions/listen');
			const fired = setInterval(() => wait.fire(), 20);
			t.after(() => clearInterval(fired));
			const events = await opening;
			assert.equal((await events.next()).method, ACKNOWLEDGED);
		});

		test('goes on when a server dies, and hears of it again when it is back', async (t) => {
			const { stack, cast } = await start(t, { alpha: resources('a:1', 'legacy'), beta: withTools('b') });
			const client = connectModern(stack);
			const events = await listen(client, { toolsListChanged: true, resourceSubscriptions: ['a:1'] });
			await events.next();
			const alpha = await cast.of('alpha');
			alpha.exit();
			await alpha.instance.ended;
			const calling = client.call('alpha__x').reply();
			const again = await cast.of('alpha', 1);
			await again.answer('tools/call');
			await calling;
			const hearing = events.events.first(({ params }) => params?.['of'] === 'again');
			again.say(notification(TOOLS_CHANGED, { of: 'again' }));
			assert.deepEqual(await hearing, tagged(TOOLS_CHANGED, 'l', { of: 'again' }));
			const updated = events.events.first(({ method }) => method === 'notifications/resources/updated');
			again.say(notification('notifications/resources/updated', { uri: 'a:1' }));
			assert.deepEqual(await updated, tagged('notifications/resources/updated', 'l', { uri: 'a:1' }));
		});

		test('with a wrong filter is refused', async (t) => {
			const { stack } = await start(t, { alpha: withTools('a') });
			const { status, rpc } = await connectModern(stack).send('subscriptions/listen', { notifications: 5 });
			assert.equal(status, 400);
			assert.equal(rpc.error?.code, -32602);
		});

		test('is told the end with a result, and keeps no Instance from being stopped when nobody calls it', async (t) => {
			const { stack, cast } = await start(t, { alpha: withTools('a'), beta: { era: 'modern', ...withTools('b') } });
			const opening = listen(connectModern(stack), { toolsListChanged: true });
			await acknowledge(await cast.of('beta'));
			const events = await opening;
			await events.next();
			for (let i = 0; i < 3; i++) stack.later(SESSION_LIMITS.idleMs / 2);
			await stack.send({ path: '/health' });
			assert.equal(stack.launcher.live.size, 0);
			await stack.gateway.stop();
			assert.deepEqual(await events.rest(), [result('l', { resultType: 'complete', _meta: { [SUBSCRIPTION]: 'l' } })]);
			assert.equal(stack.launcher.live.size, 0);
		});
	});
});
