/** Clients of either era right at the servers that they use, without HTTP between them. */
import assert from 'node:assert/strict';
import type { ServerName } from '../../src/ids.ts';
import { LegacyAggregate } from '../../src/mcp/aggregate/legacy-aggregate.ts';
import { ModernAggregate } from '../../src/mcp/aggregate/modern-aggregate.ts';
import type { LegacyServer, Standing } from '../../src/mcp/exchange.ts';
import { LegacyEmulation } from '../../src/mcp/legacy-emulation.ts';
import { ModernBridge } from '../../src/mcp/modern-bridge.ts';
import { DirectServer, type ModernServer } from '../../src/mcp/modern-server.ts';
import type { Answer } from '../../src/mcp/own-request.ts';
import { type Envelope, MODERN_REVISION, metaOfEnvelope } from '../../src/mcp/revisions.ts';
import { Upstream } from '../../src/mcp/upstream.ts';
import { LateStanding } from '../../src/pool/late-standing.ts';
import { FakeInstance } from './fake-launcher.ts';
import { CAPABILITIES, LegacyCaller, ModernCaller } from './model-client.ts';
import { legacyPortOf, modernPortOf } from './model-ports.ts';
import { ModelServer, type ModelServerOptions, pick } from './model-server.ts';

export type Habits = Partial<ModelServerOptions>;

/** A server, and what the gateway has of it. */
interface Backend {
	readonly server: ModelServer;
	readonly upstream: Upstream;
}

export interface World {
	/** Every server that there was, in the order in which they came. */
	readonly backends: Backend[];
	readonly callers: readonly (ModernCaller | LegacyCaller)[];
	/** What the gateway has in flight. */
	inFlight(): number;
	tick(nowMs: number): void;
	/** Ends every server. */
	close(): Promise<void>;
}

const SERVER_CAPABILITIES = { tools: { listChanged: true }, resources: { subscribe: true }, logging: {} };
const ENVELOPE: Envelope = { capabilities: CAPABILITIES, clientInfo: undefined, logLevel: undefined };
const META = metaOfEnvelope(ENVELOPE);
const observer = { onCall: () => undefined, onNoise: () => assert.fail('noise'), onTools: () => undefined };
const common = {
	stale: false,
	idleStopMs: Number.POSITIVE_INFINITY,
	capabilities: SERVER_CAPABILITIES,
	callTimeoutMs: 60_000,
};

function introductionOf(result: Record<string, unknown>): Answer {
	const message = { jsonrpc: '2.0', id: 0, result };
	return { text: JSON.stringify(message), message: { kind: 'response', id: 0, ok: true, result } };
}

const INITIALIZED = introductionOf({
	protocolVersion: '2025-11-25',
	capabilities: SERVER_CAPABILITIES,
	serverInfo: { name: 'model', version: '1' },
});
const DISCOVERED = introductionOf({ supportedVersions: [MODERN_REVISION], capabilities: SERVER_CAPABILITIES });

/** A server of an era that has said its first words. */
function begin(era: 'legacy' | 'modern', standing: Standing, habits: Habits): Backend {
	const instance = new FakeInstance('model' as ServerName);
	const upstream = new Upstream(instance, { standing, observer });
	upstream.opened(era === 'modern' ? META : undefined);
	return { upstream, server: new ModelServer({ instance, era, ...habits }) };
}

async function end({ server, upstream }: Backend): Promise<void> {
	server.instance.finishStop();
	await upstream.ended;
}

function beginBridge(habits: Habits) {
	const standing = new LateStanding();
	const backend = begin('legacy', standing, habits);
	const { capabilities, callTimeoutMs } = { ...common, capabilities: CAPABILITIES };
	const bridge = new ModernBridge({ server: backend.upstream, introduction: INITIALIZED, capabilities, callTimeoutMs });
	standing.become(bridge);
	return { backend, server: bridge };
}

function beginEmulation(standing: Standing, habits: Habits) {
	const backend = begin('modern', standing, { answersWhole: true, ...habits });
	const { upstream } = backend;
	return { backend, server: new LegacyEmulation({ upstream, introduction: DISCOVERED, meta: META, standing }) };
}

function beginDirect(habits: Habits) {
	const standing = new LateStanding();
	const backend = begin('modern', standing, habits);
	const server = new DirectServer(backend.upstream, common.callTimeoutMs);
	standing.become(server);
	return { backend, server };
}

/** One client of the second era, in front of a server of the first. */
export function bridged(habits: Habits = {}): World {
	const { backend, server } = beginBridge({ isClient: (name) => name === 'ada', ...habits });
	const caller = new ModernCaller({ name: 'ada', port: modernPortOf(() => server), statesAreUsedUp: true });
	return worldOf(server, [backend], [caller]);
}

/** One client of the first era, in front of a server that speaks the second alone. */
export function emulated(habits: Habits = {}): World {
	const made: { server?: LegacyServer } = {};
	const { port, standing } = legacyPortOf(() => made.server ?? assert.fail());
	const { backend, server } = beginEmulation(standing, { isClient: (name) => name === 'bob', ...habits });
	made.server = server;
	return worldOf(server, [backend], [new LegacyCaller({ name: 'bob', port })]);
}

/** Three clients of the second era, in front of one server of the second. */
export function shared(): World {
	const { backend, server } = beginDirect({});
	const port = modernPortOf(() => server);
	return worldOf(
		server,
		[backend],
		['ada', 'bob', 'eve'].map((name) => new ModernCaller({ name, port })),
	);
}

const NAMES = ['alpha', 'beta'] as const;
const tool = (at: number): string => `${pick(NAMES, at)}__x`;
const aggregate = {
	names: () => NAMES,
	serverInfo: { name: 'all', version: '1' },
	onMissing: () => undefined,
	known: () => undefined,
	specOf: () => undefined,
};

/** One client of the first era, in front of a server of each era as one. */
export function manyLegacy(): World {
	const backends: Backend[] = [];
	const made: { server?: LegacyServer } = {};
	const { port, standing } = legacyPortOf(() => made.server ?? assert.fail());
	const server = new LegacyAggregate({
		...aggregate,
		standing,
		open: async (name) => {
			const legacy = name === 'alpha' ? begin('legacy', standing, {}) : undefined;
			const { backend, server: member } =
				legacy === undefined ? beginEmulation(standing, {}) : { backend: legacy, server: legacy.upstream };
			backends.push(backend);
			return { ...common, server: member, end: () => end(backend) };
		},
		memory: { initialize: '', revision: '', spec: '', logLevel: undefined, subscriptions: [] },
		onMemory: () => undefined,
	});
	made.server = server;
	const caller = new LegacyCaller({ name: 'bob', port, tool });
	return { ...worldOf(server, backends, [caller]), close: () => server.close('prompt') };
}

/** One client of the second era, in front of a server of each era as one. */
export function manyModern(habits: Readonly<Record<string, Habits>> = {}): World {
	const backends: Backend[] = [];
	const server = new ModernAggregate({
		...aggregate,
		envelope: ENVELOPE,
		open: async (name) => {
			const { backend, server: member } =
				name === 'alpha' ? beginBridge(habits[name] ?? {}) : beginDirect(habits[name] ?? {});
			backends.push(backend);
			return { ...common, server: member, end: () => end(backend) };
		},
	});
	const caller = new ModernCaller({ name: 'ada', port: modernPortOf(() => server), tool });
	return { ...worldOf(server, backends, [caller]), close: () => server.close('prompt') };
}

function worldOf(
	server: Pick<LegacyServer & ModernServer, 'inFlight'> & { tick?(nowMs: number): void },
	backends: Backend[],
	callers: World['callers'],
): World {
	return {
		backends,
		callers,
		inFlight: () => server.inFlight,
		tick: (nowMs) => server.tick?.(nowMs),
		close: async () => {
			await Promise.all(backends.map(end));
		},
	};
}
