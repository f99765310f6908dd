/** API keys: who a caller is. Keys are kept as hashes, and compared in constant time. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import type { KeyStore } from '../store/contract.ts';

/** The authenticated caller. */
export interface Principal {
	readonly id: PrincipalId;
}

export interface Authenticator {
	/** The caller of a request. Throws SLIPWAY_UNAUTHENTICATED. */
	authenticate(request: IncomingMessage): Principal;
}

interface HashedKey {
	readonly principal: Principal;
	readonly digest: Buffer;
}

/** Everybody is the same caller. Only for `SLIPWAY_AUTH=none`. */
export const OPEN_TO_ALL: Authenticator = Object.freeze({
	authenticate: () => Object.freeze({ id: 'anyone' as PrincipalId }),
});

/** The bearer key of the Authorization header; a query never counts, since queries end up in logs. */
export class KeyAuthenticator implements Authenticator {
	readonly #keys: readonly HashedKey[];

	constructor(keys: readonly HashedKey[]) {
		this.#keys = keys;
	}

	authenticate({ headers }: IncomingMessage): Principal {
		const presented = /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
		if (presented === undefined) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');
		const digest = hashKey(presented);
		let found: Principal | undefined;
		// Every key is compared, so that the time tells nothing of which one came close.
		for (const key of this.#keys) if (timingSafeEqual(key.digest, digest)) found = key.principal;
		if (found === undefined) throw new SlipwayError('SLIPWAY_UNAUTHENTICATED');
		return found;
	}
}

/** A key has 256 random bits, so one round of a fast hash is as good as many of a slow one. */
function hashKey(key: string): Buffer {
	return createHash('sha256').update(key).digest();
}

export interface FirstKey {
	readonly authenticator: Authenticator;
	/** The key, if it was made just now. To be shown once and never again. */
	readonly made: string | undefined;
}

/** The name of the caller that the first key belongs to. */
const OPERATOR = 'operator';

/** Who may call: the configured key, or else the stored one, or else one that is made now. */
export function openKeys(configured: string | undefined, store: KeyStore): FirstKey {
	const principal: Principal = Object.freeze({ id: OPERATOR as PrincipalId });
	const withKey = (digest: Buffer, made?: string): FirstKey => ({
		authenticator: new KeyAuthenticator([{ principal, digest }]),
		made,
	});
	if (configured !== undefined) return withKey(hashKey(configured));
	const stored = store.findKeyHash(OPERATOR);
	if (stored !== undefined) return withKey(Buffer.from(stored, 'hex'));
	const made = `slipway_${randomBytes(32).toString('base64url')}`;
	const digest = hashKey(made);
	store.saveKeyHash(OPERATOR, digest.toString('hex'));
	return withKey(digest, made);
}
