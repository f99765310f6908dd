/** Instances that may reach something share a network with us in the role `all`: they get nothing of the gateway's port. */
import assert from 'node:assert/strict';
import { Socket } from 'node:net';
import { test } from 'node:test';
import { AUTHORIZATION, startHttpStack } from '../support/http-stack.ts';

/** What Node's sockets read their addresses from; such an address is not to be had without the right to make one. */
const sockets = Socket.prototype as unknown as Record<'_getsockname' | '_getpeername', () => { address: string }>;

for (const [end, address] of [
	['_getsockname', '198.18.0.2'],
	['_getsockname', '::ffff:198.19.255.2'],
	// Linux takes packets for any address of ours on any interface.
	['_getpeername', '198.18.1.7'],
	['_getpeername', '::ffff:198.18.1.7'],
] as const)
	test(`a connection that ${end} says is with ${address} is cut before a byte of it is read`, async (t) => {
		const stack = await startHttpStack(t);
		const asked = { path: '/health', headers: AUTHORIZATION };
		assert.equal((await stack.send(asked)).status, 200);
		const said = t.mock.method(sockets, end, () => ({ address }));
		await assert.rejects(stack.send(asked), { code: 'ECONNRESET' });
		assert.ok(said.mock.callCount() > 0);
		said.mock.restore();
		assert.equal((await stack.send(asked)).status, 200);
	});
