/** The test as a server of either era: the first words of a conversation, and servers that answer by a script. */
import assert from 'node:assert/strict';
import { MODERN } from './client-modern.ts';
import type { FakeInstance, FakeLauncher, Rpc } from './fake-launcher.ts';
import { result } from './http-stack.ts';
import { Inbox } from './inbox.ts';

export const META = 'io.modelcontextprotocol/';

export const METHOD_NOT_FOUND = { code: -32601, message: 'Method not found' };

export function failure(id: number, error: { code: number; message: string; data?: Record<string, unknown> }): Rpc {
	return { jsonrpc: '2.0', id, error };
}

export function notification(method: string, params?: Record<string, unknown>): Rpc {
	return { jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) };
}

export function progress(progressToken: unknown, value = 1): Rpc {
	return notification('notifications/progress', { progressToken, progress: value });
}

export function logLine(data: string, level = 'info'): Rpc {
	return notification('notifications/message', { level, data });
}

/** The `_meta` of a message. */
export function metaIn({ params }: { readonly params?: Record<string, unknown> | undefined }): Record<string, unknown> {
	return (params?.['_meta'] ?? {}) as Record<string, unknown>;
}

export interface Introduction {
	readonly capabilities?: object;
	readonly instructions?: string;
	/** Whether it is asked for the era that it does not speak before the one that it does. `true` unless said. */
	readonly probed?: boolean;
	readonly name?: string;
	/** The revision that a server of the first era answers with. */
	readonly protocolVersion?: string;
}

/** What a server of 2026-07-28 says of itself. */
export function discovered({ capabilities = { tools: {} }, instructions, name = 'played' }: Introduction = {}) {
	return {
		resultType: 'complete',
		supportedVersions: [MODERN],
		capabilities,
		...(instructions === undefined ? {} : { instructions }),
		ttlMs: 0,
		cacheScope: 'private',
		_meta: { [`${META}serverInfo`]: { name, version: '1' } },
	};
}

/** What a server of the first era answers to `initialize`. */
export function initialized(introduction: Introduction = {}) {
	const { capabilities = { tools: {} }, instructions, name = 'played', protocolVersion = '2025-11-25' } = introduction;
	return {
		protocolVersion,
		capabilities,
		serverInfo: { name, version: '1' },
		...(instructions === undefined ? {} : { instructions }),
	};
}

/** Says that it speaks 2026-07-28. Resolves with what it was told in `_meta`. */
export async function speakModern(instance: FakeInstance, introduction: Introduction = {}) {
	const { id, params } = await instance.hearRequest('server/discover');
	instance.say(result(id, discovered(introduction)));
	return metaIn({ params });
}

/** Says that it speaks the first era alone, to a client of the second. Resolves with the params of `initialize`. */
export async function speakLegacy(instance: FakeInstance, introduction: Introduction = {}) {
	if (introduction.probed !== false)
		instance.say(failure((await instance.hearRequest('server/discover')).id, METHOD_NOT_FOUND));
	const { id, params } = await instance.hearRequest('initialize');
	instance.say(result(id, initialized(introduction)));
	assert.deepEqual(await instance.hear(), notification('notifications/initialized'));
	return params ?? {};
}

/** Answers the next request, which must be of that method. Resolves with the request. */
export async function answerNext(instance: FakeInstance, method: string, value: Record<string, unknown> = {}) {
	const heard = await instance.hearRequest(method);
	instance.say(result(heard.id, value));
	return heard;
}

/** The methods of all that an Instance was sent. */
export function methodsTo({ received }: FakeInstance): (string | undefined)[] {
	return received.map((line) => (JSON.parse(line) as Rpc).method);
}

/** The n-th Instance of a server that was launched, come or yet to come. */
export function instanceOf({ launched }: FakeLauncher, server: string, nth = 0): Promise<FakeInstance> {
	return launched.first((item) => launched.items.filter((other) => other.server === server)[nth] === item);
}

/** A request or notification that no script answered. The id is the server's. */
export interface Heard {
	readonly id: number;
	readonly method: string;
	readonly params: Record<string, unknown>;
}

/** What a server does by itself. */
export interface Script extends Introduction {
	/** `none`: it refuses whatever it is told first. */
	readonly era?: 'legacy' | 'modern' | 'dual' | 'none';
	/** Whether it is gone right after its first words. */
	readonly ends?: boolean;
	/** Results by method. What has none, or gives undefined, waits in `heard` for the test. */
	readonly answers?: Readonly<Record<string, (params: Record<string, unknown>) => object | undefined>>;
}

/** An Instance that answers by a script. */
export class PlayedServer {
	readonly instance: FakeInstance;
	/** What came that no script answered. */
	readonly heard = new Inbox<Heard>('a message to a played server');
	/** Answers to its questions. */
	readonly answers = new Inbox<Rpc>('an answer to a played server');
	readonly #script: Script;

	constructor(instance: FakeInstance, script: Script) {
		this.instance = instance;
		this.#script = script;
		void this.#play();
	}

	/** The next message that no script answered, which must be of that method. */
	async hear(method: string): Promise<Heard> {
		const heard = await this.heard.next();
		assert.equal(heard.method, method, JSON.stringify(heard));
		return heard;
	}

	/** Hears the next message and answers it. */
	async answer(method: string, value: Record<string, unknown> = {}): Promise<Heard> {
		const heard = await this.hear(method);
		this.say(result(heard.id, value));
		return heard;
	}

	say(message: Rpc): void {
		this.instance.say(message);
	}

	/** Dies. */
	exit(): void {
		this.instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
	}

	async #play(): Promise<void> {
		try {
			for (;;) this.#take(JSON.parse(await this.instance.lines.next()));
		} catch {
			// Nothing came for longer than any test lasts.
		}
	}

	#take(message: Rpc): void {
		const { id, method, params = {} } = message;
		const { answers = {}, era = 'legacy' } = this.#script;
		if (method === undefined) return this.answers.push(message);
		if (typeof id !== 'number') {
			if (method !== 'notifications/initialized') this.heard.push({ id: Number.NaN, method, params });
			return;
		}
		if (method === 'server/discover') return this.#introduce(id, era !== 'legacy', discovered(this.#script));
		if (method === 'initialize') return this.#introduce(id, era !== 'modern', initialized(this.#script));
		const answer = answers[method]?.(params);
		if (answer === undefined) this.heard.push({ id, method, params });
		else this.say(result(id, { ...answer }));
	}

	#introduce(id: number, speaks: boolean, introduction: Record<string, unknown>): void {
		const { ends, era } = this.#script;
		if (era === 'none') this.say(failure(id, { code: -32000, message: 'No licence' }));
		else this.say(speaks ? result(id, introduction) : failure(id, METHOD_NOT_FOUND));
		if (ends) this.exit();
	}
}

/** Plays the servers of a launcher by their scripts, from their next launch on. */
export class Cast {
	readonly #played = new Inbox<PlayedServer>('a played server');

	#scripts: Readonly<Record<string, Script>>;

	constructor(launcher: FakeLauncher, scripts: Readonly<Record<string, Script>>) {
		this.#scripts = scripts;
		void this.#play(launcher);
	}

	/** Instances that come from here on play by other scripts. */
	recast(scripts: Readonly<Record<string, Script>>): void {
		this.#scripts = scripts;
	}

	/** The n-th Instance of a server. */
	of(server: string, nth = 0): Promise<PlayedServer> {
		const { items } = this.#played;
		return this.#played.first((item) => items.filter(({ instance }) => instance.server === server)[nth] === item);
	}

	async #play({ launched }: FakeLauncher): Promise<void> {
		try {
			for (;;) {
				const instance = await launched.next();
				this.#played.push(new PlayedServer(instance, this.#scripts[instance.server] ?? {}));
			}
		} catch {
			// Nothing was launched for longer than any test lasts.
		}
	}
}
