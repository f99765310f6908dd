/** Lines of `egress`: which hosts and ports a server may reach, and what to say of a line that says something else. */
import { isIP } from 'node:net';
import { purposeOf } from '../addresses.ts';
import { CATALOG_LIMITS } from '../limits.ts';
import { quote } from './quote.ts';

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
// The last part of a name is never a number: whatever reads it as one would make an address of the whole.
const LAST_LABEL = '(?=[a-z0-9-]*[a-z])[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const NAME = `(?:${LABEL}\\.)+${LAST_LABEL}`;
const NAME_PATTERN = new RegExp(`^${NAME}$`);
// Of two parts at least: a whole top-level domain is no list of hosts.
const PATTERN = new RegExp(`^((?:\\*\\.)?${NAME}|\\d{1,3}(?:\\.\\d{1,3}){3}|\\[[0-9a-f:]+\\]):([1-9]\\d{0,4})$`);

/** What a line may look like, for editors: nearly all that explainEgress says. */
export const EGRESS_PATTERN = PATTERN.source;

/** A line of `egress`. */
export interface EgressRule {
	/** A name in lower case, or an address as URLs write it, without brackets. */
	readonly host: string;
	/** Whether names below `host` are meant, and not `host` itself. */
	readonly below: boolean;
	readonly port: number;
}

/** Whether the text is a name that a rule could have: in lower case, of two parts at least, no address. */
export function isHostName(text: string): boolean {
	return text.length <= CATALOG_LIMITS.hostNameCharsMax && NAME_PATTERN.test(text);
}

/** The rule that a line says. Undefined when explainEgress has something to say of it. */
export function parseEgress(line: string): EgressRule | undefined {
	if (explainEgress(line) !== undefined) return undefined;
	const [, host = '', port] = PATTERN.exec(line) ?? [];
	const below = host.startsWith('*.');
	return { host: below ? host.slice(2) : host.replace(/^\[|\]$/g, ''), below, port: Number(port) };
}

/** What is wrong with a line, and what to write instead. Undefined when nothing is. */
export function explainEgress(line: string): string | undefined {
	const found = PATTERN.exec(line);
	if (found === null) return explainForm(line);
	const [, host = '', port] = found;
	if (Number(port) > 65_535) return `${quote(line)} has a port above 65535. Write one from 1 to 65535`;
	const address = host.replace(/^\[|\]$/g, '');
	if (isIP(address) !== 0) return explainAddress(line, address);
	if (host.startsWith('[') || /^[\d.]+$/.test(host))
		return `${quote(host)} is not an address. Write the name of a host`;
	if (isHostName(host.replace(/^\*\./, ''))) return undefined;
	return `${quote(host)} is longer than a name may be, ${CATALOG_LIMITS.hostNameCharsMax} characters. Write the name of a host`;
}

function explainAddress(line: string, address: string): string | undefined {
	const purpose = purposeOf(address);
	if (purpose !== undefined)
		return `${quote(line)} is not a public address (${purpose}), and only public ones can be reached. Remove it`;
	if (isIP(address) === 4) return undefined;
	const short = new URL(`http://[${address}]`).hostname;
	return short === `[${address}]`
		? undefined
		: `${quote(line)} is not in its shortest form. Write the address as ${quote(short)}`;
}

function explainForm(line: string): string {
	const fix = 'Write "host:port" or "*.host:port", as in "api.github.com:443"';
	if (line !== line.toLowerCase()) return `${quote(line)} has capital letters. Write it in lower case`;
	if (/^[a-z][a-z0-9+.-]*:\/\//.test(line)) return `${quote(line)} is a URL. ${fix}`;
	if (line.includes('/')) return `${quote(line)} has a path or a range of addresses. ${fix}`;
	if (!/:[^:\]]*$/.test(line)) return `${quote(line)} names no port. ${fix}`;
	if (/^\*\.[^.]*:/.test(line))
		return `${quote(line)} is a whole top-level domain. Name what is below it, as in "*.example.com:443"`;
	if (/^[a-z0-9-]+:\d+$/.test(line)) return `${quote(line)} is no name of the internet, which has a dot in it. ${fix}`;
	return `${quote(line)} is not a host and a port. ${fix}`;
}
