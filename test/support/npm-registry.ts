/** A small npm registry in a container, which containers of the default network reach: packages of a test's own. */
import { createHash } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { docker, NODE_IMAGE, within } from './engine-bench.ts';

export interface TestPackage {
	readonly name: string;
	readonly version: string;
	/** What package.json has beside these two. */
	readonly manifest?: Readonly<Record<string, unknown>>;
	readonly files: Readonly<Record<string, string>>;
}

export interface TestRegistry extends AsyncDisposable {
	/** `http://address:port/`, as containers see it. */
	readonly url: string;
	/** What was asked for. */
	requests(): Promise<string>;
}

/** The archive of a package, as `npm pack` makes it. */
export async function packPackage({ name, version, manifest = {}, files }: TestPackage): Promise<Buffer> {
	const tar = pack();
	const all = { 'package.json': JSON.stringify({ name, version, ...manifest }), ...files };
	for (const [path, content] of Object.entries(all))
		tar.entry({ name: `package/${path}`, mtime: new Date(0) }, content);
	tar.finalize();
	return gzipSync(await buffer(tar));
}

/** Runs in the container. Prints each request, and `ready` when it listens. */
const PROGRAM = `
const { readFileSync } = require('node:fs');
const { packages, token } = JSON.parse(readFileSync('/registry.json', 'utf8'));
const server = require('node:http').createServer((request, response) => {
	console.log(request.method, request.url);
	if (token && request.headers.authorization !== 'Bearer ' + token) return response.writeHead(401).end('{}');
	const [, name, version] = /^\\/([^?]+?)(?:\\/-\\/([^?]+)\\.tgz)?(?:\\?.*)?$/.exec(decodeURIComponent(request.url)) ?? [];
	const versions = packages.filter((one) => one.name === name);
	if (versions.length === 0) return response.writeHead(404).end('{}');
	const archive = versions.find((one) => one.version === version);
	if (archive) return response.end(Buffer.from(archive.archive, 'base64'));
	response.setHeader('content-type', 'application/json');
	const own = 'http://' + request.headers.host + '/' + name + '/-/';
	response.end(JSON.stringify({
		name,
		'dist-tags': { latest: versions.at(-1).version },
		versions: Object.fromEntries(versions.map((one) => [one.version, {
			...one.manifest, name, version: one.version,
			dist: { integrity: one.integrity, tarball: own + one.version + '.tgz' },
		}])),
	}));
});
server.listen(4873, () => console.log('ready'));
`;

/** Starts one. With a token, nothing is given to who does not show it. */
export async function startRegistry(packages: readonly TestPackage[], token?: string): Promise<TestRegistry> {
	const content = await Promise.all(
		packages.map(async (one) => {
			const archive = await packPackage(one);
			const integrity = `sha512-${createHash('sha512').update(archive).digest('base64')}`;
			return { ...one, manifest: one.manifest ?? {}, files: undefined, archive: archive.toString('base64'), integrity };
		}),
	);
	const container = await docker.createContainer({
		Image: NODE_IMAGE,
		Cmd: ['node', '-e', PROGRAM],
		User: '65532:65532',
		Tty: true,
		StopTimeout: 0,
	});
	const remove = () => container.remove({ force: true, v: true });
	try {
		const tar = pack();
		tar.entry({ name: 'registry.json', mode: 0o444 }, JSON.stringify({ packages: content, token }));
		tar.finalize();
		await container.putArchive(await buffer(tar), { path: '/' });
		const output = await container.attach({ stream: true, stdout: true });
		await container.start();
		const ready = Promise.withResolvers<void>();
		output.on('data', (chunk: Buffer) => chunk.includes('ready') && ready.resolve());
		await within(ready.promise, 'the registry');
		const { NetworkSettings } = await container.inspect();
		const address = NetworkSettings.Networks['bridge']?.IPAddress ?? '';
		return {
			url: `http://${address}:4873/`,
			requests: async () => String(await container.logs({ stdout: true })),
			[Symbol.asyncDispose]: async () => void (await remove()),
		};
	} catch (error) {
		await remove();
		throw error;
	}
}
