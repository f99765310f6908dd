import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SlipwayError } from '../../src/errors.ts';
import type { Question, Reply } from '../../src/mcp/exchange.ts';
import { classify, type ResponseMessage, type RpcId } from '../../src/mcp/jsonrpc.ts';
import { LegacyExchange, Questions } from '../../src/mcp/questions.ts';

/** A question of a server, and what its server hears. */
function ask(text: string): Question & { readonly answers: string[] } {
	const message = classify(JSON.parse(text));
	assert.ok(message?.kind === 'request');
	const answers: string[] = [];
	return {
		message,
		text,
		answers,
		answer: (answer, { id }) => answers.push(`${answer} as ${JSON.stringify(id)}`),
		refuse: () => assert.fail('nobody refuses here'),
		handOn: () => assert.fail('nobody hands on here'),
		onWithdrawn: undefined,
	};
}

const roots = (id: RpcId): string => JSON.stringify({ jsonrpc: '2.0', id, method: 'roots/list' });

function answerTo(id: RpcId, more = ''): [text: string, message: ResponseMessage] {
	const text = `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"n":1.0${more}}}`;
	const message = classify(JSON.parse(text));
	assert.ok(message?.kind === 'response');
	return [text, message];
}

const idOf = (text: string | undefined): RpcId => JSON.parse(text ?? '').id;

describe('a question', () => {
	test('reaches the client byte for byte but for an id of ours, and the answer the question as it came', () => {
		const questions = new Questions();
		const sent: string[] = [];
		const body = (id: string): string =>
			`{ "method" : "x/y","params":{"n":1.0,"big":12345678901234567890,"id":"q","u":"\\u00e9"}, "id" :${id},"jsonrpc":"2.0","x":[ ] }`;
		const question = ask(body('"q"'));
		assert.equal(
			questions.put(question, (text) => sent.push(text) > 0),
			true,
		);
		const id = idOf(sent[0]);
		assert.deepEqual(sent, [body(JSON.stringify(id))]);
		const [text, message] = answerTo(id, ',"a":12345678901234567890');
		questions.respond(text, message);
		assert.deepEqual(question.answers, [`${text} as ${JSON.stringify(id)}`]);
	});

	test('of several servers with one id has an id of its own, and each gets its answer', () => {
		const questions = new Questions();
		const sent: string[] = [];
		const asked = [ask(roots(1)), ask(roots(1)), ask(roots('1')), ask(roots(2))];
		for (const question of asked) questions.put(question, (text) => sent.push(text) > 0);
		const ids = sent.map(idOf);
		assert.equal(new Set(ids.map(String)).size, asked.length);
		for (const at of [2, 0, 3, 1]) questions.respond(...answerTo(ids[at] ?? '', `,"of":${at}`));
		for (const [at, { answers }] of asked.entries()) {
			assert.equal(answers.length, 1);
			assert.match(answers[0] ?? '', new RegExp(`"of":${at}`));
		}
	});

	test('is answered once, and by its id alone', () => {
		const questions = new Questions();
		const sent: string[] = [];
		const question = ask(roots('q'));
		questions.put(question, (text) => sent.push(text) > 0);
		const id = idOf(sent[0]);
		for (const stray of ['q', String(id), Number(id) + 1, Number(id) - 1, '__proto__'])
			questions.respond(...answerTo(stray));
		assert.deepEqual(question.answers, []);
		questions.respond(...answerTo(id));
		questions.respond(...answerTo(id));
		assert.equal(question.answers.length, 1);
		question.onWithdrawn?.({ requestId: 'q' });
		assert.equal(sent.length, 1, 'what was answered is not withdrawn');
	});

	test('that the client refuses is answered with its error', () => {
		const questions = new Questions();
		const sent: string[] = [];
		const question = ask(roots('q'));
		questions.put(question, (text) => sent.push(text) > 0);
		const text = `{"jsonrpc":"2.0","id":${idOf(sent[0])},"error":{"code":-1,"message":"no"}}`;
		const message = classify(JSON.parse(text));
		assert.ok(message?.kind === 'response');
		questions.respond(text, message);
		assert.deepEqual(question.answers, [`${text} as ${idOf(sent[0])}`]);
	});

	test('is withdrawn the way it was put, in the id that the client knows, once, and answered no more', () => {
		const questions = new Questions();
		const sent: string[] = [];
		const elsewhere: string[] = [];
		const [one, two] = [ask(roots('q')), ask(roots('r'))];
		questions.put(one, (text) => sent.push(text) > 0);
		questions.put(two, (text) => elsewhere.push(text) > 0);
		const [id, other] = [idOf(sent[0]), idOf(elsewhere[0])];
		for (let i = 0; i < 2; i++) one.onWithdrawn?.({ requestId: 'q', reason: 'late', more: [1] });
		two.onWithdrawn?.(undefined);
		assert.deepEqual(
			[sent[1], elsewhere[1]].map((text) => JSON.parse(text ?? 'null')),
			[
				{
					jsonrpc: '2.0',
					method: 'notifications/cancelled',
					params: { requestId: id, reason: 'late', more: [1] },
				},
				{ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: other } },
			],
		);
		assert.deepEqual([sent.length, elsewhere.length], [2, 2]);
		questions.respond(...answerTo(id));
		assert.deepEqual(one.answers, []);
	});

	test('that could not be sent is none: it says so, and takes neither answer nor withdrawal', () => {
		const questions = new Questions();
		const tried: string[] = [];
		const question = ask(roots('q'));
		assert.equal(
			questions.put(question, (text) => tried.push(text) < 0),
			false,
		);
		questions.respond(...answerTo(idOf(tried[0])));
		question.onWithdrawn?.({ requestId: 'q' });
		assert.deepEqual(question.answers, []);
		assert.equal(tried.length, 1);
		const next: string[] = [];
		questions.put(ask(roots('q')), (text) => next.push(text) > 0);
		assert.notEqual(idOf(next[0]), idOf(tried[0]), 'no id is given twice');
	});

	test('that is answered while it is sent is answered', () => {
		const questions = new Questions();
		const question = ask(roots('q'));
		questions.put(question, (text) => {
			questions.respond(...answerTo(idOf(text)));
			return true;
		});
		assert.equal(question.answers.length, 1);
	});
});

describe('the exchange of a request of the first era', () => {
	function setUp() {
		const reply = { attached: true, heard: [] as unknown[][] };
		const questions = new Questions();
		const exchange = new LegacyExchange(
			{
				get attached() {
					return reply.attached;
				},
				related: (...heard) => void reply.heard.push(['related', ...heard]),
				answer: (...heard) => void reply.heard.push(['answer', ...heard]),
				fail: (...heard) => void reply.heard.push(['fail', ...heard]),
				drop: (...heard) => void reply.heard.push(['drop', ...heard]),
			} satisfies Reply,
			questions,
		);
		return { reply, questions, exchange };
	}

	test('takes questions and log lines while somebody listens', () => {
		const { reply, exchange } = setUp();
		const { message } = ask(roots(1));
		const line = { kind: 'notification', method: 'notifications/message', params: {} } as const;
		assert.deepEqual([exchange.takes(message), exchange.takes(line)], [true, true]);
		reply.attached = false;
		assert.deepEqual([exchange.takes(message), exchange.takes(line)], [false, false]);
	});

	test('puts questions, and their withdrawals, on its reply', () => {
		const { reply, questions, exchange } = setUp();
		const [one, two] = [ask(roots('q')), ask(roots('q'))];
		exchange.ask(one);
		exchange.ask(two);
		const [first, second] = reply.heard.map(([, text]) => idOf(String(text)));
		questions.respond(...answerTo(first ?? ''));
		assert.deepEqual([one.answers.length, two.answers.length], [1, 0]);
		two.onWithdrawn?.({ requestId: 'q', reason: 'late' });
		const [kind, text] = reply.heard[2] ?? [];
		assert.equal(kind, 'related');
		assert.deepEqual(JSON.parse(String(text)).params, { requestId: second, reason: 'late' });
	});

	test('gives its reply all else as it comes', () => {
		const { reply, exchange } = setUp();
		const error = new SlipwayError('SLIPWAY_CALL_TIMEOUT');
		const [text, message] = answerTo('c');
		exchange.tell('{"a":1.0}');
		exchange.answer(text, message);
		exchange.fail('c', error);
		exchange.drop();
		assert.deepEqual(reply.heard, [
			['related', '{"a":1.0}'],
			['answer', text, message],
			['fail', 'c', error],
			['drop'],
		]);
	});
});
