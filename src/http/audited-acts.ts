/** What administrators do over HTTP, recorded as it is done. */
import type { Request } from 'express';
import type { Audit } from '../audit/audit.ts';
import type { Act, RecordFields } from '../audit/record.ts';
import { toSlipwayError } from '../errors.ts';

/** Does something that a request asks for, and records how that ended. Throws SLIPWAY_AUDIT_FAILED before anything is done. */
export type DoAct = <Result>(request: Request, act: Act<Result>) => Result;

/** @param actorOf who asks */
export function auditedActs(
	audit: Audit,
	actorOf: (request: Request) => Pick<RecordFields, 'principal' | 'requestId' | 'client'>,
): DoAct {
	return (request, { event, describe, run }) => {
		try {
			audit.assertReady();
			const result = run();
			audit.record(event, { ...describe(result), ...actorOf(request), outcome: 'ok' });
			return result;
		} catch (error) {
			audit.record(event, { ...describe(), ...actorOf(request), outcome: toSlipwayError(error).code });
			throw error;
		}
	};
}
