import { quote } from '../quote.ts';
import { isSecretValue } from './secret-like.ts';

/** A text of another format as a message repeats it, which may get into a log: in quotes, and without what looks like a secret. */
export function tell(text: string): string {
	return isSecretValue(text) ? '"…" (not repeated, since it looks like a secret)' : quote(text);
}
