/** `slipway completion`: what a shell offers when somebody presses Tab, from the table of verbs and the options of each. */
import { loadCatalog } from '../catalog/load.ts';
import { readConfig } from '../config.ts';
import { defineVerb, type Verb } from './verb.ts';

const HELP = `slipway completion <bash | zsh | fish>

Prints what the shell needs to complete verbs, their options and names of servers:

  bash   eval "$(slipway completion bash)"          in ~/.bashrc
  zsh    eval "$(slipway completion zsh)"           in ~/.zshrc, after compinit
  fish   slipway completion fish | source           in ~/.config/fish/config.fish

  --servers   the names that it asks for: the servers of the catalog (SLIPWAY_CATALOG), a line each`;

/** A verb, as the table of main.ts has it. */
export interface Listed {
	readonly does: string;
	/** `<a | b>` are words that may come first; where it has a server, one is named first. */
	readonly takes: string;
	readonly load: () => Promise<((...args: never) => unknown) & { readonly options?: object }>;
}

/** What may stand after a verb. */
interface Completed {
	readonly name: string;
	readonly does: string;
	readonly options: readonly string[];
	readonly words: readonly string[];
	readonly takesServer: boolean;
}

const SHELLS: Readonly<Record<string, (verbs: readonly Completed[]) => string>> = Object.freeze({
	bash: toBash,
	zsh: toZsh,
	fish: toFish,
});

export function completionOf(verbs: Readonly<Record<string, Listed>>): Verb {
	return defineVerb({
		help: HELP,
		options: { servers: { type: 'boolean' } },
		run: async ({ values, positionals }, { environment, print }) => {
			const [shell = '', ...rest] = positionals;
			if (values.servers) {
				if (positionals.length > 0) return 'misused';
				const { servers } = await loadCatalog(readConfig(environment).catalogPath);
				print(values.json ? JSON.stringify({ servers: [...servers.keys()] }) : [...servers.keys()].join('\n'));
				return 0;
			}
			const write = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
			if (write === undefined || rest.length > 0) return 'misused';
			const completed = await Promise.all(Object.entries(verbs).map(([name, listed]) => complete(name, listed)));
			const text = write(completed);
			print(values.json ? JSON.stringify({ shell, text }) : text);
			return 0;
		},
	});
}

async function complete(name: string, { does, takes, load }: Listed): Promise<Completed> {
	const { options = {} } = await load();
	const [, words = ''] = /^<([a-z]+(?: \| [a-z]+)+)>/.exec(takes) ?? [];
	return {
		name,
		does,
		options: Object.keys(options)
			.map((option) => `--${option}`)
			.sort(),
		words: words === '' ? [] : words.split(' | '),
		takesServer: /^[[<]server[\]>]/.test(takes),
	};
}

/** What is offered after a verb: names of servers as its first word alone. */
function casesOf(verbs: readonly Completed[], isFirst: string): string {
	return verbs
		.map(({ name, options, words, takesServer }) => {
			const offered = `words='${[...options, ...words].join(' ')}'`;
			const servers = takesServer ? `; ${isFirst} && words+=" $(slipway completion --servers 2>/dev/null)"` : '';
			return `    ${name}) ${offered}${servers} ;;`;
		})
		.join('\n');
}

function namesOf(verbs: readonly Completed[]): string {
	return verbs.map(({ name }) => name).join(' ');
}

function toBash(verbs: readonly Completed[]): string {
	return `_slipway() {
  local words='${namesOf(verbs)}'
  if [ "$COMP_CWORD" -gt 1 ]; then case "\${COMP_WORDS[1]}" in
${casesOf(verbs, '[ "$COMP_CWORD" -eq 2 ]')}
    *) words='' ;;
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _slipway slipway`;
}

function toZsh(verbs: readonly Completed[]): string {
	return `_slipway() {
  local words_='${namesOf(verbs)}'
  if (( CURRENT > 2 )); then case "\${words[2]}" in
${casesOf(verbs, '(( CURRENT == 3 ))').replaceAll('words=', 'words_=').replaceAll('words+=', 'words_+=')}
    *) words_='' ;;
  esac; fi
  compadd -- \${=words_} || _files
}
compdef _slipway slipway`;
}

function toFish(verbs: readonly Completed[]): string {
	const quote = (text: string): string => `'${text.replaceAll(/[\\']/g, '\\$&')}'`;
	return verbs
		.flatMap(({ name, does, options, words, takesServer }) => {
			const after = `complete -c slipway -n ${quote(`__fish_seen_subcommand_from ${name}`)}`;
			return [
				`complete -c slipway -n __fish_use_subcommand -f -a ${name} -d ${quote(does)}`,
				...options.map((option) => `${after} -l ${option.slice(2)}`),
				...(words.length === 0 ? [] : [`${after} -f -a ${quote(words.join(' '))}`]),
				...(takesServer ? [`${after} -f -a '(slipway completion --servers 2>/dev/null)'`] : []),
			];
		})
		.join('\n');
}
