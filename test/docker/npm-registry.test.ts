/** npm packages of a registry of one's own, or of none: credentials, changed uploads, scripts, a folder of archives, the lock. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { createCatalog, type NpmSource, type Server } from '../../src/catalog/catalog.ts';
import { EMPTY_LOCK, type Lock, lockKey } from '../../src/catalog/lock.ts';
import { Engine } from '../../src/docker/engine.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { ensureNpmImage, type NpmAccess, type NpmImageContext, resolveNpm } from '../../src/docker/npm-image.ts';
import { OomWatch } from '../../src/docker/oom-watch.ts';
import { SILENT_LOG } from '../../src/log.ts';
import {
	type Bench,
	docker,
	ENGINE_SOCKET,
	NODE_IMAGE,
	neverAborted,
	openBench,
	openYard,
	refusedWith,
	said,
} from '../support/engine-bench.ts';
import { removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';
import { packPackage, startRegistry, type TestPackage } from '../support/npm-registry.ts';

const CANARY = 'canary-5f1e0a7d9b3c4e86a1';
const NAME = '@slipway-bench/own';
/** Says what it is, and whether a script of its dependency ran when it was installed. */
const LIBRARY: TestPackage = {
	name: 'slipway-bench-library',
	version: '2.0.0',
	manifest: {
		main: 'index.js',
		scripts: { postinstall: 'node postinstall.js' },
	},
	files: {
		'index.js':
			"const fs=require('fs');exports.ran=fs.existsSync(__dirname+'/ran')?fs.readFileSync(__dirname+'/ran','utf8'):'no script'",
		'postinstall.js':
			"const fs=require('fs');fs.writeFileSync(__dirname+'/ran', 'script, '+(fs.existsSync('/tmp/.npmrc')?'with':'without')+' credentials, as '+process.getuid())",
	},
};
const OWN: TestPackage = {
	name: NAME,
	version: '1.2.3',
	manifest: { bin: { own: 'own.js', other: 'other.js' }, dependencies: { [LIBRARY.name]: '^2.0.0' } },
	files: {
		'own.js': `#!/usr/bin/env node\nconsole.log('own', require('${LIBRARY.name}').ran)`,
		'other.js': `#!/usr/bin/env -S node --stack-trace-limit=7\nconsole.log('other', Error.stackTraceLimit)`,
	},
};
const SOURCE: NpmSource = { kind: 'npm', name: NAME, version: '1.2.3' };

function npmrc(url: string, token: string): Buffer {
	return Buffer.from(`@slipway-bench:registry=${url}\n//${new URL(url).host}/:_authToken=${token}\n`);
}

function benchOf(access: NpmAccess, servers: readonly Server[], lock: Lock = EMPTY_LOCK): Promise<Bench> {
	return openBench(createCatalog(servers, [], { lock }), { launcher: { npm: access } });
}

async function ourImages() {
	const images = await docker.listImages({ filters: JSON.stringify({ label: [LABELS.key] }) });
	return images.filter(({ Labels }) => Labels[LABELS.package]?.startsWith(`${NAME}@`));
}

async function removeImages(): Promise<void> {
	for (const { Id } of await ourImages()) await removeImage(Id);
}

/** What resolves, as the command line does it. */
async function resolved(access: NpmAccess, version: string) {
	await using yard = await openYard();
	return resolveNpm(yard, { name: NAME, version }, { ...contextOf(access), gateway: yard.gatewayId, boot: yard.boot });
}

function contextOf(access: NpmAccess): NpmImageContext {
	return {
		gateway: 'test',
		boot: 'test',
		books: new Set(),
		onStep: () => undefined,
		signal: neverAborted(),
		nodeImage: NODE_IMAGE,
		access,
	};
}

async function lockOf(access: NpmAccess): Promise<Lock> {
	const { integrity, lock } = await resolved(access, SOURCE.version);
	return { bases: new Map(), sources: new Map([[lockKey(SOURCE) ?? '', { integrity, lock }]]) };
}

after(async () => {
	await removeImages();
	assert.deepEqual(await ourImages(), []);
});

test('a private registry: its credentials prepare the image, and are in nothing of it', async () => {
	await using registry = await startRegistry([LIBRARY, OWN], CANARY);
	const { url } = registry;
	{
		await using bench = await benchOf({ registry: url }, [server('own', SOURCE)]);
		const refused = await refusedWith('SLIPWAY_PREPARATION_FAILED', bench.launch('own'));
		assert.match(refused.message, /wants other credentials: see SLIPWAY_NPMRC_SECRET/);
		assert.deepEqual(await ourImages(), []);
	}
	await using bench = await benchOf({ registry: url, npmrc: () => npmrc(url, CANARY) }, [
		server('own', SOURCE),
		server('other', { ...SOURCE, bin: 'other' }),
		server('third', { ...SOURCE, bin: 'third' }),
	]);
	// No script of anything ran, and the second binary has Node told what its first line says.
	assert.equal(await said(bench, 'own'), 'own no script');
	assert.equal(await said(bench, 'other'), 'other 7');
	const third = await refusedWith('SLIPWAY_PACKAGE_REFUSED', bench.launch('third'));
	assert.match(third.message, /has no binary "third": it has own, other/);

	const images = await ourImages();
	assert.equal(images.length, 2);
	for (const { Id } of images) {
		const image = docker.getImage(Id);
		const described = JSON.stringify([await image.inspect(), await image.history()]);
		const layers = await buffer(await image.get());
		assert.ok(layers.includes('slipway-bench-library'), 'the layers are looked through');
		assert.ok(!described.includes(CANARY) && !layers.includes(CANARY), 'a credential is in the image');
	}
});

test('a changed upload under the same version is refused by its integrity, and what is locked is not resolved', async () => {
	let lock: Lock;
	{
		await using registry = await startRegistry([LIBRARY, OWN]);
		const access = { registry: registry.url };
		lock = await lockOf(access);
		// A tag and a range come to the same as the version itself, byte for byte.
		const [latest, range] = await Promise.all([resolved(access, 'latest'), resolved(access, '^1.0.0')]);
		const exact = { version: '1.2.3', ...lock.sources.get(lockKey(SOURCE) ?? '') };
		assert.deepEqual([latest, range], [exact, exact]);
	}
	await removeImages();
	const changed = { ...LIBRARY, files: { ...LIBRARY.files, 'index.js': "exports.ran='something else'" } };
	{
		await using registry = await startRegistry([changed, OWN]);
		await using bench = await benchOf({ registry: registry.url }, [server('own', SOURCE)], lock);
		const refused = await refusedWith('SLIPWAY_PACKAGE_CHANGED', bench.launch('own'));
		assert.match(refused.message, /gives for slipway-bench-library@2\.0\.0 has another integrity/);
		assert.deepEqual(await ourImages(), []);
	}
	// As it was, and with a newer one that the lock knows nothing of.
	await using registry = await startRegistry([LIBRARY, { ...changed, version: '2.1.0' }, OWN]);
	await using bench = await benchOf({ registry: registry.url }, [server('own', SOURCE)], lock);
	assert.equal(await said(bench, 'own'), 'own no script');
	assert.doesNotMatch(await registry.requests(), /2\.1\.0/);
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${bench.gatewayId}`] });
	const [image] = await docker.listImages({ filters });
	const digest = lock.sources.get(lockKey(SOURCE) ?? '')?.integrity;
	assert.equal(image?.Labels[LABELS.integrity], digest);

	// Another deployment with the same lock: nothing is asked of any registry, and the engine is asked for two images.
	const asked = await registry.requests();
	await using again = await benchOf({ registry: registry.url }, [server('own', SOURCE)], lock);
	assert.equal(await said(again, 'own'), 'own no script');
	assert.equal(await registry.requests(), asked);
	assert.equal((await ourImages()).length, 1);

	const engine = new CountingEngine({ socketPath: ENGINE_SOCKET, log: SILENT_LOG });
	const context = { ...contextOf({ registry: registry.url }), lock };
	await ensureNpmImage({ engine, oomWatch: new OomWatch(engine, '') }, SOURCE, context);
	assert.equal(engine.calls, 2);
});

/** Every request goes through `call` or `stream`; an image is built or pulled by the latter. */
class CountingEngine extends Engine {
	calls = 0;
	override call: Engine['call'] = (...args) => {
		this.calls += 1;
		return super.call(...args);
	};
	override stream: Engine['stream'] = () => assert.fail('nothing is built');
}

test('a folder of archives takes the place of registries, and there is no network', async (t) => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-offline-'));
	t.after(() => rm(folder, { recursive: true }));
	await removeImages();
	const access = { offlineDir: folder, npmrc: () => assert.fail('nobody is to be shown credentials') };
	await writeFile(join(folder, 'own.tgz'), await packPackage(OWN));
	await using bench = await benchOf(access, [
		server('own', SOURCE),
		server('latest', { ...SOURCE, version: 'latest' }),
	]);
	const missing = await refusedWith('SLIPWAY_PACKAGE_MISSING', bench.launch('own'));
	assert.match(missing.message, /or no version of what it needs/);
	await writeFile(join(folder, 'some-name.tgz'), await packPackage(LIBRARY));
	await writeFile(join(folder, 'older.tgz'), await packPackage({ ...OWN, version: '1.2.0' }));
	await using able = await benchOf(access, [server('own', SOURCE), server('latest', { ...SOURCE, version: 'latest' })]);
	assert.equal(await said(able, 'own'), 'own no script');
	assert.equal(await said(able, 'latest'), 'own no script');
	const versions = (await ourImages()).map(({ Labels }) => Labels[LABELS.package]);
	assert.deepEqual(versions, [`${NAME}@1.2.3`, `${NAME}@1.2.3`]);
	await writeFile(join(folder, 'broken.tgz'), 'no archive');
	await removeImages();
	await using broken = await benchOf(access, [server('own', SOURCE)]);
	const refused = await refusedWith('SLIPWAY_PACKAGE_REFUSED', broken.launch('own'));
	assert.match(refused.message, /broken\.tgz in the folder of archives is no npm package/);
});
