/** The proxy over real sockets: who gets out, to where, and what nobody gets past it. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { type AddressInfo, connect, createServer, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { EgressTally } from '../../src/egress/contract.ts';
import { EGRESS_LIMITS } from '../../src/limits.ts';
import { createLog } from '../../src/log.ts';
import { type EgressBench, openEgressBench, PLACES, PUBLIC } from '../support/egress-bench.ts';

const NAMES = { 'good.example': [PUBLIC], 'bad.example': [PUBLIC] };
const ONE = ['good.example:80', 'good.example:443'];

function get(host: string, headers = ''): string {
	return `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n`;
}

function connectTo(authority: string): string {
	return `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
}

function statusOf(answer: string): number {
	return Number(/^HTTP\/1\.1 (\d{3}) /.exec(answer)?.[1]);
}

function tallyOf({ proxy }: EgressBench, server = 'one'): EgressTally | undefined {
	return proxy.report.tallies.find(([name]) => name === server)?.[1];
}

test('plain HTTP to a host that is allowed gets there, and is counted', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE });
	const answer = await bench.say(
		'POST http://good.example/a/b?c=d HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\nX-Mine: 1\r\n\r\nbody',
	);
	assert.equal(statusOf(answer), 200, answer);
	assert.match(answer, /POST \/a\/b\?c=d body/);
	assert.deepEqual(bench.connected, [`${PUBLIC} 80`]);
	assert.equal(bench.requests[0]?.headers.host, 'good.example');
	assert.equal(bench.requests[0]?.headers['x-mine'], '1');
	assert.equal(tallyOf(bench)?.allowed, 1);
	assert.equal(tallyOf(bench)?.denied, 0);
});

test('a tunnel carries bytes both ways, those too that came before it was there, and each end by itself', async () => {
	const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
	await once(echo, 'listening');
	const { port } = echo.address() as AddressInfo;
	await using bench = await openEgressBench({
		names: NAMES,
		one: ONE,
		connect: () => connect({ host: '127.0.0.1', port, allowHalfOpen: true }),
	});
	const socket = await bench.open();
	const big = 'x'.repeat(2_000_000);
	let heard = '';
	socket.on('data', (chunk: Buffer) => {
		heard += chunk.toString('latin1');
	});
	socket.write(`${connectTo('good.example:443')}early `);
	socket.end(big);
	await once(socket, 'end');
	assert.equal(heard, `HTTP/1.1 200 Connection Established\r\n\r\nearly ${big}`);
	assert.deepEqual(bench.connected, [`${PUBLIC} 443`]);
	echo.close();
});

const FORBIDDEN: readonly (readonly [what: string, message: string, target: string])[] = [
	['another host', get('bad.example'), 'bad.example:80'],
	['another port', get('good.example:8080'), 'good.example:8080'],
	['another host by CONNECT', connectTo('bad.example:443'), 'bad.example:443'],
	['a name below', get('a.good.example'), 'a.good.example:80'],
	['a name that ends alike', get('xgood.example'), 'xgood.example:80'],
	['the public address itself', get(PUBLIC), `${PUBLIC}:80`],
	['a private address', connectTo('10.0.0.1:443'), '10.0.0.1:443'],
	['loopback of IPv6', connectTo('[::1]:443'), '[::1]:443'],
	['loopback, mapped', connectTo('[::ffff:127.0.0.1]:443'), '[::ffff:7f00:1]:443'],
];

for (const [what, message, target] of FORBIDDEN) {
	test(`${what} is refused before anybody hears of it, and told with the line that would allow it`, async () => {
		await using bench = await openEgressBench({ names: NAMES, one: ONE });
		const answer = await bench.say(message);
		assert.equal(statusOf(answer), 403, answer);
		assert.ok(answer.includes(`add "${target}" to its "egress"`), answer);
		assert.deepEqual([bench.resolved, bench.connected], [[], []]);
		const { at, ...denial } = tallyOf(bench)?.latest[0] ?? { at: '' };
		assert.deepEqual(denial, { target, reason: 'rule', count: 1, allow: target });
		assert.ok(Math.abs(Date.now() - Date.parse(at)) < 60_000, at);
	});
}

test('names are compared as DNS does: whatever their case, with or without a dot at the end', async () => {
	await using bench = await openEgressBench({
		names: NAMES,
		one: ['*.good.example:80'],
		resolve: async () => [PUBLIC],
	});
	assert.equal(statusOf(await bench.say(get('A.GOOD.Example.'))), 200);
	assert.deepEqual(bench.resolved, ['a.good.example']);
	assert.equal(statusOf(await bench.say(get('good.example'))), 403);
});

const PRIVATE: Readonly<Record<string, readonly string[]>> = {
	'a private address': ['10.1.2.3'],
	loopback: ['127.0.0.1'],
	'the metadata service': ['169.254.169.254'],
	'carrier-grade NAT': ['100.64.1.1'],
	'a private address of IPv6': ['fd00::1'],
	'an IPv4 address in one of IPv6': ['::ffff:10.0.0.1'],
	'a public and a private address': [PUBLIC, '192.168.1.1'],
	'a private address of IPv6 beside a public one of IPv4': [PUBLIC, 'fe80::1'],
	'too many addresses': Array.from({ length: 65 }, () => PUBLIC),
};

for (const [what, addresses] of Object.entries(PRIVATE)) {
	test(`a public name with ${what} is refused, and nothing is connected to`, async () => {
		await using bench = await openEgressBench({ names: { 'good.example': addresses }, one: ONE });
		for (const message of [get('good.example'), connectTo('good.example:443')]) {
			const answer = await bench.say(message);
			assert.equal(statusOf(answer), 403, answer);
			assert.match(answer, /is refused: it (?:leads to an address that is not public|has too many addresses)/);
		}
		assert.deepEqual(bench.connected, []);
		assert.deepEqual(
			tallyOf(bench)?.latest.map(({ reason, allow }) => [reason, allow]),
			[
				['address', undefined],
				['address', undefined],
			],
		);
	});
}

test('a name that changes between two looks is looked at once: what was checked is what is connected to', async () => {
	const answers = [[PUBLIC], ['10.0.0.1'], ['10.0.0.1']];
	await using bench = await openEgressBench({ one: ONE, resolve: async () => answers.shift() ?? [] });
	assert.equal(statusOf(await bench.say(get('good.example'))), 200);
	assert.deepEqual(bench.resolved, ['good.example']);
	assert.deepEqual(bench.connected, [`${PUBLIC} 80`]);
	assert.equal(statusOf(await bench.say(get('good.example'))), 403);
	assert.deepEqual(bench.connected, [`${PUBLIC} 80`]);
});

test('addresses are tried in turn, IPv4 first, and no more of them than may be', async () => {
	const addresses = ['2606:4700::1111', ...[1, 2, 3, 4, 5].map((last) => `93.184.215.${last}`)];
	const refusing = (): Socket => {
		const socket = new Socket();
		queueMicrotask(() => socket.destroy(new Error('refused')));
		return socket;
	};
	await using bench = await openEgressBench({ names: { 'good.example': addresses }, one: ONE, connect: refusing });
	assert.equal(statusOf(await bench.say(get('good.example'))), 502);
	assert.deepEqual(
		bench.connected,
		[1, 2, 3, 4].map((last) => `93.184.215.${last} 80`),
	);
	assert.equal(tallyOf(bench)?.allowed ?? 0, 0);
});

test('a name without an address, and one that cannot be resolved, are the way’s fault and no denial', async () => {
	await using bench = await openEgressBench({
		one: ['none.example:80', 'broken.example:80'],
		resolve: async (name) => (name === 'none.example' ? [] : Promise.reject(new Error('SERVFAIL'))),
	});
	assert.match(await bench.say(get('none.example')), /^HTTP\/1\.1 502 .*it has no address/s);
	assert.match(await bench.say(get('broken.example')), /^HTTP\/1\.1 502 .*its name cannot be resolved/s);
	assert.equal(tallyOf(bench)?.denied ?? 0, 0);
});

test('a resolver that does not answer is waited for so long, and told to stop', async (t) => {
	let stopped = false;
	const asked = Promise.withResolvers<void>();
	t.mock.method(AbortSignal, 'timeout', (ms: number) => {
		assert.ok(ms === EGRESS_LIMITS.resolveTimeoutMs || ms === EGRESS_LIMITS.connectTimeoutMs);
		return timeout.signal;
	});
	const timeout = new AbortController();
	await using bench = await openEgressBench({
		one: ONE,
		resolve: (_, signal) => {
			signal.addEventListener('abort', () => {
				stopped = true;
			});
			asked.resolve();
			return new Promise(() => undefined);
		},
	});
	const answer = bench.say(get('good.example'));
	await asked.promise;
	timeout.abort();
	assert.match(await answer, /^HTTP\/1\.1 504 .*not resolved in time/s);
	assert.equal(stopped, true);
});

test('each server has its own rules, and the proxy’s address in the network of another does not lend that one’s', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ['good.example:80'], two: ['bad.example:80'] });
	assert.equal(statusOf(await bench.say(get('bad.example'), 'one')), 403);
	assert.equal(statusOf(await bench.say(get('bad.example'), 'two')), 200);
	const crossing = await bench.open('one', PLACES.two.proxy);
	crossing.write(get('bad.example'));
	crossing.resume();
	await once(crossing, 'close');
	assert.equal(crossing.bytesRead, 0);
	assert.equal(bench.requests.length, 1);
});

test('whoever is in no network is cut without a word', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE });
	assert.equal(await bench.say(get('good.example'), 'stranger'), '');
	assert.deepEqual(bench.connected, []);
	bench.proxy.apply({ revision: 9, networks: [] });
	assert.equal(await bench.say(get('good.example'), 'one'), '');
});

test('a rule that goes cuts what went by it, and leaves the rest', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ['good.example:443', 'bad.example:443'] });
	const [going, staying] = [await bench.open(), await bench.open()];
	going.write(connectTo('good.example:443'));
	staying.write(connectTo('bad.example:443'));
	await Promise.all([once(going, 'data'), once(staying, 'data')]);
	bench.allow({ one: ['bad.example:443'] });
	going.resume();
	await once(going, 'close');
	staying.write('GET / HTTP/1.1\r\nHost: bad.example\r\n\r\n');
	const [chunk] = await once(staying, 'data');
	assert.match(String(chunk), /^HTTP\/1\.1 200/);
	staying.destroy();
});

test('a rule that goes while its name is being resolved lets nothing out', async () => {
	const answer = Promise.withResolvers<readonly string[]>();
	const asked = Promise.withResolvers<void>();
	await using bench = await openEgressBench({
		one: ONE,
		resolve: () => {
			asked.resolve();
			return answer.promise;
		},
	});
	const said = bench.say(get('good.example'));
	await asked.promise;
	bench.allow({ one: [] });
	answer.resolve([PUBLIC]);
	assert.equal(statusOf(await said), 403);
	assert.equal(bench.requests.length, 0);
});

/** Requests that two readers could read in two ways, or that ask for more than a proxy does. */
const ATTACKS: Readonly<Record<string, string>> = {
	'a request in origin form': 'GET / HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'a request in asterisk form': 'OPTIONS * HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'https in absolute form': 'GET https://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'another scheme': 'GET ftp://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'a user in the target': 'GET http://good.example@bad.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'a fragment in the target': 'GET http://good.example/#@bad.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'a backslash in the target': 'GET http://good.example\\@bad.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'another Host': 'GET http://good.example/ HTTP/1.1\r\nHost: bad.example\r\n\r\n',
	'another port in Host': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example:8080\r\n\r\n',
	'two Hosts': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nHost: bad.example\r\n\r\n',
	'two Hosts alike': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nHost: good.example\r\n\r\n',
	'no Host': 'GET http://good.example/ HTTP/1.1\r\n\r\n',
	'no Host, in HTTP/1.0': 'GET http://good.example/ HTTP/1.0\r\n\r\n',
	'a length and chunks': `${get('good.example', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n')}0\r\n\r\n`,
	'two lengths': `${get('good.example', 'Content-Length: 4\r\nContent-Length: 5\r\n')}body`,
	'a length with a sign': `${get('good.example', 'Content-Length: +4\r\n')}body`,
	'a list of lengths': `${get('good.example', 'Content-Length: 4, 4\r\n')}body`,
	'another encoding before chunks': `${get('good.example', 'Transfer-Encoding: gzip, chunked\r\n')}0\r\n\r\n`,
	'chunks twice': `${get('good.example', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n')}0\r\n\r\n`,
	'an unknown encoding': `${get('good.example', 'Transfer-Encoding: xchunked\r\n')}0\r\n\r\n`,
	'an encoding behind a tab': `${get('good.example', 'Transfer-Encoding: \tchunked, identity\r\n')}0\r\n\r\n`,
	'a folded header': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nX: a\r\n b\r\n\r\n',
	'a space before the colon': 'GET http://good.example/ HTTP/1.1\r\nHost : good.example\r\n\r\n',
	'a bare CR': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example\rX: y\r\n\r\n',
	'bare line feeds': 'GET http://good.example/ HTTP/1.1\nHost: good.example\n\n',
	'a NUL in a header': 'GET http://good.example/ HTTP/1.1\r\nHost: good.example\r\nX: a\0b\r\n\r\n',
	'a control character in the target': 'GET http://good.example/\x01 HTTP/1.1\r\nHost: good.example\r\n\r\n',
	TRACE: 'TRACE http://good.example/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'too many bytes of headers': get('good.example', `X: ${'x'.repeat(EGRESS_LIMITS.headerBytesMax)}\r\n`),
	'CONNECT without a port': 'CONNECT good.example HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'CONNECT with a path': 'CONNECT good.example:443/ HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'CONNECT with a URL': 'CONNECT http://good.example:443 HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'CONNECT with a user': 'CONNECT a@good.example:443 HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'CONNECT with a body': 'CONNECT good.example:443 HTTP/1.1\r\nHost: good.example\r\nContent-Length: 4\r\n\r\nbody',
	'CONNECT to port 0': 'CONNECT good.example:0 HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'CONNECT to a port above all': 'CONNECT good.example:65979 HTTP/1.1\r\nHost: good.example\r\n\r\n',
	'an address in another notation': 'CONNECT 0x7f.1:443 HTTP/1.1\r\nHost: 0x7f.1\r\n\r\n',
	'an address as one number': 'CONNECT 2130706433:443 HTTP/1.1\r\nHost: x\r\n\r\n',
	'a name of one part': 'CONNECT gateway:443 HTTP/1.1\r\nHost: gateway\r\n\r\n',
	'no HTTP at all': '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n',
	'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
};

for (const [what, bytes] of Object.entries(ATTACKS)) {
	test(`${what}: refused, and nothing goes out`, async () => {
		await using bench = await openEgressBench({ names: NAMES, one: [...ONE, 'bad.example:80'] });
		const answer = await bench.say(bytes);
		assert.ok([400, 431].includes(statusOf(answer)), answer);
		assert.deepEqual([bench.connected, bench.resolved], [[], []]);
		assert.equal(tallyOf(bench)?.latest[0]?.reason, 'request');
	});
}

test('what is of the connection stays on it, whatever Connection names', async () => {
	await using bench = await openEgressBench({
		names: NAMES,
		one: ONE,
		answer: (_, response) => {
			response.writeHead(200, [
				...['Connection', 'X-Hop, close', 'X-Hop', '1', 'Keep-Alive', 'timeout=9', 'Proxy-Authenticate', 'Basic'],
				...['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'Upgrade', 'h2c', 'Content-Length', '2'],
			]);
			response.end('ok');
		},
	});
	const answer = await bench.say(
		get(
			'good.example',
			'Connection: X-Secret, content-length, host\r\nX-Secret: 1\r\nProxy-Authorization: Basic x\r\nProxy-Connection: keep-alive\r\nUpgrade: websocket\r\nTE: trailers\r\nKeep-Alive: 9\r\nContent-Length: 0\r\nExpect: 100-continue\r\nAccept: */*\r\n',
		),
	);
	const seen = bench.requests[0]?.rawHeaders.filter((_, index) => index % 2 === 0);
	assert.deepEqual(seen, ['Host', 'Accept', 'Content-Length', 'Connection']);
	assert.doesNotMatch(answer, /x-hop|keep-alive|proxy-auth|upgrade/i);
	assert.deepEqual(answer.match(/Set-Cookie: \w=\d/g), ['Set-Cookie: a=1', 'Set-Cookie: b=2']);
	assert.match(answer, /\r\n\r\nok$/);
});

test('a body in chunks goes on in chunks, with a method too that has none as a rule, and hides no second request', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE });
	const hidden = 'GET /hidden HTTP/1.1\r\nHost: good.example\r\n\r\n';
	const chunked = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
	const answer = await bench.say(`${get('good.example', 'Transfer-Encoding: chunked\r\n')}${chunked}`);
	assert.ok(answer.includes(`GET / ${hidden}`), answer);
	assert.deepEqual(
		bench.requests.map(({ url }) => url),
		['/'],
	);
});

test('one connection has one request: what follows it goes nowhere', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE });
	const answer = await bench.say(get('good.example') + get('bad.example') + get('good.example'));
	assert.equal(statusOf(answer), 200);
	assert.equal(bench.requests.length, 1);
});

test('an answer that is none, or changes the protocol, is 502', async () => {
	for (const bytes of [
		'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
		'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
		`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(EGRESS_LIMITS.headerBytesMax)}\r\n\r\n`,
		'220 mail.example ESMTP\r\n',
		'',
	]) {
		const host = createServer((socket) => {
			socket.on('error', () => undefined);
			socket.once('data', () => socket.end(bytes));
		}).listen(0, '127.0.0.1');
		await once(host, 'listening');
		const { port } = host.address() as AddressInfo;
		{
			await using bench = await openEgressBench({
				names: NAMES,
				one: ONE,
				connect: () => connect({ host: '127.0.0.1', port }),
			});
			assert.equal(statusOf(await bench.say(get('good.example'))), 502, bytes.slice(0, 60));
		}
		host.close();
	}
});

test('an answer that breaks off is cut short, and does not look whole', async () => {
	await using bench = await openEgressBench({
		names: NAMES,
		one: ONE,
		answer: (request, response) => {
			response.write('half');
			setImmediate(() => request.socket.destroy());
		},
	});
	const answer = await bench.say(get('good.example'));
	assert.match(answer, /half/);
	assert.doesNotMatch(answer, /\r\n0\r\n\r\n$/);
});

test('a client that goes takes its connection to the host with it', async () => {
	const arrived = Promise.withResolvers<import('node:http').IncomingMessage>();
	await using bench = await openEgressBench({ names: NAMES, one: ONE, answer: (request) => arrived.resolve(request) });
	const socket = await bench.open();
	socket.write(get('good.example'));
	const request = await arrived.promise;
	socket.destroy();
	await once(request.socket, 'close');
});

test('a client that does not read stops the host', async () => {
	let written = 0;
	const stopped = Promise.withResolvers<void>();
	await using bench = await openEgressBench({
		names: NAMES,
		one: ONE,
		answer: (_, response) => {
			const chunk = Buffer.alloc(64 * 1024);
			const fill = (): void => {
				while (response.write(chunk) && written < 100_000_000) written += chunk.length;
				stopped.resolve();
			};
			response.on('drain', fill);
			fill();
		},
	});
	const socket = await bench.open();
	socket.pause();
	socket.write(get('good.example'));
	await stopped.promise;
	// What the kernel's buffers of two connections take, and no more.
	await new Promise((resolve) => setTimeout(resolve, 300));
	assert.ok(written < 40_000_000, `${written} bytes`);
	socket.destroy();
});

test('a server has so many connections and no more, and another one its own', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE, two: ['good.example:80'] });
	const held: Socket[] = [];
	for (let i = 0; i < EGRESS_LIMITS.connectionsPerServerMax; i++) {
		const socket = await bench.open();
		socket.write(connectTo('good.example:443'));
		await once(socket, 'data');
		held.push(socket);
	}
	assert.equal(await bench.say(get('good.example')), '');
	assert.equal(tallyOf(bench)?.latest[0]?.reason, 'connections');
	assert.equal(statusOf(await bench.say(get('good.example'), 'two')), 200);
	for (const socket of held) {
		socket.resume();
		socket.end();
	}
	await Promise.all(held.map((socket) => once(socket, 'close')));
	let status = 0;
	while (status !== 200) status = statusOf(await bench.say(get('good.example'))) || 0;
});

test('what is remembered and logged of denials is bounded, whatever a server asks for', async () => {
	const stream = new PassThrough();
	let lines = '';
	stream.on('data', (chunk: Buffer) => {
		lines += chunk.toString();
	});
	await using bench = await openEgressBench({ names: NAMES, one: ONE, log: createLog('info', stream) });
	for (let i = 0; i < 40; i++) await bench.say(get(`host${i}.example`));
	await bench.say(get('host39.example'));
	const tally = tallyOf(bench);
	assert.equal(tally?.denied, 41);
	assert.equal(tally.latest.length, EGRESS_LIMITS.denialsKeptMax);
	assert.deepEqual([tally.latest[0]?.target, tally.latest[0]?.count], ['host39.example:80', 2]);
	assert.equal(tally.latest.at(-1)?.target, 'host8.example:80');
	const logged = lines.split('\n').filter((line) => line.includes('egress denied'));
	assert.equal(logged.length, EGRESS_LIMITS.logLinesPerMinuteMax);
	const { time: _, ...line } = JSON.parse(logged[0] ?? '');
	assert.deepEqual(line, {
		level: 'warn',
		message: 'egress denied',
		reason: 'No line of its "egress" allows it: "host0.example:80" would.',
		server: 'one',
		target: 'host0.example:80',
	});
});

test('a health check of its own machine is answered, and nothing else there', async () => {
	await using bench = await openEgressBench({ names: NAMES, one: ONE });
	const ask = async (path: string): Promise<number | undefined> => {
		const outgoing = httpRequest({ host: '127.0.0.1', port: bench.port, path, localAddress: '127.0.0.1' }).end();
		const [response] = await once(outgoing, 'response');
		response.resume();
		return response.statusCode;
	};
	assert.equal(await ask('/health'), 200);
	assert.equal(await ask('http://good.example/'), 404);
	const socket = connect({ host: '127.0.0.1', port: bench.port, localAddress: '127.0.0.1' });
	socket.write(connectTo('good.example:443'));
	socket.resume();
	await once(socket, 'close');
	assert.equal(socket.bytesRead, 0);
	assert.deepEqual(bench.connected, []);
});
