/** What a container of ours is, by the engine's own account and by the kernel's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostConfig } from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { docker, openBench } from '../support/engine-bench.ts';
import { greet } from '../support/engine-talk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';

const image = await fixtureImage();
const MIB = 1024 ** 2;

/** Fields of HostConfig that open a sandbox, in any value that is not empty. */
const OPENINGS = [
	'Binds',
	'CapAdd',
	'CgroupParent',
	'DeviceCgroupRules',
	'DeviceRequests',
	'Devices',
	'Dns',
	'ExtraHosts',
	'GroupAdd',
	'Links',
	'PidMode',
	'PortBindings',
	'Sysctls',
	'UTSMode',
	'UsernsMode',
	'VolumeDriver',
	'VolumesFrom',
] as const satisfies readonly (keyof HostConfig)[];

function isOpen(value: unknown): boolean {
	if (typeof value === 'object' && value !== null) return Object.keys(value).length > 0;
	return value !== undefined && value !== null && value !== '' && value !== false;
}

test('a live Instance is what the promise says, by the account of the engine', async () => {
	await using bench = await openBench([fixture('plain', image, ['conversation.ts'])]);
	const channel = await bench.launch('plain');
	const { Config, HostConfig: host, Mounts, NetworkSettings, State, Name } = await bench.inspect(channel);

	assert.equal(State.Running, true);
	assert.equal(Name, `/slipway-plain-${channel.instance.slice(0, 8)}`);
	assert.equal(Config.User, '65532:65532');
	assert.equal(Config.Tty, false);
	assert.equal(Config.OpenStdin, true);
	assert.equal(Config.StdinOnce, true);
	assert.deepEqual(Config.Healthcheck?.Test, ['NONE']);
	assert.equal(host.ReadonlyRootfs, true);
	assert.equal(host.Privileged, false);
	assert.deepEqual(host.CapDrop, ['ALL']);
	assert.deepEqual(host.SecurityOpt, ['no-new-privileges:true']);
	assert.equal(host.Memory, 256 * MIB);
	assert.equal(host.MemorySwap, host.Memory);
	assert.equal(host.NanoCpus, 1e9);
	assert.equal(host.PidsLimit, 128);
	assert.equal(host.NetworkMode, 'none');
	assert.equal(host.IpcMode, 'none');
	assert.deepEqual(host.LogConfig, { Type: 'none', Config: {} });
	assert.equal(host.AutoRemove, true);
	assert.equal(host.Init, true);
	assert.equal(host.OomKillDisable ?? false, false);
	assert.deepEqual(host.RestartPolicy, { Name: 'no', MaximumRetryCount: 0 });
	assert.deepEqual(Object.keys(host.Tmpfs ?? {}), ['/tmp']);
	assert.match(host.Tmpfs?.['/tmp'] ?? '', /^rw,noexec,nosuid,nodev,size=33554432,/);
	assert.deepEqual(
		host.Ulimits?.map(({ Name, Hard }) => `${Name} ${Hard}`),
		['nofile 1024', 'core 0'],
	);
	// The engine's own masks are on: sending none is what keeps them.
	assert.ok((host.MaskedPaths ?? []).includes('/proc/kcore'), JSON.stringify(host.MaskedPaths));
	assert.ok((host.ReadonlyPaths ?? []).includes('/proc/sys'), JSON.stringify(host.ReadonlyPaths));
	assert.deepEqual(Mounts, []);
	assert.deepEqual(Object.keys(NetworkSettings.Networks), ['none']);
	assert.deepEqual(Object.keys(NetworkSettings.Ports ?? {}), []);
	assert.deepEqual(
		OPENINGS.filter((field) => isOpen(host[field])),
		[],
	);

	// Those of the image come along; ours are the rest.
	const ofImage = (await docker.getImage(Config.Image).inspect()).Config.Labels ?? {};
	const labels = Object.entries(Config.Labels).filter(
		([name]) => name.startsWith('dev.slipway.') && !Object.hasOwn(ofImage, name),
	);
	assert.deepEqual(labels.map(([name]) => name).sort(), [
		LABELS.boot,
		LABELS.gateway,
		LABELS.instance,
		LABELS.server,
		LABELS.spec,
	]);
	assert.equal(Config.Labels[LABELS.gateway], bench.gatewayId);
	assert.equal(Config.Labels[LABELS.server], 'plain');
	assert.equal(Config.Labels[LABELS.instance], channel.instance);
	assert.match(Config.Labels[LABELS.spec] ?? '', /^sha256:[0-9a-f]{64}$/);
});

test('two Instances of one entry have one spec hash and are otherwise their own', async () => {
	await using bench = await openBench([fixture('plain', image, ['conversation.ts'], { env: { A: '1' } })]);
	const [one, two] = await Promise.all([bench.launch('plain'), bench.launch('plain')]);
	const [first, second] = await Promise.all([bench.inspect(one), bench.inspect(two)]);
	assert.equal(first.Config.Labels[LABELS.spec], second.Config.Labels[LABELS.spec]);
	assert.notEqual(first.Id, second.Id);
	assert.notEqual(one.instance, two.instance);
	assert.equal(first.Config.Labels[LABELS.boot], second.Config.Labels[LABELS.boot]);
});

test('resources of the catalog are the limits, and shared memory is there only when asked for', async () => {
	const resources = { memoryBytes: 128 * MIB, nanoCpus: 5e8, pidsMax: 64, tmpBytes: 8 * MIB, shmBytes: 16 * MIB };
	await using bench = await openBench([fixture('sized', image, ['conversation.ts'], { resources })]);
	const channel = await bench.launch('sized');
	const { HostConfig: host } = await bench.inspect(channel);
	assert.equal(host.Memory, 128 * MIB);
	assert.equal(host.MemorySwap, 128 * MIB);
	assert.equal(host.NanoCpus, 5e8);
	assert.equal(host.PidsLimit, 64);
	assert.equal(host.IpcMode, 'private');
	assert.equal(host.ShmSize, 16 * MIB);
	assert.match(host.Tmpfs?.['/tmp'] ?? '', /size=8388608,/);
});

test('the server sees only the environment that the catalog and the image name', async () => {
	await using bench = await openBench([
		fixture('plain', image, ['conversation.ts'], { env: { TOKEN: 'from=catalog' } }),
	]);
	const conversation = await greet(await bench.launch('plain'));
	const env: Record<string, string> = JSON.parse(await conversation.call('env'));
	const ofImage = (await docker.getImage(image).inspect()).Config.Env ?? [];
	const known = new Set(['HOME', 'TMPDIR', 'TOKEN', 'HOSTNAME', 'PWD', ...ofImage.map((entry) => entry.split('=')[0])]);
	assert.deepEqual(
		Object.keys(env).filter((name) => !known.has(name)),
		[],
	);
	assert.equal(env['TOKEN'], 'from=catalog');
	assert.equal(env['HOME'], '/tmp');
	const who: { uid: number; gid: number; pid: number; hostname: string } = JSON.parse(
		await conversation.call('whoami'),
	);
	assert.equal(who.uid, 65_532);
	assert.equal(who.gid, 65_532);
	assert.equal(who.hostname, 'mcp');
	// Process 1 is the init that reaps.
	assert.notEqual(who.pid, 1);
});
