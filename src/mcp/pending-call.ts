/** A request that waits for the server that is to have it: whose it is, is found out first, or the server is on its way. */
import type { Call } from './exchange.ts';

export class PendingCall implements Call {
	readonly #onCancel: () => void;
	#call: Call | undefined;
	#over = false;

	/** @param onCancel called when the request is withdrawn before a server has it */
	constructor(onCancel: () => void) {
		this.#onCancel = onCancel;
	}

	/** Whether nobody waits any more. */
	get over(): boolean {
		return this.#over;
	}

	/** A server has it now. */
	hand(call: Call): void {
		this.#call = call;
	}

	/** It was answered without a server, or by it. Returns false when it was over before. */
	finish(): boolean {
		if (this.#over) return false;
		this.#over = true;
		return true;
	}

	cancel(params?: object): void {
		if (this.#call !== undefined) this.#call.cancel(params);
		else if (this.finish()) this.#onCancel();
	}
}
