/** After gateway and launcher were killed with -9 in the middle of sessions, and started again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';
import { inspector, instances } from './stack.ts';

test('within 10 s no container of the time before is left', async () => {
	// The stack has been up for less than this already; it is a bound, not a wait.
	const deadlineMs = Date.now() + 10_000;
	let left = await instances();
	const events = await new Docker().getEvents({
		filters: JSON.stringify({ type: ['container'], event: ['destroy'], label: [LABELS.gateway] }),
	});
	while (left.length > 0 && Date.now() < deadlineMs) {
		await Promise.race([
			new Promise((resolve) => events.once('data', resolve)),
			new Promise((resolve) => setTimeout(resolve, deadlineMs - Date.now())),
		]);
		left = await instances();
	}
	(events as unknown as { destroy(): void }).destroy();
	assert.deepEqual(
		left.map(({ Names }) => Names[0]),
		[],
	);
});

test('and the stack serves again, with a key from SLIPWAY_API_KEY', async () => {
	const { tools } = await inspector('everything', '--method', 'tools/list');
	assert.ok(Array.isArray(tools) && tools.length > 0);
});
