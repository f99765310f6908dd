import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveMount } from '../../src/catalog/mounts.ts';
import { SlipwayError } from '../../src/errors.ts';

const PLACES = { hostDir: '/home/me/slipway', roots: ['/home/me/slipway/data', '/srv/files/'] };

test('sources at or below a root become paths of the host', () => {
	assert.equal(resolveMount('./data', PLACES), '/home/me/slipway/data');
	assert.equal(resolveMount('./data/a/../b/', PLACES), '/home/me/slipway/data/b');
	assert.equal(resolveMount('/srv/files', PLACES), '/srv/files');
	assert.equal(resolveMount('//srv/files/x', PLACES), '/srv/files/x');
	assert.equal(resolveMount('/anything', { ...PLACES, roots: ['/'] }), '/anything');
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
