/** Every request that is made of the engine, with every answer that it should not give: an error of the table, or none. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { text as readText } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import type { Channel } from '../../src/channel.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import { neverAborted, openBench, until, within } from '../support/engine-bench.ts';
import { talk } from '../support/engine-talk.ts';
import { server } from '../support/fixtures.ts';

const rejections: unknown[] = [];
const note = (reason: unknown): void => void rejections.push(reason);
before(() => process.on('unhandledRejection', note));
after(() => {
	process.off('unhandledRejection', note);
	assert.deepEqual(rejections, [], 'unhandled rejections');
});

/** What an engine says of itself and never to a client. */
const SECRET = '/var/lib/docker/secret';
/** Longer than everything that may hang once after the other. */
const PATIENCE_MS = 60_000;

/** What is written in answer to a request, and what becomes of the connection. */
type Answer = (socket: Socket) => void;

function says(status: number, body: string, type = 'application/json'): Answer {
	return (socket) =>
		socket.end(
			`HTTP/1.1 ${status} So\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
		);
}

const ANSWERS = {
	'404': says(404, `{"message":"${SECRET} is not there"}`),
	'409': says(409, `{"message":"${SECRET} is in use"}`),
	'304': (socket) => socket.end('HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n'),
	'500': says(500, `{"message":"${SECRET} is on fire"}`),
	'502 in HTML': says(502, `<html>${SECRET}</html>`, 'text/html'),
	HTML: says(200, `<html>${SECRET}</html>`, 'text/html'),
	'half of JSON': says(200, `{"Id":"${SECRET}`),
	'JSON null': says(200, 'null'),
	'half an answer': (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"Id":"'),
	'a closed connection': (socket) => socket.destroy(),
	nothing: () => undefined,
} as const satisfies Readonly<Record<string, Answer>>;
type AnswerName = keyof typeof ANSWERS;

interface FakeContainer {
	readonly asked: Record<string, unknown>;
	stdio: Socket | undefined;
	readonly gone: PromiseWithResolvers<void>;
}

/** One frame of an attach. */
function frameOf(type: number, text: string): Buffer {
	const payload = Buffer.from(text);
	const head = Buffer.from([type, 0, 0, 0, 0, 0, 0, 0]);
	head.writeUInt32BE(payload.length, 4);
	return Buffer.concat([head, payload]);
}

/** An engine in memory, whose containers answer every request with `{}`; some of its requests are answered by a test. */
class FakeEngine implements AsyncDisposable {
	readonly socketPath = join(tmpdir(), `slipway-answers-${randomBytes(6).toString('hex')}.sock`);
	readonly containers = new Map<string, FakeContainer>();
	/** How often the test has answered. */
	answered = 0;
	/** How often it may. */
	answersMax = Number.POSITIVE_INFINITY;
	/** Whether there is the volume that is asked for. */
	hasVolumes = false;
	/** Whether its containers end by force alone. */
	isStubborn = false;
	readonly #server: Server;
	readonly #sockets = new Set<Socket>();
	readonly #requests: RegExp;
	readonly #answer: Answer;

	constructor(requests: RegExp, answer: Answer) {
		this.#requests = requests;
		this.#answer = answer;
		this.#server = createServer((request, response) => void this.#serve(request, response));
		this.#server.on('upgrade', (request: IncomingMessage, socket: Socket) => this.#attach(request, socket));
		this.#server.on('connection', (socket: Socket) => {
			this.#sockets.add(socket);
			socket.once('close', () => this.#sockets.delete(socket));
		});
	}

	get connections(): number {
		return this.#sockets.size;
	}

	async open(): Promise<this> {
		this.#server.listen(this.socketPath);
		await once(this.#server, 'listening');
		return this;
	}

	async [Symbol.asyncDispose](): Promise<void> {
		this.#server.close();
		for (const socket of this.#sockets) socket.destroy();
		await once(this.#server, 'close');
	}

	#isTheTests(line: string): boolean {
		if (!this.#requests.test(line) || this.answered >= this.answersMax) return false;
		this.answered += 1;
		return true;
	}

	async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
		const line = `${request.method} ${request.url}`;
		const body = request.method === 'POST' ? await readText(request) : '';
		if (this.#isTheTests(line)) return this.#answer(request.socket);
		const path = (request.url ?? '').replace(/^\/v[\d.]+|\?.*$/g, '');
		const [, kind, name = '', verb] = path.split('/');
		const say = (value: unknown, status = 200): void => void response.writeHead(status).end(JSON.stringify(value));
		if (kind === 'version') return say({ Version: '28.0.0', ApiVersion: '1.51' });
		if (kind === '_ping') return void response.end('OK');
		if (kind === 'events') return void response.writeHead(200).flushHeaders();
		if (kind === 'images') return say({ Id: `sha256:${'0'.repeat(64)}`, Config: {} });
		if (kind === 'volumes' && name === 'create') return say({ Name: JSON.parse(body).Name }, 201);
		if (kind === 'volumes') return this.hasVolumes ? say({ Name: name }) : say({ message: 'no such volume' }, 404);
		if (kind !== 'containers') return say({ message: 'no such page' }, 404);
		if (name === 'json') return say(this.#list());
		if (name === 'create') return say({ Id: this.#create(JSON.parse(body)) }, 201);
		const container = this.containers.get(name);
		if (container === undefined) return say({ message: 'no such container' }, 404);
		if (request.method === 'DELETE' || (verb === 'kill' && !this.isStubborn)) this.#end(name, container);
		if (verb === 'wait') {
			response.writeHead(200).flushHeaders();
			await container.gone.promise;
			return void response.end('{"StatusCode":0}');
		}
		if (verb === 'json') return say({ Config: container.asked, HostConfig: container.asked['HostConfig'], Mounts: [] });
		if (verb === 'archive') return void response.writeHead(200).end();
		return void response.writeHead(204).end();
	}

	#list(): object[] {
		return [...this.containers].map(([Id, { asked }]) => ({ Id, Labels: asked['Labels'], State: 'running' }));
	}

	#create(asked: Record<string, unknown>): string {
		const id = randomBytes(32).toString('hex');
		this.containers.set(id, { asked, stdio: undefined, gone: Promise.withResolvers() });
		return id;
	}

	#end(id: string, { stdio, gone }: FakeContainer): void {
		this.containers.delete(id);
		stdio?.end();
		gone.resolve();
	}

	#attach(request: IncomingMessage, socket: Socket): void {
		socket
			.on('error', () => undefined)
			.on('end', () => socket.end())
			.resume();
		if (this.#isTheTests(`${request.method} ${request.url}`)) return this.#answer(socket);
		const [, id = ''] = /\/containers\/([0-9a-f]+)\/attach/.exec(request.url ?? '') ?? [];
		const container = this.containers.get(id) ?? assert.fail('an attach to nothing');
		container.stdio = socket;
		socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n');
		createInterface({ input: socket }).on('line', (line) =>
			socket.write(frameOf(1, `{"jsonrpc":"2.0","id":${JSON.parse(line).id},"result":{}}\n`)),
		);
		socket.once('end', () => {
			if (!this.isStubborn) this.#end(id, container);
		});
	}
}

const REQUESTS = {
	'the look at the image': /^GET .*\/images\/[^?]+\/json/,
	'the look at a volume': /^GET .*\/volumes\//,
	'the making of a volume': /^POST .*\/volumes\/create/,
	'a folder in a volume': /^PUT .*\/archive/,
	create: /^POST .*\/containers\/create/,
	inspect: /^GET .*\/containers\/[0-9a-f]+\/json/,
	attach: /^POST .*\/attach/,
	start: /^POST .*\/start/,
	wait: /^POST .*\/wait/,
	kill: /^POST .*\/kill/,
	remove: /^DELETE .*\/containers\//,
	list: /^GET .*\/containers\/json/,
	events: /^GET .*\/events/,
} as const satisfies Readonly<Record<string, RegExp>>;
type RequestName = keyof typeof REQUESTS;

/** What comes of a launch, where it is not that the server works and can be ended. */
type Outcome = 'works' | ErrorCode;

const REFUSALS = ['404', '409', '304', '500', '502 in HTML'] as const;
const NONSENSE = ['HTML', 'half of JSON', 'JSON null'] as const;
const BREAKS = ['half an answer', 'a closed connection', 'nothing'] as const;

function outcomes(of: {
	refusal: Outcome;
	nonsense: Outcome;
	broken: Outcome;
	but?: Partial<Record<AnswerName, Outcome>>;
}): Record<AnswerName, Outcome> {
	const pairs = (names: readonly AnswerName[], outcome: Outcome) => names.map((name) => [name, outcome] as const);
	return {
		...(Object.fromEntries([
			...pairs(REFUSALS, of.refusal),
			...pairs(NONSENSE, of.nonsense),
			...pairs(BREAKS, of.broken),
		]) as Record<AnswerName, Outcome>),
		...of.but,
	};
}

/** What a launch cannot do without. */
const NEEDED = { refusal: 'SLIPWAY_ENGINE_FAILED', broken: 'SLIPWAY_ENGINE_UNREACHABLE' } as const;
/** What goes on without an answer, or has another way to the same end. */
const SPARE = outcomes({ refusal: 'works', nonsense: 'works', broken: 'works' });

const EXPECTED: Readonly<Record<RequestName, Readonly<Record<AnswerName, Outcome>>>> = {
	'the look at the image': outcomes({
		...NEEDED,
		nonsense: 'SLIPWAY_ENGINE_FAILED',
		but: { '404': 'SLIPWAY_IMAGE_MISSING', '409': 'SLIPWAY_IMAGE_MISSING' },
	}),
	// What is not there is made.
	'the look at a volume': outcomes({ ...NEEDED, nonsense: 'works', but: { '404': 'works', '409': 'works' } }),
	'the making of a volume': outcomes({ ...NEEDED, nonsense: 'works' }),
	'a folder in a volume': outcomes({ ...NEEDED, nonsense: 'works' }),
	create: outcomes({ ...NEEDED, nonsense: 'SLIPWAY_ENGINE_FAILED' }),
	inspect: outcomes({ ...NEEDED, nonsense: 'SLIPWAY_SPEC_DRIFT' }),
	// Whatever it is, it is no upgrade.
	attach: outcomes({
		...NEEDED,
		nonsense: 'SLIPWAY_ENGINE_FAILED',
		but: { 'half an answer': 'SLIPWAY_ENGINE_FAILED' },
	}),
	start: outcomes({ ...NEEDED, nonsense: 'works' }),
	// What cannot be waited for is not started.
	wait: outcomes({
		...NEEDED,
		nonsense: 'works',
		but: { '404': 'works', 'half an answer': 'works' },
	}),
	kill: SPARE,
	remove: SPARE,
	list: SPARE,
	events: SPARE,
};

/** Launches, talks and stops. Resolves with how far that went. */
async function launchIn(engine: FakeEngine, request: RequestName): Promise<Outcome> {
	const volumes = request.includes('volume') ? [{ name: 'v', target: '/v' }] : [];
	const entry = server('any', { kind: 'image', reference: 'any:1' }, { volumes });
	await using bench = await openBench([entry], { socketPath: engine.socketPath });
	const outcome: unknown = await within(
		bench.launcher.launch(entry.name, neverAborted(), 'test').catch((error: unknown) => error),
		'the launch',
		PATIENCE_MS,
	);
	if (outcome instanceof Error) {
		assert.ok(outcome instanceof SlipwayError, String(outcome));
		assert.ok(!`${outcome.message} ${JSON.stringify(outcome.details)}`.includes(SECRET), outcome.message);
		assert.equal(engine.containers.size, 0, 'a container is left of the launch');
		return outcome.code;
	}
	const channel = outcome as Channel;
	await talk(channel).request('ping');
	await within(channel.stop('prompt'), 'the stop', PATIENCE_MS);
	assert.equal((await within(channel.ended, 'the end')).cause, 'stopped');
	return 'works';
}

describe('an answer of the engine', { concurrency: 48 }, () => {
	for (const request of Object.keys(REQUESTS) as RequestName[]) {
		for (const answer of Object.keys(ANSWERS) as AnswerName[]) {
			const expected = EXPECTED[request][answer];
			test(`to ${request}: ${answer}: ${expected}`, async () => {
				await using engine = await new FakeEngine(REQUESTS[request], ANSWERS[answer]).open();
				engine.hasVolumes = request === 'the look at a volume';
				engine.isStubborn = request === 'kill' || request === 'remove';
				// Only the sweep at the end is left to try it again.
				if (request === 'remove') engine.answersMax = 1;
				assert.equal(await launchIn(engine, request), expected);
				assert.ok(engine.answered > 0, 'it was not asked for');
				assert.deepEqual([...engine.containers.keys()], [], 'containers are left');
				await until('no connection is left open', () => engine.connections === 0);
			});
		}
	}
});

describe('what comes on an attach', () => {
	const bad: readonly (readonly [what: string, bytes: Buffer])[] = [
		['an error of the engine in a frame', frameOf(3, SECRET)],
		['a frame of a type that there is not', frameOf(7, 'x')],
		['a frame of 4 GiB', Buffer.from([1, 0, 0, 0, 255, 255, 255, 255])],
		['padding that is not zero', Buffer.from([1, 0, 0, 1, 0, 0, 0, 1, 0x78])],
		['no frame at all', Buffer.from('{"jsonrpc":"2.0","method":"x"}\n')],
	];
	for (const [what, bytes] of bad) {
		test(`${what}: nothing of it is passed on, the channel ends, and the container is removed`, async () => {
			await using engine = await new FakeEngine(/^$/, () => undefined).open();
			engine.isStubborn = true;
			await using bench = await openBench([server('any', { kind: 'image', reference: 'any:1' })], {
				socketPath: engine.socketPath,
			});
			const channel = await bench.launch('any');
			const said: string[] = [];
			channel.stream.on('data', (chunk: Buffer) => said.push(String(chunk)));
			const [container] = engine.containers.values();
			const stdio = container?.stdio ?? assert.fail('no attach');
			const closed = once(stdio, 'close');
			stdio.write(Buffer.concat([frameOf(1, 'good'), bytes, frameOf(1, 'late')]));
			assert.equal((await within(channel.ended, 'the end')).cause, 'frame');
			await within(closed, 'the end of the connection');
			assert.equal(said.join(''), 'good');
			await until('it is removed', () => engine.containers.size === 0);
		});
	}
});
