/** npm packages as images: small ones from the public registry. */
import assert from 'node:assert/strict';
import { text as readText } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { LABELS } from '../../src/docker/labels.ts';
import type { ServerName } from '../../src/ids.ts';
import {
	type Bench,
	docker,
	NODE_IMAGE,
	neverAborted,
	openBench,
	refusedWith,
	within,
} from '../support/engine-bench.ts';
import { removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';

const MINUTES_MS = 90_000;
/** No dependencies, and a bin that prints the versions that are given to it. */
const SEMVER = { kind: 'npm', name: 'semver', version: '7.5.2' } as const;
const LIBRARY = { kind: 'npm', name: 'is-number', version: '7.0.0' } as const;
const REFERENCE = /^slipway\/npm-semver:[0-9a-f]{16}$/;

function prepared(bench: Bench, name: string) {
	return within(bench.launcher.launch(name as ServerName, neverAborted(), 'test'), `the launch of ${name}`, MINUTES_MS);
}

async function said(bench: Bench, name: string): Promise<string> {
	const channel = await prepared(bench, name);
	const output = readText(channel.stream);
	await within(channel.ended, 'the end');
	return (await output).trim();
}

/** The containers that are created for a gateway while `act` runs, by what they are for. */
async function createdDuring(gatewayId: () => string, act: () => Promise<void>): Promise<string[]> {
	const since = Math.floor(Date.now() / 1000);
	await act();
	const until = Math.floor(Date.now() / 1000) + 1;
	const filters = JSON.stringify({
		type: ['container'],
		event: ['create'],
		label: [`${LABELS.gateway}=${gatewayId()}`],
	});
	const lines = await readText(await docker.getEvents({ since, until, filters }));
	return (
		lines
			.split('\n')
			.filter((line) => line !== '')
			.map((line): string | undefined => JSON.parse(line).Actor.Attributes[LABELS.server])
			// The builder's own containers have the image's labels, and no server.
			.filter((name) => name !== undefined)
	);
}

async function imagesOf(packageName: string) {
	const filters = JSON.stringify({ label: [`${LABELS.package}=${packageName}`] });
	return docker.listImages({ filters });
}

after(async () => {
	for (const { Id } of await imagesOf('semver@7.5.2')) await removeImage(Id);
	assert.deepEqual(await imagesOf('semver@7.5.2'), []);
});

test('a package becomes an image once, however many want it, and is found again', async () => {
	let imageId = '';
	let gatewayId = '';
	{
		let bench: Bench | undefined;
		const created = await createdDuring(
			() => gatewayId,
			async () => {
				bench = await openBench([
					server('one', SEMVER, { args: ['1.2.3'] }),
					server('two', SEMVER, { args: ['4.5.6'] }),
				]);
				gatewayId = bench.gatewayId;
				const outputs = await Promise.all([said(bench, 'one'), said(bench, 'one'), said(bench, 'two')]);
				assert.deepEqual(outputs, ['1.2.3', '1.2.3', '4.5.6']);
			},
		);
		await using used = bench;
		assert.ok(used !== undefined);
		assert.deepEqual(created.sort(), ['one', 'one', 'slipway-installer', 'slipway-resolver', 'two']);
		const [one, two] = used.launcher.state.servers.map(({ preparation }) => preparation);
		assert.ok(one?.kind === 'ready' && two?.kind === 'ready');
		assert.match(one.image, REFERENCE);
		assert.equal(one.imageId, two.imageId);
		imageId = one.imageId;

		const { Config, RootFS } = await docker.getImage(one.image).inspect();
		assert.ok(RootFS?.Layers !== undefined);
		assert.equal(Config.User, '65532:65532');
		assert.deepEqual(Config.Entrypoint, ['node', '/app/server']);
		assert.equal(Config.Labels[LABELS.package], 'semver@7.5.2');
		assert.match(Config.Labels[LABELS.source] ?? '', /^[0-9a-f]{64}$/);
		assert.match(Config.Labels[LABELS.lock] ?? '', /^sha256:[0-9a-f]{64}$/);
		assert.equal(Config.Labels[LABELS.integrity], one.integrity);
		assert.equal(one.integrity, await registryIntegrity());
		const history: { CreatedBy: string }[] = await docker.getImage(one.image).history();
		// What is in it was installed elsewhere: nothing ran when it was built.
		const ran = history.map(({ CreatedBy }) => CreatedBy).filter((by) => /npm ci|prepare\.sh|find-entry/.test(by));
		assert.deepEqual(ran, []);
	}
	// Another launcher, of another deployment: nothing is resolved, nothing is built.
	{
		let again: Bench | undefined;
		const created = await createdDuring(
			() => gatewayId,
			async () => {
				again = await openBench([server('one', SEMVER, { args: ['7.8.9'] })]);
				gatewayId = again.gatewayId;
				assert.equal(await said(again, 'one'), '7.8.9');
			},
		);
		await using used = again;
		const preparation = used?.launcher.state.servers[0]?.preparation;
		assert.equal(preparation?.kind === 'ready' ? preparation.imageId : '', imageId);
		assert.deepEqual(created, ['one']);
	}
	assert.equal((await imagesOf('semver@7.5.2')).length, 1);
});

/** What the registry itself says, by npm's own client. */
async function registryIntegrity(): Promise<string> {
	const container = await docker.createContainer({
		Image: NODE_IMAGE,
		Cmd: ['npm', 'view', 'semver@7.5.2', 'dist.integrity', '--no-update-notifier'],
		Tty: true,
	});
	try {
		const output = await container.attach({ stream: true, stdout: true });
		await container.start();
		const text = await within(readText(output), 'the registry', MINUTES_MS);
		return /sha512-[A-Za-z0-9+/=]+/.exec(text)?.[0] ?? text;
	} finally {
		await container.remove({ force: true });
	}
}

test('an image that is removed behind our back is made again, once, at the next launch', async () => {
	await using bench = await openBench([server('one', SEMVER, { args: ['1.0.0'] })]);
	assert.equal(await said(bench, 'one'), '1.0.0');
	for (const { Id } of await imagesOf('semver@7.5.2')) await removeImage(Id);
	const created = await createdDuring(
		() => bench.gatewayId,
		async () => assert.deepEqual(await Promise.all([said(bench, 'one'), said(bench, 'one')]), ['1.0.0', '1.0.0']),
	);
	assert.equal(created.filter((name) => name === 'slipway-resolver').length, 1, created.join(' '));
	assert.equal((await imagesOf('semver@7.5.2')).length, 1);
});

test('a package or a version that there is not, and one that cannot be run: refused with the reason', async () => {
	await using bench = await openBench([
		server('nopackage', { kind: 'npm', name: '@slipway-bench/there-is-no-such-package', version: '1.0.0' }),
		server('noversion', { ...SEMVER, version: '7.5.999' }),
		server('library', LIBRARY),
	]);
	const [nopackage, noversion, library] = await Promise.all([
		refusedWith('SLIPWAY_PACKAGE_MISSING', prepared(bench, 'nopackage')),
		refusedWith('SLIPWAY_PACKAGE_MISSING', prepared(bench, 'noversion')),
		refusedWith('SLIPWAY_PACKAGE_REFUSED', prepared(bench, 'library')),
	]);
	assert.match(nopackage.message, /@slipway-bench\/there-is-no-such-package@1\.0\.0/);
	assert.match(noversion.message, /semver@7\.5\.999/);
	assert.match(library.details.reason ?? '', /^is-number has no "bin": it is a library, not a server$/);
	assert.deepEqual(await imagesOf('is-number@7.0.0'), []);
	for (const { preparation } of bench.launcher.state.servers) assert.equal(preparation.kind, 'failed');
});

test('stopping in the middle of a preparation leaves nothing', async () => {
	const bench = await openBench([server('one', { ...SEMVER, version: '7.5.1' })]);
	const launch = bench.launch('one').catch((error: { code?: string }) => error.code);
	const resolving = Promise.withResolvers<void>();
	bench.launcher.subscribe(({ servers }) => {
		const preparation = servers[0]?.preparation;
		if (preparation?.kind === 'preparing' && preparation.step.startsWith('resolving')) resolving.resolve();
	});
	const first = bench.launcher.state.servers[0]?.preparation;
	if (first?.kind === 'preparing' && first.step.startsWith('resolving')) resolving.resolve();
	await within(resolving.promise, 'the resolving');
	await bench[Symbol.asyncDispose]();
	assert.equal(await launch, 'SLIPWAY_DRAINING');
	assert.deepEqual(await imagesOf('semver@7.5.1'), []);
});

test('the server of a package has no network, no writable root and no npm cache', async () => {
	await using bench = await openBench([server('one', SEMVER, { args: ['--help'] })]);
	const channel = await prepared(bench, 'one');
	const output = readText(channel.stream);
	// It may have ended by now: what it was is in the spec that its label names; the image is what counts here.
	await within(channel.ended, 'the end');
	assert.match(await output, /SemVer/);
	const preparation = bench.launcher.state.servers[0]?.preparation;
	assert.ok(preparation?.kind === 'ready');
	const probe = `const fs=require('fs'),os=require('os');console.log(JSON.stringify({interfaces:Object.keys(os.networkInterfaces()).filter((n)=>n!=='lo'),cache:fs.existsSync('/tmp/npm-cache'),finder:fs.existsSync('/app/find-entry.mjs'),entry:fs.realpathSync('/app/server')}))`;
	await using looker = await openBench([
		server('look', { kind: 'image', reference: preparation.image }, { env: { NODE_OPTIONS: '' }, args: ['1.1.1'] }),
	]);
	assert.equal(await said(looker, 'look'), '1.1.1');
	const container = await docker.createContainer({
		Image: preparation.imageId,
		Entrypoint: ['node', '-e', probe],
		Tty: true,
		HostConfig: { NetworkMode: 'none' },
	});
	try {
		const stream = await container.attach({ stream: true, stdout: true });
		await container.start();
		const seen = JSON.parse((await within(readText(stream), 'the look')).trim());
		assert.deepEqual(seen, {
			interfaces: [],
			cache: false,
			finder: false,
			entry: '/app/node_modules/semver/bin/semver.js',
		});
	} finally {
		await container.remove({ force: true });
	}
});
