/**
 * How each client of MCP is told of a server: in its own file, with the key referenced in the way that it has for that.
 * What it is told is data, and pure; edit.ts puts it into a file that is there.
 */

/** What a client is to be told. */
export interface Connection {
	/** What the server is called there. */
	readonly name: string;
	/** The endpoint. */
	readonly url: string;
	/** The variable that the key is in, for those that read variables. */
	readonly keyVariable: string;
	/** The key itself, where it is to be written down. */
	readonly key: string | undefined;
}

/** A value at a place of a JSON file. */
export interface Member {
	readonly path: readonly string[];
	readonly value: object;
}

export type Configuration =
	| {
			readonly format: 'json';
			readonly entry: Member;
			/** A list that one more has to be in, unless it has one with the same `id`. */
			readonly listed?: { readonly path: readonly string[]; readonly value: { readonly id: string } };
	  }
	| { readonly format: 'toml'; readonly table: readonly string[]; readonly lines: readonly string[] };

export interface KnownClient {
	readonly title: string;
	/** Where its file is, for people. */
	readonly file: string;
	/** What is to be known beside the file. */
	readonly note: (connection: Connection) => string;
	readonly configure: (connection: Connection) => Configuration;
}

/** Where a key should stand and none was given. */
const PLACEHOLDER = 'KEY';

export const CLIENTS: Readonly<Record<string, KnownClient>> = Object.freeze({
	'claude-code': {
		title: 'Claude Code',
		file: '.mcp.json in the project, or: claude mcp add-json',
		note: noteOfVariable,
		configure: (connection) => ({
			format: 'json',
			entry: {
				path: ['mcpServers', connection.name],
				value: { type: 'http', url: connection.url, headers: bearer(connection, variable) },
			},
		}),
	},
	'claude-desktop': {
		title: 'Claude Desktop',
		file: '~/Library/Application Support/Claude/claude_desktop_config.json, %APPDATA%\\Claude\\claude_desktop_config.json',
		note: ({ key }) =>
			key === undefined
				? `It speaks stdio only and reads no variables: put your key where it says ${PLACEHOLDER}, or say --key-file.`
				: 'It speaks stdio only: mcp-remote stands between.',
		configure: ({ name, url, key = PLACEHOLDER }) => ({
			format: 'json',
			entry: {
				path: ['mcpServers', name],
				value: {
					command: 'npx',
					// A space in an argument is lost on Windows.
					args: [
						'-y',
						'mcp-remote',
						url,
						...(url.startsWith('http:') ? ['--allow-http'] : []),
						'--header',
						// It is mcp-remote that reads the variable.
						`Authorization:${variable('AUTH')}`,
					],
					env: { AUTH: `Bearer ${key}` },
				},
			},
		}),
	},
	cursor: {
		title: 'Cursor',
		file: '.cursor/mcp.json in the project, or ~/.cursor/mcp.json',
		note: noteOfVariable,
		configure: (connection) => ({
			format: 'json',
			entry: {
				path: ['mcpServers', connection.name],
				value: { url: connection.url, headers: bearer(connection, (name) => variable(`env:${name}`)) },
			},
		}),
	},
	vscode: {
		title: 'VS Code',
		file: '.vscode/mcp.json in the workspace',
		note: ({ key }) => (key === undefined ? 'It asks for the key once, and keeps it.' : 'The key is in the file.'),
		configure: (connection) => ({
			format: 'json',
			entry: {
				path: ['servers', connection.name],
				value: { type: 'http', url: connection.url, headers: bearer(connection, () => variable('input:slipway-key')) },
			},
			...(connection.key === undefined
				? {
						listed: {
							path: ['inputs'],
							value: { type: 'promptString', id: 'slipway-key', description: 'Slipway API key', password: true },
						},
					}
				: {}),
		}),
	},
	windsurf: {
		title: 'Windsurf',
		file: '~/.codeium/windsurf/mcp_config.json',
		note: noteOfVariable,
		configure: (connection) => ({
			format: 'json',
			entry: {
				path: ['mcpServers', connection.name],
				value: { serverUrl: connection.url, headers: bearer(connection, (name) => variable(`env:${name}`)) },
			},
		}),
	},
	gemini: {
		title: 'Gemini CLI',
		file: '.gemini/settings.json in the project, or ~/.gemini/settings.json',
		note: noteOfVariable,
		configure: (connection) => ({
			format: 'json',
			entry: {
				path: ['mcpServers', connection.name],
				value: { httpUrl: connection.url, headers: bearer(connection, (name) => `$${name}`) },
			},
		}),
	},
	codex: {
		title: 'Codex',
		file: '~/.codex/config.toml',
		note: noteOfVariable,
		configure: ({ name, url, key, keyVariable }) => ({
			format: 'toml',
			table: ['mcp_servers', name],
			lines: [
				`url = ${tomlString(url)}`,
				key === undefined
					? `bearer_token_env_var = ${tomlString(keyVariable)}`
					: `http_headers = { Authorization = ${tomlString(`Bearer ${key}`)} }`,
			],
		}),
	},
});

/** The text of a file that has nothing else. */
export function toText(configuration: Configuration): string {
	if (configuration.format === 'toml') return `[${configuration.table.join('.')}]\n${configuration.lines.join('\n')}\n`;
	const { entry, listed } = configuration;
	const file: Record<string, unknown> = { [entry.path[0] ?? '']: { [entry.path[1] ?? '']: entry.value } };
	if (listed !== undefined) file[listed.path[0] ?? ''] = [listed.value];
	return `${JSON.stringify(file, null, 2)}\n`;
}

/** As most of them write that something else stands there. */
function variable(name: string): string {
	return `\${${name}}`;
}

function bearer({ key, keyVariable }: Connection, reference: (name: string) => string): object {
	return { Authorization: `Bearer ${key ?? reference(keyVariable)}` };
}

function noteOfVariable({ key, keyVariable }: Connection): string {
	return key === undefined ? `It reads the key from the variable ${keyVariable}.` : 'The key is in the file.';
}

/** A basic string of TOML: that of JSON, whose escapes it has too. */
function tomlString(text: string): string {
	return JSON.stringify(text);
}
