/** A build whose tree breaks off: it ends, says why, and leaves no image. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { pack } from 'tar-stream';
import { inspectImage } from '../../src/docker/images.ts';
import { buildPackage } from '../../src/docker/package-image.ts';
import { readTree } from '../../src/docker/tree.ts';
import { NODE_IMAGE, neverAborted, openYard, refusedWith } from '../support/engine-bench.ts';

test('a tree that leads elsewhere ends its build', async () => {
	await using yard = await openYard();
	const base = await inspectImage(yard.engine, NODE_IMAGE);
	assert.ok(base !== undefined);
	const tar = pack();
	tar.entry({ name: 'large' }, Buffer.alloc(4 * 1024 * 1024));
	tar.entry({ name: '../Dockerfile' }, 'FROM evil');
	tar.entry({ name: 'rest' }, Buffer.alloc(4 * 1024 * 1024));
	tar.finalize();
	const entries = readTree(Readable.from([await buffer(tar)]));
	const reference = `slipway-bench/tree:${randomBytes(6).toString('hex')}`;
	const build = buildPackage(yard, {
		reference,
		baseId: base.id,
		what: 'a tree',
		context: {
			gateway: yard.gatewayId,
			boot: yard.boot,
			books: new Set(),
			onStep: () => undefined,
			signal: neverAborted(),
		},
		files: { Dockerfile: 'ARG BASE\nFROM $BASE\nCOPY app /app\n' },
		labels: {},
		tree: { [Symbol.asyncIterator]: () => entries },
	});
	const refused = await refusedWith('SLIPWAY_PACKAGE_REFUSED', build);
	assert.equal(refused.details.reason, 'It installs "../Dockerfile", which leads elsewhere.');
	assert.equal(await inspectImage(yard.engine, reference), undefined);
});
