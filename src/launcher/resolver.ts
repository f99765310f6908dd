/** Packages resolved by themselves, without a launcher: for the command line. */
import { randomUUID } from 'node:crypto';
import type { PypiLocalSource, PypiSource, Source } from '../catalog/catalog.ts';
import type { LockEntry } from '../catalog/lock.ts';
import type { Config } from '../config.ts';
import { Engine, explainRefusal } from '../docker/engine.ts';
import { resolveNpmSource } from '../docker/npm-image.ts';
import { OomWatch } from '../docker/oom-watch.ts';
import { resolvePypi } from '../docker/pypi-image.ts';
import { ensureBase } from '../docker/system-image.ts';
import { SILENT_LOG } from '../log.ts';
import { npmAccess } from './npm-access.ts';

/** A source that is resolved before it runs. */
export type PackageSource = Exclude<Source, { readonly kind: 'image' }>;

/** As it is to be in the lock, with the exact version. */
export interface Resolved extends LockEntry {
	readonly version: string;
}

export interface Resolver extends AsyncDisposable {
	/** What a package is resolved to today, whatever is in a lock. Rejects with a SlipwayError. */
	resolve(source: PackageSource): Promise<Resolved>;
	/** The image that packages of such a source are put on: its name, and with its digest where a registry knows it. */
	base(source: PackageSource): Promise<{ readonly name: string; readonly digest: string | undefined }>;
}

export interface ResolverOptions {
	/** The folder that paths of local packages start from. */
	readonly catalogFolder: string;
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

/**
 * Connects to the engine. Containers that it makes end with its connection, so nothing of it is to be swept.
 *
 * @throws SlipwayError SLIPWAY_ENGINE_UNREACHABLE
 */
export async function openResolver(config: Config, options: ResolverOptions): Promise<Resolver> {
	const engine = new Engine({ socketPath: config.dockerSocket, log: SILENT_LOG });
	// Not the id of a launcher's deployment, which would take for orphans what it does not know.
	const gateway = `slipway-resolver-${randomUUID()}`;
	const oomWatch = new OomWatch(engine, gateway);
	await engine.start();
	try {
		engine.assertReachable();
	} catch (error) {
		engine.stop();
		throw error;
	}
	oomWatch.start();
	const dependencies = { engine, oomWatch };
	const common = { ...options, gateway, boot: randomUUID(), books: new Set<string>() };
	const resolve = (source: PackageSource): Promise<Resolved> =>
		isPython(source)
			? resolvePypi(dependencies, source, { ...common, python: config.python })
			: resolveNpmSource(dependencies, source, {
					...common,
					nodeImage: config.nodeImage,
					access: npmAccess(config),
				});
	return {
		resolve: (source) => resolve(source).catch((error) => Promise.reject(explainRefusal(error))),
		base: async (source) => {
			const name = isPython(source) ? config.python.image : config.nodeImage;
			const { digests } = await ensureBase(dependencies, name, common);
			return { name, digest: digests[0] };
		},
		[Symbol.asyncDispose]: async () => {
			await oomWatch.stop();
			engine.stop();
		},
	};
}

/** Whether it is put on the Python image, and not on that with Node. */
export function isPython(source: Source): source is PypiSource | PypiLocalSource {
	return source.kind === 'pypi' || source.kind === 'pypi-local';
}
