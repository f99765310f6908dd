/** Parts of the command line that need no engine. */
import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { judgeEngine } from '../../src/cli/checkup/engine.ts';
import { judgeFree } from '../../src/cli/checkup/launch.ts';
import { Failure } from '../../src/cli/failure.ts';
import { hostsWanted } from '../../src/cli/hosts.ts';
import { diffLines } from '../../src/cli/line-diff.ts';
import { formatBytes, formatDuration, formatTable, Progress, paintOf } from '../../src/cli/terminal.ts';
import { TrialFailure } from '../../src/cli/trial.ts';
import { hintsOf } from '../../src/cli/trial-hints.ts';
import { defineVerb } from '../../src/cli/verb.ts';
import type { EngineFacts } from '../../src/docker/engine-facts.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import { invocationOf, writtenSurface } from '../support/invocation.ts';

test('a verb: options, a command of somebody else’s, help, misuse, and failures for programs', async () => {
	const seen: unknown[] = [];
	const verb = defineVerb({
		help: 'the help',
		options: { name: { type: 'string' }, fast: { type: 'boolean' } },
		takesCommand: true,
		run: async ({ values, positionals }) => {
			seen.push([values.name, values.fast, positionals]);
			if (positionals[0] === 'fail') throw new Failure(new SlipwayError('SLIPWAY_INTERNAL'), ['do this', 'or that']);
			return positionals.length === 0 ? 'misused' : 0;
		},
	});
	const run = async (...args: readonly string[]) => {
		const printed: string[] = [];
		const err = writtenSurface();
		const code = await verb(invocationOf(args, { err, print: (text) => void printed.push(text) })).catch(String);
		return { code, printed: printed.join('\n'), told: err.written.join('') };
	};
	for (const args of [
		['--name', 'a', '--', 'npx', '-y', '--name', 'b'],
		['--name=a', 'npx', '-y', '--name', 'b'],
	]) {
		assert.equal((await run(...args)).code, 0);
		assert.deepEqual(seen.pop(), ['a', undefined, ['npx', '-y', '--name', 'b']]);
	}
	assert.equal((await run('npx', '--', '-x')).code, 0);
	assert.deepEqual(seen.pop(), [undefined, undefined, ['npx', '--', '-x']]);
	assert.deepEqual(await run('--help'), { code: 0, printed: 'the help', told: '' });
	assert.deepEqual(await run(), { code: 2, printed: 'the help', told: '' });
	const unknown = await run('--slow', 'npx');
	assert.equal(unknown.code, 2);
	assert.match(unknown.told, /--slow[\s\S]*the help/);
	const failed = await run('--json', 'fail');
	assert.match(String(failed.code), /Something went wrong/);
	assert.equal(JSON.parse(failed.printed).error.nextStep, 'do this\nor that');
});

test('who breaks a verb off is told so, and no error', async () => {
	const stopping = new AbortController();
	const verb = defineVerb({
		help: '',
		run: async () => {
			stopping.abort();
			throw new Error('whatever comes of that');
		},
	});
	const err = writtenSurface();
	assert.equal(await verb(invocationOf([], { err, stopping: stopping.signal })), 1);
	assert.deepEqual(err.written, ['slipway: broken off.\n']);
});

test('progress: a line for each step, or one that is written over where a terminal shows it', (t) => {
	mock.timers.enable({ apis: ['setInterval'] });
	t.after(() => mock.timers.reset());
	const plain = writtenSurface();
	const lines = new Progress(plain, {});
	for (const step of ['one', 'one', 'two']) lines.step(step);
	lines.done();
	assert.deepEqual(plain.written, ['[  0.0 s] one\n', '[  0.0 s] two\n']);

	const terminal = writtenSurface({ isTerminal: true, columns: 24 });
	const drawn = new Progress(terminal, { NO_COLOR: '1' });
	drawn.step('a step with a name longer than the line');
	mock.timers.tick(250);
	drawn.fail();
	mock.timers.tick(1000);
	assert.deepEqual(terminal.written, [
		'\r\u001b[2K⠙ a step with a … 0.0 s',
		'\r\u001b[2K⠹ a step with a … 0.0 s',
		'\r\u001b[2K⠸ a step with a … 0.0 s',
		'\r\u001b[2K✗ a step with a … 0.0 s\n',
	]);
});

test('colours are for terminals whose people want them', () => {
	const terminal = writtenSurface({ isTerminal: true });
	assert.equal(paintOf(terminal, {})('red', 'x'), '\u001b[31mx\u001b[39m');
	for (const environment of [{ NO_COLOR: '1' }, { TERM: 'dumb' }])
		assert.equal(paintOf(terminal, environment)('red', 'x'), 'x');
	assert.equal(paintOf(writtenSurface(), {})('red', 'x'), 'x');
	assert.equal(paintOf(terminal, { NO_COLOR: '' })('dim', 'x'), '\u001b[2mx\u001b[22m');
});

test('times, amounts and tables', () => {
	assert.deepEqual([0, 1234, 59_949, 61_000, 605_000].map(formatDuration), [
		'0.0 s',
		'1.2 s',
		'59.9 s',
		'1 min 01 s',
		'10 min 05 s',
	]);
	assert.deepEqual([0, 1023, 1536, 256 * 1024 ** 2, 74.5 * 1024 ** 3].map(formatBytes), [
		'0 B',
		'1023 B',
		'1.5 KiB',
		'256 MiB',
		'75 GiB',
	]);
	assert.equal(
		formatTable([
			['A', 'B'],
			['long', ''],
			['x', 'y', 'z'],
		]),
		'A     B\nlong\nx     y  z',
	);
});

test('hosts that a server could not reach, in the words of Node, Python, Go and curl', () => {
	const said = [
		'Error: getaddrinfo ENOTFOUND api.node.example',
		'connect ECONNREFUSED api.node.example:8443',
		"HTTPSConnectionPool(host='api.python.example', port=443): Max retries exceeded",
		'dial tcp: lookup api.go.example on 127.0.0.11:53: no such host',
		'curl: (6) Could not resolve host: api.curl.example',
		'request to https://api.fetch.example/v1/me failed, reason: unknown',
		'see https://docs.example/ for help',
		'connect ECONNREFUSED 127.0.0.1:5432',
		'getaddrinfo EAI_AGAIN localhost',
		'getaddrinfo ENOTFOUND api.node.example',
	].join('\n');
	assert.deepEqual(hostsWanted(said).sort(), [
		'api.curl.example:443',
		'api.fetch.example:443',
		'api.go.example:443',
		'api.node.example:443',
		'api.node.example:8443',
		'api.python.example:443',
	]);
	assert.deepEqual(hostsWanted(''), []);
	const startedAtMs = performance.now();
	hostsWanted(`https://${'a.'.repeat(2000)} ${'lookup a.b '.repeat(400)}`);
	assert.ok(performance.now() - startedAtMs < 1000, 'whatever a server writes, it is read in time');
});

test('what did not pass its trial is told what it lacked, and nothing that is for clients of HTTP', () => {
	const denial = {
		target: 'api.example.com:443',
		reason: 'rule',
		count: 1,
		at: '',
		allow: 'api.example.com:443',
	} as const;
	const hints = (seen: Partial<TrialFailure>, egress: string[] = [], code: ErrorCode = 'SLIPWAY_START_FAILED') =>
		hintsOf(new TrialFailure(new SlipwayError(code, seen.details ?? {}), { missingSecrets: [], denied: [], ...seen }), {
			egress,
		}).join('\n');
	assert.match(
		hints({ denied: [denial] }),
		/It seems to need api\.example\.com:443, .*: --egress api\.example\.com:443\nNothing was written\.$/,
	);
	assert.equal(hints({ denied: [denial] }, ['api.example.com:443']), 'Nothing was written.');
	assert.match(hints({ details: { stderr: 'getaddrinfo EAI_AGAIN a.example.com' } }), /--egress a\.example\.com:443/);
	assert.match(hints({ missingSecrets: ['token'] }), /without what nobody keeps.*slipway secrets set token <file/);
	assert.equal(
		hints({}, [], 'SLIPWAY_START_TIMEOUT'),
		'Does the command speak MCP on stdin and stdout?\nNothing was written.',
	);
	assert.deepEqual(hintsOf(new SlipwayError('SLIPWAY_CATALOG_INVALID'), {}), []);
	assert.match(hintsOf(new SlipwayError('SLIPWAY_EGRESS_UNAVAILABLE'), {}).join(), /docker compose run --rm cli/);
});

test('texts differ by lines, and what is the same is shown near a change only', () => {
	const lines = (text: string): string => text.split('').join('\n');
	assert.deepEqual(diffLines(lines('abcdefg'), lines('abcdefg')), []);
	assert.deepEqual(diffLines(lines('abcdefg'), lines('abcXdefg')), ['  b', '  c', '+ X', '  d', '  e']);
	assert.deepEqual(diffLines(lines('abcdefg'), lines('abcefg')), ['  b', '  c', '- d', '  e', '  f']);
	assert.deepEqual(diffLines(lines('abcde'), lines('aXcYe')), ['  a', '- b', '+ X', '  c', '- d', '+ Y', '  e']);
	assert.deepEqual(diffLines('', 'a'), ['- ', '+ a']);
	assert.deepEqual(diffLines(lines('ab'), lines('abab')), ['  a', '  b', '+ a', '+ b']);
});

const FACTS: EngineFacts = {
	storageDriver: 'overlay2',
	kernel: '6.12',
	operatingSystem: 'Debian',
	cgroupVersion: '2',
	security: new Set(['seccomp', 'cgroupns']),
	liveRestore: false,
	lacking: [],
	clockMs: 1_000_000,
};

test('what an engine says of itself is judged, and every warning says why and what to do', () => {
	const worries = (facts: Partial<EngineFacts>, nowMs = 1_000_500) =>
		judgeEngine({ ...FACTS, ...facts }, nowMs).filter(({ state }) => state !== 'ok');
	assert.deepEqual(worries({}), []);
	assert.deepEqual(worries({ clockMs: undefined }), []);
	for (const [facts, check] of [
		[{ storageDriver: 'vfs' }, 'storage'],
		[{ cgroupVersion: '1' }, 'limits'],
		[{ lacking: ['memory', 'swap'] }, 'limits'],
		[{ security: new Set(['seccomp unconfined']) }, 'system calls'],
		[{ clockMs: 900_000 }, 'clock'],
	] as const) {
		const [worry, ...more] = worries(facts);
		assert.deepEqual([worry?.check, more], [check, []]);
		assert.match(worry?.why ?? '', /\.$/);
		assert.notEqual(worry?.fix ?? '', '');
	}
	const GIB = 1024 ** 3;
	assert.deepEqual(
		[3 * GIB, GIB, 0.1 * GIB].map((bytes) => judgeFree('it', bytes).state),
		['ok', 'warning', 'broken'],
	);
});
