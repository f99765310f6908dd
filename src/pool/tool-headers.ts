/** Which tools want arguments repeated in headers, learned from the lists that servers gave to whomever. */
import { BRIDGE_LIMITS } from '../limits.ts';
import { type HeaderParam, headerParamsOf } from '../mcp/header-params.ts';
import { isObject, own } from '../mcp/jsonrpc.ts';

const NONE: readonly HeaderParam[] = Object.freeze([]);

/** INVARIANT: only tools that want headers are kept, a bounded number of each server. */
export class ToolHeaders {
	readonly #servers = new Map<string, Map<string, readonly HeaderParam[]>>();

	learn(server: string, tools: readonly unknown[]): void {
		const known = this.#servers.get(server) ?? new Map<string, readonly HeaderParam[]>();
		for (const tool of tools) {
			const name = isObject(tool) ? own(tool, 'name') : undefined;
			if (!isObject(tool) || typeof name !== 'string') continue;
			const params = headerParamsOf(own(tool, 'inputSchema'));
			if (params.length === 0) known.delete(name);
			else if (known.size < BRIDGE_LIMITS.headerToolsMax) known.set(name, params);
		}
		if (known.size > 0) this.#servers.set(server, known);
	}

	of(server: string, tool: string): readonly HeaderParam[] {
		return this.#servers.get(server)?.get(tool) ?? NONE;
	}
}
