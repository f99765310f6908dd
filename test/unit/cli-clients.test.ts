/** `slipway clients` and `slipway completion`: the texts that other programs read. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
	lstatSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { CLIENTS, type Connection, toText } from '../../src/cli/clients/configurations.ts';
import { edit } from '../../src/cli/clients/edit.ts';
import { clients } from '../../src/cli/clients.ts';
import { completionOf, type Listed } from '../../src/cli/completion.ts';
import { defineVerb } from '../../src/cli/verb.ts';
import { SlipwayError } from '../../src/errors.ts';
import { invocationOf } from '../support/invocation.ts';

const CONNECTION: Connection = {
	name: 'memory',
	url: 'http://localhost:8080/servers/memory/mcp',
	keyVariable: 'SLIPWAY_API_KEY',
	key: undefined,
};
const KEY = 'slipway_0123456789abcdef';

function configurationOf(client: string, connection: Connection = CONNECTION) {
	const known = CLIENTS[client];
	assert.ok(known !== undefined);
	return known.configure(connection);
}

function folderOf(t: TestContext): string {
	const folder = mkdtempSync(join(tmpdir(), 'slipway-clients-'));
	t.after(() => rmSync(folder, { recursive: true }));
	return folder;
}

async function run(args: readonly string[], workDir = '/nowhere'): Promise<{ code: number; text: string }> {
	const printed: string[] = [];
	const code = await clients(invocationOf(args, { workDir, print: (text) => void printed.push(text) }));
	return { code, text: printed.join('\n') };
}

test('each client is told in its own words, with the key referenced as it can', () => {
	const url = '"http://localhost:8080/servers/memory/mcp"';
	const texts: Readonly<Record<string, string>> = {
		'claude-code': `{"mcpServers":{"memory":{"type":"http","url":${url},"headers":{"Authorization":"Bearer \${SLIPWAY_API_KEY}"}}}}`,
		'claude-desktop': `{"mcpServers":{"memory":{"command":"npx","args":["-y","mcp-remote",${url},"--allow-http","--header","Authorization:\${AUTH}"],"env":{"AUTH":"Bearer KEY"}}}}`,
		cursor: `{"mcpServers":{"memory":{"url":${url},"headers":{"Authorization":"Bearer \${env:SLIPWAY_API_KEY}"}}}}`,
		vscode: `{"servers":{"memory":{"type":"http","url":${url},"headers":{"Authorization":"Bearer \${input:slipway-key}"}}},"inputs":[{"type":"promptString","id":"slipway-key","description":"Slipway API key","password":true}]}`,
		windsurf: `{"mcpServers":{"memory":{"serverUrl":${url},"headers":{"Authorization":"Bearer \${env:SLIPWAY_API_KEY}"}}}}`,
		gemini: `{"mcpServers":{"memory":{"httpUrl":${url},"headers":{"Authorization":"Bearer $SLIPWAY_API_KEY"}}}}`,
	};
	for (const [client, text] of Object.entries(texts))
		assert.equal(JSON.stringify(JSON.parse(toText(configurationOf(client)))), text, client);
	assert.equal(
		toText(configurationOf('codex')),
		`[mcp_servers.memory]\nurl = ${url}\nbearer_token_env_var = "SLIPWAY_API_KEY"\n`,
	);
	assert.deepEqual(Object.keys(CLIENTS).sort(), [...Object.keys(texts), 'codex'].sort());
	for (const client of Object.keys(CLIENTS)) {
		const text = toText(configurationOf(client, { ...CONNECTION, key: KEY, url: 'https://mcp.example.com/mcp' }));
		assert.ok(text.includes(`Bearer ${KEY}`), text);
		assert.ok(!/SLIPWAY_API_KEY|input|--allow-http/.test(text), text);
	}
});

test('what a file has stays as it is: comments, order, indentation, line ends', () => {
	const before =
		'{\r\n\t// mine\r\n\t"theme": "dark",\r\n\t"servers": {\r\n\t\t"other": { "command": "x" }, // kept\r\n\t},\r\n\t"inputs": [{ "id": "own" }]\r\n}\r\n';
	const after = edit(before, configurationOf('vscode'), false);
	for (const kept of ['\t// mine\r\n', '"other": { "command": "x" }', '// kept', '{ "id": "own" }', '"theme": "dark"'])
		assert.ok(after.includes(kept), `${kept}\n${after}`);
	assert.ok(!/[^\r]\n/.test(after), 'every line ends as the others');
	assert.match(after, /\t\t"memory": \{\r\n\t\t\t"type": "http",/);
	assert.match(after, /"slipway-key"/);
	assert.ok(after.includes('{ "command": "x" }, // kept\r\n'), after);
	assert.equal(edit(after, configurationOf('vscode'), false), after, 'a second time there is nothing to do');
	for (const sparse of [
		'{}',
		'{"servers":{}}',
		'{"servers":{},"inputs":[]}',
		'{ "a": 1 }',
		'{"servers":{"x":{}},"inputs":[{"id":"y"}],}',
	]) {
		const full = edit(sparse, configurationOf('vscode'), false);
		const { servers, inputs } = JSON.parse(full.replace(',}', '}'));
		assert.deepEqual([servers.memory.type, inputs[0].id], ['http', 'slipway-key'], full);
		assert.equal(edit(full, configurationOf('vscode'), false), full);
	}
	const toml = 'model = "x" # mine\n\n[mcp_servers.other]\ncommand = "y"\n';
	const added = edit(toml, configurationOf('codex'), false);
	assert.equal(added, `${toml}\n${toText(configurationOf('codex'))}`);
	assert.equal(edit(added, configurationOf('codex'), false), added);
	for (const empty of ['', ' \n'])
		assert.equal(edit(empty, configurationOf('codex'), false), toText(configurationOf('codex')));
});

test('nothing of a file is lost: what is broken, of another form, or has the name, is refused', () => {
	const refused = (client: string, text: string, says: RegExp): void =>
		assert.throws(
			() => edit(text, configurationOf(client), false),
			(error) => error instanceof SlipwayError && error.code === 'SLIPWAY_CLIENT_FILE' && says.test(error.message),
			text,
		);
	refused('cursor', '{ "mcpServers": ', /not a JSON object/);
	refused('cursor', '[]', /not a JSON object/);
	refused('cursor', '{ "mcpServers": [] }', /`mcpServers` is not an object/);
	refused('vscode', '{ "inputs": {} }', /`inputs` is not a list/);
	const other = '{ "mcpServers": { "memory": { "url": "https://elsewhere" } } }';
	refused('cursor', other, /has a server `memory` already/);
	assert.ok(!edit(other, configurationOf('cursor'), true).includes('elsewhere'));
	for (const text of [
		'[mcp_servers.memory]\n',
		'[ mcp_servers . "memory" ]\n',
		'[mcp_servers.memory.env]\nA = "b"\n',
		'[mcp_servers]\na.url = "x"\nmemory = {}\n',
	])
		refused('codex', text, /has a server `memory` already/);
	refused('codex', 'mcp_servers = { other = {} }\n', /in a form that is not added to/);
	refused('codex', 'mcp_servers.memory.url = "x"\n', /in a form that is not added to/);
});

test('a configuration is written whole, through a link, with the rights that the file had, and without the key unless it is asked for', async (t) => {
	const folder = folderOf(t);
	mkdirSync(join(folder, 'kept'));
	writeFileSync(join(folder, 'kept', 'mcp.json'), '{ "mine": 1 }', { mode: 0o640 });
	symlinkSync(join('kept', 'mcp.json'), join(folder, 'mcp.json'));
	const { code, text } = await run(['cursor', '--server', 'memory', '--write', 'mcp.json'], folder);
	assert.equal(code, 0);
	assert.equal(text, 'memory is in mcp.json. It reads the key from the variable SLIPWAY_API_KEY.');
	assert.ok(lstatSync(join(folder, 'mcp.json')).isSymbolicLink());
	const written = JSON.parse(readFileSync(join(folder, 'kept', 'mcp.json'), 'utf8'));
	assert.deepEqual([written.mine, written.mcpServers.memory.url], [1, 'http://localhost:8080/servers/memory/mcp']);
	assert.equal(statSync(join(folder, 'kept', 'mcp.json')).mode & 0o777, 0o640);
	assert.match(
		(await run(['cursor', '--server', 'memory', '--write', 'mcp.json'], folder)).text,
		/was in mcp\.json already/,
	);

	writeFileSync(join(folder, 'key'), `${KEY}\n`);
	await run(['codex', '--group', 'coding', '--name', 'work', '--key-file', 'key', '--write', 'new.toml'], folder);
	assert.equal(statSync(join(folder, 'new.toml')).mode & 0o777, 0o600, 'it holds a key');
	assert.match(
		readFileSync(join(folder, 'new.toml'), 'utf8'),
		/^\[mcp_servers\.work\]\nurl = "http:\/\/localhost:8080\/groups\/coding\/mcp"\nhttp_headers = \{ Authorization = "Bearer slipway_/,
	);
	await assert.rejects(run(['codex', '--write', 'none/x.toml'], folder), { code: 'SLIPWAY_CLIENT_FILE' });
	await assert.rejects(run(['codex', '--key-file', 'none'], folder), { code: 'SLIPWAY_CLIENT_FILE' });
	assert.deepEqual(readdirSync(folder).sort(), ['kept', 'key', 'mcp.json', 'new.toml'], 'nothing is left');
	for (const args of [
		['emacs'],
		['--write', 'x'],
		['cursor', '--server', 'Not A Name'],
		['cursor', '--server', 'a', '--group', 'b'],
		['cursor', '--key-env', 'a b'],
		['cursor', '--url', 'ftp://x'],
		['cursor', 'vscode'],
	])
		assert.equal((await run(args, folder)).code, 2, args.join(' '));
	const told = JSON.parse((await run(['--json', '--url', 'https://mcp.example.com/'], folder)).text);
	assert.equal(told.clients.length, Object.keys(CLIENTS).length);
	assert.ok(told.clients.every(({ text: one }: { text: string }) => one.includes('"https://mcp.example.com/mcp"')));
});

test('a shell completes verbs, their options and words, and the servers of the catalog', async (t) => {
	const folder = folderOf(t);
	const servers = { alpha: { image: 'x:1' }, beta: { image: 'x:1' } };
	writeFileSync(join(folder, 'catalog.json'), JSON.stringify({ servers }));
	const verb = defineVerb({ help: '', options: { tail: { type: 'string' } }, run: async () => 0 });
	const verbs: Readonly<Record<string, Listed>> = {
		logs: { does: "what a server's stderr has", takes: '[server] [-f]', load: async () => verb },
		keys: {
			does: 'keys',
			takes: '<create | revoke> [name]',
			load: async () => defineVerb({ help: '', run: async () => 0 }),
		},
		version: { does: 'the version', takes: '', load: async () => async () => 0 },
	};
	const completion = completionOf(verbs);
	const print = async (...args: readonly string[]): Promise<string> => {
		const printed: string[] = [];
		const environment = { SLIPWAY_CATALOG: folder };
		assert.equal(await completion(invocationOf(args, { environment, print: (text) => void printed.push(text) })), 0);
		return printed.join('\n');
	};
	assert.equal(await print('--servers'), 'alpha\nbeta');
	const script = await print('bash');
	const complete = (...words: readonly string[]): string[] => {
		const ask = `slipway() { printf 'alpha\\nbeta\\n'; }\n${script}\nCOMP_WORDS=(slipway "$@"); COMP_CWORD=$#; _slipway; echo "\${COMPREPLY[@]}"`;
		return execFileSync('bash', ['-c', ask, 'bash', ...words])
			.toString()
			.trim()
			.split(' ');
	};
	assert.deepEqual(complete(''), ['logs', 'keys', 'version']);
	assert.deepEqual(complete('logs', ''), ['--help', '--json', '--tail', 'alpha', 'beta']);
	assert.deepEqual(complete('logs', 'be'), ['beta']);
	assert.deepEqual(complete('logs', 'beta', '--t'), ['--tail']);
	assert.deepEqual(complete('logs', 'beta', 'a'), ['']);
	assert.deepEqual(complete('keys', 'r'), ['revoke']);
	assert.deepEqual(complete('nothing', ''), ['']);
	const fish = await print('fish');
	assert.match(fish, /^complete -c slipway -n __fish_use_subcommand -f -a logs -d 'what a server\\'s stderr has'$/m);
	assert.match(fish, /^complete -c slipway -n '__fish_seen_subcommand_from keys' -f -a 'create revoke'$/m);
	assert.match(await print('zsh'), /^ {4}logs\) words_='--help --json --tail'; \(\( CURRENT == 3 \)\) && words_\+=/m);
	assert.equal(await completion(invocationOf(['tcsh'])), 2);
});
