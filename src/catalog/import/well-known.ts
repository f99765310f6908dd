/** What is known of servers that people name first: which hosts they reach. Data, and nothing that runs. */

/** By the name of a package or the repository of an image, in lower case: what it has to reach; empty: nothing. */
const NEEDS: Readonly<Record<string, readonly string[]>> = Object.freeze({
	'@modelcontextprotocol/server-everything': [],
	'@modelcontextprotocol/server-memory': [],
	'@modelcontextprotocol/server-filesystem': [],
	'@modelcontextprotocol/server-sequential-thinking': [],
	'@modelcontextprotocol/server-github': ['api.github.com:443'],
	'@modelcontextprotocol/server-gitlab': ['gitlab.com:443'],
	'@modelcontextprotocol/server-slack': ['slack.com:443'],
	'@modelcontextprotocol/server-brave-search': ['api.search.brave.com:443'],
	'@modelcontextprotocol/server-google-maps': ['maps.googleapis.com:443'],
	'@modelcontextprotocol/server-everart': ['api.everart.ai:443'],
	'@modelcontextprotocol/server-aws-kb-retrieval': ['*.amazonaws.com:443'],
	'@brave/brave-search-mcp-server': ['api.search.brave.com:443'],
	'@notionhq/notion-mcp-server': ['api.notion.com:443'],
	'@stripe/mcp': ['api.stripe.com:443'],
	'@supabase/mcp-server-supabase': ['api.supabase.com:443'],
	'@upstash/context7-mcp': ['context7.com:443'],
	'@sentry/mcp-server': ['sentry.io:443', '*.sentry.io:443'],
	'@hubspot/mcp-server': ['api.hubapi.com:443'],
	'@cloudflare/mcp-server-cloudflare': ['api.cloudflare.com:443'],
	'@doist/todoist-ai': ['api.todoist.com:443'],
	'linear-mcp-server': ['api.linear.app:443'],
	'tavily-mcp': ['api.tavily.com:443'],
	'exa-mcp-server': ['api.exa.ai:443'],
	'firecrawl-mcp': ['api.firecrawl.dev:443'],
	'figma-developer-mcp': ['api.figma.com:443', '*.figma.com:443'],
	'airtable-mcp-server': ['api.airtable.com:443'],
	'server-perplexity-ask': ['api.perplexity.ai:443'],
	'@perplexity-ai/mcp-server': ['api.perplexity.ai:443'],
	'slack-mcp-server': ['slack.com:443', '*.slack.com:443'],
	'mcp-server-git': [],
	'mcp-server-time': [],
	'mcp-server-sqlite': [],
	'mcp-server-sentry': ['sentry.io:443'],
	'mcp-atlassian': ['*.atlassian.net:443'],
	'mcp/everything': [],
	'mcp/memory': [],
	'mcp/filesystem': [],
	'mcp/sequentialthinking': [],
	'mcp/git': [],
	'mcp/time': [],
	'mcp/sqlite': [],
	'mcp/github': ['api.github.com:443'],
	'mcp/gitlab': ['gitlab.com:443'],
	'mcp/slack': ['slack.com:443'],
	'mcp/brave-search': ['api.search.brave.com:443'],
	'mcp/notion': ['api.notion.com:443'],
	'mcp/stripe': ['api.stripe.com:443'],
	'ghcr.io/github/github-mcp-server': ['api.github.com:443'],
	'mcp/github-mcp-server': ['api.github.com:443'],
	'ghcr.io/sooperset/mcp-atlassian': ['*.atlassian.net:443'],
});

/** The hosts of a package or of an image's repository; undefined when nothing is known of it. */
export function knownNeeds(name: string): readonly string[] | undefined {
	const key = name.toLowerCase();
	return Object.hasOwn(NEEDS, key) ? NEEDS[key] : undefined;
}

/** Packages that stand between a client and a server elsewhere, when they are given a URL. */
export const BRIDGES: ReadonlySet<string> = new Set([
	'mcp-remote',
	'supergateway',
	'mcp-proxy',
	'@pyroprompts/mcp-stdio-to-streamable-http-adapter',
]);

/**
 * Modules of Python whose package is known. Others are not guessed at: who registers a package of the name of somebody's
 * own module would be run.
 */
export const MODULES: Readonly<Record<string, string>> = Object.freeze({
	mcp_server_fetch: 'mcp-server-fetch',
	mcp_server_git: 'mcp-server-git',
	mcp_server_time: 'mcp-server-time',
	mcp_server_sqlite: 'mcp-server-sqlite',
	mcp_server_sentry: 'mcp-server-sentry',
});
