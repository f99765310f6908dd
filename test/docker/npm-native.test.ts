/** What npm packages need beside themselves: a compiler while they are installed, Debian packages when they run. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { LABELS } from '../../src/docker/labels.ts';
import { BUILD_TOOLS } from '../../src/docker/npm-image.ts';
import { systemKey } from '../../src/docker/system-image.ts';
import { docker, openBench, refusedWith, said } from '../support/engine-bench.ts';
import { removeImage } from '../support/engine-images.ts';
import { server } from '../support/fixtures.ts';

const NAME = 'slipway-bench-native';
/** Small, and in no base image. */
const SYSTEM_PACKAGE = 'sl';

async function ourImages() {
	const images = await docker.listImages({ filters: JSON.stringify({ label: [LABELS.package] }) });
	const system = [SYSTEM_PACKAGE, systemKey(BUILD_TOOLS)];
	return images.filter(({ Labels }) => {
		const label = Labels[LABELS.package] ?? '';
		return label.startsWith(`${NAME}@`) || system.includes(label);
	});
}

after(async () => {
	for (const { Id } of await ourImages()) await removeImage(Id);
	assert.deepEqual(await ourImages(), []);
});

test('a module that is compiled when it is installed, and a Debian package beside it; none of the tools is in the image', async (t) => {
	const catalogFolder = await mkdtemp(join(tmpdir(), 'slipway-native-'));
	t.after(() => rm(catalogFolder, { recursive: true }));
	const c = `#include <node_api.h>
static napi_value answer(napi_env env, napi_callback_info info) { napi_value v; napi_create_int32(env, 42, &v); return v; }
NAPI_MODULE_INIT() { napi_value f; napi_create_function(env, 0, 0, answer, 0, &f); return f; }`;
	const program = `const { existsSync } = require('node:fs');
let answer; try { answer = require('./answer.node')(); } catch { answer = 'not compiled'; }
console.log(answer, existsSync('/usr/games/${SYSTEM_PACKAGE}'), existsSync('/usr/bin/gcc'));`;
	const install =
		'command -v make python3 >&2 && gcc -shared -fPIC -I../node-api-headers/include -o answer.node answer.c';
	const manifest = { bin: 'main.js', scripts: { install }, dependencies: { 'node-api-headers': '1.9.0' } };
	await mkdir(join(catalogFolder, 'native'));
	const files = {
		'package.json': JSON.stringify({ name: NAME, version: '1.0.0', ...manifest }),
		'answer.c': c,
		'main.js': program,
	};
	for (const [name, content] of Object.entries(files)) await writeFile(join(catalogFolder, 'native', name), content);
	await using bench = await openBench(
		[
			server('plain', { kind: 'npm-local', path: './native', systemPackages: [SYSTEM_PACKAGE] }),
			server('scripts', { kind: 'npm-local', path: './native', installScripts: true }),
			server('nothing', { kind: 'npm-local', path: './native', systemPackages: ['slipway-bench-no-such-package'] }),
		],
		{ launcher: { catalogFolder } },
	);
	assert.equal(await said(bench, 'plain'), 'not compiled true false');
	assert.equal(await said(bench, 'scripts'), '42 false false');
	const refused = await refusedWith('SLIPWAY_PACKAGE_REFUSED', bench.launch('nothing'));
	assert.equal(refused.details.reason, 'Debian has no package slipway-bench-no-such-package');
});
