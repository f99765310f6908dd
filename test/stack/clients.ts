/** Real clients against a stack that was started as the README says, with the key that it printed. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import Docker from 'dockerode';
import { inspector, instances, KEY, URL_BASE } from './stack.ts';

const calls: Readonly<Record<string, { tools: number; call: readonly string[]; answer: RegExp }>> = {
	everything: { tools: 10, call: ['--tool-name', 'echo', '--tool-arg', 'message=hello'], answer: /Echo: hello/ },
	memory: { tools: 9, call: ['--tool-name', 'read_graph'], answer: /entities/ },
	filesystem: {
		tools: 10,
		call: ['--tool-name', 'read_text_file', '--tool-arg', 'path=/files/welcome.txt'],
		answer: /Welcome to Slipway/,
	},
	'sequential-thinking': {
		tools: 1,
		call: [
			'--tool-name',
			'sequentialthinking',
			'--tool-arg',
			'thought=one',
			'--tool-arg',
			'nextThoughtNeeded=false',
			'--tool-arg',
			'thoughtNumber=1',
			'--tool-arg',
			'totalThoughts=1',
		],
		answer: /thoughtNumber/,
	},
};

for (const [server, { tools, call, answer }] of Object.entries(calls)) {
	test(`the Inspector lists and calls tools of ${server}`, async () => {
		const listed = await inspector(server, '--method', 'tools/list');
		assert.ok(Array.isArray(listed['tools']) && listed['tools'].length >= tools, JSON.stringify(listed).slice(0, 300));
		const called = await inspector(server, '--method', 'tools/call', ...call);
		assert.match(JSON.stringify(called), answer);
		assert.notEqual(called['isError'], true);
	});
}

test('a session has one hardened container, and DELETE removes it', async (t) => {
	const before = new Set((await instances('filesystem')).map(({ Id }) => Id));
	const transport = new StreamableHTTPClientTransport(new URL(`${URL_BASE}/servers/filesystem/mcp`), {
		requestInit: { headers: { authorization: `Bearer ${KEY}` } },
	});
	const client = new Client({ name: 'stack-test', version: '1' });
	t.after(() => client.close());
	await client.connect(transport as Parameters<Client['connect']>[0]);
	// What a client is told first may be known without one.
	await client.callTool({ name: 'list_allowed_directories', arguments: {} });
	const added = (await instances('filesystem')).filter(({ Id }) => !before.has(Id));
	assert.equal(added.length, 1);
	const { HostConfig, Config, Mounts } = await new Docker().getContainer(added[0]?.Id ?? '').inspect();
	assert.equal(HostConfig.ReadonlyRootfs, true);
	assert.ok(Number(Config.User.split(':')[0]) >= 10_000);
	assert.deepEqual(HostConfig.CapDrop, ['ALL']);
	assert.deepEqual(HostConfig.SecurityOpt, ['no-new-privileges:true']);
	assert.ok(HostConfig.Memory !== undefined && HostConfig.Memory > 0);
	assert.equal(HostConfig.Memory, HostConfig.MemorySwap);
	assert.ok(HostConfig.PidsLimit !== null && HostConfig.PidsLimit !== undefined && HostConfig.PidsLimit > 0);
	assert.equal(HostConfig.NetworkMode, 'none');
	assert.equal(HostConfig.LogConfig?.Type, 'none');
	assert.equal(HostConfig.AutoRemove, true);
	assert.deepEqual(
		Mounts.map(({ Type, Destination, RW }) => [Type, Destination, RW]),
		[['volume', '/files', false]],
	);
	await transport.terminateSession();
	assert.deepEqual(
		(await instances('filesystem')).filter(({ Id }) => !before.has(Id)),
		[],
	);
});

test('without the key nobody gets in, and health needs none', async () => {
	assert.equal((await fetch(`${URL_BASE}/status`)).status, 401);
	assert.equal((await fetch(`${URL_BASE}/servers/memory/mcp`, { method: 'POST' })).status, 401);
	assert.equal((await fetch(`${URL_BASE}/health`)).status, 200);
	assert.equal((await fetch(`${URL_BASE}/ready`)).status, 200);
});

// The Inspector leaves its sessions open, as many clients do: what ends them here is the end of the stack.
after(async () => {
	assert.ok((await instances()).length > 0);
});
