/** The end of a gateway: what runs may finish, nothing new begins, and nothing is left. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RawConnection } from '../support/http-client.ts';
import {
	call,
	type HttpStack,
	initializeRequest,
	POST_HEADERS,
	result,
	startHttpStack,
	toBody,
} from '../support/http-stack.ts';

function rawPost(stack: HttpStack, body: string, session?: string, server = 'alpha'): string {
	const headers = Object.entries({
		host: `localhost:${stack.port}`,
		...POST_HEADERS,
		...(session === undefined ? {} : { 'mcp-session-id': session }),
		'content-length': Buffer.byteLength(body),
	});
	return `POST /servers/${server}/mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n${body}`;
}

describe('stop', () => {
	test('waits for a call in flight, refuses what is new with 503 and Retry-After, and leaves nothing', async (t) => {
		const stack = await startHttpStack(t);
		const { id, instance, post, listen } = await stack.open();
		const idle = await stack.open('beta');
		await listen();
		const late = [rawPost(stack, toBody(call(2)), id), rawPost(stack, toBody(initializeRequest()))];
		const half = await Promise.all(late.map(() => new RawConnection(stack.port).connected()));
		for (const [i, connection] of half.entries()) connection.write(late[i]?.slice(0, 20) ?? '');
		const answering = post(call(1));
		const request = await instance.hearRequest('tools/call');
		const stopping = stack.gateway.stop();
		for (const [i, connection] of half.entries()) {
			connection.write(late[i]?.slice(20) ?? '');
			const refused = await connection.until(/SLIPWAY_/);
			assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*SLIPWAY_DRAINING/);
			assert.match(refused, /\r\nretry-after: 1\r\n/i);
		}
		assert.equal(stack.launcher.launches, 2);
		assert.equal(instance.stopped, undefined, 'it is waited for');
		instance.say(result(request.id, { in: 'time' }));
		assert.deepEqual((await answering).rpc, result(1, { in: 'time' }));
		await stopping;
		assert.equal(instance.stopped, 'prompt');
		assert.equal(idle.instance.stopped, 'prompt');
		assert.equal(stack.launcher.live.size, 0);
		await assert.rejects(stack.send({ path: '/health' }), { code: 'ECONNREFUSED' });
	});

	test('in a hurry answers what is in flight with an error at once', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, post, listen } = await stack.open();
		const standing = await listen();
		const answering = post(call('c'));
		await instance.hearRequest('tools/call');
		const hurry = new AbortController();
		const stopping = stack.gateway.stop(hurry.signal);
		hurry.abort();
		const answer = await answering;
		assert.equal(answer.status, 200);
		assert.equal(answer.rpc.id, 'c');
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		await stopping;
		assert.equal(await standing.closed, true);
		assert.equal(stack.launcher.live.size, 0);
	});

	test('loses no answer that is on its way to a client that reads slowly', async (t) => {
		const stack = await startHttpStack(t);
		const { instance, stream } = await stack.open();
		const streaming = stream(call(1), { paused: true });
		const { id } = await instance.hearRequest('tools/call');
		const text = 'a'.repeat(9 * 1024 ** 2);
		instance.say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`);
		instance.say(`{"jsonrpc":"2.0","id":${id},"result":{"text":"${text}"}}`);
		const events = await streaming;
		// Its answer was read here, so that nothing is in flight as the server sees it.
		while (instance.stream.readableLength > 0 || instance.acceptedBytes < text.length) await new Promise(setImmediate);
		const stopping = stack.gateway.stop();
		await new Promise(setImmediate);
		events.read();
		const answer = (await events.rest()).at(-1);
		assert.equal(String(answer?.result?.['text']).length, text.length);
		assert.equal(await events.closed, true);
		await stopping;
	});

	test('in the middle of a start waits for it too', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		const answering = stack.post('alpha', initializeRequest());
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		const stopping = stack.gateway.stop();
		launch.resolve();
		const instance = await stack.launcher.launched.next();
		instance.say(result((await instance.hearRequest('initialize')).id, { protocolVersion: '2025-11-25' }));
		assert.equal((await answering).status, 200);
		await stopping;
		assert.equal(stack.launcher.live.size, 0);
	});

	test('in a hurry in the middle of a start gives it up, and answers', async (t) => {
		const stack = await startHttpStack(t);
		stack.launcher.beforeLaunch = () => new Promise(() => undefined);
		const answering = stack.post('alpha', initializeRequest());
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		await stack.gateway.stop(AbortSignal.abort());
		const answer = await answering;
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(stack.launcher.live.size, 0);
	});

	test('in a hurry between launch and answer gives the start up, and answers', async (t) => {
		const stack = await startHttpStack(t);
		const answering = stack.post('alpha', initializeRequest());
		const instance = await stack.launcher.launched.next();
		await instance.hearRequest('initialize');
		await stack.gateway.stop(AbortSignal.abort());
		const answer = await answering;
		assert.equal(answer.rpc.id, 0);
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		assert.equal(instance.stopped, 'prompt');
		assert.equal(stack.launcher.live.size, 0);
		assert.equal(stack.launcher.launches, 1);
	});

	test('in a hurry waits for the Instance of a start that can no longer be held back, and answers', async (t) => {
		const stack = await startHttpStack(t);
		const launch = Promise.withResolvers<void>();
		stack.launcher.beforeLaunch = () => launch.promise;
		stack.launcher.abortComesTooLate = true;
		const answering = stack.post('alpha', initializeRequest());
		while (stack.launcher.launches === 0) await new Promise(setImmediate);
		let stopped = false;
		const stopping = stack.gateway.stop(AbortSignal.abort()).then(() => {
			stopped = true;
		});
		await stack.launcher.aborted.next();
		launch.resolve();
		const instance = await stack.launcher.launched.next();
		await instance.ended;
		assert.equal(stopped, false);
		assert.equal((await answering).rpc.error?.data?.['code'], 'SLIPWAY_SESSION_ENDED');
		await stopping;
		assert.deepEqual(instance.received, []);
		assert.equal(stack.launcher.live.size, 0);
	});

	test('takes no session whose initialize was half sent when the sessions were ended', async (t) => {
		const stack = await startHttpStack(t);
		const { instance } = await stack.open();
		instance.onStop = () => undefined;
		const connection = await new RawConnection(stack.port).connected();
		const text = rawPost(stack, toBody(initializeRequest()));
		connection.write(text.slice(0, -5));
		// It was seen when another request, sent after it, is answered.
		await stack.send({ path: '/health' });
		const stopping = stack.gateway.stop();
		while (instance.stopped === undefined) await new Promise(setImmediate);
		connection.write(text.slice(-5));
		const refused = await connection.until(/SLIPWAY_|"result"/);
		assert.match(refused, /^HTTP\/1\.1 503 [\s\S]*SLIPWAY_DRAINING/);
		assert.equal(stack.launcher.launches, 1);
		instance.finishStop();
		await stopping;
		assert.equal(stack.launcher.live.size, 0);
	});

	test('with a container that does not end is over after its bound all the same', { timeout: 30_000 }, async (t) => {
		const stack = await startHttpStack(t);
		const { instance } = await stack.open();
		instance.onStop = () => undefined;
		await stack.gateway.stop();
		instance.finishStop();
		await instance.ended;
	});

	test('with an idle session and open connections is quick and done twice does no harm', async (t) => {
		const stack = await startHttpStack(t);
		await stack.open();
		const silent = await new RawConnection(stack.port).connected();
		await Promise.all([stack.gateway.stop(), stack.gateway.stop()]);
		await silent.closed;
		assert.equal(stack.launcher.live.size, 0);
	});
});
