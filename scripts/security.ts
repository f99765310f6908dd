/**
 * Makes every line of SECURITY.md false, one after the other, each in a copy of this tree, and looks whether its test
 * fails then: a promise whose test passes all the same is none. Needs an engine, like the tests themselves.
 *
 * Usage: npm run security               every line
 *        npm run security -- TEXT ...   those lines only that have one of these texts in them
 * Exits 1 when a test passes where it should not, or fails before anything is broken; 2 for a text that no line has.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { SECURITY, type SecurityPromise } from '../test/security/promises.ts';

const TREE = resolve(import.meta.dirname, '..');
const LEFT = new Set(['node_modules', '.git']);
const TEST_MS_MAX = 150_000;

/** Whether the one test of a promise passes in a tree; that it is there at all is part of it. */
function passes(tree: string, { file, test }: SecurityPromise): boolean {
	const pattern = test.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
	const { status, stdout } = spawnSync(
		process.execPath,
		[
			'--import=./test/support/ends.ts',
			'--test',
			`--test-timeout=${TEST_MS_MAX}`,
			'--test-reporter=tap',
			`--test-name-pattern=${pattern}`,
			file,
		],
		{ cwd: tree, encoding: 'utf8' },
	);
	const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1] ?? 0);
	return status === 0 && passed > 0;
}

const asked = process.argv.slice(2);
const promises = SECURITY.flatMap((section) => section.promises).filter(
	({ line }) => asked.length === 0 || asked.some((text) => line.includes(text)),
);
if (promises.length === 0) {
	console.error('No line of SECURITY.md has any of these texts in it.');
	process.exit(2);
}
// The fixtures run in an image of this very tree.
if (spawnSync('docker', ['build', '--quiet', '--target', 'test', '--tag', 'slipway-test:local', TREE]).status !== 0) {
	console.error('The image of the tests could not be built: is there a Docker Engine?');
	process.exit(1);
}
const tree = mkdtempSync(join(tmpdir(), 'slipway-security-'));
let held = 0;
try {
	for (const part of readdirSync(TREE))
		if (!LEFT.has(part)) cpSync(join(TREE, part), join(tree, part), { recursive: true });
	symlinkSync(join(TREE, 'node_modules'), join(tree, 'node_modules'));
	for (const promise of promises) {
		const { file, text, by } = promise.broken;
		const path = join(tree, file);
		const whole = readFileSync(path, 'utf8');
		const before = passes(tree, promise);
		const made = whole.replace(text, () => by);
		// What does not parse would fail any test.
		stripTypeScriptTypes(made);
		writeFileSync(path, made);
		const after = passes(tree, promise);
		writeFileSync(path, whole);
		if (before && !after) held += 1;
		console.log(`${before ? (after ? 'NOT NOTICED' : 'noticed') : 'FAILS UNBROKEN'}: ${promise.line}`);
	}
} finally {
	rmSync(tree, { recursive: true });
}
console.log(`${held} of ${promises.length} lines made false were noticed by their tests`);
process.exitCode = held === promises.length ? 0 : 1;
