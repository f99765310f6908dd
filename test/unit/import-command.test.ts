/** Command lines as they stand in READMEs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromCommand } from '../../src/catalog/import/command.ts';
import type { EntryFile, ImportedServer, RefusedServer } from '../../src/catalog/import/contract.ts';
import { nameOfPackage, secretNameOf } from '../../src/catalog/import/names.ts';
import { isPlaceholder, isSecretName, isSecretValue } from '../../src/catalog/import/secret-like.ts';
import { splitWords } from '../../src/catalog/import/shell.ts';
import { SECRET_NAME_PATTERN, SERVER_NAME_PATTERN } from '../../src/ids.ts';

type Options = Parameters<typeof fromCommand>[1];

function carried(line: string, options: Options = {}): ImportedServer {
	const found = fromCommand(splitWords(line), options);
	return found.kind === 'server' ? found : assert.fail(`${line}: ${found.reason}`);
}

function refused(line: string, options: Options = {}): RefusedServer {
	const found = fromCommand(splitWords(line), options);
	return found.kind === 'refused' ? found : assert.fail(`${line}: ${JSON.stringify(found.entry)}`);
}

/** Without what was inferred of the network. */
function entryOf(line: string, options: Options = {}): EntryFile {
	const { egress: _, ...entry } = carried(line, options).entry;
	return entry;
}

test('a package of npm, however it is run', async (t) => {
	const cases: readonly (readonly [line: string, entry: EntryFile])[] = [
		['npx -y @modelcontextprotocol/server-memory', { npm: '@modelcontextprotocol/server-memory' }],
		['npx foo-mcp@latest', { npm: 'foo-mcp@latest' }],
		['npx --yes foo@1.2.3 -y --port=3 -- x', { npm: 'foo@1.2.3', args: ['-y', '--port=3', '--', 'x'] }],
		['npx -y -- foo --bar', { npm: 'foo', args: ['--bar'] }],
		['npx -p @a/b tool --x', { npm: '@a/b', bin: 'tool', args: ['--x'] }],
		['npx -y --package=@a/b@1.0.0 b', { npm: '@a/b@1.0.0' }],
		['npx --package foo -c "foo-server --x y"', { npm: 'foo', bin: 'foo-server', args: ['--x', 'y'] }],
		['npm exec -- foo bar', { npm: 'foo', args: ['bar'] }],
		['npm x -y foo', { npm: 'foo' }],
		['pnpm dlx foo@^1', { npm: 'foo@^1' }],
		['yarn dlx -q foo', { npm: 'foo' }],
		['bunx foo', { npm: 'foo' }],
		['bun x foo', { npm: 'foo' }],
		['deno run -A npm:@a/b@1.0.0 serve', { npm: '@a/b@1.0.0', args: ['serve'] }],
		['npx ./servers/own --x', { npm: './servers/own', args: ['--x'] }],
		['/usr/local/bin/npx -y foo', { npm: 'foo' }],
		[`"C:\\Program Files\\nodejs\\npx.cmd" -y foo`, { npm: 'foo' }],
		['cmd /c npx -y foo', { npm: 'foo' }],
		['cmd.exe /C "npx -y foo"', { npm: 'foo' }],
		['powershell -Command "npx -y foo"', { npm: 'foo' }],
		['env A=1 npx foo', { npm: 'foo', env: { A: '1' } }],
		['A=1 B="2 3" npx foo', { npm: 'foo', env: { A: '1', B: '2 3' } }],
		['env -u X -i C=1 sh -c "D=2 exec npx foo \'x y\'"', { npm: 'foo', env: { C: '1', D: '2' }, args: ['x y'] }],
		['wsl npx foo', { npm: 'foo' }],
	];
	for (const [line, entry] of cases) await t.test(line, () => assert.deepEqual(entryOf(line), entry));
});

test('a package of PyPI, however it is run', async (t) => {
	const cases: readonly (readonly [line: string, entry: EntryFile])[] = [
		['uvx mcp-server-fetch', { pypi: 'mcp-server-fetch' }],
		['uvx mcp-server-fetch@latest', { pypi: 'mcp-server-fetch' }],
		['uvx mcp-server-git@2025.1.14 --repository x', { pypi: 'mcp-server-git==2025.1.14', args: ['--repository', 'x'] }],
		['uvx --from pkg[extra]==1.2 tool -v', { pypi: 'pkg[extra]==1.2', bin: 'tool', args: ['-v'] }],
		['uvx --from My_Pkg my-pkg', { pypi: 'My_Pkg' }],
		['uvx --with "a[x,y]>=1,b" --with c --python 3.12 -q pkg', { pypi: 'pkg', with: ['a[x,y]>=1', 'b', 'c'] }],
		['uv tool run pkg', { pypi: 'pkg' }],
		['uv tool run --from pkg tool', { pypi: 'pkg', bin: 'tool' }],
		['pipx run pkg', { pypi: 'pkg' }],
		['pipx run --spec pkg==1.0 tool', { pypi: 'pkg==1.0', bin: 'tool' }],
		['uv run --with pkg --with other pkg --x', { pypi: 'pkg', with: ['other'], args: ['--x'] }],
		['uv run --with pkg tool', { pypi: 'pkg', bin: 'tool' }],
		['python -m mcp_server_time --x', { pypi: 'mcp-server-time', args: ['--x'] }],
		['/usr/bin/python3.12 -u -m mcp_server_git', { pypi: 'mcp-server-git' }],
		['uvx --from ./servers/own tool', { pypi: './servers/own', bin: 'tool' }],
	];
	for (const [line, entry] of cases) await t.test(line, () => assert.deepEqual(entryOf(line), entry));
});

test('an image, with what docker is told of it', async (t) => {
	const cases: readonly (readonly [line: string, entry: EntryFile])[] = [
		['docker run -i --rm mcp/time', { image: 'mcp/time' }],
		['docker run -it --rm --init --pull=always a:1 serve --x', { image: 'a:1', command: ['serve', '--x'] }],
		['docker --context remote run --rm -i a:1', { image: 'a:1' }],
		['docker container run -i a:1', { image: 'a:1' }],
		['podman run -i docker.io/library/a:1', { image: 'docker.io/library/a:1' }],
		['docker run -e A=1 --env B=2=3 --env=C= -eD=4 a:1', { image: 'a:1', env: { A: '1', B: '2=3', C: '', D: '4' } }],
		['docker run -v data:/data a:1', { image: 'a:1', volumes: [{ name: 'data', target: '/data' }] }],
		[
			'docker run -v /srv/a:/a:ro --volume=/srv/b:/b:z -v ./c:/c a:1',
			{
				image: 'a:1',
				mounts: [
					{ source: '/srv/a', target: '/a', readOnly: true },
					{ source: '/srv/b', target: '/b', readOnly: false },
					{ source: './c', target: '/c', readOnly: false },
				],
			},
		],
		[
			'docker run --mount type=bind,src=/srv/a,dst=/a,readonly --mount source=v,target=/v a:1',
			{
				image: 'a:1',
				volumes: [{ name: 'v', target: '/v' }],
				mounts: [{ source: '/srv/a', target: '/a', readOnly: true }],
			},
		],
		[
			'docker run -m 512m --shm-size 1g --cpus=0.3 -u 12345:12345 a:1',
			{ image: 'a:1', resources: { memory: '512m', shm: '1g', cpus: 0.5 }, user: '12345:12345' },
		],
	];
	for (const [line, entry] of cases) await t.test(line, () => assert.deepEqual(entryOf(line), entry));
});

test('what a container cannot have, or a catalog cannot say, is refused with what to do', async (t) => {
	const cases: readonly (readonly [line: string, ...parts: string[]])[] = [
		['npx -y mcp-remote https://x.example/s/secret?key=1 --header a', 'elsewhere ("x.example")', 'directly'],
		['npx -y supergateway --sse https://x.example/sse', 'elsewhere', 'directly'],
		['node /home/me/dist/index.js', 'folder of the machine', '"npm"'],
		['npm start', 'folder of the machine', '"npm"'],
		['python server.py', 'folder of the machine', '"pypi"'],
		['python -m mine', 'which package', 'uvx'],
		['uv run server.py', 'folder of the machine', '"pypi"'],
		['uv --directory /srv/own run own', '/srv/own', '"pypi"'],
		['uv run --with mcp[cli] mcp run server.py', 'server.py', '"pypi"'],
		['go run ./cmd', '"go" is a program of the machine', 'image'],
		['npx -y git+https://me:hunter22@git.example/a.git', 'not a package', 'folder'],
		['npx -y github:me/a', 'not a package', 'folder'],
		['npx -y ../own', 'folder of the machine', './servers/own'],
		['npx -y -p a -p b tool', '2 packages', 'package.json'],
		['npx', 'names no package', 'npx -y'],
		['npx -y foo ~/docs', '~/docs', 'SLIPWAY_MOUNT_ROOTS'],
		['npx -y foo "C:\\Users\\me"', 'path of Windows', 'SLIPWAY_MOUNT_ROOTS'],
		['npx -y foo "%USERPROFILE%\\x"', "somebody's machine", 'SLIPWAY_MOUNT_ROOTS'],
		['npx -y foo "$\u007bworkspaceFolder}/x"', "somebody's machine", 'SLIPWAY_MOUNT_ROOTS'],
		['npx -y foo --dir=/', 'cannot be mounted', 'Name a folder in it'],
		['npx -y foo "$\u007bTOKEN}"', '"TOKEN"', '"env"'],
		['docker run --privileged a:1', '--privileged', 'Take the option out'],
		['docker run --cap-add SYS_ADMIN a:1', '--cap-add SYS_ADMIN', 'Take the option out'],
		['docker run -v /var/run/docker.sock:/var/run/docker.sock a:1', '/var/run', 'Choose another'],
		['docker run -v "$(pwd):/x" a:1', "somebody's machine", 'SLIPWAY_MOUNT_ROOTS'],
		['docker run --entrypoint sh a:1', 'entry point', 'ENTRYPOINT'],
		['docker run Upper:1', 'not a reference', 'lower case'],
		['docker run', 'names no image', 'Write the image'],
		['docker compose up', 'not `docker run`', 'docker run'],
		['bash start.sh', 'script of the machine', 'Write the command'],
		['bash -c "npx a; npx b"', 'more than one command', 'alone'],
		['sh -c "npx a $(cat x)"', 'more than one command', 'alone'],
		['', 'no command', 'Write the command'],
	];
	for (const [line, reasonPart = '', stepPart = ''] of cases) {
		await t.test(line, () => {
			const { reason, nextStep } = refused(line);
			assert.ok(reason.includes(reasonPart), reason);
			assert.ok(nextStep.includes(stepPart), nextStep);
			assert.doesNotMatch(reason + nextStep, /hunter22|secret\?/);
		});
	}
});

test('places of the host are mounted once, read-only, and called by their place in the container', () => {
	const line =
		'npx -y foo /home/me/docs /home/me/docs/sub /srv/docs --db=/srv/db/a.sqlite --path /api ./data /api --x=//y';
	const { entry, notes } = carried(line);
	assert.deepEqual(entry.args, [
		'/mnt/docs',
		'/mnt/docs/sub',
		'/mnt/docs-2',
		'--db=/mnt/a.sqlite',
		'--path',
		'/api',
		'/mnt/data',
		'/api',
		'--x=//y',
	]);
	assert.deepEqual(entry.mounts, [
		{ source: '/home/me/docs', target: '/mnt/docs', readOnly: true },
		{ source: '/srv/docs', target: '/mnt/docs-2', readOnly: true },
		{ source: '/srv/db/a.sqlite', target: '/mnt/a.sqlite', readOnly: true },
		{ source: './data', target: '/mnt/data', readOnly: true },
	]);
	assert.ok(notes.some((note) => note.includes('SLIPWAY_MOUNT_ROOTS') && note.includes('"readOnly": false')));
	assert.deepEqual(carried('npx -y foo ./a ../b', { cwd: '/home/me/x' }).entry.mounts, [
		{ source: '/home/me/x/a', target: '/mnt/a', readOnly: true },
		{ source: '/home/me/b', target: '/mnt/b', readOnly: true },
	]);
	assert.deepEqual(carried('npx -y foo', { env: { STORE: '/home/me/store.json' } }).entry.env, {
		STORE: '/mnt/store.json',
	});
});

test('what looks like a secret leaves the entry, and what stands in arguments is told of', () => {
	const token = `ghp_${'0a'.repeat(18)}`;
	const { entry, secrets } = carried('A_URL=x npx -y @modelcontextprotocol/server-github', {
		env: { GITHUB_TOKEN: 'short', OTHER: token, MAX_TOKENS: '4096', API_KEY: 'YOUR_API_KEY', USE_AUTH: 'true' },
		name: 'git hub',
	});
	assert.deepEqual(entry.env, { A_URL: 'x', MAX_TOKENS: '4096', USE_AUTH: 'true' });
	assert.deepEqual(entry.secrets, {
		GITHUB_TOKEN: 'git_hub_github_token',
		OTHER: 'git_hub_other',
		API_KEY: 'git_hub_api_key',
	});
	assert.deepEqual(secrets, [
		{ name: 'git_hub_github_token', value: 'short' },
		{ name: 'git_hub_other', value: token },
	]);
	const said = carried(`npx -y foo --api-key hunter22 --port 80 --token=${token}`);
	assert.deepEqual(said.entry.args, ['--api-key', 'hunter22', '--port', '80', `--token=${token}`]);
	assert.equal(said.notes.filter((note) => note.includes('docker inspect')).length, 2);
	// `-e NAME` hands on what there is.
	const handed = carried('docker run -e TOKEN -e MODE a:1', { env: { TOKEN: 'hunter22', MODE: 'fast' }, name: 'a' });
	assert.deepEqual(handed.entry, { image: 'a:1', env: { MODE: 'fast' }, secrets: { TOKEN: 'a_token' } });
	assert.deepEqual(handed.secrets, [{ name: 'a_token', value: 'hunter22' }]);
	assert.deepEqual(carried('docker run -e TOKEN a:1').secrets, []);
	assert.match(refused('npx -y foo', { env: { PATH_TOKEN: 'x', BASH_TOKEN: 'y' } }).reason, /BASH_TOKEN/);
});

test('which hosts it may need is known, or read, or said not to be known', () => {
	const egressOf = (line: string, options?: Options): readonly string[] | undefined =>
		carried(line, options).entry.egress;
	assert.deepEqual(egressOf('npx -y @modelcontextprotocol/server-slack'), ['slack.com:443']);
	assert.deepEqual(egressOf('docker run -i ghcr.io/github/github-mcp-server:1'), ['api.github.com:443']);
	assert.equal(egressOf('npx -y @modelcontextprotocol/server-memory'), undefined);
	assert.deepEqual(
		egressOf('npx -y foo --url=https://A.example:8443/x', { env: { B: 'http://b.example wss://c.example' } }),
		['a.example:8443', 'b.example:80', 'c.example:443'],
	);
	const inside = carried('npx -y foo http://localhost:3000 http://10.0.0.1');
	assert.equal(inside.entry.egress, undefined);
	assert.equal(inside.notes.filter((note) => note.includes('no server can reach')).length, 2);
	assert.ok(carried('npx -y foo').notes.some((note) => note.includes('"egress": [')));
	assert.equal(egressOf('docker run --network none mcp/github'), undefined);
	assert.ok(carried('npx -y foo postgres://db.example/x').notes.some((note) => note.includes('HTTP proxy')));
});

test('names are those of servers and of secrets, whatever they are made of', () => {
	const named = {
		'@modelcontextprotocol/server-memory': 'memory',
		'mcp-server-git': 'git',
		'@playwright/mcp': 'playwright',
		'@upstash/context7-mcp': 'context7',
		'chrome-devtools-mcp': 'chrome-devtools',
		'ghcr.io/github/github-mcp-server': 'github',
		'mcp/time': 'time',
		'mcp-server': 'mcp-server',
		My_Server: 'my',
	};
	for (const [text, name] of Object.entries(named)) assert.equal(nameOfPackage(text), name);
	for (const text of ['', '~', 'Ä Ö', 'a'.repeat(200), '-', '日本'])
		assert.match(nameOfPackage(text), SERVER_NAME_PATTERN);
	assert.equal(secretNameOf('github', 'GITHUB_TOKEN'), 'github_token');
	assert.equal(secretNameOf('git-hub', 'TOKEN'), 'git_hub_token');
	for (const [server, variable] of [
		['9', '_'],
		['a', 'KEY_FILE'],
		['a'.repeat(64), 'B'.repeat(128)],
		['ä', 'Ü'],
	] as const)
		assert.match(secretNameOf(server, variable), SECRET_NAME_PATTERN);
});

test('secrets are told from what is none', () => {
	for (const name of 'GITHUB_TOKEN apiKey api-key AWS_SECRET_ACCESS_KEY DB_PASSWORD --auth-token CLIENT_SECRET X_PAT'.split(
		' ',
	))
		assert.ok(isSecretName(name), name);
	for (const name of 'TOKEN_LIMIT MAX_TOKENS KEYBOARD PASSIVE API_KEY_FILE AUTH_TYPE MONKEY CLIENT_ID PATH SECRET_NAME'.split(
		' ',
	))
		assert.ok(!isSecretName(name), name);
	for (const value of [
		'postgresql://me:pw@db/x',
		'Bearer abcdefgh12345',
		'AKIAIOSFODNN7EXAMPLE',
		'{"Authorization": "Bearer ntn_1234"}',
		'0123456789abcdef0123456789abcdef',
	])
		assert.ok(isSecretValue(value), value);
	for (const value of [
		'https://api.example.com/v1/things?x=1',
		'claude-sonnet-4-5-20250929',
		'123e4567-e89b-12d3-a456-426614174000',
		'/home/me/projects/something/with/many/parts/2026',
		'a,b,c',
		'',
	])
		assert.ok(!isSecretValue(value), value);
	for (const value of [
		'<YOUR_TOKEN>',
		'YOUR_API_KEY_HERE',
		'your-api-key',
		'xxxx',
		'...',
		'',
		'your_token_here',
		'REPLACE_ME',
	])
		assert.ok(isPlaceholder(value), value);
	for (const value of ['hunter22', 'ghp_real', 'yourself', 'x']) assert.ok(!isPlaceholder(value), value);
});
