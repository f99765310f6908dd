/**
 * A trial: a server is prepared, started as the launcher would start it, asked what it has, and ended. It runs under an id of
 * its own, with volumes of its own, so that neither it nor whoever serves the catalog is in the other's way. The image is
 * the one that the launcher looks for afterwards.
 */
import type { Server } from '../catalog/catalog.ts';
import type { EntryFile } from '../catalog/import/contract.ts';
import { parseCatalog } from '../catalog/load.ts';
import type { Config } from '../config.ts';
import { inspectSelf } from '../docker/self.ts';
import type { EgressDenial } from '../egress/contract.ts';
import { LocalGate } from '../egress/local-gate.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { NOBODY, type ServerName } from '../ids.ts';
import type { LauncherState } from '../launcher/contract.ts';
import { identify } from '../launcher/identity.ts';
import { LocalLauncher } from '../launcher/local.ts';
import { settingsOf } from '../launcher.ts';
import { CLI_LIMITS, INSTANCE_LIMITS } from '../limits.ts';
import { SILENT_LOG } from '../log.ts';
import { LISTS } from '../mcp/aggregate/directory.ts';
import { isObject, notificationText, own, requestText } from '../mcp/jsonrpc.ts';
import { type Answer, answerPing, ask } from '../mcp/own-request.ts';
import { followPages } from '../mcp/pages.ts';
import {
	envelopeOfInitialize,
	MODERN_REVISION,
	metaOfEnvelope,
	NAMELESS_INITIALIZE,
	SERVER_INFO_KEY,
} from '../mcp/revisions.ts';
import type { Opened } from '../pool/opening.ts';
import { Pool } from '../pool/pool.ts';
import { capabilitiesIn } from '../pool/target.ts';
import { findSecret } from '../secrets/sources.ts';
import type { Workbench } from './workbench.ts';

/** What a server has of a kind, as it says itself. */
export interface Described {
	readonly name: string;
	readonly description: string;
}

export interface Trial {
	/** The image that ran, as people call it, and by its content. */
	readonly image: string;
	readonly imageId: string;
	/** The revision that it speaks, and what it calls itself. */
	readonly revision: string;
	readonly calls: string;
	readonly tools: readonly Described[];
	readonly prompts: readonly Described[];
	readonly resources: readonly Described[];
	/** From the wish to start it until it has said what it is, its image apart. */
	readonly startMs: number;
	/** Names of secrets that it was started without, since they are not kept anywhere. */
	readonly missingSecrets: readonly string[];
}

export interface TrialOptions {
	readonly bench: Workbench;
	readonly config: Config;
	readonly version: string;
	readonly workDir: string;
	readonly name: string;
	readonly entry: EntryFile;
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

/** Why a server was not found good, with what was seen of it besides. */
export class TrialFailure extends SlipwayError {
	readonly missingSecrets: readonly string[];
	/** Where it wanted to go and was not let. */
	readonly denied: readonly EgressDenial[];

	constructor(
		{ code, details, cause }: SlipwayError,
		seen: { readonly missingSecrets: readonly string[]; readonly denied: readonly EgressDenial[] },
	) {
		super(code, details, { cause });
		this.missingSecrets = seen.missingSecrets;
		this.denied = seen.denied;
	}
}

/** The server of an entry, with every default. @throws SlipwayError SLIPWAY_CATALOG_INVALID */
export function serverOf(name: string, entry: EntryFile): Server {
	const { servers } = parseCatalog(JSON.stringify({ servers: { [name]: entry } }), 'the entry');
	const server = servers.get(name as ServerName);
	if (server === undefined) throw new Error('unreachable: a catalog has what is put into it');
	return server;
}

/**
 * Tries a server, whether or not its entry has it enabled.
 *
 * @throws TrialFailure; as `signal` says. Nothing of the server is left but its image
 */
export async function tryServer(options: TrialOptions): Promise<Trial> {
	const { bench, config, version, workDir, name, signal, onStep } = options;
	const { server, missingSecrets } = withoutMissingSecrets(options);
	// Told before an image is made in vain.
	if (server.egress.length > 0 && (await inspectSelf(bench.engine)) === undefined)
		throw new SlipwayError('SLIPWAY_EGRESS_UNAVAILABLE', {
			reason: 'This process runs in no container, and only a container can be in the network of a server.',
		});
	const gate = server.egress.length === 0 ? undefined : new LocalGate(SILENT_LOG);
	const settings = await settingsOf(config, workDir);
	const launcher = new LocalLauncher({
		...settings,
		gatewayId: bench.gateway,
		imagesOf: (await identify(bench.engine, settings)).gateway,
		engine: bench.engine,
		log: SILENT_LOG,
		version,
		catalog: catalogOf(options, missingSecrets),
		...(gate === undefined ? {} : { egress: { gate, within: true } }),
	});
	const pool = new Pool(launcher);
	const ticking = setInterval(() => pool.tick(performance.now()), CLI_LIMITS.trialTickMs);
	let readyAtMs: number | undefined;
	launcher.subscribe((state) => {
		const { preparation } = viewOf(state);
		if (preparation.kind === 'preparing') onStep(preparation.step);
		if (preparation.kind !== 'ready' || readyAtMs !== undefined) return;
		readyAtMs = performance.now();
		onStep(`starting ${name} without any privilege`);
	});
	launcher.start();
	try {
		const opened = await openConversation(pool, server.name, signal);
		const nowMs = performance.now();
		const startMs = nowMs - (readyAtMs ?? nowMs);
		onStep('asking what it has');
		const lists = await within(listAll(opened), opened, signal);
		const { preparation } = viewOf(launcher.state);
		if (preparation.kind !== 'ready') throw new SlipwayError('SLIPWAY_IMAGE_MISSING');
		return {
			image: preparation.image,
			imageId: preparation.imageId,
			...introductionOf(opened),
			...lists,
			startMs,
			missingSecrets,
		};
	} catch (error) {
		signal.throwIfAborted();
		// From the proxy itself: what it counted last may not have reached the launcher's state.
		const denied = gate?.report.tallies.find(([server]) => server === name)?.[1].latest ?? [];
		throw new TrialFailure(toSlipwayError(error), { missingSecrets, denied });
	} finally {
		clearInterval(ticking);
		await pool.stop();
		await launcher.stop();
		await gate?.stop();
	}
}

function viewOf({ servers: [view] }: LauncherState): LauncherState['servers'][number] {
	if (view === undefined) throw new Error('unreachable: the catalog of a trial has one server');
	return view;
}

/** A server that starts without a secret need not be given it to be tried. */
function withoutMissingSecrets({ name, entry, config }: TrialOptions): {
	readonly server: Server;
	readonly missingSecrets: readonly string[];
} {
	const server = serverOf(name, entry);
	const missing = server.secrets.filter((secret) => findSecret(config.secrets, secret.name).kind === 'missing');
	return { server, missingSecrets: missing.map((secret) => secret.name) };
}

/** A catalog of the one server. */
function catalogOf({ name, entry }: TrialOptions, missingSecrets: readonly string[]) {
	const secrets = Object.entries(entry.secrets ?? {}).filter(
		([, secret]) => !missingSecrets.includes(typeof secret === 'string' ? secret : secret.secret),
	);
	const tried = { ...entry, secrets: Object.fromEntries(secrets), enabled: true };
	return parseCatalog(JSON.stringify({ servers: { [name]: tried } }), 'the entry');
}

async function openConversation(pool: Pool, server: ServerName, signal: AbortSignal): Promise<Opened> {
	const opened = await pool.open(
		{
			server,
			caller: NOBODY,
			signal,
			makeRoom: async () => false,
			standing: { send: () => false, ask: answerPing },
			observer: { onCall: () => undefined, onNoise: () => undefined, onTools: () => undefined },
		},
		{
			era: 'legacy',
			text: requestText(0, NAMELESS_INITIALIZE.method, NAMELESS_INITIALIZE.params),
			message: NAMELESS_INITIALIZE,
		},
	);
	const { message } = opened.answer;
	if (!message.ok)
		throw new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED', {
			reason: message.error.message.slice(0, INSTANCE_LIMITS.refusalCharsMax),
		});
	if (opened.era === 'legacy') opened.lease.upstream.notify(notificationText('notifications/initialized'));
	return opened;
}

/** What is asked, unless the server ends or somebody has enough of it. */
async function within<Result>(asking: Promise<Result>, { lease }: Opened, signal: AbortSignal): Promise<Result> {
	const aborted = Promise.withResolvers<never>();
	const abort = (): void => aborted.reject(signal.reason);
	signal.addEventListener('abort', abort, { once: true });
	try {
		signal.throwIfAborted();
		return await Promise.race([asking, aborted.promise, lease.upstream.ended.then((error) => Promise.reject(error))]);
	} finally {
		signal.removeEventListener('abort', abort);
		asking.catch(() => undefined);
		aborted.promise.catch(() => undefined);
	}
}

async function listAll(opened: Opened): Promise<Pick<Trial, 'tools' | 'prompts' | 'resources'>> {
	const capabilities = capabilitiesIn(opened.answer);
	const meta = opened.era === 'modern' ? { _meta: metaOfEnvelope(envelopeOfInitialize(NAMELESS_INITIALIZE)) } : {};
	const listOf = async (method: string): Promise<Described[]> => {
		const kind = LISTS.get(method);
		if (kind === undefined || !isObject(own(capabilities, kind.capability))) return [];
		const askPage = (params: object): Promise<Answer> =>
			ask(opened.lease.upstream, method, { ...params, ...meta }, { timeoutMs: INSTANCE_LIMITS.startTimeoutMs });
		try {
			const pages = await followPages(askPage, CLI_LIMITS.trialPagesMax);
			return pages.flatMap((page) => readPage(page, kind.member, kind.key));
		} catch (error) {
			if (error instanceof SlipwayError) throw error;
			// It says that it has the list, and does not tell it.
			const reason = `It answers \`${method}\` with an error: ${error instanceof Error ? error.message : ''}`;
			throw new SlipwayError('SLIPWAY_RESULT_INVALID', { reason: reason.slice(0, INSTANCE_LIMITS.refusalCharsMax) });
		}
	};
	return {
		tools: await listOf('tools/list'),
		prompts: await listOf('prompts/list'),
		resources: await listOf('resources/list'),
	};
}

function readPage(page: string, member: string, key: string): Described[] {
	const value: unknown = JSON.parse(page);
	const entries = isObject(value) ? own(value, member) : undefined;
	if (!Array.isArray(entries)) return [];
	return entries.filter(isObject).map((entry) => ({
		name: textOf(own(entry, key)),
		description: textOf(own(entry, 'description')) || textOf(own(entry, 'title')) || textOf(own(entry, 'name')),
	}));
}

function introductionOf({ era, answer: { message } }: Opened): Pick<Trial, 'revision' | 'calls'> {
	const result = message.ok && isObject(message.result) ? message.result : {};
	const meta = own(result, '_meta');
	const info = era === 'legacy' ? own(result, 'serverInfo') : isObject(meta) ? own(meta, SERVER_INFO_KEY) : undefined;
	const calls = isObject(info) ? `${textOf(own(info, 'name'))} ${textOf(own(info, 'version'))}`.trim() : '';
	return { revision: era === 'legacy' ? textOf(own(result, 'protocolVersion')) : MODERN_REVISION, calls };
}

function textOf(value: unknown): string {
	return typeof value === 'string' ? value : '';
}
