/** A command line as shells read it, as far as it is one command and nothing else. */

import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

const OPERATORS = /[;&|<>()`\n]/;

/**
 * The words of one command. Nothing of it is ever run by a shell, so what only a shell could do is refused.
 *
 * Throws Refusal.
 */
export function splitWords(line: string): string[] {
	const words: string[] = [];
	let word: string | undefined;
	let mark = '';
	for (let at = 0; at < line.length; at++) {
		const char = line.charAt(at);
		if (mark === "'") {
			if (char === mark) mark = '';
			else word += char;
		} else if (char === '\\' && (mark === '' || /["\\$`\n]/.test(line.charAt(at + 1)))) {
			at++;
			// A line that goes on in the next.
			if (line.charAt(at) !== '\n') word = (word ?? '') + line.charAt(at);
		} else if (char === '"' || (char === "'" && mark === '')) {
			mark = mark === char ? '' : char;
			word ??= '';
		} else if (mark === '' && /\s/.test(char) && char !== '\n') {
			if (word !== undefined) words.push(word);
			word = undefined;
		} else if (char === '`' || (mark === '' && OPERATORS.test(char))) {
			throw new Refusal(
				`its command line is more than one command, or a shell's own (${tell(char)})`,
				'Write the command of the server alone.',
			);
		} else word = (word ?? '') + char;
	}
	if (mark !== '') throw new Refusal(`its command line lacks a closing ${mark}`, 'Close the quotation marks.');
	if (word !== undefined) words.push(word);
	return words;
}
