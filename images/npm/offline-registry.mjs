// A registry of the archives in a folder, for npm in the same container, which has no network: `offline-registry.mjs <folder>
// <command…>` runs the command with it. What is in an archive says which package it is; its name does not count.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

const BLOCK_BYTES = 512;

/** The package.json in an archive: that of its one folder at the top. */
function manifestOf(tar) {
	const text = (at, length) => tar.toString('utf8', at, at + length).replace(/\0.*$/s, '');
	for (let at = 0; at + BLOCK_BYTES <= tar.length && tar[at] !== 0; ) {
		const size = Number.parseInt(text(at + 124, 12), 8);
		const start = at + BLOCK_BYTES;
		if (/^[^/]+\/package\.json$/.test(text(at, 100))) return JSON.parse(tar.toString('utf8', start, start + size));
		at = start + Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
	}
	throw new Error('no package.json in it');
}

const [folder, command, ...args] = process.argv.slice(2);
const packages = new Map();
for (const file of readdirSync(folder)) {
	const path = join(folder, file);
	try {
		const bytes = readFileSync(path);
		const manifest = manifestOf(gunzipSync(bytes));
		const integrity = `sha512-${createHash('sha512').update(bytes).digest('base64')}`;
		if (!packages.has(manifest.name)) packages.set(manifest.name, new Map());
		packages.get(manifest.name).set(manifest.version, { manifest, integrity, path });
	} catch (error) {
		process.stderr.write(`slipway: ${file} in the folder of archives is no npm package: ${error.message}\n`);
		process.exit(3);
	}
}

/** Without pre-releases unless there is nothing else. */
function latest(versions) {
	const released = versions.filter((version) => !version.includes('-'));
	const numbers = (version) => version.split(/[.+-]/).slice(0, 3).map(Number);
	return (released.length > 0 ? released : versions).sort((one, other) => {
		const [a, b] = [numbers(one), numbers(other)];
		return b[0] - a[0] || b[1] - a[1] || b[2] - a[2];
	})[0];
}

const server = createServer((request, response) => {
	const [, name, version] = /^\/([^?]+?)(?:\/-\/([^?/]+))?(?:\?.*)?$/.exec(decodeURIComponent(request.url)) ?? [];
	const versions = packages.get(name);
	const archive = versions?.get(version);
	if (archive !== undefined) return createReadStream(archive.path).pipe(response);
	if (versions === undefined || version !== undefined) return response.writeHead(404).end('{}');
	const origin = `http://127.0.0.1:${server.address().port}`;
	const tarball = (key) => `${origin}/${name}/-/${encodeURIComponent(key)}`;
	response.setHeader('content-type', 'application/json');
	response.end(
		JSON.stringify({
			name,
			'dist-tags': { latest: latest([...versions.keys()]) },
			versions: Object.fromEntries(
				[...versions].map(([key, { manifest, integrity }]) => [
					key,
					{ ...manifest, dist: { integrity, tarball: tarball(key) } },
				]),
			),
		}),
	);
});

server.listen(0, '127.0.0.1', () => {
	const registry = `http://127.0.0.1:${server.address().port}/`;
	const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, NPM_CONFIG_REGISTRY: registry } });
	child.on('exit', (code) => process.exit(code ?? 1));
});
