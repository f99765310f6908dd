/** The roles: gateway, launcher, egress, and all in one process. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { FileAudit, NO_AUDIT } from '../audit/audit.ts';
import { type Config, readConfig } from '../config.ts';
import { startEgress } from '../egress.ts';
import { SlipwayError } from '../errors.ts';
import { Gateway } from '../gateway.ts';
import { RemoteLauncher } from '../launcher/client.ts';
import type { Launcher } from '../launcher/contract.ts';
import { startLauncher } from '../launcher.ts';
import { LAUNCHER_LIMITS } from '../limits.ts';
import { createLog, type Log } from '../log.ts';
import { openSqliteStore } from '../store/sqlite.ts';
import { describeFirstKey } from './first-key.ts';
import type { Invocation } from './invocation.ts';

/** Where gateway and launcher meet, unless they are told otherwise: in compose, a volume of the two. */
const DEFAULT_SOCKET = '/run/slipway/launcher.sock';
/** Where launcher and egress role meet: a volume of those two, in which the gateway has no place, nor they in its. */
const DEFAULT_EGRESS_SOCKET = '/run/slipway-egress/egress.sock';

export type RoleName = 'gateway' | 'launcher' | 'egress' | 'all';

interface Part {
	stop(hurry: AbortSignal): Promise<void>;
}

const HELP: Readonly<Record<RoleName, string>> = Object.freeze({
	gateway: `slipway gateway [--launcher <socket>]

Serves clients over HTTP, and asks the launcher at the socket (${DEFAULT_SOCKET}) for containers.`,
	launcher: `slipway launcher [--socket <path>] [--egress <path>]

Starts containers for the gateway that connects to the socket (${DEFAULT_SOCKET}). Needs the Docker socket.
Servers that may reach hosts need an egress role, which comes to the socket that --egress names.`,
	egress: `slipway egress [--launcher <socket>]

Lets servers out to the hosts that the catalog names for them, and to nothing else. Takes its rules from the launcher at the
socket (${DEFAULT_EGRESS_SOCKET}). Its container has the label dev.slipway.egress=<gateway id>, by which the launcher
finds it.`,
	all: `slipway all

Gateway, launcher and egress in one process. Needs the Docker socket.`,
});

/** Runs a role until it is told to stop. */
export async function serve(role: RoleName, invocation: Invocation): Promise<0 | 1 | 2> {
	const { help, ...sockets } = readOptions(role, invocation.args);
	if (help) {
		invocation.print(`${HELP[role]}\n\nSettings come from the environment: docs/config.md.`);
		return 0;
	}
	const config = readConfig(invocation.environment);
	const log = createLog(config.logLevel);
	const parts: Part[] = [];
	try {
		await startRole(role, { invocation, config, log, parts, ...sockets });
		await aborted(invocation.stopping);
		log.info('stopping', { role });
		return 0;
	} finally {
		// In reverse, also when a later part failed to start: what was started is stopped, once.
		for (const part of parts.reverse()) await part.stop(invocation.hurry);
	}
}

interface RoleContext {
	readonly invocation: Invocation;
	readonly config: Config;
	readonly log: Log;
	/** What was started, in order. */
	readonly parts: Part[];
	readonly socketPath: string;
	/** Of the launcher: where an egress role finds it. */
	readonly egressSocketPath?: string;
}

async function startRole(role: RoleName, context: RoleContext): Promise<void> {
	const { config, log, invocation, parts, socketPath, egressSocketPath } = context;
	const { version, workDir, environment } = invocation;
	if (role === 'egress') return void parts.push(await startEgress({ socketPath, log, version }));
	if (role === 'gateway') {
		const launcher = new RemoteLauncher({ socketPath, log });
		launcher.start();
		parts.push(launcher);
		return startGateway(launcher, context);
	}
	const started = await startLauncher({
		config,
		environment,
		log,
		version,
		workDir,
		...(role === 'launcher' ? { socketPath } : {}),
		...(egressSocketPath === undefined ? {} : { egressSocketPath }),
	});
	parts.push(started);
	if (role === 'all') await startGateway(started.launcher, context);
}

async function startGateway(launcher: Launcher, { config, log, invocation, parts }: RoleContext): Promise<void> {
	const fileKey = await readKeyFile(config.apiKeyFile);
	if (config.apiKey !== undefined && fileKey !== undefined)
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'SLIPWAY_API_KEY and SLIPWAY_API_KEY_FILE are both set: set one.',
		});
	const apiKey = config.apiKey ?? fileKey;
	const store = openSqliteStore(config.dataDir);
	parts.push({ stop: async () => store.close() });
	const { mode, folder, retention } = config.audit;
	const audit = mode === 'off' ? NO_AUDIT : new FileAudit({ mode, folder, retention, log });
	parts.push({ stop: () => audit.close() });
	const gateway = new Gateway({ config, apiKey, launcher, store, audit, log, version: invocation.version });
	await gateway.start();
	parts.push(gateway);
	if (gateway.madeKey !== undefined) {
		const servers = await enabledServers(launcher, invocation.stopping);
		invocation.print(describeFirstKey(gateway.madeKey, config.publicUrl, servers));
	} else if (apiKey === undefined && config.auth === 'key') {
		log.info('the API key is the one made at the first start; SLIPWAY_API_KEY sets another');
	}
}

/** The names of the servers, waiting a moment for the launcher, which knows the catalog. */
async function enabledServers(launcher: Launcher, signal: AbortSignal): Promise<string[]> {
	const known = Promise.withResolvers<void>();
	const unsubscribe = launcher.subscribe(({ catalog }) => catalog.revision > 0 && known.resolve());
	if (launcher.state.catalog.revision > 0) known.resolve();
	await Promise.race([
		known.promise,
		sleep(LAUNCHER_LIMITS.silenceMsMax, undefined, { signal, ref: false }).catch(() => undefined),
	]);
	unsubscribe();
	return launcher.state.servers.filter(({ enabled }) => enabled).map(({ name }) => name);
}

/** The key in a file; an empty file is as good as none, since compose mounts one where nothing is set. */
async function readKeyFile(path: string | undefined): Promise<string | undefined> {
	if (path === undefined) return undefined;
	let key: string;
	try {
		key = (await readFile(path, 'utf8')).trim();
	} catch (cause) {
		throw new SlipwayError(
			'SLIPWAY_CONFIG_INVALID',
			{ reason: `SLIPWAY_API_KEY_FILE cannot be read: it must exist and be readable for user 10001.` },
			{ cause },
		);
	}
	if (key === '') return undefined;
	if (key.length < 16 || /[^\x21-\x7e]/.test(key))
		throw new SlipwayError('SLIPWAY_CONFIG_INVALID', {
			reason: 'The file of SLIPWAY_API_KEY_FILE must hold one key of at least 16 visible ASCII characters.',
		});
	return key;
}

type Options = Pick<RoleContext, 'socketPath' | 'egressSocketPath'> & { readonly help: boolean };

function readOptions(role: RoleName, args: readonly string[]): Options {
	const path = { type: 'string' } as const;
	const help = { type: 'boolean', short: 'h', default: false } as const;
	const options = {
		help,
		...(role === 'gateway' || role === 'egress' ? { launcher: path } : {}),
		...(role === 'launcher' ? { socket: path, egress: path } : {}),
	};
	const { values } = parseArgs({ args: [...args], options });
	const byDefault = role === 'egress' ? DEFAULT_EGRESS_SOCKET : DEFAULT_SOCKET;
	return {
		help: values.help,
		socketPath: String(values.launcher ?? values.socket ?? byDefault),
		...(values.egress === undefined ? {} : { egressSocketPath: String(values.egress) }),
	};
}

function aborted(signal: AbortSignal): Promise<void> {
	const { promise, resolve } = Promise.withResolvers<void>();
	if (signal.aborted) resolve();
	signal.addEventListener('abort', () => resolve(), { once: true });
	return promise;
}
