/** Lists that servers give page by page. */
import { isObject, own } from './jsonrpc.ts';
import type { Answer } from './own-request.ts';
import { memberText } from './text.ts';

/**
 * The results of all pages of a list, in order, as JSON. Pages beyond so many are left out.
 *
 * Source: https://modelcontextprotocol.io/specification/2025-11-25/server/utilities/pagination
 *
 * @param ask asks for one page; rejects with a SlipwayError
 * @throws what `ask` does; Error with the server's words when it answers with an error
 */
export async function followPages(ask: (params: object) => Promise<Answer>, pagesMax: number): Promise<string[]> {
	const results: string[] = [];
	let cursor: unknown;
	for (let page = 0; page < pagesMax; page++) {
		const { text, message } = await ask(cursor === undefined ? {} : { cursor });
		if (!message.ok) throw new Error(message.error.message);
		results.push(memberText(text, 'result') ?? '{}');
		cursor = isObject(message.result) ? own(message.result, 'nextCursor') : undefined;
		if (typeof cursor !== 'string') break;
	}
	return results;
}
