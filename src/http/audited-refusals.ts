/** Requests that are recorded though they are no calls: those of nobody we know, and those of somebody who may not. */
import type { IncomingMessage } from 'node:http';
import type { Audit } from '../audit/audit.ts';
import type { ErrorCode, SlipwayError } from '../errors.ts';
import { AUDIT_LIMITS } from '../limits.ts';
import { pathOf } from './guards.ts';
import type { Principal } from './principal.ts';

const RECORDED: ReadonlySet<ErrorCode> = new Set([
	'SLIPWAY_UNAUTHENTICATED',
	'SLIPWAY_TOKEN_INVALID',
	'SLIPWAY_FORBIDDEN',
	'SLIPWAY_RATE_LIMITED',
]);

/** Whose request it was, as far as that is known, and where it came from. */
export interface Refused {
	readonly principal: Principal | undefined;
	readonly requestId: string;
	readonly client: string;
}

/** Records a request that was refused, if it was for one of these reasons. */
export function auditRefusal(
	audit: Audit,
	request: IncomingMessage,
	{ code }: SlipwayError,
	{ principal, requestId, client }: Refused,
): void {
	if (!RECORDED.has(code)) return;
	audit.recordRefusal('refused', {
		...(principal === undefined ? {} : { principal: principal.id }),
		endpoint: pathOf(request).slice(0, AUDIT_LIMITS.nameCharsMax),
		outcome: code,
		requestId,
		client,
	});
}
