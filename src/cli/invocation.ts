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
	/** Aborted at the first SIGTERM or SIGINT; `hurry` at the second. */
	readonly stopping: AbortSignal;
	readonly hurry: AbortSignal;
}
