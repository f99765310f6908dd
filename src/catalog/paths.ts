/** What may stand in `target` and `source` of volumes and mounts. Posix paths throughout: containers have no others. */
import { posix } from 'node:path';
import { quote } from './quote.ts';

/**
 * Where nothing is mounted: what the kernel, the Engine and Slipway put there themselves, and what the image's own
 * programs are made of. A mount there would undo a part of the container's hardening or hide what is to be run.
 */
export const RESERVED_TARGETS: readonly string[] = Object.freeze([
	'/proc',
	'/sys',
	'/dev',
	'/tmp',
	'/run',
	'/var/run',
	'/etc',
	'/boot',
	'/bin',
	'/sbin',
	'/lib',
	'/lib32',
	'/lib64',
	'/libx32',
	'/usr/bin',
	'/usr/sbin',
	'/usr/lib',
	'/usr/lib64',
	'/usr/local/bin',
	'/usr/local/sbin',
	'/usr/local/lib',
]);

/** Whether a path is the folder or in it. Both absolute and normalised: `/data-evil` is not in `/data`. */
export function isAtOrBelow(path: string, folder: string): boolean {
	return folder === '/' || path === folder || path.startsWith(`${folder}/`);
}

/** What is wrong with a target, and what to write instead. Undefined when nothing is. */
export function explainTarget(target: string): string | undefined {
	if (!target.startsWith('/')) return `${quote(target)} is not an absolute path. Write one, as in "/data"`;
	const flaw = explainForm(target);
	if (flaw !== undefined) return flaw;
	if (target === '/') return 'the whole file system cannot be covered. Name a folder, as in "/data"';
	// Above counts too: a mount at /usr covers /usr/bin.
	const reserved = RESERVED_TARGETS.find((path) => isAtOrBelow(target, path) || isAtOrBelow(path, target));
	if (reserved === undefined) return undefined;
	return `${quote(target)} is in the way of ${reserved}, which is not to be covered. Choose another folder, as in "/data"`;
}

/** What is wrong with the source of a mount, and what to write instead. Undefined when nothing is. */
export function explainMountSource(source: string): string | undefined {
	const relative = source.startsWith('./');
	if (!relative && !source.startsWith('/')) {
		return `${quote(source)} starts with neither "./" nor "/". Write a path from the folder of compose.yaml, as in "./data", or an absolute one`;
	}
	const path = relative ? source.slice(2) : source;
	const first = posix.normalize(path).split('/')[0];
	if (first === '..') return `${quote(source)} leaves the folder it starts from. Write the absolute path`;
	const short = shortest(path);
	if (short === '/' || short === '.')
		return `${quote(source)} is too much to mount. Name a folder in it, as in "./data"`;
	return relative && short.startsWith('/')
		? explainShort(`./${short.slice(1)}`)
		: explainForm(path, relative ? './' : '');
}

function explainForm(path: string, prefix = ''): string | undefined {
	if (/[\u0000-\u001f\u007f]/.test(path)) return 'the path has a control character in it. Remove it';
	const short = shortest(path);
	return path === short ? undefined : explainShort(prefix + short);
}

function explainShort(path: string): string {
	return `the path is not in its shortest form. Write ${quote(path)}`;
}

/** The path with no `.`, `..`, doubled slash or slash at the end that it could do without. */
export function shortest(path: string): string {
	const normal = posix.normalize(path);
	return normal.length > 1 && normal.endsWith('/') ? normal.slice(0, -1) : normal;
}
