/** The options of a program, up to its first word that is none. */

export interface OptionTable {
	/** Those that take a value, in the next word or after `=`. */
	readonly valued: ReadonlySet<string>;
	/** Letters that do so, which may stand together with others: `-itv /a:/b`, `-eA=b`. */
	readonly letters: string;
}

export interface ReadOption {
	/** As in the table: `--env`, `-e`. */
	readonly name: string;
	readonly value?: string;
}

/** The options at the start of the words, and where what follows them begins. */
export function readOptions(
	words: readonly string[],
	{ valued, letters }: OptionTable,
): { options: ReadOption[]; end: number } {
	const options: ReadOption[] = [];
	let at = 0;
	const next = (): { value?: string } => {
		at++;
		const value = words[at];
		return value === undefined ? {} : { value };
	};
	for (; at < words.length; at++) {
		const word = words[at] ?? '';
		if (word === '--') {
			at++;
			break;
		}
		if (!word.startsWith('-') || word === '-') break;
		if (word.startsWith('--')) {
			const equals = word.indexOf('=');
			if (equals !== -1) options.push({ name: word.slice(0, equals), value: word.slice(equals + 1) });
			else options.push({ name: word, ...(valued.has(word) ? next() : {}) });
			continue;
		}
		for (let letter = 1; letter < word.length; letter++) {
			const name = `-${word.charAt(letter)}`;
			if (!letters.includes(word.charAt(letter))) {
				options.push({ name });
				continue;
			}
			const rest = word.slice(letter + 1).replace(/^=/, '');
			options.push({ name, ...(rest === '' ? next() : { value: rest }) });
			break;
		}
	}
	return { options, end: Math.min(at, words.length) };
}
