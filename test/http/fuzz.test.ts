/**
 * The HTTP side against a model of it (door-model.ts), in any order of requests of several callers; and raw bytes that are
 * nearly HTTP. Nothing that a client sends is a 5xx, and the gateway goes on.
 *
 * FUZZ_SECONDS is how long each of the two tries (3), FUZZ_SEED repeats what one has tried.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { text as readText } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { ERRORS, type ErrorCode } from '../../src/errors.ts';
import { aim, type Choice, choice, type DoorModel, expect, LISTED, OURS, textOf } from '../support/door-model.ts';
import { explore } from '../support/explore.ts';
import { ask, RawConnection } from '../support/http-client.ts';
import { API_KEY, type HttpStack, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { Cast } from '../support/played-server.ts';

const SECONDS = Number(process.env['FUZZ_SECONDS'] ?? 3);
const SEED = Number(process.env['FUZZ_SEED'] ?? randomInt(2 ** 31));
const timeout = SECONDS * 1000 + 60_000;
const COMMANDS_MAX = 40;
const ASKS_FOR_EACH_REVOKE = 20;

const SCRIPT = { answers: { 'tools/call': () => ({ content: [] }) } };

/** The gateway that a model is compared with. */
interface Real {
	readonly stack: HttpStack;
	readonly keys: Readonly<Record<Choice['who'], string | undefined>>;
	/** By the number of the model's session. */
	readonly ids: string[];
}

async function start(t: TestContext): Promise<Real> {
	const stack = await startHttpStack(t, { config: { allowedOrigins: [LISTED, OURS], corsOrigins: [LISTED] } });
	const cast = new Cast(stack.launcher, { alpha: SCRIPT, beta: SCRIPT });
	assert.ok(cast);
	const keyFor = async (name: string, ...scopes: readonly string[]): Promise<string> => {
		const body = JSON.stringify({ name, scopes });
		const { text } = await stack.send({ method: 'POST', path: '/api/keys', headers: POST_HEADERS, body });
		return JSON.parse(text).key;
	};
	const [second, limited] = [await keyFor('second', '*'), await keyFor('limited', 'server:alpha')];
	const wrong = `slipway_${'x'.repeat(43)}`;
	return { stack, keys: { operator: API_KEY, second, limited, wrong, nobody: undefined }, ids: [] };
}

/** One that gets all the way. */
const GOOD_CHOICE: Choice = {
	method: 'POST',
	path: '/servers/alpha/mcp',
	host: 'ours',
	origin: undefined,
	preflight: false,
	who: 'operator',
	session: 0,
	aimed: true,
	accept: 'both',
	type: 'json',
	encoding: 'none',
	version: 'none',
	body: 'initialize',
	headers: 'few',
};

const ACCEPT = {
	both: 'application/json, text/event-stream',
	stream: 'text/event-stream',
	json: 'application/json',
	neither: 'text/html',
};
const TYPE = { json: 'application/json', text: 'text/plain', latin1: 'application/json; charset=latin1' };
const VERSION = { none: undefined, good: '2025-11-25', junk: 'junk' };

function headersOf(asked: Choice, { keys, ids }: Real): string[] {
	const { session, origin } = asked;
	const key = keys[asked.who];
	const id =
		typeof session === 'number'
			? ids[session % Math.max(1, ids.length)]
			: { none: undefined, 'made up': 'A'.repeat(32), long: 'x'.repeat(1000) }[session];
	const lines: [name: string, value: string | undefined][] = [
		...{ ours: ['localhost'], evil: ['evil.example'], twice: ['localhost', 'localhost'], none: [] }[asked.host].map(
			(host): [string, string] => ['Host', host],
		),
		['Origin', origin],
		['Access-Control-Request-Method', asked.preflight ? 'POST' : undefined],
		['Authorization', key === undefined ? undefined : `Bearer ${key}`],
		['Mcp-Session-Id', id],
		['Accept', ACCEPT[asked.accept]],
		['Content-Type', TYPE[asked.type]],
		['Content-Encoding', asked.encoding === 'none' ? undefined : asked.encoding],
		['Mcp-Protocol-Version', VERSION[asked.version]],
		...Array.from({ length: asked.headers === 'many' ? 65 : 0 }, (_, n): [string, string] => [`X-${n}`, '1']),
		['X-Large', asked.headers === 'large' ? 'x'.repeat(17 * 1024) : undefined],
	];
	return lines.flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
}

interface Told {
	readonly status: number;
	readonly headers: Readonly<Record<string, unknown>>;
	readonly text: string;
}

async function send(asked: Choice, real: Real): Promise<Told> {
	const { method, path } = asked;
	const body = method === 'POST' ? textOf(asked.body) : undefined;
	const response = await ask(real.stack.port, {
		method,
		path,
		headers: headersOf(asked, real),
		...(body === undefined ? {} : { body }),
	});
	const status = response.statusCode ?? 0;
	// A standing stream has no end.
	const stands = method === 'GET' && response.headers['content-type'] === 'text/event-stream';
	if (stands) response.destroy();
	return { status, headers: response.headers, text: stands ? '' : await readText(response) };
}

/** What is so of every answer. */
function assertWhole({ status, headers, text }: Told, { origin, method }: Choice, { keys }: Real): void {
	assert.ok(status < 500, text);
	assert.match(String(headers['content-security-policy']), /^default-src 'none';/);
	const { 'access-control-allow-origin': readable } = headers;
	// Bytes that Node did not read as a request have no origin.
	if (status !== 431) assert.equal(readable, origin === LISTED ? LISTED : undefined);
	else assert.ok(readable === undefined || (readable === LISTED && origin === LISTED));
	for (const key of Object.values(keys)) assert.ok(key === undefined || !text.includes(key));
	if (status < 400 || method === 'HEAD') return;
	const code: ErrorCode = JSON.parse(text).error.data.code;
	assert.equal(ERRORS[code].httpStatus, status, code);
}

class Ask implements fc.AsyncCommand<DoorModel, Real> {
	readonly #asked: Choice;

	constructor(asked: Choice) {
		this.#asked = asked;
	}

	check(): boolean {
		return true;
	}

	async run(model: DoorModel, real: Real): Promise<void> {
		const asked = aim(this.#asked, model);
		const { status, effect, of } = expect(asked, model);
		const told = await send(asked, real);
		assert.equal(told.status, status, told.text);
		assertWhole(told, asked, real);
		if (effect === 'calls') model.calls += 1;
		if (effect === 'ends' && of !== undefined) of.open = false;
		if (effect !== 'opens') return;
		const id = told.headers['mcp-session-id'];
		assert.ok(typeof id === 'string' && !real.ids.includes(id), 'a new id each time');
		real.ids.push(id);
		model.sessions.push({ path: asked.path, owner: asked.who, open: true });
	}

	toString(): string {
		return JSON.stringify(this.#asked);
	}
}

class Revoke implements fc.AsyncCommand<DoorModel, Real> {
	check({ revoked }: Readonly<DoorModel>): boolean {
		return !revoked;
	}

	async run(model: DoorModel, { stack }: Real): Promise<void> {
		const { status } = await stack.send({ method: 'DELETE', path: '/api/keys/second', headers: POST_HEADERS });
		assert.equal(status, 204);
		model.revoked = true;
		for (const session of model.sessions) if (session.owner === 'second') session.open = false;
	}

	toString(): string {
		return 'revoke';
	}
}

/** The calls that reached servers. */
function callsTo({ launcher }: HttpStack): number {
	const received = launcher.launched.items.flatMap((instance) => instance.received);
	return received.filter((line) => JSON.parse(line).method === 'tools/call').length;
}

test('in any order of requests, of several callers, the gateway answers what the model says', {
	timeout,
}, async (t) => {
	t.diagnostic(`FUZZ_SEED=${SEED}`);
	const asks = Array.from({ length: ASKS_FOR_EACH_REVOKE }, () => choice.map((asked) => new Ask(asked)));
	const commands = fc.commands([...asks, fc.constant(new Revoke())], { maxCommands: COMMANDS_MAX, size: 'max' });
	let asked = 0;
	const compare = async (tried: Iterable<fc.AsyncCommand<DoorModel, Real>>): Promise<void> => {
		const real = await start(t);
		const model: DoorModel = { sessions: [], revoked: false, calls: 0 };
		try {
			await new Ask(GOOD_CHOICE).run(model, real);
			await new Ask({ ...GOOD_CHOICE, body: 'call' }).run(model, real);
			await fc.asyncModelRun(() => ({ model, real }), tried);
			// Whatever came between: who has a session goes on, and who has none does not.
			for (const session of model.sessions.keys())
				await new Ask({ ...GOOD_CHOICE, body: 'call', session, aimed: true }).run(model, real);
			assert.equal(callsTo(real.stack), model.calls, 'no call but those of the model reached a server');
			const open = model.sessions.filter((session) => session.open).length;
			const live = [...real.stack.launcher.live].filter(({ stopped }) => stopped === undefined);
			assert.equal(live.length, open, 'an Instance for each session that is open');
			asked += model.calls;
		} finally {
			await real.stack.stop();
		}
	};
	await explore(commands, compare, { forMs: SECONDS * 1000, runsMin: 1, seed: SEED });
	t.diagnostic(`${asked} calls reached a server`);
});

/** Requests that are right, to be made nearly so. */
const GOOD = [
	'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n',
	`GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${API_KEY}\r\n\r\n`,
	`POST /servers/nobody/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${API_KEY}\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
	`POST /servers/alpha/mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${API_KEY}\r\nAccept: */*\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`,
	`DELETE /api/keys/some%C3%A9one%41 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${API_KEY}\r\n\r\n`,
	`OPTIONS /mcp HTTP/1.1\r\nHost: localhost\r\nOrigin: ${LISTED}\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: mcp-param-x\r\n\r\n`,
];
const PIECES = [
	'\r\n',
	'\n',
	'\r',
	'\0',
	' ',
	'\t',
	':',
	',',
	'%',
	'%00',
	'%zz',
	'/',
	'..',
	'//',
	'?',
	'#',
	'\\',
	'\u00e9',
	'\u00ff',
	'HTTP/1.1',
	'HTTP/1.0',
	'HTTP/2.0',
	'http://evil/',
	'CONNECT',
	'PRI',
	'Host: evil\r\n',
	'Content-Length: 5\r\n',
	'Content-Length: -1\r\n',
	'Transfer-Encoding: chunked\r\n',
	'Transfer-Encoding: gzip, chunked\r\n',
	'Expect: 100-continue\r\n',
	'Expect: x\r\n',
	'Upgrade: websocket\r\nConnection: upgrade\r\n',
	'Upgrade: h2c\r\nConnection: upgrade\r\n',
	'Connection: close\r\n',
	'Origin: null\r\n',
	'X-Request-Id: \u0001\r\n',
	'Mcp-Session-Id: \u00ff\r\n',
	'ffffffffffffffff\r\n',
	'0\r\n\r\n',
	'x'.repeat(17 * 1024),
];

interface Edit {
	readonly at: number;
	readonly cut: number;
	readonly put: string;
}

const edit: fc.Arbitrary<Edit> = fc.record({
	at: fc.nat({ max: 400 }),
	cut: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 2, arbitrary: fc.nat({ max: 30 }) }),
	put: fc.oneof(fc.constantFrom(...PIECES), fc.constant(''), fc.string({ unit: 'binary-ascii', maxLength: 5 })),
});
const bytes: fc.Arbitrary<string> = fc
	.array(fc.tuple(fc.constantFrom(...GOOD), fc.array(edit, { maxLength: 3 })), { minLength: 1, maxLength: 3 })
	.map((requests) =>
		requests
			.map(([good, edits]) =>
				edits.reduce((text, { at, cut, put }) => {
					const place = at % (text.length + 1);
					return text.slice(0, place) + put + text.slice(place + cut);
				}, good),
			)
			.join(''),
	);

test('bytes that are nearly HTTP are answered with no 5xx, and never left hanging', { timeout }, async (t) => {
	t.diagnostic(`FUZZ_SEED=${SEED}`);
	const stack = await startHttpStack(t, { config: { allowedOrigins: [LISTED], corsOrigins: [LISTED] } });
	const statuses = new Set<number>();
	const exchange = async (text: string): Promise<void> => {
		const connection = await new RawConnection(stack.port).connected();
		connection.write(Buffer.from(text, 'latin1'));
		connection.socket.end();
		const answer = await connection.closed;
		for (const [, status] of answer.matchAll(/HTTP\/1\.1 (\d{3}) /g)) {
			statuses.add(Number(status));
			assert.ok(Number(status) < 500, answer);
		}
		assert.ok(!answer.includes(API_KEY), 'nobody is told the key');
	};
	// As they are, so that it is known that they get far.
	for (const text of [...GOOD, 'nonsense\r\n\r\n']) await exchange(text);
	for (const status of [200, 204, 400, 404]) assert.ok(statuses.has(status), `${status} of ${[...statuses].join()}`);
	await explore(bytes, exchange, { forMs: SECONDS * 1000, runsMin: 5, seed: SEED });
	assert.equal((await stack.send({ path: '/health' })).status, 200);
	assert.equal(stack.launcher.live.size, 0);
});
