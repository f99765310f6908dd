/** Places on the host that a command line names, and what they are called in the container. */
import { posix } from 'node:path';
import { CATALOG_LIMITS } from '../../limits.ts';
import { explainMountSource, isAtOrBelow, shortest } from '../paths.ts';
import { Refusal } from './refusal.ts';
import { tell } from './tell.ts';

export interface HostMount {
	readonly source: string;
	readonly target: string;
	readonly readOnly: boolean;
}

/** Where the places of the host appear: below it nothing else is. */
const MOUNTED = '/mnt';

/** The first folders of absolute paths that are places of a machine, and hardly ever those of a URL. */
const ROOTS: ReadonlySet<string> = new Set(
	'home Users root mnt media opt srv data var tmp etc usr Volumes workspace workspaces projects private path absolute your'.split(
		' ',
	),
);

/** Options whose value begins with a slash and is a path of HTTP. */
const OF_URLS = /(?:endpoint|url|uri|route|prefix|base-?path|sse-?path|message-?path|health-?path|^--path)$/i;

/** Whether the text is a path of a machine that is not Windows: absolute, or relative with a leading dot. */
export function isHostPath(text: string, option = ''): boolean {
	if (/^\.{1,2}(?:\/|$)/.test(text)) return true;
	if (!text.startsWith('/') || text.startsWith('//') || /[\s{}]/.test(text)) return false;
	const parts = text.split('/').filter((part) => part !== '');
	if (parts.length === 0) return text === '/';
	return ROOTS.has(parts[0] ?? '') || (parts.length > 1 && !OF_URLS.test(option));
}

export function isWindowsPath(text: string): boolean {
	return /^[A-Za-z]:[\\/]|^\\\\[^\\]/.test(text);
}

/** The mounts of one server. Each place is mounted once, and those in it are found there. */
export class HostPaths {
	readonly #mounts: HostMount[];
	readonly #cwd: string | undefined;

	/** @param cwd what relative paths start from; without it the folder of compose.yaml */
	constructor(cwd: string | undefined, mounts: readonly HostMount[] = []) {
		this.#cwd = cwd;
		this.#mounts = [...mounts];
	}

	get mounts(): readonly HostMount[] {
		return this.#mounts;
	}

	/** Where the path is in the container. Throws Refusal when it can be mounted nowhere. */
	place(path: string): string {
		const source = this.source(path);
		const outer = this.#mounts.find((mount) => isAtOrBelow(source, mount.source));
		if (outer !== undefined) return posix.join(outer.target, posix.relative(outer.source, source));
		if (this.#mounts.length >= CATALOG_LIMITS.mountsMax)
			throw new Refusal(
				`it names more than ${CATALOG_LIMITS.mountsMax} places of the host`,
				'Name a folder that has them.',
			);
		const target = this.#freeTarget(source);
		this.#mounts.push({ source, target, readOnly: true });
		return target;
	}

	/** The path as a mount's source. Throws Refusal. */
	source(path: string): string {
		if (isWindowsPath(path)) throw elsewhere(path, 'is a path of Windows');
		const relative = path.startsWith('.');
		const base = this.#cwd?.startsWith('/') ? this.#cwd : undefined;
		const full = shortest(relative && base !== undefined ? posix.join(base, path) : path);
		const source = full.startsWith('/') ? full : full.startsWith('..') ? full : `./${full}`;
		const flaw = source.length > CATALOG_LIMITS.pathCharsMax ? 'it is too long' : explainMountSource(source);
		if (flaw !== undefined)
			throw new Refusal(`the path ${tell(path)} cannot be mounted`, `Name a folder in its place that can be: ${flaw}.`);
		return source;
	}

	#freeTarget(source: string): string {
		const name = posix.basename(source).replace(/[^A-Za-z0-9._-]/g, '-') || 'host';
		const taken = new Set(this.#mounts.map(({ target }) => target));
		let target = posix.join(MOUNTED, name);
		for (let number = 2; taken.has(target); number++) target = posix.join(MOUNTED, `${name}-${number}`);
		return target;
	}
}

/** Throws nothing: makes what is thrown of a path that is somewhere else than on the host. */
export function elsewhere(path: string, what: string): Refusal {
	return new Refusal(
		`${tell(path)} ${what}, which says nothing of the machine that the containers run on`,
		'Copy what it has to a folder below one of SLIPWAY_MOUNT_ROOTS, by default "./data", and write the absolute path of that in its place.',
	);
}
