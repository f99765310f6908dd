/**
 * The first words with a server: which of the two eras it speaks, and what it says of itself.
 *
 * A client of the first era is given the first where the server has it, and one of the second the second: then the
 * conversation passes through as it is. What a server does with a first word of the other era is not to be relied on:
 * most answer with an error, some say nothing, some exit.
 *
 * Source: https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/stdio#backward-compatibility
 */
import { SlipwayError } from '../errors.ts';
import { INSTANCE_LIMITS } from '../limits.ts';
import type { Call } from '../mcp/exchange.ts';
import { isObject, notificationText, own, type RequestMessage } from '../mcp/jsonrpc.ts';
import { type Answer, ask, askWith } from '../mcp/own-request.ts';
import {
	type Envelope,
	envelopeOfInitialize,
	LEGACY_REVISIONS,
	MODERN_REVISION,
	metaOfEnvelope,
	NAMELESS_CLIENT,
	revisionForInitialize,
} from '../mcp/revisions.ts';
import { editMembers } from '../mcp/text.ts';
import type { Upstream } from '../mcp/upstream.ts';
import type { EraFacts } from './eras.ts';
import type { Lease, StartKind } from './lease.ts';

/** Who wants the conversation. */
export type Opener =
	| { readonly era: 'legacy'; readonly text: string; readonly message: RequestMessage }
	| { readonly era: 'modern'; readonly envelope: Envelope };

/**
 * A conversation that has begun; `answer` is to `initialize` (legacy) or `server/discover` (modern). When the server
 * refused a client's own `initialize`, it is that error, and nothing has begun.
 */
export interface Opened {
	readonly era: 'legacy' | 'modern';
	readonly lease: Lease;
	readonly answer: Answer;
}

type Launch = (kind: StartKind) => Promise<Lease>;

/**
 * Opens a conversation. On failure nothing is left of it.
 *
 * @param launch gives a Lease on an Instance that nobody has spoken to
 * @throws SlipwayError of the launch or of the server; SLIPWAY_HANDSHAKE_REFUSED when it answers us with an error, or
 *   anybody's `initialize` with a revision that is not spoken here
 */
export async function open(launch: Launch, opener: Opener, facts: EraFacts): Promise<Opened> {
	const opening = new Opening(launch, facts);
	try {
		return opener.era === 'legacy' ? await opening.legacyFirst(opener) : await opening.modernFirst(opener.envelope);
	} catch (error) {
		await opening.giveUp();
		throw error;
	}
}

class Opening {
	readonly #launch: Launch;
	readonly #facts: EraFacts;
	#lease: Lease | undefined;
	/** Whether the server was asked in the words of the second era, and said nothing. */
	#silent = false;

	constructor(launch: Launch, facts: EraFacts) {
		this.#launch = launch;
		this.#facts = facts;
	}

	async giveUp(): Promise<void> {
		await this.#lease?.release('prompt');
	}

	async modernFirst(envelope: Envelope): Promise<Opened> {
		const opened = this.#facts.modern === false ? undefined : await this.#discover(envelope);
		if (opened !== undefined) return opened;
		try {
			return await this.#initialize(envelope);
		} catch (error) {
			if (isExit(error) || isRefusal(error)) this.#doubt();
			// It said nothing in the words of the second era, and will not have the first: it may have been slow.
			if (!this.#silent || !(isExit(error) || isRefusal(error))) throw error;
			const late = await this.#discover(envelope);
			if (late === undefined) throw error;
			return late;
		}
	}

	async #initialize({ clientInfo = NAMELESS_CLIENT, capabilities }: Envelope): Promise<Opened> {
		const params = { protocolVersion: LEGACY_REVISIONS[0], capabilities, clientInfo };
		const answer = await this.#say((upstream) =>
			ask(upstream, 'initialize', params, { timeoutMs: INSTANCE_LIMITS.startTimeoutMs }),
		);
		if (!answer.message.ok) throw refusal(answer.message.error.message);
		assertSpoken(answer);
		this.#facts.modern = false;
		const opened = this.#begin('legacy', answer);
		opened.lease.upstream.notify(notificationText('notifications/initialized'));
		return opened;
	}

	async legacyFirst({ text, message }: Extract<Opener, { era: 'legacy' }>): Promise<Opened> {
		let refused: Answer | undefined;
		let failure: SlipwayError | undefined;
		if (this.#facts.legacy !== false) {
			try {
				const ours = inOurRevision(text, message);
				const answer = await this.#say((upstream) =>
					askWith(upstream, ours, message, { timeoutMs: INSTANCE_LIMITS.startTimeoutMs }),
				);
				if (answer.message.ok) {
					assertSpoken(answer);
					return this.#begin('legacy', answer);
				}
				refused = answer;
			} catch (error) {
				if (this.#facts.legacy || !isExit(error)) throw error;
				if (this.#facts.modern === false) {
					// Both were tried in vain. It may have been an accident each time: the next client has both tried again.
					delete this.#facts.modern;
					throw error;
				}
				failure = error;
			}
		}
		const opened = this.#facts.modern === false ? undefined : await this.#discover(envelopeOfInitialize(message));
		if (opened !== undefined) {
			this.#facts.legacy = false;
			return opened;
		}
		// Who says nothing may have been slow: the next client has it asked again.
		if (!this.#silent) this.#noteLegacy();
		if (failure === undefined) this.#doubt();
		// The server refused in its own words, which the client gets.
		if (refused !== undefined && this.#lease !== undefined)
			return { era: 'legacy', lease: this.#lease, answer: refused };
		throw failure ?? refusal('It does not speak the revisions with `initialize`.');
	}

	/** It does not have the words of the second era. Where it was seen to have no others, that was an accident. */
	#noteLegacy(): void {
		if (this.#facts.legacy !== false) this.#facts.modern = false;
	}

	/** Both eras were refused. That may have been an accident of each: where neither was ever spoken, both are tried again. */
	#doubt(): void {
		if (this.#facts.legacy !== true) delete this.#facts.modern;
	}

	/** Asks in the words of the second era. Returns undefined when the server does not speak it. */
	async #discover(envelope: Envelope): Promise<Opened | undefined> {
		// What keeps one from being started is no word about eras.
		await this.#instance();
		const meta = metaOfEnvelope(envelope);
		const known = this.#facts.modern === true;
		// Nothing is to be lost by patience where it is known to speak them, or where it was asked in vain before.
		const patient = known || this.#silent;
		this.#silent = false;
		let timer: NodeJS.Timeout | undefined;
		const onCall = (call: Call): void => {
			clearTimeout(timer);
			timer = setTimeout(
				() => {
					this.#silent = true;
					call.cancel();
				},
				patient ? INSTANCE_LIMITS.startTimeoutMs : INSTANCE_LIMITS.probeTimeoutMs,
			);
		};
		try {
			const answer = await this.#say((upstream) =>
				ask(upstream, 'server/discover', { _meta: meta }, { timeoutMs: INSTANCE_LIMITS.startTimeoutMs, onCall }),
			);
			if (speaksModern(answer)) return this.#begin('modern', answer, meta);
			if (known && !answer.message.ok) throw refusal(answer.message.error.message);
			this.#noteLegacy();
		} catch (error) {
			if (known && this.#silent) throw new SlipwayError('SLIPWAY_START_TIMEOUT');
			// Silence leaves the Instance as it was, and an exit is an answer of a kind; the rest is no word about eras.
			if (known || (this.#lease?.upstream.over === true && !isExit(error))) throw error;
		} finally {
			clearTimeout(timer);
		}
		return undefined;
	}

	/** The Instance at hand, or another when there is none or it has exited. */
	async #instance(): Promise<Lease> {
		if (this.#lease?.upstream.over === false) return this.#lease;
		this.#lease = await this.#launch('any');
		return this.#lease;
	}

	/**
	 * Says something to the Instance. One that had waited may have ended unseen, which says nothing of what it was told:
	 * then it is said once more, to a new one.
	 */
	async #say(words: (upstream: Upstream) => Promise<Answer>): Promise<Answer> {
		const { upstream, waited } = await this.#instance();
		try {
			return await words(upstream);
		} catch (error) {
			if (!waited || !isExit(error)) throw error;
			this.#lease = await this.#launch('new');
			return await words(this.#lease.upstream);
		}
	}

	#begin(era: Opened['era'], answer: Answer, meta?: object): Opened {
		if (this.#lease === undefined) throw new Error('nobody answered');
		this.#facts[era] = true;
		this.#lease.upstream.opened(meta);
		return { era, lease: this.#lease, answer };
	}
}

function speaksModern({ message }: Answer): boolean {
	if (!message.ok || typeof message.result !== 'object' || message.result === null) return false;
	const versions = own(message.result, 'supportedVersions');
	return Array.isArray(versions) && versions.includes(MODERN_REVISION);
}

/**
 * A client's `initialize`, with the newest revision of ours in place of one that we do not speak. Some servers agree to
 * whatever they are told, and then every request after it would name a revision that is refused here.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/lifecycle#version-negotiation
 */
function inOurRevision(text: string, message: RequestMessage): string {
	const asked = message.params === undefined ? undefined : own(message.params, 'protocolVersion');
	const revision = revisionForInitialize(message);
	if (asked === undefined || asked === revision) return text;
	return editMembers(text, {
		params: (params = '{}') => editMembers(params, { protocolVersion: JSON.stringify(revision) }),
	});
}

/** Throws SLIPWAY_HANDSHAKE_REFUSED for an answer to `initialize` that agrees on nothing that we speak. */
function assertSpoken({ message }: Answer): void {
	const result = message.ok ? message.result : undefined;
	if (!isObject(result)) throw refusal('Its answer to `initialize` is no object.');
	const revision = own(result, 'protocolVersion');
	if (typeof revision === 'string' && LEGACY_REVISIONS.includes(revision)) return;
	throw refusal(`Its answer to \`initialize\` names no revision that is spoken here, but ${JSON.stringify(revision)}.`);
}

function isExit(error: unknown): error is SlipwayError {
	return error instanceof SlipwayError && error.code === 'SLIPWAY_START_FAILED';
}

function isRefusal(error: unknown): boolean {
	return error instanceof SlipwayError && error.code === 'SLIPWAY_HANDSHAKE_REFUSED';
}

function refusal(reason: string): SlipwayError {
	return new SlipwayError('SLIPWAY_HANDSHAKE_REFUSED', { reason: reason.slice(0, INSTANCE_LIMITS.refusalCharsMax) });
}
