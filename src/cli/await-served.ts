/** From the moment that a server is written until a client can call it. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Server } from '../catalog/catalog.ts';
import { SlipwayError } from '../errors.ts';
import { statusTold } from '../http/told.ts';
import { describeSource } from '../launcher/preparations.ts';
import { CLI_LIMITS } from '../limits.ts';
import { type GatewayClient, withGateway } from './gateway.ts';
import type { Invocation } from './invocation.ts';

/**
 * Waits until the gateway has these servers, where there is one that can be asked. Resolves with whether it has them. What
 * keeps it from being known is no failure of what was written.
 */
export async function awaitServed(servers: readonly Server[], invocation: Invocation): Promise<boolean> {
	// What it says of its key is for verbs whose business that is.
	const quiet = { ...invocation, err: { ...invocation.err, write: () => undefined } };
	try {
		const use = (gateway: GatewayClient): Promise<0 | 1> => look(gateway, servers, invocation.stopping);
		return (await invocation.asOwner(() => withGateway(quiet, {}, { scopes: ['admin'], use }))) === 0;
	} catch (error) {
		if (error instanceof SlipwayError || invocation.stopping.aborted) return false;
		throw error;
	}
}

async function look(gateway: GatewayClient, servers: readonly Server[], signal: AbortSignal): Promise<0 | 1> {
	const untilMs = performance.now() + CLI_LIMITS.servedWaitMs;
	for (;;) {
		const { servers: there } = await gateway.ask('/status', statusTold);
		const isThere = ({ name, source }: Server): boolean =>
			there.some((one) => one.name === name && one.source === describeSource(source));
		if (servers.every(isThere)) return 0;
		if (performance.now() > untilMs) return 1;
		await sleep(CLI_LIMITS.servedPollMs, undefined, { signal });
	}
}
