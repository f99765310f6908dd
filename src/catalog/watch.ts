import { type FSWatcher, readFileSync, statSync, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { SlipwayError, toSlipwayError } from '../errors.ts';
import { CATALOG_LIMITS } from '../limits.ts';
import type { Catalog } from './catalog.ts';
import type { Environment } from './import/references.ts';
import { type CatalogTexts, FILE_NAME, parseTexts, readCatalogText, resolveCatalogFile } from './load.ts';
import { lockFileOf } from './lock.ts';

export interface WatchHandlers {
	/**
	 * What the caller runs with. When the file says something else already, that is reported at once, so nothing is
	 * lost between the first load and the watch. Without it a file that can be read is taken as known as it is now.
	 */
	readonly current?: Catalog;
	/** What `${VAR}` is read from in a file that other programs wrote. */
	readonly environment?: Environment;
	/** The file was changed and is a catalog. */
	readonly onCatalog: (catalog: Catalog) => void;
	/**
	 * The file was changed and is none, or it is gone: SLIPWAY_CATALOG_INVALID; or its lock is: SLIPWAY_LOCK_INVALID. The last
	 * good one goes on.
	 */
	readonly onProblem: (error: SlipwayError) => void;
}

/**
 * Watches a catalog file, or the folder it is in, and loads it whenever its content changes, or that of its lock. It does not do the first
 * load. Never throws. Its timers keep no process alive. After `stop` nothing is called any more.
 */
export function watchCatalog(path: string, handlers: WatchHandlers): { stop(): void } {
	const watcher = new CatalogWatcher(path, handlers);
	watcher.start();
	return { stop: () => watcher.stop() };
}

/** What was read last: the texts, or why there are none. */
type Content = CatalogTexts | { readonly problem: SlipwayError };

/**
 * INVARIANTS:
 * - One look at the file at a time: a call for another while one runs is answered by one more after it.
 * - Handlers are told of a content once, however many events it made, and never after `stop`.
 * - Events and polls only ask for a look; what is in the file decides.
 */
class CatalogWatcher {
	readonly #path: string;
	readonly #handlers: WatchHandlers;
	#events: FSWatcher | undefined;
	#pollTimer: NodeJS.Timeout | undefined;
	#lookTimer: NodeJS.Timeout | undefined;
	/** When the look that is waited for was first asked for. */
	#askedAt: number | undefined;
	#looking = false;
	#stopped = false;
	/** Undefined: nothing is known yet. */
	#content: Content | undefined;
	/** The file's state when it was last polled. */
	#signature: string | undefined;

	constructor(path: string, handlers: WatchHandlers) {
		this.#path = path;
		this.#handlers = handlers;
	}

	start(): void {
		this.#content = this.#knownContent();
		this.#watchFolder();
		this.#pollLater();
		if (this.#content === undefined) this.#ask();
	}

	stop(): void {
		this.#stopped = true;
		this.#events?.close();
		clearTimeout(this.#pollTimer);
		clearTimeout(this.#lookTimer);
	}

	/** What the caller has seen already. Read synchronously: what is written after this call is news. */
	#knownContent(): Content | undefined {
		try {
			const file = statSync(this.#path).isDirectory() ? join(this.#path, FILE_NAME) : this.#path;
			const state = statSync(file);
			if (!state.isFile() || state.size > CATALOG_LIMITS.fileBytesMax) return undefined;
			const lockFile = lockFileOf(file);
			const lockState = statSync(lockFile, { throwIfNoEntry: false });
			if (lockState !== undefined && (!lockState.isFile() || lockState.size > CATALOG_LIMITS.lockFileBytesMax))
				return undefined;
			const lockText = lockState === undefined ? undefined : readText(lockFile);
			const texts = { file, text: readText(file), lockText };
			const { current, environment } = this.#handlers;
			return current === undefined || isSame(parseTexts(texts, environment), current) ? texts : undefined;
		} catch {
			return undefined;
		}
	}

	/** The folder and not the file: editors put a new file in the place of the old, whose watch would see no more. */
	#watchFolder(): void {
		try {
			const folder = statSync(this.#path).isDirectory() ? this.#path : dirname(this.#path);
			// Whichever file it was: a link that leads to the catalog may be changed under another name.
			this.#events = watch(folder, { persistent: false }, () => this.#ask());
			this.#events.on('error', () => this.#events?.close());
		} catch {
			// No such folder, or no more watches to be had: the poll sees changes, too, only later.
		}
	}

	#pollLater(): void {
		if (this.#stopped) return;
		this.#pollTimer = setTimeout(() => void this.#poll(), CATALOG_LIMITS.pollIntervalMs).unref();
	}

	async #poll(): Promise<void> {
		const signature = await signatureOf(this.#path);
		if (signature !== this.#signature) this.#ask();
		this.#signature = signature;
		this.#pollLater();
	}

	/** Has the file looked at when it has been quiet for reloadDelayMs, or has not been for pollIntervalMs. */
	#ask(): void {
		if (this.#stopped) return;
		const now = performance.now();
		this.#askedAt ??= now;
		const leftMs = Math.max(0, this.#askedAt + CATALOG_LIMITS.pollIntervalMs - now);
		clearTimeout(this.#lookTimer);
		const delayMs = Math.min(CATALOG_LIMITS.reloadDelayMs, leftMs);
		this.#lookTimer = setTimeout(() => void this.#look(), delayMs).unref();
	}

	async #look(): Promise<void> {
		this.#askedAt = undefined;
		// The look that runs may have read before the change, so another one follows it.
		if (this.#looking) return this.#ask();
		this.#looking = true;
		try {
			await this.#reload();
		} finally {
			this.#looking = false;
		}
	}

	async #reload(): Promise<void> {
		const content = await readContent(this.#path);
		if (this.#stopped || isSameContent(content, this.#content)) return;
		this.#content = content;
		const result = 'problem' in content ? content.problem : tryParse(content, this.#handlers.environment);
		if (result instanceof SlipwayError) this.#handlers.onProblem(result);
		else this.#handlers.onCatalog(result);
	}
}

async function readContent(path: string): Promise<Content> {
	try {
		return await readCatalogText(path);
	} catch (error) {
		return { problem: toSlipwayError(error) };
	}
}

/** A problem is the same when it is told in the same words. */
function isSameContent(one: Content, other: Content | undefined): boolean {
	if ('problem' in one)
		return other !== undefined && 'problem' in other && one.problem.message === other.problem.message;
	return isDeepStrictEqual(one, other);
}

function readText(file: string): string {
	return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
}

function tryParse(texts: CatalogTexts, environment: Environment | undefined): Catalog | SlipwayError {
	try {
		return parseTexts(texts, environment);
	} catch (error) {
		return toSlipwayError(error);
	}
}

/** What tells one state of the file and its lock from another without reading them. Never rejects. */
async function signatureOf(path: string): Promise<string> {
	const file = await resolveCatalogFile(path).catch(() => path);
	return `${await stateOf(file)}, ${await stateOf(lockFileOf(file))}`;
}

async function stateOf(file: string): Promise<string> {
	try {
		const state = await stat(file, { bigint: true });
		return [state.dev, state.ino, state.size, state.mtimeNs, state.ctimeNs].join(' ');
	} catch {
		return 'unreadable';
	}
}

function isSame(one: Catalog, other: Catalog): boolean {
	const parts = ({ servers, groups, secretValues, lock }: Catalog) => [
		[...servers],
		[...groups],
		[...secretValues],
		lock,
	];
	return isDeepStrictEqual(parts(one), parts(other));
}
