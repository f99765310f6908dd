#!/usr/bin/env node
// An MCP server in Node, to be copied and changed: stdout is the protocol's, so what is for people goes to stderr.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js';
import { z } from 'zod';

const server = new McpServer({ name: 'hello-node', version: '1.0.0' });

server.registerTool(
	'greet',
	{ description: 'Greets somebody.', inputSchema: { name: z.string().describe('Who is greeted.') } },
	async ({ name }) => ({ content: [{ type: 'text', text: `Hello, ${name}!` }] }),
);

await server.connect(new StdioServerTransport());
console.error('hello-node is ready');
