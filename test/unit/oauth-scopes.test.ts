import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readScopeTable, scopesOf } from '../../src/http/oauth/scopes.ts';
import { POLICY_LIMITS } from '../../src/limits.ts';

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
		const scope = Array.from({ length: POLICY_LIMITS.scopesMax + 1 }, (_, index) => `server:s${index}`);
		assert.deepEqual(scopesOf({ scope: scope.join(' ') }), scopes(scope));
	});
});

const scopes = (all: readonly string[]): readonly string[] => all.slice(0, POLICY_LIMITS.scopesMax);

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
