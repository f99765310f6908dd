import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { compareVersions, Engine, EngineRefusal, type EngineState, explainRefusal } from '../../src/docker/engine.ts';
import { SlipwayError } from '../../src/errors.ts';
import { SILENT_LOG } from '../../src/log.ts';

test('versions are compared by number', () => {
	for (const [left, right, sign] of [
		['1.44', '1.44', 0],
		['1.9', '1.44', -1],
		['1.51', '1.44', 1],
		['2.0', '1.99', 1],
		['1.44.1', '1.44', 1],
		['1', '1.0', 0],
	] as const)
		assert.equal(Math.sign(compareVersions(left, right)), sign, `${left} ${right}`);
});

test('a refusal becomes an error of the table that says nothing of the engine’s; other errors stay', () => {
	const told = explainRefusal(new EngineRefusal(500, '/var/lib/secret'));
	assert.ok(told instanceof SlipwayError);
	assert.equal(told.code, 'SLIPWAY_ENGINE_FAILED');
	assert.ok(!told.message.includes('secret') && JSON.stringify(told.details) === '{}');
	const other = new Error('other');
	assert.equal(explainRefusal(other), other);
});

test('the state is told at changes only, and to nobody who left', async () => {
	let answer: RequestListener = (request, response) =>
		response.end(request.url?.endsWith('/version') === true ? '{"Version":"28.0.0","ApiVersion":"1.51"}' : 'OK');
	const socketPath = join(tmpdir(), `slipway-unit-${randomBytes(6).toString('hex')}.sock`);
	const listener = createServer((request, response) => answer(request, response)).listen(socketPath);
	await once(listener, 'listening');
	const engine = new Engine({ socketPath, log: SILENT_LOG });
	assert.throws(() => engine.assertReachable(), { code: 'SLIPWAY_ENGINE_UNREACHABLE' });
	const states: EngineState[] = [];
	const changed = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()];
	engine.subscribe((state) => {
		states.push(state);
		changed[states.length - 1]?.resolve();
	});
	const left: EngineState[] = [];
	engine.subscribe((state) => left.push(state))();
	await engine.start();
	engine.assertReachable();
	const good = answer;
	answer = (_, response) => void response.writeHead(500).end('{"message":"no"}');
	await changed[1]?.promise;
	assert.throws(() => engine.assertReachable(), /The engine answers with an error/);
	answer = good;
	await changed[2]?.promise;
	engine.stop();
	assert.deepEqual(
		states.map(({ reachable }) => reachable),
		[true, false, true],
	);
	assert.deepEqual(left, []);
	listener.close();
});
