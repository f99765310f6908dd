/**
 * Pins: each definition of a tool is kept as it was approved, at first use or by a person, and what is otherwise later is
 * neither shown nor called until a person approves it. What a server says is heard from each list of each Instance, so that
 * it holds for everybody from then on; what another process approves is seen within a moment.
 */
import { SlipwayError } from '../errors.ts';
import type { ServerView } from '../launcher/contract.ts';
import { PIN_LIMITS, POLICY_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import { alikeAmong } from '../mcp/alike.ts';
import { nameOf, readDefinition } from '../mcp/definition.ts';
import type { ToolPins, Verdict } from '../mcp/tool-pins.ts';

/** A tool of a server, as it was approved and as it was shown last. */
export interface Pin {
	readonly server: string;
	readonly tool: string;
	readonly approvedHash: string | undefined;
	readonly shownHash: string;
	/** What the Instance was made of that showed it. */
	readonly spec: string;
	/** Why it cannot be approved as it was shown. */
	readonly flaw: string | undefined;
}

interface KeptDefinition {
	readonly hash: string;
	readonly text: string;
	readonly atMs: number;
}

/** A pin with what was said. */
export interface KeptPin extends Pick<Pin, 'server' | 'tool' | 'spec' | 'flaw'> {
	readonly approved: KeptDefinition | undefined;
	readonly shown: KeptDefinition;
}

/** Where they outlive the process. */
export interface PinKeeper {
	listPinStates(): readonly Pin[];
	/** Keeps what was shown. What was approved is kept where nothing was approved before, and else left as it is. */
	savePins(pins: readonly KeptPin[]): void;
	/** Another number whenever another process has changed what is kept; NaN where that cannot be told now. */
	keysVersion(): number;
}

/** A server, as far as it matters here. */
export type PinnedServer = Pick<ServerView, 'pin'> & { readonly name: string };

/** What /status says of a server's tools. Lists are of names, and bounded. */
export interface PinView {
	readonly approved: number;
	/** Hidden, until somebody approves them. */
	readonly waiting: readonly string[];
	/** Hidden, whatever anybody does. */
	readonly refused: readonly string[];
	/** Whether it has more tools than are kept; the rest is hidden. */
	readonly tooMany: boolean;
	/** Tools that may be taken for others, and those others as `server/tool`. */
	readonly alike: readonly { readonly tool: string; readonly others: readonly string[] }[];
}

/** Whether it is kept from everybody. */
function isHeld(pin: Pin | undefined): boolean {
	return pin !== undefined && (pin.flaw !== undefined || pin.approvedHash !== pin.shownHash);
}

/** INVARIANT: of a server there are `toolsMax` at most, and none goes by what a server says. */
class Tools {
	readonly pins = new Map<string, Pin>();
	/** What a server was made of that has listed all that it has. */
	heardSpec: string | undefined;
	/** Whether some tool found no place. */
	tooMany = false;
	heldCount = 0;
	toldAtMs = Number.NEGATIVE_INFINITY;

	put(pin: Pin): void {
		const before = this.pins.get(pin.tool);
		this.heldCount += Number(isHeld(pin)) - Number(isHeld(before));
		this.pins.set(pin.tool, pin);
	}

	hasPlaceFor(tool: string): boolean {
		if (this.pins.has(tool)) return true;
		return this.pins.size < PIN_LIMITS.toolsMax && tool.length <= PIN_LIMITS.toolNameCharsMax;
	}
}

/** INVARIANT: between `start` and `stop` it is what the store says, but for a moment where another process changed it. */
export class Pins {
	readonly #keeper: PinKeeper;
	readonly #log: Log;
	readonly #servers = new Map<string, Tools>();
	#version = Number.NaN;
	#polling: NodeJS.Timeout | undefined;

	constructor(keeper: PinKeeper, log: Log) {
		this.#keeper = keeper;
		this.#log = log;
		this.reload();
	}

	/** Follows what other processes change. */
	start(): void {
		this.#polling ??= setInterval(() => this.refresh(), POLICY_LIMITS.keysPollMs);
	}

	stop(): void {
		clearInterval(this.#polling);
	}

	/** Reads the store again where it has changed. */
	refresh(): void {
		const version = this.#keeper.keysVersion();
		// A store that cannot be read leaves what was read last.
		if (version !== this.#version && !Number.isNaN(version)) this.reload();
	}

	reload(): void {
		this.#version = this.#keeper.keysVersion();
		for (const tools of this.#servers.values()) {
			tools.pins.clear();
			tools.heldCount = 0;
			tools.tooMany = false;
			tools.heardSpec = undefined;
		}
		for (const pin of this.#keeper.listPinStates()) this.#toolsOf(pin.server).put(pin);
	}

	/** A server listed these, as values that were parsed from JSON. */
	learn({ name: server, pin: pinning }: PinnedServer, spec: string, list: readonly unknown[]): void {
		if (pinning === 'off') return;
		const tools = this.#toolsOf(server);
		const atMs = Date.now();
		const changed: KeptPin[] = [];
		for (const value of list) {
			const tool = nameOf(value);
			if (tool === undefined) continue;
			if (!tools.hasPlaceFor(tool)) {
				tools.tooMany = true;
				continue;
			}
			const known = tools.pins.get(tool);
			const { hash: shownHash, text, flaw } = readDefinition(value);
			const isTrusted = pinning === 'first-use' && flaw === undefined;
			const approvedHash = known?.approvedHash ?? (isTrusted ? shownHash : undefined);
			if (
				known?.shownHash === shownHash &&
				known.spec === spec &&
				known.approvedHash === approvedHash &&
				known.flaw === flaw
			)
				continue;
			tools.put({ server, tool, approvedHash, shownHash, spec, flaw });
			const shown = { hash: shownHash, text, atMs };
			changed.push({ server, tool, approved: approvedHash === shownHash ? shown : undefined, shown, spec, flaw });
		}
		if (changed.length > 0) this.#keeper.savePins(changed);
		this.#tell(server, tools, changed);
	}

	/**
	 * What there is to be held of a server for Instances that are made of the same; undefined when nothing is.
	 *
	 * @param specOf what they are made of; undefined while that is not known
	 */
	of(server: PinnedServer, specOf: () => string | undefined): ToolPins | undefined {
		const { name, pin: pinning } = server;
		if (pinning === 'off') return undefined;
		return new ServerPins(server, {
			tools: this.#toolsOf(name),
			specOf,
			learn: (value) => this.learn(server, specOf() ?? '', [value]),
		});
	}

	/** What /status says of each server of which something is known. */
	views(): Map<string, PinView> {
		const { namesToldMax } = PIN_LIMITS;
		const all = [...this.#servers].map(([server, { pins }]) => [server, [...pins.values()]] as const);
		const alike = alikeAmong(all.flatMap(([, pins]) => pins));
		const namesOf = (pins: readonly Pin[]): string[] => pins.slice(0, namesToldMax).map(({ tool }) => tool);
		return new Map(
			all
				.filter(([, pins]) => pins.length > 0)
				.map(([server, pins]) => [
					server,
					{
						approved: pins.filter((pin) => !isHeld(pin)).length,
						waiting: namesOf(pins.filter((pin) => isHeld(pin) && pin.flaw === undefined)),
						refused: namesOf(pins.filter(({ flaw }) => flaw !== undefined)),
						tooMany: this.#toolsOf(server).tooMany,
						alike: pins
							.filter((pin) => alike.has(pin))
							.slice(0, namesToldMax)
							.map((pin) => ({
								tool: pin.tool,
								others: (alike.get(pin) ?? []).slice(0, namesToldMax).map((other) => `${other.server}/${other.tool}`),
							})),
					},
				]),
		);
	}

	#toolsOf(server: string): Tools {
		const known = this.#servers.get(server) ?? new Tools();
		this.#servers.set(server, known);
		return known;
	}

	#tell(server: string, tools: Tools, changed: readonly KeptPin[]): void {
		const isNews = changed.some(({ tool }) => isHeld(tools.pins.get(tool)));
		if (!isNews || performance.now() - tools.toldAtMs < PIN_LIMITS.noteIntervalMs) return;
		tools.toldAtMs = performance.now();
		this.#log.warn('tools wait for approval', { server, count: tools.heldCount });
	}
}

interface ServerPinsOptions {
	readonly tools: Tools;
	/** What its Instances are made of; undefined while that is not known. */
	readonly specOf: () => string | undefined;
	/** Notes a definition that nobody has seen yet. */
	readonly learn: (definition: unknown) => void;
}

/** What is held of one server. One is made for every call, so it has nothing but what it is asked with. */
class ServerPins implements ToolPins {
	readonly #server: PinnedServer;
	readonly #options: ServerPinsOptions;

	constructor(server: PinnedServer, options: ServerPinsOptions) {
		this.#server = server;
		this.#options = options;
	}

	get holdsBack(): boolean {
		const { tools } = this.#options;
		return tools.heldCount > 0 || tools.tooMany || this.#server.pin === 'approve';
	}

	shows(value: unknown): boolean {
		const { tools, learn } = this.#options;
		const tool = nameOf(value);
		if (tool === undefined) return false;
		// It may have been said before there were pins.
		if (!tools.pins.has(tool)) learn(value);
		const approvedHash = tools.pins.get(tool)?.approvedHash;
		if (approvedHash === undefined) return false;
		const { hash, flaw } = readDefinition(value);
		return flaw === undefined && hash === approvedHash;
	}

	verdict(tool: string): Verdict {
		const { tools, specOf } = this.#options;
		return verdictOf(tools, tool, { spec: specOf(), pinning: this.#server.pin });
	}

	refusal(tool: string): SlipwayError {
		const { name } = this.#server;
		const flaw = this.#options.tools.pins.get(tool)?.flaw;
		const words = /^[\w./:-]+$/.test(tool) ? ` ${tool}` : '';
		const reason = flaw === undefined ? `See \`slipway approve ${name}${words}\`.` : `It is refused: ${flaw}.`;
		return new SlipwayError('SLIPWAY_TOOL_CHANGED', { server: name, reason });
	}

	heardAll(): void {
		const { tools, specOf } = this.#options;
		tools.heardSpec = specOf();
	}
}

function verdictOf(
	tools: Tools,
	tool: string,
	{ spec, pinning }: { readonly spec: string | undefined; readonly pinning: PinnedServer['pin'] },
): Verdict {
	const pin = tools.pins.get(tool);
	if (pin !== undefined && pin.spec === spec) return isHeld(pin) ? 'refused' : 'passes';
	if (!tools.hasPlaceFor(tool)) return 'refused';
	const isHeard = spec !== undefined && tools.heardSpec === spec;
	// Where nothing was approved there is nothing to compare with.
	if (!isHeard) return tools.pins.size === 0 && pinning !== 'approve' ? 'passes' : 'unknown';
	// It is in no list: the server says itself whether it has it.
	return pinning === 'approve' || isHeld(pin) ? 'refused' : 'passes';
}
