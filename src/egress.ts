/** The egress role: the proxy, and the launcher that tells it who may reach what. It holds no socket of the engine's. */
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { followPolicy } from './egress/link.ts';
import { EgressProxy } from './egress/proxy.ts';
import { EGRESS_LIMITS } from './limits.ts';
import type { Log } from './log.ts';

export interface EgressRoleOptions {
	/** Where the launcher is. */
	readonly socketPath: string;
	readonly log: Log;
	readonly version: string;
}

/** Listens, and looks for the launcher for as long as it runs. Until it is found, and whenever it is lost, nobody gets out. */
export async function startEgress({ socketPath, log, version }: EgressRoleOptions): Promise<{ stop(): Promise<void> }> {
	const stopping = new AbortController();
	let linked = false;
	const proxy = new EgressProxy({ log, isWell: () => linked });
	const port = await proxy.listen();
	log.info('egress listening', { address: `0.0.0.0:${port}`, version });
	const follow = async (): Promise<void> => {
		while (!stopping.signal.aborted) {
			const stream = connect(socketPath);
			stopping.signal.addEventListener('abort', () => stream.destroy(), { once: true });
			stream.once('connect', () => {
				linked = true;
				log.info('launcher reachable');
			});
			await followPolicy(stream, proxy);
			if (linked) log.warn('launcher unreachable', { code: 'SLIPWAY_LAUNCHER_UNREACHABLE' });
			linked = false;
			await sleep(EGRESS_LIMITS.reconnectDelayMs, undefined, { signal: stopping.signal }).catch(() => undefined);
		}
	};
	const following = follow();
	return {
		stop: async () => {
			stopping.abort();
			await following;
			await proxy.stop();
			log.info('egress stopped');
		},
	};
}
