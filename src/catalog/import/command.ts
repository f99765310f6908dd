/** A command line as it stands in a README, as an entry of the catalog. Nothing is run and nothing is read. */
import type { Imported } from './contract.ts';
import { importLaunch } from './launch.ts';

export interface CommandOptions {
	/** What the server is to be called; made of the package or the image where nothing is said. */
	readonly name?: string;
	/** Variables beside those that the command line sets. */
	readonly env?: Readonly<Record<string, string>>;
	/** Where it would run: relative paths start from there, and without it from the folder of compose.yaml. */
	readonly cwd?: string;
}

/** What the words of a command line run, or why a catalog cannot. Never throws. */
export function fromCommand(words: readonly string[], { name, env = {}, cwd }: CommandOptions): Imported {
	return importLaunch(
		{ ...(name === undefined ? {} : { name }), words, env, ...(cwd === undefined ? {} : { cwd }) },
		{ taken: new Set(), secrets: new Map(), environment: {}, served: false },
	);
}
