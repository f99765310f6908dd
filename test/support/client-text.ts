/** Clients of either era that see messages as the text that is on the wire. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { modernHeaders, modernMeta } from './client-modern.ts';
import { RawClient, type Reply } from './client-raw.ts';
import { memberAt, membersOf } from './json-members.ts';

export type ClientEra = 'legacy' | 'modern';

/** The params of a request as members, by their texts. */
export type Params = Readonly<Record<string, string>>;

export interface TextClient {
	readonly era: ClientEra;
	/** Sends a request, with params as text, and resolves with every message that came of it, the answer last. */
	request(method: string, params?: Params, id?: string): Promise<readonly string[]>;
	/** Sends a request and resolves with the head of its answer. */
	send(method: string, params?: Params, id?: string): Promise<Reply>;
	/** Makes a request and withdraws it, in the way of the era, when the signal says so. Resolves when that is done. */
	hang(method: string, params: Params, signal: AbortSignal): Promise<void>;
	/** Answers a question that came as a request. */
	respond(id: string, result: string): Promise<void>;
	end(): Promise<void>;
}

const CAPABILITIES = { elicitation: {}, sampling: {}, roots: {} };

/** Opens a conversation. A client of the second era has nothing to open. */
export async function openTextClient(era: ClientEra, url: string): Promise<TextClient> {
	return era === 'legacy' ? openLegacy(url) : openModern(url);
}

async function openLegacy(url: string): Promise<TextClient> {
	const raw = new RawClient(url, { capabilities: CAPABILITIES });
	await raw.open();
	const send = (method: string, params: Params = {}, id = '1') => raw.post(requestText(method, params, id));
	return {
		era: 'legacy',
		send,
		request: async (...args) => messagesOf(await send(...args)),
		hang: async (method, params, signal) => {
			const id = '"to be withdrawn"';
			const reply = send(method, params, id);
			await once(signal, 'abort');
			const { status } = await raw.notify('notifications/cancelled', { requestId: JSON.parse(id) });
			assert.equal(status, 202);
			await (await reply).text;
		},
		respond: async (id, result) => {
			const { status } = await raw.post(`{"jsonrpc":"2.0","result":${result},"id":${id}}`);
			assert.equal(status, 202);
		},
		end: async () => assert.equal(await raw.end(), 200),
	};
}

function openModern(url: string): TextClient {
	const http = new RawClient(url);
	const meta = modernMeta({ capabilities: CAPABILITIES, logLevel: 'debug' });
	const envelope = Object.entries(meta).map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
	const post = (method: string, params: Params, id: string, signal?: AbortSignal) => {
		const own = params['_meta'] === undefined ? [] : [params['_meta'].slice(1, -1)];
		const body = requestText(method, { ...params, _meta: `{${[...own, ...envelope].join(',')}}` }, id);
		const headers = modernHeaders(method, JSON.parse(`{${toMembers(params)}}`));
		return http.post(body, { headers, ...(signal === undefined ? {} : { signal }) });
	};
	const send = (method: string, params: Params = {}, id = '1') => post(method, params, id);
	return {
		era: 'modern',
		send,
		request: async (...args) => messagesOf(await send(...args)),
		hang: async (method, params, signal) => {
			await assert.rejects(post(method, params, '1', signal), { name: 'AbortError' });
		},
		respond: () => assert.fail('the second era has no requests of a server'),
		end: async () => undefined,
	};
}

/** The answer to `initialize`, as text. */
export async function introduce(url: string): Promise<string> {
	const raw = new RawClient(url);
	const reply = await raw.sendInitialize();
	const [answer = ''] = await messagesOf(reply);
	raw.sessionId = reply.headers.get('mcp-session-id') ?? '';
	await raw.end();
	return answer;
}

/** Everything that comes of a request, as it was on the wire. */
export async function messagesOf({ text, isStream }: Reply): Promise<string[]> {
	const whole = await text;
	if (!isStream) return [whole];
	// Not by a regular expression, whose lines end at U+2028 too.
	const data = whole.split('\n').filter((line) => line.startsWith('data: '));
	return data.map((line) => line.slice('data: '.length)).filter((line) => line !== '');
}

/** The text of a tool's result, as JSON. */
export function toldIn(answer: string): unknown {
	return JSON.parse(JSON.parse(answer).result.content[0].text);
}

/** The result in an answer. Fails for an error. */
export function resultIn(messages: readonly string[]): string {
	const answer = messages.at(-1) ?? '';
	assert.ok(
		membersOf(answer).some(([key]) => key === 'result'),
		answer.slice(0, 1000),
	);
	return memberAt(answer, 'result');
}

function requestText(method: string, params: Params, id: string): string {
	return `{"jsonrpc":"2.0","params":{${toMembers(params)}},"id":${id},"method":${JSON.stringify(method)}}`;
}

function toMembers(params: Params): string {
	return Object.entries(params)
		.map(([key, value]) => `${JSON.stringify(key)}:${value}`)
		.join(',');
}
