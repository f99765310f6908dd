/** How much a caller may do: calls in a minute and in flight, and bytes. What is listed, and what is not a call, is free. */
import type { ServerResponse } from 'node:http';
import { SlipwayError } from '../errors.ts';
import { BUDGET_LIMITS } from '../limits.ts';
import type { RequestMessage } from '../mcp/jsonrpc.ts';
import { toPattern } from '../policy/access.ts';
import { Budgets, type Charge, Places } from '../policy/budget.ts';
import type { Target } from '../pool/target.ts';
import type { Principal } from './principal.ts';

/** What a server does something for. */
export const CALLS: ReadonlySet<string> = new Set(['tools/call', 'prompts/get', 'resources/read']);
const MS_PER_SECOND = 1000;

/** What the catalog says of a server. */
export interface ServerBudgets {
	readonly callsPerMinute?: number;
	readonly callsInFlight?: number;
	readonly tools?: { readonly callsPerMinute?: Readonly<Record<string, number>> };
}

/** What holds where neither the key nor the catalog says; 0: no bound. */
export interface CallBudgetsOptions {
	readonly perMinuteDefault: number;
	readonly inFlightDefault: number;
	readonly bytesDefault: number;
	readonly find: (server: string) => ServerBudgets | undefined;
}

/** Whose request it is, and where its answer goes. */
interface Sending {
	readonly principal: Principal;
	readonly response: ServerResponse;
}

/** The same, and of what. */
interface Asking extends Sending {
	readonly target: Target;
}

/** A bucket that a request takes from. */
interface Policy {
	/** In headers. */
	readonly kind: 'calls' | 'tool' | 'bytes';
	readonly name: string;
	readonly perMinute: number;
}

/** INVARIANT: what is in flight has its places, and nothing else has. */
export class CallBudgets {
	readonly #options: CallBudgetsOptions;
	readonly #budgets = new Budgets();
	readonly #places = new Places();

	constructor(options: CallBudgetsOptions) {
		this.#options = options;
	}

	/** Callers and servers with calls in flight, where these are bounded, and buckets that are not full. */
	get size(): { readonly places: number; readonly buckets: number } {
		return { places: this.#places.size, buckets: this.#budgets.size };
	}

	/**
	 * Counts a request, and has its answer say what is left.
	 *
	 * @throws SlipwayError SLIPWAY_RATE_LIMITED
	 */
	charge({ principal, target, response }: Asking, message: RequestMessage): void {
		if (!CALLS.has(message.method)) return;
		const server = target.serverOf(message);
		const perMinute = this.#perMinute(principal, server);
		const policies: Policy[] = this.#ofTools(principal, target, message);
		if (perMinute > 0) policies.unshift({ kind: 'calls', name: `${principal.id}\n${server}`, perMinute });
		this.#take(response, policies);
	}

	/**
	 * Takes a place for a call in flight, and returns the way to give it back. To be called when it is over.
	 *
	 * @throws SlipwayError SLIPWAY_CALLS_FULL when the caller has as many as it may, SLIPWAY_SERVER_FULL when the server has
	 */
	enter(principal: Principal, target: Target, message: RequestMessage): () => void {
		if (!CALLS.has(message.method)) return () => undefined;
		const retryAfterSeconds = BUDGET_LIMITS.retryAfterMs / MS_PER_SECOND;
		const max = principal.limits?.callsInFlight ?? this.#options.inFlightDefault;
		const mine = this.#places.take(principal.id, max);
		if (mine === undefined)
			throw new SlipwayError('SLIPWAY_CALLS_FULL', { reason: `A caller may have ${max}.`, retryAfterSeconds });
		const server = target.serverOf(message);
		const common = this.#places.takeShare(`server ${server}`, principal.id, this.#options.find(server)?.callsInFlight);
		if (common !== undefined)
			return () => {
				mine();
				common();
			};
		mine();
		const reason = '`callsInFlight`: there are as many as it allows, or the caller has as many as are left for others.';
		throw new SlipwayError('SLIPWAY_SERVER_FULL', { server, reason, retryAfterSeconds });
	}

	/**
	 * Lets a caller send a request, and returns what it pays with for each part that is read. More than is left is paid for
	 * by what comes next: how much it is going to be, nobody knows.
	 *
	 * @throws SlipwayError SLIPWAY_RATE_LIMITED
	 */
	sends({ principal, response }: Sending): (bytes: number) => void {
		const perMinute = principal.limits?.bytesPerMinute ?? this.#options.bytesDefault;
		if (perMinute === 0) return () => undefined;
		const name = `bytes ${principal.id}`;
		const charge = this.#budgets.pay(name, perMinute, performance.now(), 0);
		if (!charge.allowed) refuse(response, [[{ kind: 'bytes', name, perMinute }, charge]]);
		return (bytes) => void this.#budgets.pay(name, perMinute, performance.now(), bytes);
	}

	/** To be called every second or so. */
	tick(nowMs: number): void {
		this.#budgets.tick(nowMs);
	}

	#take(response: ServerResponse, policies: readonly Policy[]): void {
		const charges = policies.map((policy) => {
			const { name, perMinute } = policy;
			return [policy, this.#budgets.take(name, perMinute, performance.now())] as const;
		});
		if (charges.length === 0) return;
		if (charges.some(([, { allowed }]) => !allowed)) refuse(response, charges);
		tell(response, charges);
	}

	/** The catalog's word and the key's, the smaller of both; with neither, the default. */
	#perMinute({ callsPerMinute }: Principal, server: string): number {
		const said = [callsPerMinute, this.#options.find(server)?.callsPerMinute].filter((rate) => rate !== undefined);
		return said.length === 0 ? this.#options.perMinuteDefault : Math.min(...said);
	}

	/** One bucket a pattern of the catalog, so that names which nothing has make none. */
	#ofTools({ id }: Principal, target: Target, message: RequestMessage): Policy[] {
		const server = target.serverOf(message);
		const rates = this.#options.find(server)?.tools?.callsPerMinute;
		const tool = rates === undefined ? undefined : target.toolOf(message);
		if (rates === undefined || tool === undefined) return [];
		return Object.entries(rates)
			.filter(([pattern]) => toPattern(pattern)(tool))
			.map(([pattern, perMinute]) => ({ kind: 'tool', name: `${id}\n${server}\n${pattern}`, perMinute }));
	}
}

function refuse(response: ServerResponse, charges: readonly (readonly [Policy, Charge])[]): never {
	tell(response, charges);
	const waitMs = Math.max(...charges.map(([, charge]) => (charge.allowed ? 0 : charge.waitMs)));
	throw new SlipwayError('SLIPWAY_RATE_LIMITED', { retryAfterSeconds: Math.ceil(waitMs / MS_PER_SECOND) });
}

/** Source of the headers: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ */
function tell(response: ServerResponse, charges: readonly (readonly [Policy, Charge])[]): void {
	if (response.headersSent) return;
	const policies = charges.map(([{ kind, perMinute }]) => `"${kind}";q=${perMinute};w=60`);
	const left = charges.map(
		([{ kind }, { remaining, waitMs }]) => `"${kind}";r=${remaining};t=${Math.ceil(waitMs / MS_PER_SECOND)}`,
	);
	response.setHeader('ratelimit-policy', policies.join(', '));
	response.setHeader('ratelimit', left.join(', '));
}
