/**
 * `slipway health`: whether the process next to us is well. What a container's health check runs, so it loads little.
 *
 * A gateway is well when it answers; whether the engine does is /ready's to say, and no reason to restart a gateway.
 */
import { type RequestOptions, request } from 'node:http';
import { parseArgs } from 'node:util';
import { EGRESS_PORT } from '../egress/contract.ts';
import { HEALTH_LIMITS } from '../limits.ts';
import type { Invocation } from './invocation.ts';

const HELP = `slipway health [--launcher <socket> | --egress]

Asks the gateway on SLIPWAY_PORT, the launcher at a socket, or the egress proxy of this container, whether it is well. Exit code 0: it is.`;

export async function health({ args, environment, print }: Invocation): Promise<0 | 1 | 2> {
	const { values } = parseArgs({
		args: [...args],
		options: { launcher: { type: 'string' }, egress: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
	});
	if (values.help) {
		print(HELP);
		return 0;
	}
	const port = environment['SLIPWAY_PORT'] || '8080';
	if (!/^\d{1,5}$/.test(port)) {
		print('SLIPWAY_PORT is no port.');
		return 1;
	}
	const gateway = { host: '127.0.0.1', port: values.egress ? EGRESS_PORT : port, path: '/health' };
	const status = await ask(
		values.launcher === undefined ? gateway : { socketPath: values.launcher, path: '/v1/report' },
	);
	if (status !== 200) print(typeof status === 'number' ? `It answers ${status}.` : status);
	return status === 200 ? 0 : 1;
}

function ask(options: RequestOptions): Promise<number | string> {
	const { promise, resolve } = Promise.withResolvers<number | string>();
	const outgoing = request({ ...options, timeout: HEALTH_LIMITS.timeoutMs }, (response) => {
		response.resume();
		resolve(response.statusCode ?? 0);
	});
	outgoing.on('timeout', () => outgoing.destroy(new Error('it does not answer in time')));
	outgoing.on('error', (error) => resolve(error.message));
	outgoing.end();
	return promise;
}
