/** Images that ask for more than Slipway gives, or for something else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel } from '../../src/channel.ts';
import { DEADLINE_MS, docker, NODE_IMAGE, openBench, refusedWith, within } from '../support/engine-bench.ts';
import { buildImage, removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';

/** A server without MCP: it tells what it sees in one line of JSON, and lives until the end of stdin. */
const TELL = `const fs=require('fs');const t={uid:process.getuid(),gid:process.getgid(),groups:process.getgroups(),cwd:process.cwd(),argv:process.argv.slice(2),health:fs.existsSync('/data/healthy'),write:{}};
for(const p of ['/data','/var/cache/deep','/tmp']){try{const f=fs.openSync(p+'/x','w');let n=0;const b=Buffer.alloc(1<<20);try{for(;n<64;n++)if(fs.writeSync(f,b)<b.length)break}catch(e){t.write[p]=[n,e.code]}fs.closeSync(f);t.write[p]??=[n];fs.rmSync(p+'/x')}catch(e){t.write[p]=e.code}}
console.log(JSON.stringify(t));process.stdin.resume().on('end',()=>process.exit(0));process.on('SIGTERM',()=>process.exit(43));process.on('SIGUSR1',()=>process.exit(44));`;

interface Told {
	readonly uid: number;
	readonly gid: number;
	readonly groups: readonly number[];
	readonly cwd: string;
	readonly argv: readonly string[];
	readonly write: Readonly<Record<string, unknown>>;
}

async function told({ stream }: Channel): Promise<Told> {
	let text = '';
	const line = new Promise<string>((resolve) => {
		stream.on('data', (chunk: Buffer) => {
			text += chunk;
			if (text.includes('\n')) resolve(text);
		});
	});
	return JSON.parse(await within(line, 'the line'));
}

test('VOLUME, HEALTHCHECK, USER root, STOPSIGNAL, EXPOSE and a shell ENTRYPOINT change nothing', async () => {
	await using made = await buildImage(
		[
			`FROM ${NODE_IMAGE}`,
			'COPY tell.cjs /tell.cjs',
			'RUN mkdir -p /data /var/cache/deep && chmod 777 /data /var/cache/deep && echo of the image >/data/file',
			'VOLUME /data /var/cache/deep/',
			'HEALTHCHECK --interval=1s --start-interval=1s CMD touch /data/healthy',
			'USER root',
			'STOPSIGNAL SIGUSR1',
			'EXPOSE 8080',
			'ENTRYPOINT exec node /tell.cjs',
			'ENV FROM_IMAGE=1',
		].join('\n'),
		{ 'tell.cjs': TELL },
	);
	await using bench = await openBench([server('odd', { kind: 'image', reference: made.reference })]);
	const volumesBefore = (await docker.listVolumes()).Volumes.map(({ Name }) => Name);
	const channel = await bench.launch('odd');
	const { uid, gid, groups, write } = await told(channel);
	assert.equal(uid, 65_532);
	assert.equal(gid, 65_532);
	assert.ok(
		groups.every((group) => group >= 10_000),
		String(groups),
	);
	// 32 MiB each, and then no more: memory, not the host's disk.
	assert.deepEqual(write['/data'], [32, 'ENOSPC']);
	assert.deepEqual(write['/var/cache/deep'], [32, 'ENOSPC']);

	const { Config, HostConfig, Mounts, State, NetworkSettings } = await bench.inspect(channel);
	assert.deepEqual(Object.keys(HostConfig.Tmpfs ?? {}).sort(), ['/data', '/tmp', '/var/cache/deep']);
	for (const options of Object.values(HostConfig.Tmpfs ?? {}))
		assert.match(options, /noexec,nosuid,nodev,size=33554432/);
	assert.deepEqual(
		Mounts.filter(({ Type }) => Type !== 'tmpfs'),
		[],
	);
	assert.deepEqual(Config.Healthcheck?.Test, ['NONE']);
	assert.equal(State.Health?.Status ?? 'none', 'none');
	assert.equal(Reflect.get(Config, 'StopSignal'), 'SIGTERM');
	assert.deepEqual(HostConfig.PortBindings ?? {}, {});
	assert.deepEqual(
		Object.values(NetworkSettings.Ports ?? {}).filter((bound) => bound !== null),
		[],
	);
	await within(channel.stop('prompt'), 'the stop');
	const volumesAfter = (await docker.listVolumes()).Volumes.filter(
		({ Name, Labels }) => !volumesBefore.includes(Name) && 'com.docker.volume.anonymous' in (Labels ?? {}),
	);
	assert.deepEqual(volumesAfter, []);
});

test('a user name that the image makes root is no way to be root', async () => {
	await using made = await buildImage(
		[
			`FROM ${NODE_IMAGE}`,
			'COPY tell.cjs /tell.cjs',
			"RUN echo 'mcp:x:0:0::/:/bin/sh' >>/etc/passwd && echo '65532:x:0:0::/:/bin/sh' >>/etc/passwd && echo '65532:x:0:' >>/etc/group",
			'USER mcp',
			'CMD ["node", "/tell.cjs"]',
		].join('\n'),
		{ 'tell.cjs': TELL },
	);
	await using bench = await openBench([server('named', { kind: 'image', reference: made.reference })]);
	const { uid, gid } = await told(await bench.launch('named'));
	// An image can name its users as it likes: a number stays a number.
	assert.ok(uid >= 10_000 && gid >= 10_000, `uid ${uid}, gid ${gid}`);
});

test('command and args take the place of the image’s own, in its working directory', async () => {
	await using made = await buildImage(
		[
			`FROM ${NODE_IMAGE}`,
			'COPY tell.cjs /srv/tell.cjs',
			'WORKDIR /srv',
			'ENTRYPOINT ["node", "tell.cjs"]',
			'CMD ["of-image"]',
		].join('\n'),
		{ 'tell.cjs': TELL },
	);
	const source = { kind: 'image', reference: made.reference } as const;
	await using bench = await openBench([
		server('own', source),
		server('given', source, {
			command: ['one'],
			args: ['two words', '$(id)', '--'],
			user: { uid: 20_000, gid: 20_001 },
		}),
	]);
	assert.deepEqual((await told(await bench.launch('own'))).argv, ['of-image']);
	const given = await told(await bench.launch('given'));
	assert.deepEqual(given.argv, ['one', 'two words', '$(id)', '--']);
	assert.equal(given.cwd, '/srv');
	assert.deepEqual([given.uid, given.gid], [20_000, 20_001]);
});

test('a command that is not there, or is no program: exit 127 or 126 with the reason on stderr, or refused', async () => {
	await using made = await buildImage([`FROM ${NODE_IMAGE}`, 'ENTRYPOINT []', 'CMD ["node"]'].join('\n'));
	const source = { kind: 'image', reference: made.reference } as const;
	await using bench = await openBench([
		server('absent', source, { command: ['/no/such/program'] }),
		server('noprogram', source, { command: ['/etc/hostname'] }),
	]);
	for (const [name, code] of [
		['absent', 127],
		['noprogram', 126],
	] as const) {
		const channel = await bench.launch(name);
		channel.stream.resume();
		const { cause, exitCode, stderr } = await within(channel.ended, 'the end');
		assert.deepEqual({ cause, exitCode }, { cause: 'exited', exitCode: code });
		assert.notEqual(stderr, '');
	}
});

test('an image with no command is refused, and one that declares a volume where none can be covered', async () => {
	await using empty = await buildImage([`FROM ${NODE_IMAGE}`, 'ENTRYPOINT []', 'CMD []'].join('\n'));
	await using hostile = await buildImage([`FROM ${NODE_IMAGE}`, 'VOLUME ["/data/../etc"]'].join('\n'));
	const entries = [
		server('empty', { kind: 'image', reference: empty.reference }),
		server('hostile', { kind: 'image', reference: hostile.reference }),
	];
	await using bench = await openBench(entries);
	await refusedWith('SLIPWAY_COMMAND_INVALID', bench.launch('empty'));
	const outcome = await bench.launch('hostile').catch((error: { code?: string }) => error.code);
	if (outcome !== 'SLIPWAY_IMAGE_REFUSED') {
		// The engine put the path right when it built the image: then it is covered.
		const { HostConfig, Mounts } = await bench.inspect(outcome as Channel);
		assert.deepEqual(
			Mounts.filter(({ Type }) => Type !== 'tmpfs'),
			[],
		);
		assert.ok('/etc' in (HostConfig.Tmpfs ?? {}));
	}
});

test('an image that no registry has: refused with its name, and remembered', async () => {
	const reference = 'slipway-bench/no-such-image:1.0.0';
	await using bench = await openBench([server('missing', { kind: 'image', reference })]);
	const error = await refusedWith(
		'SLIPWAY_IMAGE_MISSING',
		within(
			bench.launcher.launch('missing' as Channel['server'], new AbortController().signal, 'test'),
			'the refusal',
			3 * DEADLINE_MS,
		),
	);
	assert.ok(error.details.reason?.includes(reference), error.message);
	assert.equal(error.details.server, 'missing');
	const view = bench.launcher.state.servers[0]?.preparation;
	assert.equal(view?.kind, 'failed');
	const startedAt = performance.now();
	await refusedWith('SLIPWAY_IMAGE_MISSING', bench.launch('missing'));
	assert.ok(performance.now() - startedAt < 1_000);
});

test('an image that is removed behind our back is looked for again at the next launch', async () => {
	const reference = 'slipway-bench/tagged:1';
	const dockerfile = [`FROM ${NODE_IMAGE}`, 'COPY tell.cjs /tell.cjs', 'ENTRYPOINT ["node", "/tell.cjs"]'].join('\n');
	try {
		const first = await buildImage(dockerfile, { 'tell.cjs': TELL }, reference);
		await using bench = await openBench([server('moving', { kind: 'image', reference })]);
		const one = await bench.launch('moving');
		await told(one);
		await within(one.stop('prompt'), 'the stop');
		await removeImage(first.id);
		const second = await buildImage(dockerfile, { 'tell.cjs': `${TELL}\n// another` }, reference);
		assert.notEqual(second.id, first.id);
		const [two, three] = await Promise.all([bench.launch('moving'), bench.launch('moving')]);
		for (const channel of [two, three]) assert.equal((await bench.inspect(channel)).Image, second.id);
		const view = bench.launcher.state.servers[0]?.preparation;
		assert.equal(view?.kind === 'ready' ? view.imageId : '', second.id);
	} finally {
		await removeImage(reference);
	}
});
