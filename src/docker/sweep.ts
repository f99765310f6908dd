/**
 * The sweep: what carries our gateway's id and has no live owner is removed.
 *
 * It goes by label and not by memory, so it also finds what a run before this one left behind, and what was created
 * in the moment in which we died. The engine's list is the truth; events are hints.
 */
import type { ContainerId } from '../ids.ts';
import { removeContainer } from './container.ts';
import type { Engine } from './engine.ts';
import { LABELS } from './labels.ts';

export interface SweepContext {
	readonly gateway: string;
	readonly boot: string;
	/** The instances of this run: entered before their container is created, struck out after it is gone. */
	readonly books: ReadonlySet<string>;
}

/** Removes orphans and returns how many there were that would have stayed. */
export async function sweep(engine: Engine, { gateway, boot, books }: SweepContext): Promise<number> {
	const filters = JSON.stringify({ label: [`${LABELS.gateway}=${gateway}`, LABELS.boot] });
	const containers = await engine.call((docker) => docker.listContainers({ all: true, filters }));
	const orphans = containers.filter(
		({ Labels }) => Labels[LABELS.boot] !== boot || !books.has(Labels[LABELS.instance] ?? ''),
	);
	await Promise.all(orphans.map(({ Id }) => removeContainer(engine, Id as ContainerId)));
	// One that has exited is on its way out already: the engine removes it by itself.
	return orphans.filter(({ State }) => State !== 'exited' && State !== 'removing').length;
}
