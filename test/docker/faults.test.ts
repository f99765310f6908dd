/** The engine goes, comes back, hangs, breaks off, or is something else altogether. */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Engine, EngineRefusal, type EngineState } from '../../src/docker/engine.ts';
import { OomWatch } from '../../src/docker/oom-watch.ts';
import type { ContainerId } from '../../src/ids.ts';
import { ENGINE_LIMITS } from '../../src/limits.ts';
import { SILENT_LOG } from '../../src/log.ts';
import {
	type Bench,
	containersOf,
	docker,
	ENGINE_SOCKET,
	neverAborted,
	openBench,
	refusedWith,
	until,
	within,
} from '../support/engine-bench.ts';
import { EngineProxy } from '../support/engine-proxy.ts';
import { talk } from '../support/engine-talk.ts';
import { fixture, fixtureImage, server } from '../support/fixtures.ts';

const image = await fixtureImage();
const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
before(() => process.on('unhandledRejection', note));
after(() => {
	process.off('unhandledRejection', note);
	assert.deepEqual(rejections, [], 'unhandled rejections');
});

/** A launcher whose engine is behind a proxy. */
async function openBehindProxy(): Promise<{ bench: Bench; proxy: EngineProxy } & AsyncDisposable> {
	const proxy = new EngineProxy(join(tmpdir(), `slipway-proxy-${randomBytes(6).toString('hex')}.sock`));
	await proxy.open();
	const bench = await openBench(
		[
			fixture('good', image, ['misbehaving.ts', 'crlf']),
			fixture('deaf', image, ['misbehaving.ts', 'ignore-eof-and-term']),
		],
		{ socketPath: proxy.socketPath },
	);
	return {
		bench,
		proxy,
		[Symbol.asyncDispose]: async () => {
			try {
				await bench[Symbol.asyncDispose]();
			} finally {
				await proxy.close();
			}
		},
	};
}

function stateBecomes(engine: Engine, reachable: boolean): Promise<EngineState> {
	const { promise, resolve } = Promise.withResolvers<EngineState>();
	if (engine.state.reachable === reachable) resolve(engine.state);
	const unsubscribe = engine.subscribe((state) => {
		if (state.reachable !== reachable) return;
		unsubscribe();
		resolve(state);
	});
	return within(promise, reachable ? 'the engine' : 'the loss of the engine');
}

test('the engine goes and comes back: channels end, launches fail fast, nothing of before is left', async () => {
	await using behind = await openBehindProxy();
	const { bench, proxy } = behind;
	const [good, deaf] = [await bench.launch('good'), await bench.launch('deaf')];
	await talk(good).request('ping');
	await talk(deaf).request('ping');
	const lostAt = performance.now();
	await proxy.close();
	for (const channel of [good, deaf]) {
		const { cause } = await within(channel.ended, 'the end');
		assert.match(cause, /^(lost|exited)$/);
	}
	const state = await stateBecomes(bench.engine, false);
	// Generous: what the limits say, and as much again for a loaded machine.
	assert.ok(performance.now() - lostAt < 2 * (ENGINE_LIMITS.pingIntervalMs + ENGINE_LIMITS.pingTimeoutMs) + 2_000);
	assert.match(state.reachable ? '' : state.reason, /^There is no socket at .+: is the engine running/);

	const askedAt = performance.now();
	const error = await refusedWith(
		'SLIPWAY_ENGINE_UNREACHABLE',
		bench.launcher.launch(good.server, neverAborted(), 'test'),
	);
	assert.ok(performance.now() - askedAt < 1_000);
	assert.match(error.details.reason ?? '', /There is no socket/);
	assert.equal(bench.launcher.state.engine.reachable, false);

	await proxy.open();
	await stateBecomes(bench.engine, true);
	await until('what survived is swept', async () => (await containersOf(bench.gatewayId)).length === 0);
	await talk(await bench.launch('good')).request('ping');
	assert.equal((await containersOf(bench.gatewayId)).length, 1);
});

test('every connection breaks and the engine stays: channels end, and what ignores that is removed', async () => {
	await using behind = await openBehindProxy();
	const { bench, proxy } = behind;
	const deaf = await bench.launch('deaf');
	await talk(deaf).request('ping');
	proxy.cut();
	assert.equal((await within(deaf.ended, 'the end')).cause, 'lost');
	await until('it is removed', async () => (await containersOf(bench.gatewayId)).length === 0);
	await stateBecomes(bench.engine, true);
	await talk(await bench.launch('good')).request('ping');
});

test('the engine hangs: it is told as unreachable, open channels live on, and it is found again', async () => {
	await using behind = await openBehindProxy();
	const { bench, proxy } = behind;
	const conversation = talk(await bench.launch('good'));
	await conversation.request('ping');
	proxy.hang(true);
	const state = await stateBecomes(bench.engine, false);
	assert.equal(state.reachable ? '' : state.reason, 'The engine did not answer in time.');
	await refusedWith('SLIPWAY_ENGINE_UNREACHABLE', bench.launch('good'));
	await conversation.request('ping');
	proxy.hang(false);
	await stateBecomes(bench.engine, true);
	await conversation.request('ping');
});

test('the engine is lost in the middle of a start: an error of the table, and nothing left when it is back', async () => {
	for (const delayMs of [5, 25, 60]) {
		await using behind = await openBehindProxy();
		const { bench, proxy } = behind;
		const launch = bench.launch('deaf').catch((error: unknown) => error);
		await new Promise((resolve) => setTimeout(resolve, delayMs));
		proxy.cut();
		const outcome = await within(launch, 'the outcome');
		if (outcome instanceof Error) await refusedWith('SLIPWAY_ENGINE_UNREACHABLE', Promise.reject(outcome));
		await stateBecomes(bench.engine, true);
		// By the time that this one runs the engine is done with what it was asked for before.
		await talk(await bench.launch('good')).request('ping');
	}
});

test('an answer that breaks off is an engine that does not answer, and no call hangs for it', async () => {
	await using behind = await openBehindProxy();
	const { bench, proxy } = behind;
	for (const bytes of [0, 5, 60, 300]) {
		proxy.breakAnswersAfter(bytes);
		await refusedWith(
			'SLIPWAY_ENGINE_UNREACHABLE',
			bench.engine.call((api) => api.listImages(), {
				timeoutMs: 2_000,
			}),
		);
	}
	await stateBecomes(bench.engine, false);
	proxy.breakAnswersAfter(Number.POSITIVE_INFINITY);
	await stateBecomes(bench.engine, true);
	await talk(await bench.launch('good')).request('ping');
});

/** Looks at what is at a path, once. */
async function look(socketPath: string): Promise<EngineState> {
	const engine = new Engine({ socketPath, log: SILENT_LOG });
	await within(engine.start(), 'the first look');
	engine.stop();
	return engine.state;
}

function reasonOf(state: EngineState): string {
	assert.equal(state.reachable, false);
	return state.reachable ? '' : state.reason;
}

test('what is no socket is told as what it is', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-faults-'));
	try {
		assert.match(reasonOf(await look(join(folder, 'none.sock'))), /^There is no socket at /);
		await writeFile(join(folder, 'file'), '');
		// The kernel refuses a connection to a file as it does one to a socket that nobody listens at.
		assert.match(reasonOf(await look(join(folder, 'file'))), /^(Nothing listens at|.+ is not a socket)/);
		assert.match(reasonOf(await look(folder)), /^(Nothing listens at|.+ is not a socket)/);
		const proxy = new EngineProxy(join(folder, 'closed.sock'));
		await proxy.open();
		if (process.getuid?.() === 0) t.diagnostic('root may open everything: permission is not tested');
		else {
			await chmod(proxy.socketPath, 0o000);
			assert.match(reasonOf(await look(proxy.socketPath)), /^No permission to open /);
		}
		await proxy.close();
	} finally {
		await rm(folder, { recursive: true });
	}
});

/** Something that listens where an engine should, for as long as `use` takes. */
async function withImpostor(answer: RequestListener, use: (socketPath: string) => Promise<void>): Promise<void> {
	const socketPath = join(tmpdir(), `slipway-impostor-${randomBytes(6).toString('hex')}.sock`);
	const impostor = createServer(answer).listen(socketPath);
	await once(impostor, 'listening');
	try {
		await use(socketPath);
	} finally {
		impostor.closeAllConnections();
		impostor.close();
	}
}

const IMPOSTORS: readonly (readonly [what: string, answer: RequestListener, reason: RegExp])[] = [
	[
		'an engine that is too old',
		(_, r) => r.end('{"Version":"20.10.1","ApiVersion":"1.40"}'),
		/^The engine speaks API 1\.40; Slipway needs 1\.45 \(Docker Engine 26\) or newer\.$/,
	],
	['HTML', (_, r) => r.setHeader('content-type', 'text/html').end('<html>It works!</html>'), /is no Docker Engine/],
	['an empty body', (_, r) => r.end(), /is no Docker Engine/],
	['other JSON', (_, r) => r.end('{"hello":["world"]}'), /is no Docker Engine/],
	['JSON null', (_, r) => r.end('null'), /is no Docker Engine/],
	['a number for a version', (_, r) => r.end('{"ApiVersion":1.44}'), /is no Docker Engine/],
	['half of JSON', (_, r) => r.end('{"ApiVersion":"1.4'), /is no Docker Engine/],
	['500', (_, r) => r.writeHead(500).end('{"message":"disk on fire"}'), /^The engine answers with an error: /],
	['503 in HTML', (_, r) => r.writeHead(503).end('<html>no</html>'), /^The engine answers with an error: /],
	['a connection that is closed', (_, r) => r.destroy(), /^The connection to the engine broke\.$/],
	[
		'half a response',
		(_, r) => void r.writeHead(200, { 'content-length': 100 }).write('{"ApiV', () => r.destroy()),
		/^The (connection to the engine broke|engine did not answer in time)\.$/,
	],
	['silence', () => undefined, /^The engine did not answer in time\.$/],
];

for (const [what, answer, reason] of IMPOSTORS) {
	test(`where the engine should be there is ${what}: told in a sentence`, async () => {
		await withImpostor(answer, async (socketPath) => {
			assert.match(reasonOf(await look(socketPath)), reason);
		});
	});
}

/** A launcher whose engine answers some of its requests itself, in place of the real one. */
function failing(what: RegExp, answer: RequestListener): RequestListener {
	return (request, response) => {
		if (what.test(`${request.method} ${request.url}`)) return answer(request, response);
		const url = request.url ?? '';
		if (url.endsWith('/version')) return void response.end('{"Version":"28.0.0","ApiVersion":"1.51"}');
		if (url.endsWith('/_ping')) return void response.end('OK');
		if (url.includes('/containers/json') || url.includes('/images/json')) return void response.end('[]');
		if (url.includes('/images/')) return void response.end(`{"Id":"sha256:${'0'.repeat(64)}","Config":{}}`);
		if (url.includes('/events')) return void response.writeHead(200).flushHeaders();
		if (request.method === 'POST' && url.includes('/containers/create'))
			return void response.writeHead(201).end(`{"Id":"${'0'.repeat(64)}"}`);
		return void response.writeHead(404).end('{"message":"no such thing"}');
	};
}

const REQUESTS = [
	['the look at the image', /^GET .*\/images\/[^?]+\/json/],
	['create', /^POST .*\/containers\/create/],
	['inspect', /^GET .*\/containers\/0+\/json/],
	['the look at a volume', /^GET .*\/volumes\//],
] as const;

const ANSWERS: readonly (readonly [what: string, answer: RequestListener, code: RegExp])[] = [
	['500', (_, r) => r.writeHead(500).end('{"message":"secret /var/lib/path"}'), /^SLIPWAY_ENGINE_FAILED$/],
	['400 in HTML', (_, r) => r.writeHead(400).end('<html>'), /^SLIPWAY_ENGINE_FAILED$/],
	['409', (_, r) => r.writeHead(409).end('{"message":"conflict"}'), /^SLIPWAY_(ENGINE_FAILED|IMAGE_MISSING)$/],
	['a closed connection', (_, r) => r.destroy(), /^SLIPWAY_ENGINE_UNREACHABLE$/],
];

for (const [where, request] of REQUESTS) {
	for (const [what, answer, code] of ANSWERS) {
		test(`${what} in answer to ${where}: an error of the table that tells nothing of the engine's`, async () => {
			await withImpostor(failing(request, answer), async (socketPath) => {
				const entry = server('any', { kind: 'image', reference: 'any:1' }, { volumes: [{ name: 'v', target: '/v' }] });
				const gatewayId = `test-${randomUUID()}`;
				await using bench = await openBench([where === 'the look at a volume' ? entry : { ...entry, volumes: [] }], {
					socketPath,
					gatewayId,
				});
				const error: unknown = await within(
					bench.launcher.launch(entry.name, neverAborted(), 'test'),
					'the answer',
				).catch((thrown: unknown) => thrown);
				assert.match(String((error as { code?: string }).code), code, String(error));
				assert.ok(!String(error).includes('/var/lib/path'), String(error));
			});
		});
	}
}

test('an engine that made something else than it was asked to: the container is not started', async () => {
	const seen: string[] = [];
	const inspected = JSON.stringify({ Config: {}, HostConfig: { Privileged: true }, Mounts: [] });
	const listener = failing(/^GET .*\/containers\/0+\/json/, (_, r) => r.end(inspected));
	await withImpostor(
		(request, response) => {
			seen.push(`${request.method} ${request.url}`);
			listener(request, response);
		},
		async (socketPath) => {
			await using bench = await openBench([server('any', { kind: 'image', reference: 'any:1' })], { socketPath });
			await refusedWith('SLIPWAY_SPEC_DRIFT', bench.launch('any'));
			assert.ok(seen.some((line) => /^DELETE .*\/containers\/0+\?/.test(line)));
			assert.ok(!seen.some((line) => /\/(start|attach)/.test(line)));
		},
	);
});

test('out-of-memory events are taken for what they say, late ones too', async () => {
	const id = 'ab'.repeat(32) as ContainerId;
	const other = 'cd'.repeat(32) as ContainerId;
	const listening = Promise.withResolvers<ServerResponse>();
	const impostor = failing(/\/events/, (request, response) => {
		assert.match(decodeURIComponent(request.url ?? ''), /"label":\["dev\.slipway\.gateway=me"\]/);
		response.writeHead(200).flushHeaders();
		listening.resolve(response);
	});
	await withImpostor(impostor, async (socketPath) => {
		const engine = new Engine({ socketPath, log: SILENT_LOG });
		await engine.start();
		const watch = new OomWatch(engine, 'me');
		watch.start();
		const events = await within(listening.promise, 'the listener');
		const happened = watch.happened(id);
		events.write(`{"Type":"container","Action":"oom","Actor":{"ID":"${id}"},"id":"${id}"}\nnonsense\n`);
		assert.equal(await happened, true);
		assert.equal(await watch.happened(id), false);
		assert.equal(await watch.happened(other), false);
		await watch.stop();
		engine.stop();
	});
});

test('a call to an engine that refuses keeps its status, and its own signal its reason', async () => {
	const engine = new Engine({ socketPath: ENGINE_SOCKET, log: SILENT_LOG });
	await engine.start();
	const refusal: unknown = await engine
		.call((api) => api.getContainer('no-such-container').inspect())
		.catch((error: unknown) => error);
	assert.ok(refusal instanceof EngineRefusal);
	assert.equal(refusal.statusCode, 404);
	assert.equal(await engine.callIfThere((api) => api.getContainer('no-such-container').inspect()), undefined);
	const reason = new Error('mine');
	await assert.rejects(
		engine.call((api) => api.listContainers(), { signal: AbortSignal.abort(reason) }),
		(error) => error === reason,
	);
	engine.stop();
	assert.ok(await docker.ping());
});
