import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerInspectInfo } from 'dockerode';
import { findDrift } from '../../src/docker/drift.ts';
import { buildSpec } from '../../src/docker/spec.ts';
import type { InstanceId } from '../../src/ids.ts';
import { server } from '../support/fixtures.ts';

const { body: ASKED } = buildSpec(
	server(
		'entry',
		{ kind: 'image', reference: 'any:1' },
		{
			command: ['run'],
			env: { A: '1' },
			mounts: [{ source: './files', target: '/files', readOnly: true }],
			volumes: [{ name: 'memory', target: '/data' }],
			resources: { memoryBytes: 2 ** 28, nanoCpus: 1e9, pidsMax: 128, tmpBytes: 2 ** 25, shmBytes: 2 ** 24 },
		},
	),
	{ id: 'sha256:a', volumePaths: [], entrypoint: [], command: [] },
	{
		gateway: 'g',
		boot: 'b',
		instance: '11111111-2222-3333-4444-555555555555' as InstanceId,
		mountPlaces: [{ volume: 'root', root: '/srv', subpath: 'files' }],
		volumeNames: ['v'],
	},
);

type Loose = Record<string, unknown>;

/** As an engine reads the body back: what was asked for, and much that was not. */
function readBack(config: Loose = {}, host: Loose = {}, mounts: readonly object[] = []): ContainerInspectInfo {
	const { HostConfig, ...rest } = structuredClone(ASKED);
	const inspected = {
		Config: {
			...rest,
			Env: ['PATH=/bin', ...(rest.Env ?? [])],
			Labels: { ...rest.Labels, 'of.the.image': 'x' },
			...config,
		},
		HostConfig: {
			Binds: null,
			CapAdd: null,
			PidMode: '',
			Devices: [],
			PortBindings: {},
			OomKillDisable: null,
			Runtime: 'runc',
			MaskedPaths: ['/proc/kcore'],
			...HostConfig,
			...host,
		},
		Mounts: [{ Type: 'volume', Destination: '/files' }, { Type: 'volume', Destination: '/data' }, ...mounts],
	};
	return inspected as unknown as ContainerInspectInfo;
}

test('what reads back as it was asked for is no drift', () => {
	assert.equal(findDrift(ASKED, readBack()), undefined);
	assert.equal(
		findDrift(ASKED, readBack({}, { Privileged: undefined }, [{ Type: 'tmpfs', Destination: '/x' }])),
		undefined,
	);
});

const OPENINGS: Readonly<Record<string, unknown>> = {
	Binds: ['/:/host'],
	CapAdd: ['SYS_ADMIN'],
	Devices: [{ PathOnHost: '/dev/kmsg' }],
	DeviceRequests: [{ Driver: 'nvidia' }],
	DeviceCgroupRules: ['c 1:3 mr'],
	GroupAdd: ['docker'],
	ExtraHosts: ['host:host-gateway'],
	Links: ['/a:/b'],
	PidMode: 'host',
	PortBindings: { '80/tcp': [{ HostPort: '80' }] },
	PublishAllPorts: true,
	UTSMode: 'host',
	UsernsMode: 'host',
	VolumesFrom: ['other'],
	VolumeDriver: 'nfs',
	CgroupParent: '/evil',
	Sysctls: { 'kernel.msgmax': '1' },
	Dns: ['1.1.1.1'],
	OomKillDisable: true,
};

for (const [field, value] of Object.entries(OPENINGS)) {
	test(`HostConfig.${field} that nobody asked for is named`, () => {
		const sentence = findDrift(ASKED, readBack({}, { [field]: value })) ?? '';
		assert.ok(sentence.startsWith(`HostConfig.${field} `), sentence);
		assert.ok(sentence.endsWith('.'), sentence);
	});
}

/** Another value of the same kind: what a daemon's default or a plugin would make of it. */
function otherThan(value: unknown): unknown {
	if (typeof value === 'boolean') return !value;
	if (typeof value === 'number') return value + 1;
	if (typeof value === 'string') return `${value}x`;
	if (Array.isArray(value)) return value.length > 0 ? value.slice(1) : ['x'];
	return {};
}

for (const [field, value] of Object.entries(ASKED.HostConfig)) {
	test(`HostConfig.${field} read back otherwise is named`, () => {
		const sentence = findDrift(ASKED, readBack({}, { [field]: otherThan(value) })) ?? '';
		assert.ok(sentence.startsWith(`HostConfig.${field} reads back as `), sentence);
	});
	if (value === false || value === 0) continue;
	test(`HostConfig.${field} not read back is named`, () => {
		const sentence = findDrift(ASKED, readBack({}, { [field]: undefined })) ?? '';
		assert.ok(sentence.startsWith(`HostConfig.${field} reads back as nothing`), sentence);
	});
}

test('an entry point other than the one that takes secrets is named', () => {
	const asked = { ...ASKED, Entrypoint: ['/bin/sh', '-c', 'shim'] };
	assert.equal(findDrift(asked, readBack({ Entrypoint: asked.Entrypoint })), undefined);
	for (const other of [undefined, [], ['/bin/sh', '-c', 'print']])
		assert.ok(findDrift(asked, readBack({ Entrypoint: other }))?.startsWith('Config.Entrypoint '));
});

test('additions within what was asked for are named: a capability kept, an option, a limit, a mount', () => {
	const [first, second] = ASKED.HostConfig.Mounts ?? [];
	for (const [field, value] of Object.entries({
		CapDrop: ['NET_RAW'],
		SecurityOpt: ['no-new-privileges:true', 'seccomp=unconfined'],
		Ulimits: [...(ASKED.HostConfig.Ulimits ?? []), { Name: 'nproc', Soft: 1, Hard: 1 }],
		Mounts: [first, second, { Type: 'bind', Source: '/', Target: '/host' }],
		Tmpfs: { '/tmp': 'rw,exec' },
		LogConfig: { Type: 'json-file', Config: {} },
		RestartPolicy: { Name: 'always', MaximumRetryCount: 0 },
	})) {
		assert.ok(findDrift(ASKED, readBack({}, { [field]: value }))?.startsWith(`HostConfig.${field} `), field);
	}
	assert.ok(
		findDrift(ASKED, readBack({}, { Mounts: [{ ...first, ReadOnly: false }, second] }))?.startsWith(
			'HostConfig.Mounts ',
		),
	);
});

for (const [field, value] of Object.entries({
	Image: 'sha256:b',
	Cmd: ['other'],
	User: '0:0',
	Tty: true,
	OpenStdin: false,
	StdinOnce: false,
	StopSignal: 'SIGKILL',
	StopTimeout: 600,
	Labels: {},
})) {
	test(`Config.${field} read back otherwise is named`, () => {
		assert.ok(findDrift(ASKED, readBack({ [field]: value }))?.startsWith(`Config.${field} reads back as `));
	});
}

test('a changed label is drift, an environment without ours too, and neither tells values of it', () => {
	assert.match(
		findDrift(ASKED, readBack({ Labels: { ...ASKED.Labels, 'dev.slipway.boot': 'x' } })) ?? '',
		/^Config\.Labels /,
	);
	assert.equal(findDrift(ASKED, readBack({ Env: ['PATH=/bin'] })), 'Config.Env reads back without what was asked for.');
	assert.equal(findDrift(ASKED, readBack({ Env: null })), 'Config.Env reads back without what was asked for.');
});

test('a mount that nobody asked for is named by its place', () => {
	assert.equal(
		findDrift(ASKED, readBack({}, {}, [{ Type: 'volume', Destination: '/var/lib/x' }])),
		'There is a mount at /var/lib/x that nobody asked for.',
	);
});

test('the sentence is no longer than a person reads', () => {
	assert.ok((findDrift(ASKED, readBack({ Cmd: ['x'.repeat(10_000)] })) ?? '').length < 300);
});
