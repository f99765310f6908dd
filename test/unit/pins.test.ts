/** Pins by themselves: what a definition's hash is of, what is refused in one, how a difference reads, which names are alike. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { describe, test } from 'node:test';
import { PIN_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import { alikeAmong, looksOf } from '../../src/mcp/alike.ts';
import { canonical } from '../../src/mcp/canonical.ts';
import { difference, readDefinition, visible } from '../../src/mcp/definition.ts';
import { isAmbiguous } from '../../src/mcp/text.ts';
import { filterByPins, filterList } from '../../src/mcp/tool-filter.ts';
import type { ToolPins } from '../../src/mcp/tool-pins.ts';
import { type KeptPin, type PinnedServer, Pins } from '../../src/pool/pins.ts';

const tool = (more: object = {}, name = 'read') => ({ name, description: 'Reads.', ...more });

describe('the hash of a definition', () => {
	test('is the SHA-256 of its canonical JSON, whatever the order of keys and the spelling of numbers and strings', () => {
		const spellings = [
			'{"name":"read","a":{"10":1,"9":[1,2.5],"b":"é"},"n":1000}',
			'{ "n":1e3, "a":{"b":"\\u00e9","9":[1.0,25e-1],"10":1}, "name":"re\\u0061d" }',
			'{"a":{"9":[1,2.50],"b":"é","10":1.00},"name":"read","n":1000.0}',
		];
		const text = '{"a":{"10":1,"9":[1,2.5],"b":"é"},"n":1000,"name":"read"}';
		for (const spelling of spellings) {
			assert.equal(canonical(JSON.parse(spelling)), text);
			assert.equal(readDefinition(JSON.parse(spelling)).hash, hash('sha256', text));
		}
	});

	test('is another when anything is: a text, a key, a type, the order of a list, and what no schema knows', () => {
		const base = { name: 'read', description: 'Reads.', inputSchema: { enum: ['a', 'b'], minimum: 1 } };
		const others = [
			{ ...base, description: 'Reads. ' },
			{ ...base, inputSchema: { enum: ['b', 'a'], minimum: 1 } },
			{ ...base, inputSchema: { enum: ['a', 'b'], minimum: '1' } },
			{ ...base, inputSchema: { enum: ['a', 'b'] } },
			{ ...base, annotations: { readOnlyHint: true } },
			{ ...base, _meta: { x: null } },
			JSON.parse('{"name":"read","description":"Reads.","inputSchema":{"enum":["a","b"],"minimum":1},"__proto__":1}'),
		];
		const hashes = [base, ...others].map((one) => readDefinition(one).hash);
		assert.equal(new Set(hashes).size, hashes.length);
	});
});

/** One of each kind of what is not seen, or makes something else seen. */
const REFUSED: Readonly<Record<string, string>> = {
	NUL: '\0',
	BEL: '\u0007',
	'an escape': '\u001b',
	DEL: '\u007f',
	'a C1 control': '\u009b',
	'a soft hyphen': '\u00ad',
	'a combining grapheme joiner': '\u034f',
	'an Arabic letter mark': '\u061c',
	'a Hangul filler': '\u3164',
	'a Mongolian vowel separator': '\u180e',
	'a zero-width space': '\u200b',
	'a zero-width non-joiner': '\u200c',
	'a zero-width joiner': '\u200d',
	'a left-to-right mark': '\u200e',
	'a right-to-left mark': '\u200f',
	'a left-to-right embedding': '\u202a',
	'a right-to-left override': '\u202e',
	'a word joiner': '\u2060',
	'an invisible times': '\u2062',
	'a left-to-right isolate': '\u2066',
	'a pop of an isolate': '\u2069',
	'a byte order mark': '\ufeff',
	'an interlinear annotation': '\ufff9',
	'a musical control': '\u{1d173}',
	'a tag': '\u{e0041}',
	'the language tag': '\u{e0001}',
	'a variation selector of ideographs': '\u{e0100}',
	'a variation selector': '\ufe01',
	'a selector of emoji after a letter': '\ufe0f',
	'half a character': '\ud83d',
};

describe('a definition is refused', () => {
	for (const [what, character] of Object.entries(REFUSED))
		test(`for ${what}, wherever it stands`, () => {
			const code = `U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0')}`;
			const text = `a${character}b`;
			for (const [definition, where] of [
				[tool({ description: text }), '`description`'],
				[tool({}, text), '`name`'],
				[tool({ inputSchema: { properties: { x: { enum: ['a', text] } } } }), '`inputSchema.properties.x.enum[1]`'],
				[tool({ inputSchema: { [text]: 1 } }), 'a key of `inputSchema`'],
			] as const)
				assert.equal(readDefinition(definition).flaw, `${code} in ${where}`);
			assert.match(visible(text), /^a<U\+[0-9A-F]{4,5}>b$/);
		});

	test('for a name of more than one line', () => {
		for (const end of ['\n', '\r', '\t']) assert.match(readDefinition(tool({}, `a${end}b`)).flaw ?? '', /`name`/);
	});

	test('for its size, which is told, and then it is not kept', () => {
		const { definitionBytesMax: max } = PIN_LIMITS;
		const empty = Buffer.byteLength(canonical(tool({ description: '' })));
		assert.equal(readDefinition(tool({ description: 'x'.repeat(max - empty) })).flaw, undefined);
		const { flaw, text } = readDefinition(tool({ description: 'x'.repeat(max - empty + 1) }));
		assert.equal(flaw, `${max + 1} bytes, and ${max} is the most`);
		assert.equal(text, '');
	});

	test('for its depth, whatever it is', () => {
		const nested = (depth: number): unknown => JSON.parse(`${'['.repeat(depth)}${']'.repeat(depth)}`);
		const { definitionDepthMax: max } = PIN_LIMITS;
		assert.equal(readDefinition(tool({ x: nested(max - 1) })).flaw, undefined);
		assert.match(readDefinition(tool({ x: nested(max) })).flaw ?? '', /in each other/);
		assert.match(readDefinition(tool({ x: nested(200_000) })).flaw ?? '', /in each other/);
	});
});

test('text in any language is none of that: lines, tabs, accents, emoji and their looks', () => {
	const fine = ['a\tb\r\nc', 'né', 'nе\u0301', '日本語', 'עברית', 'مرحبا', '👍🏽 ⚠️ ℹ️ 1️⃣ ✔︎', 'a\u00a0b', '\u2028'];
	for (const description of fine) assert.equal(readDefinition(tool({ description })).flaw, undefined, description);
});

describe('a difference', () => {
	const diff = (one: object | undefined, other: object) =>
		difference(one === undefined ? '' : canonical(one), canonical(other));

	test('names what was, what is, and where, and nothing else', () => {
		const before = tool({ inputSchema: { properties: { path: { type: 'string' } }, required: ['path'] } });
		const now = tool({
			description: 'Reads and sends.',
			inputSchema: {
				properties: { path: { type: 'string' }, 'to whom': { type: 'string' } },
				required: ['path', 'to'],
			},
		});
		assert.deepEqual(diff(before, now), [
			'- description: "Reads."',
			'+ description: "Reads and sends."',
			'- inputSchema.required: ["path"]',
			'+ inputSchema.required: ["path","to"]',
			'+ inputSchema.properties."to whom".type: "string"',
		]);
		assert.deepEqual(diff(now, now), []);
	});

	test('is there where only the form is another: a list and an object, a key and a path', () => {
		for (const [one, other] of [
			[{ x: [1, [2]] }, { x: { 0: 1, 1: [2] } }],
			[{ 'a.b': 1 }, { a: { b: 1 } }],
			[{ x: [] }, { x: {} }],
			[{ x: '1' }, { x: 1 }],
		] as const)
			assert.equal(diff(one, other).length >= 2, true, JSON.stringify([one, other]));
	});

	test('shows of a long text what changed, with a little around it', () => {
		const long = 'word '.repeat(400);
		const [was = '', is = ''] = diff(
			tool({ description: `${long}A${long}` }),
			tool({ description: `${long}B${long}` }),
		);
		assert.ok(was.length < 150, was);
		assert.match(was, /^- description: ….*word A.*…$/);
		assert.match(is, /^\+ description: ….*word B.*…$/);
	});

	test('writes out what nobody would see, and is bounded', () => {
		const [, line] = diff(tool(), tool({ description: 'Re\u202eads.\u2028\u001b[2J' }));
		assert.equal(line, '+ description: "Re<U+202E>ads.<U+2028>\\u001b[2J"');
		const many = Object.fromEntries(Array.from({ length: 1000 }, (_, index) => [`k${index}`, index]));
		const lines = diff(undefined, tool(many));
		assert.equal(lines.length, PIN_LIMITS.differenceLinesMax + 1);
		assert.equal(lines.at(-1), `… and ${1002 - PIN_LIMITS.differenceLinesMax} lines more`);
	});
});

test('names are alike that are the same, or the same to the eye', () => {
	for (const [one, other] of [
		['read_file', 'Read_File'],
		['read_file', 'read-file'],
		['read_file', 'rеad_file'],
		['read_file', 'ｒｅａｄ_file'],
		['list', 'Iist'],
		['list', '1ist'],
		['go', 'g0'],
		['resume', 'résumé'],
	] as const)
		assert.equal(looksOf(one), looksOf(other), `${one} ${other}`);
	assert.notEqual(looksOf('read'), looksOf('write'));
	const [a, b, c] = [
		{ server: 'files', tool: 'read' },
		{ server: 'evil', tool: 'Read' },
		{ server: 'evil', tool: 'write' },
	] as const;
	assert.deepEqual(
		[...alikeAmong([a, b, c])],
		[
			[a, [b]],
			[b, [a]],
		],
	);
});

test('a key that stands twice in an object is found, and one that is spelled with an escape, and no other', () => {
	for (const text of [
		'{"a":1,"a":2}',
		'[{"b":{"\\u0061":1}}]',
		'{"b":[{"a\\\\":1}]}',
		'{"a":{"x":1} , "b":2,"a" :1}',
		'{"":1,"":1}',
	])
		assert.ok(isAmbiguous(text), text);
	for (const text of ['{"a":{"a":1},"b":[{"a":1},{"a":2}]}', '{"a":"\\"a\\":1,","b":["a","a"]}', '[]', '"a"', '{}'])
		assert.ok(!isAmbiguous(text), text);
});

/** Pins whose store is a list of what was saved. */
function keep(server: PinnedServer = { name: 'files', pin: 'first-use' }) {
	const saved: KeptPin[][] = [];
	const told: unknown[] = [];
	const pins = new Pins(
		{ listPinStates: () => [], savePins: (some) => void saved.push([...some]), keysVersion: () => 0 },
		{ ...SILENT_LOG, warn: (...line) => void told.push(line) },
	);
	let spec: string | undefined = 'one';
	const of: ToolPins = pins.of(server, () => spec) ?? assert.fail();
	return {
		pins,
		saved,
		told,
		of,
		learn: (list: readonly unknown[], from = 'one') => pins.learn(server, from, list),
		become: (next: string | undefined) => {
			spec = next;
		},
	};
}

describe('pins of a server', () => {
	test('let pass what is as it was first seen, and write it once', () => {
		const { of, learn, saved } = keep();
		assert.equal(of.verdict('read'), 'passes', 'there is nothing to compare it with');
		learn([tool()]);
		learn([tool()]);
		assert.equal(of.verdict('read'), 'passes');
		assert.ok(of.shows(tool()));
		assert.deepEqual([saved.length, of.holdsBack], [1, false]);
	});

	test('hide and refuse what is otherwise, until it is as it was', () => {
		const { of, learn } = keep();
		learn([tool()]);
		learn([tool({ description: 'Sends.' })]);
		assert.deepEqual(
			[of.verdict('read'), of.shows(tool({ description: 'Sends.' })), of.holdsBack],
			['refused', false, true],
		);
		assert.equal(of.refusal('read').code, 'SLIPWAY_TOOL_CHANGED');
		assert.match(of.refusal('read').message, /`slipway approve files read`/);
		learn([tool()]);
		assert.deepEqual([of.verdict('read'), of.holdsBack], ['passes', false]);
	});

	test('do not go by another build: what it says is asked before it is called', () => {
		const { of, learn, become } = keep();
		learn([tool()]);
		become('two');
		assert.equal(of.verdict('read'), 'unknown');
		assert.equal(of.verdict('other'), 'unknown');
		become(undefined);
		assert.equal(of.verdict('read'), 'unknown');
		become('two');
		learn([tool()], 'two');
		assert.equal(of.verdict('read'), 'passes');
		assert.equal(of.verdict('other'), 'unknown', 'there may be more pages');
		of.heardAll();
		assert.equal(of.verdict('other'), 'passes', 'it is the server that has it or not');
	});

	test('refuse a tool that was refused and is in no list any more', () => {
		const { of, learn, become } = keep();
		learn([tool({ description: 'a\u200bb' })]);
		become('two');
		of.heardAll();
		assert.equal(of.verdict('read'), 'refused');
	});

	test('take for the first what comes after a refused one, and keep what was approved before one', () => {
		const { of, learn } = keep();
		learn([tool({ description: 'a\u200bb' })]);
		assert.match(of.refusal('read').message, /U\+200B in `description`/);
		learn([tool()]);
		assert.equal(of.verdict('read'), 'passes');
		learn([tool({ description: 'a\u200bb' })]);
		learn([tool({ description: 'Sends.' })]);
		assert.equal(of.verdict('read'), 'refused');
	});

	test('with "approve" let nothing pass that nobody approved, listed or not', () => {
		const { of, learn } = keep({ name: 'files', pin: 'approve' });
		assert.equal(of.verdict('read'), 'unknown');
		learn([tool()]);
		of.heardAll();
		assert.deepEqual([of.verdict('read'), of.verdict('other'), of.shows(tool())], ['refused', 'refused', false]);
	});

	test('are no more than so many: the rest is neither shown nor called, and nothing of it is kept', () => {
		const { pins, of, learn, saved } = keep();
		const list = Array.from({ length: PIN_LIMITS.toolsMax + 5 }, (_, index) => tool({}, `t${index}`));
		learn(list);
		assert.equal(saved.flat().length, PIN_LIMITS.toolsMax);
		assert.deepEqual(list.filter((one) => of.shows(one)).length, PIN_LIMITS.toolsMax);
		assert.equal(of.verdict(`t${PIN_LIMITS.toolsMax}`), 'refused');
		assert.equal(of.verdict('t0'), 'passes');
		assert.equal(pins.views().get('files')?.tooMany, true);
		const name = 'n'.repeat(PIN_LIMITS.toolNameCharsMax + 1);
		assert.deepEqual([keep().of.shows(tool({}, name)), keep().of.verdict(name)], [false, 'refused']);
	});

	test('are told of in the log when they hold something back, once in a while, and without its words', () => {
		const { learn, told } = keep();
		learn([tool()]);
		assert.deepEqual(told, []);
		for (const round of [1, 2, 3]) learn([tool({ description: `Sends ${round}.` })]);
		assert.deepEqual(told, [['tools wait for approval', { server: 'files', count: 1 }]]);
	});

	test('filter the text of a list that is known, and in it stands what was looked at', () => {
		const { of, learn } = keep();
		learn([tool()]);
		const list = '{"tools":[{"name":"read","description":"Sends.","description":"Reads."}]}';
		assert.equal(
			filterList('tools/list', list, filterByPins(of)),
			'{"tools":[{"name":"read","description":"Reads."}]}',
		);
		// V8 may read a key like the second as one like the first, and other readers never do.
		JSON.parse('{"name":"read","descri\\\\":"Sends."}');
		const escaped = '{"tools":[{"name":"read","descri\\u0070tion":"Reads."}]}';
		assert.doesNotMatch(filterList('tools/list', escaped, filterByPins(of)), /\\u0070/);
		const own = '{ "tools" : [{"description":"Reads.", "name":"read"}] }';
		assert.equal(filterList('tools/list', own, filterByPins(of)), own);
	});

	test('are looked at anew when the store has changed', () => {
		const { pins, of } = keep({ name: 'files', pin: 'approve' });
		of.heardAll();
		assert.equal(of.verdict('other'), 'refused');
		pins.reload();
		assert.equal(of.verdict('other'), 'unknown');
	});

	test('show nothing that is refused, also when it was approved before it was', () => {
		const bad = tool({ description: 'a\u200bb' });
		const { hash: known } = readDefinition(bad);
		const pin = { server: 'files', tool: 'read', approvedHash: known, shownHash: known, spec: 'one', flaw: undefined };
		const pins = new Pins({ listPinStates: () => [pin], savePins: () => undefined, keysVersion: () => 0 }, SILENT_LOG);
		const of = pins.of({ name: 'files', pin: 'first-use' }, () => 'one');
		assert.equal(of?.shows(bad), false);
		pins.learn({ name: 'files', pin: 'first-use' }, 'one', [bad]);
		assert.equal(of?.verdict('read'), 'refused');
	});

	test('that are off hold nothing', () => {
		const { pins, saved } = keep();
		pins.learn({ name: 'x', pin: 'off' }, 'one', [tool()]);
		assert.deepEqual([pins.of({ name: 'x', pin: 'off' }, () => 'one'), saved], [undefined, []]);
	});
});
