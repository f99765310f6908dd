/** Raised where a server of another format cannot be carried over, and caught where its outcome is told. */
export class Refusal extends Error {
	readonly reason: string;
	readonly nextStep: string;

	/**
	 * @param reason a sentence without a full stop
	 * @param nextStep a sentence
	 */
	constructor(reason: string, nextStep: string) {
		super(reason);
		this.name = 'Refusal';
		this.reason = reason;
		this.nextStep = nextStep;
	}
}
