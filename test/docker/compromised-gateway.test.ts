/**
 * A gateway that somebody has taken over, against a real launcher: whoever it is has the socket, and sends what it wants.
 * What a launcher must go on being then: small, alive, and of use to the gateway that takes this one's place.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { LABELS } from '../../src/docker/labels.ts';
import type { ServerName } from '../../src/ids.ts';
import { LAUNCHER_LIMITS } from '../../src/limits.ts';
import { containersOf, docker, NODE_IMAGE, openBench, until, within } from '../support/engine-bench.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage } from '../support/fixtures.ts';
import { get, type Heard, launchOf, type StolenGateway, stealGateway } from '../support/stolen-gateway.ts';

const image = await fixtureImage();
const MIB = 1024 ** 2;

/** Answers, ends at the end of stdin. */
const plain = { image, command: ['node', '/app/test/fixtures/misbehaving.ts', 'crlf'] };
const cat = { image: NODE_IMAGE, command: ['cat'] };

/** What the launcher may have open beside what an attack makes it: its own, and one after another of the engine's. */
const SPARE_DESCRIPTORS = 40;

async function instanceOf(heard: Heard): Promise<string> {
	return (await heard.says(/slipway-instance: ([0-9a-f-]{36})/))[1] ?? '';
}

/** The code of the error that a connection was told. */
async function codeOf(heard: Heard): Promise<string> {
	await within(heard.over, 'the refusal');
	return /"code":"(\w+)"/.exec(heard.text())?.[1] ?? heard.text().split('\r\n')[0] ?? '';
}

/** Watches the engine: the most containers of a gateway that there were at a time. */
async function watchContainers(gatewayId: string): Promise<{ most(): number; [Symbol.dispose](): void }> {
	const filters = { type: ['container'], event: ['create', 'destroy'], label: [`${LABELS.gateway}=${gatewayId}`] };
	const events = await docker.getEvents({ filters: JSON.stringify(filters) });
	const there = new Set<string>();
	let most = 0;
	let held = '';
	events.on('data', (chunk: Buffer) => {
		held += chunk;
		const lines = held.split('\n');
		held = lines.pop() ?? '';
		for (const line of lines) {
			const { Action, Actor }: { Action: string; Actor: { ID: string } } = JSON.parse(line);
			if (Action === 'create') there.add(Actor.ID);
			else there.delete(Actor.ID);
			most = Math.max(most, there.size);
		}
	});
	return { most: () => most, [Symbol.dispose]: () => (events as unknown as { destroy(): void }).destroy() };
}

test('what is no request, or has no end, costs a connection and nothing else', async () => {
	await using stolen = await stealGateway({ plain });
	const before = stolen.memoryMib();
	const deep = `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`;
	const whole = [
		Buffer.alloc(MIB, 'A'),
		`GET /${'x'.repeat(MIB)} HTTP/1.1\r\n\r\n`,
		`GET /v1/report HTTP/1.1\r\n${Array.from({ length: 100_000 }, (_, n) => `a${n}: b\r\n`).join('')}\r\n`,
		`BREW /v1/launch/plain HTTP/1.1\r\nHost: x\r\n\r\n`,
		`POST /v1/launch/plain HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n${deep}`,
		launchOf('__proto__'),
		launchOf('constructor'),
		launchOf('..%2f..%2fcontainers%2fcreate'),
		launchOf('plain', `Slipway-Caller: ${'c'.repeat(LAUNCHER_LIMITS.callerCharsMax + 1)}`),
	];
	for (const bytes of whole) {
		const heard = await stolen.insist(bytes);
		await within(heard.over, `the end of ${String(bytes).slice(0, 40)}`);
		assert.doesNotMatch(heard.text(), /^HTTP\/1\.1 [12]/, String(bytes).slice(0, 40));
	}
	// What never comes to its end is cut when its time is over: the head of a request, and a body, sent drop by drop.
	const endless = [
		await stolen.insist('GET /v1/report HTTP/1.1\r\nX: '),
		await stolen.insist(),
		await stolen.insist(
			`POST /v1/instances/${'0'.repeat(36)}/stop?patience=patient HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`,
		),
	];
	const dripping = setInterval(() => {
		for (const { socket } of endless) if (socket.writable) socket.write('1\r\n1\r\n');
	}, 200);
	try {
		await within(Promise.all(endless.map(({ over }) => over)), 'their end');
	} finally {
		clearInterval(dripping);
	}
	await stolen.servesHonestly('plain');
	assert.ok(stolen.memoryMib() - before < 100, `${before} MiB before, ${stolen.memoryMib()} after`);
});

test('a flood of connections holds no more than there are places, and an honest gateway has one of them', async () => {
	await using stolen = await stealGateway({ plain });
	const before = { descriptors: stolen.descriptors(), memory: stolen.memoryMib() };
	const floods: readonly (readonly [what: string, bytes: string, count: number, max: number])[] = [
		['connections that say nothing', '', 2000, LAUNCHER_LIMITS.asksMax],
		['halves of a head', 'GET /v1/report HTTP/1.1\r\nX-Half: ', 2000, LAUNCHER_LIMITS.asksMax],
		['followers of the state that do not read', get('/v1/state'), 300, LAUNCHER_LIMITS.followersMax],
		['reports that nobody reads', get('/v1/report'), 300, LAUNCHER_LIMITS.reportsMax],
	];
	for (const [what, bytes, count, max] of floods) {
		for (let opened = 0; opened < count; opened += 1) {
			const heard = await stolen.insist(bytes);
			heard.socket.pause();
		}
		await stolen.servesHonestly('plain');
		const held = stolen.descriptors() - before.descriptors;
		assert.ok(held <= max + SPARE_DESCRIPTORS, `${what}: ${held} descriptors`);
		stolen.hangUp();
		await until(`${what} are gone`, () => stolen.descriptors() - before.descriptors <= SPARE_DESCRIPTORS);
	}
	assert.ok(stolen.memoryMib() - before.memory < 150, `${before.memory} MiB before, ${stolen.memoryMib()} after`);
});

test('a connection has one request: those behind one that lasts are not kept', async () => {
	await using stolen = await stealGateway({ plain, cat });
	const instance = await instanceOf(await stolen.insist(launchOf('cat')));
	// The end of an Instance that runs is waited for as long as it does.
	const behind = await stolen.insist(get(`/v1/instances/${instance}/end`).repeat(2));
	await within(behind.over, 'the end of the connection');
	const alone = await stolen.insist(get(`/v1/instances/${instance}/end`));
	assert.equal(await Promise.race([alone.over, stolen.servesHonestly('plain').then(() => 'waits')]), 'waits');
});

test('launches that are refused or given up leave nothing open, whether or not the other side closes', async () => {
	await using stolen = await stealGateway({ plain, cat });
	const before = stolen.descriptors();
	for (let time = 0; time < 200; time += 1) await codeOf(await stolen.insist(launchOf('nobody')));
	// Those that say their last while they wait, and stay.
	const launches = await Promise.all(Array.from({ length: 40 }, () => stolen.insist(launchOf('cat'))));
	for (const { socket } of launches) socket.end();
	await within(Promise.all(launches.map(({ over }) => over)), 'the ends');
	await until('nothing is open', () => stolen.descriptors() - before <= SPARE_DESCRIPTORS);
	await until('no container is left', async () => (await containersOf(stolen.gatewayId)).length === 0);
	await stolen.servesHonestly('plain');
});

test('however many launches, for whomever, there are no more Instances than may be, and all go with their connections', async () => {
	await using stolen = await stealGateway({ cat, other: cat, plain, off: { ...cat, enabled: false } }, LIMITED);
	using watch = await watchContainers(stolen.gatewayId);
	const names = ['cat', 'other', 'off', 'nobody'];
	const flood: Heard[] = [];
	for (let time = 0; time < 300; time += 1)
		flood.push(await stolen.insist(launchOf(names[time % names.length] ?? '', `Slipway-Caller: caller-${time}`)));
	const codes = new Map<string, number>();
	const settle = async (heard: Heard): Promise<void> => {
		const what = await Promise.race([
			heard.says(/slipway-instance/).then(
				() => 'started',
				() => codeOf(heard),
			),
		]);
		codes.set(what, (codes.get(what) ?? 0) + 1);
	};
	await within(Promise.all(flood.map(settle)), 'the answers', 60_000);
	assert.equal(codes.get('started'), 4);
	assert.equal(codes.get('SLIPWAY_SERVER_UNKNOWN'), 75);
	assert.equal(codes.get('SLIPWAY_SERVER_DISABLED'), 75);
	const full = (codes.get('SLIPWAY_INSTANCES_FULL') ?? 0) + (codes.get('SLIPWAY_START_QUEUE_FULL') ?? 0);
	assert.equal(full, 146, JSON.stringify([...codes]));
	assert.ok(watch.most() <= 4, `${watch.most()} containers`);

	// A storm of launches that are given up at any moment.
	for (let time = 0; time < 200; time += 1) {
		const { socket } = await stolen.insist(launchOf('cat', `Slipway-Caller: storm-${time}`));
		setTimeout(() => socket.destroy(), (time * 37) % 400);
	}
	stolen.hangUp();
	await until('no container is left', async () => (await containersOf(stolen.gatewayId)).length === 0);
	// Of a container that has ended the engine may still be at the removal when the next is made.
	assert.ok(watch.most() <= 8, `${watch.most()} containers`);
	await stolen.servesHonestly('plain');
});
const LIMITED = { SLIPWAY_INSTANCES_MAX: '4' };

test('tens of thousands of launches that are refused leave nothing of any', async () => {
	await using bench = await openBench([fixture('plain', image, ['misbehaving.ts', 'crlf'])], {
		launcher: { instancesMax: 1 },
	});
	await bench.launch('plain');
	setFlagsFromString('--expose-gc');
	const collect: () => void = runInNewContext('gc');
	const flood = async (): Promise<number> => {
		for (let time = 0; time < 20_000; time += 1) {
			const launch = bench.launcher.launch('plain' as ServerName, new AbortController().signal, `caller-${time}`);
			await assert.rejects(launch, { code: 'SLIPWAY_INSTANCES_FULL' });
			// Weak references hold until the turn ends.
			if (time % 100 === 0) await nextTurn();
		}
		await nextTurn();
		collect();
		return process.memoryUsage().heapUsed / MIB;
	};
	const before = await flood();
	const after = await flood();
	assert.ok(after - before < 8, `${before} MiB before, ${after} after`);
});

test('the quotas of one server and of a minute are the launcher’s, whatever callers there are said to be', async () => {
	await using stolen = await stealGateway(
		{ cat, other: cat },
		{ SLIPWAY_INSTANCES_PER_SERVER: '2', SLIPWAY_STARTS_PER_MINUTE: '4' },
	);
	const launch = (server: string, caller: string): Promise<Heard> =>
		stolen.insist(launchOf(server, `Slipway-Caller: ${caller}`));
	const first = await launch('cat', 'a');
	await instanceOf(first);
	await instanceOf(await launch('cat', 'b'));
	assert.equal(await codeOf(await launch('cat', 'c')), 'SLIPWAY_SERVER_INSTANCES_FULL');
	await instanceOf(await launch('other', 'd'));
	first.socket.destroy();
	await until('one has gone', async () => (await containersOf(stolen.gatewayId)).length === 2);
	await instanceOf(await launch('cat', 'e'));
	const late = await launch('other', 'f');
	assert.equal(await codeOf(late), 'SLIPWAY_START_RATE');
	const seconds = Number(/"retryAfterSeconds":(\d+)/.exec(late.text())?.[1]);
	assert.ok(seconds > 0 && seconds <= 60, late.text());
});

test('Instances that are not its own cannot be ended, heard of, or come to', async () => {
	await using other = await openBench([fixture('plain', image, ['misbehaving.ts', 'crlf'])]);
	await using stolen = await stealGateway({ plain });
	const channel = await other.launch('plain');
	const conversation = talk(channel);
	await conversation.request('ping');
	const { id } = await other.containerOf(channel);
	for (const patience of ['prompt', 'patient'])
		for (const name of [channel.instance, id.slice(0, 36), `${'.'.repeat(36)}`, '../../containers'])
			await within(
				(
					await stolen.insist(
						`POST /v1/instances/${name}/stop?patience=${patience} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
					)
				).over,
				'the answer',
			);
	const end = await stolen.insist(get(`/v1/instances/${channel.instance}/end`));
	await within(end.over, 'the answer');
	assert.match(end.text(), /\{"cause":"lost","stderr":""\}/);
	const report = await stolen.insist(get('/v1/report'));
	await within(report.over, 'the report');
	assert.match(report.text(), /\r\n\[\]\r\n/);
	await conversation.request('ping');
});

test('gigabytes into a Channel, and a server that talks to nobody: both stand still, and the launcher stays small', async () => {
	await using stolen = await stealGateway({
		plain,
		deaf: { image: NODE_IMAGE, command: ['sleep', '600'] },
		loud: { image: NODE_IMAGE, command: ['yes', 'x'.repeat(1000)] },
	});
	const deaf = await stolen.insist(launchOf('deaf'));
	await instanceOf(deaf);
	const loud = await Promise.all(Array.from({ length: 4 }, () => stolen.insist(launchOf('loud'))));
	await Promise.all(loud.map(instanceOf));
	for (const { socket } of loud) socket.pause();
	const before = stolen.memoryMib();
	const chunk = Buffer.alloc(MIB, 'x');
	// Until the kernel takes no more for longer than anything takes.
	for (let sent = 0, stands = false; !stands; sent += 1) {
		assert.ok(sent < 1024, 'a GiB was taken for a server that does not read');
		if (deaf.socket.write(chunk)) continue;
		const drained = once(deaf.socket, 'drain').then(() => false);
		stands = await Promise.race([drained, stolen.servesHonestly('plain').then(() => true)]);
	}
	assert.ok(stolen.memoryMib() - before < 100, `${before} MiB before, ${stolen.memoryMib()} after`);
});

test('connections of Instances that have ended are held by nobody for good', async () => {
	await using stolen = await stealGateway({ plain, loud: { image: NODE_IMAGE, command: ['yes'] } });
	const before = { descriptors: stolen.descriptors(), memory: stolen.memoryMib() };
	const launches = await Promise.all(Array.from({ length: 8 }, () => stolen.insist(launchOf('loud'))));
	const instances = await Promise.all(launches.map(instanceOf));
	for (const { socket } of launches) socket.pause();
	await Promise.all(instances.map((instance) => stop(stolen, instance)));
	assert.deepEqual(await containersOf(stolen.gatewayId), []);
	// What the latest of them said may still be read; test/unit/launcher-server.test.ts has the bound.
	assert.ok(stolen.descriptors() - before.descriptors <= 8 + SPARE_DESCRIPTORS);
	assert.ok(stolen.memoryMib() - before.memory < 100, `${before.memory} MiB before, ${stolen.memoryMib()} after`);
	await stolen.servesHonestly('plain');
});

async function stop(stolen: StolenGateway, instance: string): Promise<void> {
	const asked = await stolen.insist(
		`POST /v1/instances/${instance}/stop?patience=prompt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
	);
	await within(asked.over, 'the stop');
}

test('killed in the middle of everything, it takes all that it held along, again and again', async () => {
	await using stolen = await stealGateway({ plain, cat, stubborn: { ...plain, command: STUBBORN } });
	const before = stolen.descriptors();
	for (let time = 0; time < 5; time += 1) {
		const held = await Promise.all(
			['cat', 'stubborn', 'cat', 'plain'].map((name) => stolen.insist(launchOf(name, `Slipway-Caller: ${time}`))),
		);
		await Promise.all(held.slice(0, 2).map(instanceOf));
		stolen.hangUp();
	}
	await until('no container is left', async () => (await containersOf(stolen.gatewayId)).length === 0);
	await until('nothing is open', () => stolen.descriptors() - before <= SPARE_DESCRIPTORS);
	await stolen.servesHonestly('plain');
});
const STUBBORN = ['node', '/app/test/fixtures/misbehaving.ts', 'ignore-eof-and-term'];

test('it is told what runs, and not how: no environment, argument, folder of the host or socket', async () => {
	const token = 'a-token-of-the-catalog';
	await using stolen = await stealGateway({
		told: {
			...plain,
			env: { TOKEN: token },
			args: ['--argument-of-the-catalog'],
			volumes: [{ name: 'kept-here', target: '/kept' }],
		},
		lost: { ...cat, mounts: [{ source: './data', target: '/files' }] },
	});
	await instanceOf(await stolen.insist(launchOf('told')));
	await codeOf(await stolen.insist(launchOf('lost')));
	const state = await stolen.insist(get('/v1/state'));
	await state.says(/"instances":1/);
	const report = await stolen.insist(get('/v1/report'));
	await within(report.over, 'the report');
	const told = `${state.text()} ${report.text()}`;
	for (const secret of [
		token,
		'TOKEN',
		'argument-of-the-catalog',
		'misbehaving.ts',
		'/kept',
		'/files',
		'./data',
		'docker.sock',
	])
		assert.ok(!told.includes(secret), secret);
});
