import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import fc from 'fast-check';
import { explainVariable } from '../../src/catalog/secrets.ts';
import { StderrRing } from '../../src/docker/stderr-ring.ts';
import { SECRET_LIMITS } from '../../src/limits.ts';
import { type Delivered, frame, SHIM_ENTRYPOINT } from '../../src/secrets/delivery.ts';
import { Redaction } from '../../src/secrets/redaction.ts';
import { seal, unseal } from '../../src/secrets/sealed.ts';

const TIME = { interruptAfterTimeLimit: 10_000, markInterruptAsFailure: false };

/** Bytes of a value, often such as a shell, a printf or a read would take for something else. */
const value = fc
	.oneof(
		fc.uint8Array({ min: 1, max: 255, minLength: 1, maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
		fc
			.array(
				fc.constantFrom(
					'\n',
					' ',
					'\t',
					'\\',
					'$HOME',
					'`id`',
					'$(id)',
					"'",
					'"',
					'%s',
					'-n',
					'.',
					'1',
					'\r',
					'é',
					'🚢',
					'\u0081',
				),
				{
					minLength: 1,
					maxLength: 30,
				},
			)
			.map((words) => Buffer.from(words.join(''))),
	)
	.filter((bytes) => bytes.length > 0);

const variables = fc.uniqueArray(fc.stringMatching(/^T[A-Z0-9_]{0,10}$/), { minLength: 1, maxLength: 5 });

/** What a program has in its environment that the shell has become, and on its stdin. */
function deliver(
	shell: string,
	bytes: Buffer,
): { environment: Map<string, Buffer>; rest: Buffer; status: number | null } {
	const print = 'cat /proc/$$/environ; printf "\\000\\000"; exec cat';
	const { stdout, status } = spawnSync(shell, [...SHIM_ENTRYPOINT.slice(1), '/bin/sh', '-c', print], {
		argv0: 'sh',
		input: bytes,
		// In which some shells read characters, and not bytes.
		env: { PATH: process.env['PATH'], LC_ALL: 'C.UTF-8' },
		maxBuffer: 2 ** 24,
	});
	const end = stdout.indexOf('\0\0\0');
	const environment = new Map<string, Buffer>();
	for (let from = 0; from < end; ) {
		const to = stdout.indexOf(0, from);
		const name = stdout.indexOf('=', from);
		environment.set(stdout.subarray(from, name).toString(), stdout.subarray(name + 1, to));
		from = to + 1;
	}
	return { environment, rest: stdout.subarray(end + 3), status };
}

/** The first is dash in the images that this runs in; bash is sh elsewhere, and does as that when it is called so. */
for (const shell of ['/bin/sh', '/bin/bash']) {
	test(`any values arrive to the byte, and not a byte of what follows is taken: ${shell}`, () => {
		fc.assert(
			fc.property(variables, fc.infiniteStream(value), fc.uint8Array({ maxLength: 100 }), (names, values, after) => {
				const secrets: Delivered[] = names.map((variable) => ({ variable, value: values.next().value }));
				const { environment, rest, status } = deliver(shell, Buffer.concat([frame(secrets), after]));
				assert.equal(status, 0);
				for (const { variable, value: sent } of secrets) assert.deepEqual(environment.get(variable), sent);
				assert.deepEqual(rest, Buffer.from(after));
				assert.deepEqual(
					[...environment.keys()].filter((name) => name.startsWith('slipway_')),
					[],
				);
			}),
			{ ...TIME, numRuns: 60 },
		);
	});
}

/** What bash's manual and POSIX say that a shell knows. */
const KNOWN_TO_SHELLS =
	'BASHOPTS BASHPID BASH_ARGC BASH_COMMAND BASH_ENV BASH_VERSINFO CDPATH COLUMNS COMP_LINE COPROC DIRSTACK ENV EPOCHREALTIME EPOCHSECONDS EUID FCEDIT FUNCNAME FUNCNEST GLOBIGNORE GROUPS HISTCMD HISTFILE HISTSIZE HOME HOSTNAME HOSTTYPE IFS IGNOREEOF LANG LC_ALL LINENO LINES MACHTYPE MAIL MAILCHECK MAILPATH MAPFILE OLDPWD OPTARG OPTERR OPTIND OSTYPE PATH PIPESTATUS POSIXLY_CORRECT PPID PROMPT_COMMAND PS0 PS1 PS2 PS4 PWD RANDOM READLINE_LINE REPLY SECONDS SHELL SHELLOPTS SHLVL SRANDOM TIMEFORMAT TMOUT TMPDIR UID _ slipway_name slipway_lines slipway_file slipway_value slipway_line'.split(
		' ',
	);

test('a variable that the catalog takes arrives, whatever shells make of its name', () => {
	for (const variable of KNOWN_TO_SHELLS.filter((name) => explainVariable(name) === undefined)) {
		for (const shell of ['/bin/sh', '/bin/bash']) {
			const sent = [
				{ variable, value: Buffer.from('a value-1') },
				{ variable: 'NEXT', value: Buffer.from(' two\nlines ') },
			];
			const { environment, rest } = deliver(shell, Buffer.concat([frame(sent), Buffer.from('rest')]));
			assert.equal(environment.get(variable)?.toString(), 'a value-1', `${variable} in ${shell}`);
			assert.equal(environment.get('NEXT')?.toString(), ' two\nlines ', `after ${variable} in ${shell}`);
			assert.equal(rest.toString(), 'rest');
		}
	}
	assert.ok(explainVariable('TOKEN') === undefined && explainVariable('PATHS') === undefined);
});

test('the largest value arrives, and one of as many lines as may be', () => {
	for (const sent of [
		Buffer.alloc(SECRET_LIMITS.valueBytesMax, 'value with spaces \\ and "quotes"'),
		Buffer.alloc(SECRET_LIMITS.valueLinesMax - 1, '\n'),
	]) {
		const { environment, rest } = deliver(
			'/bin/sh',
			Buffer.concat([frame([{ variable: 'TOKEN', value: sent }]), Buffer.from('next')]),
		);
		assert.ok(environment.get('TOKEN')?.equals(sent));
		assert.equal(rest.toString(), 'next');
	}
});

test('a delivery that breaks off is no start, wherever it does', () => {
	const whole = frame([
		{ variable: 'A', value: Buffer.from('one\ntwo') },
		{ variable: 'B', value: Buffer.from('three') },
	]);
	for (let length = 0; length < whole.length; length++) {
		const args = [...SHIM_ENTRYPOINT.slice(1), 'echo', 'started'];
		const { status, stdout, stderr } = spawnSync('/bin/sh', args, { input: whole.subarray(0, length) });
		assert.equal(stdout.toString(), '', `cut at ${length}`);
		assert.equal(status, 76);
		assert.equal(stderr.toString(), 'slipway: the secrets did not arrive\n');
	}
});

test('a file that cannot be written is no start, and the value is not told', () => {
	const bytes = frame([{ variable: 'A', value: Buffer.from('canary'), file: '/nowhere/a' }]);
	const { status, stdout, stderr } = spawnSync('/bin/sh', [...SHIM_ENTRYPOINT.slice(1), 'echo', 'started'], {
		input: bytes,
	});
	assert.equal(stdout.toString(), '');
	assert.equal(status, 76);
	assert.match(stderr.toString(), /\/nowhere\/a[\s\S]*slipway: the secrets did not arrive\n$/);
	assert.ok(!stderr.includes('canary'));
});

test('any value is unsealed as it was sealed', () => {
	const key = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes));
	fc.assert(
		fc.property(key, fc.string(), value, (ours, name, sent) => {
			assert.deepEqual(unseal(ours, name, seal(ours, name, sent)), sent);
		}),
		TIME,
	);
});

const secret = fc.stringMatching(/^[a-c]{8,20}$/).map((text) => Buffer.from(text));
const noise = fc.stringMatching(/^[a-d ]{0,40}$/).map((text) => Buffer.from(text));

test('no known value is shown, whatever stands around it, in whatever pieces it came, wherever the ring cuts', () => {
	fc.assert(
		fc.property(
			fc.array(secret, { minLength: 1, maxLength: 3 }),
			fc.array(fc.oneof(noise, fc.nat(2)), { maxLength: 12 }),
			fc.integer({ min: 1, max: 7 }),
			fc.integer({ min: 16, max: 120 }),
			(secrets, parts, size, ringBytes) => {
				const text = Buffer.concat(
					parts.map((part) => (typeof part === 'number' ? (secrets[part % secrets.length] ?? part) : part)) as Buffer[],
				);
				const ring = new StderrRing(ringBytes, secrets);
				for (let at = 0; at < text.length; at += size) ring.push(text.subarray(at, at + size));
				const shown = ring.tail();
				const kept = text.subarray(-ringBytes).toString();
				for (const one of secrets) assert.ok(!shown.includes(one.toString()), shown);
				// What is shown is what was kept, but for what was taken out.
				for (const piece of shown.split('[redacted]')) assert.ok(kept.includes(piece), piece);
			},
		),
		{ ...TIME, numRuns: 2000 },
	);
});

test('text without a known value is shown as it is', () => {
	fc.assert(
		fc.property(
			fc.array(secret, { maxLength: 3 }),
			fc.stringMatching(/^[x-z ]{0,80}$/),
			fc.boolean(),
			(secrets, text, isCut) => {
				assert.equal(new Redaction(secrets).apply(Buffer.from(text), isCut).toString(), text);
			},
		),
		TIME,
	);
});
