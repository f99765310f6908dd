/** Everybody wants everything at once, as after a restart: every server comes up, in turn, and nobody is turned away. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { RawClient, textOf } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { type Stack, startStack } from '../support/stack.ts';

const SERVERS = 50;
const NAMES = Array.from({ length: SERVERS }, (_, index) => `server-${index}`);
/** Each is asked in a session of its own, and all of them at once. */
const ENOUGH = 64;

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	const servers = NAMES.map((name) => fixture(name, image, ['conversation.ts']));
	stack = await startStack({
		catalog: catalogOf(...servers),
		launcher: { instancesMax: ENOUGH },
		config: { instancesMax: ENOUGH, sessionsPerPrincipalMax: ENOUGH },
	});
});
after(() => stack.stop());

test(`${SERVERS} servers that are asked at once all answer, and each was started once`, async (t) => {
	const startedAtMs = performance.now();
	await Promise.all(
		NAMES.map(async (name) => {
			const client = new RawClient(stack.endpoint(name));
			await client.open();
			assert.equal(textOf(await client.call('echo', { text: name })), name);
		}),
	);
	t.diagnostic(`all were there after ${Math.round(performance.now() - startedAtMs)} ms`);
	const reports = await stack.launcher.report();
	assert.equal(reports.length, SERVERS, 'one start for each');
	assert.ok(reports.every(({ ended }) => ended === undefined));
});
