#!/usr/bin/env node
/**
 * The edge of the process: arguments, environment, signals and exit codes. The only file that touches `process`.
 */
import { readFileSync, statSync } from 'node:fs';
import { explainFailure } from './cli/failure.ts';
import type { Invocation, Surface } from './cli/invocation.ts';
import { SlipwayError } from './errors.ts';
import { DRAIN_LIMITS } from './limits.ts';

/** Exit codes: 0 done, 1 failed, 2 usage, 70 an error that nobody expected. */
type ExitCode = 0 | 1 | 2 | 70;

type Role = 'gateway' | 'launcher' | 'egress' | 'all';

interface Verb {
	/** What stands beside it in the help: what it does, and what it takes. */
	readonly does: string;
	readonly takes: string;
	/**
	 * Whether it needs what only root may: to talk to the engine, or to write the catalog of whoever runs it. One that does not
	 * goes on as the owner of the data folder, so that what it writes there is the gateway's too.
	 */
	readonly asRoot?: true;
	/** Loaded when it is asked for, so that a health check does not load a gateway. */
	readonly load: () => Promise<((invocation: Invocation) => Promise<ExitCode>) & { readonly options?: object }>;
}

const ROLES: Readonly<Record<Role, Pick<Verb, 'does' | 'takes'>>> = {
	gateway: { does: 'serves clients over HTTP; asks a launcher for containers', takes: '--launcher <socket>' },
	launcher: { does: 'starts containers; holds the Docker socket', takes: '--socket <path> [--egress <path>]' },
	egress: { does: 'lets servers out to the hosts that the catalog names', takes: '--launcher <socket>' },
	all: { does: 'all of them in one process', takes: '' },
};

const VERBS: Readonly<Record<string, Verb>> = {
	add: {
		does: 'adds a server by its command line, once it was tried',
		takes: '[--name n] -- npx -y some-server',
		asRoot: true,
		load: async () => (await import('./cli/add.ts')).add,
	},
	import: {
		does: "adds the servers of another program's configuration",
		takes: '<file | ->',
		asRoot: true,
		load: async () => (await import('./cli/import.ts')).importServers,
	},
	remove: {
		does: 'removes a server from the catalog',
		takes: '<server> [--volumes]',
		asRoot: true,
		load: async () => (await import('./cli/remove.ts')).remove,
	},
	doctor: {
		does: 'looks whether all that Slipway needs is there',
		takes: '[--json]',
		asRoot: true,
		load: async () => (await import('./cli/doctor.ts')).doctor,
	},
	status: {
		does: 'what runs, what is wrong, and the next step',
		takes: '[--json]',
		load: async () => (await import('./cli/status.ts')).status,
	},
	list: {
		does: 'the servers of the catalog, as the gateway has it',
		takes: '[--json]',
		load: async () => (await import('./cli/list.ts')).list,
	},
	call: {
		does: 'calls a tool, or lists the tools of a server',
		takes: '<server> [tool] [key=value…]',
		load: async () => (await import('./cli/call.ts')).call,
	},
	logs: {
		does: 'what servers write on stderr',
		takes: '[server] [-f] [--tail n]',
		load: async () => (await import('./cli/logs.ts')).logs,
	},
	clients: {
		does: 'prints or writes the configuration of a client',
		takes: '[client] [--server s] [--write file]',
		load: async () => (await import('./cli/clients.ts')).clients,
	},
	check: {
		does: 'reads a catalog and says what is wrong with it',
		takes: '[path] [--diff] [--json]',
		load: async () => (await import('./cli/check.ts')).check,
	},
	lock: {
		does: 'writes down what packages of the catalog resolve to',
		takes: '[server…] [--update] [--json]',
		asRoot: true,
		load: async () => (await import('./cli/lock.ts')).lock,
	},
	keys: {
		does: 'makes, lists, rotates and revokes API keys',
		takes: '<create | list | rotate | revoke> [name]',
		load: async () => (await import('./cli/keys.ts')).keys,
	},
	audit: {
		does: 'whether the audit is whole, and what it says',
		takes: '<verify | show | tail> [--json]',
		load: async () => (await import('./cli/audit.ts')).audit,
	},
	approve: {
		does: 'shows and approves definitions of tools that changed',
		takes: '[server] [tool]',
		load: async () => (await import('./cli/approve.ts')).approve,
	},
	secrets: {
		does: 'keeps secrets of servers in the encrypted store',
		takes: '<set | list | remove> [name]',
		load: async () => (await import('./cli/secrets.ts')).secrets,
	},
	health: {
		does: 'whether a role is well; for health checks',
		takes: '[--launcher <socket> | --egress]',
		// Of a role, as the user of that role.
		asRoot: true,
		load: async () => (await import('./cli/health.ts')).health,
	},
	completion: {
		does: 'what a shell completes',
		takes: '<bash | zsh | fish>',
		load: async () => (await import('./cli/completion.ts')).completionOf(VERBS),
	},
	version: {
		does: 'the version',
		takes: '',
		load: async () => async (invocation) => {
			invocation.print(invocation.version);
			return 0;
		},
	},
};

const HELP = `slipway <role | verb> [options]

Roles
${helpOf(ROLES)}

Verbs
${helpOf(VERBS)}

Settings come from the environment: docs/config.md. Exit codes: 0 done, 1 failed, 2 usage.`;

function helpOf(entries: Readonly<Record<string, Pick<Verb, 'does' | 'takes'>>>): string {
	const lines = Object.entries(entries).map(([name, { does, takes }]) =>
		`  ${name.padEnd(10)} ${does.padEnd(58)} ${takes}`.trimEnd(),
	);
	return lines.join('\n');
}

async function run(word: string | undefined, invocation: Invocation): Promise<ExitCode> {
	if (word === 'help' || word === '--help' || word === '-h') {
		invocation.print(HELP);
		return 0;
	}
	if (word !== undefined && Object.hasOwn(ROLES, word)) {
		const { serve } = await import('./cli/serve.ts');
		return serve(word as Role, invocation);
	}
	const name = word === '--version' ? 'version' : (word ?? '');
	const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
	if (verb === undefined) {
		const what = word === undefined ? 'which role or verb?' : `there is no role or verb "${word}".`;
		process.stderr.write(`slipway: ${what}\n\n${HELP}\n`);
		return 2;
	}
	if (!verb.asRoot) stepDown(process.env['SLIPWAY_DATA']);
	return (await verb.load())(invocation);
}

/** Whose the data folder is, where this is root and that is somebody else. */
function findOwner(dataDir: string | undefined): number | undefined {
	if (dataDir === undefined || process.getuid?.() !== 0) return undefined;
	const { uid = 0 } = statSync(dataDir, { throwIfNoEntry: false }) ?? {};
	return uid === 0 ? undefined : uid;
}

/** Goes on as the owner of the data folder, for good. */
function stepDown(dataDir: string | undefined): void {
	const uid = findOwner(dataDir);
	if (uid === undefined) return;
	process.setgroups?.([]);
	process.setgid?.(uid);
	process.setuid?.(uid);
}

/** The same for as long as something takes. */
async function asOwner<Result>(act: () => Promise<Result>): Promise<Result> {
	const uid = findOwner(process.env['SLIPWAY_DATA']);
	if (uid === undefined) return act();
	process.setegid?.(uid);
	process.seteuid?.(uid);
	try {
		return await act();
	} finally {
		process.seteuid?.(0);
		process.setegid?.(0);
	}
}

function surfaceOf(stream: NodeJS.WriteStream): Surface {
	return {
		isTerminal: stream.isTTY === true,
		get columns() {
			return stream.columns || 80;
		},
		write: (text) => void stream.write(text),
	};
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
const [word, ...args] = process.argv.slice(2);
try {
	process.exitCode = await run(word, {
		args,
		environment: process.env,
		workDir: process.cwd(),
		input: () => process.stdin,
		version,
		print: (text) => process.stdout.write(`${text}\n`),
		out: surfaceOf(process.stdout),
		err: surfaceOf(process.stderr),
		asOwner,
		...listenForSignals(),
	});
} catch (error) {
	if (error instanceof SlipwayError) {
		process.stderr.write(`${explainFailure(error)}\n`);
		process.exitCode = 1;
	} else if (error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS')) {
		process.stderr.write(`slipway: ${error.message}\n\n${HELP}\n`);
		process.exitCode = 2;
	} else die(error);
}
// Nothing of ours is left to wait for, and a library's timer is no reason to stay.
process.exit();
