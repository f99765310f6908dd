/** The revisions of the protocol, and how a request shows which it means. */
import { SUPPORTED_PROTOCOL_VERSIONS } from '@modelcontextprotocol/sdk/types.js';

/** The revisions with `initialize` and sessions that clients may name in MCP-Protocol-Version. Newest first. */
export const LEGACY_REVISIONS: readonly string[] = Object.freeze([...SUPPORTED_PROTOCOL_VERSIONS]);

/** The one revision that has batches (2025-03-26 added them, 2025-06-18 removed them). */
export const BATCH_REVISION = '2025-03-26';

/** The first revision without sessions. */
const FIRST_MODERN_REVISION = '2026-07-28';

/** The key under which a message of the modern era names its revision, in `params._meta`. */
const REVISION_CLAIM = 'io.modelcontextprotocol/protocolVersion';

/** The revision that a request of the modern era names, by its header or by the claim in its params (MCP 2026-07-28). */
export function modernRevision(header: string | undefined, params: object | undefined): string | undefined {
	if (header !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(header) && header >= FIRST_MODERN_REVISION) return header;
	const meta: unknown = params === undefined ? undefined : Reflect.get(params, '_meta');
	if (typeof meta !== 'object' || meta === null || !Object.hasOwn(meta, REVISION_CLAIM)) return undefined;
	const claim: unknown = Reflect.get(meta, REVISION_CLAIM);
	return typeof claim === 'string' ? claim : '';
}
