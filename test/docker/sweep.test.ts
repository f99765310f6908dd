/** What is left of a run that died, and whose it is. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { Engine } from '../../src/docker/engine.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { sweep } from '../../src/docker/sweep.ts';
import { SILENT_LOG } from '../../src/log.ts';
import {
	assertNothingLeft,
	containersOf,
	docker,
	ENGINE_SOCKET,
	newGatewayId,
	openBench,
	removed,
	until,
	within,
} from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';

const image = await fixtureImage();

/** As a launcher makes them, but without one that could stop it. */
async function plant(labels: Record<string, string>, state: 'created' | 'running' | 'paused'): Promise<string> {
	const container = await docker.createContainer({
		Image: image,
		Cmd: ['sleep', '600'],
		Labels: { [LABELS.server]: 'planted', [LABELS.instance]: randomUUID(), ...labels },
		HostConfig: { NetworkMode: 'none', Init: true },
	});
	if (state !== 'created') await container.start();
	if (state === 'paused') await container.pause();
	return container.id;
}

test('a start removes what an earlier run left, in any state, and nothing of another deployment', async () => {
	const gatewayId = newGatewayId();
	const otherId = newGatewayId();
	const boot = { [LABELS.boot]: randomUUID() };
	const mine = { [LABELS.gateway]: gatewayId, ...boot };
	const orphans = [await plant(mine, 'created'), await plant(mine, 'running'), await plant(mine, 'paused')];
	const foreign = [
		await plant({ [LABELS.gateway]: otherId, ...boot }, 'running'),
		await plant({ [LABELS.gateway]: `${gatewayId}x`, ...boot }, 'created'),
		await plant(boot, 'created'),
	];
	// With our id and no boot: an image or a person's own container, none that a launcher made.
	const unbooted = await plant({ [LABELS.gateway]: gatewayId }, 'created');
	try {
		await using bench = await openBench([fixture('plain', image, ['conversation.ts'])], { gatewayId });
		for (const id of orphans) await removed(id);
		await bench.launch('plain');
		for (const id of [...foreign, unbooted]) await docker.getContainer(id).inspect();
		assert.equal((await containersOf(gatewayId)).length, 2);
		await docker.getContainer(unbooted).remove({ force: true });
	} finally {
		for (const id of foreign) await docker.getContainer(id).remove({ force: true });
	}
	await assertNothingLeft(otherId);
});

test('a launcher that was killed: what ignores the end of stdin is removed by the next one', async () => {
	const gatewayId = newGatewayId();
	const entries = [
		fixture('deaf', image, ['misbehaving.ts', 'ignore-eof-and-term']),
		fixture('good', image, ['misbehaving.ts', 'crlf']),
	];
	await using scaffold = await openBench([]);
	const proxy = new EngineProxy(`${scaffold.folder}/engine.sock`);
	await proxy.open();
	const killed = await openBench(entries, { gatewayId, socketPath: proxy.socketPath });
	const [deaf, good] = [await killed.launch('deaf'), await killed.launch('good')];
	await talk(deaf).request('ping');
	await talk(good).request('ping');
	const [deafId, goodId] = [(await killed.containerOf(deaf)).id, (await killed.containerOf(good)).id];
	// What the kernel does with the connections of a killed process.
	await proxy.close();
	await removed(goodId);
	assert.equal((await docker.getContainer(deafId).inspect()).State.Running, true);
	{
		await using next = await openBench(entries, { gatewayId });
		await removed(deafId);
		await talk(await next.launch('good')).request('ping');
	}
	await killed[Symbol.asyncDispose]();
});

test('what is in the books stays, what is not goes, and only what would have stayed is counted', async () => {
	const gateway = newGatewayId();
	const boot = randomUUID();
	const [kept, lost] = [randomUUID(), randomUUID()];
	const keptId = await plant({ [LABELS.gateway]: gateway, [LABELS.boot]: boot, [LABELS.instance]: kept }, 'running');
	const lostId = await plant({ [LABELS.gateway]: gateway, [LABELS.boot]: boot, [LABELS.instance]: lost }, 'running');
	const exitedId = await plant({ [LABELS.gateway]: gateway, [LABELS.boot]: 'earlier' }, 'running');
	await docker.getContainer(exitedId).kill();
	await docker.getContainer(exitedId).wait();
	const engine = new Engine({ socketPath: ENGINE_SOCKET, log: SILENT_LOG });
	try {
		assert.equal(await within(sweep(engine, { gateway, boot, books: new Set([kept]) }), 'the sweep'), 1);
		assert.deepEqual(
			(await containersOf(gateway)).map(({ Id }) => Id),
			[keptId],
		);
		await removed(lostId);
		assert.equal(await within(sweep(engine, { gateway, boot, books: new Set() }), 'the sweep'), 1);
		assert.equal(await within(sweep(engine, { gateway, boot, books: new Set() }), 'the sweep'), 0);
	} finally {
		engine.stop();
		for (const { Id } of await containersOf(gateway)) await docker.getContainer(Id).remove({ force: true });
	}
});

test('two launchers of different ids beside each other leave each other alone', async () => {
	const entries = [fixture('good', image, ['misbehaving.ts', 'crlf'])];
	await using one = await openBench(entries);
	const channel = await one.launch('good');
	await using two = await openBench(entries);
	await two.launch('good');
	await two.launcher.stop();
	await until('the other has nothing', async () => (await containersOf(two.gatewayId)).length === 0);
	await talk(channel).request('ping');
});
