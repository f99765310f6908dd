/**
 * A Docker Engine that a test may kill: a real one, in a container of its own, with its own data.
 *
 * Its socket is on a volume that only containers can mount, and a test may run in a container that has nothing but the
 * socket of the engine outside. So there is a second container, which has Node and that volume, and its stdio is the way
 * to the socket (relayed-socket.ts). Both containers read stdin and end with it: they do not outlive the test.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { attach } from '../../src/docker/attach.ts';
import { FrameDemultiplexer } from '../../src/docker/frames.ts';
import { LABELS } from '../../src/docker/labels.ts';
import type { ContainerId } from '../../src/ids.ts';
import { STDIO_LIMITS } from '../../src/limits.ts';
import { docker, ENGINE_SOCKET, neverAborted, removed, until, within } from './engine-bench.ts';
import { fixtureImage } from './fixtures.ts';
import { RelayedSocket } from './relayed-socket.ts';

const ENGINE_IMAGE = 'docker:28-dind';
/** On all that is made on the engine outside. */
const LABEL = 'dev.slipway.test.disposable-engine';
const SHARED = '/engine';
const SOCKET = `${SHARED}/d.sock`;
const DATA = '/var/lib/docker';
const LOG = `${SHARED}/dockerd.log`;

/** Node and the fixtures that need no package, out of the image of this test run: a quarter of its size. */
const SMALL_IMAGE = 'slipway-test:small';
const PACK = `tar -C / -chf ${SHARED}/image.tar $(ldd /usr/local/bin/node | grep -o '/[^ )]*') /usr/local/bin/node /app/test/fixtures 2>&1`;

/**
 * Without a bridge and without rules for the kernel's firewall: servers have no network, and it starts at once.
 * On cgroups of version 2 what is in the root of the container's own must leave it, or no limit can be set below.
 * `container` tells an engine that it is in one, where AppArmor is not its to load.
 */
const START = `
export container=docker
if [ -e /sys/fs/cgroup/cgroup.controllers ] && [ ! -e /sys/fs/cgroup/outside ]; then
  mkdir /sys/fs/cgroup/outside
  until sed -e 's/ / +/g' -e 's/^/+/' < /sys/fs/cgroup/cgroup.controllers > /sys/fs/cgroup/cgroup.subtree_control; do
    xargs -rn1 < /sys/fs/cgroup/cgroup.procs > /sys/fs/cgroup/outside/cgroup.procs || true
  done
fi
rm -f /var/run/docker.pid
exec dockerd -H unix://${SOCKET} --data-root ${DATA} --bridge=none --iptables=false --ip6tables=false --ip-forward=false`;
const PID = '$(cat /var/run/docker.pid)';

export interface DisposableEngineOptions {
	/** Its data is in memory then, and that is all the room there is. */
	readonly diskBytes?: number;
}

interface Parts {
	readonly box: Docker.Container;
	readonly relay: Docker.Container;
	readonly socket: RelayedSocket;
	readonly owned: AsyncDisposableStack;
}

export class DisposableEngine {
	/** The way to it; the file that a launcher is told of is `socket.path`. */
	readonly socket: RelayedSocket;
	/** Its API. */
	readonly docker: Docker;
	/** What it calls the image in which fixtures without packages run. */
	readonly image = SMALL_IMAGE;
	readonly #box: Docker.Container;
	readonly #relay: Docker.Container;
	readonly #owned: AsyncDisposableStack;

	private constructor({ box, relay, socket, owned }: Parts) {
		this.#box = box;
		this.#relay = relay;
		this.socket = socket;
		this.docker = new Docker({ socketPath: socket.path });
		this.#owned = owned;
	}

	/** An engine that answers and has `image`. */
	static async start({ diskBytes }: DisposableEngineOptions = {}): Promise<DisposableEngine> {
		await assertEngineImage();
		await using owned = new AsyncDisposableStack();
		const name = `slipway-engine-${randomBytes(6).toString('hex')}`;
		const Labels = { [LABEL]: name };
		const folder = await mkdtemp(join(tmpdir(), 'slipway-engine-'));
		owned.defer(() => rm(folder, { recursive: true }));
		await docker.createVolume({ Name: name, Labels });
		owned.defer(() => docker.getVolume(name).remove());
		const stdio = { OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true, AttachStderr: true };
		const HostConfig = {
			AutoRemove: true,
			Init: true,
			NetworkMode: 'none',
			LogConfig: { Type: 'none', Config: {} },
			Binds: [`${name}:${SHARED}`],
		};
		const box = await docker.createContainer({
			name,
			Image: ENGINE_IMAGE,
			Labels,
			...stdio,
			// Not dockerd: it is to die, and what it leaves behind is to live.
			Entrypoint: ['cat'],
			HostConfig: {
				...HostConfig,
				Privileged: true,
				...(diskBytes === undefined ? {} : { Tmpfs: { [DATA]: `exec,dev,suid,size=${diskBytes}` } }),
			},
		});
		owned.defer(() => remove(box));
		const held = await attach(ENGINE_SOCKET, box.id as ContainerId, neverAborted());
		owned.defer(() => void held.destroy());
		await box.start();
		const relay = await docker.createContainer({
			name: `${name}-relay`,
			Image: await fixtureImage(),
			Labels,
			...stdio,
			Cmd: ['node', '/app/test/support/engine-relay.ts', SOCKET],
			HostConfig,
		});
		owned.defer(() => remove(relay));
		const socket = await within(RelayedSocket.open(relay, join(folder, 'engine.sock')), 'the relay');
		owned.defer(() => socket.close());
		const engine = new DisposableEngine({ box, relay, socket, owned: owned.move() });
		try {
			await Promise.all([engine.up(), run(relay, PACK)]);
			await engine.run(`docker import ${SHARED}/image.tar ${SMALL_IMAGE} && rm ${SHARED}/image.tar`);
		} catch (error) {
			await engine[Symbol.asyncDispose]();
			throw error;
		}
		return engine;
	}

	/** Starts dockerd, and resolves when it answers. */
	async up({ liveRestore = false }: { liveRestore?: boolean } = {}): Promise<void> {
		const options = liveRestore ? ' --live-restore' : '';
		const exec = await this.#box.exec({ Cmd: ['sh', '-c', `${START}${options} >>${LOG} 2>&1`] });
		(await exec.start({ Detach: true })).resume();
		const isUp = (): Promise<boolean> =>
			this.docker.ping().then(
				() => true,
				() => false,
			);
		await until('the engine answers', isUp).catch(async (error: unknown) => {
			throw new Error(`dockerd says: ${await this.run(`tail -20 ${LOG}`)}`, { cause: error });
		});
	}

	/** Whatever was done to it: it runs. */
	async revive(): Promise<void> {
		await this.socket.appear();
		await this.resume().catch(() => this.up());
	}

	/** From now on it takes connections and answers nothing on them, and moves no byte of those that there are. */
	async pause(): Promise<void> {
		await this.run(`kill -STOP ${PID}`);
	}

	async resume(): Promise<void> {
		await this.run(`kill -CONT ${PID}`);
	}

	/** SIGKILL. Resolves when it is gone, and its containerd with it; containers live on until somebody ends them. */
	async kill(): Promise<void> {
		await this.run(`
			pids="${PID} $(cat /var/run/docker/containerd/containerd.pid)"
			kill -9 ${PID}
			for pid in $pids; do while kill -0 $pid 2>/dev/null; do sleep 0.02; done; done
			rm -f /var/run/docker.pid`);
	}

	/** Takes all the room that its data has. */
	async fillDisk(): Promise<void> {
		await this.run(`cat /dev/zero >${DATA}/filling 2>/dev/null || true`);
	}

	async emptyDisk(): Promise<void> {
		await this.run(`rm ${DATA}/filling`);
	}

	/** Its containers that carry the id, running or not. */
	containersOf(gatewayId: string): Promise<Docker.ContainerInfo[]> {
		const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] });
		return this.docker.listContainers({ all: true, filters });
	}

	/** Runs a shell script where dockerd is, whose `docker` is this engine's, and returns what it printed. */
	run(script: string): Promise<string> {
		return run(this.#box, script);
	}

	/**
	 * Has it tell of so many things that happen to one container, and then of the deaths of others. Resolves when that
	 * has begun, with the way to wait for its end: it needs nothing of this process.
	 */
	async burst(events: number, living: string, dying: readonly string[]): Promise<() => Promise<void>> {
		const Cmd = ['node', '/app/test/support/event-burst.ts', SOCKET, String(events), living, ...dying];
		const exec = await this.#relay.exec({ Cmd });
		(await exec.start({ Detach: true })).resume();
		return async () => {
			await until('the burst is over', async () => !(await exec.inspect()).Running);
			assert.equal((await exec.inspect()).ExitCode, 0);
		};
	}

	/** Leaves nothing on the engine outside. */
	async [Symbol.asyncDispose](): Promise<void> {
		await this.#owned.disposeAsync();
	}
}

async function assertEngineImage(): Promise<void> {
	try {
		await docker.getImage(ENGINE_IMAGE).inspect();
	} catch (error) {
		const help = `docker pull ${ENGINE_IMAGE}, or where no registry answers: scripts/base-image ${ENGINE_IMAGE}`;
		throw new Error(`These tests need the image ${ENGINE_IMAGE}: ${help}`, { cause: error });
	}
}

/** Runs a shell script in a container, and returns what it printed. */
async function run(container: Docker.Container, script: string): Promise<string> {
	const exec = await container.exec({
		Cmd: ['sh', '-c', script],
		Env: [`DOCKER_HOST=unix://${SOCKET}`],
		AttachStdout: true,
		AttachStderr: true,
	});
	const stream = await exec.start({ hijack: true });
	const chunks: Buffer[] = [];
	const sink = (chunk: Buffer): void => void chunks.push(chunk);
	const invalid = (reason: string): void => void stream.destroy(new Error(reason));
	const frames = new FrameDemultiplexer({ stdout: sink, stderr: sink, invalid }, STDIO_LIMITS.frameBytesMax);
	stream.on('data', (chunk: Buffer) => frames.push(chunk));
	await once(stream, 'end');
	const printed = Buffer.concat(chunks).toString();
	const { ExitCode } = await exec.inspect();
	if (ExitCode !== 0) throw new Error(`${script}: exit code ${ExitCode}: ${printed}`);
	return printed;
}

async function remove(container: Docker.Container): Promise<void> {
	// It may be on its way out by itself: then this is refused.
	await container.remove({ force: true, v: true }).catch((error: { statusCode?: number }) => {
		if (error.statusCode !== 404 && error.statusCode !== 409) throw error;
	});
	await removed(container.id);
}
