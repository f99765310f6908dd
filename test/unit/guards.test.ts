import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { type Doors, guard, isAllowedHost, isAllowedOrigin } from '../../src/http/guards.ts';

const DOORS: Doors = {
	allowedHosts: ['localhost', '[::1]', 'mcp.example.com', 'inner:9000'],
	allowedOrigins: ['http://localhost:8080', 'https://app.example.com'],
	corsOrigins: ['https://app.example.com'],
	port: 8080,
};

const request = (url: string, ...headers: [string, string][]): IncomingMessage =>
	({ url, rawHeaders: headers.flat() }) as unknown as IncomingMessage;

describe('guard', () => {
	const table: [name: string, request: IncomingMessage, code: string | undefined][] = [
		['a good request', request('/health', ['Host', 'localhost:8080']), undefined],
		['names of headers in any case', request('/', ['hOsT', 'LOCALHOST']), undefined],
		['no Host', request('/'), 'SLIPWAY_HOST_REFUSED'],
		['two Hosts', request('/', ['Host', 'localhost'], ['host', 'localhost']), 'SLIPWAY_HOST_REFUSED'],
		['an absolute target', request('http://localhost/', ['Host', 'localhost']), 'SLIPWAY_HOST_REFUSED'],
		[
			'two Origins',
			request('/', ['Host', 'localhost'], ['Origin', 'http://localhost:8080'], ['Origin', 'x']),
			'SLIPWAY_ORIGIN_REFUSED',
		],
		['dots that are no segment', request('/servers/a..b/mcp', ['Host', 'localhost']), undefined],
		['dots in the query', request('/status?a=../..&b=%2e', ['Host', 'localhost']), undefined],
		['a dot segment', request('/a/../b', ['Host', 'localhost']), 'SLIPWAY_PATH_UNKNOWN'],
		['an encoded slash', request('/a%2Fb', ['Host', 'localhost']), 'SLIPWAY_PATH_UNKNOWN'],
		[
			'65 headers',
			request('/', ...Array.from({ length: 65 }, (): [string, string] => ['Host', 'localhost'])),
			'SLIPWAY_HEADERS_TOO_LARGE',
		],
	];
	for (const [name, given, code] of table) {
		test(`${name}: ${code ?? 'let in'}`, () => {
			if (code === undefined) guard(given, DOORS);
			else assert.throws(() => guard(given, DOORS), { code });
		});
	}
});

test('no other Host than the listed ones passes, whatever stands around them', () => {
	const good = new Set([
		'localhost',
		'localhost:8080',
		'[::1]',
		'[::1]:8080',
		'mcp.example.com',
		'mcp.example.com:8080',
		'inner:9000',
	]);
	const piece = fc.constantFrom(
		'localhost',
		'[::1]',
		'mcp.example.com',
		'inner',
		':9000',
		':8080',
		'.',
		'@',
		'evil',
		'/',
		' ',
		',',
	);
	fc.assert(
		fc.property(fc.array(piece, { maxLength: 4 }), (pieces) => {
			const host = pieces.join('');
			assert.equal(isAllowedHost(host, DOORS), good.has(host), host);
			assert.equal(isAllowedOrigin(`http://${host}`, DOORS), host === 'localhost:8080');
		}),
		{ numRuns: 5_000 },
	);
});
