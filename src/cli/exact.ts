/**
 * Versions made exact. A command line names a package by a tag, a range or nothing at all, and means another one tomorrow:
 * what that is today is looked up once, and written down.
 */
import { dirname } from 'node:path';
import type { EntryFile } from '../catalog/import/contract.ts';
import { resolveCatalogFile } from '../catalog/load.ts';
import {
	explainPypi,
	isPypiLocal,
	normaliseName,
	type PypiPackage,
	parsePypi,
	parsePypiLoosely,
	writePypi,
} from '../catalog/pypi.ts';
import { IMAGE_PATTERN, parseNpm } from '../catalog/sources.ts';
import type { Config } from '../config.ts';
import { digestOf, ensureImage } from '../docker/images.ts';
import { resolveNpm } from '../docker/npm-image.ts';
import { resolvePypi } from '../docker/pypi-image.ts';
import { SlipwayError } from '../errors.ts';
import { npmAccess } from '../launcher/npm-access.ts';
import { Failure } from './failure.ts';
import type { Workbench } from './workbench.ts';

export interface ExactOptions {
	readonly bench: Workbench;
	readonly config: Config;
	readonly onStep: (step: string) => void;
	readonly signal: AbortSignal;
}

/** Whether an entry says exactly what it runs. */
export function isExact({ npm, pypi, image, with: others = [] }: EntryFile): boolean {
	if (npm !== undefined) return npm.startsWith('./') || parseNpm(npm) !== undefined;
	if (pypi !== undefined)
		return (
			(isPypiLocal(pypi) || parsePypi(pypi) !== undefined) && others.every((other) => parsePypi(other) !== undefined)
		);
	return image === undefined || IMAGE_PATTERN.test(image);
}

/**
 * The entry with the exact version of what it runs.
 *
 * @throws SlipwayError SLIPWAY_PACKAGE_MISSING, SLIPWAY_PREPARATION_FAILED, SLIPWAY_IMAGE_MISSING, SLIPWAY_IMAGE_REFUSED
 */
export async function makeExact(entry: EntryFile, options: ExactOptions): Promise<EntryFile> {
	if (isExact(entry)) return entry;
	if (entry.npm !== undefined) return { ...entry, npm: await exactNpm(entry.npm, options) };
	if (entry.pypi !== undefined) return { ...entry, ...(await exactPypi(entry, options)) };
	if (entry.image !== undefined) return { ...entry, image: await exactImage(entry.image, options) };
	return entry;
}

async function exactNpm(text: string, { bench, config, onStep, signal }: ExactOptions): Promise<string> {
	// The scope's own @ is at 0.
	const at = text.indexOf('@', 1);
	const name = at === -1 ? text : text.slice(0, at);
	const wanted = at === -1 ? 'latest' : text.slice(at + 1);
	onStep(`looking up ${name}@${wanted}`);
	const { version } = await resolveNpm(
		bench.dependencies,
		{ name, version: wanted },
		{ ...bench, onStep, signal, nodeImage: config.nodeImage, access: npmAccess(config) },
	);
	return `${name}@${version}`;
}

/** All of it is looked up together, since what is installed beside a package decides which version of it there can be. */
async function exactPypi(
	{ pypi = '', with: others = [], installScripts }: EntryFile,
	{ bench, config, onStep, signal }: ExactOptions,
): Promise<Pick<EntryFile, 'pypi' | 'with'>> {
	const beside = others.map(readPypi);
	const catalogFolder = dirname(await resolveCatalogFile(config.catalogPath));
	const source = isPypiLocal(pypi) ? { path: pypi } : readPypi(pypi);
	const options = { with: beside, ...(installScripts === true ? { installScripts } : {}) };
	const { lock } = await resolvePypi(
		bench.dependencies,
		'path' in source ? { kind: 'pypi-local', ...source, ...options } : { kind: 'pypi', ...source, ...options },
		{ ...bench, onStep, signal, python: config.python, catalogFolder },
	);
	const versions = new Map(
		[...lock.matchAll(/^([A-Za-z0-9._-]+)==([^\s;\\]+)/gm)].map(([, name = '', version]) => [
			normaliseName(name),
			version,
		]),
	);
	const pin = (wanted: PypiPackage): string => {
		const version = versions.get(wanted.name);
		if (version !== undefined) return writePypi({ ...wanted, version });
		throw new SlipwayError('SLIPWAY_PREPARATION_FAILED', { reason: `pip resolved ${wanted.name} to no version.` });
	};
	return {
		pypi: 'path' in source ? pypi : pin(source),
		...(beside.length === 0 ? {} : { with: beside.map(pin) }),
	};
}

function readPypi(text: string): PypiPackage {
	const found = parsePypiLoosely(text);
	if (found !== undefined) return found;
	throw new SlipwayError('SLIPWAY_PACKAGE_REFUSED', { reason: `${explainPypi(text)}.` });
}

/** By its digest: what `latest` is today. */
async function exactImage(reference: string, { bench, onStep, signal }: ExactOptions): Promise<string> {
	await ensureImage(bench.engine, reference, { onStep, signal });
	const digest = await digestOf(bench.engine, reference);
	if (digest !== undefined) return digest;
	const bare = reference.replace(/:latest$/, '');
	throw new Failure(
		new SlipwayError('SLIPWAY_IMAGE_REFUSED', {
			reason: `${reference} is of this machine alone, and its tag moves: nothing says which image is meant.`,
		}),
		[`Give it a tag that stays, and name that: docker tag ${reference} ${bare}:1`],
	);
}
