/** The authenticated caller. */
import type { IncomingMessage } from 'node:http';
import type { PrincipalId } from '../ids.ts';
import type { Access } from '../policy/access.ts';

export interface Principal {
	readonly id: PrincipalId;
	/** What it may use. */
	readonly access: Access;
	/** Its calls of one server in a minute, where its key says so. */
	readonly callsPerMinute?: number;
}

export interface Authenticator {
	/** The caller of a request. Throws, or rejects with, a SlipwayError. */
	authenticate(request: IncomingMessage): Principal | Promise<Principal>;
}
