/** What may stand in `npm` and `image`, and what to say of what may not. */
import { CATALOG_LIMITS } from '../limits.ts';
import { shortest } from './paths.ts';
import { quote } from './quote.ts';

const NUMBER = '(?:0|[1-9][0-9]*)';
const PRERELEASE_PART = '(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)';
// Build metadata (`+…`) is left out: the registry drops it, so no published version has any.
const EXACT_VERSION = `${NUMBER}\\.${NUMBER}\\.${NUMBER}(?:-${PRERELEASE_PART}(?:\\.${PRERELEASE_PART})*)?`;

// A leading dot would be a path and a leading hyphen an option of npm, so neither is let in.
const PACKAGE_NAME = '(?:@[a-z0-9~_-][a-z0-9._~-]*/[a-z0-9~_-][a-z0-9._~-]*|[a-z0-9~][a-z0-9._~-]*)';
const PACKAGE_NAME_PATTERN = new RegExp(`^${PACKAGE_NAME}$`);

/** `name@version`, the version exact. */
export const NPM_PATTERN = new RegExp(`^${PACKAGE_NAME}@${EXACT_VERSION}$`);

// As Docker reads it: the part before the first slash is a registry only with a dot, a port or as `localhost`.
const HOST_LABEL = '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?';
const HOST = `(?:localhost|${HOST_LABEL}(?:\\.${HOST_LABEL})+|\\[[0-9A-Fa-f:]+\\])`;
const REGISTRY = `(?:(?:${HOST}(?::[0-9]{1,5})?|${HOST_LABEL}:[0-9]{1,5})/)?`;
const PATH_PART = '[a-z0-9]+(?:(?:[.]|_{1,2}|-+)[a-z0-9]+)*';
const REPOSITORY = `${REGISTRY}${PATH_PART}(?:/${PATH_PART})*`;
const TAG = '[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}';
const DIGEST = 'sha256:[0-9a-f]{64}';

const ANY_IMAGE_PATTERN = new RegExp(`^(${REPOSITORY})(?::(${TAG}))?(?:@(${DIGEST}))?$`);

/** An image reference that says which image: by digest, or by a tag other than `latest`. */
export const IMAGE_PATTERN = new RegExp(`^${REPOSITORY}(?:(?::${TAG})?@${DIGEST}|:(?!latest$)${TAG})$`);

/** Whether the text is the name of an npm package. */
export function isPackageName(text: string): boolean {
	return PACKAGE_NAME_PATTERN.test(text) && text.length <= CATALOG_LIMITS.packageNameCharsMax;
}

/** A folder or an archive beside the catalog: what starts so is none of a registry. */
const LOCAL_PREFIX = './';

/** What may stand in `npm`: `name@version`, or a path. */
export const NPM_FIELD_PATTERN = new RegExp(`${NPM_PATTERN.source}|^\\./.`);

/** Names of Debian packages. apt takes a hyphen at the end for the wish to remove one. */
export const SYSTEM_PACKAGE_PATTERN = /^[a-z0-9][a-z0-9+.-]*[a-z0-9+.]$/;

/** Names of binaries, as npm and Python have them. */
export const BIN_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;

/** Whether the text means a package beside the catalog. */
export function isLocal(text: string): boolean {
	return text.startsWith(LOCAL_PREFIX);
}

/** What is wrong with the path of a package beside the catalog, and what to write instead. Undefined when nothing is. */
export function explainLocal(text: string): string | undefined {
	if (text.length > CATALOG_LIMITS.pathCharsMax)
		return `is too long. Keep it to ${CATALOG_LIMITS.pathCharsMax} characters`;
	const path = text.slice(LOCAL_PREFIX.length);
	if (/[\u0000-\u001f\u007f]/.test(path)) return 'the path has a control character in it. Remove it';
	const short = shortest(path);
	if (short === '..' || short.startsWith('../') || short.startsWith('/'))
		return `${quote(text)} leaves the folder of the catalog. Move the package there, as in "./servers/own"`;
	if (path === '' || short === '.')
		return `${quote(text)} is the catalog's own folder. Name one in it, as in "./servers/own"`;
	return path === short ? undefined : `the path is not in its shortest form. Write ${quote(LOCAL_PREFIX + short)}`;
}

/** The two halves of `name@version`. Undefined when the text is not that. */
export function parseNpm(text: string): { readonly name: string; readonly version: string } | undefined {
	if (!NPM_PATTERN.test(text)) return undefined;
	const at = text.lastIndexOf('@');
	const name = text.slice(0, at);
	const version = text.slice(at + 1);
	const long =
		name.length > CATALOG_LIMITS.packageNameCharsMax || version.length > CATALOG_LIMITS.packageVersionCharsMax;
	return long ? undefined : { name, version };
}

/** Why the text is no npm package to be run, and what to write instead. Undefined when it is one. */
export function explainNpm(text: string): string | undefined {
	if (isLocal(text)) return explainLocal(text);
	if (parseNpm(text) !== undefined) return undefined;
	// The scope's own @ is at 0.
	const at = text.indexOf('@', 1);
	const name = at === -1 ? text : text.slice(0, at);
	if (!isPackageName(name)) {
		return `${quote(name)} is not the name of an npm package. Write "name@version" or "@scope/name@version", in lower case`;
	}
	const fix = `Pin one, as in "${name}@1.2.3"; \`npm view ${name} version\` tells the newest`;
	if (at === -1 || at === text.length - 1) return `${quote(text)} names no version. ${fix}`;
	return `${quote(text.slice(at + 1))} is not an exact version. ${fix}`;
}

/** Why the text is no pinned image reference, and what to write instead. For texts that IMAGE_PATTERN refuses. */
export function explainImage(text: string): string {
	const found = ANY_IMAGE_PATTERN.exec(text);
	if (found === null) {
		return `${quote(text)} is not an image reference. Write "name:tag" or "registry.example/path/name:tag@sha256:<64 hex digits>", the name in lower case`;
	}
	const what = found[2] === undefined ? `${quote(text)} names no tag or digest` : `the tag "latest" moves`;
	return `${what}. Name a tag other than latest, or a digest, as in "${found[1] ?? ''}:1.2.3" or "…@sha256:<64 hex digits>"`;
}

/** Whether the text is the name of an npm package. */
export function isNpmName(text: string): boolean {
	return PACKAGE_NAME_PATTERN.test(text) && text.length <= CATALOG_LIMITS.packageNameCharsMax;
}

/** Whether the text is a version, a range or a tag of a package of the npm registry, and nothing else that npm would read. */
export function isNpmVersion(text: string): boolean {
	return (
		/^[\^~<>=]*[A-Za-z0-9][A-Za-z0-9.+*^~<>=| -]*$|^\*$/.test(text) &&
		text.length <= CATALOG_LIMITS.packageVersionCharsMax
	);
}

/** Whether the text names a package of PyPI: perhaps with extras, and with versions. Markers, URLs and options it has none. */
export function isPypiRequirement(text: string): boolean {
	return (
		text.length <= CATALOG_LIMITS.packageNameCharsMax + CATALOG_LIMITS.packageVersionCharsMax &&
		/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?(?:\[[A-Za-z0-9._, -]*\])?(?:\s*(?:==|>=|<=|~=|!=|<|>)\s*[A-Za-z0-9.*+!_-]+(?:\s*,\s*(?:==|>=|<=|~=|!=|<|>)\s*[A-Za-z0-9.*+!_-]+)*)?$/.test(
			text,
		)
	);
}

/** The parts of a reference to an image; undefined when the text is none. */
export function parseImage(
	text: string,
): { readonly repository: string; readonly tag?: string; readonly digest?: string } | undefined {
	const [, repository, tag, digest] = ANY_IMAGE_PATTERN.exec(text) ?? [];
	if (repository === undefined || text.length > CATALOG_LIMITS.imageReferenceCharsMax) return undefined;
	return { repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}
