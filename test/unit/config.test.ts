import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readConfig, SETTINGS } from '../../src/config.ts';
import { SlipwayError } from '../../src/errors.ts';

function problemOf(environment: Record<string, string>): string {
	try {
		readConfig(environment);
	} catch (error) {
		assert.ok(error instanceof SlipwayError);
		assert.equal(error.code, 'SLIPWAY_CONFIG_INVALID');
		return error.message;
	}
	return assert.fail(`accepted: ${JSON.stringify(environment)}`);
}

describe('readConfig', () => {
	test('needs nothing, and an empty variable is one that is not set', () => {
		const empty = Object.fromEntries(Object.keys(SETTINGS).map((name) => [name, '']));
		assert.deepEqual(readConfig(empty), readConfig({}));
		assert.deepEqual(readConfig({ PATH: '/bin', HOME: '/' }), readConfig({}));
		const config = readConfig({});
		assert.equal(config.port, 8080);
		assert.equal(config.address, '127.0.0.1');
		assert.equal(config.auth, 'key');
		assert.equal(config.apiKey, undefined);
		assert.ok(
			Object.isFrozen(config) && Object.isFrozen(config.allowedHosts) && Object.isFrozen(config.allowedOrigins),
		);
	});

	test('refuses what is no setting, so that a misspelled one is noticed', () => {
		assert.match(problemOf({ SLIPWAY_PROT: '1' }), /SLIPWAY_PROT is no setting/);
		assert.match(problemOf({ SLIPWAY_PROT: '' }), /SLIPWAY_PROT is no setting/);
	});

	test('names every wrong setting at once', () => {
		const problem = problemOf({
			SLIPWAY_PORT: '0x50',
			SLIPWAY_AUTH: 'off',
			SLIPWAY_LOG_LEVEL: 'loud',
			SLIPWAY_PUBLIC_URL: 'ftp://x',
			SLIPWAY_ALLOWED_HOSTS: 'a b',
			SLIPWAY_ALLOWED_ORIGINS: 'example.com',
			SLIPWAY_INSTANCES_MAX: '-1',
			SLIPWAY_SESSIONS_PER_CALLER: '1e3',
			SLIPWAY_SESSION_IDLE_SECONDS: '9',
			SLIPWAY_MOUNT_ROOTS: 'data',
			SLIPWAY_HOST_DIR: 'relative',
			SLIPWAY_DOCKER_SOCKET: 'tcp://x',
			SLIPWAY_GATEWAY_ID: 'UPPER',
			SLIPWAY_PYPI_INDEX: 'https://ada:word@pypi.example.org/simple',
			SLIPWAY_TYPO: '1',
		});
		for (const name of [
			'PORT',
			'AUTH',
			'LOG_LEVEL',
			'PUBLIC_URL',
			'ALLOWED_HOSTS',
			'ALLOWED_ORIGINS',
			'INSTANCES_MAX',
			'SESSIONS_PER_CALLER',
			'SESSION_IDLE_SECONDS',
			'MOUNT_ROOTS',
			'HOST_DIR',
			'DOCKER_SOCKET',
			'GATEWAY_ID',
			'PYPI_INDEX',
			'TYPO',
		])
			assert.ok(problem.includes(`SLIPWAY_${name} `), `${name}: ${problem}`);
	});

	test('never repeats a value: it may be a secret', () => {
		for (const secret of ['s3cr3t', 'has a s3cr3t space in it', 's3cr3t-ünïcode-0123456']) {
			const problem = problemOf({
				SLIPWAY_API_KEY: secret,
				SLIPWAY_PUBLIC_URL: `ftp://user:${secret}@host`,
				SLIPWAY_PYPI_INDEX: `https://user:${secret}@host/simple`,
			});
			assert.match(problem, /SLIPWAY_API_KEY must be/);
			assert.ok(!problem.includes('s3cr3t'), problem);
		}
	});

	test('numbers are whole and within their bounds', () => {
		for (const port of ['0', '65536', '80.5', ' 80', '+80', '-80', '8e1', 'NaN', '99999999999999999999'])
			assert.match(problemOf({ SLIPWAY_PORT: port }), /SLIPWAY_PORT must be a whole number from 1 to 65535/);
		assert.equal(readConfig({ SLIPWAY_PORT: '65535' }).port, 65_535);
		assert.equal(readConfig({ SLIPWAY_SESSION_IDLE_SECONDS: '10' }).sessionIdleMs, 10_000);
	});

	test('of TLS all is set that goes together, and origins are those of https then', () => {
		assert.equal(readConfig({}).tls, undefined);
		const files = { SLIPWAY_TLS_CERT_FILE: '/c', SLIPWAY_TLS_KEY_FILE: '/k' };
		const { tls, publicUrl, allowedOrigins } = readConfig(files);
		assert.deepEqual(tls, { certFile: '/c', keyFile: '/k', clientCaFile: undefined });
		assert.equal(publicUrl, 'https://localhost:8080');
		assert.ok(allowedOrigins.every((origin) => origin.startsWith('https://')));
		assert.equal(readConfig({ ...files, SLIPWAY_TLS_CLIENT_CA_FILE: '/a' }).tls?.clientCaFile, '/a');
		for (const half of [
			{ SLIPWAY_TLS_CERT_FILE: '/c' },
			{ SLIPWAY_TLS_KEY_FILE: '/k' },
			{ SLIPWAY_TLS_CLIENT_CA_FILE: '/a' },
			{ SLIPWAY_TLS_CLIENT_CA_FILE: '/a', SLIPWAY_TLS_CERT_FILE: '/c' },
		])
			assert.match(problemOf(half), /go together/);
	});

	test('pages that may read answers are those of the list, and proxies are addresses or networks', () => {
		assert.deepEqual(readConfig({}).corsOrigins, []);
		assert.deepEqual(readConfig({ SLIPWAY_ALLOWED_ORIGINS: 'https://App.example.com' }).corsOrigins, [
			'https://app.example.com',
		]);
		assert.deepEqual(readConfig({}).trustedProxies, []);
		assert.deepEqual(readConfig({ SLIPWAY_TRUSTED_PROXIES: '10.0.0.1, FD00::/8' }).trustedProxies, [
			'10.0.0.1',
			'fd00::/8',
		]);
		for (const wrong of ['proxy', '10.0.0.0/0', '10.0.0.0/33'])
			assert.match(problemOf({ SLIPWAY_TRUSTED_PROXIES: wrong }), /SLIPWAY_TRUSTED_PROXIES must be/);
	});

	test('hosts and origins come from the port, the public URL and the lists, in lower case', () => {
		const config = readConfig({
			SLIPWAY_PORT: '9000',
			SLIPWAY_PUBLIC_URL: 'https://MCP.example.com/',
			SLIPWAY_ALLOWED_HOSTS: ' Gateway:8080, ,other ',
			SLIPWAY_ALLOWED_ORIGINS: 'https://App.example.com',
		});
		assert.equal(config.publicUrl, 'https://MCP.example.com');
		assert.deepEqual(config.allowedHosts, [
			'localhost',
			'127.0.0.1',
			'[::1]',
			'mcp.example.com',
			'gateway:8080',
			'other',
		]);
		assert.deepEqual(config.allowedOrigins, [
			'http://localhost:9000',
			'http://127.0.0.1:9000',
			'http://[::1]:9000',
			'https://mcp.example.com',
			'https://app.example.com',
		]);
	});
});

test('every setting is described', () => {
	for (const [name, { description, byDefault, roles }] of Object.entries(SETTINGS)) {
		assert.match(name, /^SLIPWAY_[A-Z_]+$/);
		assert.ok(description.endsWith('.') && byDefault !== '' && roles.length > 0, name);
	}
});

test('the audit is in the data folder, and kept for 90 days and 1 GiB, unless it is said otherwise', () => {
	const day = 24 * 60 * 60_000;
	assert.deepEqual(readConfig({ SLIPWAY_DATA: '/d' }).audit, {
		mode: 'best-effort',
		folder: '/d/audit',
		retention: { bytesMax: 1024 ** 3, ageMsMax: 90 * day },
	});
	const said = {
		SLIPWAY_AUDIT: 'required',
		SLIPWAY_AUDIT_DIR: '/a',
		SLIPWAY_AUDIT_DAYS: '7',
		SLIPWAY_AUDIT_SIZE: '64m',
	};
	assert.deepEqual(readConfig(said).audit, {
		mode: 'required',
		folder: '/a',
		retention: { bytesMax: 64 * 1024 ** 2, ageMsMax: 7 * day },
	});
	for (const wrong of [{ SLIPWAY_AUDIT: 'maybe' }, { SLIPWAY_AUDIT_DAYS: '0' }, { SLIPWAY_AUDIT_SIZE: '64' }])
		assert.throws(() => readConfig(wrong), /SLIPWAY_AUDIT/);
});
