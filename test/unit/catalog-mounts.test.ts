import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveMount } from '../../src/catalog/mounts.ts';
import { SlipwayError } from '../../src/errors.ts';

const PLACES = { hostDir: '/home/me/slipway', roots: ['/home/me/slipway/data', '/srv/files/'] };

test('sources at or below a root become that root and the way from there', () => {
	const data = '/home/me/slipway/data';
	assert.deepEqual(resolveMount('./data', PLACES), { root: data, subpath: '' });
	assert.deepEqual(resolveMount('./data/a/../b/', PLACES), { root: data, subpath: 'b' });
	assert.deepEqual(resolveMount('/srv/files', PLACES), { root: '/srv/files', subpath: '' });
	assert.deepEqual(resolveMount('//srv/files/x/y', PLACES), { root: '/srv/files', subpath: 'x/y' });
	assert.deepEqual(resolveMount('/anything', { ...PLACES, roots: ['/'] }), { root: '/', subpath: 'anything' });
});

test('of roots within each other the innermost counts', () => {
	const roots = ['/srv', '/srv/files', '/'];
	assert.deepEqual(resolveMount('/srv/files/x', { hostDir: '/', roots }), { root: '/srv/files', subpath: 'x' });
});

const REFUSED: readonly (readonly [source: string, part: string])[] = [
	['./data-evil', '"/home/me/slipway/data-evil" (the mount source "./data-evil") is not below'],
	['./data/../secrets', '"/home/me/slipway/secrets"'],
	['/srv/files/../../etc', '"/etc"'],
	[
		'/var/run/docker.sock',
		'"/home/me/slipway/data", "/srv/files". Move it there, or add its folder to SLIPWAY_MOUNT_ROOTS.',
	],
	['/', '"/"'],
	['./', '"/home/me/slipway" (the mount source "./")'],
	['data', 'starts with neither "./" nor "/"'],
	['', 'starts with neither "./" nor "/"'],
	['./data/\0', 'NUL'],
];

for (const [source, part] of REFUSED) {
	test(`refused: ${JSON.stringify(source)}`, () => {
		assert.throws(
			() => resolveMount(source, PLACES),
			(error) => {
				assert.ok(error instanceof SlipwayError);
				assert.equal(error.code, 'SLIPWAY_MOUNT_REFUSED');
				assert.ok(error.message.includes(part), error.message);
				return true;
			},
		);
	});
}

test('without roots nothing is mounted, and roots that are not absolute are none', () => {
	for (const roots of [[], ['data'], ['']]) {
		assert.throws(() => resolveMount('/data', { hostDir: '/', roots }), /may be mounted: none\. .*SLIPWAY_MOUNT_ROOTS/);
	}
});

test('a relative source needs a folder to start from', () => {
	assert.throws(() => resolveMount('./data', { hostDir: '', roots: ['/'] }), /Write an absolute path below one of/);
});
