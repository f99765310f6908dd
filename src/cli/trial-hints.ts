/** What to do about a server that did not pass its trial. */
import type { EntryFile } from '../catalog/import/contract.ts';
import { SlipwayError } from '../errors.ts';
import { Failure } from './failure.ts';
import { hostsWanted } from './hosts.ts';
import { TrialFailure } from './trial.ts';

/** How a person gives a secret its value. */
export function howToKeep(name: string): string {
	return `Its secret "${name}" is not kept yet: slipway secrets set ${name} <file (with compose: docker compose run --rm -T cli secrets set ${name} <file).`;
}

/** Lines that say what to do; none where it is no failure of a trial. */
export function hintsOf(error: unknown, { egress = [] }: EntryFile): string[] {
	if (error instanceof Failure || !(error instanceof SlipwayError)) return [];
	if (error.code === 'SLIPWAY_EGRESS_UNAVAILABLE')
		return [
			'A server that may reach hosts is tried where an egress proxy can be: in compose, docker compose run --rm cli …',
			'Untried it is written by `add --no-try`, and by `import` without --try.',
		];
	if (!(error instanceof TrialFailure)) return [];
	const { details, missingSecrets, denied } = error;
	const allowed = new Set(egress);
	const wanted = [
		...denied.flatMap(({ allow }) => (allow === undefined ? [] : [allow])),
		...hostsWanted(details.stderr ?? ''),
	];
	const lines = [...new Set(wanted)].filter((line) => !allowed.has(line));
	const network = lines.map((line) => `--egress ${line}`).join(' ');
	const hints = [
		...(lines.length === 0
			? []
			: [`It seems to need ${lines.join(' and ')}, which it may not reach. If it should: ${network}`]),
		...(missingSecrets.length === 0
			? []
			: [`It was started without what nobody keeps. ${missingSecrets.map(howToKeep).join(' ')}`]),
	];
	const general = hints.length > 0 ? [] : sentencesForPeople(error.row.nextStep);
	return [...hints, ...general, 'Nothing was written.'];
}

/** What a row says of `data` and of /status is for clients: here it was shown. */
function sentencesForPeople(nextStep: string): string[] {
	const sentences = nextStep.split(/(?<=[.?]) /).filter((sentence) => !/`data\.|\/status/.test(sentence));
	return sentences.length === 0 ? [] : [sentences.join(' ')];
}
