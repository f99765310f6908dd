/** What is known of the eras that servers speak, so that each is asked once, and not for every Instance. */
import type { ServerName } from '../ids.ts';

/** What was seen of one build of a server. Absent: not tried yet. */
export interface EraFacts {
	legacy?: boolean;
	modern?: boolean;
}

/** INVARIANT: of each server only what was seen of its present spec is kept. */
export class Eras {
	readonly #facts = new Map<ServerName, { readonly spec: string; readonly facts: EraFacts }>();

	/** What was seen of a server while its spec came to be known in full, such as by its image, is of that spec. */
	keep(server: ServerName, spec: string, facts: EraFacts): void {
		this.#facts.set(server, { spec, facts });
	}

	/** The facts of a server, to be read and added to. They begin anew when its spec has changed. */
	of(server: ServerName, spec: string): EraFacts {
		const known = this.#facts.get(server);
		if (known?.spec === spec) return known.facts;
		const facts: EraFacts = {};
		this.#facts.set(server, { spec, facts });
		return facts;
	}
}
