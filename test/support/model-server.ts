/**
 * A server of either era whose every move is the test's, and that checks what it hears: whether it is spoken to in its
 * era, whether answers to its questions are those that were given to them, and whether anything comes twice.
 */
import assert from 'node:assert/strict';
import { ENVELOPE_KEYS, SUBSCRIPTION_KEY } from '../../src/mcp/revisions.ts';
import type { FakeInstance, Rpc } from './fake-launcher.ts';

/** `mute`: it answers whatever it is asked with an error. */
export type Era = 'legacy' | 'modern' | 'mute';
type Id = string | number;

/** A call that it has heard of and not ended. */
interface Pending {
	readonly wireId: number;
	readonly mark: string;
	readonly token: Id | undefined;
	/** The questions of this call that were answered before. */
	readonly answered: readonly number[];
}

interface AskedQuestion {
	readonly nonce: number;
	/** The id of the call that waits for the answer, if one does. */
	readonly of: number | undefined;
	state: 'open' | 'answered' | 'refused' | 'withdrawn';
}

/** Questions in a result, with the state that must come back. */
interface Round {
	readonly mark: string;
	readonly nonces: ReadonlyMap<string, number>;
	readonly answered: readonly number[];
}

export interface ModelServerOptions {
	readonly instance: FakeInstance;
	readonly era: Era;
	/** Whether whoever answers a question under that name may be its client. */
	readonly isClient?: (name: string) => boolean;
	/** Whether its client answers the questions of a result all at once, as an emulated one must. */
	readonly answersWhole?: boolean;
	/** The resources that it lists. */
	readonly resources?: readonly string[];
	/** Whether what subscribes waits for `acknowledge`. */
	readonly holdsSubscriptions?: boolean;
	/** What it answers to a method in place of what it should. */
	readonly results?: Readonly<Record<string, Record<string, unknown>>>;
	/** How many lines of no protocol come with its answer to `initialize`, in one write. */
	readonly noiseLines?: number;
	/** Whether a first word of the other era makes it exit. */
	readonly exitsOnOtherEra?: boolean;
	/** Whether it is begun with as protocol has it, and says so if not. */
	readonly isBegunWith?: boolean;
}

/** A call that was begun at it, in the order of all calls to all servers. */
interface Taken {
	readonly client: string;
	readonly order: number;
}

/** Every state that some server gave out, and of which call. One process of it may be asked with that of another. */
const givenStates = new Map<string, string>();

let lastCall = 0;

/** Numbers for questions, all different, so that an answer can be told from any other. */
let lastNonce = 0;
const QUESTIONS = ['roots/list', 'sampling/createMessage', 'elicitation/create'] as const;
const CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };

export function pick<T>(items: Iterable<T>, at: number): T | undefined {
	const all = [...items];
	return all[at % Math.max(all.length, 1)];
}

export class ModelServer {
	readonly instance: FakeInstance;
	readonly era: Era;
	readonly pending = new Map<number, Pending>();
	readonly questions = new Map<Id, AskedQuestion>();
	/** Results that asked, by their state. */
	readonly rounds = new Map<string, Round>();
	readonly subscribed = new Set<string>();
	readonly listens = new Map<Id, object>();
	/** Those whose calls it has heard, and answers. */
	readonly clients = new Set<string>();
	readonly taken: Taken[] = [];
	dead = false;
	readonly #isClient: (name: string) => boolean;
	readonly #options: ModelServerOptions;
	/** Subscriptions that are not answered, as what the answer does. */
	readonly #unanswered: ((isTaken: boolean) => void)[] = [];
	/** When a resource was unsubscribed from last. */
	readonly #unsubscribed = new Map<string, number>();
	readonly #ids = new Set<Id>();
	#order = 0;
	#heard = 0;
	/** How far its handshake is. */
	#stage: 'new' | 'asked' | 'ready' = 'new';
	#lastQuestion = 0;

	constructor(options: ModelServerOptions) {
		const { instance, era, isClient = () => true } = options;
		this.#options = options;
		this.instance = instance;
		this.era = era;
		this.#isClient = isClient;
		void instance.ended.then(() => {
			this.dead = true;
			this.pending.clear();
			this.listens.clear();
			this.subscribed.clear();
			this.#unanswered.length = 0;
		});
	}

	/** Takes a subscription that waits, or refuses it. Returns whether there was one. */
	acknowledge(at: number, isTaken = true): boolean {
		const answer = pick(this.#unanswered, at);
		if (answer === undefined) return false;
		this.#unanswered.splice(this.#unanswered.indexOf(answer), 1);
		answer(isTaken);
		return true;
	}

	/** The resources that some listener of this era wants to hear of. */
	get listened(): Set<unknown> {
		return new Set([...this.listens.values()].flatMap((filter) => urisOf(filter)));
	}

	/** Questions that wait for an answer. */
	get waiting(): AskedQuestion[] {
		return [...this.questions.values()].filter(({ state }) => state === 'open');
	}

	/** Reads what came since it was asked last. Returns whether anything did. */
	hear(): boolean {
		const { received } = this.instance;
		const before = this.#heard;
		while (this.#heard < received.length) this.#take(JSON.parse(received[this.#heard++] ?? ''));
		return this.#heard > before;
	}

	/** Answers every call but those of which it is due to hear that they were given up. */
	answerAll(givenUp: ReadonlySet<string>): void {
		const marks = (): string[] => [...this.pending.values()].map(({ mark }) => mark);
		for (let at = marks().findIndex((mark) => !givenUp.has(mark)); at !== -1; ) {
			this.answer(at);
			at = marks().findIndex((mark) => !givenUp.has(mark));
		}
	}

	/** Answers a call. */
	answer(at: number, how: 'ok' | 'error' = 'ok'): void {
		const call = pick(this.pending.values(), at);
		if (call === undefined) return;
		const { wireId: id, mark, answered } = call;
		this.pending.delete(id);
		if (how === 'error') this.#say({ id, error: { code: -32000, message: mark } });
		else this.#say({ id, result: { ...this.#dress(), content: [], mark, answered } });
	}

	/** An answer to what was answered, or that nobody asked for. */
	answerAgain(at: number): void {
		const id = pick(this.#ids, at) ?? 5000 + at;
		if (!this.pending.has(Number(id)) && !this.listens.has(id))
			this.#say({ id, result: { ...this.#dress(), content: [], mark: 'nobody' } });
	}

	progress(at: number): void {
		const call = pick(this.pending.values(), at);
		if (call?.token === undefined) return;
		this.#say({
			method: 'notifications/progress',
			params: { progressToken: call.token, progress: 1, message: call.mark },
		});
	}

	log(): void {
		this.#say({ method: 'notifications/message', params: { level: 'error', data: ++lastNonce } });
	}

	/** Asks: a legacy server whomever it is given, a modern one the client of a call, as many questions as said. */
	ask(at: number, count = 1): void {
		if (this.era === 'legacy') for (let asked = 0; asked < count; asked++) this.#askNow(at + asked);
		else this.#askInResult(at, count);
	}

	/** Asks for one of its calls, which it does not answer before. Nothing says for which. */
	askFor(at: number): void {
		const call = pick(this.pending.values(), at);
		if (call !== undefined) this.#askNow(at, call.wireId);
	}

	/** Answers a call that waits for no question. Returns whether there was one. */
	answerIdle(at: number): boolean {
		const busy = new Set(this.waiting.map(({ of }) => of));
		const ids = [...this.pending.keys()];
		const id = pick(
			ids.filter((wireId) => !busy.has(wireId)),
			at,
		);
		if (id !== undefined) this.answer(ids.indexOf(id));
		return id !== undefined;
	}

	/** Withdraws a question. */
	withdraw(at: number): void {
		const question = pick(
			[...this.questions].filter(([, { state }]) => state === 'open'),
			at,
		);
		if (question === undefined) return;
		const [requestId, asked] = question;
		asked.state = 'withdrawn';
		this.#say({ method: 'notifications/cancelled', params: { requestId, reason: 'changed my mind' } });
	}

	/** Tells of a change: of a resource that is subscribed to, or of its tools. */
	change(at: number): void {
		const uri = pick(this.subscribed, at);
		const [id, filter] = pick(this.listens, at) ?? [];
		if (this.era === 'legacy') {
			this.#say({ method: 'notifications/tools/list_changed' });
			if (uri !== undefined) this.#say({ method: 'notifications/resources/updated', params: { uri } });
		} else if (id !== undefined && filter !== undefined)
			for (const method of changesOf(filter)) this.#say({ ...method, params: { ...method.params, _meta: tag(id) } });
	}

	/** Tells of a change of every resource that somebody wants to hear of, once. */
	changeAll(): void {
		for (const uri of this.subscribed) this.#say({ method: 'notifications/resources/updated', params: { uri } });
		for (const [id, filter] of this.listens)
			for (const uri of urisOf(filter))
				this.#say({ method: 'notifications/resources/updated', params: { uri, _meta: tag(id) } });
	}

	die(): void {
		if (this.dead) return;
		this.dead = true;
		this.instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
	}

	#askNow(at: number, of?: number): void {
		const nonce = ++lastNonce;
		// Ids that its clients use for their calls, too.
		const id = ++this.#lastQuestion;
		this.questions.set(id, { nonce, of, state: 'open' });
		const method = pick(QUESTIONS, at) ?? QUESTIONS[0];
		this.#say({ id, method, params: { nonce } });
	}

	#askInResult(at: number, count: number): void {
		const call = pick(this.pending.values(), at);
		if (call === undefined) return;
		const { wireId: id, mark, answered } = call;
		this.pending.delete(id);
		const nonces = new Map(Array.from({ length: count }, (_, index) => [`key ${index}`, ++lastNonce]));
		const requestState = `state "${mark}" ${++lastNonce}`;
		this.rounds.set(requestState, { mark, nonces, answered });
		givenStates.set(requestState, `${this.instance.server} ${mark}`);
		const inputRequests = Object.fromEntries(
			[...nonces].map(([key, nonce]) => [key, { method: pick(QUESTIONS, nonce), params: { nonce } }]),
		);
		this.#say({ id, result: { resultType: 'input_required', inputRequests, requestState } });
	}

	#take(message: Rpc): void {
		const { id, method, params = {} } = message;
		if (method === undefined) return this.#takeAnswer(message);
		this.#checkEra(method, params);
		if (this.#options.isBegunWith) this.#checkStage(method);
		if (id === undefined || id === null) return this.#takeNotification(method, params);
		assert.ok(!this.#ids.has(id), `the id ${id} came twice`);
		this.#ids.add(id);
		switch (method) {
			case 'tools/call':
				return this.#takeCall(Number(id), params);
			case 'subscriptions/listen':
				return this.#takeListener(id, Object(params['notifications']));
			case 'resources/subscribe':
			case 'resources/unsubscribe':
				return this.#takeSubscription(id, method, String(params['uri']));
			default:
				return this.#say(this.#resultOf(id, method, params));
		}
	}

	#takeListener(id: Id, notifications: object): void {
		this.listens.set(id, notifications);
		this.#later((isTaken) => {
			// It may have been cancelled by now.
			if (!this.listens.has(id)) return;
			if (isTaken) {
				const acknowledged = { notifications, _meta: tag(id) };
				return this.#say({ method: 'notifications/subscriptions/acknowledged', params: acknowledged });
			}
			this.listens.delete(id);
			this.#say({ id, error: { code: -32000, message: 'no subscriptions' } });
		});
	}

	#takeSubscription(id: Id, method: string, uri: string): void {
		const order = ++this.#order;
		if (method === 'resources/unsubscribe') {
			this.subscribed.delete(uri);
			this.#unsubscribed.set(uri, order);
			return this.#say({ id, result: {} });
		}
		this.#later((isTaken) => {
			// It counts in the order in which it came, whenever it is answered.
			if (isTaken && (this.#unsubscribed.get(uri) ?? 0) < order) this.subscribed.add(uri);
			this.#say(isTaken ? { id, result: {} } : { id, error: { code: -32000, message: 'no subscriptions' } });
		});
	}

	#later(answer: (isTaken: boolean) => void): void {
		if (this.#options.holdsSubscriptions) this.#unanswered.push(answer);
		else answer(true);
	}

	get #resources(): object[] {
		return (this.#options.resources ?? []).map((uri) => ({ uri, name: uri }));
	}

	#resultOf(id: Id, method: string, params: Record<string, unknown>): Rpc {
		const result = this.#options.results?.[method];
		if (result !== undefined) return { id, result };
		const serverInfo = { name: this.instance.server, version: '1' };
		switch (`${this.era} ${method}`) {
			case 'legacy initialize': {
				const { protocolVersion } = params;
				return { id, result: { protocolVersion, capabilities: CAPABILITIES, serverInfo } };
			}
			case 'legacy logging/setLevel':
				return { id, result: {} };
			case 'modern server/discover': {
				const discovered = { supportedVersions: ['2026-07-28'], capabilities: CAPABILITIES };
				return { id, result: { ...this.#dress(), ttlMs: 0, cacheScope: 'private', ...discovered } };
			}
			case 'legacy tools/list':
			case 'modern tools/list':
				return { id, result: { ...this.#dress(), tools: [{ name: 'x', inputSchema: { type: 'object' } }] } };
			case 'legacy resources/list':
			case 'modern resources/list':
				return { id, result: { ...this.#dress(), resources: this.#resources } };
			case 'legacy resources/templates/list':
			case 'modern resources/templates/list':
				return { id, result: { ...this.#dress(), resourceTemplates: [] } };
			default:
				return { id, error: { code: -32601, message: `Method not found: ${method}` } };
		}
	}

	#takeCall(wireId: number, params: Record<string, unknown>): void {
		const mark = String(Reflect.get(Object(params['arguments']), 'mark'));
		const token = Reflect.get(Object(params['_meta']), 'progressToken') as Id | undefined;
		const client = mark.split(' ', 1).join();
		this.clients.add(client);
		assert.equal(params['name'], 'x', `another tool than the client’s: ${JSON.stringify(params)}`);
		for (const other of this.pending.values())
			assert.ok(token === undefined || other.token !== token, `two calls in flight with the token ${token}`);
		const { requestState, inputResponses } = params;
		if (this.era === 'legacy') assert.equal(requestState ?? inputResponses, undefined, 'what only the other era has');
		// One with a state goes on with a call that was taken before.
		if (requestState === undefined) {
			this.taken.push({ client, order: ++lastCall });
			this.pending.set(wireId, { wireId, mark, token, answered: [] });
		} else this.#takeUp({ wireId, mark, token }, String(requestState), Object(inputResponses));
	}

	/** A call that brings answers to what it was asked before. */
	#takeUp(call: Omit<Pending, 'answered'>, state: string, inputResponses: object): void {
		assert.equal(givenStates.get(state), `${this.instance.server} ${call.mark}`, 'the state of another call');
		const round = this.rounds.get(state);
		// The process that asked is no more.
		if (round === undefined) return this.#say({ id: call.wireId, error: { code: -32602, message: 'unknown state' } });
		this.rounds.delete(state);
		const given = Object.entries(inputResponses);
		if (this.#options.answersWhole) assert.equal(given.length, round.nonces.size, 'answers are missing');
		for (const [key, answer] of given) this.#checkAnswer(answer, round.nonces.get(key));
		const answered = [...round.answered, ...given.map(([key]) => round.nonces.get(key) ?? 0)];
		this.pending.set(call.wireId, { ...call, answered });
	}

	#takeNotification(method: string, params: Record<string, unknown>): void {
		if (method !== 'notifications/cancelled') return;
		const id = Number(params['requestId']);
		// It may cross the answer, but must name what was asked for.
		assert.ok(this.#ids.has(id), `what is cancelled never came: ${id}`);
		this.listens.delete(id);
		this.pending.delete(id);
	}

	#takeAnswer({ id, result, error }: Rpc): void {
		const question = this.questions.get(id ?? '');
		assert.ok(question !== undefined, `an answer to what was not asked: ${id}`);
		// Only a withdrawal may be crossed.
		assert.ok(question.state === 'open' || question.state === 'withdrawn', `question ${id} was ${question.state}`);
		question.state = error === undefined ? 'answered' : 'refused';
		if (error === undefined) this.#checkAnswer(result, question.nonce);
	}

	#checkAnswer(answer: unknown, nonce: number | undefined): void {
		assert.equal(Reflect.get(Object(answer), 'nonce'), nonce, 'the answer to another question');
		const by = String(Reflect.get(Object(answer), 'by'));
		this.clients.add(by);
		assert.ok(this.#isClient(by), `an answer of ${by}, who is no client`);
	}

	/** Whether it hears first what must come first, and that its client is ready before any call, once. */
	#checkStage(method: string): void {
		const isFirstWord = method === 'initialize' || method === 'server/discover';
		assert.ok(isFirstWord || this.#stage !== 'new', `${method} is the first thing that it hears`);
		if (method === 'notifications/initialized') {
			assert.notEqual(this.#stage, 'ready', 'its client is ready twice');
			this.#stage = 'ready';
		} else if (isFirstWord) this.#stage = 'asked';
		if (this.era === 'legacy' && method === 'tools/call')
			assert.equal(this.#stage, 'ready', 'a call before its client is ready');
	}

	/** Whether it is spoken to in its era; what tries out which it is may be of either. */
	#checkEra(method: string, params: Record<string, unknown>): void {
		const isFirstWord = method === 'initialize' || method === 'server/discover';
		if (isFirstWord && this.#options.exitsOnOtherEra && (method === 'initialize') !== (this.era === 'legacy'))
			return this.die();
		if (isFirstWord) return;
		const claim: unknown = Reflect.get(Object(params['_meta']), ENVELOPE_KEYS.revision);
		const expected = this.era === 'modern' ? '2026-07-28' : undefined;
		assert.equal(claim, expected, `${method} in the other era: ${JSON.stringify(params)}`);
	}

	#dress(): object {
		return this.era === 'modern' ? { resultType: 'complete' } : {};
	}

	#say(message: Rpc): void {
		const { noiseLines = 0 } = this.#options;
		const noise = message.result?.['protocolVersion'] === undefined ? '' : '\nnoise'.repeat(noiseLines);
		if (!this.dead) this.instance.say(`${JSON.stringify({ jsonrpc: '2.0', ...message })}${noise}`);
	}
}

function tag(id: Id): object {
	return { [SUBSCRIPTION_KEY]: id };
}

function urisOf(filter: object): unknown[] {
	const uris: unknown = Reflect.get(filter, 'resourceSubscriptions');
	return Array.isArray(uris) ? uris : [];
}

/** What a listener wants to hear of, as notifications. */
function changesOf(filter: object): { method: string; params?: Record<string, unknown> }[] {
	const uris = urisOf(filter).map((uri) => ({ method: 'notifications/resources/updated', params: { uri } }));
	const tools = { method: 'notifications/tools/list_changed' };
	return Reflect.get(filter, 'toolsListChanged') === true ? [tools, ...uris] : uris;
}
