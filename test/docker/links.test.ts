/** Links on the host below a folder that may be mounted: none leads out of it. */
import assert from 'node:assert/strict';
import { text as readText } from 'node:stream/consumers';
import { test } from 'node:test';
import { type Bench, newGatewayId, openBench, refusedWith, within } from '../support/engine-bench.ts';
import { fixtureImage, server } from '../support/fixtures.ts';

const IMAGE = { kind: 'image', reference: await fixtureImage() } as const;

async function said(bench: Bench, name: string): Promise<string> {
	const channel = await bench.launch(name);
	const output = readText(channel.stream);
	await within(channel.ended, 'the end');
	return (await output).trim();
}

test('a server that turns its folder into a link to the host gets nobody out of the mount root', async () => {
	const gatewayId = newGatewayId();
	// The one folder of any host that everybody may write to.
	const folder = `slipway-${gatewayId}`;
	const shell = (name: string, script: string, source: string) =>
		server(name, IMAGE, { command: ['sh', '-c', script], mounts: [{ source, target: '/host', readOnly: false }] });
	const look = 'ls /host; head -c 1 /host/passwd 2>/dev/null && echo escaped';
	await using bench = await openBench(
		[
			shell('maker', `mkdir -p /host/${folder}/team/inner && touch /host/${folder}/team/inner/own`, '/tmp'),
			shell(
				'hostile',
				'mv /host/inner /host/old && ln -s / /host/inner && ln -s /etc /host/etc && ln -s old /host/fine',
				`/tmp/${folder}/team`,
			),
			shell('victim', look, `/tmp/${folder}/team/inner`),
			shell('deeper', look, `/tmp/${folder}/team/inner/etc`),
			shell('direct', look, `/tmp/${folder}/team/etc`),
			shell('inside', 'ls /host', `/tmp/${folder}/team/fine`),
			shell('missing', look, `/tmp/${folder}/nothing here`),
			shell('remover', `rm -r /host/${folder} && echo removed`, '/tmp'),
		],
		{ gatewayId, launcher: { mountRoots: ['/tmp'] } },
	);
	assert.equal(await said(bench, 'maker'), '');
	assert.equal(await said(bench, 'victim'), 'own');
	assert.equal(await said(bench, 'hostile'), '');
	for (const name of ['victim', 'deeper', 'direct']) {
		const error = await refusedWith('SLIPWAY_MOUNT_REFUSED', bench.launch(name));
		assert.match(error.details.reason ?? '', new RegExp(`A link in /tmp/${folder}/team/\\S+ leads out`));
	}
	assert.equal(await said(bench, 'inside'), 'own', 'a link that stays inside is followed');
	const error = await refusedWith('SLIPWAY_MOUNT_REFUSED', bench.launch('missing'));
	assert.ok(error.details.reason?.includes(`There is no /tmp/${folder}/nothing here on the host`), error.message);
	assert.equal(await said(bench, 'remover'), 'removed');
});

test('a mount root that is not there is named', async () => {
	await using bench = await openBench(
		[server('rootless', IMAGE, { mounts: [{ source: '/no-such-root/x', target: '/host', readOnly: true }] })],
		{ launcher: { mountRoots: ['/no-such-root'] } },
	);
	const error = await refusedWith('SLIPWAY_MOUNT_REFUSED', bench.launch('rootless'));
	assert.ok(error.details.reason?.includes('There is no /no-such-root on the host'), error.message);
});
