/** A real Gateway on a FakeLauncher, with a clock that tests can turn forward. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Audit, NO_AUDIT } from '../../src/audit/audit.ts';
import { type Config, readConfig } from '../../src/config.ts';
import { Gateway } from '../../src/gateway.ts';
import { SESSION_LIMITS } from '../../src/limits.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { type FakeInstance, FakeLauncher, type Rpc } from './fake-launcher.ts';
import { BOUNDLESS } from './fixtures.ts';
import { type Asked, ask, type Reply, reply, Stream } from './http-client.ts';

export const API_KEY = 'a-key-for-tests-0123456789';
export const AUTHORIZATION = { authorization: `Bearer ${API_KEY}` };
export const POST_HEADERS = {
	...AUTHORIZATION,
	'content-type': 'application/json',
	accept: 'application/json, text/event-stream',
};

/** Everything in src reads performance.now, and nothing of Node does: so time can be moved for all of it at once. */
let offsetMs = 0;
const realNow = performance.now.bind(performance);
performance.now = () => realNow() + offsetMs;

export interface StackOptions {
	readonly config?: Partial<Config>;
	readonly log?: Log;
	/** `null`: the gateway makes one. */
	readonly apiKey?: string | null;
	/** Nothing is recorded unless there is one. The stack closes it. */
	readonly audit?: Audit;
	/** The folder of the store; it is made and removed where none is given. */
	readonly folder?: string;
}

/** A session that was initialized, and the Instance behind it. */
export interface OpenSession {
	readonly id: string;
	readonly server: string;
	readonly instance: FakeInstance;
	/** The headers of a POST in it. */
	readonly headers: Record<string, string>;
	/** Sends a message and resolves with the whole answer. */
	post(message: unknown, headers?: Record<string, string>): Promise<Reply>;
	/** Sends a message and resolves with the head of its stream. */
	stream(message: unknown, options?: { paused?: boolean }): Promise<Stream>;
	/** Opens the GET stream. */
	listen(options?: { paused?: boolean }): Promise<Stream>;
	/** Ends it with DELETE. */
	end(): Promise<Reply>;
}

export interface HttpStack {
	readonly gateway: Gateway;
	readonly launcher: FakeLauncher;
	readonly port: number;
	/** What was opened in sessions of this stack. */
	readonly streams: Stream[];
	send(asked: Asked): Promise<Reply>;
	/** A POST to a server with good headers. */
	post(server: string, message: unknown, headers?: Record<string, string | undefined>): Promise<Reply>;
	open(server?: string, options?: { revision?: string; capabilities?: object }): Promise<OpenSession>;
	/** Turns the clock forward and has the gateway look at its deadlines. */
	later(ms: number): void;
	/** Stops it, and fails when an Instance is left. Idempotent. */
	stop(): Promise<void>;
	/** Stops it without a word to the store, as if it had been killed. */
	kill(): Promise<void>;
}

export function initializeRequest(revision = '2025-11-25', capabilities: object = {}): Rpc {
	return {
		jsonrpc: '2.0',
		id: 0,
		method: 'initialize',
		params: { protocolVersion: revision, capabilities, clientInfo: { name: 'test', version: '1' } },
	};
}

export function call(id: string | number, name = 'echo', meta?: object): Rpc {
	return {
		jsonrpc: '2.0',
		id,
		method: 'tools/call',
		params: { name, arguments: {}, ...(meta === undefined ? {} : { _meta: meta }) },
	};
}

export function result(id: string | number, value: Record<string, unknown> = {}): Rpc {
	return { jsonrpc: '2.0', id, result: value };
}

/** Who sees to it that a stack ends: a test. */
export interface Owner {
	after(end: () => Promise<void>): void;
}

export async function startHttpStack(owner: Owner, options: StackOptions = {}): Promise<HttpStack> {
	const folder = options.folder ?? (await mkdtemp(join(tmpdir(), 'slipway-http-')));
	const launcher = new FakeLauncher();
	const store = openSqliteStore(folder);
	let killed = false;
	const mortal = new Proxy(store, { get: (all, name) => (killed ? () => undefined : Reflect.get(all, name)) });
	const gateway = new Gateway({
		config: { ...readConfig(BOUNDLESS), port: 0, ...options.config },
		apiKey: options.apiKey === null ? undefined : (options.apiKey ?? API_KEY),
		launcher,
		store: mortal,
		audit: options.audit ?? NO_AUDIT,
		log: options.log ?? SILENT_LOG,
		version: 'test',
	});
	const { port, tick } = await startWithTick(gateway);
	let stopped: Promise<void> | undefined;
	const stop = async (): Promise<void> => {
		await gateway.stop(AbortSignal.abort());
		// A client that does not read does not see the end either.
		for (const stream of stack.streams) stream.destroy();
		await options.audit?.close();
		store.close();
		if (options.folder === undefined) await rm(folder, { recursive: true });
		assert.equal(launcher.live.size, 0, 'Instances are left');
	};
	const stack: HttpStack = {
		gateway,
		launcher,
		port,
		streams: [],
		send: (asked) => reply(port, asked),
		post: (server, message, headers = {}) =>
			reply(port, {
				method: 'POST',
				path: `/servers/${server}/mcp`,
				headers: Object.fromEntries(
					Object.entries({ ...POST_HEADERS, ...headers }).filter(([, value]) => value !== undefined),
				),
				body: toBody(message),
			}),
		open: (server = 'alpha', { revision, capabilities } = {}) =>
			openSession(stack, server, initializeRequest(revision, capabilities)),
		later: (ms) => {
			offsetMs += ms;
			tick();
		},
		stop: () => {
			stopped ??= stop();
			return stopped;
		},
		kill: () => {
			killed = true;
			return stack.stop();
		},
	};
	owner.after(() => stack.stop());
	return stack;
}

export function toBody(message: unknown): string {
	return typeof message === 'string' ? message : JSON.stringify(message);
}

/** Starts a gateway and gets hold of what its timer does, so that a test need not wait for it. */
async function startWithTick(gateway: Gateway): Promise<{ port: number; tick: () => void }> {
	const real = globalThis.setInterval;
	let tick: (() => void) | undefined;
	const spy = (callback: () => void, ms?: number): NodeJS.Timeout => {
		if (ms === SESSION_LIMITS.tickMs) tick = callback;
		return real(callback, ms);
	};
	globalThis.setInterval = spy as typeof setInterval;
	try {
		const port = await gateway.start();
		assert.ok(tick, 'the gateway has a timer');
		return { port, tick };
	} finally {
		globalThis.setInterval = real;
	}
}

async function openSession({ port, launcher, streams }: HttpStack, server: string, message: Rpc): Promise<OpenSession> {
	const path = `/servers/${server}/mcp`;
	const answering = reply(port, { method: 'POST', path, headers: POST_HEADERS, body: toBody(message) });
	const instance = await launcher.launched.next();
	const { id: wireId, params } = await instance.hearRequest('initialize');
	instance.say(
		result(wireId, {
			protocolVersion: params?.['protocolVersion'],
			capabilities: { tools: {} },
			serverInfo: { name: server, version: '1' },
		}),
	);
	const answer = await answering;
	const id = answer.headers['mcp-session-id'];
	assert.ok(typeof id === 'string', `no session: ${answer.text}`);
	const headers = { ...POST_HEADERS, 'mcp-session-id': id };
	const track = (stream: Stream): Stream => {
		streams.push(stream);
		return stream;
	};
	return {
		id,
		server,
		instance,
		headers,
		post: (body, more = {}) =>
			reply(port, { method: 'POST', path, headers: { ...headers, ...more }, body: toBody(body) }),
		stream: async (body, options) =>
			track(new Stream(await ask(port, { method: 'POST', path, headers, body: toBody(body) }), options)),
		listen: async (options) => {
			const accept = { accept: 'text/event-stream', 'mcp-session-id': id };
			return track(new Stream(await ask(port, { path, headers: { ...AUTHORIZATION, ...accept } }), options));
		},
		end: () => reply(port, { method: 'DELETE', path, headers: { ...AUTHORIZATION, 'mcp-session-id': id } }),
	};
}

/** The Instance that takes the place of one that has ended, when it has heard all that the client told the one before. */
export async function nextInstance(
	{ launcher }: HttpStack,
	answers: Record<string, unknown> = {},
): Promise<FakeInstance> {
	const instance = await launcher.launched.next();
	const { id, params } = await instance.hearRequest('initialize');
	const capabilities = { tools: {}, logging: {}, resources: {} };
	const serverInfo = { name: 'again', version: '1' };
	instance.say(result(id, { protocolVersion: params?.['protocolVersion'], capabilities, serverInfo, ...answers }));
	assert.equal((await instance.hear()).method, 'notifications/initialized');
	return instance;
}

/** Makes a call, and answers it on the Instance that comes for it. */
export async function callAgain(stack: HttpStack, { post }: Pick<OpenSession, 'post'>, id = 99): Promise<FakeInstance> {
	const answering = post(call(id));
	const instance = await nextInstance(stack);
	instance.say(result((await instance.hearRequest('tools/call')).id, { by: 'another' }));
	assert.deepEqual((await answering).rpc, result(id, { by: 'another' }));
	return instance;
}
