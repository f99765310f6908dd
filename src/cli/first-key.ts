/** What is shown once, at the first start: the key, and a client configuration that works as it is. */

/** The text, key included. It goes to the terminal and nowhere else. */
export function describeFirstKey(key: string, publicUrl: string): string {
	const url = `${publicUrl}/servers/everything/mcp`;
	const configuration = {
		mcpServers: { everything: { type: 'http', url, headers: { Authorization: `Bearer ${key}` } } },
	};
	return [
		'',
		'================================================================================',
		'Slipway made an API key. It is shown this once, and kept only as a hash:',
		'',
		`  ${key}`,
		'',
		'For Claude Code, Cursor and others that read `mcpServers`:',
		'',
		...JSON.stringify(configuration, null, 2)
			.split('\n')
			.map((line) => `  ${line}`),
		'',
		'Or: ',
		`  claude mcp add --transport http everything ${url} --header "Authorization: Bearer ${key}"`,
		'',
		'Other servers: the same with their name from the catalog. Another key: set SLIPWAY_API_KEY.',
		'================================================================================',
		'',
	].join('\n');
}
