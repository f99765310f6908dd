/**
 * Every test, as `npm test` and `docker compose run --rm test` run them: types, style, then node's own test runner.
 *
 * Usage: node scripts/test.ts [file or folder ...]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, globSync, statSync } from 'node:fs';

function run(command: string, ...args: readonly string[]): void {
	const { status } = spawnSync(command, args, { stdio: 'inherit' });
	if (status !== 0) process.exit(status ?? 1);
}

const asked = process.argv.slice(2);
const patterns = asked.length > 0 ? asked : ['test'];
const files = patterns
	.flatMap((path) => (existsSync(path) && statSync(path).isFile() ? [path] : globSync(`${path}/**/*.test.ts`)))
	.sort();
if (files.length === 0) {
	console.error(`There are no tests at ${patterns.join(', ')}.`);
	process.exit(2);
}
if (asked.length === 0) {
	run('node_modules/.bin/tsc', '--noEmit');
	run('node_modules/.bin/biome', 'check', '.');
}
// The fixtures run in an image of this very tree. In the test container that is its own; elsewhere it is built now.
if (!existsSync('/.dockerenv'))
	run('docker', 'build', '--quiet', '--target', 'test', '--tag', 'slipway-test:local', '.');
// Two files at a time: more would only wait for each other's containers.
run(
	process.execPath,
	'--import=./test/support/ends.ts',
	'--test',
	'--test-concurrency=2',
	'--test-reporter=spec',
	'--test-timeout=120000',
	...files,
);
