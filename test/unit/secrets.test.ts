import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { after, type TestContext, test } from 'node:test';
import { createCatalog, type Server } from '../../src/catalog/catalog.ts';
import { secrets as secretsVerb } from '../../src/cli/secrets.ts';
import { readConfig, type SecretsConfig } from '../../src/config.ts';
import { type ErrorCode, SlipwayError } from '../../src/errors.ts';
import { SECRET_LIMITS } from '../../src/limits.ts';
import { seal, unseal } from '../../src/secrets/sealed.ts';
import { listSealed, readSealed, removeSealed, writeSealed } from '../../src/secrets/sealed-store.ts';
import { Secrets } from '../../src/secrets/secrets.ts';
import { findSecret } from '../../src/secrets/sources.ts';
import { examineValue, withoutLastNewline } from '../../src/secrets/value.ts';
import { assertWhole, recordsIn } from '../support/audit-files.ts';
import { NO_SECRETS, server } from '../support/fixtures.ts';
import { invocationOf } from '../support/invocation.ts';

const ROOT = mkdtempSync(join(tmpdir(), 'slipway-secrets-'));
after(() => rmSync(ROOT, { recursive: true }));
let folders = 0;

function newFolder(): string {
	const folder = join(ROOT, String(folders++));
	mkdirSync(folder);
	return folder;
}

function newStore(): { folder: string; keyFile: string } {
	const folder = newFolder();
	const keyFile = join(newFolder(), 'key');
	writeFileSync(keyFile, `${randomBytes(32).toString('hex')}\n`);
	return { folder, keyFile };
}

function refuses(code: ErrorCode, reason: RegExp, act: () => unknown): void {
	assert.throws(act, (error) => {
		assert.ok(error instanceof SlipwayError, String(error));
		assert.equal(error.code, code);
		assert.match(error.details.reason ?? '', reason);
		return true;
	});
}

function readFrom(sources: SecretsConfig, name = 'token'): string {
	const finding = findSecret(sources, name);
	if (finding.kind === 'found') return finding.value.toString();
	return finding.kind === 'missing' ? 'MISSING' : finding.reason;
}

const naming = (...secrets: Server['secrets']): Server =>
	server('one', { kind: 'image', reference: 'any:1' }, { secrets });
const TOKEN = { variable: 'TOKEN', name: 'token' };

function open(t: TestContext, sources: Partial<SecretsConfig>, one = naming(TOKEN)) {
	let changes = 0;
	const secrets = new Secrets({
		sources: { ...NO_SECRETS, ...sources },
		catalog: createCatalog([one]),
		onChange: () => (changes += 1),
	});
	t.after(() => secrets.stop());
	return { secrets, one, changes: () => changes };
}

test('a value is 1 byte to 64 KiB without a NUL, of 4096 lines at most', () => {
	const kind = (value: Buffer): string => examineValue('a', value).kind;
	assert.equal(kind(Buffer.from('x')), 'found');
	assert.equal(kind(Buffer.alloc(SECRET_LIMITS.valueBytesMax, 'x')), 'found');
	assert.equal(kind(Buffer.alloc(SECRET_LIMITS.valueLinesMax - 1, '\n')), 'found');
	for (const wrong of [
		Buffer.alloc(0),
		Buffer.alloc(SECRET_LIMITS.valueBytesMax + 1, 'x'),
		Buffer.from('a\0b'),
		Buffer.alloc(SECRET_LIMITS.valueLinesMax, '\n'),
	])
		assert.equal(kind(wrong), 'unusable', String(wrong.length));
});

test('one newline at the end is none of the value’s, and no more than one', () => {
	for (const [bytes, value] of [
		['a\n', 'a'],
		['a\r\n', 'a'],
		['a\n\n', 'a\n'],
		['a\r', 'a\r'],
		['\na', '\na'],
		['\n', ''],
	] as const)
		assert.equal(withoutLastNewline(Buffer.from(bytes)).toString(), value);
});

test('what is sealed is opened with the same key and name, unchanged, and with no other', () => {
	const key = randomBytes(32);
	const value = Buffer.from('a value\n');
	const sealed = seal(key, 'token', value);
	assert.deepEqual(unseal(key, 'token', sealed), value);
	assert.equal(unseal(key, 'other', sealed), undefined, 'another name');
	assert.equal(unseal(randomBytes(32), 'token', sealed), undefined, 'another key');
	for (let at = 0; at < sealed.length; at++) {
		const changed = Buffer.from(sealed);
		changed[at] = (changed[at] ?? 0) ^ 1;
		assert.equal(unseal(key, 'token', changed), undefined, `byte ${at}`);
		assert.equal(unseal(key, 'token', sealed.subarray(0, at)), undefined, `cut at ${at}`);
	}
	assert.ok(!sealed.includes(value));
	assert.notDeepEqual(seal(key, 'token', value), sealed, 'a nonce of its own each time');
});

test('the store keeps, lists, replaces and removes, and its files say nothing', () => {
	const store = newStore();
	assert.deepEqual(listSealed(store), []);
	writeSealed(store, 'token', Buffer.from('first value'));
	writeSealed(store, 'token', Buffer.from('second value'));
	writeSealed(store, 'a_key', Buffer.from('third value'));
	assert.deepEqual(listSealed(store), ['a_key', 'token']);
	assert.deepEqual(readSealed(store, 'token'), { kind: 'found', value: Buffer.from('second value') });
	assert.deepEqual(readdirSync(store.folder).sort(), ['a_key.sealed', 'token.sealed'], 'no draft is left');
	for (const file of readdirSync(store.folder)) {
		assert.ok(!readFileSync(join(store.folder, file)).includes('value'));
		assert.equal(statSync(join(store.folder, file)).mode & 0o007, 0, 'nothing for others');
	}
	removeSealed(store, 'token');
	assert.deepEqual(readSealed(store, 'token'), { kind: 'missing' });
	refuses('SLIPWAY_SECRET_MISSING', /has no "token"/, () => removeSealed(store, 'token'));
});

test('a file of one name in the place of another’s is not taken for it', () => {
	const store = newStore();
	writeSealed(store, 'harmless', Buffer.from('value'));
	renameSync(join(store.folder, 'harmless.sealed'), join(store.folder, 'token.sealed'));
	const finding = readSealed(store, 'token');
	assert.equal(
		finding.kind === 'unusable' && finding.reason,
		'The secret "token" was sealed with another key, or was changed since.',
	);
});

test('two processes that write at once lose nothing', async () => {
	const store = newStore();
	const main = new URL('../../src/main.ts', import.meta.url).pathname;
	const { spawn } = await import('node:child_process');
	const env = {
		PATH: process.env['PATH'],
		SLIPWAY_SECRETS_STORE: store.folder,
		SLIPWAY_SECRETS_KEY_FILE: store.keyFile,
	};
	const names = Array.from({ length: 8 }, (_, index) => `token${index % 4}`);
	const codes = await Promise.all(
		names.map((name) => {
			const child = spawn(process.execPath, [main, 'secrets', 'set', name], {
				env,
				stdio: ['pipe', 'ignore', 'inherit'],
			});
			child.stdin.end(`value of ${name}\n`);
			return new Promise((resolve) => child.once('close', resolve));
		}),
	);
	assert.deepEqual(
		codes,
		names.map(() => 0),
	);
	assert.deepEqual(listSealed(store), ['token0', 'token1', 'token2', 'token3']);
	for (const name of listSealed(store))
		assert.deepEqual(readSealed(store, name), { kind: 'found', value: Buffer.from(`value of ${name}`) });
	assert.equal(readdirSync(store.folder).length, 4);
});

test('names are names and no paths, and a key is a key', () => {
	const store = newStore();
	for (const name of ['', '../token', 'a/b', 'A', 'token_file', '1a', 'x'.repeat(64)])
		refuses('SLIPWAY_SECRET_INVALID', /The name of a secret is /, () => writeSealed(store, name, Buffer.from('v')));
	const value = Buffer.from('v');
	refuses('SLIPWAY_CONFIG_INVALID', /KEY_FILE is not set/, () =>
		writeSealed({ ...store, keyFile: undefined }, 'a', value),
	);
	refuses('SLIPWAY_CONFIG_INVALID', /KEY_FILE is not set/, () =>
		writeSealed({ ...store, keyFile: '/dev/null' }, 'a', value),
	);
	refuses('SLIPWAY_CONFIG_INVALID', /cannot be read/, () => writeSealed({ ...store, keyFile: '/nowhere' }, 'a', value));
	writeFileSync(store.keyFile, 'short');
	refuses('SLIPWAY_CONFIG_INVALID', /64 hexadecimal digits/, () => writeSealed(store, 'a', value));
	assert.deepEqual(readdirSync(store.folder), []);
});

test('the environment comes before the folders, these in their order, and the store last', () => {
	const store = newStore();
	const [first, second] = [newFolder(), newFolder()];
	const sources = { environment: new Map(), folders: [first, second], storeDir: store.folder, keyFile: store.keyFile };
	assert.equal(readFrom(sources), 'MISSING');
	writeSealed(store, 'token', Buffer.from('stored'));
	assert.equal(readFrom(sources), 'stored');
	writeFileSync(join(second, 'token'), 'second\n');
	assert.equal(readFrom(sources), 'second');
	writeFileSync(join(first, 'token'), 'first\n');
	assert.equal(readFrom(sources), 'first');
	assert.equal(readFrom({ ...sources, environment: new Map([['token', { value: 'said\n' }]]) }), 'said\n');
	const file = join(newFolder(), 'anything');
	const said = { ...sources, environment: new Map([['token', { file }]]) };
	assert.match(readFrom(said), /is said to be in a file that is not there/);
	writeFileSync(file, 'in a file\n');
	assert.equal(readFrom(said), 'in a file');
});

test('what is there and cannot be used is not passed over for an older value', () => {
	const store = newStore();
	const folder = newFolder();
	const sources = { ...NO_SECRETS, folders: [folder], storeDir: store.folder, keyFile: store.keyFile };
	writeSealed(store, 'token', Buffer.from('stored'));
	const path = join(folder, 'token');
	writeFileSync(path, '');
	assert.equal(readFrom(sources), 'The secret "token" is empty.');
	writeFileSync(path, Buffer.alloc(SECRET_LIMITS.valueBytesMax + 2, 'x'));
	assert.match(readFrom(sources), /is longer than 65536 bytes/);
	writeFileSync(path, `${'x'.repeat(SECRET_LIMITS.valueBytesMax)}\r\n`);
	assert.equal(readFrom(sources).length, SECRET_LIMITS.valueBytesMax);
	rmSync(path);
	mkdirSync(path);
	assert.match(readFrom(sources), /is no file that the launcher may read/);
	rmSync(path, { recursive: true });
	execFileSync('mkfifo', [path]);
	assert.match(readFrom(sources), /is no file that the launcher may read/, 'and nobody waits for a pipe');
	rmSync(path);
	symlinkSync('/nowhere', path);
	assert.equal(readFrom(sources), 'stored', 'a link to nothing is nothing');
});

test('a start names all that is missing, or what is wrong with what is there', (t) => {
	const folder = newFolder();
	const one = naming(
		TOKEN,
		{ variable: 'B', name: 'second' },
		{ variable: 'C', name: 'third', file: '/run/secrets/c' },
	);
	const { secrets } = open(t, { folders: [folder] }, one);
	refuses('SLIPWAY_SECRET_MISSING', /^It needs "token", "second", "third"\.$/, () => secrets.resolve(one));
	writeFileSync(join(folder, 'second'), 'value of second');
	refuses('SLIPWAY_SECRET_MISSING', /^It needs "token", "third"\.$/, () => secrets.resolve(one));
	writeFileSync(join(folder, 'token'), 'value');
	writeFileSync(join(folder, 'third'), '');
	refuses('SLIPWAY_SECRET_INVALID', /^The secret "third" is empty\.$/, () => secrets.resolve(one));
	writeFileSync(join(folder, 'third'), 'other');
	assert.deepEqual(secrets.resolve(one)?.delivered, [
		{ variable: 'TOKEN', value: Buffer.from('value') },
		{ variable: 'B', value: Buffer.from('value of second') },
		{ variable: 'C', value: Buffer.from('other'), file: '/run/secrets/c' },
	]);
});

test('the secrets of one server are bounded together', (t) => {
	const folder = newFolder();
	const names = Array.from({ length: 17 }, (_, index) => `s${index}`);
	for (const name of names) writeFileSync(join(folder, name), Buffer.alloc(SECRET_LIMITS.valueBytesMax, 'x'));
	const one = naming(...names.map((name) => ({ variable: name.toUpperCase(), name })));
	const { secrets } = open(t, { folders: [folder] }, one);
	refuses('SLIPWAY_SECRET_INVALID', /longer than 1048576 bytes together/, () => secrets.resolve(one));
});

test('a server without secrets has none, and nothing stands for them', (t) => {
	const { secrets, one, changes } = open(t, {}, naming());
	assert.equal(secrets.resolve(one), undefined);
	assert.equal(secrets.fingerprint(one), undefined);
	assert.equal(changes(), 0);
});

test('another value is another fingerprint, at the next start and without one, however the file is replaced', (t) => {
	t.mock.timers.enable({ apis: ['setInterval'] });
	const folder = newFolder();
	const path = join(folder, 'token');
	writeFileSync(path, 'zero');
	const { secrets, one, changes } = open(t, { folders: [folder] });
	secrets.start();
	const seen = new Set([secrets.fingerprint(one)]);
	const changed = (): void => {
		const before = changes();
		t.mock.timers.tick(SECRET_LIMITS.pollIntervalMs);
		assert.equal(changes(), before + 1);
		assert.ok(!seen.has(secrets.fingerprint(one)), 'a fingerprint of its own');
		seen.add(secrets.fingerprint(one));
		t.mock.timers.tick(SECRET_LIMITS.pollIntervalMs);
		assert.equal(changes(), before + 1, 'what stays is no news');
	};
	writeFileSync(path, 'one');
	changed();
	// As agents do: a new file in the place of the old.
	writeFileSync(`${path}.tmp`, 'two');
	renameSync(`${path}.tmp`, path);
	changed();
	// Of the same length, in the same file, within the same moment.
	writeFileSync(path, 'six');
	changed();
	rmSync(path);
	changed();
	writeFileSync(path, 'new');
	const { fingerprint } = secrets.resolve(one) ?? {};
	assert.ok(!seen.has(fingerprint));
	assert.equal(secrets.fingerprint(one), fingerprint, 'what a start found out is known');
	writeFileSync(path, 'one');
	t.mock.timers.tick(SECRET_LIMITS.pollIntervalMs);
	assert.ok(seen.has(secrets.fingerprint(one)), 'the same values have the same');
});

test('a fingerprint is of its process and no hash of the value: to try values against it is in vain', (t) => {
	const folder = newFolder();
	writeFileSync(join(folder, 'token'), 'guessable');
	const [one, other] = [open(t, { folders: [folder] }), open(t, { folders: [folder] })];
	assert.notEqual(one.secrets.fingerprint(one.one), other.secrets.fingerprint(other.one));
});

test('two secrets that together read alike are told apart', (t) => {
	const folder = newFolder();
	const one = naming(TOKEN, { variable: 'B', name: 'second' });
	const { secrets } = open(t, { folders: [folder] }, one);
	const of = (token: string, second: string): string => {
		writeFileSync(join(folder, 'token'), token);
		writeFileSync(join(folder, 'second'), second);
		return secrets.resolve(one)?.fingerprint ?? '';
	};
	assert.notEqual(of('a', 'b second found\nc'), of('asecond found\nb ', 'c'));
	assert.notEqual(of('ab', 'c'), of('a', 'bc'));
});

test('a new catalog is looked for at once, and names that it has no more are forgotten', (t) => {
	const folder = newFolder();
	writeFileSync(join(folder, 'other'), 'value');
	const { secrets } = open(t, { folders: [folder] });
	const next = naming({ variable: 'B', name: 'other' });
	secrets.setCatalog(createCatalog([next]));
	const known = secrets.fingerprint(next);
	assert.equal(secrets.resolve(next)?.fingerprint, known);
});

test('settings of single secrets: a value or a file, by a name in capital letters', () => {
	const { environment } = readConfig({
		SLIPWAY_SECRET_GITHUB_TOKEN: 'a value',
		SLIPWAY_SECRET_KEY_FILE: '/run/key',
		SLIPWAY_SECRET_UNSET: '',
	}).secrets;
	assert.deepEqual(
		[...environment],
		[
			['github_token', { value: 'a value' }],
			['key', { file: '/run/key' }],
		],
	);
	const problems = (environment: Record<string, string>): string => {
		try {
			readConfig(environment);
			return '';
		} catch (error) {
			return error instanceof SlipwayError ? (error.details.reason ?? '') : String(error);
		}
	};
	assert.match(
		problems({ SLIPWAY_SECRET_A: 'x', SLIPWAY_SECRET_A_FILE: '/x' }),
		/SLIPWAY_SECRET_A and SLIPWAY_SECRET_A_FILE are both set/,
	);
	for (const name of [
		'SLIPWAY_SECRET_',
		'SLIPWAY_SECRET_FILE_',
		'SLIPWAY_SECRET__FILE',
		'SLIPWAY_SECRET_lower',
		'SLIPWAY_SECRET_A-B',
	]) {
		const said = problems({ [name]: 'canary-value' });
		if (name !== 'SLIPWAY_SECRET_FILE_') assert.match(said, /names no secret/, name);
		assert.ok(!said.includes('canary'));
	}
});

/** Where the command line records what it does to a store. */
function auditOf({ keyFile }: ReturnType<typeof newStore>): string {
	return join(dirname(keyFile), 'audit');
}

function environmentOf(store: ReturnType<typeof newStore>): Record<string, string> {
	return {
		SLIPWAY_SECRETS_STORE: store.folder,
		SLIPWAY_SECRETS_KEY_FILE: store.keyFile,
		SLIPWAY_AUDIT_DIR: auditOf(store),
	};
}

interface Ran {
	readonly code: number;
	readonly printed: string;
}

async function run(store: ReturnType<typeof newStore>, args: readonly string[], input = ''): Promise<Ran> {
	const printed: string[] = [];
	const code = await secretsVerb(
		invocationOf(args, {
			environment: environmentOf(store),
			input: () => Readable.from([Buffer.from(input)]),
			print: (text) => void printed.push(text),
		}),
	);
	return { code, printed: printed.join('\n') };
}

test('the command line: the value comes on standard input, and is printed by nothing', async () => {
	const store = newStore();
	assert.deepEqual(await run(store, ['list']), { code: 0, printed: 'The encrypted store is empty.' });
	assert.deepEqual(await run(store, ['set', 'token'], 'canary-value\n'), { code: 0, printed: 'token is kept.' });
	assert.deepEqual(await run(store, ['list']), { code: 0, printed: 'token' });
	assert.deepEqual(await run(store, ['list', '--json']), { code: 0, printed: '{"secrets":["token"]}' });
	assert.deepEqual(readSealed(store, 'token'), { kind: 'found', value: Buffer.from('canary-value') });
	assert.deepEqual(await run(store, ['remove', 'token']), { code: 0, printed: 'token is removed.' });
	assert.deepEqual(listSealed(store), []);
	for (const args of [[], ['set'], ['set', 'token', 'value'], ['list', 'token'], ['show', 'token']])
		assert.equal((await run(store, args)).code, 2, args.join(' '));
	await assert.rejects(run(store, ['set', 'token'], 'x'.repeat(SECRET_LIMITS.valueBytesMax + 1)), {
		code: 'SLIPWAY_SECRET_INVALID',
	});
	await assert.rejects(run(store, ['set', 'token'], '\n'), { code: 'SLIPWAY_SECRET_INVALID' });
	assert.deepEqual(listSealed(store), []);
});

test('what the command line does to the store is recorded, and how it ended, and nothing of a value', async () => {
	const store = newStore();
	await run(store, ['set', 'token'], 'canary-value');
	await assert.rejects(run(store, ['set', 'CANARY-value'], 'x'), { code: 'SLIPWAY_SECRET_INVALID' });
	await run(store, ['list']);
	await run(store, ['remove', 'token']);
	await assert.rejects(run(store, ['remove', 'token']), { code: 'SLIPWAY_SECRET_MISSING' });
	assertWhole(auditOf(store), 'cli');
	const records = recordsIn(auditOf(store), 'cli');
	assert.deepEqual(
		records.map(({ event, act, secret, outcome }) => [event, act, secret, outcome]),
		[
			['secret', 'set', 'token', 'ok'],
			['secret', 'set', undefined, 'SLIPWAY_SECRET_INVALID'],
			['secret', 'remove', 'token', 'ok'],
			['secret', 'remove', 'token', 'SLIPWAY_SECRET_MISSING'],
		],
	);
	assert.ok(!/canary/i.test(JSON.stringify(records)));
});

test('a terminal is not read from: it would show the value', async () => {
	const store = newStore();
	const terminal = Object.assign(Readable.from([Buffer.from('canary-value')]), { isTTY: true });
	await assert.rejects(
		secretsVerb(invocationOf(['set', 'token'], { environment: environmentOf(store), input: () => terminal })),
		/Give the value on standard input/,
	);
	assert.deepEqual(listSealed(store), []);
});
