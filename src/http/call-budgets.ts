/** The calls that a caller may make of a server in a minute. What is listed, and what is not a call, is free. */
import type { ServerResponse } from 'node:http';
import { SlipwayError } from '../errors.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { Budgets } from '../policy/budget.ts';
import type { Target } from '../pool/target.ts';
import type { Principal } from './principal.ts';

/** What a server does something for. */
export const CALLS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);
const MS_PER_SECOND = 1000;

export interface CallBudgetsOptions {
	/** Where neither the key nor the catalog says; 0: no bound. */
	readonly perMinuteDefault: number;
	/** What the catalog says of a server. */
	readonly perMinuteOf: (server: string) => number | undefined;
}

/** Whose request it is, of what, and where its answer goes. */
interface Asking {
	readonly principal: Principal;
	readonly target: Target;
	readonly response: ServerResponse;
}

export class CallBudgets {
	readonly #options: CallBudgetsOptions;
	readonly #budgets = new Budgets();

	constructor(options: CallBudgetsOptions) {
		this.#options = options;
	}

	/**
	 * Counts a request, and has its answer say what is left.
	 *
	 * Source of the headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
	 *
	 * @throws SlipwayError SLIPWAY_RATE_LIMITED
	 */
	charge({ principal, target, response }: Asking, message: RequestMessage): void {
		if (!CALLS.has(message.method)) return;
		const server = target.serverOf(message);
		const perMinute = this.#perMinute(principal, server);
		if (perMinute === 0) return;
		const name = `${principal.id}\n${server}`;
		const { allowed, remaining, waitMs } = this.#budgets.take(name, perMinute, performance.now());
		const waitSeconds = Math.ceil(waitMs / MS_PER_SECOND);
		if (!response.headersSent) {
			response.setHeader('ratelimit-policy', `"calls";q=${perMinute};w=60`);
			response.setHeader('ratelimit', `"calls";r=${remaining};t=${waitSeconds}`);
		}
		if (!allowed) throw new SlipwayError('SLIPWAY_RATE_LIMITED', { retryAfterSeconds: waitSeconds });
	}

	/** To be called every second or so. */
	tick(nowMs: number): void {
		this.#budgets.tick(nowMs);
	}

	/** The catalog's word and the key's, the smaller of both; with neither, the default. */
	#perMinute({ callsPerMinute }: Principal, server: string): number {
		const said = [callsPerMinute, this.#options.perMinuteOf(server)].filter((rate) => rate !== undefined);
		return said.length === 0 ? this.#options.perMinuteDefault : Math.min(...said);
	}
}
