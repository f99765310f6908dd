/**
 * What the gateway's HTTP side has to answer, as a small model: one request is a choice for each of its parts, and the
 * first part that is wrong, in the order of the chain, decides. Written from the design and not from the code.
 */
import fc from 'fast-check';

export const LISTED = 'https://app.example.com';
export const OURS = 'http://localhost:8080';

/** One request, part by part. */
export interface Choice {
	readonly method: string;
	readonly path: string;
	readonly host: 'ours' | 'evil' | 'twice' | 'none';
	readonly origin: string | undefined;
	readonly preflight: boolean;
	/** Whose key; `limited` has one server, and `revoked` none any more once that has happened. */
	readonly who: 'operator' | 'second' | 'limited' | 'nobody' | 'wrong';
	/** The n-th session of all that there were, if there were any. */
	readonly session: number | 'none' | 'made up' | 'long';
	/** Whether it is sent by the owner of that session to where it is. */
	readonly aimed: boolean;
	readonly accept: 'both' | 'stream' | 'json' | 'neither';
	readonly type: 'json' | 'text' | 'latin1';
	readonly encoding: 'none' | 'gzip';
	readonly version: 'none' | 'good' | 'junk';
	readonly body: keyof typeof BODIES;
	readonly headers: 'few' | 'many' | 'large';
}

export const BODIES = {
	initialize: {
		jsonrpc: '2.0',
		id: 0,
		method: 'initialize',
		params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'model', version: '1' } },
	},
	call: { jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: {} } },
	notification: { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 77 } },
	response: { jsonrpc: '2.0', id: 'nobody asked', result: {} },
	batch: [{ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo' } }],
	'not a message': { jsonrpc: '1.0', id: 1 },
	'not JSON': undefined,
	deep: undefined,
	large: undefined,
} as const;

/** The text of a body. */
export function textOf(body: Choice['body']): string {
	if (body === 'not JSON') return '{"jsonrpc":';
	if (body === 'deep') return `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":${'['.repeat(70)}${']'.repeat(70)}}}`;
	if (body === 'large') return `"${'x'.repeat(4 * 1024 ** 2)}"`;
	return JSON.stringify(BODIES[body]);
}

export interface ModelSession {
	readonly path: string;
	readonly owner: Choice['who'];
	open: boolean;
}

export interface DoorModel {
	readonly sessions: ModelSession[];
	/** Whether the key of `second` is revoked. */
	revoked: boolean;
	/** Calls that reached a server. */
	calls: number;
}

/** A request as it is sent: what is aimed goes to where its session is, in its owner's name. */
export function aim(choice: Choice, { sessions }: DoorModel): Choice {
	const { aimed, session } = choice;
	const found = aimed && typeof session === 'number' ? sessions[session % Math.max(1, sessions.length)] : undefined;
	return found === undefined ? choice : { ...choice, path: found.path, who: found.owner };
}

/** What comes of a request: its status, and what it does. */
export interface Expected {
	readonly status: number;
	readonly effect?: 'opens' | 'calls' | 'ends';
	readonly of?: ModelSession;
}

const KNOWN = new Map([
	['/servers/alpha/mcp', 'alpha'],
	['/servers/beta/mcp', 'beta'],
	['/servers/off/mcp', 'off'],
	['/servers/nobody/mcp', 'nobody'],
]);

/** Paths, of which those that no router is to see are last. */
export const PATHS = [
	...KNOWN.keys(),
	'/health',
	'/ready',
	'/status',
	'/api/keys',
	'/nothing',
	'/servers/alpha/mcp/x',
	'/api/keys/%zz',
	'/servers/../health',
	'/health%2f',
];
const TRICKS = new Set(PATHS.slice(-3));

/** The guard, before anybody is known. */
function atTheDoor({ headers, host, origin, path, method, preflight }: Choice): number | undefined {
	// Node counts bytes before anything else is looked at.
	if (headers !== 'few') return 431;
	if (host !== 'ours') return 403;
	if (origin !== undefined && origin !== LISTED && origin !== OURS) return 403;
	if (TRICKS.has(path)) return 404;
	if (method === 'OPTIONS' && preflight && origin !== undefined) return origin === LISTED ? 204 : 403;
	return undefined;
}

function atAdministration(choice: Choice): number {
	const { method, path, who } = choice;
	const reads = method === 'GET' || method === 'HEAD';
	const known = ['/health', '/ready', '/status', '/api/keys'].includes(path);
	if (!reads && path !== '/api/keys') return known ? 405 : 404;
	if (who !== 'operator') return 403;
	if (path !== '/api/keys' || reads) return known ? 200 : 404;
	if (method !== 'POST') return 405;
	// Nothing that is sent is what a key is made of.
	return bodyFault(choice) ?? 400;
}

/** What is wrong with a body before it is looked at as a message. */
function bodyFault({ type, encoding, body }: Choice): number | undefined {
	if (type !== 'json' || encoding !== 'none') return 415;
	if (body === 'large') return 413;
	return body === 'deep' || body === 'not JSON' ? 400 : undefined;
}

/** The session of a request, or the status of having none. */
function sessionOf(choice: Choice, { sessions }: DoorModel): ModelSession | number {
	if (choice.version === 'junk') return 400;
	const { session } = choice;
	const found = typeof session === 'number' ? sessions[session % Math.max(1, sessions.length)] : undefined;
	// With no session yet there is no id to send.
	if (session === 'none' || (typeof session === 'number' && found === undefined)) return 400;
	return found?.open && found.owner === choice.who && found.path === choice.path ? found : 404;
}

function atPost(choice: Choice, model: DoorModel): Expected {
	const { accept, body } = choice;
	if (accept !== 'both') return { status: 406 };
	const fault = bodyFault(choice);
	if (fault !== undefined) return { status: fault };
	if (body === 'batch') {
		const found = sessionOf(choice, model);
		return { status: typeof found === 'number' ? found : 400 };
	}
	if (body === 'not a message') return { status: 400 };
	if (body === 'initialize') return { status: 200, effect: 'opens' };
	const found = sessionOf(choice, model);
	if (typeof found === 'number') return { status: found };
	return body === 'call' ? { status: 200, effect: 'calls', of: found } : { status: 202 };
}

export function expect(choice: Choice, model: DoorModel): Expected {
	const early = atTheDoor(choice);
	if (early !== undefined) return { status: early };
	const { method, path, who } = choice;
	const reads = method === 'GET' || method === 'HEAD';
	if (reads && (path === '/health' || path === '/ready')) return { status: 200 };
	if (who === 'nobody' || who === 'wrong' || (who === 'second' && model.revoked)) return { status: 401 };
	const server = KNOWN.get(path);
	if (server === undefined) return { status: atAdministration(choice) };
	if (who === 'limited' && server !== 'alpha') return { status: 403 };
	if (server === 'off' || server === 'nobody') return { status: 404 };
	if (method === 'POST') return atPost(choice, model);
	if (method !== 'GET' && method !== 'DELETE') return { status: 405 };
	const found = sessionOf(choice, model);
	if (typeof found === 'number') return { status: found };
	if (method === 'DELETE') return { status: 200, effect: 'ends', of: found };
	return { status: choice.accept === 'both' || choice.accept === 'stream' ? 200 : 406 };
}

const often = <Value>(value: Value, ...others: readonly Value[]): fc.Arbitrary<Value> =>
	fc.oneof({ weight: 30, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

/** Requests of which each part is mostly right, so that some get far. */
export const choice: fc.Arbitrary<Choice> = fc.record<Choice>({
	method: fc.oneof(
		{ weight: 6, arbitrary: fc.constant('POST') },
		{ weight: 2, arbitrary: fc.constantFrom('GET', 'DELETE') },
		{ weight: 1, arbitrary: fc.constantFrom('HEAD', 'PUT', 'PATCH', 'OPTIONS') },
	),
	path: fc.oneof(
		{ weight: 6, arbitrary: fc.constantFrom('/servers/alpha/mcp', '/servers/beta/mcp') },
		{ weight: 3, arbitrary: fc.constantFrom(...PATHS) },
	),
	host: often('ours', 'evil', 'twice', 'none'),
	origin: often<string | undefined>(undefined, LISTED, LISTED, OURS, 'null', 'https://evil.example'),
	preflight: fc.boolean(),
	who: fc.oneof(
		{ weight: 12, arbitrary: fc.constantFrom('operator' as const, 'second' as const) },
		{ weight: 3, arbitrary: fc.constantFrom('limited' as const, 'nobody' as const, 'wrong' as const) },
	),
	session: fc.oneof(
		{ weight: 10, arbitrary: fc.nat({ max: 7 }) },
		{ weight: 2, arbitrary: fc.constantFrom('none' as const, 'made up' as const, 'long' as const) },
	),
	aimed: fc.boolean(),
	accept: often('both', 'stream', 'json', 'neither'),
	type: often('json', 'text', 'latin1'),
	encoding: often('none', 'gzip'),
	version: often('none', 'good', 'good', 'junk'),
	body: fc.oneof(
		{ weight: 9, arbitrary: fc.constantFrom('initialize' as const, 'call' as const) },
		{ weight: 3, arbitrary: fc.constantFrom('notification' as const, 'response' as const, 'batch' as const) },
		{ weight: 2, arbitrary: fc.constantFrom('not a message' as const, 'not JSON' as const, 'deep' as const) },
		{ weight: 1, arbitrary: fc.constant('large' as const) },
	),
	headers: often('few', 'many', 'large'),
});
