/** How an error of the table is told at the command line. */
import { SlipwayError } from '../errors.ts';

/** An error, with what to do where that is known better than the table does. */
export class Failure extends SlipwayError {
	/** Lines for people. */
	readonly hints: readonly string[];

	constructor({ code, details, cause }: SlipwayError, hints: readonly string[]) {
		super(code, details, { cause });
		this.hints = hints;
	}
}

/** What happened, what the server or the build said of it, and what to do. */
export function explainFailure(error: SlipwayError): string {
	const { exitCode, stderr, log } = error.details;
	const said = (stderr ?? log ?? '').trimEnd();
	return [
		`slipway: ${withoutControls(error.message)}`,
		...(exitCode === undefined ? [] : [`Its exit code was ${exitCode}.`]),
		...(said === '' ? [] : said.split('\n').map((line) => `  | ${withoutControls(line)}`)),
		...nextSteps(error),
	].join('\n');
}

/** The same for programs. */
export function failureOf(error: SlipwayError): object {
	const { code, message, details } = error;
	return { error: { code, message, ...details, nextStep: nextSteps(error).join('\n') } };
}

/** What to do, in lines. */
export function nextSteps(error: SlipwayError): readonly string[] {
	return error instanceof Failure ? error.hints : [error.row.nextStep];
}

/** A text of somebody else's that steers no terminal. */
export function withoutControls(text: string): string {
	return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g, '?');
}
