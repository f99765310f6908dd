import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { isScope, readScopeTable, scopesOf } from '../../src/http/oauth/scopes.ts';
import { OAUTH_LIMITS } from '../../src/limits.ts';

test('a scope is one of the five forms, and nothing near them', () => {
	for (const scope of ['*', 'admin', 'server:memory', 'group:a-1', 'tool:memory/*', 'tool:memory/read_*', 'tool:a/b/c'])
		assert.equal(isScope(scope), true, scope);
	for (const other of [
		'',
		'**',
		'Admin',
		'administration',
		'server:',
		'server:*',
		'server:Memory',
		'server:memory ',
		'server:memory\n',
		'server:-a',
		'servers:memory',
		'tool:memory',
		'tool:memory/',
		'tool:memory/a b',
		'tool:memory/"',
		'tool:/read',
		'openid',
		' *',
	])
		assert.equal(isScope(other), false, other);
	const longest = 'tool:memory/'.padEnd(OAUTH_LIMITS.scopeCharsMax, 'x');
	assert.equal(isScope(longest), true);
	assert.equal(isScope(`${longest}x`), false);
});

describe('scopesOf', () => {
	const table = readScopeTable('{"developers": ["group:coding", "server:memory"], "operators": ["*", "admin"]}');
	const cases: [name: string, claims: Record<string, unknown>, claim: string, scopes: string[]][] = [
		['scope as a string', { scope: 'server:memory openid admin' }, 'groups', ['server:memory', 'admin']],
		['scope as a list', { scope: ['server:memory', 'profile'] }, 'groups', ['server:memory']],
		['scp as a list', { scp: ['server:memory', '*'] }, 'groups', ['server:memory', '*']],
		['scp as a string', { scp: 'server:memory server:files' }, 'groups', ['server:memory', 'server:files']],
		['the same scope twice', { scope: 'admin admin', scp: ['admin'] }, 'groups', ['admin']],
		['no claims', {}, 'groups', []],
		['claims of other types', { scope: 1, scp: { admin: true }, groups: [1, null, {}] }, 'groups', []],
		['groups', { groups: ['developers', 'others'] }, 'groups', ['group:coding', 'server:memory']],
		['one group as a string', { groups: 'operators' }, 'groups', ['*', 'admin']],
		['a group is never split', { groups: 'developers operators' }, 'groups', []],
		['a group called as a scope is', { groups: ['admin', '*', 'server:memory'] }, 'groups', []],
		[
			'groups and scope',
			{ scope: 'server:memory', groups: ['developers'] },
			'groups',
			['server:memory', 'group:coding'],
		],
		['a path', { realm_access: { roles: ['operators'] } }, 'realm_access.roles', ['*', 'admin']],
		['a path to nowhere', { realm_access: null }, 'realm_access.roles', []],
		['a name with dots', { 'https://x.example/groups': ['operators'] }, 'https://x.example/groups', ['*', 'admin']],
		['what objects have without being given it', { groups: ['constructor', '__proto__'] }, 'constructor.name', []],
	];
	for (const [name, claims, claim, scopes] of cases) {
		test(name, () => assert.deepEqual(scopesOf(claims, { claim, table }), scopes));
	}

	test('without a table groups give nothing', () => {
		assert.deepEqual(scopesOf({ scope: 'server:memory', groups: ['operators'] }), ['server:memory']);
	});

	test('there are no more than may be', () => {
		const scope = Array.from({ length: OAUTH_LIMITS.scopesMax + 1 }, (_, index) => `server:s${index}`);
		assert.deepEqual(scopesOf({ scope: scope.join(' ') }), scopes(scope));
	});
});

const scopes = (all: readonly string[]): readonly string[] => all.slice(0, OAUTH_LIMITS.scopesMax);

test('a table of scopes that is wrong is refused, and told where', () => {
	for (const [text, told] of [
		['{', /must be JSON/],
		['[]', /must be an object/],
		['null', /must be an object/],
		['{"ops": "admin"}', /"ops" must have a list/],
		['{"ops": ["admin", "root"]}', /"root" is no scope/],
		['{"ops": [1]}', /1 is no scope/],
	] as const)
		assert.throws(() => readScopeTable(text), { code: 'SLIPWAY_CONFIG_INVALID', message: told }, text);
	assert.deepEqual([...readScopeTable('{"__proto__": ["admin"]}')], [['__proto__', ['admin']]]);
});
