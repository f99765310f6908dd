/** What all verbs have in common: options, `--help`, `--json`, and what is said where they were used otherwise. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { SlipwayError } from '../errors.ts';
import { failureOf } from './failure.ts';
import type { Invocation } from './invocation.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

const COMMON = { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;

/** What was said on the command line. */
export interface Asked<Own extends Options = Record<never, never>> {
	readonly values: ReturnType<typeof parseArgs<{ options: Own & typeof COMMON; allowPositionals: true }>>['values'];
	readonly positionals: readonly string[];
}

export interface VerbDefinition<Own extends Options> {
	readonly help: string;
	/** Beside `--json` and `--help`. */
	readonly options?: Own;
	/** Whether all from the first word that is no option on belongs to another program, options of that among it. */
	readonly takesCommand?: true;
	/** `misused`: what was said makes no sense, and the help is shown. */
	readonly run: (asked: Asked<Own>, invocation: Invocation) => Promise<0 | 1 | 'misused'>;
}

export interface Verb {
	(invocation: Invocation): Promise<0 | 1 | 2>;
	/** All that it takes, for those who list them. */
	readonly options: Readonly<Record<string, unknown>>;
}

/** A verb. Where it fails, main.ts says so to people, and with `--json` standard output has the same for programs. */
export function defineVerb<const Own extends Options = Record<never, never>>(definition: VerbDefinition<Own>): Verb {
	const verb = async (invocation: Invocation): Promise<0 | 1 | 2> => {
		const { help, run } = definition;
		const { print, err, stopping } = invocation;
		let asked: Asked<Own>;
		try {
			asked = parse(definition, invocation.args);
		} catch (error) {
			if (!isMisuse(error)) throw error;
			err.write(`slipway: ${error.message}\n\n${help}\n`);
			return 2;
		}
		const { help: wantsHelp, json } = asked.values as { readonly help?: boolean; readonly json?: boolean };
		if (wantsHelp === true) {
			print(help);
			return 0;
		}
		try {
			const outcome = await run(asked, invocation);
			if (outcome !== 'misused') return outcome;
			print(help);
			return 2;
		} catch (error) {
			if (stopping.aborted) {
				err.write('slipway: broken off.\n');
				return 1;
			}
			if (json === true && error instanceof SlipwayError) print(JSON.stringify(failureOf(error)));
			throw error;
		}
	};
	return Object.assign(verb, { options: { ...definition.options, ...COMMON } });
}

function parse<Own extends Options>(
	{ options, takesCommand }: VerbDefinition<Own>,
	args: readonly string[],
): Asked<Own> {
	const all = { ...options, ...COMMON } as Own & typeof COMMON;
	const end = takesCommand === true ? findCommand(args, all) : args.length;
	const { values, positionals } = parseArgs({ args: args.slice(0, end), allowPositionals: true, options: all });
	const rest = args.slice(end);
	return { values, positionals: [...positionals, ...(rest[0] === '--' ? rest.slice(1) : rest)] };
}

/** Where the words of another program begin. */
function findCommand(args: readonly string[], options: Options): number {
	const { tokens } = parseArgs({ args: [...args], allowPositionals: true, strict: false, tokens: true, options });
	const first = tokens.find(({ kind }) => kind !== 'option');
	return first?.index ?? args.length;
}

function isMisuse(error: unknown): error is TypeError {
	return error instanceof TypeError && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
