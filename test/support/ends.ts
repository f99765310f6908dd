/**
 * Preloaded into every test file (scripts/test.ts): one that goes on when its tests have ended, or for too long, fails and
 * says what keeps it. The test runner itself would wait for good.
 */
import { after } from 'node:test';

const AFTER_TESTS_MS = 30_000;
const IN_ALL_MS = 600_000;

function endWithin(ms: number, what: string): void {
	const end = (): void => {
		process.stderr.write(`${what} within ${ms / 1000} s. Open: ${process.getActiveResourcesInfo().join(', ')}\n`);
		process.exit(1);
	};
	setTimeout(end, ms).unref();
}

if (process.env['NODE_TEST_CONTEXT'] !== undefined) {
	endWithin(IN_ALL_MS, 'This file did not end');
	after(() => endWithin(AFTER_TESTS_MS, 'The tests of this file ended, and the file did not'));
}
