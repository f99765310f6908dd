/**
 * The official conformance suite of either era, in front of a server of each line of the SDK, of one that speaks the
 * modern era only, and of several at one endpoint.
 */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import {
	type Bench,
	EXPECTED,
	PAIRINGS,
	type PairingResult,
	type Revision,
	renderPage,
	runPairing,
	startBench,
	surprisesOf,
	type Target,
} from '../../scripts/conformance.ts';
import { LABELS } from '../../src/docker/labels.ts';
import * as data from '../fixtures/conformance-data.ts';
import { until } from '../support/engine-bench.ts';
import { API_KEY } from '../support/stack.ts';

const { ANSWERS } = data;
const REQUIRED: Readonly<Record<Revision, number>> = { '2025-11-25': 30, '2026-07-28': 37 };

/** Some scenarios pass with any text, that of an error too; so the server's own must be there. */
const COMMON_TEXTS = {
	'completion-complete': '["testing"]',
	'tools-call-simple-text': data.SIMPLE_TEXT,
	'tools-call-error': data.ERROR_TEXT,
	'tools-call-with-progress': 'Progress was reported.',
	'resources-templates-read': 'Data for ID: 123',
	'prompts-get-with-args': "arg1='testValue1', arg2='testValue2'",
	'prompts-get-embedded-resource': 'Embedded resource content for testing.',
};
const TEXTS: Readonly<Record<Revision, Readonly<Record<string, string>>>> = {
	'2025-11-25': {
		...COMMON_TEXTS,
		'tools-call-with-logging': data.LOG_LINES[2],
		'tools-call-sampling': ANSWERS.sampling('This is a test response from the client'),
		'tools-call-elicitation': 'User response: action=accept',
	},
	'2026-07-28': {
		...COMMON_TEXTS,
		'input-required-result-basic-elicitation': ANSWERS.hello('Alice'),
		'input-required-result-basic-sampling': 'The capital of France is Paris.',
		'input-required-result-basic-list-roots': 'file:///test/root',
		'input-required-result-request-state': ANSWERS.requestState('true'),
		'input-required-result-multiple-input-requests': 'Alice Hello there! file:///test/root',
		'input-required-result-multi-round': ANSWERS.likes('Alice', 'blue'),
		'input-required-result-non-tool-request': 'Use the following context: test context',
		'input-required-result-capability-check': 'Generate a greeting',
	},
};

/** The servers that have a container for each session of 2025-11-25. */
const OF_SESSIONS: readonly Target[] = ['conformance-v1', 'conformance-v2'];

let bench: Bench;
const results: PairingResult[] = [];
before(async () => {
	bench = await startBench();
});
after(() => bench.stop());

for (const pairing of PAIRINGS) {
	const { revision, target } = pairing;
	test(`${revision} in front of ${target}`, async () => {
		const result = await runPairing(bench, pairing);
		results.push(result);
		assert.deepEqual(surprisesOf(result), []);
		assert.equal(result.required, REQUIRED[revision], result.output);
		const unmet = EXPECTED[`${revision}/${target}`] ?? {};
		for (const [scenario, text] of Object.entries(TEXTS[revision])) {
			if (Object.hasOwn(unmet, scenario)) continue;
			const told = result.scenarios.find((candidate) => candidate.scenario === scenario)?.checks;
			assert.ok(
				JSON.stringify(told?.map(({ details }) => details)).includes(text),
				`${scenario} is not told “${text}”`,
			);
		}
		if (revision === '2025-11-25' && OF_SESSIONS.includes(target)) await assertSessionsEnded(target);
	});
}

/**
 * Every scenario ends its sessions but dns-rebinding-protection, which leaves the one that it was let into. The last one
 * may be left too: the suite does not wait until its last DELETE was sent, nor for the answer, which comes when the
 * container is gone.
 */
async function assertSessionsEnded(target: Target): Promise<void> {
	const stack = bench.stackOf(target);
	await until('only what has a session has a container, and that is hardly any', async () => {
		const status = await fetch(`${stack.url}/status`, { headers: { authorization: `Bearer ${API_KEY}` } });
		assert.equal(status.status, 200, await status.clone().text());
		const { servers } = (await status.json()) as { servers: readonly { name: string; sessions: number }[] };
		const sessions = servers.find(({ name }) => name === target)?.sessions ?? 0;
		const containers = await stack.containers();
		const own = containers.filter(({ Labels }) => Labels[LABELS.server] === target).length;
		return own === sessions && sessions <= 2;
	});
}

test('docs/conformance.md says what these results say', async () => {
	const page = await readFile(new URL('../../docs/conformance.md', import.meta.url), 'utf8');
	assert.equal(page, await renderPage(results), 'run `npm run conformance`');
});
