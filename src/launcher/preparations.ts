/**
 * The preparation of images: in the background, a few at a time, and those that somebody waits for first.
 *
 * INVARIANTS:
 * - A source is prepared at most once at a time, however many servers and callers want it (single flight).
 * - What is ready stays so while it is prepared again because of something else than itself; whoever waits gets the new one.
 * - A failure is remembered and told at once to whoever asks within retryAfterMs: no retry storm.
 */
import type { Server, Source } from '../catalog/catalog.ts';
import { writePypi } from '../catalog/pypi.ts';
import type { PreparedImage } from '../docker/images.ts';
import { SlipwayError, toErrorRecord, toSlipwayError } from '../errors.ts';
import { PREPARATION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import type { Preparation } from './contract.ts';

export interface PreparationContext {
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

export interface PreparationsOptions {
	readonly prepare: (source: Source, context: PreparationContext) => Promise<PreparedImage>;
	readonly onChange: () => void;
	readonly log: Log;
	/** What beside a source itself decides which image it becomes. With another one it is prepared again. */
	readonly stateOf?: (source: Source) => string;
}

interface Task {
	readonly key: string;
	readonly source: Source;
	readonly state: string;
	readonly promise: Promise<PreparedImage>;
	readonly resolve: (image: PreparedImage) => void;
	readonly reject: (error: SlipwayError) => void;
	waiting: number;
	view: Preparation;
	failure: { readonly error: SlipwayError; readonly atMs: number } | undefined;
}

export class Preparations {
	readonly #options: PreparationsOptions;
	readonly #tasks = new Map<string, Task>();
	readonly #pending: Task[] = [];
	readonly #stopping = new AbortController();
	readonly #running = new Set<Promise<void>>();

	constructor(options: PreparationsOptions) {
		this.#options = options;
	}

	/** Prepares these in the background; what is ready or under way stays. What failed is tried again. */
	require(servers: Iterable<Server>): void {
		for (const { source } of servers) {
			const task = this.#tasks.get(keyOf(source));
			if (task === undefined || task.failure !== undefined || this.#isOther(task)) this.#enqueue(source);
		}
	}

	/** How far a server's image is. */
	view({ source }: Server): Preparation {
		return this.#tasks.get(keyOf(source))?.view ?? { kind: 'waiting' };
	}

	/** The id of the image of a source, once it is ready. */
	readyImage(source: Source): string | undefined {
		const view = this.#tasks.get(keyOf(source))?.view;
		return view?.kind === 'ready' ? view.imageId : undefined;
	}

	/** The image of a server, as soon as it is there. Rejects with a SlipwayError, or as `signal` says. */
	async wait({ source }: Server, signal: AbortSignal): Promise<PreparedImage> {
		let task = this.#tasks.get(keyOf(source));
		if (task === undefined || isStale(task) || this.#isOther(task)) task = this.#enqueue(source);
		task.waiting += 1;
		const aborted = Promise.withResolvers<never>();
		const abort = (): void => aborted.reject(signal.reason);
		signal.addEventListener('abort', abort, { once: true });
		try {
			signal.throwIfAborted();
			return await Promise.race([task.promise, aborted.promise]);
		} finally {
			signal.removeEventListener('abort', abort);
			task.waiting -= 1;
		}
	}

	/** Forgets an image that the engine no longer has, unless another is on its way already. */
	forget({ source }: Server, image: PreparedImage): void {
		const view = this.#tasks.get(keyOf(source))?.view;
		if (view?.kind === 'ready' && view.imageId === image.id) this.#tasks.delete(keyOf(source));
	}

	/** Breaks off what is under way, and resolves when it has put its things away. */
	async stop(): Promise<void> {
		this.#stopping.abort(new SlipwayError('SLIPWAY_DRAINING'));
		for (const task of this.#pending.splice(0)) task.reject(new SlipwayError('SLIPWAY_DRAINING'));
		await Promise.all(this.#running);
	}

	#isOther({ source, state }: Task): boolean {
		return state !== this.#stateOf(source);
	}

	#stateOf(source: Source): string {
		return this.#options.stateOf?.(source) ?? '';
	}

	#enqueue(source: Source): Task {
		const { promise, resolve, reject } = Promise.withResolvers<PreparedImage>();
		// Nobody may be waiting when it fails; the view tells of it then.
		promise.catch(() => undefined);
		const key = keyOf(source);
		const before = this.#tasks.get(key)?.view;
		const task: Task = {
			key,
			source,
			state: this.#stateOf(source),
			promise,
			resolve,
			reject,
			waiting: 0,
			view: before?.kind === 'ready' ? before : { kind: 'waiting' },
			failure: undefined,
		};
		this.#tasks.set(key, task);
		this.#pending.push(task);
		// On the next turn, so that a caller who enqueues and waits counts as waiting when the first is picked.
		queueMicrotask(() => this.#pump());
		return task;
	}

	#pump(): void {
		while (this.#running.size < PREPARATION_LIMITS.concurrentMax && !this.#stopping.signal.aborted) {
			const index = mostWanted(this.#pending);
			const [task] = index < 0 ? [] : this.#pending.splice(index, 1);
			if (task === undefined) return;
			const run = this.#run(task).finally(() => {
				this.#running.delete(run);
				this.#pump();
			});
			this.#running.add(run);
		}
	}

	async #run(task: Task): Promise<void> {
		const { log, onChange, prepare } = this.#options;
		const startedAt = new Date();
		const what = describeSource(task.source);
		const onStep = (step: string): void => {
			if (task.view.kind !== 'ready') task.view = { kind: 'preparing', step, startedAt: startedAt.toISOString() };
			log.info('preparing image', { image: what, step });
			onChange();
		};
		onStep('looking for the image');
		try {
			const image = await prepare(task.source, { onStep, signal: this.#stopping.signal });
			const { reference, id, integrity } = image;
			task.view = { kind: 'ready', image: reference, imageId: id, ...(integrity === undefined ? {} : { integrity }) };
			log.info('image ready', { image: reference, durationMs: Date.now() - startedAt.getTime() });
			task.resolve(image);
		} catch (cause) {
			const error = toSlipwayError(cause);
			task.failure = { error, atMs: Date.now() };
			task.view = { kind: 'failed', error: toErrorRecord(error), failedAt: new Date().toISOString() };
			const reason = error.details.reason;
			if (!this.#stopping.signal.aborted)
				log.warn('image not ready', { image: what, code: error.code, ...(reason === undefined ? {} : { reason }) });
			task.reject(error);
		}
		onChange();
	}
}

/** What a source is called among people. */
export function describeSource(source: Source): string {
	switch (source.kind) {
		case 'image':
			return `image ${source.reference}`;
		case 'npm':
			return `npm ${source.name}@${source.version}`;
		case 'npm-local':
			return `npm ${source.path}`;
		case 'pypi':
			return `pypi ${writePypi(source)}`;
		case 'pypi-local':
			return `pypi ${source.path}`;
	}
}

/** Another one for whatever makes another image. */
function keyOf(source: Source): string {
	return JSON.stringify(source);
}

/** A failure for want of the engine says nothing of the image: it is old as soon as somebody asks again. */
function isStale({ failure }: Task): boolean {
	if (failure === undefined) return false;
	const isOld = Date.now() - failure.atMs >= PREPARATION_LIMITS.retryAfterMs;
	return isOld || failure.error.code === 'SLIPWAY_ENGINE_UNREACHABLE';
}

/** The first of those that most callers wait for. */
function mostWanted(tasks: readonly Task[]): number {
	let best = -1;
	for (const [index, task] of tasks.entries()) {
		if (best < 0 || task.waiting > (tasks[best]?.waiting ?? 0)) best = index;
	}
	return best;
}
