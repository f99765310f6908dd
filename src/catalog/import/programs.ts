/** Which program a command line runs, whoever runs it. */

import { readDocker } from './docker-command.ts';
import { localPython, npmProgram, readNpx, readUvRun, readUvx } from './package-commands.ts';
import type { Program } from './program.ts';
import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';
import { MODULES } from './well-known.ts';
import { programOf } from './wrappers.ts';

/** The program that the words run, wrappers taken off. Throws Refusal. */
export function readProgram(words: readonly string[]): Program {
	const [command = '', ...args] = words;
	const [verb = '', ...rest] = args;
	switch (programOf(command)) {
		case '':
			throw new Refusal('it has no command', 'Write the command line that starts the server.');
		case 'npx':
		case 'pnpx':
		case 'bunx':
			return readNpx(args);
		case 'npm':
			if (verb === 'exec' || verb === 'x') return readNpx(rest);
			throw localNode(`npm ${verb}`);
		case 'pnpm':
		case 'yarn':
			if (verb === 'dlx') return readNpx(rest);
			throw localNode(`${programOf(command)} ${verb}`);
		case 'bun':
			if (verb === 'x') return readNpx(rest);
			throw localNode(args.join(' '));
		case 'deno': {
			const spec = args.find((arg) => arg.startsWith('npm:'));
			if (spec === undefined) throw localNode(args.join(' '));
			return npmProgram({
				spec: spec.slice('npm:'.length).replace(/^\//, ''),
				args: args.slice(args.indexOf(spec) + 1),
				notes: ['It runs on Node here, and not on Deno.'],
			});
		}
		case 'node':
		case 'nodejs':
		case 'tsx':
		case 'ts-node':
			throw localNode(args.find((arg) => !arg.startsWith('-')) ?? programOf(command));
		case 'uvx':
			return readUvx(args);
		case 'uv':
			return readUv(args);
		case 'pipx':
			if (verb === 'run') return readUvx(rest);
			throw localPython(`pipx ${verb}`);
		case 'docker':
		case 'podman':
		case 'nerdctl':
			return readDocker(args);
		default:
			return /^(?:python|pypy)[\d.]*w?$|^py$/.test(programOf(command)) ? readPython(args) : refuseProgram(command);
	}
}

/** `uv` with options of its own before the verb. Throws Refusal. */
function readUv(args: readonly string[]): Program {
	const folder = args.findIndex((arg) => /^--(?:directory|project)(?:=|$)/.test(arg));
	const at = args.findIndex((arg) => arg === 'run' || arg === 'tool' || arg === 'x');
	if (at === -1) throw localPython(`uv ${args[0] ?? ''}`);
	if (folder !== -1) throw localPython(args[folder]?.split('=')[1] ?? args[folder + 1] ?? 'uv');
	if (args[at] === 'tool') return readUvx(args.slice(at + (args[at + 1] === 'run' ? 2 : 1)));
	return args[at] === 'x' ? readUvx(args.slice(at + 1)) : readUvRun(args.slice(at + 1));
}

function readPython(args: readonly string[]): Program {
	const at = args.indexOf('-m');
	const module = at === -1 ? undefined : args[at + 1];
	if (module === undefined) throw localPython(args.find((arg) => !arg.startsWith('-')) ?? 'python');
	const name = Object.hasOwn(MODULES, module) ? MODULES[module] : undefined;
	if (name === undefined)
		throw new Refusal(
			`it runs the Python module ${tell(module)}, and which package that is in cannot be known`,
			'Write `uvx <package>`, or `uvx --from <package> <program>`, with the name that the package has on PyPI.',
		);
	return readUvx([name, ...args.slice(at + 2)]);
}

function localNode(what: string): Refusal {
	return new Refusal(
		`it runs a program of a folder of the machine (${tell(what)})`,
		'Put the folder, with a package.json that has a "bin", below that of the catalog and name it in "npm", as in "./servers/own"; or name the published package: `npx -y <package>`.',
	);
}

function refuseProgram(command: string): never {
	throw new Refusal(
		`${tell(command)} is a program of the machine, and a container has none of it`,
		'Make an image that has the program, and write `docker run -i --rm <image>`.',
	);
}
