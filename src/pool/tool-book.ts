/**
 * What servers said of their tools, learned from the lists that they gave to whomever: the arguments that are repeated in
 * headers, and the schema that arguments must fit.
 */
import { compileSchema, type Look, SchemaRefused } from '../json-schema.ts';
import { SCHEMA_LIMITS } from '../limits.ts';
import { type HeaderParam, headerParamsOf } from '../mcp/header-params.ts';
import { isObject, own } from '../mcp/jsonrpc.ts';
import { Budgets } from '../policy/budget.ts';

/** A tool, as it was described once. */
export interface Tool {
	readonly headers: readonly HeaderParam[];
	/** Its input schema as JSON; undefined where there is none, or more than is kept. */
	readonly schema: string | undefined;
}

export type Tools = ReadonlyMap<string, Tool>;

/** Calls are not held against a schema, and why. */
export type Unchecked = (server: string, tool: string, reason: string) => void;

/** A schema that was used. */
interface Known {
	look: Look | undefined;
	/** How often it took too long. */
	lates: number;
}

interface Entry {
	tool: Tool;
	/** Whether it was described in different ways, so that none of them is everybody's. */
	differs: boolean;
}

interface Listed {
	readonly spec: string;
	readonly entries: Map<string, Entry>;
	schemaChars: number;
	last: Tools;
}

const NONE: readonly HeaderParam[] = Object.freeze([]);

/** INVARIANT: a bounded number of tools of a bounded number of servers is kept, and of schemas that were used. */
export class ToolBook {
	readonly #onUnchecked: Unchecked;
	readonly #servers = new Map<string, Listed>();
	/** By schema, the one that was used last at the end. */
	readonly #known = new Map<string, Known>();
	/** Milliseconds that were spent with the schemas of a server. */
	readonly #times = new Budgets();

	/** @param onUnchecked told once of each schema that is not used */
	constructor(onUnchecked: Unchecked = () => undefined) {
		this.#onUnchecked = onUnchecked;
	}

	/** Schemas that were used. */
	get size(): number {
		return this.#known.size;
	}

	/** The tools of a list, which a server of that spec gave. */
	learn(server: string, spec: string, list: readonly unknown[]): Tools {
		const listed = this.#listedBy(server, spec);
		const tools = new Map<string, Tool>();
		const room = { chars: SCHEMA_LIMITS.changedCharsMax };
		for (const described of list.slice(0, SCHEMA_LIMITS.toolsMax)) {
			const name = isObject(described) ? own(described, 'name') : undefined;
			if (isObject(described) && typeof name === 'string')
				tools.set(name, noteTool(listed, { name, schema: own(described, 'inputSchema'), room }));
		}
		// Many conversations are given the same list.
		const { last } = listed;
		if (last.size === tools.size && tools.entries().every(([name, tool]) => last.get(name) === tool)) return last;
		listed.last = tools;
		return tools;
	}

	/** A tool, where a server has described it to everybody alike. */
	find(server: string, tool: string): Tool | undefined {
		const entry = this.#servers.get(server)?.entries.get(tool);
		return entry?.differs === false ? entry.tool : undefined;
	}

	/** The arguments that a tool wants repeated in headers. */
	headersOf(server: string, tool: string): readonly HeaderParam[] {
		return this.#servers.get(server)?.entries.get(tool)?.tool.headers ?? NONE;
	}

	/**
	 * What is wrong with the arguments of a call by the schema of its tool; undefined when they fit, and where the schema
	 * cannot be used: the server looks at them itself.
	 *
	 * @param chars of the request
	 */
	objection(server: string, name: string, { schema }: Tool, args: unknown, chars: number): string | undefined {
		if (schema === undefined) return undefined;
		const known = this.#knownOf(schema);
		const startedAtMs = performance.now();
		const isSpent = !this.#times.pay(server, SCHEMA_LIMITS.msPerMinuteMax, startedAtMs, 0).allowed;
		if (known.lates >= SCHEMA_LIMITS.lateMax || isSpent) return undefined;
		try {
			known.look ??= compileSchema(schema, 'server');
			return known.look(args, chars);
		} catch (error) {
			if (!(error instanceof SchemaRefused)) throw error;
			known.lates = error.late ? known.lates + 1 : SCHEMA_LIMITS.lateMax;
			if (known.lates >= SCHEMA_LIMITS.lateMax) this.#onUnchecked(server, name, error.message);
			return undefined;
		} finally {
			const nowMs = performance.now();
			this.#times.pay(server, SCHEMA_LIMITS.msPerMinuteMax, nowMs, nowMs - startedAtMs);
		}
	}

	/** To be called every second or so. */
	tick(nowMs: number): void {
		this.#times.tick(nowMs);
	}

	#knownOf(schema: string): Known {
		const known = this.#known.get(schema) ?? { look: undefined, lates: 0 };
		this.#known.delete(schema);
		this.#known.set(schema, known);
		const [oldest] = this.#known.keys();
		if (this.#known.size > SCHEMA_LIMITS.compiledMax && oldest !== undefined) this.#known.delete(oldest);
		return known;
	}

	#listedBy(server: string, spec: string): Listed {
		const known = this.#servers.get(server);
		this.#servers.delete(server);
		const listed: Listed = known?.spec === spec ? known : { spec, entries: new Map(), schemaChars: 0, last: new Map() };
		this.#servers.set(server, listed);
		const [oldest] = this.#servers.keys();
		if (this.#servers.size > SCHEMA_LIMITS.serversMax && oldest !== undefined) this.#servers.delete(oldest);
		return listed;
	}
}

/** A tool as it is described now. What was described in the same way is the same Tool. */
function noteTool(
	listed: Listed,
	{ name, schema, room }: { readonly name: string; readonly schema: unknown; readonly room: { chars: number } },
): Tool {
	const { entries } = listed;
	const known = entries.get(name);
	const text = schema === undefined ? undefined : JSON.stringify(schema);
	if (known !== undefined && known.tool.schema !== undefined && known.tool.schema === text) return known.tool;
	const replaced = known?.tool.schema?.length ?? 0;
	const charsMax = Math.min(
		SCHEMA_LIMITS.schemaCharsMax,
		SCHEMA_LIMITS.serverCharsMax - listed.schemaChars + replaced,
		known === undefined ? Number.POSITIVE_INFINITY : room.chars,
	);
	const fits =
		text !== undefined && text.length <= charsMax && (known !== undefined || entries.size < SCHEMA_LIMITS.toolsMax);
	const tool: Tool = { headers: headerParamsOf(schema), schema: fits ? text : undefined };
	const length = tool.schema?.length ?? 0;
	if (known === undefined && entries.size < SCHEMA_LIMITS.toolsMax) entries.set(name, { tool, differs: false });
	else if (known !== undefined) {
		room.chars -= length;
		known.differs ||= known.tool.schema !== tool.schema;
		known.tool = tool;
	} else return tool;
	listed.schemaChars += length - replaced;
	return tool;
}
