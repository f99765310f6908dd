/** Servers that do not come up or die soon: what their clients see, and that nobody else sees anything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { InstanceEnd } from '../../src/channel.ts';
import { SlipwayError } from '../../src/errors.ts';
import { CRASH_LIMITS } from '../../src/limits.ts';
import { serverView } from '../support/fake-launcher.ts';
import {
	AUTHORIZATION,
	call,
	type HttpStack,
	initializeRequest,
	result,
	startHttpStack,
} from '../support/http-stack.ts';
import { ModernHttp } from '../support/modern-http.ts';

const EXITED: InstanceEnd = { cause: 'exited', exitCode: 3, stderr: 'no configuration' };

/** Nobody waits in these tests: by then every wait after up to five failures is over. */
const LONGEST_WAIT_MS = CRASH_LIMITS.backoffMsMin * 2 ** CRASH_LIMITS.failuresMax;

/** From here on that server fails to start; every other comes up. */
function failStarts(stack: HttpStack, code: 'SLIPWAY_START_FAILED' | 'SLIPWAY_COMMAND_INVALID'): void {
	stack.launcher.beforeLaunch = (server) => {
		if (server !== 'alpha') return;
		throw new SlipwayError(code, { server: 'alpha', exitCode: 3, stderr: 'no configuration' });
	};
}

async function failFiveTimes(stack: HttpStack): Promise<void> {
	failStarts(stack, 'SLIPWAY_START_FAILED');
	for (let failure = 0; failure < CRASH_LIMITS.failuresMax; failure++) {
		const answer = await stack.post('alpha', initializeRequest());
		assert.equal(answer.status, 502);
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_START_FAILED');
		stack.later(LONGEST_WAIT_MS);
	}
}

async function assertShutOut(stack: HttpStack, retryAfter: RegExp): Promise<void> {
	const { launches } = stack.launcher;
	const answer = await stack.post('alpha', initializeRequest());
	assert.equal(answer.status, 503);
	assert.match(String(answer.headers['retry-after']), retryAfter);
	assert.equal(answer.headers['mcp-session-id'], undefined);
	const { code, data } = answer.rpc.error ?? {};
	assert.equal(code, -32007);
	const { requestId: _, nextStep: __, reason, ...told } = data ?? {};
	assert.match(String(reason), /^Its last failure: The server ended before it /);
	assert.deepEqual(told, {
		code: 'SLIPWAY_CRASH_LOOP',
		retryable: true,
		server: 'alpha',
		exitCode: 3,
		stderr: 'no configuration',
	});
	assert.equal(stack.launcher.launches, launches, 'nothing was started');
}

async function crashesOf(stack: HttpStack, server: string): Promise<{ state: string } | undefined> {
	const { text } = await stack.send({ path: '/status', headers: AUTHORIZATION });
	const { servers } = JSON.parse(text);
	return servers.find(({ name }: { name: string }) => name === server).crashes;
}

async function metricLines(stack: HttpStack): Promise<string[]> {
	return (await stack.send({ path: '/metrics', headers: AUTHORIZATION })).text.split('\n');
}

test('after five starts in vain the sixth client is told at once why, clients of other servers notice nothing', async (t) => {
	const stack = await startHttpStack(t);
	const before = await stack.open('beta');
	await failFiveTimes(stack);
	await assertShutOut(stack, /^(?:2\d|30)$/);
	const modern = await new ModernHttp(stack).send('tools/list');
	assert.equal(modern.status, 503);

	assert.equal((await crashesOf(stack, 'alpha'))?.state, 'open');
	assert.equal(await crashesOf(stack, 'beta'), undefined);
	const lines = await metricLines(stack);
	assert.ok(lines.includes('slipway_breaker_open{server="alpha"} 1'));
	assert.ok(lines.includes('slipway_breaker_open{server="beta"} 0'));

	await stack.open('beta');
	const calling = before.post(call(1));
	before.instance.say(result((await before.instance.hearRequest('tools/call')).id, { fine: true }));
	assert.deepEqual((await calling).rpc, result(1, { fine: true }));
});

test('when the time is over one client finds out for all whether it comes up again', async (t) => {
	const stack = await startHttpStack(t);
	await failFiveTimes(stack);
	stack.later(CRASH_LIMITS.openMs);
	assert.equal((await crashesOf(stack, 'alpha'))?.state, 'half-open');
	const gate = Promise.withResolvers<void>();
	const begun = Promise.withResolvers<void>();
	stack.launcher.beforeLaunch = () => {
		begun.resolve();
		return gate.promise;
	};
	const probe = stack.open('alpha');
	await begun.promise;
	for (let other = 0; other < 3; other++) await assertShutOut(stack, /^1$/);
	gate.resolve();
	await probe;
	await stack.open('alpha');
	assert.equal((await crashesOf(stack, 'alpha'))?.state, 'closed');
	stack.later(CRASH_LIMITS.healthyMs);
	assert.equal(await crashesOf(stack, 'alpha'), undefined);
	assert.ok((await metricLines(stack)).includes('slipway_breaker_open{server="alpha"} 0'));
});

test('Instances that die within a minute of the handshake count too; a session that lives is left alone', async (t) => {
	const stack = await startHttpStack(t);
	const lives = await stack.open('alpha');
	for (let death = 0; death < CRASH_LIMITS.failuresMax; death++) {
		const { instance } = await stack.open('alpha');
		instance.end(EXITED);
		await instance.ended;
		// What follows from that has its turn.
		await nextTurn();
		stack.later(LONGEST_WAIT_MS);
	}
	await assertShutOut(stack, /^(?:2\d|30)$/);
	const calling = lives.post(call(1));
	lives.instance.say(result((await lives.instance.hearRequest('tools/call')).id));
	assert.deepEqual((await calling).rpc, result(1));
	const deaths = (await metricLines(stack)).filter((line) => line.startsWith('slipway_instance_deaths_total{'));
	assert.deepEqual(deaths, ['slipway_instance_deaths_total{server="alpha",cause="exited"} 5']);
});

test('another build of the server is started at once', async (t) => {
	const stack = await startHttpStack(t);
	await failFiveTimes(stack);
	stack.launcher.beforeLaunch = () => undefined;
	await assertShutOut(stack, /^(?:2\d|30)$/);
	stack.launcher.state = { ...stack.launcher.state, servers: [serverView('alpha', { spec: 'another' })] };
	await stack.open('alpha');
});

test('a stampede on a server that can never start costs few starts, and each client is told why', async (t) => {
	const stack = await startHttpStack(t);
	const first = Promise.withResolvers<void>();
	let begun = 0;
	const all = Promise.withResolvers<void>();
	// The launcher starts one at a time here; the rest wait for their turn.
	stack.launcher.beforeLaunch = async () => {
		begun += 1;
		if (begun === 20) all.resolve();
		await (begun === 1 ? first.promise : new Promise(() => undefined));
		throw new SlipwayError('SLIPWAY_COMMAND_INVALID', { server: 'alpha', exitCode: 127 });
	};
	const answering = Array.from({ length: 20 }, () => stack.post('alpha', initializeRequest()));
	await all.promise;
	first.resolve();
	for (const answer of await Promise.all(answering)) {
		assert.equal(answer.status, 502);
		assert.equal(answer.rpc.error?.data?.['code'], 'SLIPWAY_COMMAND_INVALID');
		assert.equal(answer.rpc.error?.data?.['exitCode'], 127);
	}
	assert.equal(stack.launcher.aborted.items.length, 19, 'who waited does not any more');
	assert.equal((await stack.post('alpha', initializeRequest())).status, 502);
	assert.equal(begun, 20, 'it was told again without a start');
	stack.launcher.beforeLaunch = () => undefined;
	stack.later(CRASH_LIMITS.permanentFaultMs);
	await stack.open('alpha');
});

test('the launcher is told callers apart, and not who they are', async (t) => {
	const stack = await startHttpStack(t);
	await stack.open('alpha');
	await stack.open('beta');
	const [one, other] = stack.launcher.callers;
	assert.match(one ?? '', /^[0-9a-f]{16}$/);
	assert.equal(other, one);
});
