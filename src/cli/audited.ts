/** What the command line does, recorded as it is done. */
import { draftAct } from '../audit/act.ts';
import type { Act } from '../audit/record.ts';
import type { Config } from '../config.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';

/** What is told where the result comes without its record. */
export const UNRECORDED = 'Note: the audit could not be written. What follows is done, and not recorded.\n';

/**
 * Does something, and records how that ended.
 *
 * @throws SlipwayError SLIPWAY_AUDIT_FAILED where it must be recorded and cannot be: nothing is done then
 */
export async function audited<Result>(
	{ audit: { mode, ...options } }: Config,
	{ event, describe, run }: Act<Result>,
): Promise<{ readonly result: Result; readonly recorded: boolean }> {
	if (mode === 'off') return { result: run(), recorded: true };
	const refuse = (cause: unknown): undefined => {
		if (mode === 'required') throw new SlipwayError('SLIPWAY_AUDIT_FAILED', {}, { cause });
	};
	const draft = await draftAct(options).catch(refuse);
	const record = async (outcome: string, result?: Result): Promise<boolean> => {
		const fields = { ...describe(result), principal: 'cli', outcome };
		return draft !== undefined && ((await draft.finish(event, fields).then(() => true, refuse)) ?? false);
	};
	let result: Result;
	try {
		result = run();
	} catch (error) {
		await record(toSlipwayError(error).code);
		throw error;
	}
	return { result, recorded: await record('ok', result) };
}
