import assert from 'node:assert/strict';
import { validateHeaderValue } from 'node:http';
import { describe, test } from 'node:test';
import { extractWWWAuthenticateParams } from '@modelcontextprotocol/sdk/client/auth.js';
import fc from 'fast-check';
import { challenge, type Refusal } from '../../src/http/oauth/challenge.ts';
import { metadataUrlOf } from '../../src/http/oauth/resource-metadata.ts';
import { OAUTH_LIMITS } from '../../src/limits.ts';

const URL_OF_METADATA = metadataUrlOf('https://mcp.example.com', '/servers/memory/mcp');

/** The parameters of a challenge, read by the grammar of RFC 9110, section 11.6.1, and by nothing of ours. */
function parse(value: string): Map<string, string> {
	const parameters = new Map<string, string>();
	const rest = /^Bearer (.*)$/.exec(value)?.[1];
	assert.ok(rest !== undefined, value);
	const parameter = /([!#$%&'*+.^_`|~\w-]+)="((?:[\t \x21\x23-\x5b\x5d-\x7e]|\\[\t \x21-\x7e])*)"(?:, |$)/y;
	while (parameter.lastIndex < rest.length) {
		const at = parameter.lastIndex;
		const [, name, quoted]: readonly string[] = parameter.exec(rest) ?? [];
		assert.ok(name !== undefined && quoted !== undefined, `${value} at ${at}`);
		assert.ok(!parameters.has(name), `${name} twice in ${value}`);
		parameters.set(name, quoted.replace(/\\(.)/g, '$1'));
	}
	return parameters;
}

describe('what a client reads in a challenge', () => {
	test('401 without a token: where to look and what to ask for, and no error', () => {
		assert.deepEqual(
			parse(challenge(URL_OF_METADATA, { kind: 'tokenMissing', needed: ['server:memory'] })),
			new Map([
				['realm', 'slipway'],
				['resource_metadata', 'https://mcp.example.com/.well-known/oauth-protected-resource/servers/memory/mcp'],
				['scope', 'server:memory'],
			]),
		);
	});

	test('401 with a token that is not taken: invalid_token', () => {
		const read = parse(challenge(URL_OF_METADATA, { kind: 'tokenInvalid', needed: [] }));
		assert.equal(read.get('error'), 'invalid_token');
		assert.equal(read.has('scope'), false);
	});

	test('403: all scopes at once, those that are needed and those that the caller has, each once', () => {
		const read = parse(
			challenge(URL_OF_METADATA, {
				kind: 'scopeMissing',
				needed: ['tool:memory/write', 'server:memory'],
				granted: ['server:memory', 'group:coding'],
			}),
		);
		assert.equal(read.get('error'), 'insufficient_scope');
		assert.equal(read.get('scope'), 'tool:memory/write server:memory group:coding');
	});

	test('the SDK of the protocol reads the same', () => {
		const value = challenge(URL_OF_METADATA, { kind: 'scopeMissing', needed: ['*'], granted: ['admin'] });
		const { resourceMetadataUrl, scope, error } = extractWWWAuthenticateParams(
			new Response(null, { status: 403, headers: { 'www-authenticate': value } }),
		);
		assert.deepEqual(
			{ url: resourceMetadataUrl?.href, scope, error },
			{ url: URL_OF_METADATA, scope: '* admin', error: 'insufficient_scope' },
		);
	});

	test('with more scopes than fit, those that are needed come first', () => {
		const granted = Array.from({ length: 500 }, (_, index) => `server:granted-${index}`);
		const value = challenge(URL_OF_METADATA, { kind: 'scopeMissing', needed: ['server:needed'], granted });
		assert.ok(value.length <= OAUTH_LIMITS.challengeCharsMax);
		const told = parse(value).get('scope')?.split(' ') ?? [];
		assert.equal(told[0], 'server:needed');
		assert.ok(told.length > 100);
	});
});

test('whatever the URL and the scopes are, the header is one line that reads back as what was meant', () => {
	const nasty = fc.oneof(
		fc.string({ unit: 'binary' }),
		fc.string({ unit: fc.constantFrom('"', '\\', ',', ' ', '\r', '\n', '=', 'a', 'é', '\ud800', '\x7f', '%') }),
		fc.constantFrom('server:memory', '*', 'tool:a/b', '", error="x', 'a\r\nSet-Cookie: x=y'),
	);
	const kind = fc.constantFrom<Refusal['kind']>('tokenMissing', 'tokenInvalid', 'scopeMissing');
	const scopes = fc.array(nasty, { maxLength: 12 });
	fc.assert(
		fc.property(kind, nasty, scopes, scopes, (which, tail, needed, granted) => {
			const url = `https://mcp.example.com/${tail}`;
			const refusal: Refusal = which === 'scopeMissing' ? { kind: which, needed, granted } : { kind: which, needed };
			const value = challenge(url, refusal);
			assert.match(value, /^[\x20-\x7e]+$/);
			assert.ok(value.length <= OAUTH_LIMITS.challengeCharsMax);
			validateHeaderValue('www-authenticate', value);
			const read = parse(value);
			if (!tail.includes('%'))
				assert.equal(decodeURIComponent(read.get('resource_metadata') ?? ''), url.toWellFormed());
			const meant = [...needed, ...(which === 'scopeMissing' ? granted : [])];
			const sayable = new Set(meant.filter((scope) => /^[\x21\x23-\x5b\x5d-\x7e]+$/.test(scope)));
			assert.deepEqual(read.get('scope')?.split(' ') ?? [], [...sayable]);
			assert.deepEqual(
				[...read.keys()].filter((name) => !['realm', 'error', 'resource_metadata', 'scope'].includes(name)),
				[],
			);
			assert.equal(read.has('error'), which !== 'tokenMissing');
		}),
		{ numRuns: 5_000 },
	);
});

test('a URL that is too long is left out rather than cut', () => {
	const value = challenge(`https://mcp.example.com/${'x'.repeat(OAUTH_LIMITS.challengeCharsMax)}`, {
		kind: 'tokenMissing',
		needed: ['*'],
	});
	assert.deepEqual([...parse(value).keys()], ['realm', 'scope']);
});
