/** What a server may keep, and what of the host it may see. */
import assert from 'node:assert/strict';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { LABELS } from '../../src/docker/labels.ts';
import { volumeName } from '../../src/docker/volumes.ts';
import { type Bench, docker, newGatewayId, openBench, refusedWith, within } from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { fixtureImage, server } from '../support/fixtures.ts';

const IMAGE = { kind: 'image', reference: await fixtureImage() } as const;
const VOLUMES = [{ name: 'memory', target: '/data' }];

function shell(name: string, script: string, overrides: Parameters<typeof server>[2] = {}) {
	return server(name, IMAGE, { command: ['sh', '-c', script], ...overrides });
}

/** What a server says until it ends by itself. */
async function said(bench: Bench, name: string): Promise<string> {
	const channel = await bench.launch(name);
	const output = readText(channel.stream);
	await within(channel.ended, 'the end');
	return (await output).trim();
}

test('a new volume belongs to the server’s user, is written to, and outlives the Instance', async () => {
	const user = { uid: 23_456, gid: 34_567 };
	await using bench = await openBench([
		shell('writer', 'stat -c "%u:%g %a" /data; echo kept >/data/file; mkdir /data/folder && echo made', {
			volumes: VOLUMES,
			user,
		}),
		shell('reader', 'cat /data/file', { volumes: VOLUMES, user }),
		shell('mounted', 'cat', { volumes: VOLUMES, user }),
	]);
	assert.equal(await said(bench, 'writer'), '23456:34567 700\nmade');
	assert.equal(await said(bench, 'reader'), 'kept');
	const channel = await bench.launch('mounted');
	const { Mounts } = await bench.inspect(channel);
	assert.deepEqual(
		Mounts.map(({ Type, Name, Destination, RW }) => ({ Type, Name, Destination, RW })),
		[{ Type: 'volume', Name: volumeName(bench.gatewayId, 'memory'), Destination: '/data', RW: true }],
	);
	const { Labels } = await docker.getVolume(volumeName(bench.gatewayId, 'memory')).inspect();
	assert.equal(Labels[LABELS.gateway], bench.gatewayId);
});

test('the image’s own content at the target is not copied, nor is its owner', async () => {
	await using bench = await openBench([
		shell('over', 'ls -A /app | wc -l; stat -c %u /app', {
			volumes: [{ name: 'over', target: '/app' }],
			command: ['sh', '-c', 'ls -A /app | wc -l; stat -c %u /app'],
		}),
	]);
	assert.equal(await said(bench, 'over'), '0\n65532');
});

test('two deployments do not share a volume of one name; a later run of one finds its own', async () => {
	const gatewayId = newGatewayId();
	const entries = [
		shell('writer', 'echo mine >/data/file', { volumes: VOLUMES }),
		shell('reader', 'cat /data/file 2>/dev/null || echo nothing', { volumes: VOLUMES }),
	];
	await using one = await openBench(entries, { gatewayId });
	assert.equal(await said(one, 'writer'), '');
	await using other = await openBench(entries);
	assert.equal(await said(other, 'reader'), 'nothing');
	await using again = await openBench(entries, { gatewayId });
	assert.equal(await said(again, 'reader'), 'mine');
});

test('many first launches at once share one volume that all can write to', async () => {
	await using bench = await openBench([
		shell('many', 'echo line >>/data/file && wc -l </data/file', { volumes: VOLUMES }),
	]);
	const counts = await Promise.all(Array.from({ length: 4 }, () => said(bench, 'many')));
	assert.deepEqual(counts.map(Number).sort().at(-1), 4);
});

test('a volume that could not be given to its user is not left behind for the next launch to find', async () => {
	await using bench = await openBench([]);
	const proxy = new EngineProxy(`${bench.folder}/engine.sock`);
	// The archive that gives the volume away is refused.
	proxy.refuse(/^PUT .*\/archive/);
	await proxy.open();
	try {
		const gatewayId = newGatewayId();
		const entries = [shell('writer', 'stat -c %u /data', { volumes: VOLUMES })];
		{
			await using broken = await openBench(entries, { gatewayId, socketPath: proxy.socketPath });
			await refusedWith('SLIPWAY_ENGINE_FAILED', broken.launch('writer'));
			const { Volumes } = await docker.listVolumes({
				filters: JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] }),
			});
			assert.deepEqual(Volumes, []);
		}
		await using mended = await openBench(entries, { gatewayId });
		assert.equal(await said(mended, 'writer'), '65532');
	} finally {
		await proxy.close();
	}
});

test('a mount of the host is read-only unless said, and only below a root', async () => {
	const mounts = (source: string, readOnly = true) => [{ source, target: '/host', readOnly }];
	const look =
		'head -c 1 /host/os-release >/dev/null && echo read; (echo x >/host/slipway-was-here) 2>/dev/null && echo wrote; true';
	await using bench = await openBench(
		[
			shell('inside', look, { mounts: mounts('/usr/lib') }),
			shell('relative', look, { mounts: mounts('./lib') }),
			shell('missing', look, { mounts: mounts('/usr/lib/no such folder') }),
			shell('outside', look, { mounts: mounts('/etc') }),
			shell('dots', look, { mounts: mounts('/usr/lib/../../etc') }),
			shell('engine', look, { mounts: mounts('/var/run/docker.sock') }),
			shell('sibling', look, { mounts: mounts('/usr/lib64') }),
		],
		{ launcher: { hostDir: '/usr', mountRoots: ['/usr/lib', './lib'] } },
	);
	assert.equal(await said(bench, 'inside'), 'read');
	assert.equal(await said(bench, 'relative'), 'read');
	const missing = await refusedWith('SLIPWAY_MOUNT_REFUSED', bench.launch('missing'));
	assert.ok(missing.details.reason?.includes('/usr/lib/no such folder'), missing.message);
	for (const [name, folder] of [
		['outside', '/etc'],
		['dots', '/etc'],
		['engine', '/var/run/docker.sock'],
		['sibling', '/usr/lib64'],
	] as const) {
		const error = await refusedWith('SLIPWAY_MOUNT_REFUSED', bench.launch(name));
		assert.ok(error.details.reason?.includes(folder), error.message);
	}
});

test('a mount that may be written to is written to, where the host lets the user', async () => {
	const gatewayId = newGatewayId();
	// The one folder of any host that everybody may write to.
	const mount = { source: '/tmp', target: '/host' };
	const file = `/host/slipway-${gatewayId}`;
	await using bench = await openBench(
		[
			shell('writer', `echo written >${file}; cat ${file}`, { mounts: [{ ...mount, readOnly: false }] }),
			shell('reader', `cat ${file}; (echo x >${file}) 2>/dev/null || echo refused`, {
				mounts: [{ ...mount, readOnly: true }],
			}),
			shell('remover', `rm ${file} && echo removed`, { mounts: [{ ...mount, readOnly: false }] }),
		],
		{ gatewayId, launcher: { mountRoots: ['/tmp'] } },
	);
	assert.equal(await said(bench, 'writer'), 'written');
	assert.equal(await said(bench, 'reader'), 'written\nrefused');
	assert.equal(await said(bench, 'remover'), 'removed');
});
