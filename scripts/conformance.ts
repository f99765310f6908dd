/**
 * The official conformance suite, run against Slipway in front of servers on stdio; writes docs/conformance.md.
 *
 * Exits 1 when a pairing of a revision and a server falls short of EXPECTED, or does better: then EXPECTED is to be
 * changed. The page is the same for the same results, and a test holds it in step.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { z } from 'zod';
import { readConfig } from '../src/config.ts';
import { modernHeaders, modernRequest } from '../test/support/client-modern.ts';
import { BOUNDLESS, catalogOf, fixture, fixtureImage } from '../test/support/fixtures.ts';
import { NameProxy } from '../test/support/name-proxy.ts';
import { type Stack, startStack } from '../test/support/stack.ts';

const USAGE = `Usage: npm run conformance                                   every pairing; writes docs/conformance.md
       npm run conformance -- --only <revision>/<target>     one of them; writes nothing`;

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const SUITE = join(ROOT, 'node_modules/@modelcontextprotocol/conformance');
const PAGE = join(ROOT, 'docs/conformance.md');

export const REVISIONS = ['2025-11-25', '2026-07-28'] as const;
export type Revision = (typeof REVISIONS)[number];

/** The servers that have an endpoint of their own. */
const FIXTURES = ['conformance-v1', 'conformance-v2', 'conformance-modern'] as const;
/** The one of them that is also one of the servers behind the aggregated endpoint, with what else is there. */
const AGGREGATED = 'conformance-v2';
const AGGREGATED_WITH = {
	conversation: ['conversation.ts'],
	'exits-on-unknown': ['era.ts', 'exits-on-unknown'],
	'modern-exits-on-initialize': ['era.ts', 'modern-exits-on-initialize'],
} as const;

/** What the suite is pointed at: the endpoint of a server, or the aggregated one. */
export const TARGETS = [...FIXTURES, 'aggregate'] as const;
export type Target = (typeof TARGETS)[number];

export interface Pairing {
	readonly revision: Revision;
	readonly target: Target;
}
export const PAIRINGS: readonly Pairing[] = REVISIONS.flatMap((revision) =>
	TARGETS.map((target) => ({ revision, target })),
);
type PairingName = `${Revision}/${Target}`;
const nameOf = ({ revision, target }: Pairing): PairingName => `${revision}/${target}`;

/**
 * The required scenarios that a pairing cannot pass, or not without a warning of the suite, and why. Whatever is not
 * here must pass without one.
 */
export const EXPECTED: Readonly<Partial<Record<PairingName, Readonly<Record<string, string>>>>> = {
	'2026-07-28/conformance-v1': {
		'input-required-result-basic-elicitation':
			'The suite looks for the key that its server gives the question. In the revisions that this server speaks, ' +
			'questions are requests and have no keys, so Slipway gives them some.',
		'input-required-result-ignore-extra-params':
			'The suite answers a question before it was asked, by the key that it expects. The server asks it all the same, ' +
			'and so does Slipway, which the suite warns of.',
	},
};

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
	readonly outcome: 'passed' | 'warned' | 'failed' | 'not exercised';
	readonly checks: readonly Check[];
}

export interface PairingResult extends Pairing {
	readonly scenarios: readonly ScenarioResult[];
	readonly passed: number;
	readonly required: number;
	/** What the suite said while it ran. */
	readonly output: string;
}

/** Slipway, once with each server at an endpoint of its own and once with several at one. */
export interface Bench {
	/** The Slipway of a target. */
	readonly stackOf: (target: Target) => Stack;
	readonly urlOf: (target: Target) => string;
	/** Stops everything, and fails when anything of it is left on the engine. */
	stop(): Promise<void>;
}

export async function startBench(): Promise<Bench> {
	const image = await fixtureImage();
	const servers = FIXTURES.map((name) => fixture(name, image, [`${name}.ts`]));
	// The suite has no way to send a key. It comes as a web page of the gateway's own address too, and that is in the
	// settings.
	const config = readConfig({ ...BOUNDLESS, SLIPWAY_AUTH: 'none', SLIPWAY_PORT: String(await freePort()) });
	const single = await startStack({ catalog: catalogOf(...servers), config });
	const proxy = await NameProxy.start(AGGREGATED);
	const aggregate = await startAggregate(image, proxy.origin);
	proxy.forwardTo(aggregate.url);
	return {
		stackOf: (target) => (target === 'aggregate' ? aggregate : single),
		urlOf: (target) => (target === 'aggregate' ? `${proxy.origin}/mcp` : single.endpoint(target)),
		stop: async () => {
			await proxy.stop();
			await Promise.all([single.stop(), aggregate.stop()]);
		},
	};
}

/** Slipway with the servers of the aggregated endpoint, behind a proxy that has this origin. */
function startAggregate(image: string, origin: string): Promise<Stack> {
	const others = Object.entries(AGGREGATED_WITH).map(([name, command]) => fixture(name, image, command));
	const config = { ...readConfig({ ...BOUNDLESS, SLIPWAY_AUTH: 'none', SLIPWAY_PUBLIC_URL: origin }), port: 0 };
	return startStack({ catalog: catalogOf(fixture(AGGREGATED, image, [`${AGGREGATED}.ts`]), ...others), config });
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
export async function runPairing(bench: Bench, { revision, target }: Pairing): Promise<PairingResult> {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-conformance-'));
	try {
		if (revision === '2026-07-28') await startServers(bench.urlOf(target));
		const output = await runSuite('server', '--url', bench.urlOf(target), '--requirements', revision, '-o', folder);
		const { required, notScored } = await requirementsOf(revision);
		const results = await readResults(folder);
		const scenarios = [...required, ...notScored].map((scenario): ScenarioResult => {
			const checks = results.get(scenario) ?? [];
			return { scenario, required: required.includes(scenario), outcome: judge(checks), checks };
		});
		const passed = scenarios.filter((result) => result.required && result.outcome === 'passed').length;
		return { revision, target, scenarios, passed, required: required.length, output };
	} finally {
		await rm(folder, { recursive: true });
	}
}

/**
 * The suite gives some calls 600 ms from their first byte, which on a busy machine is less than a container needs to
 * start. What a client of this name can do, a server of the first era is told as it starts, so there is one for each.
 */
async function startServers(url: string): Promise<void> {
	const clientInfo = { name: 'conformance-client', version: '1.0.0' };
	for (const capabilities of [{}, { elicitation: {} }]) {
		const method = 'tools/list';
		const accept = 'application/json, text/event-stream';
		const headers = { 'content-type': 'application/json', accept, ...modernHeaders(method) };
		const body = JSON.stringify(modernRequest(method, {}, { capabilities, clientInfo }));
		const response = await fetch(url, { method: 'POST', headers, body });
		await response.text();
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

/** Passed is what the suite itself counts as passed, but for scenarios in which nothing that was checked was right. */
function judge(checks: readonly Check[]): ScenarioResult['outcome'] {
	// That the messages fit the schema is checked of any traffic.
	const statuses = new Set(checks.filter(({ id }) => id !== 'wire-schema-valid').map(({ status }) => status));
	if (checks.length === 0 || checks.some(({ status }) => status === 'FAILURE')) return 'failed';
	if (statuses.has('SUCCESS')) return 'passed';
	return statuses.has('WARNING') ? 'warned' : 'not exercised';
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
	const others = Object.keys(AGGREGATED_WITH).map((name) => `\`${name}\``);
	return [
		'# Conformance',
		'',
		`Generated by \`npm run conformance\`: what the official suite, ${version('conformance')}, says of Slipway.`,
		'It talks to Slipway over HTTP, and Slipway to servers on stdio, each in a container of its own:',
		'',
		`- \`conformance-v1\` is written with ${version('sdk')}, which speaks the revisions up to 2025-11-25;`,
		`- \`conformance-v2\` is written with ${version('server')}, which speaks these and 2026-07-28;`,
		'- `conformance-modern` is the same server, made to speak 2026-07-28 only;',
		`- \`aggregate\` is the endpoint \`/mcp\`, where \`${AGGREGATED}\` is one of four servers, beside ${others.slice(0, -1).join(', ')} and ${others.at(-1)}. The suite has names of its own for tools and prompts, so a proxy puts \`${AGGREGATED}__\` before them.`,
		'',
		'Where a revision and a server do not speak the same era, Slipway stands between them.',
		'',
		row('revision', ...TARGETS.map((target) => `\`${target}\``)),
		row('---', ...TARGETS.map(() => '---')),
		...REVISIONS.map((revision) =>
			row(revision, ...TARGETS.map((target) => scoreOf(find(results, { revision, target })))),
		),
		'',
		'Required scenarios passed.',
		'',
		...REVISIONS.flatMap((revision) =>
			section(
				revision,
				results.filter((result) => result.revision === revision),
			),
		),
	].join('\n');
}

function find(results: readonly PairingResult[], { revision, target }: Pairing): PairingResult | undefined {
	return results.find((result) => result.revision === revision && result.target === target);
}

const scoreOf = (result: PairingResult | undefined) =>
	result === undefined ? '' : `${result.passed}/${result.required}`;

function section(revision: Revision, results: readonly PairingResult[]): string[] {
	const all = results[0]?.scenarios ?? [];
	const table = (required: boolean) => [
		row('scenario', ...results.map(({ target }) => `\`${target}\``)),
		row('---', ...results.map(() => '---')),
		...all
			.filter((result) => result.required === required)
			.map(({ scenario }) => row(scenario, ...results.map(({ scenarios }) => cell(scenarios, scenario)))),
	];
	const notScored = all.filter(({ required }) => !required).map(({ scenario }) => scenario);
	const reasons = results.flatMap((result) =>
		Object.entries(expectedOf(result)).map(([scenario, why]) => `- ${scenario}, \`${result.target}\`: ${why}`),
	);
	return [
		`## ${revision}`,
		'',
		...table(true),
		'',
		...(reasons.length === 0 ? [] : [...reasons, '']),
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
	const warned = warningsOf(result);
	const warning = `warned of ${warned.join(', ')}`;
	if (result.outcome === 'warned') return warning;
	return warned.length === 0 ? result.outcome : `${result.outcome}; ${warning}`;
}

function row(...cells: readonly string[]): string {
	return `| ${cells.map((text) => text.replaceAll('|', '\\|')).join(' | ')} |`;
}

async function versions() {
	const text = await readFile(join(ROOT, 'package.json'), 'utf8');
	const record = z.record(z.string(), z.string());
	return z.object({ dependencies: record, devDependencies: record }).parse(JSON.parse(text));
}

const expectedOf = (pairing: Pairing) => EXPECTED[nameOf(pairing)] ?? {};

/** The checks of a scenario that the suite warns of. */
function warningsOf({ checks }: ScenarioResult): string[] {
	return [...new Set(checks.filter(({ status }) => status === 'WARNING').map(({ id }) => id))];
}

/** What is the matter with a scenario, with the first of what the suite says of it; nothing where all is well. */
function complaintOf(result: ScenarioResult): string | undefined {
	const { scenario, required, outcome, checks } = result;
	const bad = checks.filter(({ status }) => status === 'FAILURE' || (required && status === 'WARNING'));
	const [first] = bad;
	if (first === undefined && (outcome === 'passed' || !required)) return undefined;
	const what =
		first === undefined
			? `${outcome}, ${checks.length} checks`
			: `${bad.length} of ${checks.length} checks, first ${first.status} of ${first.id}: ${first.errorMessage ?? ''}`;
	return `${scenario}${required ? '' : ' (not scored)'}: ${what.slice(0, 300)}`;
}

/** A line for each scenario of a pairing with which something is the matter. */
export function complaintsOf({ scenarios }: PairingResult): string[] {
	return scenarios.map(complaintOf).filter((line) => line !== undefined);
}

export interface Surprise {
	readonly scenario: string;
	readonly what: string;
}

/** The required scenarios that are not as EXPECTED says: those that fall short of it, and those that do better. */
export function surprisesOf(result: PairingResult): Surprise[] {
	const expected = expectedOf(result);
	const missing = Object.keys(expected).filter((name) => result.scenarios.every(({ scenario }) => scenario !== name));
	return [
		...missing.map((scenario) => ({ scenario, what: 'is not among the scenarios' })),
		...result.scenarios.flatMap((scenario) => {
			const complaint = scenario.required ? complaintOf(scenario) : undefined;
			if (Object.hasOwn(expected, scenario.scenario) === (complaint !== undefined)) return [];
			return [{ scenario: scenario.scenario, what: complaint ?? 'passes' }];
		}),
	];
}

async function runAll(pairings: readonly Pairing[]): Promise<PairingResult[]> {
	const results: PairingResult[] = [];
	const bench = await startBench();
	try {
		for (const pairing of pairings) {
			const result = await runPairing(bench, pairing);
			results.push(result);
			for (const line of complaintsOf(result)) console.log(`  ${line}`);
			console.log(`${result.revision} in front of ${result.target}: ${result.passed}/${result.required}`);
		}
	} finally {
		await bench.stop();
	}
	return results;
}

/** Throws an error that says what is wrong with them. */
function readArguments(args: readonly string[]): { readonly help: boolean; readonly pairings: readonly Pairing[] } {
	const options = { only: { type: 'string' }, help: { type: 'boolean' } } as const;
	const { help = false, only } = parseArgs({ args: [...args], options }).values;
	const pairings = PAIRINGS.filter((pairing) => only === undefined || nameOf(pairing) === only);
	if (pairings.length === 0)
		throw new Error(`There is no pairing ${only}; there are ${PAIRINGS.map(nameOf).join(', ')}.`);
	return { help, pairings };
}

/** Runs them, writes the page when they are all, and tells whether they are as EXPECTED says. */
async function measure(pairings: readonly Pairing[]): Promise<boolean> {
	const results = await runAll(pairings);
	if (results.length === PAIRINGS.length) await writeFile(PAGE, await renderPage(results));
	const surprising = results.filter((result) => surprisesOf(result).length > 0);
	for (const result of surprising) {
		const scenarios = surprisesOf(result).map(({ scenario }) => scenario);
		console.error(`${nameOf(result)} is not as EXPECTED says: ${scenarios.join(', ')}`);
	}
	return surprising.length === 0;
}

async function main(args: readonly string[]): Promise<number> {
	try {
		const { help, pairings } = readArguments(args);
		if (!help) return (await measure(pairings)) ? 0 : 1;
		console.log(USAGE);
		return 0;
	} catch (error) {
		console.error(error instanceof Error ? error.message : error);
		return 2;
	}
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));
