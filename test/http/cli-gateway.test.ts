/** How the verbs come to the gateway: by another name than it is asked for, by TLS, with a key that lives as long as they do. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { withGateway } from '../../src/cli/gateway.ts';
import { list } from '../../src/cli/list.ts';
import { SlipwayError } from '../../src/errors.ts';
import { catalogTold } from '../../src/http/told.ts';
import { GATEWAY_CLIENT_LIMITS } from '../../src/limits.ts';
import { openSqliteStore } from '../../src/store/sqlite.ts';
import { CertificateAuthority } from '../support/certificates.ts';
import { API_KEY, startHttpStack } from '../support/http-stack.ts';
import { invocationOf } from '../support/invocation.ts';

async function runList(environment: Record<string, string>, ...args: readonly string[]): Promise<string> {
	const printed: string[] = [];
	const print = (text: string): void => void printed.push(text);
	assert.equal(await list(invocationOf(args, { environment, print })), 0);
	return printed.join('\n');
}

function isRefused(code: string, says: RegExp) {
	return (error: unknown): boolean => error instanceof SlipwayError && error.code === code && says.test(error.message);
}

async function folderOf(t: TestContext): Promise<string> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-way-'));
	t.after(() => rm(folder, { recursive: true }));
	return folder;
}

test('the host that it asks for is the public one, whatever the way there is called', async (t) => {
	const stack = await startHttpStack(t, { config: { allowedHosts: ['mcp.example.com'] } });
	const way = { SLIPWAY_API_KEY: API_KEY, SLIPWAY_URL: `http://127.0.0.1:${stack.port}` };
	assert.match(await runList({ ...way, SLIPWAY_PUBLIC_URL: 'https://mcp.example.com' }), /^alpha +image test +ready/m);
	await assert.rejects(runList(way), isRefused('SLIPWAY_HOST_REFUSED', /./));
	const elsewhere = ['--url', `http://127.0.0.1:${stack.port}`];
	await assert.rejects(
		runList({ ...way, SLIPWAY_PUBLIC_URL: 'https://mcp.example.com' }, ...elsewhere),
		isRefused('SLIPWAY_HOST_REFUSED', /./),
	);
});

test('by TLS it goes to who is known by a CA of its own, or by the certificate itself, and to nobody else', async (t) => {
	const ca = await CertificateAuthority.make(t);
	const { certFile, keyFile } = await ca.sign('server');
	const stack = await startHttpStack(t, { config: { tls: { certFile, keyFile, clientCaFile: undefined } } });
	const environment = {
		SLIPWAY_API_KEY: API_KEY,
		SLIPWAY_URL: `https://127.0.0.1:${stack.port}`,
		SLIPWAY_PUBLIC_URL: `https://localhost:${stack.port}`,
	};
	for (const trusted of [ca.own.certFile, certFile])
		assert.match(await runList({ ...environment, SLIPWAY_CA_FILE: trusted }), /^alpha/m);
	assert.match(await runList(environment, '--ca-file', ca.own.certFile), /^alpha/m);
	const untrusted = isRefused('SLIPWAY_GATEWAY_UNREACHABLE', /certificate .* is not trusted .*--ca-file/);
	await assert.rejects(runList(environment), untrusted);
	const another = await CertificateAuthority.make(t, 'another');
	await assert.rejects(runList({ ...environment, SLIPWAY_CA_FILE: another.own.certFile }), untrusted);
	const named = { ...environment, SLIPWAY_PUBLIC_URL: `https://mcp.example.com:${stack.port}` };
	await assert.rejects(runList({ ...named, SLIPWAY_CA_FILE: ca.own.certFile }), untrusted);
});

test('a key of its own is made good again while the verb goes on, unless somebody has revoked it', async (t) => {
	const folder = await folderOf(t);
	const stack = await startHttpStack(t, { folder });
	const environment = {
		SLIPWAY_DATA: folder,
		SLIPWAY_PORT: String(stack.port),
		SLIPWAY_AUDIT: 'off',
	};
	const store = openSqliteStore(folder);
	t.after(() => store.close());
	const own = () => store.listKeys().find(({ name }) => name.startsWith('cli-'));
	let renew: () => void = () => assert.fail('it is not renewed');
	const { setInterval: real } = globalThis;
	t.mock.method(globalThis, 'setInterval', (callback: () => void, ms: number) => {
		if (ms === GATEWAY_CLIENT_LIMITS.keyRenewMs) renew = callback;
		return real(callback, ms);
	});
	const invocation = invocationOf([], { environment });
	await withGateway(
		invocation,
		{},
		{
			scopes: ['admin'],
			use: async (gateway) => {
				const made = own();
				assert.deepEqual(made?.scopes, ['admin']);
				assert.ok((made?.expiresAtMs ?? 0) <= Date.now() + GATEWAY_CLIENT_LIMITS.keyMs);
				store.saveKey({ ...(made ?? assert.fail()), expiresAtMs: Date.now() + 1000 });
				renew();
				assert.ok((own()?.expiresAtMs ?? 0) > Date.now() + GATEWAY_CLIENT_LIMITS.keyMs - 5000);
				assert.equal((await gateway.ask('/api/catalog', catalogTold)).revision, 1);
				store.deleteKey(made.name);
				renew();
				assert.equal(own(), undefined, 'it stays revoked');
				return 0;
			},
		},
	);
	assert.equal(own(), undefined);
});
