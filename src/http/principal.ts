/** The authenticated caller. */
import type { IncomingMessage } from 'node:http';
import type { SlipwayError } from '../errors.ts';
import type { PrincipalId } from '../ids.ts';
import type { Access } from '../policy/access.ts';
import type { KeyLimits } from '../store/contract.ts';

export interface Principal {
	readonly id: PrincipalId;
	/** What it may use. */
	readonly access: Access;
	/** Its calls of one server in a minute, where its key says so. */
	readonly callsPerMinute?: number;
	/** What else it may have, where its key says so. */
	readonly limits?: KeyLimits;
	/** From then on it has to say anew who it is. Milliseconds since 1970. */
	readonly expiresAtMs?: number;
}

export interface Authenticator {
	/** The caller of a request. Throws, or rejects with, a SlipwayError. */
	authenticate(request: IncomingMessage): Principal | Promise<Principal>;
	/** The WWW-Authenticate header of a refusal; undefined for one that no other caller would be spared. */
	challenge(request: IncomingMessage, error: SlipwayError, principal?: Principal): string | undefined;
}

/** What a request presents as its bearer; a query never counts, since queries end up in logs. */
export function bearerOf({ headers }: IncomingMessage): string | undefined {
	return /^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
}
