/** With a key that `docker compose run --rm cli keys create` made for the server `memory` alone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspector, KEY, URL_BASE } from './stack.ts';

test('it lists and calls the tools of its server, at its endpoint and at /mcp', async () => {
	const { tools } = await inspector('memory', '--method', 'tools/list');
	assert.ok(Array.isArray(tools) && tools.length > 0);
	const called = await inspector('memory', '--method', 'tools/call', '--tool-name', 'read_graph');
	assert.notEqual(called['isError'], true);
});

test('it has nothing else', async () => {
	for (const path of ['/servers/everything/mcp', '/servers/none/mcp', '/status', '/api/keys']) {
		const { status } = await fetch(`${URL_BASE}${path}`, { headers: { authorization: `Bearer ${KEY}` } });
		assert.equal(status, 403, path);
	}
});
