/** The port by TLS: nothing else is spoken there, certificates are replaced while it runs, and clients may need their own. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import fs from 'node:fs';
import { writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { type RequestOptions, request } from 'node:https';
import { syncBuiltinESMExports } from 'node:module';
import { text as readText } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { connect, TLSSocket } from 'node:tls';
import { health } from '../../src/cli/health.ts';
import type { Config } from '../../src/config.ts';
import { Certificates } from '../../src/http/certificates.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { CertificateAuthority, type Pair } from '../support/certificates.ts';
import { rawExchange } from '../support/http-client.ts';
import { AUTHORIZATION, initializeRequest, POST_HEADERS, startHttpStack } from '../support/http-stack.ts';
import { Inbox } from '../support/inbox.ts';

type Tls = NonNullable<Config['tls']>;

async function start(t: TestContext, clientCa?: CertificateAuthority) {
	const ca = await CertificateAuthority.make(t);
	const pair = await ca.sign('server');
	const tls: Tls = { certFile: pair.certFile, keyFile: pair.keyFile, clientCaFile: clientCa?.own.certFile };
	const logged = new Inbox<string>('a line of the log');
	const note = (line: string): void => logged.push(line);
	const log: Log = { ...SILENT_LOG, info: note, error: note, with: () => log };
	const stack = await startHttpStack(t, { config: { tls }, log });
	const options = { host: '127.0.0.1', servername: 'localhost', port: stack.port, ca: ca.own.cert, agent: false };
	/** By TLS, with a certificate or without. Resolves also with the certificate that was shown. */
	const get = async (path: string, more: RequestOptions = {}) => {
		let shown = '';
		const outgoing = request({ ...options, path, ...more });
		outgoing.once('socket', (socket) =>
			socket.once('secureConnect', () => {
				if (socket instanceof TLSSocket) shown = socket.getPeerCertificate().fingerprint256;
			}),
		);
		outgoing.end();
		const [response]: IncomingMessage[] = await once(outgoing, 'response');
		assert.ok(response !== undefined);
		return { status: response.statusCode, headers: response.headers, shown, text: await readText(response) };
	};
	return { ca, pair, tls, stack, options, get, logged };
}

/** Has files be looked at more often than a test could wait for. */
function watchClosely(t: TestContext): void {
	const { watchFile } = fs;
	const closely = (path: string, _: unknown, listener: fs.StatsListener): unknown =>
		watchFile(path, { interval: 20 }, listener);
	t.mock.method(fs, 'watchFile', closely as typeof fs.watchFile);
	syncBuiltinESMExports();
	t.after(() => {
		t.mock.restoreAll();
		syncBuiltinESMExports();
	});
}

/** As the command line runs it. */
function healthOf(environment: Record<string, string>): Promise<0 | 1 | 2> {
	return health({ args: [], environment, print: () => undefined } as unknown as Parameters<typeof health>[0]);
}

test('everything that there is by HTTP is there by TLS, and browsers are told to come by nothing else', async (t) => {
	const { stack, get } = await start(t);
	assert.equal((await get('/health')).status, 200);
	assert.equal((await get('/status')).status, 401);
	const bound = await get('/status', { headers: { ...AUTHORIZATION, host: '127.0.0.1' } });
	assert.equal(bound.status, 200);
	assert.match(String(bound.headers['strict-transport-security']), /^max-age=31536000$/);
	const local = await get('/status', { headers: { ...AUTHORIZATION, host: 'localhost' } });
	assert.equal(local.headers['strict-transport-security'], undefined);
	assert.equal((await get('/health', { headers: { host: 'evil' } })).status, 403);
	assert.equal(await healthOf({ SLIPWAY_PORT: String(stack.port), SLIPWAY_TLS_CERT_FILE: 'x' }), 0);
	assert.equal(await healthOf({ SLIPWAY_PORT: String(stack.port) }), 1, 'plain HTTP is no answer');
});

test('plain HTTP gets no byte, and TLS before 1.2 is not spoken', async (t) => {
	const { stack, tls } = await start(t);
	assert.equal(await rawExchange(stack.port, 'GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n'), '');
	// OpenSSL as it comes has no handshake with an older one, whatever is asked of it.
	assert.equal(new Certificates(tls, SILENT_LOG).read().minVersion, 'TLSv1.2');
});

test('files that are not there, or do not go together, keep it from starting', async (t) => {
	const ca = await CertificateAuthority.make(t);
	const { certFile, keyFile } = await ca.sign('server');
	const wrong: Tls[] = [
		{ certFile: `${certFile}x`, keyFile, clientCaFile: undefined },
		{ certFile, keyFile: `${keyFile}x`, clientCaFile: undefined },
		{ certFile, keyFile: ca.own.keyFile, clientCaFile: undefined },
		{ certFile: keyFile, keyFile, clientCaFile: undefined },
		{ certFile, keyFile, clientCaFile: `${certFile}x` },
		// Of an empty one Node would make all the CAs that there are.
		{ certFile, keyFile, clientCaFile: '/dev/null' },
		{ certFile, keyFile, clientCaFile: keyFile },
		{ certFile: '/dev/null', keyFile: '/dev/null', clientCaFile: undefined },
		{ certFile, keyFile: '/dev/null', clientCaFile: undefined },
	];
	for (const tls of wrong)
		await assert.rejects(startHttpStack(t, { config: { tls } }), { code: 'SLIPWAY_CONFIG_INVALID' });
});

test('a session works by TLS', async (t) => {
	const { stack, options } = await start(t);
	const outgoing = request({ ...options, method: 'POST', path: '/servers/alpha/mcp', headers: POST_HEADERS });
	outgoing.end(JSON.stringify(initializeRequest()));
	const instance = await stack.launcher.launched.next();
	const { id } = await instance.hearRequest('initialize');
	const serverInfo = { name: 'alpha', version: '1' };
	instance.say({ jsonrpc: '2.0', id, result: { protocolVersion: '2025-11-25', capabilities: {}, serverInfo } });
	const [response]: IncomingMessage[] = await once(outgoing, 'response');
	assert.equal(response?.statusCode, 200);
	assert.match(String(response?.headers['mcp-session-id']), /^[\w-]{32}$/);
	response?.resume();
});

test('a certificate that is replaced is shown from then on, and half of one is not taken', async (t) => {
	watchClosely(t);
	const { ca, pair, get, logged } = await start(t);
	const before = (await get('/health')).shown;
	const next = await ca.sign('next');
	await writeFile(pair.certFile, next.cert);
	await logged.first((line) => /cannot be read/.test(line));
	assert.equal((await get('/health')).shown, before, 'the key is still that of the one before');
	await writeFile(pair.keyFile, next.key);
	await logged.first((line) => /read again/.test(line));
	const after = await get('/health');
	assert.equal(after.status, 200);
	assert.notEqual(after.shown, before);
});

test('where clients need a certificate, one without gets not as far as HTTP, and one with it still needs the key', async (t) => {
	const clients = await CertificateAuthority.make(t, 'clients');
	const others = await CertificateAuthority.make(t, 'others');
	const { stack, get } = await start(t, clients);
	let begun = 0;
	const count = (): void => {
		begun += 1;
	};
	subscribe('http.server.request.start', count);
	t.after(() => unsubscribe('http.server.request.start', count));
	const mine = await clients.sign('me');
	const foreign = await others.sign('me');
	const as = ({ cert, key }: Pair): RequestOptions => ({ cert, key });
	for (const path of ['/health', '/status', '/servers/alpha/mcp'])
		for (const headers of [{}, AUTHORIZATION])
			for (const shown of [{}, as(foreign), as(others.own)]) await assert.rejects(get(path, { headers, ...shown }));
	assert.equal(begun, 0, 'no request began');
	assert.equal((await get('/health', as(mine))).status, 200);
	assert.equal((await get('/status', as(mine))).status, 401);
	assert.equal((await get('/status', { ...as(mine), headers: AUTHORIZATION })).status, 200);
	const environment = { SLIPWAY_PORT: String(stack.port), SLIPWAY_TLS_CERT_FILE: 'x', SLIPWAY_TLS_CLIENT_CA_FILE: 'x' };
	assert.equal(await healthOf(environment), 0);
	await stack.stop();
	assert.equal(await healthOf(environment), 1);
});

test('a CA that signs for clients no more lets none of them in, not by a handshake of before either', async (t) => {
	watchClosely(t);
	const clients = await CertificateAuthority.make(t, 'clients');
	const others = await CertificateAuthority.make(t, 'others');
	const { options, get, logged } = await start(t, clients);
	const { cert, key } = await clients.sign('me');
	/** By a handshake of before, where there was one. Resolves with what stands for this one. */
	const visit = async (before?: Buffer): Promise<Buffer | undefined> => {
		const socket = connect({ ...options, cert, key, ...(before === undefined ? {} : { session: before }) });
		socket.write('GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n');
		let session: Buffer | undefined;
		socket.on('session', (given: Buffer) => {
			session = given;
		});
		const closed = once(socket, 'close').then(() => assert.fail('cut'));
		await Promise.race([once(socket, 'data'), closed]);
		closed.catch(() => undefined);
		assert.equal(socket.isSessionReused(), before !== undefined);
		socket.destroy();
		return session;
	};
	const session = await visit();
	assert.ok(session !== undefined);
	await visit(session);
	await writeFile(clients.own.certFile, others.own.cert);
	await logged.first((line) => /read again/.test(line));
	await assert.rejects(visit(session));
	await assert.rejects(get('/health', { cert, key }));
	const { cert: newCert, key: newKey } = await others.sign('me');
	assert.equal((await get('/health', { cert: newCert, key: newKey })).status, 200);
});
