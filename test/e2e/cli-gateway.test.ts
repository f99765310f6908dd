/** The verbs that ask the gateway, as a person runs them beside one that serves, with real containers behind it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { recordsIn } from '../support/audit-files.ts';
import { freePort, onceSaid, runSlipway, type SlipwayProcess, startSlipway } from '../support/client-process.ts';
import { until } from '../support/engine-bench.ts';
import { fixtureImage } from '../support/fixtures.ts';
import { leaveNothing } from '../support/leave-nothing.ts';

const API_KEY = 'a-key-for-tests-0123456789';

const place: { folder: string; settings: Record<string, string>; gateway?: SlipwayProcess } = {
	folder: '',
	settings: {},
};

/** Runs a verb as whoever has the data of the gateway, or with other settings. */
function slipway(args: readonly string[], more: Readonly<Record<string, string>> = {}) {
	return runSlipway(args, { ...place.settings, ...more });
}

async function json(...args: readonly string[]) {
	const { code, stdout, stderr } = await slipway([...args, '--json']);
	assert.equal(code, 0, stderr);
	return JSON.parse(stdout);
}

before(async () => {
	const folder = await mkdtemp(join(tmpdir(), 'slipway-cli-'));
	const port = await freePort();
	const image = await fixtureImage();
	const command = ['node', '/app/test/fixtures/conversation.ts'];
	const servers = {
		talk: { image, command, snapshot: false },
		off: { image, command, enabled: false },
		broken: { image: 'slipway-no-such-image.invalid/x:1', egress: ['api.example.com:443'] },
	};
	await writeFile(join(folder, 'catalog.json'), JSON.stringify({ servers }));
	place.folder = folder;
	place.settings = {
		SLIPWAY_PORT: String(port),
		SLIPWAY_DATA: join(folder, 'data'),
		SLIPWAY_CATALOG: folder,
		SLIPWAY_GATEWAY_ID: `e2e-${randomBytes(6).toString('hex')}`,
		SLIPWAY_WARM: '0',
	};
	place.gateway = startSlipway(['all'], { ...place.settings, SLIPWAY_API_KEY: API_KEY });
	await onceSaid(place.gateway, 'gateway listening');
});

after(async () => {
	if (place.gateway === undefined) return rm(place.folder, { recursive: true });
	const id = place.settings['SLIPWAY_GATEWAY_ID'] ?? '';
	await leaveNothing({ id, folder: place.folder, processes: [place.gateway], signal: 'SIGTERM' });
});

test('a tool is called with arguments as its schema has them; its logs and progress are beside the result', async () => {
	const listed = await slipway(['call', 'talk']);
	assert.equal(listed.code, 0, listed.stderr);
	assert.match(listed.stdout, /^progress\n {4}steps +(?:integer|number)\n {4}delayMs/m);
	const echoed = await slipway(['call', 'talk', 'echo', 'text=two words = one text']);
	assert.equal(echoed.stdout, 'two words = one text');
	const progressed = await slipway(['call', 'talk', 'progress', 'steps=2', 'delayMs:=10']);
	assert.equal(progressed.code, 0, progressed.stderr);
	assert.match(progressed.stderr, /^1\/2\b.*\n2\/2\b/m);
	const whole = await json('call', 'talk', 'echo', '--args', '{"text":"as a whole"}');
	assert.deepEqual(whole.content, [{ type: 'text', text: 'as a whole' }]);
	const declined = await slipway(['call', 'talk', 'ask_elicitation', 'message=who?']);
	assert.match(declined.stdout, /decline/);
	for (const [args, code, message] of [
		[['call', 'talk', 'progress', 'steps=many'], 1, /`steps` takes a number/],
		[['call', 'talk', 'echo', 'text'], 1, /`text` is no argument: write key=value/],
		[['call', 'talk', 'echo'], 1, /text/],
		[['call', 'talk', 'echo_json', 'value:={'], 1, /not JSON/],
		[['call', 'nobody', 'echo'], 1, /no such server/],
		[['call', 'off', 'echo'], 1, /disabled|not enabled/i],
		[['call', 'talk', 'exit', 'code=3'], 1, /exit code was 3/],
		[['call'], 2, /slipway call <server>/],
		[['call', 'talk', '--nonsense'], 2, /nonsense/],
		[['call', '--help'], 0, /slipway call <server>/],
	] as const) {
		const done = await slipway(args);
		assert.equal(done.code, code, `${args.join(' ')}\n${done.stdout}${done.stderr}`);
		assert.match(done.stdout + done.stderr, message, args.join(' '));
	}
});

test('logs are followed as a server writes them, with what it had written before, until the person has seen enough', async () => {
	await slipway(['call', 'talk', 'stderr', 'text=said before']);
	const before = await slipway(['logs', 'talk']);
	assert.match(before.stdout, /^20\S+ talk [0-9a-f]{8} \| said before$/m);
	const following = startSlipway(['logs', 'talk', '-f', '--tail', '1', '--json'], place.settings);
	await following.stdout.count(1);
	await slipway(['call', 'talk', 'stderr', 'text=said now\u001b[2J']);
	const line = JSON.parse(await following.stdout.first((text) => text.includes('said now')));
	assert.deepEqual([line.server, line.text], ['talk', 'said now\ufffd[2J']);
	following.child.kill('SIGINT');
	assert.equal(await following.exited, 0);
	assert.match((await slipway(['logs', 'nobody'])).stderr, /no such server/);
});

test('status and list say what there is, what is wrong and the next step', async () => {
	await until('the image was looked for', async () => {
		const { servers } = await json('list');
		return servers.find(({ name }: { name: string }) => name === 'broken').preparation.kind === 'failed';
	});
	const { code, stdout } = await slipway(['status']);
	assert.equal(code, 0);
	assert.match(stdout, /^Slipway \S+ at http:\/\/localhost:\d+: ok\nengine \S+ · catalog revision 1 · 2 servers · /);
	assert.match(stdout, /^talk +ready +\d+ +\d+ +0$/m);
	assert.match(stdout, /^What is wrong\n(?:.*\n)*- broken: .+\n {2}\S/m);
	const listed = await slipway(['list']);
	assert.match(listed.stdout, /^off +image \S+ +disabled +session +none$/m);
	assert.match(listed.stdout, /^broken +image \S+ +failed +session +api\.example\.com:443$/m);
	assert.equal((await json('status')).status, 'ok');
});

test('a verb’s own key is recorded, may do what the verb does, and is gone when the verb has ended or was ended', async () => {
	const following = startSlipway(['logs', '-f', '--tail', '0'], place.settings);
	const names = async (): Promise<string[]> =>
		(await json('keys', 'list')).keys
			.map(({ name }: { name: string }) => name)
			.filter((name: string) => /^cli-/.test(name));
	await until('it has a key', async () => (await names()).length === 1);
	const [name = ''] = await names();
	following.child.kill('SIGINT');
	await following.exited;
	assert.deepEqual(await names(), []);
	const acts = recordsIn(join(place.folder, 'data', 'audit'), 'cli')
		.filter(({ key }) => key === name)
		.map(({ act, scopes }) => ({ act, ...(scopes === undefined ? {} : { scopes }) }));
	assert.deepEqual(acts, [{ act: 'create', scopes: ['admin'] }, { act: 'revoke' }]);
});

test('a gateway that is not there, keys that are wrong or missing, and files that are none, are said with the next step', async () => {
	const keyFile = join(place.folder, 'key');
	await writeFile(keyFile, `${API_KEY}\n`);
	assert.equal((await slipway(['list', '--key-file', keyFile])).code, 0);
	assert.equal((await slipway(['list'], { SLIPWAY_API_KEY: API_KEY })).code, 0);
	await writeFile(join(place.folder, 'wrong'), 'a-wrong-key-0123456789');
	const nowhere = `http://127.0.0.1:${await freePort()}`;
	for (const [args, message, more = {}] of [
		[['list', '--key-file', join(place.folder, 'wrong')], /API key is missing or wrong/],
		[['list', '--key-file', '/nowhere'], /The file of the key cannot be read/],
		[['list', '--ca-file', '/nowhere'], /The file of the certificates cannot be read/],
		[['list', '--url', 'gateway:8080'], /`--url` must be/],
		[['list', '--url', nowhere], /The gateway does not answer\. [\s\S]*docker compose up -d --wait/],
		[['logs', '-f', '--url', nowhere], /The gateway does not answer/],
		[['call', 'talk', 'echo', '--url', nowhere], /The gateway does not answer/],
		[
			['list'],
			/There is no key to ask the gateway with[\s\S]*--key-file/,
			{ SLIPWAY_DATA: join(place.folder, 'none') },
		],
	] as const) {
		const done = await slipway(args, more);
		assert.equal(done.code, 1, `${args.join(' ')}\n${done.stdout}`);
		assert.match(done.stderr, message, args.join(' '));
	}
	const { error } = JSON.parse((await slipway(['status', '--json', '--url', nowhere])).stdout);
	assert.equal(error.code, 'SLIPWAY_GATEWAY_UNREACHABLE');
	assert.deepEqual((await json('keys', 'list')).keys, [], 'none of its own is left');
});
