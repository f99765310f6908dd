/**
 * Guesses: failed authentications are bounded for each address that they come from.
 *
 * Beyond the bound a short bearer is not looked at any more, right or wrong, since it may be a guess. A long one always
 * is: no number of guesses finds it, so nobody's failures keep a caller out whose key is one that we made.
 */
import type { IncomingMessage } from 'node:http';
import { siteOf } from '../addresses.ts';
import { type ErrorCode, SlipwayError } from '../errors.ts';
import { POLICY_LIMITS } from '../limits.ts';
import { Budgets } from '../policy/budget.ts';
import { type Authenticator, bearerOf, type Principal } from './principal.ts';

const { failuresPerMinuteMax, failingSitesMax, guessableCharsMax } = POLICY_LIMITS;

/** What all sites beyond those that are told apart have together. */
const OTHERS = 'others';

const FAILURES: ReadonlySet<ErrorCode> = new Set(['SLIPWAY_UNAUTHENTICATED', 'SLIPWAY_TOKEN_INVALID']);

export class BoundedAuthenticator implements Authenticator {
	readonly #inner: Authenticator;
	readonly #addressOf: (request: IncomingMessage) => string;
	readonly #failures = new Budgets();
	readonly challenge: Authenticator['challenge'];

	constructor(inner: Authenticator, addressOf: (request: IncomingMessage) => string) {
		this.#inner = inner;
		this.#addressOf = addressOf;
		this.challenge = (...refused) => inner.challenge(...refused);
	}

	/** @throws SlipwayError SLIPWAY_RATE_LIMITED, or what the authenticator within throws */
	authenticate(request: IncomingMessage): Principal | Promise<Principal> {
		const bearer = bearerOf(request);
		// Who comes with nothing has guessed nothing: clients do so to be told where to get a token.
		if (bearer === undefined) return this.#inner.authenticate(request);
		if (bearer.length <= guessableCharsMax) {
			const waitMs = this.#failures.waitMs(this.#bucketOf(request), performance.now());
			if (waitMs > 0) throw tooMany(waitMs);
		}
		try {
			const found = this.#inner.authenticate(request);
			// Of a key it is known at once, and nothing waits for a promise.
			return found instanceof Promise ? found.catch((error: unknown) => this.#refuse(request, error)) : found;
		} catch (error) {
			return this.#refuse(request, error);
		}
	}

	/** Counts a failure, and throws what comes of it. */
	#refuse(request: IncomingMessage, error: unknown): never {
		if (!(error instanceof SlipwayError) || !FAILURES.has(error.code)) throw error;
		const { allowed, waitMs } = this.#failures.take(this.#bucketOf(request), failuresPerMinuteMax, performance.now());
		throw allowed ? error : tooMany(waitMs);
	}

	/** To be called every second or so. */
	tick(nowMs: number): void {
		this.#failures.tick(nowMs);
	}

	/** Forgetting one to remember another would let whoever has many addresses begin anew. */
	#bucketOf(request: IncomingMessage): string {
		const site = siteOf(this.#addressOf(request));
		return this.#failures.has(site) || this.#failures.size < failingSitesMax ? site : OTHERS;
	}
}

function tooMany(waitMs: number): SlipwayError {
	return new SlipwayError('SLIPWAY_RATE_LIMITED', { retryAfterSeconds: Math.ceil(waitMs / 1000) });
}
