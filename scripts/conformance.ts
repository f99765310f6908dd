/**
 * The official conformance suite, run against Slipway in front of servers on stdio; writes docs/conformance.md.
 *
 * Usage: node scripts/conformance.ts           the revisions with `initialize`
 *        node scripts/conformance.ts --modern  2026-07-28 too
 *
 * Exits 1 when a scenario that one of the first revisions requires fails. The page holds what was run, and is the same
 * for the same results; a test holds it in step without --modern.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { readConfig } from '../src/config.ts';
import { catalogOf, fixture, fixtureImage } from '../test/support/fixtures.ts';
import { type Stack, startStack } from '../test/support/stack.ts';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const SUITE = join(ROOT, 'node_modules/@modelcontextprotocol/conformance');
const PAGE = join(ROOT, 'docs/conformance.md');

export const FIXTURES = ['conformance-v1', 'conformance-v2'] as const;
export type Fixture = (typeof FIXTURES)[number];
export type Revision = '2025-11-25' | '2026-07-28';

/** What a change must not break. */
export const REVISIONS: readonly Revision[] = ['2025-11-25'];

const checkSchema = z.object({
	id: z.string(),
	status: z.enum(['SUCCESS', 'FAILURE', 'WARNING', 'SKIPPED', 'INFO']),
	errorMessage: z.string().optional(),
	details: z.unknown().optional(),
});
type Check = z.infer<typeof checkSchema>;

export interface ScenarioResult {
	readonly scenario: string;
	/** Whether conformance to the revision requires it. */
	readonly required: boolean;
	readonly outcome: 'passed' | 'failed' | 'not exercised';
	readonly checks: readonly Check[];
}

export interface PairingResult {
	readonly revision: Revision;
	readonly fixture: Fixture;
	readonly scenarios: readonly ScenarioResult[];
	readonly passed: number;
	readonly required: number;
	/** What the suite said while it ran. */
	readonly output: string;
}

/** Slipway with the fixtures in its catalog. The suite has no way to send a key. */
export async function startConformanceStack(): Promise<Stack> {
	const image = await fixtureImage();
	const servers = FIXTURES.map((name) => fixture(name, image, [`${name}.ts`]));
	// The suite comes as a web page of the gateway's own address too, and that address is in the settings.
	const config = readConfig({ SLIPWAY_AUTH: 'none', SLIPWAY_PORT: String(await freePort()) });
	return startStack({ catalog: catalogOf(...servers), config });
}

async function freePort(): Promise<number> {
	const server = createServer().listen(0, '127.0.0.1');
	await once(server, 'listening');
	const address = server.address();
	server.close();
	await once(server, 'close');
	if (typeof address !== 'object' || address === null) throw new Error('There is no free port.');
	return address.port;
}

/** Runs what a revision requires, and what the suite runs beside it without counting it. */
export async function runPairing(stack: Stack, revision: Revision, name: Fixture): Promise<PairingResult> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-conformance-'));
	try {
		const output = await runSuite('server', '--url', stack.endpoint(name), '--requirements', revision, '-o', folder);
		const { required, notScored } = await requirementsOf(revision);
		const results = await readResults(folder);
		const scenarios = [...required, ...notScored].map((scenario): ScenarioResult => {
			const checks = results.get(scenario) ?? [];
			return { scenario, required: required.includes(scenario), outcome: judge(checks), checks };
		});
		const passed = scenarios.filter((result) => result.required && result.outcome === 'passed').length;
		return { revision, fixture: name, scenarios, passed, required: required.length, output };
	} finally {
		await rm(folder, { recursive: true });
	}
}

async function runSuite(...args: readonly string[]): Promise<string> {
	const suite = spawn(process.execPath, [join(SUITE, 'dist/index.js'), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
	let output = '';
	for (const stream of [suite.stdout, suite.stderr])
		stream.setEncoding('utf8').on('data', (chunk: string) => {
			output += chunk;
		});
	await once(suite, 'close');
	return output;
}

/** Each scenario leaves a folder `server-<scenario>-<time>`; one that broke off leaves it empty. */
async function readResults(folder: string): Promise<Map<string, readonly Check[]>> {
	const results = new Map<string, readonly Check[]>();
	for (const name of await readdir(folder)) {
		const scenario = /^server-(.+)-\d{4}-\d{2}-\d{2}T[\dZ-]+$/.exec(name)?.[1];
		if (scenario === undefined) continue;
		const text = await readFile(join(folder, name, 'checks.json'), 'utf8').catch(() => '[]');
		results.set(scenario, checkSchema.array().parse(JSON.parse(text)));
	}
	return results;
}

/** Passed is what the suite itself counts as passed, but for scenarios in which nothing came to be checked. */
function judge(checks: readonly Check[]): ScenarioResult['outcome'] {
	if (checks.length === 0 || checks.some(({ status }) => status === 'FAILURE')) return 'failed';
	// That the messages fit the schema is checked of any traffic.
	const exercised = checks.some(({ id, status }) => status === 'SUCCESS' && id !== 'wire-schema-valid');
	return exercised ? 'passed' : 'not exercised';
}

async function requirementsOf(revision: Revision): Promise<{ required: string[]; notScored: string[] }> {
	const text = await readFile(join(SUITE, `requirements/${revision}.yaml`), 'utf8');
	const [, block = ''] = /^server:\n((?: {2}- .+\n)+)/m.exec(text) ?? [];
	const required = [...block.matchAll(/- (\S+)/g)].map(([, scenario = '']) => scenario);
	const notScored = [...text.matchAll(/- scenario: (\S+)\n\s+leg: server\n/g)].map(([, scenario = '']) => scenario);
	if (required.length === 0) throw new Error(`The suite requires nothing for ${revision}.`);
	return { required, notScored };
}

/** What is to be said of scenarios that are not scored. */
const REMARKS: Readonly<Record<string, string>> = {
	'server-session-lifecycle': 'A session that was ended with DELETE is unknown afterwards (404).',
	'json-schema-2020-12': 'The schemas of tools come through as the server wrote them.',
	'server-sse-polling':
		'The suite looks for an event stream that the server of the tool closes in the middle of a call. A server on stdio ' +
		'has no stream to close, and Slipway answers a call in which nothing is said before the result with plain JSON.',
	'http-header-validation': 'Headers that repeat what the body says must be there and must agree with it.',
	'http-custom-header-server-validation':
		'Arguments that a tool wants repeated in `Mcp-Param-*` headers must agree with them.',
};
const TASKS_REMARK =
	'The scenarios `tasks-*` are about the extension `io.modelcontextprotocol/tasks`, which the servers here do not have.';

/** The page of these results. */
export async function renderPage(results: readonly PairingResult[]): Promise<string> {
	const { devDependencies, dependencies } = await versions();
	const version = (name: string) => {
		const full = `@modelcontextprotocol/${name}`;
		return `\`${full}\` ${dependencies[full] ?? devDependencies[full] ?? ''}`;
	};
	return [
		'# Conformance',
		'',
		`Generated by \`npm run conformance\`: what the official suite, ${version('conformance')}, says of Slipway.`,
		'It talks to Slipway over HTTP, and Slipway runs a server on stdio, in a container for each session. There are two:',
		'',
		`- \`conformance-v1\` is written with ${version('sdk')}, which speaks the revisions up to 2025-11-25;`,
		`- \`conformance-v2\` is written with ${version('server')}, which speaks these and 2026-07-28.`,
		'',
		row('revision', 'server', 'required scenarios passed'),
		row('---', '---', '---'),
		...results.map(({ revision, fixture: name, passed, required }) =>
			row(revision, `\`${name}\``, `${passed}/${required}`),
		),
		'',
		...[...new Set(results.map(({ revision }) => revision))].flatMap((revision) =>
			section(
				revision,
				results.filter((result) => result.revision === revision),
			),
		),
	].join('\n');
}

function section(revision: Revision, results: readonly PairingResult[]): string[] {
	const all = results[0]?.scenarios ?? [];
	const table = (required: boolean) => [
		row('scenario', ...results.map(({ fixture: name }) => `\`${name}\``)),
		row('---', ...results.map(() => '---')),
		...all
			.filter((result) => result.required === required)
			.map(({ scenario }) => row(scenario, ...results.map(({ scenarios }) => cell(scenarios, scenario)))),
	];
	const notScored = all.filter(({ required }) => !required).map(({ scenario }) => scenario);
	return [
		`## ${revision}`,
		'',
		...(results.some(({ passed }) => passed > 0) ? [] : ['Slipway does not speak this revision yet.', '']),
		...table(true),
		'',
		'Not scored: the suite runs these and does not count them.',
		'',
		...table(false),
		'',
		...notScored.flatMap((scenario) => {
			const remark = REMARKS[scenario];
			return remark === undefined ? [] : [`- ${scenario}: ${remark}`];
		}),
		...(notScored.some((scenario) => scenario.startsWith('tasks-')) ? [`- ${TASKS_REMARK}`] : []),
		'',
	];
}

function cell(scenarios: readonly ScenarioResult[], scenario: string): string {
	const result = scenarios.find((candidate) => candidate.scenario === scenario);
	if (result === undefined) return '';
	const warned = [...new Set(result.checks.filter(({ status }) => status === 'WARNING').map(({ id }) => id))];
	return warned.length === 0 ? result.outcome : `${result.outcome}; warned of ${warned.join(', ')}`;
}

function row(...cells: readonly string[]): string {
	return `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
}

async function versions() {
	const text = await readFile(join(ROOT, 'package.json'), 'utf8');
	const record = z.record(z.string(), z.string());
	return z.object({ dependencies: record, devDependencies: record }).parse(JSON.parse(text));
}

/** A line for each scenario that failed, with the first of what the suite says of it. */
export function failuresOf({ scenarios }: PairingResult): string[] {
	return scenarios.flatMap(({ scenario, required, outcome, checks }) => {
		if (outcome === 'passed' || (outcome === 'not exercised' && !required)) return [];
		const failed = checks.filter(({ status }) => status === 'FAILURE');
		const [first] = failed;
		const what =
			first === undefined
				? `${outcome}, ${checks.length} checks`
				: `${failed.length} of ${checks.length} checks failed, first ${first.id}: ${first.errorMessage ?? ''}`;
		return [`${scenario}${required ? '' : ' (not scored)'}: ${what.slice(0, 300)}`];
	});
}

async function main(args: readonly string[]): Promise<number> {
	const unknown = args.find((arg) => arg !== '--modern');
	if (unknown !== undefined) {
		console.error(`There is no option ${unknown}; there is --modern.`);
		return 2;
	}
	const revisions: readonly Revision[] = args.includes('--modern') ? [...REVISIONS, '2026-07-28'] : REVISIONS;
	const results: PairingResult[] = [];
	const stack = await startConformanceStack();
	try {
		for (const revision of revisions)
			for (const name of FIXTURES) {
				const result = await runPairing(stack, revision, name);
				results.push(result);
				for (const line of failuresOf(result)) console.log(`  ${line}`);
				console.log(`${revision} in front of ${name}: ${result.passed}/${result.required}`);
			}
	} finally {
		await stack.stop();
	}
	await writeFile(PAGE, await renderPage(results));
	const broken = results.some(({ revision, passed, required }) => REVISIONS.includes(revision) && passed < required);
	return broken ? 1 : 0;
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
