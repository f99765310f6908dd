/** `slipway doctor`: whether all that Slipway needs is there, what is not, what that means, and what to do. */
import { type Config, readConfig } from '../config.ts';
import { learnFacts } from '../docker/engine-facts.ts';
import { toSlipwayError } from '../errors.ts';
import { judgeEngine } from './checkup/engine.ts';
import { broken, type Finding, ok } from './checkup/finding.ts';
import { checkLaunch } from './checkup/launch.ts';
import { checkCatalog, checkDataDisk, checkGateway, checkImages, checkSecrets } from './checkup/surroundings.ts';
import type { Invocation } from './invocation.ts';
import { type Paint, Progress, paintOf } from './terminal.ts';
import { type Asked, defineVerb } from './verb.ts';
import { openWorkbench, type Workbench } from './workbench.ts';

const HELP = `slipway doctor [--json]

Looks whether all that Slipway needs is there: the engine and its API, storage, limits, system call filter, clock, disks, the
catalog, images, secrets, the gateway; and starts a tiny container as it would start a server. Of what is not well it says
what that means and what to do. Exit code 1: something is broken.`;

export const doctor = defineVerb({ help: HELP, run });

async function run({ values, positionals }: Asked, invocation: Invocation): Promise<0 | 1 | 'misused'> {
	if (positionals.length > 0) return 'misused';
	const { environment, print, out, err } = invocation;
	const config = readConfig(environment);
	const progress = new Progress(err, environment);
	const findings: Finding[] = [];
	const bench = await openWorkbench(config).catch((error: unknown) => {
		findings.push(judgeAbsence(error));
	});
	try {
		if (bench) findings.push(...(await examineEngine(bench, config, progress)));
		progress.step('looking at the catalog, its secrets and the gateway');
		findings.push(...(await examineSurroundings(bench ?? undefined, config, environment)));
		progress.done();
	} finally {
		await bench?.[Symbol.asyncDispose]();
	}
	const isWell = findings.every(({ state }) => state !== 'broken');
	print(values.json ? JSON.stringify({ ok: isWell, findings }) : describe(findings, paintOf(out, environment)));
	return isWell ? 0 : 1;
}

function judgeAbsence(error: unknown): Finding {
	const { message, details } = toSlipwayError(error);
	return broken('engine', details.reason ?? message, {
		why: 'Without the Docker Engine no server can be started.',
		fix: 'Start Docker; with compose, the socket of SLIPWAY_DOCKER_SOCKET has to be the one of the engine.',
	});
}

async function examineEngine(bench: Workbench, config: Config, progress: Progress): Promise<Finding[]> {
	const { engine } = bench;
	const { state } = engine;
	progress.step('asking the engine what it is');
	const facts = await learnFacts(engine);
	const version = state.reachable ? `Docker Engine ${state.version}, API ${state.apiVersion}` : '';
	const judged = [ok('engine', `${version}, on ${facts.operatingSystem}`), ...judgeEngine(facts, Date.now())];
	progress.step('starting a container as it would start a server');
	return [...judged, ...(await checkLaunch(bench, config))];
}

async function examineSurroundings(
	bench: Workbench | undefined,
	config: Config,
	environment: Invocation['environment'],
): Promise<Finding[]> {
	const { catalog, finding } = await checkCatalog(config, environment);
	return [
		finding,
		...(catalog === undefined || bench === undefined ? [] : [await checkImages(catalog, bench.engine)]),
		...(catalog === undefined ? [] : checkSecrets(catalog, config)),
		await checkDataDisk(config),
		await checkGateway(config),
	];
}

const COLOURS = Object.freeze({ ok: 'green', warning: 'yellow', broken: 'red' });

function describe(findings: readonly Finding[], paint: Paint): string {
	const width = Math.max(...findings.map(({ check }) => check.length));
	return findings
		.map(({ check, state, what, why, fix }) =>
			[
				`${paint(COLOURS[state], state.padEnd(7))}  ${check.padEnd(width)}  ${what}`,
				...(why === undefined ? [] : [`         ${why}`]),
				...(fix === undefined ? [] : [`         → ${fix}`]),
			].join('\n'),
		)
		.join('\n');
}
