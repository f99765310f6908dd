import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Engine } from '../../src/docker/engine.ts';
import { LABELS } from '../../src/docker/labels.ts';
import { sweep } from '../../src/docker/sweep.ts';
import { SILENT_LOG } from '../../src/log.ts';

test('it asks for our own containers only, and removes those that nobody holds', async () => {
	const asked: string[] = [];
	const container = (id: string, boot: string, instance: string, state: string) => ({
		Id: id,
		State: state,
		Labels: {
			[LABELS.gateway]: 'me',
			[LABELS.boot]: boot,
			...(instance === '' ? {} : { [LABELS.instance]: instance }),
		},
	});
	const list = [
		container('held', 'now', 'i1', 'running'),
		container('unheld', 'now', 'i2', 'running'),
		container('nameless', 'now', '', 'created'),
		container('earlier', 'then', 'i1', 'running'),
		container('dead', 'then', 'i3', 'exited'),
		container('going', 'then', 'i4', 'removing'),
	];
	const socketPath = join(tmpdir(), `slipway-unit-${randomBytes(6).toString('hex')}.sock`);
	const listener = createServer((request, response) => {
		asked.push(`${request.method} ${decodeURIComponent(request.url ?? '')}`);
		if (request.method === 'GET') return void response.end(JSON.stringify(list));
		// One refuses, one is gone, one is going: none of them keeps the others from being removed.
		const status = request.url?.includes('unheld')
			? 500
			: request.url?.includes('dead')
				? 404
				: request.url?.includes('going')
					? 409
					: 204;
		response.writeHead(status).end();
	}).listen(socketPath);
	await once(listener, 'listening');
	const engine = new Engine({ socketPath, log: SILENT_LOG });
	// `unheld` refused to go; that is the next sweep's business, and no reason to fail.
	assert.equal(await sweep(engine, { gateway: 'me', boot: 'now', books: new Set(['i1']) }), 3);
	const [listing] = asked;
	assert.match(listing ?? '', /containers\/json\?/);
	for (const part of ['all=true', `"${LABELS.gateway}=me"`, `"${LABELS.boot}"`])
		assert.ok(listing?.includes(part) === true, part);
	const removed = asked.filter((line) => line.startsWith('DELETE')).map((line) => /containers\/(\w+)/.exec(line)?.[1]);
	assert.deepEqual(removed.sort(), ['dead', 'earlier', 'going', 'nameless', 'unheld']);
	for (const line of asked.filter((one) => one.startsWith('DELETE'))) assert.match(line, /force=true&v=true/);
	listener.close();
});
