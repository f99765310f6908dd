/**
 * The engine, for verbs that make something on it: a deployment of its own name for as long as the verb runs, so that the
 * launcher of nobody else takes its containers for orphans, and nothing of it is left at the end.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Config } from '../config.ts';
import type { ContainerDependencies } from '../docker/container.ts';
import { Engine } from '../docker/engine.ts';
import { OomWatch } from '../docker/oom-watch.ts';
import { findOldDeployments, removeRemains } from '../docker/remains.ts';
import { gatewayIdOfPort } from '../launcher/identity.ts';
import { CLI_LIMITS } from '../limits.ts';
import { SILENT_LOG } from '../log.ts';

const PREFIX = 'trial-';

export interface Workbench extends AsyncDisposable {
	readonly engine: Engine;
	/** The id that is on all that is made here. */
	readonly gateway: string;
	readonly boot: string;
	/** The books of what is ours and alive. */
	readonly books: Set<string>;
	readonly dependencies: ContainerDependencies;
}

/** Disposing of it removes all that was made but images. Rejects with SLIPWAY_ENGINE_UNREACHABLE. */
export async function openWorkbench({
	dockerSocket,
	gatewayId,
	port,
}: Pick<Config, 'dockerSocket' | 'gatewayId' | 'port'>): Promise<Workbench> {
	const gateway = `${PREFIX}${gatewayId ?? gatewayIdOfPort(port)}-${randomBytes(6).toString('hex')}`;
	const engine = new Engine({ socketPath: dockerSocket, log: SILENT_LOG });
	await engine.start();
	try {
		engine.assertReachable();
		// Those of verbs that were killed: no other launcher knows their names.
		for (const old of await findOldDeployments(engine, PREFIX, CLI_LIMITS.trialAgeMsMax))
			await removeRemains(engine, old);
	} catch (error) {
		engine.stop();
		throw error;
	}
	const oomWatch = new OomWatch(engine, gateway);
	oomWatch.start();
	return {
		engine,
		gateway,
		boot: randomUUID(),
		books: new Set(),
		dependencies: { engine, oomWatch },
		[Symbol.asyncDispose]: async () => {
			await oomWatch.stop();
			await removeRemains(engine, gateway).finally(() => engine.stop());
		},
	};
}
