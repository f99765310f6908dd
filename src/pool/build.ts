/** What an Instance was made of, so that it is seen when it is not what it should be any more. */
export class Build {
	readonly #now: () => string | undefined;
	#spec: string | undefined;

	/** @param now the spec of Instances that are made now; undefined while that is not known, as before an image is ready */
	constructor(now: () => string | undefined) {
		this.#now = now;
		this.#spec = now();
	}

	/** The spec of the Instance. It may come to be known a moment after the Instance was made. */
	get spec(): string | undefined {
		this.#spec ??= this.#now();
		return this.#spec;
	}

	/** Whether Instances that are made now are others. */
	get stale(): boolean {
		const now = this.#now();
		return now !== undefined && now !== this.spec;
	}
}
