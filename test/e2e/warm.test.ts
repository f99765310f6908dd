/** A container that was started ahead: whose it becomes, what it may do, and that it is gone when nobody wants it. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import Docker from 'dockerode';
import { RawClient, textOf } from '../support/client-raw.ts';
import { until } from '../support/engine-bench.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('ready', image, ['conversation.ts'], { warm: 1 }),
			fixture('used', image, ['conversation.ts'], { idleStopMs: 5_000 }),
			fixture('keeping', image, ['conversation.ts'], { volumes: [{ name: 'kept', target: '/data' }] }),
			fixture('impatient', image, ['misbehaving.ts', 'exit-at-once'], { warm: 1 }),
		),
		config: { warmBytesMax: 2 ** 30 },
	});
});
after(() => stack.stop());

async function idsOf(server: string): Promise<string[]> {
	const all = await stack.containers();
	return all.filter(({ Labels }) => Labels['dev.slipway.server'] === server).map(({ Id }) => Id);
}

async function starts(server: string): Promise<number> {
	return (await stack.launcher.report()).filter((report) => report.server === server).length;
}

/** How many the gateway has waiting. */
async function waiting(server: string): Promise<number> {
	const response = await fetch(`${stack.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
	const { servers } = (await response.json()) as { servers: { name: string; warmStarts?: { waiting: number } }[] };
	return servers.find(({ name }) => name === server)?.warmStarts?.waiting ?? 0;
}

test('the first caller has the container that waited, hardened like any, and another takes its place', async () => {
	await until('a container that waits', async () => (await waiting('ready')) === 1);
	const [first = ''] = await idsOf('ready');
	const client = new RawClient(stack.endpoint('ready'));
	await client.open();
	assert.equal(textOf(await client.call('echo', { text: 'hello' })), 'hello');
	await until('the next one', async () => (await waiting('ready')) === 1);
	assert.equal((await idsOf('ready')).length, 2);
	const { HostConfig, Config } = await new Docker().getContainer(first).inspect();
	assert.deepEqual([HostConfig.ReadonlyRootfs, HostConfig.NetworkMode, HostConfig.CapDrop], [true, 'none', ['ALL']]);
	assert.equal(Config.User, '65532:65532');
	await client.end();
	assert.ok(!(await idsOf('ready')).includes(first), 'it was the session that had it');
	assert.equal((await idsOf('ready')).length, 1);
});

test('a server that was used has one waiting for as long as it may idle; one with a volume has none', async () => {
	for (const name of ['keeping', 'used']) {
		const client = new RawClient(stack.endpoint(name));
		await client.open();
		await client.end();
	}
	await until('a container that waits', async () => (await waiting('used')) === 1);
	await until('its end', async () => (await idsOf('used')).length === 0);
	assert.equal(await starts('keeping'), 1);
});

test('a server that does not wait is not started again and again', async () => {
	await until('a start', async () => (await starts('impatient')) > 0);
	const client = new RawClient(stack.endpoint('used'));
	await client.open();
	await client.end();
	await until('another start ahead, after that', async () => (await idsOf('used')).length === 1);
	assert.equal(await starts('impatient'), 1);
});
