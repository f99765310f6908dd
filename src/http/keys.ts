/**
 * API keys: who a caller is. They are kept as hashes, in the store, where the command line and the API change them; what
 * another process changes there is seen within a moment.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import { POLICY_LIMITS } from '../limits.ts';
import { Access, UNBOUNDED } from '../policy/access.ts';
import type { KeyLimits, KeyStore, StoredKey } from '../store/contract.ts';
import { type Authenticator, bearerOf, type Principal } from './principal.ts';

/** Everybody is the same caller. Only for `SLIPWAY_AUTH=none`. */
export const OPEN_TO_ALL: Authenticator = Object.freeze({
	authenticate: () => ANYONE,
	challenge: () => undefined,
});

const ANYONE: Principal = Object.freeze({ id: 'anyone' as PrincipalId, access: UNBOUNDED });

/** A key is not to be had by asking for it. */
function challengeForKey(_: IncomingMessage, { code }: SlipwayError): string | undefined {
	return code === 'SLIPWAY_UNAUTHENTICATED' ? 'Bearer realm="slipway"' : undefined;
}

/** The name of the caller that the first key belongs to. It may do everything. */
export const OPERATOR = 'operator';

/** A key has 256 random bits, so one round of a fast hash is as good as many of a slow one. */
export function hashKey(key: string): string {
	return createHash('sha256').update(key).digest('hex');
}

/** A new key. To be shown once. */
export function makeKey(): string {
	return `slipway_${randomBytes(32).toString('base64url')}`;
}

/** How a principal's key has changed. `gone`: revoked. `changed`: another key, or other scopes. */
export type KeyChange = (principal: PrincipalId, what: 'gone' | 'changed') => void;

interface Known {
	readonly key: StoredKey;
	readonly principal: Principal;
}

/**
 * The keys that there are.
 *
 * INVARIANT: between `start` and `stop` it is what the store says, but for `keysPollMs` where another process changed it.
 */
export class KeyRing implements Authenticator {
	readonly #store: KeyStore;
	/** The key of the configuration takes the place of the operator's stored one. */
	readonly #configured: Known | undefined;
	/** Told of every key that is not as it was. */
	onChange: KeyChange = () => undefined;
	/** By hash. To look one up takes no secret time: who does not have the key cannot choose its hash. */
	#byHash = new Map<string, Known>();
	#version = Number.NaN;
	#polling: NodeJS.Timeout | undefined;

	constructor(configured: string | undefined, store: KeyStore) {
		this.#store = store;
		this.#configured =
			configured === undefined
				? undefined
				: toKnown({ name: OPERATOR, hash: hashKey(configured), scopes: UNBOUNDED.scopes, createdAtMs: 0 });
		this.reload();
	}

	/** Follows what other processes change. */
	start(): void {
		this.#polling ??= setInterval(() => this.refresh(), POLICY_LIMITS.keysPollMs);
	}

	stop(): void {
		clearInterval(this.#polling);
	}

	authenticate(request: IncomingMessage): Principal {
		const bearer = bearerOf(request);
		const known = bearer === undefined ? undefined : this.find(bearer);
		if (known === undefined) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');
		return known;
	}

	readonly challenge = challengeForKey;

	/** The caller whose key that is. */
	find(key: string): Principal | undefined {
		const known = this.#byHash.get(hashKey(key));
		return known === undefined || isExpired(known, Date.now()) ? undefined : known.principal;
	}

	/** What a caller may have, where its key says so. */
	limitsOf(caller: PrincipalId): KeyLimits | undefined {
		return this.#byHash.values().find(({ principal }) => principal.id === caller)?.principal.limits;
	}

	/** Reads the store again where it has changed, and tells of keys whose time is over. */
	refresh(): void {
		const nowMs = Date.now();
		for (const [hash, known] of this.#byHash)
			if (isExpired(known, nowMs)) {
				this.#byHash.delete(hash);
				this.onChange(known.principal.id, 'gone');
			}
		const version = this.#store.keysVersion();
		// A store that cannot be read leaves what was read last.
		if (version !== this.#version && !Number.isNaN(version)) this.reload();
	}

	/** Reads the store, and tells of every key that is not as it was. */
	reload(): void {
		const before = [...this.#byHash.values()];
		this.#version = this.#store.keysVersion();
		const nowMs = Date.now();
		const found = this.#store
			.listKeys()
			.filter(({ name }) => this.#configured === undefined || name !== OPERATOR)
			.map(toKnown);
		if (this.#configured !== undefined) found.push(this.#configured);
		const live = found.filter((known) => !isExpired(known, nowMs));
		this.#byHash = new Map(live.map((known) => [known.key.hash, known]));
		for (const { key, principal } of before) {
			const now = live.find((known) => known.principal.id === principal.id);
			if (now === undefined) this.onChange(principal.id, 'gone');
			else if (!isSame(now.key, key)) this.onChange(principal.id, 'changed');
		}
	}
}

/** The operator's key, where there is none and one was made just now. To be shown once and never again. */
export function makeFirstKey(configured: string | undefined, store: KeyStore): string | undefined {
	if (configured !== undefined || store.listKeys().some(({ name }) => name === OPERATOR)) return undefined;
	const made = makeKey();
	store.saveKey({ name: OPERATOR, hash: hashKey(made), scopes: UNBOUNDED.scopes, createdAtMs: Date.now() });
	return made;
}

/** The operator is known by that name alone, so that no other key can be made to look like it. */
function toKnown(key: StoredKey): Known {
	const id = (key.name === OPERATOR ? OPERATOR : `key:${key.name}`) as PrincipalId;
	const { scopes, callsPerMinute, limits } = key;
	const rate = callsPerMinute === undefined ? {} : { callsPerMinute };
	const rest = limits === undefined ? {} : { limits };
	return { key, principal: Object.freeze({ id, access: new Access(scopes), ...rate, ...rest }) };
}

function isExpired({ key: { expiresAtMs } }: Known, nowMs: number): boolean {
	return expiresAtMs !== undefined && nowMs >= expiresAtMs;
}

/** One whose end was put off is the same: when it is over is looked at whenever it is used. */
function isSame(one: StoredKey, other: StoredKey): boolean {
	return (
		one.hash === other.hash &&
		one.callsPerMinute === other.callsPerMinute &&
		JSON.stringify(one.limits) === JSON.stringify(other.limits) &&
		JSON.stringify(one.scopes) === JSON.stringify(other.scopes)
	);
}
