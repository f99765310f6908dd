/**
 * What is held of a server's definitions of its tools, as the ways to the server ask it; and a server of which no tool is
 * called before what it says of it was compared with what was approved.
 */
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { AGGREGATE_LIMITS, SESSION_LIMITS } from '../limits.ts';
import type { Call, CallOptions, LegacyServer, Reply } from './exchange.ts';
import { isObject, own, type RequestMessage } from './jsonrpc.ts';
import { askModern, type ModernRequest, type ModernServer } from './modern-server.ts';
import { type Answer, ask } from './own-request.ts';
import { followPages } from './pages.ts';
import { PassingLegacyServer, PassingModernServer, withAnswer, withReplyAnswer } from './passing.ts';
import { PendingCall } from './pending-call.ts';

/** What may be done with a tool. `unknown`: nothing was heard of it from a server that is made of the same. */
export type Verdict = 'passes' | 'refused' | 'unknown';

/** The pins of one server, for Instances that are made of the same. */
export interface ToolPins {
	/** Whether there is a tool that is not to be called. */
	readonly holdsBack: boolean;
	/** Whether a definition may be seen. */
	shows(tool: unknown): boolean;
	verdict(tool: string): Verdict;
	/** Why a tool may not be called. */
	refusal(tool: string): SlipwayError;
	/** All that the server has was listed. */
	heardAll(): void;
}

/** The tool that a request calls. */
export function toolOf({ method, params = {} }: RequestMessage): string | undefined {
	const name = method === 'tools/call' ? own(params, 'name') : undefined;
	return typeof name === 'string' ? name : undefined;
}

/** Lists the tools of a server before a call that needs that, once for all that wait. */
class Hearing {
	/** What holds now. */
	readonly #pins: () => ToolPins | undefined;
	#underWay: Promise<void> | undefined;
	#waitingCount = 0;

	constructor(pins: () => ToolPins | undefined) {
		this.#pins = pins;
	}

	/** Whether a call has to wait. Throws SLIPWAY_TOOL_CHANGED for one that is refused. */
	mustWait(tool: string | undefined): tool is string {
		const pins = tool === undefined ? undefined : this.#pins();
		if (tool === undefined || pins === undefined) return false;
		const verdict = pins.verdict(tool);
		if (verdict === 'refused') throw pins.refusal(tool);
		return verdict === 'unknown';
	}

	/** Whether a request is for a list that may be all that there is. */
	isList({ method, params = {} }: RequestMessage): boolean {
		return method === 'tools/list' && own(params, 'cursor') === undefined;
	}

	/** Overhears the answer to one: a first page that no other follows is all. */
	readonly overhear = (answer: Answer): Answer => {
		const { message } = answer;
		const isWhole = message.ok && isObject(message.result) && own(message.result, 'nextCursor') === undefined;
		if (isWhole) this.#pins()?.heardAll();
		return answer;
	};

	/** Sends the call when it may be; `fail` is told otherwise. */
	begin(
		tool: string,
		call: PendingCall,
		{
			list,
			send,
			fail,
		}: {
			readonly list: (params: object) => Promise<Answer>;
			readonly send: () => Call;
			readonly fail: (error: SlipwayError) => void;
		},
	): Call {
		// The Instance would take no more of them.
		if (this.#waitingCount >= SESSION_LIMITS.inFlightMax)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { retryAfterSeconds: 1 });
		this.#waitingCount += 1;
		this.#underWay ??= this.#hear(list).finally(() => {
			this.#underWay = undefined;
			this.#waitingCount = 0;
		});
		this.#underWay
			.then(() => {
				if (call.over) return;
				// A server that still has not said what it is has not been compared.
				const pins = this.#pins();
				if (pins !== undefined && pins.verdict(tool) !== 'passes') throw pins.refusal(tool);
				call.hand(send());
			})
			.catch((error: unknown) => {
				if (call.finish()) fail(toSlipwayError(error));
			});
		return call;
	}

	async #hear(list: (params: object) => Promise<Answer>): Promise<void> {
		try {
			await followPages(list, AGGREGATE_LIMITS.pagesMax);
			this.#pins()?.heardAll();
		} catch (error) {
			if (error instanceof SlipwayError) throw error;
		}
	}
}

/** A server for one conversation of the first era, with one Instance. */
export class ComparedLegacyServer extends PassingLegacyServer {
	readonly #hearing: Hearing;

	/** @param pins what holds now: it is asked at every request */
	constructor(server: LegacyServer, pins: () => ToolPins | undefined) {
		super(server);
		this.#hearing = new Hearing(pins);
	}

	override request(text: string, message: RequestMessage, options: CallOptions): Call {
		if (this.#hearing.isList(message)) {
			const exchange = withAnswer(options.exchange, this.#hearing.overhear);
			return super.request(text, message, { ...options, exchange });
		}
		const tool = toolOf(message);
		if (!this.#hearing.mustWait(tool)) return super.request(text, message, options);
		const { exchange, onEnd, timeoutMs } = options;
		const call = new PendingCall(() => {
			onEnd?.();
			exchange.drop();
		});
		return this.#hearing.begin(tool, call, {
			list: (params) => ask(this.server, 'tools/list', params, { timeoutMs }),
			send: () => super.request(text, message, options),
			fail: (error) => {
				onEnd?.();
				exchange.fail(message.id, error);
			},
		});
	}
}

/** A server for requests of the second era, with one Instance. */
export class ComparedModernServer extends PassingModernServer {
	readonly #hearing: Hearing;

	/** @param pins what holds now: it is asked at every request */
	constructor(server: ModernServer, pins: () => ToolPins | undefined) {
		super(server);
		this.#hearing = new Hearing(pins);
	}

	override request(request: ModernRequest, reply: Reply): Call {
		if (this.#hearing.isList(request.message))
			return super.request(request, withReplyAnswer(reply, this.#hearing.overhear));
		const tool = toolOf(request.message);
		if (!this.#hearing.mustWait(tool)) return super.request(request, reply);
		return this.#hearing.begin(tool, new PendingCall(() => reply.drop()), {
			list: (params) => askModern(this.server, 'tools/list', params, request.envelope),
			send: () => super.request(request, reply),
			fail: (error) => reply.fail(request.message.id, error),
		});
	}
}
