/** What a command line runs, in the words of the catalog. */

/** A package of npm or PyPI, or an image, before anything but its source is judged. */
export type Program = PackageProgram | ImageProgram;

export interface PackageProgram {
	readonly kind: 'npm' | 'pypi';
	/** As the catalog writes it, but perhaps without a version; or a folder with a leading `./`. */
	readonly source: string;
	/** Without extras and version. */
	readonly name: string;
	readonly bin?: string;
	readonly with?: readonly string[];
	readonly args: readonly string[];
	readonly notes: readonly string[];
}

export interface ImageProgram {
	readonly kind: 'image';
	readonly reference: string;
	/** Without tag and digest. */
	readonly name: string;
	/** What follows the image. */
	readonly command: readonly string[];
	/** Undefined: it was to be taken from the environment of whoever runs it. */
	readonly env: readonly (readonly [name: string, value: string | undefined])[];
	readonly volumes: readonly { readonly name: string; readonly target: string }[];
	readonly mounts: readonly { readonly source: string; readonly target: string; readonly readOnly: boolean }[];
	readonly user?: string;
	readonly resources: Readonly<Record<string, string | number>>;
	/** It was to have no network at all. */
	readonly offline: boolean;
	readonly notes: readonly string[];
}
