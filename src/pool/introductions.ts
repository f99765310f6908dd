/**
 * Introductions: the first Snapshot of a server, taken as soon as its image is ready and before anybody asks, as of a
 * client that can do nothing, in the words of both eras. Whoever can do nothing is told from it, whoever it is: there is
 * nobody's word in it.
 *
 * It is also the first that is seen of a server: one that does not start is in the log before its first caller comes.
 */
import type { Patience } from '../channel.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { NOBODY, type ServerName } from '../ids.ts';
import type { Launcher, ServerView } from '../launcher/contract.ts';
import { SNAPSHOT_LIMITS, WARM_LIMITS } from '../limits.ts';
import { LISTS } from '../mcp/aggregate/directory.ts';
import { isObject, type NotificationMessage, notificationText, own, requestText } from '../mcp/jsonrpc.ts';
import { askModern } from '../mcp/modern-server.ts';
import { type Answer, ask } from '../mcp/own-request.ts';
import { followPages } from '../mcp/pages.ts';
import { NAMELESS_INITIALIZE, NOBODY_IN_PARTICULAR } from '../mcp/revisions.ts';
import { SNAPSHOT_LISTS } from '../mcp/snapshot.ts';
import { UNBOUNDED } from '../policy/access.ts';
import { capabilitiesIn, ServerTarget, type TargetDependencies } from './target.ts';
import { NO_FAULT_OF_A_SERVER } from './warm-starts.ts';

const INITIALIZE_TEXT = requestText(0, NAMELESS_INITIALIZE.method, NAMELESS_INITIALIZE.params ?? {});

const INITIALIZED: NotificationMessage = Object.freeze({
	kind: 'notification',
	method: 'notifications/initialized',
	params: undefined,
});

/** INVARIANT: one at a time, and none is begun while somebody waits for a start. */
export class Introductions {
	readonly #launcher: Launcher;
	readonly #targets: TargetDependencies;
	/** What each server was made of when it was introduced, or could not be. */
	readonly #tried = new Map<ServerName, string>();
	readonly #stopping = new AbortController();
	#underWay: Promise<void> | undefined;
	#pausedUntilMs = 0;

	constructor(launcher: Launcher, targets: TargetDependencies) {
		this.#launcher = launcher;
		this.#targets = targets;
	}

	/** Introduces the next server that was not, if there is one and nobody is kept waiting by it. To be called every second or so. */
	tick(nowMs: number): void {
		const { engine, servers, startsQueued } = this.#launcher.state;
		if (this.#underWay !== undefined || this.#stopping.signal.aborted || nowMs < this.#pausedUntilMs) return;
		if (!engine.reachable || startsQueued > 0 || this.#targets.pool.busy) return;
		const next = servers.find((server) => isToBeIntroduced(server) && this.#tried.get(server.name) !== server.spec);
		if (next === undefined) return;
		this.#underWay = this.#introduce(next).finally(() => {
			this.#underWay = undefined;
		});
	}

	/** Gives up what is under way. Resolves when nothing is left of it. */
	async stop(): Promise<void> {
		this.#stopping.abort(new SlipwayError('SLIPWAY_DRAINING'));
		await this.#underWay;
	}

	async #introduce(server: ServerView): Promise<void> {
		const target = new ServerTarget(server, this.#targets, () => UNBOUNDED);
		const { log } = this.#targets;
		this.#tried.set(server.name, server.spec);
		try {
			if (target.snapshots.ofLegacy(NAMELESS_INITIALIZE, NOBODY) === undefined)
				await this.#within((signal) => asLegacy(target, signal));
			if (target.snapshots.ofModern(NOBODY_IN_PARTICULAR, NOBODY) === undefined)
				await this.#within((signal) => asModern(target, signal));
			log.debug('server introduced', { server: server.name });
		} catch (error) {
			const { code } = toSlipwayError(error);
			if (NO_FAULT_OF_A_SERVER.has(code)) {
				this.#tried.delete(server.name);
				this.#pausedUntilMs = performance.now() + WARM_LIMITS.pauseMs;
			} else log.warn('server did not introduce itself', { server: server.name, code });
		}
	}

	/** Others are waiting to introduce themselves, or the process to end: nobody has for ever. */
	async #within(introduce: (signal: AbortSignal) => Promise<void>): Promise<void> {
		const late = new AbortController();
		const timer = setTimeout(
			() => late.abort(new SlipwayError('SLIPWAY_START_TIMEOUT')),
			WARM_LIMITS.introductionTimeoutMs,
		);
		const signal = AbortSignal.any([this.#stopping.signal, late.signal]);
		try {
			await introduce(signal);
		} catch (error) {
			throw signal.aborted ? signal.reason : error;
		} finally {
			clearTimeout(timer);
		}
	}
}

async function asLegacy(target: ServerTarget, signal: AbortSignal): Promise<void> {
	const conversation = await target.openLegacy(INITIALIZE_TEXT, NAMELESS_INITIALIZE, {
		...optionsOf(signal),
		standing: { send: () => false, ask: () => false },
		onMemory: () => undefined,
	});
	const { callTimeoutMs: timeoutMs } = target;
	await until(signal, conversation, async () => {
		if (!conversation.answer.message.ok) throw new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED');
		conversation.server.notify(notificationText(INITIALIZED.method), INITIALIZED);
		await askLists(conversation.answer, (method, params) => ask(conversation.server, method, params, { timeoutMs }));
	});
}

async function asModern(target: ServerTarget, signal: AbortSignal): Promise<void> {
	const conversation = await target.openModern(NOBODY_IN_PARTICULAR, optionsOf(signal));
	const say = (method: string, params: object): Promise<Answer> =>
		askModern(conversation.server, method, params, NOBODY_IN_PARTICULAR);
	await until(signal, conversation, async () => askLists(await say('server/discover', {}), say));
}

/** Talks, and ends the conversation then, or when that is given up: what was asked by then has no answer. */
async function until(
	signal: AbortSignal,
	conversation: { end(patience: Patience): Promise<void> },
	talk: () => Promise<void>,
): Promise<void> {
	const giveUp = (): void => void conversation.end('prompt');
	signal.addEventListener('abort', giveUp);
	if (signal.aborted) giveUp();
	try {
		await talk();
	} finally {
		signal.removeEventListener('abort', giveUp);
		await conversation.end('prompt');
	}
}

function optionsOf(signal: AbortSignal) {
	return { caller: NOBODY, signal, makeRoom: async () => false };
}

/** Whether the catalog lets it be started before anybody asks, and kept what it says. */
function isToBeIntroduced({ enabled, snapshot, preparation, warm }: ServerView): boolean {
	return enabled && snapshot && preparation.kind === 'ready' && warm !== 0;
}

/** Asks for every list that a Snapshot has and the server says that it has; what it answers is heard by who learns it. */
async function askLists(
	introduction: Answer,
	askFor: (method: string, params: object) => Promise<Answer>,
): Promise<void> {
	const capabilities = capabilitiesIn(introduction);
	for (const { method, capability } of LISTS.values()) {
		if (!SNAPSHOT_LISTS.has(method) || !isObject(own(capabilities, capability))) continue;
		await followPages((params) => askFor(method, params), SNAPSHOT_LIMITS.pagesMax);
	}
}
