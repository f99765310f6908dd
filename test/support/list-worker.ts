/**
 * A gateway in a thread of its own, for tests of what may stop it for good: one that loops can be ended from outside.
 * It lists the tools of all servers, of which one answers with what is no list, and tells their names.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { modernRequest } from './client-modern.ts';
import type { Rpc } from './fake-launcher.ts';
import { MemoryGateway, SessionPort } from './memory-gateway.ts';
import { CAPABILITIES, Ticket } from './model-client.ts';
import { settle } from './model-steps.ts';

const { era } = workerData as { era: 'legacy' | 'modern' };
const gateway = new MemoryGateway({
	bad: { era: 'legacy', results: { 'tools/list': { tools: { length: 1 } } } },
	worse: { era: 'legacy', results: { 'tools/list': { tools: null } } },
	worst: { era: 'legacy', results: { 'tools/list': { tools: 'none' } } },
	good: { era: 'legacy' },
});
const ticket = new Ticket(1, 'list', undefined);
const session = new SessionPort(gateway, '/mcp', 'one');

async function serve(): Promise<void> {
	for (let turn = 0; turn < 20; turn++) {
		await settle();
		for (const server of gateway.servers) server.hear();
	}
}

if (era === 'modern') gateway.modernPort('/mcp', 'one')(modernRequest('tools/list') as Rpc, ticket);
else {
	session.open('ada', CAPABILITIES);
	await serve();
	session.request({ jsonrpc: '2.0', id: 1, method: 'tools/list' }, ticket);
}
await serve();
const [end] = ticket.ends;
const tools = end === undefined || end === 'dropped' ? undefined : end.result?.['tools'];
await gateway.stop();
parentPort?.postMessage(Array.isArray(tools) ? tools.map(({ name }: { name: string }) => name) : end);
