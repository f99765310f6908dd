/**
 * The calls that one HTTP request brings, on their way to one audit record each.
 *
 * INVARIANT: a call that was begun is recorded once, however it ends: answered, failed, withdrawn, or refused on the way.
 */
import type { IncomingMessage } from 'node:http';
import type { Audit } from '../audit/audit.ts';
import type { RecordFields } from '../audit/record.ts';
import { shapeOf } from '../audit/shape.ts';
import type { ErrorCode } from '../errors.ts';
import { AUDIT_LIMITS } from '../limits.ts';
import { splitName } from '../mcp/aggregate/names.ts';
import { isObject, own, type RequestMessage, type ResponseMessage } from '../mcp/jsonrpc.ts';
import type { Target } from '../pool/target.ts';
import { CALLS } from './call-budgets.ts';
import type { Principal } from './principal.ts';
import type { PendingReply } from './session.ts';

export interface AuditedCallsOptions {
	readonly audit: Audit;
	/** Whether the arguments of a tool are recorded as they are. */
	readonly recordsValues: (server: string, tool: string) => boolean;
	readonly request: IncomingMessage;
	/** Where a request came from. */
	readonly addressOf: (request: IncomingMessage) => string;
	readonly requestId: string;
	readonly principal: Principal;
	readonly target: Target;
}

export class AuditedCalls {
	readonly #options: AuditedCallsOptions;
	/** Nearly always one. */
	readonly #calls: AuditedCall[] = [];

	constructor(options: AuditedCallsOptions) {
		this.#options = options;
	}

	/** A request has come. Throws SLIPWAY_AUDIT_FAILED where it is a call that cannot be recorded, and must be. */
	begin(message: RequestMessage): void {
		this.#calls.push(new AuditedCall(this.#options, message));
		if (CALLS.has(message.method)) this.#options.audit.assertReady();
	}

	/** The reply to a request, with an eye on what comes of it. */
	watch(message: RequestMessage, reply: PendingReply, session?: string): PendingReply {
		const call = this.#calls.find((one) => one.message === message);
		return call === undefined ? reply : new AuditedReply(reply, call, session);
	}

	/** What has not ended yet was refused with the whole of the HTTP request, or its client has gone. */
	end(outcome: ErrorCode | 'cancelled'): void {
		for (const call of this.#calls) call.end({ outcome });
	}
}

class AuditedCall {
	readonly #options: AuditedCallsOptions;
	readonly message: RequestMessage;
	readonly #startedAtMs = performance.now();
	#server: string;
	#over = false;

	constructor(options: AuditedCallsOptions, message: RequestMessage) {
		this.#options = options;
		this.message = message;
		this.#server = options.target.serverOf(message);
	}

	servedBy(server: string | undefined): void {
		this.#server = server ?? this.#options.target.name;
	}

	end(end: Pick<RecordFields, 'outcome' | 'rpcCode' | 'answerChars' | 'session'>): void {
		if (this.#over) return;
		this.#over = true;
		const isCall = CALLS.has(this.message.method);
		// What else a caller asks is no act, unless it may not.
		if (!isCall && end.outcome !== 'SLIPWAY_FORBIDDEN') return;
		const { audit, addressOf, principal, request, requestId, target } = this.#options;
		const fields: RecordFields = {
			principal: principal.id,
			server: this.#server,
			...(this.#server === target.name ? {} : { endpoint: target.name }),
			method: this.message.method,
			...(isCall ? this.#asked() : {}),
			...end,
			durationMs: Math.round((performance.now() - this.#startedAtMs) * 1000) / 1000,
			requestId,
			client: addressOf(request),
		};
		// Whoever may call may call in vain as often as it likes.
		if (!isCall) audit.recordRefusal('refused', fields);
		else if (end.outcome === 'SLIPWAY_RATE_LIMITED') audit.recordRefusal('call', fields);
		else audit.record('call', fields);
	}

	/** What was called, and with what. */
	#asked(): Pick<RecordFields, 'tool' | 'arguments' | 'values'> {
		const { method, params = {} } = this.message;
		if (method === 'resources/read') return { arguments: shapeOf({ uri: own(params, 'uri') }) };
		const given = own(params, 'name');
		const args = own(params, 'arguments');
		const tool = typeof given === 'string' ? this.#nameAtServer(given) : undefined;
		const shape = args === undefined ? {} : { arguments: shapeOf(args) };
		if (tool === undefined) return shape;
		const name = tool.slice(0, AUDIT_LIMITS.nameCharsMax);
		if (method !== 'tools/call' || args === undefined || !this.#options.recordsValues(this.#server, tool))
			return { tool: name, ...shape };
		const isTooLong = JSON.stringify(args).length > AUDIT_LIMITS.valuesCharsMax;
		return { tool: name, ...(isTooLong ? shape : { values: args }) };
	}

	/** Where many servers are one, names have the server's before them. */
	#nameAtServer(name: string): string {
		return this.#server === this.#options.target.name ? name : (splitName(name)?.name ?? name);
	}
}

class AuditedReply implements PendingReply {
	readonly #reply: PendingReply;
	readonly #call: AuditedCall;
	readonly #session: { readonly session?: string };

	constructor(reply: PendingReply, call: AuditedCall, session: string | undefined) {
		this.#reply = reply;
		this.#call = call;
		this.#session = session === undefined ? {} : { session };
	}

	get attached(): boolean {
		return this.#reply.attached;
	}

	related(text: string): void {
		this.#reply.related(text);
	}

	answer(text: string, message: ResponseMessage): void {
		this.#call.end({ ...outcomeOf(message), answerChars: text.length, ...this.#session });
		this.#reply.answer(text, message);
	}

	fail(...args: Parameters<PendingReply['fail']>): void {
		this.#call.end({ outcome: args[1].code, ...this.#session });
		this.#reply.fail(...args);
	}

	drop(): void {
		this.#call.end({ outcome: 'cancelled', ...this.#session });
		this.#reply.drop();
	}

	servedBy(server: string | undefined): void {
		this.#call.servedBy(server);
	}

	tick(nowMs: number): void {
		this.#reply.tick(nowMs);
	}
}

function outcomeOf(message: ResponseMessage): Pick<RecordFields, 'outcome' | 'rpcCode'> {
	if (!message.ok) return { outcome: 'error', rpcCode: message.error.code };
	const { result } = message;
	if (!isObject(result)) return { outcome: 'ok' };
	if (own(result, 'isError') === true) return { outcome: 'isError' };
	return { outcome: own(result, 'resultType') === 'input_required' ? 'input_required' : 'ok' };
}
