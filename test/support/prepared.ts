/** Waits for the images of a stack. */
import type { Stack } from './stack.ts';

/** Resolves when the gateway knows of every server that its image is ready. */
export async function prepared({ remote }: Stack): Promise<void> {
	const isReady = (): boolean => remote.state.servers.every(({ preparation }) => preparation.kind === 'ready');
	if (isReady()) return;
	const { promise, resolve } = Promise.withResolvers<void>();
	const unsubscribe = remote.subscribe(() => {
		if (isReady()) resolve();
	});
	await promise.finally(unsubscribe);
}
