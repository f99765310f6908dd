/** What a deployment that is over has left on the engine: volumes too, which outlive Instances by design. */
import type { Engine } from './engine.ts';
import { LABELS } from './labels.ts';
import { sweepNetworks } from './networks.ts';
import { sweep } from './sweep.ts';

/** Removes all that carries the gateway's id but images. For a deployment that nobody runs any more. */
export async function removeRemains(engine: Engine, gateway: string): Promise<void> {
	const nobody = { gateway, boot: '', books: new Set<string>() };
	await sweep(engine, nobody);
	await sweepNetworks(engine, nobody, new Set());
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gateway}`] });
	const { Volumes: volumes = [] } = await engine.call((docker) => docker.listVolumes({ filters }));
	for (const { Name } of volumes ?? []) await engine.callIfThere((docker) => docker.getVolume(Name).remove());
}

/**
 * The deployments of that prefix whose youngest container, network or volume is so old.
 *
 * @param ageMs in ms, by the engine's own clock as far as that is ours
 */
export async function findOldDeployments(engine: Engine, prefix: string, ageMs: number): Promise<string[]> {
	const filters = JSON.stringify({ label: [LABELS.gateway] });
	const [containers, networks, volumes] = await Promise.all([
		engine.call((docker) => docker.listContainers({ all: true, filters })),
		engine.call((docker) => docker.listNetworks({ filters })),
		engine.call((docker) => docker.listVolumes({ filters })),
	]);
	const found = [
		...containers.map(({ Labels, Created }) => ({ labels: Labels, madeMs: Created * 1000 })),
		...networks.map(({ Labels, Created }) => ({ labels: Labels, madeMs: Date.parse(Created) })),
		...(volumes.Volumes ?? []).map((volume) => ({
			labels: volume.Labels,
			madeMs: Date.parse('CreatedAt' in volume ? String(volume.CreatedAt) : ''),
		})),
	];
	const youngest = new Map<string, number>();
	for (const { labels, madeMs } of found) {
		const gateway = labels?.[LABELS.gateway] ?? '';
		if (gateway.startsWith(prefix)) youngest.set(gateway, Math.max(youngest.get(gateway) ?? 0, madeMs));
	}
	return [...youngest].filter(([, madeMs]) => Date.now() - madeMs > ageMs).map(([gateway]) => gateway);
}
