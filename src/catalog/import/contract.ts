/** What other formats say of servers, as entries of the catalog. Pure: text in, entries out. */
import type { z } from 'zod';
import type { serverSchema } from '../schema.ts';

/** What says more of a package than its name; beside what the schema has. */
interface PackageFields {
	pypi?: string;
	/** Packages that are installed beside it. */
	with?: string[];
	/** Which of its programs runs, where it is not the one of the package's name. */
	bin?: string;
}

/** An entry as a person would write it in the file, without what goes without saying. */
export type EntryFile = z.input<typeof serverSchema> & PackageFields;

/** What became of one server of another format. */
export type Imported = ImportedServer | RefusedServer;

export interface ImportedServer {
	readonly kind: 'server';
	/** SERVER_NAME_PATTERN. */
	readonly name: string;
	/**
	 * `npm` and `pypi` may name no version, a range or a tag, and `image` no tag or `latest`: whoever writes the entry has
	 * it made exact first.
	 */
	readonly entry: EntryFile;
	/** Values that looked like secrets; `entry.secrets` has their names, and no value of theirs is in `entry`. */
	readonly secrets: readonly { readonly name: string; readonly value: string }[];
	/** Sentences for people: what was inferred, and what was left behind and why. */
	readonly notes: readonly string[];
}

/** One that cannot be carried over. */
export interface RefusedServer {
	readonly kind: 'refused';
	/** As the other format has it. */
	readonly name: string;
	/** A sentence without a full stop. */
	readonly reason: string;
	/** What to do about it: a sentence. */
	readonly nextStep: string;
	/** The field of the other format that it is about, if it is about one. */
	readonly field?: string;
}
