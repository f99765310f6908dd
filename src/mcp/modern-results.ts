/** Answers of a server of the first era as revision 2026-07-28 wants them. */
import { RPC_CODES } from '../errors.ts';
import { isObject, metaOf, own, type RpcError } from './jsonrpc.ts';
import { SERVER_INFO_KEY } from './revisions.ts';
import { editMembers } from './text.ts';

/** Methods whose results say how long they may be kept. Source: MCP 2026-07-28, server/utilities/caching. */
const CACHEABLE = new Set([
	'server/discover',
	'tools/list',
	'prompts/list',
	'resources/list',
	'resources/templates/list',
	'resources/read',
]);

/**
 * The text of an answer with the members that every result of the second era has, where the server gave none of them.
 *
 * To a server of the first era `resultType`, and what comes with a question, are words like any other. Here they would make
 * another kind of the result, so they are what they must be.
 *
 * Nothing may be kept by the client: whether it may, only the server could know.
 */
export function completeResult(text: string, result: unknown, method: string, serverInfo: string | undefined): string {
	if (!isObject(result)) return text;
	const missing: Record<string, string> = {};
	if (CACHEABLE.has(method)) {
		if (own(result, 'ttlMs') === undefined) missing['ttlMs'] = '0';
		if (own(result, 'cacheScope') === undefined) missing['cacheScope'] = '"private"';
	}
	const meta = metaOf(result);
	const named = meta !== undefined && own(meta, SERVER_INFO_KEY) !== undefined;
	return editMembers(text, {
		result: (value = '{}') =>
			editMembers(value, {
				resultType: '"complete"',
				inputRequests: undefined,
				requestState: undefined,
				...missing,
				...(named || serverInfo === undefined
					? {}
					: { _meta: (old = '{}') => editMembers(old, { [SERVER_INFO_KEY]: serverInfo }) }),
			}),
	});
}

/** The text of an error answer with the code that the second era has for it. */
export function modernError(text: string, { code }: RpcError, method: string): string {
	if (code !== RPC_CODES.resourceNotFound || method !== 'resources/read') return text;
	const invalid = String(RPC_CODES.invalidParams);
	return editMembers(text, { error: (error = '{}') => editMembers(error, { code: invalid }) });
}
