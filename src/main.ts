#!/usr/bin/env node
/**
 * The edge of the process: arguments, environment, signals and exit codes. The only file that touches `process`.
 *
 * Verbs are loaded when they are asked for, so that a health check does not load a gateway.
 */
import { readFileSync } from 'node:fs';
import type { Invocation } from './cli/invocation.ts';
import { SlipwayError } from './errors.ts';
import { DRAIN_LIMITS } from './limits.ts';

/** Exit codes: 0 done, 1 failed, 2 usage, 70 an error that nobody expected. */
type ExitCode = 0 | 1 | 2 | 70;

const HELP = `slipway <role | verb> [options]

Roles
  gateway    serves clients over HTTP; asks a launcher for containers   --launcher <socket>
  launcher   starts containers; holds the Docker socket                --socket <path> [--egress <path>]
  egress     lets servers out to the hosts that the catalog names       --launcher <socket>
  all        all of them in one process

Verbs
  check      reads a catalog and says what is wrong with it             [path] [--json]
  keys       makes, lists, rotates and revokes API keys                <create | list | rotate | revoke> [name]
  audit      whether the audit is whole, and what it says               <verify | show | tail> [--json]
  approve    shows and approves definitions of tools that changed        [server] [tool]
  secrets    keeps secrets of servers in the encrypted store           <set | list | remove> [name]
  health     whether a role is well; for health checks                  [--launcher <socket> | --egress]
  version    the version

Settings come from the environment: docs/config.md. Exit codes: 0 done, 1 failed, 2 usage.`;

async function run(verb: string | undefined, invocation: Invocation): Promise<ExitCode> {
	switch (verb) {
		case 'gateway':
		case 'launcher':
		case 'egress':
		case 'all': {
			const { serve } = await import('./cli/serve.ts');
			return serve(verb, invocation);
		}
		case 'check': {
			const { check } = await import('./cli/check.ts');
			return check(invocation);
		}
		case 'keys': {
			const { keys } = await import('./cli/keys.ts');
			return keys(invocation);
		}
		case 'audit': {
			const { audit } = await import('./cli/audit.ts');
			return audit(invocation);
		}
		case 'approve': {
			const { approve } = await import('./cli/approve.ts');
			return approve(invocation);
		}
		case 'secrets': {
			const { secrets } = await import('./cli/secrets.ts');
			return secrets(invocation);
		}
		case 'health': {
			const { health } = await import('./cli/health.ts');
			return health(invocation);
		}
		case 'version':
		case '--version':
			invocation.print(invocation.version);
			return 0;
		case 'help':
		case '--help':
		case '-h':
			invocation.print(HELP);
			return 0;
		default:
			process.stderr.write(
				`${verb === undefined ? 'slipway: which role or verb?' : `slipway: there is no role or verb "${verb}".`}\n\n${HELP}\n`,
			);
			return 2;
	}
}

function die(error: unknown): never {
	// Whatever state an unexpected error leaves behind is not worth going on with: what we hold is swept at the next start.
	process.stderr.write(
		`${JSON.stringify({ time: new Date().toISOString(), level: 'error', message: 'unexpected error', stack: error instanceof Error ? error.stack : String(error) })}\n`,
	);
	process.exit(70);
}

function listenForSignals(): { stopping: AbortSignal; hurry: AbortSignal } {
	const stopping = new AbortController();
	const hurry = new AbortController();
	const onSignal = (): void => {
		if (stopping.signal.aborted) hurry.abort();
		else {
			stopping.abort();
			setTimeout(() => process.exit(1), DRAIN_LIMITS.totalMs).unref();
		}
	};
	process.on('SIGTERM', onSignal);
	process.on('SIGINT', onSignal);
	// A terminal that closes, or a habit of reloading: neither is a reason to end.
	process.on('SIGHUP', () => undefined);
	return { stopping: stopping.signal, hurry: hurry.signal };
}

process.on('uncaughtException', die);
process.on('unhandledRejection', die);
// A reader of our log that goes away is no reason to end.
process.stdout.on('error', () => undefined);
process.stderr.on('error', () => undefined);

const { version }: { version: string } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const [verb, ...args] = process.argv.slice(2);
try {
	process.exitCode = await run(verb, {
		args,
		environment: process.env,
		workDir: process.cwd(),
		input: () => process.stdin,
		version,
		print: (text) => process.stdout.write(`${text}\n`),
		...listenForSignals(),
	});
} catch (error) {
	if (error instanceof SlipwayError) {
		process.stderr.write(`slipway: ${error.message}\n${error.row.nextStep}\n`);
		process.exitCode = 1;
	} else if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
		process.stderr.write(`slipway: ${error.message}\n\n${HELP}\n`);
		process.exitCode = 2;
	} else die(error);
}
// Nothing of ours is left to wait for, and a library's timer is no reason to stay.
process.exit();
