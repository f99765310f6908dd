/** Where a server wanted to go, by what it wrote to stderr when it could not. */
import { explainEgress } from '../catalog/egress.ts';

// Bounded everywhere: it is a server's own text that is looked through.
const HOST = '([a-z0-9.-]{1,253})';

/** How Node, Python, Go and curl say that a host cannot be reached. */
const COMPLAINTS: readonly RegExp[] = [
	new RegExp(`\\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH) ${HOST}(?::(\\d{1,5}))?`, 'gi'),
	new RegExp(`\\bhost='${HOST}', ?port=(\\d{1,5})`, 'gi'),
	new RegExp(`\\b(?:could not resolve(?: host)?|failed to resolve):? '?${HOST}`, 'gi'),
	new RegExp(`\\blookup ${HOST}(?: on \\S{1,100})?:`, 'gi'),
];
const ADDRESS = new RegExp(`https?://${HOST}(?::(\\d{1,5}))?`, 'gi');
const FAILURE = /\b(?:failed|error|refused|unreachable)\b/i;

/** Lines of `egress` that would have let it, none twice. */
export function hostsWanted(stderr: string): string[] {
	const lines = stderr.split('\n');
	const found = lines.flatMap((line) => {
		const patterns = FAILURE.test(line) ? [...COMPLAINTS, ADDRESS] : COMPLAINTS;
		return patterns.flatMap((pattern) => [...line.matchAll(pattern)]);
	});
	const wanted = found.map(([, host = '', port = '443']) => `${host.toLowerCase().replace(/\.+$/, '')}:${port}`);
	return [...new Set(wanted)].filter((line) => explainEgress(line) === undefined);
}
