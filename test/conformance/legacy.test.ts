/** The official conformance suite, for the revisions with `initialize`, in front of a server of each line of the SDK. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import {
	FIXTURES,
	failuresOf,
	type PairingResult,
	REVISIONS,
	renderPage,
	runPairing,
	startConformanceStack,
} from '../../scripts/conformance.ts';
import { LABELS } from '../../src/docker/labels.ts';
import * as data from '../fixtures/conformance-data.ts';
import type { Stack } from '../support/stack.ts';

/** Some scenarios pass with any text, that of an error too; so the server's own must be there. */
const TEXTS = {
	'completion-complete': '["testing"]',
	'tools-call-simple-text': data.SIMPLE_TEXT,
	'tools-call-error': data.ERROR_TEXT,
	'tools-call-with-logging': data.LOG_LINES[2],
	'tools-call-with-progress': 'Progress was reported.',
	'tools-call-sampling': 'LLM response: This is a test response from the client',
	'tools-call-elicitation': 'User response: action=accept',
	'resources-templates-read': 'Data for ID: 123',
	'prompts-get-with-args': "arg1='testValue1', arg2='testValue2'",
	'prompts-get-embedded-resource': 'Embedded resource content for testing.',
};

let stack: Stack;
const results: PairingResult[] = [];
before(async () => {
	stack = await startConformanceStack();
});
after(() => stack.stop());

for (const revision of REVISIONS)
	for (const name of FIXTURES)
		test(`${revision} in front of ${name}`, async () => {
			const result = await runPairing(stack, revision, name);
			results.push(result);
			assert.deepEqual(failuresOf(result), []);
			assert.equal(result.required, { '2025-11-25': 30, '2026-07-28': 37 }[revision]);
			assert.equal(result.passed, result.required, result.output);
			for (const [scenario, text] of Object.entries(TEXTS)) {
				const told = result.scenarios.find((candidate) => candidate.scenario === scenario)?.checks;
				assert.ok(
					JSON.stringify(told?.map(({ details }) => details)).includes(text),
					`${scenario} is not told “${text}”`,
				);
			}
			// Every scenario ends its sessions but dns-rebinding-protection, which leaves the one that it was let into.
			const left = (await stack.containers()).filter(({ Labels }) => Labels[LABELS.server] === name);
			assert.equal(left.length, 1, 'a session that its client ended has a container');
		});

test('docs/conformance.md says what these results say', async () => {
	const page = await readFile(new URL('../../docs/conformance.md', import.meta.url), 'utf8');
	assert.equal(page, await renderPage(results), 'run `npm run conformance`');
});
