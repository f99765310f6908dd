/** The Upstream under random orders of everything: no answer lost, doubled or crossed. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { ServerName } from '../../src/ids.ts';
import type { Call, Reply } from '../../src/mcp/exchange.ts';
import { classify, type RpcId } from '../../src/mcp/jsonrpc.ts';
import { LegacyExchange, Questions } from '../../src/mcp/questions.ts';
import { Upstream } from '../../src/mcp/upstream.ts';
import { FakeInstance, type Rpc } from '../support/fake-launcher.ts';

const PROPERTY_MS = 5_000;
const RUNS = 10_000;

/** A call as the client that made it sees it, with a mark that the server brings back. */
class Caller implements Reply {
	readonly mark: number;
	readonly id: RpcId;
	readonly token: RpcId | undefined;
	/** Is set by who made the call. */
	call: Call | undefined;
	attached = true;
	readonly related_: Rpc[] = [];
	readonly answers: Rpc[] = [];
	failures = 0;
	drops = 0;
	/** How often it was told that its call is over, before it heard how. */
	announced = 0;
	/** Progress that the server sent before it answered. */
	progressSaid = 0;

	constructor(mark: number, id: RpcId, token: RpcId | undefined) {
		this.mark = mark;
		this.id = id;
		this.token = token;
	}

	related(text: string): void {
		this.related_.push(JSON.parse(text));
	}

	answer(text: string): void {
		this.answers.push(JSON.parse(text));
	}

	fail(): void {
		this.failures += 1;
	}

	drop(): void {
		this.drops += 1;
	}

	get progressHeard(): number {
		return this.related_.filter(({ method }) => method === 'notifications/progress').length;
	}

	get ends(): number {
		return this.answers.length + this.failures + this.drops;
	}
}

const KINDS = [
	'answer',
	'answer',
	'late',
	'progress',
	'progress',
	'forged',
	'cancel',
	'ask',
	'withdraw',
	'reply',
	'leave',
	'log',
] as const;

type Step =
	| { readonly kind: 'call'; readonly session: number; readonly id: RpcId; readonly token: RpcId | undefined }
	| {
			readonly kind: (typeof KINDS)[number];
			readonly session: number;
			readonly pick: number;
	  };

// Few ids and tokens, so that they meet.
const rpcId = fc.constantFrom<RpcId>(0, 1, 2, '1', 'a');
const session = fc.nat({ max: 1 });
const step: fc.Arbitrary<Step> = fc.oneof(
	{
		weight: 3,
		arbitrary: fc.record({
			kind: fc.constant('call' as const),
			session,
			id: rpcId,
			token: fc.option(rpcId, { nil: undefined }),
		}),
	},
	{
		weight: 7,
		arbitrary: fc.record({
			kind: fc.constantFrom(...KINDS),
			session,
			pick: fc.nat({ max: 20 }),
		}),
	},
);

/** One session: an Upstream, the server behind it, and what both should know. */
class Side {
	readonly instance: FakeInstance;
	readonly upstream: Upstream;
	readonly questions = new Questions();
	readonly callers: Caller[] = [];
	/** Calls as the server has them, by the id on the wire. */
	readonly wire = new Map<number, number>();
	readonly answered: number[] = [];
	readonly standing: Rpc[] = [];
	readonly withdrawn = new Set<number>();
	readonly repliesHeard: Rpc[] = [];
	readonly cancelsHeard: number[] = [];
	asked = 0;
	replied = 0;
	readonly #base: number;
	#heard = 0;

	constructor(index: number) {
		this.#base = index * 1000;
		this.instance = new FakeInstance(`s${index}` as ServerName);
		this.upstream = new Upstream(this.instance, {
			standing: {
				send: (text) => this.standing.push(JSON.parse(text)) > 0,
				ask: (question) => this.questions.put(question, (text) => this.standing.push(JSON.parse(text)) > 0),
			},
			observer: { onCall: () => undefined, onNoise: () => assert.fail('noise'), onTools: () => undefined },
		});
		this.upstream.opened();
	}

	get open(): Caller[] {
		return this.callers.filter(({ ends }) => ends === 0);
	}

	/** The server reads what came. */
	hear(): void {
		for (; this.#heard < this.instance.received.length; this.#heard++) {
			const message: Rpc = JSON.parse(this.instance.received[this.#heard] ?? '');
			if (message.method === 'tools/call') {
				const mark = Number(message.params?.['mark']);
				this.wire.set(Number(message.id), mark);
				const token = this.#callerOf(mark)?.token === undefined ? undefined : { progressToken: message.id };
				assert.deepEqual(message.params?.['_meta'], token, 'the server’s token is the id on the wire');
			} else if (message.method === 'notifications/cancelled')
				this.cancelsHeard.push(Number(message.params?.['requestId']));
			else this.repliesHeard.push(message);
		}
	}

	do(step: Step): void {
		if (step.kind === 'call') return this.#call(step.id, step.token);
		const pending = [...this.wire].filter(([id]) => !this.answered.includes(id));
		const at = <T>(items: readonly T[]): T | undefined => items[step.pick % Math.max(items.length, 1)];
		const caller = at(this.open);
		switch (step.kind) {
			case 'answer': {
				const found = at(pending);
				if (found === undefined) return;
				this.answered.push(found[0]);
				return this.instance.say({ jsonrpc: '2.0', id: found[0], result: { mark: found[1] } });
			}
			case 'late':
				// Doubled, or to nothing at all.
				return this.instance.say({ jsonrpc: '2.0', id: at(this.answered) ?? 5000 + step.pick, result: { mark: -1 } });
			case 'progress': {
				// Of calls that are over, too.
				const found = at([...this.wire]);
				if (found === undefined) return;
				const [progressToken, mark] = found;
				const of = this.#callerOf(mark);
				if (of !== undefined && !this.answered.includes(progressToken)) of.progressSaid += 1;
				return this.#say('notifications/progress', { progressToken, mark });
			}
			case 'forged':
				return this.#say('notifications/progress', {
					progressToken: at<RpcId>([-1, 5_000, 'a', '1', String([...this.wire.keys()].at(-1))]),
					mark: -1,
				});
			case 'cancel':
				return caller?.call?.cancel({ requestId: caller.id });
			case 'withdraw': {
				const id = (step.pick % Math.max(this.asked, 1)) + 1;
				if (id > this.asked) return;
				this.withdrawn.add(id);
				return this.#say('notifications/cancelled', { requestId: id });
			}
			case 'ask':
				this.asked += 1;
				return this.instance.say({
					jsonrpc: '2.0',
					id: this.asked,
					method: 'roots/list',
					params: { side: this.#base, ask: this.asked },
				});
			case 'reply':
				return this.#reply(step.pick);
			case 'leave':
				if (caller !== undefined) caller.attached = false;
				return;
			case 'log':
				return this.#say('notifications/message', {});
		}
	}

	#say(method: string, params: Record<string, unknown>): void {
		this.instance.say({ jsonrpc: '2.0', method, params: { ...params, side: this.#base } });
	}

	#callerOf(mark: number): Caller | undefined {
		return this.callers[mark - this.#base];
	}

	#call(id: RpcId, token: RpcId | undefined): void {
		const caller = new Caller(this.#base + this.callers.length, id, token);
		const message: Rpc = {
			jsonrpc: '2.0',
			id,
			method: 'tools/call',
			params: { mark: caller.mark, name: 'x', ...(token === undefined ? {} : { _meta: { progressToken: token } }) },
		};
		const text = JSON.stringify(message);
		const parsed = classify(message);
		assert.ok(parsed?.kind === 'request');
		this.callers.push(caller);
		caller.call = this.upstream.request(text, parsed, {
			exchange: new LegacyExchange(caller, this.questions),
			timeoutMs: 60_000,
			onEnd: () => {
				assert.equal(caller.ends, 0, 'told after the end');
				caller.announced += 1;
			},
		});
	}

	/** The client answers a question that it has seen, perhaps twice. */
	#reply(pick: number): void {
		const questions = this.#seen('roots/list');
		const question = questions[pick % Math.max(questions.length, 1)];
		if (question === undefined || question.id == null) return;
		const result = { side: this.#base, ask: question.params?.['ask'] };
		const text = JSON.stringify({ jsonrpc: '2.0', id: question.id, result });
		const message = classify(JSON.parse(text));
		assert.ok(message?.kind === 'response');
		this.questions.respond(text, message);
	}

	/** What the clients were told, wherever. */
	#seen(method: string): Rpc[] {
		const told = [...this.callers.flatMap(({ related_ }) => related_), ...this.standing];
		return told.filter((message) => message.method === method);
	}

	check(): void {
		for (const caller of this.callers) {
			assert.ok(caller.ends <= 1, 'ended twice');
			assert.equal(caller.announced, caller.ends);
			// A call that was cancelled may have ended before what the server had said.
			if (caller.drops === 0) assert.equal(caller.progressHeard, caller.token === undefined ? 0 : caller.progressSaid);
			else assert.ok(caller.progressHeard <= caller.progressSaid);
			for (const answer of caller.answers) {
				assert.equal(answer.id, caller.id);
				assert.equal(answer.result?.['mark'], caller.mark, 'crossed');
			}
			for (const message of caller.related_) {
				if (message.method !== 'notifications/progress') continue;
				assert.strictEqual(message.params?.['progressToken'], caller.token);
				assert.equal(message.params?.['mark'], caller.mark, 'progress crossed');
			}
			for (const message of caller.related_) this.#checkSide(message);
		}
		for (const message of this.standing) {
			assert.notEqual(message.method, 'notifications/progress');
			this.#checkSide(message);
		}
		const dropped = [...this.wire].filter(([, mark]) => this.#callerOf(mark)?.drops === 1).map(([id]) => id);
		assert.deepEqual([...this.cancelsHeard].sort(), dropped.sort(), 'the server hears of each cancelled call, once');
		const ids = this.repliesHeard.map(({ id }) => id);
		assert.equal(new Set(ids).size, ids.length, 'a question was answered twice');
		for (const reply of this.repliesHeard) {
			assert.equal(reply.result?.['side'], this.#base);
			assert.equal(reply.result?.['ask'], reply.id, 'the answer to another question');
			assert.ok(Number(reply.id) >= 1 && Number(reply.id) <= this.asked, 'an id that the server does not know');
		}
	}

	/** What is withdrawn at the end of the server has no words of the server. */
	#checkSide({ method, params }: Rpc): void {
		if (method !== 'notifications/cancelled' || params?.['side'] !== undefined)
			assert.equal(params?.['side'], this.#base);
	}

	/** Every question reached exactly one place. */
	checkQuestions(): void {
		const seen = this.#seen('roots/list');
		assert.equal(seen.length, this.asked);
		assert.equal(new Set(seen.map(({ id }) => id)).size, seen.length);
		const asks = new Map(seen.map(({ id, params }) => [id, params?.['ask']]));
		const withdrawals = this.#seen('notifications/cancelled').map(({ params }) => params?.['requestId']);
		assert.equal(new Set(withdrawals).size, withdrawals.length, 'withdrawn twice');
		for (const id of withdrawals) assert.ok(this.withdrawn.has(Number(asks.get(Number(id)))), 'not withdrawn');
		const open = new Set(asks.values());
		for (const { id } of this.repliesHeard) open.delete(id);
		for (const id of withdrawals) open.delete(asks.get(Number(id)));
		for (const id of open) assert.ok(!this.withdrawn.has(Number(id)), 'a withdrawal was lost');
	}
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Lets everything that was written arrive. */
async function settle(): Promise<void> {
	for (let i = 0; i < 4; i++) await turn();
}

describe('the Upstream, in any order of events', () => {
	test('two sessions with the same ids and tokens: nothing lost, doubled or crossed', async () => {
		let interleavings = 0;
		await fc.assert(
			fc.asyncProperty(
				fc.array(fc.tuple(step, fc.boolean()), { minLength: 5, maxLength: 40 }),
				fc.boolean(),
				async (steps, dies) => {
					interleavings += 1;
					const sides = [new Side(1), new Side(2)];
					for (const [one, pause] of steps) {
						sides[one.session]?.do(one);
						if (pause) await settle();
						for (const side of sides) side.hear();
					}
					await settle();
					for (const side of sides) {
						side.hear();
						side.checkQuestions();
						if (dies) {
							side.instance.end({ cause: 'exited', exitCode: 1, stderr: '' });
							await side.upstream.ended;
						} else {
							for (let i = side.open.length; i > 0; i--) side.do({ kind: 'answer', session: 0, pick: 0 });
							for (const [id, mark] of side.wire)
								if (!side.answered.includes(id)) side.instance.say({ jsonrpc: '2.0', id, result: { mark } });
							await settle();
						}
						side.check();
						for (const caller of side.callers) assert.equal(caller.ends, 1, 'lost');
						assert.equal(side.upstream.inFlight, 0);
						side.instance.finishStop();
					}
				},
			),
			{ numRuns: RUNS, interruptAfterTimeLimit: PROPERTY_MS },
		);
		assert.ok(interleavings > 100, `${interleavings} interleavings`);
	});
});
