/**
 * Who may use what: a principal has scopes, and from them follows what it sees and calls. Pure functions of values.
 *
 *   *                    every server and every group
 *   server:<name>        a server; `*` in the name stands for any characters
 *   group:<name>         the servers of a group of the catalog, and its endpoint
 *   tool:<server>/<name> tools of a server, and nothing else of it; `*` in the name stands for any characters
 *   admin                /status, /metrics and /api
 *
 * What no scope names is not allowed.
 */
import { POLICY_LIMITS } from '../limits.ts';
import type { ToolFilter } from '../mcp/tool-filter.ts';
import type { ArgumentRules } from './arguments.ts';

/** The members of a group; undefined for one that is not in the catalog. */
export type MembersOf = (group: string) => readonly string[] | undefined;

type Pattern = (name: string) => boolean;

interface Tools {
	readonly server: Pattern;
	readonly tool: Pattern;
}

const SCOPE =
	/^(?:\*|admin|server:[a-z0-9*-]{1,64}|group:[a-z0-9-]{1,64}|tool:[a-z0-9*-]{1,64}\/[\x21\x23-\x5b\x5d-\x7e]{1,128})$/;

/** Whether a text is a scope. Source of the characters: RFC 6749, section 3.3, so that tokens can carry it. */
export function isScope(text: string): boolean {
	return text.length <= POLICY_LIMITS.scopeCharsMax && SCOPE.test(text);
}

/** What scopes allow. Texts that are no scopes allow nothing. */
export class Access {
	readonly scopes: readonly string[];
	/** Whether it may see and change how Slipway is. */
	readonly admin: boolean;
	readonly #everything: boolean;
	readonly #servers: readonly Pattern[];
	readonly #groups: ReadonlySet<string>;
	readonly #tools: readonly Tools[];

	constructor(scopes: readonly string[]) {
		this.scopes = Object.freeze(scopes.filter(isScope).slice(0, POLICY_LIMITS.scopesMax));
		this.admin = this.scopes.includes('admin');
		this.#everything = this.scopes.includes('*');
		this.#servers = argumentsOf(this.scopes, 'server:').map(toPattern);
		this.#groups = new Set(argumentsOf(this.scopes, 'group:'));
		this.#tools = argumentsOf(this.scopes, 'tool:').map((text) => {
			const [server = '', ...rest] = text.split('/');
			return { server: toPattern(server), tool: toPattern(rest.join('/')) };
		});
	}

	/** Whether it may use a server, if only some tools of it. */
	mayUse(server: string, membersOf: MembersOf): boolean {
		return this.#hasWhole(server, membersOf) || this.#tools.some((one) => one.server(server));
	}

	/** Whether it may use the endpoint of a group. */
	mayUseGroup(group: string): boolean {
		return this.#everything || this.#groups.has(group);
	}

	/** Which tools of a server it may use; undefined when there is no bound. */
	filterFor(server: string, membersOf: MembersOf): ToolFilter | undefined {
		if (this.#hasWhole(server, membersOf)) return undefined;
		const patterns = this.#tools.filter((one) => one.server(server)).map(({ tool }) => tool);
		return {
			allows: (tool) => patterns.some((matches) => matches(tool)),
			scopesFor: (tool) => [isScope(`tool:${server}/${tool}`) ? `tool:${server}/${tool}` : `server:${server}`],
			toolsOnly: [`server:${server}`],
		};
	}

	#hasWhole(server: string, membersOf: MembersOf): boolean {
		if (this.#everything || this.#servers.some((matches) => matches(server))) return true;
		for (const group of this.#groups) if (membersOf(group)?.includes(server)) return true;
		return false;
	}
}

/** What the catalog says of a server's tools, for everybody. `deny` has the last word. */
export interface ToolRules {
	readonly allow?: readonly string[];
	readonly deny?: readonly string[];
	/** See arguments.ts. */
	readonly arguments?: ArgumentRules;
}

/**
 * The filter of such rules; undefined when they allow everything. Where they say something of arguments there is one: what
 * passes a filter has one method and one name of a tool.
 */
export function filterOf({ allow, deny = [], arguments: rules }: ToolRules): ToolFilter | undefined {
	if (allow === undefined && deny.length === 0 && rules === undefined) return undefined;
	const allowed = allow?.map(toPattern);
	const denied = deny.map(toPattern);
	return {
		allows: (tool) =>
			(allowed === undefined || allowed.some((matches) => matches(tool))) && !denied.some((matches) => matches(tool)),
		scopesFor: () => [],
		toolsOnly: undefined,
	};
}

/** Both filters; undefined when neither bounds anything. */
export function both(one: ToolFilter | undefined, other: ToolFilter | undefined): ToolFilter | undefined {
	if (one === undefined || other === undefined) return one ?? other;
	return {
		allows: (tool) => one.allows(tool) && other.allows(tool),
		// What one of them forbids in spite of any scope is not to be had.
		scopesFor: (tool) => {
			const asked = [one, other].filter((filter) => !filter.allows(tool)).map((filter) => filter.scopesFor(tool));
			return asked.some((scopes) => scopes.length === 0) ? [] : asked.flat();
		},
		toolsOnly: one.toolsOnly ?? other.toolsOnly,
		pins: one.pins ?? other.pins,
	};
}

function argumentsOf(scopes: readonly string[], kind: string): string[] {
	return scopes.filter((scope) => scope.startsWith(kind)).map((scope) => scope.slice(kind.length));
}

/**
 * Whether a name is one that a pattern stands for. The parts between the `*` are looked for in order, each as early as
 * it comes, so that no pattern takes more than the product of the lengths.
 */
export function toPattern(pattern: string): Pattern {
	const [first = '', ...rest] = pattern.split('*');
	const last = rest.pop();
	if (last === undefined) return (name) => name === pattern;
	return (name) => {
		if (!name.startsWith(first)) return false;
		let at = first.length;
		for (const part of rest) {
			const found = name.indexOf(part, at);
			if (found < 0) return false;
			at = found + part.length;
		}
		return name.length - last.length >= at && name.endsWith(last);
	};
}

/** Everything, administration too. */
export const UNBOUNDED = new Access(['*', 'admin']);
