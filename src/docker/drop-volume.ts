/** Volumes of servers that are in the catalog no more. */
import { ENGINE_LIMITS } from '../limits.ts';
import { type Engine, EngineRefusal } from './engine.ts';
import { volumeName } from './volumes.ts';

/**
 * Removes a volume for good, once the containers that have it are gone: they end by themselves when their server is out of
 * the catalog and their calls are done.
 *
 * @returns `removed`, `absent`, or `used` when somebody has it still after `waitMs`
 */
export async function dropVolume(
	engine: Engine,
	{ gateway, name, waitMs, signal }: { gateway: string; name: string; waitMs: number; signal: AbortSignal },
): Promise<'removed' | 'absent' | 'used'> {
	const volume = volumeName(gateway, name);
	if ((await engine.callIfThere((docker) => docker.getVolume(volume).inspect())) === undefined) return 'absent';
	const filters = JSON.stringify({ volume: [volume] });
	const holders = await engine.call((docker) => docker.listContainers({ all: true, filters }));
	const late = AbortSignal.timeout(waitMs);
	try {
		const either = AbortSignal.any([signal, late]);
		// The bound of a single request comes after ours: which of the two is over shall be no matter of luck.
		const patience = { timeoutMs: waitMs + ENGINE_LIMITS.requestTimeoutMs, signal: either };
		for (const { Id } of holders)
			await engine.callIfThere((docker) => docker.getContainer(Id).wait({ condition: 'removed' }), patience);
		await engine.call((docker) => docker.getVolume(volume).remove());
		return 'removed';
	} catch (error) {
		signal.throwIfAborted();
		const isUsed = error instanceof EngineRefusal && error.statusCode === 409;
		if (isUsed || late.aborted) return 'used';
		throw error;
	}
}
