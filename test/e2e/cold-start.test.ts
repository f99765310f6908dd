/** Many want a server that nobody has started yet, and who wants it may go away while it starts. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { ModernClient } from '../support/client-modern.ts';
import { RawClient, textOf } from '../support/client-raw.ts';
import { until } from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { Inbox } from '../support/inbox.ts';
import { type Stack, startStack } from '../support/stack.ts';

const CALLERS = 50;
const ISOLATIONS = ['session', 'principal', 'shared'] as const;
const START = /^POST [^ ]*\/containers\/[0-9a-f]+\/start/;

let stack: Stack;
let events: Readable;
/** The servers of the containers that the engine made, in order. */
const made = new Inbox<string>('the making of a container');
const docker = new Docker();
const proxy = new EngineProxy(join(tmpdir(), `slipway-cold-${randomBytes(6).toString('hex')}.sock`));

before(async () => {
	await proxy.open();
	const image = await fixtureImage();
	const command = ['conversation.ts'];
	// What it does not do by itself has to be done to it.
	const stubborn = ['misbehaving.ts', 'ignore-eof-and-term'];
	const silent = ['misbehaving.ts', 'silent'];
	// Of those that are shared there would be another one for so much work.
	const replicas = { min: 0, max: 1 };
	stack = await startStack({
		dockerSocket: proxy.socketPath,
		catalog: catalogOf(
			fixture('wanted-by-principal', image, command, { isolation: 'principal' }),
			fixture('wanted-by-shared', image, command, { isolation: 'shared', replicas }),
			...['marks-principal', 'marks-shared'].map((name) => fixture(name, image, command)),
			fixture('left-by-session', image, stubborn),
			fixture('left-by-principal', image, stubborn, { isolation: 'principal' }),
			fixture('left-by-shared', image, stubborn, { isolation: 'shared', replicas }),
			fixture('silent-to-session', image, silent),
			fixture('silent-to-principal', image, silent, { isolation: 'principal' }),
			fixture('silent-to-shared', image, silent, { isolation: 'shared', replicas }),
		),
	});
	const label = [`${LABELS.gateway}=${stack.gatewayId}`];
	const filters = JSON.stringify({ type: ['container'], event: ['create'], label });
	events = (await docker.getEvents({ filters })) as Readable;
	createInterface({ input: events }).on('line', (line) => made.push(JSON.parse(line).Actor.Attributes[LABELS.server]));
});
after(async () => {
	events.destroy();
	try {
		// Fails when a container is left.
		await stack.stop();
	} finally {
		await proxy.close();
	}
});

async function containersOf(server: string): Promise<Docker.ContainerInfo[]> {
	return (await stack.containers()).filter(({ Labels }) => Labels[LABELS.server] === server);
}

describe(`${CALLERS} callers of both eras at once, of a server that is cold`, () => {
	for (const isolation of ['principal', 'shared'] as const) {
		test(`${isolation}: one container is made, and all are answered`, async () => {
			const server = `wanted-by-${isolation}`;
			const url = stack.endpoint(server);
			const callers = Array.from({ length: CALLERS }, (_, index) => index);
			const answers = await Promise.all(
				callers.map(async (index) => {
					if (index % 2 === 0) return textOf(await new ModernClient(url).call('echo', { text: `${index}` }));
					const raw = new RawClient(url);
					await raw.open();
					return textOf(await raw.call('echo', { text: `${index}` }));
				}),
			);
			assert.deepEqual(answers, callers.map(String));
			// Events come in order: with that of a container that was asked for later, all of these were told of.
			await new RawClient(stack.endpoint(`marks-${isolation}`)).open();
			await made.first((name) => name === `marks-${isolation}`);
			assert.equal(made.items.filter((name) => name === server).length, 1);
		});
	}
});

/** Several that wait for a server. Resolves when all of them have hung up. */
function waitFor(server: string): () => Promise<void> {
	const gone = new AbortController();
	const waiting = Array.from({ length: 3 }, () => {
		const raw = new RawClient(stack.endpoint(server));
		const params = { protocolVersion: raw.revision, capabilities: {}, clientInfo: { name: 'raw', version: '1' } };
		return raw.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params }, { signal: gone.signal });
	});
	return async () => {
		gone.abort();
		// On a slow machine they have a stream already, which ends with them.
		await Promise.allSettled(waiting);
	};
}

describe('a start whose last waiter has left', { concurrency: false }, () => {
	for (const isolation of ISOLATIONS) {
		test(`${isolation}: what comes of it is ended, and who comes next has another`, async () => {
			const server = `left-by-${isolation}`;
			const held = proxy.hold(START);
			const leave = waitFor(server);
			await held.came;
			const [first] = await containersOf(server);
			assert.equal(first?.State, 'created');
			await leave();
			// The engine is asked to start what nobody wants any more.
			held.release();
			await until('nothing is left of it', async () => (await containersOf(server)).length === 0);
			const raw = new RawClient(stack.endpoint(server));
			await raw.open();
			assert.equal(textOf(await raw.call('echo', { text: 'next' })), 'next');
			const [next] = await containersOf(server);
			assert.notEqual(next?.Id, first?.Id);
			assert.equal(await raw.end(), 200);
		});
	}

	for (const isolation of ISOLATIONS) {
		test(`${isolation}: of a server that runs and has not said a word: it is ended, long before its time is over`, async () => {
			const server = `silent-to-${isolation}`;
			const leave = waitFor(server);
			await until('it runs', async () => (await containersOf(server)).some(({ State }) => State === 'running'));
			await leave();
			await until('nothing is left of it', async () => (await containersOf(server)).length === 0);
		});
	}
});
