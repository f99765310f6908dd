/** Sessions that outlive the process: two gateways, one after the other, on one data folder. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, type TestContext, test } from 'node:test';
import { HTTP_LIMITS, SESSION_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { type Rpc, serverView } from '../support/fake-launcher.ts';
import { ask } from '../support/http-client.ts';
import {
	API_KEY,
	AUTHORIZATION,
	call,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	type StackOptions,
	startHttpStack,
} from '../support/http-stack.ts';
import { allowKeys } from '../support/modern-http.ts';
import { Cast, methodsTo, notification, type PlayedServer, progress, type Script } from '../support/played-server.ts';
import { SessionHttp } from '../support/session-http.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const ALPHA = '/servers/alpha/mcp';
const ALL = { sampling: {}, roots: { listChanged: true } };
const STATUS_UNKNOWN = 404;

const request = (method: string, params: Record<string, unknown>): Rpc => ({
	jsonrpc: '2.0',
	id: method,
	method,
	params,
});

/** What a server answers that has everything, and waits for the test with its calls. */
const willing = (name: string): Script => ({
	capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} },
	answers: {
		'logging/setLevel': () => ({}),
		'resources/subscribe': () => ({}),
		'resources/unsubscribe': () => ({}),
		'tools/list': () => ({ tools: [{ name: 'x', inputSchema: { type: 'object' } }] }),
		'resources/list': () => ({ resources: [{ uri: `test://${name}`, name: 'a' }] }),
		'resources/templates/list': () => ({ resourceTemplates: [] }),
	},
});

interface Process {
	readonly stack: HttpStack;
	readonly cast: Cast;
}

/** A data folder, and a way to begin a process on it. */
async function makeFolder(t: TestContext) {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-kept-'));
	const begun: Process[] = [];
	t.after(async () => {
		for (const { stack } of begun) await stack.stop();
		await rm(folder, { recursive: true });
	});
	return {
		folder,
		begin: async (options: StackOptions = {}): Promise<Process> => {
			const stack = await startHttpStack(t, { ...options, folder });
			const { launcher } = stack;
			const servers = ['alpha', 'beta'].map((name) => serverView(name));
			launcher.state = { ...launcher.state, servers };
			const process = { stack, cast: new Cast(launcher, { alpha: willing('alpha'), beta: willing('beta') }) };
			begun.push(process);
			return process;
		},
		/** What is kept, as rows. A statement may change it first. */
		rows: (...statements: readonly string[]): Record<string, unknown>[] => {
			const database = new DatabaseSync(join(folder, 'slipway.db'));
			for (const statement of statements) database.exec(statement);
			const rows = database.prepare('SELECT * FROM sessions').all();
			database.close();
			return rows;
		},
	};
}

const open = (stack: HttpStack, path = ALPHA): Promise<SessionHttp> =>
	new SessionHttp(stack, path).open('2025-11-25', ALL);
const again = ({ id }: SessionHttp, { stack }: Process, path = ALPHA): SessionHttp => new SessionHttp(stack, path, id);

/** Makes a call and answers it on that Instance. */
async function callOn(session: SessionHttp, { cast }: Process, { nth = 0, name = 'x', server = 'alpha' } = {}) {
	const answering = session.post(call('on', name));
	const played = await cast.of(server, nth);
	await played.answer('tools/call', { by: nth });
	assert.deepEqual((await answering).rpc, result('on', { by: nth }));
	return played;
}

/** What an Instance was told, without calls and lists, and without the ids that we gave. */
function told({ instance }: PlayedServer): (readonly [method: string | undefined, params: unknown])[] {
	return instance.received
		.map((line) => JSON.parse(line) as Rpc)
		.filter(({ method = '' }) => !/list$|^tools\/call$/.test(method))
		.map(({ method, params }) => [method, params] as const);
}

const status = async (session: SessionHttp): Promise<number> => (await session.post(call('status'))).status;

/** Turns all clocks forward, `performance.now` too. */
function makeClock(t: TestContext): (ms: number, ...stacks: readonly HttpStack[]) => void {
	let now = Date.now();
	t.mock.timers.enable({ apis: ['Date'], now });
	return (ms, ...stacks) => {
		now += ms;
		t.mock.timers.setTime(now);
		// It is one clock for all of them.
		for (const [index, stack] of stacks.entries()) stack.later(index === 0 ? ms : 0);
	};
}

describe('the next process goes on with a session', () => {
	for (const how of ['stop', 'kill'] as const)
		for (const [path, prefix] of [
			[ALPHA, ''],
			['/mcp', 'alpha__'],
		] as const)
			test(`after ${how}, at ${path}: its Instance is told what the client told the one before`, async (t) => {
				const place = await makeFolder(t);
				const one = await place.begin();
				const session = await open(one.stack, path);
				const uri = 'test://alpha';
				const messages = [
					request('logging/setLevel', { level: 'info' }),
					request('logging/setLevel', { level: 'error' }),
					request('resources/subscribe', { uri }),
				];
				for (const message of messages) assert.equal((await session.post(message)).status, 200);
				await callOn(session, one, { name: `${prefix}x` });
				await one.stack[how]();

				const two = await place.begin();
				const resumed = again(session, two, path);
				assert.equal(two.stack.launcher.launches, 0);
				const first = await callOn(resumed, two, { name: `${prefix}x` });
				const wanted = [
					['initialize', initializeRequest('2025-11-25', ALL).params],
					['notifications/initialized', undefined],
					['logging/setLevel', { level: 'error' }],
					['resources/subscribe', { uri }],
				];
				assert.deepEqual(told(first), wanted);
				// The other server was not subscribed to, and nobody needs it.
				assert.equal(two.stack.launcher.launches, 1);
				// What changes now is for the third.
				await resumed.post(request('logging/setLevel', { level: 'debug' }));
				await resumed.post(request('resources/unsubscribe', { uri }));
				await two.stack[how]();

				const three = await place.begin();
				const second = await callOn(again(session, three, path), three, { name: `${prefix}x` });
				assert.deepEqual(told(second), [...wanted.slice(0, 2), ['logging/setLevel', { level: 'debug' }]]);
			});

	test('with two requests at once, and one Instance', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		await one.stack.stop();
		const two = await place.begin();
		const resumed = again(session, two);
		const answers = [1, 2, 3].map((id) => resumed.post(call(id)));
		const played = await two.cast.of('alpha');
		for (const _ of answers) await played.answer('tools/call');
		for (const [index, answer] of answers.entries()) assert.deepEqual((await answer).rpc, result(index + 1));
		assert.equal(two.stack.launcher.launches, 1);
		const { sessions } = JSON.parse((await two.stack.send({ path: '/status', headers: POST_HEADERS })).text);
		assert.equal(sessions, 1);
	});

	test('and what was in flight in the one before is not repeated', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		const failing = session.post(call('lost'));
		await (await one.cast.of('alpha')).hear('tools/call');
		await one.stack.stop();
		assert.equal((await failing).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		const two = await place.begin();
		const played = await callOn(again(session, two), two);
		assert.deepEqual(methodsTo(played.instance), ['initialize', 'notifications/initialized', 'tools/call']);
	});

	test('and the client hears once that its server is another one now', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		await one.stack.kill();
		const two = await place.begin();
		const { launcher } = two.stack;
		const servers = launcher.state.servers.map((server) => ({ ...server, spec: 'another' }));
		launcher.state = { ...launcher.state, servers };
		const resumed = again(session, two);
		const standing = await resumed.listen();
		const played = await callOn(resumed, two);
		assert.deepEqual(await standing.next(), notification('notifications/tools/list_changed'));
		assert.deepEqual(await standing.next(), notification('notifications/resources/list_changed'));
		two.stack.later(0);
		played.say(notification('notifications/x'));
		assert.deepEqual(await standing.next(), notification('notifications/x'));
	});

	test('that it ends with DELETE: it is unknown then, in the next process too', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		await one.stack.stop();
		const two = await place.begin();
		const resumed = again(session, two);
		assert.equal((await resumed.end()).status, 200);
		assert.equal(two.stack.launcher.launches, 0);
		assert.equal(await status(resumed), STATUS_UNKNOWN);
		assert.deepEqual(place.rows(), []);
		await two.stack.kill();
		assert.equal(await status(again(session, await place.begin())), STATUS_UNKNOWN);
	});
});

describe('a session of a process before', () => {
	test("is nobody else's, and of no other endpoint", async (t) => {
		const other = 'another-key-0123456789';
		allowKeys(t, other);
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		await one.stack.stop();
		const two = await place.begin();
		const stranger = await two.stack.send({
			method: 'POST',
			path: ALPHA,
			headers: { ...POST_HEADERS, authorization: `Bearer ${other}`, 'mcp-session-id': session.id },
			body: JSON.stringify(call(1)),
		});
		assert.equal(stranger.status, STATUS_UNKNOWN);
		const theft = await two.stack.send({
			method: 'DELETE',
			path: ALPHA,
			headers: { authorization: `Bearer ${other}`, 'mcp-session-id': session.id },
		});
		assert.equal(theft.status, STATUS_UNKNOWN);
		for (const path of ['/servers/beta/mcp', '/mcp', '/groups/pair/mcp'])
			assert.equal(await status(again(session, two, path)), STATUS_UNKNOWN, path);
		assert.equal(two.stack.launcher.launches, 0);
		await callOn(again(session, two), two);
	});

	test('that was ended with DELETE, or by its server, is unknown', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const sessions = [await open(one.stack), await open(one.stack, '/mcp'), await open(one.stack)];
		assert.equal(place.rows().length, 3);
		for (const session of sessions.slice(0, 2)) await session.end();
		assert.equal(place.rows().length, 1);
		await one.stack.kill();
		const two = await place.begin();
		assert.equal(await status(again(sessions[0] as SessionHttp, two)), STATUS_UNKNOWN);
		assert.equal(await status(again(sessions[1] as SessionHttp, two, '/mcp')), STATUS_UNKNOWN);
		await callOn(again(sessions[2] as SessionHttp, two), two);
	});

	test('is unknown when nobody used it for its time, and was used when its process says so', async (t) => {
		const forward = makeClock(t);
		const place = await makeFolder(t);
		const one = await place.begin();
		const [used, idle] = [await open(one.stack), await open(one.stack)];
		forward(SESSION_LIMITS.idleMs - 10 * MINUTE, one.stack);
		await callOn(used, one, { nth: 2 });
		await one.stack.stop();
		forward(10 * MINUTE + SECOND);
		const two = await place.begin();
		assert.equal(await status(again(idle, two)), STATUS_UNKNOWN);
		await callOn(again(used, two), two);
		two.stack.later(0);
		assert.equal(place.rows().length, 1, 'it is forgotten');
	});

	test('of a process that was killed is known although nothing was written of its last use', async (t) => {
		const forward = makeClock(t);
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		for (let minute = 0; minute < 40; minute += 4) {
			await callOn(session, one);
			forward(4 * MINUTE, one.stack);
		}
		await one.stack.kill();
		const two = await place.begin();
		await callOn(again(session, two), two);
	});

	test('with a short time of its own too', async (t) => {
		const forward = makeClock(t);
		const place = await makeFolder(t);
		const config = { sessionIdleMs: 10 * SECOND };
		const one = await place.begin({ config });
		const session = await open(one.stack);
		for (let i = 0; i < 8; i++) {
			await callOn(session, one);
			forward(4 * SECOND, one.stack);
		}
		await one.stack.kill();
		const two = await place.begin({ config });
		await callOn(again(session, two), two);
	});

	test('does not live longer than a day for that', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const [young, old] = [await open(one.stack), await open(one.stack)];
		await one.stack.stop();
		const now = Date.now();
		place.rows(
			`UPDATE sessions SET created_at_ms = ${now - SESSION_LIMITS.absoluteMs + MINUTE} WHERE id_hash = '${hash('sha256', young.id)}'`,
			`UPDATE sessions SET created_at_ms = ${now - SESSION_LIMITS.absoluteMs - 1} WHERE id_hash = '${hash('sha256', old.id)}'`,
		);
		const two = await place.begin();
		assert.equal(await status(again(old, two)), STATUS_UNKNOWN);
		const resumed = again(young, two);
		const played = await callOn(resumed, two);
		const standing = await resumed.listen();
		two.stack.later(MINUTE + SECOND);
		assert.equal(await standing.closed, true);
		await played.instance.ended;
		assert.equal(await status(resumed), STATUS_UNKNOWN);
		assert.deepEqual(place.rows(), []);
	});

	test("counts as one of its caller's, and is not taken up beyond their number", async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const sessions = [await open(one.stack), await open(one.stack), await open(one.stack)] as const;
		await one.stack.stop();
		const two = await place.begin({ config: { sessionsPerPrincipalMax: 2 } });
		const [first, second, third] = sessions.map((session) => again(session, two)) as [
			SessionHttp,
			SessionHttp,
			SessionHttp,
		];
		const standing = await first.listen();
		await callOn(second, two);
		const refused = await third.post(call(1));
		assert.equal(refused.status, 429);
		assert.equal(refused.rpc.error?.data?.['code'], 'SLIPWAY_SESSIONS_FULL');
		assert.equal(place.rows().length, 3, 'it may come again');
		two.stack.later(SESSION_LIMITS.evictableAfterMs + 1);
		await callOn(third, two, { nth: 1 });
		assert.equal(await status(second), STATUS_UNKNOWN, 'it made room');
		assert.equal(standing.texts.length, 0);
	});
});

describe('streams', () => {
	/** Opens the GET stream, or goes on with another one, and resolves with its status and first id. */
	async function stream({ port }: HttpStack, { id }: SessionHttp, lastEventId?: string) {
		const response = await ask(port, {
			path: ALPHA,
			headers: {
				...AUTHORIZATION,
				accept: 'text/event-stream',
				'mcp-session-id': id,
				...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
			},
		});
		return response;
	}

	/** The first event id on a stream. */
	async function idOn(chunks: AsyncIterable<Buffer>): Promise<string> {
		let text = '';
		for await (const chunk of chunks) {
			text += String(chunk);
			const id = /^id: (\S+)\n/m.exec(text)?.[1];
			if (id !== undefined) return id;
		}
		throw new Error(`no id: ${text}`);
	}

	test('are taken up again by the id of the GET stream of the process before, and not by that of a call', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const session = await open(one.stack);
		const standing = await idOn(await stream(one.stack, session));
		const calling = ask(one.stack.port, {
			method: 'POST',
			path: ALPHA,
			headers: { ...POST_HEADERS, ...session.inSession },
			body: JSON.stringify(call('slow', 'slow', { progressToken: 'p' })),
		});
		const played = await one.cast.of('alpha');
		const { id } = await played.hear('tools/call');
		played.say(progress(id));
		const ofCall = await idOn(await calling);
		await one.stack.stop();

		const two = await place.begin();
		const refused = await stream(two.stack, session, ofCall);
		assert.equal(refused.statusCode, 405);
		refused.resume();
		for (const wrong of [`${standing}0`.replace('-0-', '-7-'), 'nonsense', '-0-0']) {
			const response = await stream(two.stack, session, wrong);
			assert.equal(response.statusCode, 405, wrong);
			response.resume();
		}
		const taken = await stream(two.stack, session, standing);
		assert.equal(taken.statusCode, 200);
		const resumed = again(session, two);
		(await callOn(resumed, two)).say(notification('notifications/x'));
		assert.notEqual((await idOn(taken)).split('-')[0], standing.split('-')[0], 'ids are not given twice');
	});
});

describe('what is kept', () => {
	test('is no session over HTTP+SSE, which has no way back to its stream', async (t) => {
		const place = await makeFolder(t);
		const { stack, cast } = await place.begin();
		const response = await ask(stack.port, {
			path: '/servers/alpha/sse',
			headers: { ...AUTHORIZATION, accept: 'text/event-stream' },
		});
		let text = '';
		let path: string | undefined;
		for await (const chunk of response) {
			text += String(chunk);
			path ??= /^data: (\S+)$/m.exec(text)?.[1];
			if (path === undefined) continue;
			if (text.includes('"result"')) break;
			if (stack.launcher.launches > 0) continue;
			const posted = await stack.send({
				method: 'POST',
				path,
				headers: POST_HEADERS,
				body: JSON.stringify(initializeRequest('2024-11-05')),
			});
			assert.equal(posted.status, 202);
		}
		await cast.of('alpha');
		assert.deepEqual(place.rows(), []);
	});

	test('is no session whose initialize is very long; it works all the same', async (t) => {
		const place = await makeFolder(t);
		const one = await place.begin();
		const [long, short] = [new SessionHttp(one.stack, ALPHA), new SessionHttp(one.stack, ALPHA)];
		const chars = SESSION_LIMITS.keptInitializeCharsMax;
		await long.open('2025-11-25', { experimental: { x: 'y'.repeat(chars) } });
		await short.open('2025-11-25', { experimental: { x: 'y'.repeat(chars - 1_000) } });
		assert.equal(place.rows().length, 1);
		await callOn(long, one);
		await long.post(request('logging/setLevel', { level: 'error' }));
		one.stack.later(SESSION_LIMITS.noteIntervalMs + 1);
		await long.end();
		await one.stack.stop();
		const two = await place.begin();
		assert.equal(await status(again(long, two)), STATUS_UNKNOWN);
		await callOn(again(short, two), two);
	});

	test('is no session that never began', async (t) => {
		const place = await makeFolder(t);
		const { stack } = await place.begin();
		stack.launcher.beforeLaunch = () => {
			throw new Error('no');
		};
		await stack.post('alpha', initializeRequest());
		assert.deepEqual(place.rows(), []);
	});

	test('shows neither the id of a session nor a key, and the id alone finds it', async (t) => {
		const place = await makeFolder(t);
		const { stack, cast } = await place.begin();
		const sessions = [await open(stack), await open(stack, '/mcp')];
		await callOn(sessions[0] as SessionHttp, { stack, cast });
		const inFiles = async (text: string): Promise<string[]> => {
			const names = await readdir(place.folder);
			const found = await Promise.all(
				names.map(async (name) => (await readFile(join(place.folder, name))).includes(text)),
			);
			return names.filter((_, index) => found[index]);
		};
		for (const { id } of sessions) {
			assert.notDeepEqual(await inFiles(hash('sha256', id)), []);
			assert.deepEqual(await inFiles(id), []);
			assert.equal(await status(new SessionHttp(stack, ALPHA, hash('sha256', id))), STATUS_UNKNOWN);
		}
		assert.deepEqual(await inFiles(API_KEY), []);
		assert.equal(
			await status(new SessionHttp(stack, ALPHA, 'x'.repeat(HTTP_LIMITS.sessionIdCharsMax + 1))),
			STATUS_UNKNOWN,
		);
		await stack.stop();
		for (const { id } of sessions) assert.deepEqual(await inFiles(id), []);
	});

	test('is nothing while the store fails, and everything goes on', async (t) => {
		const place = await makeFolder(t);
		const lines: unknown[] = [];
		const note = (event: string): number => lines.push(event);
		const log = { ...SILENT_LOG, error: note, warn: note };
		const one = await place.begin({ log });
		const session = await open(one.stack);
		const database = new DatabaseSync(join(place.folder, 'slipway.db'));
		database.exec('DROP TABLE sessions; DROP TABLE snapshots');
		database.close();
		assert.equal((await session.post(request('logging/setLevel', { level: 'error' }))).status, 200);
		one.stack.later(SESSION_LIMITS.noteIntervalMs + 1);
		await callOn(session, one);
		const another = await open(one.stack);
		assert.equal(await status(again(session, one, '/mcp')), STATUS_UNKNOWN);
		for (const each of [session, another]) assert.equal((await each.end()).status, 200);
		assert.deepEqual(new Set(lines), new Set(['the store fails']));
		assert.ok(lines.length < 4, 'it is told now and then, and not each time');
	});

	const damages: readonly (readonly [what: string, set: string])[] = [
		['subscriptions that are no JSON', "subscriptions = 'nonsense'"],
		['subscriptions that are no list', "subscriptions = '{}'"],
		['a subscription without a server', `subscriptions = '[["test://a"]]'`],
		['an initialize that is no JSON', "initialize = '{'"],
		['an initialize that is nothing', "initialize = ''"],
		['an initialize that is no message', "initialize = '[1]'"],
		['an initialize that is no request', `initialize = '{"jsonrpc":"2.0","method":"initialize"}'`],
	];
	for (const path of [ALPHA, '/mcp'])
		for (const [what, set] of damages)
			test(`and is damaged (${what}) is an unknown session at ${path}`, async (t) => {
				const place = await makeFolder(t);
				const one = await place.begin();
				const session = await open(one.stack, path);
				await one.stack.stop();
				assert.equal(place.rows(`UPDATE sessions SET ${set}`).length, 1);
				const two = await place.begin();
				const resumed = again(session, two, path);
				for (let i = 0; i < 2; i++) assert.equal(await status(resumed), STATUS_UNKNOWN);
				assert.equal((await resumed.end()).status, STATUS_UNKNOWN);
				await open(two.stack, path);
				const { sessions } = JSON.parse((await two.stack.send({ path: '/status', headers: POST_HEADERS })).text);
				assert.equal(sessions, 1);
			});
});
