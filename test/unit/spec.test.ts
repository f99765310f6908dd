import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Server } from '../../src/catalog/catalog.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { buildSpec, type SpecContext, type SpecImage, specHash } from '../../src/docker/spec.ts';
import { SlipwayError } from '../../src/errors.ts';
import type { InstanceId } from '../../src/ids.ts';
import { server } from '../support/fixtures.ts';

const IMAGE: SpecImage = { id: `sha256:${'a'.repeat(64)}`, volumePaths: [], entrypoint: [], command: [] };
const CONTEXT: SpecContext = {
	gateway: 'gateway-1',
	boot: 'boot-1',
	instance: '11111111-2222-3333-4444-555555555555' as InstanceId,
	mountPlaces: [{ volume: 'root', root: '/srv', subpath: 'files' }],
	volumeNames: ['slipway-gateway-1-memory'],
};
const ENTRY = server(
	'entry',
	{ kind: 'image', reference: 'any:1' },
	{
		command: ['run'],
		args: ['--flag'],
		env: { A: '1', B: '2' },
		mounts: [{ source: './files', target: '/files', readOnly: true }],
		volumes: [{ name: 'memory', target: '/data' }],
	},
);

function hashOf(entry: Server, image: SpecImage = IMAGE, context: SpecContext = CONTEXT): string {
	return buildSpec(entry, image, context).body.Labels?.[LABELS.spec] ?? '';
}

test('the hash is of the form that a digest has, and the same for the same entry', () => {
	assert.match(hashOf(ENTRY), /^sha256:[0-9a-f]{64}$/);
	assert.equal(hashOf(ENTRY), hashOf(structuredClone(ENTRY)));
	const { body } = buildSpec(ENTRY, IMAGE, CONTEXT);
	assert.equal(specHash(body), hashOf(ENTRY));
});

test('the hash does not tell one Instance, boot or deployment from another', () => {
	const other = { ...CONTEXT, instance: '99999999-2222-3333-4444-555555555555' as InstanceId, boot: 'b', gateway: 'g' };
	assert.equal(hashOf(ENTRY, IMAGE, other), hashOf(ENTRY));
});

const CHANGES: Readonly<Record<string, Partial<Server>>> = {
	command: { command: ['other'] },
	'a word moved from args to command': { command: ['run', '--flag'], args: ['x'] },
	args: { args: ['--other'] },
	'a value of env': { env: { A: '1', B: '3' } },
	'a name of env': { env: { A: '1', C: '2' } },
	'the target of a volume': { volumes: [{ name: 'memory', target: '/elsewhere' }] },
	'the target of a mount': { mounts: [{ source: './files', target: '/elsewhere', readOnly: true }] },
	'a mount that may be written to': { mounts: [{ source: './files', target: '/files', readOnly: false }] },
	memory: { resources: { ...ENTRY.resources, memoryBytes: 1 } },
	cpus: { resources: { ...ENTRY.resources, nanoCpus: 1 } },
	pids: { resources: { ...ENTRY.resources, pidsMax: 1 } },
	tmp: { resources: { ...ENTRY.resources, tmpBytes: 1 } },
	shm: { resources: { ...ENTRY.resources, shmBytes: 1 } },
	uid: { user: { uid: 20_000, gid: 65_532 } },
	gid: { user: { uid: 65_532, gid: 20_000 } },
};

for (const [what, change] of Object.entries(CHANGES)) {
	test(`the hash covers ${what}`, () => assert.notEqual(hashOf({ ...ENTRY, ...change }), hashOf(ENTRY)));
}

test('the hash covers the image, its volumes, and where mounts and volumes come from', () => {
	assert.notEqual(hashOf(ENTRY, { ...IMAGE, id: 'sha256:other' }), hashOf(ENTRY));
	assert.notEqual(hashOf(ENTRY, { ...IMAGE, volumePaths: ['/var/x'] }), hashOf(ENTRY));
	assert.notEqual(
		hashOf(ENTRY, IMAGE, { ...CONTEXT, mountPlaces: [{ volume: 'root', root: '/srv', subpath: 'other' }] }),
		hashOf(ENTRY),
	);
	assert.notEqual(hashOf(ENTRY, IMAGE, { ...CONTEXT, volumeNames: ['other'] }), hashOf(ENTRY));
});

test('what has nothing to do with the container is not in the hash', () => {
	assert.equal(hashOf({ ...ENTRY, title: 'T', description: 'D', callTimeoutMs: 5 }), hashOf(ENTRY));
});

test('the body names the image by its content, the user by number, and has no field that opens the sandbox', () => {
	const { body, containerName } = buildSpec(ENTRY, IMAGE, CONTEXT);
	assert.equal(containerName, 'slipway-entry-11111111');
	assert.equal(body.Image, IMAGE.id);
	assert.match(body.User ?? '', /^\d{5,}:\d{5,}$/);
	assert.deepEqual(body.Cmd, ['run', '--flag']);
	const host = { ...body.HostConfig } as Record<string, unknown>;
	for (const field of [
		'Binds',
		'CapAdd',
		'Devices',
		'VolumesFrom',
		'PidMode',
		'UTSMode',
		'UsernsMode',
		'GroupAdd',
		'ExtraHosts',
		'PortBindings',
		'MaskedPaths',
		'ReadonlyPaths',
		'DeviceRequests',
		'Sysctls',
		'CgroupParent',
	])
		assert.ok(!(field in host), field);
	assert.equal(host['Memory'], host['MemorySwap']);
	assert.deepEqual(host['SecurityOpt'], ['no-new-privileges:true']);
});

test('an entry without a command leaves the image’s own', () => {
	assert.ok(!('Cmd' in buildSpec({ ...ENTRY, command: [], args: [] }, IMAGE, CONTEXT).body));
});

test('HOME and TMPDIR are set, and the catalog may set them otherwise', () => {
	const env = buildSpec({ ...ENTRY, env: { HOME: '/data' } }, IMAGE, CONTEXT).body.Env ?? [];
	// The last of two of one name counts.
	assert.deepEqual(env, ['HOME=/tmp', 'TMPDIR=/tmp', 'HOME=/data']);
});

test('volumes of the image are covered by bounded memory, unless the catalog mounts something there', () => {
	const volumePaths = ['/var/lib/db', '/cache/', '/data', '/files', '/tmp'];
	const { HostConfig } = buildSpec(ENTRY, { ...IMAGE, volumePaths }, CONTEXT).body;
	assert.deepEqual(Object.keys(HostConfig.Tmpfs ?? {}).sort(), ['/cache', '/tmp', '/var/lib/db']);
	for (const options of Object.values(HostConfig.Tmpfs ?? {}))
		assert.equal(options, `rw,noexec,nosuid,nodev,size=${ENTRY.resources.tmpBytes},nr_inodes=8192,mode=1777`);
	assert.deepEqual(
		(HostConfig.Mounts ?? []).map(({ Type, Source, Target, ReadOnly }) => [Type, Source, Target, ReadOnly]),
		[
			['volume', 'root', '/files', true],
			['volume', 'slipway-gateway-1-memory', '/data', false],
		],
	);
});

for (const path of [
	'',
	'/',
	'//',
	'data',
	'./data',
	'/../etc',
	'/data/..',
	'/data/./x',
	'/a//b',
	'/a:b',
	'/a,size=9g',
	'\\data',
]) {
	test(`an image with a volume at ${JSON.stringify(path)} is refused`, () => {
		assert.throws(
			() => buildSpec(ENTRY, { ...IMAGE, volumePaths: ['/fine', path] }, CONTEXT),
			(error) =>
				error instanceof SlipwayError && error.code === 'SLIPWAY_IMAGE_REFUSED' && error.details.server === 'entry',
		);
	});
}

const WITH_SECRETS = {
	...ENTRY,
	secrets: [
		{ variable: 'TOKEN', name: 'token' },
		{ variable: 'KEY_FILE', name: 'key', file: '/run/secrets/key' },
	],
};
const SECRETS: SpecContext = {
	...CONTEXT,
	secrets: {
		fingerprint: 'one',
		delivered: [
			{ variable: 'TOKEN', value: Buffer.from('canary-of-token') },
			{ variable: 'KEY_FILE', value: Buffer.from('canary-of-key'), file: '/run/secrets/key' },
		],
	},
};

test('with secrets a shell takes them in, then runs what would have run, and no value is in the body', () => {
	const image = { ...IMAGE, entrypoint: ['node', '-x'], command: ['by itself'] };
	const { body, secrets } = buildSpec(WITH_SECRETS, image, SECRETS);
	assert.equal(body.Entrypoint?.[0], '/bin/sh');
	assert.deepEqual(body.Cmd, ['node', '-x', 'run', '--flag']);
	assert.deepEqual(buildSpec({ ...WITH_SECRETS, command: [], args: [] }, image, SECRETS).body.Cmd, [
		'node',
		'-x',
		'by itself',
	]);
	assert.doesNotMatch(JSON.stringify(body), /canary/);
	assert.equal(secrets, SECRETS.secrets?.delivered);
	assert.match(body.HostConfig.Tmpfs?.['/run/secrets'] ?? '', /noexec.*,mode=0700,uid=65532,gid=65532$/);
	assert.ok(!('/run/secrets' in (buildSpec(ENTRY, image, CONTEXT).body.HostConfig.Tmpfs ?? {})));
	assert.ok(!('Entrypoint' in buildSpec(ENTRY, image, CONTEXT).body), 'without any, the image’s own');
});

test('with secrets and nothing to run there is nothing to start', () => {
	assert.throws(
		() => buildSpec({ ...WITH_SECRETS, command: [], args: [] }, IMAGE, SECRETS),
		(error) => error instanceof SlipwayError && error.code === 'SLIPWAY_COMMAND_INVALID',
	);
});

test('other values are another entry, and the label on the container does not tell', () => {
	const one = buildSpec(WITH_SECRETS, IMAGE, SECRETS);
	const other = buildSpec(WITH_SECRETS, IMAGE, { ...SECRETS, secrets: { fingerprint: 'two', delivered: [] } });
	assert.notEqual(one.entryHash, other.entryHash);
	assert.deepEqual(one.body.Labels, other.body.Labels);
});
