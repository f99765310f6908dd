/** Where a server wanted to go, by what it wrote to stderr when it could not. */
import { explainEgress } from '../catalog/egress.ts';

const HOST = '([a-z0-9][a-z0-9.-]*\\.[a-z][a-z0-9-]*)';

/** How Node, Python, Go and curl say that a host cannot be reached. */
const COMPLAINTS: readonly RegExp[] = [
	new RegExp(`\\b(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH)\\s+${HOST}(?::(\\d+))?`, 'gi'),
	new RegExp(`\\bhost='${HOST}',\\s*port=(\\d+)`, 'gi'),
	new RegExp(`\\b(?:could not resolve(?: host)?|failed to resolve):?\\s+'?${HOST}`, 'gi'),
	new RegExp(`\\blookup\\s+${HOST}(?:\\s+on\\s+\\S+)?:`, 'gi'),
	new RegExp(`https?://${HOST}(?::(\\d+))?[^\\s]*.{0,80}\\b(?:failed|error|refused|unreachable)`, 'gi'),
];

/** Lines of `egress` that would have let it, none twice. */
export function hostsWanted(stderr: string): string[] {
	const lines = COMPLAINTS.flatMap((pattern) =>
		[...stderr.matchAll(pattern)].map(([, host = '', port = '443']) => `${host.toLowerCase()}:${port}`),
	);
	return [...new Set(lines)].filter((line) => explainEgress(line) === undefined);
}
