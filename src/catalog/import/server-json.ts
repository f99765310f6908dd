/** A `server.json` of the official registry: packages, of which one that speaks on stdio is taken. */
import { CATALOG_LIMITS } from '../../limits.ts';
import { readDocker } from './docker-command.ts';
import { type Fields, fieldsOf, listOf, proseOf, textOf } from './fields.ts';
import { type Launch, remote } from './launch.ts';
import { nameOfPackage } from './names.ts';
import { readNpx, readUvx } from './package-commands.ts';
import type { Program } from './program.ts';
import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

const KINDS: ReadonlySet<string> = new Set(['npm', 'pypi', 'oci']);

/** @throws Refusal */
export function serverJsonLaunch(server: Fields): Launch {
	const name = nameOfPackage(textOf(server, 'name') ?? 'server');
	const packages = listOf(server, 'packages');
	const chosen = packages.find((one) => isStdio(one) && KINDS.has(registryOf(one)));
	if (chosen === undefined) throw refuseAll(server, packages);
	const notes: string[] = [];
	const variables: Record<string, string> = {};
	for (const variable of listOf(chosen, 'environmentVariables').concat(listOf(chosen, 'environment_variables')))
		readVariable(variable, { variables, notes });
	const program = programOf(chosen, notes);
	const title = proseOf(server, 'title', CATALOG_LIMITS.titleCharsMax);
	const description = proseOf(server, 'description', CATALOG_LIMITS.descriptionCharsMax);
	return {
		name,
		words: [],
		env: variables,
		program: { ...program, notes: [...program.notes, ...notes] },
		more: { ...(title === undefined ? {} : { title }), ...(description === undefined ? {} : { description }) },
	};
}

function programOf(chosen: Fields, notes: string[]): Program {
	const identifier = textOf(chosen, 'identifier') ?? textOf(chosen, 'name') ?? '';
	const version = textOf(chosen, 'version') ?? '';
	const before = flagged(chosen, ['runtimeArguments', 'runtime_arguments']).flatMap((one) => argumentOf(one, notes));
	const after = listOf(chosen, 'packageArguments')
		.concat(listOf(chosen, 'package_arguments'))
		.flatMap((one) => argumentOf(one, notes));
	switch (registryOf(chosen)) {
		case 'npm':
			return readNpx([...before, version === '' ? identifier : `${identifier}@${version}`, ...after]);
		case 'pypi':
			return readUvx([...before, version === '' ? identifier : `${identifier}==${version}`, ...after]);
		default: {
			const whole = version === '' || /[:@][^/]*$/.test(identifier);
			return readDocker(['run', ...before, whole ? identifier : `${identifier}:${version}`, ...after]);
		}
	}
}

/** Older forms of the file have other words for the same. */
function registryOf(one: Fields): string {
	const said = textOf(one, 'registryType') ?? textOf(one, 'registry_type') ?? textOf(one, 'registry_name') ?? '';
	return said === 'docker' ? 'oci' : said.toLowerCase();
}

function isStdio(one: Fields): boolean {
	const type = fieldsOf(one['transport'])?.['type'];
	return type === undefined || type === 'stdio';
}

function refuseAll(server: Fields, packages: readonly Fields[]): Refusal {
	const url = listOf(server, 'remotes')
		.map((one) => one['url'])
		.find((one) => typeof one === 'string');
	if (packages.length === 0 && typeof url === 'string') return remote(url);
	const kinds = packages.map((one) => `${registryOf(one)}${isStdio(one) ? '' : ' over HTTP'}`);
	return new Refusal(
		`it is published as ${kinds.length === 0 ? 'no package' : kinds.map(tell).join(', ')}, and not as one of npm, pypi or oci that speaks on stdio`,
		'Make an image that has it, and write `slipway add -- docker run -i --rm <image>`.',
		'packages',
	);
}

/** Options of what starts a package stand there without a value when they take none: `-y`, `--rm`. */
function flagged(chosen: Fields, fields: readonly string[]): Fields[] {
	return fields
		.flatMap((field) => listOf(chosen, field))
		.map((one) => (textOf(one, 'type') === 'named' ? { value: one['default'] ?? '', ...one } : one));
}

function argumentOf(argument: Fields, notes: string[]): readonly string[] {
	const isNamed = textOf(argument, 'type') === 'named';
	const name = textOf(argument, 'name') ?? '';
	const value = givenIn(argument);
	const label = isNamed ? name : (textOf(argument, 'valueHint') ?? textOf(argument, 'value_hint') ?? name);
	if (value !== undefined) return isNamed ? (value === '' ? [name] : [name, value]) : [value];
	if (argument['isRequired'] !== true && argument['is_required'] !== true) {
		notes.push(`The argument ${tell(label)} may be said and is not: add it to "args" if the server is to have it.`);
		return [];
	}
	throw new Refusal(
		`it needs the argument ${tell(label)}, which is not in the text`,
		'Write its "value" there, or `slipway add` the command line with it.',
		'packages',
	);
}

/** A value with its `{variables}` filled in. What a person has to give stands there as a reference. */
function givenIn(input: Fields): string | undefined {
	const said = textOf(input, 'value') ?? textOf(input, 'default');
	const variables = fieldsOf(input['variables']) ?? {};
	return said?.replace(/\{([A-Za-z_][A-Za-z0-9_-]*)\}/g, (whole: string, key: string) => {
		const variable = Object.hasOwn(variables, key) ? fieldsOf(variables[key]) : undefined;
		if (variable === undefined) return whole;
		return textOf(variable, 'value') ?? textOf(variable, 'default') ?? `\${${key}}`;
	});
}

function readVariable(
	variable: Fields,
	{ variables, notes }: { readonly variables: Record<string, string>; readonly notes: string[] },
): void {
	const name = textOf(variable, 'name') ?? '';
	const value = givenIn(variable);
	const isSecret = variable['isSecret'] === true || variable['is_secret'] === true;
	const isRequired = variable['isRequired'] === true || variable['is_required'] === true;
	if (value !== undefined && !isSecret) variables[name] = value;
	else if (isRequired) variables[name] = `\${${name}}`;
	else
		notes.push(
			`The variable ${tell(name)} may be said and is not: add it to "${isSecret ? 'secrets' : 'env'}" if the server is to have it.`,
		);
}
