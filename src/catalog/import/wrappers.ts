/** Programs that only run another: shells, `env`, `cmd /c`. What they run is what counts. */
import { IMPORT_LIMITS } from '../../limits.ts';
import { Refusal } from './refusal.ts';
import { splitWords } from './shell.ts';
import { tell } from './tell.ts';

const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]*)$/;
const SHELLS: ReadonlySet<string> = new Set(['sh', 'bash', 'zsh', 'dash', 'ash', 'fish']);
/** Those that take the command as it is, after their options. */
const PLAIN: ReadonlySet<string> = new Set(['exec', 'command', 'nohup', 'wsl', 'sudo', 'start']);

export interface Unwrapped {
	readonly words: readonly string[];
	/** What was set on the way, the last word of each name. */
	readonly env: Readonly<Record<string, string>>;
}

/** The name of a program without its folder and what Windows ends it with: of `C:\…\npx.cmd` it is `npx`. */
export function programOf(word: string): string {
	const name = word.split(/[\\/]/).at(-1) ?? '';
	return name.toLowerCase().replace(/\.(?:exe|cmd|bat|ps1)$/, '');
}

/** Takes wrappers off the front of a command line. Throws Refusal. */
export function unwrap(words: readonly string[]): Unwrapped {
	const env = new Map<string, string>();
	let rest = words;
	for (let depth = 0; depth < IMPORT_LIMITS.wrappersMax; depth++) {
		rest = takeAssignments(rest, env);
		const [program = '', ...args] = rest;
		const name = programOf(program);
		const inner = SHELLS.has(name)
			? ofShell(args)
			: name === 'env'
				? ofEnv(args)
				: name === 'cmd'
					? ofCmd(args)
					: name === 'powershell' || name === 'pwsh'
						? ofPowershell(args)
						: PLAIN.has(name)
							? args.slice(args.findIndex((arg) => !arg.startsWith('-')))
							: undefined;
		if (inner === undefined) return { words: rest, env: Object.fromEntries(env) };
		rest = inner;
	}
	throw new Refusal(
		'its command line is made of too many commands in each other',
		'Write the command of the server alone.',
	);
}

function takeAssignments(words: readonly string[], env: Map<string, string>): readonly string[] {
	let at = 0;
	for (let found = ASSIGNMENT.exec(words[at] ?? ''); found !== null; found = ASSIGNMENT.exec(words[at] ?? '')) {
		env.set(found[1] ?? '', found[2] ?? '');
		at++;
	}
	return words.slice(at);
}

function ofShell(args: readonly string[]): readonly string[] {
	const at = args.findIndex((arg) => /^-[a-z]*c$/.test(arg));
	const line = args[at + 1];
	if (at === -1 || line === undefined)
		throw new Refusal(
			`it runs a script of the machine (${tell(args.find((arg) => !arg.startsWith('-')) ?? 'a shell')})`,
			'Write the command that the script runs, or make an image that has it.',
		);
	return splitWords(line);
}

function ofEnv(args: readonly string[]): readonly string[] {
	let at = 0;
	for (; args[at]?.startsWith('-'); at++) {
		if (args[at] === '-u' || args[at] === '-C') at++;
		if (args[at] === '-S') return splitWords(args.slice(at + 1).join(' '));
	}
	return args.slice(at);
}

function ofCmd(args: readonly string[]): readonly string[] {
	const at = args.findIndex((arg) => /^\/[ck]$/i.test(arg));
	const rest = args.slice(at + 1);
	// Either words, or all of them in one.
	return rest.length === 1 ? (rest[0] ?? '').split(/\s+/).filter((word) => word !== '') : rest;
}

function ofPowershell(args: readonly string[]): readonly string[] {
	const at = args.findIndex((arg) => /^-c(?:ommand)?$/i.test(arg));
	if (at === -1) throw new Refusal('it runs a script of PowerShell', 'Write the command that the script runs.');
	return splitWords(
		args
			.slice(at + 1)
			.join(' ')
			.replaceAll('\\', '\\\\'),
	);
}
