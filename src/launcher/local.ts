/**
 * The launcher itself: catalog, images, containers, and the books of what is alive.
 *
 * It takes names. All that shapes a container comes from the catalog and from spec.ts.
 */
import { randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { posix } from 'node:path';
import type { Catalog, Server, Source } from '../catalog/catalog.ts';
import { type Fingerprints, fingerprintsOf } from '../catalog/difference.ts';
import { hashEntry } from '../catalog/entry-hash.ts';
import { lockKey } from '../catalog/lock.ts';
import { resolveMount } from '../catalog/mounts.ts';
import type { Channel } from '../channel.ts';
import type { PythonConfig, SecretsConfig } from '../config.ts';
import { collectImages, needsOf } from '../docker/collect.ts';
import { type ContainerChannel, type ContainerDependencies, startContainer } from '../docker/container.ts';
import { type Engine, explainRefusal } from '../docker/engine.ts';
import { ensureImage, type PreparedImage } from '../docker/images.ts';
import { ensureNpmImage, type NpmAccess } from '../docker/npm-image.ts';
import { OomWatch } from '../docker/oom-watch.ts';
import { ensurePypiImage } from '../docker/pypi-image.ts';
import { buildSpec, type MountVolume } from '../docker/spec.ts';
import { sweep } from '../docker/sweep.ts';
import { ensureRootVolume, ensureVolumes } from '../docker/volumes.ts';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import type { InstanceId, ServerName } from '../ids.ts';
import { ENGINE_LIMITS, INSTANCE_LIMITS, PREPARATION_LIMITS } from '../limits.ts';
import type { Log } from '../log.ts';
import { Secrets, type ServerSecrets } from '../secrets/secrets.ts';
import type {
	InstanceReport,
	Launcher,
	LauncherState,
	Preparation,
	ServerView,
	StderrListener,
	StderrWish,
} from './contract.ts';
import { EgressNetworks, type EgressOptions } from './egress.ts';
import { type Identity, type IdentityOptions, identify } from './identity.ts';
import { LocalPackages } from './local-packages.ts';
import { describeSource, type PreparationContext, Preparations } from './preparations.ts';
import { Quotas } from './quotas.ts';
import { isPython } from './resolver.ts';
import { type StartOptions, StartQueue } from './start-queue.ts';
import { StderrFeed } from './stderr-feed.ts';

export interface LocalLauncherOptions extends IdentityOptions {
	readonly engine: Engine;
	readonly log: Log;
	readonly version: string;
	readonly catalog: Catalog;
	readonly nodeImage: string;
	/** Where npm packages come from, other than from the public registry. */
	readonly npm?: NpmAccess;
	readonly python: PythonConfig;
	/** The folder of the catalog, which packages that are beside it are below. Absent: there are none. */
	readonly catalogFolder?: string;
	/** The deployment that images are made for, where that is another one. */
	readonly imagesOf?: string;
	/** When images that nobody needs are removed; absent: as the limits say. */
	readonly unusedImageAgeMs?: number;
	readonly instancesMax: number;
	/** Absent: no fewer than of all together. */
	readonly instancesPerServerMax?: number;
	readonly startsPerMinuteMax?: number;
	/** Folders on the host, absolute or relative to hostDir, below which servers may be given folders. */
	readonly mountRoots: readonly string[];
	/** Where secrets of servers come from. */
	readonly secrets: SecretsConfig;
	/** The way to the egress role. Without one, servers that name hosts are not started. */
	readonly egress?: EgressOptions;
}

/**
 * INVARIANTS:
 * - An instance is in `#books` from before its container is created until after it is gone.
 * - `#live` holds the channels that have not ended.
 */
export class LocalLauncher implements Launcher {
	readonly #options: LocalLauncherOptions;
	readonly #boot = randomUUID();
	readonly #books = new Set<string>();
	readonly #live = new Map<InstanceId, ContainerChannel>();
	readonly #ended: InstanceReport[] = [];
	readonly #stderr = new StderrFeed();
	readonly #preparations: Preparations;
	readonly #listeners = new Set<(state: LauncherState) => void>();
	readonly #stopping = new AbortController();
	readonly #queue = new StartQueue({
		concurrentMax: Math.max(INSTANCE_LIMITS.concurrentStartsMin, availableParallelism()),
		queuedMax: INSTANCE_LIMITS.startsQueuedMax,
		onLength: () => this.#changed(),
	});
	/** The starts under way; one that is aborted still has a container to remove. */
	readonly #starts = new Set<Promise<Channel>>();
	/** The latest hash of each entry: the state is asked for much more often than it changes. */
	#specs = new WeakMap<Server, { readonly imageId: string | undefined; readonly spec: string }>();
	readonly #quotas: Quotas;
	readonly #egress: EgressNetworks;
	readonly #secrets: Secrets;
	readonly #localPackages: LocalPackages;
	#catalog: Catalog;
	#catalogRevision = 1;
	#catalogProblem: string | undefined;
	#orphansSwept = 0;
	#state: LauncherState | undefined;
	#oomWatch: OomWatch | undefined;
	#identity: Promise<Identity> | undefined;
	#sweepTimer: NodeJS.Timeout | undefined;
	#collectTimer: NodeJS.Timeout | undefined;
	#unsubscribe: (() => void) | undefined;

	constructor(options: LocalLauncherOptions) {
		this.#options = options;
		this.#catalog = options.catalog;
		const { instancesMax } = options;
		this.#quotas = new Quotas({
			instancesMax,
			instancesPerServerMax: options.instancesPerServerMax ?? instancesMax,
			startsPerMinuteMax: options.startsPerMinuteMax ?? INSTANCE_LIMITS.startsPerMinuteMax,
		});
		this.#egress = new EgressNetworks({
			engine: options.engine,
			egress: options.egress,
			catalog: options.catalog,
			onChange: () => this.#changed(),
		});
		this.#secrets = new Secrets({
			sources: options.secrets,
			catalog: options.catalog,
			onChange: () => {
				this.#specs = new WeakMap();
				this.#changed();
			},
		});
		this.#localPackages = new LocalPackages({
			catalogFolder: options.catalogFolder,
			catalog: options.catalog,
			onChange: () => {
				if (options.engine.state.reachable) this.#preparations.require(this.#enabled());
			},
		});
		this.#preparations = new Preparations({
			prepare: (source, context) =>
				this.#prepare(source, context).catch((error) => Promise.reject(explainRefusal(error))),
			onChange: () => this.#changed(),
			log: options.log,
			stateOf: (source) => this.#stateOf(source),
		});
	}

	/** Sweeps what a run before this one left, and begins to prepare images, as soon as the engine answers. */
	start(): void {
		const { engine } = this.#options;
		this.#unsubscribe = engine.subscribe((state) => {
			if (state.reachable) this.#engineFound();
			this.#changed();
		});
		if (engine.state.reachable) this.#engineFound();
		this.#secrets.start();
		this.#localPackages.start();
		this.#changed();
		this.#sweepTimer = setInterval(() => void this.#sweep(), ENGINE_LIMITS.sweepIntervalMs);
		this.#collectTimer = setInterval(() => void this.#collect(), PREPARATION_LIMITS.collectIntervalMs);
	}

	/** Made once for each change: in one process with the gateway it is asked for with every request. */
	get state(): LauncherState {
		this.#state ??= this.#makeState();
		return this.#state;
	}

	#makeState(): LauncherState {
		const { engine, version } = this.#options;
		const problem = this.#catalogProblem;
		return {
			launcher: { reachable: true, version },
			engine: engine.state,
			catalog: { revision: this.#catalogRevision, ...(problem === undefined ? {} : { problem }) },
			servers: [...this.#catalog.servers.values()].map((server) => this.#view(server)),
			startsQueued: this.#queue.length,
			orphansSwept: this.#orphansSwept,
			groups: Object.fromEntries(this.#catalog.groups),
		};
	}

	subscribe(listener: (state: LauncherState) => void): () => void {
		this.#listeners.add(listener);
		return () => this.#listeners.delete(listener);
	}

	/** A new catalog. Instances that run stay as they are; new ones are made from it. */
	setCatalog(catalog: Catalog): void {
		this.#catalog = catalog;
		this.#catalogRevision += 1;
		this.#catalogProblem = undefined;
		this.#egress.setCatalog(catalog);
		this.#secrets.setCatalog(catalog);
		this.#localPackages.setCatalog(catalog);
		if (this.#options.engine.state.reachable) this.#preparations.require(this.#enabled());
		this.#changed();
	}

	/** The catalog file is wrong; the last good one stays. */
	setCatalogProblem(problem: string): void {
		this.#catalogProblem = problem;
		this.#changed();
	}

	async launch(name: ServerName, signal: AbortSignal, caller: string): Promise<Channel> {
		const server = this.#catalog.servers.get(name);
		if (server === undefined) throw new SlipwayError('SLIPWAY_SERVER_UNKNOWN', { server: name });
		if (!server.enabled) throw new SlipwayError('SLIPWAY_SERVER_DISABLED', { server: name });
		const either = AbortSignal.any([signal, this.#stopping.signal]);
		try {
			this.#options.engine.assertReachable();
			return await this.#launch(server, { signal: either, caller });
		} catch (cause) {
			either.throwIfAborted();
			throw withServer(toSlipwayError(explainRefusal(cause)), name);
		}
	}

	async fingerprints(): Promise<Fingerprints> {
		return fingerprintsOf(this.#catalog);
	}

	async report(): Promise<readonly InstanceReport[]> {
		const live = [...this.#live.values()].map((channel) => ({
			instance: channel.instance,
			server: channel.server,
			startedAt: channel.startedAt.toISOString(),
			stderr: channel.stderrTail(),
		}));
		return [...live.reverse(), ...this.#ended];
	}

	stderr(wish: StderrWish, onLines: StderrListener): Promise<void> {
		const signal = AbortSignal.any([wish.signal, this.#stopping.signal]);
		return this.#stderr.follow({ ...wish, signal }, this.#ended, onLines);
	}

	async stop(): Promise<void> {
		this.#stopping.abort(new SlipwayError('SLIPWAY_DRAINING'));
		clearInterval(this.#sweepTimer);
		clearInterval(this.#collectTimer);
		this.#secrets.stop();
		this.#localPackages.stop();
		this.#unsubscribe?.();
		await Promise.all([this.#preparations.stop(), Promise.allSettled(this.#starts)]);
		await Promise.all([...this.#live.values()].map((channel) => channel.stop('prompt')));
		// What is left now is in nobody's hands.
		this.#books.clear();
		await this.#egress.stop();
		await this.#sweep();
		await this.#oomWatch?.stop();
		this.#listeners.clear();
	}

	#view(server: Server): ServerView {
		const instances = [...this.#live.values()].filter((channel) => channel.server === server.name).length;
		const preparation = this.#preparations.view(server);
		const egress = this.#egress.view(server);
		return {
			name: server.name,
			...(server.title === undefined ? {} : { title: server.title }),
			...(server.description === undefined ? {} : { description: server.description }),
			enabled: server.enabled,
			source: describeSource(server.source),
			callTimeoutMs: server.callTimeoutMs,
			idleStopMs: server.idleStopMs,
			snapshot: server.snapshot,
			...(server.callsPerMinute === undefined ? {} : { callsPerMinute: server.callsPerMinute }),
			...(server.callsInFlight === undefined ? {} : { callsInFlight: server.callsInFlight }),
			...(server.containers === undefined ? {} : { containers: server.containers }),
			...(server.tools === undefined ? {} : { tools: server.tools }),
			...(server.audit === undefined ? {} : { audit: server.audit }),
			pin: server.pin,
			...(server.warm === undefined ? {} : { warm: server.warm }),
			keeps: server.volumes.length + server.mounts.length > 0,
			memoryBytes: server.resources.memoryBytes,
			isolation: server.isolation,
			...(server.replicas === undefined ? {} : { replicas: server.replicas }),
			preparation,
			spec: this.#spec(server, preparation),
			...(egress === undefined ? {} : { egress }),
			instances,
		};
	}

	#spec(server: Server, preparation: Preparation): string {
		const imageId = preparation.kind === 'ready' ? preparation.imageId : undefined;
		const known = this.#specs.get(server);
		if (known !== undefined && known.imageId === imageId) return known.spec;
		const spec = hashEntry(server, imageId, this.#secrets.fingerprint(server));
		this.#specs.set(server, { imageId, spec });
		return spec;
	}

	*#enabled(): Iterable<Server> {
		for (const server of this.#catalog.servers.values()) if (server.enabled) yield server;
	}

	#changed(): void {
		this.#state = undefined;
		if (this.#listeners.size === 0) return;
		const { state } = this;
		for (const listener of this.#listeners) listener(state);
	}

	#engineFound(): void {
		const found = identify(this.#options.engine, this.#options);
		this.#identity = found;
		found.then(
			async (identity) => {
				this.#oomWatch ??= startOomWatch(this.#options.engine, identity.gateway);
				await this.#sweep();
				this.#preparations.require(this.#enabled());
				await this.#collect();
			},
			(error: unknown) => {
				if (this.#identity === found) this.#identity = undefined;
				this.#options.log.warn('engine lost again', { code: toSlipwayError(error).code });
			},
		);
	}

	async #sweep(): Promise<void> {
		const { engine, log } = this.#options;
		if (this.#identity === undefined || !engine.state.reachable) return;
		try {
			const { gateway } = await this.#identity;
			const boot = this.#boot;
			const containers = await sweep(engine, { gateway, boot, books: this.#books });
			const count = containers + (await this.#egress.sweep({ gateway, boot }));
			if (count === 0) return;
			this.#orphansSwept += count;
			this.#changed();
			log.warn('orphans swept', { count });
		} catch (error) {
			log.warn('sweep failed', { code: toSlipwayError(error).code });
		}
	}

	/** Removes images of packages that no entry of the catalog needs. */
	async #collect(): Promise<void> {
		const { engine, log, unusedImageAgeMs: ageMs = PREPARATION_LIMITS.unusedImageAgeMs } = this.#options;
		if (this.#identity === undefined || !engine.state.reachable) return;
		try {
			const { gateway } = await this.#identity;
			const needs = needsOf(this.#catalog, (source) => this.#preparations.readyImage(source));
			const count = await collectImages(engine, { gateway, needs, ageMs });
			if (count > 0) log.info('unused images removed', { count });
		} catch (error) {
			log.warn('unused images not removed', { code: toSlipwayError(error).code });
		}
	}

	async #prepare(source: Source, context: PreparationContext): Promise<PreparedImage> {
		const { engine, nodeImage, npm, python, catalogFolder, imagesOf } = this.#options;
		engine.assertReachable();
		if (source.kind === 'image') return ensureImage(engine, source.reference, context);
		const { gateway } = await this.#identityNow();
		const { lock } = this.#catalog;
		const ours = {
			...context,
			...(imagesOf === undefined ? {} : { owner: imagesOf }),
			gateway,
			boot: this.#boot,
			books: this.#books,
			lock,
			...(catalogFolder === undefined ? {} : { catalogFolder }),
		};
		if (isPython(source)) return ensurePypiImage(this.#dependencies(), source, { ...ours, python });
		return ensureNpmImage(this.#dependencies(), source, {
			...ours,
			nodeImage,
			...(npm === undefined ? {} : { access: npm }),
		});
	}

	/** What decides beside a source itself which image it becomes: the lock, and the files of a local one. */
	#stateOf(source: Source): string {
		const { bases, sources } = this.#catalog.lock;
		const key = lockKey(source);
		if (key === undefined) return '';
		const files = 'path' in source ? this.#localPackages.stateOf(source.path) : '';
		return JSON.stringify([
			bases.get(isPython(source) ? this.#options.python.image : this.#options.nodeImage),
			sources.get(key),
			files,
		]);
	}

	#identityNow(): Promise<Identity> {
		if (this.#identity === undefined) throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		return this.#identity;
	}

	#dependencies(): ContainerDependencies {
		if (this.#oomWatch === undefined) throw new SlipwayError('SLIPWAY_ENGINE_UNREACHABLE');
		return { engine: this.#options.engine, oomWatch: this.#oomWatch };
	}

	/** Told to the operator as well: the caller may be nobody. */
	#secretsOf(server: Server): ServerSecrets | undefined {
		try {
			return this.#secrets.resolve(server);
		} catch (cause) {
			const { code, details } = toSlipwayError(cause);
			this.#options.log.warn('server without its secrets', { server: server.name, code, reason: details.reason ?? '' });
			throw cause;
		}
	}

	async #launch(server: Server, options: StartOptions): Promise<Channel> {
		const { signal } = options;
		await this.#identityNow();
		// Told before anything is waited for; what counts is what is there when it starts.
		this.#secretsOf(server);
		const image = await this.#waitForImage(server, signal);
		await this.#egress.ready(server, signal);
		try {
			return await this.#startInTurn(server, image, options);
		} catch (error) {
			// Removed behind our back: make it again, and let this caller have the new one.
			if (!(error instanceof SlipwayError) || error.code !== 'SLIPWAY_IMAGE_MISSING') throw error;
			this.#preparations.forget(server, image);
			this.#changed();
			return await this.#startInTurn(server, await this.#waitForImage(server, signal), options);
		}
	}

	#startInTurn(server: Server, image: PreparedImage, options: StartOptions): Promise<Channel> {
		return this.#queue.run(async () => {
			const start = this.#start(server, image, options.signal);
			this.#starts.add(start);
			try {
				return await start;
			} finally {
				this.#starts.delete(start);
			}
		}, options);
	}

	async #waitForImage(server: Server, signal: AbortSignal): Promise<PreparedImage> {
		// A timer of our own, that ends with the wait: AbortSignal.timeout keeps all that waited for it until its time is over.
		const late = new AbortController();
		const timer = setTimeout(() => late.abort(), INSTANCE_LIMITS.preparationWaitMs);
		try {
			return await this.#preparations.wait(server, AbortSignal.any([signal, late.signal]));
		} catch (error) {
			signal.throwIfAborted();
			if (late.signal.aborted) throw new SlipwayError('SLIPWAY_PREPARATION_TIMEOUT');
			throw error;
		} finally {
			clearTimeout(timer);
		}
	}

	async #start(server: Server, image: PreparedImage, signal: AbortSignal): Promise<Channel> {
		const { gateway, hostDir } = await this.#identityNow();
		const { engine, mountRoots, log } = this.#options;
		const instance = randomUUID() as InstanceId;
		this.#quotas.take(server.name, performance.now());
		this.#books.add(instance);
		try {
			const roots = mountRoots.map((root) => posix.resolve(hostDir, root));
			const context = { gateway, boot: this.#boot, books: this.#books, imageId: image.id };
			const mountPlaces: MountVolume[] = [];
			for (const { source } of server.mounts) {
				const { root, subpath } = resolveMount(source, { hostDir, roots });
				mountPlaces.push({ volume: await ensureRootVolume(engine, root, context), root, subpath });
			}
			const volumeNames = await ensureVolumes(engine, server, context);
			const secrets = this.#secretsOf(server);
			const egress = await this.#egress.join(server, instance, { gateway, boot: this.#boot, signal });
			const spec = buildSpec(server, image, {
				gateway,
				boot: this.#boot,
				instance,
				mountPlaces,
				volumeNames,
				...(egress === undefined ? {} : { egress }),
				...(secrets === undefined ? {} : { secrets }),
			});
			const channel = await startContainer(this.#dependencies(), spec, signal);
			this.#enter(channel);
			log.debug('instance started', { server: server.name, instance });
			return channel;
		} catch (error) {
			this.#quotas.give(server.name);
			this.#books.delete(instance);
			this.#egress.leave(server.name, instance);
			throw error;
		}
	}

	#enter(channel: ContainerChannel): void {
		const { instance, server, startedAt } = channel;
		this.#live.set(instance, channel);
		this.#stderr.add(channel);
		this.#changed();
		void channel.ended.then(async ({ cause, exitCode, stderr }) => {
			this.#live.delete(instance);
			this.#quotas.give(server);
			this.#state = undefined;
			const ended = { at: new Date().toISOString(), cause, ...(exitCode === undefined ? {} : { exitCode }) };
			this.#ended.unshift({ instance, server, startedAt: startedAt.toISOString(), ended, stderr });
			this.#ended.splice(INSTANCE_LIMITS.endedKeptMax);
			this.#options.log.info('instance ended', {
				server,
				instance,
				cause,
				...(exitCode === undefined ? {} : { exitCode }),
			});
			// What is left of it, if anything, is the sweep's: now, or when the engine is back.
			if (cause === 'lost') {
				this.#books.delete(instance);
				void this.#sweep();
			}
			// Also when it ended by itself: this waits for the removal, and forces it when the engine was lost meanwhile.
			await channel.stop('prompt');
			this.#books.delete(instance);
			this.#egress.leave(server, instance);
			this.#changed();
		});
	}
}

function startOomWatch(engine: Engine, gateway: string): OomWatch {
	const watch = new OomWatch(engine, gateway);
	watch.start();
	return watch;
}

function withServer(error: SlipwayError, server: ServerName): SlipwayError {
	return error.details.server === undefined
		? new SlipwayError(error.code, { ...error.details, server }, { cause: error })
		: error;
}
