/** One request on a path of an endpoint, past the guards and with its caller known. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { classify, type Message, type RpcId } from '../mcp/jsonrpc.ts';
import type { Target } from '../pool/target.ts';
import type { AuditedCalls } from './audited-calls.ts';
import { readJsonBody } from './body.ts';
import type { CallBudgets } from './call-budgets.ts';
import type { Principal } from './principal.ts';
import { COMMON_HEADERS } from './respond.ts';

export interface Visit {
	readonly request: IncomingMessage;
	readonly response: ServerResponse;
	readonly requestId: string;
	readonly principal: Principal;
	/** What the path leads to. */
	readonly target: Target;
	/** While we drain, what runs may end, and nothing new begins. */
	readonly draining: boolean;
	readonly budgets: CallBudgets;
	readonly calls: AuditedCalls;
	/** The WWW-Authenticate header of a refusal. */
	readonly challenge: (error: SlipwayError) => string | undefined;
	/** The id of the JSON-RPC request, as soon as it is known: what is answered with an error then carries it. */
	rpcId: RpcId | null;
}

/** The body of a visit, within what its caller may send. Throws SLIPWAY_RATE_LIMITED, and what readJsonBody throws. */
export function readBody(visit: Visit): Promise<{ text: string; value: unknown }> {
	const pay = visit.budgets.sends(visit);
	return readJsonBody(visit.request, pay);
}

/** What a visit brings. Throws SLIPWAY_BAD_REQUEST, SLIPWAY_DRAINING for a request while we drain, SLIPWAY_RATE_LIMITED, SLIPWAY_AUDIT_FAILED. */
export function classifyOrThrow(visit: Visit, value: unknown): Message {
	const message = classify(value);
	if (message === undefined) throw new SlipwayError('SLIPWAY_BAD_REQUEST');
	if (message.kind !== 'request') return message;
	visit.rpcId = message.id;
	visit.calls.begin(message);
	// Answers and cancellations are let through: a call in flight may wait for one.
	if (visit.draining) throw new SlipwayError('SLIPWAY_DRAINING', { retryAfterSeconds: 1 });
	visit.budgets.charge(visit, message);
	return message;
}

/** 202: the message was taken, and has no answer of its own. */
export function accepted({ response, requestId }: Visit): void {
	response.writeHead(202, { ...COMMON_HEADERS, 'content-length': '0', 'x-request-id': requestId }).end();
}

/** Whether an Accept header takes a type. None at all takes everything, as HTTP has it. */
export function accepts({ headers }: IncomingMessage, type: string): boolean {
	const accept = headers.accept?.toLowerCase();
	if (accept === undefined) return true;
	const [family] = type.split('/');
	return accept.split(',').some((item) => {
		const [range = ''] = item.split(';');
		return [type, `${family}/*`, '*/*'].includes(range.trim());
	});
}

/** The revision that a request names in its headers. */
export function versionOf({ headers }: IncomingMessage): string | undefined {
	const version = headers['mcp-protocol-version'];
	return typeof version === 'string' ? version : undefined;
}
