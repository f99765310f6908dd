/** Whole configurations of other programs: which format a text is in, and what becomes of each server in it. */
import { IMPORT_LIMITS } from '../../limits.ts';
import { clientLaunch } from './client-servers.ts';
import type { Imported } from './contract.ts';
import { dockerCatalogLaunch } from './docker-catalog.ts';
import { type Fields, fieldsOf } from './fields.ts';
import { importLaunch, type Launch, type LaunchContext, refused } from './launch.ts';
import type { Environment } from './references.ts';
import { Refusal } from './refusal.ts';
import { serverJsonLaunch } from './server-json.ts';
import { type Notation, notationOf, readText, refuseText } from './texts.ts';

/**
 * The formats that are read, by whose they are. `mcp-servers` is that of Claude Desktop and Claude Code, Cursor, Windsurf,
 * Gemini CLI, mcp-proxy and most others: an object `mcpServers`.
 */
export const FORMATS = ['mcp-servers', 'vscode', 'codex', 'docker-catalog', 'server-json'] as const;
export type Format = (typeof FORMATS)[number];

export interface ImportOptions {
	/** What the text is; found out by what is in it where nothing is said. */
	readonly format?: Format;
	/** Names of servers that there are already: servers that are called so get a number. */
	readonly taken?: ReadonlySet<string>;
}

export interface ImportedText {
	readonly format: Format;
	/** In the order of the text. */
	readonly servers: readonly Imported[];
}

const NOTATIONS: Readonly<Record<Format, Notation>> = Object.freeze({
	'mcp-servers': 'json',
	vscode: 'json',
	codex: 'toml',
	'docker-catalog': 'yaml',
	'server-json': 'json',
});

/**
 * What becomes of the servers of a text. Nothing is run and nothing is read.
 *
 * @throws SlipwayError SLIPWAY_IMPORT_INVALID, when it is no text of a format that is read
 */
export function importText(text: string, { format, taken = new Set() }: ImportOptions): ImportedText {
	const plain = text.replace(/^\uFEFF/, '');
	const value = fieldsOf(readText(plain, format === undefined ? notationOf(plain) : NOTATIONS[format])) ?? {};
	const found = format ?? formatOf(value);
	if (found === undefined)
		return refuseText(
			'it has no servers in a form that is known: "mcpServers", "servers" as VS Code has them, [mcp_servers] of Codex, "registry" of Docker, or a server.json',
		);
	const { servers, environment = {} } = serversOf(found, value);
	if (servers.length === 0) return refuseText(`it has no server (${WHERE[found]})`);
	if (servers.length > IMPORT_LIMITS.serversMax)
		return refuseText(
			`it has ${servers.length} servers, more than the ${IMPORT_LIMITS.serversMax} that are read at once`,
		);
	return { format: found, servers: importAll(servers, { taken, environment, served: false }) };
}

/** A server as it stands in a text: what it is called there, and how what it says is read. */
export interface Listed {
	readonly name: string;
	/** @throws Refusal */
	readonly launch: () => Launch;
}

/** What becomes of each. No two get one name, and none that is taken. */
export function importAll(
	servers: readonly Listed[],
	{ taken, environment, served }: Pick<LaunchContext, 'taken' | 'environment' | 'served'>,
): Imported[] {
	const names = new Set(taken);
	const secrets = new Map<string, string | undefined>();
	return servers.map(({ name, launch }) => {
		const imported = importOne(name, { launch, context: { taken: names, secrets, environment, served } });
		if (imported.kind === 'server') names.add(imported.name);
		return imported;
	});
}

function importOne(
	name: string,
	{ launch, context }: { readonly launch: () => Launch; readonly context: LaunchContext },
): Imported {
	try {
		return importLaunch(launch(), context);
	} catch (error) {
		if (error instanceof Refusal) return refused(name, error);
		throw error;
	}
}

/** The servers of an object `mcpServers`. */
export function clientServers(servers: Fields, served: boolean): Listed[] {
	return Object.entries(servers).map(([name, server]) => ({ name, launch: () => clientLaunch(name, server, served) }));
}

const WHERE: Readonly<Record<Format, string>> = Object.freeze({
	'mcp-servers': 'an object "mcpServers"',
	vscode: 'an object "servers", or "mcp": {"servers": …}',
	codex: 'tables [mcp_servers.<name>]',
	'docker-catalog': 'an object "registry"',
	'server-json': '"packages" or "remotes"',
});

function formatOf(value: Fields): Format | undefined {
	if (fieldsOf(value['mcpServers']) !== undefined || fieldsOf(value['projects']) !== undefined) return 'mcp-servers';
	if (fieldsOf(value['mcp_servers']) !== undefined) return 'codex';
	if (fieldsOf(value['registry']) !== undefined) return 'docker-catalog';
	if (serverJsonsOf(value).length > 0) return 'server-json';
	return vscodeOf(value) === undefined ? undefined : 'vscode';
}

function serversOf(format: Format, value: Fields): { readonly servers: Listed[]; readonly environment?: Environment } {
	switch (format) {
		case 'mcp-servers':
			return { servers: [value, ...Object.values(fieldsOf(value['projects']) ?? {})].flatMap(mcpServersOf) };
		case 'codex':
			return { servers: clientServers(fieldsOf(value['mcp_servers']) ?? {}, false) };
		case 'vscode': {
			const { servers, inputs } = vscodeOf(value) ?? { servers: {}, inputs: {} };
			return { servers: clientServers(servers, false), environment: inputs };
		}
		case 'docker-catalog':
			return {
				servers: Object.entries(fieldsOf(value['registry']) ?? {}).map(([name, server]) => ({
					name,
					launch: () => dockerCatalogLaunch(name, server),
				})),
			};
		case 'server-json':
			return {
				servers: serverJsonsOf(value).map((server) => ({
					name: String(server['name']),
					launch: () => serverJsonLaunch(server),
				})),
			};
	}
}

/** Claude Code keeps those of each project beside those of the user. */
function mcpServersOf(value: unknown): Listed[] {
	return clientServers(fieldsOf(fieldsOf(value)?.['mcpServers']) ?? {}, false);
}

/** `mcp.json`, or the settings, where they stand in `mcp`; in dotted form too. */
function vscodeOf(value: Fields): { readonly servers: Fields; readonly inputs: Environment } | undefined {
	const mcp = fieldsOf(value['mcp']) ?? {};
	const servers = fieldsOf(value['servers']) ?? fieldsOf(mcp['servers']) ?? fieldsOf(value['mcp.servers']);
	const isCatalog = Object.values(servers ?? {}).some((server) =>
		['npm', 'pypi', 'image'].some((field) => fieldsOf(server)?.[field] !== undefined),
	);
	if (servers === undefined || isCatalog) return undefined;
	const inputs: Record<string, string> = {};
	for (const input of [value['inputs'], mcp['inputs'], value['mcp.inputs']].flat()) {
		const { id, default: said, password } = fieldsOf(input) ?? {};
		// What somebody is asked for and would see has a value that can be told; a password has none.
		if (typeof id === 'string' && typeof said === 'string' && said !== '' && password !== true)
			inputs[`input:${id}`] = said;
	}
	return { servers, inputs };
}

/** One `server.json`, or what the registry answers: that in an envelope, or a list of them. */
function serverJsonsOf(value: Fields): Fields[] {
	const list = Array.isArray(value['servers']) ? value['servers'] : [value];
	return list
		.map((one: unknown) => fieldsOf(fieldsOf(one)?.['server']) ?? fieldsOf(one) ?? {})
		.filter(
			(one) => typeof one['name'] === 'string' && (Array.isArray(one['packages']) || Array.isArray(one['remotes'])),
		);
}
