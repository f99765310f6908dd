/** An image by its digest is that image and no other, whatever its name stands for here. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Channel } from '../../src/channel.ts';
import {
	containersOf,
	DEADLINE_MS,
	NODE_IMAGE,
	neverAborted,
	openBench,
	refusedWith,
	within,
} from '../support/engine-bench.ts';
import { buildImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';

test('a digest that the image of that name does not have: refused with the reference, and not looked for again at once', async () => {
	await using made = await buildImage([`FROM ${NODE_IMAGE}`, 'CMD ["sleep", "600"]'].join('\n'));
	const reference = `${made.reference}@sha256:${'0'.repeat(64)}`;
	await using bench = await openBench([
		server('other', { kind: 'image', reference }),
		server('named', { kind: 'image', reference: made.reference }),
	]);
	const launch = bench.launcher.launch('other' as Channel['server'], neverAborted(), 'test');
	// The registry has its say.
	const error = await refusedWith('SLIPWAY_IMAGE_MISSING', within(launch, 'the refusal', 3 * DEADLINE_MS));
	assert.ok(error.details.reason?.includes(reference), error.message);
	const startedAtMs = performance.now();
	await refusedWith('SLIPWAY_IMAGE_MISSING', bench.launch('other'));
	assert.ok(performance.now() - startedAtMs < 1_000);
	assert.deepEqual(await containersOf(bench.gatewayId), []);
	// Its name alone is an image that runs.
	const channel = await bench.launch('named');
	assert.equal((await bench.inspect(channel)).Image, made.id);
});
