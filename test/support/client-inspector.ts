/** The Inspector's command line, as a person runs it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { API_KEY } from './stack.ts';

const BINARY = new URL('../../node_modules/.bin/mcp-inspector', import.meta.url).pathname;

/** Runs one method of a server, and resolves with the JSON that is printed. */
export async function inspect(url: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
	const home = await mkdtemp(join(tmpdir(), 'slipway-inspector-'));
	const child = spawn(
		process.execPath,
		[
			BINARY,
			'--cli',
			url,
			'--transport',
			'http',
			'--header',
			`Authorization: Bearer ${API_KEY}`,
			'--connect-timeout',
			'60000',
			'--format',
			'json',
			...args,
		],
		{ stdio: ['ignore', 'pipe', 'pipe'], env: { PATH: process.env['PATH'], HOME: home } },
	);
	const [output, problems, [exitCode]] = await Promise.all([
		text(child.stdout),
		text(child.stderr),
		once(child, 'exit'),
	]);
	await rm(home, { recursive: true });
	assert.equal(exitCode, 0, `the Inspector failed: ${problems}${output}`);
	return JSON.parse(output);
}

export async function inspectTools(url: string): Promise<string[]> {
	const { tools, result } = await inspect(url, '--method', 'tools/list');
	const listed = tools ?? Reflect.get(Object(result), 'tools');
	assert.ok(Array.isArray(listed));
	return listed.map(({ name }: { name: string }) => name);
}
