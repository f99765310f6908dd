/** The revisions of the protocol, the two eras that they fall into, and how a message shows which it is of. */
import { LATEST_PROTOCOL_VERSION, SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/sdk/types.js';
import { SlipwayError } from '../errors.ts';
import { isObject, type Message, metaOf, own, type RequestMessage } from './jsonrpc.ts';

/** The revisions with `initialize` and sessions that clients may name in MCP-Protocol-Version. Newest first. */
export const LEGACY_REVISIONS: readonly string[] = Object.freeze([...SUPPORTED_PROTOCOL_VERSIONS]);

/** The one revision that has batches (2025-03-26 added them, 2025-06-18 removed them). */
export const BATCH_REVISION = '2025-03-26';

/** The first revision in which arguments that do not fit are answered with a result, which the model reads (SEP-1303). */
const RESULTS_REVISION = '2025-11-25';

/** Whether a revision has arguments that do not fit refused in a result, and not with an error. */
export function refusesInResults(revision: string): boolean {
	return revision >= RESULTS_REVISION;
}

/** The first revision without sessions. */
export const MODERN_REVISION = '2026-07-28';

/** All that are spoken here, newest first. */
export const REVISIONS: readonly string[] = Object.freeze([MODERN_REVISION, ...LEGACY_REVISIONS]);

/** What requests of the second era carry in `params._meta`. */
export const ENVELOPE_KEYS = Object.freeze({
	revision: 'io.modelcontextprotocol/protocolVersion',
	clientInfo: 'io.modelcontextprotocol/clientInfo',
	capabilities: 'io.modelcontextprotocol/clientCapabilities',
	logLevel: 'io.modelcontextprotocol/logLevel',
});

/** In `_meta` of what comes on the stream of a subscriptions/listen: the id of that request. */
export const SUBSCRIPTION_KEY = 'io.modelcontextprotocol/subscriptionId';

/** In `_meta` of a result of the second era: name and version of the server. */
export const SERVER_INFO_KEY = 'io.modelcontextprotocol/serverInfo';

/** What a client of the second era says of itself with every request. */
export interface Envelope {
	readonly capabilities: object;
	readonly clientInfo: object | undefined;
	/** Absent: the client wants no log lines with this request. */
	readonly logLevel: string | undefined;
}

/** The name that servers are told for clients that give none. */
export const NAMELESS_CLIENT = Object.freeze({ name: 'slipway', version: '0' });

/** Its `initialize`, in the newest revision that has one, as a client that can do nothing. */
export const NAMELESS_INITIALIZE: RequestMessage = Object.freeze({
	kind: 'request',
	id: 0,
	method: 'initialize',
	params: Object.freeze({ protocolVersion: LEGACY_REVISIONS[0], capabilities: {}, clientInfo: NAMELESS_CLIENT }),
});

/** A client that can do nothing: whom a server is told of that is spoken to for nobody, or for many. */
export const NOBODY_IN_PARTICULAR: Envelope = Object.freeze({
	capabilities: {},
	clientInfo: undefined,
	logLevel: undefined,
});

/** The envelope that a client of the first era would send, by its `initialize`. */
export function envelopeOfInitialize({ params = {} }: RequestMessage): Envelope {
	const capabilities = own(params, 'capabilities');
	const clientInfo = own(params, 'clientInfo');
	return {
		capabilities: isObject(capabilities) ? capabilities : {},
		clientInfo: isObject(clientInfo) ? clientInfo : undefined,
		logLevel: undefined,
	};
}

/** What `_meta` of a message of the second era must hold. */
export function metaOfEnvelope({ capabilities, clientInfo, logLevel }: Envelope): Readonly<Record<string, unknown>> {
	return {
		[ENVELOPE_KEYS.revision]: MODERN_REVISION,
		[ENVELOPE_KEYS.clientInfo]: clientInfo ?? NAMELESS_CLIENT,
		[ENVELOPE_KEYS.capabilities]: capabilities,
		...(logLevel === undefined ? {} : { [ENVELOPE_KEYS.logLevel]: logLevel }),
	};
}

/** The revision of the first era to answer an `initialize` with: the one that it asks for, if there is one, or the newest. */
export function revisionForInitialize({ params = {} }: RequestMessage): string {
	const asked = own(params, 'protocolVersion');
	return LEGACY_REVISIONS.find((known) => known === asked) ?? LATEST_PROTOCOL_VERSION;
}

/** Methods of the first era that the second has no more. Source: MCP 2026-07-28, changelog. */
const REMOVED_METHODS = new Set([
	'initialize',
	'ping',
	'logging/setLevel',
	'resources/subscribe',
	'resources/unsubscribe',
]);

/** Whether a value of MCP-Protocol-Version names a revision of the second era, known or not. */
export function namesModern(header: string | undefined): header is string {
	return header !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(header) && header >= MODERN_REVISION;
}

/** Whether a message says itself that it is of the second era. */
export function claimsModern(message: Message): boolean {
	if (message.kind === 'response' || message.params === undefined) return false;
	const claim = own(metaOf(message.params) ?? {}, ENVELOPE_KEYS.revision);
	return typeof claim === 'string' && namesModern(claim);
}

/**
 * What the client of a message of the second era says of itself, or undefined for a message of the first.
 *
 * @param header the value of MCP-Protocol-Version
 * @throws SlipwayError for a message of the second era that cannot be served, as its transport has it
 */
export function envelopeOf(message: Message, header: string | undefined): Envelope | undefined {
	if (message.kind === 'response') return undefined;
	const meta = message.params === undefined ? undefined : metaOf(message.params);
	const claim = meta === undefined ? undefined : own(meta, ENVELOPE_KEYS.revision);
	if (claim === undefined) {
		if (!namesModern(header)) return undefined;
		if (header !== MODERN_REVISION) throw unsupportedRevision(header);
		if (message.kind === 'request') throw missing(ENVELOPE_KEYS.revision);
		return { capabilities: {}, clientInfo: undefined, logLevel: undefined };
	}
	if (typeof claim !== 'string') throw missing(ENVELOPE_KEYS.revision);
	// What a client of the first era writes there by itself is nobody's business.
	if (header !== undefined && LEGACY_REVISIONS.includes(header) && claim === header) return undefined;
	if (header !== claim)
		throw new SlipwayError('SLIPWAY_HEADER_MISMATCH', {
			reason: `MCP-Protocol-Version and the \`${ENVELOPE_KEYS.revision}\` of the body must be the same.`,
		});
	if (claim !== MODERN_REVISION) throw unsupportedRevision(claim);
	return readEnvelope(meta ?? {});
}

function readEnvelope(meta: object): Envelope {
	const capabilities = own(meta, ENVELOPE_KEYS.capabilities);
	if (!isObject(capabilities)) throw missing(ENVELOPE_KEYS.capabilities);
	const clientInfo = own(meta, ENVELOPE_KEYS.clientInfo);
	const logLevel = own(meta, ENVELOPE_KEYS.logLevel);
	return {
		capabilities,
		clientInfo: isObject(clientInfo) ? clientInfo : undefined,
		logLevel: typeof logLevel === 'string' ? logLevel : undefined,
	};
}

/** Refuses a method that was removed from the protocol, before a server of the first era would answer it. */
export function refuseRemovedMethod(method: string): void {
	if (REMOVED_METHODS.has(method))
		throw new SlipwayError('SLIPWAY_METHOD_UNKNOWN', { reason: `\`${method}\` was removed.` });
}

export function unsupportedRevision(requested: string): SlipwayError {
	return new SlipwayError('SLIPWAY_PROTOCOL_VERSION', { supported: REVISIONS, requested });
}

function missing(key: string): SlipwayError {
	return new SlipwayError('SLIPWAY_PARAMS_INVALID', { reason: `\`params._meta["${key}"]\` is missing or wrong.` });
}
