/**
 * `slipway health`: whether the process next to us is well. What a container's health check runs, so it loads little.
 *
 * A gateway is well when it answers; whether the engine does is /ready's to say, and no reason to restart a gateway.
 */
import { type ClientRequest, request } from 'node:http';
import { request as requestByTls } from 'node:https';
import { connect, type TLSSocket } from 'node:tls';
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
	const status = await ask({ ...values, port: Number(port), environment });
	if (status !== 200) print(typeof status === 'number' ? `It answers ${status}.` : status);
	return status === 200 ? 0 : 1;
}

interface Asked {
	readonly launcher?: string | undefined;
	readonly egress?: boolean | undefined;
	readonly port: number;
	readonly environment: Invocation['environment'];
}

/** The status that is answered, or why there is none. */
function ask({ launcher, egress, port, environment }: Asked): Promise<number | string> {
	const timeout = HEALTH_LIMITS.timeoutMs;
	if (launcher !== undefined) return statusOf(request({ socketPath: launcher, path: '/v1/report', timeout }));
	const there = { host: '127.0.0.1', port, timeout };
	const path = '/health';
	if (egress) return statusOf(request({ ...there, port: EGRESS_PORT, path }));
	if (!environment['SLIPWAY_TLS_CERT_FILE']) return statusOf(request({ ...there, path }));
	// It is the process next to us, and is told nothing: whose certificate it has does not matter.
	const tls = { ...there, rejectUnauthorized: false };
	return environment['SLIPWAY_TLS_CLIENT_CA_FILE']
		? handshakeOf(connect(tls))
		: statusOf(requestByTls({ ...tls, path }));
}

/** Without a certificate of a client there is no answer; but who takes part in a handshake lives. */
function handshakeOf(socket: TLSSocket): Promise<number | string> {
	const { promise, resolve } = Promise.withResolvers<number | string>();
	socket.on('secureConnect', () => {
		resolve(200);
		socket.destroy();
	});
	socket.on('timeout', () => socket.destroy(new Error('it does not answer in time')));
	socket.on('error', (error) => resolve(error.message));
	return promise;
}

function statusOf(outgoing: ClientRequest): Promise<number | string> {
	const { promise, resolve } = Promise.withResolvers<number | string>();
	outgoing.on('response', (response) => {
		response.resume();
		resolve(response.statusCode ?? 0);
	});
	outgoing.on('timeout', () => outgoing.destroy(new Error('it does not answer in time')));
	outgoing.on('error', (error) => resolve(error.message));
	outgoing.end();
	return promise;
}
