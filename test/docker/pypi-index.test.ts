/** Python packages from an index of their own: with credentials, which stay nowhere, and with what was resolved before. */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Lock } from '../../src/catalog/lock.ts';
import { pypiLockKey } from '../../src/catalog/pypi.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { ensurePypiImage, resolvePypi } from '../../src/docker/pypi-image.ts';
import { docker, refusedWith, until } from '../support/engine-bench.ts';
import { startIndex } from '../support/pypi-index.ts';
import { imagesWith, MINUTES_MS, madeSource, makeFolder, openPythonYard } from '../support/python-bench.ts';
import { integrityOf, makeWheel } from '../support/wheels.ts';

const main = (word: string): Record<string, string> => ({ 'indexed.py': `def main(): print("${word}")\n` });
const SERVER = { name: 'slipway-indexed', scripts: { 'slipway-indexed': 'indexed:main' }, requires: ['slipway-below'] };
const ONE = makeWheel({ ...SERVER, version: '1.0', files: main('one') });
const TWO = makeWheel({ ...SERVER, version: '2.0', files: main('two') });
const BELOW = makeWheel({ name: 'slipway-below', version: '0.1', files: { 'slipway_below.py': 'VALUE = 1\n' } });
const OTHER_BELOW = makeWheel({ name: 'slipway-below', version: '0.1', files: { 'slipway_below.py': 'VALUE = 2\n' } });
const NAMED = { name: 'slipway-indexed', version: '1.0' };

/** Whether the bytes of a stream have a text in them. */
async function has(stream: AsyncIterable<unknown>, text: string): Promise<boolean> {
	let held = Buffer.alloc(0);
	let found = false;
	for await (const chunk of stream) {
		held = Buffer.concat([held.subarray(-text.length), Buffer.from(chunk as Uint8Array)]);
		found ||= held.includes(text);
	}
	return found;
}

test('an index behind a password: fetched from, and the password is in no image and in no container that one can look at', async () => {
	const password = `canary-${randomBytes(12).toString('hex')}`;
	await using index = await startIndex([ONE, BELOW], { name: 'ada', password });
	await using folder = await makeFolder();
	await using yard = await openPythonYard();
	const netrcFile = join(folder.path, 'netrc');
	await writeFile(netrcFile, `machine ${index.host} login ada password ${password}\n`);

	const python = { indexUrl: index.url, netrcFile };
	const making = ensurePypiImage(yard.dependencies, madeSource(NAMED), yard.context(python));
	// What the password goes to is looked at while it is there.
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${yard.gatewayId}`] });
	let seen = '';
	await until('the container that fetches', async () => {
		const [found] = await docker.listContainers({ filters });
		if (found !== undefined)
			seen = JSON.stringify(
				await docker
					.getContainer(found.Id)
					.inspect()
					.catch(() => ''),
			);
		return seen.includes('slipway-resolver');
	});
	const image = await making;
	assert.ok(!seen.includes(password));
	const made = docker.getImage(image.id);
	assert.ok(!JSON.stringify([await made.inspect(), await made.history()]).includes(password));
	assert.equal(await has(await made.get(), password), false);
	// That looking for it would have found it.
	assert.equal(await has(await made.get(), 'slipway_below.py'), true);

	const denied = await refusedWith(
		'SLIPWAY_PREPARATION_FAILED',
		resolvePypi(yard.dependencies, madeSource(NAMED), yard.context({ indexUrl: index.url })),
		MINUTES_MS,
	);
	assert.match(denied.details.reason ?? '', /credentials.*SLIPWAY_PYPI_NETRC_FILE/);
});

test('what was resolved is what is built: the newest when nothing is said, and nothing else under the same version', async () => {
	await using index = await startIndex([ONE, TWO, BELOW]);
	await using other = await startIndex([ONE, TWO, OTHER_BELOW]);
	await using yard = await openPythonYard();
	const { dependencies } = yard;
	const python = { indexUrl: index.url };
	const newest = await resolvePypi(dependencies, madeSource({ ...NAMED, version: 'latest' }), yard.context(python));
	assert.deepEqual(newest, {
		version: '2.0',
		integrity: integrityOf(TWO),
		lock: `slipway-below==0.1 --hash=sha256:${BELOW.sha256}\nslipway-indexed==2.0 --hash=sha256:${TWO.sha256}\n`,
	});
	const older = await resolvePypi(dependencies, madeSource({ ...NAMED, version: '>=0.5,<2' }), yard.context(python));
	assert.equal(older.version, '1.0');
	assert.deepEqual(await imagesWith(LABELS.gateway, yard.gatewayId), []);

	const exact = madeSource(NAMED);
	const lockOf = (lock: string): Lock => ({
		bases: new Map(),
		sources: new Map([[pypiLockKey(exact), { integrity: integrityOf(ONE), lock }]]),
	});
	const changed = await refusedWith(
		'SLIPWAY_PACKAGE_CHANGED',
		ensurePypiImage(dependencies, exact, yard.context({ indexUrl: other.url }, lockOf(older.lock))),
		MINUTES_MS,
	);
	assert.match(changed.details.reason ?? '', /^slipway-below==0\.1 is not the file that it was/);
	assert.deepEqual(await imagesWith(LABELS.gateway, yard.gatewayId), []);

	const image = await ensurePypiImage(dependencies, exact, yard.context(python, lockOf(older.lock)));
	assert.equal(image.integrity, integrityOf(ONE));
	// With what was resolved before, there is nothing to ask and nothing to do.
	yard.steps.splice(0);
	const again = await ensurePypiImage(
		dependencies,
		exact,
		yard.context({ indexUrl: 'http://127.0.0.1:9' }, lockOf(older.lock)),
	);
	assert.deepEqual([again.id, yard.steps], [image.id, []]);

	// The same package with another below it is another image.
	const otherwise = await ensurePypiImage(
		dependencies,
		exact,
		yard.context({ indexUrl: other.url }, lockOf(older.lock.replace(BELOW.sha256, OTHER_BELOW.sha256))),
	);
	assert.notEqual(otherwise.reference, image.reference);
});

test('an index that does not answer is not one that has no such package', async () => {
	await using yard = await openPythonYard();
	const nowhere = yard.context({ indexUrl: 'http://127.0.0.1:9/simple' });
	const failed = await refusedWith(
		'SLIPWAY_PREPARATION_FAILED',
		resolvePypi(yard.dependencies, madeSource(NAMED), nowhere),
		MINUTES_MS,
	);
	assert.match(failed.details.log ?? '', /Connection refused/);
});
