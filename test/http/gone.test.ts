/** What is gone: servers that left the catalog, and peers that neither read nor close. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { serverView } from '../support/fake-launcher.ts';
import { call, result, startHttpStack } from '../support/http-stack.ts';

for (const [how, servers] of [
	['left the catalog', [serverView('beta')]],
	['was disabled', [serverView('alpha', { enabled: false }), serverView('beta')]],
] as const) {
	test(`a session of a server that ${how} ends when its call has, and no other does`, async (t) => {
		const stack = await startHttpStack(t);
		const [gone, stays] = [await stack.open('alpha'), await stack.open('beta')];
		const calling = gone.post(call(1));
		const { id } = await gone.instance.hearRequest('tools/call');
		stack.launcher.state = { ...stack.launcher.state, servers };
		stack.later(0);
		assert.ok(stack.launcher.live.has(gone.instance), 'the call goes on');
		gone.instance.say(result(id));
		assert.deepEqual((await calling).rpc, result(1));
		stack.later(0);
		await gone.instance.ended;
		assert.deepEqual([...stack.launcher.live], [stays.instance]);
	});
}

/** The connections of this process, of both sides. */
function connections(): number {
	return process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
}

test('a refused connection is cut although its peer neither reads nor closes', async (t) => {
	const { port } = await startHttpStack(t);
	const before = connections();
	// Half open and never read: to this peer it makes no difference that the other side has gone.
	const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
	t.after(() => socket.destroy());
	socket.on('error', () => undefined);
	await new Promise<void>((resolve) => socket.write('this is no HTTP\r\n\r\n', () => resolve()));
	while (connections() < before + 2) await new Promise((resolve) => setImmediate(resolve));
	// Nothing tells this side of the end of the other; the test's own time limit bounds the wait.
	while (connections() > before + 1) await new Promise((resolve) => setTimeout(resolve, 50));
	assert.equal(socket.destroyed, false);
});
