import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
	audienceOf,
	matchMetadataPath,
	metadataUrlOf,
	resourceMetadata,
	resourceOf,
	scopesFor,
} from '../../src/http/oauth/resource-metadata.ts';
import { SERVER_NAME_PATTERN } from '../../src/ids.ts';

const WELL_KNOWN = '/.well-known/oauth-protected-resource';
const OPTIONS = { publicUrl: 'https://mcp.example.com', issuer: 'https://id.example.com', announceScopes: true };

describe('the metadata of a resource', () => {
	const table: [endpoint: string, resource: string, scopes: string[], name: string][] = [
		['', 'https://mcp.example.com', ['*'], 'Slipway'],
		['/mcp', 'https://mcp.example.com/mcp', ['*'], 'Slipway'],
		['/servers/memory/mcp', 'https://mcp.example.com/servers/memory/mcp', ['server:memory'], 'Slipway: memory'],
		['/groups/coding/mcp', 'https://mcp.example.com/groups/coding/mcp', ['group:coding'], 'Slipway: coding'],
	];
	for (const [endpoint, resource, scopes, name] of table) {
		test(endpoint || 'the gateway as a whole', () => {
			assert.equal(matchMetadataPath(WELL_KNOWN + endpoint), endpoint);
			assert.deepEqual(resourceMetadata(endpoint, OPTIONS), {
				resource,
				authorization_servers: ['https://id.example.com'],
				scopes_supported: scopes,
				bearer_methods_supported: ['header'],
				resource_name: name,
			});
		});
	}

	test('an issuer that does not know our scopes is not asked for any', () => {
		assert.equal('scopes_supported' in resourceMetadata('/mcp', { ...OPTIONS, announceScopes: false }), false);
	});
});

test('the paths of one server are one resource, and a path that is no endpoint is told of the gateway', () => {
	const { publicUrl } = OPTIONS;
	for (const end of ['', '/', '/mcp', '/sse', '/messages']) {
		assert.equal(resourceOf(publicUrl, `/servers/memory${end}`), `${publicUrl}/servers/memory/mcp`);
		assert.deepEqual(scopesFor(`/servers/memory${end}`), ['server:memory']);
		const metadataUrl = metadataUrlOf(publicUrl, `/servers/memory${end}`);
		assert.equal(metadataUrl, `${publicUrl}${WELL_KNOWN}${end === '/mcp' ? '/servers/memory/mcp' : ''}`);
	}
	assert.equal(resourceOf(publicUrl, '/mcp'), `${publicUrl}/mcp`);
	for (const path of ['/status', '/', '/servers/x/y', '/servers/X/mcp', '/servers/a"b/mcp', '/groups/x', '/servers/']) {
		assert.equal(resourceOf(publicUrl, path), publicUrl, path);
		assert.equal(metadataUrlOf(publicUrl, path), publicUrl + WELL_KNOWN, path);
	}
});

test('the gateway as a whole has two names where its URL has no path', () => {
	assert.deepEqual(audienceOf('https://mcp.example.com'), ['https://mcp.example.com', 'https://mcp.example.com/']);
	assert.deepEqual(audienceOf('https://example.com/mcp-gateway'), ['https://example.com/mcp-gateway']);
});

test('there is a document at the paths of endpoints, and at no other', () => {
	const piece = fc.constantFrom(
		...[
			'/',
			'mcp',
			'servers',
			'groups',
			'memory',
			'a-b',
			'-',
			'A',
			'.',
			'..',
			'%2f',
			'?',
			'\n',
			'"',
			'sse',
			WELL_KNOWN,
		],
	);
	const name = fc.stringMatching(new RegExp(SERVER_NAME_PATTERN.source));
	const endpoint = fc.oneof(
		fc.constantFrom('', '/mcp'),
		name.map((server) => `/servers/${server}/mcp`),
		name.map((group) => `/groups/${group}/mcp`),
	);
	fc.assert(
		fc.property(endpoint, (path) => {
			assert.equal(matchMetadataPath(WELL_KNOWN + path), path);
			// Where a challenge sends a client, there is a document, and it is that of what was called.
			const { pathname } = new URL(metadataUrlOf(OPTIONS.publicUrl, path));
			assert.equal(matchMetadataPath(pathname), path);
			assert.equal(resourceMetadata(path, OPTIONS).resource, OPTIONS.publicUrl + path);
		}),
		{ numRuns: 2_000 },
	);
	fc.assert(
		fc.property(fc.array(piece, { maxLength: 6 }), fc.boolean(), (pieces, wellKnown) => {
			const path = (wellKnown ? WELL_KNOWN : '') + pieces.join('');
			const [first, ...steps] = path.slice(1).split('/');
			const [second, ...rest] = steps;
			const [kind, server, end] = rest;
			const isEndpoint =
				rest.length === 0 ||
				(rest.length === 1 && kind === 'mcp') ||
				(rest.length === 3 &&
					(kind === 'servers' || kind === 'groups') &&
					SERVER_NAME_PATTERN.test(server ?? '') &&
					end === 'mcp');
			const isThere =
				path.startsWith('/') && first === '.well-known' && second === 'oauth-protected-resource' && isEndpoint;
			assert.equal(matchMetadataPath(path) !== undefined, isThere, path);
		}),
		{ numRuns: 5_000 },
	);
});
