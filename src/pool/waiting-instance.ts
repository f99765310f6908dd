/** An Instance that was started and not spoken to: it boots, and waits for its first caller. */
import type { Channel } from '../channel.ts';
import { WARM_LIMITS } from '../limits.ts';

/** INVARIANT: until it is taken its stdout is read, so that its end is seen, and what came is kept, within a bound. */
export class WaitingInstance {
	/** Resolves with whether it was its own doing, when it has ended before it was taken. */
	readonly failed: Promise<boolean>;
	readonly #channel: Channel;
	readonly #early: Buffer[] = [];
	#earlyBytes = 0;
	/** It talks more than anybody does who was not spoken to, and is ended. */
	#unruly = false;

	constructor(channel: Channel) {
		this.#channel = channel;
		channel.stream.on('data', this.#keep);
		channel.stream.on('error', () => undefined);
		this.failed = channel.ended.then(({ cause }) => this.#unruly || (cause !== 'stopped' && cause !== 'lost'));
	}

	/** What it is made of. */
	get spec(): string {
		return this.#channel.spec;
	}

	/** Whether nobody is to have it. */
	get unruly(): boolean {
		return this.#unruly;
	}

	/** Its stdio, with what came of it so far in front. Whoever takes it has to read it from the same turn on. */
	take(): Channel {
		const { stream } = this.#channel;
		stream.off('data', this.#keep);
		stream.pause();
		if (this.#earlyBytes > 0) stream.unshift(Buffer.concat(this.#early));
		queueMicrotask(() => stream.resume());
		return this.#channel;
	}

	/** Ends it. Idempotent. Resolves when it is gone. */
	end(): Promise<void> {
		return this.#channel.stop('prompt');
	}

	readonly #keep = (chunk: Buffer): void => {
		if (this.#unruly) return;
		this.#early.push(chunk);
		this.#earlyBytes += chunk.length;
		if (this.#earlyBytes <= WARM_LIMITS.earlyBytesMax) return;
		this.#unruly = true;
		this.#early.length = 0;
		void this.end();
	};
}
