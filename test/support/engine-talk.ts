/** As little of an MCP client as it takes to see what a server in a container does. */
import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import type { Channel } from '../../src/channel.ts';
import { within } from './engine-bench.ts';

interface Answer {
	readonly id?: number;
	readonly result?: { readonly content?: readonly { readonly text?: string }[]; readonly structuredContent?: unknown };
	readonly error?: { readonly message: string };
}

export interface Talk {
	request(method: string, params?: object): Promise<NonNullable<Answer['result']>>;
	/** The text of a tool's answer. */
	call(tool: string, args?: object): Promise<string>;
	/** Sends and does not wait. */
	send(message: object): void;
}

/** Speaks with the server of a channel, one line a message. */
export function talk({ stream }: Channel): Talk {
	const waiting = new Map<number, (answer: Answer) => void>();
	let lastId = 0;
	createInterface({ input: stream }).on('line', (line) => {
		const answer: Answer = JSON.parse(line);
		if (answer.id !== undefined) waiting.get(answer.id)?.(answer);
	});
	const send = (message: object): void => void stream.write(`${JSON.stringify({ jsonrpc: '2.0', ...message })}\n`);
	const request: Talk['request'] = async (method, params = {}) => {
		const id = ++lastId;
		const { promise, resolve } = Promise.withResolvers<Answer>();
		waiting.set(id, resolve);
		send({ id, method, params });
		const { result, error } = await within(promise, `the answer to ${method}`);
		assert.ok(result !== undefined, error?.message ?? 'no result');
		return result;
	};
	return {
		request,
		send,
		call: async (tool, args = {}) => {
			const { content } = await request('tools/call', { name: tool, arguments: args });
			return content?.[0]?.text ?? '';
		},
	};
}

/** The same, after `initialize`: what the servers of the SDK want first. */
export async function greet(channel: Channel): Promise<Talk> {
	const conversation = talk(channel);
	const clientInfo = { name: 'test', version: '1' };
	await conversation.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo });
	conversation.send({ method: 'notifications/initialized' });
	return conversation;
}
