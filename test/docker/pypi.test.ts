/** Python packages as images: wheels that the test makes, from a folder and without a network. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LABELS } from '../../src/docker/labels.ts';
import { docker, newGatewayId, refusedWith, within } from '../support/engine-bench.ts';
import {
	imageOf,
	imagesWith,
	MINUTES_MS,
	makeFolder,
	openPythonBench,
	prepared,
	said,
	serversOf,
	stagesLeft,
} from '../support/python-bench.ts';
import { integrityOf, makeSource, makeWheel } from '../support/wheels.ts';

const TELL = `
import json, os, sys
def main():
    import importlib.metadata as metadata
    names = sorted(f"{one.metadata['Name']}=={one.version}" for one in metadata.distributions())
    print(json.dumps({"arguments": sys.argv[1:], "packages": names, "pth": os.path.exists("/app/venv/pth-ran"),
        "cached": metadata.__cached__ is not None and os.path.exists(sys.modules["slipway_tell"].__cached__),
        "bin": os.environ["PATH"].split(":")[0], "uid": os.getuid()}))
def other():
    print("the other one")
`;
const TELL_WHEEL = makeWheel({
	name: 'Slipway.Tell',
	version: '1.0.0',
	files: {
		'slipway_tell.py': TELL,
		// Run by every Python that has it among its packages.
		'slipway_tell.pth':
			"import sys; open(sys.prefix + '/pth-ran', 'w').close() if sys.prefix != sys.base_prefix else None\n",
	},
	scripts: { 'slipway-tell': 'slipway_tell:main', 'slipway-other': 'slipway_tell:other' },
	requires: ['slipway-base>=1', "slipway-more; extra == 'more'"],
	extras: ['more'],
});
const BASE_WHEEL = makeWheel({ name: 'slipway-base', version: '1.5', files: { 'slipway_base.py': 'WORD = 1\n' } });
const MORE_WHEEL = makeWheel({ name: 'slipway-more', version: '2.0', files: { 'slipway_more.py': '' } });
const WITH_WHEEL = makeWheel({ name: 'slipway-with', version: '3.0', files: { 'slipway_with.py': '' } });
const WHEELS = [TELL_WHEEL, BASE_WHEEL, MORE_WHEEL, WITH_WHEEL];

test('a package with what it needs becomes an image once, and its tag is of what is in it', async () => {
	await using wheels = await makeFolder(WHEELS);
	const python = { wheelsDir: wheels.path };
	await using bench = await openPythonBench(
		serversOf({
			one: { pypi: 'slipway.tell==1.0.0', args: ['a b'] },
			two: { pypi: 'slipway-tell[more]==1.0.0', with: ['slipway_with==3.0'], bin: 'slipway-tell' },
			other: { pypi: 'slipway-tell==1.0.0', bin: 'slipway-other' },
		}),
		{ python },
	);
	const [one, two, other] = await Promise.all([said(bench, 'one'), said(bench, 'two'), said(bench, 'other')]);
	assert.deepEqual(JSON.parse(one), {
		arguments: ['a b'],
		packages: ['Slipway.Tell==1.0.0', 'slipway-base==1.5'],
		pth: false,
		cached: true,
		bin: '/app/venv/bin',
		uid: 65_532,
	});
	assert.deepEqual(JSON.parse(two).packages, [
		'Slipway.Tell==1.0.0',
		'slipway-base==1.5',
		'slipway-more==2.0',
		'slipway-with==3.0',
	]);
	assert.equal(other, 'the other one');
	const made = imageOf(bench, 'one');
	assert.match(made.image, /^slipway\/pypi-slipway-tell:[0-9a-f]{16}$/);
	assert.equal(made.integrity, integrityOf(TELL_WHEEL));
	assert.equal(new Set(['one', 'two', 'other'].map((name) => imageOf(bench, name).image)).size, 3);
	const { Config } = await docker.getImage(made.image).inspect();
	assert.equal(Config.User, '65532:65532');
	assert.equal(Config.Labels[LABELS.package], 'slipway-tell==1.0.0');
	assert.match(Config.Labels[LABELS.lock] ?? '', /^sha256:[0-9a-f]{64}$/);
	// Nothing of the wheels and of what built it is in the image, or left beside it.
	assert.deepEqual(await stagesLeft(bench), []);

	// The same again, by a launcher that could not even find the wheels any more: nothing is done.
	await using again = await openPythonBench(serversOf({ one: { pypi: 'Slipway_Tell==1.0.0' } }), {
		python: { wheelsDir: '/nowhere' },
	});
	assert.deepEqual(JSON.parse(await said(again, 'one')).arguments, []);
	assert.equal(imageOf(again, 'one').imageId, made.imageId);
	assert.deepEqual(await imagesWith(LABELS.gateway, again.gatewayId), []);
});

test('stopping in the middle of a preparation leaves nothing that the next one does not put away', async () => {
	await using wheels = await makeFolder(WHEELS);
	const entry = serversOf({ one: { pypi: 'slipway-tell==1.0.0', with: ['slipway-more==2.0'] } });
	const options = { python: { wheelsDir: wheels.path }, gatewayId: newGatewayId() };
	for (const moment of ['resolving', 'building']) {
		const bench = await openPythonBench(entry, options);
		const there = Promise.withResolvers<void>();
		const look = ({ servers }: Pick<typeof bench.launcher.state, 'servers'>): void => {
			const preparation = servers[0]?.preparation;
			if (preparation?.kind === 'preparing' && preparation.step.startsWith(moment)) there.resolve();
		};
		bench.launcher.subscribe(look);
		const launch = bench.launch('one').catch((error: { code?: string }) => error.code);
		look(bench.launcher.state);
		await within(there.promise, moment);
		await bench.launcher.stop();
		assert.equal(await launch, 'SLIPWAY_DRAINING');
		const left = await imagesWith(LABELS.gateway, bench.gatewayId);
		assert.deepEqual(
			left.flatMap(({ RepoTags }) => RepoTags ?? []),
			[],
		);
		await bench[Symbol.asyncDispose]();
	}
	// The builder may have gone on for a moment.
	await using next = await openPythonBench(entry, options);
	assert.deepEqual(JSON.parse(await said(next, 'one')).arguments, []);
	assert.deepEqual(await stagesLeft(next), []);
});

test('a folder of wheels or a file with credentials that is not there is named', async () => {
	const entry = serversOf({ one: { pypi: 'slipway-tell==9.9.9' } });
	for (const [python, reason] of [
		[{ wheelsDir: '/nowhere' }, /^The folder of SLIPWAY_PYPI_WHEELS cannot be read by the launcher\.$/],
		[{ netrcFile: '/nowhere' }, /^The file of SLIPWAY_PYPI_NETRC_FILE cannot be read by the launcher\.$/],
		[{ netrcFile: '/dev/zero' }, /^The file of SLIPWAY_PYPI_NETRC_FILE has more than 65536 bytes\.$/],
	] as const) {
		await using bench = await openPythonBench(entry, { python });
		const { details } = await refusedWith('SLIPWAY_PREPARATION_FAILED', prepared(bench, 'one'), MINUTES_MS);
		assert.match(details.reason ?? '', reason);
	}
});

test('what there is not, what is no server and what would run code at once is refused with the reason', async () => {
	const scripts = { 'one-program': 'lonely:main', 'two-program': 'lonely:main' };
	await using wheels = await makeFolder([
		...WHEELS,
		makeWheel({ name: 'lonely', version: '1.0', files: { 'lonely.py': 'def main(): pass\n' }, scripts }),
		makeWheel({ name: 'needy', version: '1.0', files: { 'needy.py': '' }, requires: ['slipway-base<1'], scripts }),
		makeWheel({ name: 'future', version: '1.0', files: { 'future.py': '' }, python: '>=3.99', scripts }),
		await makeSource({ name: 'only-source', version: '1.0' }),
		makeWheel({
			name: 'torn',
			version: '1.0',
			requires: ['slipway-base<2', 'slipway-with<4', 'slipway-pull'],
			scripts,
		}),
		makeWheel({ name: 'slipway-pull', version: '1.0', requires: ['slipway-base>2'] }),
	]);
	const bad = {
		missing: [
			{ pypi: 'slipway-nothing==1.0.0' },
			'SLIPWAY_PACKAGE_MISSING',
			/^the folder of wheels has no slipway-nothing==1\.0\.0\.$/,
		],
		version: [
			{ pypi: 'slipway-base==9.9' },
			'SLIPWAY_PACKAGE_MISSING',
			/^the folder of wheels has no slipway-base==9\.9; there are 1\.5\.$/,
		],
		below: [
			{ pypi: 'needy==1.0', bin: 'one-program' },
			'SLIPWAY_PACKAGE_MISSING',
			/has no slipway-base<1 \(from needy\); there are 1\.5\.$/,
		],
		library: [
			{ pypi: 'slipway-base==1.5' },
			'SLIPWAY_PACKAGE_REFUSED',
			/^slipway-base has no console script: it is a library, not a server$/,
		],
		several: [
			{ pypi: 'lonely==1.0' },
			'SLIPWAY_PACKAGE_REFUSED',
			/several programs .* "bin" may name one of: one-program, two-program$/,
		],
		program: [
			{ pypi: 'lonely==1.0', bin: 'three' },
			'SLIPWAY_PACKAGE_REFUSED',
			/^lonely has no program three; "bin" may name one of: one-program, two-program$/,
		],
		future: [
			{ pypi: 'future==1.0' },
			'SLIPWAY_PACKAGE_REFUSED',
			/^future needs Python >=3\.99, and the image has 3\.\d+\.\d+$/,
		],
		torn: [
			{ pypi: 'torn==1.0' },
			'SLIPWAY_PACKAGE_REFUSED',
			/^what it needs does not go together: .*depends on slipway-base<2;.*depends on slipway-base>2$/,
		],
		source: [
			{ pypi: 'only-source==1.0' },
			'SLIPWAY_PACKAGE_REFUSED',
			/^only-source==1\.0 has no wheel that fits, .*"installScripts": true/,
		],
	} as const;
	const entries = Object.fromEntries(Object.entries(bad).map(([name, [entry]]) => [name, entry]));
	await using bench = await openPythonBench(
		serversOf({ ...entries, built: { pypi: 'only-source==1.0', installScripts: true } }),
		{ python: { wheelsDir: wheels.path } },
	);
	await Promise.all(
		Object.entries(bad).map(async ([name, [, code, reason]]) => {
			const { details } = await refusedWith(code, prepared(bench, name), MINUTES_MS);
			assert.match(details.reason ?? '', reason);
		}),
	);
	assert.equal(await said(bench, 'built'), 'from source');
	assert.deepEqual(await stagesLeft(bench), []);
});
