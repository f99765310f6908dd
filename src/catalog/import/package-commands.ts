/** `npx`, `uvx` and their like: which package, which of its programs, with which arguments. */

import { CATALOG_LIMITS } from '../../limits.ts';
import { isNpmName, isNpmVersion, isPypiRequirement } from '../sources.ts';
import { type OptionTable, readOptions } from './options.ts';
import type { PackageProgram } from './program.ts';
import { Refusal } from './refusal.ts';
import { splitWords } from './shell.ts';
import { tell } from './tell.ts';

const NPX: OptionTable = {
	valued: new Set([
		'--package',
		'--call',
		'--registry',
		'--cache',
		'--prefix',
		'--loglevel',
		'--workspace',
		'--userconfig',
	]),
	letters: 'pcw',
};
/** What says how `npx` is to behave, and nothing of what it is to run. */
const NPX_QUIET: ReadonlySet<string> = new Set(
	'-y --yes -q --quiet --silent -s --no --no-install --prefer-offline --prefer-online --offline --ignore-scripts --bun --loglevel --cache --no-audit --no-fund'.split(
		' ',
	),
);

/** Throws Refusal. */
export function readNpx(words: readonly string[]): PackageProgram {
	const { options, end } = readOptions(words, NPX);
	const packages: string[] = [];
	const notes: string[] = [];
	let rest = words.slice(end);
	for (const { name, value = '' } of options) {
		if (name === '-p' || name === '--package') packages.push(...value.split(',').filter((one) => one !== ''));
		else if (name === '-c' || name === '--call') rest = [...splitWords(value), ...rest];
		else if (!NPX_QUIET.has(name))
			notes.push(`The option ${tell(name)} of npx is left out: it says nothing of what runs in the container.`);
	}
	if (packages.length > 1)
		throw new Refusal(
			`it is made of ${packages.length} packages (${packages.map(tell).join(', ')}), and an entry has one`,
			'Make a folder with a package.json that depends on them, and name it in "npm", as in "./servers/own".',
		);
	const [first, ...args] = rest;
	const [named] = packages;
	if (named === undefined) {
		if (first === undefined)
			throw new Refusal('its command line names no package', 'Write the name of the package after `npx -y`.');
		return npmProgram({ spec: first, args, notes });
	}
	// Without a program npx runs a shell; what is meant is the package's own.
	return npmProgram({ spec: named, args, notes, ...(first === undefined ? {} : { bin: first }) });
}

/** A package of npm as command lines name it. Throws Refusal. */
export function npmProgram({
	spec,
	bin,
	args,
	notes,
}: {
	readonly spec: string;
	readonly bin?: string;
	readonly args: readonly string[];
	readonly notes: readonly string[];
}): PackageProgram {
	const local = localSource(spec.replace(/^file:/, ''));
	if (local !== undefined) {
		const named = bin === undefined ? {} : { bin };
		return { kind: 'npm', source: local, name: local, args, notes: [...notes, LOCAL_NOTE], ...named };
	}
	const at = spec.indexOf('@', 1);
	const name = at === -1 ? spec : spec.slice(0, at);
	const version = at === -1 ? '' : spec.slice(at + 1);
	if (!isNpmName(name) || (version !== '' && !isNpmVersion(version)))
		throw new Refusal(
			`${tell(spec)} is not a package of the npm registry`,
			'Publish it, or put its folder below that of the catalog and name it in "npm", as in "./servers/own".',
		);
	// The program of the package's own name is what runs anyway.
	const own = bin === undefined || bin === name || bin === name.split('/').at(-1);
	return { kind: 'npm', source: version === '' ? name : spec, name, args, notes, ...(own ? {} : { bin }) };
}

const UVX: OptionTable = {
	valued: new Set(
		'--from --with --with-editable --with-requirements --python --index --default-index --index-url --extra-index-url --find-links --prerelease --resolution --directory --project --env-file --refresh-package --reinstall-package --upgrade-package --exclude-newer --keyring-provider --config-file --cache-dir --color --link-mode --constraints --overrides --python-platform --spec --pip-args --extra --group --suffix'.split(
			' ',
		),
	),
	letters: 'pwcifPC',
};
const UVX_QUIET: ReadonlySet<string> = new Set(
	'-q --quiet --verbose -v --no-cache -n --isolated --refresh --offline --native-tls --no-progress --no-python-downloads --cache-dir --color --link-mode --system --upgrade -U --no-project --force -y --yes --no-config --managed-python'.split(
		' ',
	),
);

/** `uvx`, `uv tool run`, `uv run --with` and `pipx run`. Throws Refusal. */
export function readUvx(words: readonly string[]): PackageProgram {
	const { options, end } = readOptions(words, UVX);
	const [script, ...args] = words.slice(end);
	let from: string | undefined;
	const beside: string[] = [];
	const notes: string[] = [];
	for (const { name, value = '' } of options) {
		if (name === '--from' || name === '--spec') from = value;
		else if (name === '--with' || name === '-w') beside.push(...splitRequirements(value));
		else if (name === '--python' || name === '-p')
			notes.push(`It asks for Python ${tell(value)}, and gets the one that every Python package has here.`);
		else if (
			name === '--directory' ||
			name === '--project' ||
			name === '--with-editable' ||
			name === '--with-requirements'
		)
			throw localPython(value);
		else if (!UVX_QUIET.has(name))
			notes.push(`The option ${tell(name)} of uvx is left out: it says nothing of what runs in the container.`);
	}
	if (script === undefined && from === undefined)
		throw new Refusal('its command line names no package', 'Write the name of the package after `uvx`.');
	const wanted = pypiRequirement(from ?? script ?? '');
	const local = wanted.name.startsWith('./');
	const bin =
		from === undefined || script === undefined || (!local && isSame(script, wanted.name)) ? undefined : script;
	return {
		kind: 'pypi',
		...wanted,
		args,
		notes: local ? [...notes, LOCAL_NOTE] : notes,
		...(bin === undefined ? {} : { bin }),
		...(beside.length === 0 ? {} : { with: beside.map((one) => pypiRequirement(one).source) }),
	};
}

/**
 * `uv run`: a project or a script of a folder, which is not there, unless packages are named with which a program of one of
 * them is run. Throws Refusal.
 */
export function readUvRun(words: readonly string[]): PackageProgram {
	const { options, end } = readOptions(words, { ...UVX, valued: new Set([...UVX.valued, '--module', '-m']) });
	const [program, ...args] = words.slice(end);
	const beside = options.filter(({ name }) => name === '--with').flatMap(({ value = '' }) => splitRequirements(value));
	const local = [program, ...args].find((word) => word !== undefined && /\.py(?:w|:.*)?$/.test(word));
	const [first] = beside;
	if (local !== undefined || first === undefined || program === undefined || program.startsWith('python'))
		throw localPython(local ?? program ?? 'uv run');
	const others = options.filter(({ name }) => name !== '--with');
	const named = beside.find((one) => isSame(program, pypiRequirement(one).name)) ?? first;
	return readUvx([
		...others.flatMap(({ name, value }) => (value === undefined ? [name] : [name, value])),
		...beside.filter((one) => one !== named).flatMap((one) => ['--with', one]),
		'--from',
		named,
		program,
		...args,
	]);
}

const LOCAL_NOTE =
	'Its source is a folder, read from below the folder of the catalog: put it there, since relative paths start from that.';

export function localPython(what: string): Refusal {
	return new Refusal(
		`it runs a program of a folder of the machine (${tell(what)})`,
		'Put the folder, with its pyproject.toml, below that of the catalog and name it in "pypi", as in "./servers/own"; or name the published package: `uvx <package>`.',
	);
}

/** A folder as the catalog names it; undefined when the text is none. Throws Refusal where it is elsewhere. */
function localSource(spec: string): string | undefined {
	if (/^\.\/[A-Za-z0-9]/.test(spec) && !/(?:^|\/)\.\.(?:\/|$)/.test(spec)) return spec.replace(/\/+$/, '');
	if (!/^(?:[.~/\\]|[A-Za-z]:[\\/])/.test(spec)) return undefined;
	throw new Refusal(
		`its package is a folder of the machine (${tell(spec)})`,
		'Put the folder below that of the catalog, and write its path from there, as in "./servers/own".',
	);
}

/** A requirement as the catalog writes it: `name[extra]==1.2.3`, or less. Throws Refusal. */
function pypiRequirement(text: string): { source: string; name: string } {
	const local = localSource(text);
	if (local !== undefined) return { source: local, name: local };
	// uvx takes an @ for the version, as npx does.
	const found = /^([^@\s]+)@([^@\s]+)$/.exec(text);
	const written = found === null ? text : `${found[1]}${found[2] === 'latest' ? '' : `==${found[2]}`}`;
	if (!isPypiRequirement(written))
		throw new Refusal(
			`${tell(text)} is not a package of PyPI`,
			'Publish it, or put its folder below that of the catalog and name it in "pypi", as in "./servers/own".',
		);
	return { source: written.replace(/\s+/g, ''), name: /^[A-Za-z0-9._-]+/.exec(written)?.[0] ?? written };
}

/** `a,b[c,d]`: commas in brackets part nothing. */
function splitRequirements(text: string): string[] {
	if (text.length > CATALOG_LIMITS.pathCharsMax)
		throw new Refusal('its list of packages is too long', 'Make an image that has them.');
	return text
		.split(/,(?![^[]*\])/)
		.map((one) => one.trim())
		.filter((one) => one !== '');
}

/** Whether two names are one to PyPI. */
function isSame(one: string, other: string): boolean {
	const plain = (name: string): string => name.toLowerCase().replace(/[-_.]+/g, '-');
	return plain(one) === plain(other);
}
