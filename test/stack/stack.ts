/** A running stack, as .ci/run names it in the environment, seen from outside: over HTTP and through the engine. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { LABELS } from '../../src/docker/labels.ts';

export const URL_BASE = process.env['SLIPWAY_URL'] ?? 'http://localhost:8080';
export const KEY = process.env['SLIPWAY_KEY'] ?? '';
export const GATEWAY_ID = process.env['SLIPWAY_STACK'] ?? 'slipway';

/** The Inspector's CLI, as a person would run it, and what it printed, parsed. */
export async function inspector(server: string, ...args: readonly string[]): Promise<Record<string, unknown>> {
	const target = [
		'--cli',
		`${URL_BASE}/servers/${server}/mcp`,
		'--transport',
		'http',
		'--header',
		`Authorization: Bearer ${KEY}`,
		'--format',
		'json',
	];
	const { stdout } = await promisify(execFile)('node_modules/.bin/mcp-inspector', [...target, ...args], {
		timeout: 120_000,
	});
	const printed: { result?: Record<string, unknown> } = JSON.parse(stdout);
	return printed.result ?? {};
}

/** The Instances of the stack that there are now, of all servers or of one. */
export function instances(server?: string): Promise<Docker.ContainerInfo[]> {
	const label = [`${LABELS.gateway}=${GATEWAY_ID}`, ...(server === undefined ? [] : [`${LABELS.server}=${server}`])];
	return new Docker().listContainers({ all: true, filters: JSON.stringify({ label }) });
}
