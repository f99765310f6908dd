/**
 * A request, and what the door knows of it. It is kept in the request itself: a table of requests, weak as it may be, costs
 * the garbage collector more than all else does that the gateway has of a call.
 */
import { IncomingMessage } from 'node:http';
import type { Principal } from './principal.ts';

export class KnownRequest extends IncomingMessage {
	/** The client's own id of it, or one that it was given. */
	requestId: string | undefined = undefined;
	/** Its caller, once that is known. */
	principal: Principal | undefined = undefined;
}

/** Every request of the listener is one, also where Express has given it a prototype of its own. */
export function known(request: IncomingMessage): KnownRequest {
	return request as KnownRequest;
}
