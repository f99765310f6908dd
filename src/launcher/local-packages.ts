/**
 * The packages beside the catalog, looked at for changes: whoever saves a file of one has it served with the next container.
 * No event tells of folders within folders everywhere, and these are few and small, so they are looked at now and then.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { signLocalPackage } from '../docker/local-package.ts';
import { CATALOG_LIMITS } from '../limits.ts';

export interface LocalPackagesOptions {
	/** Undefined: there is no folder that they could be in. */
	readonly catalogFolder: string | undefined;
	readonly catalog: Catalog;
	/** The files of one are other ones now. */
	readonly onChange: () => void;
}

export class LocalPackages {
	readonly #options: LocalPackagesOptions;
	/** By path, as it was when it was looked at last. */
	readonly #known = new Map<string, string>();
	#poll: NodeJS.Timeout | undefined;

	constructor(options: LocalPackagesOptions) {
		this.#options = options;
		this.setCatalog(options.catalog);
	}

	/** Looks for changes until it is stopped. */
	start(): void {
		this.#poll ??= setInterval(() => this.#look(), CATALOG_LIMITS.pollIntervalMs);
	}

	stop(): void {
		clearInterval(this.#poll);
	}

	setCatalog({ servers }: Catalog): void {
		const paths = new Set([...servers.values()].flatMap(({ source }) => ('path' in source ? [source.path] : [])));
		for (const path of this.#known.keys()) if (!paths.has(path)) this.#known.delete(path);
		for (const path of paths) if (!this.#known.has(path)) this.#known.set(path, this.#sign(path));
	}

	/** Another text for other files. */
	stateOf(path: string): string {
		return this.#known.get(path) ?? '';
	}

	#look(): void {
		let changed = false;
		for (const [path, before] of this.#known) {
			const now = this.#sign(path);
			if (now === before) continue;
			this.#known.set(path, now);
			changed = true;
		}
		if (changed) this.#options.onChange();
	}

	#sign(path: string): string {
		const { catalogFolder } = this.#options;
		return catalogFolder === undefined ? '' : signLocalPackage(catalogFolder, path);
	}
}
