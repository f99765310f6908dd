/** Images of packages that nobody needs any more are removed, and no others. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { collectImages, needsOf } from '../../src/docker/collect.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { type Log, SILENT_LOG } from '../../src/log.ts';
import { docker, newGatewayId, openBench, until, within } from '../support/engine-bench.ts';
import { buildImage, removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';

const ONE = { kind: 'npm', name: 'semver', version: '7.6.1' } as const;
const TWO = { kind: 'npm', name: 'semver', version: '7.6.0' } as const;
const THREE = { kind: 'npm', name: 'semver', version: '7.5.4' } as const;

async function imagesOf(gatewayId: string): Promise<string[]> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`, LABELS.key] });
	return (await docker.listImages({ filters })).map(({ Labels }) => Labels[LABELS.package] ?? '').sort();
}

const gatewayId = newGatewayId();

after(async () => {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`] });
	for (const { Id } of await docker.listImages({ filters })) await removeImage(Id);
	assert.deepEqual(await imagesOf(gatewayId), []);
});

test('an old image whose entry is gone is removed; that of a disabled entry, a young one and a used one are not', async () => {
	{
		await using bench = await openBench([server('one', ONE), server('two', TWO), server('three', THREE)], {
			gatewayId,
		});
		await until('the images are ready', () =>
			bench.launcher.state.servers.every(({ preparation }) => preparation.kind === 'ready'),
		);
		const needs = { imageIds: new Set<string>(), keys: new Set<string>() };
		assert.equal(await collectImages(bench.engine, { gateway: gatewayId, needs, ageMs: 10 * 60_000 }), 0);
		assert.equal(await collectImages(bench.engine, { gateway: newGatewayId(), needs, ageMs: 0 }), 0);
		assert.deepEqual(await imagesOf(gatewayId), ['semver@7.5.4', 'semver@7.6.0', 'semver@7.6.1']);
	}
	// Labels of an image are those of its containers; this one is not the launcher's.
	const container = await docker.createContainer({
		Image: await idOf('semver@7.6.0'),
		Cmd: ['never-started'],
		Labels: { [LABELS.gateway]: '' },
	});
	// Somebody's own, on top of one of ours: it has its labels.
	await using own = await buildImage(
		'FROM semver-base\nENV OWN=1\n'.replace('semver-base', await idOf('semver@7.5.4')),
	);
	try {
		const collected = Promise.withResolvers<number | undefined>();
		const info: Log['info'] = (message, fields) => {
			if (message === 'unused images removed') collected.resolve(fields?.count);
		};
		await using _ = await openBench([server('one', ONE, { enabled: false })], {
			gatewayId,
			launcher: { unusedImageAgeMs: 0, log: { ...SILENT_LOG, info } },
		});
		assert.equal(await within(collected.promise, 'the removal'), 1);
		assert.deepEqual(await imagesOf(gatewayId), ['semver@7.5.4', 'semver@7.6.0', 'semver@7.6.1']);
		assert.equal((await docker.getImage(own.reference).inspect()).Id, own.id);
	} finally {
		await container.remove({ force: true });
	}
});

test('what is needed: an image that is ready by itself, any image of an entry that is disabled or not ready, and its tools', () => {
	const needs = needsOf(
		createCatalog([
			server('ready', ONE),
			server('waiting', { ...TWO, systemPackages: ['b', 'a'], installScripts: true }),
			server('disabled', THREE, { enabled: false }),
			server('image', { kind: 'image', reference: 'one:1' }),
		]),
		(source) => (source.kind === 'npm' && source.version === ONE.version ? 'sha256:one' : undefined),
	);
	assert.deepEqual([...needs.imageIds], ['sha256:one']);
	assert.deepEqual(
		[...needs.keys],
		['npm:semver@7.6.0', 'system:a b', 'system:a b build-essential python3', 'npm:semver@7.5.4'],
	);
});

async function idOf(packageName: string): Promise<string> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gatewayId}`, `${LABELS.package}=${packageName}`] });
	const [image] = await docker.listImages({ filters });
	return image?.Id ?? '';
}
