/** What operators read after calls were made: /status, /metrics, /health, /ready. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { assertStatus, RawClient } from '../support/client-raw.ts';
import { catalogOf, fixture, fixtureImage } from '../support/fixtures.ts';
import { API_KEY, type Stack, startStack } from '../support/stack.ts';

let stack: Stack;
before(async () => {
	const image = await fixtureImage();
	stack = await startStack({
		catalog: catalogOf(
			fixture('conversation', image, ['conversation.ts'], { title: 'A conversation' }),
			fixture('failing', image, ['misbehaving.ts', 'exit-at-once', '3']),
			fixture('off', image, ['conversation.ts'], { enabled: false }),
		),
	});
});
after(() => stack.stop());

function get(path: string, key = API_KEY): Promise<Response> {
	return fetch(`${stack.url}${path}`, { headers: { authorization: `Bearer ${key}` } });
}

async function metrics(): Promise<Map<string, number>> {
	const response = await get('/metrics');
	assert.equal(response.status, 200);
	assert.match(response.headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
	const lines = (await response.text()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
	return new Map(
		lines.map((line) => {
			const space = line.lastIndexOf(' ');
			return [line.slice(0, space), Number(line.slice(space + 1))] as const;
		}),
	);
}

interface StatusServer {
	readonly name: string;
	readonly sessions: number;
	readonly instances: number;
	readonly path: string;
	readonly title?: string;
	readonly enabled: boolean;
	readonly preparation: { readonly kind: string };
	readonly recent: readonly { readonly ended?: { readonly exitCode?: number }; readonly stderr: string }[];
}

interface Status {
	readonly status: string;
	readonly sessions: number;
	readonly servers: readonly StatusServer[];
}

async function status(): Promise<Omit<Status, 'servers'> & { readonly servers: Map<string, StatusServer> }> {
	const body = (await (await get('/status')).json()) as Status;
	return { ...body, servers: new Map(body.servers.map((server) => [server.name, server])) };
}

test('calls are counted by server, tool and how they ended', async () => {
	const raw = new RawClient(stack.endpoint('conversation'));
	await raw.open();
	await raw.request('tools/list');
	for (let call = 0; call < 3; call++) await raw.call('echo', { text: 'counted' });
	await raw.call('no_such_tool');
	await raw.request('no/such/method');
	const stream = await raw.stream();
	assertStatus(await new RawClient(stack.endpoint('failing')).sendInitialize(), 502);
	assert.equal((await new RawClient(`${stack.url}/servers/nobody/mcp`).sendInitialize()).status, 404);
	assert.equal((await new RawClient(stack.endpoint('off')).sendInitialize()).status, 404);

	const counted = await metrics();
	const requests = (tool: string, how: string) =>
		counted.get(`mcp_requests_total{server="conversation",tool="${tool}",status="${how}"}`);
	assert.equal(requests('echo', 'ok'), 3);
	assert.equal(counted.get('mcp_request_duration_seconds_count{server="conversation",tool="echo"}'), 3);
	// initialize and tools/list; the method that is not there.
	assert.equal(requests('', 'ok'), 2);
	assert.equal(requests('', 'error'), 1);
	// What a client calls a tool is no label, unless the server has one of that name.
	assert.ok(![...counted.keys()].some((key) => key.includes('no_such_tool')));
	assert.equal((requests('other', 'ok') ?? 0) + (requests('other', 'error') ?? 0), 1);
	assert.equal(counted.get('slipway_sessions{server="conversation"}'), 1);
	assert.equal(counted.get('slipway_instances{server="conversation"}'), 1);
	assert.equal(counted.get('slipway_streams'), 1);
	assert.equal(counted.get('slipway_engine_up'), 1);
	assert.equal(counted.get('slipway_launcher_up'), 1);
	assert.equal(counted.get('slipway_start_duration_seconds_count{server="conversation",outcome="ok"}'), 1);
	assert.equal(counted.get('slipway_start_duration_seconds_count{server="failing",outcome="start_failed"}'), 1);
	assert.equal(counted.get('slipway_http_errors_total{code="SLIPWAY_SERVER_UNKNOWN"}'), 1);
	assert.equal(counted.get('slipway_http_errors_total{code="SLIPWAY_SERVER_DISABLED"}'), 1);

	const { servers, sessions, status: overall } = await status();
	assert.equal(overall, 'ok');
	assert.equal(sessions, 1);
	const conversation = servers.get('conversation');
	assert.equal(conversation?.title, 'A conversation');
	assert.equal(conversation?.path, '/servers/conversation/mcp');
	assert.equal(conversation?.sessions, 1);
	assert.equal(conversation?.instances, 1);
	assert.equal(conversation?.preparation.kind, 'ready');
	assert.equal(conversation?.recent.length, 1);
	assert.equal(conversation?.recent[0]?.ended, undefined);
	assert.equal(servers.get('failing')?.recent[0]?.ended?.exitCode, 3);
	assert.match(servers.get('failing')?.recent[0]?.stderr ?? '', /cannot find my configuration/);
	assert.equal(servers.get('off')?.enabled, false);

	await raw.end();
	await stream.text;
	const later = await metrics();
	assert.equal(later.get('slipway_sessions{server="conversation"}') ?? 0, 0);
	assert.equal(later.get('slipway_streams'), 0);
	assert.equal((await status()).sessions, 0);
});

test('health and readiness need no key, status and metrics do', async () => {
	for (const path of ['/health', '/ready']) {
		const response = await fetch(`${stack.url}${path}`);
		assert.equal(response.status, 200);
		const body = (await response.json()) as Record<string, unknown>;
		assert.equal(body['status'], 'ok');
		assert.equal(body['version'], 'test');
	}
	for (const path of ['/status', '/metrics', '/servers/conversation/mcp', '/nothing']) {
		assert.equal((await fetch(`${stack.url}${path}`)).status, 401, path);
		assert.equal((await get(path, 'a-wrong-key-0123456789')).status, 401, path);
	}
	assert.equal((await get('/nothing')).status, 404);
});
