import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { declares, neededFor } from '../../src/mcp/capabilities.ts';

const asked = (method: string, params?: object) => neededFor({ kind: 'request', id: 1, method, params });

describe('what a question needs of a client', () => {
	const table: [method: string, params: object | undefined, needed: object | undefined][] = [
		['roots/list', undefined, { roots: {} }],
		['sampling/createMessage', { messages: [] }, { sampling: {} }],
		['sampling/createMessage', { tools: [] }, { sampling: { tools: {} } }],
		['sampling/createMessage', { toolChoice: { mode: 'none' } }, { sampling: { tools: {} } }],
		['sampling/createMessage', undefined, { sampling: {} }],
		['sampling/createMessage', Object.create({ tools: [] }), { sampling: {} }],
		['elicitation/create', { message: 'Which?' }, { elicitation: { form: {} } }],
		['elicitation/create', { mode: 'form' }, { elicitation: { form: {} } }],
		['elicitation/create', { mode: 'url' }, { elicitation: { url: {} } }],
		['elicitation/create', undefined, { elicitation: { form: {} } }],
		['elicitation/create', Object.create({ mode: 'url' }), { elicitation: { form: {} } }],
		['ping', undefined, undefined],
		['tools/call', {}, undefined],
		['Roots/list', {}, undefined],
		['', {}, undefined],
		['toString', {}, undefined],
	];
	for (const [method, params, needed] of table)
		test(`${method} ${JSON.stringify(params)}`, () => assert.deepEqual(asked(method, params), needed));
});

describe('what a client declares', () => {
	const roots = { roots: {} };
	const sampling = { sampling: {} };
	const tools = { sampling: { tools: {} } };
	const form = { elicitation: { form: {} } };
	const url = { elicitation: { url: {} } };
	const table: [capabilities: object, needed: Record<string, object>, declared: boolean][] = [
		[{}, {}, true],
		[{ roots: {} }, roots, true],
		[{ roots: { listChanged: true } }, roots, true],
		[{}, roots, false],
		[{ roots: null }, roots, false],
		[{ roots: true }, roots, false],
		[{ roots: [] }, roots, false],
		[{ sampling: {} }, roots, false],
		[{ sampling: {} }, sampling, true],
		[{ sampling: { tools: {} } }, sampling, true],
		[{ sampling: {} }, tools, false],
		[{ sampling: { tools: true } }, tools, false],
		[{ sampling: { tools: {} } }, tools, true],
		[{ elicitation: {} }, form, true],
		[{ elicitation: {} }, url, false],
		[{ elicitation: { form: {} } }, form, true],
		[{ elicitation: { form: {} } }, url, false],
		[{ elicitation: { url: {} } }, form, false],
		[{ elicitation: { url: {} } }, url, true],
		[{ elicitation: { form: {}, url: {} } }, { elicitation: { form: {}, url: {} } }, true],
		[{ elicitation: { url: {} } }, { elicitation: { form: {}, url: {} } }, false],
		// That none means forms is so for elicitation alone.
		[{ sampling: {} }, { sampling: { form: {} } }, false],
		[{ roots: {} }, { ...roots, ...sampling }, false],
		[{ roots: {}, sampling: {} }, { ...roots, ...sampling }, true],
		[JSON.parse('{"__proto__":{"roots":{}}}'), roots, false],
		[Object.create({ roots: {} }), roots, false],
		[JSON.parse('{"sampling":{"__proto__":{"tools":{}}}}'), tools, false],
	];
	for (const [capabilities, needed, declared] of table)
		test(`${JSON.stringify(capabilities)} ${declared ? 'has' : 'lacks'} ${JSON.stringify(needed)}`, () =>
			assert.equal(declares(capabilities, needed), declared));
});
