/** What is shown once, at the first start: the key, and a client configuration that works as it is. */

/** The text, key included. It goes to the terminal and nowhere else. */
export function describeFirstKey(key: string, publicUrl: string, servers: readonly string[]): string {
	const named = servers.length > 0 ? servers : ['NAME'];
	const entries = named.map((name) => [
		name,
		{ type: 'http', url: `${publicUrl}/servers/${name}/mcp`, headers: { Authorization: `Bearer ${key}` } },
	]);
	const configuration = JSON.stringify({ mcpServers: Object.fromEntries(entries) }, null, 2);
	const [first = 'NAME'] = named;
	const rule = '='.repeat(80);
	return [
		'',
		rule,
		'Slipway made an API key. It is shown this once, and kept only as a hash:',
		'',
		`  ${key}`,
		'',
		'For Claude Code, Cursor and others that read `mcpServers`:',
		'',
		...configuration.split('\n').map((line) => `  ${line}`),
		'',
		'Or, one by one:',
		`  claude mcp add --transport http ${first} ${publicUrl}/servers/${first}/mcp --header "Authorization: Bearer ${key}"`,
		'',
		'To have another key, set SLIPWAY_API_KEY.',
		rule,
		'',
	].join('\n');
}
