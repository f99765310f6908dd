/** What may stand in `pypi` and `with`, and what to say of what may not. */
import { posix } from 'node:path';
import { CATALOG_LIMITS } from '../limits.ts';
import type { PypiLocalSource, PypiSource } from './catalog.ts';
import { shortest } from './paths.ts';
import { quote } from './quote.ts';

// As PEP 508 has it. A name begins with a letter or digit, so none is an option of pip or a path.
const NAME = '[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?';
const NUMBER = '(?:0|[1-9][0-9]*)';
// As PEP 440 has it, in its one normal form: an epoch, numbers, and what is before, after, in work or of one place.
const EXACT_VERSION = `(?:${NUMBER}!)?${NUMBER}(?:\\.${NUMBER})*(?:(?:a|b|rc)${NUMBER})?(?:\\.post${NUMBER})?(?:\\.dev${NUMBER})?(?:\\+[a-z0-9]+(?:\\.[a-z0-9]+)*)?`;
const CLAUSE = '(?:===?|!=|~=|<=?|>=?)[A-Za-z0-9.!+*_-]+';

const NAME_PATTERN = new RegExp(`^(${NAME})(?:\\[([^\\[\\]]*)\\])?`);
const EXACT_VERSION_PATTERN = new RegExp(`^${EXACT_VERSION}$`);
const RANGE_PATTERN = new RegExp(`^${CLAUSE}(?:,${CLAUSE})*$`);

/** `name==version` or `name[extra,…]==version`, the version exact. */
const EXACT = `${NAME}(?:\\[${NAME}(?:,${NAME})*\\])?==${EXACT_VERSION}`;
const EXACT_PATTERN = new RegExp(`^${EXACT}$`);

/** A folder, a wheel or a script beside the catalog. */
const LOCAL_PATTERN = /^\.\/[^\u0000-\u001f\u007f]+$/;

/** What an editor holds `pypi` and an item of `with` against. */
export const PYPI_PATTERNS = Object.freeze({ source: `^(?:${EXACT}|\\./.+)$`, with: EXACT_PATTERN.source });

/** A package of the index, its names as PEP 503 normalises them. */
export interface PypiPackage {
	readonly name: string;
	readonly extras: readonly string[];
	/** In a catalog exact. Of a Source that the program makes it may be a range, as in `>=1.2,<2`, or `latest`. */
	readonly version: string;
}

/** The parts of `name[extra]==version`. Undefined when the text is not that. */
export function parsePypi(text: string): PypiPackage | undefined {
	return EXACT_PATTERN.test(text) ? partsOf(text, text.slice(text.lastIndexOf('==') + 2)) : undefined;
}

/**
 * What a person tells uvx or pip: as parsePypi, but the version may be a range, or missing, or stand behind an `@`. Undefined
 * when the text is no package of an index.
 */
export function parsePypiLoosely(text: string): PypiPackage | undefined {
	const bare = text.trim().replace(/\s*([=<>!~,@[\]]+)\s*/g, '$1');
	const rest = bare.slice(NAME_PATTERN.exec(bare)?.[0].length ?? 0);
	const version = rest === '' ? 'latest' : rest.replace(/^(?:@|==)(?=[0-9]+[^,*]*$|latest$)/, '');
	const found = partsOf(bare, version);
	return found === undefined || toRequirement(found) === undefined ? undefined : found;
}

function partsOf(text: string, version: string): PypiPackage | undefined {
	const [, name = '', extras] = NAME_PATTERN.exec(text) ?? [];
	const long =
		name.length > CATALOG_LIMITS.packageNameCharsMax || version.length > CATALOG_LIMITS.packageVersionCharsMax;
	const all = [...new Set(extras?.split(',').map(normaliseName))].sort();
	return long || name === '' ? undefined : { name: normaliseName(name), extras: all, version };
}

/** A package as pip reads it. Undefined when a part of it is not what it has to be, and would be read as something else. */
export function toRequirement({ name, extras, version }: PypiPackage): string | undefined {
	const isName = (text: string): boolean => NAME_PATTERN.exec(text)?.[1] === text;
	const isVersion = version === 'latest' || EXACT_VERSION_PATTERN.test(version) || RANGE_PATTERN.test(version);
	return isVersion && [name, ...extras].every(isName) ? writePypi({ name, extras, version }) : undefined;
}

/** A package as people write it, whatever its parts are. */
export function writePypi({ name, extras, version }: PypiPackage): string {
	const range = /^[0-9]/.test(version) ? `==${version}` : version === 'latest' ? '' : version;
	return `${name}${extras.length === 0 ? '' : `[${extras.join(',')}]`}${range}`;
}

/** How a source is called in the lock, as uvx has it: what else is installed is a part of it, and which program runs is not. */
export function pypiLockKey(source: PypiSource | PypiLocalSource): string {
	const others = (source.with ?? []).map((other) => ` --with ${writePypi(other)}`);
	return `pypi:${source.kind === 'pypi' ? writePypi(source) : source.path}${others.join('')}`;
}

/** PEP 503: `My.Server` and `my_server` are `my-server`. */
export function normaliseName(name: string): string {
	return name.toLowerCase().replace(/[-_.]+/g, '-');
}

/** Why the text is no exact Python package, and what to write instead. For texts that parsePypi refuses. */
export function explainPypi(text: string): string {
	const [head = '', name = '', extras] = NAME_PATTERN.exec(text) ?? [];
	const rest = text.slice(head.length).trim();
	if (name === '' || name.length > CATALOG_LIMITS.packageNameCharsMax || /^[^\s=<>!~@[;]/.test(rest))
		return `${quote(text)} is not the name of a Python package. Write "name==1.2.3" or "name[extra]==1.2.3"`;
	if (extras?.split(',').some((extra) => NAME_PATTERN.exec(extra)?.[0] !== extra) === true || rest.startsWith('['))
		return `the extras of ${quote(text)} are not names. Write them as in "${name}[one,two]==1.2.3"`;
	const version = rest.replace(/^(?:@|===?|~=|!=|[<>]=?)\s*/, '');
	if (/^@/.test(rest) && EXACT_VERSION_PATTERN.test(version))
		return `${quote(text)} is written as uvx has it. Write ${quote(`${head}==${version}`)}`;
	const fix = `Pin one, as in "${head}==1.2.3"; \`pip index versions ${name}\` tells which there are`;
	if (version === '') return `${quote(text)} names no version. ${fix}`;
	if (/^@\s*[a-z+]+:/.test(rest)) return `${quote(text)} is a package by its URL, and not of an index. ${fix}`;
	const normal = version
		.toLowerCase()
		.replace(/^v/, '')
		.replace(/[-_.]?(a|b|rc)[-_.]?(?=\d)/, '$1');
	if (rest.startsWith('==') && normal !== version && EXACT_VERSION_PATTERN.test(normal))
		return `${quote(version)} is not a version as it is written in full. Write ${quote(`${head}==${normal}`)}`;
	return `${quote(rest)} is not an exact version. ${fix}`;
}

/** Whether the text names something beside the catalog, right or wrong. */
export function isPypiLocal(text: string): boolean {
	return /^[./~]/.test(text);
}

/** What is wrong with the path of a package beside the catalog, and what to write instead. Undefined when nothing is. */
export function explainPypiLocal(text: string): string | undefined {
	const example = '"./servers/own", "./servers/own.py" or "./own-1.0-py3-none-any.whl"';
	if (!text.startsWith('./'))
		return `${quote(text)} does not begin with "./". Write a path below the catalog, as in ${example}`;
	if (!LOCAL_PATTERN.test(text)) return 'the path has a control character in it, or nothing after "./". Correct it';
	const path = text.slice(2);
	const short = shortest(path);
	if (posix.normalize(path).split('/')[0] === '..' || short === '.' || short.startsWith('/'))
		return `${quote(text)} is not below the folder of the catalog. Move it there, and write as in ${example}`;
	return path === short ? undefined : `the path is not in its shortest form. Write ${quote(`./${short}`)}`;
}
