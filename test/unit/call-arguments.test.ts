/** What `slipway call` makes of words on a command line, and of what a person answers to a server. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { argumentsOf } from '../../src/cli/call-arguments.ts';
import { askPerson } from '../../src/cli/elicitation.ts';
import { SlipwayError } from '../../src/errors.ts';
import { writtenSurface } from '../support/invocation.ts';

const SCHEMA = {
	properties: {
		text: { type: 'string' },
		count: { type: 'integer' },
		ratio: { type: 'number' },
		sure: { type: 'boolean' },
		list: { type: 'array' },
		either: { type: ['string', 'null'] },
	},
};

test('a word is what the schema says it is, text where that says nothing, and JSON where the person says so', () => {
	const words = [
		'text=1',
		'count=2',
		'ratio=-0.5',
		'sure=true',
		'list=[1,"a"]',
		'either=3',
		'other=4',
		'raw:={"a":[null]}',
	];
	assert.deepEqual(argumentsOf(words, { schema: SCHEMA }), {
		text: '1',
		count: 2,
		ratio: -0.5,
		sure: true,
		list: [1, 'a'],
		either: '3',
		other: '4',
		raw: { a: [null] },
	});
	assert.deepEqual(argumentsOf(['url=https://x/?a=b&c:=d', 'empty=', 'lines=a\nb'], {}), {
		url: 'https://x/?a=b&c:=d',
		empty: '',
		lines: 'a\nb',
	});
	assert.deepEqual(argumentsOf(['b=2'], { all: '{"a":1,"b":1}' }), { a: 1, b: '2' });
	const odd = argumentsOf(['__proto__=x', 'constructor=y'], { schema: SCHEMA });
	assert.deepEqual(Object.keys(odd), ['__proto__', 'constructor']);
	assert.equal(Object.getPrototypeOf(odd), Object.prototype);
});

test('a word that is no argument, or not what the schema says, is refused with what it should be', () => {
	for (const [words, all, says] of [
		[['text'], undefined, /`text` is no argument: write key=value/],
		[['=x'], undefined, /is no argument/],
		[['count=many'], undefined, /`count` takes a number/],
		[['count='], undefined, /`count` takes a number/],
		[['count=Infinity'], undefined, /`count` takes a number/],
		[['sure=yes'], undefined, /`sure` takes true or false/],
		[['list=1,2'], undefined, /after `list` is not JSON/],
		[['raw:=x'], undefined, /after `raw` is not JSON/],
		[[], '[1]', /takes a JSON object/],
		[[], '{', /after `--args` is not JSON/],
	] as const)
		assert.throws(
			() => argumentsOf(words, { all, schema: SCHEMA }),
			(error) =>
				error instanceof SlipwayError && error.code === 'SLIPWAY_ARGUMENTS_INVALID' && says.test(error.message),
			`${words}`,
		);
});

test('a person at a terminal is asked, field by field; nobody is, elsewhere', async () => {
	const params = {
		mode: 'form' as const,
		message: 'Who\u001b[2J are you?',
		requestedSchema: {
			type: 'object' as const,
			properties: { name: { type: 'string' as const, title: 'Your name' }, age: { type: 'integer' as const } },
		},
	};
	const ask = async (typed: string, isTTY: boolean) => {
		const input = Object.assign(new PassThrough(), { isTTY });
		input.end(typed);
		const err = writtenSurface();
		const answer = await askPerson(params, { input: () => input, err });
		return { answer, shown: err.written.join('') };
	};
	const { answer, shown } = await ask('Ada\n36\n', true);
	assert.deepEqual(answer, { action: 'accept', content: { name: 'Ada', age: 36 } });
	assert.match(shown, /^The server asks: Who\?\[2J are you\?.*\nYour name: age: $/);
	assert.deepEqual((await ask('\n\n', true)).answer, { action: 'decline' });
	assert.deepEqual((await ask('', true)).answer, { action: 'decline' });
	assert.deepEqual((await ask('Ada\n36\n', false)).answer, { action: 'decline' });
});
