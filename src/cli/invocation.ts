/** What a verb gets of the process. */
export interface Invocation {
	readonly args: readonly string[];
	readonly environment: Readonly<Record<string, string | undefined>>;
	readonly workDir: string;
	readonly version: string;
	/** Standard input, for a verb that reads it. */
	readonly input: () => NodeJS.ReadableStream & { isTTY?: boolean };
	/** Writes a line for people to standard output. */
	readonly print: (text: string) => void;
	/** Standard output: what was asked for. */
	readonly out: Surface;
	/** Standard error: how far it is, and what went wrong. */
	readonly err: Surface;
	/**
	 * Does something as the owner of the data folder, so that what it writes there is the gateway's too. For a verb that is
	 * root: nothing else may be under way meanwhile.
	 */
	readonly asOwner: <Result>(act: () => Promise<Result>) => Promise<Result>;
	/** Aborted at the first SIGTERM or SIGINT; `hurry` at the second. */
	readonly stopping: AbortSignal;
	readonly hurry: AbortSignal;
}

/** Where a verb writes, and who may be looking. */
export interface Surface {
	readonly isTerminal: boolean;
	/** How many characters a line has. */
	readonly columns: number;
	write(text: string): void;
}
