/** The Channel: an Instance's stdio as a pair of byte streams, and how it ended. */
import type { Duplex } from 'node:stream';
import type { InstanceId, ServerName } from './ids.ts';

/** How an Instance ended. */
export interface InstanceEnd {
	/**
	 * `stopped`: we ended it. `exited`: it ended by itself. `oom`: the kernel ended it for its memory.
	 * `lost`: the engine or the launcher went away. `frame`: the engine's stream was invalid.
	 */
	readonly cause: 'stopped' | 'exited' | 'oom' | 'lost' | 'frame';
	/** The exit code, where the engine told it in time. */
	readonly exitCode?: number;
	/** The last of its stderr, at most STDIO_LIMITS.stderrTailCharsMax characters, control characters replaced. */
	readonly stderr: string;
}

/** `prompt`: somebody waits for the end. `patient`: the server may take its time to finish what it does. */
export type Patience = 'prompt' | 'patient';

/** The stdio of one Instance. */
export interface Channel {
	readonly server: ServerName;
	readonly instance: InstanceId;
	/** What the Instance is made of: the `spec` that its server had in the launcher's state then. */
	readonly spec: string;
	/**
	 * Readable: the bytes of stdout. Writable: the bytes of stdin; its end is the end of stdin. It ends when
	 * stdout does. An error on it says no more than that the Instance is over; `ended` tells how.
	 */
	readonly stream: Duplex;
	/** Resolves once, when the Instance is over. Never rejects. */
	readonly ended: Promise<InstanceEnd>;
	/** Ends the Instance: end of stdin, SIGTERM, SIGKILL. Idempotent. Resolves when the container is gone. */
	stop(patience: Patience): Promise<void>;
}
