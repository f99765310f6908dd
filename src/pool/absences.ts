/** Servers that an aggregated endpoint is without, because they could not be started, for /status. */
import type { ErrorCode, SlipwayError } from '../errors.ts';

export interface Absence {
	readonly code: ErrorCode;
	readonly sentence: string;
	/** When it was seen last. */
	readonly at: string;
}

/** INVARIANT: a server is here from when it could not be started until it could. */
export class Absences {
	readonly #absences = new Map<string, Absence>();

	note(server: string, { code, row }: SlipwayError): void {
		this.#absences.set(server, { code, sentence: row.sentence, at: new Date().toISOString() });
	}

	clear(server: string): void {
		this.#absences.delete(server);
	}

	of(server: string): Absence | undefined {
		return this.#absences.get(server);
	}
}
