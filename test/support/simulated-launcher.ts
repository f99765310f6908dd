/**
 * A Launcher whose starts take simulated time, and go wrong as those of the real one do. Its queue for starts is the real
 * one; its books are kept as those of the real one are.
 *
 * It knows nothing of leases: whoever launches has to be asked what an Instance is for.
 */
import type { Isolation, Replicas } from '../../src/catalog/catalog.ts';
import type { InstanceEnd, Patience } from '../../src/channel.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import type { ServerName } from '../../src/ids.ts';
import type { InstanceReport, Launcher, LauncherState, Preparation, ServerView } from '../../src/launcher/contract.ts';
import { StartQueue } from '../../src/launcher/start-queue.ts';
import { INSTANCE_LIMITS } from '../../src/limits.ts';
import { FakeInstance, serverView } from './fake-launcher.ts';
import type { SimulatedTime } from './simulated-time.ts';

/** What the catalog says of a server, and how far its image is. Another entry is another object. */
export interface Entry {
	readonly name: ServerName;
	/** What it runs: another one is another image. */
	readonly source: number;
	readonly enabled: boolean;
	readonly isolation: Isolation;
	readonly replicas: Replicas | undefined;
	readonly idleStopMs: number;
	readonly callTimeoutMs: number;
	readonly snapshot: boolean;
	/** How many wait for their first caller; undefined: as it is used. */
	readonly warm: number | undefined;
}

/** What is to become of one launch. */
export interface LaunchPlan {
	readonly startMs: number;
	/** What it comes to, if not to an Instance. */
	readonly failure: ErrorCode | undefined;
	/** Its Instance comes all the same when it is given up. */
	readonly ignoresAbort: boolean;
	/** How long its Instance takes to end when it is told to. */
	readonly stopMs: number;
}

/** How an Instance ends otherwise than by our hand. */
export const ACCIDENTS = [
	{ cause: 'exited', exitCode: 1, stderr: 'simulated' },
	{ cause: 'exited', exitCode: 0, stderr: '' },
	{ cause: 'oom', exitCode: 137, stderr: '' },
	{ cause: 'lost', stderr: '' },
	{ cause: 'frame', stderr: '' },
] as const satisfies readonly InstanceEnd[];

export interface SimulatedLauncherOptions {
	readonly time: SimulatedTime;
	readonly instancesMax: number;
	readonly concurrentMax: number;
	readonly queuedMax: number;
	/** Asked once for each start. */
	readonly plan: (entry: Entry) => LaunchPlan;
	/** Called with each Instance that is there, before whoever launched it has it. */
	readonly onInstance: (instance: SimulatedInstance) => void;
	/** Called when an Instance is told to end for the first time. */
	readonly onStop: (instance: SimulatedInstance) => void;
	/** Told of what happens, for the trace. */
	readonly tell: (event: string) => void;
}

interface InstanceOptions {
	readonly spec: string;
	readonly stopMs: number;
	readonly time: SimulatedTime;
	readonly onStop: (instance: SimulatedInstance) => void;
}

export class SimulatedInstance extends FakeInstance {
	/** Short, and the same in each run. */
	readonly label: string;
	readonly entry: Entry;
	readonly bornAtMs: number;
	/** When it will have ended, since it was told to; undefined before. */
	stopsAtMs: number | undefined;
	/** Since when it has ended, or is about to by itself. */
	overAtMs: number | undefined;
	readonly #options: InstanceOptions;

	constructor(label: string, entry: Entry, options: InstanceOptions) {
		super(entry.name, options.spec);
		this.label = label;
		this.entry = entry;
		this.#options = options;
		this.bornAtMs = options.time.nowMs;
	}

	get over(): boolean {
		return this.overAtMs !== undefined;
	}

	/** Whether it was not told to end, and has not ended. */
	get stays(): boolean {
		return !this.over && this.stopsAtMs === undefined;
	}

	override stop(patience: Patience): Promise<void> {
		this.stopped ??= patience;
		this.stream.resume();
		const { promptStopEofMs, promptStopTermMs } = INSTANCE_LIMITS;
		const longestMs = patience === 'prompt' ? promptStopEofMs + promptStopTermMs : Number.POSITIVE_INFINITY;
		const { time, stopMs, onStop } = this.#options;
		const atMs = time.nowMs + Math.min(stopMs, longestMs);
		const isFirst = this.stopsAtMs === undefined && !this.over;
		if (this.stopsAtMs === undefined || atMs < this.stopsAtMs) {
			this.stopsAtMs = atMs;
			time.after(atMs - time.nowMs, () => this.#finish({ cause: 'stopped', stderr: '' }));
		}
		if (isFirst) onStop(this);
		return this.ended.then(() => undefined);
	}

	/** Ends otherwise than because it was told to; where it was, that is what will be said. */
	die(end: InstanceEnd): void {
		this.#finish(this.stopsAtMs === undefined ? end : { cause: 'stopped', stderr: '' });
	}

	#finish(end: InstanceEnd): void {
		if (this.over) return;
		this.overAtMs = this.#options.time.nowMs;
		this.finishStop(end);
	}
}

export class SimulatedLauncher implements Launcher {
	/** Every Instance that was made, and has not ended. */
	readonly live = new Set<SimulatedInstance>();
	readonly #options: SimulatedLauncherOptions;
	readonly #queue: StartQueue;
	/** Those that have had their turn. */
	readonly #starts = new Set<object>();
	readonly #entries = new Map<ServerName, Entry>();
	/** Images that are there, by what they are made of. */
	readonly #images = new Map<string, Preparation>();
	/** Who waits for images. */
	readonly #waiting = new Set<() => void>();
	#engineReachable = true;
	#launcherReachable = true;
	/** Aborted when whoever launches, or the launcher, is no more. */
	#contact = new AbortController();
	/** Aborted when the engine is lost. */
	#power = new AbortController();
	#state: LauncherState | undefined;
	#revision = 1;
	#made = 0;

	constructor(options: SimulatedLauncherOptions) {
		this.#options = options;
		const { concurrentMax, queuedMax } = options;
		this.#queue = new StartQueue({ concurrentMax, queuedMax, onLength: () => this.#changed() });
	}

	get reachable(): boolean {
		return this.#engineReachable && this.#launcherReachable;
	}

	/** Starts under way: those that have had their turn. */
	get starting(): number {
		return this.#starts.size;
	}

	get entries(): readonly Entry[] {
		return [...this.#entries.values()];
	}

	get state(): LauncherState {
		this.#state ??= {
			launcher: { reachable: this.#launcherReachable, version: 'simulated' },
			engine: this.reachable
				? { reachable: true, version: '29', apiVersion: '1.51' }
				: { reachable: false, reason: 'simulated' },
			catalog: { revision: this.#revision },
			servers: this.entries.map((entry) => this.#view(entry)),
			startsQueued: this.#queue.length,
			orphansSwept: 0,
			groups: {},
		};
		return this.#state;
	}

	/** What an Instance of an entry is made of now. */
	specOf(entry: Entry): string {
		return this.#preparationOf(entry).kind === 'ready'
			? specWithImage(entry)
			: `${specWithImage(entry)} without an image`;
	}

	/** The catalog says this of a server from here on. */
	setEntry(entry: Entry): void {
		this.#entries.set(entry.name, entry);
		this.#revision += 1;
		this.#changed();
	}

	removeEntry(name: ServerName): void {
		this.#entries.delete(name);
		this.#revision += 1;
		this.#changed();
	}

	/** What is known of the image of an entry from here on. */
	setPreparation(entry: Pick<Entry, 'name' | 'source'>, preparation: Preparation): void {
		this.#images.set(`${entry.name} ${entry.source}`, preparation);
		this.#changed();
		for (const look of [...this.#waiting]) look();
	}

	/** The engine is lost, and all that runs on it, or found. */
	setEngine(reachable: boolean): void {
		this.#engineReachable = reachable;
		this.#changed();
		if (reachable) return;
		this.#power.abort(new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE'));
		this.#power = new AbortController();
		this.#loseAll();
	}

	/** The launcher's process is lost, and all that it held, or found. */
	setLauncher(reachable: boolean): void {
		this.#launcherReachable = reachable;
		this.#changed();
		if (!reachable) this.disown();
	}

	/** Launcher and whoever launches have lost each other: what was held ends, and what was waited for does not come. */
	disown(): void {
		this.#contact.abort(new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE'));
		this.#contact = new AbortController();
		this.#loseAll();
	}

	subscribe(): () => void {
		return () => undefined;
	}

	async launch(name: ServerName, signal: AbortSignal, caller: string): Promise<SimulatedInstance> {
		if (!this.#launcherReachable) throw new SlipwayError('SLIPWAY_LAUNCHER_UNREACHABLE');
		const entry = this.#entries.get(name);
		if (entry === undefined) throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN', { server: name });
		if (!entry.enabled) throw new SlipwayError('SLIPWAY_SERVER_DISABLED', { server: name });
		if (!this.#engineReachable) throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		const contact = this.#contact.signal;
		const either = AbortSignal.any([signal, contact]);
		await this.#waitForImage(entry, either);
		return this.#queue.run(() => this.#startWithinBound(entry, signal, contact), { caller, signal: either });
	}

	async report(): Promise<readonly InstanceReport[]> {
		return [];
	}

	/** Its servers write nothing. */
	async stderr(): Promise<void> {}

	async stop(): Promise<void> {
		await Promise.all([...this.live].map((instance) => instance.stop('prompt')));
	}

	async #startWithinBound(entry: Entry, signal: AbortSignal, contact: AbortSignal): Promise<SimulatedInstance> {
		if (!this.#engineReachable) throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		if (this.live.size + this.#starts.size >= this.#options.instancesMax)
			throw new SlipwayError('SLIPWAY_INSTANCES_FULL', { retryAfterSeconds: 5 });
		const { startMs, failure, ignoresAbort, stopMs } = this.#options.plan(entry);
		const ends = AbortSignal.any([contact, this.#power.signal, ...(ignoresAbort ? [] : [signal])]);
		const start = {};
		this.#starts.add(start);
		try {
			await this.#options.time.pass(startMs, ends);
			if (failure !== undefined) throw new SlipwayError(failure, { server: entry.name });
			return this.#make(entry, stopMs);
		} finally {
			this.#starts.delete(start);
		}
	}

	#make(entry: Entry, stopMs: number): SimulatedInstance {
		const { time, onStop, onInstance, tell } = this.#options;
		const options = { spec: specWithImage(entry), stopMs, time, onStop };
		const instance = new SimulatedInstance(`i${++this.#made}`, entry, options);
		this.live.add(instance);
		this.#changed();
		void instance.ended.then(({ cause }) => {
			this.live.delete(instance);
			this.#changed();
			tell(`${instance.label} ${cause}`);
		});
		tell(`${instance.label}@${entry.name} is there`);
		onInstance(instance);
		return instance;
	}

	async #waitForImage(entry: Entry, signal: AbortSignal): Promise<void> {
		while (true) {
			const preparation = this.#preparationOf(entry);
			signal.throwIfAborted();
			if (preparation.kind === 'ready') return;
			if (preparation.kind === 'failed') throw new SlipwayError(preparation.error.code, { server: entry.name });
			const { promise, resolve, reject } = Promise.withResolvers<void>();
			const onAbort = (): void => reject(signal.reason);
			this.#waiting.add(resolve);
			signal.addEventListener('abort', onAbort);
			await promise.finally(() => {
				signal.removeEventListener('abort', onAbort);
				this.#waiting.delete(resolve);
			});
		}
	}

	#loseAll(): void {
		for (const instance of this.live) instance.die({ cause: 'lost', stderr: '' });
	}

	#preparationOf({ name, source }: Entry): Preparation {
		return (
			this.#images.get(`${name} ${source}`) ?? { kind: 'ready', image: 'test', imageId: `sha256:${name} ${source}` }
		);
	}

	#view(entry: Entry): ServerView {
		const { replicas, source, warm, ...rest } = entry;
		return serverView(entry.name, {
			...rest,
			...(replicas === undefined ? {} : { replicas }),
			...(warm === undefined ? {} : { warm }),
			source: `image ${source}`,
			preparation: this.#preparationOf(entry),
			spec: this.specOf(entry),
			instances: [...this.live].filter(({ server }) => server === entry.name).length,
		});
	}

	#changed(): void {
		this.#state = undefined;
	}
}

function specWithImage({ name, source, isolation, replicas }: Entry): string {
	const many = replicas === undefined ? '' : ` ${replicas.min}-${replicas.max}`;
	return `sha256:${name} ${source} ${isolation}${many}`;
}
