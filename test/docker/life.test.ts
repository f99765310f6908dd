/** How Instances live and die, and what is told of it. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import type { Channel } from '../../src/channel.ts';
import { ContainerChannel } from '../../src/docker/container.ts';
import { INSTANCE_LIMITS, STDIO_LIMITS } from '../../src/limits.ts';
import { containersOf, docker, newGatewayId, openBench, openYard, removed, within } from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { greet, talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage, server } from '../support/fixtures.ts';

const image = await fixtureImage();
const IMAGE = { kind: 'image', reference: image } as const;
const MIB = 1024 ** 2;

/** A server that is one line of shell, for what needs no MCP. */
function shell(name: string, script: string) {
	return server(name, IMAGE, { command: ['sh', '-c', script] });
}

function ending(channel: Channel) {
	return within(channel.ended, `the end of ${channel.server}`);
}

test('the end of stdin ends a well-behaved server, which had the time to say its last', async () => {
	await using yard = await openYard();
	const channel = await yard.start(shell('last', 'cat; echo last words; echo on stderr >&2; exit 3'));
	const said = readText(channel.stream);
	channel.stream.end('first words\n');
	assert.equal(await within(said, 'the output'), 'first words\nlast words\n');
	assert.deepEqual(await ending(channel), { cause: 'exited', exitCode: 3, stderr: 'on stderr' });
	await removed(channel.id);
});

test('stop: a server that honours the end of stdin exits by itself', async () => {
	await using bench = await openBench([fixture('good', image, ['misbehaving.ts', 'crlf'])]);
	const channel = await bench.launch('good');
	await talk(channel).request('ping');
	await within(channel.stop('patient'), 'the stop');
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	assert.deepEqual(await ending(channel), { cause: 'stopped', exitCode: 0, stderr: '' });
});

test('stop: a server that ignores the end of stdin is told by SIGTERM', async () => {
	await using bench = await openBench([fixture('deaf', image, ['misbehaving.ts', 'ignore-eof'])]);
	const channel = await bench.launch('deaf');
	await talk(channel).request('ping');
	await within(channel.stop('prompt'), 'the stop');
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	assert.deepEqual(await ending(channel), { cause: 'stopped', exitCode: 143, stderr: '' });
});

test('stop: a server that ignores both is removed by force, once, however often it is asked for', async () => {
	await using bench = await openBench([fixture('stubborn', image, ['misbehaving.ts', 'ignore-eof-and-term'])]);
	const channel = await bench.launch('stubborn');
	await talk(channel).request('ping');
	const { promptStopEofMs, promptStopTermMs } = INSTANCE_LIMITS;
	const startedAt = performance.now();
	await within(Promise.all([channel.stop('prompt'), channel.stop('patient'), channel.stop('prompt')]), 'the stop');
	// Not before its time was over. How soon after is the machine's business.
	assert.ok(performance.now() - startedAt >= promptStopEofMs + promptStopTermMs - 10);
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	const end = await ending(channel);
	assert.equal(end.cause, 'stopped');
	assert.equal(end.exitCode, 137);
	await channel.stop('prompt');
});

test('stop: a server that writes without end and is not read ends all the same', async () => {
	await using yard = await openYard();
	const channel = await yard.start(shell('loud', 'yes'));
	await within(new Promise((resolve) => channel.stream.once('readable', () => resolve(undefined))), 'the first output');
	await within(channel.stop('prompt'), 'the stop');
	assert.equal((await ending(channel)).cause, 'stopped');
});

test('a paused container is stopped', async () => {
	await using bench = await openBench([fixture('paused', image, ['misbehaving.ts', 'crlf'])]);
	const channel = await bench.launch('paused');
	await talk(channel).request('ping');
	await (await bench.containerOf(channel)).pause();
	await within(channel.stop('prompt'), 'the stop');
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	assert.equal((await ending(channel)).cause, 'stopped');
});

test('an exit at once is told with its code and its stderr, every time', async () => {
	await using bench = await openBench([shell('brief', 'echo no configuration >&2; exit 7')]);
	for (let time = 0; time < 8; time++) {
		const channel = await bench.launch('brief');
		channel.stream.resume();
		assert.deepEqual(await ending(channel), { cause: 'exited', exitCode: 7, stderr: 'no configuration' });
	}
	const report = await bench.launcher.report();
	assert.equal(report.length, 8);
	assert.ok(report.every(({ ended }) => ended?.cause === 'exited' && ended.exitCode === 7));
});

test('an exit in the middle of a call is told', async () => {
	await using bench = await openBench([fixture('plain', image, ['conversation.ts'])]);
	const channel = await bench.launch('plain');
	const conversation = await greet(channel);
	conversation.send({ id: 99, method: 'tools/call', params: { name: 'exit', arguments: { code: 42 } } });
	assert.deepEqual(await ending(channel), { cause: 'exited', exitCode: 42, stderr: '' });
});

test('killed from outside: exit code 137, and no talk of memory', async () => {
	await using bench = await openBench([fixture('plain', image, ['conversation.ts'])]);
	const channel = await bench.launch('plain');
	await greet(channel);
	await (await bench.containerOf(channel)).kill();
	assert.deepEqual(await ending(channel), { cause: 'exited', exitCode: 137, stderr: '' });
});

/** Whether this engine reports out-of-memory at all: some cannot read the cgroups of their kernel. */
async function engineReportsOom(): Promise<boolean> {
	await using bench = await openBench([fixture('scout', image, ['conversation.ts'])]);
	const channel = await bench.launch('scout');
	const { id } = await bench.containerOf(channel);
	const filters = JSON.stringify({ type: ['container'], event: ['oom', 'die'], container: [id] });
	const events = (await docker.getEvents({ filters })) as Readable;
	const conversation = await greet(channel);
	await conversation.call('oom', { inChild: true });
	conversation.send({ id: 99, method: 'tools/call', params: { name: 'exit', arguments: { code: 0 } } });
	for await (const line of createInterface({ input: events })) {
		const { Action }: { Action: string } = JSON.parse(line);
		events.destroy();
		return Action === 'oom';
	}
	return false;
}

test('out of memory: the cause says so, where the engine does', async (t) => {
	const reported = await engineReportsOom();
	t.diagnostic(reported ? 'the engine reports out-of-memory' : 'this engine does not report out-of-memory');
	const resources = { memoryBytes: 128 * MIB, nanoCpus: 1e9, pidsMax: 128, tmpBytes: 32 * MIB, shmBytes: 0 };
	await using bench = await openBench([fixture('greedy', image, ['conversation.ts'], { resources })]);
	const channel = await bench.launch('greedy');
	const conversation = await greet(channel);
	conversation.send({ id: 99, method: 'tools/call', params: { name: 'oom', arguments: {} } });
	const { cause, exitCode } = await ending(channel);
	assert.deepEqual({ cause, exitCode }, { cause: reported ? 'oom' : 'exited', exitCode: 137 });
	const [report] = await bench.launcher.report();
	assert.equal(report?.ended?.cause, cause);
});

test('out of memory in a child: the server lives, and its own end is not put down to memory', async () => {
	await using bench = await openBench([fixture('parent', image, ['conversation.ts'])]);
	const channel = await bench.launch('parent');
	const conversation = await greet(channel);
	assert.deepEqual(JSON.parse(await conversation.call('oom', { inChild: true })), { code: null, signal: 'SIGKILL' });
	assert.equal(await conversation.call('echo', { text: 'alive' }), 'alive');
	conversation.send({ id: 99, method: 'tools/call', params: { name: 'exit', arguments: { code: 5 } } });
	const { cause, exitCode } = await ending(channel);
	assert.deepEqual({ cause, exitCode }, { cause: 'exited', exitCode: 5 });
});

test('a connection that breaks ends a well-behaved server by itself', async () => {
	await using bench = await openBench([]);
	const proxy = new EngineProxy(`${bench.folder}/engine.sock`);
	await proxy.open();
	try {
		await using yard = await openYard(proxy.socketPath);
		const channel = await yard.start(fixture('plain', image, ['conversation.ts']));
		await greet(channel);
		proxy.cut();
		await removed(channel.id);
		assert.equal((await ending(channel)).cause, 'lost');
	} finally {
		await proxy.close();
	}
});

test('destroying the stream is a hang-up', async () => {
	await using yard = await openYard();
	const channel = await yard.start(fixture('plain', image, ['conversation.ts']));
	await greet(channel);
	channel.stream.destroy();
	await removed(channel.id);
	const { cause, exitCode } = await ending(channel);
	assert.deepEqual({ cause, exitCode }, { cause: 'exited', exitCode: 0 });
});

test('bytes go both ways as they are, in their order, more of them than any buffer holds', async () => {
	await using yard = await openYard();
	const channel = await yard.start(shell('echo', 'cat'));
	const sent = Buffer.alloc(8 * MIB, 'Zażółć 🚢 ');
	const received: Buffer[] = [];
	channel.stream.on('data', (chunk: Buffer) => received.push(chunk));
	channel.stream.end(sent);
	const end = await ending(channel);
	assert.deepEqual({ cause: end.cause, exitCode: end.exitCode }, { cause: 'exited', exitCode: 0 });
	assert.ok(Buffer.concat(received).equals(sent));
});

test('nobody reads: the server is stopped from writing, and nothing is lost', async () => {
	await using yard = await openYard();
	// 16 MiB on stdout; on stderr how far it is.
	const script = 'for i in 1 2 3 4 5 6 7 8; do head -c 2097152 /dev/zero; echo $i >&2; done';
	const channel = await yard.start(shell('flood', script));
	await within(new Promise((resolve) => channel.stream.once('readable', () => resolve(undefined))), 'the first output');
	// Time for it to run ahead if nothing held it: all of it takes a few milliseconds.
	await new Promise((resolve) => setTimeout(resolve, 1000));
	assert.equal(await Promise.race([channel.ended.then(() => 'ended'), Promise.resolve('running')]), 'running');
	assert.ok(channel.stream.readableLength <= STDIO_LIMITS.frameBytesMax * 2, `${channel.stream.readableLength} held`);
	let bytes = 0;
	for await (const chunk of channel.stream) bytes += (chunk as Buffer).length;
	assert.equal(bytes, 16 * MIB);
	const { exitCode, stderr } = await ending(channel);
	assert.equal(exitCode, 0);
	assert.ok(stderr.endsWith('8'));
});

test('stderr: the last of it, without control characters, and no longer than its bound', async () => {
	await using yard = await openYard();
	const script = `i=0; while [ $i -lt 3000 ]; do echo "line $i of many" >&2; i=$((i+1)); done; printf '\\033[31mred\\033[0m \\007 the end' >&2`;
	const channel = await yard.start(shell('chatty', script));
	channel.stream.resume();
	const { stderr } = await ending(channel);
	assert.ok(stderr.length <= STDIO_LIMITS.stderrTailCharsMax);
	assert.ok(stderr.endsWith('\ufffd[31mred\ufffd[0m \ufffd the end'), stderr.slice(-60));
	assert.ok(stderr.includes('line 2999 of many'));
});

test('aborting after the start has no effect on what runs', async () => {
	await using yard = await openYard();
	const aborter = new AbortController();
	const channel = await yard.start(fixture('plain', image, ['conversation.ts']), aborter.signal);
	const conversation = await greet(channel);
	aborter.abort();
	assert.equal(await conversation.call('echo', { text: 'alive' }), 'alive');
});

test('aborting at any moment of a start leaves nothing, and tells the reason of the abort', async () => {
	await using yard = await openYard();
	const entry = fixture('aborted', image, ['misbehaving.ts', 'ignore-eof-and-term']);
	let aborted = 0;
	for (let delayMs = 0; delayMs < 120; delayMs += 4) {
		const aborter = new AbortController();
		const reason = new Error(`after ${delayMs} ms`);
		setTimeout(() => aborter.abort(reason), delayMs);
		const start = yard.start(entry, aborter.signal).catch((error: unknown) => error);
		const outcome: unknown = await within(start, 'the outcome');
		if (outcome === reason) {
			assert.deepEqual(await containersOf(yard.gatewayId), [], `after ${delayMs} ms`);
			aborted += 1;
			continue;
		}
		assert.ok(outcome instanceof ContainerChannel, String(outcome));
		await docker.getContainer(outcome.id).kill();
		await removed(outcome.id);
	}
	assert.ok(aborted > 0);
});

test('no container of another gateway id is touched by a stop', async () => {
	await using other = await openBench([fixture('plain', image, ['conversation.ts'])]);
	const conversation = await greet(await other.launch('plain'));
	{
		await using bench = await openBench([fixture('plain', image, ['conversation.ts'])], { gatewayId: newGatewayId() });
		await bench.launch('plain');
	}
	assert.equal(await conversation.call('echo', { text: 'alive' }), 'alive');
});
