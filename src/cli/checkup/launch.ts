/** A real launch: a tiny container, made as those of servers are, which says what it finds inside. */
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import type { Config } from '../../config.ts';
import { startContainer } from '../../docker/container.ts';
import { inspectImage, type PreparedImage } from '../../docker/images.ts';
import { inspectSelf } from '../../docker/self.ts';
import { buildSpec } from '../../docker/spec.ts';
import { toSlipwayError } from '../../errors.ts';
import type { InstanceId } from '../../ids.ts';
import { CLI_LIMITS } from '../../limits.ts';
import { isObject, own } from '../../mcp/jsonrpc.ts';
import { formatBytes, formatDuration } from '../terminal.ts';
import { serverOf } from '../trial.ts';
import type { Workbench } from '../workbench.ts';
import { broken, type Finding, ok, warning } from './finding.ts';

const CHECK = 'launch';

/** Runs inside. It says one line, once it was told one. */
const PROGRAM = `
const { readFileSync, statfsSync, writeFileSync } = require('node:fs');
const { getuid, stdin } = require('node:process');
const status = readFileSync('/proc/self/status', 'utf8');
const field = (name) => new RegExp('^' + name + ':\\\\s+(\\\\S+)', 'm').exec(status)?.[1];
let root = 'writable';
try { writeFileSync('/slipway', ''); } catch (error) { root = error.code; }
const { bavail, bsize } = statfsSync('/');
stdin.once('data', (echo) => console.log(JSON.stringify({
	uid: getuid(), seccomp: field('Seccomp'), noNewPrivileges: field('NoNewPrivs'), capabilities: field('CapEff'),
	root, freeBytes: bavail * bsize, echo: String(echo).trim(),
})));
`;

/** What to do when a container is not as it was asked for. */
const ADVICE = Object.freeze({
	why: 'Servers would run with more than the catalog gives them.',
	fix: 'Look for daemon defaults, plugins and runtimes that change containers: docker info, daemon.json.',
});

export async function checkLaunch(bench: Workbench, config: Config): Promise<Finding[]> {
	const image = await findImage(bench, config);
	if (image === undefined)
		return [
			warning(CHECK, `there is no ${config.nodeImage} yet to start a container of`, {
				why: 'It is pulled when the first npm package is prepared, and until then no start can be tried.',
				fix: `docker pull ${config.nodeImage}`,
			}),
		];
	const startedAtMs = performance.now();
	try {
		const said = await launch(bench, image);
		return [judgeInside(said, performance.now() - startedAtMs), judgeDisk(said)];
	} catch (error) {
		const { message, row } = toSlipwayError(error);
		return [broken(CHECK, message, { why: 'No server can be started like this.', fix: row.nextStep })];
	}
}

/** Our own image where we run in one: it is there for sure, and has Node. */
async function findImage({ engine }: Workbench, { nodeImage }: Config): Promise<PreparedImage | undefined> {
	const self = await inspectSelf(engine);
	return inspectImage(engine, self?.imageId ?? nodeImage);
}

async function launch({ dependencies, gateway, boot, books }: Workbench, image: PreparedImage): Promise<object> {
	const instance = randomUUID() as InstanceId;
	const server = serverOf('slipway-doctor', { image: 'slipway-doctor:1' });
	const spec = buildSpec(server, image, { gateway, boot, instance, mountPlaces: [], volumeNames: [] });
	const body = { ...spec.body, Entrypoint: ['node', '-e', PROGRAM], Cmd: [] };
	const signal = AbortSignal.timeout(CLI_LIMITS.doctorLaunchTimeoutMs);
	books.add(instance);
	const channel = await startContainer(dependencies, { ...spec, body }, signal);
	try {
		signal.addEventListener('abort', () => void channel.stop('prompt'), { once: true });
		channel.stream.write(`${instance}\n`);
		for await (const line of createInterface({ input: channel.stream })) {
			const said: unknown = JSON.parse(line);
			if (isObject(said) && own(said, 'echo') === instance) return said;
		}
		const { stderr } = await channel.ended;
		throw new Error(`it said nothing but ${stderr.slice(0, CLI_LIMITS.describedCharsMax)}`);
	} finally {
		await channel.stop('prompt');
		books.delete(instance);
	}
}

function judgeInside(said: object, tookMs: number): Finding {
	const wrong = [
		own(said, 'uid') === 0 ? 'is root' : '',
		own(said, 'noNewPrivileges') === '1' ? '' : 'may gain privileges',
		/^0+$/.test(String(own(said, 'capabilities'))) ? '' : 'has capabilities',
		own(said, 'root') === 'writable' ? 'may write its root' : '',
	].filter((flaw) => flaw !== '');
	if (wrong.length > 0) return broken(CHECK, `a container ${wrong.join(', ')}`, ADVICE);
	if (own(said, 'seccomp') !== '2') return warning(CHECK, 'system calls of a container are not filtered', ADVICE);
	return ok(CHECK, `a hardened container started, answered and went in ${formatDuration(tookMs)}`);
}

/** The root of a container is on the disk of the engine. */
function judgeDisk(said: object): Finding {
	return judgeFree("the engine's disk", Number(own(said, 'freeBytes')));
}

/** @param freeBytes what is left for whoever is not root */
export function judgeFree(what: string, freeBytes: number): Finding {
	const free = `${formatBytes(freeBytes)} free on ${what}`;
	if (freeBytes >= CLI_LIMITS.diskFreeBytesMin) return ok('disk', free);
	const advice = {
		why: 'Images cannot be made, and what is kept cannot be written, once there is no room.',
		fix: 'Make room: docker system df tells what takes it.',
	};
	return freeBytes >= CLI_LIMITS.diskFullBytesMin ? warning('disk', free, advice) : broken('disk', free, advice);
}
