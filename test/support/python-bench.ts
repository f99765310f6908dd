/** Python packages on the real engine: a folder of wheels, a launcher that takes them from there, and their images. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import type { PypiSource, Server } from '../../src/catalog/catalog.ts';
import { parseCatalog } from '../../src/catalog/load.ts';
import type { Lock } from '../../src/catalog/lock.ts';
import type { PythonConfig } from '../../src/config.ts';
import type { ContainerDependencies } from '../../src/docker/container.ts';
import { LABELS } from '../../src/docker/labels.ts';
import type { PypiImageContext } from '../../src/docker/pypi-image.ts';
import { type Bench, docker, neverAborted, openBench, openYard, PYTHON, within } from './engine-bench.ts';
import { removeImage } from './engine-images.ts';
import type { Distribution } from './wheels.ts';

/** For many images at once on a machine that others load. */
export const MINUTES_MS = 90_000;

/** A folder that is removed at the end of its block. */
export interface Folder extends AsyncDisposable {
	readonly path: string;
	/** Writes files into it, by their paths. */
	write(files: Readonly<Record<string, string | Buffer>>): Promise<void>;
}

export async function makeFolder(wheels: readonly Distribution[] = []): Promise<Folder> {
	const path = await mkdtemp(join(tmpdir(), 'slipway-python-'));
	const write: Folder['write'] = async (files) => {
		for (const [name, content] of Object.entries(files)) {
			await mkdir(dirname(join(path, name)), { recursive: true });
			await writeFile(join(path, name), content);
		}
	};
	await write(Object.fromEntries(wheels.map(({ file, content }) => [file, content])));
	return { path, write, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}

/** The servers of a catalog as it is written, by their names. */
export function serversOf(entries: Readonly<Record<string, object>>): readonly Server[] {
	return [...parseCatalog(JSON.stringify({ servers: entries }), 'catalog.json').servers.values()];
}

export interface PythonBenchOptions {
	readonly python?: Partial<PythonConfig>;
	readonly catalogFolder?: string;
	readonly gatewayId?: string;
}

/** A launcher. When it is disposed of, no image of its own is left either. */
export async function openPythonBench(
	servers: readonly Server[],
	{ python, catalogFolder, gatewayId }: PythonBenchOptions,
): Promise<Bench> {
	const bench = await openBench(servers, {
		launcher: { python: { ...PYTHON, ...python }, ...(catalogFolder === undefined ? {} : { catalogFolder }) },
		...(gatewayId === undefined ? {} : { gatewayId }),
	});
	return {
		...bench,
		[Symbol.asyncDispose]: async () => {
			await bench[Symbol.asyncDispose]();
			await removeImages(bench.gatewayId);
		},
	};
}

export function imagesWith(label: string, value: string) {
	return docker.listImages({ filters: JSON.stringify({ label: [`${label}=${value}`] }) });
}

/** What is left of the first stages of a launcher's builds. */
export function stagesLeft({ gatewayId }: Bench) {
	return docker.listImages({ filters: JSON.stringify({ label: [LABELS.stage, `${LABELS.gateway}=${gatewayId}`] }) });
}

export function prepared(bench: Bench, name: string) {
	return within(
		bench.launcher.launch(name as Server['name'], neverAborted(), 'test'),
		`the launch of ${name}`,
		MINUTES_MS,
	);
}

/** What a server prints until it ends. */
export async function said(bench: Bench, name: string): Promise<string> {
	const channel = await prepared(bench, name);
	const output = readText(channel.stream);
	const { stderr } = await within(channel.ended, 'the end');
	return (await output).trim() || stderr;
}

/** The image of a server that is ready. */
export function imageOf(
	bench: Bench,
	name: string,
): { readonly image: string; readonly imageId: string; readonly integrity?: string } {
	const preparation = bench.launcher.state.servers.find((server) => server.name === name)?.preparation;
	assert.ok(preparation?.kind === 'ready', JSON.stringify(preparation));
	return preparation;
}

/** A source as the program makes it, and not a catalog. */
export function madeSource(source: Pick<PypiSource, 'name' | 'version'>): PypiSource {
	return { kind: 'pypi', extras: [], ...source };
}

export interface PythonYard extends AsyncDisposable {
	readonly dependencies: ContainerDependencies;
	readonly gatewayId: string;
	/** The steps that were told of. */
	readonly steps: string[];
	context(python: Partial<PythonConfig>, lock?: Lock): PypiImageContext;
}

/** Below the launcher: images by themselves. None of them is left. */
export async function openPythonYard(): Promise<PythonYard> {
	const yard = await openYard();
	const { gatewayId, boot, engine, oomWatch } = yard;
	const steps: string[] = [];
	const books = new Set<string>();
	return {
		dependencies: { engine, oomWatch },
		gatewayId,
		steps,
		context: (python, lock) => ({
			gateway: gatewayId,
			boot,
			books,
			onStep: (step) => steps.push(step),
			signal: neverAborted(),
			python: { ...PYTHON, ...python },
			...(lock === undefined ? {} : { lock }),
		}),
		[Symbol.asyncDispose]: async () => {
			await yard[Symbol.asyncDispose]();
			assert.deepEqual([...books], []);
			await removeImages(gatewayId);
		},
	};
}

/** Removes the images of a gateway, and what is left of their builds. */
export async function removeImages(gatewayId: string): Promise<void> {
	for (const { Id } of await imagesWith(LABELS.gateway, gatewayId)) await removeImage(Id);
	assert.deepEqual(await imagesWith(LABELS.gateway, gatewayId), []);
}
