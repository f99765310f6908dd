/** What an Instance was made of, so that it is seen when it is not what it should be any more. */
export interface Making {
	/** The spec of Instances that are made now; undefined while that is not known, as before an image is ready. */
	readonly spec: string | undefined;
	/** That of the catalog which says so. */
	readonly revision: number;
}

export class Build {
	readonly #now: () => Making;
	readonly #revision: number;
	#spec: string | undefined;

	constructor(now: () => Making) {
		this.#now = now;
		const { spec, revision } = now();
		this.#spec = spec;
		this.#revision = revision;
	}

	/**
	 * The spec of the Instance. It may come to be known a moment after the Instance was made, and never where the catalog
	 * became another by then: the Instance may have been made of either.
	 */
	get spec(): string | undefined {
		const { spec, revision } = this.#now();
		if (this.#spec === undefined && revision === this.#revision) this.#spec = spec;
		return this.#spec;
	}

	/** Whether Instances that are made now are others, as far as that is known. */
	get stale(): boolean {
		const { spec } = this.#now();
		return spec !== undefined && spec !== this.spec;
	}
}
