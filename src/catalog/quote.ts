import { CATALOG_LIMITS } from '../limits.ts';

/** A text from the file as a message repeats it: in quotes, bounded, and with nothing that moves a terminal. */
export function quote(text: string): string {
	const long = text.length > CATALOG_LIMITS.quotedCharsMax;
	const shown = long ? `${text.slice(0, CATALOG_LIMITS.quotedCharsMax)}…` : text;
	return JSON.stringify(shown).replace(/[\u007f-\u009f\u2028\u2029]/g, '?');
}
