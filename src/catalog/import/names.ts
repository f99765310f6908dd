/** Names of servers and of secrets, made of what other formats call them. */
import { createHash } from 'node:crypto';
import { SECRET_NAME_PATTERN } from '../../ids.ts';

const SERVER_NAME_CHARS = 64;
const SECRET_NAME_CHARS = 63;

/** A name of a server that is as near to the text as may be. */
export function toServerName(text: string): string {
	const parts = text
		.normalize('NFKD')
		.toLowerCase()
		.match(/[a-z0-9]+/g);
	return parts === null ? 'server' : parts.join('-').slice(0, SERVER_NAME_CHARS).replace(/-$/, '');
}

/** What a person would call the server that a package or an image has: its name without what says that it is one. */
export function nameOfPackage(name: string): string {
	const parts = name.split('/').filter((part) => part !== '');
	for (const part of parts.toReversed()) {
		const bare = toServerName(part).replace(/^(?:mcp-server-|server-|mcp-)|(?:-mcp-server|-mcp|-server)$/g, '');
		if (bare !== '' && !['mcp', 'server', 'mcp-server'].includes(bare)) return bare;
	}
	return toServerName(name);
}

/** The name, or the first of name-2, name-3, … that nothing has. */
export function uniqueName(name: string, taken: ReadonlySet<string>): string {
	let found = name;
	for (let number = 2; taken.has(found); number++) {
		const end = `-${number}`;
		found = name.slice(0, SERVER_NAME_CHARS - end.length).replace(/-$/, '') + end;
	}
	return found;
}

/**
 * The name of the secret that a server gets in a variable. It begins with the server's, since two servers may call theirs
 * alike and have others.
 */
export function secretNameOf(server: string, variable: string): string {
	const prefix = toServerName(server).replaceAll('-', '_');
	const own = variable.toLowerCase().replace(/[^a-z0-9]+/g, '_');
	const full = (own.startsWith(`${prefix}_`) ? own : `${prefix}_${own}`).replace(/^[^a-z]/, (first) => `s${first}`);
	if (SECRET_NAME_PATTERN.test(full)) return full;
	const mark = createHash('sha256').update(`${server} ${variable}`).digest('hex').slice(0, 8);
	return `${full.slice(0, SECRET_NAME_CHARS - mark.length - 1)}_${mark}`;
}
