import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { POLICY_LIMITS } from '../../src/limits.ts';
import { Access, both, filterOf, isScope, type MembersOf } from '../../src/policy/access.ts';

const groups: Readonly<Record<string, readonly string[]>> = { coding: ['files', 'git'] };
const membersOf: MembersOf = (group) => (Object.hasOwn(groups, group) ? groups[group] : undefined);
const SERVERS = ['files', 'git', 'github', 'memory'];

/** What of each server somebody has: `all`, the names of its tools among a few, or nothing. */
function seen(...scopes: readonly string[]): Record<string, unknown> {
	const access = new Access(scopes);
	return Object.fromEntries(
		SERVERS.filter((server) => access.mayUse(server, membersOf)).map((server) => {
			const filter = access.filterFor(server, membersOf);
			return [
				server,
				filter === undefined ? 'all' : ['read', 'read_file', 'write'].filter((tool) => filter.allows(tool)),
			];
		}),
	);
}

describe('scopes', () => {
	test('allow what they name, and nothing else', () => {
		assert.deepEqual(seen(), {});
		assert.deepEqual(seen('admin'), {});
		assert.deepEqual(seen('*'), { files: 'all', git: 'all', github: 'all', memory: 'all' });
		assert.deepEqual(seen('server:git'), { git: 'all' });
		assert.deepEqual(seen('server:git*'), { git: 'all', github: 'all' });
		assert.deepEqual(seen('server:*'), { files: 'all', git: 'all', github: 'all', memory: 'all' });
		assert.deepEqual(seen('group:coding'), { files: 'all', git: 'all' });
		assert.deepEqual(seen('group:constructor', 'group:none'), {});
		assert.deepEqual(seen('tool:files/read*'), { files: ['read', 'read_file'] });
		assert.deepEqual(seen('tool:files/read', 'tool:files/w*e'), { files: ['read', 'write'] });
		assert.deepEqual(seen('tool:*/read'), Object.fromEntries(SERVERS.map((server) => [server, ['read']])));
		assert.deepEqual(seen('tool:files/read', 'server:files'), { files: 'all' });
	});

	test('of tools leave prompts and resources out of reach', () => {
		const filter = new Access(['tool:files/read']).filterFor('files', membersOf);
		assert.deepEqual(filter?.toolsOnly, ['server:files']);
		assert.deepEqual(filter?.scopesFor('write'), ['tool:files/write']);
		assert.deepEqual(filter?.scopesFor('no scope "'), ['server:files'], 'what no token can carry');
	});

	test('of a group are its endpoint, which one of its servers is not', () => {
		assert.equal(new Access(['group:coding']).mayUseGroup('coding'), true);
		assert.equal(new Access(['*']).mayUseGroup('coding'), true);
		for (const scope of ['server:files', 'server:*', 'group:other', 'admin', 'tool:files/*'])
			assert.equal(new Access([scope]).mayUseGroup('coding'), false, scope);
	});

	test('are the servers of a group as they are now', () => {
		const access = new Access(['group:coding']);
		assert.equal(
			access.mayUse('memory', () => ['memory']),
			true,
		);
		assert.equal(
			access.mayUse('files', () => ['memory']),
			false,
		);
		assert.equal(
			access.mayUse('files', () => undefined),
			false,
		);
	});

	test('alone make an administrator who says so', () => {
		assert.equal(new Access(['*']).admin, false);
		assert.equal(new Access(['server:admin', 'group:admin']).admin, false);
		assert.equal(new Access(['admin']).admin, true);
	});

	test('that are none allow nothing', () => {
		for (const text of [
			'',
			'**',
			'Server:a',
			'server',
			'server:',
			'server:A',
			'server:a/b',
			'tool:a',
			'tool:a/',
			'admin ',
			' *',
			'tool:a/b c',
			'tool:a/"',
			'group:*',
			'root',
			'server:a\nadmin',
		]) {
			assert.equal(isScope(text), false, JSON.stringify(text));
			assert.deepEqual(new Access([text]).scopes, []);
		}
		assert.equal(isScope(`tool:a/${'b'.repeat(POLICY_LIMITS.scopeCharsMax)}`), false);
		assert.equal(
			new Access(Array.from({ length: 300 }, (_, n) => `server:s${n}`)).scopes.length,
			POLICY_LIMITS.scopesMax,
		);
	});
});

test('a pattern stands for what a regular expression of the same parts does', () => {
	const char = fc.constantFrom('a', 'b', '.', '*', '\\', '[', '+');
	const text = fc.array(char, { minLength: 1, maxLength: 8 }).map((chars) => chars.join(''));
	fc.assert(
		fc.property(text, text, (pattern, name) => {
			const parts = pattern.split('*').map((part) => part.replace(/[\\[\].+]/g, '\\$&'));
			const expected = new RegExp(`^${parts.join('.*')}$`, 's').test(name);
			assert.equal(filterOf({ allow: [pattern] })?.allows(name), expected);
		}),
		{ numRuns: 20_000 },
	);
});

test('a pattern of a hundred stars is decided at once', () => {
	const filter = filterOf({ allow: [`${'*a'.repeat(64)}b`] });
	assert.equal(filter?.allows('a'.repeat(100_000)), false);
});

describe('what the catalog says of tools', () => {
	test('allows what is allowed and not denied', () => {
		assert.equal(filterOf({}), undefined);
		assert.equal(filterOf({ deny: [] }), undefined);
		const filter = filterOf({ allow: ['read*', 'list'], deny: ['*secret*'] });
		assert.deepEqual(
			['read', 'read_secrets', 'list', 'write'].filter((tool) => filter?.allows(tool)),
			['read', 'list'],
		);
		assert.equal(filter?.toolsOnly, undefined);
		assert.deepEqual(filter?.scopesFor('write'), []);
		assert.equal(filterOf({ allow: [] })?.allows('anything'), false);
		assert.equal(filterOf({ deny: ['write'] })?.allows('read'), true);
	});

	test('and what a caller may use hold together', () => {
		const one = filterOf({ deny: ['b'] });
		const other = new Access(['tool:s/a', 'tool:s/b']).filterFor('s', membersOf);
		const filter = both(one, other);
		assert.deepEqual(
			['a', 'b', 'c'].filter((tool) => filter?.allows(tool)),
			['a'],
		);
		assert.deepEqual(filter?.toolsOnly, ['server:s']);
		assert.deepEqual(
			['b', 'c'].map((tool) => filter?.scopesFor(tool)),
			[[], ['tool:s/c']],
			'no scope helps with what the catalog denies',
		);
		assert.equal(both(undefined, undefined), undefined);
		assert.equal(both(one, undefined), one);
		assert.equal(both(undefined, other), other);
	});
});
