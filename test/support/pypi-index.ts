/** An index of Python packages, as PEP 503 has it, in a container: so that those that fetch from it reach it wherever tests run. */
import { once } from 'node:events';
import { docker, NODE_IMAGE, within } from './engine-bench.ts';
import type { Distribution } from './wheels.ts';

/** What runs in it. It tells its port to nobody: it is the only thing there. */
const PROGRAM = `
const [, files, authorization] = process.argv;
const packages = JSON.parse(files);
const server = require('http').createServer((request, response) => {
	if (authorization !== undefined && request.headers.authorization !== authorization) {
		response.writeHead(401, { 'www-authenticate': 'Basic realm="packages"' }).end();
		return;
	}
	const [, kind, name] = request.url.split('/');
	const listed = packages.filter((one) => one.name === name);
	const file = packages.find((one) => one.file === name);
	if (kind === 'simple' && listed.length > 0) {
		const links = listed.map((one) => '<a href="/files/' + one.file + '#sha256=' + one.sha256 + '">' + one.file + '</a>');
		response.writeHead(200, { 'content-type': 'text/html' }).end('<!DOCTYPE html><html><body>' + links.join('') + '</body></html>');
	} else if (kind === 'files' && file !== undefined) response.end(Buffer.from(file.content, 'base64'));
	else response.writeHead(404).end();
});
server.listen(8080, () => console.log('listening'));
process.on('SIGTERM', () => process.exit(0));
`;

export interface PypiIndex extends AsyncDisposable {
	/** As pip has it: `http://172.17.0.2:8080/simple`. */
	readonly url: string;
	readonly host: string;
}

/** @param login who may ask; everybody where there is none */
export async function startIndex(
	packages: readonly Distribution[],
	login?: { readonly name: string; readonly password: string },
): Promise<PypiIndex> {
	const files = packages.map(({ file, content, sha256 }) => ({
		file,
		// As PEP 503 normalises it.
		name: (file.split('-')[0] ?? '').toLowerCase().replace(/[-_.]+/g, '-'),
		content: content.toString('base64'),
		sha256,
	}));
	const words =
		login === undefined ? [] : [`Basic ${Buffer.from(`${login.name}:${login.password}`).toString('base64')}`];
	const container = await docker.createContainer({
		Image: NODE_IMAGE,
		Cmd: ['node', '-e', PROGRAM, JSON.stringify(files), ...words],
		HostConfig: { AutoRemove: true, NetworkMode: 'bridge', Init: true },
		Tty: true,
	});
	const output = await container.attach({ stream: true, stdout: true });
	await container.start();
	await within(once(output, 'data'), 'the index of packages');
	const { NetworkSettings } = await container.inspect();
	const host = NetworkSettings.Networks['bridge']?.IPAddress ?? '';
	return {
		url: `http://${host}:8080/simple`,
		host,
		[Symbol.asyncDispose]: () => container.remove({ force: true }),
	};
}
