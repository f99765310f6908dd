/** Raised where a server of another format cannot be carried over, and caught where its outcome is told. */
export class Refusal extends Error {
	readonly reason: string;
	readonly nextStep: string;
	/** The field of the other format that it is about, if it is about one. */
	readonly field: string | undefined;

	/**
	 * @param reason a sentence without a full stop
	 * @param nextStep a sentence
	 */
	constructor(reason: string, nextStep: string, field?: string) {
		super(reason);
		this.name = 'Refusal';
		this.reason = reason;
		this.nextStep = nextStep;
		this.field = field;
	}
}

/** Runs what reads a field: what it refuses is about that field, unless it says otherwise. */
export function inField<Value>(field: string, read: () => Value): Value {
	try {
		return read();
	} catch (error) {
		if (error instanceof Refusal) throw new Refusal(error.reason, error.nextStep, error.field ?? field);
		throw error;
	}
}
